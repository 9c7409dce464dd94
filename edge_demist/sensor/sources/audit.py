"""Linux audit lines as the objects that laurel makes of them.

Audit formats: auditd's ``audit.log`` (Linux audit documentation project, "Audit Event Fields"): untrusted values are quoted,
or hexadecimal where they hold a blank, a quote or a control character; ``ausearch --interpret`` writes them as they are.
"""

from __future__ import annotations

import binascii
import re

from edge_demist.normalizers import from_bytes

_ID = rb"audit\((\d{9,11}\.\d{3}|\d\d/\d\d/\d{4} \d\d:\d\d:\d\d\.\d{3}):(\d{1,20})\) ?:"
_LINE = re.compile(rb"\btype=(EXECVE|1309|PROCTITLE|1327|USER_CMD|1123)(?: audit)?\s*:?\s*(?:msg=)?" + _ID + rb"\s*")
_ANY_LINE = re.compile(rb"\btype=[A-Z_0-9]+ (?:msg=)?" + _ID)
_INTERPRETED = re.compile(rb"(?<!\S)a(\d{1,4})=(.*?)(?= a\d{1,4}=|\s*\Z)")
_VALUE = re.compile(rb'\b(a\d+(?:\[\d+\])?|proctitle|cmd)=(?:"([^"]*)"|([0-9A-Fa-f]+)(?=\s|\Z)|(\S+))')
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+\Z")
_INDEX = re.compile(rb"a(\d+)(?:\[(\d+)\])?\Z")
MAX_ARGUMENTS = 4096
MIN_HEX_CHARS = 8


def audit_object(line: bytes) -> dict[str, object] | None:
    """What laurel would write for an EXECVE or PROCTITLE line; an object with the id alone for the other types; None else."""
    match = _LINE.search(line)
    if match is None:
        other = _ANY_LINE.search(line)
        return {"ID": (other[1] + b":" + other[2]).decode("ascii")} if other else None
    found: dict[str, object] = {"ID": (match[2] + b":" + match[3]).decode("ascii")}
    if b"/" in match[2] and match[1] not in (b"USER_CMD", b"1123"):
        return found | _interpreted(match[1], match[2].decode("ascii"), line[match.end() :])
    values = {m[1]: _plain(m) for m in _VALUE.finditer(line, match.end())}
    if match[1] in (b"PROCTITLE", b"1327"):
        raw = values.get(b"proctitle", b"")
        found["PROCTITLE"] = {"ARGV": [from_bytes(part) for part in raw.split(b"\0")]}
    elif match[1] in (b"USER_CMD", b"1123"):
        found["USER_CMD"] = {"ARGV": [from_bytes(values.get(b"cmd", b""))]}
    else:
        found["EXECVE"] = {"ARGV": _arguments(values)}
    return found


def _interpreted(kind: bytes, moment: str, rest: bytes) -> dict[str, object]:
    """A line of ``ausearch --interpret``: values stand as they are, without quotes."""
    day, clock = moment.split(" ")
    month, number, year = day.split("/")
    if kind in (b"PROCTITLE", b"1327"):
        command: dict[str, object] = {"PROCTITLE": {"ARGV": [from_bytes(rest.removeprefix(b"proctitle=").strip())]}}
    else:
        command = {"EXECVE": {"ARGV": [from_bytes(value) for _, value in _INTERPRETED.findall(rest)]}}
    return {"timestamp": f"{year}-{month}-{number}T{clock}", **command}


def _plain(match: re.Match[bytes]) -> bytes:
    quoted, digits, bare = match[2], match[3], match[4]
    if quoted is not None:
        return quoted
    if digits is not None and _HEX.match(digits):
        return binascii.unhexlify(digits)
    return digits if digits is not None else bare


def _arguments(values: dict[bytes, bytes]) -> list[str]:
    """The arguments a0, a1 and so on; long ones come in pieces, a1[0], a1[1]."""
    pieces: dict[int, list[tuple[int, bytes]]] = {}
    for name, value in values.items():
        place = _INDEX.match(name)
        if place and len(place[1]) <= 6 and len(place[2] or b"") <= 6:
            pieces.setdefault(int(place[1]), []).append((int(place[2] or 0), value))
    return [from_bytes(b"".join(piece for _, piece in sorted(pieces[i]))) for i in sorted(pieces)[:MAX_ARGUMENTS]]


def command_of_title(title: str) -> str:
    """A process title as a command line: hexadecimal undone, NULs between arguments as blanks."""
    raw = title.encode("utf-8", "surrogateescape")
    if len(raw) >= MIN_HEX_CHARS and _HEX.match(raw) and b"\0" not in raw:
        plain = from_bytes(binascii.unhexlify(raw))
        if all(char.isprintable() or char in "\0\t\n\r" for char in plain):
            title = plain
    return title.replace("\0", " ").strip(" ")
