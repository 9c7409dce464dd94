"""From the bytes of a file or a pipe to the bytes of its text: gzip, zstd and UTF-16 undone, binary known by its first bytes.

Each reader pulls raw bytes through a function, so that files, pipes and standard input are read alike, and hands out at most
as many bytes as it is asked for, so that a small file cannot become a large one in memory.
"""

from __future__ import annotations

import codecs
import io
import zlib
from collections.abc import Callable
from typing import Any, Protocol

PULL_BYTES = 1 << 18
MAGIC_BYTES = 8
MAX_ZSTD_WINDOW = 1 << 23
"""Memory that a zstd frame may ask for: what RFC 8878, section 3.1.1.1.2, recommends, and all levels up to 19 need."""
MAX_ZSTD_WINDOW_ALONE = 1 << 27
"""The same where a command reads one file."""
MAX_EMPTY_STEPS = 20_000
"""Empty gzip members that one call passes over."""
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_COMPRESSED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x04\x22\x4d\x18": "lz4"}
_BINARY = {
    b"PK\x03\x04": "a zip archive",
    b"\xff\xfe\0\0": "UTF-32 text; write it as UTF-8",
    b"\0\0\xfe\xff": "UTF-32 text; write it as UTF-8",
    b"ElfFile\0": "a Windows event log (.evtx); export it as JSON or XML",
    b"\xd4\xc3\xb2\xa1": "a packet capture; give the logs that Zeek or Suricata make of it",
    b"\xa1\xb2\xc3\xd4": "a packet capture; give the logs that Zeek or Suricata make of it",
    b"\x0a\x0d\x0d\x0a": "a packet capture; give the logs that Zeek or Suricata make of it",
    b"SQLite f": "an SQLite database",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"MZ\x90\0": "a program",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
}
Pull = Callable[[int], bytes]


class Reader(Protocol):
    """Bytes of the text, in order."""

    @property
    def problem(self) -> str:
        """What is wrong with the source; empty for nothing."""

    @property
    def incomplete(self) -> bool:
        """Whether the compressed form ended before its end mark."""

    @property
    def paused(self) -> bool:
        """Whether the last reading gave nothing for having unpacked so much already."""

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; empty at the (present) end."""


def refusal(start: bytes) -> str:
    """Why a file that begins with these bytes is not read; empty for what is or may be text."""
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            return f"unsupported-compression: {name}"
    return next((f"binary: {name}" for magic, name in _BINARY.items() if start.startswith(magic)), "")


def utf16_of(start: bytes) -> str:
    """The name of the UTF-16 form that text begins with, by its mark or by the zeros of ASCII letters; empty for none."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(start) < 4:
        return ""
    even, odd = start[0:4:2], start[1:4:2]
    if odd == b"\0\0" and even.isascii() and even.decode("ascii").isprintable():
        return "utf-16-le"
    return "utf-16-be" if even == b"\0\0" and odd.isascii() and odd.decode("ascii").isprintable() else ""


def reader_for(start: bytes, pull: Pull, most_window: int = MAX_ZSTD_WINDOW) -> Reader | None:
    """What undoes the form of a file that begins with these bytes; None for bytes that are read as they stand."""
    if start.startswith(GZIP_MAGIC):
        return Text(Gzip(pull))
    if start.startswith(ZSTD_MAGIC):
        return Text(Zstd(pull, most_window))
    return Text(Plain(pull)) if utf16_of(start) else None


class Plain:
    """Bytes as they stand."""

    problem = ""
    incomplete = paused = False

    def __init__(self, pull: Pull) -> None:
        """Take the source."""
        self.read = pull


