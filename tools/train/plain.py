"""A specialist that is a head on the base as it is, and an n-gram table of its own: seconds to train, no adapter to serve.

    python -m tools.train.plain --data DATA --task tls-certificate --out ADAPTERS
    python -m tools.train.plain --data DATA --task tls-certificate --hold-out-sources S1 S2 --out TRIAL      # scored on sources not seen
    python -m quantize add ADAPTERS/tls-certificate --out BUNDLE

For the tasks of ``PLAIN``.  Vectors come from the engine, as served.  ``tools.train.custom`` trains an adapter as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy import optimize
from sklearn.metrics import classification_report

from edge_demist import EdgeDemist
from edge_demist.format.adapter import Adapter
from edge_demist.train import calibration
from edge_demist.train.columns import Settings
from edge_demist.train.ood_texts import binary, made_up, prose
from tools.synth import certificates, http_headers, sensitive_files
from tools.train import warm
from tools.train.data import Rows, Task, normalized, pack, read_table, sha256_file
from tools.train.ngram_table import prior_shift
from tools.train.refit import fit_head, labels_of, train_table
from tools.train.shipped import BundleTokenizer
from tools.train.specialist import describe

Floats = NDArray[np.float32]
Row = tuple[str, str, str]

OTHER_KINDS = 1500
"""Strings of each other kind that the OOD detector learns from."""
UNKNOWN = "unknown"


def _label_alone(text: str, label: str) -> str:
    return label


@dataclasses.dataclass(frozen=True)
class Columns:
    """Labels of a specialist, and the columns of its head: subclasses in the order of their labels, and the label of each."""

    labels: list[str]
    names: list[str]
    owners: list[int]

    def grouped(self, logits: Floats) -> Floats:
        """Log of what the labels' subclasses add up to, float32 [n, labels], of logits [n, subclasses]."""
        first = [self.owners.index(label) for label in range(len(self.labels))]
        found: Floats = np.logaddexp.reduceat(logits, first, axis=1)
        return found

    def temperature(self, logits: Floats, y: NDArray[np.int64]) -> float:
        """What to divide logits of subclasses by, so that labels ``y`` are likeliest."""

        def loss(log_t: float) -> float:
            p = calibration.softmax(self.grouped(logits / np.float32(np.exp(log_t))))
            return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())

        return float(np.exp(optimize.minimize_scalar(loss, bounds=(-2.5, 2.5), method="bounded").x))


