"""Parquet files of distinct host names, and what an engine wrote beside what ``encode`` gives."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ROOT / "tests" / "data" / "hostnames.txt"
CHUNK = 8192


def write(folder: Path, rows: int, files: int) -> None:
    """Parquet files with columns ``n`` (a number, each once) and ``name``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    hosts = HOSTS.read_text(encoding="utf-8").split()
    labels = [host.partition(".")[0] for host in hosts]
    folder.mkdir(parents=True)
    for i, numbers in enumerate(np.array_split(np.arange(rows), files)):
        names = [f"{labels[n // len(hosts) % len(labels)]}{n // len(hosts) ** 2 or ''}.{hosts[n % len(hosts)]}" for n in numbers.tolist()]
        pq.write_table(pa.table({"n": numbers, "name": names}), folder / f"part-{i}.parquet")


def difference(source: Path, target: Path, expected: np.ndarray) -> str:
    """What an engine got wrong against vectors float32 [rows, dim] by ``n``; empty if every row is there once, bit for bit."""
    import pyarrow.parquet as pq

    seen = np.zeros(len(expected), np.int64)
    for path in sorted(target.rglob("*.parquet")):
        if any(part.startswith((".", "_")) for part in path.relative_to(target).parts):
            continue
        for batch in pq.ParquetFile(path).iter_batches(CHUNK, columns=["n", "vector"]):
            numbers = batch.column("n").to_numpy(zero_copy_only=False)
            vectors = batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(len(numbers), -1)
            np.add.at(seen, numbers, 1)
            if vectors.dtype != np.float32 or not np.array_equal(vectors.view(np.uint32), expected[numbers].view(np.uint32)):
                return f"{path.name}: vectors differ from encode"
    lost, doubled = int((seen == 0).sum()), int((seen > 1).sum())
    return f"{lost} rows lost, {doubled} doubled" if lost or doubled else ""


def vectors(source: Path) -> np.ndarray:
    """What ``encode`` gives for the files of :func:`write`, float32 [rows, dim]."""
    import pyarrow.parquet as pq

    from edge_demist import EdgeDemist

    model: Any = EdgeDemist.load()
    tables = [pq.read_table(path) for path in sorted(source.glob("*.parquet"))]
    numbers = np.concatenate([table.column("n").to_numpy() for table in tables])
    texts = list(itertools.chain.from_iterable(table.column("name").to_pylist() for table in tables))
    found = np.empty((len(texts), model.dim), np.float32)
    for begin in range(0, len(texts), CHUNK):
        found[numbers[begin : begin + CHUNK]] = model.encode(texts[begin : begin + CHUNK])
    return found
