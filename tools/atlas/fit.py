"""From vectors of the sample to landmarks with places: a shared projection, UMAP a continent, k-means for the landmarks."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist.explore.places import Atlas
from edge_demist.explore.quantize import to_int8

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

WIDTH = 64
"""Numbers of a projected vector: 64 keep all of the nearest-neighbour accuracy of 384 (.673 and .672 on dev host names)."""

SEED = 21


@dataclass(frozen=True)
class Continent:
    """A part of the world for one kind of string: its circle on the map, its landmarks, the rows that UMAP sees.

    ``plain``: so many rows drawn at random become landmarks too, which keep fine detail (accuracy of places .648 without, .654 with).
    """

    kind: str
    name: str
    x: float
    y: float
    radius: float
    landmarks: int
    rows: int = 15_000
    plain: int = 0


CONTINENTS = (
    Continent("host", "host names", 0.33, 0.38, 0.30, 4096, 100_000, 8192),
    Continent("request", "requests and payloads", 0.83, 0.29, 0.16, 1536, 30_000),
    Continent("file", "file names", 0.82, 0.63, 0.12, 640),
    Continent("command", "command lines", 0.61, 0.83, 0.12, 640),
    Continent("agent", "user agents", 0.36, 0.85, 0.11, 512),
    Continent("header", "HTTP headers", 0.12, 0.86, 0.08, 384),
    Continent("certificate", "certificates", 0.90, 0.88, 0.075, 384),
)


def projection(vectors: NDArray[np.float32], kinds: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.int32], int]:
    """Principal axes as int8 [dim, WIDTH], the offset int32 [WIDTH] and the shift; host names weigh thrice each other kind."""
    mean = vectors.mean(0, dtype=np.float64)
    spread = np.zeros((vectors.shape[1],) * 2)
    for kind in np.unique(kinds):
        some = vectors[kinds == kind].astype(np.float64)
        apart = some.mean(0) - mean
        spread += np.cov(some.T) * (3 if kind == "host" else 1) + np.outer(apart, apart)
    axes = np.linalg.eigh(spread)[1][:, ::-1][:, :WIDTH]
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(WIDTH)])  # the sign of an eigenvector is arbitrary
    steps = np.rint(axes / np.abs(axes).max() * 127).astype(np.int8)
    sums = to_int8(vectors[::7]).astype(np.float32) @ steps.astype(np.float32)
    offset = np.rint(sums.mean(0)).astype(np.int32)
    large = float(np.quantile(np.abs(sums - offset), 0.99))
    return steps, offset, int(np.ceil(np.log2(large / 127)))


def layout(projected: NDArray[np.int8]) -> NDArray[np.float32]:
    """UMAP (arXiv:1802.03426) in two dimensions: float32 [n, 2]."""
    import umap

    rows = projected.astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    flat: NDArray[np.float32] = umap.UMAP(n_neighbors=20, min_dist=0.05, n_epochs=200, random_state=SEED, n_jobs=1).fit_transform(rows)
    return flat


def spread(flat: NDArray[np.float32], continent: Continent) -> NDArray[np.float32]:
    """A layout moved into the continent's circle; the crowded middle gets more room (radius to the power .7), angles stay."""
    flat = flat - np.median(flat, axis=0).astype(np.float32)
    far = np.maximum(np.linalg.norm(flat, axis=1), 1e-9)
    wanted = np.minimum(1, far / np.quantile(far, 0.985)) ** 0.7 * continent.radius
    placed: NDArray[np.float32] = (flat * (wanted / far)[:, None] + (continent.x, continent.y)).astype(np.float32)
    return placed


