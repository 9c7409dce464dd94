"""The work of a worker: a job's lines through parser, mapping, screen and model, up to where order matters.

What no decision can change is finished here: a verdict below every threshold, its event as a line of the output. Alarms are explained
before they are decided about, since nearly every one that comes is told.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edge_demist.sensor.counters import Counts
from edge_demist.sensor.detect import waiting
from edge_demist.sensor.detect.allow import suggest
from edge_demist.sensor.detect.columns import Table
from edge_demist.sensor.detect.explain import explain, fitting, sentence
from edge_demist.sensor.detect.mapping import EMBEDDING, MappedString
from edge_demist.sensor.detect.pipeline import MAX_EXPLAINED, Pipeline, read_part
from edge_demist.sensor.detect.scoring import Answer
from edge_demist.sensor.drift_sample import RATE
from edge_demist.sensor.events import Event
from edge_demist.sensor.incidents.lookups import Noted, Row, missing, observe_lookups, packed, reads_lookups
from edge_demist.sensor.incidents.observation import Observation, observe
from edge_demist.sensor.incidents.verdicts import AnswerLike, Verdicts
from edge_demist.sensor.sinks.formats import lines as render
from edge_demist.sensor.sources.parser import LineParser, Record
from edge_demist.sensor.sources.zeek import ZeekHeader
from edge_demist.sensor.workers.portion import Found, Job, Mark, Outcome, Passed, Place, Portion, Rendered, Result, Touched, Undecided

MAX_PARSERS = 64
MAX_TOLD = 2048


@dataclass(slots=True)
class _State:
    path: str
    clock_us: int = 0


@dataclass(slots=True)
class _Source:
    """A log file as far as the pipeline looks at it."""

    key: str
    state: _State
    parser: LineParser
    dated: bool
    counts: Counts = field(default_factory=Counts)


class Watching:
    """Takes what records say, and the answers about it, for whoever gathers it: the tracker's part that needs no order."""

    def __init__(self, verdicts: Verdicts | None) -> None:
        self._verdicts = verdicts
        self.found: list[Observation | Row] = []
        self.noted = Noted()

    def see(self, record: Record, time_us: int | None, path: str, offset: int) -> Observation | None:
        """What a record says."""
        seen = observe(record, time_us)
        if seen is not None:
            seen.file, seen.offset = path, offset
            self.found.append(seen)
        return seen

    reads = staticmethod(reads_lookups)

    def see_table(self, table: Table, header: ZeekHeader, path: str) -> list[Row | None]:
        """What the plain lines of a portion say."""
        seen = observe_lookups(table, header, path)
        self.found += [one for one in seen if one is not None]
        return seen

    missing = staticmethod(missing)

    def note(self, seen: object, task: str, answer: AnswerLike) -> None:
        """An answer about it."""
        if isinstance(seen, (Observation, tuple)) and self._verdicts is not None and self._verdicts.matters(task, answer):
            self._verdicts.attach(self.noted.whole(seen), task, answer)

    def told(self, found: Sequence[object]) -> list[tuple[object, ...]]:
        """The values of what was found, with the answers."""
        return [packed(self.noted.find(seen)) for seen in found if isinstance(seen, (Observation, tuple))]


class _Border(waiting.Passed):
    """Where a portion ends, among what waits."""

    __slots__ = ("mark",)

    def __init__(self, mark: Mark) -> None:
        super().__init__([], ())
        self.mark = mark


