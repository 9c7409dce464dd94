r"""Realistic values of command lines, and their use in place of the placeholders that data sets are filled with.

A placeholder that occurs in one class only (``198.51.100.7``, ``C:\Users\Public``, ``path\to\file``) is a shortcut; the
same values for both classes remove it, so the usual placeholders are among the values. Addresses are private
(RFC 1918) or for documentation (RFC 5737).
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Callable

from tools.synth.words import EXAMPLE_DOMAINS, brand, domain, person, syllables, word

_PORTS = (80, 443, 8080, 8443, 3000, 5000, 3389, 22, 25, 1433, 3306, 5432, 5985, 9000, 9090, 4444, 8000)
_SERVICES = (
    "wuauserv",
    "Spooler",
    "W32Time",
    "BITS",
    "Dnscache",
    "LanmanServer",
    "MSSQLSERVER",
    "W3SVC",
    "WinRM",
    "EventLog",
    "Themes",
    "Schedule",
)


def address(rng: random.Random) -> str:
    """Draw a private or documentation IPv4 address."""
    if rng.random() < 0.05:
        return rng.choice(("198.51.100.7", "10.10.14.7"))
    kind = rng.randrange(4)
    if kind == 0:
        return f"10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    if kind == 1:
        return f"172.{rng.randint(16, 31)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    if kind == 2:
        return f"192.168.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randint(1, 254)}"


def host(rng: random.Random) -> str:
    """Draw a server, workstation or domain name."""
    return rng.choice(
        (
            f"{rng.choice(('srv', 'dc', 'web', 'sql', 'fs', 'app', 'ws'))}{rng.choice(('', '-'))}{rng.randint(1, 99):02d}",
            f"{word(rng)}-{rng.choice(('pc', 'laptop', 'dev', 'prod'))}{rng.randint(1, 40)}",
            f"DESKTOP-{syllables(rng, 3).upper()[:7]}",
            f"{word(rng)}.{rng.choice(('corp', 'ad', 'lan'))}.local",
            f"{word(rng)}.{rng.choice(EXAMPLE_DOMAINS)}",
        )
    )


def user(rng: random.Random) -> str:
    """Draw a log-in name."""
    name = person(rng)
    return rng.choice(
        (
            name,
            name.capitalize(),
            f"{name}.{syllables(rng, 2)}",
            f"{name[0]}{syllables(rng, 3)}",
            "Administrator",
            "admin",
            f"svc_{word(rng)}",
        )
    )


def windows_folder(rng: random.Random) -> str:
    r"""Draw a Windows folder without closing backslash."""
    name = user(rng)
    return rng.choice(
        (
            rf"C:\Users\{name}\Documents",
            rf"C:\Users\{name}\Downloads",
            rf"C:\Users\{name}\Desktop\{word(rng)}",
            rf"C:\Users\{name}\AppData\Local\Temp",
            rf"C:\Users\{name}\AppData\Roaming\{word(rng).capitalize()}",
            rf"C:\ProgramData\{word(rng).capitalize()}",
            rf"C:\Temp\{word(rng)}",
            r"C:\Windows\Temp",
            rf"D:\{word(rng)}\{word(rng)}",
            rf"C:\{word(rng)}",
            rf"C:\Users\Public\{word(rng)}",
            rf"C:\Program Files\{word(rng).capitalize()}",
            rf"%TEMP%\{word(rng)}",
            rf".\{word(rng)}",
            rng.choice((r"path\to", r"C:\Users\Public", r"C:\Users\Public\tools")),
        )
    )


def linux_folder(rng: random.Random) -> str:
    """Draw a Linux folder without closing slash."""
    name = person(rng)
    return rng.choice(
        (
            f"/home/{name}",
            f"/home/{name}/{word(rng)}",
            f"/var/lib/{word(rng)}",
            f"/opt/{word(rng)}",
            f"/srv/{word(rng)}",
            f"/tmp/{word(rng)}",
            "/tmp",
            f"/usr/local/share/{word(rng)}",
            f"/etc/{word(rng)}.d",
            f"/mnt/{word(rng)}/{word(rng)}",
            "/root",
            f"./{word(rng)}",
            "~",
            rng.choice(("/path/to", "/srv/directory", "/srv")),
        )
    )


def file_stem(rng: random.Random) -> str:
    """Draw a file name without extension."""
    return rng.choice(
        (
            word(rng),
            f"{word(rng)}_{word(rng)}",
            f"{word(rng)}{rng.randint(1, 99)}",
            f"{word(rng).capitalize()}{word(rng).capitalize()}",
            syllables(rng, 3),
        )
    )


def version(rng: random.Random) -> str:
    """Draw a version number."""
    return ".".join(str(rng.randint(0, 20)) for _ in range(rng.choice((2, 3, 3))))


def guid(rng: random.Random) -> str:
    """Draw a GUID."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _parameter(rng: random.Random, name: str) -> str:
    """Fill an unfilled ``#{name}`` slot by what its name asks for."""
    kinds: tuple[tuple[str, Callable[[random.Random], str]], ...] = (
        ("ip", address),
        ("user", user),
        ("host|server|computer|domain", host),
        ("port", lambda r: str(r.choice(_PORTS))),
        ("url|uri", lambda r: f"https://{domain(r)}/{word(r)}"),
        ("pass", lambda r: f"{word(r).capitalize()}{r.randint(10, 9999)}!"),
        ("path|file|dir|folder|output|payload", lambda r: rf"{windows_folder(r)}\{file_stem(r)}"),
    )
    for pattern, make in kinds:
        if re.search(pattern, name.lower()):
            return make(rng)
    return word(rng)


