"""Activation ranges of every linear layer's input, gathered from the float encoder on calibration strings.

Dynamic quantization needs none of this; static quantization and SmoothQuant-style rescaling do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist.format import safetensors
from quantize.checkpoint import Encoder
from quantize.errors import QuantizeError
from quantize.reference import FloatRule, encode

BINS = 2048
PERCENTILE = 99.99
METHODS = ("min-max", "percentile", "entropy")

Float = NDArray[np.float32]
Site = tuple[int, str]


@dataclass(frozen=True)
class Statistics:
    """Of one linear layer's input: range, largest absolute value a channel [K], histogram over the range [BINS]."""

    low: float
    high: float
    channel_max: Float
    histogram: NDArray[np.int64]

    def range(self, method: str) -> tuple[float, float]:
        """Return the (low, high) to quantize: ``min-max``, ``percentile`` (99.99 %) or ``entropy`` (KL divergence)."""
        if method == "min-max":
            return self.low, self.high
        if method == "percentile":
            return self._clipped((100 - PERCENTILE) / 100)
        if method == "entropy":
            return self._least_divergence()
        raise QuantizeError(f"unknown calibration {method!r}; known: {', '.join(METHODS)}")

    def _clipped(self, share: float) -> tuple[float, float]:
        edges = np.linspace(self.low, self.high, BINS + 1)
        cumulated = np.cumsum(self.histogram) / self.histogram.sum()
        first = int(np.searchsorted(cumulated, share / 2))
        last = int(np.searchsorted(cumulated, 1 - share / 2))
        return float(edges[first]), float(edges[min(last + 1, BINS)])

    def _least_divergence(self) -> tuple[float, float]:
        """Clip both tails by the share whose int8 histogram has the least KL divergence from the float one."""
        edges = np.linspace(self.low, self.high, BINS + 1)
        best, chosen = np.inf, (0, BINS)
        for share in (0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2):
            low, high = self._clipped(share)
            first, last = int(np.searchsorted(edges, low)), int(np.searchsorted(edges, high))
            first, last = max(0, min(first, BINS - 256)), min(BINS, max(last, 256))
            divergence = _divergence(self.histogram, first, last)
            if divergence < best:
                best, chosen = divergence, (first, last)
        return float(edges[chosen[0]]), float(edges[chosen[1]])


class _Recorder(FloatRule):
    """A float rule that hands every input to ``see``."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.low: dict[Site, float] = {}
        self.high: dict[Site, float] = {}
        self.channel: dict[Site, Float] = {}
        self.histogram: dict[Site, NDArray[np.int64]] = {}
        self.counting = False

    def __call__(self, layer: int, kind: str, x: Float) -> Float:
        site = (layer, kind)
        if self.counting:
            counts, _ = np.histogram(x, BINS, (self.low[site], self.high[site]))
            self.histogram[site] = self.histogram.get(site, 0) + counts
        else:
            self.low[site] = min(self.low.get(site, 0.0), float(x.min()))
            self.high[site] = max(self.high.get(site, 0.0), float(x.max()))
            self.channel[site] = np.maximum(self.channel.get(site, np.float32(0)), np.abs(x).max(axis=0))
        return super().__call__(layer, kind, x)


def calibrate(encoder: Encoder, rows: Sequence[NDArray[np.int32]]) -> dict[Site, Statistics]:
    """Run the float encoder twice over ``rows`` (ranges, then histograms)."""
    if not rows:
        raise QuantizeError("calibration needs at least one string")
    recorder = _Recorder(encoder)
    encode(encoder, rows, recorder)
    recorder.counting = True
    encode(encoder, rows, recorder)
    return {
        site: Statistics(recorder.low[site], recorder.high[site], recorder.channel[site], recorder.histogram[site])
        for site in sorted(recorder.low)
    }


def save(path: Path, statistics: Mapping[Site, Statistics]) -> None:
    """Write statistics as safetensors."""
    tensors: dict[str, NDArray[np.generic]] = {}
    for (layer, kind), one in statistics.items():
        stem = f"layers.{layer}.{kind}"
        tensors[f"{stem}.range"] = np.array([one.low, one.high], np.float32)
        tensors[f"{stem}.channel_max"] = one.channel_max
        tensors[f"{stem}.histogram"] = one.histogram
    safetensors.write(path, tensors)


def load(path: Path) -> dict[Site, Statistics]:
    """Read what :func:`save` wrote."""
    _, tensors = safetensors.read(path)
    found = {}
    for name in [name for name in tensors if name.endswith(".range")]:
        _, layer, kind, _ = name.split(".")
        stem = name.removesuffix(".range")
        low, high = (float(value) for value in np.asarray(tensors[name], np.float32))
        channel = np.asarray(tensors[f"{stem}.channel_max"], np.float32)
        found[int(layer), kind] = Statistics(low, high, channel, np.asarray(tensors[f"{stem}.histogram"], np.int64))
    return found


def _divergence(histogram: NDArray[np.int64], first: int, last: int) -> float:
    """KL divergence of the clipped histogram from its 256-level version (Migacz, GTC 2017)."""
    clipped = histogram[first:last].astype(np.float64)
    clipped[0] += histogram[:first].sum()
    clipped[-1] += histogram[last:].sum()
    edges = np.linspace(0, len(clipped), 257).astype(int)[:-1]
    sizes = np.diff(np.append(edges, len(clipped)))
    kept = histogram[first:last].astype(np.float64)
    live = np.add.reduceat((kept > 0).astype(np.float64), edges)
    level = np.add.reduceat(kept, edges) / np.maximum(live, 1)
    coarse = np.where(kept > 0, np.repeat(level, sizes), 0)
    p, q = clipped / clipped.sum(), coarse / max(coarse.sum(), 1)
    both = p > 0
    return float(np.sum(p[both] * np.log(p[both] / np.maximum(q[both], 1e-12))))
