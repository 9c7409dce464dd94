"""From lines to events: parse, map, score in one mixed batch, decide about alarms, keep the counters."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edge_demist.sensor.counters import Counts
from edge_demist.sensor.detect.alarms import AlarmPolicy, Decision
from edge_demist.sensor.detect.allow import suggest
from edge_demist.sensor.detect.columns import read_columns, read_table
from edge_demist.sensor.detect.explain import explain, sentence
from edge_demist.sensor.detect.mapping import EMBEDDING, MAX_STRINGS_PER_RECORD, FieldMapping, MappedString
from edge_demist.sensor.detect.score_histogram import DAY_US
from edge_demist.sensor.detect.scoring import Answer, Scorer
from edge_demist.sensor.detect.sieve import Sieve
from edge_demist.sensor.detect.waiting import Dated, Line, Observer, Passed, Run
from edge_demist.sensor.drift import ScoreDrift
from edge_demist.sensor.events import Event
from edge_demist.sensor.sources.lines import RawLine
from edge_demist.sensor.sources.log_file import LogFile
from edge_demist.sensor.sources.parser import Record
from edge_demist.sensor.sources.recognition import is_known_log, seen_in
from edge_demist.sensor.sources.timestamps import format_time, parse_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.sensor.memory import Memory
    from edge_demist.sensor.neighbours import Neighbours

MAX_EXPLAINED = 64
LARGE_HEADER = 1 << 15
BREATHE_EVERY = 64
"""Records between two looks at the watchdog: a line may hold thousands."""
RARE_CLIENTS = 2


@dataclass(frozen=True, slots=True)
class Options:
    """What to write: ``emit`` is ``all``, ``alarms`` or ``incidents``; ``embeddings`` is ``none``, ``int8`` or ``float32``.

    ``alarm_when`` is ``always``, ``new`` (not seen before the last 24 hours) or ``rare`` (seen of at most two clients).
    ``screen`` lets stage one answer what cannot alarm, unless everything is written.
    """

    emit: str = "all"
    embeddings: str = "none"
    explain: bool = True
    alarm_when: str = "always"
    screen: bool = True


class Pipeline:
    """Turns batches of lines into events. All state that a restart needs is in ``policy``, ``memory`` and ``tracker``."""

    def __init__(
        self,
        scorer: Scorer,
        mapping: FieldMapping,
        policy: AlarmPolicy,
        options: Options | None = None,
        *,
        memory: Memory | None = None,
        tracker: Observer | None = None,
        drift: ScoreDrift | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        """Put the parts together; a tracker takes all answers, and no events come out."""
        self.scorer, self.mapping, self.policy = scorer, mapping, policy
        self.memory, self.tracker, self.drift, self.neighbours = memory, tracker, drift, neighbours
        self._sieve: tuple[Scorer, tuple[Sieve | None, Sieve | None]] | None = None
        self.options = options or Options()
        only_alarms = self.options.emit == "alarms" and memory is None
        self._by_column = self.options.screen and (only_alarms or tracker is not None)
        """Whether of a record that stage one answers nothing matters but its string, its time and what a tracker sees in it."""
        self._lines: list[Line | Run | Passed] = []
        self.pending_strings = self.pending_bytes = 0
        self.budget_spent = False
        """Whether an alarm was held back because the budget is spent, since this was last set to False."""

    def add(self, source: LogFile, lines: Sequence[RawLine]) -> None:
        """Parse lines and queue their strings."""
        header, (found, seen) = source.parser.header, self._plain(source, lines)
        begin = 0
        for n, line in enumerate(lines):
            if found and found[n] is not None:
                continue
            if begin < n:
                self._add_run(source, lines[begin:n], found[begin:n], seen[begin:n])
            self._add_line(source, line)
            begin = n + 1
            if source.parser.header is not header:  # the columns are others from here on
                found = []
        if found and begin < len(lines):
            self._add_run(source, lines[begin:], found[begin:], seen[begin:])
        held = source.parser.held_bytes
        self.pending_bytes += held if held > LARGE_HEADER else 0  # the records hold on to it until they are scored

    def _plain(self, source: LogFile, lines: Sequence[RawLine]) -> tuple[list[tuple[int, str] | None], Sequence[object]]:
        """Time and string of the lines that need not be looked at one by one, empty where all must, and what the tracker sees in them."""
        header, log = source.parser.header, source.parser.log
        column = self.mapping.only_column(header, log) if header is not None and self._by_column else None
        if header is None or column is None:
            return [], []
        tracker = self.tracker
        try:
            if tracker is None:
                return read_columns(lines, header, column.number), []
            table = read_table(lines, header) if tracker.reads(header, log) else None
        except Exception:  # the long way names the record
            return [], []
        if table is None:
            return [], []
        return table.apart(column.number, tracker.see_table(table, header, source.state.path), len(lines))

    def _add_run(self, source: LogFile, lines: Sequence[RawLine], found: Sequence[tuple[int, str] | None], seen: Sequence[object]) -> None:
        """Queue lines of which time and string are all that matters."""
        header, log, path, key = source.parser.header, source.parser.log, source.state.path, source.key
        rows = [(line, *one) for line, one in zip(lines, found, strict=True) if one is not None and line.data is not None]
        column = self.mapping.only_column(header, log) if rows and header is not None else None
        if header is None or column is None:
            return
        counts, size = source.counts, sum([len(line.data or b"") for line in lines])
        counts.lines += sum([line.lines for line in lines])
        counts.records += len(rows)
        counts.strings += len(rows)
        counts.understanding.used += len(rows)
        source.dated, source.state.clock_us = True, rows[-1][1]
        self.pending_bytes += size
        self.pending_strings += len(rows)
        last = self._lines[-1] if self._lines else None
        if not isinstance(last, Run) or last.header is not header or last.key != key or last.column != column:
            last = Run(counts, header, log, path, key, column)
            self._lines.append(last)
        last.rows += rows
        last.seen += [one for one in seen if one is not None]

    def _add_line(self, source: LogFile, line: RawLine) -> None:
        counts = source.counts
        counts.lines += line.lines
        try:
            record = "line-too-long" if line.data is None else source.parser.parse(line.data)
        except Exception as error:  # whatever a record does to a parser, the records behind it are read
            record = self._failed(counts, line, error)
        if record is None:
            return
        if isinstance(record, str):
            counts.records += 1
            reason = record if line.terminated or line.data is None else "partial-line"
            counts.skip(reason)
            counts.understanding.note_reason(reason)
            return
        parts: Sequence[Record] = getattr(record, "parts", ()) or (record,)
        for number, part in enumerate(parts):
            if number % BREATHE_EVERY == BREATHE_EVERY - 1:
                self.scorer.breathe()
            counts.records += 1
            try:
                self._add_record(source, line, part, number)
            except Exception as error:
                counts.skip(self._failed(counts, line, error))

    @staticmethod
    def _failed(counts: Counts, line: RawLine, error: Exception) -> str:
        """Count a record that nobody thought of; the reason for skipping it."""
        counts.error(f"the record at byte {line.start}: {type(error).__name__}: {str(error)[:200]}")
        return "failed"

    def _add_record(self, source: LogFile, line: RawLine, record: Record, number: int) -> None:
        counts = source.counts
        time_us = self.mapping.time_us(record)
        source.state.clock_us = time_us or source.state.clock_us
        observation = self.tracker.see(record, time_us, source.state.path, line.start) if self.tracker else None
        mapped = self.mapping.apply(record)
        if isinstance(mapped, str):
            counts.skip(mapped if observation is None else "no-incident")
            if not counts.understanding.used:
                seen = "" if counts.understanding.reason else seen_in(record)
                counts.understanding.note_reason(mapped, known=is_known_log(record.log, mapped), seen=seen)
            return
        counts.understanding.used += 1
        arrived = time_us is None and not source.dated
        source.dated = source.dated or time_us is not None
        if arrived:
            counts.understanding.undated = True
            time_us = time.time_ns() // 1000
        counts.strings += len(mapped)
        self.pending_bytes += len(line.data or b"") if number == 0 else 0
        self.pending_strings += len(mapped)
        shift = number * MAX_STRINGS_PER_RECORD
        assert line.data is not None
        path, key = source.state.path, source.key
        self._lines.append(Line(counts, record, time_us, path, key, line.start, line.data, mapped, shift, arrived, observation))

    def flush(self) -> list[Event]:
        """Score everything queued; events in the order of the lines."""
        waiting, self._lines, self.pending_strings, self.pending_bytes = self._lines, [], 0, 0
        if self.drift is not None and self.drift.sample is not None:
            self.drift.sample.take(self.scorer, (one for line in waiting if not isinstance(line, Passed) for one in line.strings()))
        lines = self._sift(waiting)
        pairs = [(m.text, task) for line in lines for m in line.mapped for task in m.tasks]
        answers = self.scorer.answers([pair for pair in pairs if pair[1] != EMBEDDING])
        vectors = iter(self._vectors([text for text, task in pairs if task == EMBEDDING]))
        events: list[Event] = []
        for number, line in enumerate(lines):
            if number % BREATHE_EVERY == BREATHE_EVERY - 1:
                self.scorer.breathe()
            if isinstance(line, Passed):
                self.policy.pass_all(line.screened, line.times)
                continue
            before = len(events)
            if line.screened and self.tracker is None:
                self.policy.pass_by(line.screened, line.time_us)
            for item in line.mapped:
                seen = self._seen(line, item.text)
                for task in item.tasks:
                    if task == EMBEDDING:
                        event = self._embedded(line, item, next(vectors))
                    else:
                        event = self._judged(line, item, task, next(answers), seen)
                    if event is not None:
                        events.append(event)
                line.counts.predictions += len(item.tasks)
            if len(events) > before:
                line.counts.records_out += 1
                line.counts.events += len(events) - before
            else:
                line.counts.skip("no-alarm" if self.tracker is None else "no-incident")
        return self._compared(self._explained(events))

    def _compared(self, events: list[Event]) -> list[Event]:
        """On request each event with the nearest strings told about before; asked one after the other, so that batches change nothing."""
        known = self.neighbours
        groups: dict[tuple[str, int], list[int]] = {}
        for n, event in enumerate(events if known is not None else ()):
            if event.label is not None and event.text:
                groups.setdefault((event.text, event.origin.offset), []).append(n)
        if known is None or not groups:
            return events
        from edge_demist.sensor.neighbours import neighbour_fields

        vectors = self.scorer.embed([text for text, _ in groups])
        for ((text, _), places), vector in zip(groups.items(), vectors, strict=True):
            labels = {events[n].task: events[n].label or "" for n in places}
            found = known.ask(text, labels, vector, events[places[0]].origin.time_us or 0)
            for n in places:
                events[n] = replace(events[n], seen={**events[n].seen, **neighbour_fields(found, events[n].task)})
        return events

    def _sift(self, waiting: Sequence[Line | Run | Passed]) -> list[Line | Passed]:
        """Leave of each record what must be asked whole; stage one answers the rest."""
        if self._sieve is None or self._sieve[0] is not self.scorer:
            self._sieve = self.scorer, self._make_sieves()
        tracker, (weak, strict) = self.tracker, self._sieve[1]
        lines = [line for line in waiting if isinstance(line, Line)]
        if weak is None:
            return [line for line in waiting if not isinstance(line, Run)]
        if strict is None or tracker is None:
            self._sift_with(weak, lines)
        else:  # a generated name that exists counts for little beside one that does not
            missing = [getattr(line.observation, "failed", True) for line in lines]
            self._sift_with(weak, [line for line, failed in zip(lines, missing, strict=True) if failed])
            self._sift_with(strict, [line for line, failed in zip(lines, missing, strict=True) if not failed])
        self.scorer.screening = weak.thresholds
        found: list[Line | Passed] = []
        for one in waiting:
            if isinstance(one, Run):
                found += one.sifted(weak) if strict is None or tracker is None else one.asked(weak, strict, tracker.missing(one.seen))
            else:
                found.append(one)
        return found

    def _sift_with(self, sieve: Sieve, lines: list[Line]) -> None:
        left = iter(sieve.left([(item.text, item.tasks) for line in lines for item in line.mapped]))
        for line in lines:
            kept, screened = [], []
            for item in line.mapped:
                tasks = next(left)
                if tasks is not item.tasks:
                    screened += sieve.answered(item.tasks, tasks)
                if tasks or (self.memory is not None and self.tracker is None):  # the memory takes every string
                    kept.append(item if tasks is item.tasks else MappedString(item.field, item.number, item.text, tasks))
            line.mapped, line.screened = kept, screened
            line.counts.predictions += len(screened)
            line.counts.screened += len(screened)

    def _make_sieves(self) -> tuple[Sieve | None, Sieve | None]:
        """The sieve of what is written, None where every answer is; for incidents a second one for names that exist."""
        if self.options.emit == "all":
            return None, None
        make, screen = self.scorer.sieve, self.options.screen
        if self.tracker is not None:
            return make(self.scorer.weakest, {EMBEDDING}, screen=screen), make(self.scorer.weakest_of_known, {EMBEDDING}, screen=screen)
        return make(self.policy.least, {EMBEDDING, *self.scorer.category_tasks}, screen=screen), None

    def _embedded(self, line: Line, item: MappedString, vector: Mapping[str, object]) -> Event | None:
        return line.event(item, EMBEDDING, self.scorer.bundle_id, embedding=vector) if self.options.emit == "all" else None

    def _seen(self, line: Dated, text: str) -> Mapping[str, object]:
        """What the memory says about a string, as fields of its events; it is noted with that."""
        if self.memory is None or line.time_us is None or self.tracker is not None:
            return {}
        from edge_demist.sensor.memory import STRING  # brings SQLite along: not for a start without a memory

        known = self.memory.touch(text, line.client, line.time_us, STRING)
        return {"first_seen": format_time(known.first_us), "seen_before": known.count - 1, "clients": known.clients}

    def _decide(self, line: Dated, task: str, text: str, score: float, seen: Mapping[str, object]) -> Decision:
        """The policy's decision, unless ``alarm_when`` wants other strings; it is counted."""
        known = ordinary(self.options.alarm_when, seen, line.time_us) if seen else ""
        if known and score >= self.policy.thresholds[task]:
            decision = Decision(alarm=False, threshold=self.policy.thresholds[task], suppressed=known)
        else:
            decision = self.policy.decide(task, text, score, line.time_us, lambda: line.client)
        line.counts.alarms += decision.alarm
        if decision.suppressed:
            line.counts.suppress(decision.suppressed)
            self.budget_spent = self.budget_spent or decision.suppressed.startswith("budget")
        return decision

    def _judged(self, line: Line, item: MappedString, task: str, answer: Answer, seen: Mapping[str, object]) -> Event | None:
        """The event of an answer; None where only alarms are wanted and this is none."""
        model, everything = self.scorer.bundle_id, self.options.emit == "all"
        if answer.error:
            line.counts.error(f"{task}: {answer.error}")
            return None if self.tracker else line.event(item, task, model, error=answer.error, truncated=answer.truncated)
        if self.drift is not None and answer.alarm_score is not None:
            self.drift.note(task, answer.alarm_score, line.time_us)
        if self.tracker is not None:
            self.tracker.note(line.observation, task, answer)
            return None
        if answer.alarm_score is None:
            if not everything:
                return None
            return line.event(item, task, model, label=answer.label, score=answer.score, truncated=answer.truncated, seen=seen)
        decision = self._decide(line, task, answer.text, answer.alarm_score, seen)
        if not (everything or decision.alarm):
            return None
        return line.event(
            item,
            task,
            model,
            label=answer.label,
            score=answer.score,
            alarm_score=answer.alarm_score,
            threshold=decision.threshold,
            alarm=decision.alarm,
            suppressed=decision.suppressed,
            truncated=answer.truncated,
            window=answer.window,
            screened=answer.screened,
            seen=seen,
        )

    def _explained(self, events: list[Event]) -> list[Event]:
        where = [i for i, event in enumerate(events) if event.alarm]
        chosen = where[:MAX_EXPLAINED] if self.options.explain else []
        asked = [(read_part(events[i]), events[i].task, events[i].alarm_score or 0.0) for i in chosen]
        reasons = explain(asked, self.scorer.without_words, self.scorer.first_scores if self.options.screen else None)
        for i, why in zip(chosen, reasons, strict=True):
            events[i] = replace(events[i], why=why, why_text=sentence(why, events[i].alarm_score or 0.0))
        for i in where:
            events[i] = replace(events[i], allow_rule=suggest(events[i].text, events[i].task))
        return events

    def _vectors(self, texts: list[str]) -> list[Mapping[str, object]]:
        return [encode_vector(vector, self.options.embeddings) for vector in self.scorer.embed(texts)] if texts else []


