"""The tokenizer against SentencePiece itself: the same ids on ordinary, foreign and hostile bytes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_demist.engines.native import NativeEngine
from edge_demist.errors import BundleError, InputError
from edge_demist.format.adapter import Adapter
from edge_demist.native import library as native
from edge_demist.text.tokenizer import Tokenizer
from quantize.tokenizer_tables import unigram_tables
from tests.support.bundles import random_bundle

WORDS = """www mail cdn static login secure account update google microsoft amazon cloud front edge node api v1 v2
admin index php asp html query select union script alert curl wget powershell cmd exe bitte straße größe münchen пример
тест 例え テスト 😀""".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spm")
    source = random.Random(0)
    lines = []
    for _ in range(6000):
        words = [source.choice(WORDS) for _ in range(source.randint(1, 5))]
        lines.append(source.choice([".", "/", "-", " ", "=", "&"]).join(words) + str(source.randint(0, 999)))
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(lines), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "spm"), model_type="unigram", vocab_size=700, byte_fallback=True,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        split_by_number=False, split_by_unicode_script=False, character_coverage=0.995, num_threads=1,
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return folder / "spm.model"


@pytest.fixture(scope="session")
def bundle(model: Path):
    tables = unigram_tables(model)
    return random_bundle(0, vocab=tables.vocab_size, hidden=64, heads=1, wide=64, tokenizer=tables)


@pytest.fixture(scope="session")
def tokenizer(bundle):
    return Tokenizer(bundle)


@pytest.fixture(scope="session")
def processor(model: Path):
    return sentencepiece.SentencePieceProcessor(model_file=str(model))


def hostile(count):
    source = random.Random(1)
    for number in range(count):
        kind = number % 6
        if kind == 0:
            yield bytes(source.randrange(256) for _ in range(source.randrange(40)))
        elif kind == 1:
            planes = ((0, 127), (0xA0, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000))
            yield "".join(chr(source.randrange(*source.choice(planes))) for _ in range(source.randrange(24))).encode()
        elif kind == 2:
            text = bytearray("".join(source.choice(WORDS) for _ in range(3)).encode())
            text[source.randrange(len(text))] = source.randrange(256)
            yield bytes(text)
        elif kind == 3:
            yield source.choice([" ", "  ", "\t", "\u2581", "\x00", "\n", "\ufffd"]).join(source.choices(WORDS, k=4)).encode()
        elif kind == 4:
            yield "".join(source.choices(WORDS, k=3)).encode()[: source.randrange(30)]  # cut inside characters
        else:
            yield bytes(source.choice(b"\xc0\xc1\xc2\xe0\xed\xf0\xf4\xf5\x80\x90\x9f\xa0\xbf a") for _ in range(12))


def test_ids_equal_sentencepiece(tokenizer, processor):
    texts = list(hostile(12_000))
    token_ids, offsets = tokenizer.encode_batch(texts)
    assert token_ids.dtype == offsets.dtype == np.int32
    assert offsets[0] == 0
    assert offsets[-1] == len(token_ids)
    for row, text in enumerate(texts):
        assert token_ids[offsets[row] : offsets[row + 1]].tolist() == processor.encode(text), text


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.text(max_size=80).map(str.encode)))
@example(b"")
@example(b" ")
@example(b"\xe2\x96\x81")
@example(b"\xed\xa0\x80")
@example(b"\xf4\x90\x80\x80")
def test_any_bytes_equal_sentencepiece(tokenizer, processor, text):
    assert tokenizer.encode(text).tolist() == processor.encode(text)


def test_long_text(tokenizer, processor):
    for text in (b"a" * 20_000, "größe ".encode() * 3000, b"\xff" * 9000):
        assert tokenizer.encode(text).tolist() == processor.encode(text)


def test_every_level_gives_the_same_ids(bundle, tokenizer):
    texts = list(hostile(1200))
    expected = tokenizer.encode_batch(texts, 9, add_special_tokens=True)
    for level in native.available_levels():
        actual = Tokenizer(bundle, native.load(level)).encode_batch(texts, 9, add_special_tokens=True)
        assert all((a == b).all() for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize("limit", [0, 1, 2, 5, 17, None])
@pytest.mark.parametrize("special", [False, True])
def test_cut_and_special_ids(bundle, limit, special):
    bundle.tokenizer.suffix_ids = (3, 4)
    try:
        tokenizer = Tokenizer(bundle)
    finally:
        bundle.tokenizer.suffix_ids = ()
    texts = list(hostile(300))
    token_ids, offsets = tokenizer.encode_batch(texts, limit, add_special_tokens=special)
    for row, text in enumerate(texts):
        pieces = tokenizer.encode(text).tolist()
        room = 10**9 if limit is None else limit
        expected = [2, *pieces[: max(0, room - 3)], 3, 4] if special else pieces[:room]
        assert token_ids[offsets[row] : offsets[row + 1]].tolist() == expected


def test_empty_batch(tokenizer):
    token_ids, offsets = tokenizer.encode_batch([])
    assert len(token_ids) == 0
    assert offsets.tolist() == [0]


def test_pieces(tokenizer, processor):
    ids = tokenizer.encode("www.google große 😀".encode())
    assert tokenizer.pieces(ids) == [processor.id_to_piece(int(i)) for i in ids]
    with pytest.raises(InputError, match="outside the vocabulary"):
        tokenizer.pieces([10**6])


def test_bad_offsets_are_refused(tokenizer):
    with pytest.raises(InputError, match="offsets"):
        tokenizer.encode_packed(b"abcdef", np.array([0, 4, 2, 6]))
    with pytest.raises(InputError, match="offsets"):
        tokenizer.encode_packed(b"abcdef", np.array([0, 4, 9]))
    with pytest.raises(InputError, match="row 0"):
        tokenizer.encode_packed(b"abcdef", np.array([2, 4, 6]))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("trie.base", lambda a: np.where(np.arange(len(a)) == 3, len(a), a).astype(np.int32), "leads outside"),
        ("trie.base", lambda a: np.where(np.arange(len(a)) == 0, -1, a).astype(np.int32), "leads outside"),
        ("trie.value", lambda a: np.where(a >= 0, 10**6, a).astype(np.int32), "outside the vocabulary"),
        ("trie.check", lambda a: a[:-16], "one length"),
        ("scores", lambda a: a[:100], "outside the vocabulary"),
        ("scores", lambda a: a.astype(np.float64), "float32"),
    ],
)
def test_damaged_tables_are_refused(bundle, name, damage, message):
    original = bundle.tokenizer_tensors[name]
    bundle.tokenizer_tensors[name] = damage(original)
    try:
        with pytest.raises(BundleError, match=message):
            Tokenizer(bundle)
    finally:
        bundle.tokenizer_tensors[name] = original


def test_other_kinds_are_refused(bundle):
    bundle.tokenizer.type = "wordpiece"
    try:
        with pytest.raises(BundleError, match="wordpiece"):
            Tokenizer(bundle)
    finally:
        bundle.tokenizer.type = "unigram"


def test_one_call_from_bytes_to_vector(bundle, tokenizer):
    engine = NativeEngine(bundle)
    random_state = np.random.default_rng(0)
    a, b = (random_state.standard_normal(shape).astype(np.float32) for shape in ((64, 2), (2, 64)))
    adapter = Adapter("a", {(1, "v"): (a, b)})
    for text in hostile(200):
        for chosen in (None, adapter):
            packed = tokenizer.encode_batch([text], 20, add_special_tokens=True)
            expected = engine.encode(*packed, [chosen])[0]
            assert (engine.encode_text(tokenizer, text, 20, chosen) == expected).all()
    assert engine.encode_text(tokenizer, b"x" * 5000, normalize=False).shape == (64,)


def test_a_text_without_tokens_is_refused(bundle):
    prefix, bundle.tokenizer.prefix_ids = bundle.tokenizer.prefix_ids, ()
    try:
        bare = Tokenizer(bundle)
    finally:
        bundle.tokenizer.prefix_ids = prefix
    with pytest.raises(InputError, match="row 0: a row must hold"):
        NativeEngine(bundle).encode_text(bare, b"")