class Worker:
    """Does jobs one after the other; a cache, parsers and what was explained are kept between them."""

    def __init__(self, pipeline: Pipeline, form: str) -> None:
        """Work with the parts of a pipeline.

        Args:
            pipeline: scorer, mapping, policy and options; nothing is decided by it.
            form: the output's form where events that need no decision are to be rendered; empty where they are to be handed over.
        """
        self._parts, self._form = pipeline, form
        self._has_memory = pipeline.memory is not None and pipeline.tracker is None
        self._has_budget = pipeline.policy.has_budget
        self._needs_client = self._has_memory or self._has_budget
        self._all = pipeline.options.emit == "all"
        self._parsers: OrderedDict[tuple[str, str], tuple[Place, LineParser]] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._cache = (0, 0, 0)

    def work(self, job: Job) -> Result:
        """Do one job."""
        parts = self._parts
        parts.policy.thresholds = dict(job.thresholds)
        lines, outcomes = self._read(job)
        result = Result(job.number, outcomes, [])
        drift = parts.drift
        if drift is not None and drift.sample is not None:
            whole = [one for line in lines if not isinstance(line, waiting.Passed) for one in line.strings()]
            result.sample = [one for one in whole if zlib.crc32(one[0].encode("utf-8", "surrogatepass")) % RATE == 0]
        sifted = parts._sift(lines)
        pairs = [(m.text, task) for line in sifted for m in line.mapped for task in m.tasks]
        answers = parts.scorer.answers([pair for pair in pairs if pair[1] != EMBEDDING])
        vectors = iter(parts._vectors([text for text, task in pairs if task == EMBEDDING]))
        _Gathering(self, result).take(sifted, answers, vectors)
        if isinstance(parts.tracker, Watching):
            for outcome in outcomes:
                outcome.seen = parts.tracker.told(outcome.seen)
            parts.tracker.noted.clear()
        self._explain([event for one in result.found if isinstance(one, Undecided) for _, events in one.strings for event, _ in events])
        cache = parts.scorer.cache
        now = cache.hits, cache.duplicates, cache.misses
        result.cache = (now[0] - self._cache[0], now[1] - self._cache[1], now[2] - self._cache[2])
        self._cache = now
        return result

    def _read(self, job: Job) -> tuple[list[waiting.Line | waiting.Run | waiting.Passed], list[Outcome]]:
        """Parse the portions of a job, those of one file one after the other."""
        parts, outcomes = self._parts, []
        parts._lines, parts.pending_strings, parts.pending_bytes = [], 0, 0
        if isinstance(parts.tracker, Watching):
            parts.tracker.found = []
        sources: dict[tuple[str, str], _Source] = {}
        for portion in job.portions:
            source = sources.setdefault((portion.key, portion.path), self._source(portion))
            source.counts, source.state.clock_us = Counts(), 0
            strings, size = parts.pending_strings, parts.pending_bytes
            parts.add(source, portion.lines)  # type: ignore[arg-type]  # all of a LogFile that it looks at
            parts._lines.append(_Border(Mark(parts.pending_strings - strings, parts.pending_bytes - size)))
            place = Place.of(source.parser)
            outcomes.append(Outcome(place, source.dated, source.state.clock_us, source.counts))
            if isinstance(parts.tracker, Watching):
                outcomes[-1].seen, parts.tracker.found = [*parts.tracker.found], []
            self._keep(portion, place, source.parser)
            parts.scorer.breathe()
        lines, parts._lines = parts._lines, []
        return lines, outcomes

    def _source(self, portion: Portion) -> _Source:
        """The file of a portion, with the parser that was left behind the portion before, if this one begins there."""
        known = self._parsers.get((portion.key, portion.path))
        parser = known[1] if known is not None and known[0] == portion.place else portion.place.parser(portion.name)
        return _Source(portion.key, _State(portion.path), parser, portion.dated)

    def _keep(self, portion: Portion, place: Place, parser: LineParser) -> None:
        self._parsers[portion.key, portion.path] = place, parser
        self._parsers.move_to_end((portion.key, portion.path))
        while len(self._parsers) > MAX_PARSERS:
            self._parsers.popitem(last=False)

    def _explain(self, events: list[Event]) -> None:
        """Prepare what events say as alarms; strings told about lately are left to whoever finds that they are told again."""
        thresholds, options, scorer = self._parts.policy.thresholds, self._parts.options, self._parts.scorer
        likely = []
        for event in events:
            if event.alarm_score is None or event.alarm_score < thresholds[event.task]:
                continue
            name = event.task, event.text
            if name not in self._told:
                likely.append(event)
            self._told[name] = None
            self._told.move_to_end(name)
            if len(self._told) > MAX_TOLD:
                self._told.popitem(last=False)
        for event in likely:
            event.allow_rule = suggest(event.text, event.task)
        chosen = likely[:MAX_EXPLAINED] if options.explain else []
        chosen = [event for event, fits in zip(chosen, fitting([read_part(event) for event in chosen]), strict=True) if fits]
        asked = [(read_part(event), event.task, event.alarm_score or 0.0) for event in chosen]
        reasons = explain(asked, scorer.without_words, scorer.first_scores if options.screen else None)
        for event, why in zip(chosen, reasons, strict=True):
            event.why, event.why_text = why, sentence(why, event.alarm_score or 0.0)


