"""``edge-demist evaluate``: what a specialist gets right on labelled rows, and what each threshold finds and costs."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from typing import Any

from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_json, add_model, command
from edge_demist.cli.train import add_table
from edge_demist.errors import InputError
from edge_demist.format.specialist import Specialist
from edge_demist.io import shown
from edge_demist.model import Prediction
from edge_demist.train.table import Pairs, read_pairs

SWEEP = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
Z = 1.959964
EXAMPLES = (
    Example(
        "printf 'text,label\\nkernel.org,legit\\nwikipedia.org,legit\\nxjwqpvkz.info,dga\\nqzvkxwpj3h.com,dga\\n' > rows.csv\n"
        "edge-demist evaluate --task dga --labels rows.csv",
        "4 rows, accuracy …\n\nlabel …\n\nthreshold …",
    ),
)
NOTES = """
Intervals are Wilson's at 95 %. For alarm tasks every calibrated level and a sweep of thresholds is shown: the share of alarms found
(recall) and of harmless rows that alarm (fpr). Score rows that the specialist was neither trained nor calibrated on.
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "evaluate", "score a specialist on labelled rows", EXAMPLES, NOTES, __doc__ or "")
    add_table(parser, "rows to score")
    parser.add_argument("--task", required=True, help="specialist to ask")
    add_json(parser)
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Score; 1 if some rows could not be processed."""
    rows = read_pairs(args.labels, args.text_column, args.label_column)
    with load_model(args) as model:
        specialist = model.specialist(args.task)
        if unknown := sorted({label for _, label in rows} - set(specialist.labels)):
            raise InputError(f"{args.labels}: {args.task} has no label {unknown[0]!r}; it has {', '.join(specialist.labels[:20])}")
        answers = model.classify([text for text, _ in rows], task=args.task)
    result = scores(specialist, rows, answers)
    print(json.dumps(result, indent=1) if args.json else rendered(result))
    return 1 if result["errors"] else 0


def scores(specialist: Specialist, rows: Pairs, answers: list[Prediction]) -> dict[str, Any]:
    """Accuracy, a line a label, and a line a threshold."""
    pairs = [(label, answer) for (_, label), answer in zip(rows, answers, strict=True) if not answer.error]
    right = sum(label == answer.label for label, answer in pairs)
    held, said = Counter(label for label, _ in pairs), Counter(answer.label for _, answer in pairs)
    hits = Counter(label for label, answer in pairs if label == answer.label)
    labels = [
        {"label": name, "rows": held[name], "precision": _share(hits[name], said[name]), "recall": _share(hits[name], held[name])}
        for name in specialist.labels
    ]
    result: dict[str, Any] = {
        "task": specialist.task, "rows": len(rows), "errors": len(rows) - len(pairs), "accuracy": _share(right, len(pairs)),
        "accuracy_interval": wilson(right, len(pairs)), "labels": labels,
    }  # fmt: skip
    if specialist.kind == "alarm":
        bad = [a.alarm_score for label, a in pairs if label in specialist.positive_labels]
        good = [a.alarm_score for label, a in pairs if label not in specialist.positive_labels]
        calibrated: dict[float, str] = {}
        for level, score in specialist.thresholds.get("fpr", {}).items():
            calibrated[score] = f"{calibrated.get(score, '--fpr')} {level}"
        result["thresholds"] = [_at(t, calibrated.get(t, ""), bad, good) for t in sorted({*SWEEP, *calibrated})]
    return result


def _at(threshold: float, name: str, bad: list[float], good: list[float]) -> dict[str, Any]:
    """What one threshold finds among alarms and costs among harmless rows."""
    found, false = (sum(score >= threshold for score in part) for part in (bad, good))
    return {
        "threshold": round(threshold, 6), "calibrated": name, "recall": _share(found, len(bad)), "recall_interval": wilson(found, len(bad)),
        "fpr": _share(false, len(good)), "fpr_interval": wilson(false, len(good)),
    }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def wilson(hits: int, n: int) -> list[float] | None:
    """95 % interval of a share (Wilson, 1927); None for no rows."""
    if not n:
        return None
    share, z2 = hits / n, Z * Z
    middle, half = share + z2 / (2 * n), Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return [round(max(0.0, (middle - half) / (1 + z2 / n)), 6), round(min(1.0, (middle + half) / (1 + z2 / n)), 6)]


def rendered(result: dict[str, Any]) -> str:
    """The result as text."""

    def share(value: float | None, interval: list[float] | None = None) -> str:
        between = f" ({interval[0]:.4f}-{interval[1]:.4f})" if interval else ""
        return "-" if value is None else f"{value:.4f}{between}"

    failed = f", {result['errors']} could not be processed" if result["errors"] else ""
    out = [f"{result['rows']:,} rows{failed}, accuracy {share(result['accuracy'], result['accuracy_interval'])}", ""]
    out.append(f"{'label':<24}{'rows':>8}{'precision':>11}{'recall':>8}")
    for row in result["labels"]:
        out.append(f"{shown(row['label'], 23):<24}{row['rows']:>8,}{share(row['precision']):>11}{share(row['recall']):>8}")
    if "thresholds" in result:
        out += ["", f"{'threshold':<12}{'recall':<26}{'fpr':<26}calibrated"]
    for row in result.get("thresholds", []):
        recall, fpr = share(row["recall"], row["recall_interval"]), share(row["fpr"], row["fpr_interval"])
        out.append(f"{row['threshold']:<12.6f}{recall:<26}{fpr:<26}{row['calibrated']}".rstrip())
    return "\n".join(out)
