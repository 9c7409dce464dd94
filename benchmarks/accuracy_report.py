"""``docs/accuracy.md`` and its chart, from ``benchmarks/results/accuracy.json`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAMES = {"int8": "edge-demist int8", "fp32": "edge-demist fp32", "ngrams": "character n-grams + linear"}


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def main_table(tasks: dict[str, Any]) -> list[str]:
    """Accuracy and macro-F1 of every system on every task."""
    columns = ["task", "n", "int8 accuracy (95 % interval)", "int8 macro-F1", "fp32 accuracy", "n-grams accuracy", "n-grams macro-F1"]
    columns += ["ECE"]
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for task, entry in sorted(tasks.items()):
        ours, peer, full = entry["int8"], entry.get("ngrams", {}), entry.get("fp32", {})
        low, high = ours["accuracy_interval"]
        lines.append(
            f"| {task} | {ours['n']:,} | **{_percent(ours['accuracy'])}** ({_percent(low)}–{_percent(high)}) "
            f"| {_percent(ours['macro_f1'])} | {_percent(full.get('accuracy'))} "
            f"| {_percent(peer.get('accuracy'))} | {_percent(peer.get('macro_f1'))} | {ours['ece']:.3f} |"
        )
    return lines


def alarm_table(tasks: dict[str, Any]) -> list[str]:
    """Recall at the shipped false-positive thresholds."""
    lines = ["| task | asked | recall (95 % interval) | false positives on dev (95 % interval) |", "|---|---|---|---|"]
    for task, entry in sorted(tasks.items()):
        for rate, row in entry["int8"].get("alarms", {}).items():
            low, high = row["recall_interval"]
            under, over = row["fpr_interval"]
            recall = f"{_percent(row['recall'])} ({_percent(low)}–{_percent(high)})"
            lines.append(f"| {task} | {rate} | {recall} | {row['fpr']:.5f} ({under:.5f}–{over:.5f}) |")
    return lines


def class_tables(tasks: dict[str, Any]) -> list[str]:
    """F1 by class, and parts of the splits."""
    lines = []
    for task, entry in sorted(tasks.items()):
        ours = entry["int8"]
        lines += [f"### {task}", ""]
        lines += [", ".join(f"{name} {value:.2f}" for name, value in ours["f1"].items()), ""]
        lines += [f"- {name}: accuracy {_percent(part['accuracy'])} of {part['n']:,}" for name, part in ours["parts"].items()]
        leak = entry.get("leak")
        if leak:
            lines.append(
                f"- texts also in training: {_percent(leak['same_text'])} %; sites also in training: {_percent(leak['same_site'])} %"
            )
        if "coverage_at_94" in ours:
            lines.append(f"- answered at 94 % accuracy: {_percent(ours['coverage_at_94'])} %")
        lines.append("")
    return lines


def chart(tasks: dict[str, Any], path: Path) -> None:
    """Error rate of int8, fp32 and the n-gram peer, task by task."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = sorted(tasks)
    figure, axes = plt.subplots(figsize=(9, 4.5))
    for offset, (system, label) in zip((-0.25, 0.0, 0.25), NAMES.items(), strict=True):
        values = [100 * (1 - tasks[t][system]["accuracy"]) if system in tasks[t] else float("nan") for t in names]
        axes.bar([i + offset for i in range(len(names))], values, 0.23, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("errors, % of the dev split (log scale)")
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def render(results: dict[str, Any], docs: Path) -> None:
    """Write ``accuracy.md`` and ``accuracy.png``."""
    tasks, bundle = results["tasks"], results["bundle"]
    chart(tasks, docs / "accuracy.png")
    lines = [
        "# Accuracy",
        "",
        f"Bundle {bundle['name']} version {bundle['version']} ({bundle['bytes'] / 1e6:.1f} MB, id `{bundle['id'][:16]}…`), dev splits.",
        "Written by `python -m benchmarks.accuracy --render` from `benchmarks/results/accuracy.json`; the file is made by",
        "`python -m benchmarks.accuracy --data DATA --checkpoint CHECKPOINT --peers ngrams`. Dev was used to fit temperatures,",
        "thresholds, and the weight of the n-gram term (a number or two each), so figures on data nobody here has seen will be",
        "somewhat lower.",
        "",
        *main_table(tasks),
        "",
        "![errors by task](accuracy.png)",
        "",
        "## Alarms at the shipped thresholds",
        "",
        "The interval of the false-positive rate says how much a dev split of this size can prove; 1e-4 cannot be proven on most.",
        "",
        *alarm_table(tasks),
        "",
        "## By class and part (F1)",
        "",
        *class_tables(tasks),
    ]
    (docs / "accuracy.md").write_text("\n".join(lines).rstrip() + "\n")