@dataclasses.dataclass(frozen=True)
class Plain:
    """How one task is read and trained."""

    task: Task
    classes: tuple[str, ...] = ()
    made: Callable[[random.Random, int], list[Row]] | None = None
    made_rows: int = 0
    others: tuple[str, ...] = ()
    twins: Callable[[random.Random, Sequence[tuple[str, str]], int], list[Row]] | None = None
    twin_rows: int = 0
    twin_origins: tuple[str, ...] = ()
    drop: float = 0.3
    """Share of a row's n-grams left out at random while the table trains."""
    shaped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Fields of the n-gram table's shape that are not the usual ones."""
    subclass: Callable[[str, str], str] = _label_alone
    """Of a row's text and label: a label may have kinds that have little in common, each a column of its own."""

    def usable(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows to train on: attacks composed into blocks of headers are made anew (``twins``), beside the blocks as they were."""
        if not self.twins or self.twin_origins:
            return table
        composed = (table["origin"] == "composed") & (table["label"] == "attack") & table["text"].str.contains(" | ", regex=False)
        return table[~composed]

    def twin_table(self, rng: random.Random, table: pd.DataFrame) -> pd.DataFrame:
        """Rows made from those of a table by a change of what decides their label."""
        models = table[table["origin"].isin(self.twin_origins)] if self.twin_origins else table
        rows = self.twins(rng, list(models[["text", "label"]].itertuples(index=False, name=None)), self.twin_rows) if self.twins else []
        known = {*table["text"]}
        return pd.DataFrame([row for row in rows if row[0] not in known], columns=["text", "label", "source"])

    def label(self, name: str) -> str:
        """The label that the specialist gives for one of the table's."""
        return name if not self.classes or name in self.classes else UNKNOWN

    def columns(self, table: pd.DataFrame) -> Columns:
        """Labels and subclasses of a table's rows."""
        pairs = {(self.label(name), self.subclass(text, name)) for text, name in zip(table["text"], table["label"], strict=True)}
        labels = sorted({label for label, _ in pairs})
        return Columns(labels, [name for _, name in sorted(pairs)], [labels.index(label) for label, _ in sorted(pairs)])


SIX = ("public-website", "cloud-cdn", "public-ca", "network-device-iot", "development-test", "tor")
"""Classes of certificates that real rows support; the others are ``unknown``."""
PLAIN = {
    plain.task.name: plain
    for plain in (
        Plain(
            Task("tls-certificate", "certificate", "category", 128),
            classes=SIX,
            made=certificates.generate,
            made_rows=6000,
            others=("cmdline", "path", "user_agent", "uri"),
            twins=certificates.shortened,
            twin_rows=6000,
            twin_origins=("real", "rule"),
        ),
        Plain(
            Task("http-header", "header", "alarm", 128, ("attack",)),
            made=http_headers.generate,
            made_rows=9000,
            others=("cmdline", "path", "cert", "hostname"),
            twins=http_headers.twins,
            twin_rows=9000,
            drop=0.1,
            shaped={"max_n": 4, "max_bytes": 1024},
        ),
        Plain(
            Task("filename-sensitivity", "file_words", "category", 64),
            made=sensitive_files.generate,
            made_rows=24_000,
            others=("cmdline", "user_agent", "http_header", "uri"),
        ),
    )
}


NGRAM_SHARES = {"tls-certificate": 3.0, "http-header": 2.0, "filename-sensitivity": 2.0}
"""Weights of the n-grams beside the encoder, by what sources not seen say (``benchmarks.unseen_sources``); dev's sources trained."""


PRIORS = {"filename-sensitivity": 2.0}
"""Share of the logarithm between how often labels come in real rows and in all rows, made ones too, that is added to a head's biases.

The head adds up the encoder's logits and the n-grams', each of which holds how often labels came, so it is more than 1.
"""
RAREST = 0.01
"""How often a label comes at least: tables hold few real names of some kinds that owners of files have many of."""
MADE = ("generated", "composed")
"""Origins of rows of the tables that are not real ones."""


def prior(task: str, y: NDArray[np.int64], real: NDArray[np.bool_], classes: int) -> Floats:
    """What to add to the biases of a head trained on labels ``y``, of which those of real rows tell how often each comes; float32 [C]."""
    counts = np.bincount(y[real], minlength=classes)
    served = np.repeat(np.arange(classes), np.maximum(counts, round(RAREST * counts.sum())))
    found: Floats = PRIORS.get(task, 0.0) * prior_shift(y, served, classes).numpy()
    return found


class Rowset:
    """Rows of one task as the model reads them; their numbers are those of subclasses."""

    def __init__(self, plain: Plain, columns: Columns, tokenizer: BundleTokenizer) -> None:
        self._plain, self._tokenizer = plain, tokenizer
        self._number = {name: i for i, name in enumerate(columns.names)}

    def __call__(self, texts: Sequence[str], names: Sequence[str] | None = None) -> Rows:
        """Pack texts and labels."""
        y = None
        if names is not None:
            found = [self._number[self._plain.subclass(text, name)] for text, name in zip(texts, names, strict=True)]
            y = np.array(found, np.int64)
        return pack(normalized(texts, self._plain.task.normalizer), self._tokenizer, self._plain.task.max_tokens, y)


def tables(args: argparse.Namespace, plain: Plain) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rows to train on, rows to calibrate on, and rows of sources held out (empty where none is named)."""
    train, dev = (read_table(args.data, args.task, part, args.exclude_source) for part in ("train", "dev"))
    both = pd.concat([train, dev])
    held = both[both["source"].isin(args.hold_out_sources)].drop_duplicates("text")
    train, dev = (t[~t["source"].isin(args.hold_out_sources) & ~t["text"].isin(held["text"])] for t in (train, dev))
    rng = random.Random(f"{args.seed} {args.task}")
    train = plain.usable(train)
    if plain.twins:
        train = pd.concat([train, plain.twin_table(rng, train)])
    if plain.made:
        known = {*both["text"]}
        made = [row for row in plain.made(rng, plain.made_rows) if row[0] not in known]
        train = pd.concat([train, pd.DataFrame(made, columns=["text", "label", "source"])])
    return train.reset_index(drop=True), dev.reset_index(drop=True), held.reset_index(drop=True)


def strangers(args: argparse.Namespace, plain: Plain) -> list[str]:
    """Strings of other kinds."""
    rng = random.Random(f"{args.seed} {args.task} other")
    found = prose(rng, OTHER_KINDS) + binary(rng, OTHER_KINDS) + made_up(rng, OTHER_KINDS)
    for kind in plain.others:
        column = pd.read_parquet(args.data / "corpus" / f"{kind}.parquet")["text"]
        found += list(column.sample(min(OTHER_KINDS, len(column)), random_state=args.seed))
    return [text for text in found if normalized([text], plain.task.normalizer)[0]]


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train one task and write its folder; returns its scores."""
    plain = PLAIN[args.task]
    train, dev, held = tables(args, plain)
    columns = plain.columns(train)
    labels, owners = columns.labels, np.array(columns.owners)
    with EdgeDemist.load(args.bundle) as model:
        packed = Rowset(plain, columns, BundleTokenizer(model.bundle))
        rows = packed(train["text"], train["label"])
        settings = Settings(epochs=args.epochs, drop=plain.drop)
        table, ngram_head = train_table([rows], len(owners), settings, args.seed, **plain.shaped)
        served = warm.Served(args.bundle, Adapter(name=args.task, layers={}))
        weight, bias = fit_head(served.pooled(rows), labels_of(rows), len(owners))

        def features(some: Rows) -> tuple[Floats, Floats]:
            return served.pooled(some), table.vectors(some)

        on_dev = packed(dev["text"], dev["label"])
        pooled, ngrams = features(on_dev)
        share = NGRAM_SHARES[args.task]
        real = train["origin"].notna().to_numpy() & ~train["origin"].isin(MADE).to_numpy()
        bias = bias + prior(args.task, owners[labels_of(rows)], real, len(labels))[owners]
        head = calibration.Combined(weight.T, share * ngram_head[0], bias + share * ngram_head[1], 1.0, share)
        ood = calibration.fit_domain((served.pooled(rows), table.vectors(rows)), features(packed(strangers(args, plain))))
        logits, y = head.logits(pooled, ngrams), owners[labels_of(on_dev)]
        temperature = columns.temperature(logits, y)
        answers = columns.grouped(logits / np.float32(temperature))
        result = calibration.calibrate(plain.task, labels, answers, y, ood.probability(pooled, ngrams), temperature=1.0)
        result["share"] = {"encoder": head.encoder_factor, "ngrams": head.ngram_factor}
        if len(held):
            on_held = packed(held["text"], held["label"])
            pooled, ngrams = features(on_held)
            alone = columns.grouped(ngrams @ ngram_head[0] + ngram_head[1])
            answers = columns.grouped(head.logits(pooled, ngrams))
            result["sources_held_out"] = scored(labels, answers, alone, owners[labels_of(on_held)])
        record = {
            "command": {k: str(v) for k, v in vars(args).items() if k not in ("data", "out", "bundle")}, "bundle": model.bundle_id,
            "data_sha256": {part: sha256_file(args.data / "tasks" / args.task / f"{part}.parquet") for part in ("train", "dev")},
            "rows": {"train": len(train), "dev": len(dev)}, "dev": result,
        }  # fmt: skip
    sources = sorted({str(s) for s in train["source"]})
    described = {
        "task": args.task, "labels": labels, **describe(plain.task), "temperature": temperature,
        "thresholds": result["thresholds"], "sources": sources, "subclasses": columns.owners,
    }  # fmt: skip
    folder = args.out / args.task
    folder.mkdir(parents=True, exist_ok=True)
    table.table.write(folder / "ngrams.safetensors")
    save_file({k: torch.from_numpy(v).contiguous() for k, v in {**head.tensors(), **ood.tensors()}.items()}, folder / "head.safetensors")
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / "specialist.json").write_text(json.dumps(described, indent=1) + "\n")
    return result


