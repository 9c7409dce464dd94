"""The atlas: landmarks with fixed places, and where a vector lies among them.

::

    vector ─► int8 ─► projection (int8 [dim, m]) ─► int8 [m] ─► five nearest landmarks ─► continent of most of them
                                                                                          └► median place of those of that continent

Everything before the last step is integer arithmetic, so a vector has the same place on every machine. The atlas is made once, from
the corpus (``python -m tools.atlas``); today's map lies over yesterday's, one sensor's over another's.

``atlas.safetensors``::

    projection  int8 [dim, m]       landmarks  int8 [L, m], about the same length each
    offset      int32 [m]           places     float32 [L, 2], within 0 .. 1
                                    continent  uint8 [L]
    metadata    encoder_sha256, shift (steps of a projected component are 2**shift), continents and regions (JSON)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edge_demist.errors import BundleError, InputError
from edge_demist.explore.passport import encoder_sha256
from edge_demist.explore.quantize import to_int8
from edge_demist.explore.search import Panels, dots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.format.bundle import Bundle
    from edge_demist.native.library import Kernels

FILE = "atlas.safetensors"
NEIGHBOURS = 5
MAX_LANDMARKS, MAX_REGIONS, MAX_NAME = 65_536, 4096, 80
_BLOCK = 4096


class Region(NamedTuple):
    """A named part of the map: where its name stands, how far it reaches, and at which zoom it appears (0 first)."""

    name: str
    continent: str
    level: int
    x: float
    y: float
    radius: float
    landmarks: int


class Atlas(NamedTuple):
    """Landmarks in memory or mapped from a bundle."""

    projection: NDArray[np.int8]
    offset: NDArray[np.int32]
    landmarks: NDArray[np.int8]
    places: NDArray[np.float32]
    continent: NDArray[np.uint8]
    shift: int
    continents: tuple[str, ...]
    regions: tuple[Region, ...]

    def project(self, quantized: NDArray[np.int8]) -> NDArray[np.int8]:
        """int8 vectors [n, dim] as int8 [n, m]: exact sums, divided by 2**shift and rounded down."""
        sums = dots(quantized, np.ascontiguousarray(self.projection.T)).astype(np.int64) - self.offset
        projected: NDArray[np.int8] = np.clip(sums >> self.shift, -127, 127).astype(np.int8)
        return projected

    def locate(self, vectors: NDArray[np.float32], continent: str | None = None, kernels: Kernels | None = None) -> Located:
        """Places of unit vectors float32 [n, dim]: float32 [n, 2] within 0 .. 1 and continents uint8 [n]; NaN for what has no vector.

        Args:
            vectors: from ``encode`` without a task, ``projected=False``.
            continent: put everything on this one.
            kernels: compiled functions to use; None for the best here.

        Raises:
            InputError: another dimension, or an unknown continent.
        """
        if vectors.ndim != 2 or vectors.shape[1] != len(self.projection):
            raise InputError(f"the atlas is made for vectors of {len(self.projection)} numbers, not {list(vectors.shape)}")
        if continent is not None and continent not in self.continents:
            raise InputError(f"unknown continent {continent!r}; the atlas has {', '.join(self.continents)}")
        some = slice(None) if continent is None else self.continent == self.continents.index(continent)
        marks = _Marks(Panels(np.ascontiguousarray(self.landmarks[some]), kernels), self.places[some], self.continent[some])
        out = Located(np.empty((len(vectors), 2), np.float32), np.empty(len(vectors), np.uint8))
        for begin in range(0, len(vectors), _BLOCK):
            quantized = to_int8(vectors[begin : begin + _BLOCK])
            places, land = marks.middle(marks.panels.nearest(self.project(quantized), NEIGHBOURS)[1])
            places[~quantized.any(1)] = np.nan
            out.places[begin : begin + _BLOCK], out.continent[begin : begin + _BLOCK] = places, land
        return out


class Located(NamedTuple):
    """Places float32 [n, 2] and numbers of continents uint8 [n]."""

    places: NDArray[np.float32]
    continent: NDArray[np.uint8]


class _Marks(NamedTuple):
    """The landmarks that are asked."""

    panels: Panels
    places: NDArray[np.float32]
    continent: NDArray[np.uint8]

    def middle(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The continent of most of the landmarks [n, 5] (in a draw the nearest one's, then the first), and their median place."""
        land = self.continent[rows]
        each = np.arange(len(rows))
        votes = np.zeros((len(rows), int(self.continent.max(initial=0)) + 1))
        np.add.at(votes, (each[:, None], land), 1)
        votes[each, land[:, 0]] += 0.5
        won = votes.argmax(1).astype(np.uint8)
        same = land == won[:, None]
        places = np.where(same[:, :, None], self.places[rows], np.float32(np.inf))  # others sort behind
        places.sort(axis=1)
        last = same.sum(1) - 1
        return (places[each, last // 2] + places[each, (last + 1) // 2]) * np.float32(0.5), won


def read_atlas(bundle: Bundle) -> Atlas:
    """The atlas of a bundle.

    Raises:
        BundleError: the bundle has none, or it is malformed or made for another encoder.
    """
    if FILE not in bundle.files:
        raise BundleError(
            f"this bundle has no atlas ({FILE}), so nothing can be put on the map; use a bundle that has one, such as the default"
        )
    metadata, tensors = bundle.read(FILE, copy=False)
    atlas = parse_atlas(metadata, tensors)
    if len(atlas.projection) != bundle.architecture.hidden_size or metadata.get("encoder_sha256") != encoder_sha256(bundle):
        raise BundleError(f"{FILE}: was made for another encoder; make it again with python -m tools.atlas")
    return atlas


def parse_atlas(metadata: dict[str, str], tensors: dict[str, Any]) -> Atlas:
    """Check tensors and metadata of an atlas.

    Raises:
        BundleError: names what is wrong.
    """
    expected = {"projection": np.int8, "offset": np.int32, "landmarks": np.int8, "places": np.float32, "continent": np.uint8}
    if set(tensors) != set(expected) or any(tensors[name].dtype != dtype for name, dtype in expected.items()):
        raise BundleError(f"{FILE}: must hold {', '.join(f'{name} {np.dtype(d)}' for name, d in expected.items())}")
    count, width = tensors["landmarks"].shape if tensors["landmarks"].ndim == 2 else (0, 0)
    shapes = {"offset": (width,), "places": (count, 2), "continent": (count,)}
    fits = tensors["projection"].ndim == 2 and tensors["projection"].shape[1] == width
    if not NEIGHBOURS <= count <= MAX_LANDMARKS or not width or not fits or any(tensors[n].shape != s for n, s in shapes.items()):
        raise BundleError(f"{FILE}: shapes do not fit each other, or landmarks are not {NEIGHBOURS} to {MAX_LANDMARKS}")
    places = np.asarray(tensors["places"])
    if not np.isfinite(places).all() or float(places.min()) < 0 or float(places.max()) > 1:
        raise BundleError(f"{FILE}: places must lie within 0 and 1")
    try:
        shift, continents, regions = int(metadata["shift"]), json.loads(metadata["continents"]), json.loads(metadata["regions"])
        named = tuple(Region(*_region(entry)) for entry in regions)
    except (KeyError, ValueError, TypeError, RecursionError):
        raise BundleError(f"{FILE}: shift, continents or regions are missing or malformed") from None
    if (
        not 0 <= shift <= 30
        or not isinstance(continents, list)
        or not all(_is_name(name) for name in continents)
        or len(named) > MAX_REGIONS
    ):
        raise BundleError(f"{FILE}: shift, continents or regions are out of range")
    if len(continents) > 255 or int(tensors["continent"].max()) >= len(continents):
        raise BundleError(f"{FILE}: a landmark lies on a continent that is not named")
    return Atlas(**tensors, shift=shift, continents=tuple(continents), regions=named)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()


def _region(entry: Any) -> tuple[Any, ...]:
    """Check one region's fields: name, continent, level, x, y, radius, landmarks."""
    name, continent, level, x, y, radius, count = entry
    numbers = (x, y, radius)
    if not _is_name(name) or not _is_name(continent) or not all(isinstance(n, (int, float)) and 0 <= n <= 1 for n in numbers):
        raise ValueError(name)
    if type(level) is not int or type(count) is not int or not 0 <= level <= 9:
        raise ValueError(level)
    return (name, continent, level, float(x), float(y), float(radius), count)
