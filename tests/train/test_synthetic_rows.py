"""Generators by word list: labels of the task, nothing left unfilled, lists that are wide and free of repeats."""

from __future__ import annotations

import ipaddress
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.train import ood_texts as ood
from tools.synth import (
    cmdline_attack,
    cmdline_dev,
    cmdline_slots,
    filename,
    pages,
    service_names,
    templates,
    uri_commands,
    user_agent,
    well_known,
)
from tools.synth.templates import fill, groups, unfilled

AGENT_LABELS = {"http-library", "browser-desktop", "feed-media-client", "mobile-app", "attack-tool", "crawler-bot", "tv-console-iot"}


def test_fill_draws_numbers_forms_and_values() -> None:
    rng = random.Random(1)
    slots = {"name": lambda _: "x<y"}
    for _ in range(50):
        assert re.fullmatch(r"v[3-7] (a|b|) ([1-9])=\2 x<y", fill(rng, "v<3-7> <a|b|> <n=1-9>=<n> <name>", slots))
    assert fill(rng, "<<a|a>-b|<a|a>-b>", slots) == "a-b"
    assert fill(rng, "sort <in >out <unknown>", slots) == "sort <in >out <unknown>"


def test_unfilled_sees_what_fill_would_have_replaced() -> None:
    assert unfilled("a <3-4>", {})
    assert unfilled("a <name>", {"name": str})
    assert not unfilled("a <b> 3-4 <<", {})


def test_word_lists_are_read_without_remarks(tmp_path, monkeypatch) -> None:
    (tmp_path / "x.txt").write_text("#! remark\n[one]\n3* a <1-2>\nplain\n\n[two]\nb <p|q>\n", encoding="utf-8")
    monkeypatch.setattr(templates, "WORDLISTS", tmp_path)
    assert groups("x.txt") == {"one": (("a <1-2>", "plain"), (3.0, 0.25)), "two": (("b <p|q>",), (1.0,))}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_agents_have_labels_and_nothing_unfilled(seed: int) -> None:
    rows = user_agent.generate(random.Random(seed), 60)
    assert rows == user_agent.generate(random.Random(seed), 60)
    for text, label, family in rows:
        assert label in AGENT_LABELS
        assert family.startswith("generated-")
        assert text == " ".join(text.split()) != ""
        assert not unfilled(text, user_agent.SLOTS), text


def test_every_agent_template_fills() -> None:
    rng = random.Random(4)
    for label in user_agent.SHARES:
        for lines, _ in groups(f"user_agent/{label.replace('-', '_')}.txt").values():
            for template in lines:
                filled = fill(rng, template, user_agent.SLOTS)
                assert not unfilled(filled, user_agent.SLOTS), template
                assert filled.count("(") == filled.count(")") or template.count("(") != template.count(")"), template


def test_agents_are_of_every_class_and_seldom_repeat() -> None:
    rows = user_agent.generate(random.Random(2), 3000)
    assert {label for _, label, _ in rows} == AGENT_LABELS == set(user_agent.SHARES)
    assert len({text for text, _, _ in rows}) > 2600


@pytest.mark.parametrize("kind", ["app", "atv", "bot", "box", "malware", "phone", "pod", "reader", "scanner", "tool", "tvbrand"])
def test_name_lists_are_wide(kind: str) -> None:
    names = user_agent.names(kind)
    assert len(names) == len(set(names)) > 100


def test_chrome_versions_have_builds_that_grow() -> None:
    rng = random.Random(3)
    parts = [tuple(map(int, user_agent.chrome_version(rng).split("."))) for _ in range(500)]
    full = sorted(p[:3] for p in parts if p[2])
    assert [p[2] for p in full] == sorted(p[2] for p in full)


# cmdline -----------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_command_lines_have_labels_and_nothing_unfilled(seed: int) -> None:
    for module, label in ((cmdline_attack, "malicious"), (cmdline_dev, "benign")):
        rows = module.generate(random.Random(seed), 60)
        assert rows == module.generate(random.Random(seed), 60)
        for text, given_label, _ in rows:
            assert given_label == label
            assert "\n" not in text
            assert text == text.strip() != ""
            assert not unfilled(text, cmdline_slots.SLOTS), text


