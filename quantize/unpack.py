"""Int8 bundle → the float encoder that it stands for, to train specialists on or to extend a bundle.

What the kernels multiply by is values · scale; that is what is returned, so training on it sees the weights that will be served.
"""

import numpy as np

from edge_demist.format.bundle import Bundle
from edge_demist.format.int8 import QuantizedMatrix, from_panels
from quantize.checkpoint import Architecture, Encoder, Float, Layer, Linear, Norm
from quantize.convert import LINEARS


def architecture_of(bundle: Bundle) -> Architecture:
    """Return the sizes of a bundle's encoder."""
    arch = bundle.architecture
    return Architecture(
        num_layers=arch.num_layers,
        hidden_size=arch.hidden_size,
        num_heads=arch.num_heads,
        intermediate_size=arch.intermediate_size,
        vocab_size=arch.vocab_size,
        max_positions=arch.max_positions,
        layer_norm_eps=arch.layer_norm_eps,
    )


def read_encoder(bundle: Bundle) -> Encoder:
    """Return a bundle's encoder in float32; quantized again it gives the same integers."""
    tensors, arch = bundle.tensors, architecture_of(bundle)

    def numbers(name: str) -> Float:
        return np.array(tensors[name], np.float32)

    def norm(name: str) -> Norm:
        return Norm(numbers(f"{name}.weight"), numbers(f"{name}.bias"))

    def linear(name: str) -> Linear:
        matrix = QuantizedMatrix(from_panels(np.asarray(tensors[f"{name}.weight"], np.int8)), numbers(f"{name}.scale"))
        return Linear(matrix.dequantize(), numbers(f"{name}.bias"))

    def layer(stem: str) -> Layer:
        linears = {kind: linear(f"{stem}.{kind}") for kind in LINEARS}
        return Layer(**linears, norm1=norm(f"{stem}.norm1"), norm2=norm(f"{stem}.norm2"))

    rows = arch.vocab_size  # the file holds a multiple of 16
    word = numbers("embeddings.word.weight")[:rows] * numbers("embeddings.word.scale")[:rows, None]
    layers = tuple(layer(f"layers.{i}") for i in range(arch.num_layers))
    position = numbers("embeddings.position.weight")
    return Encoder(arch, word, position, norm("embeddings.norm"), layers, "bert", f"bundle {bundle.id}")
