"""Strings that are none of a sensor's kinds: prose of many languages, records, markup, code, log lines, mail headers, numbers, noise.

They teach a specialist's OOD detector what is not its own. Prose is made up of everyday words (``languages.txt``), code is taken from
Python's standard library.
"""

from __future__ import annotations

import base64
import importlib
import inspect
import itertools
import json
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType

UNSPACED = ("zh", "ja", "th")
ENDS = (".", ".", ".", "!", "?", ";", "")
FULL_STOPS = ("。", "，", "！", "")
MODULES = ("argparse", "ast", "asyncio.tasks", "cmd", "codecs", "configparser", "contextlib", "copy", "dataclasses", "datetime", "decimal",
           "difflib", "email.message", "enum", "filecmp", "fractions", "functools", "getopt", "glob", "http.client", "inspect",
           "ipaddress", "json.decoder", "locale", "logging", "mailbox", "optparse", "os", "pathlib", "pickle", "platform", "pprint",
           "random", "shutil", "smtplib", "socket", "statistics", "string", "subprocess", "tarfile", "tempfile", "threading", "timeit",
           "tokenize", "traceback", "types", "typing", "unittest.case", "uuid", "weakref", "zipfile")  # fmt: skip
"""Of the standard library, whose lines are code."""
PROGRAMS = (
    "sshd",
    "cron",
    "kernel",
    "systemd",
    "dhclient",
    "postfix/smtpd",
    "named",
    "ntpd",
    "dovecot",
    "sudo",
    "NetworkManager",
    "rsyslogd",
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
KEYS = ("id", "user", "name", "time", "level", "value", "items", "count", "title", "status", "price", "address", "lat", "lon", "tags", "ok")
TAGS = ("p", "div", "li", "td", "span", "strong", "h2", "em", "blockquote", "option")


@cache
def languages() -> Mapping[str, tuple[str, ...]]:
    """Everyday words by language."""
    lines = resources.files(__package__).joinpath("languages.txt").read_text(encoding="utf-8").splitlines()
    rows = (line.split() for line in lines if line.strip() and not line.startswith("#!"))
    return MappingProxyType({row[0]: tuple(row[1:]) for row in rows})


def sentence(rng: random.Random) -> str:
    """A made-up sentence of everyday words; English more often than another language."""
    name = "en" if rng.random() < 0.35 else rng.choice(sorted(languages()))
    chosen = rng.choices(languages()[name], k=rng.randint(3, 16))
    if name in UNSPACED:
        return "".join(word + (rng.choice(FULL_STOPS) if rng.random() < 0.15 else "") for word in chosen) + rng.choice(FULL_STOPS)
    chosen = [word + "," if rng.random() < 0.08 else word for word in chosen]
    text = " ".join(chosen).rstrip(",") + rng.choice(ENDS)
    return text if rng.random() < 0.2 else text[:1].upper() + text[1:]


def record(rng: random.Random) -> str:
    """A JSON object."""

    def value() -> object:
        plain = (rng.randint(-9, 99_999), round(rng.uniform(-200, 200), 3), sentence(rng), None, True, rng.choice(KEYS))
        return [rng.randint(0, 99) for _ in range(rng.randint(0, 5))] if rng.random() < 0.15 else rng.choice(plain)

    found = {key: value() for key in rng.sample(KEYS, rng.randint(1, 6))}
    if rng.random() < 0.2:
        found = {rng.choice(KEYS): found}
    return json.dumps(found, ensure_ascii=rng.random() < 0.5, separators=(",", ":") if rng.random() < 0.5 else None)


def markup(rng: random.Random) -> str:
    """A piece of HTML, XML or Markdown."""
    inside = sentence(rng)
    kind = rng.random()
    if kind < 0.5:
        tag = rng.choice(TAGS)
        mark = f' class="{rng.choice(KEYS)}"' if rng.random() < 0.4 else ""
        return f"<{tag}{mark}>{inside}</{tag}>"
    if kind < 0.65:
        key = rng.choice(KEYS)
        return f"<{key}>{rng.choice((inside, str(rng.randint(0, 9999))))}</{key}>"
    return rng.choice(("# ", "## ", "- ", "* ", "> ", "1. ", "- [ ] ", "**Note:** ", "| ")) + inside


@cache
def _code() -> tuple[str, ...]:
    found: set[str] = set()
    for name in MODULES:
        found.update(line.strip() for line in inspect.getsource(importlib.import_module(name)).splitlines())
    return tuple(sorted(line for line in found if 20 <= len(line) <= 120))


def code(rng: random.Random) -> str:
    """A line of a program."""
    return rng.choice(_code())


def log_line(rng: random.Random) -> str:
    """A line of a system's or a program's log."""
    clock = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}"
    rest = sentence(rng).lower()
    if rng.random() < 0.6:
        number = f"[{rng.randint(2, 40_000)}]" if rng.random() < 0.8 else ""
        host = f"{rng.choice(KEYS)}{rng.randint(1, 30)}"
        return f"{rng.choice(MONTHS)} {rng.randint(1, 28):2d} {clock} {host} {rng.choice(PROGRAMS)}{number}: {rest}"
    day = f"20{rng.randint(10, 29)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    return f"{day}{rng.choice('T ')}{clock} {rng.choice(('INFO', 'WARN', 'ERROR', '[debug]', 'notice:'))} {rest}"


