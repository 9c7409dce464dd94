"""Chooses the sink for a format and a path."""

from __future__ import annotations

import os
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.sensor.sinks.base import Sink
from edge_demist.sensor.sinks.file import FileSink
from edge_demist.sensor.sinks.stream import StreamSink


def make_file_sink(form: str, path: Path | None, **options: object) -> Sink:
    """The sink for a format and a path (None: standard output).

    Raises:
        InputError: the two do not go together.
        OSError: the file cannot be opened.
    """
    if form == "parquet":
        if path is None:
            raise InputError("--format parquet needs -o FILE")
        from edge_demist.sensor.sinks.parquet import ParquetSink

        return ParquetSink(path)
    if path is None:
        return StreamSink(1, form)
    if path.exists() and not path.is_file():  # /dev/null, /dev/stdout, a named pipe: nothing to fsync or cut
        return StreamSink(os.open(path, os.O_WRONLY | os.O_CLOEXEC), form, own=True)
    return FileSink(path, form, **options)  # type: ignore[arg-type]
