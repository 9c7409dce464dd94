"""Teach an n-gram column what a table knows, and what every network sees only as far as labels err on it; minutes.

    python -m tools.train.label_columns --data DATA --bundle BUNDLE --task url-phishing --into 63 --weight 500 --shift 0.2 \
                                        --kinds-shift -1.5 --out NEW
    python -m tools.train.labels --data DATA --bundle NEW --task url-phishing --column 63=500 --shift … --kinds-shift -1.5 --out FILES

The label group of a specialist (``tools.train.labels``) adds a column that its task's table alone has taught.  Such a column calls
names of famous services malicious, since addresses of phishing hold them; strings of services and of everyday kinds as rows like
all others cost it what it knows.  So they count here by what the label group says of them without the column: with z = its log-odds of
a threat, shifted as asked, w = the weight and c = the column, the loss of such a row is that of z + w c, ``SAFETY`` on the wrong side,
while rows of the table know nothing of z, which has learnt them by heart.  A row that is answered well pulls at nothing.

Rows are made from the parts that train: kinds of ``tools.synth.everyday_kinds``, services and their pages, look-alikes as threats,
names of top lists, ordinary strings and fresh threats.  The column is the mean of several runs.  Other columns, encoder and
specialists' tensors stay.  What ``tools.train.labels`` is then told is printed: the column's own bias goes into ``--shift``.
"""

from __future__ import annotations

import argparse
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
from edge_demist.format.ngram_table import table_of
from edge_demist.normalizers import to_bytes
from edge_demist.train.columns import _sgd
from edge_demist.train.ngrams import NgramConfig, hash_rows
from quantize.columns import replace_columns
from tools.synth import everyday_hosts, everyday_kinds, infrastructure, pages, service_names, well_known
from tools.train import pools
from tools.train.data import normalized, read_table
from tools.train.kept import Kept
from tools.train.labels import Columns, label_columns

if TYPE_CHECKING:
    from edge_demist.format.specialist import Specialist

Floats: TypeAlias = NDArray[np.float32]
Rows: TypeAlias = list[tuple[str, str]]
SAFETY, MOST = 0.5, 12.0
"""Log-odds by which everyday strings are to be answered rightly; how far the label group may stand off, in the column's units."""
STORED = 1e-3
"""The column is stored so many times as large, so that general vectors stay as they are."""
COUNTS = {"bare": 3.0, "look-alikes": 0.3, "threats": 0.5}
"""How often rows of a kind count, where not once."""
OF_A_KIND, MADE = 600, 8000


