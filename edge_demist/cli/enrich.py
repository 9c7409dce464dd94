"""``edge-demist enrich``: JSON objects in, the same objects with one more key out, one for one, for other people's pipelines."""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from edge_demist.cli.inputs import binary
from edge_demist.cli.line import no_constant
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_fpr, add_model, command, number
from edge_demist.errors import InputError
from edge_demist.model import EdgeDemist

MAX_LINE_BYTES = 1 << 20
MAX_BATCH = 256
MAX_BATCH_BYTES = 1 << 20
MAX_STRINGS = 1024
"""Strings of a line; more are an error of that line."""
MAX_BATCH_STRINGS = 4096
KEY = "edge_demist"
Field = tuple[list[str], list[str]]
"""Names of the keys that lead to a string, and the specialists that read it."""

EXAMPLES = (
    Example(
        'echo \'{"id": 7, "dns": {"query": "xjwqpvkz.info"}}\' | edge-demist enrich --field dns.query=dga -',
        '{"id": 7, "dns": {"query": "xjwqpvkz.info"}, "edge_demist": {"dga": {"label": …, "score": …, "alarm": …}}}',
    ),
)
NOTES = """Each line in gives one line out, in order, written when the input pauses. What stood in the object stays as it was, byte for
byte. FIELD is a key, or keys joined by dots; where it leads to several strings (a list, or a list of objects on the way), the
verdicts are a list that names them. What is no string is passed over. A line that is no object in UTF-8, or is longer than
1 MiB, comes out as {"line": …, "edge_demist": {"error": …}}, and the exit code is 1 at the end."""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "enrich", "add verdicts to JSON objects", EXAMPLES, NOTES, __doc__ or "")
    parser.add_argument("input", metavar="FILE", help="one JSON object a line; - for standard input")
    parser.add_argument(
        "--field",
        action="append",
        required=True,
        metavar="FIELD=TASK[,TASK…]",
        help="path of a string, and who reads it; may be repeated",
    )
    parser.add_argument("--key", default=KEY, metavar="NAME", help="key that is added (default: %(default)s)")
    parser.add_argument("--pause", type=number(0), default=0.05, metavar="S", help="write what is there after so long without input")
    add_fpr(parser, "false-positive rate of alarms")
    add_model(parser)


class _Lines:
    """Lines of a descriptor; an empty list where nothing came for a while."""

    def __init__(self, stream: BinaryIO, pause: float) -> None:
        self._fd, self._pause, self._rest, self._skipping = stream.fileno(), pause, b"", False

    def batches(self) -> Iterator[list[bytes | None]]:
        """What has come, a batch at a time; None for a line that is longer than is read."""
        ended = False
        while not ended:
            batch: list[bytes | None] = []
            size = 0
            while len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
                if batch and not select.select([self._fd], [], [], self._pause)[0]:
                    break
                data = os.read(self._fd, 1 << 16)
                if not data:
                    ended = True
                    if self._rest or self._skipping:
                        batch.append(None if self._skipping else self._rest)
                    break
                size += len(data)
                batch += self._split(data)
            if batch:
                yield batch

    def _split(self, data: bytes) -> list[bytes | None]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        found: list[bytes | None] = list(whole)
        if found and self._skipping:
            found[0], self._skipping = None, False
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._skipping = b"", True
        return [None if line is not None and len(line) > MAX_LINE_BYTES else line for line in found]


def run(args: argparse.Namespace) -> int:
    """Enrich; 1 if some lines were no objects."""
    fields = [_field(text) for text in args.field]
    failed = False
    with load_model(args) as model:
        for task in dict.fromkeys(task for _, tasks in fields for task in tasks):
            model.classify("", task=task, fpr=args.fpr)  # a wrong name or rate is told before a line is read
        out = sys.stdout.buffer
        with binary(args.input) as stream:
            for batch in _Lines(stream, args.pause).batches():
                lines, bad = enriched(model, batch, fields, args.key, args.fpr)
                failed = failed or bad
                out.write(b"".join(lines))
                out.flush()
    return 1 if failed else 0


