"""The steps of a build, each resumable: done again only if one of its inputs or outputs changed.

    convert → calibrate → verify → (gate) → report → export → finish

Work happens in ``<out>.work``; the bundle appears under its name at the end, whole, and only if the gate lets it. The
manifest records the recipe and the inputs by hash and whether the gate was forced. Measured figures depend on the
machine, so they live in ``report/`` beside the signed part: the same inputs give the same bundle id anywhere.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quantization.compare import bundle_megabytes, compare_methods, most_sensitive, sensitivity
from edge_demist import engines
from edge_demist.format.bundle import Bundle
from edge_demist.format.writer import sha256, whole_folder, write_json
from quantize import calibration
from quantize.convert import Inputs, read_inputs, write_bundle
from quantize.errors import GateError
from quantize.evaluate import Cosine, TaskCost, float_vectors, pack, read_texts, task_cost, tokenize
from quantize.recipe import Recipe
from quantize.report import render

STEPS = ("convert", "calibrate", "verify", "report", "export")
CHECKPOINT_FILES = ("config.json", "model.safetensors", "spm.model", "tokenizer.json", "ngrams.safetensors", "MODEL_CARD.md")


@dataclass(frozen=True)
class Job:
    """What to build from what; ``work`` is the folder of intermediate results."""

    checkpoint: Path
    out: Path
    recipe: Recipe
    adapters: tuple[Path, ...] = ()
    force: bool = False
    overwrite: bool = False
    engine: str = "auto"

    @property
    def work(self) -> Path:
        """The folder of intermediate results, beside ``out``."""
        return self.out.with_name(self.out.name + ".work")

    @property
    def draft(self) -> Path:
        """The converted bundle before the gate."""
        return self.work / "bundle"

    def inputs(self) -> dict[str, str]:
        """SHA-256 by name of every file that the conversion reads."""
        found = {name: self.checkpoint / name for name in CHECKPOINT_FILES}
        for folder in (self.checkpoint / "adapters", *self.adapters):
            found |= {f"adapters/{path.relative_to(folder)}": path for path in sorted(folder.rglob("*.*")) if path.is_file()}
        return {name: sha256(path) for name, path in sorted(found.items()) if path.is_file()}


def build(job: Job, only: Sequence[str] = STEPS, progress: Callable[[str], None] | None = None) -> str | None:
    """Run the steps named in ``only`` and, if all are, finish the bundle; returns its id.

    Raises:
        CheckpointError: an input is malformed.
        GateError: int8 costs more than the recipe allows and ``job.force`` is not set.
    """
    say = progress or _to_stderr
    if job.out.exists() and not job.overwrite and set(only) == set(STEPS):
        raise FileExistsError(f"{job.out}: already exists; pass --overwrite to replace it")
    job.work.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(STEPS, 1):
        if step in only:
            fresh = _up_to_date(job, step)
            say(f"[{number}/{len(STEPS)}] {step}: {'up to date' if fresh else '…'}")
            if not fresh:
                _ACTIONS[step](job)
                _record(job, step)
    return finish(job) if set(only) == set(STEPS) else None


def plan(job: Job) -> list[str]:
    """Say what :func:`build` would do, without doing it; inputs are read and checked."""
    inputs = read_inputs(job.checkpoint, job.adapters)
    arch = inputs.encoder.architecture
    lines = [
        f"{inputs.encoder.model_type}: {arch.num_layers} layers of {arch.hidden_size}, {arch.vocab_size} tokens, "
        f"{len(inputs.specialists)} specialists → {job.out} as {job.recipe.name!r} version {job.recipe.version}"
    ]
    lines += [f"{step}: {'up to date' if _up_to_date(job, step) else 'would run'}" for step in STEPS]
    if job.out.exists():
        lines.append(f"{job.out}: {'would be replaced' if job.overwrite else 'exists: would stop (--overwrite)'}")
    return lines


def finish(job: Job) -> str:
    """Pass the gate, then move the bundle to its place; returns its id."""
    evidence = json.loads((job.work / "verify.json").read_text())
    failures = gate_failures(job.recipe, evidence)
    if failures and not job.force:
        raise GateError(f"{job.out} was not written: {'; '.join(failures)} (--force writes it, marked)")
    with whole_folder(job.out, job.overwrite) as folder:
        shutil.copytree(job.draft, folder, dirs_exist_ok=True)
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        gate = manifest["quantization"]["gate"]
        gate["passed"] = not failures
        if failures:
            gate["forced"] = True
        write_json(folder / "manifest.json", manifest)
        render({**json.loads((job.work / "report/report.json").read_text()), "bundle": sha256(folder / "manifest.json")}, folder / "report")
        if (job.work / "export").is_dir():
            shutil.copytree(job.work / "export", folder / "export")
    return sha256(job.out / "manifest.json")


def gate_failures(recipe: Recipe, evidence: dict[str, object]) -> list[str]:
    """Return what breaks the recipe's gate, in words; empty if nothing does. NaN breaks it."""
    cosine, tasks = evidence["cosine"], evidence["tasks"]
    assert isinstance(cosine, dict) and isinstance(tasks, list)
    failures = []
    if not cosine["minimum"] >= recipe.gate.min_cosine:
        failures.append(f"minimum cosine {cosine['minimum']:.4f} is below {recipe.gate.min_cosine}")
    for task in tasks:
        drop = task["float_accuracy"] - task["int8_accuracy"]
        if not drop <= recipe.gate.max_accuracy_drop:
            failures.append(f"{task['task']} loses {drop:.2f} points, more than {recipe.gate.max_accuracy_drop}")
    return failures


