"""Names for parts of the map: the label that most strings of a region carry, and the words that set it apart.

Words are ranked as in class-based TF-IDF (Grootendorst, arXiv:2203.05794), with the share p of the region's strings that have the word
in place of its count, and log(p / q), q the share on the whole continent, in place of the inverse frequency.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist.explore.places import Atlas, Region

from .fit import CONTINENTS, SEED, Continent

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

LEVELS = {1: 180, 2: 60}
"""Landmarks that a region of a level has on average."""

MAJORITY = 0.4
MOST_UNLABELLED = 4
"""A label names a region only where at least one string in so many has a label."""

SMALLEST = 8
"""Landmarks of a region that gets a name."""

QUIET = frozenset({"adult"})
"""Labels that stand alone: the words that go with them are on nobody's map."""

PLAIN = frozenset(
    {"legit", "normal", "benign", "ordinary", "ordinary-response", "ordinary-browser", "ordinary-api-client", "public-website"}
)
"""Labels that say nothing: such a region is named by its words."""

TOLD = {
    "dga": "generated names",
    "tunnel": "DNS tunnel",
    "sqli": "SQL injection",
    "xss": "script injection",
    "crawler-bot": "crawlers",
    "tor": "Tor",
    "malicious": "attack commands",
    "tv-console-iot": "television and devices",
    "public-ca": "public authorities",
}
"""Labels in the words of a map."""

_WORD = re.compile(r"[a-z]{4,16}")
_COMMON = frozenset(["http", "https", "www", "html", "index", "example"])


def words_of(kind: str, text: str, pieces: list[str]) -> set[str]:
    """Words of a string: runs of four letters and more; of a host name the tokenizer's pieces, for it is written without blanks."""
    parts = pieces if kind == "host" else [text]
    return {word for part in parts for word in _WORD.findall(part.lower())} - _COMMON


def build_regions(atlas: Atlas, sample: pd.DataFrame, located: NDArray[np.int64], words: list[set[str]]) -> list[Region]:
    """All regions: the continents (level 0) and two levels inside each.

    Args:
        atlas: with landmarks and places.
        sample: columns text, kind, label.
        located: the nearest landmark of each row of the sample.
        words: of each row.
    """
    blocked = _words_of_label(sample, words, QUIET)
    regions = []
    for number, continent in enumerate(CONTINENTS):
        marks = np.flatnonzero(atlas.continent == number)
        regions.append(Region(continent.name, continent.kind, 0, continent.x, _top(atlas, marks), continent.radius, len(marks)))
        rows = np.flatnonzero(atlas.continent[located] == number)
        for level, size in LEVELS.items():
            regions += _level(atlas, continent, level, marks, max(2, round(len(marks) / size)), rows, located, sample, words, blocked)
    return regions


def _top(atlas: Atlas, marks: NDArray[np.int64]) -> float:
    """Where a continent's name stands: above it."""
    return max(0.0, float(np.quantile(atlas.places[marks, 1], 0.005)) - 0.018)


def _words_of_label(sample: pd.DataFrame, words: list[set[str]], labels: frozenset[str]) -> set[str]:
    """Words at least five times as frequent under ``labels`` as elsewhere."""
    inside, outside = Counter[str](), Counter[str]()
    counts = [0, 0]
    for label, found in zip(sample["label"], words, strict=True):
        if label:
            (inside if label in labels else outside).update(found)
            counts[label not in labels] += 1
    return {w for w, n in inside.items() if n >= 5 and n / counts[0] > 5 * outside[w] / max(counts[1], 1)}


def _level(
    atlas: Atlas, continent: Continent, level: int, marks: NDArray[np.int64], count: int, rows: NDArray[np.int64],
    located: NDArray[np.int64], sample: pd.DataFrame, words: list[set[str]], blocked: set[str],
) -> list[Region]:  # fmt: skip
    """Regions of one continent and level: k-means of the landmarks' places, named."""
    from sklearn.cluster import KMeans

    parts = KMeans(count, n_init=4, random_state=SEED).fit_predict(atlas.places[marks])
    part_of_mark = np.full(len(atlas.landmarks), -1)
    part_of_mark[marks] = parts
    part = part_of_mark[located[rows]]
    frequency = [Counter(w for r in rows[part == p] for w in words[r]) for p in range(count)]
    everywhere: Counter[str] = sum(frequency, Counter())
    regions, taken = [], set[str]()
    for p in range(count):
        inside = marks[parts == p]
        labels = Counter(label for label in sample["label"].to_numpy()[rows[part == p]] if label)
        size = int((part == p).sum())
        lift = {w: n * len(part) / (size * everywhere[w]) for w, n in frequency[p].items() if n >= 5 and w not in blocked}
        score = {w: frequency[p][w] / size * np.log(ratio) for w, ratio in lift.items() if ratio > 1.5}
        best = sorted(score, key=lambda w: (-score[w], w))
        name = _name(labels, size, best, taken)
        if not name or len(inside) < SMALLEST:
            continue
        taken.add(name)
        x, y = np.median(atlas.places[inside], axis=0)
        radius = float(np.quantile(np.linalg.norm(atlas.places[inside] - (x, y), axis=1), 0.9))
        regions.append(Region(name, continent.kind, level, float(x), float(y), radius, len(inside)))
    return regions


def _name(labels: Counter[str], size: int, words: list[str], taken: set[str]) -> str:
    """The majority's label and up to two words; words alone where no label leads."""
    (label, most), total = (labels.most_common(1) or [("", 0)])[0], sum(labels.values())
    leads = most >= MAJORITY * total and total >= max(20, size / MOST_UNLABELLED) and label not in PLAIN
    if leads and label in QUIET:
        return label
    chosen: list[str] = []
    for word in words:
        if len(chosen) < 2 and word not in label and not any(word in other or other in word for other in chosen):
            chosen.append(word)
    name = ", ".join(chosen)
    if leads:
        label = TOLD.get(label, label.replace("-", " "))
        name = f"{label}: {name}" if name else label
    return "" if name in taken else name


def landmark_of(atlas: Atlas, projected: NDArray[np.int8], kinds: NDArray[Any]) -> NDArray[np.int64]:
    """The nearest landmark of each row, on the continent of its kind."""
    from edge_demist.explore.search import nearest

    out = np.empty(len(projected), np.int64)
    for number, continent in enumerate(CONTINENTS):
        marks, of = np.flatnonzero(atlas.continent == number), np.flatnonzero(kinds == continent.kind)
        if len(of):
            out[of] = marks[nearest(projected[of], np.ascontiguousarray(atlas.landmarks[marks]), 1)[1][:, 0]]
    return out
