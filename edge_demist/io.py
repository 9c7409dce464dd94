"""Opening, reading and replacing files whose names others may have put there.

A name can stand for a pipe, a device or a link: opening one may wait for ever, reading one may never end, and replacing one
may destroy what the name stood for. Everything here opens without waiting, looks at what was opened, and only then reads or
writes. Text for a terminal goes through :func:`shown` or :func:`printable`.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO, Protocol

    class Readable(Protocol):
        """What hands out bytes as they come in; empty at the end."""

        def read1(self, size: int, /) -> bytes:
            """Up to ``size`` bytes."""


TEMPORARY_TRIES = 16
WRITE_WAIT_S, LEAST_BYTES_A_WAIT = 1.0, 1 << 16
BATCH_LINES = 2048


def _flags(*names: str) -> int:
    """Flags of ``os.open``, those that this system has."""
    total = getattr(os, "O_BINARY", 0)
    for name in names:
        total |= getattr(os, name, 0)
    return int(total)


def open_regular(path: Path | str, *, follow: bool = True) -> int:
    """Open a regular file for reading and return its descriptor; a pipe or a device never keeps us waiting.

    Args:
        path: the file.
        follow: whether a symbolic link may lead to it.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    flags = _flags("O_RDONLY", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "" if follow else "O_NOFOLLOW")
    handle = os.open(path, flags)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "is a directory", os.fspath(path))
    raise OSError(22, "is no regular file", os.fspath(path))


def read_bounded(path: Path | str, limit: int) -> bytes | None:
    """The content of a regular file, or None where it has more than ``limit`` bytes.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with open(open_regular(path), "rb") as stream:
        raw = stream.read(limit + 1)
    return None if len(raw) > limit else raw


def is_special(path: Path | str) -> bool:
    """Whether a name stands for something that must be written to, not replaced: a pipe, a device, a socket, a link to one."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def create_beside(path: Path | str, mode: int = 0o600) -> tuple[str, int]:
    """Create a new file with a name nobody can foresee in the folder of ``path``; returns its name and descriptor.

    Raises:
        OSError: the folder cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(path))
    for attempt in range(TEMPORARY_TRIES):
        temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
        try:
            return temporary, os.open(temporary, _flags("O_WRONLY", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC"), mode)
        except FileExistsError:
            if attempt + 1 == TEMPORARY_TRIES:
                raise
    raise AssertionError("unreachable")


def replace_file(path: Path | str, data: bytes, mode: int = 0o600, *, sync: bool = True) -> None:
    """Put ``data`` in the place of a file, whole or not at all.

    What is no regular file (``/dev/stdout``, a pipe) is written to and stays what it is. A symbolic link stays too: the file
    that it leads to is replaced.

    Raises:
        OSError: the place cannot be written.
    """
    if is_special(path):
        write_special(path, data)
        return
    target = os.path.realpath(path)
    _replace(target, lambda stream: stream.write(data), mode, sync=sync)


def _replace(target: str, write: Callable[[BinaryIO], object], mode: int, *, sync: bool) -> None:
    temporary, handle = create_beside(target, mode)
    try:
        with open(handle, "wb") as stream:
            write(stream)
            if hasattr(os, "fchmod"):
                os.fchmod(stream.fileno(), mode)
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        sync_folder(os.path.dirname(target))


@contextlib.contextmanager
def replacing(path: Path | str, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of a file when the block ends, whole or not at all (see :func:`replace_file`).

    Raises:
        OSError: the place cannot be written.
    """
    target = os.path.realpath(path)
    temporary, handle = create_beside(target, mode)
    try:
        with open(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(target))


def bounded_lines(stream: BinaryIO | Readable, limit: int, read_bytes: int = 1 << 18) -> Iterator[list[tuple[bytes, bool]]]:
    """Lines of a stream, at most as many as one read brought, so that a slow pipe is answered at once.

    Yields:
        Batches of (line without its end, whether it was cut): of a line longer than ``limit`` bytes the rest is read past.
    """
    pending, skipping = bytearray(), False
    reader = getattr(stream, "read1", None) or getattr(stream, "read")  # noqa: B009
    while block := reader(read_bytes):
        *ends, rest = block.split(b"\n")
        batch: list[tuple[bytes, bool]] = []
        for part in ends:
            if not skipping:
                pending += part
            cut = skipping or len(pending) > limit
            line = bytes(pending[:limit])
            batch.append((line[:-1] if line.endswith(b"\r") and not cut else line, cut))
            pending.clear()
            skipping = False
            if len(batch) >= BATCH_LINES:
                yield batch
                batch = []
        if not skipping:
            pending += rest
            if len(pending) > limit:
                del pending[limit:]
                skipping = True
        if batch:
            yield batch
    if pending:
        yield [(bytes(pending), skipping)]


def write_special(path: Path | str, data: bytes) -> None:
    """Write to a pipe or a device that somebody reads.

    A reader who takes nothing for a second is not waited for, nor one who takes less than 64 kB a second.

    Raises:
        OSError: nobody reads the pipe, or it is full.
    """
    handle = os.open(path, _flags("O_WRONLY", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC"))
    try:
        view, until = memoryview(data), time.monotonic() + WRITE_WAIT_S * (1 + len(data) / LEAST_BYTES_A_WAIT)
        while view:
            try:
                view = view[os.write(handle, view) :]
            except BlockingIOError:
                if time.monotonic() > until or not select.select([], [handle], [], WRITE_WAIT_S)[1]:
                    raise
    finally:
        os.close(handle)


def sync_folder(folder: Path | str) -> None:
    """Make a renaming durable, where folders can be opened (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def shown(text: object, limit: int = 400) -> str:
    """Text as a column of a table: ASCII alone, everything else and the backslash escaped, cut to ``limit`` characters."""
    whole = str(text)
    return whole[:limit].encode("unicode_escape").decode("ascii") + ("…" if len(whole) > limit else "")


def printable(text: object) -> str:
    """A message as a terminal may see it: control, bidi and escape characters escaped, letters of any script as they are."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def spelled_out(text: str) -> str:
    """Text that every program takes as UTF-8: halves of characters are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def brief(value: object, limit: int = 60) -> str:
    """The beginning of a hostile value, for a message; its kind where it is nested too deeply to be written."""
    try:
        return repr(value)[:limit]
    except (RecursionError, ValueError):
        return f"a {type(value).__name__}"