def read_part(event: Event) -> str:
    """What an alarm is about: the window that decided, or the string."""
    return event.text if event.window is None else event.window.text


def ordinary(alarm_when: str, seen: Mapping[str, object], now_us: int | None) -> str:
    """Why a string is not what ``alarm_when`` asks for; empty if it is, or if nothing is known about it."""
    if now_us is None:
        return ""
    first_us = parse_time(seen["first_seen"])
    if alarm_when == "new" and first_us is not None and now_us - first_us >= DAY_US:
        return f"known: first seen {seen['first_seen']}"
    if alarm_when == "rare" and int(str(seen["clients"])) > RARE_CLIENTS:
        return f"common: seen of {seen['clients']} clients"
    return ""


def encode_vector(vector: NDArray[np.float32], dtype: str) -> dict[str, object]:
    """A vector as JSON: base64 of little-endian values; for int8, value = stored · scale."""
    if dtype == "float32":
        data = np.ascontiguousarray(vector, dtype="<f4").tobytes()
        return {"dtype": "float32", "dim": len(vector), "data": base64.b64encode(data).decode("ascii")}
    scale = float(np.abs(vector).max()) / 127.0 or 1.0
    data = np.rint(vector / scale).astype(np.int8).tobytes()
    return {"dtype": "int8", "dim": len(vector), "scale": scale, "data": base64.b64encode(data).decode("ascii")}
