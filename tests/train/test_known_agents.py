"""Agents labelled by a parser: which answers count, which names are drawn, which rows are left out."""

from __future__ import annotations

import json
import random
import re

import pytest

pandas = pytest.importorskip("pandas")
pytest.importorskip("sentencepiece")

from tools.train import known_agents as agents  # noqa: E402

PHONE = "Mozilla/5.0 (Linux; Android 9; ABC-1 Build/X; wv) AppleWebKit/537.36 Chrome/80.0.1.2 Mobile Safari/537.36"


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ((True, "Search bot", "", ""), "crawler-bot"),
        ((True, "Security Checker", "", ""), ""),
        ((False, "", "browser", "tv"), "tv-console-iot"),
        ((False, "", "mobile app", "tv"), ""),
        ((False, "", "mobile app", "tablet"), "mobile-app"),
        ((False, "", "browser", "phablet"), "browser-mobile"),
        ((False, "", "browser", "desktop"), ""),
        ((False, "", "mediaplayer", "smart speaker"), "feed-media-client"),
        ((False, "", "library", ""), "http-library"),
    ],
)
def test_answers_that_say_less_than_the_classes_are_left_out(answer, label):
    assert agents.kind(*answer) == label


def test_a_drawn_name_has_a_class_that_it_can_have():
    assert agents.agrees("name-tv", "tv-console-iot")
    assert not agents.agrees("name-tv", "browser-mobile")  # a model that the parser did not find
    assert not agents.agrees("name-smartphone", "tv-console-iot")
    assert agents.agrees("name-smartphone", "mobile-app")
    assert agents.agrees("corpus", "tv-console-iot")
    assert not agents.agrees("corpus", "")
    assert agents.agrees("name-library", "http-library")
    assert not agents.agrees("corpus", "http-library")  # often a crawler to the lists behind the table
    assert not agents.agrees("name-app", "http-library")
    assert not agents.agrees("name-library", "crawler-bot")


@pytest.mark.parametrize(
    ("expression", "example"),
    [
        (r"HPH(0[1-9])(?:[);/ ]|$)", "HPH07"),
        (r"NAVER/(\d+[.\d]+) CFNetwork", "NAVER/8.1.12 CFNetwork"),
        (r"Airties; ?([^);/]+)", "Airties; A7b"),
        (r"NODROPOUT_.+ Build", "NODROPOUT_x1 Build"),
        (r"quic-go/([.\d]+)", "quic-go/1.2.10"),
        (r"^Deno/(\d+\.[.\d]+)", "Deno/1.2.16"),
    ],
)
def test_drawable_expressions_still_match(expression, example):
    made = agents.drawable(expression)
    assert re.search(made, example)
    assert "|$)" not in made
    assert not re.search(r"(?<!\\)\.[+*]|\[\^", made)


@pytest.mark.parametrize(
    ("text", "name"),
    [("Wget/1.21", "wget"), ("REST::Client/273", "rest::client"), ("Faraday v2.7", "faraday"), ("okhttp3-3.12", "okhttp")],
)
def test_the_product_of_an_agent(text, name):
    assert agents.product(text) == name


def test_a_model_takes_the_place_of_the_carriers():
    text = agents.placed(random.Random(1), agents.Name("NT-1501C", "tv"), [PHONE])
    assert text == PHONE.replace("ABC-1", "NT-1501C")
    library = agents.placed(random.Random(1), agents.Name("Client/1.2", "library"), [])
    assert library.startswith("Client/1.2")
    app = agents.placed(random.Random(1), agents.Name("Some App", "app"), [])
    assert "Some App" in app


def test_rows_of_dev_and_their_versions_stay_out(tmp_path, monkeypatch):
    phone, crawler, reader = (PHONE, "browser-mobile"), ("Crawly/7", "crawler-bot"), ("Reader/1.0", "feed-media-client")
    for split, table in (("train", [phone, crawler]), ("dev", [reader])):
        folder = tmp_path / "tasks" / "user-agent"
        folder.mkdir(parents=True, exist_ok=True)
        pandas.DataFrame(table, columns=["text", "label"]).assign(source="s").to_parquet(folder / f"{split}.parquet")
    (tmp_path / "corpus").mkdir()
    texts = ["Reader/1.0", "reader/22.7", "Player/3", "Player/3", PHONE]
    pandas.DataFrame({"text": texts}).to_parquet(tmp_path / "corpus" / "user_agent.parquet")
    drawn = {"devices": [agents.Name("TV-9", "tv"), agents.Name("PAD-1", "tablet")], "libraries": []}
    drawn["libraries"] = [agents.Name(f"{name}/1.2", "library") for name in ("Fetcher", "crawly")]
    labels = {"TV-9": "tv-console-iot", "Fetcher": "http-library", "crawly": "http-library"}
    monkeypatch.setattr(agents, "entries", lambda: "devices")
    monkeypatch.setattr(agents, "libraries", lambda: "libraries")
    monkeypatch.setattr(agents, "names", lambda rng, expressions: iter(drawn[expressions]))
    monkeypatch.setattr(agents, "label_all", lambda rows: [next((labels[k] for k in labels if k in t), "feed-media-client") for t in rows])
    monkeypatch.setattr(agents.importlib.metadata, "version", lambda name: "0")
    monkeypatch.setattr(agents.importlib.util, "find_spec", lambda name: name)
    assert agents.main(["--data", str(tmp_path), "--out", str(tmp_path / "more.parquet")]) == 0
    made = pandas.read_parquet(tmp_path / "more.parquet")
    assert sorted(zip(made["source"], made["label"], strict=True)) == [
        ("corpus", "feed-media-client"), ("name-library", "http-library"),
        ("name-tablet", "feed-media-client"), ("name-tv", "tv-console-iot"),
    ]  # fmt: skip
    assert made["text"][made["source"] == "name-library"].item().startswith("Fetcher/1.2")
    others = {*made["text"][made["source"] != "name-library"]}
    assert others == {"Player/3", PHONE.replace("ABC-1", "TV-9"), PHONE.replace("ABC-1", "PAD-1")}
    record = json.loads((tmp_path / "more.json").read_text())
    assert record["rows"] == 4
    assert record["labels"] == {"feed-media-client": 2, "http-library": 1, "tv-console-iot": 1}


def test_the_parsers_own_names():
    pytest.importorskip("device_detector")
    pytest.importorskip("rstr")
    pytest.importorskip("yaml")
    drawn = list(agents.names(random.Random(1), agents.entries()))
    assert len(drawn) > 10_000
    assert {n.what for n in drawn} >= {"smartphone", "tablet", "tv", "app", "bot"}
    assert {n.what for n in agents.names(random.Random(1), agents.libraries())} == {"library"}
    assert all(2 <= len(n.text) <= 60 and n.text.isprintable() for n in drawn)
    answers = agents.label_all(["Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", PHONE, "x"])
    assert answers == ["crawler-bot", "browser-mobile", ""]


def test_what_is_missing_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(agents.importlib.util, "find_spec", lambda name: None if name == "rstr" else name)
    with pytest.raises(SystemExit) as stop:
        agents.main(["--data", str(tmp_path), "--out", str(tmp_path / "x.parquet")])
    assert stop.value.code == 2
    assert "not installed: rstr;" in capsys.readouterr().err
