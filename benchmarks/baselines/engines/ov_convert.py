"""fp32 ONNX graph to OpenVINO int8 with NNCF. Runs in the interpreter that has openvino and nncf.

    python -m benchmarks.baselines.engines.ov_convert MODELS

Reads ``MODELS/plain.onnx`` and calibrates on ``MODELS/calibration.npz``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nncf
import numpy as np
import openvino as ov

from benchmarks.baselines.engines.padded import pad


def main() -> None:
    """Convert, quantize, save."""
    models = Path(sys.argv[1])
    data = np.load(models / "calibration.npz")
    ids, offsets = data["token_ids"], data["offsets"]
    rows = [pad(ids[offsets[i] : offsets[i + 1]], np.array([0, offsets[i + 1] - offsets[i]])) for i in range(min(256, len(offsets) - 1))]
    model = ov.convert_model(models / "plain.onnx")
    quantized = nncf.quantize(
        model, nncf.Dataset([list(row) for row in rows]), subset_size=len(rows), model_type=nncf.ModelType.TRANSFORMER
    )
    ov.save_model(quantized, models / "openvino.xml", compress_to_fp16=False)


if __name__ == "__main__":
    main()
