"""Fit a specialist's head and its own n-gram table anew, on the adapter that a bundle has, in minutes on one core.

    python -m tools.train.refit --data DATA --task uri-attack --more ROWS/uri-attack.parquet --out FILES
    python -m quantize add FILES/uri-attack.safetensors --replace --out BUNDLE

The adapter stays: vectors come from the engine, as served, so a million tokens take seconds.  What a new normalizer or new rows teach goes
into the head (a logistic regression on the vectors), the table and the OOD detector.  ``tools.train.specialist`` trains the adapter too.
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
import torch
from numpy.typing import NDArray

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.adapter import Adapter
from quantize.int8 import quantize_columns
from tools.train import calibration, mixtures, ngram_table, own_table
from tools.train.data import TASKS, Rows, Task
from tools.train.ngrams import NgramConfig, NgramTable
from tools.train.ood import Served
from tools.train.shipped import BundleTokenizer

Floats = NDArray[np.float32]
PENALTY = 1e-4
"""Weight decay of the head on standardized vectors."""


def joined(parts: Sequence[Rows]) -> Rows:
    """Packed rows one after the other."""

    def ends(name: str) -> NDArray[np.int64]:
        sizes = [np.diff(getattr(part, name)) for part in parts]
        return np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)

    data = np.concatenate([part.data[: part.off[-1]] for part in parts])
    return Rows(np.concatenate([part.ids for part in parts]), ends("cu"), data, ends("off"), np.concatenate([part.y for part in parts]))


def fit_head(pooled: Floats, y: NDArray[np.int64], classes: int, steps: int = 60) -> tuple[Floats, Floats]:
    """Multinomial logistic regression by L-BFGS: weight float32 [classes, hidden], bias float32 [classes]."""
    mean, spread = pooled.mean(axis=0), pooled.std(axis=0) + 1e-6
    x, target = torch.from_numpy((pooled - mean) / spread), torch.from_numpy(y)
    weight, bias = torch.zeros(classes, x.shape[1], requires_grad=True), torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight.T + bias, target) + PENALTY * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = weight.detach().numpy() / spread
    return found.astype(np.float32), (bias.detach().numpy() - found @ mean).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Tabled:
    """An n-gram table as it is served: its int8 values, and its vectors for packed rows."""

    tensors: dict[str, NDArray[Any]]
    config: NgramConfig
    served: NgramTable

    @classmethod
    def of(cls, table: NgramTable) -> Tabled:
        """Quantize a table."""
        matrix = quantize_columns(table.weight.numpy())
        back = torch.from_numpy(matrix.values.astype(np.float32) * matrix.scale)
        return cls({"ngrams.weight": matrix.values, "ngrams.scale": matrix.scale}, table.config, NgramTable(table.config, back))

    def vectors(self, rows: Rows) -> Floats:
        """float32 [n, dim]."""
        index = np.arange(len(rows))
        parts = [self.served.vectors(rows, index[begin : begin + 4096]).numpy() for begin in range(0, len(rows), 4096)]
        return np.concatenate(parts)


def train_table(rows: Rows, classes: int, settings: ngram_table.Settings, seed: int) -> tuple[Tabled, tuple[Floats, Floats]]:
    """A table of the task's own, and the head on it."""
    config = own_table.shape(classes)
    weight, bias = ngram_table.train_columns(rows, classes, config, settings, seed)
    table, head = own_table.folded(weight, bias, classes, config)
    return Tabled.of(table), head


