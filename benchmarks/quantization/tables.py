"""Tables of docs/explanation/quantization.md, from the result files alone."""

from __future__ import annotations

from collections.abc import Mapping

from quantize import report


def minilm_table(result: Mapping[str, object]) -> str:
    """Return the table of MiniLM's bundle."""
    found = result["engines"]
    assert isinstance(found, dict)
    lines = [
        f"Float file {result['float_megabytes']:.1f} MB, bundle {result['bundle_megabytes']:.1f} MB; {result['pairs']} sentence pairs, "
        f"Spearman of the float model {result['spearman_float']:.4f}.",
        "",
        "| engine | strings | cosine mean | cosine min | Spearman | ratio to float |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        cosine = one["cosine"]
        cells = [f"{value:.4f}" for value in (cosine["mean"], cosine["minimum"], one["spearman"], one["spearman_ratio"])]
        lines.append(f"| {name} | {cosine['count']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def methods_table(result: Mapping[str, object]) -> str:
    """Return the tables of methods, of tasks and of sensitivity."""
    tasks, records, costs = result["tasks"], result["methods"], result["sensitivity"]
    assert isinstance(tasks, list) and isinstance(records, list) and isinstance(costs, dict)
    sizes = f"Float file {result['float_megabytes']:.1f} MB, bundle {result['megabytes']:.1f} MB."
    lines = [f"{sizes} Cosine over {result['strings']} strings of all tasks' dev sets.", ""]
    lines += report.methods_table(records)
    lines[1] = f"Drops and changed labels over up to {result['compare_limit']} dev strings a task, against the float checkpoint.\n"
    lines += [f"The bundle itself, run by its engine, on up to {result['limit']} dev strings a task:", ""]
    lines += report.tasks_table(tasks)
    return "\n".join([*lines, *report.sensitivity_table(costs)]).rstrip()


def artefacts_table(result: Mapping[str, object]) -> str:
    """Return the table of standard artefacts."""
    found = result["artefacts"]
    assert isinstance(found, dict)
    lines = ["| file, run by plain onnxruntime | MB | cosine mean | cosine min |", "|---|---|---|---|"]
    for name, one in found.items():
        lines.append(f"| {name} | {one['megabytes']:.1f} | {one['cosine']['mean']:.4f} | {one['cosine']['minimum']:.4f} |")
    return "\n".join(lines)


def speed_table(result: Mapping[str, object]) -> str:
    """Return the table of times."""
    batches, machine_ = result["batches"], result["machine"]
    assert isinstance(batches, dict) and isinstance(machine_, dict)
    lines = [
        f"{machine_['cpu']['model']}, one thread; {result['tasks']} specialists; host names of {result['mean_tokens']:.1f} tokens; "
        f"CPU µs a string, median (quartiles); load average {result['load_average']:.1f} of {machine_['cpu']['processors']} processors.",
        "",
        "| | batch 1 | batch 32 |",
        "|---|---|---|",
    ]
    for name in batches["1"]:
        times = [batches[size][name] for size in ("1", "32")]
        cells = [f"{one['p50']:.0f} ({one['p25']:.0f}–{one['p75']:.0f})" for one in times]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
