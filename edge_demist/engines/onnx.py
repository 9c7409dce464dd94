"""The second engine: ONNX Runtime on the bundle's graph, with weights handed over from the mapped tensors.

``encoder.onnx`` holds no weights. Rows are sorted by adapter and length and run in chunks, so a mixed batch costs one
run an adapter. ONNX Runtime sums float32 in its own order, so vectors agree with the native engine to rounding
(a rounding that falls the other way moves an int8 by one; cosine ≥ 0.999 in the tests), not to the bit.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_demist.errors import BundleError, EngineUnavailableError, InputError
from edge_demist.format.adapter import Adapter
from edge_demist.native import arrays

if TYPE_CHECKING:
    import onnxruntime as ort

    from edge_demist.format.bundle import Bundle

GRAPH = "encoder.onnx"
MAX_GRAPH_BYTES = 16 << 20
MAX_KEPT_ADAPTERS = 256
MAX_CHUNK_ROWS = 64
MAX_CHUNK_TOKENS = 4096
"""Padded tokens of one run; bounds the memory of attention."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class OnnxEngine:
    """Encoder on ONNX Runtime's CPU provider: no arena, no spinning, basic graph optimisation. Thread-safe."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        """Open the bundle's graph and give it the weights.

        Args:
            bundle: a verified bundle that lists ``encoder.onnx``.
            threads: threads inside one operator.

        Raises:
            EngineUnavailableError: onnxruntime is not installed.
            BundleError: the graph is missing, does not fit the weights, or uses operators ONNX Runtime does not know.
        """
        self.bundle, self.threads = bundle, threads
        self._hidden = bundle.architecture.hidden_size
        self._lock = threading.Lock()
        self._adapters: dict[int, tuple[Adapter, dict[str, Floats]]] = {}
        self._abandoned: list[ort.InferenceSession] = []
        self._open()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._session = _session(self.bundle, self.threads)
        inputs = {given.name for given in self._session.get_inputs()}
        optional = {given.name: given.shape for given in self._session.get_overridable_initializers()}
        self._sites = {name[:-2] for name in inputs | set(optional) if name.startswith("lora.") and name.endswith(".A")}

    def encode(
        self,
        token_ids: Ints,
        offsets: Ints,
        adapters: Sequence[Adapter | None] = (),
        adapter_index: Ints | None = None,
        normalize: bool = True,
    ) -> Floats:
        """Mean-pooled vectors, float32 [n, H]; arguments and errors as in ``engines.base.Engine``."""
        if self._pid != os.getpid() and self.threads > 1:
            # A forked child has no worker threads; destroying the parent's session would wait for them for ever.
            self._abandoned.append(self._session)
            self._open()
        token_ids = arrays.whole(token_ids, np.int32, "token_ids")
        offsets = arrays.row_offsets(offsets, np.int32, len(token_ids))
        lengths = self._check(token_ids, offsets)
        count = len(lengths)
        index = _adapter_index(count, adapters, adapter_index)
        pooled = np.empty((count, self._hidden), np.float32)
        order = np.lexsort((lengths, index))
        for rows in _chunks(order, lengths, index):
            adapter = adapters[index[rows[0]]] if index[rows[0]] >= 0 else None
            feeds = _feeds(token_ids, offsets, lengths, rows)
            if adapter is not None:
                feeds.update(self._adapter_feeds(adapter))
            pooled[rows] = self._session.run(["pooled"], feeds)[0]
        if normalize:
            pooled /= np.maximum(np.sqrt(np.einsum("ij,ij->i", pooled, pooled)), np.float32(1e-12))[:, None]
        return pooled

    def _check(self, token_ids: Ints, offsets: Ints) -> Ints:
        """Return the rows' lengths; InputError names the first row that is out of range."""
        lengths = np.diff(offsets)
        limit, vocab = self.bundle.architecture.max_positions, self.bundle.architecture.vocab_size
        wrong = np.flatnonzero((lengths < 1) | (lengths > limit))
        if len(wrong):
            raise InputError(f"row {wrong[0]}: a row must hold 1 to {limit} tokens")
        outside = np.flatnonzero((token_ids < 0) | (token_ids >= vocab))
        if len(outside):
            row = int(np.searchsorted(offsets, outside[0], side="right")) - 1
            raise InputError(f"row {row}: token ids must lie in [0, {vocab})")
        return lengths

    def _adapter_feeds(self, adapter: Adapter) -> dict[str, Floats]:
        """Return the graph's LoRA inputs for ``adapter``; kept, since an adapter is used again and again."""
        key = id(adapter)
        with self._lock:
            known = self._adapters.get(key)
            if known is None or known[0] is not adapter:
                known = adapter, lora_inputs(adapter, self.bundle.architecture.hidden_size)
                missing = {name[:-2] for name in known[1]} - self._sites
                if missing:
                    raise BundleError(f"adapter {adapter.name!r}: {GRAPH} has no inputs for {', '.join(sorted(missing))}")
                while len(self._adapters) >= MAX_KEPT_ADAPTERS:
                    del self._adapters[next(iter(self._adapters))]
                self._adapters[key] = known
        return known[1]


