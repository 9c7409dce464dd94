"""A folder of data that holds rows of permitted sources alone, so that whatever reads it learns from no others.

    python -m tools.train.permitted_data --data DATA --out KEPT [--terms permissive share-alike own]

``edge_demist/assets/licences.csv`` says under which terms a source is; one that is not in it counts as unstated.  A row of a table is kept
where its source's terms are among those named.  Rows that repeat one of another task ("user-agent task") get the source of that row and
are judged by it; rows composed of strings whose source nobody recorded are left out.  A label with fewer than ``LEAST`` rows left is left
out too.  The corpus has no source column, so it is made anew of rows of the tables; nothing that measures is in it.  A task that has no
permitted rows of a label gets rows of fresh lists, category lists, ordinary strings or our own generators in their place (``REPLACED``).

KEPT/report.json counts the rows kept by task and label, and what was left out by source.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from edge_demist.format import licences
from tools.synth import dns_legit, tunnel
from tools.train import ordinary, pools
from tools.train.data import read_labels

TERMS = ("permissive", "share-alike", "own")
"""Terms under which a product may be sold that names its sources. ``own-text`` has to be read first, licence by licence."""
LEAST = 250
"""Rows of hostname-category with which a label is learnt; a label of fewer is left out."""
MOST = 15_000
"""Names of a category that its own table has at most; the lists behind it fill it up to so many."""
INDIRECT = re.compile(r"^composed:|real domains?$")
"""Sources of strings that were put together from others, of which nobody recorded whose they were."""
REPEATS = {"user-agent task": "user-agent", "filename task": "filename"}
"""Sources that are tables of other tasks."""
MALICIOUS, HARMLESS = 45_000, 60_000
"""Rows of the tables that stand in for hostname-threat's and url-phishing's, at most."""
TUNNELS = 9_000
"""Made tunnels, and half as many made ordinary names, of dns-tunnel's table."""
DEV = 8
"""Percent of the registered domains whose rows are dev where a table is replaced."""
KEYS = ("text", "label", "source")
CORPUS = {
    "hostname": (("hostname-category", None), ("hostname-threat", None), ("dga", "legit"), ("ordinary/hosts", None)),
    "dns_query": (("dns-tunnel", None), ("ordinary/dns", None)),
    "uri": (("url-phishing", None), ("uri-attack", "normal"), ("ordinary/urls", None), ("ordinary/targets", None)),
    "payload": (("uri-attack", "xss sqli path-traversal cmd-injection open-redirect"),),
    "user_agent": (("user-agent", None), ("ordinary/user_agents", None)),
    "cmdline": (("cmdline", None),),
    "http_header": (("http-header", None),),
    "path": (("filename", None), ("filename-sensitivity", None)),
    "cert": (("tls-certificate", None),),
}
"""What each kind of the corpus is made of: tables and the labels taken of them, ordinary strings that train."""


def permitted(name: str, terms: Sequence[str] = TERMS) -> bool:
    """Whether a source may be learnt from under these terms; one that is not in the table may not, nor strings put together of unknown."""
    return not INDIRECT.search(name) and licences.licence_of(name)[1] in terms


def all_permitted(names: str, terms: Sequence[str] = TERMS) -> bool:
    """Whether all sources of a name of the category lists may be learnt from."""
    return all(permitted(name, terms) for name in names.split("|"))


