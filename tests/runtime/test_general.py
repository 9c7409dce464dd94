"""The projection of general vectors: against plain numpy, the same bits everywhere, what is refused, and what does not read it."""

from __future__ import annotations

import base64
import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_demist import EdgeDemist
from edge_demist.decoding import unpacked
from edge_demist.diagnostics import tiny_model
from edge_demist.engines.general import Projection
from edge_demist.engines.native import NativeEngine
from edge_demist.errors import BundleError, InputError
from edge_demist.explore.passport import passport_of, require_same
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.general import FILE, check_general, correction_of
from edge_demist.format.int8 import from_panels
from edge_demist.format.writer import describe_files, write_json
from edge_demist.native import library as native
from edge_demist.text.ngrams import Ngrams
from edge_demist.text.tokenizer import Tokenizer
from quantize.columns import replace_columns
from tests.support.tiny_bundle import write_tiny_bundle

TEXTS = ["www.example.org", "x", "", "a b  c", "GET /etc/passwd?x=%2e%2e", "\0", "é" * 40, "q" * 300, "0123456789" * 30]


def with_projection(folder, **changes):
    """A tiny bundle on disk with a projection, some of whose tensors or metadata are changed."""
    write_tiny_bundle(folder)
    bundle = Bundle.load(folder)
    metadata = {"base_sha256": changes.pop("base_sha256", bundle.base_sha256)}
    safetensors.write(folder / FILE, {**tiny_model.general()._asdict(), **changes}, metadata)
    write_json(folder / "manifest.json", {**bundle.manifest, "files": describe_files(folder, [*bundle.files, FILE])})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with EdgeDemist.load(with_projection(tmp_path_factory.mktemp("general") / "bundle")) as found:
        yield found


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with EdgeDemist.load(write_tiny_bundle(tmp_path_factory.mktemp("plain") / "bundle")) as found:
        yield found


def parts(level=None):
    """What the projection of the tiny bundle reads, and the projection, at one CPU level."""
    bundle, kernels = tiny_model.bundle(), native.load(level)
    ids, offsets = Tokenizer(bundle, kernels).encode_batch([t.encode() for t in TEXTS], max_tokens=64, add_special_tokens=True)
    ngrams = Ngrams(bundle, kernels)
    pooled = NativeEngine(bundle, kernels=kernels).encode(ids, offsets, normalize=False)
    grams = ngrams.encode_batch([t.encode() for t in TEXTS])
    return Projection(tiny_model.general(), bundle, ngrams, kernels), pooled, grams, ids, offsets


def expected(pooled, grams, ids, offsets):
    """The definition in docs/reference/bundle-format.md, in float64."""
    general, tensors = tiny_model.general(), tiny_model.bundle().tensors
    words = tensors["embeddings.word.weight"].astype(np.float64) * tensors["embeddings.word.scale"][:, None]
    rows = []
    for p, g, first, last in zip(pooled, grams, offsets[:-1], offsets[1:], strict=True):
        each = [np.asarray(part, np.float64) for part in (p, g, words[ids[first:last]].sum(0))]
        x = np.concatenate([f * part / max(np.linalg.norm(part), 1e-12) for f, part in zip(general.factors, each, strict=False)])
        x = np.pad(x, (0, 4 * general.weight.shape[1] - len(x)))
        step = np.abs(x).max() / 127
        rows.append(np.rint(x / step) @ from_panels(general.weight).astype(np.float64) * step * general.scale + general.bias)
    return np.array(rows)


def test_agrees_with_the_definition():
    projection, *given = parts()
    found, wanted = projection.vectors(*given, normalize=False), expected(*given)
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()  # an int8 may fall the other way
    unit = projection.vectors(*given, normalize=True)
    assert np.allclose(unit, found / np.linalg.norm(found, axis=1, keepdims=True), atol=1e-6)


def test_the_same_bits_on_every_level_alone_and_in_a_batch():
    first, *given = parts()
    whole = first.vectors(*given, normalize=True)
    for level in native.available_levels():
        projection, pooled, grams, ids, offsets = parts(level)
        assert (projection.vectors(pooled, grams, ids, offsets, normalize=True) == whole).all(), level
        for n in range(len(TEXTS)):
            own = ids[offsets[n] : offsets[n + 1]]
            ends = np.array([0, len(own)], np.int32)
            assert (projection.vectors(pooled[n : n + 1], grams[n : n + 1], own, ends, normalize=True)[0] == whole[n]).all(), level


def test_many_rows_are_those_of_few():
    projection, pooled, grams, ids, offsets = parts()
    few = projection.vectors(pooled, grams, ids, offsets, normalize=False)
    order = np.arange(400) % len(TEXTS)
    rows = [ids[offsets[n] : offsets[n + 1]] for n in order]
    ends = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    assert (projection.vectors(pooled[order], grams[order], np.concatenate(rows), ends, normalize=False) == few[order]).all()


@pytest.mark.parametrize("token", [-1, tiny_model.VOCAB, 2**31 - 1])
def test_foreign_ids_are_refused(token):
    projection, pooled, grams, ids, offsets = parts()
    wrong = ids.copy()
    wrong[offsets[3]] = token
    with pytest.raises(InputError, match="row 3"):
        projection.vectors(pooled, grams, wrong, offsets, normalize=False)


@pytest.mark.parametrize("normalize", [False, True])
def test_one_text_has_the_bits_of_many(model, normalize):
    texts = [text for text in TEXTS if text]
    many = model.encode(texts * 3, normalize_embeddings=normalize)
    assert all((model.encode(text, normalize_embeddings=normalize) == many[n]).all() for n, text in enumerate(texts))
    assert (many[: len(texts)] == many[-len(texts) :]).all()


