"""Builds the unigram tokenizer's tables from a SentencePiece model, offline.

The sensor's tokenizer implements one configuration exactly: unigram, byte fallback, identity normalisation, no
dummy prefix, extra whitespace kept. A model trained otherwise is refused, because its ids would differ.

The trie is a double array (Aoe, 1989): the child of state ``s`` by byte ``c`` is ``t = base[s] + c`` and exists
iff ``check[t] == s``; the root is state 0, ``base[s] = -1`` marks a leaf, ``value[s]`` is a piece id or −1. The
arrays are padded so that ``base[s] + 255`` is always inside.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantize.errors import CheckpointError

UNKNOWN_PENALTY = 10.0  # kUnkPenalty of SentencePiece's unigram_model.cc
MAX_MODEL_BYTES = 64 << 20
MAX_PIECE_BYTES = 512
PAD_TO = 16  # entries, so that each array is a multiple of 64 bytes

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)  # SentencePiece.Type

Int = NDArray[np.int32]
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True)
class TokenizerTables:
    """What ``tokenizer.safetensors`` and the manifest's ``tokenizer`` entry hold."""

    tensors: dict[str, NDArray[np.generic]]
    metadata: dict[str, str]
    manifest: dict[str, object]
    vocab_size: int


def unigram_tables(path: Path) -> TokenizerTables:
    """Read the SentencePiece model ``path`` and return the tables; CheckpointError if it is not the supported kind."""
    data = _read(path)
    model = _parse(data, path)
    _refuse_other_kinds(model, path)
    kinds = [piece.type for piece in model.pieces]
    pieces = [piece.piece.encode() for piece in model.pieces]
    scores = np.array([piece.score for piece in model.pieces], np.float32)
    if not np.isfinite(scores).all():
        raise CheckpointError(f"{path}: a piece has a score that is NaN or infinite")
    if max(map(len, pieces)) > MAX_PIECE_BYTES:
        raise CheckpointError(f"{path}: a piece is longer than {MAX_PIECE_BYTES} bytes")
    normal = [i for i, kind in enumerate(kinds) if kind == _NORMAL]
    unk_id, byte_start, bos_id = _special_ids(kinds, pieces, path)
    base, check, value = double_array((pieces[i], i) for i in normal)
    offsets = np.zeros(len(pieces) + 1, np.int32)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    unk_score = np.float32(scores[normal].min() - np.float32(UNKNOWN_PENALTY))
    pad_id = model.trainer_spec.pad_id
    return TokenizerTables(
        tensors={
            "pieces.bytes": np.frombuffer(b"".join(pieces), np.uint8),
            "pieces.offsets": offsets,
            "scores": scores,
            "trie.base": base,
            "trie.check": check,
            "trie.value": value,
        },
        metadata={"unk_score": repr(float(unk_score))},
        manifest={
            "type": "unigram",
            "prefix_ids": [bos_id],
            "suffix_ids": [],
            "pad_id": pad_id if pad_id >= 0 else unk_id,
            "unk_id": unk_id,
            "byte_ids_start": byte_start,
            "sentencepiece_sha256": hashlib.sha256(data).hexdigest(),
        },
        vocab_size=len(pieces),
    )


def double_array(pieces: Iterable[tuple[bytes, int]]) -> tuple[Int, Int, Int]:
    """Place ``pieces`` (bytes, id) in a double array by first fit; returns base, check, value, int32 [S] each."""
    children, value_of = _trie(pieces)
    capacity = len(children) * 3 + 1024  # grown in the rare case that this is too little
    base, check, value = np.full(capacity, -1, np.int32), np.full(capacity, -1, np.int32), np.full(capacity, -1, np.int32)
    used = np.zeros(capacity, bool)
    used[0] = True
    first_free = 1
    queue = [(0, 0)]
    for node, state in queue:
        value[state] = value_of[node]
        if not children[node]:
            continue
        labels = np.array(sorted(children[node]))
        while used[first_free]:
            first_free += 1
        start = _first_fit(used, labels, max(1, first_free - int(labels[0])))
        while start + 256 > len(used):
            base, check, value = (_grown(array, -1) for array in (base, check, value))
            used = _grown(used, False)
        base[state] = start
        used[start + labels] = True
        check[start + labels] = state
        queue += [(children[node][int(label)], start + int(label)) for label in labels]
    size = int(np.flatnonzero(used)[-1]) + 257
    size += -size % PAD_TO
    return base[:size].copy(), check[:size].copy(), value[:size].copy()


