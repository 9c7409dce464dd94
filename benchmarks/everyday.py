"""What every network sees, by kind: false alarms at the shipped thresholds, and how often hostname-category says malware or phishing of it.

    python -m benchmarks.everyday            # made by program (tools.synth.everyday_kinds, part ``measure``), and a written list
    python -m benchmarks.everyday --data DATA            # and ordinary strings of DATA, part ``measure``
    python -m benchmarks.everyday --bundle DIR --out FILE
    python -m benchmarks.everyday --render

Beside them stand lists written by hand, which train nothing (``data/everyday``): agents of operating systems and ordinary software, and
requests and values that hold a word of attacks, with attacks of as few characters.

Rates are per distinct string. Results go to benchmarks/results/everyday.json.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import result_file
from edge_demist import EdgeDemist
from tools.synth import everyday_kinds
from tools.train import ordinary

RESULTS = result_file.RESULTS / "everyday.json"
TASKS = {"dga": "names", "hostname-threat": "names", "dns-tunnel": "names", "url-phishing": "pages"}
RATES = (1e-2, 1e-3, 1e-4)
LISTED = "written down"
LEVEL, ACCUSED = 0.94, ("malware", "phishing")
_CHEAP = r"\.(?:xyz|top|site|online|club|shop|store|live|icu|work|click|link|space|website|fun|info|biz|vip|pro|cc|pw)$"
_CLOUDS = r"\.(?:amazonaws\.com|cloudfront\.net|azure\.(?:com|net)|windows\.net|akamai[a-z]*\.net|fastly\.net|azurefd\.net)$"
REAL = {
    "real cheap endings": re.compile(_CHEAP),
    "real free endings": re.compile(r"\.(?:tk|ml|ga|cf|gq|netlify\.app|github\.io|pages\.dev|web\.app|vercel\.app|blogspot\.com)$"),
    "real short names": re.compile(r"^(?:www\.)?[a-z0-9]{1,4}\.[a-z]{2,3}(?:\.[a-z]{2})?$"),
    "real names without vowels": re.compile(r"^(?:www\.)?[b-df-hj-np-tv-z]{3,}\.[a-z.]{2,6}$"),
    "real clouds and CDN": re.compile(_CLOUDS),
}
"""Ordinary names of DATA that are of a kind by their form."""
Texts = dict[str, list[str]]
LISTS = Path(__file__).resolve().parent / "data" / "everyday"


def made(what: str, count: int, seed: int = 10) -> Texts:
    """Distinct strings made by program, by kind; single labels and the like may be fewer than asked for."""
    found: Texts = {}
    for kind, templates in everyday_kinds.kinds(what, "measure").items():
        rng = random.Random(f"{seed} {kind}")
        drawn = (everyday_kinds.filled(rng, rng.choice(templates)) for _ in range(count))
        found[kind] = list(dict.fromkeys(drawn))
    return found


def real(data: Path, task: str) -> Texts:
    """Curated ordinary strings of the part that did not train, whole and by the kinds that their form tells."""
    table = ordinary.read_ordinary(data, task)
    texts = [str(text) for text in table.loc[(table["part"] == "measure") & table["curated"], "text"]]
    if TASKS.get(task) == "pages":
        return {"real, all": texts}
    return {"real, all": texts} | {kind: [text for text in texts if form.search(text)] for kind, form in REAL.items()}


def listed(what: str) -> list[str]:
    """Strings that were written down one by one, of all kinds: ``names`` or ``pages``."""
    found: list[str] = []
    for part in (LISTS / "names-and-pages.txt").read_text(encoding="utf-8").split("\n["):
        head, _, body = part.partition("]\n")
        found += body.split() if head == what else []
    return found


def alarms(model: EdgeDemist, task: str, texts: Sequence[str]) -> dict[str, Any]:
    """Share of texts that alarm at each shipped threshold."""
    found = model.specialist(task).thresholds["fpr"]
    scores = np.array([answer.alarm_score for answer in model.classify(list(texts), task=task)])
    at = {f"{rate:g}": next(value for level, value in found.items() if abs(float(level) - rate) < rate / 10) for rate in RATES}
    return {"n": len(texts), **{rate: round(float((scores >= threshold).mean()), 6) for rate, threshold in at.items()}}


def accused(model: EdgeDemist, texts: Sequence[str]) -> dict[str, int]:
    """How many names hostname-category answers at an accuracy of ``LEVEL``, and of how many it says malware or phishing."""
    answers = [answer.label for answer in model.classify(list(texts), task="hostname-category", min_accuracy=LEVEL)]
    answered = [label for label in answers if label != "unknown"]
    return {"n": len(texts), "answered": len(answered), "said": sum(label in ACCUSED for label in answered)}


def listed_by_kind(file: str) -> Texts:
    """Strings written by hand, by kind: lines of a file under headings in brackets, which a blank line or the file's begin comes before."""
    found: Texts = {}
    for block in (LISTS / file).read_text(encoding="utf-8").strip().split("\n\n"):
        head, *texts = block.split("\n")
        found[head.strip("[]")] = texts
    return found


