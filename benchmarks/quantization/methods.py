"""Ways to quantize the linear layers, as rules for the numpy reference, so that all are compared on the same ground.

Only ``dynamic-int8`` is what a bundle holds and the kernels compute; the others are here to know what it gains or loses.
LoRA stays in float32 outside the rule; ``merged`` adapters are quantized with the weights instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_demist.format.int8 import LIMIT, quantize_columns
from quantize.calibration import Statistics
from quantize.checkpoint import Encoder, Linear
from quantize.reference import LINEARS, FloatRule, Pairs

BLOCK = 32
MIN_ACTIVATION = np.float32(1e-12)

Float = NDArray[np.float32]
Site = tuple[int, str]
Calibration = Mapping[Site, Statistics]

DYNAMIC = "dynamic-int8"


@dataclass(frozen=True)
class Method:
    """A named rule; ``weight_bytes`` counts the linear layers' weights and scales."""

    name: str
    rule: FloatRule
    weight_bytes: int
    note: str


class _Rule(FloatRule):
    """Quantized weights, turned back to float once, and a way to round activations."""

    bits = 8

    def __init__(self, encoder: Encoder, floats: frozenset[Site] = frozenset()) -> None:
        super().__init__(encoder)
        self.floats = floats
        self.weights = {
            (i, kind): self._weight((i, kind), getattr(layer, kind)) for i, layer in enumerate(encoder.layers) for kind in LINEARS
        }

    def _weight(self, site: Site, linear: Linear) -> Float:
        return linear.weight if site in self.floats else quantize_columns(linear.weight).dequantize()

    def _round(self, site: Site, x: Float) -> Float:
        return round_per_token(x)

    def __call__(self, layer: int, kind: str, x: Float) -> Float:
        site = (layer, kind)
        rounded = x if site in self.floats else self._round(site, x)
        linear: Linear = getattr(self.encoder.layers[layer], kind)
        return rounded @ self.weights[site] + linear.bias


class DynamicPerToken(_Rule):
    """The bundle's arithmetic: int8 weights a column, int8 activations a token."""


class DynamicPerTensor(_Rule):
    """Asymmetric uint8, one dynamic scale a run, as ONNX Runtime's DynamicQuantizeLinear."""

    def _round(self, site: Site, x: Float) -> Float:
        return _asymmetric(x, float(x.min()), float(x.max()))


class Static(_Rule):
    """Asymmetric uint8 with ranges fixed by calibration."""

    def __init__(self, encoder: Encoder, calibration: Calibration, method: str) -> None:
        super().__init__(encoder)
        self.ranges = {site: one.range(method) for site, one in calibration.items()}

    def _round(self, site: Site, x: Float) -> Float:
        return _asymmetric(x, *self.ranges[site])


class Smooth(_Rule):
    """SmoothQuant (Xiao et al., 2023): input channels divided, weights multiplied by max|x|^α / max|w|^(1−α)."""

    def __init__(self, encoder: Encoder, calibration: Calibration, kinds: tuple[str, ...] = LINEARS, alpha: float = 0.5) -> None:
        self.smooth: dict[Site, Float] = {}
        for (layer, kind), one in calibration.items():
            if kind in kinds:
                weight = np.abs(getattr(encoder.layers[layer], kind).weight).max(axis=1)
                factor = np.maximum(one.channel_max, 1e-5) ** alpha / np.maximum(weight, 1e-5) ** (1 - alpha)
                self.smooth[layer, kind] = factor.astype(np.float32)
        super().__init__(encoder)

    def _weight(self, site: Site, linear: Linear) -> Float:
        factor = self.smooth.get(site)
        if factor is None:
            return super()._weight(site, linear)
        return quantize_columns(linear.weight * factor[:, None]).dequantize()

    def _round(self, site: Site, x: Float) -> Float:
        factor = self.smooth.get(site)
        return round_per_token(x if factor is None else x / factor)


