"""Which files to read: given paths, logs below given folders, and rotated siblings of a given file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from edge_demist.sensor.sources.lines import FileId

_LOG_NAME = re.compile(r"(?!\.).*\.(?:log|json|jsonl|ndjson)(?:[.\-_][\w:.\-+]*)?\Z")
MAX_IGNORED = 1000
_NOT_LOGS = re.compile(r"\.(?:tmp|temp|swp|bad|part|sha256|toml)\Z")


class Found(NamedTuple):
    """A regular file; ``sibling_of`` is the given file that it looks like a rotation of."""

    path: Path
    info: os.stat_result
    sibling_of: Path | None = None

    @property
    def file_id(self) -> FileId:
        """Device and inode."""
        return self.info.st_dev, self.info.st_ino


@dataclass(slots=True)
class Discovery:
    """The outcome of one look: files by device and inode, given paths that are missing, files passed over."""

    files: dict[FileId, Found] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)

    def add(self, found: Found) -> None:
        """Add a file once, under the first name it was found by; a name that was given beats a sibling's."""
        known = self.files.get(found.file_id)
        if known is None or (known.sibling_of is not None and found.sibling_of is None):
            self.files[found.file_id] = found


class _Barred:
    """Paths never to read: our own output, its rotated parts, our state."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._real = [os.path.realpath(path) for path in paths]

    def __contains__(self, path: object) -> bool:
        if not self._real:
            return False
        real = os.path.realpath(str(path))
        return any(real == own or real.startswith((f"{own}.", f"{own}{os.sep}")) for own in self._real)


def is_log_name(name: str) -> bool:
    """Whether a file in a watched folder is taken for a log, by its name."""
    return _LOG_NAME.match(name) is not None and _NOT_LOGS.search(name) is None


def is_rotation_of(name: str, base: str) -> bool:
    """Whether ``name`` is what a rotation makes of ``base``: ``eve.json.1.gz``, ``dns.2024-01-01.log``, ``dns-1.log.gz``."""
    if name == base:
        return False
    if name.startswith((f"{base}.", f"{base}-")):
        return True
    stem, dot, extension = base.partition(".")
    return bool(dot) and re.fullmatch(rf"{re.escape(stem)}[.\-_].+\.{re.escape(extension)}(\.gz)?", name) is not None


def is_related(path: Path, old: Path) -> bool:
    """Whether a name could be a later name of a vanished file: another name, the same first word."""
    return path.name != old.name and path.name.split(".")[0].split("-")[0] == old.name.split(".")[0].split("-")[0]


def is_copy_of(path: Path, old: Path) -> bool:
    """Whether a file looks like the copy that gzip or logrotate's copytruncate is making of a standing one."""
    return path.parent == old.parent and path.name.startswith((f"{old.name}.", f"{old.name}-"))


def discover(
    paths: Iterable[Path], exclude: Iterable[Path] = (), *, siblings: bool = True, breathe: Callable[[], None] = lambda: None
) -> Discovery:
    """Look at all paths.

    Args:
        paths: files and folders; folders are searched in depth, following links, each folder once.
        exclude: files and folders (the output, the state) that are never read.
        siblings: whether rotated siblings of a given file are listed.
        breathe: called now and then; may raise to end the look.
    """
    result = Discovery()
    barred = _Barred(exclude)
    for path in paths:
        try:
            info = path.stat()
        except OSError as error:
            result.problems[str(path)] = error.strerror or str(error)
            info = None
        if info is not None and stat.S_ISDIR(info.st_mode):
            _walk(path, barred, result, breathe)
            continue
        if info is not None and stat.S_ISREG(info.st_mode):
            result.add(Found(path, info))
        elif info is not None:
            result.problems[str(path)] = "not a file or folder"
        if siblings:
            for sibling in _siblings(path, barred):
                result.add(sibling)
    return result


def _walk(root: Path, barred: _Barred, result: Discovery, breathe: Callable[[], None]) -> None:
    seen: set[FileId] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=lambda e: _note(result, e)):
        try:
            info = Path(folder).stat()
        except OSError:
            continue
        if (info.st_dev, info.st_ino) in seen or folder in barred:
            subfolders.clear()
            continue
        seen.add((info.st_dev, info.st_ino))
        subfolders.sort()
        for name in sorted(names):
            breathe()
            path = Path(folder, name)
            if not is_log_name(name):
                if len(result.ignored) < MAX_IGNORED and path not in barred:
                    result.ignored.append(str(path))
                continue
            if path in barred:
                continue
            found = _stat_file(path)
            if found is not None:
                result.add(found)


def _note(result: Discovery, error: OSError) -> None:
    result.problems[str(error.filename)] = error.strerror or str(error)


def _stat_file(path: Path, sibling_of: Path | None = None) -> Found | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return Found(path, info, sibling_of) if stat.S_ISREG(info.st_mode) else None


def _siblings(path: Path, barred: _Barred) -> Iterator[Found]:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:
        return
    for name in names:
        if is_rotation_of(name, path.name) and _NOT_LOGS.search(name) is None:
            sibling = path.parent / name
            found = None if sibling in barred else _stat_file(sibling, path)
            if found is not None:
                yield found
