"""Objects that carry a log record in them: what shippers, message queues, indexes and exports wrap around a line.

Knows: Splunk HEC and exports, Elasticsearch hits and answers, Filebeat and fluentd messages, container logs, Zeek under a tag
(Kafka), Wazuh, CrowdStrike streams, Azure and Graph lists, CloudWatch, EvtxECmd. An envelope that holds nothing known is
itself the record. What the record's fields mean is the mapping's business.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping

from edge_demist.normalizers import from_bytes
from edge_demist.sensor.sources.json_logs import Envelope, JsonRecord, classify_object, named_record
from edge_demist.sensor.sources.windows import with_names

MAX_DEPTH = 4
MAX_PARTS = 10_000
EXECVE = 1309
"""The number of the EXECVE record (linux/audit.h)."""
_Object = dict[str, object]
_ReadText = Callable[[str, int], JsonRecord | None]

_OBJECT_KEYS = ("_source", "result", "event", "data", "properties", "payload", "json", "record", "value", "eve")
_LIST_KEYS = ("records", "Records", "results", "logEvents", "value", "events", "resources", "hits", "items", "logs", "Results", "data")
TEXT_KEYS = (
    *("message", "log", "_raw", "raw", "event", "line", "MESSAGE", "Message", "short_message", "full_log", "Payload", "payload"),
    *("data", "msg", "rawEvent", "output", "@message", "full_message", "body", "text", "content", "log_message", "Details", "Detail"),
    *("SyslogMessage", "syslog_message", "rawMessage", "raw_message", "RawData", "rawdata", "log_line", "AdditionalFields"),
)
_NESTEDTEXT_KEYS = (("event", "original"), ("log", "original"), ("result", "_raw"), ("body", "stringValue"))
RECORD_KEYS = frozenset(
    re.findall(
        r"\S+",
        """
        CommandLine command_line cmdline commandline commandLine process_cmdline ProcessCommandLine
        processCommandLine TargetProcessCommandLine target_cmdline childproc_cmdline tgtProcCmdLine
        action_process_image_command_line EventData Event winlog columns snapshot diffResults output_fields EXECVE
        csUriStem CsUriStem ClientRequestPath eventid
        USER_CMD PROCTITLE proctitle auditd process_exec args evidence behaviors tgt.process.cmdline proc.cmdline dns url tls
        user_agent http ssl query_name QueryName DomainName DnsQuery DnsQueryString dns_query_name QH RemoteUrl
        netconn_domain netconn_remote_domain request request_uri RequestPath ClientRequestURI httpRequest
        http_user_agent request_User-Agent ClientRequestUserAgent destination process.command_line process.args
        process.title url.original url.full dns.question.name accept target network http_request question QH Qname queryName
        jsonPayload transaction requestUri debugContext ScriptBlockText
        ScriptContent ContextInfo powershell ndpi dnsRecordList HTTP_UA ExtendedProperties event_values logdata httpMessage
        requestParameters Details AllFieldInfo osquery reject query reqPath DNSQuery
        """,
    )
)
"""Keys of records at the top: what has one of them is a record, whatever it carries beside."""
_OBJECTS_ONLY = frozenset(
    re.findall(
        r"\w+",
        """
        dns url tls user_agent http ssl destination network Event EventData winlog columns query target accept reject
        transaction jsonPayload question osquery Details AllFieldInfo http_request httpRequest
        """,
    )
)
"""Of these, keys that say so only where they hold an object."""
_PROCESS_KEYS = frozenset(("command_line", "args", "title", "cmd_line"))
_COMPANY = frozenset(("parent", "parent_process", "actor", "agent", "host", "rule", "related", "labels", "principal", "src", "removed"))
"""Keys of objects beside a record: what they hold is not what happened."""
_KNOWN_NAMES = _COMPANY.union(_OBJECT_KEYS, _LIST_KEYS)
MAX_OTHERS = 32


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
    if (line := _go_audit(data) or _journal_audit(data)) and (audited := read_text(line, depth)) is not None:
        return audited
    if _is_record(data) or _is_wazuh(data):
        return classify_object(with_names(data) if "EventData" in data or "Event" in data else data, file_log)

    envelope = Envelope(data)

    def open_object(inner: _Object) -> JsonRecord:
        return within(unwrap(inner, file_log, is_zeek_log, read_text, depth + 1), envelope)

    found = (
        _from_pairs(data, read_text, depth + 1)
        or _from_lists(data, _LIST_KEYS, open_object)
        or _from_objects(data, _OBJECT_KEYS, open_object)
    )
    if found is None:
        text_record = _from_texts(data, read_text, depth + 1)
        found = None if text_record is None else within(text_record, envelope)
    return found or _from_others(data, open_object) or classify_object(data, file_log)


def _go_audit(data: Mapping[str, object]) -> str:
    """The EXECVE message of a go-audit event as auditd writes it; empty for other objects."""
    messages, time, number = data.get("messages"), data.get("timestamp"), data.get("sequence")
    if not isinstance(messages, list) or not isinstance(time, str) or not isinstance(number, int):
        return ""
    texts = (m.get("data") for m in messages if isinstance(m, dict) and m.get("type") == EXECVE)
    text = next((t for t in texts if isinstance(t, str)), "")
    return f"type=EXECVE msg=audit({time}:{number}): {text}" if text else ""


def _journal_audit(data: Mapping[str, object]) -> str:
    """An audit record of the journal as auditd writes it; empty for other objects."""
    kind, text, time = data.get("_AUDIT_TYPE_NAME"), data.get("MESSAGE"), data.get("__REALTIME_TIMESTAMP")
    if not isinstance(kind, str) or not isinstance(text, str) or not isinstance(time, str) or not time.isdigit():
        return ""
    number = data.get("_AUDIT_ID")
    moment = f"{time[:-6]}.{time[-6:-3]}:{number if isinstance(number, str) and number.isdigit() else 0}"
    return f"type={kind} msg=audit({moment}): {text.removeprefix(kind).strip()}"


_WAZUH_KEYS = frozenset(("win", "audit", "osquery", "command", "url"))


def _is_wazuh(data: Mapping[str, object]) -> bool:
    """Whether an object is Wazuh's, around something that its rules decoded themselves."""
    inner = data.get("data")
    return isinstance(inner, dict) and any(isinstance(inner.get(name), dict) for name in ("win", "audit", "osquery"))