def test_only_the_general_vector_reads_it(model, plain):
    texts = [text for text in TEXTS if text]
    assert not np.allclose(model.encode(texts), plain.encode(texts))
    task = model.tasks[0]
    assert (model.encode(texts, task=task) == plain.encode(texts, task=task)).all()
    assert [p.scores for p in model.classify(texts, task)] == [p.scores for p in plain.classify(texts, task)]


def test_vectors_with_and_without_it_are_never_compared(model, plain):
    ours, theirs = (passport_of(one, None, "identity", "int8") for one in (model, plain))
    with pytest.raises(InputError, match="different spaces"):
        require_same(ours, theirs, "a", "b")
    task = model.tasks[0]
    require_same(passport_of(model, task, "hostname", "int8"), passport_of(plain, task, "hostname", "int8"), "a", "b")


def test_new_columns_leave_it_out(model, tmp_path):
    replace_columns(model.bundle, {0: np.zeros(1024, np.float32)}, tmp_path / "new")
    assert FILE not in Bundle.load(tmp_path / "new").files
    replace_columns(model.bundle, {0: np.zeros(1024, np.float32)}, tmp_path / "kept", keep_general=True)
    with EdgeDemist.load(tmp_path / "kept") as kept:
        assert kept.bundle.base_sha256 != model.bundle.base_sha256
        assert kept.encode(["a"]).shape == model.encode(["a"]).shape


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("weight", lambda t: t[:, :-1], "expected"),
        ("weight", lambda t: t.astype(np.int32), "expected"),
        ("scale", lambda t: t * 0, "positive"),
        ("scale", lambda t: t * np.float32(np.nan), "overflow"),
        ("bias", lambda t: t + np.float32(1e30), "overflow"),
        ("correction", lambda t: t.astype(np.float32), "expected"),
        ("factors", lambda t: t * 0, "factors"),
        ("factors", lambda t: -t, "factors"),
        ("factors", lambda t: t[:3], "expected"),
        ("more", lambda _: np.zeros(4, np.float32), "foreign"),
    ],
)
def test_hostile_tensors_are_refused(tmp_path, name, change, message):
    tensors = tiny_model.general()._asdict()
    changed = np.ascontiguousarray(change(tensors.get(name)))
    with pytest.raises(BundleError, match=message):
        EdgeDemist.load(with_projection(tmp_path / "bundle", **{name: changed}))
    with pytest.raises(BundleError, match=message):
        check_general({**tensors, name: changed}, tiny_model.HIDDEN, tiny_model.NGRAMS.dim)


def test_another_base_is_refused(tmp_path):
    with pytest.raises(BundleError, match="another base"):
        EdgeDemist.load(with_projection(tmp_path / "bundle", base_sha256="0" * 64))


def test_a_bundle_without_n_grams_is_refused(tmp_path):
    folder = with_projection(tmp_path / "bundle")
    bundle = Bundle.load(folder)
    weights = {name: np.array(t) for name, t in bundle.tensors.items() if not name.startswith("ngrams.")}
    safetensors.write(folder / "weights.safetensors", weights)
    manifest = {**json.loads(bundle.manifest_bytes), "ngrams": None, "files": describe_files(folder, list(bundle.files))}
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(BundleError):
        EdgeDemist.load(folder)


def test_correction_is_that_of_the_weight():
    weight = tiny_model.general().weight
    assert (correction_of(weight) == -128 * from_panels(weight).astype(np.int64).sum(0)).all()


def test_asked_for_the_encoder_alone_it_is_left_out(model, plain):
    texts = [text for text in TEXTS if text]
    assert (model.encode(texts, projected=False) == plain.encode(texts)).all()
    assert (model.encode(texts[0], projected=False) == plain.encode(texts[0])).all()


PAYLOAD = "/search?q=1' UNION SELECT user, password FROM accounts --"
BOMB = base64.b64encode(gzip.compress(b"a long line of text " * 5000)).decode()


@pytest.mark.parametrize("pack", [lambda t: base64.b64encode(t).decode(), bytes.hex, lambda t: f"0x{t.hex()}"])
def test_what_a_word_packs_is_read_in_its_place(model, pack):
    plain, packed = PAYLOAD.encode(), pack(PAYLOAD.encode())
    assert (model.encode(packed) == model.encode(PAYLOAD)).all()
    assert (model.encode([packed, "x"])[0] == model.encode(PAYLOAD)).all()
    assert (model.encode(f"a {packed} b") == model.encode(f"a {PAYLOAD} b")).all()
    assert (model.encode(packed, projected=False) != model.encode(plain, projected=False)).any(), (
        "the encoder alone reads what stands there"
    )


@pytest.mark.parametrize("text", ["www.averyveryverylongsinglelabel.example", "d41d8cd98f00b204e9800998ecf8427e", "=" * 40, "A" * 64])
def test_a_word_that_packs_no_text_stays(text):
    assert unpacked(text.encode()) == text.encode()


@pytest.mark.parametrize("text", [BOMB, f"{BOMB} {BOMB}", PAYLOAD.encode().hex() * 9])
def test_what_is_packed_is_bounded_and_the_same_alone_and_in_a_batch(model, text):
    assert len(unpacked(text.encode())) <= 8 * len(text)
    assert (model.encode([text, "x"])[0] == model.encode(text)).all()


@given(st.binary(max_size=200))
def test_reading_what_is_packed_loses_no_byte_elsewhere(raw):
    found = unpacked(b"\xff " + raw + b" \xff")
    assert found.startswith(b"\xff ") and found.endswith(b" \xff")
    assert len(raw) >= 16 or found == b"\xff " + raw + b" \xff"
