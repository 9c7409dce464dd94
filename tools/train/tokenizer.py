"""Train the SentencePiece unigram model: byte fallback, identity normalisation, balanced kinds of strings.

    python -m tools.train.tokenizer --data DATA --out spm.model

The runtime's double-array trie is built from the model by ``quantize`` (``quantize/tokenizer_tables.py``).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import sentencepiece

from edge_demist.io import replace_file

# Rows of each kind: about as many characters of host names as of everything else together.
ROWS = {
    "hostname": 420_000,
    "uri": 120_000,
    "dns_query": 10_000,
    "cmdline": 52_493,
    "http_header": 20_000,
    "path": 70_000,
    "payload": 60_000,
    "user_agent": 22_000,
    "cert": 1_512,
}
MAX_CHARACTERS = 300


def write_corpus(data: Path, out: Path, scale: float) -> None:
    """One string a line; line breaks and NUL become blanks, long strings are cut."""
    with out.open("w", encoding="utf-8") as stream:
        for kind, rows in ROWS.items():
            texts = pd.read_parquet(data / "corpus" / f"{kind}.parquet")["text"].head(max(1, int(rows * scale)))
            count = 0
            for text in texts:
                line = text.replace("\n", " ").replace("\r", " ").replace("\0", " ")[:MAX_CHARACTERS]
                if line:
                    stream.write(line + "\n")
                    count += len(line)
            print(f"{kind}: {len(texts)} rows, {count} characters", file=sys.stderr)


def train(corpus: Path, out: Path, vocabulary: int) -> None:
    """Train and write ``out``.

    Pieces may cross scripts and digits: SentencePiece's defaults would forbid ``.com``, ``www.`` and ``x86_64``.
    """
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus),
            model_prefix=f"{folder}/spm",
            model_type="unigram",
            vocab_size=vocabulary,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_digits=False,
            split_by_number=False,
            split_by_unicode_script=False,
            character_coverage=0.9995,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            pad_piece="<pad>",
            control_symbols=["<mask>"],
            max_sentence_length=4000,
            seed_sentencepiece_size=250_000,
            shuffle_input_sentence=False,
            num_threads=2,
            minloglevel=1,
        )
        replace_file(out, Path(folder, "spm.model").read_bytes(), 0o644)


def main(argv: Sequence[str] | None = None) -> int:
    """Gather the corpus and train."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.tokenizer", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with corpus/")
    p.add_argument("--out", type=Path, required=True, help="model file to write")
    p.add_argument("--vocabulary", type=int, default=16384)
    p.add_argument("--scale", type=float, default=1.0, help="share of the rows to use (small runs)")
    args = p.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus.txt")
        write_corpus(args.data, corpus, args.scale)
        train(corpus, args.out, args.vocabulary)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
