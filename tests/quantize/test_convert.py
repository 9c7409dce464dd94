"""Checkpoint → bundle: layout, arithmetic, determinism, and nothing left behind after an error."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_demist.format import safetensors

pytest.importorskip("onnx", reason="needs the extra 'quantize'")
pytest.importorskip("sentencepiece", reason="needs the extra 'quantize'")

from edge_demist.errors import InputError
from quantize.convert import convert_checkpoint
from quantize.errors import CheckpointError
from tests.support.checkpoints import HIDDEN, INNER, LAYERS, bert_tensors, vocab_size, write_checkpoint


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("convert")
    convert_checkpoint(write_checkpoint(folder / "checkpoint"), folder / "bundle", name="tiny")
    return folder / "bundle"


def unpack(panels: np.ndarray) -> np.ndarray:
    """Return [K, N] from [N/16, K/4, 16, 4]."""
    blocks, steps, columns, step = panels.shape
    return panels.transpose(1, 3, 0, 2).reshape(steps * step, blocks * columns)


def test_manifest_lists_every_file_with_its_hash(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    on_disk = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == on_disk - {"manifest.json"}
    for name, described in manifest["files"].items():
        data = (bundle / name).read_bytes()
        assert described == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert manifest["architecture"]["num_layers"] == LAYERS
    assert manifest["ngrams"] == {"buckets": 64, "dim": 16, "min_n": 2, "max_n": 4, "max_bytes": 256}
    assert "created" not in manifest


def test_every_weight_is_within_half_a_step_of_the_float_one(bundle: Path) -> None:
    _, tensors = safetensors.read(bundle / "weights.safetensors")
    source = bert_tensors(vocab_size())
    for i in range(LAYERS):
        stem = f"encoder.layer.{i}."
        qkv = np.concatenate([source[f"{stem}attention.self.{x}.weight"].T for x in ("query", "key", "value")], axis=1)
        for name, weight in (("qkv", qkv), ("ffn_down", source[f"{stem}output.dense.weight"].T)):
            values, scale = unpack(tensors[f"layers.{i}.{name}.weight"]), tensors[f"layers.{i}.{name}.scale"]
            assert np.array_equal(scale, np.abs(weight).max(0) / np.float32(127))
            assert np.all(np.abs(values * scale - weight) <= 0.5001 * scale)
            assert np.abs(values.astype(int)).max(0).min() == 127
            assert np.array_equal(tensors[f"layers.{i}.{name}.correction"], -128 * values.astype(np.int32).sum(0))


def test_shapes_alignment_and_padding(bundle: Path) -> None:
    path = bundle / "weights.safetensors"
    _, tensors = safetensors.read(path)
    vocab = vocab_size()
    assert tensors["embeddings.word.weight"].shape == (-(-vocab // 16) * 16, HIDDEN)
    assert vocab % 16, "the test should cover padding"
    assert not tensors["embeddings.word.weight"][vocab:].any()
    assert tensors["layers.0.ffn_up.weight"].shape == (INNER // 16, HIDDEN // 4, 16, 4)
    assert (8 + int.from_bytes(path.read_bytes()[:8], "little")) % 64 == 0
    assert all(tensor.nbytes % 64 == 0 for tensor in tensors.values())
    types = bert_tensors(vocab)["embeddings.token_type_embeddings.weight"]
    positions = bert_tensors(vocab)["embeddings.position_embeddings.weight"]
    assert np.array_equal(tensors["embeddings.position.weight"], positions + types[0])


def test_specialists_carry_scaling_and_base_hash(bundle: Path) -> None:
    metadata, tensors = safetensors.read(bundle / "specialists/dga.safetensors")
    base = hashlib.sha256((bundle / "weights.safetensors").read_bytes()).hexdigest()
    assert metadata["base_sha256"] == base
    assert json.loads(metadata["labels"]) == ["benign", "dga", "other"]
    assert float(metadata["temperature"]) == 1.25
    adapter = bundle.parent / "checkpoint/adapters/dga/adapter_model.safetensors"
    _, peft = safetensors.read(adapter)
    stem = "base_model.model.encoder.layer.1.attention.self.query"
    assert np.array_equal(tensors["lora.1.q.A"], peft[f"{stem}.lora_A.weight"].T)
    assert np.array_equal(tensors["lora.1.q.B"], peft[f"{stem}.lora_B.weight"].T * np.float32(2))
    assert "lora.0.q.A" not in tensors


def test_ranks_of_zeros_are_left_out(tmp_path: Path, bundle: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(bundle.parent / "checkpoint", checkpoint)
    path = checkpoint / "adapters/dga/adapter_model.safetensors"
    _, peft = safetensors.read(path)
    changed = {name: np.array(tensor) for name, tensor in peft.items()}
    query, value = (f"base_model.model.encoder.layer.1.attention.self.{name}" for name in ("query", "value"))
    changed[f"{query}.lora_A.weight"][0] = 0
    changed[f"{query}.lora_B.weight"][:, 0] = 0
    changed[f"{value}.lora_B.weight"][:] = 0
    safetensors.write(path, changed)
    convert_checkpoint(checkpoint, tmp_path / "bundle", name="tiny")
    _, before = safetensors.read(bundle / "specialists/dga.safetensors")
    _, after = safetensors.read(tmp_path / "bundle/specialists/dga.safetensors")
    assert np.array_equal(after["lora.1.q.A"], before["lora.1.q.A"][:, 1:])
    assert np.array_equal(after["lora.1.q.B"], before["lora.1.q.B"][1:])
    assert after["lora.1.v.A"].shape[1] == 1
    assert not after["lora.1.v.B"].any()


def test_same_inputs_give_the_same_bundle(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = convert_checkpoint(bundle.parent / "checkpoint", tmp_path / "again", name="tiny")
    assert again == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    convert_checkpoint(bundle.parent / "checkpoint", tmp_path / "dated", name="tiny")
    assert json.loads((tmp_path / "dated/manifest.json").read_text())["created"] == "1970-01-02T00:00:00Z"


def test_an_existing_bundle_is_replaced_only_on_request(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", adapters=False, ngrams=False)
    first = convert_checkpoint(checkpoint, tmp_path / "out", name="a")
    with pytest.raises(InputError, match="already exists"):
        convert_checkpoint(checkpoint, tmp_path / "out", name="b")
    assert convert_checkpoint(checkpoint, tmp_path / "out", name="b", overwrite=True) != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "out"]


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", adapters=False, ngrams=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="left alone"):
        convert_checkpoint(checkpoint, tmp_path / "home", overwrite=True)
    assert (tmp_path / "home/thesis.txt").read_text() == "years of work"


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("quantize.convert.write_json", full)
    with pytest.raises(OSError, match="No space"):
        convert_checkpoint(checkpoint, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_vocabulary_and_embedding_must_agree(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", adapters=False, ngrams=False)
    vocab = vocab_size() - 16
    config = json.loads((checkpoint / "config.json").read_text()) | {"vocab_size": vocab}
    (checkpoint / "config.json").write_text(json.dumps(config))
    safetensors.write(checkpoint / "model.safetensors", bert_tensors(vocab))
    with pytest.raises(CheckpointError, match="tokenizer has"):
        convert_checkpoint(checkpoint, tmp_path / "out")
