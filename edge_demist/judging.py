"""Scores of whole strings: of alarm specialists, long strings through windows, the worst of which counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edge_demist.engines.base import Engine
from edge_demist.format.specialist import Specialist
from edge_demist.inference import SURELY_SHORT, Cuts, Inference, Item, Judged
from edge_demist.normalizers import from_bytes
from edge_demist.predictions import Rule
from edge_demist.text import windows
from edge_demist.text.looks import KINDS, Kind, is_wrapped, looks

MOST_WINDOWS = 2048
"""About so many windows are computed at a time; bounds the memory of one call."""

LEAST_ALARM = 0.5
"""No threshold of an alarm lies below."""


def judge(inference: Inference, engine: Engine, items: Sequence[Item], rules: Mapping[str, Rule], cuts: Cuts | None = None) -> list[Judged]:
    """Scores of every item; of alarm specialists, of long items through windows."""
    return closely(inference, engine, items, inference.rows(engine, items, cuts), rules, cuts)


def closely(
    inference: Inference,
    engine: Engine,
    items: Sequence[Item],
    whole: Sequence[Judged],
    rules: Mapping[str, Rule],
    cuts: Cuts | None = None,
) -> list[Judged]:
    """What is said of items whose ``whole`` scores are known: long ones through windows, suspicious ones by their second looks."""
    found = list(whole)
    specialists = {name: rule.specialist for name, rule in rules.items() if rule.specialist.kind == "alarm"}
    shortest = min([SURELY_SHORT, *(one.max_tokens for one in specialists.values())])
    long = [
        k
        for k, (item, row) in enumerate(zip(items, found, strict=True))
        if (row.truncated or len(item.raw) >= shortest)
        and (one := specialists.get(str(item.task)))
        and _is_long(inference, item.raw, one, row)
    ]
    if long:
        worst = through_windows(inference, engine, [items[k] for k in long], [found[k] for k in long], rules, cuts)
        for k, better in zip(long, worst, strict=True):
            found[k] = better
    _look_again(inference, engine, items, found, rules, cuts)
    return found


def _look_again(
    inference: Inference, engine: Engine, items: Sequence[Item], found: list[Judged], rules: Mapping[str, Rule], cuts: Cuts | None
) -> None:
    """Put the best reading that alarms in the place of an answer a little below its threshold."""
    readings: dict[Item, int] = {}
    asked: list[tuple[int, list[bytes]]] = []
    for k, (item, row) in enumerate(zip(items, found, strict=True)):
        rule = rules.get(str(item.task))
        kind = None if rule is None else KINDS.get(rule.specialist.normalizer)
        if rule is None or kind is None or not (is_wrapped(item.raw, kind) if row.screened else _is_suspicious(rule, row, kind)):
            continue
        asked.append((k, looks(item.raw if row.window is None else row.window.raw, kind)))
        for way in asked[-1][1]:
            readings.setdefault(Item(way, item.task), len(readings))
    if not readings:
        return
    answers = inference.rows(engine, list(readings), cuts)
    for k, ways in asked:
        rule, item = rules[str(items[k].task)], items[k]
        best = max(ways, key=lambda way: _alarm(rule, answers[readings[Item(way, item.task)]]), default=b"")
        row = answers[readings[Item(best, item.task)]] if best else found[k]
        if best and _alarm(rule, row) >= _stricter(rule):
            begin = max(item.raw.find(best), 0)
            end = begin + len(best) if item.raw[begin:].startswith(best) else len(item.raw)
            scores = _raised(rule, found[k], row)
            found[k] = Judged(scores, found[k].truncated, windows.Window(begin, end, from_bytes(best)))


def _raised(rule: Rule, whole: Judged, reading: Judged) -> list[float]:
    """Scores between those of the whole and of a reading that alarms: at the threshold, and no higher.

    Several readings are several chances that an ordinary string looks like an attack; so a second look says that a string alarms,
    and never that it is worse than what alarms by itself.
    """
    threshold = rule.threshold or LEAST_ALARM
    low, high = _alarm(rule, whole), _alarm(rule, reading)
    share = min(1.0, max(0.0, (threshold - low) / (high - low))) if high > low else 1.0
    while True:
        mixed = [share * a + (1.0 - share) * b for a, b in zip(reading.scores, whole.scores, strict=True)]
        if share >= 1.0 or _alarm(rule, Judged(mixed, whole.truncated)) >= threshold:
            return mixed
        share = min(1.0, share * 1.001 + 1e-9)


def _is_suspicious(rule: Rule, row: Judged, kind: Kind) -> bool:
    """Whether an answer lies below its threshold, but not far below."""
    return kind.least <= _alarm(rule, row) < (rule.threshold or 0.0)


def _stricter(rule: Rule) -> float:
    """The alarm score that a second look must reach."""
    threshold = rule.threshold or LEAST_ALARM
    odds = math.exp(KINDS[rule.specialist.normalizer].margin)
    return threshold * odds / (1.0 - threshold + threshold * odds)


def _alarm(rule: Rule, row: Judged) -> float:
    """The alarm score of a row."""
    return rule.specialist.alarm_score(row.scores) / (sum(row.scores) or 1.0)


def _is_long(inference: Inference, raw: bytes, specialist: Specialist, found: Judged) -> bool:
    """Whether an item needs windows; stage one has not counted tokens."""
    overflow = found.truncated if not found.screened else not fits(inference, raw, specialist)
    return windows.is_long(raw, specialist.normalizer, overflow=overflow)


def fits(inference: Inference, raw: bytes, specialist: Specialist) -> bool:
    """Whether a specialist reads all of a string."""
    cap = specialist.max_tokens
    return len(raw) < cap or len(inference.tokenizer.encode(raw, cap + 1, add_special_tokens=True)) <= cap


def through_windows(
    inference: Inference,
    engine: Engine,
    items: Sequence[Item],
    whole: Sequence[Judged],
    rules: Mapping[str, Rule],
    cuts: Cuts | None = None,
) -> list[Judged]:
    """The worst answer about each item: about the whole, or about one of its windows."""
    # Long host names are rare, and nearly all of tunnels: stage one, which learnt from whole names, does not know their parts.
    cuts = {task: cut for task, cut in (cuts or {}).items() if task in rules and not windows.is_name(rules[task].specialist.normalizer)}
    result: list[Judged] = []
    begin = 0
    while begin < len(items):
        parts: dict[Item, int] = {}
        spans: list[list[windows.Window]] = []
        while begin + len(spans) < len(items) and len(parts) < MOST_WINDOWS:
            item = items[begin + len(spans)]
            spans.append(_windows_of(inference, item, rules[str(item.task)].specialist))
            for window in spans[-1]:
                parts.setdefault(Item(window.raw, item.task), len(parts))
        found = inference.rows(engine, list(parts), cuts)
        for item, first, cut_up in zip(items[begin : begin + len(spans)], whole[begin:], spans, strict=False):
            result.append(_worst(item, first, cut_up, [found[parts[Item(window.raw, item.task)]] for window in cut_up], rules))
        begin += len(spans)
    return result


def _worst(item: Item, first: Judged, cut_up: list[windows.Window], found: Sequence[Judged], rules: Mapping[str, Rule]) -> Judged:
    """The whole, or the window with the highest alarm score; of several labels the whole's, where that score is no alarm.

    A whole that alarms by itself says which kind of threat it is, if it was read to its end: its parts lack what stands around them.
    """
    rule = rules[str(item.task)]
    specialist = rule.specialist
    rows = [first.scores, *(row.scores for row in found)]
    alarming = [specialist.alarm_score(row) / (sum(row) or 1.0) for row in rows]
    worst = windows.worst(alarming)
    worst = worst if len(specialist.labels) == 2 or alarming[worst] >= LEAST_ALARM else 0
    if windows.is_read_whole(item.raw, specialist.normalizer) and alarming[worst] < (rule.threshold or LEAST_ALARM):
        worst = 0  # an address without its query counts where it alarms
    over = len(item.raw) > windows.MOST_BYTES or any(row.truncated for row in found)
    screened = found[worst - 1].screened if worst else first.screened
    scores = rows[worst]
    if worst and len(specialist.positive) > 1 and not first.truncated and alarming[0] >= (rule.threshold or LEAST_ALARM):
        scores = _by_kinds(specialist, scores, rows[0])
    return Judged(scores, over, cut_up[worst - 1] if worst else None, screened)


def _by_kinds(specialist: Specialist, scores: Sequence[float], whole: Sequence[float]) -> list[float]:
    """A window's scores, what its threats have shared among them as the whole shares it."""
    threats, kinds = (sum(row[i] for i in specialist.positive) for row in (scores, whole))
    share = threats / (kinds or 1.0)
    return [whole[i] * share if i in specialist.positive else score for i, score in enumerate(scores)]


def _windows_of(inference: Inference, item: Item, specialist: Specialist) -> list[windows.Window]:
    """Windows over an item, each of at most the specialist's tokens."""
    return windows.expand(item.raw, specialist.normalizer, lambda raw: fits(inference, raw, specialist))