class Gzip:
    """One or more gzip members (RFC 1952), also while they are being written."""

    def __init__(self, pull: Pull) -> None:
        """Take the source."""
        self._pull, self._pending, self.problem = pull, b"", ""
        self.paused = False
        self._inflate = zlib.decompressobj(31)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; a damaged file sets ``problem`` and ends; very many empty members set ``paused``."""
        self.paused = False
        for _ in range(0 if self.problem else MAX_EMPTY_STEPS):
            if not self._pending:
                self._pending = self._pull(PULL_BYTES)
            if self._inflate.eof and not self._next_member():
                return b""
            starved = not self._pending
            try:
                data = self._inflate.decompress(self._pending, size)
            except zlib.error as error:
                self.problem = f"corrupt-gzip: {error}"
                return b""
            self._pending = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if data or (starved and not self._inflate.eof):
                return data
        self.paused = not self.problem
        return b""

    def _next_member(self) -> bool:
        """Start the next member (RFC 1952, section 2.2), if there is one; zero padding is none."""
        self._pending = self._pending.lstrip(b"\0")
        if not self._pending:
            self._pending = self._pull(PULL_BYTES).lstrip(b"\0")
            if not self._pending:
                return False
        self._inflate = zlib.decompressobj(31)
        return True

    @property
    def incomplete(self) -> bool:
        """Whether a member ended before its trailer."""
        return not self._inflate.eof and not self.problem


class _Pulled(io.RawIOBase):
    """A source as the file that decompressors want."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._pull(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Zstd:
    """zstd frames (RFC 8878), by the standard library from Python 3.14 on or by the package ``zstandard``."""

    incomplete = paused = False

    def __init__(self, pull: Pull, most_window: int) -> None:
        """Take the source; without a decompressor ``problem`` says what to install. A frame may want ``most_window`` bytes."""
        self.problem, self._most_window = "", most_window
        self._file: Any = None
        try:
            import zstandard

            decompressor = zstandard.ZstdDecompressor(max_window_size=most_window)
            source: Any = _Pulled(pull)
            self._file = decompressor.stream_reader(source, read_size=PULL_BYTES, read_across_frames=True)
        except ImportError:
            try:
                from compression import zstd  # type: ignore[import-not-found,unused-ignore]

                options = {zstd.DecompressionParameter.window_log_max: most_window.bit_length() - 1}
                self._file = zstd.ZstdFile(io.BufferedReader(_Pulled(pull)), options=options)
            except ImportError:
                self.problem = "unsupported-compression: zstd (pip install 'edge-demist[zstd]')"

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; a damaged file sets ``problem`` and ends."""
        if self._file is None or self.problem:
            return b""
        try:
            return bytes(self._file.read(size) or b"")
        except (OSError, EOFError, ValueError, RuntimeError) as error:
            self.problem = f"corrupt-zstd: {error}"
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            wide = f"unsupported-compression: zstd with a window over {self._most_window >> 20} MiB (--long or --ultra)"
            self.problem = wide if "too much memory" in str(error) else f"corrupt-zstd: {error}"
        return b""


class Text:
    """UTF-8 of what another reader gives: UTF-16 is turned into it, all else passes."""

    def __init__(self, source: Reader) -> None:
        """Look at the first bytes at the first reading."""
        self._source = source
        self._decoder: codecs.IncrementalDecoder | None = None
        self._known = False
        self._spare = b""

    @property
    def problem(self) -> str:
        """What is wrong with the source."""
        return self._source.problem

    @property
    def incomplete(self) -> bool:
        """Whether the source ended too early."""
        return self._source.incomplete

    @property
    def paused(self) -> bool:
        """Whether the source has paused."""
        return self._source.paused

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes of UTF-8."""
        if not self._known:
            self._look()
            if self._source.paused:
                return b""
        if self._decoder is None:
            if not self._spare:
                return self._source.read(size)
            data, self._spare = self._spare[:size], self._spare[size:]
            return data + self._source.read(size - len(data)) if len(data) < size else data
        while not self._spare:
            more = self._source.read(size)
            if not more:
                break
            self._spare += self._decoder.decode(more).encode("utf-8", "surrogatepass")
        data, self._spare = self._spare[:size], self._spare[size:]
        return data

    def _look(self) -> None:
        while len(self._spare) < MAGIC_BYTES and (more := self._source.read(MAGIC_BYTES)):
            self._spare += more
        self._known = len(self._spare) >= MAGIC_BYTES
        name = utf16_of(self._spare)
        if name:
            self._known = True
            self._decoder = codecs.getincrementaldecoder(name)("surrogatepass")
            self._spare = self._decoder.decode(self._spare).encode("utf-8", "surrogatepass")
