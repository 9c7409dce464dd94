"""The fuzzing tools: a case is the same at every run, a bad case is found and named, and a few of each kind find nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_demist import EdgeDemist
from tools.fuzz import __main__ as fuzz
from tools.fuzz import bundles, logs, miniature

ROOT = Path(__file__).parents[2]
KNOWN = json.loads(fuzz.CORPUS.read_text())


def run(*arguments: str, **environment: str) -> dict:
    command = [sys.executable, "-m", "tools.fuzz", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, cwd=ROOT, env={**os.environ, **environment})
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    facts: dict = next(iter(json.loads(done.stdout).values()))
    return facts


@pytest.mark.parametrize(("target", "count"), [("bundles", 40), ("logs", 40), ("states", 8), ("kits", 40), ("strings", 3), ("pieces", 3)])
def test_a_few_cases_find_nothing(target, count):
    pytest.importorskip({"kits": "cryptography", "pieces": "sentencepiece"}.get(target, "numpy"))
    facts = run(target, "--count", str(count), "--seconds", "60")
    assert facts["cases"] > 0 and not facts["bad"]


@pytest.mark.parametrize("side", ["end", "begin"])
def test_a_short_form_with_guard_pages(side):
    facts = run("strings", "--first", "7", "--count", "2", "--seconds", "60", FUZZ_GUARD=side)
    assert facts["cases"] == 2 and not facts["bad"]


@pytest.mark.parametrize("target", sorted(KNOWN))
def test_what_was_found_is_found_no_more(tmp_path, target):
    assert target in fuzz.TARGETS
    for seed in KNOWN[target]:
        assert not fuzz.outcome(fuzz.make(target, tmp_path), int(seed)).startswith("BAD")


def test_a_case_is_the_same_at_every_run(tmp_path):
    written = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        bundle, log = bundles.Target(tmp_path / place), logs.Target(tmp_path / place)
        bundle.write(5)
        log.write(5)
        written.append({p.relative_to(tmp_path / place): p.read_bytes() for p in (tmp_path / place).rglob("*") if p.is_file()})
    assert written[0] == written[1]


class Breaks:
    """Fails in three ways."""

    weight = 1

    def __init__(self, folder: Path) -> None:
        del folder

    def run(self, seed: int) -> str:
        if seed == 3:
            os.kill(os.getpid(), 9)
        if seed == 5:
            raise KeyError("odd")
        return "BAD answer" if seed == 7 else "well"


def test_every_way_to_fail_is_counted_and_named(monkeypatch):
    monkeypatch.setattr(fuzz, "make", lambda _name, folder: Breaks(folder))
    counts, bad, done = fuzz.run("breaks", 0, 10, 60.0)
    assert done == 10 and counts["well"] == 7
    assert bad == {"BAD signal 9": 3, "BAD KeyError: 'odd'": 5, "BAD answer": 7}


def test_runs_are_added_up(tmp_path):
    facts = {"cases": 5, "items": 5, "seconds": 1, "outcomes": {"well": 4, "BAD x": 1}, "bad": {"BAD x": 3}}
    for _ in range(2):
        fuzz.save(tmp_path / "r.json", "logs", 0, facts)
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["totals"] == {"logs": {"cases": 10, "items": 10, "bad": 2}} and len(found["runs"]) == 2


def test_a_run_goes_on_where_the_last_of_its_kind_ended(tmp_path):
    facts = {"cases": 5, "items": 5, "seconds": 1, "outcomes": {"well": 5}, "bad": {}}
    for what, first in (("logs", 0), ("logs", 5), ("strings", 40)):
        fuzz.save(tmp_path / "r.json", what, first, facts)
    assert [fuzz.last_case(tmp_path / "r.json", what) for what in ("logs", "strings", "kits")] == [10, 45, 0]
    assert fuzz.last_case(tmp_path / "none.json", "logs") == fuzz.last_case(None, "logs") == 0


def test_the_miniature_has_all_that_the_shipped_bundle_has_and_answers(tmp_path):
    small, whole = EdgeDemist.load(miniature.write(tmp_path / "small")), EdgeDemist.load()
    assert small.tasks == whole.tasks
    for task in whole.tasks:
        mine, theirs = small.specialist(task), whole.specialist(task)
        assert (mine.labels, mine.thresholds, mine.screen) == (theirs.labels, theirs.thresholds, theirs.screen)
        assert (mine.ngrams is None) == (theirs.ngrams is None) and set(mine.adapter.layers) == set(theirs.adapter.layers)
    answers = small.classify(["www.example.com"], tasks=small.tasks)[0]
    assert all(0 <= answer.score <= 1 and answer.error is None for answer in answers.values())
    places = small.places(small.encode(["www.example.com"]))
    assert ((places >= 0) & (places <= 1)).all()
