"""Give an alarm specialist's head a label group: columns that answer below a cut, beside those that decide every alarm; seconds.

    python -m tools.train.labels --data DATA --task cmdline --alarms BENT/cmdline.safetensors --out FILES      # labels of the bundle's head
    python -m tools.train.labels --data DATA --task url-phishing --column 63=1000 --out FILES                  # alarms of the bundle's head
    python -m quantize add FILES/cmdline.safetensors --replace --out NEW

``--alarms`` is the file that stays: adapter, columns, alarm thresholds, screen and OOD detector.  ``--labels`` is a file on the same
adapter whose head (its label group, where it has one) becomes the label group; both are the bundle's file where they are not named.  The
cut is the threshold for one false alarm in a hundred, so that no alarm changes at this rate or a stricter one.  A head of
``tools.train.subclasses`` knows what is fresh in columns that labels do not need: ``--without`` leaves them out.  What n-grams of the
task's table alone say comes from a column of the bundle (``tools.train.bundle_columns --table-only``) or, with ``--own``, from columns that
are learnt here, in the specialist's own table; ``--own-more`` and ``--own-made`` add rows to those of the task's table.

All columns of the label group are moved by one plane, which no answer feels, so that the first harmless column of both groups is the
same: the kernels' one softmax then holds both exactly.  Thresholds for accuracy are those of dev with both groups.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.int8 import quantize_columns
from edge_demist.format.screen import PREFIX
from edge_demist.format.specialist import Specialist, read_specialist
from edge_demist.train import calibration
from edge_demist.train.ngrams import NgramConfig
from tools.synth import GENERATORS
from tools.train import bundle_columns
from tools.train.data import TASKS, read_table
from tools.train.kept import Kept
from tools.train.low_head import column_weight
from tools.train.ngram_table import Settings, train_columns

if TYPE_CHECKING:
    from edge_demist.format.bundle import Bundle

Floats: TypeAlias = NDArray[np.float32]
Tensors: TypeAlias = dict[str, NDArray[np.generic]]
LABEL_GROUP = ("label_subclasses", "label_below")
"""What names the group in a file's metadata."""
RATE, APART = "0.01", 32.0
"""False-alarm rate whose threshold is the cut; how far the largest logits of the groups may differ: kernels cut at 44."""
ALONE = {"table_only": True, "exclude_source": (), "hold_out": (), "seed": 1, "generated": 0}
"""Rows that columns of a task's table alone learn from."""


class Columns:
    """Columns of a head over its temperature, float32 [H + dim + 1, columns], the bias last, and the label of each."""

    def __init__(self, specialist: Specialist, begin: int, owners: Sequence[int]) -> None:
        if specialist.ngram_weight is None:
            raise SystemExit(f"{specialist.task} reads no n-grams")
        rows = np.concatenate([specialist.weight, specialist.ngram_weight, specialist.bias[None]])
        self.rows: Floats = (rows[:, begin : begin + len(owners)] / specialist.temperature).astype(np.float32)
        self.owners = np.array(owners)
        self._harmless = next(i for i, label in enumerate(owners) if label not in specialist.positive)
        self._positive = np.isin(self.owners, specialist.positive)

    @property
    def first(self) -> Floats:
        """The first harmless column, float32 [H + dim + 1, 1]."""
        return self.rows[:, self._harmless, None]

    def without(self, numbers: Sequence[int]) -> None:
        """Leave columns out."""
        kept = np.setdiff1d(np.arange(len(self.owners)), numbers)
        if self._harmless not in kept:
            raise SystemExit("the first harmless column stays")
        self.rows, self.owners, self._positive = self.rows[:, kept], self.owners[kept], self._positive[kept]
        self._harmless = int(np.searchsorted(kept, self._harmless))

    def change(self, hidden: int, args: argparse.Namespace) -> None:
        """Weigh n-gram columns in all but the first harmless one, shift threats and what else is harmless, and be so much less sure."""
        others = np.arange(len(self.owners)) != self._harmless
        for number, weight in args.column:
            self.rows[hidden + number, others] = np.float32(weight)
        self.rows[-1] += np.where(self._positive, np.float32(args.shift), np.float32(args.kinds_shift) * others)
        self.rows = self.first + (self.rows - self.first) / np.float32(args.temperature)

    def add(self, number: int, bias: Floats, hidden: int, weight: float) -> None:
        """Add n-gram columns from ``number`` on, one a label, and their biases [labels]."""
        self.rows[hidden + number + self.owners, np.arange(len(self.owners))] += np.float32(weight)
        self.rows[-1] += np.float32(weight) * bias[self.owners]

    def logits(self, x: Floats) -> Floats:
        """float32 [n, columns] of features [n, H + dim]."""
        return x @ self.rows[:-1] + self.rows[-1]


def label_columns(specialist: Specialist) -> Columns:
    """A specialist's label group, or its only group."""
    begin = len(specialist.owners) if specialist.label_subclasses else 0
    return Columns(specialist, begin, specialist.label_subclasses or specialist.owners)


