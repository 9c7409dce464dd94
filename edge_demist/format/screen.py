"""A specialist's screen: below which first score the encoder need not be asked.

The first score comes from the n-gram vector g [dim] alone. A file may hold a small net for it, ``screen.1.weight`` to ``screen.3.bias``,
which was trained to say what the whole specialist says near its thresholds::

    first(g)  = max(0, max(0, g · W1 + b1) · W2 + b2) · w3 + b3

Without a net it is that of the half of the head that reads g, with the pooled vector left out::

    logits(g) = (g · Wn + b) / temperature
    first(g)  = largest logit of a positive label - largest logit of another label

A specialist's file says how low it may lie in its metadata ``screen``, a JSON object::

    {"levels": [{"threshold": 0.97, "cut": -3.1, "alarms": 5210, "lost": 0.0004, "skipped": 0.981}, …]}

A string whose first score is below ``cut`` is taken not to reach the alarm score ``threshold``.  Of the calibration strings ``alarms``
reached it; the share ``lost`` of one half of them lies below the cut that the other half gives; the share ``skipped`` of
harmless strings lies below the cut.  A file without a screen is read as ever; its specialist is always asked whole.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from edge_demist.errors import BundleError
from edge_demist.format.bounds import LARGEST
from edge_demist.native import abi

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_LEVELS = 64
METADATA = "screen"
PREFIX = "screen."
LANES = 64
"""Widths of a net's layers are multiples of this."""

Floats: TypeAlias = "NDArray[np.float32]"


class ScreenLevel(NamedTuple):
    """One alarm threshold and its cut, with what the cut did on calibration strings."""

    threshold: float
    cut: float
    alarms: int = 0
    lost: float = 0.0
    skipped: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class ScreenNet:
    """Weights [dim, width1], [width1, width2] and [width2] of a net, and a bias for each, all float32 in one piece."""

    weights: tuple[Floats, Floats, Floats]
    biases: tuple[Floats, Floats, Floats]

    def __post_init__(self) -> None:
        """Check shapes, and that all numbers are finite."""
        dim, first = self.weights[0].shape if self.weights[0].ndim == 2 else (0, 0)
        second = self.weights[1].shape[-1] if self.weights[1].ndim == 2 else 0
        if any(not 0 < width <= abi.NET_MAX_WIDTH or width % LANES for width in (first, second)):
            raise BundleError(f"the layers of a screen's net have {LANES} to {abi.NET_MAX_WIDTH} outputs, a multiple of {LANES}")
        shapes = [array.shape for array in (*self.weights, *self.biases)]
        if shapes != [(dim, first), (first, second), (second,), (first,), (second,), (1,)]:
            raise BundleError(f"the layers of a screen's net do not fit each other: {', '.join(map(str, map(list, shapes)))}")
        for array in (*self.weights, *self.biases):
            if array.dtype != np.float32 or not array.flags.c_contiguous or not np.isfinite(array).all():
                raise BundleError("a screen's net holds finite float32 numbers")

    @property
    def dim(self) -> int:
        """Numbers of the vector that it reads."""
        return len(self.weights[0])

    def check_bounds(self, largest: float) -> None:
        """Refuse a net that could overflow for a vector of numbers of this magnitude.

        Raises:
            BundleError: it could.
        """
        for weight, bias in zip(self.weights, self.biases, strict=True):
            largest = len(weight) * largest * float(np.abs(weight).max()) + float(np.abs(bias).max())
            if not largest < LARGEST:
                raise BundleError("the numbers of a screen's net are so large that its scores would overflow")

    def tensors(self) -> dict[str, Floats]:
        """The tensors as a specialist's file holds them."""
        names = enumerate(zip(self.weights, self.biases, strict=True), 1)
        return {f"{PREFIX}{n}.{part}": array for n, pair in names for part, array in zip(("weight", "bias"), pair, strict=True)}


@dataclasses.dataclass(frozen=True)
class Screen:
    """Cuts by alarm threshold, and the net that makes first scores where there is one."""

    levels: tuple[ScreenLevel, ...]
    net: ScreenNet | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check that cuts rise with thresholds."""
        if not 1 <= len(self.levels) <= MAX_LEVELS:
            raise BundleError(f"a screen has 1 to {MAX_LEVELS} levels, not {len(self.levels)}")
        if not all(math.isfinite(level.threshold) and math.isfinite(level.cut) for level in self.levels):
            raise BundleError("thresholds and cuts of a screen must be finite")
        if any(a.threshold >= b.threshold or a.cut > b.cut for a, b in itertools.pairwise(self.levels)):
            raise BundleError("levels of a screen must rise: thresholds strictly, cuts with them")

    def cut(self, threshold: float) -> float | None:
        """The cut for an alarm threshold: that of the next level at or below it; None where there is none."""
        usable = [level.cut for level in self.levels if level.threshold <= threshold]
        return usable[-1] if usable else None

    def to_json(self) -> str:
        """The metadata as a specialist's file holds it."""
        return json.dumps({"levels": [level._asdict() for level in self.levels]})


def read_net(file: str, tensors: Mapping[str, NDArray[np.generic]]) -> ScreenNet | None:
    """The net among a file's tensors; None if it has none.

    Raises:
        BundleError: a part is missing, or the parts do not fit.
    """
    names = {name for name in tensors if name.startswith(PREFIX)}
    if not names:
        return None
    weights, biases = ([f"{PREFIX}{n}.{part}" for n in (1, 2, 3)] for part in ("weight", "bias"))
    if names != {*weights, *biases}:
        raise BundleError(f"{file}: a screen's net has {', '.join(weights)}, and a bias each; not {', '.join(sorted(names))}")
    one, two, three = ([np.ascontiguousarray(tensors[n], np.float32) for n in (w, b)] for w, b in zip(weights, biases, strict=True))
    try:
        return ScreenNet((one[0], two[0], three[0]), (one[1], two[1], three[1]))
    except BundleError as error:
        raise BundleError(f"{file}: {error}") from None


def read_screen(where: str, raw: str | None, net: ScreenNet | None = None) -> Screen | None:
    """The screen of a file's metadata, with its net; None if it has none.

    Raises:
        BundleError: it is malformed, or there is a net without levels.
    """
    if raw is None:
        if net is not None:
            raise BundleError(f"{where} is missing, though the file holds a screen's net")
        return None
    try:
        return Screen(
            tuple(
                ScreenLevel(float(one["threshold"]), float(one["cut"]), int(one["alarms"]), float(one["lost"]), float(one["skipped"]))
                for one in json.loads(raw)["levels"]
            ),
            net,
        )
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise BundleError(f"{where} must be a JSON object of levels with threshold, cut, alarms, lost and skipped") from None
    except BundleError as error:
        raise BundleError(f"{where}: {error}") from None
