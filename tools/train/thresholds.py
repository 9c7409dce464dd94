"""Alarm thresholds of a specialist from ordinary strings, scored as they are served (windows and all).

    python -m tools.train.thresholds --bundle BUNDLE --task uri-attack --ordinary ROWS/uri-attack.ordinary.parquet --out FILES
    python -m tools.train.thresholds --bundle BUNDLE --task dga --data DATA --out FILES      # curated strings of the part "calibrate"
    python -m quantize add FILES/uri-attack.safetensors --replace --out NEW

With --folder, in place of --out, they go into the ``specialist.json`` of a folder of adapters that the bundle was made of.
A rate gets a threshold where at least ``LEAST_COUNT`` of the strings may alarm.  How many strings it comes from stands beside it
(``fpr_strings``).  With ``--group source`` no threshold lies below what the strings of files with that column ask for by themselves, so
that those of a source that is left out alarm no more often than the rate (lines of one repository are alike, and those of others differ).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.train.calibration import LOWEST_ALARM
from tools.train import low_end, ordinary

RATES = (1e-2, 1e-3, 1e-4, 1e-5)
LEAST_COUNT = 2
"""Ordinary strings that may alarm at a rate, for its threshold to mean something."""
HIGHEST = 0.999999
"""No threshold lies above what float32 scores tell from one."""


def alarm_scores(model: EdgeDemist, task: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Alarm score of every text, float64 [n]; texts that cannot be processed score 0."""
    return np.array([answer.alarm_score for answer in model.classify(list(texts), task=task)])


def thresholds(scores: NDArray[np.float64], share: float = 1.0) -> tuple[dict[str, float], dict[str, float]]:
    """Threshold of each rate, half-way between the last score that may alarm and the next; and from how many strings.

    Of the strings that a rate lets alarm, ``share`` may: other sites are not quite like those that set a threshold.
    """
    ordered = np.sort(scores)[::-1]
    found: dict[str, float] = {}
    for rate in RATES:
        allowed = int(rate * len(ordered))
        if allowed >= LEAST_COUNT:
            allowed = max(int(share * allowed), 1)
            found[str(rate)] = float(min(max((ordered[allowed - 1] + ordered[allowed]) / 2, LOWEST_ALARM), HIGHEST))
    return found, dict.fromkeys(found, float(len(ordered)))


def within(scores: NDArray[np.float64], found: dict[str, float]) -> dict[str, float]:
    """Thresholds, raised where more of ``scores`` would alarm than a rate allows, rounded up; none above ``HIGHEST``."""
    ordered = np.sort(scores)[::-1]
    places = {rate: int(np.ceil(float(rate) * len(ordered))) for rate in found}
    cuts = {rate: float(ordered[place - 1] + ordered[place]) / 2 for rate, place in places.items() if place < len(ordered)}
    return {rate: max(value, min(cuts.get(rate, value), HIGHEST)) for rate, value in found.items()}


def of_groups(scores: NDArray[np.float64], groups: NDArray[np.object_]) -> dict[str, float]:
    """Lowest threshold of each rate at which strings of groups left out alarm no more often than the rate.

    A rate so much stricter is taken that thresholds of the other groups hold it on each. No threshold where the strings are too few, or
    where one group has so many that score high that no other group can tell.
    """

    def cut(some: NDArray[np.float64], allowed: int) -> float:
        ordered = np.sort(some)[::-1]
        return float((ordered[allowed - 1] + ordered[allowed]) / 2)

    parts = [groups == name for name in np.unique(groups)]
    found: dict[str, float] = {}
    for rate in RATES:
        for allowed in range(int(rate * len(scores)), LEAST_COUNT - 1, -1):
            others = [int(allowed * (~part).mean()) for part in parts]
            alarms = sum(
                int((scores[part] >= cut(scores[~part], count)).sum()) if count else int(part.sum())
                for part, count in zip(parts, others, strict=True)
            )
            if alarms <= rate * len(scores):
                found[str(rate)] = min(max(cut(scores, allowed), LOWEST_ALARM), HIGHEST)
                break
    return found


def merged(table: dict[str, dict[str, float]], found: dict[str, float], counts: dict[str, float]) -> dict[str, dict[str, float]]:
    """A specialist's thresholds with those of ordinary strings; stricter rates that had a threshold never get a lower one."""
    fpr = {**table.get("fpr", {}), **found}
    highest = max(found.values(), default=0.0)
    fpr |= {rate: max(value, highest) for rate, value in fpr.items() if rate not in found}
    return {**table, "fpr": fpr, "fpr_strings": counts}


