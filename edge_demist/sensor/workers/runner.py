"""``watch`` with worker processes: portions are handed out in the order they are read, and decided about in that order.

What a decision depends on is the parent's alone: budgets, repeats, the memory of strings, the output and the checkpoint. A portion is
handed out with what the parser knows before it; if a result shows that this was wrong (another header in the middle of a file), what was
handed out since is done again.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_demist.sensor.detect.pipeline import Pipeline
from edge_demist.sensor.events import Event
from edge_demist.sensor.incidents.lookups import unpacked
from edge_demist.sensor.runner import MAX_PENDING_BYTES, MAX_UNSYNCED_BYTES, Runner
from edge_demist.sensor.sinks.file import FileSink
from edge_demist.sensor.sinks.stream import StreamSink
from edge_demist.sensor.sources import in_flight
from edge_demist.sensor.sources.lines import RawLine
from edge_demist.sensor.sources.log_file import LogFile
from edge_demist.sensor.workers.deciding import Deciding
from edge_demist.sensor.workers.pool import DEPTH, Pool
from edge_demist.sensor.workers.portion import Job, Mark, Outcome, Place, Portion, Rendered, Result, advance, is_plain, last_time
from edge_demist.sensor.workers.worker import Watching, Worker

WAIT_S = 0.1
"""Between two looks at watchdog and signals, while a worker works."""
MAX_SURPRISES = 2
"""A file whose parser changed so often when that was not foreseen is read one portion after the other."""


@dataclass(slots=True)
class _Handed:
    """A portion that is being worked on; ``expected`` is the parser's place behind it, ``clock_us`` its last time (0: not known)."""

    source: LogFile
    lines: list[RawLine]
    where: in_flight.Place
    before: Place
    expected: Place
    clock_us: int
    dated: bool
    watermark: tuple[int | None, ...] = ()
    """The log time up to which all files had been read behind it, as soon as that is known."""

    def portion(self) -> Portion:
        """As it is sent."""
        starts, ends, data, terminated, counts = zip(*self.lines, strict=True)
        path = self.source.state.path
        return Portion(self.source.key, path, Path(path).name, self.before, self.dated, (starts, ends, data, terminated, counts))


@dataclass(slots=True)
class _Sent:
    """A batch of portions; ``number`` is that of the job it is now, 0 before there is one."""

    batch: list[_Handed]
    least: dict[str, float]
    since: float
    number: int = 0
    deaths: int = 0
    alone: bool = False


@dataclass(slots=True)
class _Group:
    """What is decided and not yet written; one process scores so much at once, and explains so many alarms of it."""

    events: list[Event | Rendered] = field(default_factory=list)
    strings: int = 0
    size: int = 0


