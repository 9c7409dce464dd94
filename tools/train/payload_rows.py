"""Rows beside the tables of uri-attack and cmdline, and strings kept back to set thresholds on and to measure.

    python -m tools.train.payload_rows --data DATA --out ROWS
    python -m tools.train.refit --data DATA --task uri-attack --more ROWS/uri-attack.parquet --out FILES

Writes, for each of the two tasks, ``<task>.parquet`` (text, label, source) to train on, ``<task>.ordinary.parquet`` (ordinary
strings that train nothing: thresholds) and ``<task>.fresh.parquet`` (attacks that train nothing).  What is kept back is chosen by
the first path segment, the proof of concept or the repository, so that near copies stay together.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from edge_demist.normalizers import request, to_bytes
from edge_demist.text import windows
from tools.train import ood
from tools.train.data import read_table

FOREIGN = 4000
"""Strings of other kinds a task, harmless ones: an alarm is no longer lowered by the head that knows other kinds."""
UNVETTED = ("open-web",)
"""Kinds of ordinary strings that nobody looked through: they train nothing and set no threshold."""
KEPT_REPOSITORIES = 0.3


def share(key: str) -> float:
    """A number from 0 to 1 that depends on the key alone."""
    return zlib.crc32(key.encode()) / 2**32


def segment(target: str) -> str:
    """What stands for a target's site: its first path segment with digits squashed."""
    return re.sub(r"\d+", "0", re.split(r"[/?&=]", target.lstrip("/"), maxsplit=1)[0])[:24]


def foreign_rows(data: Path, task: str, label: str, seed: int) -> list[tuple[str, str, str]]:
    """Strings of other kinds as harmless rows."""
    rng = random.Random(f"{seed} {task} harmless")
    found: list[str] = []
    for kind in ood.FOREIGN[task]:
        if kind in ood.MAKERS:
            found += ood.MAKERS[kind](rng, FOREIGN)
        else:
            column = pd.read_parquet(data / "corpus" / f"{kind}.parquet")["text"]
            found += list(column.sample(min(FOREIGN // 2, len(column)), random_state=seed + 7))
    found = sorted({text for text in found if text.strip()})
    return [(text, label, "other kinds") for text in rng.sample(found, min(FOREIGN, len(found)))]


def targets(data: Path) -> pd.DataFrame:
    """Ordinary request targets and values, those of whole addresses among them; without unvetted kinds."""
    table = pd.read_parquet(data / "ordinary" / "targets.parquet")[["text", "kind", "source"]]
    whole = pd.read_parquet(data / "ordinary" / "urls.parquet")[["text", "kind", "source"]]
    whole["text"] = whole["text"].str.replace(r"^[a-z]+://[^/?#]*", "", regex=True).str.replace(r"#.*$", "", regex=True)
    both = pd.concat([table, whole[whole["text"].str.len() > 1]]).drop_duplicates("text")
    return both[~both["kind"].isin(UNVETTED)].reset_index(drop=True)


def parts(text: str) -> list[str]:
    """The windows that a long target is served in."""
    raw = to_bytes(request(text))
    if not windows.is_long(raw, "request", overflow=False):
        return []
    return [w.raw.decode("utf-8", "replace") for w in windows.expand(raw, "request", lambda _: True)]


def uri_attack(data: Path, seed: int) -> dict[str, pd.DataFrame]:
    """Rows of uri-attack."""
    ordinary = targets(data)
    trains = ordinary["text"].map(lambda text: share(segment(text)) < 0.35)
    rows = [(text, "normal", source) for text, source in ordinary.loc[trains, ["text", "source"]].itertuples(index=False)]
    rng = random.Random(f"{seed} windows")
    rows += [(rng.choice(found), "normal", source) for text, _, source in rows if (found := parts(text))]
    attacks = pd.read_parquet(data / "threats" / "attacks.parquet")
    attacks = attacks[attacks["kind"] != "no-visible-payload"]
    learnt = attacks["ref"].map(lambda ref: share(str(ref)) < 0.5)
    rows += [(text, kind, source) for text, kind, source in attacks.loc[learnt, ["text", "kind", "source"]].itertuples(index=False)] * 2
    rows += foreign_rows(data, "uri-attack", "normal", seed)
    return {"": as_table(rows), ".ordinary": ordinary[~trains], ".fresh": attacks[~learnt]}


def cmdline(data: Path, seed: int) -> dict[str, pd.DataFrame]:
    """Rows of cmdline."""
    lines = pd.read_parquet(data / "tasks" / "cmdline" / "extra-benign-life.parquet")
    kept = lines["source"].map(lambda source: share(f"{source} {seed}") < KEPT_REPOSITORIES)
    rows = list(lines.loc[~kept, ["text", "label", "source"]].itertuples(index=False, name=None)) * 2
    rows += foreign_rows(data, "cmdline", "benign", seed)
    dev = read_table(data, "cmdline", "dev")
    return {"": as_table(rows), ".ordinary": lines[kept], ".fresh": dev[dev["label"] == "malicious"]}


def as_table(rows: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """Rows as ``tools.train.specialist --more`` takes them."""
    return pd.DataFrame(rows, columns=["text", "label", "source"])


def main(argv: Sequence[str] | None = None) -> int:
    """Write the rows of both tasks."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.payload_rows", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with ordinary/, threats/, corpus/ and tasks/")
    p.add_argument("--out", type=Path, required=True, help="folder for the Parquet files")
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    for task, make in (("uri-attack", uri_attack), ("cmdline", cmdline)):
        for part, table in make(args.data, args.seed).items():
            table.to_parquet(args.out / f"{task}{part}.parquet", index=False)
            sys.stderr.write(f"{task}{part}: {len(table):,} rows\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
