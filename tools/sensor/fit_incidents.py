"""Fit the weights of incidents on days with ground truth, and say what they find, also on days left out.

    python -m tools.sensor.fit_incidents ../shared/data/sensor-days --json benchmarks/results/incidents.json

Reads the days' logs as ``watch`` does, asks the bundle once for every string, gathers all cases, and fits one logistic
regression a kind of case: positive where the day's own ``score.py`` calls the case true, negative where false. With a few dozen
episodes against thousands of ordinary cases the weights must not run away: each has a Gaussian prior around the value in
``incident_prior.json`` (a judgement about what the sign is worth), and none may change its sign. An episode counts once, however many
cases it has.
A case is taken in its strongest state.
``--quiet-days`` adds days of :mod:`tools.days` without an intrusion: what looks like trouble and is none, so that no sign gets a
weight which the shared days alone would not contradict.
Incidents open at the lowest log odds at which the days used for the fit give at most ``--false-a-day`` false incidents, and not under
``MIN_OPEN``; a kind whose ordinary cases all stay farther below than ``MARGIN`` opens that much earlier. All biases are moved so that this
point is nought.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pickle
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from edge_demist import EdgeDemist
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.incidents.case import Case
from edge_demist.sensor.incidents.observation import Observation
from edge_demist.sensor.incidents.tracker import Tracker
from edge_demist.sensor.incidents.weights import DEFAULT, FORMAT, Weights
from edge_demist.sensor.memory import Memory
from edge_demist.sensor.runner import Runner

PRIOR: dict[str, dict[str, float]] = json.loads(Path(__file__).with_name("incident_prior.json").read_text(encoding="utf-8"))
SPREAD = 0.8
BIAS_SPREAD = 1.5
MIN_OPEN = -3.3
MARGIN = 2.0
JOIN_BELOW = 0.75


@dataclass
class Row:
    """A case of a day: its features in its strongest state, and the verdict of ``score.py``."""

    day: str
    kind: str
    key: tuple[str, ...]
    features: dict[str, float]
    verdict: str = ""
    episodes: tuple[str, ...] = ()


# --- reading ---------------------------------------------------------------------------------------------------------------------


def read_day(folder: Path, bundle: Path | None) -> list[Observation]:
    """A day's observations with answers, as ``watch --emit incidents`` decides about them: same order, same screen."""
    config = WatchConfig(paths=(folder / "logs",), once=True, emit="incidents", output=Path(os.devnull))
    runner = Runner(config, lambda: EdgeDemist.load(bundle))
    found: list[Observation] = []
    try:
        assert runner.stages.incidents is not None
        runner.stages.incidents.tracker.on_observation = found.append
        runner.run()
    finally:
        runner.close()
    return found


def observations(days: list[Path], bundle: Path | None, cache: Path | None) -> dict[str, list[Observation]]:
    """Of all days; from the cache where it was made with the same bundle."""
    with EdgeDemist.load(bundle) as model:
        identity = model.bundle_id
    if cache and cache.exists():
        made_with, held = pickle.loads(cache.read_bytes())  # our own file, named by the caller
        if made_with == identity:
            return held
    found = {}
    for day in days:
        found[day.name] = read_day(day, bundle)
        print(f"{day.name}: {len(found[day.name])} observations", file=sys.stderr)
    if cache:
        cache.write_bytes(pickle.dumps((identity, found)))
    return found