def _session(bundle: Bundle, threads: int) -> ort.InferenceSession:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise EngineUnavailableError(f"onnxruntime cannot be imported ({error})") from None
    if GRAPH not in bundle.files:
        raise BundleError(f"manifest: {GRAPH} is not listed, so the onnxruntime engine cannot run this bundle")
    graph = bundle.read_bytes(GRAPH, MAX_GRAPH_BYTES)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_prepacking", "0")
    values = {name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in _initializers(bundle)}
    options.add_external_initializers(list(values), list(values.values()))
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class but Exception
        raise BundleError(f"{GRAPH}: ONNX Runtime refuses it ({str(error)[:300]})") from None


def _initializers(bundle: Bundle) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Yield the graph's weights: linear weights int8 [K, N] out of their panels, everything else as it is."""
    for name, tensor in bundle.tensors.items():
        if name.startswith("ngrams.") or name.endswith(".correction"):
            continue
        if tensor.ndim == 4:
            panels, steps, columns, width = tensor.shape
            yield name, np.ascontiguousarray(tensor.transpose(1, 3, 0, 2)).reshape(steps * width, panels * columns)
        else:
            yield name, np.ascontiguousarray(tensor)


def _adapter_index(count: int, adapters: Sequence[Adapter | None], given: Ints | None) -> Ints:
    """Return int32 [n], −1 for the base; InputError for an index outside ``adapters``."""
    if given is None:
        return np.full(count, 0 if len(adapters) == 1 else -1, np.int32)
    index = arrays.whole(given, np.int32, "adapter_index", count)
    wrong = np.flatnonzero((index < -1) | (index >= len(adapters)))
    if len(wrong):
        raise InputError(f"row {wrong[0]}: the adapter index is not among the adapters given")
    return index


def _chunks(order: NDArray[np.intp], lengths: Ints, index: Ints) -> Iterator[NDArray[np.intp]]:
    """Cut the sorted rows where the adapter changes or a chunk would grow past its limits."""
    start = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or index[order[stop]] != index[order[start]] or stop - start == MAX_CHUNK_ROWS:
            split = True
        else:
            split = (stop - start + 1) * int(lengths[order[stop]]) > MAX_CHUNK_TOKENS
        if split:
            yield order[start:stop]
            start = stop


def _feeds(token_ids: Ints, offsets: Ints, lengths: Ints, rows: NDArray[np.intp]) -> dict[str, NDArray[np.generic]]:
    """Pack ``rows`` and describe their padding, as ``quantize.graph`` documents the graph's inputs."""
    own = lengths[rows]
    width = int(own.max())
    columns = np.arange(width, dtype=np.int32)
    mask = columns < own[:, None]
    starts = np.cumsum(own, dtype=np.int32) - own
    positions = np.broadcast_to(columns, mask.shape)[mask]
    return {
        "token_ids": token_ids[(offsets[rows][:, None] + columns)[mask]],
        "positions": positions,
        "pad_index": np.where(mask, starts[:, None] + columns, 0).astype(np.int32),
        "unpad_index": np.flatnonzero(mask).astype(np.int32),
        "mask": mask.astype(np.int32),
        "pool_weights": (mask / own[:, None]).astype(np.float32)[:, None, :],
    }


def lora_inputs(adapter: Adapter, hidden: int) -> dict[str, Floats]:
    """Return A and B by input name; q, k and v of a layer become one pair with a block-structured B [Σr, 3H]."""
    inputs: dict[str, Floats] = {}
    fused: dict[int, list[tuple[int, Floats, Floats]]] = {}
    for (layer, target), (a, b) in adapter.layers.items():
        if target in "qkv":
            fused.setdefault(layer, []).append(("qkv".index(target), a, b))
        else:
            inputs[f"lora.{layer}.{target}.A"], inputs[f"lora.{layer}.{target}.B"] = a, b
    for layer, parts in fused.items():
        rank = sum(a.shape[1] for _, a, _ in parts)
        wide, first = np.zeros((rank, 3 * hidden), np.float32), 0
        for column, a, b in parts:
            wide[first : first + a.shape[1], column * hidden : (column + 1) * hidden] = b
            first += a.shape[1]
        inputs[f"lora.{layer}.qkv.A"] = np.concatenate([a for _, a, _ in parts], axis=1)
        inputs[f"lora.{layer}.qkv.B"] = wide
    return inputs
