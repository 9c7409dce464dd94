"""Windows events in their forms: XML, message texts, and what converters from XML make of lists of named data."""

from __future__ import annotations

import re
from collections.abc import Mapping

_DATA = re.compile(r"<Data Name=(?:\"([^\"<]{0,256})\"|'([^'<]{0,256})')\s{0,8}>([^<]*)</Data>")
_SYSTEM_TIME = re.compile(r"SystemTime=(?:\"([^\"<]{0,64})\"|'([^'<]{0,64})')")
_MESSAGE_FIELD = re.compile(r"(?:^|[\r\n\t])[ \t]{0,8}(CommandLine|Process Command Line|QueryName|UtcTime):[ \t]{0,8}([^\r\n]+)")
_SCRIPT = re.compile(r"Creating Scriptblock text \(\d{1,5} of \d{1,5}\):\s{0,8}(.*?)\s*(?:ScriptBlock ID: ?[\w-]|\Z)", re.DOTALL)
"""Event 4104 of PowerShell: a block of script, or a part of one."""
SCRIPT, HOST, HOST_SPACED = b"Creating Scriptblock text", b"\tHostApplication=", b"    Host Application = "
"""What messages of PowerShell begin with, or hold."""
_HOST_APPLICATION = re.compile(r"Host ?Application ?= ?([^\r\n]{3,8192}?)(?=\s*[\r\n\t]|\s*Engine ?Version ?=|\Z)")
"""Events 400, 600, 800 and 4103: the command line that PowerShell runs under."""
_NEXT_FIELD = (
    r"CurrentDirectory|Current directory|User|Token Elevation Type|Creator Process Name|QueryStatus|QueryResults|ProcessGuid|ProcessId|"
    r"RuleName|OriginalFileName|Environment|CommandLine|Image"
)
_FLAT_FIELD = re.compile(
    r"(?:^|[\s,])(Command ?Line|Process Command Line|QueryName|UtcTime):[ \t]{0,8}(.+?)"
    rf"(?=,? {{1,8}}(?:(?:{_NEXT_FIELD}):|Token Elevation Type indicates)|\t|\Z)",
    re.IGNORECASE,
)
"""A field of a message whose lines a shipper joined."""
_ATTRIBUTES = ("$", "#attributes", "@", "attributes", "_attributes")
_MESSAGE_NAMES = dict.fromkeys(("Process Command Line", "Command Line", "Command line"), "CommandLine")
_MARKS = "@-_$#"
"""Keys under which, and marks with which, converters from XML to JSON write attributes."""
_Object = dict[str, object]


def windows_events(text: str, most: int) -> list[_Object]:
    """Windows events in XML (wevtutil, Splunk's XmlWinEventLog) as objects with ``EventData`` and their time.

    Args:
        text: one event, or several behind each other, as ``wevtutil`` writes them; what stands around them is passed over.
        most: events that are read.
    """
    import html  # slow to import, and seldom needed

    found: list[_Object] = []
    end = 0
    while len(found) < most and (begin := text.find("<Event", end)) >= 0 and (end := text.find("</Event>", begin)) >= 0:
        event = text[begin:end]
        data = {html.unescape(m[1] or m[2] or ""): html.unescape(m[3]) for m in _DATA.finditer(event)}
        time = _SYSTEM_TIME.search(event)
        found.append({"EventData": data, "SystemTime": (time[1] or time[2]) if time else ""})
    return found


def windows_message(text: str) -> _Object | None:
    """The fields of a Windows event's message text (``CommandLine: …`` on a line of its own), as ``EventData`` has them."""
    if "Creating Scriptblock text" in text and (script := _SCRIPT.search(text)) is not None:
        return {"EventData": {"ScriptBlockText": script[1]}}
    if "Application" in text and (host := _HOST_APPLICATION.search(text)) is not None:
        return {"EventData": {"CommandLine": host[1].strip()}}
    if not any(name in text for name in ("CommandLine:", "Command Line:", "Command line:", "QueryName:")):
        return None
    matches = list(_MESSAGE_FIELD.finditer(text)) or list(_FLAT_FIELD.finditer(text))
    fields = {_MESSAGE_NAMES.get(match[1], match[1]): match[2].strip() for match in matches}
    return {"EventData": fields} if fields.keys() - {"UtcTime"} else None


def with_names(data: _Object) -> _Object:
    """An object in which ``Event`` or ``EventData`` lists named data, with these under their names, and its time as ``SystemTime``."""
    event = data.get("Event", data)
    if not isinstance(event, dict):
        return data
    system, body = event.get("System"), event.get("EventData")
    found = data
    if isinstance(body, dict) and isinstance(body.get("Data"), list):
        named = {_attribute(item, "Name"): _text(item) for item in body["Data"] if isinstance(item, dict)}
        named.pop("", None)
        body = {**named, **body}
        found = {**found, "EventData": body}
    own = isinstance(body, dict) and "UtcTime" in body  # what Sysmon itself says
    if isinstance(system, dict) and isinstance(system.get("TimeCreated"), dict) and "SystemTime" not in found and not own:
        found = {**found, "SystemTime": _attribute(system["TimeCreated"], "SystemTime")}
    return found


def _attribute(item: Mapping[str, object], name: str) -> str:
    """An attribute as converters write it: ``@Name``, ``-Name``, ``Name``, ``{"$": {"Name": …}}``; empty for none."""
    for key, value in item.items():
        if isinstance(value, str) and key.lstrip(_MARKS) == name:
            return value
        if isinstance(value, dict) and key in _ATTRIBUTES and isinstance(value.get(name), str):
            return str(value[name])
    return ""


def _text(item: Mapping[str, object]) -> str:
    """The text of an element: what stands there beside its attributes."""
    return next((value for key, value in item.items() if isinstance(value, str) and key.lstrip(_MARKS) != "Name"), "")
