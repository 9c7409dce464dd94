"""Record batches in, record batches with one more column out, for engines that speak Arrow (extra ``parquet``).

The model is loaded once a process, whatever is pickled: an object of these classes is its settings.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from edge_demist.errors import InputError
from edge_demist.model import EdgeDemist


@functools.cache
def loaded(path: str | None, threads: int = 1) -> EdgeDemist:
    """The bundle's model, once a process."""
    return EdgeDemist.load(path, threads=threads)


def _texts(batch: Any, name: str, output: str) -> tuple[list[Any], list[str | None]]:
    """Texts of a column, and why a row has none; text that is no UTF-8 is read as the bytes it is.

    Raises:
        InputError: there is no such column, or several, or ``output`` is there already.
    """
    names = batch.schema.names
    if output in names:
        raise InputError(f"there is a column {output!r} already; give another output")
    if (count := names.count(name)) != 1:
        raise InputError(f"{count or 'no'} columns are called {name!r}; there are {', '.join(map(repr, names))[:200]}")
    column = batch.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if str(column.type) in ("string", "large_string", "string_view"):
        column = column.cast(pa.large_binary())
    cells = column.to_pylist()
    errors = [None if isinstance(cell, (str, bytes)) else f"{type(cell).__name__} is not text" for cell in cells]
    return [cell for cell, error in zip(cells, errors, strict=True) if error is None], errors


@dataclass(frozen=True)
class Embed:
    """Adds ``output``, a list of float32 [dim] (of fixed size where ``fixed``), null where a row has no text."""

    column: str
    output: str = "vector"
    path: str | None = None
    task: str | None = None
    normalizer: str = "identity"
    fixed: bool = False
    threads: int = 1

    def __call__(self, batch: Any) -> Any:
        """One ``pyarrow.RecordBatch`` or ``Table``; a column more."""
        model = loaded(self.path, self.threads)
        texts, errors = _texts(batch, self.column, self.output)
        vectors = model.encode(texts, task=self.task, normalizer=self.normalizer)
        mask = pa.array([error is not None for error in errors], pa.bool_())
        flat, offsets, place = pa.array(vectors.ravel(), pa.float32()), [0], 0
        for error in errors:
            place += 0 if error else model.dim
            offsets.append(place)
        kept = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, mask=mask)
        kind = pa.list_(pa.float32(), model.dim) if self.fixed else pa.list_(pa.float32())
        passport = {"bundle": model.bundle_id, "version": model.bundle.version, "task": self.task, "normalizer": self.normalizer}
        field = pa.field(self.output, kind, metadata={"edge_demist": json.dumps(passport)})
        return _with(batch, field, kept.cast(kind))


@dataclass(frozen=True)
class Classify:
    """Adds ``output``, a struct of label, score, alarm_score, alarm and error."""

    column: str
    task: str
    output: str = "verdict"
    path: str | None = None
    fpr: float | None = None
    min_accuracy: float | None = None
    threads: int = 1

    def __call__(self, batch: Any) -> Any:
        """One ``pyarrow.RecordBatch`` or ``Table``; a column more."""
        model = loaded(self.path, self.threads)
        texts, errors = _texts(batch, self.column, self.output)
        answers = iter(model.classify(texts, task=self.task, fpr=self.fpr, min_accuracy=self.min_accuracy))
        rows = []
        for error in errors:
            answer = None if error else next(answers)
            reason = error or (answer.error if answer else None)
            good = answer if answer is not None and not reason else None
            rows.append(
                {
                    "label": good.label if good else None, "score": good.score if good else None,
                    "alarm_score": good.alarm_score if good else None, "alarm": good.alarm if good else None, "error": reason,
                }
            )  # fmt: skip
        kind = pa.struct(
            [("label", pa.string()), ("score", pa.float64()), ("alarm_score", pa.float64()), ("alarm", pa.bool_()), ("error", pa.string())]
        )
        return _with(batch, pa.field(self.output, kind), pa.array(rows, kind))


def _with(batch: Any, field: Any, column: Any) -> Any:
    """The batch with a column more."""
    schema = pa.schema([*batch.schema, field], metadata=batch.schema.metadata)
    return type(batch).from_arrays([*batch.columns, column], schema=schema)
