"""``edge-demist classify``: one JSON answer for each string."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from edge_demist.cli.fit import AUTO, fitting
from edge_demist.cli.line import Line, decoded
from edge_demist.cli.lines import Blanks, Progress, dump, input_format, merged, read_batches, said, write_lines
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_fpr, add_input, add_model, command, rate
from edge_demist.cli.tables import CsvWriter
from edge_demist.errors import InputError
from edge_demist.format.facts import LEVEL_SLACK
from edge_demist.io import brief, replacing, shown
from edge_demist.model import EdgeDemist, Prediction

EXAMPLES = (
    Example(
        "printf 'kernel.org\\nxjwqpvkz.info\\n' | edge-demist classify --task dga --fpr 1e-3 -",
        '{"text": "kernel.org", "task": "dga", "label": "legit", …}\n{"text": "xjwqpvkz.info", "task": "dga", "label": "dga", …}',
    ),
    Example(
        'echo \'{"text": "curl/8.5.0", "id": 7}\' | edge-demist classify --task user-agent --top-k 2 --input-format jsonl -',
        '{"text": "curl/8.5.0", "id": 7, "task": "user-agent", "label": "http-library", …}',
    ),
    Example(
        "printf 'xjwqpvkz.info\\n' | edge-demist classify --task dga,dns-tunnel -",
        '{"text": "xjwqpvkz.info", "task": "dga", …}\n{"text": "xjwqpvkz.info", "task": "dns-tunnel", …}',
    ),
    Example(
        "printf '/item?id=1+UNION+SELECT+password+FROM+users--\\n' | edge-demist classify --task uri-attack --output-format table -",
        "…  sqli  …/item?id=1+UNION+SELECT+password+FROM+users--",
    ),
)
NOTES = """
output: {"text", "task", "label", "score"}; for alarm tasks "alarm" (true or false), "alarm_score" and the "threshold" it
reaches, at --fpr or at 1e-3; "window" where a part of a long string decides; with --top-k "scores"; "truncated": true
where only the beginning of a string was read; "screened": true for a score of stage one; {"line", "error"} for a line that
cannot be processed. With several tasks a line for each of them, in the order asked. A JSON object comes back as it was
written, with the answer behind its own keys; a key of its own that the answer has too is called "input_…".
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "classify", "classify strings", EXAMPLES, NOTES, __doc__ or "")
    add_input(parser)
    parser.add_argument(
        "--task",
        metavar="TASK[,TASK]",
        help="specialist to ask (see edge-demist tasks), several with commas between, or auto: the one whose kind the string is; "
        "jsonl lines may name theirs",
    )
    parser.add_argument(
        "--screen", action="store_true", help='let stage one answer what cannot alarm; its answers are marked "screened": true'
    )
    parser.add_argument("--top-k", type=_top_k, default=1, metavar="K", help="report the K most probable labels; 'all' for every label")
    parser.add_argument("--min-accuracy", type=rate, metavar="P", help="answer only as often as P of the answers are right; else 'unknown'")
    add_fpr(parser, "alarm tasks: false-positive rate of the alarm, such as 1e-3")
    parser.add_argument(
        "--output-format",
        choices=("jsonl", "csv", "table"),
        help="csv: rows with named columns (default for -o *.csv); table: to read, with a header on a terminal",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write here, whole or not at all; - for standard output (default)"
    )
    add_model(parser)


def _top_k(value: str) -> int:
    if value == "all":
        return 0
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is neither a number from 1 nor 'all'")
    return number