def without_label_group(specialist: Specialist) -> Specialist:
    """A specialist whose only head is its label group, where it has one: what its head was before its alarms were bent."""
    if not specialist.label_subclasses:
        return specialist
    begin = len(specialist.owners)
    end = begin + len(specialist.label_subclasses)
    assert specialist.ngram_weight is not None
    plain = specialist.label_subclasses == tuple(range(len(specialist.labels)))
    return dataclasses.replace(
        specialist,
        weight=specialist.weight[:, begin:end],
        ngram_weight=specialist.ngram_weight[:, begin:end],
        bias=specialist.bias[begin:end],
        subclasses=() if plain else specialist.label_subclasses,
        label_subclasses=(),
        gates=0,
        screen=None,
    )


def check_same(alarms: tuple[dict[str, str], Tensors], labels: tuple[dict[str, str], Tensors]) -> None:
    """Refuse files whose heads do not read the same features, or whose labels differ."""
    for name in ("task", "labels", "positive_labels", "normalizer", "max_tokens", "ngrams", "base_sha256"):
        if alarms[0].get(name) != labels[0].get(name):
            raise SystemExit(f"the two files differ in {name}")
    names = {name for _, tensors in (alarms, labels) for name in tensors if name.startswith(("lora.", "ngrams."))}
    for name in sorted(names):
        if name not in alarms[1] or name not in labels[1] or not np.array_equal(alarms[1][name], labels[1][name]):
            raise SystemExit(f"the two files differ in {name}: the label group reads the vectors of the alarm group")


def composed(alarms: Specialist, labels: Columns, file: tuple[dict[str, str], Tensors], below: float) -> tuple[dict[str, str], Tensors]:
    """The file ``alarms`` with a label group in place of what it had; gates, which are the alarm group's, stay behind it."""
    count, hidden, end = len(alarms.owners), len(alarms.weight), len(alarms.bias) - alarms.gates
    moved = (labels.rows + (Columns(alarms, 0, alarms.owners).first - labels.first)) * np.float32(alarms.temperature)
    head = file[1]["head.weight"], file[1]["head.ngram_weight"], file[1]["head.bias"][None]
    old = np.concatenate(head, dtype=np.float32)
    rows = np.concatenate([old[:, :count], moved.astype(np.float32), old[:, end:]], axis=1)
    metadata = {**file[0], "label_subclasses": json.dumps(labels.owners.tolist()), "label_below": repr(below)}
    new = {"head.weight": rows[:hidden], "head.ngram_weight": rows[hidden:-1], "head.bias": rows[-1]}
    return metadata, {name: np.ascontiguousarray(new.get(name, tensor)) for name, tensor in file[1].items()}


