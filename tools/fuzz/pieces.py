"""Token ids beside SentencePiece's, on byte strings of many kinds and lengths; needs ``sentencepiece``.

SentencePiece adds up scores in float32; behind a sum of about -65,000 small differences are lost there and may be lost otherwise here
(docs/explanation/limits.md). So two rows of ids may differ where the sum of scores before the first difference is below ``LIMIT``;
even there both stand for the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import random
from collections.abc import Callable
from pathlib import Path

from tools.fuzz.strings import POOL, SAMPLES, WORDS

MODEL = Path(__file__).parents[1] / "train" / "spm.model"
LIMIT = -50_000.0
LENGTHS = ((0.7, 0, 64), (0.2, 64, 512), (0.08, 512, 4096), (0.018, 4096, 16_384), (0.002, 16_384, 262_144))
"""Shares of strings by their bytes."""
BLOCKS = (
    *((0x20, 0x7F), (0x80, 0x250), (0x250, 0x530), (0x590, 0x700), (0x900, 0xE00), (0x1100, 0x1200), (0x2000, 0x2C00), (0x3040, 0x3100)),
    *((0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xD800, 0xE000), (0xE000, 0xF900), (0xFE00, 0x10000), (0x1F300, 0x1FAFF), (0xE0000, 0xE0100)),
)
_Make = Callable[[random.Random, int], bytes]


def _joined(parts: tuple[str, ...], between: tuple[str, ...] = ("",)) -> _Make:
    def make(chance: random.Random, size: int) -> bytes:
        text = "".join(chance.choice(parts) + chance.choice(between) for _ in range(size // 8 + 1))
        return text.encode("utf-8", "surrogatepass")[:size]

    return make


def _letters(chance: random.Random, size: int) -> bytes:
    low, high = chance.choice(BLOCKS)
    return "".join(map(chr, (chance.randrange(low, high) for _ in range(size // 2 + 1)))).encode("utf-8", "surrogatepass")[:size]


def _few(chance: random.Random, size: int) -> bytes:
    return bytes(chance.choices(chance.randbytes(chance.randint(1, 5)), k=size))


def _repeated(chance: random.Random, size: int) -> bytes:
    part = _KINDS[chance.randrange(len(_KINDS))](chance, chance.randint(1, 40)) or b"a"
    return (part * (size // len(part) + 1))[:size]


def _changed(chance: random.Random, size: int) -> bytes:
    raw = bytearray(_joined(SAMPLES, ("", " ", "/", "&"))(chance, size))
    for _ in range(max(1, len(raw) // 20)):
        if raw:
            raw[chance.randrange(len(raw))] = chance.randrange(256)
    return bytes(raw)


def _random(chance: random.Random, size: int) -> bytes:
    return chance.randbytes(size)


def _base64(chance: random.Random, size: int) -> bytes:
    return base64.b64encode(chance.randbytes(size))[:size]


def _hexadecimal(chance: random.Random, size: int) -> bytes:
    return chance.randbytes(size).hex(chance.choice(("%", ":", " ", "-"))).encode()[:size] if size else b""


def _pieces(chance: random.Random, size: int) -> bytes:
    """Pieces of the vocabulary one behind the other: what is joined may be cut in many ways."""
    return "".join(chance.choices(_VOCABULARY, k=size // 4 + 1)).replace("\u2581", " ").encode("utf-8", "surrogatepass")[:size]


_VOCABULARY: list[str] = ["a"]
_KINDS: tuple[_Make, ...] = (
    *(_random, _few, _letters, _letters, _base64, _hexadecimal, _changed, _pieces, _pieces),
    *(_joined(POOL), _joined(SAMPLES, ("", " ", "\u2581", "\n")), _joined(WORDS), _joined((" ", "  ", "\u2581", "\t", "\u00a0", "\u3000"))),
)


class Target:
    """A case is a batch of strings, tokenized by both."""

    weight = 200

    def __init__(self, folder: Path) -> None:
        """The shipped tokenizer, on the kernel that ``EDGE_DEMIST_KERNEL`` names, and the model that it was made from."""
        import sentencepiece

        from edge_demist.format.bundle import Bundle
        from edge_demist.native import library
        from edge_demist.text.tokenizer import Tokenizer

        del folder
        bundle = Bundle.load()
        if hashlib.sha256(MODEL.read_bytes()).hexdigest() != bundle.tokenizer.sentencepiece_sha256:
            raise SystemExit(f"{MODEL}: the bundle's tokenizer was made from another model")
        self.ours, self.start = Tokenizer(bundle, library.load()), bundle.tokenizer.byte_ids_start
        self.theirs = sentencepiece.SentencePieceProcessor(model_file=str(MODEL))
        count = self.theirs.get_piece_size()
        _VOCABULARY[:] = [self.theirs.id_to_piece(i) for i in range(self.start + 256, count)]
        self.scores = [self.theirs.get_score(i) for i in range(count)]
        self.unknown = min(self.scores) - 10.0

    def run(self, seed: int) -> str:
        """Compare a batch."""
        chance = random.Random(seed)
        raws = [self.raw(chance) for _ in range(self.weight)]
        ids, offsets = self.ours.encode_batch(raws)
        late = 0
        for raw, begin, end, wanted in zip(raws, offsets[:-1].tolist(), offsets[1:].tolist(), self.theirs.encode(raws), strict=True):
            found = ids[begin:end].tolist()
            if found == wanted:
                continue
            same = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(found, wanted, strict=False))))
            if self.sum_of(wanted[:same]) > LIMIT or self.theirs.decode(found) != self.theirs.decode(wanted):
                return f"BAD other ids of {len(raw)} bytes from id {same} on"
            late += 1
        return f"the same, but for {late} behind the limit" if late else "the same"

    @staticmethod
    def raw(chance: random.Random) -> bytes:
        """One string."""
        ((_, low, high),) = chance.choices(LENGTHS, [share for share, _, _ in LENGTHS])
        make = chance.choice((*_KINDS, _repeated))
        return make(chance, chance.randint(low, high))

    def sum_of(self, ids: list[int]) -> float:
        """About what SentencePiece has added up before: a byte that stands for itself costs what an unknown character does."""
        return sum(self.unknown if self.start <= i < self.start + 256 else self.scores[i] for i in ids)