class Kept:
    """The rows of DATA that are permitted, and a count of what is left out."""

    def __init__(self, data: Path, terms: Sequence[str] = TERMS) -> None:
        self.data, self.terms = data, tuple(terms)
        self.left_out: dict[str, dict[str, int]] = {}

    def rows(self, name: str) -> pd.DataFrame:
        """Permitted rows of DATA/<name>.parquet."""
        table = pd.read_parquet(self.data / f"{name}.parquet")
        column = "source" if "source" in table else "dataset"
        table = table.assign(source=table[column].astype(str))
        for task in sorted({REPEATS[s] for s in table["source"].unique() if s in REPEATS}):
            table["source"] = self._traced(table, task)
        ok = {source: permitted(source, self.terms) for source in table["source"].unique()}
        mask = table["source"].map(ok).astype(bool)
        if (composed := table.get("origin")) is not None and name.startswith("tasks/tls-certificate"):
            mask &= composed != "composed"  # site names of other tables, whatever the source says of the issuer
        for source, count in table.loc[~mask, "source"].value_counts().items():
            self.left_out.setdefault(name, {})[str(source)] = int(count)
        return table[mask].reset_index(drop=True)

    def _traced(self, table: pd.DataFrame, task: str) -> pd.Series[str]:
        """Sources of a table's rows, those that repeat a row of ``task`` named by that row's."""
        both = pd.concat([pd.read_parquet(self.data / "tasks" / task / f"{part}.parquet") for part in ("train", "dev")])
        source_of = dict(zip(both["text"], both["source"], strict=True))

        def traced(text: str, source: str) -> str:
            if REPEATS.get(source) != task:
                return source
            parts = [text, *(line.partition(": ")[2] for line in text.split(" | "))]
            return next((str(source_of[part]) for part in parts if part in source_of), source)

        return pd.Series([traced(t, s) for t, s in zip(table["text"], table["source"], strict=True)], index=table.index, dtype=str)

    def labels(self) -> pd.DataFrame:
        """Permitted names of the category lists."""
        table = read_labels(self.data)
        ok = {names: all_permitted(names, self.terms) for names in table["sources"].unique()}
        mask = table["sources"].map(ok).astype(bool)
        for names, count in table.loc[~mask, "sources"].value_counts().items():
            self.left_out.setdefault("corpus/hostname-labels", {})[str(names)] = int(count)
        return table[mask].reset_index(drop=True)


