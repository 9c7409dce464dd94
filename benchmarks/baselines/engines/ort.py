"""ONNX Runtime on graphs that ``benchmarks.models`` made: one thread, no spinning, pooling inside the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.baselines.engines.padded import pad


class OnnxRuntime:
    """A session; ``best`` is loaded at the level that its fixed graph was made for, the others at the default level."""

    def __init__(self, models: Path, graph: str) -> None:
        """Open ``models/<graph>.onnx``."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC if graph == "best" else ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.graph_optimization_level = level
        self._session = ort.InferenceSession(str(models / f"{graph}.onnx"), options, providers=["CPUExecutionProvider"])
        self._names = [given.name for given in self._session.get_inputs()]
        self._dtype = np.int32 if graph == "best" else np.int64
        self.facts = {"version": ort.__version__, "graph": graph}

    def prepare(self, token_ids: NDArray[np.int32], offsets: NDArray[np.int32]) -> dict[str, NDArray]:
        """Padded ids and mask by input name."""
        return dict(zip(self._names, pad(token_ids, offsets, self._dtype), strict=True))

    def encode(self, prepared: dict[str, NDArray]) -> NDArray[np.float32]:
        """Vectors [n, H] of one batch."""
        vectors: NDArray[np.float32] = self._session.run(None, prepared)[0]
        return vectors


load = OnnxRuntime
