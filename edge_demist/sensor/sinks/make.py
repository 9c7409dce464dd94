"""Chooses the sinks that the settings ask for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.sinks.base import Sink
from edge_demist.sensor.sinks.file import FileSink
from edge_demist.sensor.sinks.stream import StreamSink
from edge_demist.sensor.sinks.syslog import SyslogSink
from edge_demist.sensor.storage import Disk


def make_sinks(
    config: WatchConfig,
    disk: Disk,
    committed: Mapping[str, object],
    log: Callable[[str, dict[str, object]], None],
    breathe: Callable[[], None],
) -> list[Sink]:
    """The file or stream, and the syslog socket; ``committed`` is the place in the output that the checkpoint knows.

    ``breathe`` is called while a reader takes long over what there is.
    """
    sinks: list[Sink] = [SyslogSink(config.syslog)] if config.syslog else []
    if config.output or not config.syslog:
        options: dict[str, object] = {"disk": disk, "append": config.state is not None, "committed": committed, "notify": log}
        options |= {"rotate_bytes": config.rotate_bytes, "keep": config.keep}
        sinks.insert(0, make_file_sink(config.form, config.output, **options))
    for sink in sinks:
        if isinstance(sink, StreamSink | SyslogSink):
            sink.breathe = breathe
    return sinks


def make_file_sink(form: str, path: Path | None, **options: object) -> Sink:
    """The sink for a format and a path (None: standard output).

    Raises:
        InputError: the two do not go together.
        OSError: the file cannot be opened.
    """
    if form == "parquet":
        if path is None:
            raise InputError("--output-format parquet needs -o FILE")
        from edge_demist.sensor.sinks.parquet import ParquetSink

        return ParquetSink(path)
    if path is None:
        return StreamSink(1, form)
    if path.exists() and not path.is_file():  # /dev/null, /dev/stdout, a named pipe: nothing to fsync or cut
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise InputError(f"-o {path}: nobody reads this pipe; start its reader first") from None
            raise
        return StreamSink(handle, form, own=True)
    return FileSink(path, form, **options)  # type: ignore[arg-type]
