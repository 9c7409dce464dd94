"""The general vector as an embedding of every kind of string, beside character n-grams and stock all-MiniLM-L6-v2.

    python -m benchmarks.embedding_kinds --data DATA --work WORK       # writes benchmarks/results/embedding-kinds.json

Share of questions whose nearest neighbour (cosine) is of the same family, technique, class or tool; whether the nearest neighbour of a
string with other numbers in it is the string itself; whether that of a disguised attack is its plain form, or of its kind; purity of
k-means with as many clusters as labels. n-grams: TF-IDF of 1 to 4 characters, 384 dimensions by SVD fitted on the index. All see the
same strings; WORK keeps MiniLM's vectors.
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import markdown, result_file
from benchmarks.embeddings import clustering, minilm_vectors, nearest
from edge_demist import EdgeDemist
from edge_demist.normalizers import undisguised

Floats = NDArray[np.float32]
RESULTS = result_file.RESULTS / "embedding-kinds.json"
INDEX, QUESTIONS, SEED, PLAIN, DISGUISED = 2000, 500, 0, 5000, 300
KINDS = (
    ("dga family", "dga", "family", "dga"),
    ("command-line technique", "cmdline", "technique", "malicious"),
    ("user agent class", "user-agent", "label", ""),
    ("attack class", "uri-attack", "label", ""),
    ("file name class", "filename", "label", ""),
    ("tunnel tool", "dns-tunnel", "family", "tunnel"),
)
"""What must agree: name, task, column, only rows of this label."""

LOOKS = str.maketrans("aceiopxyACEHIKMOPTX", "асеіорхуАСЕНІКМОРТХ")
DISGUISES: dict[str, Callable[[str], str]] = {
    "URL-encoded": lambda t: quote(t, safe=""),
    "URL-encoded twice": lambda t: quote(quote(t, safe=""), safe=""),
    "base64": lambda t: base64.b64encode(t.encode()).decode(),
    "hexadecimal": lambda t: t.encode().hex(),
    "upper case": str.upper,
    "comments for blanks": lambda t: re.sub(r"\s+", "/**/", t),
    "more blanks": lambda t: re.sub(r"\s+", " \t ", t),
    "look-alike letters": lambda t: t.translate(LOOKS),
}


UNDONE = "undisguised"
"""The normalizer that undoes disguises; asked for (``encode(texts, normalizer=…)``), never applied unasked."""


def ngram_vectors(index: Sequence[str], questions: Sequence[str]) -> tuple[Floats, Floats]:
    """TF-IDF and SVD, fitted on the index."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    tfidf = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, min_df=2, lowercase=False, max_features=60_000)
    seen = tfidf.fit_transform(index)
    svd = TruncatedSVD(min(384, seen.shape[1] - 1), random_state=SEED)
    made = svd.fit_transform(seen), svd.transform(tfidf.transform(questions))
    return normalize(made[0]).astype(np.float32), normalize(made[1]).astype(np.float32)


def views(model: EdgeDemist, work: Path, name: str, index: list[str], questions: list[str]) -> dict[str, tuple[Floats, Floats]]:
    """Vectors of index and questions by each model."""
    keep = work / f"kinds-{name.replace(' ', '-')}.npy"
    stock = minilm_vectors([*index, *questions], keep, "identity")
    return {
        "edge-demist": (model.encode(index), model.encode(questions)),
        "n-grams": ngram_vectors(index, questions),
        "MiniLM": (stock[: len(index)], stock[len(index) :]),
    }


