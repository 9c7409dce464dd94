"""Lines of firewalls, proxies and DNS services without names for their values: each gives its strings and its time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edge_demist.sensor.detect.mapping import FieldMapping, load_rules
from edge_demist.sensor.sources.appliances import appliance_object
from edge_demist.sensor.sources.parser import LineParser
from edge_demist.sensor.sources.timestamps import format_time
from tests.support.sensor_fakes import balanced, watch_once
from tools.sensor.fake_model import ALARM_TASKS, CATEGORY_TASKS

MAPPING = FieldMapping(load_rules(), ALARM_TASKS + CATEGORY_TASKS)
NAME, PAGE, ATTACK, AGENT = (
    "xjw8k2qpz7v1.info",
    "http://login.example.top/in?id=1",
    "/a?id=1%27%20OR%201=1",
    "sqlmap/1.7 (https://sqlmap.org)",
)
SYSLOG = "<134>May  1 08:00:00 gw "
QUESTIONS = {
    "Umbrella": f'"2024-05-01 08:00:00","Ann","Ann,Net","10.1.1.5","192.0.2.4","Allowed","1 (A)","NOERROR","{NAME}.","Software","AD",""',
    "Zscaler": f'{SYSLOG}nss: "2024-05-01 08:00:00","a@example.com","HQ","10.1.1.5","10.0.0.1","AAAA","{NAME}","192.0.2.7","Allow"',
    "BIND, RPZ": f"01-May-2024 08:00:00.000 client @0x7f1 10.1.1.5#532 ({NAME}): rpz QNAME NXDOMAIN rewrite {NAME}/A/IN via {NAME}.rpz.x",
    "BIND, RPZ of a view": f"01-May-2024 08:00:00.000 rpz: info: client 10.1.1.5#532: view x: rpz QNAME PASSTHRU rewrite {NAME}/A/IN via y",
    "Infoblox, RPZ": f"{SYSLOG}named[8]: CEF:0|Infoblox|NIOS|8|RPZ|x|7|app=DNS msg=\"rpz QNAME CNAME rewrite {NAME} [A] via z\"",
    "Infoblox": f"{SYSLOG}named[8]: 01-May-2024 08:00:00.000 client 10.1.1.5#51: UDP: query: {NAME} IN A response: NOERROR + x",
    "dnsmasq, extra": f"May  1 08:00:00 dnsmasq[8]: 14 10.1.1.5/512 query[A] {NAME} from 10.1.1.5",
    "Unbound, syslog": f"May  1 08:00:00 ns unbound: [8:0] query: 10.1.1.5 {NAME} A IN",
    "MikroTik": f"May  1 08:00:00 router dns,packet query from 10.1.1.5: #12 {NAME}. A",
    "Blocky": f"2024-05-01 08:00:00\t10.1.1.5\tlaptop\t12\tRESOLVED (x)\t{NAME}\tA (192.0.2.7)\tNOERROR\tRESOLVED\tA\tb",
    "dnstap-read": f"2024-05-01 08:00:00.000 CQ 10.1.1.5:512 -> 10.0.0.1:53 UDP 31b {NAME}/IN/A",
    "PAN-OS": "<14>May  1 08:00:00 pa 1,2024/05/01 08:00:00,0,THREAT,spyware,1,2024/05/01 08:00:00," + "," * 22
    + f',x,"q",Suspicious DNS Query (generic:{NAME})(4000000),any',
    "Check Point": f'{SYSLOG}[action:"Accept"; product:"Anti-Bot"; dns_query:"{NAME}"; time:"1714550400"]',
    "Firepower": f"{SYSLOG}SFIMS: Protocol: UDP, SrcIP: 10.1.1.5, DstIP: 10.0.0.1, DNSQuery: {NAME}",
}  # fmt: skip
PAGES = {
    "Umbrella": f'"2024-05-01 08:00:00","Ann","10.1.1.5","192.0.2.4","","text/html","ALLOWED","{PAGE}","https://a.b/","{AGENT}","200"',
    "Barracuda Web Filter": f"{SYSLOG}http_scan[3]: 1714550400 1 10.1.1.5 192.0.2.7 text/html 10.1.1.5 {PAGE} 1024 BYF ALLOWED CLEAN",
    "Web Gateway": f'[01/May/2024:08:00:00 +0000] "ann" 10.1.1.5 192.0.2.7 200 "GET {PAGE} HTTP/1.1" "x" "y z" "text/html" 5 "{AGENT}" ""',
    "ASA": f"{SYSLOG}: %ASA-5-304001: 10.1.1.5 Accessed URL 192.0.2.7:{PAGE}",
    "Check Point": f'{SYSLOG}[action:"Accept"; src:"10.1.1.5"; resource:"{PAGE}"; user_agent:"{AGENT}"; time:"1714550400"]',
    "Firepower": f"{SYSLOG}SFIMS: Protocol: TCP, SrcIP: 10.1.1.5, URLCategory: x, URL: {PAGE}, UserAgent: {AGENT}",
    "Sophos UTM": f'2024:05:01-08:00:00 utm httpproxy[8]: id="1" method="GET" request="0x1f" url="{PAGE}" ua="{AGENT}"',
    "SonicWall": '<134>id=fw time="2024-05-01 08:00:00" m=97 src=10.1.1.5:5:X0 op=GET dstname=login.example.top arg=/in?id=1 code=64',
    "MikroTik": f"{SYSLOG}web-proxy,account 10.1.1.5 GET {PAGE}  action=allow cache=MISS",
    "Squid with tabs": f"1714550400.000\t25\t10.1.1.5\tTCP_MISS/200\t5120\tGET\t{PAGE}\t-\tDEFAULT_PARENT/127.0.0.1\ttext/html",
    "no scheme": '{"timestamp":1714550400,"type":"page","url":"login.example.top/in?id=1"}',
}  # fmt: skip
REQUESTS = {
    "Barracuda, access": "<142>May  1 08:00:00 waf1 TR 192.0.2.9 443 198.51.100.4 51 \"-\" \"-\" GET TLSv1.2 w.example HTTP/1.1 200 5 8 0 "
    f'10.0.0.10 80 20 "-" SERVER DEFAULT PASSIVE VALID /a id=1%27%20OR%201=1 - "{AGENT}" 198.51.100.4 51',
    "Barracuda, attack": "<142>May  1 08:00:00 waf1 WF ALER SQL_INJECTION 198.51.100.4 51 192.0.2.9 443 global GLOBAL LOG NONE "
    f'[type="sql" pattern="q"] GET w.example{ATTACK} TLSv1.2 "-" "{AGENT}" 198.51.100.4 51',
    "Suricata": f"05/01/2024-08:00:00.000000 w.example [**] {ATTACK} [**] {AGENT} [**] 198.51.100.4:5 -> 10.0.0.1:80",
    "AWS classic": '2024-05-01T08:00:00.000000Z lb 198.51.100.4:5 10.0.0.1:80 0.1 0.2 0.3 200 200 0 29 '
    f'"GET http://w.example{ATTACK} HTTP/1.1" "{AGENT}" - -',
    "AWS S3": f'o b [01/May/2024:08:00:00 +0000] 198.51.100.4 r 3E REST.GET.OBJECT k "GET {ATTACK} HTTP/1.1" 404 - 1 - 7 - "-" "{AGENT}" -',
    "Envoy": f'[2024-05-01T08:00:00.000Z] "GET {ATTACK} HTTP/1.1" 200 - 0 5 25 20 "198.51.100.4" "{AGENT}" "a1" "w.example" "10.0.0.1:80"',
    "lighttpd": f'198.51.100.4 w.example - [01/May/2024:08:00:00 +0000] "GET {ATTACK} HTTP/1.1" 200 5 "-" "{AGENT}"',
    "F5 ASM": f'{SYSLOG}ASM:ip_client="1.2.3.4",method="GET",request="GET {ATTACK} HTTP/1.1\\r\\nHost: w.example\\r\\n\\r\\n",ua="{AGENT}"',
    "Akamai": '{"reqTimeSec":"1714550400","reqMethod":"GET","reqHost":"w.example","reqPath":"/a","queryStr":"id=1%27%20OR%201=1","UA":"'
    f'{AGENT}"}}',
    "Rails": '{"method":"GET","path":"/a?id=1%27%20OR%201=1","status":200,"time":"2024-05-01T08:00:00Z","ua":"'
    f'{AGENT}"}}',
    "container": '2024-05-01T08:00:00.000000789Z stdout F 198.51.100.4 - - [01/May/2024:08:00:00 +0000] '
    f'"GET {ATTACK} HTTP/1.1" 200 5 "-" "{AGENT}"',
    "two clients": f'198.51.100.4, 10.0.0.1 - - [01/May/2024:08:00:00 +0000] "GET {ATTACK} HTTP/1.1" 200 5 "-" "{AGENT}"',
    "Django": f'[01/May/2024 08:00:00] "GET {ATTACK} HTTP/1.1" 200 12',
    "uWSGI": f"[pid: 8|req: 1/1] 198.51.100.4 () {{40 vars}} [Wed May  1 08:00:00 2024] GET {ATTACK} => generated 12 bytes in 3 msecs",
    "Rails, text": f'I, [x #8]  INFO -- : Started GET "{ATTACK}" for 198.51.100.4 at 2024-05-01 08:00:00 +0000',
    "a request line alone": f"GET {ATTACK} HTTP/1.1",
}  # fmt: skip


def by_task(line: str) -> tuple[dict[str, str], str | None]:
    """The string of each specialist, and the time without its year, which syslog does not say."""
    record = LineParser("x.log").parse(line.encode())
    assert record is not None and not isinstance(record, str), record
    mapped = MAPPING.apply(record)
    assert not isinstance(mapped, str), mapped
    us = MAPPING.time_us(record)
    return {task: item.text for item in mapped for task in item.tasks}, None if us is None else format_time(us)[5:19]


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions(name: str) -> None:
    found, moment = by_task(QUESTIONS[name])
    assert found["dns-tunnel"].rstrip(".") == NAME and set(found) >= {"dga", "hostname-threat"} and moment == "05-01T08:00:00"


@pytest.mark.parametrize("name", PAGES)
def test_pages(name: str) -> None:
    found, moment = by_task(PAGES[name])
    assert found["url-phishing"].removeprefix("http://") == PAGE.removeprefix("http://") and moment == "05-01T08:00:00"
    assert found["uri-attack"] == "/in?id=1" and found.get("user-agent", AGENT) == AGENT
    assert ("user-agent" in found) == (AGENT in PAGES[name])


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(name: str) -> None:
    found, moment = by_task(REQUESTS[name])
    assert found["uri-attack"] == ATTACK and moment == ("05-01T08:00:00" if "alone" not in name else None)
    assert ("user-agent" in found) == (AGENT in REQUESTS[name])
    if "w.example" in REQUESTS[name] and "F5" not in name:
        assert found["url-phishing"].removeprefix("http://") == "w.example" + ATTACK


@pytest.mark.parametrize(
    "line", ["just words", "2024-05-01 08:00:00 no row", '"2024-05-01 08:00:00","a","b"', "rpz rewrite", "GET / x", "%ASA-6-302013: x"]
)
def test_other_lines_are_left_alone(line: str) -> None:
    assert appliance_object(line.encode()) is None


@pytest.mark.parametrize(
    "piece",
    [" TR 1 1 1 1", " WF A x 1 1 x] ", " [**] ", "http_scan[1]: ", '","', '"2024-05-01 08:00:00","', '] "', "A: b, ", " CQ 1", " rewrite "],
)
def test_long_lines_take_little_time(piece: str) -> None:
    line = ("2024-05-01 08:00:00 " + piece * (60_000 // len(piece))).encode()
    begin = time.process_time()
    LineParser("x.log").parse(line)
    assert time.process_time() - begin < 20  # a quadratic pattern takes minutes


def test_a_row_left_open_at_the_end_is_counted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f'time,query\n2024-05-01T08:00:00Z,{NAME}\n2024-05-01T08:00:01Z,"{NAME}\n')
    told: list[tuple[str, dict]] = []
    events, summary = watch_once(tmp_path, tmp_path / "t.csv", log=lambda event, facts: told.append((event, facts)))
    assert events and balanced(summary) and summary["errors"] == 1
    assert [facts["error"] for event, facts in told if event == "damaged"] == ["row-left-open"]
