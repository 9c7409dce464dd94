"""Offline quantization: a BERT-family checkpoint in, a proven int8 bundle out.

Nothing here is needed on the sensor; ``edge_demist`` never imports it. The command line is
``python -m quantize export | calibrate | convert | verify | report | build | keygen | sign``.
"""

from typing import TYPE_CHECKING

from quantize.errors import CheckpointError, GateError, QuantizeError, UnsupportedOperatorError

if TYPE_CHECKING:
    from quantize.convert import convert_checkpoint

__all__ = [
    "CheckpointError",
    "GateError",
    "QuantizeError",
    "UnsupportedOperatorError",
    "convert_checkpoint",
]


def __getattr__(name: str) -> object:
    """Import the converter, and with it onnx and safetensors, on first use: the tables of a tokenizer need neither."""
    if name == "convert_checkpoint":
        from quantize.convert import convert_checkpoint

        return convert_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
