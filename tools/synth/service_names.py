"""Names under ordinary service labels (``mail.``, ``api.``, ``cdn.``), whatever stands behind them, and names of local networks.

Lists of harmless names are mostly bare domains, lists of malicious ones hold more hosts, and DGA names have no host at all. A model
that learns from such lists takes the label before the domain for the sign, while a sensor sees it before every kind of name.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tools.synth.templates import lines
from tools.synth.words import COMMON_TLDS, brand, person, word

_DISCOVERED: tuple[str, ...] = (
    "ipp",
    "ipps",
    "printer",
    "airplay",
    "raop",
    "googlecast",
    "http",
    "https",
    "ssh",
    "sftp-ssh",
    "smb",
    "afpovertcp",
    "scanner",
)
_DISCOVERED += (
    "uscan",
    "pdl-datastream",
    "workstation",
    "spotify-connect",
    "homekit",
    "hap",
    "companion-link",
    "sleep-proxy",
    "rfb",
    "nfs",
)
_DISCOVERED += (
    "sane-port",
    "udisks-ssh",
    "ldap",
    "kerberos",
    "sip",
    "xmpp-client",
    "vlmcs",
    "pgpkey-hkp",
    "device-info",
    "services._dns-sd",
)
_MACHINES = (
    "macbook",
    "macbook-pro",
    "iphone",
    "ipad",
    "laptop",
    "desktop",
    "pc",
    "nas",
    "printer",
    "tv",
    "srv",
    "web",
    "db",
    "mail",
    "router",
)
_INTERNAL = (
    "lan",
    "home",
    "corp",
    "internal",
    "local",
    "intranet",
    "fritz.box",
    "localdomain",
    "home.arpa",
    "ad.example.com",
    "office.lan",
)


def hosts(rng: random.Random, names: Sequence[tuple[str, str]], count: int) -> list[tuple[str, str, str]]:
    """Draw ``count`` rows ``(service.name, label, "service")``, equally many of each label, from ``names`` of two labels.

    Every fourth service is ``mail``, which stands before more domains than any other.

    Args:
        rng: source of chance.
        names: pairs of a registered domain and its class.
        count: rows; fewer where a class has no name.
    """
    classes = sorted({label for _, label in names})
    services = lines("service_names.txt")
    rows = []
    for label in classes:
        own = [name for name, known in names if known == label and name.count(".") == 1]
        for name in rng.choices(own, k=count // len(classes)) if own else ():
            number = str(rng.randint(1, 9)) if rng.random() < 0.1 else ""
            service = "mail" if rng.random() < 0.25 else rng.choice(services)
            rows.append((f"{service}{number}.{name}", label, "service"))
    return rows


def below(rng: random.Random, zones: Sequence[str]) -> list[tuple[str, str, str]]:
    """Draw an ordinary host below each zone: a service, words with a number, a short tag of letters and digits."""
    services = lines("service_names.txt")
    rows = []
    for zone in zones:
        shape = rng.random()
        if shape < 0.4:
            name = rng.choice(services) + rng.choice(("", "", str(rng.randint(1, 20))))
        elif shape < 0.8:
            name = rng.choice(("-", "", ".")).join(word(rng) for _ in range(rng.randint(1, 3)))
            name += rng.choice(("", "", str(rng.randint(1, 99))))
        else:
            name = "".join(rng.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))
        rows.append((f"{name}.{zone}", "legit", "host"))
    return rows


def local(rng: random.Random) -> tuple[str, str, str]:
    """Draw a name of the local network: service discovery (RFC 6763), a reverse name (RFC 1035, RFC 3596), a machine, ``wpad``."""
    shape = rng.random()
    machine = rng.choice((brand(rng), f"{person(rng)}s-{rng.choice(_MACHINES)}", f"{rng.choice(_MACHINES)}-{rng.randint(1, 99)}"))
    serial = f"{rng.choice(('desktop-', 'laptop-', 'win-', 'pc'))}{''.join(rng.choices('0123456789abcdefghijklmnopqrstuvwxyz', k=7))}"
    if shape < 0.35:
        service = f"_{rng.choice(_DISCOVERED)}.{rng.choice(('_tcp', '_tcp', '_udp'))}"
        text = rng.choice((f"{service}.local", f"{machine}.{service}.local", f"{service}.{rng.choice(_INTERNAL)}"))
    elif shape < 0.55:
        text = ".".join(str(rng.randint(0, 255)) for _ in range(4)) + ".in-addr.arpa"
    elif shape < 0.6:
        text = ".".join(rng.choices("0123456789abcdef", k=32)) + ".ip6.arpa"
    elif shape < 0.85:
        text = rng.choice((machine, serial, f"{machine}.local", f"{serial}.local", f"{machine}.{rng.choice(_INTERNAL)}"))
    else:
        text = rng.choice(("wpad", "isatap", "printer", "_ldap._tcp.dc._msdcs", "_kerberos._tcp.dc._msdcs", "time", "fileserver", "nas"))
        text = rng.choice((text, f"{text}.{rng.choice(_INTERNAL)}", f"{text}.{brand(rng)}.{rng.choice(COMMON_TLDS)}"))
    return text, "legit", "local"


def generate(rng: random.Random, n: int) -> list[tuple[str, str, str]]:
    """Rows over invented names, for a look at them; training draws from its own table."""
    return hosts(rng, [(f"{brand(rng)}.com", "legit") for _ in range(n)], n)
