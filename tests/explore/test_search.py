"""Exact search: numpy, the compiled rows and the compiled panels give one answer, on every CPU level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_demist.errors import InputError
from edge_demist.explore.quantize import from_bits, from_int8, scale_of, to_bits, to_int8
from edge_demist.explore.search import Best, Panels, cosines, dots, nearest, similarity
from edge_demist.native import library as native


def by_definition(queries, rows, k):
    scores = queries.astype(np.int64) @ rows.astype(np.int64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


def random_rows(seed, count, dim, low=-127):
    return np.random.default_rng(seed).integers(low, 128, (count, dim), dtype=np.int8)


@pytest.mark.parametrize(("count", "dim", "k"), [(1, 64, 1), (3, 16, 5), (1001, 384, 20), (130, 64, 64), (50, 24, 7), (70, 1100, 3)])
def test_is_the_definition_on_every_level(count, dim, k):
    queries, rows = random_rows(1, 9, dim), random_rows(2, count, dim)
    scores, order = by_definition(queries, rows, k)
    for level in native.available_levels():
        for found in (nearest(queries, rows, k, native.load(level)), Panels(rows, native.load(level)).nearest(queries, k)):
            assert (found[0] == scores).all(), level
            assert (found[1] == order).all(), level
    best = Best(len(queries), min(k, count))
    best._add_numpy(queries, rows, 0)
    assert (best.scores == scores).all()
    assert (best.rows == order).all()


def test_the_extremes_do_not_overflow():
    queries, rows = np.full((1, 4096), -127, np.int8), np.full((5, 4096), -127, np.int8)
    rows[3] = 127
    scores, order = nearest(queries, rows, 5)
    assert scores[0].tolist() == [127 * 127 * 4096] * 4 + [-127 * 127 * 4096]
    assert order[0].tolist() == [0, 1, 2, 4, 3]


@given(
    arrays(np.int8, st.tuples(st.integers(1, 4), st.just(16)), elements=st.integers(-2, 2)),
    arrays(np.int8, st.tuples(st.integers(1, 40), st.just(16)), elements=st.integers(-2, 2)),
    st.integers(1, 12),
)
def test_among_equals_the_earlier_row_comes_first(queries, rows, k):
    found = nearest(queries, rows, k)
    expected = by_definition(queries, rows, k)
    assert (found[0] == expected[0]).all()
    assert (found[1] == expected[1]).all()


def test_blocks_give_what_the_whole_gives():
    queries, rows = random_rows(3, 4, 32), random_rows(4, 500, 32)
    whole = nearest(queries, rows, 11)
    best = Best(4, 11)
    for begin in (0, 3, 250):
        end = {0: 3, 3: 250, 250: 500}[begin]
        best.add(queries, np.ascontiguousarray(rows[begin:end]), begin)
    assert (best.scores == whole[0]).all()
    assert (best.rows == whole[1]).all()


@pytest.mark.parametrize(
    ("queries", "rows", "k"),
    [
        (np.zeros((1, 8), np.float32), np.zeros((1, 8), np.int8), 1),
        (np.zeros((1, 8), np.int8), np.zeros((1, 9), np.int8), 1),
        (np.zeros((1, 8), np.int8), np.zeros((1, 8), np.int8), 0),
        (np.zeros(8, np.int8), np.zeros((1, 8), np.int8), 1),
    ],
)
def test_what_does_not_fit_is_refused(queries, rows, k):
    with pytest.raises(InputError):
        nearest(queries, rows, k)


def test_nothing_to_search_gives_nothing():
    scores, rows = nearest(np.zeros((2, 16), np.int8), np.zeros((0, 16), np.int8), 3)
    assert scores.shape == rows.shape == (2, 0)


def unit(seed, count, dim):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_int8_keeps_directions():
    vectors = unit(0, 200, 384)
    back = from_int8(to_int8(vectors))
    assert np.abs(back - vectors).max() <= scale_of(384) * 0.51
    assert ((back * vectors).sum(1) / np.linalg.norm(back, axis=1)).min() > 0.999


def test_a_missing_vector_stays_missing():
    vectors = unit(1, 3, 64)
    vectors[1, 5] = np.nan
    assert not to_int8(vectors)[1].any()
    assert np.isnan(from_int8(to_int8(vectors))[1]).all()
    assert not to_bits(vectors)[1].any()
    assert not from_bits(to_bits(vectors))[1].any()
    assert to_int8(vectors)[0].any()


def test_bits_are_signs():
    vectors = unit(2, 10, 64)
    assert (from_bits(to_bits(vectors)) == np.where(vectors > 0, 1, -1)).all()
    with pytest.raises(InputError, match="multiple of 8"):
        to_bits(np.zeros((1, 12), np.float32))


def test_the_neighbours_of_int8_are_those_of_float32():
    rows, queries = unit(3, 3000, 384), unit(4, 50, 384)
    exact = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
    found = nearest(to_int8(queries), to_int8(rows), 10)[1]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found.tolist(), strict=True)])
    assert recall > 0.9


def test_cosines_of_what_was_found():
    rows = to_int8(unit(5, 30, 128))
    scores, found = nearest(rows[:4], rows, 3)
    values = cosines(scores, rows[:4], rows[found])
    assert values[:, 0] == pytest.approx(np.ones(4), abs=1e-5)
    assert (np.diff(values, axis=1) <= 1e-6).all()


def test_similarity_is_the_cosine():
    a, b = 3 * unit(6, 4, 32), unit(7, 5, 32)
    assert similarity(a, b) == pytest.approx((a / 3) @ b.T, abs=1e-6)
    with pytest.raises(InputError, match="cannot be compared"):
        similarity(a, unit(8, 2, 16))


def test_dots_are_exact_beyond_float32_sums():
    a = np.full((1, 3000), 127, np.int8)
    assert dots(a, a)[0, 0] == 127 * 127 * 3000
