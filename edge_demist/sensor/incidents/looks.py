"""Cases that look alike join: the first is the leader, later ones follow it, by the cosine of the pooled vectors of their examples.

Only what has something else in common may join: tunnels of one client, scans of one server. Looks alone mix tools: benchmarks/
results/incident-looks.json. Generated names join by client and hour; their looks say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_demist.explore.quantize import to_int8
from edge_demist.sensor.incidents.case import Case

LEAST = {"scan": 0.5, "tunnel": 0.8}
"""The cosine from which cases of a kind join."""
MAX_LOOKS = 256
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Vectors float32 [n, dim] of strings, by the encoder alone: projected ones tell finer kinds apart, and their cosines are lower."""


def look(case: Case, embed: Embed) -> NDArray[np.int8] | None:
    """The mean direction int8 [dim] of a case's examples; None where it has none that look like anything."""
    if case.kind == "tunnel":
        texts = [example.text[: -len(case.key[1]) - 1] for example in case.examples]
    else:
        texts = [example.text for example in case.examples if example.sign in ("attacks", "strong_attacks", "tool")]
    texts = [text for text in texts if text]
    if case.kind not in LEAST or not texts:
        return None
    mean = embed(texts).mean(axis=0, keepdims=True)
    size = float(np.linalg.norm(mean))
    return to_int8((mean / size).astype(np.float32))[0] if size > 0 else None


class Looks:
    """The looks of open incidents, by identity, with the kind and what a follower must share."""

    def __init__(self, embed: Embed | None) -> None:
        """Start empty; without ``embed`` nothing joins."""
        self.embed = embed
        self._held: dict[str, tuple[str, NDArray[np.int8]]] = {}

    @staticmethod
    def _shared(case: Case) -> str:
        return f"{case.kind}\0{case.key[0] if case.kind == 'tunnel' else case.key[1]}"

    def leader(self, case: Case) -> tuple[str | None, NDArray[np.int8] | None]:
        """The incident that a case looks like, and the case's own look."""
        if self.embed is None or case.kind not in LEAST:
            return None, None
        own, shared = look(case, self.embed), self._shared(case)
        if own is not None:
            for identity, (context, vector) in self._held.items():
                if context == shared and len(vector) == len(own) and _cosine(own, vector) >= LEAST[case.kind]:
                    return identity, own
        return None, own

    def hold(self, identity: str, case: Case, own: NDArray[np.int8] | None) -> None:
        """An incident begins with this case."""
        if own is not None and len(self._held) < MAX_LOOKS:
            self._held[identity] = self._shared(case), own

    def drop(self, identity: str) -> None:
        """An incident has closed."""
        self._held.pop(identity, None)

    def clear(self) -> None:
        """Another model makes other vectors."""
        self._held.clear()

    def state(self) -> list[list[str]]:
        """For the checkpoint."""
        return [[identity, shared, vector.tobytes().hex()] for identity, (shared, vector) in self._held.items()]

    def load(self, state: Iterable[Sequence[object]], known: Mapping[str, object]) -> None:
        """From the checkpoint, of incidents that are known."""
        for identity, shared, raw in state:
            if identity in known and len(self._held) < MAX_LOOKS:
                self._held[str(identity)] = str(shared), np.frombuffer(bytes.fromhex(str(raw)), np.int8)


def _cosine(one: NDArray[np.int8], other: NDArray[np.int8]) -> float:
    a, b = one.astype(np.float64), other.astype(np.float64)
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))
