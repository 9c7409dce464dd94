r"""A command line's n-gram column as the mean of linear models that see the rows in different shares: a minute or two on one core.

    python -m tools.train.bagged --data DATA --more ROWS/cmdline.parquet --out FILES
    python -m tools.train.thresholds --bundle NEXT --task cmdline --ordinary ROWS/cmdline.ordinary.parquet DEV-BENIGN --out FILES

The table of the task alone answers the balanced split best; rows made of what attackers and machines run find the top of the ranking. A
model that sees both in one share is good at neither, their mean is good at both. ``MEMBERS`` says which rows weigh how much in which
member, and how far beyond even odds certain rows are pushed (a short line has few n-grams, so a logistic loss alone leaves it below what
long lines reach). The column of the bundle is one of the members. Adapter and the head on its vectors stay; the cut between the labels is
where dev is answered best, the detector of other kinds and temperature are fitted again, thresholds come from ordinary lines.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.int8 import quantize_columns
from edge_demist.format.screen import METADATA as SCREEN
from edge_demist.format.screen import PREFIX
from edge_demist.train import calibration
from edge_demist.train.columns import _sgd
from edge_demist.train.ngrams import NgramConfig, NgramTable, hash_rows
from tools.synth import cmdline_classic, cmdline_dev, cmdline_slots
from tools.train import mixtures, ood, refit
from tools.train.data import TASKS, read_table
from tools.train.labels import LABEL_GROUP, without_label_group
from tools.train.shipped import BundleTokenizer

if TYPE_CHECKING:
    from edge_demist.format.specialist import Specialist

Floats = NDArray[np.float32]
TASK = "cmdline"
SCRIPTS = "attack_scripts.txt"
ROUNDS = 3
MADE = {"classic": 16_000, "provisioning": 12_000, "background": 9000, "scripts": 8000}
"""Lines drawn of each list, before repeated ones are dropped."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One linear model: weights of the parts that it sees, margins by part (hostile, harmless) in log-odds, and how it is trained."""

    weights: Mapping[str, float]
    margins: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    share: float = 1.0
    """Weight in the mean."""
    drop: float = 0.7
    epochs: int = 12


_MADE = {"classic": 0.7, "provisioning": 0.5, "scripts": 0.7, "background": 0.5, "more": 2.0}
SURE = {"classic": (3.0, 2.0), "scripts": (3.0, 0.0), "provisioning": (0.0, 2.0), "background": (0.0, 2.0), "more": (0.0, 2.0)}
"""Margins of the parts whose label is sure."""
MEMBERS = (
    Member({**_MADE, "table": 3.0, "made0": 1.0, "made1": 1.0}, SURE),
    Member({**_MADE, "table": 4.0, "made0": 1.0, "made2": 1.0, "changed0": 0.2, "changed2": 0.2}, SURE, drop=0.6),
    Member({**_MADE, "table": 4.0, "made0": 1.0, "made1": 1.0, "made2": 1.0, "changed1": 0.3}, drop=0.8),
    Member({"table": 2.0, "more": 1.0}, epochs=15),
    Member({"table": 2.0, "more": 1.0}, epochs=15, drop=0.6, share=0.7),
    Member({"table": 3.0, "more": 1.5, "made2": 0.3}, epochs=15),
)


@dataclasses.dataclass(frozen=True)
class Part:
    """Lines of one origin, hashed, and which of them are hostile."""

    buckets: NDArray[np.int64]
    offsets: NDArray[np.int64]
    hostile: NDArray[np.bool_]


