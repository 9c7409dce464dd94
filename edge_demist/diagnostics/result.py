"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass, field

STATES = ("ok", "note", "warn", "fail")
"""``note``: worth knowing; ``warn``: works, but should be changed; ``fail``: will not work, or not as proven."""


@dataclass(frozen=True)
class Check:
    """One line of ``doctor``.

    Attributes:
        name: what was checked.
        state: one of ``STATES``.
        text: what was found, and for ``warn`` and ``fail`` what to do.
        facts: the same as JSON values.
    """

    name: str
    state: str
    text: str
    facts: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse unknown states."""
        if self.state not in STATES:
            raise ValueError(f"{self.name}: {self.state!r} is not one of {', '.join(STATES)}")

    def values(self) -> dict[str, object]:
        """As JSON values."""
        return {"name": self.name, "state": self.state, "text": self.text, **({"facts": self.facts} if self.facts else {})}
