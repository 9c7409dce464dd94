"""edge-demist as users call it: texts in, labels out."""

from __future__ import annotations

from pathlib import Path

from edge_demist import EdgeDemist
from edge_demist.engines.native import NativeEngine


class OursText:
    """``classify`` with one specialist."""

    def __init__(self, models: Path, task: str = "hostname-category") -> None:
        """Open ``models/bundle``."""
        self._model, self._task = EdgeDemist.load(models / "bundle"), task
        engine = self._model.engine
        self.facts = {"engine": engine.name, "kernel": engine.kernels.level if isinstance(engine, NativeEngine) else None, "task": task}

    def prepare(self, texts: list[str]) -> list[str]:
        """Input in the form that ``encode`` takes."""
        return texts

    def encode(self, prepared: list[str]) -> object:
        """Labels of one batch."""
        return self._model.classify(prepared, task=self._task)


load = OursText
