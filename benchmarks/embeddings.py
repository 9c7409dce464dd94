"""What the vectors mean: nearest names, k-nearest-neighbour accuracy, clusters and a map of host names, beside MiniLM's vectors.

    python -m benchmarks.embeddings --data DATA --work WORK      # measure the shipped bundle

Three views of a host name: ``encode`` without a task, ``encode`` with task hostname-category, and stock all-MiniLM-L6-v2 (mean
pooling), whose vectors WORK keeps. Index: a seeded sample of hostname-category train; questions: all of its dev. Writes
benchmarks/results/embeddings.json and embeddings-map.csv. The well-known names are of benchmarks/data/known-names.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import result_file
from edge_demist import EdgeDemist
from edge_demist.train.calibration import interval
from tools.synth import well_known
from tools.train.data import in_order, normalized, read_table

Floats = NDArray[np.float32]
RESULTS = result_file.RESULTS / "embeddings.json"
MAP = result_file.RESULTS / "embeddings-map.csv"
KNOWN = Path(__file__).parent / "data" / "known-names.csv"
TASK = "hostname-category"
NEIGHBOURS = (10, 20)
CLUSTER_ROWS, CLUSTER_SEEDS = 6000, 3
SHOWN = ("adult", "education", "email", "finance", "gambling", "games", "government", "religion", "travel", "vpn-proxy")
"""Categories on the map: more colours than ten cannot be told apart."""
MAP_ROWS = 150
ASKED = (
    "youtube.com", "reddit.com", "github.com", "stackoverflow.com", "espn.com", "booking.com", "airbnb.com", "expedia.com", "mit.edu",
    "whitehouse.gov", "binance.com", "coinbase.com", "gmail.com", "outlook.com", "nordvpn.com", "expressvpn.com", "tinder.com",
    "indeed.com", "ign.com", "bankofamerica.com",
)  # fmt: skip
"""Well-known names that the corpus has; not one stands in the dev split."""


def nearest(index: Floats, questions: Floats, k: int, block: int = 1024) -> tuple[NDArray[np.int64], Floats]:
    """Rows of ``index`` nearest to each question by cosine, nearest first, and the cosines: [n, k] each. Vectors have length one."""
    rows, cosines = [], []
    for begin in range(0, len(questions), block):
        similar = questions[begin : begin + block] @ index.T
        some = np.argpartition(-similar, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(similar, some, 1)
        order = np.argsort(-values, axis=1, kind="stable")
        rows.append(np.take_along_axis(some, order, 1))
        cosines.append(np.take_along_axis(values, order, 1))
    return np.concatenate(rows), np.concatenate(cosines)


def vote(labels: NDArray[np.int64], cosines: Floats, classes: int) -> NDArray[np.int64]:
    """Most frequent label of each row's neighbours [n, k]; among equals the one with the larger sum of cosines."""
    votes = np.zeros((len(labels), classes))
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), 1.0 + 1e-3 * cosines)
    return votes.argmax(1)


def purity(truth: NDArray[np.int64], clusters: NDArray[np.int64]) -> float:
    """Share of rows that carry the most frequent label of their cluster."""
    counts = np.zeros((clusters.max() + 1, truth.max() + 1), np.int64)
    np.add.at(counts, (clusters, truth), 1)
    return float(counts.max(1).sum() / len(truth))


