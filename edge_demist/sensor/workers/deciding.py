"""The parent's half of the pipeline: what workers found is decided about in the order of the logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edge_demist.sensor.counters import Counts
from edge_demist.sensor.detect.allow import suggest
from edge_demist.sensor.detect.explain import explain, fitting, sentence
from edge_demist.sensor.detect.pipeline import MAX_EXPLAINED, Pipeline, read_part
from edge_demist.sensor.events import Event
from edge_demist.sensor.workers.portion import Passed, Rendered, Touched, Undecided


class _Record(NamedTuple):
    """A record, as far as decisions look at it."""

    counts: Counts
    time_us: int | None
    client: str


class Deciding(Pipeline):
    """Decides about what others have scored."""

    def take(self, found: Passed | Touched | Rendered | Undecided, counts: Counts, events: list[Event | Rendered]) -> None:
        """Decide about one thing that was found in a file with these counts; its events are added to ``events``."""
        if isinstance(found, Passed):
            self.policy.pass_all(found.screened, found.times)
        elif isinstance(found, Touched):
            self._touch(found)
        elif isinstance(found, Rendered):
            events.append(found)
        else:
            self._take_record(found, counts, events)

    def _touch(self, found: Touched) -> None:
        if self.memory is not None:
            from edge_demist.sensor.memory import STRING  # brings SQLite along

            for text, client, time_us in found.rows:
                self.memory.touch(text, client, time_us, STRING)

    def _take_record(self, found: Undecided, counts: Counts, events: list[Event | Rendered]) -> None:
        if found.screened:
            self.policy.pass_by(found.screened, found.time_us)
        record, before = _Record(counts, found.time_us, found.client), len(events)
        for text, answers in found.strings:
            seen = self._seen(record, text)
            for event, asked in answers:
                if asked is not None:
                    decision = self._decide(record, event.task, asked, event.alarm_score or 0.0, seen)
                    if not (decision.alarm or self.options.emit == "all"):
                        continue
                    event.alarm, event.threshold, event.suppressed = decision
                    if not decision.alarm:
                        event.why, event.why_text, event.allow_rule = (), "", {}
                if seen and not (event.error or event.embedding):
                    event.seen = seen
                events.append(event)
        if len(events) > before:
            counts.records_out += 1
            counts.events += len(events) - before
        else:
            counts.skip("no-alarm")

    def finish(self, events: list[Event | Rendered]) -> list[Event | Rendered]:
        """What was decided about as one batch, with what is said about alarms: of the first of them why, as one process would."""
        alarms = [event for event in events if isinstance(event, Event) and event.alarm]
        chosen = alarms[:MAX_EXPLAINED] if self.options.explain else []
        fits = fitting([read_part(event) for event in chosen])
        missing = [event for event, may in zip(chosen, fits, strict=True) if may and not event.why_text]
        asked = [(read_part(event), event.task, event.alarm_score or 0.0) for event in missing]
        reasons = explain(asked, self.scorer.without_words, self.scorer.first_scores if self.options.screen else None)
        for event, why in zip(missing, reasons, strict=True):
            event.why, event.why_text = why, sentence(why, event.alarm_score or 0.0)
        for event, may in zip(chosen, fits, strict=True):
            if not may:
                event.why, event.why_text = (), sentence((), 0.0)
        for event in alarms[len(chosen) :]:
            event.why, event.why_text = (), ""
        for event in alarms:
            event.allow_rule = event.allow_rule or suggest(event.text, event.task)
        whole: Sequence[Event | Rendered] = events
        if self.neighbours is not None:
            whole = self._compared([event for event in events if isinstance(event, Event)])
        return list(whole)
