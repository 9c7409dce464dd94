"""What the report of a day's incidents costs and does in headless Chromium with the network off; and its picture for the guide.

python -m benchmarks.report_page incidents.jsonl --find TEXT --picture docs/img/report.png -o benchmarks/results/report-page.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from edge_demist.sensor.incidents.told import read_incidents
from edge_demist.sensor.report.page import build_report
from tests.support import browser

ROWS = "document.querySelectorAll('#list tbody tr').length"


def look_at(page: Path, text: str, picture: Path | None) -> dict[str, object]:
    """Open the page, search it for a text, choose what is found; a picture of that."""
    with browser.Browser(size=(1280, 1500)) as tab:
        begin = time.monotonic()
        tab.open(page)
        rows, opened = tab.js(ROWS), round(time.monotonic() - begin, 2)
        picked = json.dumps(text)
        tab.js(f"(() => {{ const q = document.getElementById('query'); q.value = {picked}; q.dispatchEvent(new Event('input')); }})()")
        found = tab.js(ROWS)
        tab.js("(() => { const q = document.getElementById('query'); q.value = ''; q.dispatchEvent(new Event('input')); })()")
        tab.js("document.querySelector('#list tbody tr').click()")
        tab.js("new Promise(r => setTimeout(() => { window.scrollTo({top: 0, behavior: 'instant'}); r(1); }, 300))")
        if picture is not None:
            tab.screenshot(picture)
        outside = [url for url in tab.requests if not url.startswith("file:")]
    return {"rows": rows, "seconds_to_open": opened, "rows_with_text": found, "requests_outside": len(outside)}


def main() -> None:
    """Build, open, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("incidents", type=Path)
    parser.add_argument("--find", required=True, metavar="TEXT", help="a text that only one incident has")
    parser.add_argument("--title", default="Incidents")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    found = read_incidents(args.incidents)
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        page = Path(folder) / "report.html"
        page.write_bytes(build_report(found, title=args.title))
        result = {"incidents": len(found), "bytes": page.stat().st_size, **look_at(page, args.find, args.picture)}
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
