"""No way back: a running sensor takes no bundle that is older than one it has used."""

from __future__ import annotations

from pathlib import Path

from edge_demist.errors import SignatureError
from edge_demist.sensor.detect.scoring import ModelLike


class VersionGuard:
    """Compares versions of bundles of one name or one key; with a record on disk, across restarts too."""

    def __init__(self, record: Path | None = None, key: Path | None = None) -> None:
        """Begin.

        Args:
            record: JSON, ``{name or "key:<sha256>": version}``; None remembers this run only.
            key: the public key that signs every bundle, where signatures are required.
        """
        self._record, self._key = record, key
        self._highest: dict[str, int] = {}

    def _names(self, model: ModelLike) -> list[str]:
        """What the version is remembered for: the name; with a key every name is the same vendor's."""
        return [model.bundle.name] if self._key is None else [model.bundle.name, "any name"]

    def check(self, model: ModelLike) -> None:
        """Raise SignatureError if the bundle is older than one in use before."""
        name, version = model.bundle.name, model.bundle.version
        newest = max((self._highest.get(known, 0) for known in self._names(model)), default=0)
        if version < newest:
            raise SignatureError(
                f"bundle {name!r}: version {version} is older than {newest}, which is in use; restart the sensor to go back"
            )

    def accept(self, model: ModelLike) -> None:
        """Remember the bundle's version; durably where there is a record.

        Raises:
            SignatureError: a higher version was accepted before, or the record is damaged.
            OSError: the record cannot be written.
        """
        self.check(model)
        if self._record is not None:
            from edge_demist.format.signing import accept_version, read_public_key  # not for a start without signatures

            key = None if self._key is None else read_public_key(self._key)
            accept_version(self._record, model.bundle.name, model.bundle.version, key)
        self._highest |= dict.fromkeys(self._names(model), model.bundle.version)
