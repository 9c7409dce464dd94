"""Builds ``encoder.onnx``: the encoder of a bundle as a graph without weights.

The graph computes what docs/explanation/architecture.md says, as far as ONNX operators allow: one symmetric int8 scale a token
(``QuantizeLinear`` along axis 0 of the packed [T, K] activations, stored as uint8 around 128, because ONNX Runtime's
integer products are fast for unsigned by signed only), integer products, float32 for the rest, GELU in
its erf form. Its initializers are named like the bundle's tensors, but linear weights are plain [K, N]; they are
marked as external, and whoever opens the graph hands them over. Linear layers run on packed tokens; rows are padded
for attention alone.

Inputs: ``token_ids``, ``positions``, ``unpad_index`` int32 [T]; ``pad_index``, ``mask`` int32 [B, S]; ``pool_weights``
float32 [B, 1, S]; for each adapted layer ``lora.{i}.{site}.A`` [K, r] and ``.B`` [r, N], empty unless given.
Output: ``pooled`` float32 [B, H], not normalised.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from quantize.checkpoint import Architecture

MICROSOFT = "com.microsoft"
OPSET, MICROSOFT_OPSET, IR_VERSION = 21, 1, 10
MIN_ACTIVATION = 1e-12  # as in the kernels: a token of zeros gets this maximum, not a division by zero
FUSED_SITES = {"q": "qkv", "k": "qkv", "v": "qkv"}

Site = tuple[int, str]


@dataclass
class _Graph:
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def add(self, op: str, inputs: Sequence[str], output: str | list[str], domain: str = "", **attributes: Any) -> str:
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **attributes))
        return outputs[0]

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        if all(known.name != name for known in self.initializers):
            self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def external(self, name: str, dtype: int, shape: Sequence[int]) -> str:
        tensor = TensorProto(name=name, data_type=dtype, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "weights.safetensors"), ("offset", "0"), ("length", "0")):
            tensor.external_data.add(key=key, value=value)
        self.initializers.append(tensor)
        return name

    def input(self, name: str, dtype: int, shape: Sequence[int | str]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name


def lora_sites(adapted: Iterable[Site]) -> list[Site]:
    """Return the graph's sites for adapted (layer, target) pairs: q, k and v share the site ``qkv``."""
    return sorted({(layer, FUSED_SITES.get(target, target)) for layer, target in adapted})


def build_encoder_graph(arch: Architecture, adapted: Iterable[Site] = ()) -> bytes:
    """Return the serialized graph for ``arch``, with LoRA inputs at the ``adapted`` (layer, target) pairs."""
    graph = _Graph()
    sites = set(lora_sites(adapted))
    hidden = arch.hidden_size
    x = _embeddings(graph, arch)
    for i in range(arch.num_layers):
        stem = f"layers.{i}"
        qkv = _linear(graph, x, stem, "qkv", hidden, 3 * hidden, (i, "qkv") in sites)
        context = _attention(graph, qkv, stem, arch)
        out = _linear(graph, context, stem, "attn_out", hidden, hidden, (i, "attn_out") in sites)
        x = _residual_norm(graph, x, out, f"{stem}.norm1", arch)
        up = _linear(graph, x, stem, "ffn_up", hidden, arch.intermediate_size, (i, "ffn_up") in sites)
        gelu = graph.add("Gelu", [up], f"{stem}.gelu", MICROSOFT)
        down = _linear(graph, gelu, stem, "ffn_down", arch.intermediate_size, hidden, (i, "ffn_down") in sites)
        x = _residual_norm(graph, x, down, f"{stem}.norm2", arch)
    _pool(graph, x)
    return _serialize(graph, hidden)


