"""Float checkpoint → int8 bundle, exactly as docs/explanation/architecture.md describes it.

Needs numpy, onnx and, for our own tokenizer, sentencepiece; neither torch nor transformers. All inputs are read and
checked before anything is written. What int8 costs is measured elsewhere (``verify``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist.format import safetensors
from edge_demist.format.int8 import quantize_columns, quantize_rows, to_panels
from edge_demist.format.writer import created, describe_files, sha256, whole_folder, write_json
from quantize.adapters import Specialist, read_specialists
from quantize.checkpoint import Encoder, Linear, Norm, read_encoder
from quantize.errors import CheckpointError
from quantize.graph import build_encoder_graph
from quantize.ngrams import NgramTable, read_ngrams
from quantize.tokenizer_tables import TokenizerTables, unigram_tables
from quantize.wordpiece_tables import wordpiece_tables

FORMAT = 1
MAX_BYTES = 8192
LINEARS = ("qkv", "attn_out", "ffn_up", "ffn_down")

Tensor = NDArray[np.generic]


@dataclass(frozen=True)
class Inputs:
    """Everything a bundle is made of, read and checked."""

    encoder: Encoder
    tokenizer: TokenizerTables
    ngrams: NgramTable | None
    specialists: Sequence[Specialist]
    card: str | None = None


def convert_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    name: str = "edge-demist",
    version: int = 1,
    adapters: Sequence[Path] = (),
    overwrite: bool = False,
    quantization: Mapping[str, object] | None = None,
) -> str:
    """Convert the checkpoint folder to the bundle folder ``out`` and return the bundle's id.

    Args:
        checkpoint: ``config.json``, ``model.safetensors``, ``spm.model`` or ``tokenizer.json``; optional
            ``ngrams.safetensors``, ``adapters/<task>/`` and ``MODEL_CARD.md``.
        out: the bundle; written whole or not at all.
        name: the bundle's name in its manifest.
        version: the bundle's number; sensors refuse to go back to a lower one.
        adapters: more folders of ``<task>/`` folders.
        overwrite: replace an existing bundle.
        quantization: what the manifest's ``quantization`` entry says about recipe and steps.

    Returns:
        The SHA-256 of ``manifest.json``, in hexadecimal.

    Raises:
        CheckpointError: an input is malformed or unsupported; nothing was written.
        QuantizeError: ``out`` exists.

    """
    return write_bundle(read_inputs(checkpoint, adapters), out, name, version, overwrite, quantization)


def read_inputs(checkpoint: Path, adapters: Sequence[Path] = ()) -> Inputs:
    """Read and check all of a checkpoint folder."""
    encoder = read_encoder(checkpoint)
    tokenizer = read_tokenizer(checkpoint)
    if tokenizer.vocab_size != encoder.architecture.vocab_size:
        raise CheckpointError(
            f"{checkpoint}: the tokenizer has {tokenizer.vocab_size} tokens, the embedding {encoder.architecture.vocab_size} rows"
        )
    ngrams = read_ngrams(checkpoint / "ngrams.safetensors")
    dim = ngrams.manifest["dim"] if ngrams else None
    found = [
        specialist for folder in (checkpoint / "adapters", *adapters) for specialist in read_specialists(folder, encoder.architecture, dim)
    ]
    tasks = [specialist.task for specialist in found]
    twice = sorted({task for task in tasks if tasks.count(task) > 1})
    if twice:
        raise CheckpointError(f"tasks given twice: {', '.join(twice)}")
    card = checkpoint / "MODEL_CARD.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else None
    return Inputs(encoder, tokenizer, ngrams, sorted(found, key=lambda item: item.task), text)


def read_tokenizer(checkpoint: Path) -> TokenizerTables:
    """Build the tokenizer's tables from ``spm.model``, or else from a WordPiece ``tokenizer.json``."""
    if (checkpoint / "spm.model").is_file():
        return unigram_tables(checkpoint / "spm.model")
    if (checkpoint / "tokenizer.json").is_file():
        return wordpiece_tables(checkpoint / "tokenizer.json")
    raise CheckpointError(f"{checkpoint}: neither spm.model nor tokenizer.json is there")


def write_bundle(
    inputs: Inputs,
    out: Path,
    name: str,
    version: int = 1,
    overwrite: bool = False,
    quantization: Mapping[str, object] | None = None,
) -> str:
    """Write ``inputs`` as a bundle and return its id."""
    if version < 1:
        raise CheckpointError(f"version must be at least 1, not {version}")
    with whole_folder(out, overwrite) as draft:
        _write_files(inputs, draft, name, version, quantization)
    return sha256(out / "manifest.json")