def truth_tool(days: Path) -> ModuleType:
    """The days' ``score.py``."""
    spec = importlib.util.spec_from_file_location("sensor_days_score", days / "score.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- cases -----------------------------------------------------------------------------------------------------------------------


def gather(found: Mapping[str, list[Observation]], weights: Weights) -> list[Row]:
    """Every case of every day in its strongest state under the weights; the memory goes on from day to day."""
    rows: list[Row] = []
    memory = Memory()
    for day, seen in found.items():
        best: dict[tuple[str, ...], tuple[float, Case, dict[str, float]]] = {}

        def note(case: Case, best: dict[tuple[str, ...], tuple[float, Case, dict[str, float]]] = best) -> None:
            strength, name = case.log_odds(weights.signs[case.kind]), (case.kind, *case.key)
            if name not in best or strength >= best[name][0]:
                best[name] = (strength, case, case.features())

        tracker = Tracker(weights, "", memory)
        tracker.on_case = note
        for one in seen:
            tracker.add(one)
        tracker.finish()
        for case in tracker.gatherer.cases():
            best.setdefault((case.kind, *case.key), (0.0, case, case.features()))
        rows += [_row(day, case, features) for _, case, features in best.values()]
    return rows


def _row(day: str, case: Case, features: dict[str, float]) -> Row:
    row = Row(day, case.kind, case.key, features)
    row.case = case  # type: ignore[attr-defined]
    return row


def judge(rows: Iterable[Row], days: Path, score: ModuleType) -> None:
    """Verdicts by the days' own rules. A contact of an episode that another kind of case shows is no example either way."""
    loaded = {path.name: score.Day(str(path)) for path in day_folders(days)}
    rows = list(rows)
    for row in rows:
        case, day = row.case, loaded[row.day]  # type: ignore[attr-defined]
        entities = case.entities()
        verdict, episodes = day.judge(
            {"first": case.first_us / 1e6, "last": case.last_us / 1e6, "clients": [case.key[0]], "entities": entities}
        )
        own = any(t["_n"].has(entity) for t in day.truth for entity in entities)
        row.verdict, row.episodes = verdict if own or verdict != "true" else "grey", tuple(episodes)
    shown = {e for row in rows if row.kind != "contact" and row.verdict == "true" and _is_plain(row) for e in row.episodes}
    for row in rows:
        if row.verdict == "true" and (set(row.episodes) <= shown if row.kind == "contact" else not _is_plain(row)):
            row.verdict = "grey"


def _is_plain(row: Row) -> bool:
    """Whether a case has more than a trace of its kind, so that it may serve as an example of it."""
    prior = PRIOR[row.kind]
    return sum(value * prior.get(sign, 0.0) for sign, value in row.features.items()) > 0.5 * -prior["bias"]


def quiet_rows(folder: Path, bundle: Path | None, cache: Path | None, weights: Weights) -> list[Row]:
    """All cases of days without an intrusion: each is an example of what is none."""
    days = sorted(path for path in folder.iterdir() if (path / "truth.jsonl").exists())
    rows = gather(observations(days, bundle, cache), weights)
    for row in rows:
        row.day, row.verdict = f"quiet {row.day}", "false"
    return rows


# --- the fit ---------------------------------------------------------------------------------------------------------------------


def fit(rows: list[Row], kind: str) -> dict[str, float]:
    """Maximum a posteriori weights of a kind."""
    from scipy.optimize import minimize

    names, centre = list(PRIOR[kind]), np.array(list(PRIOR[kind].values()), float)
    used = [row for row in rows if row.kind == kind and row.verdict in ("true", "false")]
    x = np.array([[1.0 if name == "bias" else row.features.get(name, 0.0) for name in names] for row in used]).reshape(-1, len(names))
    y = np.array([row.verdict == "true" for row in used], float)
    share = Counter(row.episodes[0] for row in used if row.verdict == "true")
    weight = np.array([1.0 / share[row.episodes[0]] if row.verdict == "true" else 1.0 for row in used])
    spread = SPREAD * np.maximum(np.abs(centre), 0.5)
    spread[names.index("bias")] = BIAS_SPREAD

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ b
        likelihood = (weight * (np.logaddexp(0, z) - y * z)).sum()
        gradient = x.T @ (weight * (1 / (1 + np.exp(-z)) - y))
        return likelihood + 0.5 * (((b - centre) / spread) ** 2).sum(), gradient + (b - centre) / spread**2

    bounds = [(None, None) if name == "bias" else ((0, None) if value > 0 else (None, 0)) for name, value in PRIOR[kind].items()]
    found = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds)
    return {name: round(float(value), 3) for name, value in zip(names, found.x, strict=True)}


def fitted(rows: list[Row], version: str, false_a_day: float) -> Weights:
    """Weights and thresholds from rows."""
    signs = {kind: fit(rows, kind) for kind in PRIOR}
    days = len({row.day for row in rows})
    false = sorted((_strength(row, signs) for row in rows if row.verdict == "false"), reverse=True)
    allowed = int(false_a_day * days)
    opens = max(MIN_OPEN, round(false[allowed] + 0.05, 2) if len(false) > allowed else MIN_OPEN)
    for kind, table in signs.items():  # so that an incident opens at log odds of nought
        worst = max((_strength(row, signs) for row in rows if row.kind == kind and row.verdict == "false"), default=opens)
        table["bias"] = round(table["bias"] - min(opens, round(worst + MARGIN, 2)), 3)
    return Weights(version, signs, 0.0, -JOIN_BELOW)


def _strength(row: Row, signs: Mapping[str, Mapping[str, float]]) -> float:
    table = signs[row.kind]
    return table["bias"] + sum(value * table.get(sign, 0.0) for sign, value in row.features.items())


# --- what they find --------------------------------------------------------------------------------------------------------------


