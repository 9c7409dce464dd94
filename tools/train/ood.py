"""The OOD detector: does a string belong to a specialist's kind at all?

    python -m tools.train.ood --data DATA --out FILES          # anew for every specialist of the installed bundle
    python -m quantize add FILES --replace --out BUNDLE

A logistic regression on what the head reads (pooled and n-gram vectors). Strings of the kind are the task's rows, generated ones and
unlabelled ones of the corpus; foreign ones are other kinds of the corpus, prose, records, markup, code, log lines and noise
(``edge_demist.train.ood_texts``).
The order of labels does not change; thresholds and temperature are fitted again.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.normalizers import NORMALIZERS, to_bytes
from edge_demist.predictions import LEAST_IN_DISTRIBUTION
from edge_demist.text.ngrams import Ngrams
from edge_demist.train import calibration, ood_texts
from tools.synth import GENERATORS
from tools.train.data import TASKS, Rows, Task, normalized, pack, read_table, sha256_file

if TYPE_CHECKING:
    from edge_demist.format.adapter import Adapter
    from edge_demist.format.specialist import Specialist

Floats = NDArray[np.float32]

LINE = float(np.log(LEAST_IN_DISTRIBUTION / (1 - LEAST_IN_DISTRIBUTION)))
"""Log-odds of a string of the kind below which a label is withheld."""
OF_HOSTS = ("cmdline", "http_header", "path", "payload", "user_agent", "prose", "binary", "made-up")
FOREIGN = {
    "hostname-category": OF_HOSTS,
    "hostname-threat": OF_HOSTS,
    "dga": OF_HOSTS,
    "dns-tunnel": ("cmdline", "http_header", "user_agent", "prose", "binary", "made-up"),
    "url-phishing": ("cmdline", "http_header", "user_agent", "prose", "binary", "made-up"),
    "uri-attack": ("user_agent", "binary", "cert", "machine"),
    "user-agent": ("hostname", "cmdline", "path", "uri", "prose", "binary", "made-up"),
    "cmdline": ("user_agent", "http_header", "cert", "prose", "binary", "made-up"),
    "filename": ("user_agent", "http_header", "cmdline", "prose", "binary", "made-up"),
}
"""Kinds of strings that are foreign to each specialist. To uri-attack prose and records are not: people put them into forms."""
KIN = {
    "hostname-category": ("hostname",),
    "hostname-threat": ("hostname",),
    "dga": ("hostname",),
    "dns-tunnel": ("hostname", "dns_query"),
    "user-agent": ("user_agent",),
    "cmdline": ("cmdline",),
    "filename": ("path",),
}
"""Kinds of the corpus that are a specialist's own."""
MADE = {
    "hostname-category": ("service-names",),
    "hostname-threat": ("service-names", "infrastructure", "dns-legit"),
    "dga": ("service-names", "dga", "dns-legit"),
    "dns-tunnel": ("dns-legit", "tunnel", "service-names"),
    "url-phishing": ("pages", "well-known"),
    "uri-attack": ("uri", "uri-commands", "uri-bodies"),
    "user-agent": ("user-agent",),
    "cmdline": ("cmdline-attack", "cmdline-dev", "cmdline-admin"),
    "filename": ("filename",),
}
"""Generators whose rows are a specialist's own."""
ROWS, SHARE, MADE_UP = 8000, 1500, 12_000
"""Rows of the table, of each kind of the corpus, and made up."""


