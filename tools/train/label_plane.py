"""Mix into a label group what the task's table alone says of the vectors that the adapter gives today; a minute.

    python -m tools.train.label_plane --data DATA --bundle BUNDLE --task uri-attack --share 0.35 --made searches=9000 --out FILES
    python -m quantize add FILES/uri-attack.safetensors --replace --out NEW

Rounds on ordinary strings turn an adapter and its head towards alarms, and the head's columns no longer fit the table as well as a
plain logistic regression on the same vectors does.  The regression learns from the table, and from rows beside it (``--made``,
``--more``, ``--kinds``) that count ``--rest`` times as much, so that it does not forget what they are.  The label group's columns
(``tools.train.labels``) become (1 - share) times what they were and share times the plane of their label.  The alarm group, thresholds of
alarms, screen and OOD detector stay bit by bit; thresholds for accuracy are taken again on dev.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from tools.synth import GENERATORS, evasion
from tools.synth.words import word
from tools.train import payload_rows, quiet
from tools.train.data import TASKS, read_table
from tools.train.kept import Kept
from tools.train.label_columns import COUNTS, everyday
from tools.train.labels import composed, label_columns, named_count, write
from tools.train.quiet_table import SHORT, runs
from tools.train.refit import fit_head

if TYPE_CHECKING:
    from edge_demist.format.specialist import Specialist
    from tools.train.labels import Columns

Floats: TypeAlias = NDArray[np.float32]
PENALTY, WORDS = 1e-3, 12
"""Weight decay of the plane on standardized vectors; fewer words than these stand on a side of a value."""


def rows_of(args: argparse.Namespace, model: EdgeDemist) -> pd.DataFrame:
    """Columns text, label, count: the table, at most ``--most`` rows of it, and what stands beside it; no text twice, none of dev."""
    table, labels = read_table(args.data, args.task, "train"), model.specialist(args.task).labels
    held = {*table["text"], *read_table(args.data, args.task, "dev")["text"]}
    table = table[table["label"].isin(labels)]
    parts = [table.sample(min(len(table), args.most), random_state=args.seed)[["text", "label"]].assign(count=1.0)]
    rng = random.Random(f"{args.seed} label plane {args.task}")
    beside = [pd.read_parquet(path, columns=["text", "label"]).assign(count=args.rest) for path in args.more]
    for name, count in args.made:
        made = pd.DataFrame([row[:2] for row in GENERATORS[name](rng, count)], columns=["text", "label"])
        beside.append(made.assign(count=args.rest))
    if args.kinds:
        found = everyday(args.task, args.data, args.seed)
        beside += [pd.DataFrame(rows, columns=["text", "label"]).assign(count=args.rest * COUNTS.get(k, 1.0)) for k, rows in found.items()]
    if args.parts:
        beside.append(parts_of([*parts, *beside], rng).assign(count=args.rest))
        beside.append(changed(model, args.task, parts[0], rng, args.changed).assign(count=args.rest))
    parts += [part[~part["text"].isin(held) & part["label"].isin(labels)] for part in beside]
    return pd.concat(parts, ignore_index=True).drop_duplicates("text").reset_index(drop=True)


def parts_of(tables: Sequence[pd.DataFrame], rng: random.Random) -> pd.DataFrame:
    """What windows of ordinary requests hold is ordinary: their parts, and runs of some of their parameters."""
    rows = pd.concat([table[["text", "label"]] for table in tables]).drop_duplicates("text")
    ordinary = [text for text in rows.loc[rows["label"] == "normal", "text"] if text.isprintable()]
    found = dict.fromkeys(part for text in ordinary for part in [*payload_rows.parts(text), *runs(rng, text)])
    readable = [text for text in found if not any("\ud800" <= c <= "\udfff" for c in text)]  # bytes that are no UTF-8
    return pd.DataFrame({"text": readable, "label": "normal"})


def among_words(rng: random.Random, text: str) -> str:
    """A value behind words, before words, or both."""
    before, after = (" ".join(word(rng) for _ in range(rng.randrange(WORDS))) for _ in range(2))
    value = quote(f"{before} {text} {after}".strip(), safe="")
    return f"/{word(rng)}?{rng.choice(('q', 'id', 'name', 'search', word(rng)))}={value}"


def changed(model: EdgeDemist, task: str, table: pd.DataFrame, rng: random.Random, count: int) -> pd.DataFrame:
    """Short values of the table, changed so that an attack keeps working: attacks that alarm and ordinary values keep their labels."""
    short = table[(table["text"].str.len() < SHORT) & ~table["text"].str.startswith("/") & table["text"].map(str.isprintable)]
    attacks = short[short["label"] != "normal"]
    attacks = attacks[[bool(answer.alarm) for answer in model.classify(list(attacks["text"]), task=task)]]
    rows = []
    for some in (attacks, short[short["label"] == "normal"]):
        for text, label in some.sample(min(count, len(some)), random_state=rng.randrange(2**31))[["text", "label"]].itertuples(index=False):
            made = rng.choice(list(evasion.CHANGES[task].values()))(rng, text)
            rows += [
                (one, label) for one in (made, quiet.placed(rng, text), among_words(rng, text)) if one is not None and one.isprintable()
            ]
    return pd.DataFrame(rows, columns=["text", "label"])


def mixed(columns: Columns, plane: Floats, share: float, shift: float, positive: Sequence[int]) -> None:
    """Mix a plane a label, float32 [H + 1, labels], into columns; ``shift`` is added to threats."""
    hidden = len(plane) - 1
    columns.rows *= np.float32(1.0 - share)
    columns.rows[:hidden] += np.float32(share) * plane[:-1, columns.owners]
    columns.rows[-1] += np.float32(share) * plane[-1, columns.owners]
    columns.rows[-1] += np.float32(shift) * np.isin(columns.owners, positive)


def learned(specialist: Specialist, kept: Kept, rows: pd.DataFrame) -> Floats:
    """A plane a label, float32 [H + 1, labels], the bias last."""
    labels = list(specialist.labels)
    y = np.array([labels.index(name) for name in rows["label"]], np.int64)
    counts = rows["count"].to_numpy(np.float32)
    weight, bias = fit_head(kept(list(rows["text"]))[0], y, len(labels), 150, counts, PENALTY)
    return np.concatenate([weight.T, bias[None]]).astype(np.float32)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.label_plane", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--task", required=True, choices=[name for name, task in TASKS.items() if task.kind == "alarm"])
    p.add_argument("--share", type=float, required=True, help="of the plane in the label group, 0 to 1")
    p.add_argument("--rest", type=float, default=0.3, help="how often a row beside the table counts")
    p.add_argument("--made", type=named_count, nargs="*", default=[], metavar="NAME=N", help="generated rows (tools.synth)")
    p.add_argument("--more", type=Path, nargs="*", default=[], metavar="FILE", help="rows beside the table (text, label)")
    p.add_argument("--parts", action="store_true", help="uri-attack: also what windows of ordinary requests hold, and changed values")
    p.add_argument("--changed", type=int, default=8000, metavar="N", help="attacks, and ordinary values, that --parts changes")
    p.add_argument("--kinds", action="store_true", help="strings that every network sees, as tools.train.label_columns makes them")
    p.add_argument("--shift", type=float, default=0.0, help="added to the log-odds of threats")
    p.add_argument("--most", type=int, default=200_000, help="rows of the table at most")
    p.add_argument("--features", type=Path, metavar="DIR", help="folder where vectors are kept for another run")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args(argv)
    if not 0.0 <= args.share <= 1.0:
        p.error(f"--share {args.share:g}: from 0 to 1")
    if args.kinds and args.task not in ("hostname-threat", "url-phishing"):
        p.error(f"--kinds: none are made for {args.task}; name rows by --made or --more")
    if args.parts and args.task != "uri-attack":
        p.error(f"--parts: {args.task} reads no requests")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Fit the plane, mix it in, calibrate and write the file."""
    args = parse(argv)
    with EdgeDemist.load(args.bundle) as model:
        specialist = model.specialist(args.task)
        if not specialist.label_subclasses:
            raise SystemExit(f"{args.task} has no label group (tools.train.labels)")
        file = safetensors.read(model.bundle.path / "specialists" / f"{args.task}.safetensors", copy=True)
        columns, kept = label_columns(specialist), Kept(model, specialist, args.task, args.features)
        rows = rows_of(args, model)
        mixed(columns, learned(specialist, kept, rows), args.share, args.shift, specialist.positive)
        said = write(model, args.data, args.out, specialist, composed(specialist, columns, file, specialist.label_below))
    sys.stdout.write(json.dumps({"task": args.task, "rows": len(rows), **said}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
