"""The float checkpoint as ONNX through optimum's exporter, and the checks on any ONNX graph that comes in.

Standard artefacts start here. Nothing of this runs on a sensor; needs torch, transformers and optimum-onnx.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import onnx

from edge_demist.format.writer import write_json
from quantize.checkpoint import read_encoder
from quantize.errors import QuantizeError, UnsupportedOperatorError

MAX_GRAPH_BYTES = 2 << 30
KNOWN_DOMAINS = ("", "ai.onnx", "com.microsoft")
# fmt: off
SUPPORTED = frozenset({
    "Abs", "Add", "And", "Attention", "BiasGelu", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "CumSum",
    "DequantizeLinear", "Div", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "EmbedLayerNormalization", "Equal", "Erf",
    "Expand", "FastGelu", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "Greater", "GreaterOrEqual", "Identity",
    "IsNaN", "LayerNormalization", "Less", "LessOrEqual", "LpNormalization", "MatMul", "MatMulInteger", "MatMulIntegerToFloat",
    "MatMulNBits", "Max", "Min", "Mul", "MultiHeadAttention", "Neg", "Not", "Or", "Pow", "QAttention", "QuantizeLinear", "Range",
    "Reciprocal", "ReduceMax", "ReduceMean", "ReduceSum", "Reshape", "ScatterND", "Shape", "SkipLayerNormalization", "Slice",
    "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
})
# fmt: on


def export_float(checkpoint: Path, out: Path, opset: int = 18) -> Path:
    """Export the checkpoint to ``out/model.onnx`` by optimum, check it and infer its shapes; returns the file.

    Raises:
        CheckpointError: the checkpoint is malformed (it is read and checked first).
        QuantizeError: the extra packages are missing, or the export fails.
        UnsupportedOperatorError: the graph holds operators that are not supported.
    """
    read_encoder(checkpoint)
    try:
        from optimum.exporters.onnx import main_export  # type: ignore[import-untyped]
    except ImportError as error:
        raise QuantizeError("export needs torch, transformers and optimum-onnx (pip install 'edge-demist[quantize]')") from error
    out.mkdir(parents=True, exist_ok=True)
    options = {"opset": opset, "do_validation": False, "no_post_process": True, "local_files_only": True}
    main_export(str(checkpoint), str(out), task="feature-extraction", **options)
    path = out / "model.onnx"
    check_graph(path)
    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True), path)
    config = out / "config.json"
    described = json.loads(config.read_text(encoding="utf-8"))
    described.pop("_name_or_path", None)
    write_json(config, described)
    return path


def check_graph(path: Path) -> Mapping[str, int]:
    """Check an ONNX file's structure, operators and external data; returns how often each operator appears.

    Raises:
        UnsupportedOperatorError: names every operator, domain or external file that is not allowed.
        QuantizeError: the file is not valid ONNX.
    """
    if not path.is_file() or path.stat().st_size > MAX_GRAPH_BYTES:
        raise QuantizeError(f"{path}: no such file, or larger than {MAX_GRAPH_BYTES} bytes")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf and onnx raise unrelated kinds
        raise QuantizeError(f"{path}: not an ONNX file ({error})") from error
    _check_external_data(model, path)
    counts = _operators(model.graph)
    custom = sorted({f"{domain}::{op}" for domain, op in counts if domain not in KNOWN_DOMAINS})
    custom += [f"function {function.domain}::{function.name}" for function in model.functions]
    if custom:
        raise UnsupportedOperatorError(f"{path}: custom operators: {', '.join(custom)}")
    unknown = sorted({op for _, op in counts if op not in SUPPORTED})
    if unknown:
        raise UnsupportedOperatorError(f"{path}: unsupported operators: {', '.join(unknown)}")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise QuantizeError(f"{path}: {error}") from error
    return {op: count for (_, op), count in counts.items()}


def _operators(graph: onnx.GraphProto) -> Counter[tuple[str, str]]:
    """Count operators by (domain, name), those of nested graphs included."""
    counts: Counter[tuple[str, str]] = Counter()
    for node in graph.node:
        counts[node.domain, node.op_type] += 1
        for attribute in node.attribute:
            for nested in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                counts += _operators(nested)
    return counts


def _check_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Refuse external data outside the model's own folder, before anything of it is read."""
    folder = path.parent.resolve()
    for tensor in _tensors(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        target = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
            raise UnsupportedOperatorError(f"{path}: tensor {tensor.name!r} has external data outside the folder: {location!r}")


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            for nested in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                found += _tensors(nested)
    return found
