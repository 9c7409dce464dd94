"""Generators: deterministic for a seed, valid names, encodings that decode back, augmentations that keep a text."""

from __future__ import annotations

import json
import random

import pytest

from tools.generators import AUGMENTATIONS, GENERATORS, codecs, dga, dns_legit, tunnel, words
from tools.generators.__main__ import main

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_generator_is_deterministic_and_counts(name: str) -> None:
    rows = GENERATORS[name](random.Random(7), 300)
    assert rows == GENERATORS[name](random.Random(7), 300)
    assert rows != GENERATORS[name](random.Random(8), 300)
    assert len(rows) == 300
    assert all(text and label and family for text, label, family in rows)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("module", [tunnel, dns_legit, dga])
def test_names_obey_dns_limits(module: object, seed: int) -> None:
    for text, _, family in module.generate(random.Random(seed), 1500):  # type: ignore[attr-defined]
        wire = tunnel.wire_form(text)
        assert len(wire) <= tunnel.MAX_NAME, family
        assert all(0 < len(label) <= tunnel.MAX_LABEL for label in wire.split(".")), (family, text)
        assert text == text.lower()


def test_tunnel_tools_can_be_held_out() -> None:
    rows = tunnel.generate(random.Random(1), 800, exclude=("iodine",))
    families = {family for _, _, family in rows}
    assert families == set(tunnel.TOOLS) - {"iodine"}
    assert {f for _, _, f in tunnel.generate(random.Random(1), 50, tools=("dnscat2",))} == {"dnscat2"}


def test_tunnel_bases_are_used() -> None:
    rows = tunnel.generate(random.Random(1), 50, bases=("a.b.example.org",), base_rate=1.0)
    assert all(text.endswith("a.b.example.org") for text, _, _ in rows if len(text) > 40)


def test_tunnel_never_makes_the_ambiguous_poll_form() -> None:
    rows = tunnel.generate(random.Random(3), 4000, base_rate=0.0)
    assert not [text for text, _, _ in rows if text[0] == "r" and text[1:].isdigit()]


@pytest.mark.parametrize(
    "alphabet",
    [codecs.RFC_BASE32, codecs.RFC_BASE32HEX, codecs.ZBASE32, codecs.IODINE_BASE32, codecs.IODINE_BASE64]
    + [codecs.IODINE_BASE64U, codecs.IODINE_BASE128],
)
def test_bit_encodings_decode_back(alphabet: str) -> None:
    rng = random.Random(5)
    assert len(set(alphabet)) == len(alphabet) in (32, 64, 128)
    for size in range(1, 60):
        data = rng.randbytes(size)
        assert codecs.decode_bits(codecs.encode_bits(data, alphabet), alphabet) == data


@pytest.mark.parametrize("alphabet", [codecs.BASE36, codecs.BASE58, codecs.BASE62])
def test_integer_encodings_decode_back(alphabet: str) -> None:
    for data in (b"\x00\x00a", b"", bytes(range(40))):
        assert codecs.decode_integer(codecs.encode_integer(data, alphabet), alphabet) == data


def test_base32_agrees_with_rfc4648_vector() -> None:
    assert codecs.encode_bits(b"foobar", codecs.RFC_BASE32) == "mzxw6ytboi"


def test_iodine_version_query_carries_protocol_502() -> None:
    rng = random.Random(0)
    texts = [tunnel.iodine_handshake(rng, 200) for _ in range(300)]
    versions = [text for text in texts if text.startswith("v")]
    assert versions
    assert all(codecs.decode_bits(text[1:], codecs.IODINE_BASE32)[:4] == b"\x00\x00\x05\x02" for text in versions)


def test_iodine_data_header_packs_its_fields() -> None:
    head = tunnel.iodine_data_header(10, 5, 3, 2, 9, True, "q")
    bits = 0
    for char in head[1:4]:
        bits = bits << 5 | codecs.IODINE_BASE32.index(char)
    assert head[0] == "a"
    assert head[4] == "q"
    assert (bits >> 12, bits >> 8 & 15, bits >> 5 & 7, bits >> 1 & 15, bits & 1) == (5, 3, 2, 9, 1)


def test_split_labels_keeps_the_room() -> None:
    for room in range(1, 200):
        text = codecs.split_labels("x" * 300, 63, room)
        assert len(text) <= room
        assert not text.endswith(".")


def test_dnscat2_is_hex() -> None:
    rng = random.Random(2)
    for _ in range(100):
        assert bytes.fromhex(tunnel.dnscat2(rng, 200).removeprefix("dnscat.").replace(".", "")[:10])


def test_dga_words_come_from_the_argument() -> None:
    derived = words.derive_words(["bluefish.com", "fishmarket.net", "bluefish.org", "x1.de"])
    assert derived == ["bluefish"]
    rows = dga.generate(random.Random(4), 400, words=["zorgle", "mintip", "fraxo"], families=("dictionary",))
    assert any("zorgle" in text for text, _, _ in rows)


def test_hard_legit_only_draws_given_names() -> None:
    names = ["abc.com", "xkcdbrtq.com", "deutscherwetterdienst.de"]
    rows = dga.hard_legit(random.Random(0), 20, names)
    assert {text for text, _, _ in rows} <= set(names[1:])
    assert dga.hard_legit(random.Random(0), 5, []) == []


def test_cli_prints_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tunnel", "--n", "5", "--seed", "1"]) == 0
    first = capsys.readouterr().out
    rows = [json.loads(line) for line in first.splitlines()]
    assert [set(row) for row in rows] == [{"text", "label", "family"}] * 5
    main(["tunnel", "--n", "5", "--seed", "1"])
    assert capsys.readouterr().out == first


def test_every_augmentation_is_registered_by_task() -> None:
    assert set(AUGMENTATIONS) <= {"uri-attack", "url-phishing", "cmdline"}
