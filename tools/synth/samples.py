"""Write edge_demist/assets/strings.jsonl: self-made sample strings of every kind, for ``bench``, ``doctor`` and demonstrations.

    python -m tools.synth.samples

Nothing comes from a data set: host names are composed from a word list made for this project and from the names of
long-standing public projects; the other kinds come from ``tools.synth`` and from templates below. Attack strings
are inert patterns. The file is CC0.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from tools.synth import GENERATORS

OUT = Path(__file__).resolve().parents[2] / "edge_demist" / "assets" / "strings.jsonl"
WORDS = Path(__file__).parent / "wordlists" / "words.txt"

PUBLIC = [
    "kernel.org",
    "www.kernel.org",
    "git.kernel.org",
    "debian.org",
    "deb.debian.org",
    "security.debian.org",
    "packages.debian.org",
    "python.org",
    "docs.python.org",
    "pypi.org",
    "files.pythonhosted.org",
    "numpy.org",
    "zeek.org",
    "docs.zeek.org",
    "suricata.io",
    "rules.emergingthreats.net",
    "ietf.org",
    "datatracker.ietf.org",
    "www.rfc-editor.org",
    "iana.org",
    "example.com",
    "www.example.org",
    "w3.org",
    "unicode.org",
    "gnu.org",
    "ftp.gnu.org",
    "apache.org",
    "downloads.apache.org",
    "nginx.org",
    "sqlite.org",
    "postgresql.org",
    "mariadb.org",
    "archive.org",
    "web.archive.org",
    "wikipedia.org",
    "en.wikipedia.org",
    "de.m.wikipedia.org",
    "commons.wikimedia.org",
    "upload.wikimedia.org",
    "openstreetmap.org",
    "tile.openstreetmap.org",
    "letsencrypt.org",
    "r3.o.lencr.org",
    "acme-v02.api.letsencrypt.org",
    "mozilla.org",
    "addons.mozilla.org",
    "detectportal.firefox.com",
    "ubuntu.com",
    "archive.ubuntu.com",
    "raspberrypi.com",
    "archive.raspberrypi.com",
    "pool.ntp.org",
    "2.de.pool.ntp.org",
    "time.nist.gov",
    "nasa.gov",
    "noaa.gov",
    "api.weather.gov",
    "europa.eu",
    "data.europa.eu",
    "cern.ch",
    "home.cern",
    "mit.edu",
    "cs.stanford.edu",
    "ox.ac.uk",
    "ethz.ch",
    "kit.edu",
]
TOPICS = [
    "bank",
    "pay",
    "shop",
    "store",
    "travel",
    "hotel",
    "flights",
    "news",
    "sport",
    "poker",
    "casino",
    "bets",
    "games",
    "play",
    "chat",
    "forum",
    "mail",
    "webmail",
    "video",
    "stream",
    "tv",
    "radio",
    "health",
    "clinic",
    "pharma",
    "jobs",
    "career",
    "school",
    "college",
    "church",
    "motor",
    "parts",
    "auto",
    "crypto",
    "coin",
    "wallet",
    "loan",
    "vpn",
    "proxy",
    "cdn",
    "tracker",
    "ads",
    "metrics",
    "pixel",
    "login",
    "secure",
    "account",
    "update",
    "support",
    "cloud",
    "files",
    "share",
    "upload",
    "download",
    "torrent",
    "dating",
]
TLDS = [
    "com",
    "net",
    "org",
    "info",
    "io",
    "co.uk",
    "de",
    "fr",
    "nl",
    "com.br",
    "ru",
    "pl",
    "it",
    "es",
    "xyz",
    "top",
    "online",
    "site",
    "shop",
    "club",
    "app",
    "dev",
    "me",
    "gov.example",
    "edu.example",
]
SUBDOMAINS = ["www", "mail", "api", "cdn", "m", "blog", "static", "img", "login", "shop", "news", "app", "vpn", "dev", "files"]
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{s} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.{s} Mobile/15E148 Safari/604.1",
    "curl/8.{s}.0",
    "Wget/1.21.{s}",
    "python-requests/2.3{s}.0",
    "Go-http-client/1.1",
    "okhttp/4.1{s}.0",
    "Java/17.0.{s}",
    "Debian APT-HTTP/1.3 (2.6.{s})",
    "examplebot/{s}.0 (+https://www.example.com/bot)",
    "Microsoft-CryptoAPI/10.0",
)
FILES = (
    "report_2024_{n}.pdf", "IMG_{n}.JPG", "invoice-{n}.pdf.exe", "setup_x64_{n}.msi", "libssl.so.{n}", "/etc/cron.d/backup-{n}",
    r"C:\Users\{w}\AppData\Local\Temp\{w}{n}.tmp", r"C:\Windows\System32\drivers\{w}.sys", "node_modules/{w}/dist/index.min.js",
    "/var/log/{w}.log.{n}.gz", "{w}-{n}.tar.xz", "minutes of the {w} meeting.docx", "/home/{w}/.ssh/id_ed25519", "{w}_{w}.php",
)  # fmt: skip


def hostnames(rng: random.Random, words: list[str], count: int) -> list[str]:
    """Names of public projects, and names composed of words, topics and top-level domains."""
    names = dict.fromkeys(PUBLIC)
    while len(names) < count:
        parts = [rng.choice(words), rng.choice([*TOPICS, *words])][: rng.choice((1, 2, 2))]
        if rng.random() < 0.5:
            rng.shuffle(parts)
        name = rng.choice(("", "", "-")).join(parts) + rng.choice(("", "", "", str(rng.randrange(1, 999)))) + "." + rng.choice(TLDS)
        if rng.random() < 0.35:
            name = f"{rng.choice(SUBDOMAINS)}.{name}"
        names.setdefault(name)
    return list(names)


def urls(rng: random.Random, words: list[str], hosts: list[str], count: int) -> list[str]:
    """URLs with paths, queries and the odd port or user part."""
    out = []
    for _ in range(count):
        path = "/".join(rng.choice(words) for _ in range(rng.randrange(0, 4)))
        query = rng.choice(("", "", f"?id={rng.randrange(10**6)}", f"?q={rng.choice(words)}+{rng.choice(words)}&page={rng.randrange(40)}"))
        out.append(f"{rng.choice(('http', 'https'))}://{rng.choice(hosts)}{rng.choice(('', '', ':8080'))}/{path}{query}")
    return out


def filled(rng: random.Random, words: list[str], templates: tuple[str, ...], count: int) -> list[str]:
    """Templates with words and numbers put in."""
    return [
        templates[i % len(templates)].format(n=rng.randrange(1, 9999), s=rng.randrange(1, 9), v=rng.randrange(90, 140), w=rng.choice(words))
        for i in range(count)
    ]


def words_of(path: Path = WORDS) -> list[str]:
    """The word list without its comments."""
    text = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return [word for word in text.split() if word.isalpha()]


def hosts(count: int, seed: int = 20) -> list[str]:
    """``count`` distinct host names; the first ones are those of the sample file."""
    return hostnames(random.Random(seed), words_of(), count)[:count]


def mixed(count: int, seed: int = 21) -> list[str]:
    """``count`` distinct strings: nine in ten are host names, the rest is of every other kind in turn."""
    rng, words, names = random.Random(seed), words_of(), hosts(count - count // 10)
    share = count // 10
    kinds = [
        [row[0] for row in GENERATORS["dga"](rng, share)],
        [row[0] for row in GENERATORS["tunnel"](rng, share)],
        urls(rng, words, names, share),
        [row[0] for row in GENERATORS["uri"](rng, share)],
        [row[0] for row in GENERATORS["cmdline-admin"](rng, share)],
        filled(rng, words, AGENTS, share),
        filled(rng, words, FILES, share),
    ]
    others = (text for texts in zip(*kinds, strict=False) for text in texts if text.strip())
    return list(dict.fromkeys([*names, *others]))[:count]


def rows() -> list[dict[str, str]]:
    """All samples, distinct, in a fixed order."""
    rng = random.Random(20)
    words = words_of()
    names = hostnames(rng, words, 320)
    kinds = {
        "hostname": names,
        "dga": [row[0] for row in GENERATORS["dga"](rng, 40)],
        "dns-query": [row[0] for name in ("tunnel", "dns-legit") for row in GENERATORS[name](rng, 24)],
        "url": urls(rng, words, names, 48),
        "uri": [row[0] for row in GENERATORS["uri"](rng, 48)],
        "cmdline": [row[0] for row in GENERATORS["cmdline-admin"](rng, 40)],
        "user-agent": filled(rng, words, AGENTS, 36),
        "filename": filled(rng, words, FILES, 42),
    }
    seen = {text: kind for kind, texts in kinds.items() for text in texts if text.strip()}
    return [{"kind": kind, "text": text} for text, kind in seen.items()]


def main() -> None:
    """Write the file."""
    OUT.write_text("".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows()), encoding="utf-8")


if __name__ == "__main__":
    main()
