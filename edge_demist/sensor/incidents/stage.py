"""Incidents as a stage of the runner: settings in, lines for the sinks out, one state for the checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from edge_demist.errors import BundleError
from edge_demist.sensor.detect.allow import AllowList
from edge_demist.sensor.detect.scoring import Scorer
from edge_demist.sensor.events import IncidentLine
from edge_demist.sensor.incidents.budget import IncidentBudget
from edge_demist.sensor.incidents.tracker import Tracker
from edge_demist.sensor.incidents.verdicts import TASKS, Verdicts
from edge_demist.sensor.incidents.weights import MAX_BYTES, Weights, load_weights, parse_weights
from edge_demist.sensor.memory import Memory
from edge_demist.sensor.sources.timestamps import parse_time

BUNDLE_FILE = "incidents.json"


def bundle_weights(bundle: object = None) -> Weights:
    """The weights of a bundle that brings its own, listed and hashed as all its files are, else those of the package.

    Raises:
        BundleError: the bundle's file is damaged.
    """
    if BUNDLE_FILE not in (getattr(bundle, "files", None) or ()):
        return load_weights()
    return parse_weights(bundle.read_bytes(BUNDLE_FILE, MAX_BYTES), BUNDLE_FILE)  # type: ignore[attr-defined]


class IncidentStage:
    """Holds the tracker; knows how its lines become entries for the sinks."""

    def __init__(self, scorer: Scorer, memory: Memory, per_day: int = 0) -> None:
        """Read the weights.

        Raises:
            BundleError: the bundle lacks all specialists that incidents are made from, or its weights are damaged.
        """
        if not TASKS & set(scorer.model.tasks):
            raise BundleError(f"--emit incidents needs one of the specialists {', '.join(sorted(TASKS))}; the bundle has none")
        budget = IncidentBudget(per_day) if per_day else None
        weights, verdicts = bundle_weights(scorer.model.bundle), Verdicts.of(scorer.model)
        self.tracker = Tracker(weights, scorer.bundle_id, memory, verdicts=verdicts, budget=budget, embed=scorer.look)
        self.told: Counter[str] = Counter()

    def allow(self, rules: AllowList) -> None:
        """Silence what these rules say."""
        self.tracker.book.allow = self.tracker.gatherer.allow = rules

    def use(self, scorer: Scorer) -> None:
        """Go on with another model."""
        self.tracker.use(scorer.bundle_id, Verdicts.of(scorer.model), scorer.look)

    def settle(self, watermark_us: int | None) -> list[IncidentLine]:
        """Decide about everything up to a log time (None: all there is)."""
        return self._entries(self.tracker.release(watermark_us))

    def finish(self) -> list[IncidentLine]:
        """The logs end here."""
        return self._entries(self.tracker.finish())

    def _entries(self, lines: list[dict[str, object]]) -> list[IncidentLine]:
        self.told.update(str(line["status"]) for line in lines)
        return [IncidentLine(str(line["event_id"]), parse_time(line["last"]) or 0, str(line["severity"]), line) for line in lines]

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: the state is damaged.
        """
        if state:
            self.tracker.restore(state)

    def summary(self) -> dict[str, object]:
        """Counts for the summary."""
        return {**self.told, "open": len(self.tracker.book), "held_back": self.tracker.book.held_back}