def grouped_strings(files: Sequence[Path], column: str | None) -> pd.Series[str]:
    """The group of each string of the files that have the column, by string."""
    tables = [pd.read_parquet(path) for path in files] if column else []
    parts = [table.drop_duplicates("text").set_index("text")[column].astype(str) for table in tables if column in table]
    found = pd.concat(parts) if parts else pd.Series(dtype=str)
    return found[~found.index.duplicated()]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.thresholds", description=__doc__, formatter_class=raw)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--task", required=True, help="alarm specialist of the bundle")
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--ordinary", type=Path, nargs="+", help="Parquet files of ordinary strings (text)")
    source.add_argument("--data", type=Path, help="folder with ordinary/ (``tools.train.low_end``): rates too low for it follow its tail")
    p.add_argument(
        "--parts",
        nargs="+",
        default=["calibrate"],
        choices=ordinary.PARTS,
        help="parts of --data that are read, of several each by itself too",
    )
    p.add_argument("--least", type=float, default=LOWEST_ALARM, help="no threshold is lower: a label group's cut, for instance")
    p.add_argument("--share", type=float, default=1.0, help="share of a rate that the strings of --ordinary may have")
    p.add_argument("--group", metavar="COLUMN", help="of --ordinary: strings of a group that is left out hold the rate, too")
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="folder for <task>.safetensors")
    where.add_argument("--folder", type=Path, help="folder with a specialist.json to change")
    return p.parse_args(argv)


def of_parts(args: argparse.Namespace, texts: Sequence[str], scores: NDArray[np.float64]) -> dict[str, float]:
    """Thresholds of the strings of --data, none lower than --least, than names that people picked or than one part by itself ask for."""
    strings = low_end.strings(args.data, args.task, args.parts)
    picked = {t for t, by_hand in zip(strings.ordinary, strings.picked, strict=True) if by_hand} if strings else set()
    found, _ = low_end.thresholds(low_end.log_odds(scores), np.zeros(0), np.array([text in picked for text in texts]))
    found = {rate: max(value, args.least) for rate, value in found.items()}
    for part in args.parts if len(args.parts) > 1 else ():
        some = low_end.strings(args.data, args.task, (part,))
        kept = set(some.ordinary) if some else set()
        found = within(scores[[text in kept for text in texts]], found)
    return found


def of_files(args: argparse.Namespace, texts: Sequence[str], scores: NDArray[np.float64]) -> dict[str, float]:
    """Thresholds of the strings of --ordinary, none lower than --least or than what groups left out ask for."""
    found, _ = thresholds(scores, args.share)
    found = {rate: max(value, args.least) for rate, value in found.items()}
    grouped = grouped_strings(args.ordinary, args.group)
    if len(grouped):
        by_text = dict(zip(texts, scores, strict=True))
        strict = of_groups(np.array([by_text[text] for text in grouped.index]), grouped.to_numpy(object))
        found = {rate: max(value, strict.get(rate, 0.0)) for rate, value in found.items()}
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Write the specialist's file with new thresholds."""
    args = parse(argv)
    if args.data is not None:
        strings = low_end.strings(args.data, args.task, args.parts)
        if strings is None:
            raise SystemExit(f"{args.data} has no ordinary strings for {args.task}")
        texts = sorted(set(strings.ordinary))
    else:
        texts = sorted({t for path in args.ordinary for t in pd.read_parquet(path, columns=["text"])["text"]})
    with EdgeDemist.load(args.bundle) as model:
        scores = alarm_scores(model, args.task, texts)
        found = (of_parts if args.data is not None else of_files)(args, texts, scores)
        path = model.bundle.path / "specialists" / f"{args.task}.safetensors"
    counts = dict.fromkeys(found, float(len(texts)))
    if args.folder:
        described = json.loads((args.folder / "specialist.json").read_text())
        described["thresholds"] = merged(described["thresholds"], found, counts)
        (args.folder / "specialist.json").write_text(json.dumps(described, indent=1) + "\n")
    else:
        metadata, tensors = safetensors.read(path)
        table = merged(json.loads(metadata["thresholds"]), found, counts)
        args.out.mkdir(parents=True, exist_ok=True)
        safetensors.write(args.out / f"{args.task}.safetensors", tensors, {**metadata, "thresholds": json.dumps(table, sort_keys=True)})
    sys.stdout.write(json.dumps({"task": args.task, "strings": len(texts), "fpr": found}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
