"""A deterministic stand-in for the model: answers follow from a hash of the string. For crash and soak tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_demist.normalizers import NORMALIZERS

ALARM_TASKS = ("dga", "dns-tunnel", "hostname-threat", "uri-attack", "url-phishing", "cmdline", "http-header")
CATEGORY_TASKS = ("hostname-category", "user-agent", "filename", "filename-sensitivity", "tls-certificate")


@dataclass(frozen=True)
class FakePrediction:
    """An answer."""

    text: str
    task: str
    label: str
    score: float
    alarm_score: float | None = None
    scores: dict[str, float] | None = None
    truncated: bool = False
    error: str | None = None


@dataclass(frozen=True)
class FakeSpecialist:
    """A specialist's facts."""

    kind: str
    labels: tuple[str, ...]
    positive_labels: tuple[str, ...]
    normalizer: str = "identity"
    thresholds: dict[str, dict[str, float]] = field(default_factory=lambda: {"fpr": {"0.01": 0.99, "0.001": 0.999}})


@dataclass(frozen=True)
class FakeBundle:
    """A bundle's facts."""

    name: str = "fake"
    id: str = "fake"
    hashed: bool = True
    version: int = 1
    tasks: Sequence[str] = ()


class FakeModel:
    """Looks like ``EdgeDemist`` from outside; strings that contain ``evil`` score 0.9999."""

    def __init__(self, bundle_id: str = "fake", tasks: Sequence[str] = ALARM_TASKS + CATEGORY_TASKS, version: int = 1) -> None:
        """Choose an id, tasks and a version."""
        self.bundle_id, self.tasks, self.bundle = bundle_id, tuple(sorted(tasks)), FakeBundle(version=version)
        self.calls = self.strings = 0
        self.closed = False

    def facts(self, task: str) -> FakeSpecialist:
        """Facts of a task."""
        normalizer = "hostname" if task in ("dga", "dns-tunnel", "hostname-category", "hostname-threat") else "identity"
        if task in ALARM_TASKS:
            return FakeSpecialist("alarm", ("bad", "good"), ("bad",), normalizer)
        return FakeSpecialist("category", ("a", "b", "c"), (), normalizer)

    def classify(self, texts: Sequence[str], task: Sequence[str]) -> list[FakePrediction]:
        """Answers by hash."""
        self.calls += 1
        self.strings += len(texts)
        return [self._answer(NORMALIZERS[self.facts(n).normalizer](t), n) for t, n in zip(texts, task, strict=True)]

    def _answer(self, text: str, task: str) -> FakePrediction:
        raw = hashlib.blake2b(f"{task}\0{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        share = int.from_bytes(raw, "big") / 2**64
        if task not in ALARM_TASKS:
            return FakePrediction(text, task, "abc"[raw[0] % 3], 0.4 + share / 2)
        bad = 0.9999 if "evil" in text else share * 0.9
        return FakePrediction(text, task, "bad" if bad >= 0.5 else "good", max(bad, 1 - bad), bad)

    def encode(self, texts: Sequence[str], *, projected: bool = True) -> NDArray[np.float32]:
        """Unit vectors of 16 numbers."""
        seeds = [int.from_bytes(hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big") for t in texts]
        rows = np.stack([np.random.default_rng(seed).standard_normal(16) for seed in seeds]) if texts else np.zeros((0, 16))
        norms = np.linalg.norm(rows, axis=1, keepdims=True) if len(rows) else 1.0
        return (rows / norms).astype(np.float32)

    def close(self) -> None:
        """Nothing to free."""
        self.closed = True
