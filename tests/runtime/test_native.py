"""The native engine: against a plain numpy oracle, the same bits on every CPU level, and what it refuses."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest

from edge_demist import engines
from edge_demist.engines.native import NativeEngine
from edge_demist.errors import BundleError, EngineUnavailableError, InputError
from edge_demist.format.adapter import LORA_TARGETS, Adapter
from edge_demist.native import library as native
from tests.support.bundles import random_bundle, random_rows, random_weights, reference_encode

LEVELS = native.available_levels()


def random_adapter(seed, name, arch, ranks, layers):
    random = np.random.default_rng(seed)
    pairs = {}
    for layer in layers:
        for target, rank in ranks.items():
            k = arch.intermediate_size if target == "ffn_down" else arch.hidden_size
            n = arch.intermediate_size if target == "ffn_up" else arch.hidden_size
            a = random.standard_normal((k, rank)).astype(np.float32) / np.sqrt(k)
            b = random.standard_normal((rank, n)).astype(np.float32) * 0.3
            pairs[layer, target] = (a.astype(np.float32), b)
    return Adapter(name, pairs)


@pytest.fixture(scope="module")
def bundle():
    return random_bundle(3)


@pytest.fixture(scope="module")
def engine(bundle):
    return NativeEngine(bundle)


@pytest.fixture(scope="module")
def adapters(bundle):
    arch = bundle.architecture
    return [
        random_adapter(1, "all", arch, dict.fromkeys(LORA_TARGETS, 8), (0, 1)),
        None,
        random_adapter(2, "upper", arch, {"q": 3, "v": 16, "ffn_down": 5}, (1,)),
        random_adapter(3, "k only", arch, {"k": 1}, (0,)),
        Adapter("empty"),
    ]


def test_some_level_runs_here():
    assert LEVELS


def test_agrees_with_the_oracle(bundle, engine):
    ids, offsets = random_rows(1, 40, 512, 40)
    for normalize in (True, False):
        expected = reference_encode(bundle, ids, offsets, normalize=normalize)
        actual = engine.encode(ids, offsets, normalize=normalize)
        assert actual.dtype == np.float32
        assert actual.shape == (40, 128)
        cosine = (expected * actual).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(actual, axis=1)
        assert cosine.min() > 0.9999
        assert np.abs(actual - expected).max() < 0.01 * np.abs(expected).max() + 0.004


@pytest.mark.parametrize("level", LEVELS)
def test_the_largest_sums_do_not_overflow(level):
    weights = random_weights(5)
    signs = np.where(np.random.default_rng(5).random(128) < 0.5, -1, 1).astype(np.float32)
    weights["norm.weight"] = np.zeros(128, np.float32)
    weights["norm.bias"] = signs  # every activation of the first layer is 127 or -127
    weights["0.qkv"] = 0.02 * signs[:, None] * np.where(np.arange(3 * 128) % 2, -1, 1)[None].astype(np.float32)
    bundle = random_bundle(weights=weights)
    ids, offsets = random_rows(3, 12, 512, 9)
    expected = reference_encode(bundle, ids, offsets)
    actual = NativeEngine(bundle, kernels=native.load(level)).encode(ids, offsets)
    assert (expected * actual).sum(1).min() > 0.9998


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "wide", "longest"),
    [(1, 64, 1, 64, 64), (1, 64, 4, 128, 33), (2, 192, 2, 64, 20), (1, 384, 12, 1536, 17), (3, 256, 8, 1024, 9)],
)
def test_shapes(layers, hidden, heads, wide, longest):
    bundle = random_bundle(7, layers=layers, hidden=hidden, heads=heads, wide=wide, vocab=100)
    ids, offsets = random_rows(2, 9, 100, longest)
    expected = reference_encode(bundle, ids, offsets)
    actual = NativeEngine(bundle).encode(ids, offsets)
    assert (expected * actual).sum(1).min() > 0.9998


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64])
def test_every_row_length(bundle, engine, length):
    ids, _ = random_rows(length, 1, 512, length, length)
    offsets = np.array([0, length], np.int32)
    expected = reference_encode(bundle, ids, offsets)
    assert (expected * engine.encode(ids, offsets)).sum() > 0.9999


def test_adapters_agree_with_the_oracle(bundle, engine, adapters):
    ids, offsets = random_rows(4, 48, 512, 24)
    index = (np.arange(48) % 6 - 1).astype(np.int32)
    expected = reference_encode(bundle, ids, offsets, adapters, index)
    actual = engine.encode(ids, offsets, adapters, index)
    base = engine.encode(ids, offsets)
    assert (expected * actual).sum(1).min() > 0.9999
    moved = np.abs(actual - base).max(1) > 0.01
    assert moved[index == 0].all()
    assert moved[index == 2].all()
    plain = np.isin(index, (-1, 1, 4))
    assert (actual[plain] == base[plain]).all()


def test_a_row_does_not_depend_on_its_batch(engine, adapters):
    ids, offsets = random_rows(5, 200, 512, 30)
    index = (np.arange(200) * 7 % 6 - 1).astype(np.int32)
    together = engine.encode(ids, offsets, adapters, index)
    for row in range(0, 200, 7):
        own = ids[offsets[row] : offsets[row + 1]]
        alone = engine.encode(own, np.array([0, len(own)], np.int32), adapters, index[row : row + 1])
        assert (alone[0] == together[row]).all()


def test_one_adapter_needs_no_index(engine, adapters):
    ids, offsets = random_rows(6, 5, 512, 9)
    implied = engine.encode(ids, offsets, adapters[:1])
    assert (implied == engine.encode(ids, offsets, adapters[:1], np.zeros(5, np.int32))).all()
    with pytest.raises(InputError, match="adapter_index is needed"):
        engine.encode(ids, offsets, adapters[:3])


def test_ten_thousand_rows_have_the_same_bits_on_every_level(adapters):
    bundle = random_bundle(3)
    ids, offsets = random_rows(9, 10_000, 512, 12)
    index = (np.arange(10_000) % 6 - 1).astype(np.int32)
    first = None
    for level in LEVELS:
        vectors = NativeEngine(bundle, kernels=native.load(level)).encode(ids, offsets, adapters, index).tobytes()
        first = first or vectors
        assert vectors == first, f"{level} differs from {LEVELS[0]}"


def test_long_rows_have_the_same_bits_on_every_level():
    bundle = random_bundle(5, layers=1, positions=512)
    ids, offsets = random_rows(10, 4, 512, 512, 300)
    results = {NativeEngine(bundle, kernels=native.load(level)).encode(ids, offsets).tobytes() for level in LEVELS}
    assert len(results) == 1
    expected = reference_encode(bundle, ids, offsets)
    assert (expected * np.frombuffer(results.pop(), np.float32).reshape(expected.shape)).sum(1).min() > 0.9998


@pytest.mark.parametrize("flat", ["embeddings.norm", "layers.0.norm1"])
def test_values_at_the_limits_of_int16_have_the_same_bits_on_every_level(flat):
    """Weights of +-127 and activations that add up to 127, 128, 129, 254: where a 16-bit sum could saturate or wrap."""
    bundle, random = random_bundle(6, layers=1, hidden=128, wide=256), np.random.default_rng(6)
    steps = np.array([-127, -65, -64, -63, -1, 0, 1, 63, 64, 65, 127], np.float32) / 127
    bundle.tensors = {name: tensor.copy() for name, tensor in bundle.tensors.items()}
    for name, tensor in bundle.tensors.items():
        if name.startswith("layers") and tensor.dtype == np.int8:
            tensor[...] = random.choice(np.array([-127, 127], np.int8), tensor.shape, p=(0.2, 0.8))
            correction = -128 * tensor.astype(np.int32).sum((1, 3)).ravel()
            bundle.tensors[name.replace(".weight", ".correction")][...] = correction
    bundle.tensors[f"{flat}.weight"][...] = 0
    bundle.tensors[f"{flat}.bias"][...] = random.choice(steps, 128)
    rows = random_rows(6, 50, 512, 20)
    expected, best = reference_encode(bundle, *rows), NativeEngine(bundle).encode(*rows)
    assert np.abs(best - expected).max() < 1e-3
    for level in LEVELS:
        assert (NativeEngine(bundle, kernels=native.load(level)).encode(*rows) == best).all(), level


def test_flush_to_zero_changes_nothing(bundle, engine):
    if native.machine() != "x86_64":
        pytest.skip("sets the x86 control register")
    libm = ctypes.CDLL("libm.so.6")

    class Environment(ctypes.Structure):  # fenv_t of x86-64 glibc: 28 bytes of x87 state, then MXCSR
        _fields_ = [("x87", ctypes.c_uint8 * 28), ("mxcsr", ctypes.c_uint32)]

    ids, offsets = random_rows(11, 50, 512, 30)
    normal = engine.encode(ids, offsets)
    before = Environment()
    libm.fegetenv(ctypes.byref(before))
    changed = Environment.from_buffer_copy(before)
    changed.mxcsr |= 0x8040  # flush to zero, denormals are zero
    libm.fesetenv(ctypes.byref(changed))
    try:
        flushed = engine.encode(ids, offsets)
    finally:
        libm.fesetenv(ctypes.byref(before))
    assert (normal == flushed).all()


def test_threads_give_the_same_bits(bundle, engine, adapters):
    ids, offsets = random_rows(12, 700, 512, 20)
    index = (np.arange(700) % 5).astype(np.int32)
    expected = engine.encode(ids, offsets, adapters, index)
    assert (NativeEngine(bundle, threads=3).encode(ids, offsets, adapters, index) == expected).all()
    results = {}

    def work(number):
        results[number] = engine.encode(ids, offsets, adapters, index)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((results[n] == expected).all() for n in range(4))


def test_empty_batch(engine):
    assert engine.encode(np.zeros(0, np.int32), np.zeros(1, np.int32)).shape == (0, 128)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids, offsets: (ids, offsets[:-1]), "offsets must"),
        (lambda ids, offsets: (ids, offsets + 1), "offsets must"),
        (lambda ids, offsets: (np.where(np.arange(len(ids)) == offsets[60], 512, ids), offsets), "row 60: token ids"),
        (lambda ids, offsets: (np.where(np.arange(len(ids)) == offsets[61], -1, ids), offsets), "row 61: token ids"),
        (lambda ids, offsets: (ids, np.where(np.arange(81) == 63, offsets[62], offsets)), "row 62: a row must hold 1 to 64"),
        (lambda ids, offsets: (ids, np.where(np.arange(81) == 63, 0, offsets)), "row 62"),
    ],
)
def test_bad_input_names_the_row(bundle, threads, change, message):
    ids, offsets = random_rows(13, 80, 512, 20, 5)
    bad_ids, bad_offsets = change(ids, offsets)
    with pytest.raises(InputError, match=message):
        NativeEngine(bundle, threads).encode(bad_ids.astype(np.int32), bad_offsets.astype(np.int32))


def test_too_long_a_row_is_refused(engine):
    ids = np.zeros(70, np.int32)
    with pytest.raises(ValueError, match="row 1: a row must hold 1 to 64 tokens"):
        engine.encode(ids, np.array([0, 5, 70], np.int32))


def test_bad_adapters_are_refused(bundle, engine, adapters):
    ids, offsets = random_rows(14, 3, 512, 5)
    with pytest.raises(InputError, match="row 2: adapter 7 of 5"):
        engine.encode(ids, offsets, adapters, np.array([0, 1, 7], np.int32))
    with pytest.raises(InputError, match="one a row"):
        engine.encode(ids, offsets, adapters, np.array([0, 1], np.int32))
    with pytest.raises(InputError, match="A must be float32"):
        Adapter("x", {(0, "q"): (np.zeros((128, 4), np.float32), np.zeros((5, 128), np.float32))})
    with pytest.raises(InputError, match="targets are"):
        Adapter("x", {(0, "qkv"): (np.zeros((128, 4), np.float32), np.zeros((4, 128), np.float32))})
    outside = Adapter("outside", {(2, "q"): (np.zeros((128, 4), np.float32), np.zeros((4, 128), np.float32))})
    with pytest.raises(InputError, match="do not fit"):
        engine.encode(ids, offsets, [outside])
    huge = Adapter("huge", {(0, "q"): (np.zeros((128, 300), np.float32), np.zeros((300, 128), np.float32))})
    with pytest.raises(InputError, match="rank 300 is over"):
        engine.encode(ids, offsets, [huge])


def test_misshapen_tensors_are_refused(bundle):
    for name in ("layers.1.ffn_up.weight", "embeddings.norm.bias"):
        broken = random_bundle(3)
        broken.tensors[name] = broken.tensors[name][:-1]
        with pytest.raises(BundleError, match=name):
            NativeEngine(broken)


def test_unaligned_tensors_work(bundle, engine):
    moved = random_bundle(3)
    for name, tensor in moved.tensors.items():
        block = np.empty(tensor.nbytes + 128, np.uint8)
        start = -native.address(block) % 64 + 20
        copy = block[start : start + tensor.nbytes].view(tensor.dtype).reshape(tensor.shape)
        copy[...] = tensor
        moved.tensors[name] = copy
    ids, offsets = random_rows(15, 5, 512, 9)
    assert (NativeEngine(moved).encode(ids, offsets) == engine.encode(ids, offsets)).all()


def test_choice_of_engine(bundle, monkeypatch):
    assert engines.create(bundle).name == "native"
    monkeypatch.setenv("EDGE_DEMIST_ENGINE", "native")
    assert engines.create(bundle, threads=2).name == "native"
    with pytest.raises(InputError, match="unknown engine"):
        engines.create(bundle, "cuda")
    with pytest.raises(InputError, match="at least 1"):
        engines.create(bundle, threads=0)


def test_refusal_names_what_is_missing(bundle, monkeypatch, tmp_path):
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setattr(native.load, "__defaults__", (None, tmp_path))
    monkeypatch.setattr(engines, "_installed", lambda package: False)
    with pytest.raises(EngineUnavailableError) as caught:
        engines.create(bundle)
    text = str(caught.value)
    assert "native: no compiled kernel" in text
    assert "edge-demist[jit]" in text
    assert "edge-demist[onnxruntime]" in text


def test_kernel_override(monkeypatch):
    monkeypatch.setenv("EDGE_DEMIST_KERNEL", LEVELS[-1])
    assert native.load().level == LEVELS[-1]
    monkeypatch.setenv("EDGE_DEMIST_KERNEL", "z80")
    with pytest.raises(EngineUnavailableError, match="'z80' does not run on this machine; these do: "):
        native.load()


def test_a_damaged_library_is_refused(tmp_path):
    (tmp_path / f"lib{LEVELS[0]}.so").write_bytes(b"\x7fELF garbage")
    with pytest.raises(EngineUnavailableError, match="cannot be loaded"):
        native.load(LEVELS[0], tmp_path)


def test_levels_follow_the_features(monkeypatch):
    monkeypatch.setattr(native, "machine", lambda: "x86_64")
    monkeypatch.setattr(native, "request_amx", lambda: False)
    everything = frozenset().union(*(native.NEEDED_FLAGS[level] for level in native.LEVELS["x86_64"]))
    monkeypatch.setattr(native, "cpu_flags", lambda: everything)
    assert not native.supports("x86_64_amx")
    assert native.supports("x86_64_avx512vnni")
    monkeypatch.setattr(native, "cpu_flags", lambda: everything - {"avx512_vnni"})
    assert not native.supports("x86_64_avx512vnni")
    assert native.supports("x86_64_avxvnni")
    assert not native.supports("aarch64_neon")