def more_rows(args: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Rows beside the task's table, of files and of generators."""
    rng = random.Random(f"{args.task} own")
    tables = [pd.read_parquet(path, columns=["text", "label", "source"]) for path in args.own_more]
    found = [row for table in tables for row in table.itertuples(index=False, name=None)]
    return found + [row for name, count in args.own_made for row in GENERATORS[name](rng, count)]


def named_count(text: str) -> tuple[str, int]:
    """``NAME=COUNT`` of a generator."""
    name, _, count = text.partition("=")
    if name not in GENERATORS or not count.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: a generator and a number of rows, uri-commands=4000")
    return name, int(count)


def own_columns(args: argparse.Namespace, bundle: Bundle, labels: Sequence[str], tensors: Tensors) -> tuple[int, Floats]:
    """Fill empty columns of a file's own n-gram table with a model of the task's table alone; the first one's number, and biases [labels].

    Raises:
        SystemExit: the file has no table of its own, or too few empty columns.
    """
    if "ngrams.weight" not in tensors:
        raise SystemExit(f"{args.task} has no n-gram table of its own")
    dim = tensors["ngrams.weight"].shape[1]
    number = int(np.flatnonzero(tensors["ngrams.weight"].any(axis=0)).max(initial=-1)) + 1
    end = number + len(labels)
    if end > dim or len(labels) < 3:
        raise SystemExit(f"{args.task}: {dim - number} columns are empty, {len(labels)} are needed, of three labels or more")
    rows, mixture = bundle_columns.rows_of(argparse.Namespace(**vars(args), **ALONE), args.task, list(labels), bundle)
    if more := more_rows(args):
        rows = mixture.pack(*mixture.add(*mixture.real(), more))
    settings = Settings(epochs=args.own_epochs, rate=args.own_rate, drop=0.5)
    config = NgramConfig(**json.loads(args.ngrams))
    weight, bias = train_columns(rows, len(labels), config, settings, 1)
    matrix = quantize_columns(weight.numpy())
    for name, value in (("ngrams.weight", matrix.values), ("ngrams.scale", matrix.scale)):
        tensors[name] = tensors[name].copy()
        tensors[name][..., number:end] = value
    for name in {"head.ngram_weight", "head.domain_ngram_weight", f"{PREFIX}1.weight"} & set(tensors):
        tensors[name] = tensors[name].copy()
        tensors[name][number:end] = 0  # nothing has learnt what an empty column means
    return number, bias.numpy()


def calibrated(specialist: Specialist, x: Floats, truth: NDArray[np.int64]) -> tuple[dict[str, float], dict[str, float]]:
    """Thresholds for accuracy on dev, and what dev says."""
    hidden, known = len(specialist.weight), truth >= 0
    scores = specialist.probabilities(x[:, :hidden], x[:, hidden:])[known].astype(np.float64)
    best, right = scores.max(axis=1), scores.argmax(axis=1) == truth[known]
    table, _ = calibration.accuracy_thresholds(best, right)
    z = Columns(specialist, 0, range(len(specialist.bias))).logits(x)
    count, end = len(specialist.owners), len(specialist.bias) - specialist.gates
    least = z[:, :count].max(axis=1) if end == count else np.minimum(z[:, :count].max(axis=1), z[:, count:end].max(axis=1))
    return table, {
        "accuracy": round(float(right.mean()), 4),
        "ece": round(calibration.expected_calibration_error(best, right), 4),
        "apart": round(float((z.max(axis=1) - least).max()), 1),
    }


def write(model: EdgeDemist, data: Path, out: Path, alarms: Specialist, made: tuple[dict[str, str], Tensors]) -> dict[str, float]:
    """Calibrate a composed file on dev and write it; what dev says.

    Raises:
        SystemExit: the groups' logits are further apart than the kernels' one softmax holds; nothing is left behind.
    """
    metadata, tensors = made
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{alarms.task}.safetensors"
    safetensors.write(path, tensors, metadata)
    specialist, dev = read_specialist(model.bundle, path, alarms.task), read_table(data, alarms.task, "dev")
    x = Kept(model, specialist, alarms.task, None).joined(list(dev["text"]))
    truth = np.array([specialist.labels.index(name) if name in specialist.labels else -1 for name in dev["label"]], np.int64)
    accuracy, said = calibrated(specialist, x, truth)
    if said["apart"] > APART:
        path.unlink()
        raise SystemExit(f"largest logits of the groups are {said['apart']} apart, over {APART}")
    thresholds = {**json.loads(metadata["thresholds"]), "accuracy": accuracy}
    safetensors.write(path, tensors, {**metadata, "thresholds": json.dumps(thresholds, sort_keys=True)})
    return said


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.labels", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle that the files are bound to (default: the packaged one)")
    p.add_argument("--task", required=True, choices=[name for name, task in TASKS.items() if task.kind == "alarm"])
    p.add_argument("--alarms", type=Path, metavar="FILE", help="file that stays (default: the bundle's)")
    p.add_argument("--labels", type=Path, metavar="FILE", help="file whose head answers below the cut (default: the bundle's)")
    p.add_argument("--below", type=float, help=f"the cut (default: the threshold of --alarms for a rate of {RATE})")
    p.add_argument("--without", type=int, nargs="*", default=[], metavar="N", help="columns of --labels that are left out, from 0")
    p.add_argument(
        "--column", nargs="*", type=column_weight, default=[], metavar="N=W", help="weights of n-gram columns, in place of theirs"
    )
    p.add_argument("--shift", type=float, default=0.0, help="added to the log-odds of threats")
    p.add_argument("--kinds-shift", type=float, default=0.0, help="added to the harmless columns after the first")
    p.add_argument("--temperature", type=float, default=1.0, help="log-odds of the label group are divided by it, after all that is added")
    p.add_argument("--own", type=float, default=0.0, metavar="W", help="weight of columns that learn the task's table")
    p.add_argument("--own-more", type=Path, nargs="*", default=[], metavar="FILE", help="rows beside the table (text, label, source)")
    p.add_argument("--own-made", type=named_count, nargs="*", default=[], metavar="NAME=N", help="generated rows (tools.synth)")
    p.add_argument("--own-epochs", type=int, default=6)
    p.add_argument("--own-rate", type=float, default=3.0)
    p.add_argument("--out", type=Path, required=True)
    return p.parse_args(argv)


def _read(bundle: Bundle, path: Path | None, task: str) -> tuple[Specialist, tuple[dict[str, str], Tensors]]:
    path = path or bundle.path / "specialists" / f"{task}.safetensors"
    return read_specialist(bundle, path, task), safetensors.read(path, copy=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Compose, calibrate and write the specialist's file."""
    args = parse(argv)
    with EdgeDemist.load(args.bundle) as model:
        (alarms, file), (labels, other) = (_read(model.bundle, path, args.task) for path in (args.alarms, args.labels))
        check_same(file, other)
        columns = label_columns(labels)
        columns.without(args.without)
        columns.change(len(labels.weight), args)
        if args.own:
            args.ngrams = file[0].get("ngrams")
            columns.add(*own_columns(args, model.bundle, alarms.labels, file[1]), len(labels.weight), args.own)
        said = write(model, args.data, args.out, alarms, composed(alarms, columns, file, args.below or alarms.thresholds["fpr"][RATE]))
    sys.stdout.write(json.dumps({"task": args.task, "columns": len(columns.owners), **said}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