def rows_of(data: Path, task: str, column: str, only: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Index and questions; where a dev row's value is never in train (techniques are split by it), both are drawn from all rows."""
    train, dev = (pd.read_parquet(data / "tasks" / task / f"{part}.parquet") for part in ("train", "dev"))
    if only:
        train, dev = train[train["label"] == only], dev[dev["label"] == only]
    if column == "technique":
        both = pd.concat([train, dev])
        both = both[both["technique"].fillna("").str.match(r"T\d{4}")].sample(frac=1, random_state=SEED)
        dev, train = both.head(QUESTIONS), both.iloc[QUESTIONS:]
    train = train.drop_duplicates("text").sample(min(INDEX, len(train.drop_duplicates("text"))), random_state=SEED)
    dev = dev[dev[column].isin(train[column]) & ~dev["text"].isin(train["text"])].drop_duplicates("text")
    return train, dev.sample(min(QUESTIONS, len(dev)), random_state=SEED)


def agreement(model: EdgeDemist, data: Path, work: Path) -> dict[str, Any]:
    """Nearest neighbours of the same kind, and purity."""
    result: dict[str, Any] = {}
    for name, task, column, only in KINDS:
        index, questions = rows_of(data, task, column, only)
        code = {value: i for i, value in enumerate(sorted(set(index[column]) | set(questions[column])))}
        y, truth = index[column].map(code).to_numpy(np.int64), questions[column].map(code).to_numpy(np.int64)
        entry: dict[str, Any] = {"index": len(index), "questions": len(questions), "values": len(code), "nearest": {}, "purity": {}}
        for view, (a, b) in views(model, work, name, index["text"].tolist(), questions["text"].tolist()).items():
            entry["nearest"][view] = round(float((y[nearest(a, b, 1)[0][:, 0]] == truth).mean()), 4)
            entry["purity"][view] = clustering(b, truth)["purity"]
        result[name] = entry
        print(name, entry, file=sys.stderr, flush=True)
    return result


def renumbered(text: str, random: np.random.Generator) -> str:
    """The string with every digit drawn anew."""
    return re.sub(r"\d", lambda _: str(random.integers(10)), text)


def copies(model: EdgeDemist, data: Path, work: Path) -> dict[str, Any]:
    """Near copies: strings of four kinds that hold digits, and the same with other numbers."""
    random = np.random.default_rng(SEED)
    texts: list[str] = []
    for task in ("uri-attack", "user-agent", "cmdline", "hostname-category"):
        table = pd.read_parquet(data / "tasks" / task / "dev.parquet")["text"]
        found = table[table.str.count(r"\d") >= 2].drop_duplicates()
        texts += found.sample(min(700, len(found)), random_state=SEED).tolist()
    chosen = random.permutation(len(texts))[:QUESTIONS]
    changed = [renumbered(texts[i], random) for i in chosen]
    found = {view: nearest(a, b, 1)[0][:, 0] == chosen for view, (a, b) in views(model, work, "copies", texts, changed).items()}
    return {"index": len(texts), "questions": len(chosen), "found": {view: round(float(hit.mean()), 4) for view, hit in found.items()}}


def disguises(model: EdgeDemist, data: Path, work: Path) -> dict[str, Any]:
    """Disguised attacks among plain strings: the share whose nearest neighbour is its plain form, and one of its kind."""
    table = pd.concat([pd.read_parquet(data / "tasks" / "uri-attack" / f"{part}.parquet") for part in ("dev", "train")])
    table = table[~table["text"].str.contains(r"%[0-9a-fA-F]{2}") & table["text"].str.len().between(12, 120)].drop_duplicates("text")
    plain = table.head(PLAIN)
    attacks = np.flatnonzero((plain["label"] != "normal") & plain["text"].str.contains(r"\s"))
    attacks = np.random.default_rng(SEED).permutation(attacks)[:DISGUISED]
    texts, labels = plain["text"].to_numpy(), plain["label"].to_numpy()
    asked = [change(texts[i]) for change in DISGUISES.values() for i in attacks]
    made = views(model, work, "disguises", texts.tolist(), asked)
    made |= {f"{name}, {UNDONE}": pair for name, pair in without_disguise(model, texts.tolist(), asked).items()}
    result: dict[str, Any] = {"plain": len(texts), "attacks": len(attacks), "own": {}, "kind": {}}
    for view, (a, b) in made.items():
        rows = nearest(a, b, 1)[0][:, 0].reshape(len(DISGUISES), -1)
        result["own"][view] = dict(zip(DISGUISES, (rows == attacks).mean(1).round(4).tolist(), strict=True))
        result["kind"][view] = dict(zip(DISGUISES, (labels[rows] == labels[attacks]).mean(1).round(4).tolist(), strict=True))
        print(view, result["kind"][view], file=sys.stderr, flush=True)
    return result


def without_disguise(model: EdgeDemist, index: list[str], questions: list[str]) -> dict[str, tuple[Floats, Floats]]:
    """Vectors of ours and of n-grams where both sides are read with the normalizer that undoes disguises."""
    plain, asked = [undisguised(text) for text in index], [undisguised(text) for text in questions]
    ours = model.encode(index, normalizer=UNDONE), model.encode(questions, normalizer=UNDONE)
    return {"edge-demist": ours, "n-grams": ngram_vectors(plain, asked)}


def table(result: dict[str, Any]) -> str:
    """Nearest neighbours by kind and model, for documents."""
    names = ("edge-demist", "n-grams", "MiniLM")
    rows = [[f"same {name}", *(markdown.percent(entry["nearest"][view]) for view in names)] for name, entry in result["kinds"].items()]
    if "copies" in result:
        rows.append(["its own original, other numbers", *(markdown.percent(result["copies"]["found"][view]) for view in names)])
    if "disguises" in result:
        kinds = result["disguises"]["kind"]
        for text, end in (("attack of its kind, disguised", ""), (f"the same, all read with the normalizer `{UNDONE}`", f", {UNDONE}")):
            if f"edge-demist{end}" in kinds:
                rows.append([text, *(_mean(kinds.get(name + end)) for name in names)])
    return markdown.table(["nearest neighbour is of the", *names], rows)


def _mean(shares: dict[str, float] | None) -> str:
    return markdown.percent(float(np.mean(list(shares.values())))) if shares else "–"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.embedding_kinds", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/")
    p.add_argument("--work", type=Path, required=True, help="folder that keeps MiniLM's vectors")
    p.add_argument("--bundle", type=Path, default=None, help="bundle (default: the one in the package)")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    args.work.mkdir(parents=True, exist_ok=True)
    with EdgeDemist.load(args.bundle) as model:
        result: dict[str, Any] = {"bundle": {"id": model.bundle_id, "version": model.bundle.version}}
        for name, measure in (("kinds", agreement), ("copies", copies), ("disguises", disguises)):
            result[name] = measure(model, args.data, args.work)
            result_file.write(args.out, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
