"""The general vector as an embedding of every kind of string, beside character n-grams and stock all-MiniLM-L6-v2.

    python -m benchmarks.embedding_kinds --data DATA --work WORK       # writes benchmarks/results/embedding-kinds.json
    python -m benchmarks.embedding_kinds --data DATA --list FILE       # writes the strings looked at, for what must not learn from them

Share of questions whose nearest neighbour (cosine) is of the same family, technique, class or tool; whether the nearest neighbour of a
string with other numbers in it is the string itself; whether that of a disguised attack is its plain form, or of its kind; purity of
k-means with as many clusters as labels. n-grams: TF-IDF of 1 to 4 characters, 384 dimensions by SVD fitted on the index. All see the
same strings; WORK keeps MiniLM's vectors.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import markdown, result_file
from benchmarks.embeddings import clustering, minilm_vectors, nearest
from edge_demist import EdgeDemist
from edge_demist.normalizers import undisguised

Floats = NDArray[np.float32]
Measure = Callable[[EdgeDemist, Path, Path], dict[str, Any]]
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
"""What must agree: name, task or table, column, only rows of this label."""
FURTHER = (
    ("header class", "http-header", "label", ""),
    ("certificate class", "tls-certificate", "label", ""),
    ("sensitive file class", "filename-sensitivity", "label", ""),
    ("host category", "hostname-category", "label", ""),
    ("attack class, other sources", "threats/attacks", "kind", ""),
    ("agent software, other sources", "ordinary/user_agents", "software", ""),
)
"""Kinds that are measured without MiniLM, whose vectors take minutes."""
NO_VALUE = ("no-visible-payload", "---", "")

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
    """Vectors of index and questions by each model; MiniLM's of the first kinds alone."""
    found = {"edge-demist": (model.encode(index), model.encode(questions)), "n-grams": ngram_vectors(index, questions)}
    if name in OWN:
        return found
    keep = work / f"kinds-{name.replace(' ', '-')}.npy"
    stock = minilm_vectors([*index, *questions], keep, "identity")
    return found | {"MiniLM": (stock[: len(index)], stock[len(index) :])}


