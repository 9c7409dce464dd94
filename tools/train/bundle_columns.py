"""Train the n-gram columns of some tasks again on the rows that their specialists see, in a bundle.

    python -m tools.train.bundle_columns --data DATA --task hostname-threat dga --out BUNDLE

All rows of the pools (``tools.train.pools``) are used at once, fresh threats and ordinary strings ``--repeat`` times. The other columns,
the encoder and the specialists' tensors stay byte for byte; specialists are bound to the new file (``base_sha256``). ``--into`` puts
them beside a task's columns, into unused ones (``tools.train.specialist --columns`` reads them); without it they replace the task's, and
its specialist has to be trained again on the bundle written. A head that is fitted on columns (``tools.train.low_head``) trusts them too
much on rows that they learnt by heart: with ``--half 0`` columns see every other row, by hash, and with ``--half 1`` a head sees the rest.
With ``--table-only`` they see the task's table and nothing else, for the labels of balanced strings (``tools.train.labels --column``).

    python -m tools.train.bundle_columns --data DATA --task hostname-threat --table-only --times 1e-3 --keep-projection --into 62 --out X
    python -m tools.train.bundle_columns --from OTHER --into 60 61 --bundle BUNDLE --out NEW     # the columns of another bundle
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist.format.bundle import Bundle
from edge_demist.format.ngram_table import table_of
from edge_demist.format.specialist import load_specialist
from edge_demist.train.ngrams import NgramConfig
from quantize.columns import replace_columns
from tools.train import mixtures, pools
from tools.train.data import TASKS, Rows
from tools.train.ngram_table import SETTINGS, Settings, logits_of, train_columns
from tools.train.shipped import BundleTokenizer

OF_LISTS = {"categories": 250_000, "listed": 10_000, "bare-ordinary": 100_000, "bare-listed": 30_000}
"""Names of lists that a task's columns see. Listed threats of years before cost recall of fresh ones: 12.7 % for 17.3 % at a real 1e-3."""
REPEATED = ("threats", "ordinary", "isp")


def rows_of(args: argparse.Namespace, task: str, labels: list[str], bundle: Bundle) -> tuple[Rows, mixtures.Mixture]:
    """A task's rows: its table, generated ones, and all of its pools."""
    settings = SETTINGS.get(task, Settings())
    given = argparse.Namespace(
        exclude_source=args.exclude_source, limit=0, hold_out=args.hold_out, seed=args.seed,
        generated=settings.generated if args.generated is None else args.generated, more=None,
        more_rows=0, pools=0,
    )  # fmt: skip
    mixture = mixtures.Mixture(args.data, task, labels, BundleTokenizer(bundle), given)
    mixture.task = dataclasses.replace(mixture.task, normalizer=load_specialist(bundle, task).normalizer)
    if getattr(args, "table_only", False):
        return mixture.pack(*mixture.real()), mixture
    texts, names = mixture.texts(0)
    real = set(mixture.real()[0])
    for number in range(1, getattr(args, "rounds", 1)):
        drawn = [row for row in zip(*mixture.texts(number), strict=True) if row[0] not in real]
        texts, names = texts + [text for text, _ in drawn], names + [name for _, name in drawn]
    more = pools.of_task(args.data, TASKS[task], labels, given)
    if more is not None:
        kept = [more[more["origin"] == origin].head(count) for origin, count in OF_LISTS.items()]  # in random order
        some = [more[~more["origin"].isin(OF_LISTS)], *kept, *[more[more["origin"].isin(REPEATED)]] * (args.repeat - 1)]
        texts += [text for part in some for text in part["text"]]
        names += [name for part in some for name in part["label"]]
    half = getattr(args, "half", None)
    kept_rows = [(text, name) for text, name in zip(texts, names, strict=True) if half is None or pools.half_of(text) == half]
    return mixture.pack([text for text, _ in kept_rows], [name for _, name in kept_rows]), mixture


def places(bundle: Bundle, task: str) -> NDArray[np.int64]:
    """Numbers of a task's columns, by label."""
    weight = load_specialist(bundle, task).ngram_weight
    if weight is None:
        raise SystemExit(f"{task} reads no columns of the shared table")
    used = np.abs(weight)
    labels = [1] if weight.shape[1] == 2 else range(weight.shape[1])
    return np.array([int(used[:, label].argmax()) for label in labels], np.int64)


def main(argv: Sequence[str] | None = None) -> int:
    """Train the columns and write the bundle."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.bundle_columns", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to start from (default: the packaged one)")
    p.add_argument("--task", nargs="+", default=[], choices=sorted(TASKS))
    p.add_argument("--from", dest="other", type=Path, metavar="DIR", help="a bundle whose columns --into are taken, in place of training")
    p.add_argument("--half", type=int, choices=(0, 1), help="every other row, by hash")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--into", type=int, nargs="*", help="unused columns that take them, one a task of two labels; the task's own stay")
    p.add_argument("--table-only", action="store_true", help="rows of the task's table alone")
    p.add_argument(
        "--times", type=float, default=1.0,
        help="stored so many times as large; 1e-3 leaves general vectors and what else reads all columns as they are",
    )  # fmt: skip
    p.add_argument("--keep-projection", action="store_true", help="keep the projection of general vectors, for columns that are so small")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--rounds", type=int, default=1, help="rounds of generated rows")
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--rate", type=float, default=1.0)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--synthetic-rows", "--generated", dest="generated", type=int, help="generated rows, instead of the task's own number")
    p.add_argument("--hold-out", nargs="*", default=[], help="families left out")
    p.add_argument("--exclude-source", nargs="*", default=[])
    args = p.parse_args(argv)
    bundle = Bundle.load(args.bundle)
    if bundle.ngrams is None:
        raise SystemExit("the bundle has no n-gram table")
    found = table_of(bundle.ngrams, bundle.tensors).config
    config = NgramConfig(found.buckets, found.dim, found.min_n, found.max_n, found.max_bytes)
    new: dict[int, NDArray[np.float32]] = {}
    if args.other:
        other = Bundle.load(args.other)
        assert other.ngrams is not None
        table = table_of(other.ngrams, other.tensors)
        taken = {i: table.weight[:, i].astype(np.float32) * table.scale[i] for i in args.into}
        replace_columns(bundle, taken, args.out, keep_general=args.keep_projection)
        return 0
    if args.data is None or not args.task:
        p.error("--data and --task are needed")
    if args.into and len(args.into) != len(args.task):
        p.error("--into names one column a task")
    for number, task in enumerate(args.task):
        labels, began = list(load_specialist(bundle, task).labels), time.monotonic()
        rows, mixture = rows_of(args, task, labels, bundle)
        settings = Settings(epochs=args.epochs, rate=args.rate)
        weight, bias = train_columns(rows, len(labels), config, settings, args.seed)
        dev = mixture.dev()
        scores = logits_of(weight, bias, dev, config)
        answer = scores.argmax(1) if len(labels) > 2 else (scores[:, 0] > 0).astype(np.int64)
        for column, place in zip(weight.T.numpy(), [args.into[number]] if args.into else places(bundle, task), strict=True):
            new[int(place)] = np.float32(args.times) * column
        note = {"task": task, "rows": len(rows), "dev_accuracy": round(float(np.mean(answer == dev.y)), 4)}
        sys.stderr.write(json.dumps(note | {"seconds": round(time.monotonic() - began)}) + "\n")
    replace_columns(bundle, new, args.out, keep_general=args.keep_projection)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
