"""Changes of a command line that leave the command readable in it."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tools.synth.cmdline import encoded_command, is_powershell
from tools.synth.evasion.shared import Change, is_windows, mixed
from tools.synth.words import sentence

_WINDOWS_LINES = ("ipconfig /all", "dir C:\\Users", "echo done", "cd C:\\Temp", "tasklist", "hostname", "whoami")
_UNIX_LINES = ("ls -la", "cd /tmp", "echo done", "date", "uptime", "df -h", "true", "pwd")


def _harmless(rng: random.Random, line: str) -> tuple[str, str]:
    """A harmless line of the same shell, and how lines are joined there."""
    if is_windows(line):
        return rng.choice(_WINDOWS_LINES), "; " if is_powershell(line) else " & "
    return rng.choice(_UNIX_LINES), rng.choice(("; ", " && "))


def _company(before: bool, after: bool) -> Change:
    def change(rng: random.Random, line: str) -> str:
        first, join = _harmless(rng, line)
        last = _harmless(rng, line)[0]
        return f"{first + join if before else ''}{line}{join + last if after else ''}"

    return change


def _comment(before: bool) -> Change:
    def change(rng: random.Random, line: str) -> str:
        text = ""
        while len(text) < 600:
            text += re.sub(r"[^\w ]", "", sentence(rng)) + " "
        if is_powershell(line):
            return f"<# {text}#> {line}" if before else f"{line} # {text.strip()}"
        if is_windows(line):
            return f"rem {text.strip()} & {line}" if before else f"{line} & rem {text.strip()}"
        return f": '{text.strip()}'; {line}" if before else f"{line} # {text.strip()}"

    return change


def _carets(rng: random.Random, line: str) -> str | None:
    if not is_windows(line) or is_powershell(line):
        return None
    return "".join("^" + c if c.isalpha() and rng.random() < 0.4 else c for c in line)


def _backticks(rng: random.Random, line: str) -> str | None:
    if not is_powershell(line):
        return None
    ticked = re.sub(r"(?<=[A-Za-z])([^\W\d_abefnrtuvxABEFNRTUVX])(?=[A-Za-z])", lambda m: ("`" if rng.random() < 0.4 else "") + m[1], line)
    return ticked if ticked != line else None


def _quoted(rng: random.Random, line: str) -> str:
    head, blank, rest = line.partition(" ")
    mark = '""' if is_windows(line) else rng.choice(("''", '""'))
    words = re.split(r"( )", rest)
    changed = [w[:2] + mark + w[2:] if w.isalpha() and len(w) > 3 and rng.random() < 0.5 else w for w in words]
    return f"{head[:2]}{mark}{head[2:]}{blank}{''.join(changed)}" if head[:3].isalpha() else f"{head}{blank}{''.join(changed)}"


def _ifs(rng: random.Random, line: str) -> str | None:
    return None if is_windows(line) or " " not in line else line.replace(" ", rng.choice(("${IFS}", "$IFS$9")))


def _piped(form: str, encode: Callable[[bytes], str]) -> Change:
    return lambda rng, line: None if is_windows(line) else form.format(encode(line.encode()))


def _number(rng: random.Random, line: str) -> str | None:
    def whole(match: re.Match[str]) -> str:
        parts = [int(part) for part in match[1].split(".")]
        return "//" + str(sum(part << shift for part, shift in zip(parts, (24, 16, 8, 0), strict=True)))

    changed = re.sub(r"//(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?=[/:])", whole, line)
    return changed if changed != line else None


def _joined(rng: random.Random, line: str) -> str | None:
    changed = re.sub(r"(?<=[('\"])(\w{3})(\w{3,})(?=[)'\"])", r"\1'+'\2", line)
    return changed if changed != line else None


def _encoded_line(rng: random.Random, line: str) -> str | None:
    return encoded_command(rng, line) if is_powershell(line) else None


COMMAND_CHANGES: Mapping[str, Change] = MappingProxyType({
    "upper case": lambda rng, line: line.upper() if is_windows(line) else None,
    "mixed case": lambda rng, line: mixed(rng, line) if is_windows(line) else None,
    "double blanks": lambda rng, line: line.replace(" ", "  "),
    "tabs for blanks": lambda rng, line: line.replace(" ", "\t"),
    "30 blanks after each word": lambda rng, line: line.replace(" ", " " * 30),
    "carets": _carets,
    "backticks": _backticks,
    "quotes in words": _quoted,
    "harmless command before": _company(before=True, after=False),
    "harmless command after": _company(before=False, after=True),
    "harmless before and after": _company(before=True, after=True),
    "long comment before": _comment(before=True),
    "long comment after": _comment(before=False),
    "-EncodedCommand": _encoded_line,
    "base64 -d | sh": _piped("echo {} | base64 -d | sh", lambda raw: base64.b64encode(raw).decode()),
    "printf hex | sh": _piped("printf '{}' | sh", lambda raw: "".join(f"\\x{b:02x}" for b in raw)),
    "IP as integer": _number,
    "string joined in parts": _joined,
    "$IFS for blanks": _ifs,
})  # fmt: skip
"""Changes of a command line that leave the command readable in it."""