def by_hand(model: EdgeDemist) -> dict[str, dict[str, dict[str, int]]]:
    """Of each kind of the lists: how many strings, and how many alarm at the threshold for 1e-3 or are called an attack tool."""
    result: dict[str, dict[str, dict[str, int]]] = {}
    for file in ("user-agent", "uri-attack", "uri-attack.attacks"):
        task, result[file] = file.partition(".")[0], {}
        for kind, texts in listed_by_kind(file + ".txt").items():
            answers = model.classify(texts, task=task)
            result[file][kind] = {"n": len(texts), "said": sum(bool(a.alarm) or a.label == "attack-tool" for a in answers)}
    return result


def together(parts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Sums over kinds."""
    return {key: sum(part[key] for part in parts.values()) for key in ("n", "answered", "said")}


def measured(model: EdgeDemist, data: Path | None, count: int) -> dict[str, Any]:
    """Everything about one bundle."""
    result: dict[str, Any] = {"alarms": {}, "bundle": {"id": model.bundle_id, "version": model.bundle.version}}
    result["by hand"] = by_hand(model)
    drawn = {what: made(what, count) | {LISTED: listed(what)} for what in everyday_kinds.FILES}
    for task, what in TASKS.items():
        sets = drawn[what] | (real(data, task) if data else {})
        result["alarms"][task] = {kind: alarms(model, task, texts) for kind, texts in sets.items() if texts}
    names = {kind: accused(model, texts) for kind, texts in drawn["names"].items()}
    result["hostname-category"] = {**names, "all made": together({kind: row for kind, row in names.items() if kind != LISTED})}
    for kind, texts in (real(data, "hostname-category") if data else {}).items():
        result["hostname-category"][kind] = accused(model, texts)
    return result


def table(result: Mapping[str, Any]) -> str:
    """False alarms at the threshold for one in a thousand, per thousand of a kind, and what hostname-category says of them."""
    kinds = list(dict.fromkeys(kind for found in result["alarms"].values() for kind in found))
    lines = [
        "| kind | " + " | ".join(TASKS) + " | hostname-category: malware or phishing / answered |", "|---" * (len(TASKS) + 2) + "|"
    ]  # fmt: skip
    for kind in kinds:
        cells = [f"{1000 * row['0.001']:.1f}" if (row := result["alarms"][task].get(kind)) else "" for task in TASKS]
        said = result["hostname-category"].get(kind)
        lines.append(f"| {kind} | " + " | ".join(cells) + (f" | {said['said']} / {said['answered']:,} |" if said else " | |"))
    said = result["hostname-category"]["all made"]
    lines.append("| all made names" + " |" * (len(TASKS) + 1) + f" {said['said']} / {said['answered']:,} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result file, or print the table."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.everyday", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, help="folder with ordinary/")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--count", type=int, default=1000, help="strings made of each kind")
    p.add_argument("--render", action="store_true", help="print the table of the result file")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    if not args.render:
        result_file.write(args.out, measured(EdgeDemist.load(args.bundle), args.data, args.count))
    sys.stdout.write(table(result_file.read(args.out)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
