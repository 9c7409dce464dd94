"""Addresses of well-known services as legitimate, and look-alikes of them as malicious.

In lists of phishing addresses a famous name stands mostly inside somebody else's address, so a model that learns from such lists
alone takes the name itself for the sign. Sign-in hosts and paths of the services proper say otherwise; as many look-alikes (the
name before another domain, with additions, with exchanged letters) keep the name from being a pardon. User content of the same
services (shared documents, hosted pages) is not generated: it may be either.
"""

from __future__ import annotations

import random

from tools.synth.templates import lines
from tools.synth.words import brand, word

Row = tuple[str, str, str]

_HOSTS: tuple[str, ...] = (
    "",
    "",
    "",
    "",
    "www.",
    "www.",
    "www.",
    "www.",
    "login.",
    "signin.",
    "accounts.",
    "account.",
    "auth.",
    "sso.",
    "id.",
    "secure.",
)
_HOSTS += ("my.", "mail.", "m.", "mobile.", "app.", "help.", "support.", "store.", "shop.", "news.", "developer.", "docs.", "status.")
_HOSTS += ("about.", "careers.", "blog.", "checkout.", "online.", "business.", "en.", "de.")
_SERVICE_HOSTS = ("", "www.", "api.", "cdn.", "static.", "assets.", "img.", "images.", "update.", "download.", "edge.", "dns.", "time.")
_PATHS: tuple[str, ...] = (
    "",
    "",
    "",
    "/",
    "/",
    "/login",
    "/signin",
    "/sign-in",
    "/account",
    "/account/settings",
    "/myaccount/summary",
    "/password/reset",
)
_PATHS += ("/help", "/support", "/contact", "/security", "/privacy", "/terms", "/about", "/pricing", "/download", "/oauth2/authorize")
_PATHS += (
    "/auth/login?continue=%2F",
    "/users/sign_in",
    "/business",
    "/news",
    "/products",
    "/en-us",
    "/de/",
    "/index.html",
    "/search?q=test",
)
_SIGN_IN: tuple[str, ...] = (
    "/login",
    "/login",
    "/login/",
    "/signin",
    "/sign-in",
    "/account",
    "/account/login",
    "/user/login",
    "/users/sign_in",
    "/auth",
)
_SIGN_IN += ("/log-in", "/signup", "/register", "/join", "/oauth/authorize", "/login.html", "/login.php", "/en/login", "/my-account")
_FOLDERS: tuple[str, ...] = (
    "",
    "/images",
    "/img",
    "/assets",
    "/static",
    "/static/media",
    "/css",
    "/js",
    "/media",
    "/files",
    "/themes/default",
    "/content/dam",
)
_FOLDERS += ("/wp-content/uploads/2023/05", "/wp-content/themes/site/js", "/wp-includes/js/jquery", "/assets/images", "/dist", "/fonts")
_PARTS = (
    "logo",
    "favicon",
    "icon",
    "banner",
    "header",
    "style",
    "main",
    "app",
    "jquery.min",
    "bootstrap.min",
    "index",
    "bg",
    "sprite",
    "robots",
)
_KINDS = (
    "png",
    "png",
    "jpg",
    "jpg",
    "gif",
    "svg",
    "webp",
    "ico",
    "css",
    "css",
    "js",
    "js",
    "js",
    "woff2",
    "json",
    "xml",
    "txt",
    "pdf",
    "",
    "",
)
_ADDED = (
    "login",
    "secure",
    "verify",
    "account",
    "update",
    "support",
    "billing",
    "signin",
    "service",
    "confirm",
    "wallet",
    "unlock",
    "help",
)
_ENDINGS = ("com", "net", "info", "xyz", "top", "online", "site", "live", "club", "icu", "shop", "cc", "ru", "cn", "tk", "ml", "co")
_BAIT = ("", "/", "/login", "/signin.php", "/verify", "/update/index.php", "/account/confirm", "/secure/login.html", "/webapps/mpp/home")
_EXCHANGED = {"l": ("1", "i"), "i": ("1", "l"), "o": ("0",), "e": ("3",), "a": ("4", "aa"), "s": ("5", "ss"), "m": ("rn",), "t": ("tt",)}
_EXCHANGED |= {"g": ("q",), "c": ("cc",), "p": ("pp",), "n": ("nn", "m"), "b": ("d",), "u": ("v",), "r": ("rr",)}


def services() -> tuple[str, ...]:
    """Registered domains of the services."""
    return lines("well_known.txt")


