"""Text bytes to token ids: exact SentencePiece unigram on prebuilt trie arrays.

The work is done by the compiled kernel (``kernels/tokenizer.py``); this module binds the bundle's tables, checks them
and owns the memory.  Normalisation of the text itself belongs to ``normalizers``; ids here are those of the bytes
exactly as given.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_demist.errors import BundleError, InputError
from edge_demist.format.manifest import MAX_SPECIAL_IDS
from edge_demist.native import abi, arrays
from edge_demist.native import library as native

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.format.bundle import Bundle
    from edge_demist.native.library import Kernels

NO_LIMIT = 1 << 30
MAX_BATCH_BYTES = 600_000_000
"""Upper limit of the text of one call: offsets are int32 and a byte gives at most three ids."""
MAX_IDS = (1 << 31) - 64
"""Upper limit of the ids of one call, special ids included."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Tokenizer:
    """SentencePiece unigram with byte fallback and identity normalisation.  Thread-safe."""

    def __init__(self, bundle: Bundle, kernels: Kernels | None = None) -> None:
        """Bind the tables of ``bundle``; nothing is built or copied.

        Args:
            bundle: ``tokenizer.type`` must be ``unigram``.
            kernels: the compiled functions; None loads the best library for this CPU.

        Raises:
            BundleError: a table is missing, misshapen, or would lead outside itself.
            EngineUnavailableError: no library runs here.
        """
        config, tensors = bundle.tokenizer, bundle.tokenizer_tensors
        if config.type != "unigram":
            raise BundleError(f"tokenizer.type {config.type!r} is not unigram")
        self.kernels: Kernels = kernels if kernels is not None else native.load()
        self._pieces = tensors.get("pieces.bytes"), tensors.get("pieces.offsets")
        tables = _checked(tensors, bundle.architecture.vocab_size, config.byte_ids_start)
        try:
            unk_score = np.float32(bundle.tokenizer_metadata["unk_score"])
        except (KeyError, ValueError):
            raise BundleError("tokenizer.safetensors: metadata needs unk_score, a number") from None
        if not np.isfinite(unk_score):
            raise BundleError("tokenizer.safetensors: unk_score must be finite")
        special = (*config.prefix_ids, *config.suffix_ids)
        if len(special) > 2 * MAX_SPECIAL_IDS or not all(0 <= token < bundle.architecture.vocab_size for token in special):
            raise BundleError(f"manifest: tokenizer: at most {MAX_SPECIAL_IDS} prefix and suffix ids, inside the vocabulary")
        prefix, suffix = (np.array(ids, np.int32) for ids in (config.prefix_ids, config.suffix_ids))
        self.special_count = len(special)
        self._kept = [*tables, prefix, suffix]
        base, check, value, scores = (native.address(array) for array in tables)
        table = np.zeros(abi.TOKENIZER_TABLE, np.int64)
        table[: abi.SCORES + 1] = base, check, value, tables[0].size, scores
        table[abi.UNK_SCORE] = int(unk_score.view(np.int32))
        table[abi.BYTE_IDS_START] = config.byte_ids_start
        table[abi.PREFIX_IDS : abi.SUFFIX_COUNT + 1] = (
            native.address(prefix), len(prefix), native.address(suffix), len(suffix),
        )  # fmt: skip
        self._table = table
        self.table_address = native.address(table)
        self._local = threading.local()

    def encode_batch(
        self, texts: Sequence[bytes], max_tokens: int | None = None, *, add_special_tokens: bool = False
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Ids of many strings.

        Args:
            texts: any bytes; invalid UTF-8 becomes U+FFFD as in SentencePiece.
            max_tokens: cut each row to this many ids; prefix and suffix count, pieces are dropped from the end.
            add_special_tokens: put the bundle's prefix and suffix ids around each row.

        Returns:
            token_ids int32 [T], packed; offsets int32 [n + 1].

        Raises:
            InputError: more than 600,000,000 bytes in one call.
        """
        text, text_offsets = arrays.packed(texts)
        return self.encode_packed(text, text_offsets, max_tokens, add_special_tokens=add_special_tokens)

    def encode_packed(
        self,
        text: bytes,
        text_offsets: NDArray[np.int64],
        max_tokens: int | None = None,
        *,
        add_special_tokens: bool = False,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """``encode_batch`` of strings that lie in one piece of memory; ``text_offsets`` int64 [n + 1]."""
        text = arrays.text_bytes(text)
        if len(text) > MAX_BATCH_BYTES:
            raise InputError(f"{len(text)} bytes in one call; at most {MAX_BATCH_BYTES}: split the batch")
        text_offsets = arrays.row_offsets(text_offsets, np.int64, len(text))
        count = len(text_offsets) - 1
        longest = int((text_offsets[1:] - text_offsets[:-1]).max()) if count else 0
        limit = arrays.limit_of(max_tokens, NO_LIMIT)
        special = self.special_count if add_special_tokens else 0
        room = min(3 * len(text), count * min(limit, 3 * longest)) + count * special
        if room > MAX_IDS:
            raise InputError(f"{count} rows in one call would give up to {room} ids; at most {MAX_IDS}: split the batch")
        token_ids = np.empty(room + 16, np.int32)
        offsets = np.empty(count + 1, np.int32)
        total = self.kernels.tokenize(
            self.table_address,
            native.bytes_address(text),
            native.address(text_offsets),
            count,
            limit,
            int(add_special_tokens),
            native.address(token_ids),
            native.address(offsets),
            self._scratch(longest),
        )
        if total < 0:
            raise InputError(f"row {-total >> abi.STATUS_BITS}: {abi.STATUS_TEXT[abi.STATUS_OFFSETS]}")
        return token_ids[:total], offsets

    def encode(self, text: bytes, max_tokens: int | None = None, *, add_special_tokens: bool = False) -> NDArray[np.int32]:
        """Ids of one string, int32 [T]; arguments as in ``encode_batch``."""
        return self.encode_batch([text], max_tokens, add_special_tokens=add_special_tokens)[0]

    def pieces(self, token_ids: NDArray[np.int32] | Sequence[int]) -> list[str]:
        """The pieces' text, for display; bytes that are no UTF-8 show as U+FFFD.

        Raises:
            BundleError: the bundle does not carry the pieces.
            InputError: an id outside the vocabulary.
        """
        data, offsets = self._pieces
        if data is None or offsets is None:
            raise BundleError("tokenizer.safetensors: pieces.bytes and pieces.offsets are missing")
        raw, size = data.tobytes(), len(offsets) - 1
        result = []
        for token in arrays.whole(token_ids, np.int64, "token_ids"):
            if not 0 <= int(token) < size:
                raise InputError(f"token id {int(token)} is outside the vocabulary of {size}")
            result.append(raw[max(int(offsets[token]), 0) : max(int(offsets[token + 1]), 0)].decode("utf-8", "replace"))
        return result

    def _scratch(self, longest: int) -> int:
        """Address of this thread's scratch memory for strings of ``longest`` bytes."""
        if getattr(self._local, "room", -1) < longest:
            room = max(longest, 1024)
            self._local.memory = native.aligned(51 * room + 256)
            self._local.room, self._local.address = room, native.address(self._local.memory)
        return int(self._local.address)


def _checked(tensors: Mapping[str, NDArray[np.generic]], vocab_size: int, byte_ids_start: int) -> list[NDArray[np.generic]]:
    """base, check, value, scores: present, of one length, and never pointing outside.

    Raises:
        BundleError: names the table.
    """
    found = []
    for name, dtype in (("trie.base", np.int32), ("trie.check", np.int32), ("trie.value", np.int32), ("scores", np.float32)):
        array = tensors.get(name)
        if array is None or array.dtype != dtype or array.ndim != 1 or not array.flags.c_contiguous:
            raise BundleError(f"tokenizer.safetensors: {name} must be a contiguous {np.dtype(dtype)} vector")
        found.append(array)
    base, check, value, scores = found
    if not np.isfinite(scores).all():
        raise BundleError("tokenizer.safetensors: scores must be finite")
    if not len(base) == len(check) == len(value) or len(base) < 257:
        raise BundleError("tokenizer.safetensors: trie.base, trie.check and trie.value must have one length")
    if int(np.max(base)) + 256 > len(base) or int(base[0]) < 0:
        raise BundleError("tokenizer.safetensors: trie.base leads outside the trie")
    if int(np.max(value)) >= min(len(scores), vocab_size):
        raise BundleError("tokenizer.safetensors: trie.value holds an id outside the vocabulary")
    if not 0 <= byte_ids_start <= vocab_size - 256:
        raise BundleError(f"tokenizer.byte_ids_start {byte_ids_start} leaves no room for 256 byte ids")
    return found