def texts_of(mixture: mixtures.Mixture, seed: int) -> dict[str, tuple[list[str], list[str]]]:
    """Lines and labels by part: the table, changed and made lines of each round, ordinary script lines, and the lists drawn apart.

    Made lines that share half their words with one of dev are left out, but those of ``cmdline_classic`` (see ``mixtures``).
    """
    found = {"table": mixture.real()}
    count = len(found["table"][0])
    more = {row[0] for row in mixture.more}
    for number in range(ROUNDS):
        texts, names = mixture.texts(number)
        found[f"changed{number}"] = (texts[count : 2 * count], names[count : 2 * count])
        rest = list(zip(texts[2 * count :], names[2 * count :], strict=True))
        found[f"made{number}"] = _columns(row for row in rest if row[0] not in more)
        found.setdefault("more", _columns(dict.fromkeys(row for row in rest if row[0] in more)))
    rng = random.Random(f"{seed} {TASK} bagged")
    near = mixtures.Near(read_table(mixture.data, TASK, "dev")["text"])
    drawn = {
        "classic": cmdline_classic.generate(rng, MADE["classic"]),
        "provisioning": cmdline_dev.provisioning(rng, MADE["provisioning"]),
        "scripts": cmdline_slots.draw(rng, MADE["scripts"], (SCRIPTS,), "malicious"),
        "background": cmdline_dev.background(rng, MADE["background"]),
    }
    for name, rows in drawn.items():
        pairs = dict.fromkeys((text, label) for text, label, _ in rows)
        found[name] = _columns(row for row in pairs if name == "classic" or row[0] not in near)
    return found


def _columns(rows: Any) -> tuple[list[str], list[str]]:
    texts, names = zip(*rows, strict=True)
    return list(texts), list(names)


def trained(parts: Mapping[str, Part], member: Member, config: NgramConfig, rate: float, seed: int) -> Floats:
    """The column of one member, float32 [buckets]; its bias is left out, for the cut is set on dev."""
    some = [(name, parts[name]) for name in member.weights]
    starts = np.cumsum([0, *(len(part.buckets) for _, part in some)])
    offsets = np.concatenate([[0], *(part.offsets[1:] + start for (_, part), start in zip(some, starts, strict=False))]).astype(np.int64)
    y = np.concatenate([part.hostile for _, part in some]).astype(np.int64)
    weights = np.concatenate([np.full(len(part.hostile), member.weights[name], np.float32) for name, part in some])
    sides = [(part.hostile, member.margins.get(name, (0.0, 0.0))) for name, part in some]
    margins = np.concatenate([np.where(hostile, -side[0], side[1]) for hostile, side in sides]).astype(np.float32)
    table, bias = np.zeros((config.buckets, 1), np.float32), np.zeros(1, np.float32)
    buckets = np.concatenate([part.buckets for _, part in some])
    _sgd(buckets, offsets, y, table, bias, member.epochs, rate, member.drop, seed, weights, margins)
    return table[:, 0]


def config_of(specialist: Specialist) -> NgramConfig:
    """Shape of the specialist's own table."""
    assert specialist.ngrams is not None
    found = specialist.ngrams.config
    return NgramConfig(found.buckets, found.dim, found.min_n, found.max_n, found.max_bytes)


def mean_column(specialist: Specialist, parts: Mapping[str, Part], args: argparse.Namespace) -> Floats:
    """The mean of all members and of the column that is there, which weighs ``--before``; float32 [buckets]."""
    assert specialist.ngrams is not None
    config = config_of(specialist)
    total = np.float32(args.before) * np.asarray(specialist.ngrams.weight[:, 0], np.float32) * np.float32(specialist.ngrams.scale[0])
    weight = args.before
    for number, member in enumerate(MEMBERS):
        total += np.float32(member.share) * trained(parts, member, config, args.rate, args.seed + number)
        weight += member.share
        sys.stderr.write(f"member {number + 1} of {len(MEMBERS)}\n")
    mean: Floats = total / np.float32(weight)
    return mean


def cut_of(scores: NDArray[np.float64], hostile: NDArray[np.bool_], slack: int) -> float:
    """The highest cut that answers at most ``slack`` rows fewer than the best one."""
    cuts = np.unique(scores)
    right = np.array([int(((scores > cut) == hostile).sum()) for cut in cuts])
    place = int(np.flatnonzero(right >= right.max() - slack)[-1])
    return float(cuts[place : place + 2].mean())