def clustering(vectors: Floats, truth: NDArray[np.int64]) -> dict[str, float]:
    """Purity and normalized mutual information of k-means with as many clusters as labels; mean over seeds."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    k = len(np.unique(truth))
    runs = [KMeans(k, n_init=2, random_state=seed).fit_predict(vectors).astype(np.int64) for seed in range(CLUSTER_SEEDS)]
    pure, shared = [purity(truth, r) for r in runs], [normalized_mutual_info_score(truth, r) for r in runs]
    return {"purity": round(float(np.mean(pure)), 4), "nmi": round(float(np.mean(shared)), 4)}


def minilm_vectors(texts: Sequence[str], keep: Path, normalizer: str = "hostname", max_tokens: int = 64) -> Floats:
    """Stock all-MiniLM-L6-v2, mean-pooled, length one (layers in bfloat16); kept in a file."""
    if keep.exists():
        kept: Floats = np.load(keep)
        return kept
    import torch

    from benchmarks.baselines.classifiers.minilm import load, pack, pooled

    rows = pack(normalized(texts, normalizer), max_tokens)
    encoder, _ = load(rows)
    encoder.eval()
    out = np.empty((len(rows), encoder.config.hidden_size), np.float32)
    with torch.no_grad():
        for index in in_order(rows.lengths, 4096):
            out[index] = torch.nn.functional.normalize(pooled(encoder, rows, index)).numpy()
    keep.parent.mkdir(parents=True, exist_ok=True)
    np.save(keep, out)
    return out


def project(vectors: Floats) -> Floats:
    """t-SNE on cosine distances: [n, 2]."""
    from sklearn.manifold import TSNE

    made: Floats = TSNE(metric="cosine", init="pca", perplexity=40, random_state=0).fit_transform(vectors)
    return made


def known_neighbours(vectors: Floats, names: pd.DataFrame) -> dict[str, Any]:
    """The three nearest of the other well-known names for each name asked about, and how often the nearest is of the same kind.

    ``same_kind_unlisted`` counts only names whose category training did not get from our list of well-known services.
    """
    rows, _ = nearest(vectors, vectors, 4)
    others = np.array([[j for j in row if j != i][:3] for i, row in enumerate(rows)])
    kinds, listed = names["kind"].to_numpy(), names["name"].to_numpy()
    place = {name: i for i, name in enumerate(listed)}
    same = kinds[others[:, 0]] == kinds
    return {
        "asked": {name: [str(listed[j]) for j in others[place[name]]] for name in ASKED},
        "same_kind": round(float(same.mean()), 4),
        "same_kind_unlisted": round(float(same[~names["name"].isin(well_known.categories())].mean()), 4),
    }


def measure(args: argparse.Namespace) -> None:
    """All figures of all views."""
    names = pd.read_csv(KNOWN)
    train, dev = read_table(args.data, TASK, "train"), read_table(args.data, TASK, "dev")
    train = train.sample(min(args.index, len(train)), random_state=0)
    texts = [*train["text"], *dev["text"], *names["name"]]
    code = {label: i for i, label in enumerate(sorted(train["label"].unique()))}
    y, truth = (t["label"].map(code).to_numpy(np.int64) for t in (train, dev))
    sample = np.random.default_rng(0).permutation(len(dev))[:CLUSTER_ROWS]
    drawn = dev.reset_index(drop=True).query("label in @SHOWN").groupby("label").sample(MAP_ROWS, random_state=0)
    asked = names[names["name"].isin(ASKED)]
    chart = pd.DataFrame({"category": [*drawn["label"], *asked["kind"]], "name": [""] * len(drawn) + list(asked["name"])})
    result: dict[str, Any] = {"index": len(train), "questions": len(dev), "cluster_rows": len(sample), "names": len(names), "views": {}}
    result["unlisted_names"] = int((~names["name"].isin(well_known.categories())).sum())
    with EdgeDemist.load(args.bundle) as model:
        result["bundle"] = {"id": model.bundle_id, "name": model.bundle.name, "version": model.bundle.version}
        views = {
            "general": lambda: model.encode(texts, normalizer="hostname"),
            "specialist": lambda: model.encode(texts, task=TASK),
            "minilm": lambda: minilm_vectors(texts, args.work / f"minilm-{len(train)}.npy"),
        }
        for view, vectors_of in views.items():
            index, questions, known = np.split(vectors_of(), [len(train), len(train) + len(dev)])
            rows, cosines = nearest(index, questions, max(NEIGHBOURS))
            entry: dict[str, Any] = {"knn": {}, "known": known_neighbours(known, names)}
            for k in NEIGHBOURS:
                right = vote(y[rows[:, :k]], cosines[:, :k], len(code)) == truth
                entry["knn"][str(k)] = {"accuracy": round(float(right.mean()), 4), "interval": interval(int(right.sum()), len(right))}
            entry["clusters"] = clustering(questions[sample], truth[sample])
            at = project(np.concatenate([questions[drawn.index], known[asked.index]]))
            chart[f"{view}_x"], chart[f"{view}_y"] = at.round(1).T
            result["views"][view] = entry
            print(view, entry["knn"], entry["clusters"], entry["known"]["same_kind"], file=sys.stderr, flush=True)
    result_file.write(args.out, result)
    chart.to_csv(MAP, index=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.embeddings", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, help="folder with tasks/")
    p.add_argument("--work", type=Path, help="folder that keeps MiniLM's vectors")
    p.add_argument("--bundle", type=Path, help="bundle (default: the shipped one)")
    p.add_argument("--index", type=int, default=60_000, help="rows of train in the index")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    if args.data is None or args.work is None:
        p.error("give --data DIR and --work DIR")
    measure(args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