def _convert(job: Job) -> None:
    inputs = read_inputs(job.checkpoint, job.adapters)
    record = {
        "method": "dynamic-int8",
        "recipe_sha256": _digest(_recipe_facts(job.recipe)),
        "inputs": job.inputs(),
        "gate": asdict(job.recipe.gate),
    }
    write_bundle(inputs, job.draft, job.recipe.name, job.recipe.version, overwrite=True, quantization=record)


def _calibrate(job: Job) -> None:
    bundle, inputs = Bundle.load(job.draft), read_inputs(job.checkpoint, job.adapters)
    rows = tokenize(bundle, read_texts(job.recipe.texts.calibration))
    calibration.save(job.work / "calibration.safetensors", calibration.calibrate(inputs.encoder, rows))


def float_table(inputs: Inputs, task: str) -> NDArray[np.float32] | None:
    """Return the n-gram table that a task's head reads, float32 [buckets, dim]: its own or the checkpoint's; None if there is none."""
    own = next((one.ngrams for one in inputs.specialists if one.task == task), None)
    found = own or inputs.ngrams
    return found.weight if found else None


def measure(bundle: Bundle, inputs: Inputs, recipe: Recipe, engine: str = "auto") -> dict[str, object]:
    """Return the evidence of ``verify``: cosine over the verification strings, cost by task, size, engine."""
    from quantize.evaluate import read_labelled

    rows = tokenize(bundle, read_texts(recipe.texts.verification))
    ids, offsets = pack(rows)
    running = engines.create(bundle, engine)
    vectors = running.encode(ids, offsets)
    costs: list[TaskCost] = []
    for task, one in recipe.tasks.items():
        texts, labels = read_labelled(one.file, one.limit)
        costs.append(task_cost(bundle, inputs.encoder, task, texts, labels, engine=engine, ngram_weight=float_table(inputs, task)))
    return {
        "bundle": bundle.id,
        "engine": running.name,
        "megabytes": bundle_megabytes(bundle.path),
        "cosine": asdict(Cosine.of(vectors, float_vectors(inputs.encoder, rows))),
        "tasks": [asdict(cost) for cost in costs],
    }


def _verify(job: Job) -> None:
    inputs = read_inputs(job.checkpoint, job.adapters)
    write_json(job.work / "verify.json", measure(Bundle.load(job.draft), inputs, job.recipe, job.engine))


def _report(job: Job) -> None:
    evidence = json.loads((job.work / "verify.json").read_text())
    if job.recipe.compare.methods:
        bundle, inputs = Bundle.load(job.draft), read_inputs(job.checkpoint, job.adapters)
        rows = tokenize(bundle, read_texts(job.recipe.texts.verification))
        costs = sensitivity(inputs.encoder, rows)
        fallback = most_sensitive(costs, job.recipe.compare.fallback_layers)
        known = calibration.load(job.work / "calibration.safetensors")
        evidence["sensitivity"] = {f"{layer}.{kind}": cost for (layer, kind), cost in costs.items()}
        tables = {task: float_table(inputs, task) for task in job.recipe.tasks}
        evidence["methods"] = compare_methods(bundle, inputs.encoder, known, rows, job.recipe.tasks, fallback, tables)
    evidence["gate"] = {**asdict(job.recipe.gate), "failures": gate_failures(job.recipe, evidence)}
    render(evidence, job.work / "report")


def _export(job: Job) -> None:
    shutil.rmtree(job.work / "export", ignore_errors=True)
    if job.recipe.artefacts:
        from quantize.artefacts import export_artefacts

        rows = tokenize(Bundle.load(job.draft), read_texts(job.recipe.texts.calibration))
        export_artefacts(job.checkpoint, job.adapters, job.draft, job.work / "export", job.recipe.artefacts, rows)


_ACTIONS: dict[str, Callable[[Job], None]] = {
    "convert": _convert,
    "calibrate": _calibrate,
    "verify": _verify,
    "report": _report,
    "export": _export,
}


def _recipe_facts(recipe: Recipe) -> dict[str, object]:
    """Return the recipe without paths, which differ between machines; files are recorded by hash where they count."""
    plain = replace(recipe, texts=type(recipe.texts)(), tasks={})
    return json.loads(json.dumps(asdict(plain)))  # type: ignore[no-any-return]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _inputs_of(job: Job, step: str) -> str:
    files = [path for path in (job.recipe.texts.calibration, job.recipe.texts.verification) if path]
    files += [one.file for one in job.recipe.tasks.values()]
    facts: dict[str, object] = {"inputs": job.inputs(), "recipe": asdict(job.recipe), "engine": job.engine}
    facts["files"] = {str(path): sha256(path) for path in files if path.is_file()}
    facts["before"] = [_outputs_of(job, earlier) for earlier in STEPS[: STEPS.index(step)]]
    return _digest(facts)


def _outputs_of(job: Job, step: str) -> str:
    place = {
        "convert": job.draft,
        "calibrate": job.work / "calibration.safetensors",
        "verify": job.work / "verify.json",
        "report": job.work / "report",
        "export": job.work / "export",
    }[step]
    paths = sorted(place.rglob("*")) if place.is_dir() else [place]
    return _digest({str(path.relative_to(job.work)): sha256(path) for path in paths if path.is_file()})


def _up_to_date(job: Job, step: str) -> bool:
    state = job.work / "steps.json"
    known = json.loads(state.read_text()).get(step) if state.is_file() else None
    return known == {"inputs": _inputs_of(job, step), "outputs": _outputs_of(job, step)}


def _record(job: Job, step: str) -> None:
    path = job.work / "steps.json"
    state = json.loads(path.read_text()) if path.is_file() else {}
    state[step] = {"inputs": _inputs_of(job, step), "outputs": _outputs_of(job, step)}
    write_json(path, state)


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


__all__ = ["STEPS", "Job", "build", "finish", "gate_failures", "measure", "plan"]
