"""Layers below a first adapter, once for all specialists of a row: the bits of a call for each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.engines import shared
from edge_demist.engines.native import NativeEngine
from edge_demist.errors import InputError
from edge_demist.format.adapter import Adapter
from edge_demist.native import library as native
from tests.support.bundles import random_bundle, random_rows

HIDDEN, LAYERS = 128, 3
BUNDLE = random_bundle(1, layers=LAYERS, hidden=HIDDEN)


def adapter(seed: int, layers: tuple[int, ...]) -> Adapter:
    """A random adapter that changes these layers."""
    random = np.random.default_rng(seed)
    pair = lambda k, n: tuple((0.05 * random.standard_normal(s)).astype(np.float32) for s in ((k, 4), (4, n)))  # noqa: E731
    return Adapter(f"a{seed}", {(layer, target): pair(HIDDEN, HIDDEN) for layer in layers for target in ("q", "attn_out")})


ADAPTERS = [adapter(1, (0, 1, 2)), adapter(2, (2,)), None, adapter(3, (1, 2)), adapter(4, (2,)), Adapter("empty")]


def asked(pairs: list[tuple[int, int]]) -> shared.Branches:
    """Branches for (row, adapter) pairs."""
    rows, slots = (np.array(part, np.int32) for part in zip(*pairs, strict=True))
    numbers = np.cumsum([0, *(a is not None and bool(a.layers) for a in ADAPTERS)])[:-1].tolist()
    return shared.branches(rows, slots, [shared.fork(a, LAYERS) for a in ADAPTERS], numbers, LAYERS)


@pytest.mark.parametrize("level", native.available_levels())
@pytest.mark.parametrize("threads", [1, 3])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 90), share=st.floats(0.05, 1.0))
def test_bits_of_separate_calls(level, threads, seed, count, share):
    engine = NativeEngine(BUNDLE, threads=threads, kernels=native.load(level))
    ids, offsets = random_rows(seed, count, 512, 40)
    random = np.random.default_rng(seed)
    pairs = [(r, a) for r in range(count) for a in range(len(ADAPTERS)) if random.random() < share] or [(0, 0)]
    found = engine.encode_shared(ids, offsets, ADAPTERS, asked(pairs))
    for a, one in enumerate(ADAPTERS):
        places = [n for n, (_, other) in enumerate(pairs) if other == a]
        alone = engine.encode(ids, offsets, [one], None if one is not None and one.layers else np.full(count, -1), normalize=False)
        np.testing.assert_array_equal(found[places], alone[[pairs[n][0] for n in places]])


@pytest.mark.parametrize(
    "change",
    [
        lambda table, starts: table.__setitem__((0, 0), 9),
        lambda table, starts: table.__setitem__((0, 0), -1),
        lambda table, starts: table.__setitem__((0, 2), 99),
        lambda table, starts: table.__setitem__((0, 1), 99),
        lambda table, starts: table.__setitem__((0, 1), -1),
        lambda table, starts: starts.__setitem__(0, 1),
        lambda table, starts: starts.__setitem__(1, -5),
    ],
)
def test_branches_are_checked_before_anything_is_read(change):
    engine = NativeEngine(BUNDLE)
    ids, offsets = random_rows(5, 4, 512, 12)
    table, starts = (part.copy() for part in asked([(r, a) for r in range(4) for a in range(len(ADAPTERS))]))
    change(table, starts)
    with pytest.raises(InputError, match=r"branches|adapter"):
        engine.encode_shared(ids, offsets, ADAPTERS, shared.Branches(table, starts))


def test_a_table_of_another_shape_is_refused():
    engine = NativeEngine(BUNDLE)
    ids, offsets = random_rows(5, 4, 512, 12)
    with pytest.raises(InputError, match="branches must be"):
        engine.encode_shared(ids, offsets, ADAPTERS, shared.Branches(np.zeros((2, 2), np.int32), np.zeros(LAYERS + 2, np.int32)))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.integers(1, 500)), min_size=2, max_size=5))
def test_calls_of_all_kinds_and_sizes_take_turns_in_one_scratch(calls):
    engine = NativeEngine(BUNDLE)
    for several, count, longest in calls:
        ids, offsets = random_rows(longest, count, 512, min(longest, BUNDLE.architecture.max_positions))
        branches = asked([(r, a) for r in range(count) for a in range(len(ADAPTERS))])

        def answer(which: NativeEngine) -> np.ndarray:
            return which.encode_shared(ids, offsets, ADAPTERS, branches) if several else which.encode(ids, offsets, [ADAPTERS[0]])  # noqa: B023

        np.testing.assert_array_equal(answer(engine), answer(NativeEngine(BUNDLE)))
