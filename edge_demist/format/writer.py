"""Writes a bundle folder whole or not at all, with the same bytes for the same inputs."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.io import replace_file


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_files(folder: Path, names: list[str]) -> dict[str, dict[str, object]]:
    """Return the manifest's ``files`` entry for ``names`` below ``folder``."""
    return {name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in sorted(names)}


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write ``value`` as indented JSON with a final newline; the order of its keys is kept."""
    replace_file(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(), 0o644, sync=False)


def created() -> str | None:
    """Return SOURCE_DATE_EPOCH as an ISO 8601 time in UTC, None if it is not set; the clock is never read."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return None
    if not epoch.isdecimal():
        raise InputError(f"SOURCE_DATE_EPOCH must be seconds since 1970, not {epoch!r}")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(epoch)))


@contextmanager
def whole_folder(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``out`` and rename it to ``out`` at the end; nothing is left after an error.

    Raises InputError if ``out`` exists and ``overwrite`` is not set, or if it is not a bundle.
    """
    out = out.absolute()
    if out.exists() and not overwrite:
        raise InputError(f"{out}: already exists; choose another folder or allow overwriting")
    if out.exists() and any(out.iterdir()) and not (out / "manifest.json").is_file():
        raise InputError(f"{out}: is not a bundle and is left alone")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        _sync(draft)
        _replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replace(draft: Path, out: Path) -> None:
    retired = out.with_name(f".{out.name}.{os.getpid()}.retired")
    if out.exists():
        out.rename(retired)
    draft.rename(out)
    _sync_one(out.parent)
    shutil.rmtree(retired, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