def categories() -> dict[str, str]:
    """Category of each service that has a plain one, by registered domain."""
    return {name: line.split()[0] for line in lines("well_known_categories.txt") for name in line.split()[1:]}


def category_rows(rng: random.Random, times: int) -> list[Row]:
    """Every service with its category, ``times`` times bare and as often under a host; not under labels that tell a purpose (``mail.``)."""
    rows = []
    for name, label in categories().items():
        for _ in range(times):
            rows += [
                (name, label, "well-known"),
                (rng.choice(("m.", "app.", "en.", "de.", "secure.", "login.", "my.")) + name, label, "well-known"),
            ]
    return rows


def host(rng: random.Random) -> Row:
    """Draw a host of a service, as a sensor sees it in DNS."""
    return rng.choice(_HOSTS + _SERVICE_HOSTS) + rng.choice(services()), "legit", "well-known"


def path(rng: random.Random) -> str:
    """Draw a path that most sites have, sign-in pages oftener than others."""
    return sign_in(rng) if rng.random() < 0.3 else rng.choice(_PATHS)


def sign_in(rng: random.Random) -> str:
    """Draw the path of a page for signing in or up."""
    return rng.choice(_SIGN_IN)


def part(rng: random.Random) -> str:
    """Draw the path of something a page consists of: pictures, styles, scripts, answers of an interface."""
    folder = rng.choice(_FOLDERS).replace("2023/05", f"{rng.randint(2010, 2026)}/{rng.randint(1, 12):02}")
    name = rng.choice((word(rng), f"{word(rng)}-{word(rng)}", rng.choice(_PARTS)))
    version = rng.choice(
        ("", "", "", f"?v={rng.randint(1, 999)}", f".{rng.getrandbits(32):08x}", f"-{rng.randint(16, 1920)}x{rng.randint(16, 1080)}")
    )
    ending = rng.choice(_KINDS)
    if ending == "":
        return f"/api/v{rng.randint(1, 4)}/{word(rng)}s" + rng.choice(("", f"/{rng.randint(1, 99999)}", f"?page={rng.randint(1, 20)}"))
    return f"{folder}/{name}.{ending}{version}" if version.startswith("?") else f"{folder}/{name}{version}.{ending}"


def address(rng: random.Random) -> Row:
    """Draw an address of a service, without a scheme."""
    return rng.choice(_HOSTS) + rng.choice(services()) + path(rng), "legit", "well-known"


def _long_name(rng: random.Random) -> str:
    name = ""
    while len(name) < 4:
        name = rng.choice(services()).partition(".")[0]
    return name


def look_alike_host(rng: random.Random) -> str:
    """Draw a host that borrows a service's name: with additions, before another domain, or with exchanged letters."""
    name, added, ending = _long_name(rng), rng.choice(_ADDED), rng.choice(_ENDINGS)
    shape = rng.random() * 0.85
    if shape < 0.35:
        return rng.choice(
            (
                f"{name}-{added}.{ending}",
                f"{added}-{name}.{ending}",
                f"{name}{added}.{ending}",
                f"{name}-{added}-{rng.choice(_ADDED)}.{ending}",
            )
        )
    if shape < 0.6:
        owner = f"{brand(rng)}.{ending}"
        return rng.choice((f"{name}.com.{owner}", f"{name}.{added}.{owner}", f"{added}.{name}.{owner}"))
    places = [i for i, c in enumerate(name) if c in _EXCHANGED]
    at = rng.choice(places) if places else 0
    name = name[:at] + rng.choice(_EXCHANGED.get(name[at], (name[at] * 2,))) + name[at + 1 :]
    return rng.choice(("", "www.")) + name + rng.choice(("", "", f"-{added}")) + "." + rng.choice(("com", ending))


def look_alike(rng: random.Random) -> Row:
    """Draw an address that borrows a service's name, in its host or in its path."""
    if rng.random() < 0.85:
        return look_alike_host(rng) + rng.choice(_BAIT), "malicious", "look-alike"
    name, added = _long_name(rng), rng.choice(_ADDED)
    path = rng.choice((f"/{name}/login", f"/{name}.com/{added}", f"/wp-content/{name}/", f"/{name}/{added}.php"))
    return f"{brand(rng)}.{rng.choice(_ENDINGS)}{path}", "malicious", "look-alike"


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows, one half addresses of services and one half look-alikes."""
    return [(address if i % 2 else look_alike)(rng) for i in range(n)]
