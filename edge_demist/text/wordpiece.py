"""Text bytes to token ids as BERT does it: basic tokenization, then greedy WordPiece (arXiv:1810.04805).

What normalisation does to each character is data, prepared offline and read from ``tokenizer.safetensors`` (see
``quantize/wordpiece_tables.py``), so ids do not depend on the Unicode version of the interpreter. Special tokens written
out in a text, such as ``[SEP]``, are ordinary characters: an input cannot smuggle them in.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_demist.errors import BundleError, InputError

if TYPE_CHECKING:
    from edge_demist.format.bundle import Bundle

MAX_TOKEN_CHARS = 512
MAX_WORD_CHARS = 1000
LAST_CODE_POINT = 0x10FFFF

Ints = NDArray[np.int32]


class WordPieceTokenizer:
    """BERT's tokenizer over a bundle's tables; the interface of ``tokenizer.Tokenizer``. Thread-safe."""

    def __init__(self, bundle: Bundle) -> None:
        """Read the tables of ``bundle``.

        Raises:
            BundleError: a table is missing or malformed, or the manifest's tokenizer is another one.
        """
        config, metadata = bundle.tokenizer, bundle.tokenizer_metadata
        if config.type != "wordpiece":
            raise BundleError(f"tokenizer.type {config.type!r} is not wordpiece")
        self._tokens = _vocabulary(_Tables(bundle), bundle.architecture.vocab_size)
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        if len(self._ids) != len(self._tokens):
            raise BundleError("tokenizer.safetensors: a token appears twice")
        self._characters = _Characters(_Tables(bundle))
        self._prefix, self._suffix = list(config.prefix_ids), list(config.suffix_ids)
        self.special_count = len(self._prefix) + len(self._suffix)
        self._unknown = config.unk_id
        if max(*self._prefix, *self._suffix, self._unknown, 0) >= len(self._tokens):
            raise BundleError("manifest: a special id is outside the vocabulary")
        self._continuing = metadata.get("continuing_prefix", "##")
        limit = metadata.get("max_word_chars", "100")
        if not limit.isdecimal() or not 1 <= int(limit) <= MAX_WORD_CHARS:
            raise BundleError(f"tokenizer.safetensors: max_word_chars must be 1 to {MAX_WORD_CHARS}, not {limit[:20]!r}")
        self._max_word = int(limit)
        self._longest = max(map(len, self._tokens))

    def encode_batch(self, texts: Sequence[bytes], max_tokens: int | None = None, *, add_special_tokens: bool = False) -> tuple[Ints, Ints]:
        """Ids of many strings.

        Args:
            texts: any bytes; what is no UTF-8 vanishes, as U+FFFD does in BERT's normalisation.
            max_tokens: cut each row to this many ids; prefix and suffix count, pieces are dropped from the end.
            add_special_tokens: put the bundle's prefix and suffix ids around each row.

        Returns:
            token_ids int32 [T], packed; offsets int32 [n + 1].
        """
        packed: list[int] = []
        offsets = np.zeros(len(texts) + 1, np.int32)
        special = self.special_count if add_special_tokens else 0
        room = None if max_tokens is None else max(max_tokens - special, 0)
        for row, text in enumerate(texts):
            ids = self._pieces_of(text, room)
            packed += [*self._prefix, *ids, *self._suffix] if add_special_tokens else ids
            offsets[row + 1] = len(packed)
        return np.array(packed, np.int32), offsets

    def encode(self, text: bytes, max_tokens: int | None = None, *, add_special_tokens: bool = False) -> Ints:
        """Ids of one string, int32 [T]; arguments as in ``encode_batch``."""
        return self.encode_batch([text], max_tokens, add_special_tokens=add_special_tokens)[0]

    def pieces(self, token_ids: Ints | Sequence[int]) -> list[str]:
        """The pieces' text, for display; InputError for an id outside the vocabulary."""
        for token in token_ids:
            if not 0 <= int(token) < len(self._tokens):
                raise InputError(f"token id {int(token)} is outside the vocabulary of {len(self._tokens)}")
        return [self._tokens[int(token)] for token in token_ids]

    def _pieces_of(self, text: bytes, limit: int | None) -> list[int]:
        ids: list[int] = []
        for word in self._characters.words(text.decode("utf-8", "replace")):
            ids += self._word(word)
            if limit is not None and len(ids) >= limit:
                return ids[:limit]
        return ids

    def _word(self, word: str) -> list[int]:
        """Split one word greedily, longest piece first; one unknown id if that fails or the word is too long."""
        known = self._ids.get(word)
        if known is not None and len(word) <= self._max_word:
            return [known]
        if len(word) > self._max_word:
            return [self._unknown]
        ids, start, prefix = [], 0, ""
        while start < len(word):
            for stop in range(min(len(word), start + self._longest), start, -1):
                found = self._ids.get(prefix + word[start:stop])
                if found is not None:
                    break
            else:
                return [self._unknown]
            ids.append(found)
            start, prefix = stop, self._continuing
        return ids


