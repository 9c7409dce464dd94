"""From lines to events: parse, map, score in one mixed batch, decide about alarms, keep the books."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .accounting import Counts
from .alarms import AlarmPolicy
from .allow import suggest
from .events import Event, Origin, event_id, finish_id, origin_of
from .explain import explain
from .lines import RawLine
from .mapping import EMBEDDING, FieldMapping, MappedString
from .scoring import Answer, Scorer
from .source import Source

MAX_EXPLAINED = 64


@dataclass(frozen=True, slots=True)
class Options:
    """What to write: ``emit`` is ``all`` or ``alarms``; ``embeddings`` is ``none``, ``int8`` or ``float32``."""

    emit: str = "all"
    embeddings: str = "none"
    explain: bool = True


@dataclass(slots=True)
class _Pending:
    """One string with its specialists, waiting for the batch."""

    counts: Counts
    origin: Origin
    ids: dict[str, str]
    mapped: MappedString


class Pipeline:
    """Turns batches of lines into events. All state that a restart needs is in ``policy``."""

    def __init__(self, scorer: Scorer, mapping: FieldMapping, policy: AlarmPolicy, options: Options | None = None) -> None:
        """Put the parts together."""
        self.scorer, self.mapping, self.policy = scorer, mapping, policy
        self.options = options or Options()
        self._records: list[tuple[Counts, list[_Pending]]] = []
        self.pending_strings = 0

    def add(self, source: Source, lines: Sequence[RawLine]) -> None:
        """Parse lines and queue their strings."""
        for line in lines:
            self._add_line(source, line)

    def _add_line(self, source: Source, line: RawLine) -> None:
        counts = source.counts
        counts.lines += 1
        if line.data is None:
            counts.records += 1
            counts.skip("line-too-long")
            return
        record = source.parser.parse(line.data)
        if record is None:
            return
        counts.records += 1
        if isinstance(record, str):
            counts.skip(record if line.terminated else "partial-line")
            return
        source.state.clock_us = record.time_us or source.state.clock_us
        mapped = self.mapping.apply(record)
        if isinstance(mapped, str):
            counts.skip(mapped)
            return
        origin = origin_of(record, source.state.path, line.start)
        start = event_id(source.key, line.start, line.data)
        pending = [
            _Pending(counts, origin, {task: finish_id(start, m.field, m.index, task) for task in m.tasks}, m) for m in mapped
        ]
        counts.strings += len(mapped)
        self.pending_strings += len(mapped)
        self._records.append((counts, pending))

    def flush(self) -> list[Event]:
        """Score everything queued; events in the order of the lines."""
        records, self._records, self.pending_strings = self._records, [], 0
        flat = [(item, task) for _, items in records for item in items for task in item.mapped.tasks]
        answers = iter(self.scorer.answer([(i.mapped.text, t) for i, t in flat if t != EMBEDDING]))
        vectors = iter(self._vectors([i.mapped.text for i, t in flat if t == EMBEDDING]))
        events: list[Event] = []
        for counts, items in records:
            before = len(events)
            for item in items:
                made = [self._event(item, task, vectors if task == EMBEDDING else answers) for task in item.mapped.tasks]
                counts.predictions += len(made)
                events.extend(e for e in made if self.options.emit == "all" or e.alarm or e.error)
            if len(events) > before:
                counts.records_out += 1
                counts.events += len(events) - before
            else:
                counts.skip("no-alarm")
        return self._explained(events)

    def _event(self, item: _Pending, task: str, results: object) -> Event:
        result = next(results)  # type: ignore[call-overload]
        base = Event(item.origin, item.ids[task], item.mapped.field, item.mapped.text, task, self.scorer.bundle_id)
        if not isinstance(result, Answer):
            return replace(base, embedding=result)
        if result.error:
            item.counts.error(f"{task}: {result.error}")
            return replace(base, error=result.error, truncated=result.truncated)
        if result.alarm_score is None:
            return replace(base, label=result.label, score=result.score, truncated=result.truncated)
        return self._judged(base, item, result)

    def _judged(self, base: Event, item: _Pending, answer: Answer) -> Event:
        assert answer.alarm_score is not None
        text = self.scorer.normalize(base.text, base.task)
        decision = self.policy.decide(base.task, text, answer.alarm_score, item.origin.time_us)
        item.counts.alarms += decision.alarm
        return replace(
            base,
            label=answer.label,
            score=answer.score,
            alarm_score=answer.alarm_score,
            threshold=decision.threshold,
            alarm=decision.alarm,
            suppressed=decision.suppressed,
            truncated=answer.truncated,
        )

    def _explained(self, events: list[Event]) -> list[Event]:
        where = [i for i, event in enumerate(events) if event.alarm]
        chosen = where[:MAX_EXPLAINED] if self.options.explain else []
        reasons = explain([(events[i].text, events[i].task, events[i].alarm_score or 0.0) for i in chosen], self.scorer.uncached)
        for i, why in zip(chosen, reasons, strict=True):
            events[i] = replace(events[i], why=why)
        for i in where:
            events[i] = replace(events[i], allow_rule=suggest(events[i].text, events[i].task))
        return events

    def _vectors(self, texts: list[str]) -> list[Mapping[str, object]]:
        if not texts:
            return []
        return [encode_vector(vector, self.options.embeddings) for vector in self.scorer.embed(texts)]


def encode_vector(vector: NDArray[np.float32], dtype: str) -> dict[str, object]:
    """A vector as JSON: base64 of little-endian values; for int8, value = stored · scale."""
    if dtype == "float32":
        data = np.ascontiguousarray(vector, dtype="<f4").tobytes()
        return {"dtype": "float32", "dim": len(vector), "data": base64.b64encode(data).decode("ascii")}
    scale = float(np.abs(vector).max()) / 127.0 or 1.0
    data = np.rint(vector / scale).astype(np.int8).tobytes()
    return {"dtype": "int8", "dim": len(vector), "scale": scale, "data": base64.b64encode(data).decode("ascii")}