def encoder_tensors(encoder: Encoder, ngrams: NgramTable | None = None) -> dict[str, Tensor]:
    """Return the tensors of ``weights.safetensors``, quantized and in panel layout, in file order."""
    word, word_scale = quantize_rows(encoder.word)
    extra = -len(word) % 16
    tensors: dict[str, Tensor] = {
        "embeddings.word.weight": np.pad(word, ((0, extra), (0, 0))),
        "embeddings.word.scale": np.pad(word_scale, (0, extra), constant_values=1),
        "embeddings.position.weight": encoder.position,
    }
    _add_norm(tensors, "embeddings.norm", encoder.norm)
    for i, layer in enumerate(encoder.layers):
        for kind in LINEARS:
            _add_linear(tensors, f"layers.{i}.{kind}", getattr(layer, kind))
        _add_norm(tensors, f"layers.{i}.norm1", layer.norm1)
        _add_norm(tensors, f"layers.{i}.norm2", layer.norm2)
    if ngrams:
        tensors["ngrams.weight"], tensors["ngrams.scale"] = ngrams.matrix.values, ngrams.matrix.scale
    for tensor_name, tensor in tensors.items():
        if tensor.nbytes % safetensors.ALIGNMENT:
            raise CheckpointError(f"{tensor_name}: {tensor.nbytes} bytes is not a multiple of {safetensors.ALIGNMENT}")
    return tensors


def _add_linear(tensors: dict[str, Tensor], name: str, linear: Linear) -> None:
    matrix = quantize_columns(linear.weight)
    tensors[f"{name}.weight"] = to_panels(matrix.values)
    tensors[f"{name}.scale"] = matrix.scale
    tensors[f"{name}.bias"] = linear.bias
    tensors[f"{name}.correction"] = matrix.correction


def _add_norm(tensors: dict[str, Tensor], name: str, norm: Norm) -> None:
    tensors[f"{name}.weight"], tensors[f"{name}.bias"] = norm.weight, norm.bias


def _write_files(inputs: Inputs, folder: Path, name: str, version: int, quantization: Mapping[str, object] | None) -> None:
    safetensors.write(folder / "weights.safetensors", encoder_tensors(inputs.encoder, inputs.ngrams))
    safetensors.write(folder / "tokenizer.safetensors", inputs.tokenizer.tensors, inputs.tokenizer.metadata)
    base = sha256(folder / "weights.safetensors")
    sites = [site for specialist in inputs.specialists for site in specialist.lora]
    (folder / "encoder.onnx").write_bytes(build_encoder_graph(inputs.encoder.architecture, sites))
    names = ["weights.safetensors", "tokenizer.safetensors", "encoder.onnx", "MODEL_CARD.md"]
    if inputs.specialists:
        (folder / "specialists").mkdir()
    for specialist in inputs.specialists:
        names.append(f"specialists/{specialist.task}.safetensors")
        metadata = {**specialist.metadata, "base_sha256": base}
        safetensors.write(folder / names[-1], specialist.tensors(), metadata)
    (folder / "MODEL_CARD.md").write_text(inputs.card or _card(inputs, name), encoding="utf-8")
    manifest = _manifest(inputs, name, version)
    if quantization is not None:
        manifest["quantization"] = dict(quantization)
    manifest["files"] = describe_files(folder, names)
    write_json(folder / "manifest.json", manifest)


def _manifest(inputs: Inputs, name: str, version: int) -> dict[str, object]:
    arch = inputs.encoder.architecture
    manifest: dict[str, object] = {"format": FORMAT, "name": name, "version": version}
    if (when := created()) is not None:
        manifest["created"] = when
    manifest["architecture"] = {
        "type": "bert",
        "num_layers": arch.num_layers,
        "hidden_size": arch.hidden_size,
        "num_heads": arch.num_heads,
        "intermediate_size": arch.intermediate_size,
        "vocab_size": arch.vocab_size,
        "max_positions": arch.max_positions,
        "layer_norm_eps": arch.layer_norm_eps,
        "activation": "gelu",
        "pooling": "mean",
    }
    manifest["tokenizer"] = dict(inputs.tokenizer.manifest)
    manifest["ngrams"] = dict(inputs.ngrams.manifest) if inputs.ngrams else None
    manifest["limits"] = {"max_bytes": MAX_BYTES, "max_tokens": min(arch.max_positions, 512)}
    return manifest


def _card(inputs: Inputs, name: str) -> str:
    arch = inputs.encoder.architecture
    tasks = ", ".join(specialist.task for specialist in inputs.specialists) or "none"
    return (
        f"# {name}\n\nInt8 encoder converted from a {inputs.encoder.model_type} checkpoint: {arch.num_layers} layers, "
        f"hidden size {arch.hidden_size}, {arch.vocab_size} tokens. Tasks: {tasks}.\n"
    )
