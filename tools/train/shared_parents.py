"""Teach n-gram columns that a parent under which strangers have names says little (``duckdns.org``, ``github.io``).

    python -m tools.train.shared_parents --data DATA --bundle BUNDLE --task hostname-threat --columns 26 56 --out NEW

Names below the suffixes of the Public Suffix List's private part and of dynamic DNS services, each once with either label, and the task's
own rows go through the columns for another round at a small step: the names' log-odds move towards nothing, the rest stays.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_demist.format.bundle import Bundle
from edge_demist.format.ngram_table import table_of
from edge_demist.format.specialist import load_specialist
from edge_demist.sensor import public_suffix
from edge_demist.train.columns import _sgd
from edge_demist.train.ngrams import NgramConfig, hash_rows
from quantize.columns import replace_columns
from tools.synth import everyday_hosts
from tools.synth.dga import DYNAMIC_ZONES
from tools.train.bundle_columns import rows_of

OFTEN = 12
"""How much more often names below dynamic DNS services come than those below other shared parents."""


def names(rng: random.Random, count: int) -> list[str]:
    """Names of people's devices and projects below shared parents."""
    text = (Path(public_suffix.__file__).parent / "public_suffix.txt").read_text(encoding="utf-8")
    private = [line for line in text.partition("[private]")[2].split() if line[0] not in "*!"]
    zones = [*private, *[zone for zone in (*DYNAMIC_ZONES, *everyday_hosts.DYNAMIC) for _ in range(OFTEN)]]
    return [f"{everyday_hosts.stranger(rng)}.{rng.choice(zones)}" for _ in range(count)]


def main(argv: Sequence[str] | None = None) -> int:
    """Train the columns on and write the bundle."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.shared_parents", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR")
    p.add_argument("--task", required=True)
    p.add_argument("--columns", type=int, nargs="+", required=True)
    p.add_argument("--names", type=int, default=20_000)
    p.add_argument("--rows", type=int, default=120_000, help="of the task that go along")
    p.add_argument("--rate", type=float, default=0.3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args(argv)
    bundle, rng = Bundle.load(args.bundle), random.Random(args.seed)
    assert bundle.ngrams is not None
    found = table_of(bundle.ngrams, bundle.tensors)
    config = NgramConfig(*(getattr(found.config, name) for name in ("buckets", "dim", "min_n", "max_n", "max_bytes")))
    labels = list(load_specialist(bundle, args.task).labels)
    given = argparse.Namespace(**vars(args), exclude_source=[], hold_out=[], generated=None, repeat=1)
    known, mixture = rows_of(given, args.task, labels, bundle)
    some = np.random.default_rng(args.seed).permutation(len(known))[: args.rows]
    shared = names(rng, args.names)
    below = mixture.pack(shared * 2, [labels[0]] * len(shared) + [labels[1]] * len(shared))
    parts = [known.take(np.sort(some)), below]
    hashed = [hash_rows(rows.data, rows.off[:-1], rows.off[1:], config) for rows in parts]
    buckets = np.concatenate([part[0] for part in hashed])
    offsets = np.concatenate([hashed[0][1], hashed[1][1][1:] + len(hashed[0][0])])
    y = np.concatenate([part.y for part in parts])
    new = {}
    for column in args.columns:
        weight = np.ascontiguousarray(found.weight[:, column : column + 1].astype(np.float32) * found.scale[column])
        bias = np.zeros(1, np.float32)
        alike = np.ones(len(y), np.float32)
        _sgd(buckets, offsets, y, weight, bias, 1, args.rate, 0.0, args.seed, alike, np.zeros_like(alike))
        new[column] = weight[:, 0]
    replace_columns(bundle, new, args.out)
    sys.stdout.write(json.dumps({"out": str(args.out), "rows": len(y)}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
