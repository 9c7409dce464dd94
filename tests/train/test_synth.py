"""Generators: deterministic for a seed, valid names, encodings that decode back, augmentations that keep a text."""

from __future__ import annotations

import base64
import ipaddress
import json
import random
import re
import shlex
from urllib.parse import unquote, unquote_plus

import pytest

from tools.synth import (
    AUGMENTATIONS,
    GENERATORS,
    cmdline,
    cmdline_admin,
    codecs,
    dga,
    dga_shapes,
    dns_legit,
    drop_known,
    tunnel,
    uri,
    uri_payloads,
    words,
)
from tools.synth.__main__ import main
from tools.synth.cmdline_values import address, fill_placeholders

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_generator_is_deterministic_and_counts(name: str) -> None:
    rows = GENERATORS[name](random.Random(7), 300)
    assert rows == GENERATORS[name](random.Random(7), 300)
    assert rows != GENERATORS[name](random.Random(8), 300)
    assert len(rows) == 300
    assert all(text and label and family for text, label, family in rows)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("module", [tunnel, dns_legit, dga, dga_shapes])
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


def test_short_queries_still_carry_payload() -> None:
    for text, _, family in tunnel.generate(random.Random(9), 5000, base_rate=0.0):
        assert len(text) >= tunnel.MIN_NAME
        assert text not in {"dnscat", "post", "init"}, family


def test_tunnels_and_look_alikes_do_not_meet() -> None:
    tunnels = {text for text, _, _ in tunnel.generate(random.Random(1), 5000)}
    assert not tunnels & {text for text, _, _ in dns_legit.generate(random.Random(1), 5000)}


def test_drop_known_leaves_out_repeats_and_real_rows() -> None:
    rows = [("a", "x", "f"), ("a", "x", "g"), ("b", "x", "f"), ("c", "x", "f")]
    assert drop_known(rows, {"b"}) == [("a", "x", "f"), ("c", "x", "f")]


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


def test_every_shape_makes_names_below_its_zones_and_can_be_left_out() -> None:
    rows = dga_shapes.generate(random.Random(5), 12 * len(dga_shapes.shapes()), own_zones=1.0)
    zones = {f"shape-{shape.name}": shape.zones for shape in dga_shapes.shapes()}
    assert {family for _, _, family in rows} == zones.keys()
    assert all(text.endswith(tuple(f".{zone}" for zone in zones[family])) for text, _, family in rows)
    left = dga_shapes.generate(random.Random(5), 2000, exclude=("dyre", "gozi"))
    assert {family for _, _, family in left} == zones.keys() - {"shape-dyre", "shape-gozi"}
    assert {f for _, _, f in dga_shapes.generate(random.Random(5), 30, only=("tofsee",))} == {"shape-tofsee"}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("dyre", r"[a-z][0-9a-f]{33}"),
        ("tofsee", r"([a-z]{3})\1[a-z]"),
        ("pitou", r"([b-df-hj-np-tv-xz][aeiouy]){4,5}|([b-df-hj-np-tv-xz][aeiouy]){4}[b-df-hj-np-tv-xz]"),
        ("ccleaner", r"ab[0-9a-f]{9,13}"),
        ("matsnu-hyphen", r"[a-z]+-[a-z]+(-[a-z]*)?"),
        ("beebone", r"(ns1\.)?[a-z]+[0-9]"),
    ],
)
def test_a_shape_is_what_its_line_says(name: str, form: str) -> None:
    for text, _, _ in dga_shapes.generate(random.Random(6), 60, only=(name,), own_zones=1.0):
        (shape,) = (shape for shape in dga_shapes.shapes() if shape.name == name)
        zone = max((zone for zone in shape.zones if text.endswith(f".{zone}")), key=len)
        assert re.fullmatch(form, text.removesuffix(f".{zone}")), text


def test_a_shape_takes_words_from_the_argument() -> None:
    rows = dga_shapes.generate(random.Random(4), 200, words=["zorgle", "mintip", "fraxo"], only=("pizd",))
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