def everyday(task: str, data: Path, seed: int) -> dict[str, Rows]:
    """Strings and whether they are ``legit`` or ``malicious``, by kind; each string stands in the first kind that has it."""
    rng = random.Random(f"{seed} label columns {task}")
    found: dict[str, Rows] = {"bare": [(name, "legit") for name in well_known.services()]}
    what = "pages" if task == "url-phishing" else "names"
    for templates in everyday_kinds.kinds(what, "train").values():
        found.setdefault("kinds", []).extend((everyday_kinds.filled(rng, rng.choice(templates)), "legit") for _ in range(OF_A_KIND))
    if what == "pages":
        found["services"] = [well_known.address(rng)[:2] for _ in range(MADE)]
        found["look-alikes"] = [well_known.look_alike(rng)[:2] for _ in range(MADE)]
        found["parts"] = [("www." + rng.choice(well_known.services()) + well_known.part(rng), "legit") for _ in range(MADE // 2)]
        found["pages"] = [row[:2] for row in pages.generate(rng, MADE)]
    else:
        found["services"] = [well_known.host(rng)[:2] for _ in range(MADE)]
        found["look-alikes"] = [(well_known.look_alike_host(rng), "malicious") for _ in range(MADE)]
        made = [*infrastructure.generate(rng, MADE // 3), *everyday_hosts.generate(rng, MADE)]
        made += [service_names.local(rng) for _ in range(MADE // 4)]
        found["machines"] = [row[:2] for row in made if row[1] == "legit"]
    plain = pools.ordinary_rows(data, task, "legit")
    found["ordinary"] = [(text, "legit") for text in plain.loc[plain["origin"] != "unvetted", "text"]]
    found["threats"] = [(text, "malicious") for text in pools.threat_rows(data, task, "malicious")["text"]]
    if what == "pages":
        found["popular"] = popular(data, rng)
    taken: set[str] = set()
    for kind, rows in found.items():
        found[kind] = [row for row in dict.fromkeys(rows) if row[0] not in taken]
        taken |= {row[0] for row in found[kind]}
    return found


def popular(data: Path, rng: random.Random) -> Rows:
    """Names of top lists, which stand mostly inside phishing addresses in the table: bare, and with paths that most sites have."""
    table = read_table(data, "dga", "train")
    names = sorted(table.loc[table["label"] == "legit", "text"].str.removeprefix("www."))
    some = [rng.choice(("", "www.")) + name for name in rng.sample(names, min(MADE, len(names)))]
    return [
        (name + rng.choice(("", "", "", well_known.path(rng), well_known.sign_in(rng), well_known.part(rng))), "legit") for name in some
    ]


def log_odds(columns: Columns, positive: Sequence[int], x: Floats) -> NDArray[np.float64]:
    """Log-odds of a threat [n] by a group of columns, of features float32 [n, H + dim]."""
    z, threat = columns.logits(x).astype(np.float64), np.isin(columns.owners, positive)
    odds: NDArray[np.float64] = np.logaddexp.reduce(z[:, threat], axis=1) - np.logaddexp.reduce(z[:, ~threat], axis=1)
    return odds


def margins(specialist: Specialist, kept: Kept, found: dict[str, Rows], args: argparse.Namespace) -> dict[str, Floats]:
    """What is added to the column's score of everyday strings in its loss, by kind."""
    columns = label_columns(specialist)
    columns.change(len(specialist.weight), argparse.Namespace(**vars(args) | {"column": [(args.into, 0.0)], "temperature": 1.0}))
    result = {}
    for kind, rows in found.items():
        side = np.array([-1.0 if label == "malicious" else 1.0 for _, label in rows])
        odds = log_odds(columns, specialist.positive, kept.joined([text for text, _ in rows])) if rows else np.zeros(0)
        result[kind] = np.clip((odds + SAFETY * side) / (args.weight * STORED), -MOST, MOST).astype(np.float32)
    return result


def learned(
    texts: Sequence[str], y: NDArray[np.int64], counts: Floats, margin: Floats, config: NgramConfig, args: argparse.Namespace
) -> tuple[Floats, float]:
    """The column float32 [buckets] and its bias: the mean of ``--runs`` runs on normalized texts."""
    raw = [to_bytes(text) for text in texts]
    ends = np.cumsum([0, *map(len, raw)]).astype(np.int64)
    buckets, offsets = hash_rows(np.frombuffer(b"".join(raw) + b"\0", np.uint8), ends[:-1], ends[1:], config)
    total, bias = np.zeros((config.buckets, 1), np.float32), 0.0
    for number in range(args.runs):
        one, its = np.zeros_like(total), np.zeros(1, np.float32)
        _sgd(buckets, offsets, y, one, its, args.epochs, args.rate, args.drop, args.seed + number, counts, margin)
        total, bias = total + one / np.float32(args.runs), bias + float(its[0]) / args.runs
    return total[:, 0], bias


def column(model: EdgeDemist, args: argparse.Namespace) -> tuple[Floats, float, dict[str, int]]:
    """The column, its bias, and how many rows of each kind it learnt from."""
    specialist, bundle = model.specialist(args.task), model.bundle
    if bundle.ngrams is None or specialist.ngrams is not None or not specialist.label_subclasses:
        raise SystemExit(f"{args.task} has no label group on columns of the shared table (tools.train.labels)")
    shape = table_of(bundle.ngrams, bundle.tensors).config
    config = NgramConfig(shape.buckets, shape.dim, shape.min_n, shape.max_n, shape.max_bytes)
    table = read_table(args.data, args.task, "train")
    held = {*table["text"], *read_table(args.data, args.task, "dev")["text"]}
    found = {kind: [row for row in rows if row[0] not in held] for kind, rows in everyday(args.task, args.data, args.seed).items()}
    given = margins(specialist, Kept(model, specialist, args.task, args.features), found, args)
    rows = pd.concat([table[["text", "label"]], *(pd.DataFrame(some, columns=["text", "label"]) for some in found.values())])
    counts = [np.ones(len(table)), *(np.full(len(some), COUNTS.get(kind, 1.0)) for kind, some in found.items())]
    margin = np.concatenate([np.zeros(len(table)), *given.values()]).astype(np.float32)
    y = np.isin([specialist.labels.index(label) for label in rows["label"]], specialist.positive).astype(np.int64)
    texts = normalized(list(rows["text"]), specialist.normalizer)
    weight, bias = learned(texts, y, np.concatenate(counts).astype(np.float32), margin, config, args)
    return weight, bias, {"table": len(table)} | {kind: len(some) for kind, some in found.items()}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.label_columns", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to start from (default: the packaged one)")
    p.add_argument("--task", required=True, choices=("hostname-threat", "url-phishing"))
    p.add_argument("--into", type=int, required=True, help="column of the shared table that only this label group reads")
    p.add_argument("--weight", type=float, default=500.0, help="what the label group will read it with")
    p.add_argument("--shift", type=float, default=0.0, help="added to the log-odds of threats, before what the column says")
    p.add_argument("--kinds-shift", type=float, default=0.0, help="added to the harmless columns after the first")
    p.add_argument("--epochs", type=int, default=24)
    p.add_argument("--rate", type=float, default=3.0)
    p.add_argument("--drop", type=float, default=0.5, help="share of a row's n-grams left out at random")
    p.add_argument("--runs", type=int, default=3, help="columns of which the mean is taken")
    p.add_argument("--features", type=Path, metavar="DIR", help="folder where vectors are kept for another run")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", type=Path, required=True)
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Learn the column and write the bundle."""
    args = parse(argv)
    with EdgeDemist.load(args.bundle) as model:
        weight, bias, rows = column(model, args)
        replace_columns(model.bundle, {args.into: np.float32(STORED) * weight}, args.out, keep_general=True)
    shift = round(args.shift + args.weight * STORED * bias, 4)
    sys.stdout.write(json.dumps({"task": args.task, "rows": rows, "column": f"{args.into}={args.weight:g}", "shift": shift}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
