"""A cache for functions of a text that strangers wrote: bounded in bytes, not only in entries."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

LONGEST = 256
"""Characters of the longest text that is remembered; longer ones are worked out each time."""
T = TypeVar("T")


def cached(entries: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """As ``functools.lru_cache``, for a function of one text; long texts are not kept."""

    def decorate(function: Callable[[str], T]) -> Callable[[str], T]:
        held = functools.lru_cache(entries)(function)

        @functools.wraps(function)
        def call(text: str) -> T:
            return held(text) if len(text) <= LONGEST else function(text)

        return call

    return decorate
