"""What ``edge-demist bench`` measures: latency, throughput, tokenizer, specialists, cold start; one result as JSON values."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_demist import engines
from edge_demist.diagnostics import cold_start, machine
from edge_demist.diagnostics.measure import Call, Job, batches, run_in_turns
from edge_demist.diagnostics.statistics import doubts, machine_doubts
from edge_demist.errors import EdgeDemistError, EngineUnavailableError, InputError
from edge_demist.model import EdgeDemist
from edge_demist.normalizers import to_bytes

FORMAT = 1
BATCHES = (8, 32, 256)
SLICES = 10
LATENCY_SECONDS = 3.0
THROUGHPUT_SECONDS = 1.0
STARTS = 7
QUICK = 0.2
"""Share of the time that ``quick`` takes."""
PREFERRED_TASK = "hostname-category"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        texts: distinct strings.
        source: where they come from, for the result.
        bundle: folder, or None for the one in the package.
        engine_names: engines to measure; ``auto`` stands for the one that ``load`` would choose, ``all`` for every one.
        threads: thread counts; counts above 1 are measured on batches only.
        task: specialist for the classify rows; None: ``hostname-category`` or the first one.
        quick: a fifth of the time.
    """

    texts: Sequence[str]
    source: str
    bundle: Path | None = None
    engine_names: Sequence[str] = ("auto",)
    threads: Sequence[int] = (1,)
    task: str | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if not self.texts:
            raise InputError("no strings to measure on")
        if not self.threads or min(self.threads) < 1:
            raise InputError("thread counts must be at least 1")

    @property
    def share(self) -> float:
        """Share of the full time."""
        return QUICK if self.quick else 1.0


@dataclass
class Row:
    """A job and what identifies it."""

    measure: str
    engine: str
    kernel: str | None
    threads: int
    batch: int
    job: Job = field(repr=False)


def open_models(plan: Plan) -> tuple[list[EdgeDemist], list[str]]:
    """One model for each engine and thread count; and what could not be opened, with the reason."""
    names = list(engines.ENGINES) if "all" in plan.engine_names else list(dict.fromkeys(plan.engine_names))
    models: list[EdgeDemist] = []
    missing: list[str] = []
    for name in names:
        for threads in dict.fromkeys(plan.threads):
            try:
                models.append(EdgeDemist.load(plan.bundle, engine=name, threads=threads))
            except EngineUnavailableError as error:
                missing.append(f"{name}: {error}")
                break
    if not models:
        raise EngineUnavailableError("nothing to measure. " + "; ".join(missing))
    return models, missing


def rows_of(model: EdgeDemist, plan: Plan, threads: int, *, first: bool) -> list[Row]:
    """The rows of one model; tokenizer rows only with the ``first`` one, since engines share the tokenizer."""
    kernel = getattr(getattr(model.engine, "kernels", None), "level", None)
    texts, share = plan.texts, plan.share

    def row(name: str, batch: int, seconds: float, calls: list[Call]) -> Row:
        job = Job(f"{name}, {model.engine.name}, batch {batch}, threads {threads}", calls, batch, seconds * share)
        return Row(name, model.engine.name, kernel, threads, batch, job)

    def encode(part: list[str]) -> Call:
        return lambda: model.encode(part)

    rows = []
    if threads == 1:
        rows.append(row("encode", 1, LATENCY_SECONDS, [encode([t]) for t in texts[:2048]]))
    rows += [
        row("encode", size, THROUGHPUT_SECONDS, [encode(part) for part in batches(texts, size)]) for size in BATCHES if len(texts) >= size
    ]
    if threads == 1 and model.tasks:
        rows += _classify_rows(model, plan, row)
    if first:
        rows += _tokenizer_rows(model, texts, row)
    return rows


def _classify_rows(model: EdgeDemist, plan: Plan, row: Callable[..., Row]) -> list[Row]:
    task = plan.task or (PREFERRED_TASK if PREFERRED_TASK in model.tasks else model.tasks[0])
    model.specialist(task)

    def classify(part: list[str]) -> Call:
        return lambda: model.classify(part, task=task)

    name = f"classify {task}"
    rows = [row(name, 1, THROUGHPUT_SECONDS, [classify([t]) for t in plan.texts[:2048]])]
    if len(plan.texts) >= 32:
        rows.append(row(name, 32, THROUGHPUT_SECONDS, [classify(part) for part in batches(plan.texts, 32)]))
    return rows


