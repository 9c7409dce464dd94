"""The report: one file, no request, log text stays text, an incident is found by its text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edge_demist.cli import main
from edge_demist.sensor.incidents.told import merge, read_incidents
from edge_demist.sensor.report.page import MAX_SHOWN, build_report
from tests.sensor.test_incidents import T0, dns_log, generated
from tests.support import browser
from tests.support.sensor_fakes import watch_once

needs_browser = pytest.mark.skipif(browser.find() is None, reason="Chromium is not installed")
NASTY = "evil</script><img>${t}"


def incidents_file(folder: Path) -> Path:
    name = NASTY + "%d.zone%d.example"
    common = {"id.orig_h": "10.0.0.9", "rcode_name": "NXDOMAIN", "qtype": 1, "uid": "C"}
    rows = [json.dumps({"ts": T0 + i, "query": name % (i, i), **common}) for i in range(9)]
    (folder / "dns_b.log").write_text("\n".join(rows) + "\n")
    watch_once(folder, dns_log(folder, *generated()), folder / "dns_b.log", emit="incidents", output=folder / "incidents.jsonl")
    return folder / "incidents.jsonl"


def test_lines_of_an_incident_become_one_with_the_highest_score(tmp_path: Path) -> None:
    found = read_incidents(incidents_file(tmp_path))
    assert len(found) == 2 and {i["status"] for i in found} == {"closed"}
    line = found[0]
    merged = merge([line | {"score": 0.9}, line | {"score": 0.6, "status": "closed"}, {"incident_id": 5}, {}, line | {"evidence": 3}])
    assert [(i["score"], i["status"]) for i in merged] == [(0.9, "closed")]


def test_the_command_writes_a_page_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, page = incidents_file(tmp_path), tmp_path / "report.html"
    assert main(["report", str(source), "-o", str(page), "--title", "<b>Night"]) == 0
    text = page.read_text()
    assert "2 incidents" in capsys.readouterr().out
    assert "<b>Night" not in text.replace('"title":"\\u003cb>Night"', "") and "&lt;b&gt;Night" in text
    assert NASTY not in text and "<img" not in text and text.count("</script>") == 2
    assert "default-src 'none'" in text and not re.search(r"(?:src|href)\s*=", text)
    assert build_report(read_incidents(source), title="x") == build_report(read_incidents(source), title="x")


def test_a_file_without_incidents_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.jsonl").write_text('{"a": 1}\nnot json\n' + "[" * 100_000 + "\n")
    assert main(["report", str(tmp_path / "none.jsonl"), "-o", str(tmp_path / "r.html")]) == 2
    assert "no incident" in capsys.readouterr().err and not (tmp_path / "r.html").exists()


def test_very_many_incidents_stay_a_small_file(tmp_path: Path) -> None:
    one = read_incidents(incidents_file(tmp_path))[0]
    many = [one | {"incident_id": f"{i:032x}", "score": i / 5000} for i in range(5000)]
    page = build_report(many, title="x")
    assert page.count(b'"incident_id"') == MAX_SHOWN and len(page) < 12_000_000
    assert f'"{4999:032x}"'.encode() in page and f'"{1:032x}"'.encode() not in page


def test_alarms_of_the_same_client_and_time_stand_beside(tmp_path: Path) -> None:
    incident = next(i for i in read_incidents(incidents_file(tmp_path)) if i["clients"] == ["10.0.0.7"])
    alarm = {"time": incident["first"], "alarm": True, "src_ip": "10.0.0.7", "task": "dga", "text": "evil7x0.example"}
    others = [alarm | {"src_ip": "10.0.0.8"}, alarm | {"time": "2030-01-01T00:00:00Z"}, alarm | {"alarm": False}, {"time": 5}]
    page = build_report([incident], [alarm, *others], title="x").decode()
    data = json.loads(page.split('<script id="data" type="application/json">')[1].split("</script>")[0])
    assert data["incidents"][0]["events"] == [{"time": incident["first"], "task": "dga", "text": "evil7x0.example"}]


@needs_browser
def test_it_opens_offline_and_finds_an_incident_by_text(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_bytes(build_report(read_incidents(incidents_file(tmp_path)), title="Incidents"))
    with browser.Browser() as tab:
        tab.open(page)
        assert [url for url in tab.requests if not url.startswith("file:")] == [] and not tab.dialogs
        assert tab.js("document.querySelectorAll('#list tbody tr').length") == 2
        tab.js("(() => { const q = document.getElementById('query'); q.value = 'zone3.example'; q.dispatchEvent(new Event('input')); })()")
        assert tab.js("document.querySelectorAll('#list tbody tr').length") == 1
        tab.js("document.querySelector('#list tbody tr').click()")
        shown = tab.js("document.getElementById('detail').innerText")
        assert "10.0.0.9" in shown and "</script>" in shown and "at byte" in shown
        assert tab.js("document.querySelectorAll('img').length") == 0 and tab.js("document.querySelectorAll('#detail mark').length") > 0
        tab.js("document.getElementById('markdown').click()")
        copied = tab.js("new Promise(r => setTimeout(() => r(document.getElementById('copied').value), 200))")
        assert copied.startswith("## dga") and "<img" not in copied.replace("\\<img", "").replace("`", "")[:40]
        assert "\\_" in tab.js("plain('a_b')") and tab.js("plain('<[*]>\\n# x')") == r"\<\[\*\]\> \# x"
        assert not tab.dialogs
