"""``--nearest``: the nearest strings told about before, and novelty; bounded, and the same after a crash."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from edge_demist.errors import InputError
from edge_demist.sensor import neighbours as module
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.neighbours import Neighbours, neighbour_fields
from tests.support.power_cut import run_with_a_power_cut
from tests.support.sensor_fakes import read_events, watch_once, zeek_log

DNS = "ts uid id.orig_h query"
DIM = 32


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def exact(seen: list[int], query: int) -> list[str]:
    """Names of the nearest by brute force over the int8 vectors."""
    rows = module.to_int8(np.stack([unit(s) for s in seen])).astype(int)
    scores = rows @ module.to_int8(unit(query)[None])[0].astype(int)
    return [f"s{seen[i]}" for i in np.argsort(-scores, kind="stable")[: module.SHOWN]]


@pytest.mark.parametrize("folder", [True, False])
def test_the_nearest_are_exact_within_the_last_entries_whenever_it_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, folder: bool
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 16)
    known = Neighbours(tmp_path if folder else None, "x", DIM, max_entries=50)
    random_of = random.Random(3)
    for i in range(300):
        found = known.ask(f"s{i}", {"dga": "legit"}, unit(i), i)
        if i:
            assert [entry.text for entry, _ in found] == exact(list(range(max(0, i - 50), i)), i)
        if folder and random_of.random() < 0.2:
            known.committed(known.state())
        if folder and i % 90 == 89:  # the process ends; what its checkpoint holds comes back
            state = json.loads(json.dumps(known.state()))
            known.close()
            known = Neighbours(tmp_path, "x", DIM, max_entries=50)
            known.restore(state)
    known.close()


def test_a_string_is_its_own_neighbour_and_is_kept_once() -> None:
    known = Neighbours(None, "x", DIM)
    assert known.ask("a", {"dga": "dga"}, unit(1), 1) == []
    for _ in range(3):
        (entry, cosine), *rest = known.ask("a", {}, unit(1), 2)
        assert entry.text == "a" and cosine == pytest.approx(1.0) and not rest
    fields = neighbour_fields(known.ask("a", {}, unit(1), 3), "dga")
    assert fields["novelty"] == 0.0 and fields["nearest"][0]["label"] == "dga"  # type: ignore[index]
    assert neighbour_fields([], "dga") == {"nearest": [], "novelty": 1.0}


def test_old_entries_and_those_of_another_encoder_are_not_found(tmp_path: Path) -> None:
    known = Neighbours(tmp_path, "x", DIM)
    known.ask("a", {}, unit(1), 1)
    assert known.ask("b", {}, unit(2), module.MAX_AGE_US + 5) == []
    state = known.state()
    known.use("y")
    assert known.ask("c", {}, unit(1), 2) == []
    known.close()
    other = Neighbours(tmp_path, "y", DIM)
    other.restore(state)
    assert other.ask("d", {}, unit(1), 2) == []


@pytest.mark.parametrize(
    "change", [{"rows": [[0, 1, "a", {}, "AA=="]]}, {"rows": 5}, {"next": "x"}, {"first": 9}, {"rows": [[0, 1, "a", [], "?"]]}]
)
def test_a_damaged_state_is_refused(change: dict[str, object]) -> None:
    state = {"number": 1, "space": "x", "first": 0, "next": 1, "rows": []}
    with pytest.raises(ValueError):
        Neighbours(None, "x", DIM).restore(state | change)


def test_events_carry_nearest_and_novelty_on_request(tmp_path: Path) -> None:
    rows = [f"{100 + i}.5 C{i} 10.0.0.1 {name}" for i, name in enumerate(["evil.example", "other.example", "evil.example"])]
    (tmp_path / "dns.log").write_text(zeek_log(DNS, *rows))
    events, _ = watch_once(tmp_path, tmp_path / "dns.log", state=tmp_path / "state", nearest=True)
    dga = [e for e in events if e["task"] == "dga"]
    assert dga[0]["novelty"] == 1.0 and dga[2]["novelty"] == 0.0
    assert [n["text"] for n in dga[1]["nearest"]] == ["evil.example"] and dga[2]["nearest"][0]["label"] == "bad"
    assert dga[0]["nearest"] == [] and -1 <= dga[1]["nearest"][0]["cosine"] < 1
    watch_once(tmp_path, tmp_path / "dns.log", output=tmp_path / "plain.jsonl")
    plain = read_events(tmp_path / "plain.jsonl")
    assert len(plain) == len(events) and not any("nearest" in e for e in plain)
    with pytest.raises(InputError, match="nearest"):
        WatchConfig(paths=(tmp_path,), emit="incidents", nearest=True)


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_changes_no_neighbour(tmp_path: Path, seed: int) -> None:
    names = [f"evil{i % 23}.example" for i in range(60)]
    (tmp_path / "dns.log").write_text(zeek_log(DNS, *(f"{100 + i}.5 C{i} 10.0.0.1 {name}" for i, name in enumerate(names))))

    def run(folder: Path, strike_at: int) -> dict[str, object]:
        folder.mkdir()
        options: dict[str, object] = {"emit": "alarms", "output": folder / "o.jsonl", "state": folder / "state", "nearest": True}
        config = WatchConfig(paths=(tmp_path / "dns.log",), once=True, batch_strings=4, commit_s=0.0, **options)  # type: ignore[arg-type]
        run_with_a_power_cut(config, strike_at)
        return {e["event_id"]: (e["nearest"], e["novelty"]) for e in read_events(folder / "o.jsonl")}

    whole = run(tmp_path / "whole", -1)
    assert len(whole) >= 60 and run(tmp_path / "cut", random.Random(seed).randrange(5, 90)) == whole
