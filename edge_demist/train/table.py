"""Labelled rows from CSV, TSV, JSON lines or Parquet, and the rows that are kept apart from training."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_demist.errors import InputError
from edge_demist.format.facts import MAX_LABELS

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
FEWEST_ROWS = 5
"""Rows of a label without which no tenth is drawn."""
TENTH = 0.1
ROWS_OF_ONE_PERCENT = 300
"""Harmless rows from which a false-positive rate of 1 in 100 is claimed (``calibration.LEAST_EXPECTED``)."""
Pairs = list[tuple[str, str]]


def read_pairs(path: Path, text: str = "text", label: str = "label") -> Pairs:
    """(text, label) of every row; labels that are whole numbers count as their digits.

    Raises:
        InputError: the file cannot be read in the form its name says, a column is missing, or a row lacks a text or a label.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: files end in {', '.join(SUFFIXES)}")
    try:
        rows = list(_rows(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (ValueError, csv.Error, RecursionError) as error:  # not UTF-8, cut off, not of the form that its name says
        raise InputError(f"{path}: cannot be read as {path.suffix}: {error}") from None
    if not rows:
        raise InputError(f"{path}: no rows")
    for name in (text, label):
        if not any(name in row for row in rows):
            found = ", ".join(sorted(map(str, rows[0]))) or "none"
            raise InputError(f"{path}: no column {name!r}; there are {found} (--text-column, --label-column name others)")
    return [(_value(path, number, row, text), _value(path, number, row, label)) for number, row in enumerate(rows, 1)]


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.suffix == ".parquet":
        try:
            from pyarrow import parquet
        except ImportError:
            raise InputError(f"{path}: reading Parquet needs pyarrow: pip install 'edge-demist[parquet]'") from None
        yield from parquet.read_table(path).to_pylist()
        return
    with path.open(encoding="utf-8-sig", newline="") as stream:
        if path.suffix == ".jsonl":
            for line in filter(str.strip, stream):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise InputError(f"{path}: {line[:40]!r} is no JSON object")
                yield row
            return
        if path.suffix == ".tsv":
            reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
        else:
            reader = csv.DictReader(stream, strict=True)
        rows = list(reader)
        if not rows and reader.fieldnames:
            raise InputError(f"{path}: no rows")
        yield from rows


def _value(path: Path, number: int, row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if isinstance(value, int):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise InputError(f"{path}: row {number} has no {name}")
    return value


def split(
    path: Path, rows: Pairs, dev_path: Path | None, dev: Pairs | None, seed: int, alarms: Collection[str] = ()
) -> tuple[Pairs, Pairs]:
    """Rows to train on and rows to calibrate on; without ``dev`` those are a tenth, drawn by label. No text is in both.

    Beside labels that are alarms, of the harmless rows as many are drawn as a false-positive rate of 1 in 100 needs, at most a third.

    Raises:
        InputError: a label is too rare, there are too few or too many, or dev has one that training lacks.
    """
    rows = list(dict.fromkeys(rows))
    if twice := len(rows) - len({text for text, _ in rows}):
        _say(f"{path}: {twice} texts have more than one label; each of their rows is kept")
    counts = Counter(label for _, label in rows)
    if not 2 <= len(counts) <= MAX_LABELS:
        raise InputError(f"{path}: {len(counts)} labels; a specialist has 2 to {MAX_LABELS}")
    held = dev if dev is not None else _draw(path, rows, counts, seed, alarms)
    if unknown := sorted({label for _, label in held} - set(counts)):
        raise InputError(f"{dev_path or path}: no row to train on has the label {unknown[0]!r}")
    if absent := sorted(set(counts) - {label for _, label in held}):
        _say(f"{dev_path or path}: no row to calibrate on has the label {absent[0]!r}")
    texts = {text for text, _ in held}
    kept = [row for row in rows if row[0] not in texts]
    if dev is not None and len(kept) < len(rows):
        _say(f"{path}: {len(rows) - len(kept)} rows left out, their texts are in the rows to calibrate on")
    if missing := sorted(set(counts) - {label for _, label in kept}):
        raise InputError(f"{path}: every text of label {missing[0]!r} is in the rows to calibrate on")
    return kept, held


def _draw(path: Path, rows: Pairs, counts: Mapping[str, int], seed: int, alarms: Collection[str]) -> Pairs:
    if rare := [label for label in sorted(counts) if counts[label] < FEWEST_ROWS]:
        raise InputError(f"{path}: label {rare[0]!r} has {counts[rare[0]]} rows; give --dev, or at least {FEWEST_ROWS} of each label")
    random, held = np.random.default_rng(seed), Pairs()
    harmless = sum(count for label, count in counts.items() if label not in alarms)
    share = min(max(ROWS_OF_ONE_PERCENT / harmless, TENTH), 1 / 3) if alarms else TENTH
    for label in sorted(counts):
        own = [row for row in rows if row[1] == label]
        part = TENTH if label in alarms else share
        held += [own[i] for i in sorted(random.permutation(len(own))[: max(1, math.ceil(len(own) * part - 1e-9))])]
    return held


def alarms_of(labels: Iterable[str], named: Iterable[str], all_but: Iterable[str]) -> tuple[str, ...]:
    """The labels that are alarms: those named, or all but those named.

    Raises:
        InputError: a name is no label, both ways are used, or nothing harmless is left.
    """
    known, chosen, harmless = set(labels), set(named), set(all_but)
    for option, given in (("--alarm", chosen), ("--all-but", harmless)):
        if unknown := sorted(given - known):
            raise InputError(f"{option} {unknown[0]}: no row has that label; labels are {', '.join(sorted(known)[:20])}")
    if chosen and harmless:
        raise InputError("--alarm and --all-but exclude each other")
    chosen = known - harmless if harmless else chosen
    if chosen == known:
        raise InputError("--alarm names every label; at least one must be harmless")
    if harmless == known:
        raise InputError("--all-but names every label; at least one must be an alarm")
    return tuple(sorted(chosen))


def _say(text: str) -> None:
    sys.stderr.write(f"edge-demist: {text}\n")
