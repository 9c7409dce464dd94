"""Clusters of int8 vectors: leaders at a cosine threshold, or k-means; each named by words that set it apart.

Leader clustering (Hartigan, *Clustering Algorithms*, 1975, chapter 3) goes through the rows once: a row joins the nearest leader
at or above the threshold, or becomes a leader. It needs no number of clusters and gives the same answer for the same order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_demist.errors import InputError
from edge_demist.explore.search import Panels, dots, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_LEADERS = 65_536
_BLOCK = 1024
_WORD = re.compile(r"[^\W\d_]{3,32}")
_LIFT = 1.5


class Clusters(NamedTuple):
    """Numbers of clusters int32 [n], largest cluster first (-1: no vector), and each row's cosine to its cluster's centre."""

    number: NDArray[np.int32]
    cosine: NDArray[np.float32]


def leader(vectors: NDArray[np.int8], threshold: float) -> Clusters:
    """Leader clustering of int8 [n, dim] at a cosine of ``threshold``.

    Raises:
        InputError: the threshold is not within 0 and 1, or there are more than ``MAX_LEADERS`` clusters.
    """
    if not 0 < threshold < 1:
        raise InputError(f"the threshold is a cosine between 0 and 1, not {threshold}")
    length = np.sqrt((vectors.astype(np.float32) ** 2).sum(1))
    number = np.full(len(vectors), -1, np.int64)
    leaders: list[int] = []
    for begin in range(0, len(vectors), _BLOCK):
        block, size = vectors[begin : begin + _BLOCK], length[begin : begin + _BLOCK]
        best = np.full(len(block), -2.0, np.float32)
        if leaders:
            lead = np.array(leaders)
            scores, rows = _nearest_by_cosine(block, vectors[lead], length[lead])
            best = scores / np.maximum(size, 1e-9)
            number[begin : begin + len(block)] = rows
        fresh = len(leaders)
        inside = dots(block, block)
        for i in np.flatnonzero((best < threshold) & (size > 0)):
            own = np.array(leaders[fresh:], np.int64) - begin
            cosines = inside[i, own] / (size[i] * length[begin + own])
            if len(own) and cosines.max() >= threshold:
                number[begin + i] = fresh + int(cosines.argmax())
            else:
                if len(leaders) == MAX_LEADERS:
                    raise InputError(f"more than {MAX_LEADERS:,} clusters at a threshold of {threshold}; choose a lower one")
                number[begin + i] = len(leaders)
                leaders.append(begin + int(i))
        number[begin : begin + len(block)][size == 0] = -1
    return _ordered(vectors, number)


def _nearest_by_cosine(
    queries: NDArray[np.int8], rows: NDArray[np.int8], length: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The row with the largest dot product over length for each query: of the eight with the largest dot product."""
    scores, found = nearest(queries, rows, 8)
    ratio = scores / length[found]
    best = ratio.argmax(1)
    each = np.arange(len(queries))
    return ratio[each, best].astype(np.float32), found[each, best]


def kmeans(vectors: NDArray[np.int8], count: int, rounds: int = 25, seed: int = 0) -> Clusters:
    """Spherical k-means (Dhillon and Modha, 2001) of int8 [n, dim], started as k-means++ does on a sample of 20,000 rows.

    Raises:
        InputError: ``count`` is not within 1 and the number of vectors.
    """
    good = np.flatnonzero(vectors.any(1))
    if not 1 <= count <= min(len(good), MAX_LEADERS):
        raise InputError(f"k-means needs 1 to {min(len(good), MAX_LEADERS):,} clusters for {len(good):,} vectors, not {count}")
    rows = vectors[good]
    centres = _start(rows, count, np.random.default_rng(seed))
    near = np.full(len(rows), -1, np.int64)
    for _ in range(rounds):
        before = near
        near = Panels(centres).nearest(rows, 1)[1][:, 0]
        if (near == before).all():
            break
        sums = np.zeros((count, rows.shape[1]), np.int64)
        np.add.at(sums, near, rows)
        kept = np.bincount(near, minlength=count) > 0
        centres[kept] = _quantized(sums[kept])
    number = np.full(len(vectors), -1, np.int64)
    number[good] = near
    return _ordered(vectors, number)


