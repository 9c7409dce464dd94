"""What a run of ``watch`` tells of itself: lines of its log, metrics, the summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.control import Control
from edge_demist.sensor.counters import Counters, Counts
from edge_demist.sensor.detect.mapping import FieldMapping
from edge_demist.sensor.detect.pipeline import Pipeline
from edge_demist.sensor.detect.score_histogram import DAY_US
from edge_demist.sensor.detect.scoring import DEFAULT_FPR, Scorer
from edge_demist.sensor.metrics import Gauges, Histogram, render, write_textfile
from edge_demist.sensor.retry import Retry
from edge_demist.sensor.sinks.base import Sink
from edge_demist.sensor.sinks.file import FileSink
from edge_demist.sensor.sources.tail import Tailer
from edge_demist.sensor.stages import Stages

METRICS_EVERY_S = 10.0
SUMMARY_FORMAT = 1


class Reports:
    """The reading half of a run: nothing here changes what is read or written."""

    config: WatchConfig
    log: Callable[[str, dict[str, object]], None]
    counters: Counters
    latency: Histogram
    pipeline: Pipeline
    tailer: Tailer
    stages: Stages
    sinks: Sequence[Sink]
    _retry: Retry
    _alarms: Counter[str]
    _reloads: Counter[str]
    _fpr: Mapping[str, float | None]
    _commits: int
    _started: float
    _last_metrics: float
    _budget_told: int

    def _tell_about(self, path: str, counts: Counts, *, final: bool = False) -> None:
        """Name a file, once, that nobody understands, and one whose records have no time."""
        known = counts.understanding
        if known.undated and not known.time_told:
            known.time_told = True
            self.log("no-time", {"path": path, "hint": "the records have no time that is known: the time of reading counts"})
        verdict = known.verdict() if known.due or (final and not known.told) else None
        if verdict is not None:
            known.told = True
            self.log("not-understood", {"path": path, **verdict})

    def _tell_about_budget(self) -> None:
        """Say, at most once a day of the log, that alarms are held back because the budget is spent."""
        if self.pipeline.budget_spent:
            self.pipeline.budget_spent = False
            day = self.pipeline.policy.now_us // DAY_US
            if day != self._budget_told:
                self._budget_told = day
                hint = "alarms are held back until 24 hours have passed since the first; summary and metrics count them as suppressed"
                self.log("budget-spent", {"per_day": dict(self.config.budget.per_day), "hint": hint})

    def gauges(self) -> Gauges:
        """What is measured beside the counters."""
        cache = self.pipeline.scorer.cache
        sources = self.tailer.sources.values()
        behind = [s.state.clock_us for s in sources if s.lag_bytes and s.state.clock_us]
        return Gauges(
            lag_bytes=self.tailer.lag_bytes,
            lag_seconds=max(0.0, time.time() - min(behind) / 1e6) if behind else 0.0,
            cache_hits=cache.hits + cache.duplicates,
            cache_misses=cache.misses,
            cache_entries=len(cache),
            open_files=sum(s.is_open for s in sources),
            commits=self._commits,
            repeats_dropped=sum(s.repeats_dropped for s in self.sinks if isinstance(s, FileSink)),
            disk_trouble=self._retry.waits,
            reloads=self._reloads,
            alarms=self._alarms,
            thresholds=self.pipeline.policy.thresholds,
            drift=self.stages.drift.gauges(),
            sample=self.stages.drift.sample.gauges() if self.stages.drift.sample else {},
            bundle_id=self.pipeline.scorer.bundle_id,
        )

    def render_metrics(self) -> str:
        """The metrics as text."""
        return render(self.counters.total(), self.gauges(), self.latency)

    def _write_metrics(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self.config.metrics is None or (not force and now - self._last_metrics < METRICS_EVERY_S):
            return
        self._last_metrics = now
        try:
            write_textfile(self.config.metrics, self.render_metrics())
        except OSError as error:
            self.log("metrics-not-written", {"error": error.strerror or str(error)})

    def summary(self) -> dict[str, object]:
        """The summary that ``--summary`` writes."""
        gauges, cache = self.gauges(), self.pipeline.scorer.cache
        return {
            "format": SUMMARY_FORMAT,
            "bundle_id": self.pipeline.scorer.bundle_id,
            **self.counters.to_json(),
            **self.stages.summary(),
            "alarms_by_task": dict(self._alarms),
            "thresholds": dict(self.pipeline.policy.thresholds),
            "fpr": dict(self._fpr),
            "cache": {
                "hits": cache.hits,
                "duplicates_in_batch": cache.duplicates,
                "misses": cache.misses,
                "hit_rate": round(cache.hit_rate, 6),
                "entries": len(cache),
            },
            "repeats_dropped": gauges.repeats_dropped,
            "unavailable_tasks": list(self.pipeline.mapping.unavailable),
            "unmapped_tasks": list(self.pipeline.mapping.unmapped),
            "ignored_files": self.tailer.ignored[:1000],
            "seconds": round(time.monotonic() - self._started, 3),
        }

    def _calibrated(self, scorer: Scorer, mapping: FieldMapping) -> dict[str, float]:
        """Thresholds to start at; a level that is not the one asked for is said in the log and in the summary."""
        asked = self.config.fpr
        found = {task: level for task, level in scorer.levels(asked).items() if task in mapping.tasks}
        self._fpr = {task: rate for task, (rate, _) in found.items()}
        if others := {task: rate for task, rate in self._fpr.items() if rate != (asked or DEFAULT_FPR)}:
            self.log("fpr-levels", {"asked": asked or DEFAULT_FPR, "used": others})
        return {task: score for task, (_, score) in found.items()}


def exit_code(summary: Mapping[str, object], control: Control, *, once: bool = False) -> int:
    """130 after Ctrl-C, 1 if some items failed or, with ``once``, a file was not understood, else 0."""
    if control.interrupted:
        return 130
    return 1 if summary.get("errors") or (once and summary.get("not_understood")) else 0
