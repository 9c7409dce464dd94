"""The shipped tokenizer against the SentencePiece model it was built from: the same ids, up to the stated limit."""

from __future__ import annotations

import hashlib
import json
import random

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist.normalizers import from_bytes, to_bytes

sentencepiece = pytest.importorskip("sentencepiece")
MODEL = ROOT / "tools" / "train" / "spm.model"
KINDS = ("hostname", "uri", "dns_query", "cmdline", "http_header", "path", "payload", "user_agent", "cert")


@pytest.fixture(scope="module")
def processor():
    return sentencepiece.SentencePieceProcessor(model_file=str(MODEL))


def assert_equal(model, processor, raws):
    """Ids of our tokenizer and of SentencePiece are the same for every byte string."""
    ids, offsets = model.tokenizer.encode_batch(raws)
    expected = processor.encode(raws)
    assert np.diff(offsets).tolist() == [len(row) for row in expected]
    assert ids.tolist() == [i for row in expected for i in row]


def test_model_is_the_one_the_bundle_names(model):
    assert hashlib.sha256(MODEL.read_bytes()).hexdigest() == model.bundle.tokenizer.sentencepiece_sha256


def test_vocabulary_is_large_with_byte_fallback(model, processor):
    assert processor.get_piece_size() == model.bundle.architecture.vocab_size > 16_000
    assert all(processor.is_byte(model.bundle.tokenizer.byte_ids_start + b) for b in range(256))


@pytest.mark.parametrize("kind", KINDS)
def test_corpus(model, processor, shared_data, kind):
    """100,000 strings of all kinds (fewer where a kind has fewer)."""
    pandas = pytest.importorskip("pandas")
    texts = pandas.read_parquet(shared_data / "corpus" / f"{kind}.parquet")["text"].tail(13_000)
    assert len(texts) >= 1_500
    assert_equal(model, processor, [to_bytes(t) for t in texts])


def test_sample_strings(model, processor):
    lines = (ROOT / "tests" / "data" / "hostnames.txt").read_bytes().split()
    records = [json.loads(line) for line in (ROOT / "tests" / "data" / "anonymize.jsonl").read_text().splitlines()]
    assert_equal(model, processor, lines + [to_bytes(str(v)) for r in records for v in r.values()])


def test_random_byte_strings(model, processor):
    rng = random.Random(7)
    raws = [rng.randbytes(rng.randint(0, 64)) for _ in range(10_000)]
    pool = b"abcdefghijklmnopqrstuvwxyz0123456789./-_ %\\'\"<>\x00\xc3\xa9\xe2\x96\x81\xf0\x9f\x98\x80\xff\xed\xa0\x80"
    raws += [bytes(rng.choices(pool, k=rng.randint(0, 80))) for _ in range(10_000)]
    assert_equal(model, processor, raws)


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=80), st.text(max_size=40).map(str.encode)), max_size=20))
def test_any_bytes(model, processor, raws):
    assert_equal(model, processor, raws)


def test_one_megabyte(model, processor):
    assert_equal(model, processor, [b"a" * (1 << 20), "é".encode() * (1 << 18)])


def test_random_bytes_up_to_the_stated_limit(model, processor):
    """Behind a sum of scores of about -65,000 (4,600 random bytes) 32-bit sums lose small differences; see docs/explanation/limits.md."""
    source = random.Random(11)
    assert_equal(model, processor, [source.randbytes(4096) for _ in range(60)])


def test_far_behind_the_limit_ids_are_still_ids_of_the_text(model, processor):
    source = random.Random(12)
    for size in (8192, 65_536):
        raw = source.randbytes(size)
        ids = model.tokenizer.encode(raw).tolist()
        assert processor.decode(ids) == processor.decode(processor.encode(raw))
        assert ids[:4000] == processor.encode(raw)[:4000]


def test_hostile_text(model, processor):
    texts = ["", " ", "\u2581", "\x00", "<s></s><mask><0x41>", "\ufffd", "\u202e" * 9, from_bytes(b"\xff\xfe"), "\ud800"]
    assert_equal(model, processor, [to_bytes(t) for t in texts])
