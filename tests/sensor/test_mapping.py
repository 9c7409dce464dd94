"""The mapping: the default one on records of every kind, files that are wrong, what a model lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.errors import InputError
from edge_demist.sensor.detect.mapping import DEFAULT_MAPPING, FieldMapping, Rule, load_rules
from edge_demist.sensor.sources.json_logs import classify_object
from edge_demist.sensor.sources.parser import LineParser
from tools.sensor.fake_model import ALARM_TASKS, CATEGORY_TASKS

ALL = ALARM_TASKS + CATEGORY_TASKS
DEFAULT = FieldMapping(load_rules(), ALL, embeddings=True)


def strings(data: dict, mapping: FieldMapping = DEFAULT, name: str = "") -> dict[str, str] | str:
    found = mapping.apply(classify_object(data, name))
    return found if isinstance(found, str) else {task: m.text for m in found for task in m.tasks}


def eve(kind: str, **parts: object) -> dict:
    return {"timestamp": "2020-01-01T00:00:00.000000+0000", "event_type": kind, **parts}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"_path": "dns", "query": "q.example"}, dict.fromkeys(("dga", "dns-tunnel", "hostname-category", "hostname-threat"), "q.example")),
        (
            {"_path": "http", "host": "h.example", "uri": "/a?b", "user_agent": "curl/8", "resp_filenames": ["x.exe"]},
            {
                "hostname-category": "h.example",
                "hostname-threat": "h.example",
                "uri-attack": "/a?b",
                "url-phishing": "h.example/a?b",
                "user-agent": "curl/8",
                "filename": "x.exe",
            },
        ),
        ({"_path": "http", "host": "h", "uri": "http://o.example/x"}, None),
        ({"_path": "ssl", "server_name": "s.example"}, dict.fromkeys(("dga", "hostname-category", "hostname-threat"), "s.example")),
        ({"_path": "files", "filename": "a.pdf"}, {"filename": "a.pdf"}),
        ({"_path": "software", "software_type": "HTTP::BROWSER", "unparsed_version": "Mozilla"}, {"user-agent": "Mozilla"}),
        ({"_path": "software", "software_type": "HTTP::SERVER", "unparsed_version": "nginx"}, "no-string"),
        ({"_path": "conn", "service": "dns"}, "no-rule"),
        ({"_path": "dns", "query": ""}, "no-string"),
        ({"_path": "dns", "query": None}, "no-string"),
        ({"_path": "dns", "query": ["a", 5]}, None),
        (eve("dns", dns={"type": "query", "rrname": "q.example"}), None),
        (eve("dns", dns={"version": 3, "queries": [{"rrname": "v3.example"}]}), None),
        (eve("alert", dns={"query": [{"rrname": "al.example"}]}), None),
        (eve("tls", tls={"sni": "s.example", "subject": "CN=s", "issuerdn": "CN=i", "subjectaltname": ["*.w.example"]}), None),
        (eve("fileinfo", fileinfo={"filename": "/d/a.zip"}), {"filename": "/d/a.zip"}),
        (eve("http", http={"hostname": "h", "url": "/u", "http_user_agent": "x"}), None),
        (eve("quic", quic={"sni": "q.example"}), None),
        (eve("flow", flow={"pkts_toserver": 1}), "no-string"),
        (eve("stats", stats={"uptime": 1}), "no-string"),
        (eve("smtp", email={"attachment": ["invoice.doc"]}), {"filename": "invoice.doc"}),
        ({"EventID": 1, "CommandLine": "cmd /c whoami"}, {"cmdline": "cmd /c whoami"}),
        ({"winlog": {"event_data": {"CommandLine": "x.exe"}}}, {"cmdline": "x.exe"}),
        ({"@timestamp": "2020", "process": {"command_line": "id -u"}}, {"cmdline": "id -u"}),
        ({"EXECVE": {"ARGV": ["ls", "-la"]}}, {"cmdline": "ls -la"}),
        ({"some": "thing"}, "no-string"),
    ],
)
def test_the_default_mapping(data: dict, expected: dict | str | None) -> None:
    found = strings(data)
    if isinstance(found, dict):  # those that read the same strings again stand in a test of their own
        found = {task: text for task, text in found.items() if task not in ("filename-sensitivity", "tls-certificate", "http-header")}
    assert found == expected if expected is not None else isinstance(found, dict) and found


def test_wildcards_of_certificates_are_stripped() -> None:
    found = DEFAULT.apply(classify_object({"_path": "x509", "san.dns": ["*.w.example", "v.example"], "certificate.subject": "CN=w"}, ""))
    assert isinstance(found, list)
    assert [m.text for m in found] == ["CN=w", "subject=CN=w", "w.example", "v.example"] and [m.number for m in found] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("data", "task", "text"),
    [
        (
            {"_path": "x509", "certificate.subject": "CN=a.example", "certificate.issuer": "CN=R3,O=LE"},
            "tls-certificate",
            "subject=CN=a.example issuer=CN=R3,O=LE",
        ),
        ({"_path": "ssl", "subject": "CN=a.example"}, "tls-certificate", "subject=CN=a.example"),
        (eve("tls", tls={"subject": "CN=a", "issuerdn": "CN=b"}), "tls-certificate", "subject=CN=a issuer=CN=b"),
        (
            eve("http", http={"request_headers": [{"name": "Host", "value": "a"}, {"name": "X-Api", "value": "${jndi:x}"}]}),
            "http-header",
            "Host: a | X-Api: ${jndi:x}",
        ),
        (eve("http", http={"response_headers": [{"name": "Server", "value": "nginx"}]}), "http-header", "Server: nginx"),
        (eve("fileinfo", fileinfo={"filename": "/hr/salaries.xlsx"}), "filename-sensitivity", "/hr/salaries.xlsx"),
        ({"_path": "smb_files", "name": "hr\\salaries.xlsx"}, "filename-sensitivity", "hr\\salaries.xlsx"),
        ({"_path": "files", "filename": "id_rsa"}, "filename-sensitivity", "id_rsa"),
    ],
)
def test_certificates_headers_and_file_names(data: dict, task: str, text: str) -> None:
    found = strings(data)
    assert isinstance(found, dict) and found[task] == text


def test_headers_without_a_value_each_are_no_block() -> None:
    data = eve("http", http={"request_headers": [{"name": "Host"}, {"name": "X-Api", "value": "v"}]})
    assert "http-header" not in strings(data)


def test_absolute_uris_of_proxies_are_not_prefixed() -> None:
    found = strings({"_path": "http", "host": "h", "uri": "http://o.example/x"})
    assert isinstance(found, dict) and found["url-phishing"] == "http://o.example/x"


def test_what_the_model_lacks_is_named() -> None:
    mapping = FieldMapping(load_rules(), ["dga"])
    assert "uri-attack" in mapping.unavailable and mapping.tasks == ("dga",)
    assert strings({"_path": "files", "filename": "a"}, mapping) == "no-specialist"
    assert strings({"_path": "x509", "certificate.issuer": "CN=w"}, mapping) == "embeddings-off"
    assert strings({"_path": "dns", "query": "q"}, mapping) == {"dga": "q"}


def test_too_many_strings_in_one_record() -> None:
    assert strings({"_path": "x509", "san.dns": [f"n{i}" for i in range(5000)]}) == "too-many-strings"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "rule = 1",
        "[[rule]]",
        '[[rule]]\nlog = ["a"]\nfield = "f"',
        '[[rule]]\nlog = ["a"]\nfield = "f"\ntasks = ["t"]\nextra = 1',
        '[[rule]]\nlog = ["a"]\nfield = "f["\ntasks = ["t"]',
        '[[rule]]\nlog = [1]\nfield = "f"\ntasks = ["t"]',
        '[[rule]]\nlog = "a"\nfield = 1\ntasks = ["t"]',
        '[[rule]]\nlog = "a"\nfield = "f"\ntasks = ["t"]\nonly = 3',
        'other = 1\n[[rule]]\nlog = "a"\nfield = "f"\ntasks = ["t"]',
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(InputError, match="mapping"):
        load_rules(tmp_path / "m.toml")


def test_a_mapping_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('[[rule]]\nlog = "zeek.mine"\nfield = "a.b[]"\njoin = "-"\ntasks = "dga"\n')
    mapping = FieldMapping(load_rules(tmp_path / "m.toml"), ALL)
    assert strings({"_path": "mine", "a": {"b": ["x", "y"]}}, mapping) == {"dga": "x-y"}
    with pytest.raises(InputError):
        load_rules(tmp_path / "missing.toml")


def test_every_default_rule_can_fire() -> None:
    assert DEFAULT_MAPPING.is_file()
    for rule in load_rules():
        assert set(rule.tasks) <= {*ALL, "embedding"}
        text = {"message": "Creating Scriptblock text (1 of 1):\nv", "exec": "exec_create: v", "question": "v. IN A", "name": "v.w"}
        text["command of JSON"] = '{"Command": "v"}'
        one = text.get(rule.form, "v")
        value: object = [one, one] if rule.join is not None or rule.field.endswith("[]") else one
        name = rule.field.removesuffix("[]")
        data = {
            name: value,
            **dict.fromkeys(rule.prefix_fields, "h"),
            **({rule.only_field: (*rule.only_values, "v")[0]} if rule.only_field else {}),
        }
        host_alone = {"url.full"}  # an address by itself, which "v" is not
        assert rule.strings(classify_object(data, "")) or "[" in name or "*" in name or name in host_alone


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.lists(st.text(max_size=3))))
def test_any_object_is_mapped_or_refused(data: dict) -> None:
    found = DEFAULT.apply(classify_object({"_path": "http", **data}, ""))
    assert found == "no-string" or (isinstance(found, (list, str)) and found)
    json.dumps([m.text for m in found] if isinstance(found, list) else found)


def test_rules_are_checked_when_made() -> None:
    with pytest.raises(InputError, match="must not be empty"):
        Rule(logs=(), field="a", tasks=("dga",))


def test_pseudo_headers_of_http2_are_no_header_lines() -> None:
    headers = [
        {"name": ":authority", "value": "a.example"},
        {"name": ":path", "value": "/x"},
        {"name": "user-agent", "value": "curl/8.5.0"},
    ]
    record = {"timestamp": "2024-05-01T08:00:00Z", "event_type": "http", "http": {"version": "2", "url": "/x", "request_headers": headers}}
    mapping = FieldMapping(load_rules(), ["http-header"])
    mapped = mapping.apply(LineParser("eve.json").parse(json.dumps(record).encode()))  # type: ignore[arg-type]
    assert [item.text for item in mapped] == ["user-agent: curl/8.5.0"]  # type: ignore[union-attr]
