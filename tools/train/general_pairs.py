"""What the projection of the general vector learns from: groups of one label, and pairs of strings that should be close.

Nothing of the dev tables, and nothing that a measure's list names, is among the rows. The changes below are not those of
``benchmarks.embedding_kinds``: digits there are drawn anew in place, and attacks are disguised whole; here numbers change their length,
and disguises touch parts of a string; addresses become names of other hosts, where the measure makes names up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tools.train.data import read_table

Change = Callable[[str, np.random.Generator], str]

GROUPS = (
    ("dga", "family", "dga", 12_000),
    ("cmdline", "technique", "malicious", 10_000),
    ("cmdline", "label", "", 10_000),
    ("user-agent", "label", "", 14_000),
    ("uri-attack", "label", "", 14_000),
    ("filename", "label", "", 10_000),
    ("filename-sensitivity", "label", "", 10_000),
    ("dns-tunnel", "family", "tunnel", 6_000),
    ("hostname-category", "label", "", 30_000),
    ("hostname-threat", "label", "", 12_000),
    ("url-phishing", "label", "", 12_000),
    ("http-header", "label", "", 9_000),
    ("tls-certificate", "label", "", 9_000),
)
"""Task, column whose values are the groups, only rows of this label, rows at most."""

OF_NUMBERS = {"uri": 9_000, "cmdline": 9_000, "user_agent": 9_000, "hostname": 5_000, "path": 9_000, "http_header": 5_000,
              "payload": 6_000, "dns_query": 5_000}  # fmt: skip
OF_WORDS = {"cmdline": 12_000, "uri": 8_000, "http_header": 5_000, "path": 6_000, "payload": 5_000}
OF_ADDRESSES = {"uri": 5_000, "cmdline": 5_000, "http_header": 5_000}
FILES = (
    r"exe|dll|bat|cmd|ps1|vbs|sh|py|pl|php|jsp|aspx?|js|css|html?|txt|log|xml|json|conf|cfg|ini|tmp|zip|gz|tar|png|jpg|gif|pdf|docx?|xlsx?"
)
ADDRESS = re.compile(
    r"(?:(?<=//)|(?<![\w./\\-]))"
    rf"(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}|(?:[a-zA-Z0-9-]+\.)+(?!(?:{FILES})\b)[a-zA-Z]{{2,12}})(?=[:/\s'\"]|$)"
)
"""Hosts and addresses where they stand in lines; a file's name is none."""
REGISTRANTS = 20_000
SHARED_ENDINGS = r"^(?:co|com|net|org|gov|ac|edu|gob|gouv|or|ne|go)\."

GREEK = str.maketrans("aeiouvxkptABEHIKMNOPTXYZ", "αειουνχκρτΑΒΕΗΙΚΜΝΟΡΤΧΥΖ")
ACCENTS = str.maketrans("aeioucnyAEIOU", "áéíóúçñýÁÉÍÓÚ")
BLANKS = ("+", "%20", "%09", "\n", "/*x*/", "/*!*/", "%0a")


class Group(NamedTuple):
    """Strings, and numbers of what they share."""

    name: str
    texts: list[str]
    of: np.ndarray


class Pairs(NamedTuple):
    """Strings, and for each one that should be its nearest."""

    name: str
    texts: list[str]
    others: list[str]


def other_numbers(text: str, random: np.random.Generator) -> str:
    """Every number with other digits, often one more or one less; long hexadecimal words with others."""

    def drawn(found: re.Match[str]) -> str:
        word = found.group()
        if not word.isdecimal():
            return "".join("0123456789abcdef"[random.integers(16)] for _ in word)
        return "".join(str(random.integers(10)) for _ in range(max(1, len(word) + int(random.integers(-1, 2)))))

    return re.sub(r"[0-9a-f]{8,}|[0-9]+", drawn, text)


def other_addresses(text: str, random: np.random.Generator, hosts: list[str]) -> str:
    """Every host by the name of another one, or by an address."""

    def drawn(_: re.Match[str]) -> str:
        if random.random() < 0.3:
            return ".".join(str(number) for number in random.integers(1, 255, 4))
        return hosts[int(random.integers(len(hosts)))]

    return ADDRESS.sub(drawn, text)


def some_words(text: str, random: np.random.Generator) -> str:
    """The string without about a third of its words."""
    words = re.findall(r"\w+\W*|\W+", text)
    kept = [word for word in words if random.random() < 0.67]
    return "".join(kept if len(kept) > 1 else words)


def _encoded(text: str, random: np.random.Generator, share: float, form: str, of: str = r".") -> str:
    def one(found: re.Match[str]) -> str:
        character = found.group()
        return form % ord(character) if ord(character) < 128 and random.random() < share else character

    return re.sub(of, one, text, flags=re.DOTALL)


