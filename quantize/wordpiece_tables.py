"""Builds the WordPiece tokenizer's tables from a Hugging Face ``tokenizer.json``, offline.

What ``BertNormalizer`` and ``BertPreTokenizer`` do to each of the 1,112,064 Unicode scalar values is asked of the
``tokenizers`` package once and stored, so that the sensor's tokenizer neither needs that package nor depends on the
Unicode version of its Python. Only BERT's own pipeline is supported (WordPiece model, both components above).

Tensors: ``vocab.bytes`` U8, ``vocab.offsets`` I32 [V+1]; inclusive code point ranges I32 [n, 2]: ``removed.ranges``,
``space.ranges``, ``isolated.ranges`` (kept, with a blank on both sides), ``punctuation.ranges``; all other changed
characters: ``mapped.codepoints`` I32 [M], ``mapped.offsets`` I32 [M+1], ``mapped.output`` I32 (code points);
``reordered.codepoints``, ``reordered.classes`` I32: kept characters that have a combining class.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantize.errors import CheckpointError
from quantize.tensors import read_json
from quantize.tokenizer_tables import TokenizerTables

if TYPE_CHECKING:
    from tokenizers import Tokenizer  # type: ignore[import-untyped]

MAX_VOCAB = 1 << 20
MAX_TOKEN_BYTES = 512
BLOCK = 1024

Tensor = NDArray[np.generic]


def wordpiece_tables(path: Path) -> TokenizerTables:
    """Read a ``tokenizer.json`` and return the tables; CheckpointError if it is not BERT's WordPiece."""
    described = read_json(path)
    model = _section(described, "model", "WordPiece", path)
    normalizer = _section(described, "normalizer", "BertNormalizer", path)
    _section(described, "pre_tokenizer", "BertPreTokenizer", path)
    if not normalizer.get("clean_text", True):
        raise CheckpointError(f"{path}: clean_text = false is not supported")
    vocab = _vocabulary(model, path)
    encoded = [token.encode() for token in vocab]
    offsets = np.zeros(len(vocab) + 1, np.int32)
    np.cumsum([len(token) for token in encoded], out=offsets[1:])
    special = {name: _token_id(vocab, name, path) for name in ("[CLS]", "[SEP]", "[PAD]", str(model.get("unk_token", "[UNK]")))}
    return TokenizerTables(
        tensors={
            "vocab.bytes": np.frombuffer(b"".join(encoded), np.uint8),
            "vocab.offsets": offsets,
            **_character_tables(_tokenizer(path), bool(normalizer.get("strip_accents") is not False)),
        },
        metadata={
            "continuing_prefix": str(model.get("continuing_subword_prefix", "##")),
            "max_word_chars": str(model.get("max_input_chars_per_word", 100)),
        },
        manifest={
            "type": "wordpiece",
            "prefix_ids": [special["[CLS]"]],
            "suffix_ids": [special["[SEP]"]],
            "pad_id": special["[PAD]"],
            "unk_id": special[str(model.get("unk_token", "[UNK]"))],
            "byte_ids_start": -1,
            "lowercase": bool(normalizer.get("lowercase", True)),
        },
        vocab_size=len(vocab),
    )


def _section(described: Mapping[str, object], name: str, kind: str, path: Path) -> dict[str, object]:
    section = described.get(name)
    found = section.get("type") if isinstance(section, dict) else None
    if not isinstance(section, dict) or found != kind:
        raise CheckpointError(f"{path}: {name} is {found!r}, only {kind} is supported")
    return section


def _vocabulary(model: Mapping[str, object], path: Path) -> list[str]:
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not 1 <= len(vocab) <= MAX_VOCAB:
        raise CheckpointError(f"{path}: vocab must be an object of 1 to {MAX_VOCAB} tokens")
    if sorted(map(str, vocab.values())) != sorted(map(str, range(len(vocab)))):
        raise CheckpointError(f"{path}: the ids of the vocabulary are not 0…{len(vocab) - 1}")
    ordered = sorted(vocab, key=lambda token: int(vocab[token]))
    if any(len(token.encode()) > MAX_TOKEN_BYTES for token in ordered):
        raise CheckpointError(f"{path}: a token is longer than {MAX_TOKEN_BYTES} bytes")
    return ordered


def _token_id(vocab: list[str], token: str, path: Path) -> int:
    if token not in vocab:
        raise CheckpointError(f"{path}: the vocabulary has no {token}")
    return vocab.index(token)


def _tokenizer(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exception
        raise CheckpointError(f"{path}: {error}") from error


def _character_tables(tokenizer: "Tokenizer", decomposes: bool) -> dict[str, Tensor]:
    removed, space, isolated, reordered = [], [], [], []
    kept: list[int] = []
    mapped: list[tuple[int, list[int]]] = []
    for code, output in _normalized(tokenizer):
        char = chr(code)
        if output == char:
            kept.append(code)
            if decomposes and unicodedata.combining(char):
                reordered.append(code)
        elif output == "":
            removed.append(code)
        elif output == " ":
            space.append(code)
        elif output == f" {char} ":
            isolated.append(code)
        else:
            mapped.append((code, [ord(c) for c in output]))
    punctuation = _punctuation(tokenizer, kept)
    lengths = [len(output) for _, output in mapped]
    return {
        "removed.ranges": _ranges(removed),
        "space.ranges": _ranges(space),
        "isolated.ranges": _ranges(isolated),
        "punctuation.ranges": _ranges(punctuation),
        "mapped.codepoints": np.array([code for code, _ in mapped], np.int32),
        "mapped.offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        "mapped.output": np.array([c for _, output in mapped for c in output], np.int32),
        "reordered.codepoints": np.array(reordered, np.int32),
        "reordered.classes": np.array([unicodedata.combining(chr(code)) for code in reordered], np.int32),
    }


def _normalized(tokenizer: "Tokenizer") -> Iterator[tuple[int, str]]:
    """Yield every Unicode scalar value with its normalised form; asked in blocks, parted by a character that stays."""
    separator = "|"
    for start in range(0, 0x110000, BLOCK):
        codes = [code for code in range(start, start + BLOCK) if not 0xD800 <= code < 0xE000 and code != ord(separator)]
        joined = separator.join(map(chr, codes))
        yield from zip(codes, tokenizer.normalizer.normalize_str(joined).split(separator) if codes else [], strict=True)
        if start <= ord(separator) < start + BLOCK:
            yield ord(separator), separator


def _punctuation(tokenizer: "Tokenizer", kept: list[int]) -> list[int]:
    """Return those of the ``kept`` code points that the pre-tokenizer makes words of their own."""
    found: set[int] = set()
    for start in range(0, len(kept), BLOCK):
        words = tokenizer.pre_tokenizer.pre_tokenize_str("a" + "a".join(map(chr, kept[start : start + BLOCK])) + "a")
        found.update(ord(word) for word, _ in words if len(word) == 1 and word != "a")
    return sorted(found)


def _ranges(codes: list[int]) -> NDArray[np.int32]:
    """Return inclusive ranges, int32 [n, 2], of a sorted list of code points."""
    if not codes:
        return np.zeros((0, 2), np.int32)
    array = np.array(codes, np.int32)
    breaks = np.flatnonzero(np.diff(array) != 1)
    return np.stack([array[np.concatenate([[0], breaks + 1])], array[np.concatenate([breaks, [len(array) - 1]])]], axis=1)
