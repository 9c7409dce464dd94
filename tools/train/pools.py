"""Rows beside a task's table for training at low false-positive rates: ordinary strings, listed threats, names of category lists.

Only rows of the part ``train`` (``tools.train.ordinary``) and nothing whose registered domain is in another part is used.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
from pathlib import Path

import pandas as pd

from tools.train import ordinary
from tools.train.data import Task, read_labels, read_table

LISTED = ("malware", "phishing")
NOT_ORDINARY = (*LISTED, "adult", "gambling", "url-shortener", "vpn-proxy", "ads-tracker", "crypto", "download-filesharing")
"""Categories whose names are no negatives: lists of threats hold many of them."""


@dataclasses.dataclass(frozen=True)
class Share:
    """How many rows of an origin a round takes; 0: all."""

    origin: str
    rows: int


SHARES = {
    "hostname-threat": (
        Share("threats", 0), Share("threats", 0), Share("listed", 8000), Share("picked", 0), Share("ordinary", 0),
        Share("unvetted", 20_000), Share("categories", 40_000),
    ),
    "dga": (
        Share("picked", 0), Share("picked", 0), Share("ordinary", 40_000), Share("unvetted", 12_000), Share("categories", 20_000),
    ),
    "dns-tunnel": (Share("picked", 5000), Share("ordinary", 16_000), Share("unvetted", 3000), Share("isp", 0)),
    "url-phishing": (
        Share("threats", 0), Share("picked", 0), Share("ordinary", 0), Share("unvetted", 0), Share("bare-listed", 10_000),
        Share("bare-ordinary", 15_000),
    ),
}  # fmt: skip


def half_of(text: str) -> int:
    """0 or 1, by hash: which half of all rows a text is in."""
    return hashlib.sha256(f"half {text}".encode("utf-8", "surrogatepass")).digest()[0] & 1


@functools.lru_cache(maxsize=4)
def held_domains(data: Path, task: str) -> frozenset[str]:
    """Registered domains of strings that calibrate or measure."""
    tables = [ordinary.read_ordinary(data, task)]
    if task in ordinary.THREATS:
        tables.append(ordinary.read_threats(data, task))
    return frozenset(ordinary.registered_domain(t) for table in tables for t in table.loc[table["part"] != "train", "text"].astype(str))


def ordinary_rows(data: Path, task: str, label: str) -> pd.DataFrame:
    """Ordinary strings that train; origins picked (by hand), ordinary, unvetted, isp."""
    table = ordinary.read_ordinary(data, task)
    table = table[table["part"] == "train"]
    origin = table["curated"].map({True: "ordinary", False: "unvetted"}).mask(table["kind"] == "dns: isp-prefix", "isp")
    origin = origin.mask((origin == "ordinary") & table["hand_picked"], "picked")
    return pd.DataFrame({"text": table["text"].astype(str), "label": label, "origin": origin})


def threat_rows(data: Path, task: str, label: str) -> pd.DataFrame:
    """Fresh threats that train."""
    table = ordinary.read_threats(data, task)
    return pd.DataFrame({"text": table.loc[table["part"] == "train", "text"].astype(str), "label": label, "origin": "threats"})


def label_rows(data: Path, positive: str | None, negative: str, exclude: tuple[str, ...] = ()) -> pd.DataFrame:
    """Names of category lists: ``listed`` where every list calls a name malware or phishing, ``categories`` where none is in doubt."""
    table = read_labels(data, exclude)
    names = table["labels"].str.split("|")
    listed = names.map(lambda found: set(found) <= set(LISTED))
    plain = names.map(lambda found: not set(found) & set(NOT_ORDINARY))
    parts = [pd.DataFrame({"text": table.loc[plain, "text"], "label": negative, "origin": "categories"})]
    if positive is not None:
        parts.append(pd.DataFrame({"text": table.loc[listed, "text"], "label": positive, "origin": "listed"}))
    return pd.concat(parts, ignore_index=True)


def read(data: Path, task: str, positive: str, negative: str, exclude: tuple[str, ...] = ()) -> pd.DataFrame:
    """All rows of a task's pools, none of a held registered domain, none of dev; kept as DATA/pools/<task>.parquet where that folder is."""
    kept_file = data / "pools" / f"{task}.parquet"
    if kept_file.is_file() and not exclude:
        return pd.read_parquet(kept_file)
    parts = [ordinary_rows(data, task, negative)]
    if task in ("hostname-threat", "url-phishing"):
        parts.append(threat_rows(data, task, positive))
    if task != "dns-tunnel":
        hosts = label_rows(data, positive if task != "dga" else None, negative, exclude)
        if task == "url-phishing":
            hosts = bare(data, hosts, positive, negative)
        parts.append(hosts)
    rows = pd.concat(parts, ignore_index=True).drop_duplicates("text")
    known = {*read_table(data, task, "dev")["text"]}
    held = held_domains(data, task)
    own = rows["origin"].isin(("picked", "ordinary", "unvetted", "isp", "threats"))
    keep = own | ~rows["text"].map(lambda text: ordinary.registered_domain(text) in held)
    rows = rows[keep & ~rows["text"].isin(known)].sample(frac=1, random_state=1).reset_index(drop=True)
    if kept_file.parent.is_dir() and not exclude:
        rows.to_parquet(kept_file)
    return rows


def bare(data: Path, hosts: pd.DataFrame, positive: str, negative: str) -> pd.DataFrame:
    """First pages of hosts: listed ones and fresh threats, ordinary ones and those of category lists."""
    fresh = threat_rows(data, "hostname-threat", positive).assign(origin="bare-listed")
    names = ordinary_rows(data, "hostname-threat", negative)
    names = names[names["origin"].isin(("picked", "ordinary"))].assign(origin="bare-ordinary")
    hosts = hosts.sample(frac=0.4, random_state=1)
    hosts = hosts.assign(origin=hosts["origin"].map({"listed": "bare-listed", "categories": "bare-ordinary"}))
    return pd.concat([fresh, names, hosts], ignore_index=True)


def drawn(rows: pd.DataFrame, task: str, seed: int, scale: float = 1.0) -> pd.DataFrame:
    """The rows of one round; ``scale`` times as many of the origins that are not taken whole."""
    parts = []
    for share in SHARES[task]:
        some = rows[rows["origin"] == share.origin]
        count = int(share.rows * scale)
        parts.append(some.sample(count, random_state=seed) if 0 < count < len(some) else some)
    return pd.concat(parts, ignore_index=True)


def of_task(data: Path, task: Task, labels: list[str], args: argparse.Namespace) -> pd.DataFrame | None:
    """The pools of a task that has some, where DATA has ordinary strings."""
    if task.name not in SHARES or not (data / "ordinary").is_dir():
        return None
    negative = next(label for label in labels if label not in task.positive_labels)
    return read(data, task.name, task.positive_labels[0], negative, tuple(args.exclude_source))
