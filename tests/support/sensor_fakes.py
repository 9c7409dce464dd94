"""What the sensor tests share: the stand-in model, a quick way to run ``watch``, the sample logs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.runner import Runner
from tools.sensor.fake_model import FakeModel

ROOT = Path(__file__).parents[2]
RAW = ROOT.parent / "shared" / "data" / "raw"
DATA = ROOT / "tests" / "data"
needs_raw = pytest.mark.skipif(not RAW.is_dir(), reason="the sample logs of ../shared/data/raw are not here")


def watch_once(
    folder: Path, *paths: Path, model: FakeModel | None = None, log: Callable[[str, dict], None] | None = None, **options: object
) -> tuple[list[dict], dict]:
    """Run ``watch --once`` with the stand-in model: events and summary."""
    output = folder / "events.jsonl"
    settings: dict[str, object] = {"paths": paths, "once": True, "output": output, "summary": folder / "summary.json"}
    runner = Runner(WatchConfig(**(settings | options)), lambda: model or FakeModel(), log=log)  # type: ignore[arg-type]
    try:
        runner.run()
    finally:
        runner.close()
    return read_events(output), json.loads((folder / "summary.json").read_text())


def read_events(path: Path) -> list[dict]:
    """Events of a JSONL file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def balanced(counts: dict) -> bool:
    """Whether every record is accounted for."""
    return counts["records"] == counts["records_out"] + sum(counts["skipped"].values())


def read_log(path: Path) -> bytes:
    """A log, uncompressed."""
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def zeek_log(fields: str, *rows: str, types: str = "", path: str = "dns") -> str:
    """A small Zeek log; fields and values are separated by blanks in the arguments."""
    lines = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", f"#path\t{path}"]
    lines.append("#fields\t" + fields.replace(" ", "\t"))
    if types:
        lines.append("#types\t" + types.replace(" ", "\t"))
    return "\n".join([*lines, *(row.replace(" ", "\t") for row in rows)]) + "\n"