_FIXED_ADDRESSES = ("127.", "0.", "255.", "8.8.", "1.1.1.", "169.254.")


def _new_address(rng: random.Random, match: re.Match[str]) -> str:
    text = match[0]
    valid = all(int(part) < 256 for part in text.split(".")) and not text.startswith(_FIXED_ADDRESSES)
    return address(rng) if valid else text


Replacement = Callable[[random.Random, re.Match[str]], str]
_PLACEHOLDERS: tuple[tuple[re.Pattern[str], Replacement], ...] = (
    (re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])"), _new_address),
    (re.compile(r"#\{([\w. ]+)\}"), lambda rng, match: _parameter(rng, match[1])),
    (re.compile(r"\b(?:www\.)?(?:attacker|example|evil|target|victim)\.(?:com|net|org|local)\b"), lambda rng, _: domain(rng)),
    (re.compile(r"C:\\Users\\Public(?:\\tools)?(?=\\|\"|$|\s)", re.IGNORECASE), lambda rng, _: windows_folder(rng)),
    (re.compile(r"(?<=C:\\Users\\)(?!Public|%|\$|<)[A-Za-z0-9_.]+", re.IGNORECASE), lambda rng, _: user(rng)),
    (re.compile(r"\bpath\\to\\(?=\w)"), lambda rng, _: windows_folder(rng) + "\\"),
    (re.compile(r"(?<!\w)/path/to/(?=\w)"), lambda rng, _: linux_folder(rng) + "/"),
    (re.compile(r"/srv/directory\d?\b"), lambda rng, _: linux_folder(rng)),
    (re.compile(r"(?<![\w/])/srv/(?=\w)"), lambda rng, _: linux_folder(rng) + "/"),
    (re.compile(r"(?<=/home/)(?:user(?:name)?|art|victim)\b"), lambda rng, _: person(rng)),
    (re.compile(r"\b(?:input-file|output-file|temp-file|source_file|target_file|filename)\b"), lambda rng, _: file_stem(rng)),
    (re.compile(r"(?<=[\\/ \"'])file\d?(?=\.\w{2,4}\b)"), lambda rng, _: file_stem(rng)),
    (re.compile(r"\bT\d{4}(?:[._]\d{3})?\b"), lambda rng, _: file_stem(rng)),
    (re.compile(r"(?i)\b(?:atomic[\w-]*|invoke-atomictest)\b"), lambda rng, _: file_stem(rng)),
    (re.compile(r"(?<![-%$\w:=.])(?:username|victim-host|victim)(?![\w=])"), lambda rng, _: user(rng)),
    (re.compile(r"(?<=[ :,])(?:4444|9001|12345|1337|8888)\b"), lambda rng, _: str(rng.choice((*_PORTS, rng.randint(1024, 65000))))),
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), lambda rng, _: guid(rng)),
)


def fill_placeholders(rng: random.Random, text: str) -> str:
    """Replace placeholders by drawn values; one placeholder gets one value throughout a text."""
    for pattern, make in _PLACEHOLDERS:
        seen: dict[str, str] = {}

        def once(match: re.Match[str], seen: dict[str, str] = seen, make: Replacement = make) -> str:
            if match[0] not in seen:
                seen[match[0]] = make(rng, match)
            return seen[match[0]]

        text = pattern.sub(once, text)
    return text


SLOTS: dict[str, Callable[[random.Random], str]] = {
    "app": lambda rng: rng.choice(
        (brand(rng).replace("-", ""), word(rng).capitalize(), "vlc", "notepadplusplus", "firefox", "7zip", "putty", "zoom")
    ),
    "dir": windows_folder,
    "domain": domain,
    "file": lambda rng: (
        rf"{windows_folder(rng)}\{file_stem(rng)}.{rng.choice(('txt', 'log', 'zip', 'exe', 'dll', 'docx', 'csv', 'xml', 'ps1', 'iso'))}"
    ),
    "guid": lambda rng: rng.choice((str.upper, str.lower))(guid(rng)),
    "host": host,
    "ip": address,
    "number": lambda rng: str(rng.choice((7, 10, 30, 50, 60, 90, 100, 365, rng.randint(1, 9999)))),
    "port": lambda rng: str(rng.choice(_PORTS)),
    "service": lambda rng: rng.choice((*_SERVICES, f"{word(rng).capitalize()}Service")),
    "share": lambda rng: rf"\\{host(rng)}\{rng.choice(('share', 'data$', 'software', 'profiles', word(rng)))}",
    "small": lambda rng: str(rng.randint(1, 9)),
    "user": user,
    "version": version,
    "word": file_stem,
}
