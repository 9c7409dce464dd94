"""Objects that carry a log record in them: what shippers, message queues, indexes and exports wrap around a line.

Knows: Splunk HEC and exports, Elasticsearch hits and answers, Filebeat and fluentd messages, container logs, Zeek under a tag
(Kafka), Wazuh, CrowdStrike streams, Azure and Graph lists, CloudWatch, EvtxECmd. An envelope that holds nothing known is
itself the record. What the record's fields mean is the mapping's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from edge_demist.sensor.sources.json_logs import JsonRecord, classify_object, named_record

MAX_DEPTH = 4
MAX_PARTS = 10_000
EXECVE = 1309
"""The number of the EXECVE record (linux/audit.h)."""
_Object = dict[str, object]
_ReadText = Callable[[str, int], JsonRecord | None]

_OBJECT_KEYS = ("_source", "result", "event", "data", "properties", "payload", "json", "record", "value", "eve")
_LIST_KEYS = ("records", "Records", "results", "logEvents", "value", "events", "resources", "hits", "items", "logs")
_TEXT_KEYS = (
    *("message", "log", "_raw", "raw", "event", "line", "MESSAGE", "Message", "short_message", "full_log", "Payload", "payload"),
    *("data", "msg", "rawEvent"),
)
_NESTED_TEXT_KEYS = (("event", "original"), ("log", "original"), ("result", "_raw"))
RECORD_KEYS = frozenset(
    re.findall(
        r"\S+",
        """
        CommandLine command_line cmdline commandline commandLine process_cmdline ProcessCommandLine
        processCommandLine TargetProcessCommandLine target_cmdline childproc_cmdline tgtProcCmdLine
        action_process_image_command_line EventData Event winlog columns snapshot diffResults output_fields EXECVE
        PROCTITLE proctitle auditd process_exec args evidence behaviors tgt.process.cmdline proc.cmdline dns url tls
        user_agent http ssl query_name QueryName DomainName DnsQuery DnsQueryString dns_query_name QH RemoteUrl
        netconn_domain netconn_remote_domain request request_uri RequestPath ClientRequestURI httpRequest
        http_user_agent request_User-Agent ClientRequestUserAgent destination process.command_line process.args
        process.title url.original url.full dns.question.name
        """,
    )
)
"""Keys of records at the top: what has one of them is a record, whatever it carries beside."""
_PROCESS_KEYS = frozenset(("command_line", "args", "title"))


def unwrap(data: _Object, file_log: str, is_zeek_log: Callable[[str], bool], read_text: _ReadText, depth: int = 0) -> JsonRecord:
    """The record in an object, or the object as a record; with several, a record whose ``parts`` they are.

    Args:
        data: the object.
        file_log: what the file name suggests.
        is_zeek_log: whether a name is that of a Zeek log.
        read_text: reads a line of text that the object carries, at a depth; None where it is nothing known.
        depth: how many envelopes were opened already.
    """
    named = named_record(data, file_log)
    if named is not None or depth >= MAX_DEPTH:
        return named or classify_object(data, file_log)
    tagged = _tagged(data, is_zeek_log)
    if tagged is not None:
        return tagged
    if (line := _go_audit(data)) and (audited := read_text(line, depth)) is not None:
        return audited
    if _is_record(data):
        return classify_object(data, file_log)

    def open_object(inner: _Object) -> JsonRecord:
        return _within(unwrap(inner, file_log, is_zeek_log, read_text, depth + 1), data)

    found = _from_lists(data, open_object) or _from_objects(data, open_object)
    if found is None:
        text_record = _from_texts(data, read_text, depth + 1)
        found = None if text_record is None else _within(text_record, data)
    return found or classify_object(data, file_log)


def _go_audit(data: Mapping[str, object]) -> str:
    """The EXECVE message of a go-audit event as auditd writes it; empty for other objects."""
    messages, time, number = data.get("messages"), data.get("timestamp"), data.get("sequence")
    if not isinstance(messages, list) or not isinstance(time, str) or not isinstance(number, int):
        return ""
    texts = (m.get("data") for m in messages if isinstance(m, dict) and m.get("type") == EXECVE)
    text = next((t for t in texts if isinstance(t, str)), "")
    return f"type=EXECVE msg=audit({time}:{number}): {text}" if text else ""


_WAZUH_KEYS = frozenset(("win", "audit", "osquery", "command", "url"))


def _is_kunai(data: Mapping[str, object]) -> bool:
    info = data.get("info")
    return isinstance(info, dict) and "utc_time" in info


def _is_record(data: Mapping[str, object]) -> bool:
    process = data.get("process")
    acts = isinstance(process, dict) and not _PROCESS_KEYS.isdisjoint(process)
    return acts or not RECORD_KEYS.isdisjoint(data) or _is_kunai(data)


def _is_known(record: JsonRecord) -> bool:
    """Whether what was found inside is a record, and not just another object."""
    inner = record.data.get("data")
    wazuh = isinstance(inner, dict) and not _WAZUH_KEYS.isdisjoint(inner)
    return bool(record.parts) or record.log != "host" or wazuh or _is_record(record.data)


def _within(record: JsonRecord, outer: Mapping[str, object]) -> JsonRecord:
    for part in (record, *record.parts):
        part.outer = {**outer, **part.outer}
    return record


def _tagged(data: _Object, is_zeek_log: Callable[[str], bool]) -> JsonRecord | None:
    """``{"dns": {"ts": …}}``: Zeek's Kafka writer with ``tag_json`` (and what Logstash adds beside)."""
    if len(data) > 8:
        return None
    for name, inner in data.items():
        if isinstance(inner, dict) and "ts" in inner and is_zeek_log(name.lower()):
            record = JsonRecord(inner, f"zeek.{name.lower()}", data)
            return record
    return None


