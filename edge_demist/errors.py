"""The errors of edge-demist.

::

    EdgeDemistError
    ├── BundleError               a bundle is missing, corrupt, hostile or of another format
    │   ├── IntegrityError        a file's size or SHA-256 is not what the manifest says
    │   └── SignatureError        a signature is missing where policy asks for it, or does not verify
    ├── InputError                a text or an argument that cannot be processed
    │   └── UnknownTaskError      a task that the bundle has no specialist for
    └── EngineUnavailableError    no engine can run on this machine
"""

from __future__ import annotations

from collections.abc import Iterable


class EdgeDemistError(Exception):
    """Base of all errors raised on purpose."""


class BundleError(EdgeDemistError):
    """A bundle that cannot be used."""


class IntegrityError(BundleError):
    """A file of the bundle is not the one its manifest describes."""


class SignatureError(BundleError):
    """A signature is missing or does not verify."""


class InputError(EdgeDemistError, ValueError):
    """An input that cannot be processed."""


class UnknownTaskError(InputError):
    """A task without a specialist."""

    def __init__(self, task: str, known: Iterable[str]) -> None:
        """Name the unknown task and the known ones."""
        super().__init__(f"unknown task {task!r}; this bundle has: {', '.join(sorted(known)) or 'none'}")


class EngineUnavailableError(EdgeDemistError):
    """No engine can run here."""
