"""A specialist's screen: below which first score the encoder need not be asked.

The first score takes the half of the head that reads the n-gram vector g [dim], and leaves the pooled vector out::

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

from edge_demist.errors import BundleError

MAX_LEVELS = 64
METADATA = "screen"


@dataclasses.dataclass(frozen=True, slots=True)
class ScreenLevel:
    """One alarm threshold and its cut, with what the cut did on calibration strings."""

    threshold: float
    cut: float
    alarms: int = 0
    lost: float = 0.0
    skipped: float = 0.0


@dataclasses.dataclass(frozen=True)
class Screen:
    """Cuts by alarm threshold."""

    levels: tuple[ScreenLevel, ...]

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
        return json.dumps({"levels": [dataclasses.asdict(level) for level in self.levels]})


def read_screen(where: str, raw: str | None) -> Screen | None:
    """The screen of a file's metadata; None if it has none.

    Raises:
        BundleError: it is malformed.
    """
    if raw is None:
        return None
    try:
        return Screen(
            tuple(
                ScreenLevel(float(one["threshold"]), float(one["cut"]), int(one["alarms"]), float(one["lost"]), float(one["skipped"]))
                for one in json.loads(raw)["levels"]
            )
        )
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise BundleError(f"{where} must be a JSON object of levels with threshold, cut, alarms, lost and skipped") from None
    except BundleError as error:
        raise BundleError(f"{where}: {error}") from None
