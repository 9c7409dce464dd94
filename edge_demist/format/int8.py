"""The arithmetic of int8 weights, and the layout in which the kernels read them.

Symmetric int8 per output channel: scale = max|w| / 127, q = rint(w / scale) in −127…127. The panel layout is
[N/16, K/4, 16, 4]: 16 output columns a panel, 4 consecutive inputs of one column in 4 consecutive bytes, so
that one 64-byte line feeds one step of a dot-product instruction.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIMIT = 127
PANEL = 16
STEP = 4

Float = NDArray[np.float32]


@dataclass(frozen=True)
class QuantizedMatrix:
    """``values`` int8 [K, N] and ``scale`` float32 [N]; the float weight is about values · scale."""

    values: NDArray[np.int8]
    scale: Float

    @property
    def correction(self) -> NDArray[np.int32]:
        """−128 · Σ_k values[k, n], int32 [N]: undoes the +128 of units that multiply unsigned by signed."""
        sums: NDArray[np.int32] = -128 * self.values.sum(axis=0, dtype=np.int32)
        return sums

    def dequantize(self) -> Float:
        """Return the float32 [K, N] weight that the integers stand for."""
        return self.values.astype(np.float32) * self.scale


def quantize_columns(weight: Float, limit: int = LIMIT) -> QuantizedMatrix:
    """Quantize float32 [K, N] with one scale a column; ``limit`` 7 gives 4-bit weights."""
    scale = _scales(np.abs(weight).max(axis=0), limit)
    return QuantizedMatrix(_round(weight, scale[None, :], limit), scale)


def quantize_rows(weight: Float) -> tuple[NDArray[np.int8], Float]:
    """Quantize float32 [V, H] with one scale a row: int8 [V, H] and float32 [V]."""
    scale = _scales(np.abs(weight).max(axis=1), LIMIT)
    return _round(weight, scale[:, None], LIMIT), scale


def to_panels(values: NDArray[np.int8]) -> NDArray[np.int8]:
    """Reorder int8 [K, N] to [N/16, K/4, 16, 4]; K must be a multiple of 4 and N of 16."""
    inputs, outputs = values.shape
    if inputs % STEP or outputs % PANEL:
        raise ValueError(f"[{inputs}, {outputs}] does not divide into panels of {PANEL} columns and steps of {STEP}")
    blocks = values.reshape(inputs // STEP, STEP, outputs // PANEL, PANEL)
    return np.ascontiguousarray(blocks.transpose(2, 0, 3, 1))


def from_panels(panels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Undo :func:`to_panels`: int8 [N/16, K/4, 16, 4] to [K, N]."""
    outer, inner, columns, step = panels.shape
    return np.ascontiguousarray(panels.transpose(1, 3, 0, 2).reshape(inner * step, outer * columns))


def _scales(largest: Float, limit: int) -> Float:
    """Return largest / limit; an all-zero channel gets scale 1, so that nothing divides by zero."""
    return np.where(largest > 0, largest / np.float32(limit), np.float32(1)).astype(np.float32)


def _round(weight: Float, scale: Float, limit: int) -> NDArray[np.int8]:
    # Division in float64: a ratio of two float32 cannot then fall on the wrong side of a half.
    ratio = np.rint(weight.astype(np.float64) / scale.astype(np.float64))
    return np.clip(ratio, -limit, limit).astype(np.int8)
