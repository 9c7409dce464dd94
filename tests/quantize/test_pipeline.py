"""The build: gate, force, resuming, dry run, determinism, recipes, the command line, and the numpy reference beneath."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle

pytest.importorskip("onnx", reason="needs the extra 'quantize'")
pytest.importorskip("sentencepiece", reason="needs the extra 'quantize'")
pytest.importorskip("onnxruntime", reason="needs the extra 'onnxruntime'")

from benchmarks.quantization import methods
from benchmarks.quantization.compare import compare_methods, most_sensitive, sensitivity
from edge_demist.format.int8 import quantize_columns, quantize_rows, to_panels
from quantize import calibration, evaluate, pipeline, reference
from quantize.checkpoint import read_encoder
from quantize.cli import main
from quantize.errors import GateError, QuantizeError
from quantize.recipe import Compare, Gate, LabelledTexts, Recipe, Texts, read_recipe
from tests.support.checkpoints import LABELS, write_checkpoint

TEXTS = ["www.example.com", "mail.example.net", "kq3v9z7hx1.net", "login-secure.paypal.com", "ü", "a b\tc", "cdn.api.net"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("pipeline") / "checkpoint")


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledTexts:
    path = tmp_path / "dga.jsonl"
    lines = [json.dumps({"text": text, "label": LABELS[i % 3]}) for i, text in enumerate(TEXTS)]
    path.write_text("\n".join(lines))
    return LabelledTexts(path)


def short_texts(folder: Path) -> Path:
    path = folder / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    return path


def quiet(_: str) -> None:
    """Swallow progress."""


def job_for(checkpoint: Path, out: Path, recipe: Recipe | None = None, **options: object) -> pipeline.Job:
    few = Texts(checkpoint.parent / "texts.txt", checkpoint.parent / "texts.txt")
    (checkpoint.parent / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    recipe = recipe or Recipe(name="tiny", gate=Gate(100, -1), texts=few)
    return pipeline.Job(checkpoint, out, recipe, engine="onnxruntime", **options)


def test_build_writes_bundle_and_report(checkpoint: Path, tmp_path: Path, labelled: LabelledTexts) -> None:
    texts = Texts(short_texts(tmp_path), short_texts(tmp_path))
    recipe = Recipe("tiny", 4, texts=texts, gate=Gate(100, -1), compare=Compare(methods=True), tasks={"dga": labelled})
    identity = pipeline.build(job_for(checkpoint, tmp_path / "out", recipe), progress=quiet)
    bundle = Bundle.load(tmp_path / "out")
    assert bundle.id == identity
    assert bundle.version == 4
    report = json.loads((tmp_path / "out/report/report.json").read_text())
    assert report["bundle"] == identity
    assert {one["method"] for one in report["methods"]} >= {"float32", "dynamic-int8", "static-entropy", "int4-weights", "merged-lora-int8"}
    assert report["tasks"][0]["count"] == len(TEXTS)
    text = (tmp_path / "out/report/report.md").read_text()
    assert "| dynamic-int8 |" in text and identity in text
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert "model.safetensors" in manifest["quantization"]["inputs"]
    assert "forced" not in manifest["quantization"]["gate"]


def test_the_gate_refuses_a_broken_quantization(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(weight: np.ndarray, limit: int = 127) -> object:
        return quantize_columns(weight, 1)

    monkeypatch.setattr("quantize.convert.quantize_columns", broken)
    recipe = Recipe("tiny", texts=Texts(short_texts(tmp_path), short_texts(tmp_path)), gate=Gate(0.3, 0.98))
    with pytest.raises(GateError, match="minimum cosine"):
        pipeline.build(job_for(checkpoint, tmp_path / "out", recipe), progress=quiet)
    assert not (tmp_path / "out").exists()
    pipeline.build(job_for(checkpoint, tmp_path / "out", recipe, force=True), progress=quiet)
    gate = json.loads((tmp_path / "out/manifest.json").read_text())["quantization"]["gate"]
    assert gate["forced"] is True and gate["passed"] is False


@given(st.floats(-1, 1) | st.just(float("nan")), st.floats(0, 100), st.floats(0, 100), st.floats(0, 5), st.floats(-1, 1))
def test_gate_rule(cosine: float, before: float, after: float, most: float, least: float) -> None:
    evidence = {"cosine": {"minimum": cosine}, "tasks": [{"task": "x", "float_accuracy": before, "int8_accuracy": after}]}
    failures = pipeline.gate_failures(Recipe(gate=Gate(most, least)), evidence)
    assert (not failures) == (cosine >= least and before - after <= most)


def test_steps_resume_and_notice_changes(checkpoint: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    job = job_for(checkpoint, tmp_path / "out")
    first = pipeline.build(job, progress=quiet)
    again = job_for(checkpoint, tmp_path / "out", overwrite=True)
    assert pipeline.build(again, progress=lines.append) == first
    assert all("up to date" in line for line in lines)
    (job.work / "verify.json").write_text("{}")
    lines.clear()
    pipeline.build(again, progress=lines.append)
    assert [("up to date" in line) for line in lines] == [True, True, False, True, True]
    texts = tmp_path / "texts.txt"
    texts.write_text("other strings\n")
    changed = Recipe("tiny", gate=Gate(100, -1), texts=Texts(texts, texts))
    lines.clear()
    pipeline.build(job_for(checkpoint, tmp_path / "out", changed, overwrite=True), progress=lines.append)
    assert not any("up to date" in line for line in lines)


def test_the_same_inputs_give_the_same_bundle_elsewhere(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    first = pipeline.build(job_for(checkpoint, tmp_path / "a/out"), progress=quiet)
    moved = Path(shutil.copytree(checkpoint, tmp_path / "elsewhere/other name"))
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert pipeline.build(job_for(moved, tmp_path / "b/out"), progress=quiet) == first


def test_command_line(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cryptography", reason="signing needs the extra 'quantize'")
    from edge_demist.format.signing import read_public_key, verify_bundle

    recipe = tmp_path / "r.toml"
    short_texts(tmp_path)
    recipe.write_text('name = "cli"\n[texts]\ncalibration = "texts.txt"\nverification = "texts.txt"\n[gate]\nmin_cosine = -1.0\n')
    common = ["--checkpoint", str(checkpoint), "--recipe", str(recipe), "--out", str(tmp_path / "out"), "--engine", "onnxruntime"]
    assert main(["build", *common, "--dry-run"]) == 0
    assert "convert: would run" in capsys.readouterr().out
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.work").exists()
    keys = [str(tmp_path / "private.pem"), str(tmp_path / "public.pem")]
    assert main(["keygen", "--private", keys[0], "--public", keys[1]]) == 0
    assert main(["build", *common, "--version", "7", "--key", keys[0]]) == 0
    assert "signed" in capsys.readouterr().out
    verify_bundle(tmp_path / "out", read_public_key(Path(keys[1])))
    assert Bundle.load(tmp_path / "out").version == 7
    assert main(["build", *common]) == 1
    assert "already exists" in capsys.readouterr().err
    assert main(["convert", "--checkpoint", str(tmp_path), "--out", str(tmp_path / "no")]) == 1
    assert main(["sign", str(tmp_path / "out/specialists/dga.safetensors"), "--key", keys[0]]) == 0
    with pytest.raises(SystemExit) as usage:
        main(["build"])
    assert usage.value.code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'x'", "unknown keys"),
        ("[gate]\nmin_cosine = 3.0", "out of range"),
        ("version = 0", "version"),
        ("artefacts = ['exe']", "unknown artefacts"),
        ("artefacts = 'qdq'", "must be a list"),
        ("[tasks.dga]\nlimit = 3", "needs a file"),
        ("[tasks.dga]\nfile = 'x'\nlimits = 3", "unknown keys in tasks.dga"),
        ("name = ", "not valid TOML"),
    ],
)
def test_recipes_are_checked(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(QuantizeError, match=message):
        read_recipe(tmp_path / "r.toml")


def test_recipe_paths_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[texts]\ncalibration = "c.txt"\n[tasks.dga]\nfile = "d.jsonl"\nlimit = 5\n')
    recipe = read_recipe(tmp_path / "r.toml")
    assert recipe.texts.calibration == tmp_path / "c.txt"
    assert recipe.tasks["dga"] == LabelledTexts(tmp_path / "d.jsonl", 5)
    assert recipe.gate == Gate(0.3, 0.98)


def test_methods_rank_as_theory_says(checkpoint: Path, tmp_path: Path, labelled: LabelledTexts) -> None:
    """Per token beats per tensor, eight bits beat four, a float fallback beats none; merging LoRA is measured too."""
    from quantize.convert import convert_checkpoint

    convert_checkpoint(checkpoint, tmp_path / "bundle")
    bundle, encoder = Bundle.load(tmp_path / "bundle"), read_encoder(checkpoint)
    rows = evaluate.tokenize(bundle, evaluate.built_in_texts()[:30])
    known = calibration.calibrate(encoder, rows)
    calibration.save(tmp_path / "c.safetensors", known)
    loaded = calibration.load(tmp_path / "c.safetensors")
    assert set(loaded) == set(known)
    costs = sensitivity(encoder, rows)
    worst = most_sensitive(costs, 2)
    assert min(costs[site] for site in worst) >= max(cost for site, cost in costs.items() if site not in worst)
    records = {str(one["method"]): one for one in compare_methods(bundle, encoder, loaded, rows, {"dga": labelled}, worst)}
    mean = {name: one["cosine"]["mean"] for name, one in records.items() if one["cosine"]}
    assert mean["float32"] == pytest.approx(1, abs=1e-6)
    assert mean["dynamic-int8"] > mean["dynamic-per-tensor"] > 0.9
    assert mean["int8-with-fallback"] > mean["dynamic-int8"] > mean["int4-weights"]
    assert records["int4-weights"]["linear_megabytes"] < records["dynamic-int8"]["linear_megabytes"]
    assert records["float32"]["accuracy_drop_points"] == {"dga": 0}


def test_calibrated_ranges_nest(checkpoint: Path) -> None:
    encoder = read_encoder(checkpoint)
    rows = [np.arange(5, 5 + n, dtype=np.int32) for n in range(1, 60)]
    for one in calibration.calibrate(encoder, rows).values():
        assert one.histogram.sum() > 0
        low, high = one.range("min-max")
        for method in ("percentile", "entropy"):
            inner = one.range(method)
            assert low <= inner[0] < inner[1] <= high
    with pytest.raises(QuantizeError, match="unknown calibration"):
        one.range("magic")


def test_merged_adapters_are_the_same_function_in_float(checkpoint: Path) -> None:
    from quantize.adapters import read_lora

    encoder = read_encoder(checkpoint)
    lora = read_lora(checkpoint / "adapters/dga", encoder.architecture)
    rows = [np.arange(7, 27, dtype=np.int32)]
    apart = reference.encode(encoder, rows, lora=lora)
    merged = reference.encode(methods.merge_lora(encoder, lora), rows)
    assert np.allclose(apart, merged, atol=1e-4)
    assert not np.allclose(apart, reference.encode(encoder, rows), atol=1e-2)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_int8_weights_by_property(steps: int, panels: int, seed: int) -> None:
    weight = np.random.default_rng(seed).normal(0, 1, (4 * steps, 16 * panels)).astype(np.float32)
    weight[:, 0] = 0
    matrix = quantize_columns(weight)
    assert np.all(np.abs(matrix.dequantize() - weight) <= 0.5001 * matrix.scale)
    assert matrix.scale.min() > 0
    packed = to_panels(matrix.values)
    assert all(packed[n // 16, k // 4, n % 16, k % 4] == matrix.values[k, n] for k in (0, 4 * steps - 1) for n in (0, 16 * panels - 1))
    values, scale = quantize_rows(weight)
    assert np.all(np.abs(values * scale[:, None] - weight) <= 0.5001 * scale[:, None])
    with pytest.raises(ValueError, match="does not divide"):
        to_panels(np.zeros((6, 16), np.int8))


def test_ngram_vectors_follow_the_definition(checkpoint: Path, tmp_path: Path) -> None:
    """FNV-1a written out byte by byte."""
    buckets = 64
    data = b"\x02ab\x03"
    expected = []
    for n in (2, 3):
        for start in range(len(data) - n + 1):
            value = 2166136261
            for byte in data[start : start + n]:
                value = (value ^ byte) * 16777619 % 2**32
            expected.append((value ^ value >> 15) % buckets)
    assert evaluate.ngram_buckets(b"ab", 2, 3, buckets).tolist() == expected


def test_spearman_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    random = np.random.default_rng(0)
    x, y = random.integers(0, 9, 50), random.normal(0, 1, 50)
    assert evaluate.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    pairs = evaluate.similarity_pairs()
    assert len(pairs) >= 60 and {0 <= score <= 5 for score, _, _ in pairs} == {True}


def test_a_checkpoint_with_unknown_labels_is_named(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"text": "a", "label": "martian"}))
    recipe = Recipe("tiny", gate=Gate(100, -1), tasks={"dga": LabelledTexts(path)})
    with pytest.raises(QuantizeError, match="martian"):
        pipeline.build(job_for(checkpoint, tmp_path / "out", recipe), progress=quiet)


def test_report_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from quantize.report import render

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    evidence = {
        "bundle": "x", "engine": "native", "megabytes": 1.0, "tasks": [],
        "cosine": {"count": 1, "mean": 1.0, "p01": 1.0, "minimum": 1.0}, "sensitivity": {"0.qkv": 1e-4},
    }  # fmt: skip
    render(evidence, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]
    assert "| 0.qkv | 1.00e-04 |" in (tmp_path / "report.md").read_text()


def test_safetensors_package_reads_our_files(checkpoint: Path, tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors.numpy", reason="needs the extra 'quantize'")
    from quantize.convert import convert_checkpoint

    convert_checkpoint(checkpoint, tmp_path / "bundle")
    for path in (tmp_path / "bundle").rglob("*.safetensors"):
        _, ours = safetensors.read(path)
        theirs = package.load_file(path)
        assert set(ours) == set(theirs)
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