TEXTS = {
    "uri-attack": [
        ("1' union all select null#", "sqli"),
        ("<img src=x onerror=alert(1)>", "xss"),
        ("; id", "cmd-injection"),
        ("//example.com", "open-redirect"),
    ]
    + [
        ("../../etc/passwd", "path-traversal"),
        ("/a/b?c=d&e=%20f", "normal"),
        ("o'brien", "normal"),
        ("x", "normal"),
        ("%", "normal"),
        ("100 %zz é", "normal"),
    ],
    "url-phishing": [("https://www.example.com", "legit"), ("example.com/a b/?x=1#y", "malicious"), ("http://", "legit"), ("x", "legit")],
    "cmdline": [
        ("whoami", "malicious"),
        ("net user bob /add", "malicious"),
        ("Get-ChildItem C:\\Users\\Public", "malicious"),
        ("cat /etc/shadow", "malicious"),
    ]
    + [
        ("ls", "benign"),
        ("ipconfig /all", "benign"),
        ("sudo apt update", "benign"),
        ("$x = 1", "malicious"),
        ('"', "malicious"),
        ("git commit -m 'x'", "benign"),
    ],
}


@pytest.mark.parametrize("task", sorted(AUGMENTATIONS))
def test_augmentation_keeps_a_text_and_is_deterministic(task: str) -> None:
    assert set(AUGMENTATIONS) == set(TEXTS)
    augment = AUGMENTATIONS[task]
    for text, label in TEXTS[task]:
        once = [augment(random.Random(seed), text, label) for seed in range(200)]
        assert once == [augment(random.Random(seed), text, label) for seed in range(200)]
        assert all(result.strip() for result in once)
        assert len(set(once)) > 2 or text == "http://", text


def test_cli_augments_json_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", iter(['{"text": "whoami", "label": "malicious", "id": 3}\n']))
    assert main(["augment-cmdline", "--seed", "5"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["label"], row["id"]) == ("malicious", 3)
    assert row["text"]


# uri ---------------------------------------------------------------------------------------------------------------


def test_percent_encodings_decode_back() -> None:
    rng = random.Random(1)
    for text in ("a' or 1=1 -- é", "<b onclick=x>", "x;y|z"):
        for _ in range(50):
            assert unquote(uri.percent_encode(rng, text, "xss")) == text
            assert unquote(uri.encode_letters(rng, text, "xss")) == text
            assert unquote(unquote(uri.double_encode(rng, text, "xss"))) == text


def test_prefix_keeps_the_value() -> None:
    rng = random.Random(2)
    for value in ("1' or '1'='1", "o'brien & sons", "..%2f..%2fetc/passwd", "a+b"):
        for _ in range(50):
            assert unquote_plus(value) in unquote_plus(uri.in_query(rng, value, "normal"))


def test_sql_comments_are_no_blanks_of_ordinary_text() -> None:
    rng = random.Random(3)
    assert not any("/**/" in uri.blanks(rng, "select a plan", "normal") for _ in range(200))
    assert any("/**/" in uri.blanks(rng, "select a plan", "sqli") for _ in range(200))


def test_keyword_case_leaves_shell_words() -> None:
    assert uri.keyword_case(random.Random(0), "; select and or", "cmd-injection") == "; select and or"
    assert uri.keyword_case(random.Random(0), "UNION", "sqli").lower() == "union"


def test_url_augmentation_keeps_the_host() -> None:
    for seed in range(300):
        bare = re.sub("^https?://", "", uri.augment_url(random.Random(seed), "https://login.example.com/a?b=c", "malicious"))
        assert re.match(r"login\.example\.com(:\d+)?/", bare)


def test_uri_rows_hold_three_labels() -> None:
    labels = [label for _, label, _ in uri_payloads.generate(random.Random(1), 2000)]
    assert {label: labels.count(label) > 200 for label in set(labels)} == {"normal": True, "cmd-injection": True, "open-redirect": True}


def test_generated_addresses_are_documentation_addresses() -> None:
    networks = [ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
    for text, _, _ in uri_payloads.generate(random.Random(4), 2000):
        for found in re.findall(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])", text):
            assert any(ipaddress.ip_address(found) in net for net in networks), text


# cmdline -----------------------------------------------------------------------------------------------------------


def test_at_least_sixty_admin_templates_fill_completely() -> None:
    assert len(set(cmdline_admin.templates())) >= 60
    rng = random.Random(1)
    for template in cmdline_admin.templates():
        assert not re.search(r"<[a-z]+>", cmdline_admin.fill(rng, template)), template


def test_carets_and_case_undo() -> None:
    rng = random.Random(1)
    text = 'net user "a b" /add'
    for _ in range(50):
        assert cmdline.carets(rng, text).replace("^", "") == text
        assert cmdline.mixed_case(rng, text).lower() == text
        assert cmdline.backticks(rng, "Get-ChildItem").replace("`", "") == "Get-ChildItem"
        assert cmdline.split_quotes(rng, text).replace('""', "", 1) == text


def test_carets_stay_outside_quotes() -> None:
    assert all('"quoted"' in cmdline.carets(random.Random(seed), 'echo "quoted"') for seed in range(50))


def test_mixed_case_keeps_base64() -> None:
    blob = "Ab9" * 20
    assert blob in cmdline.mixed_case(random.Random(1), f"powershell -enc {blob}")


def test_environment_substrings_expand_back() -> None:
    rng = random.Random(2)
    changed = [cmdline.environment_substrings(rng, "powershell -c x") for _ in range(50)]
    assert any("%" in text for text in changed)
    assert {cmdline.expand_substrings(text) for text in changed} == {"powershell -c x"}


def test_encoded_command_decodes_back() -> None:
    text = 'Write-Host "ä"'
    blob = cmdline.encoded_command(random.Random(1), text).split()[-1]
    assert base64.b64decode(blob).decode("utf-16-le") == text


def test_base64_pipe_decodes_back() -> None:
    for seed in range(20):
        result = cmdline.base64_pipe(random.Random(seed), "cat /etc/hosts")
        blob = base64.b64encode(b"cat /etc/hosts").decode()
        assert blob in result


def test_linux_words_join_again() -> None:
    rng = random.Random(3)
    for _ in range(50):
        split = cmdline.split_variables(rng, "curl http://x")
        parts = re.fullmatch(r"(\w)=(\w+);(\w)=(\w+);\$\1\$\3 http://x", split)
        assert parts is not None
        assert parts[2] + parts[4] == "curl"
        assert "$" in cmdline.ifs_blanks(rng, "cat /etc/hosts")
    assert cmdline.ifs_blanks(rng, "echo 'a b'") == "echo 'a b'"


def test_shell_wrapper_quotes_the_line() -> None:
    for seed in range(100):
        result = cmdline.linux_wrapper(random.Random(seed), "echo 'it''s' \"$x\"")
        if " -c " in result:
            assert shlex.split(result)[2] == "echo 'it''s' \"$x\""


def test_strong_obfuscation_is_for_hostile_rows() -> None:
    marks = ("^", ":~", "base64", "${IFS}")
    for seed in range(500):
        result = cmdline.augment(random.Random(seed), "ipconfig /all", "benign", platform="windows")
        assert not any(mark in result for mark in marks)
    results = [cmdline.augment(random.Random(seed), "net user bob /add", "malicious", platform="windows") for seed in range(500)]
    assert any(any(mark in result for mark in marks) for result in results)


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("ping 198.51.100.7", "198.51.100.7"),
        ("copy C:\\Users\\Public\\tools\\x.exe y", "Public\\tools"),
        ("cl path\\to\\source.c", "path\\to"),
        ("cat /path/to/input-file", "/path/to/"),
        ("pgrep -f /srv/audio_file1", "/srv/audio"),
        ("curl http://#{remote_ip}/", "#{"),
        ("cat /tmp/T1083.txt", "T1083"),
        ("nc attacker.com 12345", "attacker.com"),
    ],
)
def test_placeholders_are_replaced(text: str, gone: str) -> None:
    results = {fill_placeholders(random.Random(seed), text) for seed in range(40)}
    assert len(results) > 5
    assert sum(gone in result for result in results) <= 8  # the pool holds the placeholder, for both classes