def served_file(model: EdgeDemist, mixture: mixtures.Mixture, column: Floats, args: argparse.Namespace) -> dict[str, Any]:
    """Write the specialist's file with the new column; returns what calibration said."""
    specialist = without_label_group(model.specialist(TASK))
    assert specialist.ngram_weight is not None
    config = config_of(specialist)
    wide = np.zeros((config.buckets, config.dim), np.float32)
    wide[:, 0] = column
    tabled = refit.Tabled.of(NgramTable(config, torch.from_numpy(wide)))
    served = ood.Served(model, specialist)

    def features(texts: Sequence[str]) -> tuple[Floats, Floats]:
        rows = mixture.pack(list(texts))
        return served.pooled(rows), tabled.vectors(rows)

    weight, ngram_weight = np.zeros_like(specialist.weight), np.zeros_like(specialist.ngram_weight)
    weight[:, 1] = args.encoder * (specialist.weight[:, 1] - specialist.weight[:, 0])
    ngram_weight[0, 1] = 1.0
    dev = read_table(mixture.data, TASK, "dev")
    hostile = (dev["label"] == specialist.labels[1]).to_numpy()
    pooled, grams = features(list(dev["text"]))
    logits = pooled @ weight + grams @ ngram_weight
    bias = np.array([0.0, -cut_of(logits[:, 1].astype(np.float64), hostile, args.slack)], np.float32)
    own, kin, strange = ood.texts(mixture.data, TASKS[TASK], mixture.real()[0], args.seed)
    detector = calibration.fit_domain(features(own), features(strange), features(kin))
    known = detector.probability(pooled, grams)
    result = calibration.calibrate(TASKS[TASK], list(specialist.labels), logits + bias, hostile.astype(np.int64), known)
    matrix = quantize_columns(wide)
    new = {f"head.{name}": tensor for name, tensor in detector.tensors().items()}
    new |= {"head.weight": weight, "head.ngram_weight": ngram_weight, "head.bias": bias}
    metadata, read = safetensors.read(model.bundle.path / "specialists" / f"{TASK}.safetensors")
    metadata |= {"temperature": str(round(result["temperature"], 4)), "thresholds": json.dumps(result["thresholds"], sort_keys=True)}
    for name in (SCREEN, *LABEL_GROUP):  # made for the column before: tools.train.screen and tools.train.labels fit others
        metadata.pop(name, None)
    tensors = {name: np.ascontiguousarray(new.get(name, tensor)) for name, tensor in read.items() if not name.startswith(PREFIX)}
    tensors |= {"ngrams.weight": matrix.values, "ngrams.scale": matrix.scale}
    args.out.mkdir(parents=True, exist_ok=True)
    safetensors.write(args.out / f"{TASK}.safetensors", tensors, metadata)
    return result


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.bagged", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--more", type=Path, required=True, help="ordinary script lines that train (tools.train.payload_rows)")
    p.add_argument("--before", type=float, default=1.5, help="weight of the bundle's column in the mean")
    p.add_argument("--encoder", type=float, default=1.7, help="weight of the head on the encoder's vectors beside the column")
    p.add_argument("--slack", type=int, default=0, help="rows of dev that the cut between the labels may cost")
    p.add_argument("--rate", type=float, default=3.0, help="step size")
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--out", type=Path, required=True, help="folder for cmdline.safetensors")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train the column and write the specialist's file."""
    args = parse(argv)
    with EdgeDemist.load(args.bundle) as model:
        specialist = without_label_group(model.specialist(TASK))
        given = refit.parse(["--data", str(args.data), "--task", TASK, "--more", str(args.more), "--out", str(args.out)])
        mixture = mixtures.Mixture(args.data, TASK, list(specialist.labels), BundleTokenizer(model.bundle), given)
        parts = {}
        for name, (texts, names) in texts_of(mixture, args.seed).items():
            rows = mixture.pack(texts)
            hashed = hash_rows(rows.data, rows.off[:-1], rows.off[1:], config_of(specialist))
            parts[name] = Part(*hashed, np.array(names) == specialist.labels[1])
        result = served_file(model, mixture, mean_column(specialist, parts, args), args)
    sys.stdout.write(json.dumps({"task": TASK, **{k: result[k] for k in ("accuracy", "macro_f1", "ece")}}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
