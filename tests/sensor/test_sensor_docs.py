"""What the documents say of logs, beside the code and the sample logs."""

from __future__ import annotations

import re

from edge_demist.sensor.counters import Counts
from edge_demist.sensor.detect.mapping import load_rules
from edge_demist.sensor.sources.parser import LineParser
from tests.support.sensor_fakes import DATA, ROOT, read_log

LOGS = sorted(path for path in (DATA / "logs").iterdir() if path.suffix != ".md")
DOC = (ROOT / "docs" / "reference" / "skip-reasons.md").read_text(encoding="utf-8")


def test_reasons_in_the_docs_are_those_of_the_code() -> None:
    code = "".join(p.read_text() for p in (ROOT / "edge_demist" / "sensor").rglob("*.py"))
    table = DOC.partition("| reason in `skipped`")[2].partition("\n\n")[0]
    documented = set(re.findall(r"`([a-z]+(?:-[a-z]+)+|corrupt)`", table)) - {"mapping"}
    assert documented and all(f'"{reason}"' in code for reason in documented)
    told = set(re.findall(r'skip\("([a-z-]+)"\)', code)) | set(re.findall(r'return "((?:no|bad|field|too|not)-[a-z-]+|corrupt)"', code))
    assert told <= documented


def test_sample_logs_hold_every_form() -> None:
    kinds = set()
    for path in LOGS:
        parser = LineParser(path.name)
        for line in read_log(path).splitlines():
            record = parser.parse(line)
            if record is not None and not isinstance(record, str):
                kinds.add(record.log)
    zeek = {f"zeek.{name}" for name in ("dns", "http", "ssl", "x509", "files")}
    assert kinds == zeek | {f"eve.{name}" for name in ("alert", "dns", "http", "tls", "fileinfo", "flow", "stats")} | {"host"}
    assert len(load_rules()) > 40 and Counts().to_json()["records"] == 0