@pytest.mark.parametrize(
    "file",
    [
        *cmdline_attack.FILES,
        *cmdline_attack.SHORT,
        *cmdline_dev.FILES,
        *cmdline_dev.EVERYDAY,
        *cmdline_dev.BACKGROUND,
        *cmdline_dev.PROVISIONING,
    ],
)
def test_every_command_template_fills_and_stands_once(file: str) -> None:
    rng = random.Random(6)
    lines = [line for texts, _ in groups(file).values() for line in texts]
    assert len(lines) >= 40
    assert [line for line in lines if lines.count(line) > 1] == []
    for line in lines:
        text = fill(rng, line, cmdline_slots.SLOTS)
        assert not re.search(r"<[A-Za-z]\w*>|<[^<>|]*\|[^ <>][^<>]*>", text), line


def test_attacks_carry_techniques_and_both_platforms() -> None:
    rows = cmdline_attack.generate(random.Random(1), 3000)
    families = {family for _, _, family in rows}
    assert len(families) > 60
    assert all(re.fullmatch(r"T\d{4}(\.\d{3})?", family) for family in families)
    assert len({text for text, _, _ in rows}) > 2600


def test_attack_and_ordinary_lines_do_not_meet() -> None:
    attacks = {text for text, _, _ in cmdline_attack.generate(random.Random(1), 4000)}
    assert not attacks & {text for text, _, _ in cmdline_dev.generate(random.Random(1), 4000)}


def test_no_generated_line_names_a_real_public_address() -> None:
    known = {"1.1.1.1", "8.8.8.8", "169.254.169.254", "169.254.170.2", "0.0.0.0", "127.0.0.1", "255.255.255.255"}
    for text, _, _ in cmdline_attack.generate(random.Random(2), 3000):
        for found in re.findall(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])", text):
            assert found in known or ipaddress.ip_address(found).is_private, text


# uri ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_short_values_are_half_commands_and_half_ordinary(seed: int) -> None:
    rows = uri_commands.generate(random.Random(seed), 80)
    assert rows == uri_commands.generate(random.Random(seed), 80)
    assert [label for _, label, _ in rows].count("normal") == 40
    for text, label, _ in rows:
        assert label in ("normal", "cmd-injection")
        assert text.strip()
        assert "<" not in text
        assert label == "cmd-injection" or text.lower() not in uri_commands.commands()


def test_program_names_are_wide_and_stand_once() -> None:
    assert len(uri_commands.commands()) == len(set(uri_commands.commands())) > 500
    assert all(re.fullmatch(r"[\w.+-]+", name) for name in uri_commands.commands())


# well-known services ---------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_addresses_lie_under_the_service_and_look_alikes_do_not(seed: int) -> None:
    for text, label, _ in well_known.generate(random.Random(seed), 60):
        host = text.partition("/")[0]
        below = any(host == name or host.endswith("." + name) for name in well_known.services())
        assert below == (label == "legit"), text


def test_every_form_of_a_page_fills_without_a_scheme() -> None:
    rng = random.Random(4)
    for _ in range(4000):
        text, label, _ = pages.page(rng)
        assert label == "legit"
        assert not re.search(r"[<>|\s]", text), text
        assert re.match(r"[a-z0-9-]+(\.[a-z0-9-]+)+/|[a-z0-9-]+(\.[a-z0-9-]+)+$", text), text


def test_pages_leave_out_shared_files_forms_and_sites() -> None:
    rng = random.Random(5)
    texts = [pages.page(rng)[0] for _ in range(4000)]
    shared = r"sites\.google|docs\.google\.com/forms|drive\.google\.com/(file|uc)|storage\.googleapis|(www\.)?dropbox\.com/(s|sh|scl)/"
    assert not [t for t in texts if re.match(shared, t)]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_borrowed_pages_stand_on_other_hosts(seed: int) -> None:
    rows = pages.generate(random.Random(seed), 60)
    assert rows == pages.generate(random.Random(seed), 60)
    assert [label for _, label, _ in rows].count("malicious") == 20
    for text, label, _ in rows:
        host = text.partition("/")[0]
        if label == "malicious":
            assert not any(host == name or host.endswith("." + name) for name in well_known.services()), text


