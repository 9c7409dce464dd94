"""A bounded least-recently-used cache of answers, by normalised string and specialist."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")
DEFAULT_ENTRIES = 16_384
ENTRY_BYTES, MEAN_BYTES = 400, 1000
MAX_KEY_CHARS = 2048


class AnswerCache(Generic[V]):
    """Least recently used goes first; bounded in entries and, roughly, in bytes."""

    def __init__(self, max_entries: int = DEFAULT_ENTRIES, max_bytes: int | None = None) -> None:
        """Set the bounds (bytes: a thousand an entry, where none are given); zero entries switches the cache off."""
        self._entries: OrderedDict[tuple[str, str], V] = OrderedDict()
        self._max_entries, self._max_bytes = max_entries, max_entries * MEAN_BYTES if max_bytes is None else max_bytes
        self._bytes = 0
        self.hits = self.duplicates = 0
        self.misses = 0

    def get(self, text: str, task: str) -> V | None:
        """The answer for a normalised string, if it is held."""
        key = (text, task)
        value = self._entries.get(key)
        if value is None:
            self.misses += 1
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return value

    def put(self, text: str, task: str, value: V) -> None:
        """Hold an answer; strings over 2048 characters are not held."""
        if self._max_entries <= 0 or len(text) > MAX_KEY_CHARS:
            return
        key = (text, task)
        if key not in self._entries:
            self._bytes += _cost(text)
        self._entries[key] = value
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            (old, _), _ = self._entries.popitem(last=False)
            self._bytes -= _cost(old)

    def clear(self) -> None:
        """Forget everything (after a change of model)."""
        self._entries.clear()
        self._bytes = 0

    def __len__(self) -> int:
        """Entries held."""
        return len(self._entries)

    @property
    def hit_rate(self) -> float:
        """Share of answers that cost no model row: held, or asked twice in one batch."""
        asked = self.hits + self.duplicates + self.misses
        return (self.hits + self.duplicates) / asked if asked else 0.0


def _cost(text: str) -> int:
    return len(text) * (1 if text.isascii() else 4) + ENTRY_BYTES