def test_placeholders_keep_local_addresses_and_repeat_values() -> None:
    rng = random.Random(1)
    assert fill_placeholders(rng, "ping 127.0.0.1 8.8.8.8 v1.2.3.4.5") == "ping 127.0.0.1 8.8.8.8 v1.2.3.4.5"
    first, second = fill_placeholders(rng, "10.10.14.7 10.10.14.7").split()
    assert first == second


def test_addresses_are_private_or_documentation() -> None:
    rng = random.Random(1)
    assert all(ipaddress.ip_address(address(rng)).is_private for _ in range(500))


@pytest.mark.parametrize(
    ("text", "windows"),
    [("dir C:\\x", True), ("Get-ChildItem -Recurse", True), ("net use z: /delete", True), ("ls -la /tmp", False), ("git push", False)],
)
def test_platform_guess(text: str, windows: bool) -> None:
    assert cmdline.is_windows(text) is windows


def test_ambiguous_single_labels_are_rare_by_default() -> None:
    assert tunnel.ambiguous("a1" * 16)
    assert not tunnel.ambiguous("a1" * 16 + ".t")
    assert not tunnel.ambiguous("a1" * 9)
    rows = tunnel.generate(random.Random(1), 4000)
    assert sum(tunnel.ambiguous(text) for text, _, _ in rows) < 80
    assert not any(tunnel.ambiguous(text) for text, _, _ in tunnel.generate(random.Random(1), 2000, ambiguous_rate=0.0))
