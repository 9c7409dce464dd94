"""Fills the tables of README.md and docs/ from the result files, and checks that they are what the files say.

    python -m benchmarks.documents [--check]

A page holds ``<!-- NAME -->`` … ``<!-- end -->``; the functions of ``BLOCKS`` write what stands between. Nothing is
measured here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import result_file, security
from benchmarks.markdown import amount, filled, percent, table

ROOT = Path(__file__).resolve().parent.parent
READS = {
    "cmdline": "command lines",
    "dga": "host names",
    "dns-tunnel": "DNS query names",
    "filename": "file names and paths",
    "filename-sensitivity": "file names and paths",
    "hostname-category": "host names",
    "hostname-threat": "host names",
    "http-header": "HTTP header lines",
    "tls-certificate": "certificate subjects, issuers, names",
    "uri-attack": "request targets, argument values",
    "url-phishing": "URLs",
    "user-agent": "User-Agent headers",
}
PEERS = {"minilm": "fine-tuned MiniLM", "fasttext": "fastText", "ngrams": "n-grams + linear"}
ENGINES = {
    "native": "edge-demist",
    "ort-best": "ONNX Runtime int8, hand-fixed graph",
    "ort-stock": "ONNX Runtime int8, as its tools make it",
    "ctranslate2": "CTranslate2 int8",
    "openvino": "OpenVINO int8",
    "torch-fp32": "PyTorch fp32",
}


def result(name: str) -> dict[str, Any]:
    """A result file's content; empty if it has not been committed."""
    return result_file.read(result_file.RESULTS / f"{name}.json")


def tasks() -> str:
    """What each specialist reads and answers, and how often it is right."""
    from edge_demist import EdgeDemist

    model, scores, fresh = EdgeDemist.load(), result("accuracy")["tasks"], result("ordinary")
    rows = []
    for task in model.tasks:
        one, found = model.specialist(task), scores.get(task, {}).get("int8")
        labels = ", ".join(one.labels) if len(one.labels) <= 6 else f"{len(one.labels)} classes"
        right = percent(found["accuracy"], found["accuracy_interval"]) if found else "–"
        alarms = fresh.get(task, {}).get("shipped", {}).get("ordinary", {}).get("curated", {}).get("recall_at", {}).get("0.001")
        rows.append([f"`{task}`", READS.get(task, ""), labels, right, percent(alarms["recall"]) if alarms else ""])
    return table(["task", "reads", "labels", "right on dev, % (95 % interval)", "threats found at 1 false alarm in 1,000, %"], rows)


def labels() -> str:
    """Every specialist of the shipped bundle: kind, what it reads, labels, harmful ones in bold."""
    from edge_demist import EdgeDemist

    model, rows = EdgeDemist.load(), []
    for task in model.tasks:
        one = model.specialist(task)
        named = ", ".join(f"**{label}**" if label in one.positive_labels else label for label in one.labels)
        rows.append([f"`{task}`", one.kind, READS.get(task, ""), named])
    return table(["task", "kind", "reads", "labels"], rows)


def metrics() -> str:
    """Every metric of ``watch`` with its meaning."""
    import re
    from collections import Counter

    from edge_demist.sensor.counters import Counts
    from edge_demist.sensor.metrics import Gauges, Histogram, render

    gauges = Gauges(alarms={"dga": 0}, thresholds={"dga": 0.0}, reloads={"done": 0})
    text = render(Counts(skipped=Counter({"no-rule": 0})), gauges, Histogram())
    helps = dict(re.findall(r"# HELP (\S+) (.*)", text))
    return table(["metric", "kind", "meaning"], [[f"`{n}`", k, helps[n]] for n, k in re.findall(r"# TYPE (\S+) (\S+)", text)])


def fields() -> str:
    """Every field of every log format that goes to a specialist."""
    from edge_demist.sensor.detect.mapping import load_rules
    from tools.sensor.formats_page import tables

    return tables(load_rules())


def accuracy() -> str:
    """Accuracy of every system on every task."""
    ours, peers = result("accuracy")["tasks"], result("accuracy-peers")
    rows = []
    for task, entry in sorted(ours.items()):
        found = entry["int8"]
        others = [percent(peers.get(task, {}).get(name, {}).get("accuracy")) for name in PEERS]
        rows.append([task, f"{found['n']:,}", percent(found["accuracy"], found["accuracy_interval"]), *others])
    return table(["task", "strings", "edge-demist int8", *PEERS.values()], rows)


def coverage() -> str:
    """What share of names is answered at a wanted accuracy."""
    ours = result("accuracy")["tasks"]
    rows = [
        [task, *(percent(entry["int8"]["coverage"][level]) for level in ("0.9", "0.94", "0.98")), percent(entry["int8"]["macro_f1"])]
        for task, entry in sorted(ours.items())
        if not entry["int8"].get("alarms")
    ]
    return table(["task", "answered at 90 % accuracy", "at 94 %", "at 98 %", "macro-F1"], rows)


