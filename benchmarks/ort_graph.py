"""The fastest int8 BERT graph known for ONNX Runtime on CPUs, written by hand.

QAttention, DynamicQuantizeMatMul with its bias, Add + LayerNormalization (several times faster than the fused
SkipLayerNormalization on CPU), FastGelu; signed weights per channel; embeddings int8; pooling inside. To be loaded at
ORT_ENABLE_BASIC, or the optimizer fuses the slow operators back in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from quantize.checkpoint import Encoder, Linear

MS = "com.microsoft"


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, op: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], domain=domain, name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name


def _int8(matrix: NDArray[np.float32], axis: int | None) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    largest = np.abs(matrix).max(axis) if axis is not None else np.abs(matrix).max()
    scale = np.asarray(np.maximum(largest, 1e-8) / 127, np.float32)
    return np.clip(np.rint(matrix / scale), -127, 127).astype(np.int8), scale


def _weight(graph: _Graph, name: str, linear: Linear) -> tuple[str, str, str, str]:
    values, scale = _int8(linear.weight, 0)
    return (
        graph.constant(name, values),
        graph.constant(f"{name}.scale", scale),
        graph.constant(f"{name}.zero", np.zeros_like(scale, np.int8)),
        graph.constant(f"{name}.bias", linear.bias),
    )


def _linear(graph: _Graph, x: str, name: str, linear: Linear) -> str:
    weight, scale, zero, bias = _weight(graph, name, linear)
    return graph.add("DynamicQuantizeMatMul", [x, weight, scale, zero, bias], f"{name}.out", MS)


def _norm(graph: _Graph, x: str, y: str, name: str, weight: NDArray[np.float32], bias: NDArray[np.float32], eps: float) -> str:
    total = graph.add("Add", [y, x], f"{name}.sum")
    inputs = [total, graph.constant(f"{name}.weight", weight), graph.constant(f"{name}.bias", bias)]
    return graph.add("LayerNormalization", inputs, f"{name}.out", axis=-1, epsilon=eps)


def _attention(graph: _Graph, x: str, name: str, qkv: Linear, heads: int) -> str:
    graph.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], [f"{name}.q", f"{name}.qs", f"{name}.qz"], name=f"{name}.q"))
    weight, scale, zero, bias = _weight(graph, name, qkv)
    inputs = [f"{name}.q", weight, bias, f"{name}.qs", scale, "mask", f"{name}.qz", zero]
    return graph.add("QAttention", inputs, f"{name}.out", MS, num_heads=heads)


def _embeddings(graph: _Graph, encoder: Encoder) -> str:
    tables = {"word": encoder.word, "position": encoder.position, "norm.weight": encoder.norm.weight, "norm.bias": encoder.norm.bias}
    for name, table in tables.items():
        values, scale = _int8(table, None)
        graph.constant(name, values)
        graph.constant(f"{name}.scale", scale)
        graph.constant(f"{name}.zero", np.array(0, np.int8))
    scales = ["word.scale", "position.scale", "", "norm.weight.scale", "norm.bias.scale"]
    zeros = ["word.zero", "position.zero", "", "norm.weight.zero", "norm.bias.zero"]
    inputs = ["input_ids", "", "word", "position", "", "norm.weight", "norm.bias", "", *scales, *zeros]
    eps = encoder.architecture.layer_norm_eps
    node = helper.make_node("QEmbedLayerNormalization", inputs, ["embedded", "unused"], domain=MS, name="embedded", epsilon=eps)
    graph.nodes.append(node)
    return "embedded"


def _pool(graph: _Graph, x: str) -> None:
    graph.constant("one", np.array([1], np.int64))
    mask = graph.add("Cast", ["mask"], "mask.float", to=TensorProto.FLOAT)
    row = graph.add("Unsqueeze", [mask, "one"], "mask.row")
    total = graph.add("Squeeze", [graph.add("MatMul", [row, x], "pool.sum"), "one"], "pool.squeezed")
    graph.add("LpNormalization", [total], "vectors", axis=-1, p=2)


def write(encoder: Encoder, path: Path) -> None:
    """Write the graph of a float encoder: inputs ``input_ids`` and ``mask`` int32 [B, S], output ``vectors`` [B, H]."""
    graph, arch = _Graph(), encoder.architecture
    x, eps = _embeddings(graph, encoder), arch.layer_norm_eps
    for i, layer in enumerate(encoder.layers):
        context = _attention(graph, x, f"{i}.qkv", layer.qkv, arch.num_heads)
        out = _linear(graph, context, f"{i}.attn_out", layer.attn_out)
        x = _norm(graph, x, out, f"{i}.norm1", layer.norm1.weight, layer.norm1.bias, eps)
        gelu = graph.add("FastGelu", [_linear(graph, x, f"{i}.ffn_up", layer.ffn_up)], f"{i}.gelu", MS)
        down = _linear(graph, gelu, f"{i}.ffn_down", layer.ffn_down)
        x = _norm(graph, x, down, f"{i}.norm2", layer.norm2.weight, layer.norm2.bias, eps)
    _pool(graph, x)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["B", "S"]) for name in ("input_ids", "mask")]
    outputs = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["B", arch.hidden_size])]
    made = helper.make_graph(graph.nodes, "encoder", inputs, outputs, list(graph.constants.values()))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MS, 1)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=9), str(path))
