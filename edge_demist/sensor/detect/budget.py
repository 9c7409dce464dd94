"""Alarm budgets: about N a day, whatever happens, and never silent about what is worse than all that was told.

Each of N slots is taken for 24 hours by one alarm. What is worse than everything told in the last 24 hours is told although no
slot is free: it takes the next 24 hours of the slot that is free first, so that the mean stays N a day; each slot can be taken
so once at a time, so that no 24 hours hold more than 2 N. Times are those of the records, so that a gap, a stray time or a clock
set back takes nothing away.
"""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge_demist.errors import InputError
from edge_demist.sensor.caching import cached
from edge_demist.sensor.detect.allow import host_of
from edge_demist.sensor.detect.score_histogram import DAY_US
from edge_demist.sensor.public_suffix import registrable_domain
from edge_demist.sensor.restoring import real

IN_ALL = "*"
MAX_PER_DAY = 100_000
MAX_TIME_US = 1 << 60
MAX_SHAPE = 256
SITE_TASKS = ("dga", "hostname", "dns-tunnel", "url-phishing")
"""Beginnings of the names of specialists whose strings have a host."""
WORSE = 0.3
"""What is half as likely to be harmless (log10 of 2) is worse; less than that is noise of the model."""
_VARIABLE = re.compile(r"[0-9a-f]{8,}|[A-Za-z0-9+/_-]{24,}={0,2}|\d+", re.IGNORECASE)
_VALUE = re.compile(r"=[^&;]*")


@dataclass(frozen=True, slots=True)
class Budget:
    """Alarms per day of log time: by specialist, or ``*`` for all of them together."""

    per_day: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A budget is at least one."""
        for task, count in self.per_day.items():
            if not 1 <= count <= MAX_PER_DAY:
                raise InputError(f"--alarms-per-day {task}={count}: from 1 to {MAX_PER_DAY}")

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Budget:
        """Read ``20`` and ``dga=5`` forms.

        Raises:
            InputError: not a number.
        """
        table: dict[str, int] = {}
        for text in texts:
            task, equals, number = text.rpartition("=")
            if not number.isascii() or not number.isdigit() or len(number) > 9 or (equals and not task):
                raise InputError(f"--alarms-per-day {text!r}: expected a number, or specialist=number")
            if (task or IN_ALL) in table:
                raise InputError(f"--alarms-per-day {text!r}: given twice for {task or 'all specialists'}")
            table[task or IN_ALL] = int(number)
        return cls(table)

    def check(self, alarm_tasks: Iterable[str]) -> None:
        """Refuse names that no alarm specialist in use has.

        Raises:
            InputError: there is such a name.
        """
        for task in self.per_day:
            if task != IN_ALL and task not in alarm_tasks:
                raise InputError(
                    f"--alarms-per-day {task}: no alarm specialist of that name is in use; {', '.join(sorted(alarm_tasks))} are"
                )


class Slots:
    """The alarms of one budget. ``_free_at``, in order, says until when slots are taken; what is not in it is free."""

    def __init__(self, per_day: int) -> None:
        """All free."""
        self.per_day = per_day
        self._free_at: list[int] = []
        self._told: list[tuple[int, float]] = []

    def free_share(self, now_us: int) -> float:
        """The share of slots that are free, 0 to 1.

        No alarm takes a slot for more than two days: one that is taken for longer is of a clock that was set back, and free.
        """
        return 1.0 - (bisect_right(self._free_at, now_us + 2 * DAY_US) - bisect_right(self._free_at, now_us)) / self.per_day

    def ease(self, now_us: int) -> float:
        """How willing to tell, 0 to 1: as many slots are free, or as long nothing was told, of the time that one alarm may take."""
        since = min((abs(now_us - at) for at, _ in self._told[-2:]), default=DAY_US)
        return min(1.0, max(self.free_share(now_us), since * self.per_day / DAY_US))

    def is_worst(self, now_us: int, severity: float) -> bool:
        """Whether something is worse than all that was told in 24 hours."""
        return severity >= max((told for at, told in self._told if abs(now_us - at) < DAY_US), default=0.0) + WORSE

    def may_tell(self, now_us: int, severity: float) -> bool:
        """Whether an alarm may be told: a slot is free, or it is worse than all that was told in 24 hours."""
        free = self.free_share(now_us) > 0.0
        if free and len(self._told) < 2 * self.per_day:
            return True
        near = [told for at, told in self._told if abs(now_us - at) < DAY_US]
        if free or len(near) >= 2 * self.per_day:
            return len(near) < 2 * self.per_day
        return severity >= max(near, default=0.0) + WORSE and self._free_at[0] <= now_us + DAY_US

    def tell(self, now_us: int, severity: float) -> None:
        """Take the slot that is free first."""
        begin = now_us
        if len(self._free_at) >= self.per_day:
            if self._free_at[-1] > now_us + 2 * DAY_US:
                self._free_at.pop()
            else:
                begin = max(now_us, self._free_at.pop(0))
        insort(self._free_at, begin + DAY_US)
        self._told.append((now_us, severity))
        del self._told[: -4 * self.per_day]

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {"free_at": self._free_at, "told": [[at, severity] for at, severity in self._told]}

    def restore(self, state: object) -> None:
        """From the checkpoint; a list is that of an older version, the times of the last alarms.

        Raises:
            ValueError: it is neither.
        """
        if isinstance(state, list):
            self._free_at = sorted(time_of(at) + DAY_US for at in state)[-self.per_day :]
            self._told = [(time_of(at), 0.0) for at in state][-4 * self.per_day :]
            return
        if not isinstance(state, dict) or not isinstance(state.get("free_at"), list) or not isinstance(state.get("told"), list):
            raise ValueError("a window is neither a list nor an object")
        self._free_at = sorted(time_of(until) for until in state["free_at"])[-self.per_day :]
        self._told = [(time_of(at), real(severity)) for at, severity in state["told"]][-4 * self.per_day :]


def time_of(value: object) -> int:
    """A time of a checkpoint.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not -MAX_TIME_US <= value <= MAX_TIME_US:
        raise ValueError(f"{str(value)[:40]} is no time")
    return value


