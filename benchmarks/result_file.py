"""Result files: JSON with sorted keys, replaced in one step so that a stopped run leaves the last whole one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_demist.io import replace_file

RESULTS = Path(__file__).resolve().parent / "results"


def read(path: Path) -> dict[str, Any]:
    """The file's content; empty if there is none."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content


def write(path: Path, content: object) -> None:
    """Replace the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode(), 0o644, sync=False)
