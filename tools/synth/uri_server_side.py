"""Attacks on what runs behind a request: server-side requests, templates, class loaders, look-ups, objects; and harmless kin of each.

Forms: OWASP Web Security Testing Guide (WSTG-INPV-17 to -20), PortSwigger's server-side template injection, CVE-2021-44228 and the
disguises in OWASP CRS rule 944150, CVE-2022-22965, CVE-2017-5638.  Hosts are example domains and RFC 5737 addresses.  The task has no
label for them: what makes the server run something is cmd-injection, what sends it or the client elsewhere is open-redirect.
"""

from __future__ import annotations

import random
from urllib.parse import quote

from tools.synth.evasion import carrier, escaped, parameters
from tools.synth.query_languages import jql, kql
from tools.synth.templates import Slots, fill, groups, lines
from tools.synth.uri import REDIRECT_PARAMETERS, request_path
from tools.synth.uri_payloads import document_address, shell_command
from tools.synth.words import EXAMPLE_DOMAINS, brand, domain, syllables, word

Row = tuple[str, str, str]

FILE, MARKS, BODIES = "uri_server_side.txt", "uri_marks.txt", "uri_bodies.txt"
"""Attacks on what runs behind a request; ordinary strings that hold marks of attacks, with the short attacks beside them; and what bodies
and queries hold: runs of parameters, records, formulas, names, with attacks on object readers, directories and headers."""
_ORDERS = ("cmd", "exec", "command", "run", "execute", "c", "shell", "code", "do", "arg", "ping", "system", "process")
_PROBES = (
    "id",
    "whoami",
    "ls",
    "dir",
    "pwd",
    "uname -a",
    "cat /etc/passwd",
    "ls -la",
    "ifconfig",
    "ipconfig",
    "net user",
    "env",
    "ps",
    "hostname",
)
_METADATA = (
    "169.254.169.254/latest/meta-data/",
    "169.254.169.254/latest/meta-data/iam/security-credentials/",
    "169.254.169.254/latest/user-data",
    "169.254.169.254/metadata/instance",
    "metadata.google.internal/computeMetadata/v1/instance/",
    "100.100.100.200/latest/meta-data/",
    "169.254.170.2/v2/credentials/",
)
_INSIDE = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "2130706433", "0x7f000001", "10.0.0.1", "192.168.1.1", "172.17.0.1")
_FETCH = ("url", "uri", "src", "image", "imageUrl", "feed", "host", "proxy", "target", "dest", "callback", "webhook", "link", "load")
_COLLABORATORS = ("oast.me", "oast.fun", "interact.sh", "burpcollaborator.net", "dnslog.cn", "ceye.io")
_DISGUISES = ("${{lower:{0}}}", "${{upper:{0}}}", "${{::-{0}}}", "${{env:{1}:-{0}}}", "${{sys:{1}:-{0}}}", "${{date:'{0}'}}")


def foreign_host(rng: random.Random) -> str:
    """A host of a stranger's."""
    roll = rng.random()
    if roll < 0.25:
        return f"{rng.randbytes(8).hex()}.{rng.choice(_COLLABORATORS)}"
    if roll < 0.5:
        return document_address(rng) + rng.choice(("", ":8000", ":8080", ":4444"))
    if roll < 0.75:
        return f"evil.{rng.choice(EXAMPLE_DOMAINS)}"
    return f"{rng.choice(('attacker', 'evil', 'hacker', syllables(rng, 2)))}.{rng.choice(('com', 'net', 'xyz', 'site'))}"


def lookup(rng: random.Random) -> str:
    """A look-up of Log4j, plain or with its letters written as look-ups of their own."""
    scheme = rng.choice(("ldap", "ldaps", "rmi", "dns", "iiop", "corba", "nis"))
    jndi, scheme = ("jndi", scheme) if rng.random() < 0.5 else (_disguised(rng, "jndi"), _disguised(rng, scheme))
    name = rng.choice(("a", "x", "Exploit", "${env:USER}", "${sys:java.version}", syllables(rng, 2)))
    return f"${{{jndi}:{scheme}://{foreign_host(rng)}/{name}}}"


def _disguised(rng: random.Random, text: str) -> str:
    return "".join(rng.choice(_DISGUISES).format(c, syllables(rng, 1)) if rng.random() < 0.5 else c for c in text)


def page(rng: random.Random) -> str:
    """An ordinary address."""
    site = f"{rng.choice(('', 'www.', 'blog.', 'cdn.', 'static.'))}{domain(rng)}"
    return f"https://{site}/{word(rng)}{rng.choice(('', f'/{word(rng)}', '.html', f'?id={rng.randrange(9999)}'))}"


_SLOTS: Slots = {
    "brand": brand,
    "carrier": carrier,
    "cmp": lambda rng: rng.choice(("=", "=", "!=", ">", "<", ">=", "<=", "==", "<>")),
    "command": shell_command,
    "W": lambda rng: word(rng).title(),
    "command-name": lambda rng: rng.choice(_ORDERS),
    "evil": foreign_host,
    "field": lambda rng: rng.choice(lines("field_names.txt")),
    "evil-escaped": lambda rng: quote(f"https://{foreign_host(rng)}/", safe=""),
    "fetch": lambda rng: rng.choice(_FETCH),
    "hex": lambda rng: rng.randbytes(8).hex(),
    "inside": lambda rng: rng.choice(_INSIDE),
    "jql": jql,
    "jql-escaped": lambda rng: quote(jql(rng), safe=rng.choice(("", "()=,", "()"))),
    "kql": kql,
    "lookup": lookup,
    "lookup-escaped": lambda rng: escaped(lookup(rng)),
    "made": lambda rng: syllables(rng, 2),
    "Made": lambda rng: syllables(rng, 2).title(),
    "metadata": lambda rng: rng.choice(_METADATA),
    "page": page,
    "page-escaped": lambda rng: quote(page(rng), safe=""),
    "parameters": lambda rng: parameters(rng, rng.randint(1, 8)),
    "path": request_path,
    "probe": lambda rng: rng.choice(_PROBES) if rng.random() < 0.7 else shell_command(rng),
    "redirect": lambda rng: rng.choice(REDIRECT_PARAMETERS),
    "sep": lambda rng: rng.choice((";", ";", "|", "|", "||", "&", "&&", "; ", " | ", "%0a", "%3B", "%7C", "%26%26", " && ")),
    "site": lambda rng: f"{rng.choice(('', 'www.', 'cdn.'))}{domain(rng)}",
    "w": word,
}


def generate(rng: random.Random, n: int, file: str = FILE) -> list[Row]:
    """Make ``n`` rows, half of them harmless, those of each family alike."""
    templates = groups(file)
    sides = [[name for name in templates if name.startswith("normal") == harmless] for harmless in (False, True)]
    rows = []
    for i in range(n):
        side = sides[i % 2]
        group = side[i // 2 % len(side)]
        label, _, family = group.partition(".")
        drawn, weights = templates[group]
        rows.append((fill(rng, rng.choices(drawn, weights)[0], _SLOTS), label, family))
    return rows


def bodies(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows of what bodies and queries hold, half of them harmless."""
    return generate(rng, n, BODIES)
