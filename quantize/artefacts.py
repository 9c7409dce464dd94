"""Standard artefacts beside a bundle, for tools that know nothing of it.

``qdq/`` is a QDQ ONNX model for plain onnxruntime and optimum, ``sentence-transformers/`` a folder for that library,
``peft/<task>/`` LoRA adapters, ``onnx-adapter/<task>.onnx_adapter`` the same for ONNX Runtime and the bundle's own graph.
All are made from the float checkpoint; QDQ activations are static uint8, so it agrees less well than the bundle.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_demist.engines.onnx import lora_inputs
from edge_demist.format.bundle import Bundle
from edge_demist.format.specialist import load_specialist
from edge_demist.format.writer import write_json
from quantize.errors import QuantizeError
from quantize.onnx_export import check_graph, export_float

if TYPE_CHECKING:
    from onnxruntime.quantization import CalibrationDataReader

Rows = Sequence[NDArray[np.int32]]

BATCH = 16
CALIBRATIONS = ("MinMax", "Percentile", "Entropy")


def export_artefacts(checkpoint: Path, adapters: Sequence[Path], bundle: Path, out: Path, kinds: Sequence[str], rows: Rows) -> None:
    """Write the artefacts named in ``kinds`` below ``out``; ``rows`` of token ids calibrate the QDQ model."""
    out.mkdir(parents=True, exist_ok=True)
    if "qdq" in kinds:
        source = export_float(checkpoint, out / "float")
        quantize_static(source, out / "qdq", rows)
        shutil.rmtree(out / "float")
    if "sentence-transformers" in kinds:
        sentence_transformers_folder(checkpoint, out / "sentence-transformers")
    if "peft" in kinds:
        peft_folders([checkpoint / "adapters", *adapters], out / "peft")
    if "onnx-adapter" in kinds:
        onnx_adapters(Bundle.load(bundle), out / "onnx-adapter")


def batches(rows: Rows, size: int = BATCH, width: int = 0) -> list[dict[str, NDArray[np.int64]]]:
    """Return padded inputs for a transformers-style graph: input_ids, attention_mask, token_type_ids, int64 [B, S ≥ width]."""
    ordered = sorted(rows, key=len)
    found = []
    for start in range(0, len(ordered), size):
        group = ordered[start : start + size]
        ids = np.zeros((len(group), max(width, *map(len, group), 1)), np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(group):
            ids[i, : len(row)], mask[i, : len(row)] = row, 1
        found.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})
    return found


def quantize_static(source: Path, out: Path, rows: Rows, method: str = "MinMax", exclude: Sequence[str] = ()) -> Path:
    """Quantize a float ONNX file to QDQ by ONNX Runtime: int8 weights a channel, static uint8 activations.

    Args:
        source: the float model; ``config.json`` beside it is copied.
        out: folder for ``model.onnx``.
        rows: calibration rows of token ids.
        method: ``MinMax``, ``Percentile`` or ``Entropy``.
        exclude: names of nodes that stay float (per-layer fallback).
    """
    from onnxruntime import quantization

    if method not in CALIBRATIONS:
        raise QuantizeError(f"unknown calibration {method!r}; known: {', '.join(CALIBRATIONS)}")
    check_graph(source)
    out.mkdir(parents=True, exist_ok=True)
    quantization.quantize_static(
        source,
        out / "model.onnx",
        _reader(source, rows, uniform=method != "MinMax"),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        nodes_to_exclude=list(exclude),
        calibrate_method=getattr(quantization.CalibrationMethod, method),
        extra_options={"MatMulConstBOnly": True, "WeightSymmetric": True, "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )
    check_graph(out / "model.onnx")
    if (source.parent / "config.json").is_file():
        shutil.copy(source.parent / "config.json", out / "config.json")
    return out / "model.onnx"


def _reader(source: Path, rows: Rows, uniform: bool) -> "CalibrationDataReader":
    """Feed ``rows``; ONNX Runtime's histogram calibrators need batches of one shape, so ``uniform`` pads all to one."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader

    wanted = {one.name for one in onnx.load(source, load_external_data=False).graph.input}
    whole = len(rows) // BATCH * BATCH if uniform and len(rows) >= BATCH else len(rows)
    width = max(map(len, rows)) if uniform else 0
    queue = [{name: value for name, value in batch.items() if name in wanted} for batch in batches(rows[:whole], width=width)]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Mapping[str, NDArray[np.int64]] | None:
            return queue.pop(0) if queue else None

    return Reader()