def choose(projected: NDArray[np.int8], places: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows that become landmarks, and their places: the sample's row nearest to each centre of k-means.

    Rows of sparse regions weigh more (one minus the cosine to the third nearest of 4,000 rows), so that rare regions are kept; a
    landmark's place is the median of those of its five nearest rows, so that one row which UMAP put astray moves nothing.
    """
    from sklearn.cluster import MiniBatchKMeans

    rows = projected.astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    some = np.random.default_rng(SEED).permutation(len(rows))[:40_000]
    reach = 1 - np.concatenate([np.partition(rows[part] @ rows[some[:4000]].T, -4)[:, -4] for part in np.array_split(some, 40)])
    means = MiniBatchKMeans(count, batch_size=8192, n_init=1, max_iter=10, random_state=SEED)
    means.fit(rows[some], sample_weight=np.maximum(reach, 0.02))
    centres = means.cluster_centers_ / np.maximum(np.linalg.norm(means.cluster_centers_, axis=1, keepdims=True), 1e-6)
    chosen = np.unique(np.concatenate([np.argmax(part @ rows.T, axis=1) for part in np.array_split(centres, 40)]))
    five = np.concatenate([np.argpartition(rows[part] @ rows.T, -5)[:, -5:] for part in np.array_split(chosen, 40)])
    return chosen, np.median(places[five], axis=1).astype(np.float32)


def build(sample: pd.DataFrame, vectors: NDArray[np.float32], work: Path) -> tuple[Atlas, NDArray[np.int64], NDArray[np.float32]]:
    """The atlas without regions, the sample's row of each landmark, and UMAP's own place of each row (NaN where it saw none).

    ``work`` keeps the layouts, which are slow; empty it when sample or encoder change.
    """
    kinds = sample["kind"].to_numpy()
    axes, offset, shift = projection(vectors, kinds)
    empty = Atlas(axes, offset, np.zeros((0, WIDTH), np.int8), np.zeros((0, 2), np.float32), np.zeros(0, np.uint8), shift, (), ())
    places = np.full((len(sample), 2), np.nan, np.float32)
    landmarks, where, number, rows = [], [], [], []
    for k, continent in enumerate(CONTINENTS):
        began = time.monotonic()
        of = np.flatnonzero(kinds == continent.kind)
        of = np.sort(np.random.default_rng(SEED).permutation(of)[: continent.rows])
        projected = empty.project(to_int8(vectors[of]))
        keep = work / f"layout-{continent.kind}.npy"
        if not keep.exists():
            np.save(keep, layout(projected))
        places[of] = spread(np.load(keep), continent)
        chosen, at = choose(projected, places[of], continent.landmarks)
        plain = np.random.default_rng(SEED).permutation(len(of))[: continent.plain]
        chosen, at = np.concatenate([chosen, plain]), np.concatenate([at, places[of[plain]]])
        landmarks.append(one_length(projected[chosen]))
        where.append(np.clip(at, 0, 1))
        number.append(np.full(len(chosen), k, np.uint8))
        rows.append(of[chosen])
        print(f"{continent.kind}: {len(of)} rows, {len(chosen)} landmarks, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    atlas = empty._replace(
        landmarks=np.concatenate(landmarks), places=np.concatenate(where), continent=np.concatenate(number),
        continents=tuple(continent.kind for continent in CONTINENTS),
    )  # fmt: skip
    atlas, more = with_strays(atlas, sample, vectors)
    return atlas, np.concatenate([*rows, more]), places


def with_strays(atlas: Atlas, sample: pd.DataFrame, vectors: NDArray[np.float32]) -> tuple[Atlas, NDArray[np.int64]]:
    """The atlas with further landmarks where strings of a kind fall on another kind's continent, and the sample's rows of these.

    A stray becomes a landmark of its own continent, at the median place of the five nearest there; at most a third as many as the
    continent has.
    """
    kinds = sample["kind"].to_numpy()
    rows, at, number = [], [], []
    for k, continent in enumerate(CONTINENTS):
        of = np.flatnonzero(kinds == continent.kind)
        of = of[np.random.default_rng(SEED).permutation(len(of))[:40_000]]
        astray = of[atlas.locate(vectors[of]).continent != k][: continent.landmarks // 3]
        rows.append(astray)
        at.append(atlas.locate(vectors[astray], continent.kind).places)
        number.append(np.full(len(astray), k, np.uint8))
        print(f"{continent.kind}: {len(astray)} strays", file=sys.stderr, flush=True)
    all_rows = np.concatenate(rows)
    return atlas._replace(
        landmarks=np.concatenate([atlas.landmarks, one_length(atlas.project(to_int8(vectors[all_rows])))]),
        places=np.concatenate([atlas.places, *at]), continent=np.concatenate([atlas.continent, *number]),
    ), all_rows  # fmt: skip


def one_length(projected: NDArray[np.int8]) -> NDArray[np.int8]:
    """Landmarks of one length, so that a dot product orders as a cosine."""
    marks = projected.astype(np.float32)
    marks *= 220.0 / np.maximum(np.linalg.norm(marks, axis=1, keepdims=True), 1e-6)
    return np.clip(np.rint(marks), -127, 127).astype(np.int8)
