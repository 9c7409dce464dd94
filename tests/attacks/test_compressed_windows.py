"""What compressed logs make the sensor hold: windows of zstd frames, many of them at a time, and readers that were closed."""

from __future__ import annotations

import gc
import json
import weakref

import pytest

from edge_demist.sensor.counters import Counters
from edge_demist.sensor.sources.decoding import MAX_ZSTD_WINDOW
from edge_demist.sensor.sources.lines import ByteStream
from edge_demist.sensor.sources.log_file import MAX_WIDE
from edge_demist.sensor.sources.tail import Tailer

zstandard = pytest.importorskip("zstandard")
FILES, RECORDS = 2 * MAX_WIDE, 4


def packed(raw: bytes, window_log: int = 23) -> bytes:
    """One frame that says it needs a window of that size (its content's size is not told, so the window is not made smaller)."""
    options = zstandard.ZstdCompressionParameters.from_level(1, window_log=window_log, write_content_size=0)
    chunker = zstandard.ZstdCompressor(compression_params=options).compressobj()
    return chunker.compress(raw) + chunker.flush()


@pytest.mark.parametrize("window_log", [24, 27, 30])
def test_a_frame_that_wants_much_memory_is_refused_by_name(tmp_path, window_log):
    path = tmp_path / "dns.log.zst"
    path.write_bytes(packed(b"a.example\n" * 100, window_log))
    stream = ByteStream(path)
    assert stream.read() == b""
    stream_problem = stream.problem
    stream.close()
    assert f"window over {MAX_ZSTD_WINDOW >> 20} MiB" in stream_problem


def test_a_frame_that_wants_what_every_reader_must_give_is_read(tmp_path):
    path = tmp_path / "dns.log.zst"
    path.write_bytes(packed(b"a.example\n" * 100))
    stream = ByteStream(path)
    assert stream.read() == b"a.example\n" * 100
    stream.close()


def test_few_of_many_are_open_at_a_time_and_all_are_read(tmp_path):
    for number in range(FILES):
        times = [1700000000.0 + FILES * row + number for row in range(RECORDS)]
        lines = [json.dumps({"_path": "dns", "ts": t, "query": "a.example", "pad": "x" * 300_000}) for t in times]
        (tmp_path / f"dns{number}.log.zst").write_bytes(packed("\n".join(lines).encode() + b"\n"))
    tailer = Tailer([tmp_path], Counters(), once=True)
    most = lines_read = 0
    try:
        tailer.scan()
        for _ in range(1000):
            portion = tailer.next_lines(1)
            if portion is None:
                break
            source, lines = portion
            for line in lines:
                source.parser.parse(line.data or b"")
            lines_read += len(lines)
            most = max(most, sum(source.is_open for source in tailer.sources.values()))
            tailer.close_finished()
    finally:
        tailer.close()
    assert lines_read == FILES * RECORDS
    assert 0 < most <= MAX_WIDE


def test_a_closed_stream_is_gone_without_a_search_for_circles(tmp_path):
    path = tmp_path / "dns.log.zst"
    path.write_bytes(packed(b"a.example\n"))
    gc.disable()
    try:
        stream = ByteStream(path)
        stream.read()
        seen = weakref.ref(stream._reader)
        stream.close()
        assert seen() is None
    finally:
        gc.enable()
