"""Fills the int64 tables that the compiled kernels read (layouts in ``edge_demist.native.abi``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_demist.errors import BundleError, InputError
from edge_demist.format.adapter import Adapter
from edge_demist.native import abi
from edge_demist.native.library import address

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.format.general import General
    from edge_demist.format.manifest import Architecture

    Array = NDArray[np.generic]

LINEARS = ("qkv", "attn_out", "ffn_up", "ffn_down")
SECTIONS = {"qkv": ("q", "k", "v"), "attn_out": ("attn_out",), "ffn_up": ("ffn_up",), "ffn_down": ("ffn_down",)}


class Table(NamedTuple):
    """A table, the arrays its addresses point into, and its own address."""

    numbers: NDArray[np.int64]
    kept: tuple[NDArray[np.generic], ...]
    address: int


def _table(numbers: NDArray[np.int64], kept: Sequence[Array]) -> Table:
    return Table(numbers, tuple(kept), address(numbers))


def float_bits(value: float) -> int:
    """Bits of a float32 as a number."""
    return int(np.float32(value).view(np.int32))


def model_table(arch: Architecture, tensors: Mapping[str, Array], block_tokens: int) -> Table:
    """Addresses of the mapped weights and sizes of the architecture.

    Raises:
        BundleError: a tensor is missing, of another shape or dtype, or not contiguous.
    """
    kept: list[Array] = []

    def at(name: str, dtype: type[np.generic], *shape: int) -> int:
        tensor = tensors.get(name)
        if tensor is None or tensor.dtype != dtype or tensor.shape != shape or not tensor.flags.c_contiguous:
            found = "missing" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
            raise BundleError(f"tensor {name!r}: needs contiguous {np.dtype(dtype)} {list(shape)}, found {found}")
        if tensor.__array_interface__["data"][0] % 64:
            tensor = _aligned_copy(tensor)
        kept.append(tensor)
        return address(tensor)

    hidden, wide = arch.hidden_size, arch.intermediate_size
    if hidden % 64 or wide % 64 or hidden % (16 * arch.num_heads):
        raise BundleError("hidden and intermediate size must be multiples of 64 and the head size of 16")
    words = -(-arch.vocab_size // 16) * 16
    numbers = np.zeros(abi.MODEL_HEADER + abi.LAYER_STRIDE * arch.num_layers, np.int64)
    numbers[: abi.NORM_EPS] = (
        arch.num_layers, hidden, wide, arch.num_heads, arch.vocab_size, arch.max_positions,
    )  # fmt: skip
    numbers[abi.NORM_EPS] = float_bits(arch.layer_norm_eps)
    numbers[abi.WORD_WEIGHT] = at("embeddings.word.weight", np.int8, words, hidden)
    numbers[abi.WORD_SCALE] = at("embeddings.word.scale", np.float32, words)
    numbers[abi.POSITION_WEIGHT] = at("embeddings.position.weight", np.float32, arch.max_positions, hidden)
    numbers[abi.NORM_WEIGHT] = at("embeddings.norm.weight", np.float32, hidden)
    numbers[abi.NORM_BIAS] = at("embeddings.norm.bias", np.float32, hidden)
    numbers[abi.BLOCK_TOKENS] = block_tokens
    for layer in range(arch.num_layers):
        start = abi.MODEL_HEADER + abi.LAYER_STRIDE * layer
        sizes = ((hidden, 3 * hidden), (hidden, hidden), (hidden, wide), (wide, hidden))
        for number, (linear, (k, n)) in enumerate(zip(LINEARS, sizes, strict=True)):
            name, entry = f"layers.{layer}.{linear}", start + abi.LINEAR_STRIDE * number
            numbers[entry : entry + 4] = (
                at(f"{name}.weight", np.int8, n // 16, k // 4, 16, 4),
                at(f"{name}.scale", np.float32, n),
                at(f"{name}.bias", np.float32, n),
                at(f"{name}.correction", np.int32, n),
            )
        for number, norm in ((abi.NORM1_WEIGHT, "norm1"), (abi.NORM2_WEIGHT, "norm2")):
            numbers[start + number] = at(f"layers.{layer}.{norm}.weight", np.float32, hidden)
            numbers[start + number + 1] = at(f"layers.{layer}.{norm}.bias", np.float32, hidden)
    return _table(numbers, kept)


def _aligned_copy(tensor: Array) -> Array:
    """A copy on a 64-byte boundary (tensors of a bundle are aligned already)."""
    block = np.empty(tensor.nbytes + 64, np.uint8)
    start = -address(block) % 64
    copy = block[start : start + tensor.nbytes].view(tensor.dtype).reshape(tensor.shape)
    copy[...] = tensor
    return copy


class PackedAdapter(NamedTuple):
    """One adapter as the kernels read it: A transposed and q, k, v side by side."""

    entries: NDArray[np.int64]
    kept: tuple[NDArray[np.generic], ...]
    rank: int


def pack_adapter(adapter: Adapter, arch: Architecture) -> PackedAdapter:
    """Lay one adapter out.

    Raises:
        InputError: a layer or a shape that the architecture does not have.
    """
    hidden, wide = arch.hidden_size, arch.intermediate_size
    entries = np.zeros((arch.num_layers, len(LINEARS), abi.ADAPTER_STRIDE), np.int64)
    kept: list[Array] = []
    largest = 0
    sizes = {"qkv": (hidden, hidden), "attn_out": (hidden, hidden), "ffn_up": (hidden, wide), "ffn_down": (wide, hidden)}
    for (layer, target), (a, b) in adapter.layers.items():
        k, n = sizes["qkv" if target in SECTIONS["qkv"] else target]
        if not 0 <= layer < arch.num_layers or a.shape[0] != k or b.shape != (a.shape[1], n):
            raise InputError(
                f"adapter {adapter.name!r}, layer {layer}, {target}: A {list(a.shape)}, B {list(b.shape)} do not fit "
                f"a model of {arch.num_layers} layers with K = {k}, N = {n} there"
            )
    for layer in range(arch.num_layers):
        for number, linear in enumerate(LINEARS):
            parts = [adapter.layers.get((layer, target)) for target in SECTIONS[linear]]
            total = sum(part[0].shape[1] for part in parts if part is not None)
            if total == 0:
                continue
            padded = -(-total // 4) * 4
            if padded > abi.MAX_TOTAL_RANK:
                raise InputError(f"adapter {adapter.name!r}, layer {layer}, {linear}: rank {total} is over {abi.MAX_TOTAL_RANK}")
            rows = np.zeros((padded, sizes[linear][0]), np.float32)
            entry = entries[layer, number]
            first = 0
            for section, part in enumerate(parts):
                if part is None:
                    continue
                a, b = part
                rank = a.shape[1]
                rows[first : first + rank] = a.T
                columns = np.ascontiguousarray(b, np.float32)
                kept.append(columns)
                at = abi.ADAPTER_SECTIONS + 3 * section
                entry[at : at + 3] = first, rank, address(columns)
                first += rank
            kept.append(rows)
            entry[abi.ADAPTER_A], entry[abi.ADAPTER_RANK] = address(rows), padded
            largest = max(largest, padded)
    return PackedAdapter(entries.reshape(-1), tuple(kept), largest)


def adapter_table(packed: Sequence[PackedAdapter]) -> Table:
    """The table of the adapters of one call."""
    header = np.array([len(packed), max((p.rank for p in packed), default=0)], np.int64)
    return _table(np.concatenate([header, *(p.entries for p in packed)]), [a for p in packed for a in p.kept])


def head_table(weight: NDArray[np.float32], bias: NDArray[np.float32], dim: int, *, domain: bool) -> Table:
    """The table of a head.

    Args:
        weight: float32 [labels + 1, H + dim], contiguous; the last row is the domain's.
        bias: float32 [labels + 1].
        dim: numbers of the n-gram vector that the head takes; 0 for none.
        domain: whether the last row counts.
    """
    rows, columns = weight.shape if weight.ndim == 2 else (0, 0)
    if rows < 2 or bias.shape != (rows,) or not 0 <= dim < columns or dim % 16 or (columns - dim) % 16:
        raise InputError(f"a head must be [labels + 1, H + dim] with a bias a row, not {list(weight.shape)} and {list(bias.shape)}")
    weight, bias = np.ascontiguousarray(weight, np.float32), np.ascontiguousarray(bias, np.float32)
    numbers = np.zeros(abi.HEAD_TABLE, np.int64)
    numbers[: abi.HEAD_DOMAIN + 1] = address(weight), address(bias), len(bias) - 1, weight.shape[1] - dim, dim, domain
    return _table(numbers, (weight, bias))


def general_table(general: General, arch: Architecture, dim: int, tensors: Mapping[str, Array]) -> Table:
    """The table of a checked projection for n-gram vectors of ``dim`` numbers; ``tensors`` are the encoder's, checked too."""
    parts = [general.weight, general.scale, general.bias, general.correction, general.factors]
    parts += [tensors["embeddings.word.weight"], tensors["embeddings.word.scale"]]
    kept = [part if part.__array_interface__["data"][0] % 64 == 0 else _aligned_copy(part) for part in parts]
    numbers = np.zeros(abi.GENERAL_TABLE, np.int64)
    at = [address(part) for part in kept]
    numbers[: abi.GENERAL_VOCAB + 1] = *at[:5], arch.hidden_size, dim, *at[5:], arch.vocab_size
    return _table(numbers, kept)
