"""Fit a specialist's head and its own n-gram table anew, from the adapter that a bundle has, in minutes on one core.

    python -m tools.train.refit --data DATA --task uri-attack --more ROWS/uri-attack.parquet --out ADAPTERS
    python -m quantize add ADAPTERS/uri-attack --replace --out BUNDLE

Vectors come from the engine, as served, so a million tokens take seconds.  The adapter stays as it is, or goes on training on a sample of
the rows (``--epochs``).  What a new normalizer or new rows teach goes into the head, the table and the OOD detector.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from numpy.typing import NDArray

from edge_demist import EdgeDemist
from edge_demist.format.int8 import quantize_columns
from edge_demist.train import calibration
from edge_demist.train.columns import Settings, folded, shape, train_columns
from edge_demist.train.fit import drawn
from edge_demist.train.ngrams import NgramTable
from tools.train import lora, low_end, mixtures, ngram_table, specialist, warm
from tools.train.data import TASKS, Rows
from tools.train.network import Network
from tools.train.shipped import BundleTokenizer, encoder_of

Floats = NDArray[np.float32]
LEFT_OUT = ("data", "out", "more", "bundle", "labels", "tables_of")
"""Arguments that the record leaves out: folders of this machine, and what stands elsewhere."""
PENALTY = 1e-4
"""Weight decay of the head on standardized vectors."""


def joined(parts: Sequence[Rows]) -> Rows:
    """Packed rows one after the other."""

    def ends(name: str) -> NDArray[np.int64]:
        sizes = [np.diff(getattr(part, name)) for part in parts]
        return np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)

    data = np.concatenate([part.data[: part.off[-1]] for part in parts])
    return Rows(np.concatenate([part.ids for part in parts]), ends("cu"), data, ends("off"), np.concatenate([part.y for part in parts]))


def labels_of(rows: Rows) -> NDArray[np.int64]:
    """The labels of packed rows, int64 [n]; -1 for labels not known."""
    return np.asarray(rows.y, np.int64)


def fit_head(
    pooled: Floats, y: NDArray[np.int64], classes: int, steps: int = 60, counts: Floats | None = None, penalty: float = PENALTY
) -> tuple[Floats, Floats]:
    """Multinomial logistic regression by L-BFGS: weight float32 [classes, hidden], bias float32 [classes].

    ``counts``: how often each row counts, float32 [n]; None: once.
    """
    mean, spread = pooled.mean(axis=0), pooled.std(axis=0) + 1e-6
    often = torch.ones(len(y)) if counts is None else torch.from_numpy(counts)
    x, target = torch.from_numpy((pooled - mean) / spread), torch.from_numpy(y)
    weight, bias = torch.zeros(classes, x.shape[1], requires_grad=True), torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        by_row = torch.nn.functional.cross_entropy(x @ weight.T + bias, target, reduction="none")
        loss = (by_row * often).sum() / often.sum() + penalty * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = weight.detach().numpy() / spread
    return found.astype(np.float32), (bias.detach().numpy() - found @ mean).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Tabled:
    """An n-gram table, and as it is served: rounded to int8."""

    table: NgramTable
    served: NgramTable

    @classmethod
    def of(cls, table: NgramTable) -> Tabled:
        """Quantize a table."""
        matrix = quantize_columns(table.weight.numpy())
        back = torch.from_numpy(matrix.values.astype(np.float32) * matrix.scale)
        return cls(table, NgramTable(table.config, back))

    def vectors(self, rows: Rows) -> Floats:
        """float32 [n, dim]."""
        index = np.arange(len(rows))
        parts = [self.served.vectors(rows, index[begin : begin + 4096]).numpy() for begin in range(0, len(rows), 4096)]
        return np.concatenate(parts) if parts else np.zeros((0, self.table.config.dim), np.float32)


def train_table(
    parts: Sequence[Rows], classes: int, settings: Settings, seed: int, growth: int = 1, **shaped: int
) -> tuple[Tabled, tuple[Floats, Floats]]:
    """A table of the task's own, ``growth`` times the usual size, and the head on it: the mean of tables trained on each of ``parts``.

    ``shaped``: fields of the table's shape that are not the usual ones.

    Linear models that differ by their rows and their order err apart; their mean is one table again (Breiman's bagging, 1996).
    """
    config = shape(classes)
    config = dataclasses.replace(config, buckets=config.buckets * growth, **shaped)
    found = [train_columns(rows, classes, config, settings, seed + i) for i, rows in enumerate(parts)]
    weight, bias = (torch.stack(side).mean(0) for side in zip(*found, strict=True))
    table, head = folded(weight, bias, classes, config)
    return Tabled.of(table), head


def mean_table(folders: Sequence[Path]) -> tuple[Tabled, tuple[Floats, Floats]]:
    """The mean of the tables of some folders that ``refit`` wrote, and the head on it (one column of two labels)."""
    found = [NgramTable.read(folder / "ngrams.safetensors") for folder in folders]
    table = NgramTable(found[0].config, torch.stack([one.weight for one in found]).mean(0))
    return Tabled.of(table), calibration.column_map({"begin": 0, "end": 1, "bias": [0.0]}, 2, table.config.dim)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a specialist's folder holds."""

    wrapped: peft.PeftModel
    head: dict[str, Floats]
    table: NgramTable
    described: dict[str, Any]
    record: dict[str, Any]


def warm_adapter(args: argparse.Namespace, model: EdgeDemist, classes: int) -> tuple[Network, peft.PeftModel, torch.nn.Linear]:
    """The bundle's encoder with room for an adapter on its upper layers, in it the adapter and the head that the task has."""
    net = Network(encoder_of(model.bundle), {})
    count = net.encoder.config.num_hidden_layers
    args.first_layer, args.labels = count - min(args.layers, count), list(model.specialist(args.task).labels)
    wrapped = peft.get_peft_model(net.encoder, lora.lora_config(args.rank, args.first_layer, count))
    head = torch.nn.Linear(net.encoder.config.hidden_size, classes)
    warm.start(args.bundle, args.task, wrapped.base_model.model, head)
    return net, wrapped, head


def refit(model: EdgeDemist, args: argparse.Namespace) -> Fitted:
    """Fit table, adapter, head and OOD detector, and calibrate them."""
    began = time.monotonic()
    task, labels = TASKS[args.task], list(model.specialist(args.task).labels)
    mixture = mixtures.Mixture(args.data, args.task, labels, BundleTokenizer(model.bundle), args)
    rounds = mixture.rounds()
    rows = joined(list(itertools.islice(rounds, args.rounds)))
    _say(f"{args.task}: {len(rows):,} rows, {len(rows.ids):,} tokens", began)
    net, wrapped, head = warm_adapter(args, model, len(labels))
    if args.epochs:
        some = (drawn(rows, args.sample, args.seed + i) for i in itertools.count())
        specialist.train(net, wrapped.base_model.model, head, some, args, None)
        lora.cut_ranks(wrapped, args.energy)
        _say("adapter trained", began)
    settings = ngram_table.SETTINGS.get(args.task, Settings())
    settings = dataclasses.replace(settings, epochs=max(1, round(settings.epochs / args.rounds)))
    parts = [rows, *itertools.islice(rounds, args.tables - 1)]
    if args.tables_of:
        table, ngram_head = mean_table(args.tables_of)
    else:
        table, ngram_head = train_table(parts, len(labels), settings, args.seed, args.growth)
    _say("n-grams trained", began)
    served = warm.Served(args.bundle, warm.adapter_of(wrapped.base_model.model, args.task))
    if args.epochs or args.keep_head:
        weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    else:
        weight, bias = fit_head(served.pooled(rows), labels_of(rows), len(labels))

    def features(some: Rows) -> tuple[Floats, Floats]:
        return served.pooled(some), table.vectors(some)

    dev = mixture.dev()
    pooled, ngrams = features(dev)
    combined = calibration.combine(weight, bias, ngram_head, pooled, ngrams, labels_of(dev))
    heavier = np.float32(args.ngram_share)
    combined = dataclasses.replace(
        combined, ngram_weight=combined.ngram_weight * heavier, ngram_factor=combined.ngram_factor * args.ngram_share
    )
    if len(labels) == 2:  # the cut from which on most of dev is right
        logits = combined.logits(pooled, ngrams).astype(np.float64)
        cut, _ = low_end.best_cut(logits[:, 1] - logits[:, 0], labels_of(dev) == 1)
        combined.bias[1] -= np.float32(cut)
    own, kin, strange = mixture.domain_features(features)
    ood = calibration.fit_domain(own, strange, kin)
    result = calibration.calibrate(task, labels, combined.logits(pooled, ngrams), labels_of(dev), ood.probability(pooled, ngrams))
    result["share"] = {"encoder": combined.encoder_factor, "ngrams": combined.ngram_factor}
    described = {
        "task": args.task, "labels": labels, **specialist.describe(task), "temperature": result["temperature"],
        "thresholds": result["thresholds"], "sources": mixture.sources,
    }  # fmt: skip
    record = {
        "command": {k: str(v) for k, v in vars(args).items() if k not in LEFT_OUT}, "bundle": model.bundle_id,
        "seconds": round(time.monotonic() - began), "data_sha256": mixture.hashes, "dev": result,
    }  # fmt: skip
    return Fitted(wrapped, {**combined.tensors(), **ood.tensors()}, table.table, described, record)


def _say(what: str, began: float) -> None:
    sys.stderr.write(f"{what}, {time.monotonic() - began:.0f} s\n")
    sys.stderr.flush()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.refit", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with corpus/ and tasks/")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle with the adapter (default: the packaged one)")
    p.add_argument("--task", required=True, choices=sorted(TASKS))
    p.add_argument("--out", type=Path, required=True, help="folder of adapters; <task>/ is made in it")
    p.add_argument("--epochs", type=int, default=0, help="rounds of training of the adapter (0: it stays)")
    p.add_argument("--keep-head", action="store_true", help="weigh the bundle's head anew, in place of a regression")
    p.add_argument("--growth", type=int, default=1, help="size of the n-gram table in MiB, a power of two")
    p.add_argument("--tables", type=int, default=1, help="n-gram tables on rows of their own, of which the mean is taken")
    p.add_argument("--tables-of", type=Path, nargs="*", default=[], help="folders with n-gram tables, of which the mean is taken instead")
    p.add_argument("--ngram-share", type=float, default=1.0, help="how much more the n-grams weigh than dev alone would have it")
    p.add_argument("--sample", type=int, default=40_000, help="rows that the adapter sees a round")
    p.add_argument("--layers", type=int, default=3, help="upper layers with an adapter, at least those of the bundle's")
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--svd-energy", "--energy", dest="energy", type=float, default=0.9, help="share of the adapter's squared norm to keep")
    p.add_argument("--lr", type=float, default=7e-4)
    p.add_argument("--batch-tokens", "--tokens", dest="tokens", type=int, default=2048, help="tokens a batch")
    p.add_argument("--top", type=float, default=0.0, help="weight of the loss on the highest-scored harmless rows")
    p.add_argument("--smoothing", type=float, default=0.05)
    p.add_argument("--rounds", type=int, default=2, help="rounds of augmentation that are learnt from together")
    p.add_argument(
        "--synthetic-rows", "--generated", dest="generated", type=int, default=-1, help="generated rows a round (-1: the task's default)"
    )
    p.add_argument("--extra-data", "--more", dest="more", type=Path, help="Parquet file of more rows: text, label, source")
    p.add_argument("--extra-rows", "--more-rows", dest="more_rows", type=int, default=100_000, help="rows of --more a round")
    p.add_argument("--limit", type=int, default=0, help="rows of the table (small runs)")
    p.add_argument("--hold-out", nargs="*", default=[], help="families left out")
    p.add_argument("--exclude-source", nargs="*", default=[], help="sources of task rows to leave out")
    p.add_argument("--seed", type=int, default=1)
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Fit one specialist and write its folder."""
    args = parse(argv)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    with EdgeDemist.load(args.bundle) as model:
        found = refit(model, args)
    specialist.write(args.out / args.task, found.wrapped, found.head, found.described, found.record, found.table)
    shown = {k: found.record["dev"][k] for k in ("accuracy", "macro_f1", "ece", "share")}
    sys.stdout.write(json.dumps({"task": args.task, **shown}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
