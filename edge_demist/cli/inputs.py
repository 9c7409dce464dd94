"""Opening what a command reads: a file or standard input, compressed or not, UTF-8 or UTF-16; binary is refused by name."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge_demist.errors import InputError
from edge_demist.io import printable
from edge_demist.sensor.sources.decoding import MAGIC_BYTES, MAX_ZSTD_WINDOW_ALONE, reader_for, refusal

_BOM = b"\xef\xbb\xbf"
_LOOKED_AT = 4096
_LEAST_LOOKED_AT = 64
_BINARY_SHARE = 0.1
_BROKEN_SHARE = 0.2
_CONTROL = bytes({*range(32), 127} - {*b"\t\n\r\x1b"})


class Decoded:
    """The text of a stream as bytes of UTF-8, handed out as it comes in."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """Look at the first bytes.

        Raises:
            InputError: they are those of a binary file.
        """
        self._raw, self._name, self._first = getattr(stream, "read1", stream.read), name, True
        start = b""
        while len(start) < MAGIC_BYTES and b"\n" not in start.replace(b"\n\0", b"") and (more := self._raw(1 << 18)):
            start += more
        self._start = start
        why = refusal(start)
        if why:
            raise InputError(f"{printable(name)}: {why}")
        self._reader = reader_for(start, self._pull, MAX_ZSTD_WINDOW_ALONE)
        if self._reader is None and _is_binary(start):
            raise InputError(f"{printable(name)}: binary: it holds bytes that no text has; give text, one string a line")

    def _pull(self, size: int) -> bytes:
        if self._start:
            data, self._start = self._start[:size], self._start[size:]
            return data
        return bytes(self._raw(size))

    def read1(self, size: int) -> bytes:
        """Up to ``size`` bytes, empty at the end.

        Raises:
            InputError: the compressed form is damaged or cut.
        """
        data = self._pull(size) if self._reader is None else self._reader.read(size)
        if not data and self._reader is not None:
            why = self._reader.problem or ("truncated-gzip" if self._reader.incomplete else "")
            if why:
                raise InputError(f"{printable(self._name)}: {why}; what stands before it was read")
        if self._first and data:
            self._first, data = False, data.removeprefix(_BOM)
            return data or self.read1(size)
        return data


def _is_binary(start: bytes) -> bool:
    """Whether it holds many control characters, or some and much that is no UTF-8 (text in an older code page has none of the former)."""
    looked_at = start[:_LOOKED_AT]
    size = len(looked_at)
    if size < _LEAST_LOOKED_AT:
        return False
    control = size - len(looked_at.translate(None, _CONTROL))
    broken = size - len(looked_at.decode("utf-8", "ignore").encode())
    return control > _BINARY_SHARE * size or (control > 0.1 * _BINARY_SHARE * size and broken > _BROKEN_SHARE * size)


@contextlib.contextmanager
def opened(name: str) -> Iterator[Decoded]:
    """A file, or standard input for ``-``, as text.

    Raises:
        InputError: it cannot be read, or is binary.
    """
    with binary(name) as stream:
        yield Decoded(stream, "standard input" if name == "-" else name)


@contextlib.contextmanager
def binary(name: str) -> Iterator[BinaryIO]:
    """A file, or standard input for ``-``, as it is.

    Raises:
        InputError: it cannot be read.
    """
    if name == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed; give a file")
        yield sys.stdin.buffer
        return
    try:
        if Path(name).is_dir():
            raise InputError(f"{name}: is a directory; give a file or -")
        stream = Path(name).open("rb")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}") from None
    with stream:
        yield stream