def near_copies(task: str, text: str, client: str) -> list[str]:
    """What strings share that count as one alarm a day: the site, and for one client the form of the string.

    Args:
        task: the specialist.
        text: the string, normalised.
        client: who sent it (address or host); empty where that is not known, and then no two are of one client.
    """
    found = []
    if task.startswith(SITE_TASKS):
        host = host_of(text)
        site = registrable_domain(host)
        if site:
            found.append(f"{task}\0site\0{site}")
        if client and task.startswith("dga"):
            found.append(f"{task}\0client\0{client}\0{host.rpartition('.')[2]}")
    elif client:
        found.append(f"{task}\0client\0{client}\0{shape(text)}")
    return found


@cached(4096)
def shape(text: str) -> str:
    """A string without its variable parts: values of parameters, numbers, long words of letters and digits."""
    path, mark, query = text[:MAX_SHAPE].partition("?")
    names = ",".join(sorted(_VALUE.sub("", query).split("&"))) if mark else ""
    return _VARIABLE.sub("#", path + mark + names).lower()


def split(total: float, demands: Mapping[str, float]) -> dict[str, float]:
    """Share a budget out: nobody gets more than it can use while another can use more; what is left over is shared equally."""
    shares: dict[str, float] = {}
    left, waiting = total, sorted((demand, task) for task, demand in demands.items() if demand > 0.0)
    for i, (demand, task) in enumerate(waiting):
        shares[task] = min(demand, left / (len(waiting) - i))
        left -= shares[task]
    return {task: share + left / len(shares) for task, share in shares.items()}