def texts(
    data: Path, task: Task, table: Sequence[str], seed: int, more: Sequence[str] = (), most: int = ROWS
) -> tuple[list[str], list[str], list[str]]:
    """At most ``most`` rows of the table, generated ones and ``more``; other strings of the task's kind; foreign ones.

    None is empty once normalized.
    """
    rng = random.Random(f"{seed} {task.name} foreign")

    def drawn(kind: str, count: int, state: int) -> list[str]:
        column = pd.read_parquet(data / "corpus" / f"{kind}.parquet")["text"]
        column = column[column.str.len() >= 12] if kind in ("path", "payload") and kind not in KIN.get(task.name, ()) else column
        return list(column.sample(min(count, len(column)), random_state=state))

    own = random.Random(seed).sample(list(table), min(most, len(table)))
    own += [row[0] for name in MADE[task.name] for row in GENERATORS[name](rng, SHARE)]
    own += random.Random(seed).sample(list(more), min(ROWS // 2, len(more)))
    kin = [text for kind in KIN.get(task.name, ()) for text in drawn(kind, 2 * SHARE, 3)]
    strange: list[str] = []
    for kind in FOREIGN[task.name]:
        if kind in MAKERS:
            strange += MAKERS[kind](rng, MADE_UP if kind == "made-up" else SHARE)
        else:
            strange += drawn(kind, SHARE, 2)
    normalizer = NORMALIZERS[task.normalizer]
    parts = (own, kin, ood_texts.told_apart(strange, task.normalizer))
    kept = tuple([text for text in part if normalizer(text)] for part in parts)
    return kept[0], kept[1], kept[2]


def machine(rng: random.Random, count: int) -> list[str]:
    """Lines of logs, headers of messages and lines of dumps, ``count`` of each."""
    return [make(rng) for make in (ood_texts.log_line, ood_texts.mail_header, ood_texts.dump) for _ in range(count)]


MAKERS = {"prose": ood_texts.prose, "binary": ood_texts.binary, "made-up": ood_texts.made_up, "machine": machine}


class Served:
    """Features as a bundle computes them."""

    def __init__(self, model: EdgeDemist, specialist: Specialist) -> None:
        from tools.train.shipped import BundleTokenizer

        self.specialist, self.adapter = specialist, specialist.adapter
        self._model = model
        self._ngrams = Ngrams(specialist.ngrams or model.bundle)
        self._tokenizer = BundleTokenizer(model.bundle)

    def __call__(self, given: Sequence[str]) -> tuple[Floats, Floats]:
        """Pooled [n, H] and n-gram [n, dim] vectors."""
        rows = self._packed(given)
        return self.pooled(rows), self.grams(rows)

    def under(self, adapter: Adapter) -> Served:
        """The same specialist under another adapter."""
        other = copy.copy(self)
        other.adapter = adapter
        return other

    def grams(self, rows: Rows) -> Floats:
        """N-gram vectors, float32 [n, dim]."""
        return self._ngrams.encode_packed(rows.data[: rows.off[-1]].tobytes(), rows.off)

    def _packed(self, given: Sequence[str]) -> Rows:
        return pack(normalized(given, self.specialist.normalizer), self._tokenizer, self.specialist.max_tokens)

    def vectors(self, given: Sequence[str]) -> Floats:
        """Pooled vectors alone, float32 [n, H]."""
        return self.pooled(self._packed(given))

    def ngrams(self, given: Sequence[str]) -> Floats:
        """N-gram vectors alone, float32 [n, dim]."""
        return self._ngrams.encode_batch([to_bytes(text) for text in normalized(given, self.specialist.normalizer)])

    def pooled(self, rows: Rows) -> Floats:
        """Vectors under the adapter, float32 [n, H]."""
        order = np.argsort(rows.lengths, kind="stable")
        some = rows.take(order)
        out = np.empty((len(rows), self._model.dim), np.float32)
        out[order] = self._model.engine.encode(some.ids, some.cu.astype(np.int32), [self.adapter], normalize=False)
        return out


def again(
    model: EdgeDemist, data: Path, task: Task, seed: int, more: Sequence[str] = (), most: int = ROWS, runs: int = 1
) -> tuple[dict[str, Floats], dict[str, Any], dict[str, Any]]:
    """A task's new domain tensors, the mean of ``runs`` detectors, the calibration that follows, and what they refuse."""
    specialist = model.specialist(task.name)
    served, table = Served(model, specialist), list(read_table(data, task.name, "train")["text"])
    heads = []
    for number in range(seed, seed + runs):
        own, kin, strange = (served(part) for part in texts(data, task, table, number, more, most))
        heads.append(calibration.fit_domain(own, strange, kin))
    weight, gram_weight = (np.stack([getattr(head, name) for head in heads]).mean(axis=0) for name in ("weight", "ngram_weight"))
    head = calibration.Domain(weight, gram_weight, float(np.mean([head.bias for head in heads])))
    dev = read_table(data, task.name, "dev")
    pooled, grams = served(list(dev["text"]))
    weight, bias = plain_head(specialist)
    logits = np.concatenate([pooled, grams], axis=1) @ weight + bias
    labels = list(specialist.labels)
    y = np.array([labels.index(name) if name in labels else -1 for name in dev["label"]], np.int64)
    result = calibration.calibrate(task, labels, logits, y, head.probability(pooled, grams))
    shares = {"own": own, "kin": kin, "foreign": strange, "dev": (pooled, grams)}
    refused = {name: round(float((head.probability(*part) < 0.5).mean()), 4) for name, part in shares.items() if len(part[0])}
    return head.tensors(), result, refused


def ordinary_of(files: Sequence[Path]) -> list[str]:
    """Ordinary strings of rows beside a table: those that no attack and no other kind gave (``tools.train.payload_rows``)."""
    tables = [pd.read_parquet(path, columns=["text", "label", "source"]) for path in files]
    return [text for table in tables for text in table.loc[(table["label"] == "normal") & (table["source"] != "other kinds"), "text"]]


def plain_head(specialist: Specialist) -> tuple[Floats, Floats]:
    """A head of one column a label, float32 [H + dim, labels] and [labels], to change.

    Raises:
        SystemExit: it reads no n-grams, or has subclasses or a label group, which are added last.
    """
    if specialist.ngram_weight is None or specialist.subclasses or specialist.label_subclasses:
        raise SystemExit(f"{specialist.task}: fit a head that reads n-grams before it gets subclasses or a label group")
    return np.concatenate([specialist.weight, specialist.ngram_weight]), specialist.bias.copy()


def shift_of(score: Floats, most: float, either_way: bool = False) -> float:
    """What to add to log-odds so that at most the share ``most`` of them lies below ``LINE``; less than nothing only ``either_way``."""
    allowed = int(most * len(score))
    return max(-np.inf if either_way else 0.0, LINE - float(np.partition(score, allowed)[allowed]) + 1e-4)


def lenient(model: EdgeDemist, data: Path, task: Task, most: float, either_way: bool = False) -> tuple[dict[str, Floats], dict[str, float]]:
    """The detector's bias, raised until at most the share ``most`` of the table is refused an answer; what is refused before and then.

    ``either_way`` it is lowered too, where less is refused.

    The dev split is not read. An alarm asks no detector, so that only labels change.
    """
    specialist = model.specialist(task.name)
    pooled, grams = Served(model, specialist)(list(read_table(data, task.name, "train")["text"]))
    assert specialist.domain_weight is not None and specialist.domain_ngram_weight is not None
    score = pooled @ specialist.domain_weight + grams @ specialist.domain_ngram_weight + specialist.domain_bias
    shift = shift_of(np.asarray(score, np.float32), most, either_way)
    refused = {name: round(float((score + by < LINE).mean()), 5) for name, by in (("before", 0.0), ("now", shift))}
    return {"domain_bias": np.array([specialist.domain_bias + shift], np.float32)}, refused


def main(argv: Sequence[str] | None = None) -> int:
    """Fit the OOD detectors of a bundle's specialists again and write their files."""
    p = argparse.ArgumentParser(prog="python -m tools.train.ood", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True, help="folder with corpus/ and tasks/")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--out", type=Path, required=True, help="folder for <task>/<task>.safetensors and <task>/domain.json")
    p.add_argument("--task", nargs="*", default=sorted(TASKS), choices=sorted(TASKS), help="specialists (default: all)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument(
        "--own", type=Path, nargs="*", default=[], metavar="FILE", help="ordinary strings of the kind beside the table (text, source)"
    )
    p.add_argument("--rows", type=int, default=ROWS, metavar="N", help="rows of the table at most")
    p.add_argument("--runs", type=int, default=1, metavar="N", help="detectors on other draws of which the mean is taken")
    p.add_argument(
        "--refuse", type=float, metavar="SHARE", help="fit nothing: raise the bias until at most so many of the table are refused"
    )
    p.add_argument("--either-way", action="store_true", help="of --refuse: lower the bias, too, where fewer are refused")
    args = p.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    with EdgeDemist.load(args.bundle) as model:
        for task in (TASKS[name] for name in args.task):
            metadata, old = safetensors.read(model.bundle.path / "specialists" / f"{task.name}.safetensors")
            if args.refuse is not None:
                tensors, shares = lenient(model, args.data, task, args.refuse, args.either_way)
                new = {name: tensors.get(name.removeprefix("head."), tensor) for name, tensor in old.items()}
                safetensors.write(args.out / f"{task.name}.safetensors", new, metadata)
                sys.stderr.write(f"{task.name}: refused {shares}\n")
                continue
            tensors, result, refused = again(model, args.data, task, args.seed, ordinary_of(args.own), args.rows, args.runs)
            metadata |= {"temperature": repr(result["temperature"]), "thresholds": json.dumps(result["thresholds"], sort_keys=True)}
            new = {name: tensors.get(name.removeprefix("head."), tensor) for name, tensor in old.items()}
            safetensors.write(args.out / f"{task.name}.safetensors", new, metadata)
            record = {
                "command": {"task": task.name, "seed": str(args.seed), "rows": str(args.rows), "runs": str(args.runs)},
                "bundle": model.bundle_id, "refused": refused, "dev": result,
                "data_sha256": {split: sha256_file(args.data / "tasks" / task.name / f"{split}.parquet") for split in ("train", "dev")},
            }  # fmt: skip
            (args.out / f"{task.name}.json").write_text(json.dumps(record, indent=1) + "\n")
            sys.stderr.write(f"{task.name}: refused {refused}, accuracy {result['accuracy']}, ece {result['ece']}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