class _Tables:
    """Typed, checked access to the tensors of ``tokenizer.safetensors``."""

    def __init__(self, bundle: Bundle) -> None:
        self._tensors = bundle.tokenizer_tensors

    def get(self, name: str, kind: type[np.generic], shape: tuple[int, ...]) -> list[int]:
        """Return a tensor's numbers, flat; −1 in ``shape`` allows any size."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.dtype != kind or tensor.ndim != len(shape):
            raise BundleError(f"tokenizer.safetensors: {name} must be {np.dtype(kind)} with {len(shape)} dimensions")
        if any(want not in (-1, size) for want, size in zip(shape, tensor.shape, strict=True)):
            raise BundleError(f"tokenizer.safetensors: {name} has shape {list(tensor.shape)}, expected {list(shape)}")
        return [int(value) for value in tensor.ravel().tolist()]

    def slices(self, name: str, count: int, total: int) -> list[int]:
        """Return ``count`` + 1 offsets that never fall, from 0 to ``total``."""
        offsets = self.get(name, np.int32, (count + 1,))
        if offsets[0] != 0 or offsets[-1] != total or any(b < a for a, b in pairwise(offsets)):
            raise BundleError(f"tokenizer.safetensors: {name} must rise from 0 to {total}")
        return offsets

    def codes(self, name: str, shape: tuple[int, ...]) -> list[int]:
        """Return code points."""
        codes = self.get(name, np.int32, shape)
        if codes and not 0 <= min(codes) <= max(codes) <= LAST_CODE_POINT:
            raise BundleError(f"tokenizer.safetensors: {name} holds numbers that are no code points")
        return codes


def _vocabulary(tables: _Tables, size: int) -> list[str]:
    raw = bytes(tables.get("vocab.bytes", np.uint8, (-1,)))
    offsets = tables.slices("vocab.offsets", size, len(raw))
    try:
        tokens = [raw[a:b].decode() for a, b in pairwise(offsets)]
    except UnicodeDecodeError:
        raise BundleError("tokenizer.safetensors: vocab.bytes is not UTF-8") from None
    if not all(1 <= len(token) <= MAX_TOKEN_CHARS for token in tokens):
        raise BundleError(f"tokenizer.safetensors: a token is empty or longer than {MAX_TOKEN_CHARS} characters")
    return tokens


class _Characters(dict[int, str | None]):
    """A translation table for ``str.translate``: BERT's normalisation, character by character.

    ASCII and single mappings are entries; the long runs of removed or isolated characters are looked up, so that
    hostile text cannot make the table grow.
    """

    def __init__(self, tables: _Tables) -> None:
        ranges = {name: tables.codes(f"{name}.ranges", (-1, 2)) for name in ("removed", "space", "isolated", "punctuation")}
        codes = tables.codes("mapped.codepoints", (-1,))
        output = tables.codes("mapped.output", (-1,))
        offsets = tables.slices("mapped.offsets", len(codes), len(output))
        mapped = {code: "".join(map(chr, output[a:b])) for code, a, b in zip(codes, offsets, offsets[1:], strict=False)}
        self._starts, self._ends, self._outputs = _merge(ranges)
        reordered = tables.codes("reordered.codepoints", (-1,))
        classes = tables.get("reordered.classes", np.int32, (len(reordered),))
        self._classes = dict(zip(map(chr, reordered), classes, strict=True))
        super().__init__(mapped)
        for code in range(128):
            self.setdefault(code, self[code])
        # A run of reordered characters is sorted by combining class, as canonical ordering would.
        runs = "".join(map(re.escape, self._classes))
        self._runs = re.compile(f"[{runs}]{{2,}}") if runs else None
        punctuation = "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in _pairs(ranges["punctuation"]))
        self._words = re.compile(f"[{punctuation}]|[^ {punctuation}]+") if punctuation else re.compile("[^ ]+")

    def __missing__(self, code: int) -> str | None:
        """Look a character up in the ranges; itself if it is in none."""
        place = bisect_right(self._starts, code) - 1
        if place >= 0 and code <= self._ends[place]:
            template = self._outputs[place]
            return template if template is None else template.replace("x", chr(code))
        return chr(code)

    def words(self, text: str) -> list[str]:
        """Normalise ``text`` and split it at blanks and around punctuation."""
        text = text.translate(self)
        if self._runs is not None and not text.isascii():
            text = self._runs.sub(lambda run: "".join(sorted(run[0], key=self._classes.__getitem__)), text)
        return self._words.findall(text)


def _pairs(flat: list[int]) -> list[tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _merge(ranges: dict[str, list[int]]) -> tuple[list[int], list[int], list[str | None]]:
    """Return the sorted starts, ends and outputs of the removed, blank and isolated ranges."""
    output: dict[str, str | None] = {"removed": None, "space": " ", "isolated": " x "}
    merged = sorted((a, b, name) for name in output for a, b in _pairs(ranges[name]))
    if any(b < a for a, b, _ in merged) or any(x[1] >= y[0] for x, y in pairwise(merged)):
        raise BundleError("tokenizer.safetensors: the character ranges overlap or run backwards")
    return [a for a, _, _ in merged], [b for _, b, _ in merged], [output[name] for _, _, name in merged]
