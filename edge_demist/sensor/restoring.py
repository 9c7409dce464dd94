"""Numbers of a state that others may have written: ``"NaN"`` is a string, and no count has a thousand digits."""

from __future__ import annotations

import math

MAX_WHOLE, MAX_REAL = 1 << 62, 1e15


def whole(value: object) -> int:
    """A whole number of a state.

    Raises:
        ValueError: it is none, or beyond 2^62.
    """
    if type(value) is not int or abs(value) >= MAX_WHOLE:
        raise ValueError(f"{str(value)[:40]} is no whole number of a state")
    return value


def real(value: object) -> float:
    """A number of a state.

    Raises:
        ValueError: it is none, not finite, or beyond 10^15.
    """
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > MAX_REAL:  # type: ignore[arg-type]
        raise ValueError(f"{str(value)[:40]} is no number of a state")
    return float(value)  # type: ignore[arg-type]