def _field(text: str) -> Field:
    path, equals, tasks = text.rpartition("=")
    if not path or not equals or not all(tasks.split(",")):
        raise InputError(f"--field {text!r}: give a path and specialists, such as query=dga,hostname-threat")
    return path.split("."), list(dict.fromkeys(tasks.split(",")))


def enriched(
    model: EdgeDemist, batch: Sequence[bytes | None], fields: Sequence[Field], key: str, fpr: float | None
) -> tuple[list[bytes], bool]:
    """A line out for each line in, and whether one was no object."""
    objects = [_parsed(line) for line in batch]
    asked: list[tuple[int, str, str, bool]] = []
    verdicts: list[dict[str, Any]] = [{} for _ in batch]
    for i, value in enumerate(objects):
        own = [(i, task, text, listed) for path, tasks in fields for text, listed in _strings(value, path) for task in tasks]
        if len(own) > MAX_STRINGS:
            verdicts[i], own = {"error": f"{len(own)} strings to read; at most {MAX_STRINGS}"}, []
        asked += own
    if len(asked) > MAX_BATCH_STRINGS and len(batch) > 1:
        halves = [enriched(model, half, fields, key, fpr) for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :])]
        return halves[0][0] + halves[1][0], halves[0][1] or halves[1][1]
    answers = model.classify([text for _, _, text, _ in asked], task=[task for _, task, _, _ in asked], fpr=fpr) if asked else []
    several = Counter((i, task) for i, task, _, _ in asked)
    for (i, task, text, listed), answer in zip(asked, answers, strict=True):
        found = {k: v for k, v in answer.to_dict().items() if k not in ("text", "task")}
        if listed or several[i, task] > 1:
            verdicts[i].setdefault(task, []).append({"text": text, **found})
        else:
            verdicts[i][task] = found
    lines = [_line(raw, value, own, key) for raw, value, own in zip(batch, objects, verdicts, strict=True)]
    return lines, any(isinstance(value, str) for value in objects) or any("error" in own for own in verdicts)


_DECODE = json.JSONDecoder(parse_constant=no_constant, parse_int=float).decode
"""Numbers are not looked at: of any length, they stay as they were written."""


def _parsed(line: bytes | None) -> dict[str, Any] | str:
    """The object, or what was wrong."""
    if line is None:
        return f"longer than {MAX_LINE_BYTES} bytes"
    try:
        value = _DECODE(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "not UTF-8"
    except RecursionError:
        return "nested too deeply"
    except ValueError:
        return "not JSON"
    return value if isinstance(value, dict) else "not a JSON object"


def _strings(value: Any, path: Sequence[str], *, listed: bool = False) -> list[tuple[str, bool]]:
    """The strings that a path leads to, and whether there was a list on the way; keys may hold the dots themselves."""
    if isinstance(value, list):
        wanted = dict if path else str
        return [found for one in value if isinstance(one, wanted) for found in _strings(one, path, listed=True)]
    if not path:
        return [(value, listed)] if isinstance(value, str) else []
    if not isinstance(value, dict):
        return []
    names = ((".".join(path[:i]), path[i:]) for i in range(len(path), 0, -1))
    found = (_strings(value[name], rest, listed=listed) for name, rest in names if name in value)
    return next((one for one in found if one), [])


def _line(raw: bytes | None, value: dict[str, Any] | str, verdicts: dict[str, Any], key: str) -> bytes:
    """The object as it came with one key behind its last one; a bad line as it came, beside what was wrong."""
    if isinstance(value, str):
        shown = None if raw is None else raw.decode("utf-8", "backslashreplace")
        return json.dumps({"line": shown, key: {"error": value}}).encode() + b"\n"
    assert raw is not None
    body = raw.rstrip(b" \t\r")
    name = key if key not in value else next(f"{key}_{i}" for i in range(1, len(value) + 2) if f"{key}_{i}" not in value)
    added = f"{json.dumps(name)}: {json.dumps(verdicts)}".encode()
    return body[:-1] + (b", " if value else b"") + added + b"}" + raw[len(body) :] + b"\n"
