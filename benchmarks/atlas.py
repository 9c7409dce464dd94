"""What the map and the search keep of the vectors, on names that were not in the atlas.

    python -m benchmarks.atlas --data DATA [--bundle DIR]        # writes benchmarks/results/atlas.json

Accuracy: each dev name of hostname-category gets the most frequent category among its ten nearest of a sample of train names, with all
numbers of the vectors, and with places alone (dev names and names below their registered domains are not in the atlas). Beside it
trustworthiness (Venna and Kaski, 2001), the share of each kind's dev strings that land on their own continent, recall of the ten
nearest by int8 and by bits, and the time of one search over a million rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import result_file
from benchmarks.embeddings import nearest, vote
from edge_demist import EdgeDemist
from edge_demist.explore.quantize import from_bits, to_bits, to_int8
from edge_demist.explore.search import Best, cosines
from edge_demist.explore.search import nearest as nearest_int8
from edge_demist.native import library as native
from edge_demist.train.calibration import interval

RESULTS = result_file.RESULTS / "atlas.json"
TASK = "hostname-category"
KINDS = {
    "host": ("hostname-category", "dga", "dns-tunnel"), "request": ("uri-attack", "url-phishing"),
    "file": ("filename", "filename-sensitivity"),
    "command": ("cmdline",), "agent": ("user-agent",), "header": ("http-header",), "certificate": ("tls-certificate",),
}  # fmt: skip
SAMPLE, TRUST_ROWS, SEARCH_QUERIES, MILLION, SPARE = 60_000, 3000, 1000, 1_000_000, 16


def in_two_dimensions(reference: NDArray[np.float32], questions: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], Any]:
    """The k nearest places, and how near they are (larger is nearer)."""
    from scipy.spatial import cKDTree

    distances, found = cKDTree(reference).query(questions, k)
    return found, 1 / (1 + 100 * distances)


def accuracy(model: EdgeDemist, train: pd.DataFrame, dev: pd.DataFrame) -> tuple[dict[str, Any], Any, Any]:
    """Figures of the map, and the vectors."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import trustworthiness

    code = {label: i for i, label in enumerate(sorted(train["label"].unique()))}
    y, truth = train["label"].map(code).to_numpy(np.int64), dev["label"].map(code).to_numpy(np.int64)
    index, questions = (model.encode(part["text"].tolist(), projected=False) for part in (train, dev))
    rows, similar = nearest(index, questions, 10)
    result: dict[str, Any] = {}

    def score(name: str, found: NDArray[np.int64], weight: Any) -> None:
        right = vote(y[found], weight, len(code)) == truth
        result[name] = {"accuracy": round(float(right.mean()), 4), "interval": interval(int(right.sum()), len(right))}
        print(name, result[name], file=sys.stderr, flush=True)

    score("full", rows, similar)
    score("places", *in_two_dimensions(model.places(index), model.places(questions), 10))
    score("places_host", *in_two_dimensions(model.places(index, "host"), model.places(questions, "host"), 10))
    axes = PCA(2, random_state=0).fit(index)
    score("pca", *in_two_dimensions(axes.transform(index), axes.transform(questions), 10))
    some = np.random.default_rng(0).permutation(len(dev))[:TRUST_ROWS]
    result["trustworthiness"] = round(float(trustworthiness(questions[some], model.places(questions[some]), n_neighbors=15)), 4)
    result["ratio"] = round(result["places"]["accuracy"] / result["full"]["accuracy"], 4)
    return result, index, questions


def continents(model: EdgeDemist, data: Path) -> dict[str, float]:
    """Share of each kind's dev strings on its own continent."""
    shares = {}
    for kind, tasks in KINDS.items():
        for task in tasks:
            texts = pd.read_parquet(data / "tasks" / task / "dev.parquet")["text"].head(3000).tolist()
            land = model.atlas.locate(model.encode(texts, projected=False)).continent
            shares[f"{kind}/{task}"] = round(float((land == model.atlas.continents.index(kind)).mean()), 4)
    return shares


def recall(index: Any, questions: Any) -> dict[str, float]:
    """Share of the ten nearest by float32 that search finds, as ``edge-demist similar`` does it."""
    exact = nearest(index, questions, 10)[0]
    found = {}
    for name, stored in (("int8", to_int8(index)), ("binary", from_bits(to_bits(index)))):
        asked = to_int8(questions)
        scores, rows = nearest_int8(asked, stored, 10 + SPARE)
        value = cosines(scores, asked, stored[rows])
        best = np.take_along_axis(rows, np.argsort(-value, axis=1, kind="stable")[:, :10], 1)
        found[name] = round(float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), best.tolist(), strict=True)])), 4)
    return found


def search_time(index: Any) -> dict[str, Any]:
    """Milliseconds of processor time of one query over a million int8 rows, the least of nine, a CPU level."""
    rows = np.resize(to_int8(index), (MILLION, index.shape[1]))
    times, answers = {}, set()
    for level in native.available_levels():
        spent = []
        for _ in range(9):
            best, began = Best(1, 20), time.process_time()
            best.add(rows[:1], rows, 0, native.load(level))
            spent.append(1000 * (time.process_time() - began))
        times[level] = round(min(spent), 1)
        answers.add(best.rows.tobytes() + best.scores.tobytes())
    return {"milliseconds": times, "bit_equal": len(answers) == 1, "load_average": round(os.getloadavg()[0], 1)}


def table(result: dict[str, Any]) -> str:
    """What the map and the search keep, for documents."""
    from benchmarks import markdown

    accuracy, search = result["accuracy"], result["search"]["milliseconds"]
    rows = [
        ["category by the 10 nearest, 384 dimensions", markdown.percent(accuracy["full"]["accuracy"], accuracy["full"]["interval"])],
        ["the same by places on the map", markdown.percent(accuracy["places"]["accuracy"], accuracy["places"]["interval"])],
        ["the same by principal components, two dimensions", markdown.percent(accuracy["pca"]["accuracy"], accuracy["pca"]["interval"])],
        ["trustworthiness of the map, 15 neighbours", f"{accuracy['trustworthiness']:.3f}"],
        ["10 nearest by int8 that are among those by float32", markdown.percent(result["recall_at_10"]["int8"])],
        ["the same by bits alone", markdown.percent(result["recall_at_10"]["binary"])],
        [f"one search over a million int8 vectors, {next(iter(search))}", f"{next(iter(search.values())):.0f} ms"],
    ]
    return markdown.table(["on names that are not in the atlas", "%"], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.atlas", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/")
    p.add_argument("--bundle", type=Path, default=None, help="bundle (default: the one in the package)")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    train, dev = (pd.read_parquet(args.data / "tasks" / TASK / f"{part}.parquet") for part in ("train", "dev"))
    train = train.sample(min(SAMPLE, len(train)), random_state=0)
    with EdgeDemist.load(args.bundle) as model:
        result: dict[str, Any] = {
            "bundle": {"id": model.bundle_id, "version": model.bundle.version},
            "reference": len(train),
            "questions": len(dev),
        }
        result["landmarks"], result["regions"] = len(model.atlas.landmarks), len(model.atlas.regions)
        result["accuracy"], index, questions = accuracy(model, train, dev)
        result["continents"] = continents(model, args.data)
        result["recall_at_10"] = recall(index, questions[:SEARCH_QUERIES])
        result["search"] = search_time(index)
    result_file.write(args.out, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
