"""The head of every result file that a tool writes: which tool, on which machine, at which commit, when, under what load."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from edge_demist.diagnostics import machine

ROOT = Path(__file__).parents[1]


def head(tool: str) -> dict[str, object]:
    """``tool`` is the command's module, such as ``tools.sensor.soak``."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    facts = machine.facts()
    return {
        "tool": tool,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": facts | {"commit": found.stdout.strip() or facts["commit"]},
        "load_before": os.getloadavg()[0],
    }