class _Gathering:
    """Makes a result of answers: spans without an event, lines of the output, records to be decided about."""

    def __init__(self, worker: Worker, result: Result) -> None:
        self._worker, self._parts, self._result = worker, worker._parts, result
        self._least = self._parts.policy.least()
        self._passed = Passed([], ())
        self._plain: list[Event] = []
        self._touched: list[tuple[str, str, int]] = []

    def take(
        self,
        lines: list[waiting.Line | waiting.Passed],
        answers: Iterator[Answer],
        vectors: Iterator[Mapping[str, object]],
    ) -> None:
        """Take all lines of a job, in order."""
        for line in lines:
            if isinstance(line, _Border):
                self._put(line.mark)
            elif isinstance(line, waiting.Passed):
                self._pass(line.times, tuple(line.screened))
            elif self._parts.tracker is not None:
                self._watched(line, answers)
            else:
                self._line(line, answers, vectors)
        self._close()

    def _watched(self, line: waiting.Line, answers: Iterator[Answer]) -> None:
        """A record that makes no event of its own."""
        for item in line.mapped:
            for task in item.tasks:
                if task != EMBEDDING:
                    self._noted(line, task, next(answers))
            line.counts.predictions += len(item.tasks)
        line.counts.skip("no-incident")

    def _line(self, line: waiting.Line, answers: Iterator[Answer], vectors: Iterator[Mapping[str, object]]) -> None:
        screened, strings, waits, some = [*line.screened], [], False, False
        for item in line.mapped:
            events: list[tuple[Event, str | None]] = []
            for task in item.tasks:
                if task == EMBEDDING:
                    event, text = self._parts._embedded(line, item, next(vectors)), None
                else:
                    event, text = self._answered(line, item, task, next(answers), screened)
                if event is not None:
                    events.append((event, text))
                    waits = waits or text is not None
            strings.append((item.text, events))
            some = some or bool(events)
            line.counts.predictions += len(item.tasks)
        if waits or (some and not self._worker._form):
            client = line.client if self._worker._needs_client else ""
            self._put(Undecided(line.time_us, client, tuple(screened), strings))
            return
        if line.time_us is not None:
            self._pass([line.time_us], tuple(screened))
            if self._worker._has_memory:
                client = line.client
                self._touched += [(text, client, line.time_us) for text, _ in strings]
        if some:
            done = [event for _, events in strings for event, _ in events]
            line.counts.records_out += 1
            line.counts.events += len(done)
            self._plain += done
        else:
            line.counts.skip("no-alarm")

    def _noted(self, line: waiting.Line, task: str, answer: Answer) -> None:
        parts = self._parts
        if answer.error:
            line.counts.error(f"{task}: {answer.error}")
            return
        if parts.drift is not None and answer.alarm_score is not None:
            self._result.noted.append((task, answer.alarm_score, line.time_us))
        if parts.tracker is not None:
            parts.tracker.note(line.observation, task, answer)

    def _answered(
        self, line: waiting.Line, item: MappedString, task: str, answer: Answer, screened: list[str]
    ) -> tuple[Event | None, str | None]:
        """The event of an answer, if there is or may be one, and the text to decide about where it must be decided."""
        parts, everything = self._parts, self._worker._all
        if answer.error:
            line.counts.error(f"{task}: {answer.error}")
            return line.event(item, task, parts.scorer.bundle_id, error=answer.error, truncated=answer.truncated), None
        score = answer.alarm_score
        if score is None:
            if not everything:
                return None, None
            return line.event(item, task, parts.scorer.bundle_id, label=answer.label, score=answer.score, truncated=answer.truncated), None
        if parts.drift is not None:
            self._result.noted.append((task, score, line.time_us))
        settled = score < self._least[task] and not self._worker._has_budget
        if settled:
            screened.append(task)
            if not everything:
                return None, None
        event = line.event(
            item,
            task,
            parts.scorer.bundle_id,
            label=answer.label,
            score=answer.score,
            alarm_score=score,
            threshold=parts.policy.thresholds[task],
            truncated=answer.truncated,
            window=answer.window,
            screened=answer.screened,
        )
        return event, None if settled else answer.text

    def _pass(self, times: list[int], screened: tuple[str, ...]) -> None:
        if not screened:
            return
        if self._passed.times and self._passed.screened != screened:
            self._close_passed()
        if not self._passed.times:
            self._passed = Passed([], screened)
        self._passed.times.extend(times)

    def _put(self, one: Found) -> None:
        self._close()
        self._result.found.append(one)

    def _close(self) -> None:
        self._close_passed()
        if self._touched:
            self._result.found.append(Touched(self._touched))
            self._touched = []
        if self._plain:
            data = b"".join([line for _, line in render(self._plain, self._worker._form)])
            self._result.found.append(Rendered(data, len(self._plain)))
            self._plain = []

    def _close_passed(self) -> None:
        if self._passed.times:
            self._result.found.append(self._passed)
            self._passed = Passed([], ())