def run(args: argparse.Namespace) -> int:
    """Classify; 1 if some lines failed."""
    if args.task is None and input_format(args) != "jsonl":
        raise InputError("give --task NAME (see: edge-demist tasks), or --task auto")
    with load_model(args) as model:
        for task in _tasks(args):
            model.specialist(task)
        with _output(args.output) as write:
            return _run(args, model, write)


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[Callable[[Iterable[str]], None]]:
    """Where answers go: to standard output as they come, or to a file that is there whole or not at all."""
    if path is None or path == Path("-"):
        yield write_lines
        return
    try:
        with replacing(path) as stream:
            yield lambda lines: stream.writelines(line.encode("utf-8", "surrogateescape") + b"\n" for line in lines)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def _run(args: argparse.Namespace, model: EdgeDemist, write: Callable[[Iterable[str]], None]) -> int:
    failed = False
    noted: set[str] = set()
    progress, blanks, table = Progress(), Blanks(), CsvWriter()
    form = args.output_format or ("csv" if args.output is not None and args.output.suffix == ".csv" else "jsonl")
    count = max(len(_tasks(args)), 1)
    if form == "table" and args.output is None and sys.stdout.isatty():  # whoever reads on takes rows alone
        write([TABLE_HEAD])
    for lines in read_batches(args, blanks):
        batch = [line for line in lines for _ in range(count)]
        answers = _answer(model, batch, args, noted)
        failed |= any("error" in a for a in answers)
        if form == "csv":
            write(table.rows(_with_columns(line, answer) for line, answer in zip(batch, answers, strict=True)))
        elif form == "jsonl":
            write(dump(a) if "error" in a else said(line, a) for line, a in zip(batch, answers, strict=True))
        else:
            write(table_row(a) for a in answers)
        progress.add(len(lines))
    progress.close()
    blanks.tell()
    return 1 if failed else 0


def _with_columns(line: Line, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer for a table, behind the columns of its row; where there is none, the text stands there all the same."""
    return merged(line.carried, {"text": line.text, **answer} if "error" in answer else answer)


def _tasks(args: argparse.Namespace) -> list[str]:
    """The specialists that every line is asked of; none where lines name theirs, or are to be told by their kind."""
    return [] if args.task in (None, AUTO) else list(dict.fromkeys(args.task.split(",")))


def _answer(model: EdgeDemist, batch: list[Line], args: argparse.Namespace, noted: set[str]) -> list[dict[str, Any]]:
    """Output objects of a batch, in order."""
    asked: list[tuple[int, str]] = []
    out: list[dict[str, Any]] = [{}] * len(batch)
    fits = fitting(model, [line.text for line in batch]) if args.task == AUTO else []
    tasks = _tasks(args)
    for i, line in enumerate(batch):
        task = next(iter(fits[i])) if fits else tasks[i % len(tasks)] if tasks else decoded(line.carried.get("task"))
        if line.error or not isinstance(task, str) or task not in model.tasks:
            out[i] = {"line": line.number, "error": line.error or f"unknown task {brief(task)}; known: {', '.join(model.tasks)}"}
        else:
            asked.append((i, task))
    for task in {t for _, t in asked} - noted:
        noted.add(task)
        _note_levels(model, task, args)
    predictions = model.classify(
        [batch[i].text for i, _ in asked],
        task=[t for _, t in asked],
        top_k=args.top_k,
        min_accuracy=args.min_accuracy,
        fpr=args.fpr,
        screen=args.screen,
    )
    for (i, _), prediction in zip(asked, predictions, strict=True):
        out[i] = _object(batch[i], prediction)
        if fits and "error" not in out[i]:
            out[i]["fits"] = {task: round(fit, 3) for task, fit in fits[i].items()}
    return out


def _note_levels(model: EdgeDemist, task: str, args: argparse.Namespace) -> None:
    """Say on stderr which calibrated levels stand in for the ones asked for."""
    specialist = model.specialist(task)
    for kind, option, asked in (("fpr", "--fpr", args.fpr), ("accuracy", "--min-accuracy", args.min_accuracy)):
        if asked is not None and (kind == "accuracy" or specialist.kind == "alarm"):
            level, _ = specialist.level(kind, asked)
            if abs(level - asked) > LEVEL_SLACK:
                print(f"edge-demist: {task}: {option} {asked:g} is not calibrated; the next stricter one is, {level:g}", file=sys.stderr)


TABLE_HEAD = f"{'score':>6}  {'label':<24}text"


def table_row(answer: dict[str, Any]) -> str:
    """One answer as columns: probability, label, text; control and non-ASCII characters escaped."""
    if "error" in answer:
        return f"{'error':>6}  {'line ' + str(answer['line']):<24}{shown(answer['error'])}"
    return f"{answer['score']:>6.2f}  {shown(answer['label']):<24}{shown(answer['text'], 120)}"


def _object(line: Line, prediction: Prediction) -> dict[str, Any]:
    """What is said about a line."""
    if prediction.error:
        return {"line": line.number, "error": prediction.error}
    result = prediction.to_dict()
    if line.cut:
        result["truncated"] = True
    return result