def test_service_names_are_of_every_class_alike() -> None:
    names = [("a.com", "legit"), ("b.net", "legit"), ("c.org", "bad"), ("already.d.org", "bad")]
    rows = service_names.hosts(random.Random(1), names, 400)
    assert sorted({label for _, label, _ in rows}) == ["bad", "legit"]
    assert sum(label == "bad" for _, label, _ in rows) == 200
    assert {text.partition(".")[2] for text, _, _ in rows} == {"a.com", "b.net", "c.org"}
    assert len({text.partition(".")[0] for text, _, _ in rows}) > 50
    assert service_names.hosts(random.Random(1), [("x.y.z", "legit")], 10) == []


def test_hosts_stand_below_their_zones() -> None:
    zones = [f"t{i}.example.org" for i in range(300)]
    rows = service_names.below(random.Random(1), zones)
    assert [text.partition(zone)[1:] for (text, _, _), zone in zip(rows, zones, strict=True)] == [(zone, "") for zone in zones]
    assert {label for _, label, _ in rows} == {"legit"}
    assert all(re.fullmatch(r"[a-z0-9_.-]+", text) for text, _, _ in rows)
    assert len({text.partition(".")[0] for text, _, _ in rows}) > 150


def test_local_names_are_names() -> None:
    rows = [service_names.local(random.Random(seed)) for seed in range(500)]
    assert {label for _, label, _ in rows} == {"legit"}
    assert all(re.fullmatch(r"[a-z0-9_.-]{2,80}", text) for text, _, _ in rows)
    assert sum(text.endswith((".local", ".arpa")) for text, _, _ in rows) > 150


FILE_LABELS = {"source-code", "script", "config", "document", "media", "archive-binary", "database", "keys-credentials", "backup", "log",
               "vcs-metadata"}  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_file_names_have_labels_and_nothing_unfilled(seed: int) -> None:
    rows = filename.generate(random.Random(seed), 110)
    assert rows == filename.generate(random.Random(seed), 110)
    assert {label for _, label, _ in rows} == FILE_LABELS
    for text, _, _ in rows:
        assert not unfilled(text, filename.SLOTS), text
        assert not text.endswith((".", "/", " ")), text


def test_an_ending_says_one_class() -> None:
    """Drawn names with one dot: their ending belongs to one class."""
    seen: dict[str, set[str]] = {}
    for text, label, _ in filename.generate(random.Random(1), 20_000):
        name = re.split(r"[/\\]", text.lower())[-1]
        if label not in ("vcs-metadata", "config") and name.count(".") == 1:
            seen.setdefault(name.rpartition(".")[2], set()).add(label)
    assert len(seen) > 150
    assert not {ending: labels for ending, labels in seen.items() if len(labels) > 1}


def test_categories_of_services_are_plain() -> None:
    listed = [name for line in templates.lines("well_known_categories.txt") for name in line.split()[1:]]
    assert len(listed) == len(set(listed)) > 300
    rows = well_known.category_rows(random.Random(1), 2)
    assert len(rows) == 4 * len(listed)
    assert all(any(text == name or text.endswith("." + name) for name in listed) for text, _, _ in rows[:200])
    assert {label for _, label, _ in rows} == {line.split()[0] for line in templates.lines("well_known_categories.txt")}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_foreign_strings_come_in_every_kind(seed: int) -> None:
    rows = ood.generate(random.Random(seed), 64)
    assert rows == ood.generate(random.Random(seed), 64)
    assert [kind for _, _, kind in rows] == [*ood.KINDS] * 8
    for text, label, kind in rows:
        assert text.strip() and label == "foreign", kind
        assert "\n" not in text


def test_languages_have_words_of_their_own() -> None:
    found = ood.languages()
    assert len(found) >= 25
    for name, words in found.items():
        assert len(words) >= 30, name
        assert all(word == word.strip() != "" for word in words)
