"""What each specialist trains on: its table, augmented and generated rows a round, and foreign strings."""

from __future__ import annotations

import argparse
import collections
import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from edge_demist.normalizers import NORMALIZERS
from tools.synth import (
    cmdline,
    cmdline_admin,
    cmdline_attack,
    cmdline_classic,
    cmdline_dev,
    dga,
    dns_legit,
    drop_known,
    evasion,
    everyday_hosts,
    everyday_kinds,
    filename,
    infrastructure,
    pages,
    service_names,
    tunnel,
    tunnel_reported,
    uri,
    uri_commands,
    uri_payloads,
    uri_server_side,
    user_agent,
    well_known,
    words,
)
from tools.train import ood, pools
from tools.train.data import TASKS, Rows, normalized, pack, read_table, sha256_file

GENERATED = {"dga": 6000, "dns-tunnel": 18_000, "uri-attack": 9600, "cmdline": 12_000, "url-phishing": 4000, "hostname-threat": 5000,
             "hostname-category": 6288, "filename": 6000, "user-agent": 8000}  # fmt: skip
"""Generated rows a round, of url-phishing half as many as its pages; of hostname-category: 393 services eight times bare, eight times
under some host."""

HOSTS = {"dga": 6000, "hostname-threat": 2000}
"""Names of the table under service labels a round, equally many of each class; the n-gram columns get them as well."""
LOCAL = 2000
"""Names of local networks a round, for the same tasks."""
MACHINES = 2500
"""Machines of networks and clouds a round for hostname-threat."""
POPULAR = 4000
"""Hosts of top lists a round for hostname-threat; 7,300 and more service labels cost .002 on dev, and spared one false alarm in five."""

EVERYDAY = {"hostname-threat": 5000, "dga": 12_000, "dns-tunnel": 3000}
"""Names a round that every network's resolver sees."""
KINDS = {"hostname-threat": 8000, "dga": 20_000, "dns-tunnel": 8000, "url-phishing": 16_000}
"""Names or addresses a round of the kinds of ``everyday_kinds``."""

NO_QUERY = 5000
"""Addresses a round of url-phishing whose long query is cut off."""
ZONES = 3000
"""Real domains a round below which dns-tunnel sees tunnels and ordinary hosts."""
SERVER_SIDE = 5000
"""Attacks on what runs behind a request and their harmless kin, a round of uri-attack."""
MARKED = 24_000
"""Ordinary strings with marks of attacks, and short attacks, a round of uri-attack."""
EVADED = 0.35
"""Share of the changed command lines that get a change of ``evasion`` as well."""
COMPANY, SHORT_LINE = 0.3, 40
"""Share of the changed command lines that stand beside a harmless one, which is shorter than so many characters."""
CLASSIC = 4000
"""Lines a round of cmdline that everybody tries first, and of administrators beside them."""
WINDOW = 192
"""Characters of a window over a long string (``edge_demist.text.windows``): changes that need more leave the payload to another window."""
Features = tuple[NDArray[np.float32], NDArray[np.float32]]


