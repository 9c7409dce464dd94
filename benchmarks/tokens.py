"""Tokens a host name: our pieces beside MiniLM's word pieces and plain bytes, on the dev split of hostname-category.

    python -m benchmarks.tokens --data DATA

Writes benchmarks/results/tokens.json. Special tokens are not counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from edge_demist import EdgeDemist

RESULTS = Path(__file__).parent / "results" / "tokens.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Count and write."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.tokens", description=__doc__)
    p.add_argument("--data", type=Path, required=True)
    args = p.parse_args(argv)
    from transformers import AutoTokenizer

    from tools.train.network import minilm_folder

    names = list(pd.read_parquet(args.data / "tasks" / "hostname-category" / "dev.parquet")["text"])
    with EdgeDemist.load() as model:
        _, offsets = model.tokenizer.encode_batch([n.encode() for n in names])
        vocabulary = model.bundle.architecture.vocab_size
    pieces = AutoTokenizer.from_pretrained(minilm_folder())(names, add_special_tokens=False)["input_ids"]
    result = {
        "names": len(names),
        "vocabulary": vocabulary,
        "mean_tokens": round(float(np.diff(offsets).mean()), 3),
        "mean_minilm_word_pieces": round(float(np.mean([len(x) for x in pieces])), 3),
        "mean_bytes": round(float(np.mean([len(n.encode()) for n in names])), 3),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
