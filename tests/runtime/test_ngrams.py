"""Hashed n-grams against the definition in docs/explanation/architecture.md, written out in Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.errors import BundleError, InputError
from edge_demist.native import library as native
from edge_demist.text.ngrams import Ngrams
from tests.support.bundles import random_bundle

SHAPES = [(4096, 64, 2, 5, 512), (1024, 16, 1, 3, 40), (256, 80, 3, 3, 100), (512, 128, 2, 8, 64)]


def expected(bundle, text):
    config = bundle.ngrams
    data = b"\x02" + text[: config.max_bytes] + b"\x03"
    total, count = np.zeros(config.dim, np.int64), 0
    for start in range(len(data)):
        for n in range(config.min_n, config.max_n + 1):
            if start + n <= len(data):
                h = 0x811C9DC5
                for byte in data[start : start + n]:
                    h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
                total += bundle.tensors["ngrams.weight"][(h ^ (h >> 15)) & (config.buckets - 1)]
                count += 1
    factor = np.float32(1) / np.sqrt(np.float32(count)) if count else np.float32(0)
    return total.astype(np.float32) * bundle.tensors["ngrams.scale"] * factor


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def bundle(request):
    return random_bundle(1, layers=1, hidden=64, heads=1, wide=64, ngrams=request.param)


TEXTS = [b"", b"a", b"ab", b"www.example.com", bytes(range(256)) * 3, b"\xff" * 600, "größe.例え".encode()]


def test_exact(bundle):
    features = Ngrams(bundle).encode_batch(TEXTS)
    assert features.dtype == np.float32
    for row, text in enumerate(TEXTS):
        assert (features[row] == expected(bundle, text)).all(), text


def test_every_level_gives_the_same_bits(bundle):
    results = {Ngrams(bundle, native.load(level)).encode_batch(TEXTS).tobytes() for level in native.available_levels()}
    assert len(results) == 1


SMALL = random_bundle(1, layers=1, hidden=64, heads=1, wide=64, ngrams=SHAPES[0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes(texts):
    features = Ngrams(SMALL).encode_batch(texts)
    assert features.shape == (len(texts), 64)
    assert all((features[row] == expected(SMALL, text)).all() for row, text in enumerate(texts))


def test_sums_stay_exact_when_int16_would_overflow():
    bundle = random_bundle(1, layers=1, hidden=64, heads=1, wide=64, ngrams=(64, 64, 2, 5, 4096))
    bundle.tensors["ngrams.weight"] = np.full((64, 64), 127, np.int8)
    text = b"x" * 4096
    assert (Ngrams(bundle).encode_batch([text])[0] == expected(bundle, text)).all()


def test_no_table_is_refused():
    with pytest.raises(BundleError, match="no n-gram table"):
        Ngrams(random_bundle(1, layers=1, hidden=64, heads=1, wide=64))


def test_misshapen_table_is_refused():
    bundle = random_bundle(1, layers=1, hidden=64, heads=1, wide=64, ngrams=SHAPES[0])
    bundle.tensors["ngrams.weight"] = bundle.tensors["ngrams.weight"][:-1]
    with pytest.raises(BundleError, match=r"ngrams\.weight"):
        Ngrams(bundle)


def test_bad_offsets_are_refused():
    with pytest.raises(InputError, match="offsets"):
        Ngrams(SMALL).encode_packed(b"abc", np.array([0, 2, 1, 3]))
