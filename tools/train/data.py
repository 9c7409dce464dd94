"""Training data: task tables and corpus kinds, normalized as served, packed as tokens and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import sentencepiece

from edge_demist.normalizers import to_bytes
from edge_demist.train.rows import Rows, Task, Tokenizes, batches, in_order, normalized, pack, sha256_file, width_of

__all__ = [
    "CORPUS_KINDS",
    "TASKS",
    "Rows",
    "Task",
    "Tokenizes",
    "batches",
    "in_order",
    "load_tokenizer",
    "normalized",
    "pack",
    "read_labels",
    "read_table",
    "sha256_file",
    "width_of",
]

CORPUS_KINDS = ("hostname", "uri", "dns_query", "cmdline", "http_header", "path", "payload", "user_agent", "cert")
TASKS = {
    t.name: t
    for t in (
        Task("hostname-category", "owner", "category", 64),
        Task("hostname-threat", "registrant", "alarm", 64, ("malicious",)),
        Task("dga", "registrant", "alarm", 64, ("dga",)),
        Task("url-phishing", "address", "alarm", 128, ("malicious",)),
        Task("dns-tunnel", "hostname", "alarm", 128, ("tunnel",)),
        Task("uri-attack", "request", "alarm", 128, ("xss", "path-traversal", "sqli", "cmd-injection", "open-redirect")),
        Task("user-agent", "identity", "category", 128),
        Task("cmdline", "cased_command", "alarm", 128, ("malicious",)),
        Task("filename", "identity", "category", 64),
    )
}


class _AnyText(sentencepiece.SentencePieceProcessor):
    """SentencePiece takes no text with bytes that are no UTF-8, which some normalizers leave; bytes it takes, and reads as served."""

    def encode(self, texts: list[str], *, num_threads: int = 1) -> list[list[int]]:  # type: ignore[override]  # all that packing calls
        """Ids of each text."""
        found: list[list[int]] = super().encode([to_bytes(text) for text in texts], num_threads=num_threads)
        return found


def load_tokenizer(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Open a SentencePiece model file."""
    return _AnyText(model_file=str(path))


def read_table(folder: Path, task: str, split: str, exclude_sources: Sequence[str] = ()) -> pd.DataFrame:
    """Read ``tasks/<task>/<split>.parquet``; rows of excluded sources are dropped."""
    table = pd.read_parquet(folder / "tasks" / task / f"{split}.parquet")
    if exclude_sources and "source" in table:
        table = table[~table["source"].isin(exclude_sources)]
    return table.reset_index(drop=True)


def read_labels(folder: Path, exclude_sources: Sequence[str] = ()) -> pd.DataFrame:
    """Read ``corpus/hostname-labels.parquet``; names that an excluded source labels, alone or with others, are dropped."""
    table = pd.read_parquet(folder / "corpus" / "hostname-labels.parquet")
    if exclude_sources:
        table = table[[not set(s.split("|")) & set(exclude_sources) for s in table["sources"]]]
    return table.reset_index(drop=True)
