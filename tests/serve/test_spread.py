"""The scripts of the guides to other engines: every row once, its vector that of ``encode``, killed in the middle or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

from edge_demist.errors import InputError
from edge_demist.integrations.arrow import Classify, Embed
from edge_demist.integrations.parts import left, rows, whole
from tools.spread import names
from tools.spread.engines import ENGINES, Job, missing


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_the_script_of_a_guide(engine: str, tmp_path: Path) -> None:
    if reason := missing(engine):
        pytest.skip(reason)
    names.write(tmp_path / "names", 600, 2)
    log = tmp_path / "log"
    assert Job(engine, tmp_path / "names", tmp_path / "vectors", 2, log).wait(300) == 0, log.read_text()
    assert names.difference(tmp_path / "names", tmp_path / "vectors", names.vectors(tmp_path / "names")) == ""


@pytest.mark.long
@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_a_killed_script_goes_on_where_it_was(engine: str, tmp_path: Path) -> None:
    if reason := missing(engine):
        pytest.skip(reason)
    names.write(tmp_path / "names", 6000, 3)
    job = Job(engine, tmp_path / "names", tmp_path / "vectors", 1, tmp_path / "log")
    while not (tmp_path / "vectors" / "part-0").exists() and job.process.poll() is None:
        pass
    job.kill()
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "vectors").glob("part-*")}
    assert Job(engine, tmp_path / "names", tmp_path / "vectors", 1, tmp_path / "log").wait(300) == 0
    assert done == {name: (tmp_path / "vectors" / name).stat().st_mtime_ns for name in done}
    assert names.difference(tmp_path / "names", tmp_path / "vectors", names.vectors(tmp_path / "names")) == ""


def test_what_is_not_whole_is_not_kept(tmp_path: Path) -> None:
    names.write(tmp_path / "names", 10, 2)
    (first, folder), (second, _) = left(tmp_path / "names", tmp_path / "out")
    with whole(first, folder) as hidden:
        pq.write_table(pq.read_table(first), f"{hidden}/a.parquet")
    assert rows(folder / "a.parquet") == 5
    assert [file for file, _ in left(tmp_path / "names", tmp_path / "out")] == [second]
    for count in (3, 6):  # lost, doubled
        with pytest.raises(InputError, match=r"has 5 rows, . were written"), whole(second, tmp_path / "out" / "part-1") as hidden:
            pq.write_table(pa.table({"n": list(range(count))}), f"{hidden}/a.parquet")
    with pytest.raises(ValueError, match="stop"), whole(second, tmp_path / "out" / "part-1") as hidden:
        raise ValueError("stop")
    assert [file for file, _ in left(tmp_path / "names", tmp_path / "out")] == [second]
    with pytest.raises(InputError, match="no Parquet file"):
        left(tmp_path / "none", tmp_path / "out")


def test_differences_are_seen(tmp_path: Path) -> None:
    expected = np.eye(4, dtype=np.float32)
    (tmp_path / "v").mkdir()

    def found(numbers: list[int], vectors: np.ndarray) -> str:
        pq.write_table(
            pa.table({"n": numbers, "vector": vectors.tolist()}, pa.schema([("n", pa.int64()), ("vector", kind)])), tmp_path / "v/a.parquet"
        )
        return names.difference(tmp_path, tmp_path / "v", expected)

    kind = pa.list_(pa.float32())
    assert found([3, 1, 2, 0], expected[[3, 1, 2, 0]]) == ""
    assert found([0, 1, 2, 2], expected[[0, 1, 2, 2]]) == "1 rows lost, 1 doubled"
    assert "differ" in found([0, 1, 2, 3], -expected)


def test_an_empty_batch_gives_an_empty_column(model) -> None:
    empty = pa.table({"name": pa.array([], pa.string())})
    for step in (Embed("name"), Embed("name", fixed=True), Classify("name", "dga")):
        assert step(empty).num_rows == 0 and len(step(empty).schema.names) == 2
