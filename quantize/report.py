"""Renders evidence as Markdown tables and PNG plots. Every figure comes from the evidence; nothing is measured here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_demist.format.writer import write_json

Record = Mapping[str, object]


def render(evidence: Record, folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and, where matplotlib is installed, plots into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", evidence)
    plots = draw(evidence, folder)
    (folder / "report.md").write_text(markdown(evidence, plots), encoding="utf-8")


def markdown(evidence: Record, plots: Sequence[str] = ()) -> str:
    """Return the report's text."""
    cosine, gate = _object(evidence["cosine"]), _object(evidence.get("gate", {}))
    lines = [
        "# What int8 costs this bundle",
        "",
        f"Bundle `{evidence['bundle']}`, engine {evidence['engine']}, {_number(evidence['megabytes']):.1f} MB.",
        "",
        f"Cosine to the float checkpoint over {cosine['count']} strings: mean {_number(cosine['mean']):.4f}, "
        f"1st percentile {_number(cosine['p01']):.4f}, minimum {_number(cosine['minimum']):.4f}.",
        "",
    ]
    if gate:
        failures = gate.get("failures")
        verdict = "; ".join(failures) if isinstance(failures, list) and failures else "passed"
        lines += [f"Gate (at most {gate['max_accuracy_drop']} points, cosine at least {gate['min_cosine']}): {verdict}.", ""]
    lines += tasks_table(_list(evidence.get("tasks")))
    lines += methods_table(_list(evidence.get("methods")))
    lines += sensitivity_table(_object(evidence.get("sensitivity", {})))
    lines += [f"![{name}]({name})" for name in plots]
    return "\n".join(lines).rstrip() + "\n"


def tasks_table(tasks: Sequence[Record]) -> list[str]:
    """Return a Markdown table of tasks: accuracy of float and int8."""
    if not tasks:
        return []
    lines = ["| task | strings | float accuracy % | int8 accuracy % | drop, points | same label % |", "|---|---|---|---|---|---|"]
    for one in tasks:
        before, after = _number(one["float_accuracy"]), _number(one["int8_accuracy"])
        cells = [f"{value:.2f}" for value in (before, after, before - after, _number(one["agreement"]))]
        lines.append(f"| {one['task']} | {one['count']} | {' | '.join(cells)} |")
    return [*lines, ""]


def methods_table(records: Sequence[Record]) -> list[str]:
    """Return a Markdown table of methods: size, cosine, accuracy drops."""
    if not records:
        return []
    lines = [
        "| method | linear layers MB | cosine mean | cosine min | worst drop, points | mean drop, points | labels changed % | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in records:
        cosine = _object(one["cosine"]) if one["cosine"] else None
        mean, least = (f"{_number(cosine['mean']):.4f}", f"{_number(cosine['minimum']):.4f}") if cosine else ("", "")
        drops = [_number(value) for value in _object(one["accuracy_drop_points"]).values()]
        worst, average = (f"{max(drops):.2f}", f"{sum(drops) / len(drops):.2f}") if drops else ("", "")
        changed = [_number(value) for value in _object(one["labels_changed_percent"]).values()]
        share = f"{sum(changed) / len(changed):.2f}" if changed else ""
        cells = [f"{_number(one['linear_megabytes']):.2f}", mean, least, worst, average, share, str(one["note"])]
        lines.append(f"| {one['method']} | {' | '.join(cells)} |")
    return [*lines, ""]


def sensitivity_table(costs: Record) -> list[str]:
    """Return a Markdown table of linear layers, the most sensitive first."""
    if not costs:
        return []
    ordered = sorted(costs, key=lambda name: -_number(costs[name]))
    rows = [f"| {name} | {_number(costs[name]):.2e} |" for name in ordered]
    return ["| linear layer alone in int8 | 1 − mean cosine |", "|---|---|", *rows, ""]


def draw(evidence: Record, folder: Path) -> list[str]:
    """Draw the plots that the evidence allows; returns their names. None without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("agg")
    plots = []
    if records := [one for one in _list(evidence.get("methods")) if one["cosine"] and one["method"] != "float32"]:
        values = {str(one["method"]): 1 - _number(_object(one["cosine"])["mean"]) for one in records}
        plots.append(_bars(values, "1 − mean cosine to float32", folder / "methods.png"))
        if all(one["accuracy_drop_points"] for one in records):
            changed = {str(one["method"]): list(map(_number, _object(one["labels_changed_percent"]).values())) for one in records}
            means = {name: sum(values) / len(values) for name, values in changed.items()}
            plots.append(_bars(means, "labels that differ from float32, mean over tasks, %", folder / "labels.png", log=False))
    if costs := _object(evidence.get("sensitivity", {})):
        values = {name: _number(cost) for name, cost in costs.items()}
        plots.append(_bars(values, "1 − mean cosine, this layer alone in int8", folder / "sensitivity.png"))
    return plots


def _bars(values: Mapping[str, float], label: str, path: Path, log: bool = True) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.32 * len(values) + 1.1), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(values)[::-1], list(values.values())[::-1], color="#4878a8")
    axes.set_xlabel(label)
    if log and min(values.values()) > 0:
        axes.set_xscale("log")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path.name


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Record]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"expected a number, not {value!r}")
    return float(value)