def by_domain(rows: pd.DataFrame, share: int = DEV) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and dev of a table that replaces another, parted by registered domain."""
    texts = rows["text"].astype(str)
    dev = np.array([ordinary.part_of(ordinary.registered_domain(text), (100 - share, 100)) != "train" for text in texts], bool)
    return rows[~dev].reset_index(drop=True), rows[dev].reset_index(drop=True)


def _some(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    return rows.sample(min(count, len(rows)), random_state=1)


def _training(out: Path, task: str, label: str, threats: bool) -> pd.DataFrame:
    read = ordinary.read_threats if threats else ordinary.read_ordinary
    table = read(out, task)
    table = table[table["part"] == "train"] if threats else table[(table["part"] == "train") & table["curated"]]
    return pd.DataFrame({"text": table["text"].astype(str), "label": label, "source": table["source"].astype(str)})


def listed(labels: pd.DataFrame, label: str, malicious: bool) -> pd.DataFrame:
    """Names that every list calls malware or phishing, or none calls anything doubtful."""
    names = labels["labels"].str.split("|").map(set)
    chosen = names.map(lambda found: found <= set(pools.LISTED) if malicious else not found & set(pools.NOT_ORDINARY))
    some = labels[chosen.astype(bool)]
    return pd.DataFrame({"text": some["text"], "label": label, "source": some["sources"].str.partition("|")[0]})


def threat_table(out: Path, labels: pd.DataFrame, held: frozenset[str]) -> pd.DataFrame:
    """Hosts: fresh threats and listed ones, ordinary names and those of category lists; no domain that calibrates or measures."""
    rows = []
    for label, threat, count in (("malicious", True, MALICIOUS), ("legit", False, HARMLESS)):
        own, more = _training(out, "hostname-threat", label, threat), _some(listed(labels, label, threat), 2 * count)
        more = more[~more["text"].map(ordinary.registered_domain).isin(held)]
        rows += [own, _some(more, max(0, count - len(own)))]
    return pd.concat(rows).drop_duplicates("text").reset_index(drop=True)


def address_table(out: Path, hosts: pd.DataFrame, held: frozenset[str]) -> pd.DataFrame:
    """Addresses: fresh threats and ordinary ones, and first pages of ``hosts``, of which a third have no path."""
    rng = random.Random("addresses")
    fresh, plain = _training(out, "url-phishing", "malicious", True), _training(out, "url-phishing", "legit", False)
    hosts = hosts[~hosts["text"].map(ordinary.registered_domain).isin(held)]
    bare = pd.concat([_some(hosts[hosts["label"] == "malicious"], 30_000), _some(hosts[hosts["label"] == "legit"], 20_000)])
    bare = bare.assign(text=[text + rng.choice(("", "/", "/")) for text in bare["text"]])
    return pd.concat([fresh, plain, bare]).drop_duplicates("text").reset_index(drop=True)


def generated_names(out: Path, kept: pd.DataFrame, labels: pd.DataFrame, held: frozenset[str]) -> pd.DataFrame:
    """dga: the generated names that are permitted, and as many ordinary ones, two thirds of them cut to the registered domain."""
    rng = random.Random("ordinary names")
    made = kept[kept["label"] == "dga"]
    plain = pd.concat([_training(out, "dga", "legit", False), _some(listed(labels, "legit", False), len(made))])
    plain = plain[~plain["text"].map(ordinary.registered_domain).isin(held) & plain["text"].str.contains(".", regex=False)]
    plain = _some(plain, len(made))
    cut = [ordinary.registered_domain(text) if rng.random() < 0.65 else text for text in plain["text"]]
    plain = plain.assign(text=cut, family="", split_kind="seen_family")
    return pd.concat([made, plain]).drop_duplicates("text").reset_index(drop=True)


def tunnel_rows(count: int, seed: str) -> pd.DataFrame:
    """dns-tunnel: what our generators make, without zones, as the table's rows have none."""
    rng = random.Random(seed)
    rows = tunnel.generate(rng, count, base_rate=0.0) + dns_legit.generate(rng, count // 2, bare_rate=1.0)
    made = pd.DataFrame(rows, columns=["text", "label", "family"])
    return made.assign(source="generated:" + made["family"])


def filled(rows: pd.DataFrame, labels: pd.DataFrame, known: Iterable[str]) -> pd.DataFrame:
    """hostname-category: labels of ``LEAST`` rows or more, filled up to ``MOST`` by names of the lists that have one label alone."""
    more = labels[~labels["labels"].str.contains("|", regex=False) & ~labels["text"].isin({*rows["text"], *known})]
    more = pd.DataFrame({"text": more["text"], "label": more["labels"], "source": more["sources"].str.partition("|")[0]})
    more = more[more["label"].isin(rows["label"].unique())].sample(frac=1, random_state=1)
    have = rows["label"].value_counts()
    parts = [rows, *(part.head(max(0, MOST - have[str(label)])) for label, part in more.groupby("label"))]
    every = pd.concat(parts, ignore_index=True)
    counts = every["label"].value_counts()
    return every[every["label"].map(counts) >= LEAST].reset_index(drop=True)


class Writer:
    """Writes the folder."""

    def __init__(self, kept: Kept, out: Path) -> None:
        self.kept, self.out = kept, out
        self.report: dict[str, Any] = {"terms": list(kept.terms), "rows": {}, "labels_left_out": {}}

    def write(self, name: str, rows: pd.DataFrame) -> None:
        """One table."""
        path = self.out / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(path)
        counts = rows["label"].value_counts().to_dict() if "label" in rows else {}
        self.report["rows"][name] = {"rows": len(rows), **{str(k): int(v) for k, v in counts.items()}}

    def task(self, task: str, train: pd.DataFrame, dev: pd.DataFrame) -> None:
        """Both splits of a task; dev has the labels that train has, and nothing of DATA's dev trains."""
        whole = {part: pd.read_parquet(self.kept.data / "tasks" / task / f"{part}.parquet") for part in ("train", "dev")}
        train = train[~train["text"].isin(whole["dev"]["text"])].reset_index(drop=True)
        self.write(f"tasks/{task}/train", train)
        self.write(f"tasks/{task}/dev", dev[dev["label"].isin(train["label"].unique())].reset_index(drop=True))
        if gone := sorted({*whole["train"]["label"]} - {*train["label"]}):
            self.report["labels_left_out"][task] = gone

    def everything(self) -> None:
        """Strings beside the tables first, then the tables, then the corpus."""
        labels = self.kept.labels()
        self.write("corpus/hostname-labels", labels)
        for folder in ("ordinary", "threats"):
            for path in sorted((self.kept.data / folder).glob("*.parquet")):
                self.write(f"{folder}/{path.stem}", self.kept.rows(f"{folder}/{path.stem}"))
        held = pools.held_domains(self.kept.data, "hostname-threat") | pools.held_domains(self.kept.data, "url-phishing")
        hosts = threat_table(self.out, labels, held)
        for task in sorted(path.name for path in (self.kept.data / "tasks").iterdir() if path.is_dir()):
            self.task(task, *self.splits(task, labels, hosts, held))
        extra = "tasks/cmdline/extra-benign-life"
        if (self.kept.data / f"{extra}.parquet").is_file():
            self.write(extra, self.kept.rows(extra))
        for kind in CORPUS:
            self.write(f"corpus/{kind}", self.corpus(kind))
        self.report["left_out"] = self.kept.left_out
        (self.out / "report.json").write_text(json.dumps(self.report, indent=1) + "\n", encoding="utf-8")

    def splits(self, task: str, labels: pd.DataFrame, hosts: pd.DataFrame, held: frozenset[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Train and dev of a task, as permitted or in place of what is not."""
        train, dev = (self.kept.rows(f"tasks/{task}/{part}") for part in ("train", "dev"))
        if task == "hostname-threat":
            return by_domain(hosts)
        if task == "url-phishing":
            return by_domain(address_table(self.out, hosts, held))
        if task == "dga":
            names = generated_names(self.out, train, labels, held)
            plain, of_dev = by_domain(names[names["label"] == "legit"])
            return pd.concat([names[names["label"] == "dga"], plain]), pd.concat([dev[dev["label"] == "dga"], of_dev])
        if task == "dns-tunnel":
            return pd.concat([train, tunnel_rows(TUNNELS, "train")]), pd.concat([dev, tunnel_rows(TUNNELS // 8, "dev")])
        return (filled(train, labels, dev["text"]), dev) if task == "hostname-category" else (train, dev)

    def corpus(self, kind: str) -> pd.DataFrame:
        """One kind of the corpus."""
        parts: list[pd.DataFrame] = []
        for name, only in CORPUS[kind]:
            if name.startswith("ordinary/"):
                task = next(task for task, files in ordinary.FILES.items() if files[-1] == name[9:] or name[9:] in files)
                parts.append(_training(self.out, task, "", False))
            else:
                table = pd.read_parquet(self.out / "tasks" / name / "train.parquet")
                parts.append(table if only is None else table[table["label"].isin(only.split())])
        if kind == "hostname":
            labels = pd.read_parquet(self.out / "corpus" / "hostname-labels.parquet")
            parts.append(labels.assign(source=labels["sources"]))
        texts = pd.concat(parts)[["text", "source"]].drop_duplicates("text").sample(frac=1, random_state=1)
        return texts.assign(kind=kind).reset_index(drop=True)


def write(data: Path, out: Path, terms: Sequence[str] = TERMS) -> dict[str, Any]:
    """Write the folder; returns its report."""
    writer = Writer(Kept(data, terms), out)
    writer.everything()
    return writer.report


def main(argv: Sequence[str] | None = None) -> int:
    """Write the folder."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.permitted_data", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with corpus/, tasks/, ordinary/ and threats/")
    p.add_argument("--terms", nargs="+", default=list(TERMS), choices=sorted({terms for _, terms in licences.table().values()}))
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args(argv)
    report = write(args.data, args.out, args.terms)
    sys.stdout.write(json.dumps({"labels_left_out": report["labels_left_out"]}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