def _first_fit(used: NDArray[np.bool_], labels: NDArray[np.int64], start: int) -> int:
    """Return the lowest ``start`` from the given one on for which no ``start + label`` is used; beyond the end all is free."""
    width = 64
    while start + 256 + width <= len(used):
        taken = np.zeros(width, bool)
        for label in labels:
            taken |= used[start + label : start + label + width]
        if not taken.all():
            return start + int(taken.argmin())
        start += width
        width = min(2 * width, 65_536)
    return max(start, int(np.flatnonzero(used)[-1]) + 1)


def _trie(pieces: Iterable[tuple[bytes, int]]) -> tuple[list[dict[int, int]], list[int]]:
    children: list[dict[int, int]] = [{}]
    value = [-1]
    for piece, piece_id in pieces:
        node = 0
        for byte in piece:
            following = children[node].get(byte)
            if following is None:
                following = len(children)
                children[node][byte] = following
                children.append({})
                value.append(-1)
            node = following
        value[node] = piece_id
    return children, value


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_MODEL_BYTES} bytes")
    return path.read_bytes()


def _grown(array: NDArray[_T], fill: int | bool) -> NDArray[_T]:
    return np.concatenate([array, np.full(len(array), fill, array.dtype)])


def _parse(data: bytes, path: Path) -> Any:  # generated protobuf classes have no types
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise CheckpointError(f"{path}: not a SentencePiece model ({error})") from error
    if not model.pieces:
        raise CheckpointError(f"{path}: a SentencePiece model without pieces")
    return model


def _refuse_other_kinds(model: Any, path: Path) -> None:
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    wrong = [
        text
        for text, bad in (
            ("model_type is not unigram", trainer.model_type != trainer.UNIGRAM),
            ("byte_fallback is off", not trainer.byte_fallback),
            ("it normalises (not identity)", bool(normalizer.precompiled_charsmap)),
            ("add_dummy_prefix is on", normalizer.add_dummy_prefix),
            ("remove_extra_whitespaces is on", normalizer.remove_extra_whitespaces),
            ("escape_whitespaces is off", not normalizer.escape_whitespaces),
            ("treat_whitespace_as_suffix is on", trainer.treat_whitespace_as_suffix),
            ("it has user-defined symbols", any(piece.type == _USER_DEFINED for piece in model.pieces)),
        )
        if bad
    ]
    if wrong:
        raise CheckpointError(f"{path}: unsupported SentencePiece model: {'; '.join(wrong)}")


def _special_ids(kinds: list[int], pieces: list[bytes], path: Path) -> tuple[int, int, int]:
    """Return the ids of the unknown piece, of byte 0 (the 256 bytes must follow each other) and of ``<s>``."""
    by_name = {piece: index for index, piece in enumerate(pieces)}
    if len(by_name) != len(pieces):
        raise CheckpointError(f"{path}: a piece appears twice")
    if kinds.count(_UNKNOWN) != 1 or _NORMAL not in kinds:
        raise CheckpointError(f"{path}: needs exactly one unknown piece and some normal ones")
    start = by_name.get(b"<0x00>", -1)
    if [by_name.get(b"<0x%02X>" % byte) for byte in range(256)] != list(range(start, start + 256)):
        raise CheckpointError(f"{path}: the 256 byte pieces are not there in a row")
    if b"<s>" not in by_name or kinds[by_name[b"<s>"]] != _CONTROL:
        raise CheckpointError(f"{path}: no control piece <s>")
    return kinds.index(_UNKNOWN), start, by_name[b"<s>"]
