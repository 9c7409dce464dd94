"""New n-gram columns in a bundle, and specialists blended: what stays and what changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("sentencepiece")

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.writer import describe_files, write_json
from quantize.columns import replace_columns
from quantize.convert import convert_checkpoint
from quantize.errors import QuantizeError
from quantize.extend import add_specialists
from tests.support.checkpoints import write_adapter, write_checkpoint
from tools.train import blend

TEXTS = ["kernel.org", "xjqzvwpk8r3t.info", "a", "www.gov.uk"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bundle`` with the specialist ``mine``, and ``other`` with another of that name."""
    folder = tmp_path_factory.mktemp("columns")
    convert_checkpoint(write_checkpoint(folder / "checkpoint"), folder / "plain", version=4)
    for name, seed in (("bundle", 9), ("other", 11)):
        write_adapter(folder / name[0], "mine", (0,), seed=seed)
        add_specialists(Bundle.load(folder / "plain"), [folder / name[0] / "mine"], folder / name)
    return folder


def answers(path: Path, task: str = "mine") -> list[tuple[str, float]]:
    with EdgeDemist.load(path) as model:
        return [(answer.label, answer.score) for answer in model.classify(TEXTS, task=task)]


def _described(folder: Path) -> Path:
    """The folder, its manifest made anew after a file was changed."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = describe_files(folder, sorted(manifest["files"]))
    write_json(folder / "manifest.json", manifest)
    return folder


def test_one_column_changes_and_the_encoder_stays(folder, tmp_path):
    bundle = Bundle.load(folder / "bundle")
    buckets, dim = bundle.ngrams.buckets, bundle.ngrams.dim
    column = np.random.default_rng(1).normal(0, 3, buckets).astype(np.float32)
    replace_columns(bundle, {dim - 1: column}, tmp_path / "new")
    new = Bundle.load(tmp_path / "new", hash_all=True)
    assert new.version == bundle.version
    assert new.base_sha256 != bundle.base_sha256
    for name, tensor in bundle.tensors.items():
        if name.startswith("ngrams."):
            assert np.array_equal(new.tensors[name][..., :-1], tensor[..., :-1])
        else:
            assert np.array_equal(new.tensors[name], tensor)
    read = new.tensors["ngrams.weight"][:, -1] * new.tensors["ngrams.scale"][-1]
    assert np.abs(read - column).max() <= np.abs(column).max() / 127
    with EdgeDemist.load(folder / "bundle") as old, EdgeDemist.load(tmp_path / "new") as model:
        assert np.array_equal(old.encode(TEXTS), model.encode(TEXTS))


def test_a_screen_does_not_read_a_column_that_was_empty_when_it_learnt(folder, tmp_path):
    bundle = Bundle.load(folder / "bundle")
    _, parts = safetensors.read(bundle.path / "specialists" / "mine.safetensors")
    dim = bundle.ngrams.dim
    replace_columns(bundle, {1: np.zeros(bundle.ngrams.buckets, np.float32)}, tmp_path / "empty")
    path = tmp_path / "empty" / "specialists" / "mine.safetensors"
    bound, _ = safetensors.read(path)
    net = {"screen.1.weight": np.ones((dim, 64), np.float32)}  # what a net weighs a column that it never saw is chance
    safetensors.write(path, {**{name: np.array(tensor) for name, tensor in parts.items()}, **net}, bound)
    empty = Bundle.load(_described(tmp_path / "empty"))
    replace_columns(empty, {1: np.full(bundle.ngrams.buckets, 1e-3, np.float32)}, tmp_path / "new", keep_general=True)
    _, new = safetensors.read(tmp_path / "new" / "specialists" / "mine.safetensors")
    assert not new["screen.1.weight"][1].any()
    assert new["screen.1.weight"][np.arange(dim) != 1].all()


@pytest.mark.parametrize(("number", "length"), [(-1, None), (10_000, None), (0, 7)])
def test_columns_that_do_not_fit_are_refused(folder, tmp_path, number, length):
    bundle = Bundle.load(folder / "bundle")
    with pytest.raises(QuantizeError, match="does not fit"):
        replace_columns(bundle, {number: np.zeros(length or bundle.ngrams.buckets, np.float32)}, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("share", "same"), [(0.0, "bundle"), (1.0, "other")])
def test_a_blend_ends_at_either_specialist(folder, tmp_path, share, same):
    out = tmp_path / "mine.safetensors"
    given = ["--task", "mine", "--bundles", str(folder / "bundle"), str(folder / "other"), "--share", str(share), "--out", str(out)]
    assert blend.main(given) == 0
    add_specialists(Bundle.load(folder / "bundle"), [out], tmp_path / "new", replace=True)
    labels = [label for label, _ in answers(tmp_path / "new")]
    assert labels == [label for label, _ in answers(folder / same)]
    ranks = [safetensors.read(folder / name / "specialists" / "mine.safetensors")[1]["lora.0.q.A"].shape[1] for name in ("bundle", "other")]
    assert safetensors.read(out)[1]["lora.0.q.A"].shape[1] == sum(ranks)
