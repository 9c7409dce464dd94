"""Errors of the offline side.

EdgeDemistError
└── QuantizeError
    ├── CheckpointError           an input (checkpoint, tokenizer, adapter, head) is malformed or unsupported
    ├── UnsupportedOperatorError  an ONNX graph holds an operator that is not allowed
    └── GateError                 the int8 bundle costs more than its recipe allows
"""

from edge_demist.errors import EdgeDemistError


class QuantizeError(EdgeDemistError):
    """Base of every error of the quantization toolchain."""


class CheckpointError(QuantizeError):
    """An input file is malformed, contradicts another one, or is of a kind that is not supported."""


class UnsupportedOperatorError(QuantizeError):
    """An ONNX graph holds operators, domains or external data that are not allowed."""


class GateError(QuantizeError):
    """The quantized encoder is further from the float one than the recipe allows."""
