"""Events as a Parquet file, for batches; needs the extra ``pyarrow``.

The file is written beside its place, under a name that nobody can foresee, and renamed when whole: a reader sees all or nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.io import is_special, replacing
from edge_demist.sensor.events import Entry, to_json
from edge_demist.sensor.sinks.formats import encode

ROW_GROUP = 20_000
_TEXT = (
    "time",
    "file",
    "event_id",
    "log",
    "field",
    "text",
    "text_base64",
    "task",
    "label",
    "model",
    "error",
    "suppressed",
    "uid",
    "community_id",
    "fuid",
    "fingerprint",
    "src_ip",
    "dest_ip",
    "proto",
    "embedding",
    "why",
)
_INTEGER = ("offset", "text_bytes", "src_port", "dest_port")
_REAL = ("score", "alarm_score", "threshold")
_FLAG = ("alarm", "truncated")


class ParquetSink:
    """Collects events into row groups; the file appears at ``close``."""

    batch_only = True

    def __init__(self, path: Path) -> None:
        """Open a temporary file beside ``path``.

        Raises:
            InputError: pyarrow is not installed, or ``path`` stands for a pipe or a device.
            OSError: the folder cannot be written.
        """
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise InputError("--output-format parquet needs pyarrow: pip install 'edge-demist[parquet]'") from error
        if is_special(path):
            raise InputError(f"-o {path}: --output-format parquet needs a regular file")
        self._pa, self._place = pa, contextlib.ExitStack()
        fields = [pa.field(name, pa.string()) for name in (*_TEXT, "flow_id", "tx_id")]
        fields += [pa.field(name, pa.int64()) for name in _INTEGER] + [pa.field(name, pa.float64()) for name in _REAL]
        self._schema = pa.schema(fields + [pa.field(name, pa.bool_()) for name in _FLAG])
        self._writer = pq.ParquetWriter(self._place.enter_context(replacing(path, 0o640)), self._schema, compression="zstd")
        self._rows: list[dict[str, object]] = []

    def write(self, events: Sequence[Entry]) -> None:
        """Take rows."""
        self._rows.extend(self._row(to_json(event)) for event in events)
        if len(self._rows) >= ROW_GROUP:
            self._write_group()

    def _row(self, event: dict[str, object]) -> dict[str, object]:
        row: dict[str, object] = {name: event.get(name) for name in self._schema.names}
        for name in ("embedding", "why", "flow_id", "tx_id"):
            row[name] = None if row[name] is None else encode(row[name])
        return row

    def _write_group(self) -> None:
        if self._rows:
            self._writer.write_table(self._pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []

    def sync(self) -> None:
        """Nothing is durable before ``close``."""

    @property
    def backlog_bytes(self) -> int:
        """None that a sync would free."""
        return 0

    def position(self) -> dict[str, object]:
        """A batch has none."""
        return {}

    def after_commit(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Finish the file, fsync it, put it in its place."""
        self._write_group()
        self._writer.close()
        self._place.close()

    def abandon(self) -> None:
        """Leave no unfinished file behind."""
        self._writer.close()
        with contextlib.suppress(InterruptedError), self._place:
            raise InterruptedError
