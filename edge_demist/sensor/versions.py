"""No way back: a running sensor takes no bundle that is older than one it has used."""

from __future__ import annotations

from pathlib import Path

from edge_demist.errors import SignatureError
from edge_demist.format.signing import accept_version
from edge_demist.sensor.detect.scoring import ModelLike


class VersionGuard:
    """Compares versions of bundles of one name; with a record on disk, across restarts too."""

    def __init__(self, record: Path | None = None) -> None:
        """``record`` is JSON, ``{name: version}``; None remembers this run only."""
        self._record = record
        self._highest: dict[str, int] = {}

    def check(self, model: ModelLike) -> None:
        """Raise SignatureError if the bundle is older than one in use before."""
        name, version = model.bundle.name, model.bundle.version
        if version < self._highest.get(name, 0):
            raise SignatureError(
                f"bundle {name!r}: version {version} is older than {self._highest[name]}, which is in use; restart the sensor to go back"
            )

    def accept(self, model: ModelLike) -> None:
        """Remember the bundle's version; durably where there is a record.

        Raises:
            SignatureError: a higher version was accepted before, or the record is damaged.
            OSError: the record cannot be written.
        """
        self.check(model)
        if self._record is not None:
            accept_version(self._record, model.bundle.name, model.bundle.version)
        self._highest[model.bundle.name] = model.bundle.version
