"""Cutting bytes into lines: any chunks, any length, gzip in any state."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.sensor.sources.lines import ByteStream, LineSplitter, RawLine


def split(chunks: list[bytes], **options: int) -> list[RawLine]:
    splitter = LineSplitter(**options)  # type: ignore[arg-type]
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    rest = splitter.finish()
    return lines + ([rest] if rest else [])


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"x", b"\n")), max_size=10))
def test_lines_do_not_depend_on_chunks(chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    lines = split(chunks)
    assert lines == split([data])
    rebuilt = b"".join((line.data or b"") + (b"\n" if line.terminated else b"") for line in lines)
    assert rebuilt == data
    assert all(data[line.start : line.start + len(line.data or b"")] == line.data for line in lines)
    assert [a.end for a in lines[:-1]] == [b.start for b in lines[1:]]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 30))
def test_long_lines_are_counted_not_held(lengths: list[int], limit: int) -> None:
    data = b"".join(b"y" * n + b"\n" for n in lengths)
    lines = split([data[i : i + 7] for i in range(0, len(data), 7)], limit=limit)
    assert [line.data is None for line in lines for _ in range(line.lines)] == [n > limit for n in lengths]


def test_an_endless_line_takes_no_memory() -> None:
    splitter = LineSplitter(limit=1000)
    for _ in range(1000):
        assert splitter.feed(b"z" * 1000) == []
    assert splitter._parts == [] and splitter.pending
    (line,) = splitter.feed(b"\n")
    assert line == RawLine(0, 1_000_001, None)


def test_the_rest_of_a_line_taken_early_is_dropped() -> None:
    splitter = LineSplitter(10, skip_rest=True)
    assert splitter.feed(b"rest of it\nnext\n") == [RawLine(21, 26, b"next")]


def read_all(path: Path, offset: int = 0, size: int = 1000) -> tuple[bytes, ByteStream]:
    stream, data = ByteStream(path, offset), b""
    while chunk := stream.read(size):
        assert len(chunk) <= size
        data += chunk
    return data, stream


@given(data=st.binary(max_size=5000), offset=st.integers(0, 6000), size=st.integers(1, 3000))
def test_gzip_reads_like_plain_from_any_offset(tmp_path_factory: pytest.TempPathFactory, data: bytes, offset: int, size: int) -> None:
    folder = tmp_path_factory.mktemp("gz")
    (folder / "p").write_bytes(b"A" + data)
    (folder / "z").write_bytes(gzip.compress(b"A" + data))
    plain, _ = read_all(folder / "p", offset, size)
    packed, stream = read_all(folder / "z", offset, size)
    assert plain == packed == (b"A" + data)[offset:]
    assert not stream.incomplete and not stream.problem


def test_several_members_and_zero_padding(tmp_path: Path) -> None:
    (tmp_path / "z").write_bytes(gzip.compress(b"one\n") + gzip.compress(b"") + b"\0" * 100 + gzip.compress(b"two\n") + b"\0" * 600)
    data, stream = read_all(tmp_path / "z")
    assert data == b"one\ntwo\n" and not stream.incomplete


@pytest.mark.parametrize("cut", [3, 11, 200, -1, -8])
def test_truncated_gzip_gives_what_there_is(tmp_path: Path, cut: int) -> None:
    text = b"".join(b"%d\n" % i for i in range(3000))
    packed = gzip.compress(text)
    (tmp_path / "z").write_bytes(packed[:cut])
    data, stream = read_all(tmp_path / "z")
    assert text.startswith(data) and stream.incomplete and not stream.problem


def test_damage_in_the_middle_is_told(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"".join(b"%d\n" % (i * 7919) for i in range(5000))))
    packed[len(packed) // 2] ^= 0xFF
    packed[len(packed) // 2 + 1] ^= 0xFF
    (tmp_path / "z").write_bytes(packed)
    _, stream = read_all(tmp_path / "z")
    assert stream.problem.startswith("corrupt-gzip")


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_a_bomb_is_read_in_small_pieces(tmp_path: Path, form: str) -> None:
    packer = zlib.compressobj(9, wbits=31) if form == "gzip" else pytest.importorskip("zstandard").ZstdCompressor().compressobj()
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    (tmp_path / "z").write_bytes(bomb)
    tracemalloc.start()
    stream, total = ByteStream(tmp_path / "z"), 0
    while chunk := stream.read(65536):
        assert len(chunk) <= 65536
        total += len(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 64 << 20 and peak < 8 << 20


@pytest.mark.parametrize(("magic", "name"), [(b"\x04\x22\x4d\x18", "lz4"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz")])
def test_other_compressions_are_named(tmp_path: Path, magic: bytes, name: str) -> None:
    (tmp_path / "f").write_bytes(magic + b"rest")
    assert ByteStream(tmp_path / "f").problem == f"unsupported-compression: {name}"
