"""The loop of ``watch``: read, score, write, fsync, and only then move the checkpoint.

Backpressure is the order of the steps: while the sink cannot take events nothing more is read.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence

from edge_demist.errors import EdgeDemistError, InputError
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control, Log, ServiceManager
from edge_demist.sensor.counters import Counters
from edge_demist.sensor.detect.alarms import AlarmPolicy
from edge_demist.sensor.detect.allow import AllowList, load_allow_lists
from edge_demist.sensor.detect.mapping import FieldMapping, read_mapping
from edge_demist.sensor.detect.pipeline import Options, Pipeline
from edge_demist.sensor.detect.scoring import ModelLike, Scorer, self_test
from edge_demist.sensor.events import Entry, Event
from edge_demist.sensor.metrics import Histogram, serve_local
from edge_demist.sensor.reports import Reports
from edge_demist.sensor.retry import Abandoned, Retry, Stopped
from edge_demist.sensor.sinks.file import FileSink
from edge_demist.sensor.sinks.make import make_sinks
from edge_demist.sensor.sinks.syslog import SyslogSink
from edge_demist.sensor.sources.checkpoint import Checkpoint, CheckpointStore, is_disk_trouble
from edge_demist.sensor.sources.in_flight import InFlight, Place
from edge_demist.sensor.sources.lines import RawLine
from edge_demist.sensor.sources.log_file import LogFile
from edge_demist.sensor.sources.tail import Tailer
from edge_demist.sensor.stages import Stages
from edge_demist.sensor.storage import Disk
from edge_demist.sensor.versions import VersionGuard

MAX_UNSYNCED_BYTES = 4 << 20
MAX_PENDING_BYTES = 1 << 18
"""Bytes of lines that wait for their batch."""
STOP_WITHIN_S = 1.5
"""So long after a stop was asked for, what is being worked on is given up: the next start does it again."""


class Runner(Reports):
    """One run of ``watch``."""

    pipeline_class: Callable[..., Pipeline] = Pipeline

    def __init__(
        self,
        config: WatchConfig,
        load_model: Callable[[], ModelLike],
        *,
        control: Control | None = None,
        disk: Disk | None = None,
        log: Callable[[str, dict[str, object]], None] | None = None,
    ) -> None:
        """Open everything.

        Raises:
            EdgeDemistError: a file of settings, the state folder or the bundle cannot be used.
            OSError: the output cannot be opened.
        """
        self.config, self._load_model = config, load_model
        self.control, self._disk, self.log = control or Control(), disk or Disk(), log or Log("off")
        self._manager = ServiceManager()
        self._retry = Retry(self.control, self._manager, self.log, self._write_metrics)
        self.counters, self.latency = Counters(), Histogram()
        self._alarms: Counter[str] = Counter()
        self._reloads: Counter[str] = Counter()
        self._commits = 0
        self._pending_since = self._last_commit = self._last_scan = self._last_metrics = self._stop_seen = 0.0
        self._scan_every = config.scan_s
        self._dirty = self._ended = False
        self._places: list[Place] = []
        self._budget_told = -1
        self._started = time.monotonic()
        for path in filter(None, (config.output, config.summary, config.metrics)):
            if not path.parent.is_dir():
                raise InputError(f"{path}: there is no folder {path.parent}")
        self._store = CheckpointStore(config.state, self._disk) if config.state else None
        try:
            self._in_flight = InFlight(config.state)
            self._open_parts()
        except BaseException:
            if self._store:
                self._store.close()
            raise

    def _open_parts(self) -> None:
        checkpoint, problems = self._store.load() if self._store else (Checkpoint(), [])
        for problem in problems:
            self.log("state-damaged", {"error": problem})
        self.model = self._load_model()
        self._guard = VersionGuard(self.config.versions, self.config.public_key)
        self._guard.accept(self.model)
        self.pipeline = self._make_pipeline(checkpoint)
        self.stages.restore(checkpoint, self.log)
        self.sinks = make_sinks(self.config, self._disk, checkpoint.output, self.log, self._breathe)
        self.tailer = self._make_follower(checkpoint)
        port = self.config.metrics_port
        self._close_endpoint = serve_local(port, self.render_metrics) if port else lambda: None

    def _make_pipeline(self, checkpoint: Checkpoint) -> Pipeline:
        config = self.config
        scorer, allow = Scorer(self.model, config.cache_entries), load_allow_lists(config.allow)
        self.stages = Stages(config, scorer, allow)
        mapping = self._make_mapping()
        calibrated = self._calibrated(scorer, mapping)
        config.budget.check(calibrated)
        allow.check(self.model.tasks)
        policy = AlarmPolicy(calibrated, config.budget, allow)
        if checkpoint.alarms:
            try:
                policy.restore(checkpoint.alarms, same_model=checkpoint.bundle_id == scorer.bundle_id)
            except ValueError as error:
                self.log("state-damaged", {"error": str(error)})
        scorer.breathe = self._breathe
        options = Options(config.emit, config.embeddings, config.explain, config.alarm_when, config.screen)
        return self.pipeline_class(scorer, mapping, policy, options, **self.stages.parts)

    def _make_mapping(self) -> FieldMapping:
        rules, times = read_mapping(self.config.mapping)
        mapping = FieldMapping(rules, self.stages.wanted(tuple(self.model.tasks)), embeddings=self.config.embeddings != "none", times=times)
        if missing := set(mapping.unavailable) - set(self.model.tasks):
            self.log("specialists-missing", {"tasks": sorted(missing)})
        if mapping.unmapped:
            self.log("specialists-unmapped", {"tasks": list(mapping.unmapped), "hint": "no rule of the mapping names them"})
        return mapping

    def _make_follower(self, checkpoint: Checkpoint) -> Tailer:
        own = [p for p in (self.config.output, self.config.state, self.config.summary, self.config.metrics) if p]
        return Tailer(
            self.config.paths,
            self.counters,
            once=self.config.once,
            exclude=own,
            checkpoint=checkpoint,
            max_line_bytes=self.config.max_line_bytes,
            notify=self.log,
            breathe=self._breathe,
        )

    def _breathe(self) -> None:
        """In the middle of long work: keep the watchdog quiet, and give up soon after a stop was asked for.

        Raises:
            Abandoned: the stop cannot wait for this work to end.
        """
        self._manager.ping()
        if self.control.stop:
            now = time.monotonic()
            self._stop_seen = self._stop_seen or now
            if now - self._stop_seen > STOP_WITHIN_S:
                raise Abandoned

    # --- the loop ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until everything is read (``once``) or a stop is asked for; then drain, commit, write the summary."""
        self.log("started", {"bundle_id": self.pipeline.scorer.bundle_id, "tasks": list(self.pipeline.mapping.tasks)})
        self._manager.tell("READY=1")
        try:
            while not self.control.stop:
                if self.control.reload:
                    self.reload()
                busy = self._turn()
                self._housekeeping()
                if not busy and (self.config.once or self.tailer.at_end) and not self.tailer.sources:
                    break
                if not busy:
                    self._wait()
            self._manager.tell("STOPPING=1")
            self._flush()
            if self._store is None or (self.config.once and not self.control.stop):
                self._emit(self.stages.finish())
            self._commit()
        except Abandoned:
            self.log("stopped-early", {"hint": "what was being worked on is read again at the next start"})
        except Stopped:
            self.log("stopped-without-commit", {"unsynced_bytes": sum(s.backlog_bytes for s in self.sinks)})
            raise
        finally:
            self._write_metrics(force=True)
        self._end()

    def _wait(self) -> None:
        """Until there may be more to read; not at all where everything is read once and no pipe is left."""
        if pipes := self.tailer.waiting_on():
            self.control.wait(self._pause(), pipes)
        elif not self.config.once:
            self.control.wait(self._pause())

    def _turn(self) -> bool:
        """Read one portion of lines; True if there was one."""
        self._scan_if_due()
        limit = self.config.batch_strings if self.stages.incidents is None else self.config.strings_at_once
        portion = self.tailer.next_lines(limit, self._in_flight.is_careful)
        if portion is None:
            self._flush_if_due(waiting=True)
            self._settle()
            self.tailer.close_finished()
            return False
        source, lines = portion
        if lines:
            self._take(source, lines)
        self._flush_if_due(waiting=False)
        self._settle()
        return True

    def _settle(self) -> None:
        """Decide about incidents after each portion, whatever the clock says: a replay decides at the same points."""
        if self.stages.incidents is not None:
            self._flush()
            self._emit(self.stages.settle(self.tailer.watermark_us))

    def _take(self, source: LogFile, lines: Sequence[RawLine]) -> None:
        """Parse a portion, but for records that have ended two processes."""
        if not self._pending_since:
            self._pending_since = time.monotonic()
        whole = [line for line in lines if not self._in_flight.is_stepped_over(source.key, line.start)]
        if len(whole) < len(lines):
            self._step_over(source, len(lines) - len(whole), lines[0].start)
        if whole:
            place = Place(source.key, whole[0].start, whole[-1].end, len(whole))
            self._work_on(source, whole, place)
            if place.lines == 1 and self._in_flight.is_careful(place.key, place.start):
                self._flush()
        self._tell_about(source.state.path, source.counts)
        self._dirty = True

    def _work_on(self, source: LogFile, lines: Sequence[RawLine], place: Place) -> None:
        self._in_flight.note((place,))
        self.pipeline.add(source, lines)
        self._places.append(place)
        self._in_flight.note(())

    def _step_over(self, source: LogFile, count: int, offset: int) -> None:
        source.counts.lines += count
        source.counts.records += count
        source.counts.skipped["stepped-over"] += count
        self.log("stepped-over", {"path": source.state.path, "offset": offset, "why": "it was being worked on when two processes ended"})

    def _scan_if_due(self) -> None:
        now = time.monotonic()
        if self._last_scan and (self.config.once or now - self._last_scan < self._scan_every):
            self.tailer.poll()
            return
        self.tailer.scan()
        self._last_scan = time.monotonic()
        # A folder with very many files must not cost more than a twentieth of the time.
        self._scan_every = max(self.config.scan_s, self.config.scan_share * (self._last_scan - now))
        if self.tailer.finished_changed:
            self._flush()
            self._commit()  # a file's identity is durable before its first event is

    def _pause(self) -> float:
        if not self._pending_since:
            return self.config.poll_s
        return max(0.0, min(self.config.poll_s, self._pending_since + self.config.max_latency_s - time.monotonic()))

    def _flush_if_due(self, *, waiting: bool) -> None:
        late = self._pending_since and time.monotonic() - self._pending_since >= self.config.max_latency_s
        full = self.pipeline.pending_strings >= self.config.strings_at_once or self.pipeline.pending_bytes >= MAX_PENDING_BYTES
        if full or late or (waiting and self.config.once):
            self._flush()

    def _flush(self) -> None:
        self._in_flight.note(self._places)
        events = self.pipeline.flush()
        self._tell_about_budget()
        self._places.clear()
        self._in_flight.note(())
        if events:
            self._emit(events)
            self.latency.observe(time.monotonic() - (self._pending_since or time.monotonic()), len(events))
        self._pending_since = 0.0
        if sum(sink.backlog_bytes for sink in self.sinks) > MAX_UNSYNCED_BYTES:
            self._patiently(self._sync_sinks)

    def _emit(self, events: Sequence[Entry]) -> None:
        if not events:
            return
        self._alarms.update(event.task for event in events if isinstance(event, Event) and event.alarm)
        for sink in self.sinks:
            sink.write(events)
        self._patiently(self._sync_streams)

    def _sync_streams(self) -> None:
        for sink in (s for s in self.sinks if not isinstance(s, FileSink)):
            sink.sync()

    def _sync_sinks(self) -> None:
        for sink in self.sinks:
            sink.sync()

    def _housekeeping(self) -> None:
        self._manager.ping()
        now = time.monotonic()
        due = now - self._last_commit >= self.config.commit_s or self.stages.is_full
        if due and (self._dirty or self.tailer.finished_changed):
            self._flush()
            self._commit()
        self._write_metrics()

    def _commit(self) -> None:
        """Sync the output, then move the checkpoint; in that order, always."""
        self._patiently(self._sync_sinks)
        if self._store is not None:
            checkpoint = self.tailer.snapshot()
            checkpoint.output = next((s.position() for s in self.sinks if s.position()), {})
            checkpoint.alarms = self.pipeline.policy.state()
            checkpoint.bundle_id = self.pipeline.scorer.bundle_id
            checkpoint.committed_at = time.time()
            self.stages.fill(checkpoint)
            store, changed = self._store, self.tailer.finished_changed
            self._patiently(lambda: store.commit(checkpoint, finished_changed=changed))
            self._patiently(lambda: self.stages.committed(checkpoint))
            self._commits += 1
            for sink in self.sinks:
                sink.after_commit()
        self.tailer.committed()
        self._in_flight.committed({source.key: source.state.offset for source in self.tailer.sources.values()})
        self._dirty = False
        self._last_commit = time.monotonic()

    def _patiently(self, action: Callable[[], None]) -> None:
        self._retry.until_done(action, self._worth_waiting)

    def _worth_waiting(self, error: OSError) -> bool:
        socket_gone = any(isinstance(s, SyslogSink) and s.backlog_bytes for s in self.sinks)
        return is_disk_trouble(error) or socket_gone or isinstance(error, TimeoutError)

    def reload(self) -> None:
        """SIGHUP: mapping, allow-lists and bundle anew; whatever is wrong with them, the old ones stay."""
        self.control.reload = False
        self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._flush()
        try:
            allow = load_allow_lists(self.config.allow)
            read_mapping(self.config.mapping)  # before anything is swapped
            self._reload_model(allow)
            self.pipeline.mapping = self._make_mapping()
            self.pipeline.policy.allow = allow
            if self.stages.incidents is not None:
                self.stages.incidents.allow(allow)
            self._reloads["ok"] += 1
            self.log("reloaded", {"bundle_id": self.pipeline.scorer.bundle_id, "allow_rules": len(allow.rules)})
        except (EdgeDemistError, OSError) as error:
            self._reloads["refused"] += 1
            self.log("reload-refused", {"error": str(error)})
        self._manager.tell("READY=1")

    def _reload_model(self, allow: AllowList) -> None:
        fresh = self._load_model()
        try:
            allow.check(fresh.tasks)
            if fresh.bundle_id == self.pipeline.scorer.bundle_id:
                fresh.close()
                return
            self._guard.check(fresh)
            self_test(fresh)
            scorer = Scorer(fresh, self.config.cache_entries)
            scorer.levels(self.config.fpr)
            self._guard.accept(fresh)
        except (EdgeDemistError, OSError):
            fresh.close()
            raise
        old, self.model = self.model, fresh
        scorer.breathe = self._breathe
        self.pipeline.scorer = scorer
        self.stages.use(scorer)
        self.pipeline.policy.recalibrate(self._calibrated(scorer, self._make_mapping()))
        old.close()

    def _end(self) -> None:
        for sink in self.sinks:
            sink.close()
        self._ended = True
        for path, counts, _ in self.counters.not_understood():
            self._tell_about(path, counts, final=True)
        total = self.counters.total()
        self.log("finished", {"records": total.records, "events": total.events, "alarms": total.alarms, "errors": total.errors})
        if self.config.summary is not None:
            text = json.dumps(self.summary(), indent=2) + "\n"
            self._disk.replace_file(self.config.summary, text.encode("ascii"))

    def close(self) -> None:
        """Free files, state folder and model."""
        self._close_endpoint()
        for sink in () if self._ended else self.sinks:
            sink.abandon()
        self._ended = True
        self.tailer.close()
        self.stages.close()
        if self._store is not None:
            self._store.close()
        self._in_flight.close()
        self.model.close()
