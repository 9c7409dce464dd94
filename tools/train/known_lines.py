r"""cmdline's alarm group: a column of its own table and a head that learnt the lines that everybody tries first; three minutes.

    python -m tools.train.known_lines --data DATA --more ROWS/cmdline.parquet --out FILES
    python -m quantize add FILES/alarms/cmdline.safetensors --replace --out NEXT
    python -m tools.train.thresholds --bundle NEXT --task cmdline --ordinary ROWS/cmdline.ordinary.parquet DEV-BENIGN --out TOLD
    python -m tools.train.labels --data DATA --task cmdline --alarms TOLD/cmdline.safetensors \
                                 --labels FILES/labels/cmdline.safetensors --out LAST

Made lines of attackers and administrators bend a head towards alarms and cost the balanced split points (``tools.train.bagged``). Here
they may: the label group stays the bundle's head. Column ``COLUMN`` of the table is the mean of ``MEMBERS``, linear models that all see
the made lines, beyond even odds by a margin, since a short line has few n-grams; to the bundle's weights on the encoder's vectors comes
what a regression on the same rows adds. Scores are stretched so that the thresholds for one false alarm in a hundred and in a thousand
stand where the bundle's stand. ``FILES/labels`` holds the bundle's head on the table with the new column.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.int8 import quantize_columns
from edge_demist.format.screen import METADATA as SCREEN
from edge_demist.format.screen import PREFIX
from edge_demist.train.ngrams import hash_rows
from tools.synth import cmdline_known
from tools.synth.evasion.spelled_commands import spelled
from tools.train import bagged, low_end, mixtures, ood, refit
from tools.train.bagged import Member, Part
from tools.train.data import read_table
from tools.train.labels import LABEL_GROUP, without_label_group
from tools.train.shipped import BundleTokenizer

if TYPE_CHECKING:
    from edge_demist.format.specialist import Specialist

Floats = NDArray[np.float32]
Texts = dict[str, tuple[list[str], list[str]]]
TASK, COLUMN = bagged.TASK, 1
LINES, SPELLED = 30_000, 32_000
"""Lines drawn of each of the two lists, before repeated ones are dropped, and lines of all parts that are spelled otherwise as well."""
DECAY, STEPS = 3e-4, 25
"""Weight of the squares of the regression on vectors, on standardized features, and its steps of L-BFGS."""
PLACES = (1e-2, 1e-3)

_ROWS = {"table": 3.0, "made0": 1.0, "made1": 1.0, "made2": 1.0, "changed0": 0.2, "changed1": 0.2, "changed2": 0.2, "classic": 0.7}
_ROWS |= {"provisioning": 0.5, "scripts": 0.7, "background": 0.5, "more": 2.0, "known": 0.7, "known-ordinary": 0.7, "spelled": 0.4}
_SURE = {**bagged.SURE, "classic": (10.0, 2.0), "known": (10.0, 0.0), "known-ordinary": (0.0, 2.0), "spelled": (5.0, 1.0)}
_CALM = {**_ROWS, "changed0": 0.5, "changed1": 0.5, "changed2": 0.5}
_NEAR = {**_SURE, "classic": (3.0, 2.0), "known": (3.0, 0.0), "spelled": (2.0, 1.0)}
ON_VECTORS = Member(_ROWS, _NEAR)
"""Weights and margins of the regression on vectors, where wider margins find less."""
MEMBERS = (
    *(Member(_ROWS, _SURE, drop=drop) for drop in (0.7, 0.6, 0.8)),
    *(Member(_CALM, _NEAR, drop=drop) for drop in (0.7, 0.6, 0.8)),
)
"""Wide margins lift short lines, and ordinary lines behind wrappers with them; the mean with narrow ones does not."""


def texts_of(mixture: mixtures.Mixture, seed: int) -> Texts:
    """Lines and labels by part: those of ``tools.train.bagged``, the known lines, and some of all of them in another spelling.

    Ordinary lines of attackers' tools, as manual pages have them, are left out.
    """
    found: Texts = {}
    for name, (texts, labels) in bagged.texts_of(mixture, seed).items():
        kept = [pair for pair in zip(texts, labels, strict=True) if pair[1] == "malicious" or not cmdline_known.is_attack_tool(pair[0])]
        found[name] = [text for text, _ in kept], [label for _, label in kept]
    for name, label in (("known", "malicious"), ("known-ordinary", "benign")):
        rows = dict.fromkeys(text for text, *_ in cmdline_known.draw_of(random.Random(f"{seed} {name}"), LINES, label))
        found[name] = list(rows), [label] * len(rows)
    rng = random.Random(f"{seed} spelled")
    every = [pair for name in ("table", "classic", "known", "known-ordinary", "more") for pair in zip(*found[name], strict=True)]
    others = [(other, label) for text, label in rng.sample(every, min(SPELLED, len(every))) if (other := spelled(rng, text))]
    texts, labels = zip(*dict.fromkeys(others), strict=True)
    return {**found, "spelled": (list(texts), list(labels))}


def on_vectors(parts: Mapping[str, Part], pooled: Mapping[str, Floats], member: Member) -> Floats:
    """Weights of a logistic regression on the encoder's vectors with a member's weights and margins, float32 [hidden]."""
    names = list(member.weights)
    x, hostile = np.concatenate([pooled[name] for name in names]), np.concatenate([parts[name].hostile for name in names])
    weights = np.concatenate([np.full(len(parts[name].hostile), member.weights[name], np.float32) for name in names])
    sides = [(parts[name].hostile, member.margins.get(name, (0.0, 0.0))) for name in names]
    margins = np.concatenate([np.where(part, -side[0], side[1]) for part, side in sides]).astype(np.float32)
    spread = x.std(0) + np.float32(1e-3)
    inputs, sign = torch.from_numpy(x / spread), torch.from_numpy(np.where(hostile, -1.0, 1.0).astype(np.float32))
    heavy, beyond = torch.from_numpy(weights / weights.mean()), torch.from_numpy(margins)
    weight, bias = torch.zeros(x.shape[1], requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (functional.softplus(sign * (inputs @ weight + bias + beyond)) * heavy).mean() + DECAY * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    found: Floats = weight.detach().numpy() / spread
    return found


def stretched(scores: NDArray[np.float64], specialist: Specialist) -> tuple[float, float]:
    """Slope and shift that put the cuts for ``PLACES`` of ordinary lines where the specialist's thresholds stand, before temperature."""
    ordered = np.sort(scores)[::-1]
    cuts = [float(ordered[int(rate * len(ordered)) - 1 : int(rate * len(ordered)) + 1].mean()) for rate in PLACES]
    wanted = low_end.log_odds(np.array([specialist.thresholds["fpr"][str(rate)] for rate in PLACES])) * specialist.temperature
    slope = float((wanted[1] - wanted[0]) / (cuts[1] - cuts[0]))
    return slope, float(wanted[0] - slope * cuts[0])