DISGUISES: tuple[Change, ...] = (
    lambda t, r: _encoded(t, r, 0.5, "%%%02X"),
    lambda t, r: _encoded(t, r, 1.0, "%%%02x", r"\W"),
    lambda t, r: _encoded(t, r, 0.7, "%%25%02x", r"\W"),
    lambda t, r: _encoded(t, r, 0.6, "\\x%02x", r"[^\w\s]"),
    lambda t, r: _encoded(t, r, 1.0, "&#%d;", r"[^\w\s]"),
    lambda t, r: _encoded(t, r, 0.4, "\\u%04x"),
    lambda t, r: "".join(c.swapcase() if r.random() < 0.5 else c for c in t),
    lambda t, r: re.sub(r"\s+", lambda _: BLANKS[int(r.integers(len(BLANKS)))], t),
    lambda t, r: re.sub(r"[=(,;|&<>]", lambda m: f" {m.group()}{'  ' if r.random() < 0.5 else ' '}", t),
    lambda t, _: t.translate(GREEK),
    lambda t, _: t.translate(ACCENTS),
)


def disguised(text: str, random: np.random.Generator) -> str:
    """The string under one disguise."""
    return DISGUISES[int(random.integers(len(DISGUISES)))](text, random)


class Rows:
    """The rows that may be learnt from."""

    def __init__(self, data: Path, without: set[str], seed: int) -> None:
        self.data, self.seed = data, seed
        self.random = np.random.default_rng(seed)
        self.without = without.union(*(pd.read_parquet(table)["text"] for table in (data / "tasks").glob("*/dev.parquet")))

    def _free(self, table: pd.DataFrame, count: int) -> pd.DataFrame:
        table = table[~table["text"].isin(self.without)].drop_duplicates("text")
        return table.sample(min(count, len(table)), random_state=self.seed)

    def corpus(self, kind: str, count: int) -> list[str]:
        """Strings of a kind of the corpus, at most 2,000 characters each."""
        table = pd.read_parquet(self.data / "corpus" / f"{kind}.parquet")
        return [text[:2000] for text in self._free(table, count)["text"]]

    def groups(self) -> Iterator[Group]:
        """Rows of the tables' train parts by label."""
        for task, column, only, count in GROUPS:
            table = read_table(self.data, task, "train")
            table = table[(table["label"] == only) | (only == "")]
            if column == "technique":
                table = table[table[column].fillna("").str.match(r"T\d{4}")]
            table = self._free(table, count)
            yield Group(f"{task} {column}", table["text"].tolist(), pd.factorize(table[column])[0])

    def pairs(self) -> Iterator[Pairs]:
        """Strings and their changed forms; two hosts of one registrant."""
        for kind, count in OF_NUMBERS.items():
            found = [text for text in self.corpus(kind, 5 * count) if len(re.findall(r"\d", text)) > 1][:count]
            yield Pairs(f"{kind}, other numbers", found, [other_numbers(text, self.random) for text in found])
        for kind, count in OF_WORDS.items():
            found = [text for text in self.corpus(kind, 3 * count) if len(re.findall(r"\w+", text)) > 3][:count]
            yield Pairs(f"{kind}, some words", [some_words(t, self.random) for t in found], [some_words(t, self.random) for t in found])
        hosts = self.corpus("hostname", 20_000)
        for kind, count in OF_ADDRESSES.items():
            found = [text for text in self.corpus(kind, 20 * count) if ADDRESS.search(text)][:count]
            yield Pairs(f"{kind}, other addresses", found, [other_addresses(text, self.random, hosts) for text in found])
        attacks = read_table(self.data, "uri-attack", "train")
        shell = read_table(self.data, "cmdline", "train")
        for name, texts in (
            ("attacks", self._free(attacks[attacks["label"] != "normal"], 16_000)["text"].tolist()),
            ("command lines", self._free(shell, 8_000)["text"].tolist()),
            ("payloads", [text for text in self.corpus("payload", 9_000) if len(text) < 400]),
        ):
            yield Pairs(f"{name}, disguised", texts, [disguised(text, self.random) for text in texts])
        yield self.registrants()

    def registrants(self) -> Pairs:
        """Two hosts of one domain each."""
        hosts = pd.Series(self.corpus("hostname", 1_200_000))
        two, three = (hosts.str.extract(rf"((?:[^.]+\.){{{n}}}[^.]+)$")[0] for n in (1, 2))
        table = pd.DataFrame({"text": hosts, "domain": two.where(~two.str.match(SHARED_ENDINGS, na=False), three)}).dropna()
        table = table[table["text"] != table["domain"]]
        counts = table["domain"].value_counts()
        table = table[table["domain"].isin(counts[(counts > 1) & (counts <= 200)].index)].groupby("domain").head(2).sort_values("domain")
        return Pairs("hosts of one registrant", table["text"].tolist()[::2][:REGISTRANTS], table["text"].tolist()[1::2][:REGISTRANTS])