def rows_of(data: Path, task: str, column: str, only: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Index and questions; where a dev row's value is never in train (techniques are split by it), both are drawn from all rows.

    Tables of other sources have no parts: a quarter of their rows is asked about.
    """
    if "/" in task:
        table = pd.read_parquet(data / f"{task}.parquet").drop_duplicates("text")
        table = table[~table[column].isin(NO_VALUE)].sample(frac=1, random_state=SEED).head(INDEX + QUESTIONS)
        dev, train = table.iloc[: len(table) // 4], table.iloc[len(table) // 4 :]
        return train, dev[dev[column].isin(train[column])].head(QUESTIONS)
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
    for name, task, column, only in KINDS + FURTHER:
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


class Sample(NamedTuple):
    """Strings, what is asked about them, and the numbers of those that are meant."""

    texts: list[str]
    asked: list[str]
    meant: NDArray[np.int64]
    labels: NDArray[np.object_]


def copied(data: Path) -> Sample:
    """Strings of four kinds that hold digits, and some of them with other numbers."""
    random = np.random.default_rng(SEED)
    texts: list[str] = []
    for task in ("uri-attack", "user-agent", "cmdline", "hostname-category"):
        table = pd.read_parquet(data / "tasks" / task / "dev.parquet")["text"]
        found = table[table.str.count(r"\d") >= 2].drop_duplicates()
        texts += found.sample(min(700, len(found)), random_state=SEED).tolist()
    chosen = random.permutation(len(texts))[:QUESTIONS]
    return Sample(texts, [renumbered(texts[i], random) for i in chosen], chosen, np.array([], object))


def neighbours(data: Path) -> Sample:
    """Ordinary host names below domains that hold just one other host of them, and that other one."""
    hosts = pd.read_parquet(data / "ordinary" / "hosts.parquet")["text"].drop_duplicates()
    domain = hosts.str.extract(r"((?:[^.]+\.)(?:(?:com?|org|net|gov|ac|edu|ne|or|go)\.[^.]{2}|[^.]+))$")[0]
    table = pd.DataFrame({"text": hosts, "domain": domain})
    table = table[(table["text"] != domain) & ~table["text"].str.startswith("www.") & (domain.str.count(r"\.") < 3)]
    counts = table["domain"].value_counts()
    table = table[table["domain"].isin(counts[counts == 2].index)].sort_values(["domain", "text"])
    asked, texts = table["text"].tolist()[::2][:QUESTIONS], table["text"].tolist()[1::2][:INDEX]
    return Sample(texts, asked, np.arange(len(asked)), np.array([], object))


def readdressed(data: Path) -> Sample:
    """Lines of three kinds that hold addresses, and some of them with other ones."""
    random, name = np.random.default_rng(SEED), r"\b(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[a-z0-9-]+\.)+(?:com|net|org|io|ru|de|info))\b"
    texts: list[str] = []
    for task in ("cmdline", "http-header", "uri-attack"):
        table = pd.read_parquet(data / "tasks" / task / "dev.parquet")["text"]
        texts += [text for text in table.drop_duplicates().sample(frac=1, random_state=SEED) if re.search(name, text)][:700]

    def other(_: re.Match[str]) -> str:
        word, numbers = "".join(chr(97 + n) for n in random.integers(0, 26, 8)), random.integers(1, 250, 4)
        return ".".join(map(str, numbers)) if numbers[0] % 2 else f"{word}.example.net"

    chosen = random.permutation(len(texts))[:QUESTIONS]
    return Sample(texts, [re.sub(name, other, texts[i]) for i in chosen], chosen, np.array([], object))


SAMPLES: dict[str, Callable[[Path], Sample]] = {"copies": copied, "addresses": readdressed, "domains": neighbours}
"""Near copies: what is asked about, and the one string that is meant."""
OWN = {*(name for name, *_ in FURTHER), "addresses", "domains"}
"""Measured without MiniLM."""


def copies(model: EdgeDemist, data: Path, work: Path, name: str) -> dict[str, Any]:
    """Is the nearest neighbour of what was changed the string that is meant?"""
    texts, asked, meant, _ = SAMPLES[name](data)
    found = {view: nearest(a, b, 1)[0][:, 0] == meant for view, (a, b) in views(model, work, name, texts, asked).items()}
    result = {"index": len(texts), "questions": len(asked), "found": {view: round(float(hit.mean()), 4) for view, hit in found.items()}}
    print(name, result, file=sys.stderr, flush=True)
    return result


def disguised(data: Path) -> Sample:
    """Plain strings, and attacks among them under every disguise, one disguise after the other."""
    table = pd.concat([pd.read_parquet(data / "tasks" / "uri-attack" / f"{part}.parquet") for part in ("dev", "train")])
    table = table[~table["text"].str.contains(r"%[0-9a-fA-F]{2}") & table["text"].str.len().between(12, 120)].drop_duplicates("text")
    plain = table.head(PLAIN)
    attacks = np.flatnonzero((plain["label"] != "normal") & plain["text"].str.contains(r"\s"))
    attacks = np.random.default_rng(SEED).permutation(attacks)[:DISGUISED]
    texts = plain["text"].tolist()
    return Sample(texts, [change(texts[i]) for change in DISGUISES.values() for i in attacks], attacks, plain["label"].to_numpy())


def measured(data: Path) -> list[str]:
    """Every string that this measure looks at."""
    found = {text for sample in (disguised(data), *(make(data) for make in SAMPLES.values())) for text in (*sample.texts, *sample.asked)}
    for _, task, column, only in KINDS + FURTHER:
        found.update(*(rows["text"] for rows in rows_of(data, task, column, only)))
    return sorted(found)


def disguises(model: EdgeDemist, data: Path, work: Path) -> dict[str, Any]:
    """Disguised attacks among plain strings: the share whose nearest neighbour is its plain form, and one of its kind."""
    texts, asked, attacks, labels = disguised(data)
    made = views(model, work, "disguises", texts, asked)
    made |= {f"{name}, {UNDONE}": pair for name, pair in without_disguise(model, texts, asked).items()}
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


ORIGINALS = {
    "copies": "its own original, other numbers",
    "addresses": "its own original, other addresses",
    "domains": "the other host of its domain",
}


def table(result: dict[str, Any]) -> str:
    """Nearest neighbours by kind and model, for documents."""
    names = ("edge-demist", "n-grams", "MiniLM")
    rows = [[f"same {name}", *(_share(entry["nearest"], view) for view in names)] for name, entry in result["kinds"].items()]
    for name, text in ORIGINALS.items():
        if name in result:
            rows.append([text, *(_share(result[name]["found"], view) for view in names)])
    if "disguises" in result:
        kinds = result["disguises"]["kind"]
        for text, end in (("attack of its kind, disguised", ""), (f"the same, all read with the normalizer `{UNDONE}`", f", {UNDONE}")):
            if f"edge-demist{end}" in kinds:
                rows.append([text, *(_mean(kinds.get(name + end)) for name in names)])
    return markdown.table(["nearest neighbour is of the", *names], rows)


def _share(shares: dict[str, float], view: str) -> str:
    return markdown.percent(shares[view]) if view in shares else "–"


def _mean(shares: dict[str, float] | None) -> str:
    return markdown.percent(float(np.mean(list(shares.values())))) if shares else "–"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.embedding_kinds", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/")
    p.add_argument("--work", type=Path, help="folder that keeps MiniLM's vectors")
    p.add_argument("--list", type=Path, metavar="FILE", help="write the strings looked at as a JSON list, and measure nothing")
    p.add_argument("--bundle", type=Path, default=None, help="bundle (default: the one in the package)")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    if args.list:
        args.list.write_text(json.dumps(measured(args.data)), encoding="utf-8")
        return 0
    if args.work is None:
        p.error("give --work")
    args.work.mkdir(parents=True, exist_ok=True)
    with EdgeDemist.load(args.bundle) as model:
        result: dict[str, Any] = {"bundle": {"id": model.bundle_id, "version": model.bundle.version}}
        measures: dict[str, Measure] = {"kinds": agreement, "disguises": disguises}
        measures |= {name: partial(copies, name=name) for name in SAMPLES}
        for name, measure in measures.items():
            result[name] = measure(model, args.data, args.work)
            result_file.write(args.out, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
