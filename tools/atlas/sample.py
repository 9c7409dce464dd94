"""Strings of every kind that the atlas is made from, with labels where a task's training table gives one.

Strings of the dev tables, and host names below a registered domain of theirs, are left out: what the atlas is measured on is new to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SEED = 21


@dataclass(frozen=True)
class Source:
    """Rows of one table for one kind of string: ``rows`` of them, labelled by ``label`` (a column; empty: unlabelled)."""

    kind: str
    path: str
    rows: int
    label: str = ""


SOURCES = (
    Source("host", "tasks/hostname-category/train.parquet", 90_000, "label"),
    Source("host", "tasks/dga/train.parquet", 16_000, "label"),
    Source("host", "tasks/dns-tunnel/train.parquet", 10_000, "label"),
    Source("host", "corpus/hostname.parquet", 60_000),
    Source("host", "corpus/dns_query.parquet", 6_000),
    Source("request", "tasks/uri-attack/train.parquet", 40_000, "label"),
    Source("request", "corpus/uri.parquet", 40_000),
    Source("request", "corpus/payload.parquet", 10_000),
    Source("agent", "tasks/user-agent/train.parquet", 17_400, "label"),
    Source("agent", "corpus/user_agent.parquet", 8_000),
    Source("header", "tasks/http-header/train.parquet", 11_000, "label"),
    Source("file", "tasks/filename/train.parquet", 6_500, "label"),
    Source("file", "tasks/filename-sensitivity/train.parquet", 12_000, "label"),
    Source("file", "corpus/path.parquet", 15_000),
    Source("command", "tasks/cmdline/train.parquet", 11_000, "label"),
    Source("command", "corpus/cmdline.parquet", 15_000),
    Source("certificate", "tasks/tls-certificate/train.parquet", 9_500, "label"),
    Source("certificate", "corpus/cert.parquet", 1_500),
)


def left_out(data: Path) -> tuple[set[str], set[str]]:
    """Strings of every dev table, and registered domains of the host names' one."""
    texts: set[str] = set()
    domains: set[str] = set()
    for path in sorted(data.glob("tasks/*/dev.parquet")):
        table = pd.read_parquet(path)
        texts.update(table["text"])
        if "registered_domain" in table:
            domains.update(table["registered_domain"])
    return texts, domains


def below(name: str, domains: set[str]) -> bool:
    """Whether a host name is one of ``domains`` or ends in one."""
    labels = name.split(".")
    return any(".".join(labels[k:]) in domains for k in range(len(labels)))


def read_sample(data: Path, seed: int = SEED) -> pd.DataFrame:
    """Columns text, kind, label (empty where none), source; every text once, labelled rows first in line."""
    texts, domains = left_out(data)
    rng = np.random.default_rng(seed)
    parts: list[Any] = []
    for source in SOURCES:
        table = pd.read_parquet(data / source.path)
        take = np.sort(rng.permutation(len(table))[: 2 * source.rows])
        table = table.iloc[take]
        keep = [t not in texts and not (source.kind == "host" and below(t, domains)) for t in table["text"]]
        table = table[keep].drop_duplicates("text").head(source.rows)
        label = table[source.label] if source.label else ""
        parts.append(pd.DataFrame({"text": table["text"], "kind": source.kind, "label": label, "source": source.path}))
    return pd.concat(parts, ignore_index=True).drop_duplicates("text", ignore_index=True)