def scored(labels: list[str], logits: Floats, grams: Floats, y: NDArray[np.int64]) -> dict[str, Any]:
    """Macro-F1 over the labels that the rows have, of the head and of its n-grams alone, and F1 by label."""
    present = [i for i in np.unique(y) if labels[i] != UNKNOWN]
    names = {"labels": present, "target_names": [labels[i] for i in present], "zero_division": 0.0, "output_dict": True}
    whole, alone = (classification_report(y, found.argmax(1), **names) for found in (logits, grams))
    return {
        "n": len(y),
        "macro_f1": round(whole["macro avg"]["f1-score"], 4),
        "macro_f1_ngrams": round(alone["macro avg"]["f1-score"], 4),
        "f1": {labels[i]: round(whole[labels[i]]["f1-score"], 3) for i in present},
    }


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.plain", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with corpus/ and tasks/")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle with the base (default: the packaged one)")
    p.add_argument("--task", required=True, choices=sorted(PLAIN))
    p.add_argument("--out", type=Path, required=True, help="folder of adapters; <task>/ is made in it")
    p.add_argument("--hold-out-sources", nargs="*", default=[], help="sources left out of training and scored apart")
    p.add_argument("--exclude-source", nargs="*", default=[], help="sources to leave out")
    p.add_argument("--epochs", type=int, default=24, help="rounds of the n-grams")
    p.add_argument("--seed", type=int, default=1)
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train one specialist and write its folder."""
    args = parse(argv)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    result = run(args)
    shown = {k: result[k] for k in ("accuracy", "macro_f1", "ece", "share", "sources_held_out") if k in result}
    sys.stdout.write(json.dumps({"task": args.task, **shown}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
