"""Small counters of bounded size that give the same result at every reading of the same log."""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from edge_demist.sensor.restoring import whole

EXACT = 48
REGISTERS = 256
MAX_INTERVALS = 24
V = TypeVar("V")


class Distinct:
    """How many distinct strings were added: exact up to 48, then HyperLogLog of 256 registers (standard error 6.5 %).

    Flajolet, Fusy, Gandouet, Meunier: HyperLogLog, 2007, with their correction for small counts.
    """

    __slots__ = ("_exact", "_registers")

    def __init__(self) -> None:
        """Start empty."""
        self._exact: set[int] = set()
        self._registers: bytearray | None = None

    def add(self, text: str) -> bool:
        """Add a string; False if it is surely not new (a sketch answers True whenever it changes)."""
        value = zlib.crc32(text.encode("utf-8", "surrogatepass"))  # its bits spread evenly: the finalizer of MurmurHash3, Appleby
        value = ((value ^ value >> 16) * 0x85EBCA6B) & 0xFFFFFFFF
        value = ((value ^ value >> 13) * 0xC2B2AE35) & 0xFFFFFFFF
        value ^= value >> 16
        if self._registers is None:
            if value in self._exact:
                return False
            self._exact.add(value)
            if len(self._exact) > EXACT:
                self._registers = bytearray(REGISTERS)
                for held in self._exact:
                    self._note(self._registers, held)
                self._exact = set()
            return True
        return self._note(self._registers, value)

    @staticmethod
    def _note(registers: bytearray, value: int) -> bool:
        index, rest = value & 255, value >> 8
        rank = 25 - rest.bit_length()
        if rank <= registers[index]:
            return False
        registers[index] = rank
        return True

    @property
    def count(self) -> int:
        """The number of distinct strings, or its estimate."""
        if self._registers is None:
            return len(self._exact)
        raw = 0.7213 / (1 + 1.079 / REGISTERS) * REGISTERS * REGISTERS / sum(2.0**-r for r in self._registers)
        empty = self._registers.count(0)
        return round(REGISTERS * math.log(REGISTERS / empty)) if raw <= 2.5 * REGISTERS and empty else round(raw)

    @property
    def is_lone(self) -> bool:
        """Whether at most one string was added."""
        return self._registers is None and len(self._exact) < 2

    def state(self) -> list[int] | str:
        """For the checkpoint."""
        return sorted(self._exact) if self._registers is None else self._registers.hex()

    @classmethod
    def restored(cls, state: object) -> Distinct:
        """From the checkpoint."""
        counter = cls()
        if isinstance(state, str):
            counter._registers = bytearray.fromhex(state)
            if len(counter._registers) != REGISTERS:
                raise ValueError("a counter has the wrong length")
        elif isinstance(state, list):
            counter._exact = {whole(v) for v in state[: EXACT + 1]}
        return counter


class Beat:
    """How regular contacts are: the last 24 intervals between them, in tenths of a second; a burst counts as one contact."""

    __slots__ = ("_intervals", "_last_us")

    MIN_GAP_US = 4_000_000
    MIN_INTERVALS = 5

    def __init__(self, last_us: int = 0, intervals: Iterable[int] = ()) -> None:
        """Start, or go on from a checkpoint."""
        self._last_us = last_us
        self._intervals: list[int] = [int(i) for i in intervals][-MAX_INTERVALS:]

    def add(self, time_us: int) -> None:
        """A contact."""
        gap = time_us - self._last_us
        if self._last_us and 0 <= gap < self.MIN_GAP_US:
            return
        if self._last_us and gap > 0:
            self._intervals.append(gap // 100_000)
            del self._intervals[:-MAX_INTERVALS]
        self._last_us = max(self._last_us, time_us)

    @property
    def period_s(self) -> float:
        """The median interval in seconds; 0 while too few are known."""
        return sorted(self._intervals)[len(self._intervals) // 2] / 10 if len(self._intervals) >= self.MIN_INTERVALS else 0.0

    @property
    def regularity(self) -> float:
        """1 for a clock, 0 for no pattern: one minus twice the median distance from the median interval, over that."""
        if len(self._intervals) < self.MIN_INTERVALS:
            return 0.0
        middle = sorted(self._intervals)[len(self._intervals) // 2]
        spread = sorted(abs(i - middle) for i in self._intervals)[len(self._intervals) // 2]
        return max(0.0, 1.0 - 2.0 * spread / middle) if middle else 0.0

    def state(self) -> list[int]:
        """For the checkpoint."""
        return [self._last_us, *self._intervals]

    @classmethod
    def restored(cls, state: list[int]) -> Beat:
        """From the checkpoint."""
        return cls(whole(state[0]), map(whole, state[1:]))


class Recent(Generic[V]):
    """A mapping that knows at least the last ``limit`` keys noted, at most twice as many."""

    def __init__(self, limit: int) -> None:
        """Start empty."""
        self._limit = limit
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}

    def note(self, key: str, value: V) -> None:
        """Take a value, in the place of the key's last one."""
        self._young[key] = value
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}

    def get(self, key: str) -> V | None:
        """The last value of a key, if it is known."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def state(self) -> list[tuple[str, V]]:
        """All entries in order: noting them again gives the same."""
        return [*self._old.items(), *self._young.items()]


class Cases(Generic[V]):
    """What is known by key, least recently used first; what is worth keeping is evicted only by its own kind.

    ``worth`` tells whether an entry is out of the ordinary. Both halves are bounded, so a flood of ordinary entries
    cannot push a suspicion out, and a flood of suspicions only other suspicions.
    """

    def __init__(self, limit: int, worth: Callable[[V], bool]) -> None:
        """Hold up to ``limit`` ordinary and a quarter as many remarkable entries."""
        self._limit, self._worth = limit, worth
        self._held: dict[tuple[str, ...], V] = {}
        self._ordinary: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self._remarkable: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self.find = self._held.get
        """The entry of a key, if it is held."""

    def use(self, key: tuple[str, ...]) -> V | None:
        """The entry of a key, if it is held: the one used last from now on."""
        value = self._held.get(key)
        if value is not None:
            (self._ordinary if key in self._ordinary else self._remarkable).move_to_end(key)
        return value

    def hold(self, key: tuple[str, ...], value: V) -> V:
        """Take an entry, in the place of one of its key if there is one."""
        held, ordinary = self._held, self._ordinary
        if key not in held:
            ordinary[key] = None
            if len(ordinary) > self._limit:
                held.pop(ordinary.popitem(last=False)[0], None)
        held[key] = value
        return value

    def promote(self, key: tuple[str, ...], value: V) -> None:
        """Look again whether an entry has become remarkable."""
        if key in self._ordinary and self._worth(value):
            del self._ordinary[key]
            self._remarkable[key] = None
            if len(self._remarkable) > max(self._limit // 4, 1):
                self._held.pop(self._remarkable.popitem(last=False)[0], None)

    def __len__(self) -> int:
        """Entries held."""
        return len(self._held)

    def items(self) -> Iterator[tuple[tuple[str, ...], V]]:
        """All entries, ordinary first, each half from the least recently used on."""
        for key in (*self._ordinary, *self._remarkable):
            yield key, self._held[key]

    def load(self, items: Iterable[tuple[tuple[str, ...], V]]) -> None:
        """Take entries of a checkpoint, in the order of :meth:`items`."""
        for key, value in items:
            (self._remarkable if self._worth(value) else self._ordinary)[key] = None
            self._held[key] = value
