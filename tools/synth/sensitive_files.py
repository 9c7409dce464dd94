# ruff: noqa: E501 - lists of values
"""Names of files by how sensitive they are, in a dozen languages: words of ``wordlists/sensitive_files.txt`` as people spell them.

Every label gets the same spellings, folders, dates and extensions that go with it, so that those tell little by themselves.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

from tools.synth.templates import fill, groups, lines
from tools.synth.words import brand, person, syllables, word

Row = tuple[str, str, str]

FILE = "sensitive_files.txt"
_DOCUMENTS = ("pdf", "docx", "doc", "xlsx", "xls", "odt", "txt", "rtf", "md", "pptx", "csv")
_EXTENSIONS = {
    "customer-data": ("xlsx", "xls", "csv", "txt", "json", "xml", "ods", "vcf", "pdf"),
    "credentials-keys": ("txt", "xlsx", "docx", "kdbx", "pem", "key", "ppk", "pfx", "p12", "csv", "jks", "", "asc", "md"),
    "backup-database": ("bak", "sql", "sql.gz", "zip", "tar.gz", "dump", "mdf", "bkf", "vhdx", "7z", "pst", "tgz", "db", "rar"),
    "source-and-secrets-config": ("py", "js", "ts", "java", "go", "yml", "yaml", "json", "xml", "conf", "ini", "tf", "", "sh"),
    "medical": (*_DOCUMENTS, "dcm", "xml", "jpg", "hl7"),
    "ordinary": (*_DOCUMENTS, "jpg", "png", "mp4", "mp3", "zip", "exe", "html", "gif", "svg", "epub", "ttf", "ics"),
}
_FOLDERS: tuple[str, ...] = (
    "",
    "",
    "",
    "",
    "C:\\Users\\{p}\\Desktop\\",
    "C:\\Users\\{p}\\Documents\\",
    "\\\\{b}\\share\\",
    "/home/{p}/",
    "/srv/{w}/",
)
_FOLDERS += ("H:\\{w}\\", "docs/", "{w}/", "/volume1/{w}/", "Downloads/", "{w}/{b}/")


_KEYS = (
    "key",
    "pem",
    "ppk",
    "pfx",
    "p12",
    "jks",
    "kdbx",
    "keystore",
    "cred",
    "pass",
    "psafe3",
    "keytab",
    "privkey.pem",
    "key.pem",
    "asc",
    "gpg",
    "kdb",
    "ovpn",
)
_COPIES = (
    ".bak",
    ".old",
    ".orig",
    "~",
    ".swp",
    ".swo",
    ".save",
    ".backup",
    ".bkp",
    ".sql",
    ".sqlite",
    ".db",
    ".mdb",
    ".sql.gz",
    ".dump",
    ".tar.gz.old",
    ".bak1",
)
_SOURCES = ("py", "js", "ts", "java", "go", "c", "h", "cpp", "cs", "php", "rb", "rs", "lua", "sh", "ps1", "pl", "aspx", "jsp", "yml", "yaml", "toml", "tf", "css", "swift",
            "kt", "vue", "scala", "sql.erb", "ini", "conf", "properties", "env", "bat")  # fmt: skip
_PLAIN = (
    "pdf",
    "docx",
    "txt",
    "md",
    "png",
    "jpg",
    "wav",
    "mp3",
    "log",
    "xlsx",
    "pptx",
    "html",
    "svg",
    "csv",
    "odt",
    "gif",
    "xls",
    "mp4",
    "epub",
    "rtf",
    "ods",
    "webp",
)
"""Endings that say what a file is whatever it is called: keys, copies, source code; and those that say nothing."""
_FORMS = ("amendment to {}", "first amendment to {}", "second amendment to {}", "form of {}", "amended and restated {}", "exhibit 10.{} - {}", "ex-10.{} {}", "{} waiver",
          "draft {}", "{} with {}", "{} by and between {} and {}", "amendment no. {} to {}", "letter regarding {}", "termination of {}", "{} signed", "renewal of {}")  # fmt: skip
"""What is written around the name of an agreement, employees' and others' alike."""
_PERIODS = ("{y}", "{y}Q{q}", "Q{q} {y}", "FY{y}", "{y}-{m:02}", "{y}-{y}", "dated-{y}-{m:02}-{d:02}", "{m:02}.{d:02}.{y}")
_REPORTS = (
    "10K",
    "10-K",
    "10Q",
    "10-Q",
    "8K",
    "8-K",
    "EARNINGS",
    "annual report",
    "earnings release",
    "balance sheet",
    "income statement",
    "20-F",
    "invoice",
    "statement",
)
_MARKS = ("final", "v2", "copy", "draft", "signed", "old")


@functools.cache
def names() -> dict[str, tuple[tuple[str, ...], ...]]:
    """Names by label, a tuple a language."""
    found: dict[str, list[tuple[str, ...]]] = {}
    label = ""
    for line in lines(FILE):
        if line.startswith("["):
            label = line.strip("[]")
        else:
            found.setdefault(label, []).append(tuple(line.split("|")))
    return {key: tuple(value) for key, value in found.items()}


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


def _date(rng: random.Random) -> str:
    year, month, day = rng.randint(2004, 2026), rng.randint(1, 12), rng.randint(1, 28)
    forms = (f"{year}", f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}", f"{year}{month:02}", f"Q{rng.randint(1, 4)} {year}")
    return rng.choice(forms)


def _around(rng: random.Random, name: str) -> str:
    """A name with what people write beside it."""
    roll = rng.random()
    if roll < 0.4:
        return name
    extra = rng.choice((_date(rng), person(rng), brand(rng), word(rng), str(rng.randrange(100)), *_MARKS))
    return f"{name} {extra}" if roll < 0.8 else f"{extra} {name}"


def _spelt(rng: random.Random, name: str) -> str:
    """Blanks and case as people or programs write them."""
    style = rng.randrange(7)
    words = name.split(" ")
    if style < 2:
        return name
    if style == 2:
        return "".join(w[:1].upper() + w[1:] for w in words)
    if style == 3:
        return name.upper()
    return rng.choice(("_", "-", ".", "")).join(words) if style < 6 else name.title()


def _any_name(rng: random.Random) -> str:
    """A name that says nothing: of any label, or a few words."""
    roll = rng.random()
    if roll < 0.35:
        return rng.choice(rng.choice(names()[rng.choice(sorted(names()))]))
    words = [rng.choice((word, word, lambda r: syllables(r, r.randint(1, 3)), brand))(rng) for _ in range(rng.randint(1, 4))]
    return " ".join([*words, *([str(rng.randrange(3000))] if rng.random() < 0.25 else [])])


def _agreement(rng: random.Random, name: str) -> str:
    """The name of an agreement or plan within what lawyers write around it."""
    form = rng.choice(_FORMS)
    others = [rng.choice((brand(rng), person(rng), f"{brand(rng)} inc")) for _ in range(2)]
    if form.startswith(("ex", "amendment no")):
        return form.format(rng.randint(1, 40), name)
    return form.format(*([name, *others][: form.count("{}")]))


def _period(rng: random.Random) -> str:
    return rng.choice(_PERIODS).format(y=rng.randint(1998, 2026), q=rng.randint(1, 4), m=rng.randint(1, 12), d=rng.randint(1, 28))


def _report(rng: random.Random) -> str:
    """A company's report of a period."""
    period = _period(rng)
    company = rng.choice((brand(rng), f"{word(rng)}{word(rng)}", f"{word(rng)} {brand(rng)}")).upper()
    return rng.choice((f"{company} {period} {{}}", f"{company} {{}} {period}", f"{{}} {company} {period}")).format(rng.choice(_REPORTS))