def _embeddings(graph: _Graph, arch: Architecture) -> str:
    hidden, vocab = arch.hidden_size, -(-arch.vocab_size // 16) * 16
    token_ids = graph.input("token_ids", TensorProto.INT32, ["T"])
    positions = graph.input("positions", TensorProto.INT32, ["T"])
    graph.input("unpad_index", TensorProto.INT32, ["T"])
    graph.input("pad_index", TensorProto.INT32, ["B", "S"])
    graph.input("mask", TensorProto.INT32, ["B", "S"])
    graph.input("pool_weights", TensorProto.FLOAT, ["B", 1, "S"])
    zero_point = graph.constant("zero_point", np.uint8(128))
    graph.add("Expand", [zero_point, graph.add("Shape", [token_ids], "token_count")], "token_zero_points")
    weight = graph.external("embeddings.word.weight", TensorProto.INT8, [vocab, hidden])
    scale = graph.external("embeddings.word.scale", TensorProto.FLOAT, [vocab])
    table = graph.external("embeddings.position.weight", TensorProto.FLOAT, [arch.max_positions, hidden])
    rows = graph.add("Gather", [weight, token_ids], "word.rows", axis=0)
    scales = graph.add("Gather", [scale, token_ids], "word.scales", axis=0)
    word = graph.add("DequantizeLinear", [rows, scales], "word.float", axis=0)
    position = graph.add("Gather", [table, positions], "position.rows", axis=0)
    return _residual_norm(graph, word, position, "embeddings.norm", arch)


def _residual_norm(graph: _Graph, x: str, y: str, name: str, arch: Architecture) -> str:
    total = graph.add("Add", [y, x], f"{name}.sum")
    weight = graph.external(f"{name}.weight", TensorProto.FLOAT, [arch.hidden_size])
    bias = graph.external(f"{name}.bias", TensorProto.FLOAT, [arch.hidden_size])
    return graph.add("LayerNormalization", [total, weight, bias], f"{name}.out", axis=-1, epsilon=arch.layer_norm_eps)


def _linear(graph: _Graph, x: str, stem: str, kind: str, inputs: int, outputs: int, adapted: bool) -> str:
    name = f"{stem}.{kind}"
    weight = graph.external(f"{name}.weight", TensorProto.INT8, [inputs, outputs])
    scale = graph.external(f"{name}.scale", TensorProto.FLOAT, [outputs])
    bias = graph.external(f"{name}.bias", TensorProto.FLOAT, [outputs])
    largest = graph.add("ReduceMax", [graph.add("Abs", [x], f"{name}.abs"), _axis(graph)], f"{name}.max", keepdims=0)
    floor = graph.add("Max", [largest, graph.constant("min_activation", np.float32(MIN_ACTIVATION))], f"{name}.floor")
    step = graph.add("Mul", [floor, graph.constant("inverse_127", np.float32(1 / 127))], f"{name}.step")
    quantized = graph.add("QuantizeLinear", [x, step, "token_zero_points"], f"{name}.q", axis=0)
    one, zero_point = graph.constant("one", np.float32(1)), graph.constant("zero_point", np.uint8(128))
    factors = [quantized, weight, one, scale, zero_point]
    product = graph.add("MatMulIntegerToFloat", factors, f"{name}.product", MICROSOFT)
    column = graph.add("Unsqueeze", [step, _axis(graph)], f"{name}.column")
    y = graph.add("Add", [graph.add("Mul", [product, column], f"{name}.scaled"), bias], f"{name}.out")
    return _lora(graph, x, y, f"lora.{stem.split('.')[1]}.{kind}", inputs, outputs) if adapted else y


def _lora(graph: _Graph, x: str, y: str, name: str, inputs: int, outputs: int) -> str:
    a = graph.input(f"{name}.A", TensorProto.FLOAT, [inputs, f"{name}.rank"])
    b = graph.input(f"{name}.B", TensorProto.FLOAT, [f"{name}.rank", outputs])
    graph.constant(a, np.zeros((inputs, 0), np.float32))
    graph.constant(b, np.zeros((0, outputs), np.float32))
    low = graph.add("MatMul", [x, a], f"{name}.low")
    return graph.add("Add", [y, graph.add("MatMul", [low, b], f"{name}.update")], f"{name}.out")


def _attention(graph: _Graph, qkv: str, stem: str, arch: Architecture) -> str:
    padded = graph.add("Gather", [qkv, "pad_index"], f"{stem}.padded", axis=0)
    names = [f"{stem}.{part}" for part in "qkv"]
    graph.add("Split", [padded], names, axis=2, num_outputs=3)
    inputs = [*names, "", "mask"]
    context = graph.add("MultiHeadAttention", inputs, f"{stem}.context", MICROSOFT, num_heads=arch.num_heads)
    flat = graph.add("Reshape", [context, graph.constant("rows", np.array([-1, arch.hidden_size]))], f"{stem}.flat")
    return graph.add("Gather", [flat, "unpad_index"], f"{stem}.packed", axis=0)


def _pool(graph: _Graph, x: str) -> None:
    padded = graph.add("Gather", [x, "pad_index"], "pool.padded", axis=0)
    mean = graph.add("MatMul", ["pool_weights", padded], "pool.mean")
    graph.add("Squeeze", [mean, _axis(graph)], "pooled")


def _axis(graph: _Graph) -> str:
    return graph.constant("axis_1", np.array([1]))


def _serialize(graph: _Graph, hidden: int) -> bytes:
    output = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["B", hidden])
    proto = helper.make_graph(graph.nodes, "encoder", graph.inputs, [output], graph.initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, MICROSOFT_OPSET)]
    model = helper.make_model(proto, opset_imports=opsets, ir_version=IR_VERSION, producer_name="edge-demist")
    return bytes(model.SerializeToString(deterministic=True))