def mail_header(rng: random.Random) -> str:
    """A header of a message."""
    token = base64.b32encode(rng.randbytes(8)).decode().rstrip("=")
    place = f"mx{rng.randint(1, 40)}.example.{rng.choice(('org', 'com', 'net'))}"
    return rng.choice((
        f"Subject: {rng.choice(('', 'Re: ', 'Fwd: '))}{sentence(rng)}",
        f"Received: from {place} ({place} [192.0.2.{rng.randint(1, 254)}]) by mail.example.net with ESMTP id {token}",
        f"Message-ID: <{token}@{place}>",
        f"Content-Type: text/{rng.choice(('plain', 'html'))}; charset={rng.choice(('utf-8', 'iso-8859-1'))}",
        f"From: {rng.choice(KEYS).title()} <{rng.choice(KEYS)}@{place}>",
        f"Date: {rng.randint(1, 28)} {rng.choice(MONTHS)} 20{rng.randint(10, 29)} 0{rng.randint(0, 9)}:15:00 +0{rng.randint(0, 3)}00",
    ))  # fmt: skip


def numbers(rng: random.Random) -> str:
    """A row of numbers."""
    between = rng.choice((",", ", ", ";", "\t", " "))
    return between.join(str(round(rng.uniform(-500, 5000), rng.randint(0, 4))) for _ in range(rng.randint(3, 14)))


def dump(rng: random.Random) -> str:
    """A line of a dump in hexadecimal, or symbols and pictures."""
    if rng.random() < 0.5:
        return f"{16 * rng.randint(0, 99_999):08x}  " + " ".join(f"{byte:02x}" for byte in rng.randbytes(16))
    start, end = rng.choice(((0x1F300, 0x1F64F), (0x2500, 0x259F), (0x2600, 0x26FF), (0x2190, 0x21FF)))
    return rng.choice(("", " ")).join(chr(rng.randint(start, end)) for _ in range(rng.randint(2, 20)))


KINDS: Mapping[str, Callable[[random.Random], str]] = MappingProxyType(
    {"sentence": sentence, "record": record, "markup": markup, "code": code, "log-line": log_line, "mail-header": mail_header,
     "numbers": numbers, "dump": dump}
)  # fmt: skip


def generate(rng: random.Random, n: int) -> list[tuple[str, str, str]]:
    """Rows ``(text, "foreign", kind)``, kinds in turn."""
    return [(KINDS[name](rng), "foreign", name) for name in itertools.islice(itertools.cycle(KINDS), n)]


def made_up(rng: random.Random, count: int) -> list[str]:
    """Texts of :func:`generate`."""
    return [row[0] for row in generate(rng, count)]


HOSTS = ("hostname", "strip_www", "strip_service_labels", "strip_all_service_labels", "site", "owner", "registrant")
"""Normalizers of host names."""


def told_apart(strange: Sequence[str], normalizer: str) -> list[str]:
    """Foreign strings that could not be of the kind by chance: in a host name a blank or a bracket, or other letters and no dot."""
    if normalizer not in HOSTS:
        return list(strange)
    return [t for t in strange if any(c in t for c in " /:;='\"<>\\,|()[]{}") or (not t.isascii() and "." not in t)]


def prose(rng: random.Random, count: int) -> list[str]:
    """English sentences from the docstrings of Python's standard library."""
    sentences = _sentences()
    return [rng.choice(sentences) for _ in range(count)]


@cache
def _sentences() -> tuple[str, ...]:
    found: list[str] = []
    for module in sorted(_STANDARD):
        loaded = importlib.import_module(module)
        text = loaded.__doc__ or ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names that are deprecated
            for name in sorted(vars(loaded)):
                described = getattr(vars(loaded)[name], "__doc__", None)
                text += "\n\n" + (described if isinstance(described, str) else "")
        found += [" ".join(part.split())[:400] for part in text.replace(". ", ".\n\n").split("\n\n")]
    return tuple(sorted({s for s in found if s.count(" ") >= 4}))


_STANDARD = ("argparse", "collections", "datetime", "decimal", "difflib", "fractions", "inspect", "itertools", "json", "logging", "math",
             "os", "random", "shutil", "socket", "statistics", "string", "subprocess", "textwrap", "typing", "unittest")  # fmt: skip


def binary(rng: random.Random, count: int) -> list[str]:
    """Random bytes, some printable in part, as text with escaped bytes."""
    rows = []
    for _ in range(count):
        raw = rng.randbytes(rng.randint(4, 120))
        if rng.random() < 0.3:
            raw = bytes(b & 0x7F for b in raw)
        rows.append(raw.decode("utf-8", "replace"))
    return rows