def headline() -> str:
    """The three numbers of the README, with the machine they come from."""
    times, ids = result("task-times"), result("speed-edge-demist")["ids"]["peers"]
    found = times["tasks"]["hostname-category"]
    ours, theirs = found["edge-demist"], found["minilm-int8"]
    memory = [f"{ids[name]['start_rss_bytes'] / 1e6:.0f} MB" for name in ("native", "ort-best")]
    rows = [
        ["a host name to its label, one at a time", f"{ours['batch-1'] / 1e3:.2f} ms", f"{theirs['batch-1'] / 1e3:.2f} ms"],
        ["the same in batches of 32", f"{ours['batch-32'] / 1e3:.2f} ms", f"{theirs['batch-32'] / 1e3:.2f} ms"],
        ["memory once loaded", *memory],
    ]
    head = table(["one core", "edge-demist", "MiniLM int8, ONNX Runtime"], rows)
    return f"{head}\n\nMeasured on a virtual {times['machine']['cpu']['model']} (`task-times.json`, `speed-edge-demist.json`)."


def engines(name: str) -> str:
    """Same weights, same token ids, other engines: microseconds a string and memory."""
    found = result(f"speed-{name}")["ids"]
    rows = []
    for engine, title in ENGINES.items():
        if engine not in found["peers"]:
            continue
        cells = [
            f"{amount(found[b][engine]['us_per_string'])}{' *' if found[b][engine]['unstable'] else ''}" for b in ("batch-1", "batch-32")
        ]
        cosine = found["peers"][engine]["cosine_to_fp32"]
        rows.append([title, *cells, f"{cosine['mean']:.4f}" if cosine else "–", f"{found['peers'][engine]['peak_bytes'] / 1e6:.0f}"])
    return table(["engine", "batch 1, µs", "batch 32, µs a string", "cosine to fp32", "MB"], rows)


def arm() -> str:
    """Instructions a host name on boards that were emulated, and times that were estimated from them."""
    rows = []
    for board in result("arm-edge-demist")["boards"].values():
        ours = board["rows"]["native"]
        theirs = min((row for name, row in board["rows"].items() if name != "native"), key=lambda row: row["instructions"])
        ratio = ours["instructions"] / theirs["instructions"]
        rows.append([board["title"], f"{ours['instructions'] / 1e6:.1f}", f"{theirs['instructions'] / 1e6:.1f}", f"{ratio:.2f}"])
    return table(["board", "edge-demist, million instructions a host name", "ONNX Runtime int8, the same", "ratio"], rows)


def arm_screen() -> str:
    """Instructions of a host name that the screen answers, and of one that four specialists are asked about whole."""
    rows = []
    for board in result("arm-screen")["boards"].values():
        screened, passes = (board["rows"][kind]["instructions"] for kind in ("screened", "passes"))
        rows.append([board["title"], f"{screened / 1e6:.2f}", f"{passes / 1e6:.1f}", f"{screened / passes:.2%}"])
    return table(["board", "screened, million instructions a host name", "four specialists, the same", "share"], rows)


def task_times() -> str:
    """Text to label for every task."""
    times = result("task-times")["tasks"]
    rows = [
        [
            task,
            f"{one['mean_characters']:.0f}",
            *(amount(one[name][size]) for size in ("batch-1", "batch-32") for name in ("edge-demist", "minilm-int8")),
        ]
        for task, one in sorted(times.items())
    ]
    return table(
        ["task", "characters", "edge-demist, batch 1, µs", "MiniLM int8", "edge-demist, batch 32, µs a string", "MiniLM int8"], rows
    )


def custom() -> str:
    """What a specialist on one's own labels reaches."""
    rows = []
    for task, found in sorted(result("custom-specialists")["tasks"].items()):
        for size, systems in sorted(found["rows"].items(), key=lambda item: int(item[0])):
            rows.append([task, found["labels"], f"{int(size):,}", *(f"{one['accuracy']:.1f}" for one in systems.values())])
    names = list(next(iter(next(iter(result("custom-specialists")["tasks"].values()))["rows"].values())))
    return table(["task", "labels", "rows", *names], rows)


def incident_load() -> str:
    """One sentence about what incidents cost."""
    run = result("incident-load")
    memory = {int(number): mib for number, mib in run["memory_mib"].items()}
    least, most = min(memory), max(memory)
    return (
        f"On {run['names']:,} distinct names `--emit incidents` reads {run['incidents_to_alarms']:.2f} times as fast as `--emit alarms`. "
        f"Reading generated records of {run['clients']:,} clients, it held {memory[least]:.1f} MiB after {least:,} records and "
        f"{memory[most]:.1f} MiB after {most:,}."
    )


def crash() -> str:
    """A row a kind of crash."""
    rows = [[r["kind"], r["crashes"], f"{r['records']:,}", r["lost"], r["repeats"], r["damaged_lines"]] for r in result("crash")["runs"]]
    return table(["disturbance", "times", "records", "lost", "repeats, same id", "damaged lines"], rows)


