"""Instructions per string on a board: ours, and ONNX Runtime int8 beside it; and the gate on ours."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_demist import EdgeDemist
from edge_demist.diagnostics import samples
from tools.arm import boards

STRINGS = 16
SCREENED = 64
"""Host names of one batch for the counts of the screen."""
REPEATS = 2
"""Passes that are counted; counts repeat but for a few instructions in a million."""
TOLERANCE = 0.02
"""Accepted growth of the instructions per string, as a share."""


@dataclass(frozen=True)
class Block:
    """A straight run of instructions: how often it ran, and its words as hexadecimal text."""

    count: int
    words: str

    @property
    def size(self) -> int:
        """Number of instructions."""
        return len(self.words) // 8

    def counters(self) -> dict[str, int]:
        """Instructions executed, by kind: Arm ARM, C4.1: SDOT and UDOT by vector and by element; Advanced SIMD; loads and stores."""
        words = np.frombuffer(bytes.fromhex(self.words), "<u4")
        dot = (words & 0x9F20FC00 == 0x0E009400) | (words & 0x9F00F400 == 0x0F00E000)
        kinds = {"dot_products": dot, "simd": words & 0x0E000000 == 0x0E000000, "loads_stores": words & 0x0A000000 == 0x08000000}
        return {"instructions": self.count * self.size} | {name: self.count * int(found.sum()) for name, found in kinds.items()}


@dataclass(frozen=True)
class Profile:
    """The blocks of some passes over some strings, and those of a mark, whose cost is in the former, too."""

    blocks: list[Block]
    mark: list[Block]
    strings: int

    def per_string(self) -> dict[str, float]:
        """Counters of one string, less the cost of a mark."""
        work, mark = (total(blocks) for blocks in (self.blocks, self.mark))
        return {name: (work[name] - mark[name]) / self.strings for name in work}


def total(blocks: list[Block]) -> dict[str, int]:
    """Counters of all blocks together."""
    found = dict.fromkeys(Block(0, "").counters(), 0)
    for block in blocks:
        for name, value in block.counters().items():
            found[name] += value
    return found


def sample_ids(bundle: Path, target: Path, texts: list[str] | None = None) -> dict[str, Any]:
    """Write the ids of ``STRINGS`` host names; returns how many and their mean length."""
    names = texts or samples.shipped("hostname")[::20][:STRINGS]
    ids, offsets = EdgeDemist.load(bundle).tokenizer.encode_batch([t.encode() for t in names], add_special_tokens=True)
    np.savez(target, token_ids=ids, offsets=offsets)
    return {"strings": len(names), "mean_tokens": float(np.diff(offsets).mean())}


def parse_blocks(text: str) -> list[list[Block]]:
    """Blocks between marks 0 and 1, and between marks 1 and 2.

    Raises:
        ValueError: a mark is missing, as when the guest died.
    """
    parts = text.split("mark ")[1:]
    names = [part.split("\n", 1)[0] for part in parts]
    if names != ["1", "2"]:
        raise ValueError(f"expected marks 1 and 2, found {names}")
    lines = [[line.split() for line in part.splitlines()[1:]] for part in parts]
    return [[Block(int(number), words) for number, words in part] for part in lines]


def profile(folder: Path, board: boards.Board, kind: str, model: Path, ids: Path, strings: int) -> Profile:
    """What one program executes on one board."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "blocks.txt"
        program = ["tools/arm/guest.py", "count", kind, str(model.resolve()), str(ids.resolve()), str(REPEATS)]
        boards.run(folder, board, program, plugin=f"blocks,out={out}")
        blocks, mark = parse_blocks(out.read_text(encoding="ascii"))
        return Profile(blocks, mark, strings * REPEATS)


Costing = Callable[[Profile, boards.Board], dict[str, object]]


def count_all(folder: Path, models: Path, peers: Mapping[str, str], costing: Costing | None = None) -> dict[str, Any]:
    """Every board: ours on ``models/bundle``, and each peer's graph, ``{title: file in models}``, that is there.

    ``costing`` adds what it makes of each profile under ``estimates``.
    """
    programs = {"native": ("native", models / "bundle")}
    programs |= {title: ("ort", models / file) for title, file in peers.items() if (models / file).exists()}
    with tempfile.TemporaryDirectory() as name:
        ids = Path(name) / "ids.npz"
        facts = sample_ids(models / "bundle", ids)
        result: dict[str, Any] = {**facts, "boards": {}}
        for key, board in boards.BOARDS.items():
            here: dict[str, Any] = {"title": board.title, "rows": {}}
            for title, (kind, model) in programs.items():
                found = profile(folder, board, kind, model, ids, facts["strings"])
                here["rows"][title] = found.per_string()
                sys.stderr.write(f"{key}: {title}: {here['rows'][title]['instructions']:,.0f} instructions\n")
                if costing is not None:
                    here.setdefault("estimates", {})[title] = costing(found, board)
            result["boards"][key] = here
    return result


def count_screen(folder: Path, bundle: Path) -> dict[str, Any]:
    """Every board: instructions a host name in a batch, for stage one of three specialists and for four whole passes."""
    names = samples.shipped("hostname")[::5][:SCREENED]
    result: dict[str, Any] = {"strings": len(names), "boards": {}}
    with tempfile.TemporaryDirectory() as name:
        texts = Path(name) / "names.json"
        texts.write_text(json.dumps(names), encoding="utf-8")
        for key, board in boards.BOARDS.items():
            rows = {kind: profile(folder, board, kind, bundle, texts, len(names)).per_string() for kind in ("screened", "passes")}
            share = rows["screened"]["instructions"] / rows["passes"]["instructions"]
            result["boards"][key] = {"title": board.title, "rows": rows, "screened_share": round(share, 5)}
            sys.stderr.write(f"{key}: a screened name takes {share:.2%} of the instructions of four passes\n")
    return result


def keep_peers(recorded: Mapping[str, Any], result: dict[str, Any]) -> None:
    """Put the recorded peers beside our new figures.

    Raises:
        ValueError: they belong to other strings or another architecture.
    """
    for name in ("strings", "mean_tokens", "architecture"):
        if recorded[name] != result[name]:
            raise ValueError(f"{name} of the record is {recorded[name]}, not {result[name]}: count the peers, too")
    for key, board in result["boards"].items():
        for part in ("rows", "estimates"):
            known = recorded["boards"][key].get(part, {})
            if part in board or known:
                board[part] = known | board.get(part, {})


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