def _start(rows: NDArray[np.int8], count: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """k-means++ (Arthur and Vassilvitskii, 2007): each centre drawn in proportion to one minus its cosine to those before."""
    some = rows[np.sort(rng.permutation(len(rows))[: max(20_000, count)])].astype(np.float32)
    some /= np.linalg.norm(some, axis=1, keepdims=True)
    chosen = [int(rng.integers(len(some)))]
    far = np.maximum(1 - some @ some[chosen[0]], 0)
    for _ in range(count - 1):
        total = float(far.sum(dtype=np.float64))
        chosen.append(int(rng.choice(len(some), p=far / total)) if total > 1e-6 else int(rng.integers(len(some))))
        far = np.minimum(far, np.maximum(1 - some @ some[chosen[-1]], 0))
    return _quantized(some[chosen])


def _quantized(sums: NDArray[np.generic]) -> NDArray[np.int8]:
    """Directions as int8 of about one length, so that a dot product orders as a cosine."""
    real = sums.astype(np.float64)
    real *= 500.0 / np.maximum(np.linalg.norm(real, axis=1, keepdims=True), 1e-9)
    return np.clip(np.rint(real), -127, 127).astype(np.int8)


def _ordered(vectors: NDArray[np.int8], number: NDArray[np.int64]) -> Clusters:
    """Numbers by falling size, then by first row; cosines to the means."""
    known = number >= 0
    old, first, counts = np.unique(number[known], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    new = np.full(int(old.max()) + 1 if len(old) else 0, -1, np.int32)
    new[old[order]] = np.arange(len(old), dtype=np.int32)
    final = np.full(len(number), -1, np.int32)
    final[known] = new[number[known]]
    sums = np.zeros((len(old), vectors.shape[1]), np.float64)
    np.add.at(sums, final[known], vectors[known])
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    cosine = np.full(len(number), np.nan, np.float32)
    rows = vectors[known].astype(np.float64)
    cosine[known] = (rows * sums[final[known]]).sum(1) / np.linalg.norm(rows, axis=1)
    return Clusters(final, cosine)


def words_of(parts: Iterable[str]) -> set[str]:
    """Words of a string, given in parts such as a tokenizer's pieces: runs of three or more letters, lower-cased."""
    return {word for part in parts for word in _WORD.findall(part.lower())}


def names(texts: Sequence[str], words: Sequence[set[str]], clusters: Clusters) -> list[str]:
    """A name for each cluster: up to three words with the largest p log(p / q), p their share inside and q everywhere.

    The idea of class-based TF-IDF (Grootendorst, arXiv:2203.05794). A cluster without such words is named by its most typical string.

    Args:
        texts: the strings.
        words: of each string, see :func:`words_of`.
        clusters: of the strings.
    """
    typical: dict[int, int] = {}
    for row in np.argsort(-np.nan_to_num(clusters.cosine, nan=-2), kind="stable"):
        typical.setdefault(int(clusters.number[row]), int(row))
    everywhere: Counter[str] = Counter()
    inside: dict[int, Counter[str]] = {}
    for found, number in zip(words, clusters.number, strict=True):
        everywhere.update(found)
        inside.setdefault(int(number), Counter()).update(found)
    sizes = Counter(clusters.number.tolist())
    out = []
    for number in range(int(clusters.number.max(initial=-1)) + 1):
        size = sizes[number]
        lift = {w: n * len(texts) / (size * everywhere[w]) for w, n in inside[number].items() if n > 1 and n * 8 >= size}
        score = {w: inside[number][w] / size * np.log(ratio) for w, ratio in lift.items() if ratio > _LIFT}
        best = sorted(score, key=lambda w: (-score[w], w))[:3]
        out.append(" ".join(best) or texts[typical[number]][:60])
    return out
