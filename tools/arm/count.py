"""Instructions per string on a board: ours, and ONNX Runtime int8 beside it; and the gate on ours."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_demist import EdgeDemist
from edge_demist.bench import samples
from tools.arm import boards

STRINGS = 16
REPEATS = 8
TOLERANCE = 0.02
"""Accepted growth of the instructions per string, as a share."""


def sample_ids(bundle: Path, target: Path, texts: list[str] | None = None) -> dict[str, Any]:
    """Write the ids of ``STRINGS`` host names; returns how many and their mean length."""
    names = texts or samples.shipped("hostname")[::20][:STRINGS]
    ids, offsets = EdgeDemist.load(bundle).tokenizer.encode_batch([t.encode() for t in names], add_special_tokens=True)
    np.savez(target, token_ids=ids, offsets=offsets)
    return {"strings": len(names), "mean_tokens": float(np.diff(offsets).mean())}


def parse_marks(text: str) -> list[dict[str, int]]:
    """Counters at each mark.

    Raises:
        ValueError: a mark is missing, as when the guest died.
    """
    lines = [line.split() for line in text.splitlines()]
    if [words[0] for words in lines] != ["mark0", "mark1", "mark2"]:
        raise ValueError(f"expected marks 0, 1 and 2, found {[words[0] for words in lines]}")
    return [dict(zip(words[1::2], map(int, words[2::2]), strict=True)) for words in lines]


def per_string(marks: list[dict[str, int]], strings: int) -> dict[str, float]:
    """Counters between marks 0 and 1 for one string, less the cost of a mark itself."""
    start, end, after = marks
    return {name: (end[name] - start[name] - (after[name] - end[name])) / strings for name in start}


def count(folder: Path, board: boards.Board, kind: str, model: Path, ids: Path, strings: int) -> dict[str, float]:
    """Counters per string of one program on one board."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "counts.txt"
        program = ["tools/arm/guest.py", "count", kind, str(model.resolve()), str(ids.resolve()), str(REPEATS)]
        boards.run(folder, board, program, plugin=f"count,out={out}")
        return per_string(parse_marks(out.read_text(encoding="ascii")), strings * REPEATS)


def count_all(folder: Path, models: Path, peers: Mapping[str, str]) -> dict[str, Any]:
    """Every board: ours on ``models/bundle``, and each peer's graph, ``{title: file in models}``, that is there."""
    with tempfile.TemporaryDirectory() as name:
        ids = Path(name) / "ids.npz"
        facts = sample_ids(models / "bundle", ids)
        result: dict[str, Any] = {**facts, "boards": {}}
        for key, board in boards.BOARDS.items():
            rows = {"native": count(folder, board, "native", models / "bundle", ids, facts["strings"])}
            for title, file in peers.items():
                if (models / file).exists():
                    rows[title] = count(folder, board, "ort", models / file, ids, facts["strings"])
            result["boards"][key] = {"title": board.title, "rows": rows}
            sys.stderr.write(f"{key}: " + ", ".join(f"{t} {r['instructions']:,.0f}" for t, r in rows.items()) + "\n")
    return result


def compare(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What the gate objects to; empty if the instructions per string are within ``TOLERANCE`` of the record."""
    complaints = []
    for key, board in recorded["boards"].items():
        before, now = (side["rows"]["native"]["instructions"] for side in (board, found["boards"][key]))
        change = now / before - 1
        if change > TOLERANCE:
            complaints.append(
                f"{key}: {now:,.0f} instructions a string, {change:+.1%} against the record of {before:,.0f}: slower than accepted"
            )
        elif change < -TOLERANCE:
            complaints.append(
                f"{key}: {now:,.0f} instructions a string, {change:+.1%} against the record of {before:,.0f}: record the progress"
            )
    return complaints


def read(path: Path) -> dict[str, Any]:
    """A committed record."""
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
