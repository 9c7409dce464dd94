"""The ONNX Runtime engine against the exact meaning of the arithmetic, in numpy, with and without adapters."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.errors import BundleError, InputError
from edge_demist.format.bundle import Bundle

pytest.importorskip("onnxruntime", reason="needs the extra 'onnxruntime'")
pytest.importorskip("onnx", reason="needs the extra 'quantize' to make a bundle")
pytest.importorskip("sentencepiece", reason="needs the extra 'quantize' to make a bundle")

from benchmarks.quantization.compare import int8_embedding
from benchmarks.quantization.methods import DynamicPerToken
from edge_demist.engines.onnx import OnnxEngine
from edge_demist.format.specialist import load_specialist
from quantize.checkpoint import Encoder, read_encoder
from quantize.convert import convert_checkpoint
from quantize.evaluate import pack
from quantize.reference import encode, normalize
from tests.support.checkpoints import POSITIONS, vocab_size, write_checkpoint

VOCAB = vocab_size()
Parts = tuple[Bundle, OnnxEngine, Encoder]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("onnx")
    convert_checkpoint(write_checkpoint(folder / "checkpoint"), folder / "bundle")
    bundle = Bundle.load(folder / "bundle")
    return bundle, OnnxEngine(bundle), read_encoder(folder / "checkpoint")


def draw_rows(count: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, VOCAB, random.integers(1, POSITIONS + 1)).astype(np.int32) for _ in range(count)]


def test_vectors_are_what_the_arithmetic_says(parts: Parts) -> None:
    """A rounding that falls the other way moves one int8 by one, so equality is not exact; 0.999 is the tolerance."""
    _, engine, encoder = parts
    rows = draw_rows(60)
    expected = normalize(encode(encoder, rows, DynamicPerToken(encoder), word=int8_embedding(encoder)))
    cosine = (engine.encode(*pack(rows)) * expected).sum(axis=1)
    assert cosine.min() > 0.999
    assert cosine.mean() > 0.9999


def test_adapters_change_vectors_as_they_should(parts: Parts) -> None:
    bundle, engine, encoder = parts
    rows = draw_rows(40, seed=1)
    ids, offsets = pack(rows)
    base = engine.encode(ids, offsets)
    for task in bundle.tasks:
        adapter = load_specialist(bundle, task).adapter
        lora = dict(adapter.layers)
        expected = normalize(encode(encoder, rows, DynamicPerToken(encoder), lora, int8_embedding(encoder)))
        ours = engine.encode(ids, offsets, [adapter])
        assert (ours * expected).sum(axis=1).min() > 0.999
        assert (ours * base).sum(axis=1).max() < 0.999


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(-1, 2), min_size=1, max_size=12))
def test_a_mixed_batch_equals_rows_one_by_one(parts: Parts, index: list[int]) -> None:
    bundle, engine, _ = parts
    adapters = [load_specialist(bundle, "dga").adapter, None, load_specialist(bundle, "threat").adapter]
    rows = draw_rows(len(index), seed=len(index))
    mixed = engine.encode(*pack(rows), adapters, np.array(index, np.int32))
    for row, choice, vector in zip(rows, index, mixed, strict=True):
        alone = engine.encode(*pack([row]), [adapters[choice]] if choice >= 0 else [])
        assert np.allclose(vector, alone[0], atol=2e-6)


def test_pooled_vectors_are_not_normalised_on_request(parts: Parts) -> None:
    _, engine, _ = parts
    ids, offsets = pack(draw_rows(3))
    raw, unit = engine.encode(ids, offsets, normalize=False), engine.encode(ids, offsets)
    assert raw.dtype == unit.dtype == np.float32
    assert np.allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, atol=1e-6)
    assert np.allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    assert engine.encode(np.zeros(0, np.int32), np.zeros(1, np.int32)).shape == (0, raw.shape[1])


@pytest.mark.parametrize(
    ("ids", "offsets", "message"),
    [
        ([1, 2], [0, 0, 2], "row 0: a row must hold"),
        ([1] * (POSITIONS + 1), [0, POSITIONS + 1], "row 0: a row must hold"),
        ([1, VOCAB], [0, 1, 2], "row 1: token ids"),
        ([-1], [0, 1], "row 0: token ids"),
        ([1, 2], [0, 1], "offsets must start"),
        ([1, 2], [1, 2], "offsets must start"),
    ],
)
def test_rows_out_of_range_are_named(parts: Parts, ids: list[int], offsets: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parts[1].encode(np.array(ids, np.int32), np.array(offsets, np.int32))


def test_adapter_indices_are_checked(parts: Parts) -> None:
    bundle, engine, _ = parts
    ids, offsets = pack(draw_rows(2))
    adapter = load_specialist(bundle, "dga").adapter
    with pytest.raises(InputError, match="row 1: the adapter index"):
        engine.encode(ids, offsets, [adapter], np.array([0, 1], np.int32))
    with pytest.raises(InputError, match="one a row"):
        engine.encode(ids, offsets, [adapter], np.array([0], np.int32))


def test_an_adapter_for_sites_the_graph_lacks_is_refused(parts: Parts) -> None:
    _, engine, _ = parts
    from edge_demist.format.adapter import Adapter

    foreign = Adapter("foreign", {(0, "q"): (np.ones((64, 2), np.float32), np.ones((2, 64), np.float32))})
    with pytest.raises(BundleError, match=r"no inputs for lora\.0\.qkv"):
        engine.encode(*pack(draw_rows(1)), [foreign])


def test_threads_share_one_engine(parts: Parts) -> None:
    bundle, engine, _ = parts
    adapters = [load_specialist(bundle, task).adapter for task in bundle.tasks]
    rows = draw_rows(30)
    expected = [engine.encode(*pack(rows), [adapter]) for adapter in adapters]
    failures: list[str] = []

    def work(which: int) -> None:
        for _ in range(5):
            if not np.array_equal(engine.encode(*pack(rows), [adapters[which]]), expected[which]):
                failures.append(str(which))

    workers = [threading.Thread(target=work, args=(i % 2,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_computes_the_same(parts: Parts, threads: int) -> None:
    program = (
        "import os, sys, numpy as np\n"
        "from edge_demist.format.bundle import Bundle\n"
        "from edge_demist.engines.onnx import OnnxEngine\n"
        f"engine = OnnxEngine(Bundle.load({str(parts[0].path)!r}), threads={threads})\n"
        "ids, offsets = np.arange(40, dtype=np.int32), np.array([0, 15, 40], np.int32)\n"
        "before = engine.encode(ids, offsets)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if np.array_equal(engine.encode(ids, offsets), before) else 3)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=60, check=False).returncode == 0


def test_importing_the_engine_does_not_import_onnxruntime() -> None:
    program = "import sys, edge_demist.engines.onnx; sys.exit('onnxruntime' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=60, check=False).returncode == 0


def damaged(parts: Parts, folder: Path, graph: bytes) -> Bundle:
    """Return a bundle with another graph and a manifest that lists it."""
    import hashlib
    import shutil

    shutil.copytree(parts[0].path, folder)
    (folder / "encoder.onnx").write_bytes(graph)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["encoder.onnx"] = {"sha256": hashlib.sha256(graph).hexdigest(), "bytes": len(graph)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Bundle.load(folder)


def test_hostile_graphs_are_refused(parts: Parts, tmp_path: Path) -> None:
    import onnx

    original = (parts[0].path / "encoder.onnx").read_bytes()
    graphs = {"truncated": original[:-200], "noise": b"\x08\x07" * 500}
    model = onnx.load_from_string(original)
    model.graph.node[3].op_type, model.graph.node[3].domain = "Backdoor", "evil.example"
    graphs["custom"] = model.SerializeToString()
    model = onnx.load_from_string(original)
    secret = model.graph.initializer.add(name="secret", data_type=onnx.TensorProto.UINT8, dims=[16], data_location=1)
    secret.external_data.add(key="location", value="../../../../../../etc/hostname")
    model.graph.node.add(op_type="Identity", input=["secret"], output=["leak"])
    model.graph.output.add(name="leak").type.tensor_type.elem_type = onnx.TensorProto.UINT8
    graphs["external"] = model.SerializeToString()
    for name, graph in graphs.items():
        with pytest.raises(BundleError, match=r"encoder\.onnx"):
            OnnxEngine(damaged(parts, tmp_path / name, graph))
