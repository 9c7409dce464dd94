"""The few durable file operations that the sensor makes, in one place.

Every write, fsync, truncate and rename goes through :class:`Disk`, so that a test can fail or cut power at each.
"""

from __future__ import annotations

import os
from pathlib import Path


class Disk:
    """Plain POSIX calls; sub-classed by the fault-injection tests."""

    def open_append(self, path: Path) -> int:
        """Open for appending, readable, made if absent (mode 0640)."""
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def open_new(self, path: Path) -> int:
        """Open empty for writing."""
        return os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, 0o640)

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

    def replace_file(self, path: Path, data: bytes) -> None:
        """Replace a file's content as a whole: temporary file, fsync, rename, fsync of the folder."""
        temporary = path.with_name(f".{path.name}.tmp")
        fd = self.open_new(temporary)
        try:
            self.write_all(fd, data)
            self.fsync(fd)
        finally:
            self.close(fd)
        self.rename(temporary, path)
        self.fsync_dir(path.parent)
