"""Lines of text that name their values: CEF, LEEF, Falco's output, key=value logs; and what sudo, cron and snoopy tell syslog.

CEF: "ArcSight Common Event Format", revision 25; LEEF: IBM's "Log Event Extended Format" 2.0.  What the fields mean is the mapping's
business; Falco's get the names that they have in its JSON output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.sources.field_names import is_telling, plain_name
from edge_demist.sensor.sources.tables import split_loosely
from edge_demist.sensor.sources.timestamps import parse_time

MAX_TEXT_BYTES = 1 << 16
MAX_PAIRS = 512
MAX_PREFIX = 512
_Object = dict[str, object]

_LOGGED_COMMANDS = (
    ("COMMAND=", re.compile(r"(?:\A *|\bsudo(?:\[\d{1,10}\])?: +)\S{1,64} : .{0,500} ; \Z")),
    (" CMD (", re.compile(r"\bCROND?\[\d{1,10}\]: \([^()\s]{1,64}\)\Z", re.IGNORECASE)),
    ("]: ", re.compile(r"\bsnoopy\[\d{1,10}\]: \[[^\]]{1,512}\Z")),
    (" UID=", re.compile(r"\bHISTORY: PID=\d{1,10}\Z")),
)
"""What stands directly before a command that is told to syslog, and what must stand before that."""
_USER_ID = re.compile(r"\A\d{1,10} ")
_PAN = re.compile(r",THREAT,(?:url|spyware|dns),")
_PAN_TIME, _PAN_URL = 6, 31
"""Columns of a PAN-OS threat log: generated time, URL or file name (PAN-OS 9.1 to 11, Syslog Field Descriptions)."""
_PAN_NAME = re.compile(r"\((?:\w{1,24}:)?((?:[\w-]{1,63}\.)+[A-Za-z][\w-]{1,62})\)")
_COMMAND_MARKS = (b"COMMAND=", b"CMD (", b"snoopy[", b"HISTORY: ", b",THREAT,")
_BROKEN_BAR = " ¦ ".encode()
_HEADER_END = re.compile(r"(?<!\\)\|")
_CEF_KEY = re.compile(r"(?:\A|(?<=[\s|]))([A-Za-z_][\w.\-\[\]]{0,127})(?<!\\)=")
_CEF_ESCAPE = re.compile(r"\\([\\=|nr])")
_CEF_TIMES = ("rt", "start", "deviceReceiptTime", "end", "devTime")
_PAIR = re.compile(
    r"(?<![^\s,;|(\[{>])(?:(?<=\[)(?P<bare>[a-z_]{1,32}) (?=\")|\"?(?P<name>[A-Za-z_@][\w.@\-]{0,63})\"?(?:=|: ?(?=\")))"
    r"(?:\"((?:[^\"\\]|\\.)*+)\"(?=[\s,;|)\]}]|\Z)|\"([^\"]*)\"(?=[\s,;|)\]}]|\Z)|'([^']*)'(?=[\s,;|)\]}]|\Z))?"
)
_LISTED = re.compile(r"(?:\A|(?<=: )|, )([A-Z][A-Za-z]{1,31}): (?=[^,]|\Z)")
LEAST_LISTED = 4
"""Values with names in a line of ``Key: value`` and commas."""
_DOUBLED = re.compile(r'(?:[^\\]|\\[\\"])*\Z')
_ESCAPED = re.compile(r'\\([\\"])')
_LABEL = re.compile(r"[\w.\-]{1,64}\Z")
_FALCO = re.compile(r"\b\d\d:\d\d:\d\d\.\d{6,9}: (?:Emergency|Alert|Critical|Error|Warning|Notice|Informational|Info|Debug) ")
_FALCO_COMMANDS = frozenset(("command", "cmdline", "proccmdline"))
_COMMAND_NAMES = _FALCO_COMMANDS | {"commandline", "processcommandline", "cmd", "proctitle"}
_BESIDE_COMMANDS = frozenset(
    re.findall(
        r"\w+",
        """
        user useruid userloginuid userloginname loginuid uid gid group process procexepath proc exe exepath exeflags
        parent parentexe pid ppid terminal tty containerid containername containerimage containerimagerepository
        containerimagetag containerprivileged container image file connection k8sns k8spod k8spodname k8snsname
        k8scontainername pcmdline gparent ggparent gggparent sip dip sport dport lport rport lip rip proto evttype
        evtres fdname target directory source event syscall res result success session host node tags program newuid
        """,
    )
)
"""Names that end a command line without quotes; others may be assignments that it makes (``env X=1 sh``)."""


def text_object(line: bytes) -> _Object | None:
    """What a line of text says, by the names of its values; None for text without values that are of use."""
    is_command = any(mark in line for mark in _COMMAND_MARKS)
    if not is_command and b"=" not in line and b'"' not in line and _BROKEN_BAR not in line and b"\t" not in line and b", " not in line:
        return None
    text = from_bytes(line[:MAX_TEXT_BYTES])
    if is_command and (command := _logged_command(text)) is not None:
        return command
    if (begin := text.find("CEF:", 0, MAX_PREFIX)) >= 0:
        return _cef(text[begin:])
    if (begin := text.find("LEEF:", 0, MAX_PREFIX)) >= 0:
        return _leef(text[begin:])
    return _falco(text) or _labelled(text) or _named(text) or _listed(text)


def _logged_command(text: str) -> _Object | None:
    """The command in a line of sudo, cron, snoopy, or of a shell that logs its history."""
    if _PAN.search(text, 0, MAX_PREFIX) is not None:
        return _pan(text)
    for mark, before in _LOGGED_COMMANDS:
        at = text.rfind(mark, 0, MAX_PREFIX) if mark == "]: " else text.find(mark)
        if at >= 0 and before.search(text, max(0, at - MAX_PREFIX), at):
            command = text[at + len(mark) :].strip()
            if mark == " UID=":
                command = _USER_ID.sub("", command, count=1)
            return {"cmdline": command.removesuffix(")").strip() if mark == " CMD (" else command}
    return None


def _pan(text: str) -> _Object | None:
    """The URL of a PAN-OS log, whose columns have no names."""
    row = split_loosely(text, ",")
    if len(row) <= _PAN_URL:
        return None
    name = _PAN_NAME.search("".join(row[_PAN_URL + 1 : _PAN_URL + 2]))
    return {"timestamp": row[_PAN_TIME], **({"query": name[1]} if name and row[4] != "url" else {"url": row[_PAN_URL]})}


def _cef(text: str) -> _Object | None:
    """``CEF:0|vendor|product|version|id|name|severity|key=value …``; labels of custom fields become their names."""
    header = _HEADER_END.split(text, 7)
    if len(header) < 8:
        return None
    found: _Object = {"deviceVendor": header[1], "deviceProduct": header[2]}
    keys = list(_CEF_KEY.finditer(header[7]))[:MAX_PAIRS]
    for key, end in zip(keys, [*(k.start() for k in keys[1:]), len(header[7])], strict=False):
        found[key[1]] = _CEF_ESCAPE.sub(_cef_plain, header[7][key.end() : end].strip()).strip('"')
    return _with_labels(found)


def _cef_plain(match: re.Match[str]) -> str:
    return {"n": "\n", "r": "\r"}.get(match[1], match[1])


def _leef(text: str) -> _Object | None:
    """``LEEF:2.0|vendor|product|version|id|delimiter|key=value…``; the delimiter is a tab where none is named."""
    header = text.split("|", 5)
    if len(header) < 6:
        return None
    delimiter, body = "\t", header[5]
    if header[0].startswith("LEEF:2"):
        named, mark, rest = body.partition("|")
        if mark and "=" not in named:
            body = rest
            code = named.lower().removeprefix("0").removeprefix("x")
            delimiter = chr(int(code, 16)) if len(named) > 1 and re.fullmatch(r"[0-9a-f]{1,4}", code) else named[:1] or "\t"
    if delimiter not in body and body.count("=") > 1:
        return {"deviceVendor": header[1], "deviceProduct": header[2], **dict(_pairs(body))}
    found: _Object = {"deviceVendor": header[1], "deviceProduct": header[2]}
    for part in body.split(delimiter)[:MAX_PAIRS]:
        name, _, value = part.strip().partition("=")
        found.setdefault(name, value)
    return _with_labels(found)


def _with_labels(found: _Object) -> _Object:
    """Custom fields (``cs1``) under the names that their labels give them as well, and the time as ``timestamp``."""
    for key, label in list(found.items()):
        if key.endswith("Label") and key[:-5] in found and isinstance(label, str):
            found.setdefault(label, found[key[:-5]])
    times = (parse_time(found[key]) for key in _CEF_TIMES if key in found)
    us = next((time for time in times if time), None)
    return found if us is None else {**found, "timestamp": us}


def _falco(text: str) -> _Object | None:
    """``10:20:05.408091526: Warning Shell in a container (user=root command=bash …)``."""
    if _FALCO.search(text, 0, MAX_PREFIX) is None:
        return None
    pairs = list(_pairs(text))
    command = next((value for name, value in pairs if plain_name(name) in _FALCO_COMMANDS), "")
    return {"output_fields": {"proc.cmdline": command, **dict(pairs)}} if command else None


def _labelled(text: str) -> _Object | None:
    """``label:value`` between tabs (LTSV, http://ltsv.org)."""
    parts = [part.partition(":") for part in text.rstrip().split("\t")[:MAX_PAIRS]] if "\t" in text else []
    if len(parts) < 2 or not all(mark and _LABEL.match(name) for name, mark, _ in parts):
        return None
    found: _Object = {name: value for name, _, value in parts if value != "-"}
    return found if any(map(is_telling, found)) else None


def _named(text: str) -> _Object | None:
    """``key=value key="value" key: "value" [key "value"]`` and ``Key: value ¦ Key: value``, where one of the names is telling."""
    found: _Object = {}
    barred = [part.partition(": ") for part in text.split(" ¦ ")] if " ¦ " in text else ()
    for name, value in [*((name.lower(), value) for name, _, value in barred), *_pairs(text)]:
        found.setdefault(name, value)
    if "://" in str(found.get("resource", "")):  # Check Point
        found.setdefault("url", found.pop("resource"))
    return found if any(map(is_telling, found)) else None


def _listed(text: str) -> _Object | None:
    """``Key: value, Key: value`` (Cisco Firepower), where one of the names is telling."""
    pieces = _LISTED.split(text, MAX_PAIRS) if text.count(", ") >= LEAST_LISTED - 1 else []
    found: _Object = {name: value for name, value in reversed(list(zip(pieces[1::2], pieces[2::2], strict=True))) if value}
    return found if len(found) >= LEAST_LISTED and any(map(is_telling, found)) else None


def _name(pair: re.Match[str]) -> str:
    return pair["name"] or pair["bare"]


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """The values of a text by their names; one without quotes goes on to the next name."""
    found = list(_PAIR.finditer(text))[:MAX_PAIRS]
    at = 0
    while at < len(found):
        pair, at = found[at], at + 1
        if pair[3] is not None:
            yield _name(pair), _ESCAPED.sub(r"\1", pair[3]) if "\\" in pair[3] and _DOUBLED.match(pair[3]) else pair[3]
            continue
        if (value := pair[4] if pair[4] is not None else pair[5]) is not None:
            yield _name(pair), value
            continue
        if plain_name(_name(pair)) in _COMMAND_NAMES:
            while at < len(found) and plain_name(_name(found[at])) not in _BESIDE_COMMANDS:
                at += 1
        value = text[pair.end() : found[at].start() if at < len(found) else len(text)].strip(" \t,;|")
        opened = at == len(found) and text.count("(", 0, pair.start()) > text.count(")", 0, pair.start())
        yield _name(pair), value.removesuffix(")") if opened else value
