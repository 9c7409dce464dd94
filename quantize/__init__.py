"""Offline quantization: a BERT-family checkpoint in, a proven int8 bundle out.

Nothing here is needed on the sensor; ``edge_demist`` never imports it. The command line is
``python -m quantize export | calibrate | convert | verify | report | build | keygen | sign``.
"""

from .convert import convert_checkpoint
from .errors import CheckpointError, GateError, QuantizeError, UnsupportedOperatorError

__all__ = [
    "CheckpointError",
    "GateError",
    "QuantizeError",
    "UnsupportedOperatorError",
    "convert_checkpoint",
]