def optimum_static(source: Path, out: Path, rows: Rows) -> Path:
    """Quantize the same float model through optimum's ORTQuantizer (min-max, QDQ); returns the model."""
    from datasets import Dataset  # type: ignore[import-untyped]
    from onnxruntime import quantization
    from optimum.onnxruntime import ORTQuantizer  # type: ignore[import-untyped]
    from optimum.onnxruntime.configuration import (  # type: ignore[import-untyped]
        AutoCalibrationConfig,
        QuantizationConfig,
    )

    config = QuantizationConfig(
        is_static=True, format=quantization.QuantFormat.QDQ, per_channel=True, operators_to_quantize=["MatMul"],
        activations_dtype=quantization.QuantType.QUInt8, weights_dtype=quantization.QuantType.QInt8,
    )  # fmt: skip
    quantizer = ORTQuantizer.from_pretrained(source.parent, file_name=source.name)
    width = max(map(len, rows))
    columns: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "token_type_ids": []}
    for row in rows:
        columns["input_ids"].append([*map(int, row), *[0] * (width - len(row))])
        columns["attention_mask"].append([1] * len(row) + [0] * (width - len(row)))
        columns["token_type_ids"].append([0] * width)
    dataset = Dataset.from_dict(columns)
    out.mkdir(parents=True, exist_ok=True)
    scratch = out / "augmented_model.onnx"  # the default name would land in the current folder
    settings = AutoCalibrationConfig.minmax(dataset)
    ranges = quantizer.fit(dataset, settings, onnx_augmented_model_name=str(scratch), operators_to_quantize=["MatMul"], batch_size=BATCH)
    scratch.unlink(missing_ok=True)
    quantizer.quantize(save_dir=out, quantization_config=config, calibration_tensors_range=ranges)
    return next(out.glob("*.onnx"))


def sentence_transformers_folder(checkpoint: Path, out: Path) -> None:
    """Write a folder that ``SentenceTransformer(str(out))`` loads: mean pooling, unit vectors, the float weights."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(checkpoint / name, out / name)
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    width = config.get("hidden_size", config.get("dim"))
    positions = config["max_position_embeddings"]
    if (checkpoint / "tokenizer.json").is_file():
        shutil.copy(checkpoint / "tokenizer.json", out / "tokenizer.json")
        specials = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
    else:
        unigram_tokenizer_json(checkpoint / "spm.model", out / "tokenizer.json")
        specials = {"unk_token": "<unk>", "bos_token": "<s>", "pad_token": "<pad>"}
    write_json(out / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": positions, **specials})
    write_json(out / "sentence_bert_config.json", {"max_seq_length": positions, "do_lower_case": False})
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(parts)
    ]
    (out / "modules.json").write_text(json.dumps(modules, indent=1) + "\n", encoding="utf-8")
    for path, _ in parts[1:]:
        (out / path).mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    write_json(out / "1_Pooling/config.json", pooling)


def unigram_tokenizer_json(model: Path, out: Path) -> None:
    """Write our SentencePiece model as a ``tokenizer.json``: unigram, byte fallback, blanks as ▁, ``<s>`` in front."""
    from sentencepiece import SentencePieceProcessor
    from tokenizers import (  # type: ignore[import-untyped]
        Tokenizer,
        decoders,
        models,
        normalizers,
        processors,
    )

    pieces = SentencePieceProcessor(model_file=str(model))
    vocab = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=pieces.unk_id(), byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", pieces.bos_id())])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.save(str(out))


def peft_folders(sources: Sequence[Path], out: Path) -> None:
    """Copy every adapter as PEFT wrote it; they were checked when the bundle was converted."""
    for source in sources:
        for config in sorted(source.glob("*/adapter_config.json")):
            target = out / config.parent.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(config, target)
            shutil.copy(config.parent / "adapter_model.safetensors", target)


def onnx_adapters(bundle: Bundle, out: Path) -> None:
    """Write ``<task>.onnx_adapter`` for each specialist: the LoRA inputs of the bundle's ``encoder.onnx`` by name."""
    import onnxruntime as ort

    out.mkdir(parents=True, exist_ok=True)
    for task in bundle.tasks:
        inputs = lora_inputs(load_specialist(bundle, task).adapter, bundle.architecture.hidden_size)
        if not inputs:
            continue
        adapter = ort.AdapterFormat()
        adapter.set_adapter_version(1)
        adapter.set_model_version(1)
        values = {name: np.ascontiguousarray(value) for name, value in sorted(inputs.items())}
        adapter.set_parameters({name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in values.items()})
        adapter.export_adapter(str(out / f"{task}.onnx_adapter"))
