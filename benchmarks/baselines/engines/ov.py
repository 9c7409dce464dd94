"""OpenVINO int8 (NNCF post-training quantization for transformers), one thread, latency hint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from benchmarks.baselines.engines.padded import pad


class OpenVino:
    """``models/openvino.xml``, made from the fp32 graph by ``benchmarks.baselines.engines.ov_convert``."""

    def __init__(self, models: Path) -> None:
        """Compile it for one thread, in int8."""
        settings = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = ov.Core().compile_model(models / "openvino.xml", "CPU", settings)
        self._request = self._compiled.create_infer_request()
        self.facts = {"version": ov.__version__}

    def prepare(self, token_ids: NDArray[np.int32], offsets: NDArray[np.int32]) -> list[NDArray]:
        """Padded ids and mask."""
        return list(pad(token_ids, offsets))

    def encode(self, prepared: list[NDArray]) -> NDArray[np.float32]:
        """Vectors [n, H] of one batch."""
        vectors: NDArray[np.float32] = self._request.infer(prepared, share_inputs=True, share_outputs=True)[0]
        return vectors


load = OpenVino