def soak() -> str:
    """One sentence about the long run."""
    run = result("soak")["soak"]
    return (
        f"In {run['seconds'] / 60:.0f} minutes at {run['records_written'] / run['seconds']:.0f} records a second, with rotation and "
        f"compression, the sensor read {run['records_read']:,} of {run['records_written']:,} records; its memory was "
        f"{run['rss_first_bytes'] / 1e6:.1f} MB after the start and {run['rss_last_bytes'] / 1e6:.1f} MB at the end."
    )


def optional(name: str, module: str, function: str = "table") -> str:
    """A table that a benchmark renders itself, or a sentence while it has no result file."""
    import importlib

    found = result(name)
    return str(getattr(importlib.import_module(module), function)(found)) if found else f"`{name}.json` has not been measured yet."


CONFIGURATIONS = {"vector.yaml": "yaml", "fluent-bit.conf": "ini", "logstash.conf": "text", "redpanda-connect.yaml": "yaml"}


def configuration(name: str) -> str:
    """A configuration file of another program, as it is tried by the tests."""
    text = (ROOT / "docs" / "how-to" / "configurations" / name).read_text(encoding="utf-8")
    return f"```{CONFIGURATIONS[name]}\n{text}```"


def script(engine: str) -> str:
    """The script of a guide to another engine, as it is run by the tests."""
    path = ROOT / "docs" / "how-to" / "scripts" / f"spread_with_{engine}.py"
    return f"```python\n{path.read_text(encoding='utf-8')}```"


BLOCKS: dict[str, Callable[[], str]] = {
    "tasks": tasks,
    "labels": labels,
    "metrics": metrics,
    "fields": fields,
    "ordinary": partial(optional, "ordinary", "benchmarks.ordinary"),
    "everyday": partial(optional, "everyday", "benchmarks.everyday"),
    "tunnel-tools": partial(optional, "tunnel_tools", "benchmarks.tunnel_tools"),
    "accuracy": accuracy,
    "coverage": coverage,
    "headline": headline,
    "engines-edge-demist": partial(engines, "edge-demist"),
    "engines-minilm": partial(engines, "minilm"),
    "arm": arm,
    "arm-screen": arm_screen,
    "task-times": task_times,
    "custom": custom,
    **{
        f"quantization-{part}": partial(optional, f"quantization-{part}", "benchmarks.quantization.tables", f"{part}_table")
        for part in ("minilm", "methods", "artefacts", "speed")
    },
    "alarm-budget": partial(optional, "alarm-budget", "benchmarks.alarm_budget"),
    "map": partial(optional, "atlas", "benchmarks.atlas"),
    "embedding-kinds": partial(optional, "embedding-kinds", "benchmarks.embedding_kinds"),
    "several": partial(optional, "several", "benchmarks.several"),
    "sensor-way": partial(optional, "sensor", "benchmarks.sensor"),
    "sensor-threads": partial(optional, "sensor", "benchmarks.sensor", "threads_table"),
    "before": partial(optional, "before", "benchmarks.before"),
    "encode-before": partial(optional, "encode-before", "benchmarks.encode_before"),
    "incident-days": partial(optional, "incident-days", "benchmarks.incident_days"),
    "incident-looks": partial(optional, "incident-looks", "benchmarks.incident_looks"),
    "incident-load": incident_load,
    "crash": crash,
    "soak": soak,
    "findings": security.findings,
    "siege": lambda: security.siege(result("siege")),
    "fuzz": lambda: security.fuzz(result("fuzz")),
    "full-tables": lambda: security.full_tables(result("full-tables")),
    "serve-load": partial(optional, "serve", "benchmarks.serve"),
    "distributed": partial(optional, "distributed", "benchmarks.distributed"),
    "billion": partial(optional, "distributed", "benchmarks.distributed", "billion"),
    **{f"configuration-{name.partition('.')[0]}": partial(configuration, name) for name in CONFIGURATIONS},
    **{f"script-{engine}": partial(script, engine) for engine in ("daft", "duckdb", "polars", "ray", "spark")},
}


def pages() -> list[Path]:
    """README and the documents that are kept up; history stays as it was written."""
    found = sorted(path for path in (ROOT / "docs").rglob("*.md") if not {"history", "decisions"} & set(path.parts))
    return [ROOT / "README.md", *found]


def main() -> int:
    """Write or check; 1 where a page does not show what the files hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    args = parser.parse_args()
    stale = []
    for path in pages():
        old = path.read_text(encoding="utf-8")
        new = filled(old, BLOCKS, str(path.relative_to(ROOT)))
        if new != old:
            stale.append(path.relative_to(ROOT))
            if not args.check:
                path.write_text(new, encoding="utf-8")
    for path in stale:
        print(f"{path}: {'is not what the result files say: run python -m benchmarks.documents' if args.check else 'written'}")
    return int(bool(stale) and args.check)


if __name__ == "__main__":
    raise SystemExit(main())
