"""Names of files by how sensitive they are, in a dozen languages: words of ``wordlists/sensitive_files.txt`` as people spell them.

Every label gets the same spellings, folders, dates and extensions that go with it, so that those tell little by themselves.
"""

from __future__ import annotations

import functools
import random

from tools.synth.templates import lines
from tools.synth.words import brand, person, word

Row = tuple[str, str, str]

FILE = "sensitive_files.txt"
_DOCUMENTS = ("pdf", "docx", "doc", "xlsx", "xls", "odt", "txt", "rtf", "md", "pptx", "csv")
_EXTENSIONS = {
    "customer-data": ("xlsx", "xls", "csv", "txt", "json", "xml", "accdb", "mdb", "ods", "vcf", "pdf"),
    "credentials-keys": ("txt", "xlsx", "docx", "kdbx", "pem", "key", "ppk", "pfx", "p12", "json", "csv", "jks", "", "asc", "md"),
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


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows, equally many of each label."""
    labels = sorted(names())
    rows = []
    for i in range(n):
        label = labels[i % len(labels)]
        languages = names()[label]
        name = rng.choice(rng.choice(languages) if rng.random() < 0.6 else languages[0])
        if label != "source-and-secrets-config":
            name = _around(rng, name)
        folder = rng.choice(_FOLDERS).format(p=person(rng), b=brand(rng), w=word(rng))
        extension = rng.choice(_EXTENSIONS.get(label, _DOCUMENTS))
        rows.append((folder + _spelt(rng, name) + ("." + extension if extension else ""), label, "wordlist"))
    return rows