class Fit:
    """The bundle's specialist, and features of texts as it reads them."""

    def __init__(self, model: EdgeDemist, args: argparse.Namespace) -> None:
        self.model, self.args, self.specialist = model, args, without_label_group(model.specialist(TASK))
        given = refit.parse(["--data", str(args.data), "--task", TASK, "--more", str(args.more), "--out", str(args.out)])
        self.mixture = mixtures.Mixture(args.data, TASK, list(self.specialist.labels), BundleTokenizer(model.bundle), given)
        self.config, self._served = bagged.config_of(self.specialist), ood.Served(model, self.specialist)

    def part(self, texts: Sequence[str], labels: Sequence[str]) -> tuple[Part, Floats]:
        """Texts hashed, with their labels, and their vectors float32 [n, hidden]."""
        rows = self.mixture.pack(list(texts))
        hashed = hash_rows(rows.data, rows.off[:-1], rows.off[1:], self.config)
        return Part(*hashed, np.array(labels) == self.specialist.labels[1]), self._served.pooled(rows)

    def head(self) -> tuple[Floats, Floats]:
        """The column float32 [buckets], and weights on vectors float32 [hidden], of log-odds without bias."""
        both = {name: self.part(*rows) for name, rows in texts_of(self.mixture, self.args.seed).items()}
        parts, pooled = {name: one for name, (one, _) in both.items()}, {name: x for name, (_, x) in both.items()}
        column = np.zeros(self.config.buckets, np.float32)
        for number, member in enumerate(MEMBERS):
            column += bagged.trained(parts, member, self.config, self.args.rate, self.args.seed + number) / np.float32(len(MEMBERS))
            sys.stderr.write(f"member {number + 1} of {len(MEMBERS)}\n")
        before: Floats = self.specialist.weight[:, 1] - self.specialist.weight[:, 0]
        return column, before + np.float32(self.args.vectors) * on_vectors(parts, pooled, ON_VECTORS)

    def ordinary(self) -> list[str]:
        """Ordinary lines that train nothing, those of dev's harmless half among them."""
        dev = read_table(self.mixture.data, TASK, "dev")
        lines = pd.read_parquet(self.args.ordinary)["text"] if self.args.ordinary else pd.Series(dtype=str)
        return sorted({*lines, *dev.loc[dev["label"] == self.specialist.labels[0], "text"]})

    def write(self) -> None:
        """Fit, and write the two files."""
        column, weight = self.head()
        part, x = self.part(texts := self.ordinary(), [""] * len(self.ordinary()))
        scores = x @ weight + summed(part, column)
        slope, shift = stretched(scores.astype(np.float64), self.specialist)
        metadata, tensors = safetensors.read(self.model.bundle.path / "specialists" / f"{TASK}.safetensors", copy=True)
        matrix = quantize_columns(column[:, None])
        values, scale = tensors["ngrams.weight"].copy(), np.array(tensors["ngrams.scale"], np.float32)
        values[:, COLUMN], scale[COLUMN] = matrix.values[:, 0], matrix.scale[0]
        table: dict[str, Any] = {**tensors, "ngrams.weight": values, "ngrams.scale": scale}
        assert self.specialist.ngram_weight is not None
        labels = [self.specialist.weight, self.specialist.ngram_weight, self.specialist.bias]
        alarms = [np.zeros_like(part) for part in labels]
        alarms[0][:, 1], alarms[1][COLUMN, 1], alarms[2][1] = np.float32(slope) * weight, slope, shift
        heads = {"alarms": alarms, "labels": labels}
        plain = {key: value for key, value in metadata.items() if key not in (SCREEN, *LABEL_GROUP)}  # tools.train.screen fits another
        for folder, tensor in heads.items():
            head = dict(zip(("head.weight", "head.ngram_weight", "head.bias"), tensor, strict=True))
            (self.args.out / folder).mkdir(parents=True, exist_ok=True)
            found = {name: np.ascontiguousarray(tensor) for name, tensor in {**table, **head}.items() if not name.startswith(PREFIX)}
            safetensors.write(self.args.out / folder / f"{TASK}.safetensors", found, plain)
        sys.stdout.write(
            json.dumps({"task": TASK, "ordinary lines": len(texts), "slope": round(slope, 4), "shift": round(shift, 3)}) + "\n"
        )


def summed(part: Part, column: Floats) -> Floats:
    """What a column says of each row, float32 [n]."""
    ends = np.concatenate([[0.0], np.cumsum(column[part.buckets], dtype=np.float64)])
    counts = np.maximum(np.diff(part.offsets), 1)
    found: Floats = ((ends[part.offsets[1:]] - ends[part.offsets[:-1]]) / np.sqrt(counts)).astype(np.float32)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Fit and write the files."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.known_lines", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--more", type=Path, required=True, help="ordinary script lines that train (tools.train.payload_rows)")
    p.add_argument(
        "--ordinary", type=Path, help="ordinary script lines that train nothing; with dev's harmless ones they stretch the scores"
    )
    p.add_argument("--vectors", type=float, default=1.5, help="weight of the regression on vectors beside the bundle's head on them")
    p.add_argument("--rate", type=float, default=3.0, help="step size of a column")
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--out", type=Path, required=True, help="folder for alarms/ and labels/")
    args = p.parse_args(argv)
    torch.set_num_threads(1)
    with EdgeDemist.load(args.bundle) as model:
        Fit(model, args).write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