def incidents(
    found: Mapping[str, list[Observation]], weights: Weights, memory: Memory | None = None
) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """The lines of each day; memory and open incidents go on from day to day."""
    tracker = Tracker(weights, "")
    for day, seen in found.items():
        for one in seen:
            tracker.add(one)
        yield day, tracker.finish()


def score_lines(lines: Mapping[str, list[dict[str, object]]], days: Path, score: ModuleType) -> dict[str, object]:
    """Found episodes, false incidents and delays of the days in ``lines``."""
    result: dict[str, object] = {"episodes": 0, "found": [], "missed": [], "false": [], "true": 0, "delay_min": {}}
    false, delays = result["false"], result["delay_min"]
    assert isinstance(false, list) and isinstance(delays, dict)
    for name, day_lines in lines.items():
        day = score.Day(str(days / name))
        merged: dict[str, dict[str, object]] = {}
        for line in day_lines:
            held = merged.get(str(line["incident_id"]))
            top = max(float(str(line["score"])), float(str(held["score"])) if held else 0.0)
            merged[str(line["incident_id"])] = line | {"score": top, "raised": held["raised"] if held else line["raised"]}
        result["episodes"] = int(str(result["episodes"])) + len(day.truth)
        begin = {t["episode"]: t["first"] for t in day.truth}
        for line in merged.values():
            verdict, episodes = day.judge(line)
            if verdict == "false":
                false.append([name, line["kind"], line["score"]])
            result["true"] = int(str(result["true"])) + (verdict == "true")
            for episode in episodes:
                delay = max(0.0, score.seconds(line["raised"]) - begin[episode]) / 60
                delays[episode] = round(min(delays.get(episode, 1e9), delay), 2)
        result["missed"] += [e for e in begin if e not in delays]  # type: ignore[operator]
    result["found"] = sorted(delays)
    return result


def day_folders(days: Path) -> list[Path]:
    """The folders of days, in order."""
    return sorted(path for path in days.iterdir() if (path / "truth.jsonl").exists())


def main() -> None:
    """Read, fit, leave out, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("days", type=Path, help="folder of days with logs/, truth.jsonl and score.py")
    parser.add_argument("--bundle", type=Path, help="bundle to ask (default: the one in the package)")
    parser.add_argument("--quiet-days", type=Path, help="folder that tools.days --quiet made")
    parser.add_argument("--quiet-cache", type=Path, metavar="FILE", help="the same as --cache for these")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep the answers here; used again for the same bundle")
    parser.add_argument("--false-a-day", type=float, default=0.25, help="false incidents a day on the fitted days that set the threshold")
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT, help="file of weights to write")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    args = parser.parse_args()
    score = truth_tool(args.days)
    found = observations(day_folders(args.days), args.bundle, args.cache)
    prior = Weights("prior", PRIOR, 100.0 / 2, 0.0)
    rows = gather(found, prior)
    judge(rows, args.days, score)
    quiet = quiet_rows(args.quiet_days, args.bundle, args.quiet_cache, prior) if args.quiet_days else []
    rows += quiet
    weights = fitted(rows, version_of(found), args.false_a_day)
    write(args.output, weights)
    figures = {"fitted": score_lines(dict(incidents(found, weights)), args.days, score), "left_out": {}}
    together: dict[str, list[dict[str, object]]] = {}
    for day in found:
        rest = fitted([row for row in rows if row.day != day], day, args.false_a_day)
        memory_days = dict(incidents(found, rest))
        together[day] = memory_days[day]
    figures["left_out"] = score_lines(together, args.days, score)
    for name, result in figures.items():
        print(name, _summary(result, len(found)))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _summary(result: Mapping[str, object], days: int) -> str:
    delays = sorted(result["delay_min"].values())  # type: ignore[attr-defined]
    false, found = result["false"], result["found"]
    assert isinstance(false, list) and isinstance(found, list)
    median = delays[len(delays) // 2] if delays else float("nan")
    return (
        f"{len(found)} of {result['episodes']} episodes, {len(false)} false ({len(false) / days:.2f} a day), "
        f"{int(str(result['true'])) / max(len(found), 1):.2f} incidents an episode, median delay {median} min, missed {result['missed']}"
    )


def version_of(found: Mapping[str, list[Observation]]) -> str:
    """A name for the weights: how many days and records they stand on."""
    return f"{len(found)} days, {sum(map(len, found.values()))} observations"


def write(path: Path, weights: Weights) -> None:
    """The file of weights."""
    body = {"format": FORMAT, "version": weights.version, "open": weights.open, "join": weights.join, "signs": weights.signs}
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: open {weights.open}, join {weights.join}", file=sys.stderr)


if __name__ == "__main__":
    main()