def _from_lists(data: _Object, open_object: Callable[[_Object], JsonRecord]) -> JsonRecord | None:
    for name in _LIST_KEYS:
        inner = data.get(name)
        if name == "hits" and isinstance(inner, dict):
            inner = inner.get("hits")
        if isinstance(inner, list) and inner and len(inner) <= MAX_PARTS and all(isinstance(item, dict) for item in inner):
            return _together([open_object(item) for item in inner], data)
    return None


def _together(records: list[JsonRecord], data: _Object) -> JsonRecord:
    parts = [part for record in records for part in (record.parts or (record,))]
    whole = JsonRecord(data, parts[0].log)
    whole.parts = tuple(parts)
    return whole


def _from_objects(data: _Object, open_object: Callable[[_Object], JsonRecord]) -> JsonRecord | None:
    for name in _OBJECT_KEYS:
        inner = data.get(name)
        if not isinstance(inner, dict) or not inner:
            continue
        record = open_object(inner)
        if _is_known(record):
            return record
    return None


def _from_texts(data: _Object, read_text: _ReadText, depth: int) -> JsonRecord | None:
    nested = [outer.get(inner) for name, inner in _NESTED_TEXT_KEYS if isinstance(outer := data.get(name), dict)]
    for text in (*(data.get(name) for name in _TEXT_KEYS), *nested, data.get("event.original")):
        if isinstance(text, str) and len(text) > 1 and (record := read_text(text, depth)) is not None and _is_known(record):
            return record
    return None


_MESSAGE_FIELD = re.compile(r"(?:^|[\r\n\t])[ \t]{0,8}(CommandLine|Process Command Line|QueryName|UtcTime):[ \t]{0,8}([^\r\n]+)")


def windows_message(text: str) -> _Object | None:
    """The fields of a Windows event's message text (``CommandLine: …`` on a line of its own), as ``EventData`` has them."""
    if "CommandLine:" not in text and "Command Line:" not in text and "QueryName:" not in text:
        return None
    fields = {match[1].replace("Process Command Line", "CommandLine"): match[2].strip() for match in _MESSAGE_FIELD.finditer(text)}
    return {"EventData": fields} if fields.keys() - {"UtcTime"} else None
