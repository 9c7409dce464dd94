"""Hostile and broken checkpoints: a clear error each, and nothing written."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_demist.format import safetensors

pytest.importorskip("onnx", reason="needs the extra 'quantize'")
pytest.importorskip("sentencepiece", reason="needs the extra 'quantize'")

from quantize.convert import convert_checkpoint
from quantize.errors import CheckpointError, QuantizeError, UnsupportedOperatorError
from tests.support.checkpoints import HIDDEN, bert_tensors, vocab_size, write_checkpoint

Attack = Callable[[Path], None]
VOCAB = vocab_size()


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    metadata, mapped = safetensors.read(path)
    tensors = {name: np.array(tensor) for name, tensor in mapped.items()}
    change(tensors)
    safetensors.write(path, tensors, metadata)


def weights(change: Callable[[dict[str, np.ndarray]], object]) -> Attack:
    return lambda folder: edit_tensors(folder / "model.safetensors", change)


def adapter(change: Callable[[dict[str, np.ndarray]], object]) -> Attack:
    return lambda folder: edit_tensors(folder / "adapters/dga/adapter_model.safetensors", change)


def config(**changes: object) -> Attack:
    return lambda folder: edit_json(folder / "config.json", **changes)


def lora(**changes: object) -> Attack:
    return lambda folder: edit_json(folder / "adapters/dga/adapter_config.json", **changes)


def described(**changes: object) -> Attack:
    return lambda folder: edit_json(folder / "adapters/dga/specialist.json", **changes)


def cut(name: str, keep: int) -> Attack:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep]) and None  # type: ignore[func-returns-value]


def header(text: bytes, length: int | None = None) -> Attack:
    def attack(folder: Path) -> None:
        size = len(text) if length is None else length
        (folder / "model.safetensors").write_bytes(size.to_bytes(8, "little") + text)

    return attack


def poison(name: str, value: float) -> Attack:
    return weights(lambda tensors: tensors[name].__setitem__((0,) * tensors[name].ndim, value))


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": 1}))


def other_vocabulary(folder: Path) -> None:
    edit_json(folder / "config.json", vocab_size=VOCAB - 9)
    edit_tensors(folder / "model.safetensors", lambda tensors: tensors.update(bert_tensors(VOCAB - 9)))


def adapter_pickle(folder: Path) -> None:
    (folder / "adapters/dga/adapter_model.safetensors").unlink()
    (folder / "adapters/dga/adapter_model.bin").write_bytes(pickle.dumps({}))


def sentencepiece(change: Callable[[object], object]) -> Attack:
    def attack(folder: Path) -> None:
        from sentencepiece import sentencepiece_model_pb2 as pb

        model = pb.ModelProto()
        model.ParseFromString((folder / "spm.model").read_bytes())
        change(model)
        (folder / "spm.model").write_bytes(model.SerializeToString())

    return attack


WORD = "embeddings.word_embeddings.weight"
QUERY = "encoder.layer.1.attention.self.query.weight"
LORA_A = "base_model.model.encoder.layer.1.attention.self.query.lora_A.weight"

ATTACKS: dict[str, tuple[Attack, str]] = {
    "truncated data": (cut("model.safetensors", 5000), "not a valid safetensors"),
    "truncated header": (cut("model.safetensors", 20), "not a valid safetensors"),
    "empty file": (cut("model.safetensors", 0), "not a valid safetensors"),
    "header longer than the file": (header(b"{}", 1 << 60), "not a valid safetensors"),
    "header is not JSON": (header(b"{'a': 1}"), "not a valid safetensors"),
    "offsets beyond the file": (
        header(b'{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
        "not a valid safetensors",
    ),
    "shape overflows": (
        header(b'{"x":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,0]}}'),
        "not a valid safetensors",
    ),
    "NaN": (poison(QUERY, np.nan), "NaN or infinity"),
    "infinity": (poison("embeddings.LayerNorm.bias", np.inf), "NaN or infinity"),
    "missing tensor": (weights(lambda tensors: tensors.pop(QUERY)), "is missing"),
    "wrong shape": (weights(lambda t: t.__setitem__(QUERY, t[QUERY][:-1])), "has shape"),
    "wrong rank": (weights(lambda t: t.__setitem__(QUERY, t[QUERY].ravel())), "has shape"),
    "vocabulary is not the embedding": (config(vocab_size=VOCAB + 1), "the embedding has"),
    "embedding is not the tokenizer": (
        other_vocabulary,
        "the tokenizer has",
    ),
    "more layers than said": (config(num_hidden_layers=2), "layers 2 exist"),
    "fewer layers than said": (config(num_hidden_layers=4), "is missing"),
    "absurd number of layers": (config(num_hidden_layers=10**9), "outside 1"),
    "negative size": (config(hidden_size=-64), "positive integer"),
    "size is text": (config(hidden_size="64"), "positive integer"),
    "size is true": (config(num_attention_heads=True), "positive integer"),
    "head size does not divide": (config(num_attention_heads=7), "multiple of 16"),
    "another activation": (config(hidden_act="relu"), "activation 'relu'"),
    "another family": (config(model_type="gpt2"), "model_type 'gpt2'"),
    "relative positions": (config(position_embedding_type="relative_key"), "absolute"),
    "decoder": (config(is_decoder=True), "decoders"),
    "config is a list": (lambda folder: (folder / "config.json").write_text("[]") and None, "JSON object"),  # type: ignore[func-returns-value]
    "config nests too deep": (
        lambda folder: (folder / "config.json").write_text("[" * 100_000) and None,  # type: ignore[func-returns-value]
        "not valid JSON",
    ),
    "only a pickle": (only_pickle, "need pickle"),
    "adapter is a pickle": (adapter_pickle, "need pickle"),
    "adapter for an absent layer": (
        adapter(lambda t: t.__setitem__(LORA_A.replace("layer.1", "layer.9"), t[LORA_A])),
        "is for layer 9",
    ),
    "adapter for something else": (
        adapter(lambda t: t.__setitem__("base_model.model.pooler.dense.lora_A.weight", t[LORA_A])),
        "not a LoRA tensor",
    ),
    "adapter without its half": (adapter(lambda t: t.pop(LORA_A)), "only one of"),
    "adapter of another width": (adapter(lambda t: t.__setitem__(LORA_A, t[LORA_A][:, :-4])), "has shape"),
    "adapter of another rank": (lora(r=8), "rank 4"),
    "adapter with NaN": (adapter(lambda t: t[LORA_A].__setitem__((0, 0), np.nan)), "NaN or infinity"),
    "adapter with infinite alpha": (lora(lora_alpha=float("inf")), "lora_alpha"),
    "DoRA": (lora(use_dora=True), "use_dora"),
    "another kind of PEFT": (lora(peft_type="IA3"), "IA3"),
    "trained biases": (lora(bias="all"), "biases"),
    "one label": (described(labels=["x"]), "labels must be"),
    "a label twice": (described(labels=["a", "a", "b"]), "appears twice"),
    "another number of labels": (described(labels=["dga", "b"]), "has shape"),
    "unknown normalizer": (described(normalizer="eval"), "normalizer 'eval'"),
    "temperature zero": (described(temperature=0), "temperature"),
    "task name is a path": (described(task="../../etc"), "task is"),
    "a label without a subclass": (described(subclasses=[0, 0, 2]), "subclasses are not"),
    "subclasses out of order": (described(subclasses=[0, 2, 1]), "subclasses are not"),
    "subclasses are text": (described(subclasses="012"), "subclasses are not"),
    "more subclasses than columns": (described(subclasses=[0, 1, 2, 2]), "has shape"),
    "positive label is no label": (described(positive_labels=["nope"]), "positive_labels"),
    "n-gram table is not a power of two": (
        lambda folder: edit_tensors(folder / "ngrams.safetensors", lambda t: t.__setitem__("weight", t["weight"][:-1])),
        "power of two",
    ),
    "n-gram head without a table": (lambda folder: (folder / "ngrams.safetensors").unlink(), "no ngrams.safetensors"),
    "tokenizer is noise": (lambda folder: (folder / "spm.model").write_bytes(b"\xff" * 99) and None, "not a SentencePiece model"),  # type: ignore[func-returns-value]
    "tokenizer is missing": (lambda folder: (folder / "spm.model").unlink(), "neither spm.model"),
    "tokenizer adds a prefix": (sentencepiece(lambda m: setattr(m.normalizer_spec, "add_dummy_prefix", True)), "add_dummy_prefix"),
    "tokenizer is BPE": (sentencepiece(lambda m: setattr(m.trainer_spec, "model_type", 2)), "not unigram"),
    "a score is NaN": (sentencepiece(lambda m: setattr(m.pieces[300], "score", float("nan"))), "NaN or infinite"),
    "a byte piece is missing": (sentencepiece(lambda m: setattr(m.pieces[9], "piece", "zz")), "256 byte pieces"),
    "a piece is huge": (sentencepiece(lambda m: setattr(m.pieces[300], "piece", "a" * 9999)), "longer than"),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("template") / "checkpoint")


@pytest.mark.parametrize("name", ATTACKS)
def test_refused_before_anything_is_written(template: Path, tmp_path: Path, name: str) -> None:
    import shutil

    attack, message = ATTACKS[name]
    checkpoint = Path(shutil.copytree(template, tmp_path / "checkpoint"))
    attack(checkpoint)
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint(checkpoint, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_task_folders_with_hostile_names_are_refused(template: Path, tmp_path: Path) -> None:
    import shutil

    for number, name in enumerate(["UPPER", "a b", "-rf", "x" * 65]):
        checkpoint = Path(shutil.copytree(template, tmp_path / str(number)))
        (checkpoint / "adapters/dga").rename(checkpoint / "adapters" / name)
        with pytest.raises(CheckpointError, match="a task's name"):
            convert_checkpoint(checkpoint, tmp_path / "out")


def test_half_precision_that_overflows_is_refused(tmp_path: Path) -> None:
    from quantize.tensors import read_tensors

    path = tmp_path / "x.safetensors"
    safetensors.write(path, {"x": np.array([1, np.inf], np.float16)})
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        read_tensors(path)


def test_half_and_brain_floats_are_widened(tmp_path: Path) -> None:
    from quantize.tensors import read_tensors

    path = tmp_path / "x.safetensors"
    safetensors.write(path, {"x": np.array([1.5, -2], np.float16), "ids": np.arange(3)})
    tensors, _ = read_tensors(path)
    assert set(tensors) == {"x"} and tensors["x"].dtype == np.float32
    text = b'{"x":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes.fromhex("c03f00c0"))
    assert read_tensors(path)[0]["x"].tolist() == [1.5, -2.0]


def graph(tmp_path: Path, **node: object) -> Path:
    """Write a one-node ONNX file."""
    import onnx
    from onnx import TensorProto, helper

    described = {"op_type": "Gelu", "inputs": ["x"], "outputs": ["y"], "domain": "com.microsoft"} | node
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [HIDDEN]) for name in "xy"]
    proto = helper.make_graph([helper.make_node(**described)], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("evil.example", 1)]
    onnx.save(helper.make_model(proto, opset_imports=opsets, ir_version=9), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_custom_and_unsupported_operators_are_named(tmp_path: Path) -> None:
    from quantize.onnx_export import check_graph

    assert check_graph(graph(tmp_path)) == {"Gelu": 1}
    with pytest.raises(UnsupportedOperatorError, match=r"evil\.example::Backdoor"):
        check_graph(graph(tmp_path, op_type="Backdoor", domain="evil.example"))
    with pytest.raises(UnsupportedOperatorError, match="unsupported operators: NonZero"):
        check_graph(graph(tmp_path, op_type="NonZero", domain=""))


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", ""])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    import onnx

    from quantize.onnx_export import check_graph

    path = graph(tmp_path)
    model = onnx.load(path)
    tensor = model.graph.initializer.add(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedOperatorError, match="outside the folder"):
        check_graph(path)


def test_noise_is_no_graph(tmp_path: Path) -> None:
    from quantize.onnx_export import check_graph

    (tmp_path / "model.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(QuantizeError, match=r"not an ONNX file"):
        check_graph(tmp_path / "model.onnx")
