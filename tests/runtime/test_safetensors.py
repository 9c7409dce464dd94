"""The bounded reader against the safetensors package, and on malformed files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_demist.errors import BundleError
from edge_demist.format import safetensors

reference = pytest.importorskip("safetensors.numpy")

arrays = st.dictionaries(
    st.text("abc.0", min_size=1, max_size=8),
    hnp.arrays(
        st.sampled_from([np.int8, np.uint8, np.int32, np.float16, np.float32]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    ),
    max_size=4,
)


@given(arrays, st.dictionaries(st.text("xyz", min_size=1, max_size=3), st.text(max_size=20), max_size=3))
def test_written_files_are_safetensors(tmp_path_factory, tensors, metadata):
    path = tmp_path_factory.mktemp("st") / "x.safetensors"
    safetensors.write(path, tensors, metadata)
    theirs = reference.load_file(path)
    described, ours = safetensors.read(path)
    assert described == metadata
    assert set(ours) == set(theirs) == set(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(ours[name], tensor)
        np.testing.assert_array_equal(theirs[name], tensor)
        assert ours[name].dtype == tensor.dtype
        assert not ours[name].flags.writeable or ours[name].size == 0


@given(arrays)
def test_reads_what_the_package_writes(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("st") / "x.safetensors"
    reference.save_file(tensors, path)
    _, ours = safetensors.read(path)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(ours[name], tensor)


def test_data_is_aligned_and_deterministic(tmp_path):
    tensors = {"b": np.arange(16, dtype=np.float32), "a": np.ones(64, np.int8)}
    for name in ("one", "two"):
        safetensors.write(tmp_path / name, tensors, {"k": "v"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    _, read = safetensors.read(tmp_path / "one")
    assert all(t.ctypes.data % 64 == 0 for t in read.values())


def craft(path, header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


def tensor(begin, end, dtype="U8", shape=None):
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"\xff\xfe", b""),
        (b"[1]", b""),
        (b'{"a": 1}', b""),
        ({"a": tensor(0, 4)}, b"123"),
        ({"a": tensor(0, 4)}, b"12345"),
        ({"a": tensor(0, 4), "b": tensor(2, 6)}, b"123456"),
        ({"a": tensor(0, 2), "b": tensor(4, 6)}, b"123456"),
        ({"a": tensor(-4, 0)}, b""),
        ({"a": tensor(0, 4, shape=[2**62, 2**62])}, b"1234"),
        ({"a": tensor(0, 4, shape=[-4])}, b"1234"),
        ({"a": tensor(0, 4, shape=[4.0])}, b"1234"),
        ({"a": tensor(0, 4, shape=[True, 4])}, b"1234"),
        ({"a": tensor(0, 4, shape=[1] * 9 + [4])}, b"1234"),
        ({"a": tensor(0, 4, dtype="F64")}, b"1234"),
        ({"a": tensor(0, 4, dtype="PICKLE")}, b"1234"),
        ({"a": {**tensor(0, 4), "extra": 1}}, b"1234"),
        ({"__metadata__": {"k": 1}}, b""),
        ({"__metadata__": []}, b""),
        (b'{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}, "a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"1"),
        (b'{"a":' * 50_000, b""),
    ],
)
def test_malformed(tmp_path, header, data):
    path = tmp_path / "bad.safetensors"
    craft(path, header, data)
    with pytest.raises(BundleError, match=r"bad\.safetensors"):
        safetensors.read(path)


@given(st.binary(max_size=200))
def test_any_bytes_never_crash(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("st") / "x.safetensors"
    path.write_bytes(raw)
    try:
        safetensors.read(path)
    except BundleError as error:
        assert "x.safetensors" in str(error)


def test_missing_file(tmp_path):
    with pytest.raises(BundleError, match="cannot be read"):
        safetensors.read(tmp_path / "none")