_BY_ENDING = {"credentials-keys": (0.25, tuple("." + key for key in _KEYS)), "backup-database": (0.45, _COPIES),
              "source-and-secrets-config": (0.5, tuple("." + source for source in _SOURCES)), "ordinary": (0.6, tuple("." + plain for plain in _PLAIN))}  # fmt: skip
"""Share of a label's rows that are told by their ending alone, and the endings; of the ordinary ones, by words alone."""


def _named(rng: random.Random, label: str) -> tuple[str, str]:
    """A name and its ending."""
    share, endings = _BY_ENDING.get(label, (0.0, ()))
    if rng.random() < share:
        name = _any_name(rng)
        while label == "ordinary" and any(name in language for key in names() if key != label for language in names()[key]):
            name = _any_name(rng)
        if rng.random() < 0.3:
            name = rng.choice((f"{name} {_period(rng)}", f"{_period(rng)} {name}", name.upper()))
        copied = label == "backup-database" and rng.random() < 0.6
        return name + (f".{rng.choice(_SOURCES)}" if copied else ""), rng.choice(endings)
    languages = names()[label]
    name = rng.choice(rng.choice(languages) if rng.random() < 0.6 else languages[0])
    if label in ("personal-hr", "legal-contract") and name in languages[0] and rng.random() < 0.5:
        name = _agreement(rng, name)
    elif label == "financial" and rng.random() < 0.25:
        name = _report(rng)
    elif label != "source-and-secrets-config":
        name = _around(rng, name)
    extension = rng.choice(_EXTENSIONS.get(label, _DOCUMENTS))
    return name, "." + extension if extension else ""


