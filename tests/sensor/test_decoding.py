"""Files as they come: compressed, UTF-16, arrays and objects over several lines, binary."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist.sensor.sources.decoding import Text, reader_for, refusal, utf16_of
from edge_demist.sensor.sources.json_splitter import JsonSplitter, is_spread
from edge_demist.sensor.sources.lines import ByteStream
from tests.support.sensor_fakes import balanced, watch_once

RECORDS = [{"EventID": 1, "UtcTime": "2024-05-01 08:00:00.123", "CommandLine": f'cmd /c "echo {{{i}}} \\ [ü] , \\" }}"'} for i in range(40)]
COMMANDS = [r["CommandLine"] for r in RECORDS]
LINES = "".join(json.dumps(r) + "\n" for r in RECORDS)


def zstd(data: bytes) -> bytes:
    return pytest.importorskip("zstandard").ZstdCompressor().compress(data)


FORMS: dict[str, bytes] = {
    "utf-16, as PowerShell writes it": LINES.replace("\n", "\r\n").encode("utf-16"),
    "utf-16 be": b"\xfe\xff" + LINES.encode("utf-16-be"),
    "utf-16 without a mark": LINES.encode("utf-16-le"),
    "utf-16 be without a mark": LINES.encode("utf-16-be"),
    "utf-8 with a mark": b"\xef\xbb\xbf" + LINES.encode(),
    "gzip": gzip.compress(LINES.encode()),
    "gzip in two members": gzip.compress(LINES.encode()[:700]) + gzip.compress(LINES.encode()[700:]),
    "utf-16 in gzip": gzip.compress(LINES.encode("utf-16")),
    "one array": json.dumps(RECORDS).encode(),
    "one array with a mark": b"\xef\xbb\xbf" + json.dumps(RECORDS).encode() + b"\n",
    "an array, an object a line": ("[\n" + ",\n".join(json.dumps(r) for r in RECORDS) + "\n]\n").encode(),
    "an indented array": json.dumps(RECORDS, indent=2).encode(),
    "an indented array as Windows writes it": json.dumps(RECORDS, indent=4).replace("\n", "\r\n").encode("utf-16"),
    "indented objects": "\n".join(json.dumps(r, indent=2) for r in RECORDS).encode(),
    "evtx_dump": "".join(f"Record {i}\n{json.dumps({'Event': {'EventData': r}}, indent=2)}\n" for i, r in enumerate(RECORDS)).encode(),
    "indented, in gzip": gzip.compress(json.dumps(RECORDS, indent=2).encode()),
    "arrays a line": "".join(json.dumps(RECORDS[i : i + 10]) + "\n" for i in range(0, 40, 10)).encode(),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_strings(tmp_path: Path, name: str) -> None:
    (tmp_path / "sysmon.json").write_bytes(FORMS[name])
    events, summary = watch_once(tmp_path, tmp_path / "sysmon.json")
    assert [e["text"] for e in events] == COMMANDS and balanced(summary) and summary["errors"] == 0
    assert all(e["time"] == "2024-05-01T08:00:00.123000Z" for e in events) and len({e["event_id"] for e in events}) == 40


def test_zstd(tmp_path: Path) -> None:
    (tmp_path / "sysmon.json.zst").write_bytes(zstd(LINES.encode()))
    events, summary = watch_once(tmp_path, tmp_path / "sysmon.json.zst")
    assert [e["text"] for e in events] == COMMANDS and summary["errors"] == 0
    (tmp_path / "cut.json.zst").write_bytes(zstd(LINES.encode())[:-30] + b"x" * 30)
    events, summary = watch_once(tmp_path, tmp_path / "cut.json.zst")
    assert summary["errors"] == 1 and "corrupt-zstd" in summary["messages"][0]


OBJECTS = st.dictionaries(st.text(max_size=8), st.text(max_size=30) | st.lists(st.text(max_size=5), max_size=3), max_size=4)


@given(st.lists(OBJECTS, max_size=6), st.integers(1, 64), st.sampled_from([None, 2]), st.booleans())
def test_the_splitter_finds_the_objects_however_they_are_cut(values: list[dict], size: int, indent: int | None, in_array: bool) -> None:
    values = [{"k": 1, **v} for v in values]
    text = json.dumps(values, indent=indent) if in_array else "\n".join(json.dumps(v, indent=indent) for v in values)
    data, splitter = text.encode(), JsonSplitter()
    lines = [line for i in range(0, len(data), size) for line in splitter.feed(data[i : i + size])]
    assert [json.loads(line.data or b"") for line in lines] == values and splitter.finish() is None
    assert all(data[line.start : line.end] == line.data for line in lines)


def test_a_broken_object_does_not_take_the_next_ones_along() -> None:
    text = b'{\n  "a": "no end,\n  "b": [\n{\n  "c": 1\n}\n{\n  "d": 2\n}\n'
    lines = JsonSplitter().feed(text)
    assert [line.data for line in lines[1:]] == [b'{\n  "c": 1\n}', b'{\n  "d": 2\n}']
    splitter = JsonSplitter(limit=20)
    long, short = splitter.feed(b'[{"a": "' + b"x" * 50 + b'"},{"b":1}]')
    assert long.data is None and short.data == b'{"b":1}'
    assert splitter.feed(b'{"a":') == [] and splitter.finish().data == b'{"a":'  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("head", "spread"),
    [
        (b'[{"a":1}', True),
        (b"[\n", True),
        (b'{\n "a"', True),
        (b"Record 1\n{", True),
        (b'{"a":1}\n', False),
        (b"[2024-05-01] x", False),
        (b'{"a":\n', False),
        (b"", False),
        (b"a.example\n", False),
    ],
)
def test_what_is_spread(head: bytes, spread: bool) -> None:
    assert is_spread(head) is spread


@pytest.mark.parametrize(
    ("start", "word"),
    [
        (b"ElfFile\0\0", "evtx"),
        (b"PK\x03\x04....", "zip"),
        (b"\xd4\xc3\xb2\xa1....", "capture"),
        (b"BZh91AY&", "bzip2"),
        (b"SQLite format 3", "SQLite"),
    ],
)
def test_binary_is_refused_by_name(tmp_path: Path, start: bytes, word: str) -> None:
    assert word in refusal(start) and not refusal(b"a.example\n") and not refusal(b'{"a":1}')
    (tmp_path / "x.log").write_bytes(start + bytes(range(256)))
    _, summary = watch_once(tmp_path, tmp_path / "x.log")
    assert summary["errors"] == 1 and word in summary["messages"][0]


@given(st.text(min_size=2).filter(lambda t: not t.startswith("\ufeff")), st.integers(1, 9), st.sampled_from(["utf-16-le", "utf-16-be"]))
def test_utf_16_is_read_whole_in_any_portions(text: str, size: int, form: str) -> None:
    mark = b"\xff\xfe" if form == "utf-16-le" else b"\xfe\xff"
    source = io.BytesIO(mark + text.encode(form, "surrogatepass"))
    reader = reader_for(mark + b"....", source.read)
    assert isinstance(reader, Text)
    read = b"".join(iter(lambda: reader.read(size), b""))
    assert read == text.encode("utf-8", "surrogatepass") and max(map(len, iter(lambda: reader.read(size), b"")), default=0) <= size


@pytest.mark.parametrize("raw", [b"", b"a", b"ab", b"a.example", b"\0\0\0\0", "ü".encode(), b"{}\n", b"\xff\xfd.."])
def test_what_is_not_utf_16_is_not_taken_for_it(raw: bytes) -> None:
    assert not utf16_of(raw)


@pytest.mark.parametrize("name", ["utf-16, as PowerShell writes it", "gzip", "utf-16 in gzip"])
def test_any_offset_can_be_gone_back_to(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(FORMS[name])
    stream = ByteStream(tmp_path / "x")
    whole = b"".join(iter(stream.read, b""))
    stream.close()
    for offset in (0, 1, 333, len(whole) - 1):
        again = ByteStream(tmp_path / "x", offset)
        assert b"".join(iter(again.read, b"")) == whole[offset:] and again.translated
        again.close()
