"""Normalizers and the way between text and bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.addresses import url, url_without_root_slash
from edge_demist.hostnames import hostname, strip_all_service_labels, strip_service_labels, strip_www
from edge_demist.normalizers import (
    NORMALIZERS,
    from_bytes,
    identity,
    to_bytes,
    truncate_utf8,
)
from edge_demist.text.many import normalized


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("WWW.Example.COM", "www.example.com"),
        (" example.com. ", "example.com"),
        ("example.com..", "example.com"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("pаypal.com", "xn--pypal-4ve.com"),  # a Cyrillic а
        ("xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"),
        (".", ""),
        ("a" * 300 + "é", "a" * 300 + "é"),
    ],
)
def test_hostname(given_text, expected):
    assert hostname(given_text) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("https://Example.COM/Path?Q=1", "example.com/Path?Q=1"),
        ("HTTP://a.b", "a.b"),
        ("http://http://a", "http://a"),
        ("Example.com#Frag", "example.com#Frag"),
        ("ftp://x.Y/z", "ftp://x.Y/z"),
        ("http://", ""),
    ],
)
def test_url(given_text, expected):
    assert url(given_text) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("http://Example.com/", "example.com"),
        ("example.com", "example.com"),
        ("example.com//", "example.com//"),
        ("example.com/a/", "example.com/a/"),
        ("example.com/?/", "example.com/?/"),
        ("example.com?q=/", "example.com?q=/"),
        ("example.com#/", "example.com#/"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_address(given_text, expected):
    assert url_without_root_slash(given_text) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("WWW.Example.COM.", "example.com"),
        ("www.co.uk", "co.uk"),
        ("www.com", "www.com"),
        ("www2.example.com", "www2.example.com"),
        ("wwwexample.com", "wwwexample.com"),
        ("mail.www.example.com", "mail.www.example.com"),
    ],
)
def test_site(given_text, expected):
    assert strip_www(given_text) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("WWW2.Example.COM.", "example.com"),
        ("cdn.api.example.com", "example.com"),
        ("ns1.example.co.uk", "example.co.uk"),
        ("api.co.uk", "api.co.uk"),
        ("www.gov.uk", "gov.uk"),
        ("img.com.br", "img.com.br"),
        ("static.com.evil.example", "com.evil.example"),
        ("api.com", "api.com"),
        ("mail.example.com", "mail.example.com"),
        ("apis.example.com", "apis.example.com"),
        ("api..com", "api..com"),
        ("ns.", "ns"),
        ("www." * 30_000 + "example.com", "example.com"),
        ("", ""),
    ],
)
def test_owner(given_text, expected):
    assert strip_service_labels(given_text) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("Mail.Example.COM.", "example.com"),
        ("login2.secure.api.example.com", "example.com"),
        ("www.mail.ns1.example.co.uk", "example.co.uk"),
        ("mail.co.uk", "mail.co.uk"),
        ("mail.ru", "mail.ru"),
        ("mailer.example.com", "mailer.example.com"),
        ("login-example.com", "login-example.com"),
        ("paypal.login.example.com", "paypal.login.example.com"),
        ("mail." * 30_000 + "example.com", "example.com"),
        ("mail.", "mail"),
    ],
)
def test_registrant(given_text, expected):
    assert strip_all_service_labels(given_text) == expected


@given(st.text())
def test_normalizers_take_any_text(text):
    for function in NORMALIZERS.values():
        assert isinstance(function(text), str)
    assert identity(text) == text


@given(st.from_regex(r"[a-z0-9.-]{1,60}[a-z0-9]", fullmatch=True))
def test_hostname_is_idempotent(name):
    assert hostname(hostname(name)) == hostname(name)


@given(st.binary())
def test_bytes_survive(raw):
    assert to_bytes(from_bytes(raw)) == raw


@given(st.text(st.characters(codec=None, categories=None)))
def test_lone_surrogates_encode(text):
    assert isinstance(to_bytes(text), bytes)


@given(st.text(), st.integers(0, 40))
def test_truncation_keeps_whole_characters(text, limit):
    cut = truncate_utf8(text.encode(), limit)
    assert len(cut) <= limit
    assert text.startswith(cut.decode())
    assert len(text.encode()) <= limit or len(cut) >= limit - 3


@given(st.binary(max_size=50), st.integers(1, 40))
def test_truncation_of_any_bytes(raw, limit):
    cut = truncate_utf8(raw, limit)
    assert raw.startswith(cut)
    assert limit - 4 < len(cut) <= limit or cut == raw


@pytest.mark.parametrize("name", ["kernel.org", "nas01.home.arpa", "192.0.2.7", "[2001:db8::1]", "xn--mnchen-3ya.de", "localhost"])
@pytest.mark.parametrize("spelling", ["{}", "{}:80", "{}:5000", "https://{}", "HTTP://{}:8443/", "https://{}/", " {}. ", "ftp://{}:21/x?y"])
@pytest.mark.parametrize("normalizer", ["hostname", "site", "owner", "registrant"])
def test_port_and_scheme_are_no_part_of_a_host(normalizer: str, spelling: str, name: str) -> None:
    assert NORMALIZERS[normalizer](spelling.format(name.upper())) == NORMALIZERS[normalizer](name) == name


@pytest.mark.parametrize("normalizer", ["url", "address", "page"])
def test_spellings_of_one_address(normalizer: str) -> None:
    same = ["München.DE:5000/Pfad?x=1", "https://xn--mnchen-3ya.de/Pfad?x=1", "HTTP://münchen.de:80/Pfad?x=1", "münchen.de./Pfad?x=1"]
    assert len({NORMALIZERS[normalizer](text) for text in same[:3]}) == 1
    assert (
        NORMALIZERS[normalizer]("192.0.2.7:7080/a") == "192.0.2.7/a"
        and NORMALIZERS[normalizer]("h.example:80@e.example/") != "h.example@e.example/"
    )


@pytest.mark.parametrize("name", ["2001:db8::1", "a:b:c", "x:port", "name:123456", "t.example:notaport", ":::"])
def test_what_only_looks_like_a_port_stays(name: str) -> None:
    assert NORMALIZERS["hostname"](name) == name


def test_old_names_go_on_being_read():
    """Files written before 0.2 hold them."""
    from edge_demist.cli import build_parser
    from edge_demist.normalizers import OLD_NAMES, REFUSED
    from edge_demist.text.windows import SHAPES

    assert set(OLD_NAMES) == {"site", "owner", "registrant", "address"}
    for old, new in OLD_NAMES.items():
        assert NORMALIZERS[old] is NORMALIZERS[new] and REFUSED[old] is REFUSED[new] and SHAPES[old] is SHAPES[new]
        args = build_parser("embed").parse_args(["embed", "--normalizer", old, "-"])
        assert args.normalizer == new
    assert not set(OLD_NAMES) & set(build_parser("embed").format_help().split())


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["WWW.mail.Example.org.", "api.co.uk", "b\u00fccher.de", "a:80", " x ", ""]),
            st.text("aw.:\n \u00fc\udc80W", max_size=9),
        ),
        max_size=6,
    ),
    st.sampled_from(["hostname", "strip_www", "strip_service_labels", "strip_all_service_labels", "url", "identity"]),
)
def test_many_are_normalized_as_each_alone(texts: list[str], normalizer: str) -> None:
    assert normalized(texts, normalizer) == [to_bytes(NORMALIZERS[normalizer](text)) for text in texts]
    dotted = [f"{label}.Example.COM." for label in ("www", "cdn7", "login", "x")]
    assert normalized(dotted, normalizer) == [to_bytes(NORMALIZERS[normalizer](text)) for text in dotted]