WHOLE = "whole_names.txt"
_TITLES = (
    "underwriting agreement", "placement agent agreement", "lock-up agreement", "support agreement", "voting agreement", "stockholders agreement", "investor rights agreement", "subscription agreement",
    "securities purchase agreement", "convertible promissory note", "promissory note", "common stock purchase warrant", "revolving credit agreement", "credit and security agreement", "term loan agreement",
    "amended and restated credit agreement", "intercreditor agreement", "subordination agreement", "forbearance agreement", "participation agreement", "reinsurance agreement", "royalty agreement",
    "exploration agreement", "farmout agreement", "joint operating agreement", "gas purchase agreement", "power purchase agreement", "interconnection agreement", "management services agreement",
    "investment advisory agreement", "sub-advisory agreement", "administration agreement", "custodian agreement", "transfer agency agreement", "fund accounting agreement", "trust agreement", "declaration of trust",
    "pooling and servicing agreement", "mortgage loan purchase agreement", "servicing agreement", "isda master agreement", "master repurchase agreement", "exchange agreement", "contribution agreement",
    "separation and distribution agreement", "transition services agreement", "tax sharing agreement", "tax matters agreement", "agreement and plan of merger", "plan of reorganization", "option agreement",
    "right of first refusal agreement", "property management agreement", "ground lease", "office lease", "lease", "sublease agreement", "purchase and sale agreement", "bill of sale", "quitclaim deed", "easement agreement",
    "license and services agreement", "clinical trial agreement", "research agreement", "material transfer agreement", "quality agreement", "content license agreement", "web hosting agreement", "linking agreement",
    "strategic alliance agreement", "cooperation agreement", "teaming agreement", "consortium agreement", "memorandum of agreement", "letter agreement", "side letter", "engagement letter", "settlement agreement and release",
    "consent decree", "stipulation", "supplemental indenture", "guaranty agreement", "stock pledge agreement", "waiver and consent", "assignment and assumption agreement", "escrow agreement", "rights agreement",
    "limited partnership agreement", "limited liability company agreement", "certificate of designation", "co-promotion agreement", "commercial supply agreement", "purchase order", "franchise disclosure", "dealer agreement",
)  # fmt: skip
"""Titles of contracts as they are filed with companies' reports."""
_EMPLOYMENT = (
    "employment agreement", "executive employment agreement", "amended and restated employment agreement", "letter of employment", "offer letter", "change in control agreement", "change of control severance agreement",
    "severance agreement", "severance plan", "executive severance plan", "separation agreement and release", "separation agreement", "retention agreement", "retention bonus agreement", "restricted stock unit award agreement",
    "restricted stock award agreement", "stock option award agreement", "nonqualified stock option agreement", "performance share award agreement", "deferred compensation plan", "supplemental executive retirement plan",
    "equity incentive plan", "long-term incentive plan", "annual incentive plan", "cash bonus plan", "employee stock purchase plan", "management incentive plan", "director compensation policy", "employee non-competition agreement",
    "employee confidentiality agreement", "employee invention assignment agreement", "secondment agreement", "executive transition agreement", "salary continuation agreement", "split dollar life insurance agreement",
    "amendment to employment agreement", "first amendment to employment agreement", "employment agreement amendment", "employment contract", "key employee agreement", "executive agreement",
)  # fmt: skip
"""Titles of agreements with employees and of their plans."""
_SLOTS: dict[str, Callable[[random.Random], str]] = {
    "w": lambda rng: rng.choice((word, brand, lambda r: f"{word(r)}{rng.choice('_- .')}{word(r)}"))(rng),
    "v": word,
    "b": lambda rng: rng.choice(
        (
            brand(rng).title(),
            f"{brand(rng)}{word(rng)}".title(),
            f"{brand(rng).title()} {rng.choice(('Inc', 'Labs', 'Corp', 'Ltd', 'Finance', 'Network'))}",
        )
    ),
    "t": lambda rng: rng.choice((str, str.title, str.upper))(rng.choice(_TITLES)),
    "h": lambda rng: rng.choice((str, str.title, str.upper))(rng.choice(_EMPLOYMENT)),
    "p": person,
    "first": lambda rng: person(rng).split()[0].lower(),
    "y": lambda rng: str(rng.randint(1998, 2026)),
    "W": lambda rng: word(rng).title(),
    "n": lambda rng: str(rng.randrange(10)),
    **{f"n{k}": functools.partial(_digits, count=k) for k in (1, 2, 3, 4, 8)},
    "x8": lambda rng: f"{rng.getrandbits(32):08x}",
}
WHOLE_SHARES = {
    "credentials-keys": 0.35,
    "source-and-secrets-config": 0.35,
    "backup-database": 0.35,
    "security-internal": 0.35,
    "legal-contract": 0.25,
    "personal-hr": 0.25,
}
"""Share of a label's rows that are told as a whole."""


def whole(rng: random.Random, label: str) -> str:
    """A name of a template of a label in ``wordlists/whole_names.txt``."""
    texts, weights = groups(WHOLE)[label]
    return fill(rng, rng.choices(texts, weights)[0], _SLOTS)


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows, equally many of each label."""
    labels = sorted(names())
    rows = []
    for i in range(n):
        label = labels[i % len(labels)]
        folder = rng.choice(_FOLDERS).format(p=person(rng), b=brand(rng), w=word(rng))
        if rng.random() < WHOLE_SHARES.get(label, 0.0):
            rows.append((folder + whole(rng, label), label, "wordlist"))
            continue
        name, ending = _named(rng, label)
        rows.append((folder + _spelt(rng, name) + ending, label, "wordlist"))
    return rows
