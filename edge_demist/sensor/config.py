"""Everything that ``watch`` can be told, checked when it is put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.sensor.detect.answer_cache import DEFAULT_ENTRIES
from edge_demist.sensor.detect.budget import Budget
from edge_demist.sensor.sources.lines import MAX_LINE_BYTES

SCREENED_BATCHES = 4
"""So many batches are put together where they are screened."""


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """Everything that ``watch`` can be told. Times in seconds, sizes in bytes."""

    paths: tuple[Path, ...]
    once: bool = False
    emit: str = "all"
    screen: bool = True
    form: str = "jsonl"
    output: Path | None = None
    syslog: str = ""
    state: Path | None = None
    summary: Path | None = None
    mapping: Path | None = None
    allow: tuple[Path, ...] = ()
    budget: Budget = field(default_factory=Budget)
    fpr: float | None = None
    embeddings: str = "none"
    explain: bool = True
    cache_entries: int = DEFAULT_ENTRIES
    batch_strings: int = 256
    max_latency_s: float = 0.2
    poll_s: float = 0.5
    scan_s: float = 2.0
    scan_share: float = 20.0
    commit_s: float = 5.0
    max_line_bytes: int = MAX_LINE_BYTES
    rotate_bytes: int = 0
    keep: int = 0
    metrics: Path | None = None
    metrics_port: int = 0
    require_signature: bool = False
    incidents_per_day: int = 0
    alarm_when: str = "always"
    nearest: bool = False
    public_key: Path | None = None
    threads: int = 1

    @property
    def strings_at_once(self) -> int:
        """Strings of a batch: more where stage one leaves few of them for the model."""
        return self.batch_strings * (SCREENED_BATCHES if self.screen and self.emit != "all" else 1)

    @property
    def versions(self) -> Path | None:
        """Where the highest bundle version used is kept: with signatures and a state folder."""
        return self.state / "bundle-versions.json" if self.state and self.require_signature else None

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            InputError: no path, or a combination that makes no sense.
        """
        if not self.paths:
            raise InputError("watch needs at least one PATH")
        if self.form == "parquet" and (not self.once or self.state):
            raise InputError("--output-format parquet writes one whole file: use it with --once and without --state")
        if self.emit == "incidents" and self.form in ("zeek", "parquet"):
            raise InputError(f"--emit incidents has no --output-format {self.form}: use jsonl, eve, ecs or ocsf")
        if self.nearest and self.emit == "incidents":
            raise InputError("--nearest is about single strings: use it with --emit all or alarms")
        if self.incidents_per_day < 0:
            raise InputError("--incidents-per-day must be at least 1 (0: no budget)")
        if self.fpr is not None and not 0.0 < self.fpr < 1.0:
            raise InputError("--fpr must lie between 0 and 1")
        if self.batch_strings < 1 or self.max_line_bytes < 1:
            raise InputError("batch size and line limit must be at least 1")