def refit(model: EdgeDemist, args: argparse.Namespace) -> tuple[dict[str, NDArray[Any]], dict[str, str], dict[str, Any]]:
    """Tensors and metadata of a specialist's file, and the record of how they came about."""
    began = time.monotonic()
    task, before = TASKS[args.task], model.specialist(args.task)
    labels = list(before.labels)
    served = Served(model, dataclasses.replace(before, normalizer=task.normalizer, max_tokens=task.max_tokens))
    mixture = mixtures.Mixture(args.data, args.task, labels, BundleTokenizer(model.bundle), args)
    rows = joined(list(itertools.islice(mixture.rounds(), args.rounds)))
    _say(f"{args.task}: {len(rows):,} rows, {len(rows.ids):,} tokens", began)
    settings = ngram_table.SETTINGS.get(args.task, ngram_table.Settings())
    settings = dataclasses.replace(settings, epochs=max(1, round(settings.epochs / args.rounds)))
    table, ngram_head = train_table(rows, len(labels), settings, args.seed)
    _say("n-grams trained", began)
    weight, bias = fit_head(served.pooled(rows), rows.y, len(labels))
    _say("head fitted", began)

    def features(some: Rows) -> tuple[Floats, Floats]:
        return served.pooled(some), table.vectors(some)

    dev = mixture.dev()
    pooled, ngrams = features(dev)
    head = calibration.combine(weight, bias, ngram_head, pooled, ngrams, dev.y)
    own, kin, strange = mixture.domain_features(features)
    ood = calibration.fit_domain(own, strange, kin)
    result = calibration.calibrate(task, labels, head.logits(pooled, ngrams), dev.y, ood.probability(pooled, ngrams))
    result["share"] = {"encoder": head.encoder_factor, "ngrams": head.ngram_factor}
    record = {
        "command": {k: str(v) for k, v in vars(args).items() if k not in ("data", "out", "more", "bundle")}, "bundle": model.bundle_id,
        "seconds": round(time.monotonic() - began), "data_sha256": mixture.hashes, "dev": result,
    }  # fmt: skip
    described = metadata(model, task, labels, result, mixture.sources, table.config)
    return {**lora(before.adapter), **head_tensors(head, ood), **table.tensors}, described, record


def lora(adapter: Adapter) -> dict[str, NDArray[Any]]:
    """An adapter's tensors as a specialist's file names them."""
    found = {}
    for (layer, target), (a, b) in sorted(adapter.layers.items()):
        found[f"lora.{layer}.{target}.A"], found[f"lora.{layer}.{target}.B"] = a, b
    return found


def head_tensors(head: calibration.Combined, ood: calibration.Domain) -> dict[str, NDArray[Any]]:
    """A head's tensors as a specialist's file names them."""
    return {f"head.{name}": tensor for name, tensor in {**head.tensors(), **ood.tensors()}.items()}


def metadata(
    model: EdgeDemist, task: Task, labels: list[str], result: dict[str, Any], sources: Sequence[str], config: NgramConfig
) -> dict[str, str]:
    """The metadata of a specialist's file."""
    return {
        "base_sha256": model.bundle.base_sha256,
        "task": task.name,
        "labels": json.dumps(labels),
        "kind": task.kind,
        "positive_labels": json.dumps(list(task.positive_labels)),
        "normalizer": task.normalizer,
        "max_tokens": str(task.max_tokens),
        "temperature": repr(result["temperature"]),
        "thresholds": json.dumps(result["thresholds"], sort_keys=True),
        "sources": json.dumps(list(sources)),
        "ngrams": json.dumps(dataclasses.asdict(config), sort_keys=True),
    }


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
    p.add_argument("--out", type=Path, required=True, help="folder for <task>.safetensors and <task>.json")
    p.add_argument("--rounds", type=int, default=2, help="rounds of augmentation that are learnt from together")
    p.add_argument("--generated", type=int, default=-1, help="generated rows a round (-1: the task's default)")
    p.add_argument("--more", type=Path, help="Parquet file of more rows: text, label, source")
    p.add_argument("--more-rows", type=int, default=100_000, help="rows of --more a round")
    p.add_argument("--limit", type=int, default=0, help="rows of the table (small runs)")
    p.add_argument("--hold-out", nargs="*", default=[], help="families left out")
    p.add_argument("--exclude-source", nargs="*", default=[], help="sources of task rows to leave out")
    p.add_argument("--seed", type=int, default=1)
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Fit one specialist and write its file and record."""
    args = parse(argv)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    with EdgeDemist.load(args.bundle) as model:
        tensors, described, record = refit(model, args)
    safetensors.write(args.out / f"{args.task}.safetensors", tensors, described)
    (args.out / f"{args.task}.json").write_text(json.dumps(record, indent=1) + "\n")
    shown = {k: record["dev"][k] for k in ("accuracy", "macro_f1", "ece", "share")}
    sys.stdout.write(json.dumps({"task": args.task, **shown}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
