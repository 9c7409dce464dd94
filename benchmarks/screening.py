"""What the screen costs: alarms of ``watch --emit alarms`` and of the tasks' dev splits, with stage one and without.

    python -m benchmarks.screening --logs ../shared/data/raw ../shared/data/sensor-days --data ../shared/data

Results of the same bundle that stand in the output and are not measured anew stay.
An alarm is a record's string under a specialist; explanations are left out.  Lost: only without the screen; added: only with it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks import result_file
from edge_demist import EdgeDemist
from edge_demist.diagnostics.sensor import watch
from tools import facts


def of_log(log: Path, bundle: str) -> dict[str, int]:
    """Alarms of a log or a folder of logs, both ways."""
    found: dict[bool, set[str]] = {}
    told: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as place:
        for screen in (True, False):
            options = ["--emit", "alarms", "--no-explain", *(() if screen else ("--no-screen",))]
            told = watch(log, options, bundle, Path(place)) | ({"screened": told["screened"]} if told else {})
            lines = Path(place, "events").read_text(encoding="utf-8").splitlines()
            found[screen] = {event["event_id"] for event in map(json.loads, lines) if event.get("alarm")}
            Path(place, "events").unlink()
    counts = {name: int(told[name]) for name in ("records", "predictions", "screened")}
    return counts | {"alarms": len(found[False]), "lost": len(found[False] - found[True]), "added": len(found[True] - found[False])}


def of_split(model: EdgeDemist, task: str, path: Path) -> dict[str, int]:
    """Alarms of a task's split, both ways."""
    texts = pd.read_parquet(path, columns=["text"]).text.tolist()
    whole, screened = model.classify(texts, task=task), model.classify(texts, task=task, screen=True)
    pairs = [(bool(a.alarm), bool(b.alarm)) for a, b in zip(whole, screened, strict=True)]
    counts = {"strings": len(texts), "screened": sum(answer.screened for answer in screened)}
    return counts | {
        "alarms": sum(a for a, _ in pairs),
        "lost": sum(a and not b for a, b in pairs),
        "added": sum(b and not a for a, b in pairs),
    }


def together(rows: dict[str, dict[str, int]]) -> dict[str, float]:
    """All of a group."""
    sums = {name: sum(row[name] for row in rows.values()) for name in ("alarms", "lost", "added")}
    return sums | {"lost_share": round(sums["lost"] / max(sums["alarms"], 1), 6)}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, nargs="*", default=[], help="logs, or folders of logs")
    parser.add_argument("--data", type=Path, help="folder with tasks/")
    parser.add_argument("--bundle", default="")
    parser.add_argument("--output", type=Path, default=result_file.RESULTS / "screening.json")
    args = parser.parse_args()
    head, model = facts.head("benchmarks.screening"), EdgeDemist.load(args.bundle or None)
    say: Callable[[str, object], int] = lambda name, row: sys.stderr.write(f"{name}: {row}\n")  # noqa: E731
    known = json.loads(args.output.read_text(encoding="utf-8")) if args.output.is_file() else {}
    known = known if known.get("bundle", {}).get("id") == model.bundle_id else {}
    logs, splits = known.get("logs", {}), known.get("splits", {})
    for log in args.logs:
        logs[log.name] = of_log(log.resolve(), args.bundle)
        say(log.name, logs[log.name])
    for task in model.tasks if args.data else ():
        path = args.data / "tasks" / task / "dev.parquet"
        if model.specialist(task).screen is not None and path.is_file():
            splits[task] = of_split(model, task, path)
            say(task, splits[task])
    told = {"bundle": {"id": model.bundle_id, "version": model.bundle.version}, "logs": logs, "splits": splits}
    result_file.write(args.output, {**head, **told, "all_logs": together(logs), "all_splits": together(splits)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
