"""``edge-demist bench``: latency, throughput, cold start and memory on this machine."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from edge_demist.cli.options import Example, add_bundle, command, number
from edge_demist.diagnostics import cold_start, machine, report, samples, sensor, suite
from edge_demist.errors import InputError
from edge_demist.format.bundle import Bundle

EXAMPLES = (
    Example(
        "printf 'kernel.org\\nexample.com\\n' > names.txt\nedge-demist bench --quick --threads 1 --input names.txt -o today.json",
        "…engine…\n…",
    ),
)
ROUNDS = 3
NOTES = "exit codes: 0 measured, 1 slower than --fail-above allows, 2 cannot measure"


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "bench", "measure speed and memory here", EXAMPLES, NOTES, __doc__ or "")
    parser.add_argument("--input", type=Path, metavar="FILE", help="strings to measure on, one a line (default: shipped samples)")
    parser.add_argument("--kind", default="hostname", help="kind of shipped sample strings, or 'all' (default: %(default)s)")
    add_bundle(parser)
    parser.add_argument("--engine", default="auto", metavar="NAMES", help="auto, all, or names with commas between (default: %(default)s)")
    parser.add_argument("--threads", type=_counts, metavar="LIST", help="thread counts, such as 1,4 (default: 1 and all processors)")
    parser.add_argument("--task", help="specialist of the classify rows")
    parser.add_argument("--quick", action="store_true", help="a fifth of the time")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="write the result here, with the machine's facts, as JSON")
    parser.add_argument("--json", type=Path, nargs="?", const=Path("-"), metavar="OUT", help="the same on standard output (OUT: as -o)")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="print ratios to an earlier result")
    text = "measure watch on made DNS logs of the strings: new names, repeated ones; with all answers, alarms, alarms without the screen"
    parser.add_argument("--sensor", action="store_true", help=text)
    parser.add_argument("--sensor-log", type=Path, metavar="LOG", help="with --sensor: a log of your own, or a folder of such, as well")
    text = "with --compare: exit 1 if a median is more than PCT %% slower"
    parser.add_argument("--fail-above", type=number(0), metavar="PCT", help=text)


def _counts(value: str) -> list[int]:
    try:
        counts = [int(part) for part in value.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or max(counts) > 1024:
        raise argparse.ArgumentTypeError(f"{value!r} is not a list of thread counts such as 1,4")
    return counts


class Bar:
    """A progress bar on stderr, only on a terminal."""

    WIDTH = 30

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shown = self._stream.isatty()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` slices are measured."""
        if self._shown:
            full = self.WIDTH * done // total
            self._stream.write(f"\r[{'#' * full}{'.' * (self.WIDTH - full)}] {done}/{total} {name}\x1b[K")
            self._stream.flush()

    def close(self) -> None:
        """Clear the line."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def read_result(path: Path) -> dict[str, Any]:
    """An earlier result.

    Raises:
        InputError: not a result of this command.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(value, dict) or value.get("kind") != "edge-demist bench" or not isinstance(value.get("rows"), list):
        raise InputError(f"{path}: not a result of edge-demist bench")
    if value.get("format") != suite.FORMAT:
        raise InputError(f"{path}: format {value.get('format')!r}; this version reads {suite.FORMAT}")
    return value


def make_plan(args: argparse.Namespace) -> suite.Plan:
    """The plan that the options ask for."""
    if args.input is not None:
        texts, source = samples.from_file(args.input), "a file"
    else:
        kind = None if args.kind == "all" else args.kind
        texts, source = samples.shipped(kind), f"shipped samples, {args.kind}"
    count = machine.processors()
    threads = args.threads or ([1, count] if count > 1 else [1])
    return suite.Plan(texts, source, args.bundle, args.engine.split(","), threads, args.task, args.quick)


def run_sensor(args: argparse.Namespace) -> int:
    """Measure the sensor's way and print it."""
    if args.compare is not None or args.task or args.threads or args.engine != "auto":
        raise InputError("--sensor goes with --input, --kind, --bundle, --quick, --sensor-log, --output and --json alone")
    plan, bar, bundle = make_plan(args), Bar(), Bundle.load(args.bundle)
    texts = [text for text in plan.texts if not set(text) & set("\t\n\r")]
    with tempfile.TemporaryDirectory() as place:
        paths = sensor.logs(Path(place), texts, args.sensor_log)
        try:
            rows = sensor.measure(paths, 1 if args.quick else ROUNDS, str(args.bundle or ""), Path(place), bar)
        finally:
            bar.close()
    told = {"id": bundle.id, "name": bundle.name, "version": bundle.version}
    result = {"kind": "edge-demist bench --sensor", "format": sensor.FORMAT, "machine": machine.facts(), "bundle": told, "rows": rows}
    write(args, result, lambda: "\n".join(sensor.lines(rows)))
    return 0


def write(args: argparse.Namespace, result: dict[str, Any], text: Callable[[], str]) -> bool:
    """The result where the options want it, else its text on standard output; whether standard output got the result."""
    outputs = {path for path in (args.output, args.json) if path is not None}
    for path in outputs - {Path("-")}:
        path.write_text(cold_start.dumps(result), encoding="utf-8")
    to_stdout = Path("-") in outputs
    sys.stdout.write(cold_start.dumps(result) if to_stdout else text() + "\n")
    return to_stdout


def run(args: argparse.Namespace) -> int:
    """Measure, print, compare."""
    if args.sensor_log is not None and not args.sensor:
        raise InputError("--sensor-log needs --sensor")
    if args.sensor:
        return run_sensor(args)
    if args.fail_above is not None and args.compare is None:
        raise InputError("--fail-above needs --compare OLD.json")
    old = read_result(args.compare) if args.compare is not None else None
    bar = Bar()
    try:
        result = suite.run(make_plan(args), bar)
    finally:
        bar.close()
    to_stdout = write(args, result, lambda: report.table(result))
    if old is None:
        return 0
    lines, worst = report.compare(old, result)
    (sys.stderr if to_stdout else sys.stdout).write("\n" + "\n".join(lines) + "\n")
    return 1 if args.fail_above is not None and worst > 1 + args.fail_above / 100 else 0
