"""The public suffix list: the algorithm's own examples, private part, hostile names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.sensor.detect.allow import suggest
from edge_demist.sensor.public_suffix import LIST, is_shared, public_suffixes, registrable_domain
from tools.sensor.public_suffix import convert

# From the list's own test file (https://github.com/publicsuffix/list/blob/main/tests/test_psl.txt), and the private part.
REGISTRABLE = {
    "com": "",
    "example.com": "example.com",
    "b.example.COM.": "example.com",
    "a.b.example.example": "example.example",
    "a.b.example.uk.com": "example.uk.com",
    "test.ac": "test.ac",
    "mm": "",
    "c.mm": "",
    "a.b.c.mm": "b.c.mm",
    "www.test.k12.ak.us": "test.k12.ak.us",
    "test.kyoto.jp": "test.kyoto.jp",
    "b.c.kobe.jp": "b.c.kobe.jp",
    "city.kobe.jp": "city.kobe.jp",
    "www.city.kobe.jp": "city.kobe.jp",
    "www.ck": "www.ck",
    "www.www.ck": "www.ck",
    "食狮.公司.cn": "食狮.公司.cn",
    "www.xn--85x722f.xn--55qx5d.cn": "xn--85x722f.xn--55qx5d.cn",
    "a.b.duckdns.org": "b.duckdns.org",
    "x.y.github.io": "y.github.io",
    "localhost": "",
    "": "",
}


@pytest.mark.parametrize(("name", "domain"), REGISTRABLE.items())
def test_registrable_domain(name: str, domain: str) -> None:
    assert registrable_domain(name) == domain


def test_without_the_private_part_a_hosting_service_is_an_owner() -> None:
    assert registrable_domain("a.b.duckdns.org", private=False) == "duckdns.org"
    assert registrable_domain("x.y.github.io", private=False) == "github.io"


@pytest.mark.parametrize("name", ["duckdns.org", "co.uk", "com", "github.io", "", "s3.amazonaws.com", "unknown-top-level"])
def test_names_with_many_owners_are_shared(name: str) -> None:
    assert is_shared(name)


@pytest.mark.parametrize("name", ["example.com", "a.duckdns.org", "www.ck", "b.example.co.uk"])
def test_names_with_one_owner_are_not_shared(name: str) -> None:
    assert not is_shared(name)


@given(st.text(max_size=300) | st.lists(st.text(max_size=70), max_size=40).map(".".join))
def test_any_name_gives_its_own_end_and_the_domain_of_a_domain_is_itself(name: str) -> None:
    domain = registrable_domain(name)
    assert not domain or ".".join(label for label in name.lower().split(".") if label).endswith(domain)
    assert registrable_domain(domain) == domain


@given(
    labels=st.lists(st.sampled_from(["", "a", "www", "com", "co", "uk", "ck", "github", "io", "kawasaki", "jp", "city", "fr"]), max_size=6),
    private=st.booleans(),
)
def test_the_short_way_finds_what_the_rules_say(labels: list[str], private: bool) -> None:
    whole = [label for label in labels if label]
    count = public_suffixes(private=private).suffix_labels(whole)
    assert registrable_domain(".".join(labels), private=private) == (".".join(whole[-count - 1 :]) if len(whole) > count else "")


def test_a_very_long_name_costs_nothing() -> None:
    assert registrable_domain("é" * 100_000 + ".example.com") == "example.com"
    assert registrable_domain("a." * 100_000 + "example.com") == "example.com"


def test_the_file_says_its_date_and_both_parts() -> None:
    rules = public_suffixes()
    assert re.match(r"20\d\d-\d\d-\d\d", rules.version)
    assert len(rules.rules) > len(public_suffixes(private=False).rules) > 5000
    assert LIST.read_text(encoding="ascii").isascii()


def test_conversion_keeps_parts_wildcards_exceptions_and_idn() -> None:
    text = (
        "// VERSION: 2026-01-02_x\n// ===BEGIN ICANN DOMAINS===\nck\n*.ck\n!www.ck\n公司.cn\n"
        "// ===END ICANN DOMAINS===\n// ===BEGIN PRIVATE DOMAINS===\ngithub.io\n"
    )
    rows = convert(text).splitlines()
    assert rows[0] == "# 2026-01-02_x"
    assert rows[2:] == ["[icann]", "!www.ck", "*.ck", "ck", "xn--55qx5d.cn", "[private]", "github.io"]


@pytest.mark.parametrize(
    ("text", "task", "rule"),
    [
        ("contoso-my.sharepoint.com", "hostname-threat", ("suffix", "contoso-my.sharepoint.com")),
        ("a.b.contoso.sharepoint.com", "dga", ("suffix", "contoso.sharepoint.com")),
        ("sharepoint.com", "dga", ("exact", "sharepoint.com")),
        ("xq.glitch.me", "dga", ("suffix", "xq.glitch.me")),
        ("a.xq.weebly.com", "hostname-threat", ("suffix", "xq.weebly.com")),
        ("x.fastly.net", "dga", ("suffix", "x.fastly.net")),
        ("https://contoso.sharepoint.com/x", "url-phishing", ("suffix", "contoso.sharepoint.com")),
        ("https://1drv.ms/w/s!abc", "url-phishing", ("exact", "https://1drv.ms/w/s!abc")),
        ("sub.kernel.org", "hostname-threat", ("suffix", "kernel.org")),
    ],
)
def test_a_suggested_rule_opens_one_customer_s_name(text: str, task: str, rule: tuple[str, str]) -> None:
    found = suggest(text, task)
    assert (found["kind"], found["value"]) == rule