def _is_kunai(data: Mapping[str, object]) -> bool:
    info = data.get("info")
    return isinstance(info, dict) and "utc_time" in info


def _is_record(data: Mapping[str, object]) -> bool:
    process = data.get("process")
    acts = isinstance(process, dict) and not _PROCESS_KEYS.isdisjoint(process)
    known = RECORD_KEYS.intersection(data)
    return (
        acts
        or isinstance(data.get("win"), dict)
        or any(name not in _OBJECTS_ONLY or isinstance(data[name], dict) for name in known)
        or _is_kunai(data)
    )


def _is_known(record: JsonRecord) -> bool:
    """Whether what was found inside is a record, and not just another object."""
    inner = record.data.get("data")
    wazuh = isinstance(inner, dict) and not _WAZUH_KEYS.isdisjoint(inner)
    return bool(record.parts) or record.log != "host" or wazuh or _is_record(record.data)


def within(record: JsonRecord, envelope: Envelope) -> JsonRecord:
    """The record, with an envelope around it and its parts."""
    for part in (record, *record.parts):
        part.put_within(envelope)
    return record


def _tagged(data: _Object, is_zeek_log: Callable[[str], bool]) -> JsonRecord | None:
    """``{"dns": {"ts": …}}``: Zeek's Kafka writer with ``tag_json`` (and what Logstash adds beside)."""
    if len(data) > 8:
        return None
    for name, inner in data.items():
        if isinstance(inner, dict) and "ts" in inner and is_zeek_log(name.lower()):
            return JsonRecord(inner, f"zeek.{name.lower()}", Envelope(data))
    return None


def _from_lists(data: _Object, names: Iterable[str], open_object: Callable[[_Object], JsonRecord]) -> JsonRecord | None:
    for name in names:
        inner = data.get(name)
        if name == "hits" and isinstance(inner, dict):
            inner = inner.get("hits")
        if isinstance(inner, list) and inner and len(inner) <= MAX_PARTS and all(isinstance(item, dict) for item in inner):
            return together([open_object(item) for item in inner], data)
    return None


def _from_pairs(data: _Object, read_text: _ReadText, depth: int) -> JsonRecord | None:
    """The lines of a Loki stream: ``{"stream": {…}, "values": [["1714550400123000000", "line"], …]}``."""
    pairs = data.get("values")
    if not isinstance(pairs, list) or "stream" not in data or len(pairs) > MAX_PARTS:
        return None
    found = []
    for pair in pairs:
        if isinstance(pair, list) and len(pair) > 1 and isinstance(pair[1], str) and (record := read_text(pair[1], depth)) is not None:
            found.append(within(record, Envelope({"timestamp": pair[0]})))
    return together(found, data) if found else None


def together(records: list[JsonRecord], data: _Object) -> JsonRecord:
    """One record whose ``parts`` these are."""
    parts = [part for record in records for part in (record.parts or (record,))]
    whole = JsonRecord(data, parts[0].log)
    whole.parts = tuple(parts)
    return whole


def _from_others(data: _Object, open_object: Callable[[_Object], JsonRecord]) -> JsonRecord | None:
    """A record under a name that nobody foresaw, or a list of such."""
    names = [name for name, inner in data.items() if isinstance(inner, (dict, list)) and name not in _KNOWN_NAMES][:MAX_OTHERS]
    if not names:
        return None
    found = _from_objects(data, names, open_object)
    if found is None:
        several = _from_lists(data, names, open_object)
        found = several if several is not None and any(map(_is_known, several.parts)) else None
    return found


def _from_objects(data: _Object, names: Iterable[str], open_object: Callable[[_Object], JsonRecord]) -> JsonRecord | None:
    for name in names:
        inner = data.get(name)
        if not isinstance(inner, dict) or not inner:
            continue
        record = open_object(inner)
        if _is_known(record):
            return record
    return None


def _from_texts(data: _Object, read_text: _ReadText, depth: int) -> JsonRecord | None:
    nested = [outer.get(inner) for name, inner in _NESTEDTEXT_KEYS if isinstance(outer := data.get(name), dict)]
    others = [v for v in itertools.islice(data.values(), MAX_OTHERS) if isinstance(v, str) and v[:1] == "{" and v.rstrip()[-1:] == "}"]
    for value in (*(data.get(name) for name in TEXT_KEYS), *nested, data.get("event.original"), *others):
        text = _of_bytes(value) if isinstance(value, list) else value
        if isinstance(text, str) and len(text) > 1 and (record := read_text(text, depth)) is not None and _is_known(record):
            return record
    return None


def _of_bytes(value: list[object]) -> str:
    """A text that the journal gives as a list of bytes, for it holds some that no terminal shows; empty for other lists."""
    if all(type(item) is int and 0 <= item < 256 for item in value):
        return from_bytes(bytes(value))  # type: ignore[arg-type]
    return ""