class Mixture:
    """Training rounds, dev rows, held-out families and foreign strings of one task."""

    def __init__(self, data: Path, task: str, labels: list[str], tokenizer: Any, args: argparse.Namespace) -> None:
        self.data, self.task, self.labels, self.tokenizer = data, TASKS[task], labels, tokenizer
        self.exclude_sources = args.exclude_source
        table = read_table(data, task, "train", args.exclude_source)
        self._dev = read_table(data, task, "dev")
        if args.limit:
            table = table.sample(min(args.limit, len(table)), random_state=0).reset_index(drop=True)
        held = table["family"].isin(args.hold_out) if "family" in table else pd.Series(False, index=table.index)
        self._held, self._table = table[held], table[~held].reset_index(drop=True)
        self.sources = (
            sorted(table["source"].unique()) if "source" in table else sorted(table.get("dataset", pd.Series(dtype=str)).unique())
        )
        self.hashes = {s: sha256_file(data / "tasks" / task / f"{s}.parquet") for s in ("train", "dev")}
        self._code = {label: i for i, label in enumerate(labels)}
        self.train_y = self._table["label"].map(self._code).to_numpy(np.int64)
        self._seed = args.seed
        self.all_groups = "classic" not in args.hold_out
        self._generated = GENERATED.get(task, 0) if args.generated < 0 else args.generated
        self.more, self._more_rows = self._read_more(args.more), args.more_rows
        self._pools = pools.of_task(data, self.task, labels, args) if getattr(args, "pools", 0) else None
        self._scale = getattr(args, "pools", 0)
        known = [*table["text"], *self._dev["text"]]
        self._known = {*known, *normalized(known, self.task.normalizer)}

    def rounds(self) -> Iterator[Rows]:
        """Training rows, round after round; the same object again where nothing is drawn anew."""
        if self.task.name not in _ROUNDS and not self.more:
            fixed = self.pack(*self.real())
            while True:
                yield fixed
        yield from map(self.round, itertools.count())

    def round(self, number: int) -> Rows:
        """Training rows of one round, packed."""
        return self.pack(*self.texts(number))

    def texts(self, number: int) -> tuple[list[str], list[str]]:
        """Texts and labels of one round: the table, changed and generated rows."""
        make = _ROUNDS.get(self.task.name)
        rng = random.Random(f"{self._seed} {self.task.name} {number}")
        texts, names = make(self, rng) if make else self.real()
        if self._pools is not None:
            more = pools.drawn(self._pools, self.task.name, 1000 * self._seed + number, self._scale)
            texts, names = texts + list(more["text"]), names + list(more["label"])
        return self.add(texts, names, rng.sample(self.more, min(self._more_rows, len(self.more))))

    def _read_more(self, path: Path | None) -> list[tuple[str, str, str]]:
        """Rows of a table beside the task's own."""
        if path is None:
            return []
        try:
            table = pd.read_parquet(path, columns=["text", "label", "source"])
        except (OSError, ValueError) as error:  # no such file, no Parquet, a column missing
            raise SystemExit(f"{path}: not a Parquet file with columns text, label, source: {error}") from None
        if unknown := sorted({*table["label"]} - {*self.labels}):
            raise SystemExit(f"{path}: label {unknown[0]!r} is none of {self.task.name}: {', '.join(self.labels)}")
        self.hashes["more"] = sha256_file(path)
        return list(table.itertuples(index=False, name=None))

    def dev(self) -> Rows:
        """The dev split."""
        return self.pack(list(self._dev["text"]), list(self._dev["label"]))

    def score_held_out(self, predict: Callable[[Rows], NDArray[np.int64]]) -> dict[str, float]:
        """Share of right answers on each family left out of training."""
        result = {}
        for family, rows in self._held.groupby("family") if len(self._held) else ():
            packed = self.pack(list(rows["text"]), list(rows["label"]))
            result[str(family)] = round(float((predict(packed) == packed.y).mean()), 4)
        return result

    def domain_features(self, features: Callable[[Rows], Features]) -> tuple[Features, Features, Features]:
        """Features of this task's rows, of more strings of its kind, and of foreign strings, for the OOD detector."""
        found = ood.texts(self.data, self.task, list(self._table["text"]), self._seed)
        own, kin, foreign = (features(self.pack(part)) for part in found)
        return own, kin, foreign

    def pack(self, texts: list[str], names: list[str] | None = None) -> Rows:
        """Texts, with labels or without, as the model reads them."""
        y = None if names is None else np.array([self._code.get(n, -1) for n in names], np.int64)
        return pack(normalized(texts, self.task.normalizer), self.tokenizer, self.task.max_tokens, y)

    def services(self, rng: random.Random, times: int) -> list[tuple[str, str, str]]:
        """Well-known services with their categories (``well_known.category_rows``) that the table does not hold."""
        rows = well_known.category_rows(rng, times)
        same = zip(rows, normalized([row[0] for row in rows], self.task.normalizer), strict=True)
        return [row for row, text in same if text not in self._known and row[1] in self._code]

    def real(self) -> tuple[list[str], list[str]]:
        """Texts and labels of the table."""
        return list(self._table["text"]), list(self._table["label"])

    def add(self, texts: list[str], names: list[str], rows: list[tuple[str, str, str]]) -> tuple[list[str], list[str]]:
        """Real rows and generated ones of known labels that contradict or repeat none of them, as written and as normalized."""
        rows = [row for row in rows if row[1] in self._code]
        same = zip(rows, normalized([r[0] for r in rows], self.task.normalizer), strict=True)
        kept = drop_known((row for row, text in same if text not in self._known), self._known)
        return texts + [r[0] for r in kept], names + [r[1] for r in kept]