class ParallelRunner(Runner):
    """One run of ``watch`` with ``threads`` worker processes."""

    pipeline_class: Callable[..., Pipeline] = Deciding
    pipeline: Deciding
    _pool: Pool | None = None
    _inline: Worker | None = None
    _buried = 0
    """Workers that ended, of earlier pools."""

    def _open_parts(self) -> None:
        self._batch: list[_Handed] = []
        self._batch_since = 0.0
        self._has_handed = False
        self._sent: deque[_Sent] = deque()
        self._numbers = itertools.count(1)
        self._group = _Group()
        self._in_hand: Counter[LogFile] = Counter()
        self._actual: dict[LogFile, Place] = {}
        """Where the parser of a file is that has portions handed out: behind the last one that is done."""
        self._doubtful: set[LogFile] = set()
        self._surprises: Counter[str] = Counter()
        super()._open_parts()

    # --- handing out -------------------------------------------------------------------------------------------

    def _work_on(self, source: LogFile, lines: Sequence[RawLine], place: in_flight.Place) -> None:
        alone = place.lines == 1 and self._in_flight.is_careful(place.key, place.start)
        if alone or source in self._doubtful or (self._surprises[source.key] >= MAX_SURPRISES and self._in_hand[source]):
            self._settle_all()
        self._note(place)
        if not self._hand(source, list(lines), place):
            self._settle_all()

    def _hand(self, source: LogFile, lines: list[RawLine], place: in_flight.Place) -> bool:
        """Put a portion into the batch; whether it is known by now where the parser and the file's clock will be behind it."""
        before, name = Place.of(source.parser), Path(source.state.path).name
        foreseen, clock_us = True, 0
        try:
            if not is_plain(source.parser, lines):
                ahead = before.parser(name)
                foreseen = advance(ahead, lines)
                source.parser = ahead if foreseen else source.parser
            clock_us = last_time(source.parser, name, lines, self.pipeline.mapping.time_us) if foreseen else 0
        except Exception:  # what a record does to a parser is the worker's to tell
            foreseen = False
        source.state.clock_us = clock_us or source.state.clock_us
        if not self._batch:
            self._batch_since = time.monotonic()
        certain = foreseen and (clock_us > 0 or not (self.tailer.others_wait or self.stages.incidents))
        watermark = (self.tailer.watermark_us,) if certain and self.stages.incidents else ()
        self._batch.append(_Handed(source, lines, place, before, Place.of(source.parser), clock_us, source.dated, watermark))
        self._in_hand[source] += 1
        self._has_handed = True
        return certain

    def _dispatch(self) -> None:
        if self._batch:
            self._sent.append(_Sent(self._batch, self.pipeline.policy.least(), self._batch_since))
            self._batch = []
            self._note()
            self._submit(self._sent[-1])

    def _submit(self, sent: _Sent, *, first: bool = False) -> None:
        sent.number = next(self._numbers)
        if self._pool is None:
            self._pool = self._make_pool()
        if self._pool.is_alive:
            self._pool.submit(self._job(sent), first=first)

    def _job(self, sent: _Sent) -> Job:
        return Job(sent.number, dict(self.pipeline.policy.thresholds), [handed.portion() for handed in sent.batch])

    def _note(self, *more: in_flight.Place) -> None:
        self._in_flight.note([*(handed.where for sent in self._sent for handed in sent.batch), *more])

    def _make_pool(self) -> Pool:
        read = getattr(self.model, "specialist", lambda _task: None)
        for task in self.pipeline.mapping.tasks:
            read(task)  # once, for all workers
        worker, scorer = self._make_worker(), self.pipeline.scorer
        if self.config.screen and self.config.emit != "all":
            scorer.first_scores([("", task) for task in self.pipeline.mapping.tasks])

        def breathe(sign: Callable[[], None]) -> None:
            scorer.breathe = sign

        return Pool(self.config.threads, worker.work, breathe, self.log)

    def _make_worker(self) -> Worker:
        """What does jobs: in a worker, or here where no worker can be started."""
        parts, config = self.pipeline, self.config
        drift = parts.drift if config.state is not None or config.metrics is not None or config.metrics_port else None
        tracker = Watching(self.stages.incidents.tracker.verdicts) if self.stages.incidents else None
        own = Pipeline(
            parts.scorer, parts.mapping, copy.copy(parts.policy), parts.options, memory=parts.memory, tracker=tracker, drift=drift
        )
        plain = parts.memory is None and parts.neighbours is None and not (config.syslog or parts.policy.has_budget)
        return Worker(own, config.form if plain and config.emit == "all" and config.form != "parquet" else "")

    # --- taking back -------------------------------------------------------------------------------------------

    def _settle_all(self) -> None:
        self._dispatch()
        while self._sent:
            self._settle_next()

    def _settle_next(self) -> None:
        """Wait for the batch that was handed out first, and decide about it."""
        sent, result = self._sent[0], None
        while result is None:
            if self._begins_elsewhere(sent) or not sent.number:
                self._submit(sent, first=True)
            found = self._wait_for(sent)
            if found is None and self._after_death(sent):
                return
            result = None if found is None or self._is_outdated(sent, found) else found
        self._sent.popleft()
        self._apply(sent, result)
        self._note()

    def _begins_elsewhere(self, sent: _Sent) -> bool:
        """Whether what came before has left a parser at another place than was foreseen; it begins there now."""
        changed = False
        for handed in {handed.source: handed for handed in reversed(sent.batch)}.values():  # the first of each file
            actual = self._actual.get(handed.source, handed.before)
            if actual != handed.before:
                handed.before, changed = actual, True
        return changed

    def _is_outdated(self, sent: _Sent, result: Result) -> bool:
        """Whether thresholds, or what is known of a file's times, have changed since in a way that matters; it is done again with that."""
        changed = False
        if self.pipeline.policy.has_budget and sent.least != (least := self.pipeline.policy.least()):
            sent.least, changed = least, True
        for handed, outcome in zip(sent.batch, result.outcomes, strict=True):
            if handed.source.dated and not handed.dated:
                changed = changed or outcome.counts.understanding.undated
                handed.dated = True
        if changed:
            sent.number = 0
        return changed

    def _wait_for(self, sent: _Sent) -> Result | None:
        """The result of a batch; None if a worker ended in the middle of it. Who was killed twice over one line is not believed."""
        assert self._pool is not None
        while sent.number not in self._pool.done:
            if sent.number in self._pool.died:
                killed = self._pool.died.pop(sent.number)
                return self._do_here(sent) if killed and sent.alone and sent.deaths else None
            if not self._pool.is_alive:
                return self._do_here(sent)
            self._pool.pump(WAIT_S)
            self._breathe()
        result = self._pool.result(sent.number)
        current = {other.number for other in self._sent}
        for number in [number for number in self._pool.done if number not in current]:
            del self._pool.done[number]
        return self._do_here(sent) if result is not None and result.error else result

    def _do_here(self, sent: _Sent) -> Result:
        self._inline = self._inline or self._make_worker()
        self._in_flight.note([handed.where for handed in sent.batch])
        result = self._inline.work(self._job(sent))
        self._note()
        return result

    def _after_death(self, sent: _Sent) -> bool:
        """A worker ended: take what it was working on line by line, and step over the line that ends a second one; True if so."""
        sent.number, sent.deaths = 0, sent.deaths + 1
        only = sent.batch[0]
        if sent.alone and sent.deaths == 1:
            return False
        self._sent.popleft()
        if sent.alone:
            self._leave(only, only.before)
            self._step_over(only.source, 1, only.where.start)
            return True
        singles = []
        for handed in sent.batch:
            self._in_hand[handed.source] += len(handed.lines) - 1
            for line in handed.lines:
                where = in_flight.Place(handed.where.key, line.start, line.end, 1)
                watermark = handed.watermark if line is handed.lines[-1] else (0,)
                one = replace(handed, lines=[line], where=where, watermark=watermark)
                singles.append(_Sent([one], sent.least, sent.since, alone=True))
        self._sent.extendleft(reversed(singles))
        return True

    def _apply(self, sent: _Sent, result: Result) -> None:
        """Take the counts of a batch, decide about what it found, and write when so much is together as one process scores at once."""
        for handed, outcome in zip(sent.batch, result.outcomes, strict=True):
            self._take_outcome(handed, outcome, alone=sent.alone)
        if self.stages.drift is not None:
            for task, score, time_us in result.noted:
                self.stages.drift.note(task, score, time_us)
            if self.stages.drift.sample is not None:
                self.stages.drift.sample.take(self.pipeline.scorer, result.sample)
        cache = self.pipeline.scorer.cache
        hits, duplicates, misses = result.cache
        cache.hits, cache.duplicates, cache.misses = cache.hits + hits, cache.duplicates + duplicates, cache.misses + misses
        number = 0
        for found in result.found:
            if not isinstance(found, Mark):
                self.pipeline.take(found, sent.batch[number].source.counts, self._group.events)
                continue
            self._gather(sent.batch[number], result.outcomes[number])
            number += 1
            self._group.strings += found.strings
            self._group.size += found.size
            if self._group.strings >= self.config.strings_at_once or self._group.size >= MAX_PENDING_BYTES:
                self._end_group(sent.since)
        for handed in sent.batch:
            self._tell_about(handed.source.state.path, handed.source.counts)

    def _gather(self, handed: _Handed, outcome: Outcome) -> None:
        """What a portion says about incidents, and what there is to decide about them behind it."""
        if self.stages.incidents is not None:
            for values in outcome.seen:
                self.stages.incidents.tracker.add(unpacked(values))
            self._emit(self.stages.settle(handed.watermark[0] if handed.watermark else self.tailer.watermark_us))

    def _take_outcome(self, handed: _Handed, outcome: Outcome, *, alone: bool) -> None:
        source = handed.source
        source.counts.add(outcome.counts)
        source.counts.understanding.add(outcome.counts.understanding)
        source.dated = source.dated or outcome.dated
        if not alone and (outcome.place != handed.expected or (handed.clock_us and outcome.clock_us != handed.clock_us)):
            self._surprises[source.key] += 1
            self._doubtful.add(source)
        if self._leave(handed, outcome.place) or not handed.clock_us:
            source.state.clock_us = outcome.clock_us or source.state.clock_us

    def _leave(self, handed: _Handed, place: Place) -> bool:
        """A portion is done, its parser at ``place``; whether no later one of the file is handed out."""
        source = handed.source
        self._in_hand[source] -= 1
        if self._in_hand[source]:
            self._actual[source] = place
            return False
        del self._in_hand[source]
        self._actual.pop(source, None)
        self._doubtful.discard(source)
        if place != Place.of(source.parser):
            source.parser = place.parser(Path(source.state.path).name)
            if not source.is_open and source.state.parser:  # closed meanwhile
                source.state.parser = source.parser.state()
        return True

    def _end_group(self, since: float) -> None:
        """Write what is decided."""
        events, self._group = self.pipeline.finish(self._group.events), _Group()
        self._tell_about_budget()
        if events:
            self._put(events)
            count = sum(one.events if isinstance(one, Rendered) else 1 for one in events)
            self.latency.observe(time.monotonic() - since, count)
        if sum(sink.backlog_bytes for sink in self.sinks) > MAX_UNSYNCED_BYTES:
            self._patiently(self._sync_sinks)

    def _put(self, events: Sequence[Event | Rendered]) -> None:
        self._alarms.update(event.task for event in events if isinstance(event, Event) and event.alarm)
        for rendered, some in itertools.groupby(events, key=lambda one: isinstance(one, Rendered)):
            part = list(some)
            for sink in self.sinks:
                if rendered and isinstance(sink, FileSink | StreamSink):
                    sink.write_lines(b"".join(one.data for one in part if isinstance(one, Rendered)))
                else:
                    sink.write([one for one in part if isinstance(one, Event)])
        self._patiently(self._sync_streams)

    # --- what the loop asks for --------------------------------------------------------------------------------

    def _flush_if_due(self, *, waiting: bool) -> None:
        strings = sum(len(handed.lines) for handed in self._batch)
        size = sum(handed.where.end - handed.where.start for handed in self._batch)
        late = bool(self._batch) and time.monotonic() - self._batch_since >= self.config.max_latency_s
        if late or strings >= self.config.strings_at_once or size >= MAX_PENDING_BYTES:
            self._dispatch()
        if waiting and (self.config.once or not self._batch):
            self._flush()
            return
        if self._pool is not None:
            self._pool.pump(0.0)
            while self._sent and (len(self._sent) > DEPTH * self.config.threads or self._pool.is_over(self._sent[0].number)):
                self._settle_next()
        self._pending_since = self._batch_since if self._batch else self._sent[0].since if self._sent else 0.0

    def _settle(self) -> None:
        if self.stages.incidents is not None and not self._has_handed:
            self._flush()
            self._emit(self.stages.settle(self.tailer.watermark_us))
        self._has_handed = False

    def _flush(self) -> None:
        since = self._sent[0].since if self._sent else self._batch_since
        self._settle_all()
        self._end_group(since)
        self._pending_since = 0.0

    def reload(self) -> None:
        """As without workers, and with new ones."""
        super().reload()
        self._end_pool()

    def _end_pool(self) -> None:
        if self._pool is not None:
            self._buried += self._pool.ended
            self._pool.close()
        self._pool = self._inline = None

    def summary(self) -> dict[str, object]:
        """As without workers, and what became of them."""
        ended = self._buried + (self._pool.ended if self._pool is not None else 0)
        return super().summary() | {"workers": {"processes": self.config.threads, "ended": ended}}

    def close(self) -> None:
        """End the workers, then as without."""
        self._end_pool()
        super().close()