class FourBit(_Rule):
    """Symmetric 4-bit weights in blocks of 32 inputs, int8 activations a token."""

    bits = 4

    def _weight(self, site: Site, linear: Linear) -> Float:
        inputs, outputs = linear.weight.shape
        blocks = linear.weight.reshape(inputs // BLOCK, BLOCK, outputs)
        largest = np.abs(blocks).max(axis=1, keepdims=True)
        scale = np.where(largest > 0, largest / np.float32(7), np.float32(1)).astype(np.float32)
        rounded: Float = (np.clip(np.rint(blocks / scale), -8, 7) * scale).reshape(inputs, outputs).astype(np.float32)
        return rounded


def round_per_token(x: Float) -> Float:
    """Return x rounded to symmetric int8 with one scale a row, as docs/explanation/architecture.md defines it, back in float32."""
    largest = np.maximum(np.abs(x).max(axis=1, keepdims=True), MIN_ACTIVATION)
    rounded: Float = np.rint(x * (np.float32(LIMIT) / largest)) * (largest * np.float32(1 / LIMIT))
    return rounded


def _asymmetric(x: Float, low: float, high: float) -> Float:
    scale = np.float32(max(high - low, 1e-6) / 255)
    zero = np.rint(-np.float32(low) / scale)
    rounded: Float = (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale
    return rounded


def merge_lora(encoder: Encoder, lora: Pairs) -> Encoder:
    """Return the encoder with adapters added to its weights."""
    hidden = encoder.architecture.hidden_size
    layers = []
    for i, layer in enumerate(encoder.layers):
        changed: dict[str, Linear] = {}
        for kind in LINEARS:
            linear: Linear = getattr(layer, kind)
            weight = linear.weight.copy()
            for column, target in enumerate("qkv" if kind == "qkv" else [kind]):
                if (i, target) in lora:
                    a, b = lora[i, target]
                    part = slice(column * hidden, (column + 1) * hidden) if kind == "qkv" else slice(None)
                    weight[:, part] += a @ b
            changed[kind] = Linear(weight, linear.bias)
        layers.append(
            replace(layer, qkv=changed["qkv"], attn_out=changed["attn_out"], ffn_up=changed["ffn_up"], ffn_down=changed["ffn_down"])
        )
    return replace(encoder, layers=tuple(layers))


def methods(encoder: Encoder, calibration: Calibration, fallback: frozenset[Site] = frozenset()) -> list[Method]:
    """Return all rules; ``fallback`` names the linear layers that the fallback method keeps in float32."""
    size = _sizes(encoder)
    found = [
        Method("float32", FloatRule(encoder), size[32], "reference"),
        Method(DYNAMIC, DynamicPerToken(encoder), size[8], "the bundle"),
        Method("dynamic-per-tensor", DynamicPerTensor(encoder), size[8], "one scale a run"),
        *(
            Method(f"static-{kind}", Static(encoder, calibration, kind), size[8], "calibrated ranges")
            for kind in ("min-max", "percentile", "entropy")
        ),
        Method("smoothquant", Smooth(encoder, calibration), size[8], "needs a multiplication a channel at run time"),
        Method("smoothquant-attn-out", Smooth(encoder, calibration, ("attn_out",)), size[8], "folds into the value columns"),
        Method("int4-weights", FourBit(encoder), size[4], "blocks of 32"),
    ]
    if fallback:
        extra = sum(3 * getattr(encoder.layers[i], kind).weight.size for i, kind in fallback)
        note = "float32: " + ", ".join(f"{i}.{kind}" for i, kind in sorted(fallback))
        found.append(Method("int8-with-fallback", DynamicPerToken(encoder, fallback), size[8] + extra, note))
    return found


def _sizes(encoder: Encoder) -> dict[int, int]:
    shapes = [getattr(layer, kind).weight.shape for layer in encoder.layers for kind in LINEARS]
    weights, columns = sum(k * n for k, n in shapes), sum(n for _, n in shapes)
    return {32: 4 * weights, 8: weights + 4 * columns, 4: weights // 2 + weights // BLOCK * 4}
