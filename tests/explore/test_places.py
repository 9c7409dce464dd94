"""The atlas: its file, and where vectors lie."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from support.small_atlas import COUNT, add_small_atlas, small_atlas
from support.tiny_bundle import write_tiny_bundle

from edge_demist import EdgeDemist
from edge_demist.errors import BundleError, InputError, IntegrityError
from edge_demist.explore.places import FILE, NEIGHBOURS, parse_atlas
from edge_demist.explore.quantize import to_int8
from edge_demist.native import library as native

DIM = 128


@pytest.fixture(scope="module")
def atlas():
    tensors, metadata = small_atlas(DIM)
    return parse_atlas(metadata, tensors)


def vectors(count, seed=0):
    made = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def expected_place(atlas, vector):
    """The definition in the module's text, one vector at a time."""
    quantized = to_int8(vector[None]).astype(np.int64)[0]
    projected = np.clip((quantized @ atlas.projection.astype(np.int64) - atlas.offset) // 2**atlas.shift, -127, 127)
    scores = atlas.landmarks.astype(np.int64) @ projected
    near = np.argsort(-scores, kind="stable")[:NEIGHBOURS]
    votes = np.bincount(atlas.continent[near], minlength=2) + 0.5 * (np.arange(2) == atlas.continent[near[0]])
    same = [n for n in near if atlas.continent[n] == votes.argmax()]
    return np.median(atlas.places[same], axis=0), votes.argmax()


def test_is_the_definition_on_every_level(atlas):
    some = vectors(200)
    expected = [expected_place(atlas, vector) for vector in some]
    first = None
    for level in native.available_levels():
        located = atlas.locate(some, kernels=native.load(level))
        assert located.places == pytest.approx(np.array([place for place, _ in expected]), abs=1e-6)
        assert located.continent.tolist() == [land for _, land in expected]
        first = first or located.places.tobytes()
        assert located.places.tobytes() == first
    assert {0, 1} == set(located.continent.tolist())


def test_a_vector_has_one_place_whatever_stands_beside_it(atlas):
    some = vectors(9000, 1)
    whole = atlas.locate(some).places
    assert (atlas.locate(some[4090:4100]).places == whole[4090:4100]).all()
    assert (atlas.locate(some[::-1]).places[::-1] == whole).all()


def test_a_continent_can_be_asked_for(atlas):
    located = atlas.locate(vectors(50), "request")
    assert (located.continent == 1).all()
    with pytest.raises(InputError, match="has host, request"):
        atlas.locate(vectors(1), "moon")


def test_what_is_no_vector_has_no_place(atlas):
    some = vectors(3)
    some[1] = np.nan
    places = atlas.locate(some).places
    assert np.isnan(places[1]).all()
    assert np.isfinite(places[[0, 2]]).all()
    assert atlas.locate(np.empty((0, DIM), np.float32)).places.shape == (0, 2)
    with pytest.raises(InputError, match="vectors of 128 numbers"):
        atlas.locate(np.zeros((1, 64), np.float32))


def damaged(change):
    tensors, metadata = small_atlas(DIM)
    change(tensors, metadata)
    return metadata, tensors


@pytest.mark.parametrize(
    "change",
    [
        lambda t, m: t.pop("places"),
        lambda t, m: t.update(extra=t["places"]),
        lambda t, m: t.update(places=t["places"] + 1),
        lambda t, m: t.update(places=np.where(t["places"] > 0.5, np.nan, t["places"]).astype(np.float32)),
        lambda t, m: t.update(landmarks=t["landmarks"][:3]),
        lambda t, m: t.update(landmarks=t["landmarks"].astype(np.int32)),
        lambda t, m: t.update(projection=t["projection"][:, :5]),
        lambda t, m: t.update(continent=np.full(COUNT, 7, np.uint8)),
        lambda t, m: m.pop("regions"),
        lambda t, m: m.update(shift="99"),
        lambda t, m: m.update(shift="x"),
        lambda t, m: m.update(continents='"host"'),
        lambda t, m: m.update(continents='["\\u202e", "request"]'),
        lambda t, m: m.update(regions='[["</script>\\u0000", "host", 0, 0.1, 0.1, 0.1, 3]]'),
        lambda t, m: m.update(regions='[["a", "host", 0, 1e9, 0.1, 0.1, 3]]'),
        lambda t, m: m.update(regions='[["a", "host"]]'),
        lambda t, m: m.update(regions="[" * 100_000),
        lambda t, m: m.update(regions=json.dumps([["a", "host", 0, 0.1, 0.1, 0.1, 3]] * 5000)),
    ],
)
def test_a_malformed_atlas_is_refused(change):
    with pytest.raises(BundleError, match=FILE):
        parse_atlas(*damaged(change))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return add_small_atlas(write_tiny_bundle(tmp_path_factory.mktemp("atlas") / "bundle"))


def test_from_text_to_place(bundle):
    with EdgeDemist.load(bundle) as model:
        encoded = model.encode(["kernel.org", "a b", "kernel.org"])
        places = model.places(encoded)
        assert places.shape == (3, 2)
        assert places.dtype == np.float32
        assert (places[0] == places[2]).all()
        assert model.similarity("kernel.org", ["kernel.org", "a b"])[0].tolist() == pytest.approx(
            model.similarity(encoded[:1], encoded[:2])[0].tolist(), abs=1e-6
        )


def test_a_bundle_without_an_atlas_says_so(tmp_path):
    with EdgeDemist.load(write_tiny_bundle(tmp_path / "bundle")) as model, pytest.raises(BundleError, match="no atlas"):
        model.places(model.encode(["a"]))


def test_the_atlas_is_hashed_with_the_bundle(bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    raw = bytearray((copy / FILE).read_bytes())
    raw[-1] ^= 1
    (copy / FILE).write_bytes(raw)
    with pytest.raises(IntegrityError, match=FILE):
        EdgeDemist.load(copy)


def test_an_atlas_of_another_encoder_is_refused(bundle, tmp_path, rehash):
    from edge_demist.format import safetensors

    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    tensors, metadata = small_atlas(DIM, "f" * 64)
    (copy / FILE).unlink()
    safetensors.write(copy / FILE, tensors, metadata)
    rehash(copy)
    with EdgeDemist.load(copy) as model, pytest.raises(BundleError, match="another encoder"):
        model.atlas  # noqa: B018
