"""What a start of ``watch`` loads: not what only other choices need."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "edge_demist.sensor.incidents", "edge_demist.sensor.sinks.ecs", "edge_demist.sensor.sinks.ocsf", "edge_demist.sensor.sinks.parquet",
)  # fmt: skip


def test_incidents_and_their_forms_are_loaded_when_they_are_asked_for():
    script = "import sys, edge_demist.cli.watch; print(*sorted(sys.modules), sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "edge_demist.sensor.runner" in loaded
    assert [name for name in loaded if name.startswith(HEAVY) and name != "edge_demist.sensor.incidents"] == []
