"""Ordinary strings and fresh threats of DATA/ordinary and DATA/threats, cut into parts by registered domain.

``train`` rows are trained on, ``calibrate`` rows give thresholds, ``measure`` rows are scored: no registered domain is in two parts.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import tldextract
    from numpy.typing import NDArray

PARTS = ("train", "calibrate", "measure")
SHARES = {"ordinary": (50, 75), "threats": (60, 70), "tunnels": (0, 40)}
"""Of a hundred registered domains, how many come before ``calibrate`` and before ``measure``."""
UNVETTED = ("top-list-cloudflare-2023", "top-list-newcomers", "open-web")
"""Kinds that nobody vetted: some of their names are real threats."""
FROM_LISTS = ("https-everywhere", "hsts-preload", "first-party-metrics", "MISP warninglist public-dns-hostname")
"""Kinds and sources of curated names that were collected by program; the others were picked by people or vendors (``hand_picked``)."""
FILES = {
    "hostname-threat": ("hosts", "dns"),
    "dga": ("hosts", "dns"),
    "dns-tunnel": ("hosts", "dns"),
    "hostname-category": ("hosts", "dns"),
    "url-phishing": ("urls",),
    "uri-attack": ("targets",),
    "user-agent": ("user_agents",),
}
THREATS = {"hostname-threat": "hosts", "url-phishing": "urls", "uri-attack": "attacks", "dns-tunnel": "tunnels"}
_HOST = re.compile(r"^(?:[a-z][a-z0-9+.-]*://)?(?:[^/?#@]*@)?([^/?#:]*)", re.IGNORECASE)


@functools.cache
def _suffixes() -> tldextract.TLDExtract:
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # the list that comes with the package


def registered_domain(text: str) -> str:
    """Registered domain (ICANN part of the Public Suffix List) of a host name or an address; the text itself where there is none."""
    found = _HOST.match(text.strip())
    host = (found[1] if found else text).lower().rstrip(".")
    return _suffixes().extract_str(host).top_domain_under_public_suffix or host


def part_of(key: str, shares: tuple[int, int]) -> str:
    """Part of a registered domain (or another key), by hash."""
    place = int.from_bytes(hashlib.sha256(f"ordinary {key}".encode()).digest()[:4], "big") % 100
    return PARTS[(place >= shares[0]) + (place >= shares[1])]


def key_of(text: str) -> str:
    """What a row is split by: a registered domain, or of a request target its text without digits."""
    return re.sub(r"[0-9]+", "0", text)[:60] if text.startswith("/") else registered_domain(text)


def read_ordinary(data: Path, task: str) -> pd.DataFrame:
    """Ordinary strings of a task: columns text, kind, source, curated, hand_picked, part."""
    tables = []
    for name in FILES.get(task, ()):
        table = pd.read_parquet(data / "ordinary" / f"{name}.parquet")
        if name == "dns":
            table = table[(table["kind"] != "isp-prefix") | (task == "dns-tunnel")].assign(kind=lambda t: "dns: " + t["kind"])
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    table["curated"] = ~table["kind"].isin(UNVETTED)
    if "doubtful" in table:
        table["curated"] &= ~table["doubtful"].fillna(False).astype(bool)
    programs = table["kind"].isin(FROM_LISTS) | table["source"].isin(FROM_LISTS) | table["kind"].str.startswith("dns: ")
    table["hand_picked"] = table["curated"] & ~programs
    return _parts(table, "ordinary")[["text", "kind", "source", "curated", "hand_picked", "part"]]


def read_threats(data: Path, task: str) -> pd.DataFrame:
    """Fresh threats of a task: columns text, kind, source, list_date, part (train or measure)."""
    table = pd.read_parquet(data / "threats" / f"{THREATS[task]}.parquet")
    columns = ["text", "kind", "source", "list_date", "part", *(["tool"] if "tool" in table else [])]
    if task == "dns-tunnel":  # two tools below three domains, none of which trains: parted by name
        return _parts(table, "tunnels", str)[columns]
    return _parts(table, "threats")[columns]


def _parts(table: pd.DataFrame, which: str, key: Callable[[str], str] = key_of) -> pd.DataFrame:
    table = table.drop_duplicates("text").reset_index(drop=True)
    shares = SHARES[which]
    parts: NDArray[np.str_] = np.array([part_of(key(str(text)), shares) for text in table["text"]])
    return table.assign(part=parts)
