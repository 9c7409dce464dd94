"""Files of vectors that somebody else made: refused with one line, never run, never half believed."""

from __future__ import annotations

import contextlib
import json
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.errors import InputError
from edge_demist.explore.passport import MAX_BYTES, Passport
from edge_demist.explore.vector_files import Replacement, VectorFile, read_passport, write_sidecar

GOOD = Passport("0" * 64, "1" * 64, "test", 1, None, "identity", 16, "float32", 0.0)


def write_npy(path, array, passport=GOOD, rows=None, **options):
    np.save(path, array, **options)
    write_sidecar(path, passport, len(array) if rows is None else rows)
    return path


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trap-was-run",)


def test_no_pickle_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_npy(tmp_path / "v.npy", np.array([Trap()], object), allow_pickle=True)
    with pytest.raises(InputError):
        list(VectorFile(path).blocks())
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError):
        VectorFile(path)
    assert not (tmp_path / "trap-was-run").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 8), np.float32),
        np.zeros((3, 16), np.int32),
        np.zeros(3, np.float32),
        np.zeros((3, 16, 1), np.float32),
        np.zeros((3, 16), "U4"),
    ],
)
def test_an_array_that_is_not_what_its_passport_says(tmp_path, array):
    path = write_npy(tmp_path / "v.npy", array)
    with pytest.raises(InputError, match="passport says"):
        list(VectorFile(path).blocks())


def test_an_array_cut_short_or_swapped(tmp_path):
    path = write_npy(tmp_path / "v.npy", np.zeros((100, 16), np.float32))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError):
        list(VectorFile(path).blocks())
    with pytest.raises(InputError, match="do not belong together"):
        VectorFile(write_npy(tmp_path / "w.npy", np.zeros((3, 16), np.float32), rows=4))


@pytest.mark.parametrize(
    "change",
    [
        {"dim": 0}, {"dim": 10**9}, {"dim": "16"}, {"dim": True}, {"dtype": "object"}, {"scale": -1},
        {"scale": float("nan")}, {"space": "x"},
        {"bundle_version": 1.5}, {"bundle_name": "x" * 5000}, {"task": 7}, {"unknown": 1}, {"normalizer": None},
    ],
)  # fmt: skip
def test_a_passport_with_a_wrong_field(tmp_path, change):
    path = write_npy(tmp_path / "v.npy", np.zeros((3, 16), np.float32))
    beside = tmp_path / "v.npy.json"
    beside.write_text(json.dumps(json.loads(beside.read_text()) | change))
    with pytest.raises(InputError):
        VectorFile(path)


def test_an_endless_passport(tmp_path):
    path = write_npy(tmp_path / "v.npy", np.zeros((3, 16), np.float32))
    (tmp_path / "v.npy.json").write_text("[" * MAX_BYTES * 2)
    with pytest.raises(InputError, match="no passport"):
        VectorFile(path)
    (tmp_path / "v.npy.json").write_text("[" * (MAX_BYTES - 1))
    with pytest.raises(InputError):
        VectorFile(path)


@settings(max_examples=80)
@given(st.sampled_from([".npy", ".jsonl", ".parquet"]), st.binary(max_size=300))
def test_any_bytes_are_refused(tmp_path_factory, suffix, raw):
    path = tmp_path_factory.mktemp("any") / f"v{suffix}"
    path.write_bytes(raw)
    (path.parent / f"v{suffix}.json").write_bytes(raw)
    with pytest.raises(InputError):
        list(VectorFile(path).blocks())
    with contextlib.suppress(InputError):
        assert read_passport(path) is None


LINE = {"text": "a", "vector": [0.25] * 16, "space": GOOD.space}


@pytest.mark.parametrize(
    "second",
    [
        "{", "[]", '{"vector": 1}', json.dumps(LINE | {"space": "f" * 64}), json.dumps(LINE | {"vector": [1] * 15}),
        json.dumps(LINE | {"vector": ["a"] * 16}), json.dumps(LINE | {"vector": [[1] * 16]}), json.dumps(LINE | {"vector": {"a": 1}}),
        '{"text": "' + "x" * (1 << 21),
    ],
)  # fmt: skip
def test_json_lines_that_change_on_the_way(tmp_path, second):
    import dataclasses

    path = tmp_path / "v.jsonl"
    path.write_text(json.dumps(LINE | {"passport": dataclasses.asdict(GOOD)}) + "\n" + second + "\n")
    with pytest.raises(InputError, match=r"v\.jsonl"):
        list(VectorFile(path).blocks())


def test_a_parquet_file_with_gaps(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    column = pa.array([[0.0] * 16, None, [0.0] * 16], pa.list_(pa.float32()))
    for vectors in (column, pa.array([[0.0] * 16, [0.0] * 8, [0.0] * 24], pa.list_(pa.float32())), pa.array(["a", "b", "c"])):
        table = pa.table({"text": ["a", "b", "c"], "vector": vectors}).replace_schema_metadata({"edge_demist": GOOD.to_json()})
        pq.write_table(table, tmp_path / "v.parquet")
        with pytest.raises(InputError):
            list(VectorFile(tmp_path / "v.parquet").blocks())


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "v.npy"
    path.write_bytes(b"before")
    with pytest.raises(KeyError), Replacement(path) as file:
        file.stream.write(b"after")
        raise KeyError
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["v.npy"]
