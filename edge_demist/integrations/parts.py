"""Parquet files in, one folder of Parquet files out for each, whole or not at all: what makes a long job restartable.

An engine writes a file's rows into a hidden folder; only when it holds as many rows as the file is it renamed. A job that was
killed is started again with the same words: what is there stays, what is not there is made.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from edge_demist.errors import InputError


def left(source: str | Path, target: str | Path) -> list[tuple[Path, Path]]:
    """Files of a folder (or the one file) whose rows are not in ``target`` yet, each with the folder for them.

    Raises:
        InputError: there is no Parquet file, or two have one name.
    """
    source, target = Path(source), Path(target)
    files = sorted(source.rglob("*.parquet")) if source.is_dir() else [source]
    within = source if source.is_dir() else source.parent
    pairs = [(file, target / "-".join(file.relative_to(within).with_suffix("").parts)) for file in files]
    if not pairs or not all(file.is_file() for file in files):
        raise InputError(f"{source}: holds no Parquet file")
    if len({folder for _, folder in pairs}) < len(pairs):
        raise InputError(f"{source}: two files would be written to one folder; rename one")
    return [(file, folder) for file, folder in pairs if not folder.exists()]


@contextlib.contextmanager
def whole(file: Path, folder: Path) -> Iterator[str]:
    """A hidden folder to write into, which becomes ``folder`` at the end if every row of ``file`` is in it.

    Raises:
        InputError: rows are missing or doubled; nothing is kept.
    """
    hidden = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir(parents=True)
    yield str(hidden)
    expected, found = rows(file), sum(rows(part) for part in hidden.rglob("*.parquet"))
    if found != expected:
        shutil.rmtree(hidden)
        raise InputError(f"{file}: has {expected} rows, {found} were written; nothing is kept")
    hidden.rename(folder)


def rows(file: Path) -> int:
    """Rows of a Parquet file, from its footer."""
    import pyarrow.parquet

    count: int = pyarrow.parquet.read_metadata(file).num_rows
    return count
