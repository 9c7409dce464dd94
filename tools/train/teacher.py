"""Soft labels for strings without labels: two different models together teach a specialist what neither knows alone.

    python -m tools.train.teacher --data DATA --task user-agent --out teacher.npz
    python -m tools.train.specialist … --task user-agent --teacher teacher.npz

The teachers are all-MiniLM-L6-v2 fine-tuned on the task's training rows (:mod:`benchmarks.classifiers.minilm`) and the bundle's
specialist; their log-probabilities are added (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"). Strings come
from the unlabelled corpus; those of the task's own tables are left out. Writes texts, labels and probabilities, no pickle.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from edge_demist import EdgeDemist

from .calibration import softmax
from .data import TASKS, normalized, read_table, sha256_file

KINDS = {
    "cmdline": ("cmdline",), "user-agent": ("user_agent",), "uri-attack": ("payload", "uri"), "url-phishing": ("uri", "hostname"),
    "dga": ("hostname",), "hostname-threat": ("hostname",), "hostname-category": ("hostname",), "dns-tunnel": ("dns_query", "hostname"),
    "filename": ("path",),
}  # fmt: skip
"""Kinds of the corpus that hold a task's strings."""


def unlabelled(data: Path, task: str, count: int, seed: int, exclude_sources: Sequence[str] = ()) -> list[str]:
    """Draw distinct corpus strings of the task's kinds that are in neither of its tables, as written or normalized."""
    known: set[str] = set()
    for split in ("train", "dev"):
        texts = list(read_table(data, task, split, exclude_sources)["text"])
        known |= {*texts, *normalized(texts, TASKS[task].normalizer)}
    found: list[str] = []
    for kind in KINDS[task]:
        column = pd.read_parquet(data / "corpus" / f"{kind}.parquet")["text"].drop_duplicates()
        column = column.sample(frac=1, random_state=seed)
        same = zip(column, normalized(column, TASKS[task].normalizer), strict=True)
        fresh = (text for text, plain in same if text not in known and plain not in known and plain)
        found += [text for _, text in zip(range(-(-count // len(KINDS[task]))), fresh, strict=False)]
    return found


def specialist_probabilities(model: EdgeDemist, task: str, texts: list[str], labels: list[str]) -> NDArray[np.float64]:
    """P(label | in domain), float64 [n, C], of the bundle's specialist."""
    out = np.full((len(texts), len(labels)), 1e-6)
    place = {label: i for i, label in enumerate(labels)}
    for row, answer in enumerate(model.classify(texts, task=task, top_k=0)):
        for label, score in (answer.scores or {}).items():
            out[row, place[label]] = max(score, 1e-6)
    result: NDArray[np.float64] = out / out.sum(axis=1, keepdims=True)
    return result


Soft = tuple[list[str], NDArray[np.float32]]
"""Texts, and probabilities float32 [n, C]."""


def read(path: Path, labels: list[str]) -> tuple[Soft, dict[str, Any]]:
    """Soft labels of a teacher file, columns in the order of ``labels``, and the record of how they were made.

    Raises:
        ValueError: the file is of another task.
    """
    with np.load(path, allow_pickle=False) as file:
        names = [str(n) for n in file["labels"]]
        if sorted(names) != sorted(labels):
            raise ValueError(f"{path}: labels {names}, the task has {labels}")
        soft = [str(t) for t in file["texts"]], file["probabilities"][:, [names.index(label) for label in labels]]
        return soft, json.loads(str(file["record"]))


def main(argv: Sequence[str] | None = None) -> int:
    """Train MiniLM, ask both, write."""
    p = argparse.ArgumentParser(
        prog="python -m tools.train.teacher", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--data", type=Path, required=True, help="folder with corpus/ and tasks/")
    p.add_argument("--task", required=True, choices=sorted(TASKS))
    p.add_argument("--out", type=Path, required=True, help="file to write (.npz)")
    p.add_argument("--bundle", type=Path, help="bundle whose specialist is the second teacher (default: the shipped one)")
    p.add_argument("--rows", type=int, default=45_000, help="strings to draw from the corpus")
    p.add_argument("--weight", type=float, default=1.0, help="of MiniLM's log-probabilities; the specialist's have 1")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--limit", type=int, default=0, help="rows of the training table (small runs)")
    p.add_argument("--leave-out", type=re.compile, default=re.compile("(?!)"), metavar="REGEX", help="strings that generators know better")
    p.add_argument("--exclude-source", nargs="*", default=[], help="sources of task rows to leave out")
    args = p.parse_args(argv)
    from benchmarks.classifiers import minilm

    train = read_table(args.data, args.task, "train", args.exclude_source)
    if args.limit:
        train = train.sample(min(args.limit, len(train)), random_state=args.seed).reset_index(drop=True)
    texts = [t for t in unlabelled(args.data, args.task, args.rows, args.seed, args.exclude_source) if not args.leave_out.search(t)]
    trained = minilm.train(args.task, train, pd.DataFrame({"text": texts}), args.seed)
    with EdgeDemist.load(args.bundle) as model:
        bundle = model.bundle_id
        ours = specialist_probabilities(model, args.task, texts, trained.labels)
    mixed = softmax(args.weight * np.log(softmax(trained.logits) + 1e-9) + np.log(ours))
    record: dict[str, Any] = {
        "command": {k: str(v) for k, v in vars(args).items() if k not in ("data", "out", "bundle")}, "bundle": bundle,
        "minilm": trained.settings, "seconds": round(trained.seconds), "strings": len(texts),
        "train_sha256": sha256_file(args.data / "tasks" / args.task / "train.parquet"),
    }  # fmt: skip
    temporary = args.out.with_suffix(".tmp.npz")
    np.savez(temporary, texts=np.array(texts), labels=np.array(trained.labels), probabilities=mixed.astype(np.float32),
             record=json.dumps(record))  # fmt: skip
    temporary.replace(args.out)
    print(f"{args.task}: {len(texts)} strings", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
