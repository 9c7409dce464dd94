"""The parts of a run that look beyond one string: memory and incidents, and their share of the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.detect.allow import AllowList
from edge_demist.sensor.detect.scoring import Scorer
from edge_demist.sensor.drift import ScoreDrift
from edge_demist.sensor.drift_sample import Reference, reference_of
from edge_demist.sensor.events import IncidentLine
from edge_demist.sensor.sources.checkpoint import Checkpoint

if TYPE_CHECKING:
    from edge_demist.sensor.incidents.stage import IncidentStage
    from edge_demist.sensor.memory import Memory
    from edge_demist.sensor.neighbours import Neighbours

MAX_UNWRITTEN = 16_384
"""Memory entries changed since the last checkpoint that bring the next one about."""


class Stages:
    """``memory`` is there with a state folder, for ``alarm_when`` and for incidents; ``incidents`` with ``--emit incidents``."""

    def __init__(self, config: WatchConfig, scorer: Scorer, allow: AllowList) -> None:
        """Open the memory, read the weights.

        Args:
            config: all settings.
            scorer: who answers.
            allow: the allow-lists.

        Raises:
            BundleError: the bundle cannot serve incidents.
            OSError: the memory cannot be opened.
        """
        self._log: Callable[[str, dict[str, object]], None] = lambda _event, _facts: None
        self.memory: Memory | None = None
        self.incidents: IncidentStage | None = None
        self._watches_drift = config.state is not None or config.metrics is not None
        self.drift = ScoreDrift(scorer.bundle_id, self._reference(scorer))
        self.neighbours: Neighbours | None = None
        if config.nearest:
            from edge_demist.sensor.neighbours import Neighbours

            dim = scorer.embed(["."]).shape[1]
            self.neighbours = Neighbours(config.state, _space(scorer), dim)
        if config.state is not None or config.emit == "incidents" or config.alarm_when != "always":
            from edge_demist.sensor.memory import Memory  # SQLite, which most runs of alarms alone need not load

            self.memory = Memory(config.state)
        if config.emit == "incidents" and self.memory is not None:
            from edge_demist.sensor.incidents.stage import IncidentStage  # a tenth of a start that most runs need not pay

            self.incidents = IncidentStage(scorer, self.memory, config.incidents_per_day)
            self.incidents.allow(allow)

    def _reference(self, scorer: Scorer) -> Reference | None:
        return reference_of(scorer.model.bundle) if self._watches_drift else None

    def restore(self, checkpoint: Checkpoint, log: Callable[[str, dict[str, object]], None]) -> None:
        """Go on from a checkpoint; what is damaged in it starts anew and is told.

        Raises:
            OSError: the memory's disk is in trouble.
        """
        self._log = log
        for part, name in ((self.memory, "memory"), (self.incidents, "incidents"), (self.drift, "drift"), (self.neighbours, "neighbours")):
            state = getattr(checkpoint, name)
            setattr(checkpoint, name, {})  # nobody needs it once it is taken, and it may be large
            try:
                if part is not None:
                    part.restore(state)
            except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
                log("state-damaged", {"error": f"{type(error).__name__}: {str(error)[:200]}"})
        self._tell_problems()

    def _tell_problems(self) -> None:
        """Say what databases were set aside."""
        for part in (self.memory, self.neighbours):
            for problem in part.problems() if part is not None else ():
                self._log("state-damaged", {"error": problem})

    def fill(self, checkpoint: Checkpoint) -> None:
        """Put the state into a checkpoint."""
        checkpoint.memory = self.memory.state() if self.memory is not None else {}  # an empty one is false
        checkpoint.incidents = self.incidents.tracker.state() if self.incidents else {}
        checkpoint.drift = self.drift.state()
        checkpoint.neighbours = self.neighbours.state() if self.neighbours else {}

    def committed(self, checkpoint: Checkpoint) -> None:
        """The checkpoint is durable.

        Raises:
            OSError: the memory's disk is in trouble; to be tried again.
        """
        if self.memory is not None:
            self.memory.committed(checkpoint.memory)
        if self.neighbours is not None:
            self.neighbours.committed(checkpoint.neighbours)
        self._tell_problems()

    @property
    def parts(self) -> dict[str, object]:
        """What the pipeline works with, by its names for them."""
        tracker = self.incidents.tracker if self.incidents else None
        return {"memory": self.memory, "tracker": tracker, "drift": self.drift, "neighbours": self.neighbours}

    @property
    def is_full(self) -> bool:
        """Whether a checkpoint should come now."""
        full = self.neighbours is not None and self.neighbours.is_full
        return full or (self.memory is not None and self.memory.unwritten >= MAX_UNWRITTEN)

    def use(self, scorer: Scorer) -> None:
        """Go on with another model."""
        self.drift.use(scorer.bundle_id, self._reference(scorer))
        if self.neighbours is not None:
            self.neighbours.use(_space(scorer))
        if self.incidents is not None:
            self.incidents.use(scorer)

    def wanted(self, tasks: tuple[str, ...]) -> tuple[str, ...]:
        """The specialists to ask, of those there are."""
        if self.incidents is None:
            return tasks
        from edge_demist.sensor.incidents.verdicts import TASKS

        return tuple(task for task in tasks if task in TASKS)

    def settle(self, watermark_us: int | None) -> list[IncidentLine]:
        """What there is to tell about everything up to a log time."""
        return self.incidents.settle(watermark_us) if self.incidents else []

    def finish(self) -> list[IncidentLine]:
        """What there is to tell at the end of the logs."""
        return self.incidents.finish() if self.incidents else []

    def summary(self) -> dict[str, object]:
        """For the summary."""
        return {"incidents": self.incidents.summary()} if self.incidents else {}

    def close(self) -> None:
        """Give everything back."""
        if self.neighbours is not None:
            self.neighbours.close()
        if self.memory is not None:
            self.memory.close()


def _space(scorer: Scorer) -> str:
    """What makes the general vectors; a model without such files stands for itself."""
    from edge_demist.explore.passport import general_sha256

    bundle = scorer.model.bundle
    return general_sha256(bundle) if getattr(bundle, "files", None) else scorer.bundle_id
