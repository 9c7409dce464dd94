"""Whether a file's records can be used at all: a log that nobody understands must not look like a quiet one."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_RECORDS = 200
_HINTS = {
    "no-header": "neither JSON nor a format that is known, and no Zeek header (#fields) before the lines",
    "bad-json": "the lines begin like JSON and are none",
    "not-an-object": "the JSON on the lines is no object",
    "corrupt": "the lines hold NUL bytes: binary, or damaged",
    "field-count": "the lines have another number of columns than #fields names",
    "line-too-long": "the lines are longer than --max-line-bytes",
    "no-rule": "the mapping has no rule for this log",
    "no-string": "no field that the mapping names is there",
}
# What the bundle or the caller leaves out, and audit records that are no commands, are understood.
_UNDERSTOOD = frozenset(("no-specialist", "embeddings-off", "too-many-strings", "no-command", "same-command"))


@dataclass(slots=True)
class Understanding:
    """What came of the first records of a file."""

    used: int = 0
    unused: int = 0
    reason: str = ""
    seen: str = ""
    undated: bool = False
    told: bool = False
    time_told: bool = False

    def note_reason(self, reason: str, *, known: bool = False, seen: str = "") -> None:
        """Take a record that gave no string: why, whether its log is one that may have none, and what it has instead."""
        if self.used:
            return
        if known or reason in _UNDERSTOOD:
            self.used += 1
            return
        self.unused += 1
        if not self.reason:
            self.reason, self.seen = reason, seen

    def add(self, later: Understanding) -> None:
        """Take what came of records behind these."""
        self.undated = self.undated or later.undated
        if not self.used:
            self.unused += later.unused
            if not self.reason:
                self.reason, self.seen = later.reason, later.seen
        self.used += later.used

    @property
    def due(self) -> bool:
        """Whether enough was read to say that nothing can be used."""
        return not self.told and not self.used and self.unused >= FIRST_RECORDS

    def verdict(self) -> dict[str, object] | None:
        """Reason and hint where not one record was of use; None for an understood or empty file."""
        if self.used or not self.unused:
            return None
        hint = _HINTS.get(self.reason, self.reason)
        seen = f"; the first record has {self.seen}" if self.seen else ""
        return {
            "records": self.unused,
            "reason": self.reason,
            "hint": f"{hint}{seen}; formats that are read, and how to add one: docs/formats.md",
        }
