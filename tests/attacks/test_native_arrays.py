"""Odd arrays, lengths and limits: every entry point of native code refuses them; none is read or written past its end.

Each case runs in a process of its own, so that a fault is a signal and not the end of the tests.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edge_demist.errors import InputError
from edge_demist.native import arrays

PREPARE = """
import sys
import numpy as np
from edge_demist import EdgeDemist
from edge_demist.errors import EdgeDemistError
m = EdgeDemist.load(); e, t = m.engine, m.tokenizer
s = m.specialist("dga"); h, g = m.inference.heads, m.inference.ngrams_of(s); ad = s.adapter; H = m.dim; D = g.dim
ids = np.full(5, 2, np.int32); long = b"example.com" * 100; n = len(long)
def off(*values, kind=np.int32): return np.array(values, kind)
def rows(count, columns): return np.zeros((count, columns), np.float32)
for line in sys.stdin.read().splitlines():
    print("trying", line, flush=True)
    try: eval(line); print("answered", line, flush=True)
    except EdgeDemistError: print("refused", line, flush=True)
print("alive")
"""
REFUSED = """\
g.scores([long], rows(2, D + 1), np.zeros(2, np.float32))
g.scores([long], rows(2, D), np.zeros(3, np.float32))
g.scores([long], rows(1, D)[0], np.zeros(1, np.float32))
g.scores([None], rows(2, D), np.zeros(2, np.float32))
e.encode(ids.astype(np.int64) + 2**32, off(0, 5))
e.encode(ids.astype(float), off(0, 5))
e.encode(-ids, off(0, 5))
e.encode(ids + 2**30, off(0, 5))
e.encode(ids, off(0, 500, 5))
e.encode(ids, off(0, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096, 5))
e.encode(ids, off(0, 2**31 - 1, -2**31, 5))
e.encode(ids, off(0, 2**32, 5, kind=np.int64))
e.encode(ids, off(0, 0, 5))
e.encode(ids, off(1, 5))
e.encode(ids, off(0, 6))
e.encode(ids, np.zeros(0, np.int32))
e.encode(ids, off(0, 5).reshape(1, 2))
e.encode(np.full(513, 2, np.int32), off(0, 513))
e.encode(np.full((2, 2), 2, np.int32), off(0, 4))
e.encode(ids, off(0, 5), [ad], off(5))
e.encode(ids, off(0, 5), [ad], off(2**32 + 1, kind=np.int64))
e.encode(ids, off(0, 5), [ad], off(0, 0))
type(e)(m.bundle, threads=4).encode(np.full(600, 2, np.int32), off(0, 500, 100, 600))
e.encode_text(t, "abc")
e.encode_text(t, None)
e.encode_text(t, 5)
e.encode_text(t, b"ab." * 7_000_000)
e.encode_text(t, b"abc", 2.5)
e.classify_text(t, g, h.table(s), "abc", 64, ad)
e.classify_text(t, None, h.table(s), b"abc", 64, ad)
t.encode_batch(["abc"])
t.encode_batch([b"abc"], 1.5)
t.encode_batch([np.arange(50), b"abc"])
t.encode_batch([5])
t.encode_packed(long, off(0, n, kind=np.float64))
t.encode_packed(b"abc", np.zeros(0, np.int64))
t.encode_packed(b"abc", off(1, 3, kind=np.int64))
t.encode_packed(b"abc", off(0, 2**62, -2**62, 3, kind=np.int64))
t.encode_packed(b"abc", off(0, 2, kind=np.int64))
t.encode_packed(np.arange(10), off(0, 10, kind=np.int64))
t.encode_packed("abc", off(0, 3, kind=np.int64))
t.pieces([10**9])
t.pieces([-1])
t.pieces([1.5])
g.encode_packed(long, off(0, n, kind=np.float64))
g.encode_packed(b"abc", off(0, 2**62, -2**62, 3, kind=np.int64))
g.encode_packed(b"abc", np.zeros(0, np.int64))
g.encode_packed("abc", off(0, 3, kind=np.int64))
h.probabilities(s, rows(2, 100), rows(2, D))
h.probabilities(s, rows(400000, H), rows(1, D))
h.probabilities(s, rows(2, H), rows(2, D + 16))
h.probabilities(s, rows(2, H), None)
h.probabilities(s, np.zeros(H, np.float32), rows(1, D))
h.probabilities(s, np.full((2, H), "x"), rows(2, D))
"""
ANSWERED = """\
g.scores([long, b"", b"x" * 100_000], rows(2, 2 * D)[:, ::2], np.zeros(4)[::2])
g.scores([], rows(2, D), np.zeros(2))
e.encode(np.arange(20, dtype=np.int32)[::2], off(0, 10))
e.encode(ids.astype(">i4"), off(0, 5).astype(">i4"))
e.encode(ids, off(0, 5), [ad], off(-7))
e.encode(ids[:0], off(0))
e.encode_text(t, b"a." * 1500, 0)
[e.encode_text(t, b"a." * 1500, -30) for _ in range(3)]
e.encode_text(t, bytearray(b"abc"))
e.classify_text(t, g, h.table(s), b"a." * 1500, -30, ad)
t.encode_batch([b"abc"], 2**63)
t.encode_batch([b"abc"] * 5, 2**64 - 5, add_special_tokens=True)
t.encode_batch([memoryview(np.arange(50)), memoryview(b"abcdefgh")[::2], bytearray(b"abc")])
t.encode_packed(long, off(0, 0, n, n))
t.encode_packed(long, np.array([0, 1 << 40, n, 1 << 40], np.int64)[::2])
t.encode_packed(long, np.array([0, n], ">i8"))
t.encode_packed(b"abc", [0, 3])
g.encode_packed(long, off(0, 0, n, n))
g.encode_packed(long, np.array([0, 1 << 40, n, 1 << 40], np.int64)[::2])
g.encode_packed(b"abc", np.array([0, 3], ">i8"))
g.encode_batch([memoryview(np.arange(50)), b"abc"])
h.probabilities(s, rows(2, H)[::-1], rows(2, D))
m.classify(np.array(["a.com", "b.com"]), task="dga")
m.classify(["a" * 10_000_000, b"\\xff" * 10_000_000], task="uri-attack")
m.encode(["a", "b"], batch_size=10**30)
"""


def outcomes(lines):
    command = [sys.executable, "-X", "faulthandler", "-c", PREPARE]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-600:]}"
    said = done.stdout.splitlines()
    assert said[-1] == "alive"
    return dict(reversed(line.split(" ", 1)) for line in said[:-1] if not line.startswith("trying"))


@pytest.mark.parametrize(("lines", "expected"), [(REFUSED, "refused"), (ANSWERED, "answered")], ids=["refused", "answered"])
def test_odd_arrays(lines, expected):
    found = outcomes(lines)
    assert found == dict.fromkeys(lines.splitlines(), expected)


def test_a_converted_array_keeps_its_values():
    assert arrays.whole([1, 2], np.int32, "x").tolist() == [1, 2]
    assert arrays.whole(np.array([1, 2], ">i8"), np.int32, "x").dtype == np.int32
    assert arrays.whole(np.array([], np.float64), np.int32, "x").tolist() == []
    for wrong in ([2**31], [1.0], [[1]], ["1"], [None]):
        with pytest.raises(InputError):
            arrays.whole(wrong, np.int32, "x")


def test_bytes_that_lie_about_their_length():
    class Liar(bytes):
        def __len__(self):
            return 1 << 20

    assert arrays.packed([Liar(b"abc"), b"d"])[1].tolist() == [0, 3, 4]