def _tokenizer_rows(model: EdgeDemist, texts: Sequence[str], row: Callable[..., Row]) -> list[Row]:
    raws = [to_bytes(text) for text in texts]

    def tokenize(part: Sequence[bytes]) -> Call:
        return lambda: model.tokenizer.encode_batch(part)

    rows = [row("tokenize", 1, THROUGHPUT_SECONDS / 2, [tokenize([raw]) for raw in raws[:2048]])]
    if len(raws) >= 256:
        parts = [raws[i : i + 256] for i in range(0, len(raws) - 255, 256)]
        rows.append(row("tokenize", 256, THROUGHPUT_SECONDS / 2, [tokenize(part) for part in parts]))
    return rows


def run(plan: Plan, progress: Progress | None = None) -> dict[str, object]:
    """Measure everything in ``plan``.

    Returns:
        JSON values: ``rows`` (timings in microseconds a call, strings a second), ``cold_start``, ``machine``,
        ``settings``, ``unstable`` (reasons not to trust the run; empty for a stable one).

    Raises:
        EdgeDemistError: the bundle or every engine cannot be used.
    """
    before, load = machine.Moment.now(), machine.load_average()
    models, missing = open_models(plan)
    rows: list[Row] = []
    tokens = model_tokens(models[0], plan.texts)
    for number, model in enumerate(models):
        rows += rows_of(model, plan, getattr(model.engine, "threads", 1), first=number == 0)
    total = SLICES * len(rows)
    done = 0

    def on_slice(job: Job, _: int) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(job.name, done, total)

    run_in_turns([row.job for row in rows], SLICES, on_slice)
    after = machine.Moment.now()
    bundle = models[0].bundle
    result: dict[str, object] = {
        "format": FORMAT,
        "kind": "edge-demist bench",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine.facts(),
        "bundle": {"id": bundle.id, "name": bundle.name, "version": bundle.version},
        "strings": {"source": plan.source, "count": len(plan.texts), "mean_tokens": tokens},
        "settings": {"quick": plan.quick, "slices": SLICES},
        "rows": [row_values(row) for row in rows],
        "left_out": missing,
        "steal_share": machine.steal_share(before, after),
        "load_before": load,
    }
    seconds = max(sum(float(part.sum()) for row in rows for part in row.job.slices), 1e-9)
    switches = sum(row.job.switches for row in rows) / seconds
    result["unstable"] = machine_doubts(machine.steal_share(before, after), switches, load, machine.processors())
    result["cold_start"] = cold_starts(plan, models)
    for model in models:
        model.close()
    return result


def cold_starts(plan: Plan, models: Sequence[EdgeDemist]) -> list[dict[str, object]]:
    """A fresh process until its first vector, for each engine at one thread."""
    found = []
    for name in dict.fromkeys(model.engine.name for model in models):
        path = str(models[0].bundle.path.resolve())
        try:
            values = cold_start.measure(path, name, 1, plan.texts[0], 3 if plan.quick else STARTS)
        except (EdgeDemistError, OSError) as error:
            values = {"error": str(error)}
        found.append({"engine": name, **values})
    return found


def model_tokens(model: EdgeDemist, texts: Sequence[str]) -> float:
    """Mean token count, special tokens included."""
    _, offsets = model.tokenizer.encode_batch([to_bytes(t) for t in texts[:10_000]], add_special_tokens=True)
    return float(np.diff(offsets).mean())


def row_values(row: Row) -> dict[str, object]:
    """A row as JSON values."""
    summary = row.job.summary
    reasons = doubts(summary)
    strings = summary.samples * row.batch
    return {
        "measure": row.measure,
        "engine": row.engine,
        "kernel": row.kernel,
        "threads": row.threads,
        "batch": row.batch,
        "call_us": {name: value * 1e6 for name, value in summary.percentiles.items()} | {"max": summary.largest * 1e6},
        "strings_per_second": row.batch / summary.median,
        "strings_per_joule": strings / row.job.joules if row.job.joules else None,
        "calls": summary.samples,
        "spread": summary.spread,
        "drift": summary.drift,
        "unstable": reasons,
    }