def _dga_round(m: Mixture, rng: random.Random) -> tuple[list[str], list[str]]:
    texts, names = m.real()
    legit = [t for t, n in zip(texts, names, strict=True) if n == "legit"]
    vocabulary = words.derive_words(rng.sample(legit, min(8000, len(legit))))
    hosts = service_names.hosts(rng, list(zip(texts, names, strict=True)), HOSTS["dga"]) + [service_names.local(rng) for _ in range(LOCAL)]
    everyday = everyday_hosts.generate(rng, EVERYDAY["dga"]) + everyday_kinds.generate(rng, KINDS["dga"])
    return m.add(texts, names, dga.generate(rng, m._generated, words=vocabulary) + hosts + everyday)


def _phishing_round(m: Mixture, rng: random.Random) -> tuple[list[str], list[str]]:
    """Names of top lists as legit sites, which stand mostly inside phishing addresses in the table, and parts of pages on all its sites."""
    texts, names = m.real()
    table = read_table(m.data, "dga", "train", m.exclude_sources)
    popular = rng.sample(sorted(table.loc[table["label"] == "legit", "text"]), min(2 * m._generated, len(table) // 4))
    known = {host_of(t) for t in m._known}
    ends = [rng.choice(("", "/", well_known.path(rng), well_known.sign_in(rng), well_known.part(rng))) for _ in popular]
    rows = [(rng.choice(("", "www.")) + n + end, "legit", "popular") for n, end in zip(popular, ends, strict=True) if n not in known]
    some = rng.sample(list(zip(texts, names, strict=True)), min(m._generated, len(texts)))
    parts = [(host_of(t) + well_known.part(rng), n, "part") for t, n in some]
    everyday = everyday_kinds.generate(rng, KINDS["url-phishing"], "pages")
    everyday += [(bare, n, "no-query") for bare, n in _without_query(rng, m, [row[0] for row in everyday])]
    made = well_known.generate(rng, 2 * m._generated) + pages.generate(rng, 2 * m._generated)
    return m.add(texts, names, rows + parts + made + everyday)


def _without_query(rng: random.Random, m: Mixture, made: list[str]) -> list[tuple[str, str]]:
    """Ordinary addresses of which a sensor reads a window without the long query (``edge_demist.text.windows``)."""
    given = list(made)
    if (m.data / "ordinary").is_dir():
        given += list(pools.ordinary_rows(m.data, m.task.name, "legit")["text"])
    bare = sorted({re.split(r"[?#]", text)[0] for text in given if re.search(r"[?#].{40}", text)})
    return [(text, "legit") for text in rng.sample(bare, min(NO_QUERY, len(bare)))]


def _category_round(m: Mixture, rng: random.Random) -> tuple[list[str], list[str]]:
    """Well-known services, several times each: category lists hold few of them, lists of phishing many names that contain theirs."""
    texts, names = m.real()
    rows = m.services(rng, m._generated // (2 * len(well_known.categories())))
    return texts + [row[0] for row in rows], names + [row[1] for row in rows]


def _threat_round(m: Mixture, rng: random.Random) -> tuple[list[str], list[str]]:
    """Hosts of top lists as legit: in the table harmless names are bare domains, on a sensor hosts."""
    texts, names = m.real()
    hosts = service_names.hosts(rng, list(zip(texts, names, strict=True)), HOSTS["hostname-threat"])
    hosts += [service_names.local(rng) for _ in range(LOCAL)] + [well_known.host(rng) for _ in range(m._generated)]
    hosts += infrastructure.generate(rng, MACHINES) + everyday_hosts.generate(rng, EVERYDAY["hostname-threat"])
    hosts += everyday_kinds.generate(rng, KINDS["hostname-threat"])
    table = read_table(m.data, "dga", "train", m.exclude_sources)
    popular = table.loc[(table["label"] == "legit") & (table["text"].str.count(r"\.") > 1), "text"]
    return m.add(texts, names, [(n, "legit", "popular") for n in rng.sample(sorted(popular), min(POPULAR, len(popular)))] + hosts)


def host_of(address: str) -> str:
    """Host of an address without its ``www.``."""
    return address.rpartition("://")[2].partition("/")[0].lower().removeprefix("www.")


def _tunnel_round(m: Mixture, rng: random.Random) -> tuple[list[str], list[str]]:
    """Tunnels and ordinary hosts below the same zones: the table has no zones, and a model must not go by them."""
    texts, names = m.real()
    exclude = sorted(set(m._held["family"])) if len(m._held) else ()
    table = read_table(m.data, "dga", "train", m.exclude_sources)
    real = sorted(table.loc[(table["label"] == "legit") & (table["text"].str.count(r"\.") == 1), "text"])
    zones = rng.sample(real, min(ZONES, len(real))) + [words.domain(rng) for _ in range(ZONES // 3)]
    tunnels = tunnel.generate(rng, m._generated // 2, exclude=exclude, bases=zones, base_rate=0.75)
    hosts = service_names.below(rng, [tunnel.base_domain(rng, zones) for _ in range(m._generated // 6)])
    hosts += everyday_hosts.generate(rng, EVERYDAY["dns-tunnel"]) + everyday_kinds.generate(rng, KINDS["dns-tunnel"])
    legit = dns_legit.generate(rng, m._generated // 3)
    reported = [tool for tool in tunnel_reported.tools_of("train") if tool not in exclude]
    tunnels += tunnel_reported.generate(rng, m._generated // 4, tools=reported, bases=zones)
    tunnels += tunnel_reported.generate_composed(rng, m._generated // 4, bases=zones)
    return m.add(texts, names, tunnels + hosts + legit)


def _evaded(m: Mixture, rng: random.Random, text: str) -> str:
    """A text under one change of ``evasion``, where what is then read still fits one window."""
    found = evasion.changed(rng, m.task.name, text)
    return found if len(NORMALIZERS[m.task.normalizer](found)) <= WINDOW else text


def _changed_target(m: Mixture, rng: random.Random, text: str, name: str) -> str:
    """A row of uri-attack, augmented, in company, evaded, or as it is."""
    roll = rng.random()
    if roll < 0.25:
        return uri.augment(rng, text, name)
    if roll < 0.6:
        return evasion.company(rng, text) if text.startswith("/") else _evaded(m, rng, text)
    return text


def _uri_round(m: Mixture, rng: random.Random) -> tuple[list[str], list[str]]:
    """The table, a quarter augmented, of the rest a quarter under a change of ``evasion`` or among harmless parameters."""
    texts, names = m.real()
    changed = [_changed_target(m, rng, text, name) for text, name in zip(texts, names, strict=True)]
    short = uri_commands.generate(rng, m._generated * 3 // 4)  # each name some twice a round
    behind = uri_server_side.generate(rng, SERVER_SIDE)
    marks = uri_server_side.generate(rng, MARKED, uri_server_side.MARKS)
    return m.add(changed, names, uri_payloads.generate(rng, m._generated - len(short)) + short + behind + marks)


_WORD = re.compile(r"[a-z]{2,}|\d+")


class Near:
    """Finds the texts that share most of their words with one of a table, so that lists written by hand leave dev a fair sample."""

    def __init__(self, texts: Iterable[str], share: float = 0.5) -> None:
        self._share, self._sizes = share, []
        self._holders: dict[str, list[int]] = {}
        for number, text in enumerate(texts):
            found = self.words(text)
            self._sizes.append(len(found))
            for one in found:
                self._holders.setdefault(one, []).append(number)

    @staticmethod
    def words(text: str) -> set[str]:
        """Words and numbers of a text, in lower case."""
        return set(_WORD.findall(text.lower()))

    def __contains__(self, text: str) -> bool:
        found = self.words(text)
        common = collections.Counter(number for one in found for number in self._holders.get(one, ()))
        return any(count >= self._share * (len(found) + self._sizes[number] - count) for number, count in common.items())


def _changed_line(m: Mixture, rng: random.Random, text: str, company: list[str]) -> str:
    """A command line under a change of ``evasion``, beside a harmless one of the table, or as it is."""
    roll = rng.random()
    if roll < EVADED:
        return _evaded(m, rng, text)
    if roll < EVADED + COMPANY and len(text) < WINDOW - SHORT_LINE and company:
        join = rng.choice(("; ", " && ", " & "))
        first, last = rng.choice((True, False)), rng.choice((True, False))
        return f"{rng.choice(company) + join if first else ''}{text}{join + rng.choice(company) if last or not first else ''}"
    return text


def _cmdline_round(m: Mixture, rng: random.Random) -> tuple[list[str], list[str]]:
    """Generated lines are left out where dev has one much like them: some of the lists were written after a look at errors on dev.

    Those of ``cmdline_classic`` were not, and stay.
    """
    texts, names = m.real()
    platforms = list(m._table["platform"])
    changed = [cmdline.augment(rng, t, n, platform=p) for t, n, p in zip(texts, names, platforms, strict=True)]
    attacks = cmdline_attack.generate(rng, m._generated * 15 // 38)
    benign = cmdline_dev.generate(rng, m._generated * 15 // 38) + cmdline_admin.generate(rng, m._generated * 8 // 38)
    benign += cmdline_dev.background(rng, m._generated // 3)
    near = Near(m._dev["text"])
    short = [text for text, name in zip(texts, names, strict=True) if name == "benign" and len(text) < SHORT_LINE]
    changed = [_changed_line(m, rng, text, short) for text in changed]
    drawn = cmdline_classic.generate(rng, CLASSIC, all_groups=m.all_groups)
    classic = [(_changed_line(m, rng, text, short), name, group) for text, name, group in drawn]
    return m.add(texts + changed, names + names, [row for row in attacks + benign if row[0] not in near] + classic)


def _agent_round(m: Mixture, rng: random.Random) -> tuple[list[str], list[str]]:
    return m.add(*m.real(), user_agent.generate(rng, m._generated))


def _filename_round(m: Mixture, rng: random.Random) -> tuple[list[str], list[str]]:
    return m.add(*m.real(), filename.generate(rng, m._generated))


_ROUNDS: dict[str, Callable[[Mixture, random.Random], tuple[list[str], list[str]]]] = {
    "dga": _dga_round,
    "hostname-category": _category_round,
    "hostname-threat": _threat_round,
    "url-phishing": _phishing_round,
    "dns-tunnel": _tunnel_round,
    "uri-attack": _uri_round,
    "cmdline": _cmdline_round,
    "user-agent": _agent_round,
    "filename": _filename_round,
}
