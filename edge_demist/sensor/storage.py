"""The few durable file operations that the sensor makes, in one place.

Every write, fsync, truncate and rename goes through :class:`Disk`, so that a test can fail or cut power at each.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from edge_demist.io import is_special, write_special


class Disk:
    """Plain POSIX calls; sub-classed by the fault-injection tests."""

    def open_append(self, path: Path) -> int:
        """Open for appending, readable, made if absent (mode 0640); a regular file, or OSError."""
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o640)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return fd

    def open_new(self, path: Path) -> int:
        """Make a file that is not there yet, for writing; a link is not followed."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """One ``write``; the number of bytes taken may be smaller than asked."""
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        """Force data and size to the device."""
        os.fsync(fd)

    def truncate(self, fd: int, length: int) -> None:
        """Cut the file to a length in bytes."""
        os.ftruncate(fd, length)

    def rename(self, old: Path, new: Path) -> None:
        """Rename atomically, replacing ``new``."""
        old.replace(new)

    def fsync_dir(self, folder: Path) -> None:
        """Make renames and new files in a folder durable."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.fsync(fd)
        finally:
            self.close(fd)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def write_all(self, fd: int, data: bytes) -> None:
        """Write everything, over as many calls as it takes."""
        view = memoryview(data)
        while view:
            view = view[self.write(fd, view) :]

    def replace_file(self, path: Path, data: bytes | Iterable[bytes], *, own: bool = False) -> None:
        """Replace a file's content as a whole: temporary file, fsync, rename, fsync of the folder.

        ``data`` may come in pieces. The temporary file is new and has a name that nobody can foresee. A pipe or a device is written
        to and stays; of a link the file that it leads to is replaced. Not so with a name of our ``own``, as those of the state folder
        are: whatever stands there gives way to the file.
        """
        pieces = (data,) if isinstance(data, bytes) else data
        if not own and is_special(path):
            write_special(path, b"".join(pieces))
            return
        path = path if own else Path(os.path.realpath(path))
        temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
        fd = self.open_new(temporary)
        try:
            try:
                for piece in pieces:
                    self.write_all(fd, piece)
                self.fsync(fd)
            finally:
                self.close(fd)
            self.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        self.fsync_dir(path.parent)
