"""Ordinary DNS query names that look like tunnels: block-list, reputation, cloud, service and reverse look-ups.

Forms are those of the public documents named in each builder. Zones are well-known public ones or invented.
"""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable

from tools.synth import codecs
from tools.synth.words import brand, domain, person, syllables, word

Builder = Callable[[random.Random], tuple[str, str]]

_REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2", "westeurope", "eastus2", "northeurope")
_DNSBL: tuple[str, ...] = (
    "zen.spamhaus.org",
    "bl.spamcop.net",
    "b.barracudacentral.org",
    "dnsbl.sorbs.net",
    "psbl.surriel.org",
    "multi.uribl.com",
)
_DNSBL += ("dnsbl-1.uceprotect.net", "ix.dnsbl.manitu.net", "list.dnswl.org", "cbl.abuseat.org", "multi.surbl.org", "dbl.spamhaus.org")
_CLOUD_AV: tuple[str, ...] = ("avqs.mcafee.com", "avts.mcafee.com", "samples.sophosxl.net", "fur.sophosxl.net", "e5.sk", "cloud.eset.com")
_CLOUD_AV += ("ff.avast.com", "ns1.ff.avast.com", "gti.mcafee.com", "url.trendmicro.com", "hash.cymru.com", "malware.hash.cymru.com")


def _chars(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def _hex(rng: random.Random, count: int) -> str:
    return _chars(rng, "0123456789abcdef", count)


def _guid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _ipv4(rng: random.Random) -> list[str]:
    return [str(rng.randint(1, 254)), *(str(rng.randint(0, 255)) for _ in range(3))]


def _ipv6_nibbles(rng: random.Random) -> str:
    prefix = rng.choice(("2001", "2a00", "2600", "2a02", "fe80"))
    rest = _hex(rng, 28) if rng.random() < 0.6 else _hex(rng, 8) + "0" * 16 + _hex(rng, 4)
    return ".".join(reversed(prefix + rest))


def dnsbl(rng: random.Random) -> tuple[str, str]:
    """Reversed address or domain before a list's zone (RFC 5782)."""
    zone = rng.choice(_DNSBL) if rng.random() < 0.7 else f"{rng.choice(('dnsbl', 'rbl', 'bl', 'black'))}.{domain(rng)}"
    kind = rng.random()
    if kind < 0.55:
        return ".".join(reversed(_ipv4(rng))), zone
    return (_ipv6_nibbles(rng) if kind < 0.75 else domain(rng)), zone


def reputation(rng: random.Random) -> tuple[str, str]:
    """Hash and flag labels of antivirus clouds (McAfee GTI, Sophos SXL, Team Cymru hash registry)."""
    zone = rng.choice(_CLOUD_AV) if rng.random() < 0.75 else f"{rng.choice(('avc', 'rep', 'hash', 'lookup', 'sxl', 'q'))}.{domain(rng)}"
    kind = rng.randrange(4)
    if kind == 0:
        flags = ".".join(rng.choice(("0", "0", "1", "4e", "b0", "210c", "19")) for _ in range(rng.randint(3, 8)))
        return f"{flags}.{_chars(rng, codecs.BASE36, 26)}", zone
    if kind == 1:
        return _hex(rng, rng.choice((32, 40))), zone
    if kind == 2:
        return f"{rng.randint(1, 9)}.{rng.randint(0, 9)}.{_chars(rng, codecs.RFC_BASE32, rng.choice((26, 32)))}.{rng.choice('ipu')}", zone
    return f"{rng.choice(('p', 'h', 'f', 'l2'))}-{_hex(rng, 16)}.{_hex(rng, 8)}", zone


def reverse(rng: random.Random) -> tuple[str, str]:
    """PTR names of IPv4 and IPv6 (RFC 1035, RFC 3596), DNS-SD browsing included (RFC 6763)."""
    if rng.random() < 0.4:
        return _ipv6_nibbles(rng), "ip6.arpa"
    head = rng.choice(("", "", "", "", "lb._dns-sd._udp.", "b._dns-sd._udp.", "db._dns-sd._udp."))
    return head + ".".join(reversed(_ipv4(rng))), "in-addr.arpa"


def service(rng: random.Random) -> tuple[str, str]:
    """SRV names of Active Directory, SIP, mail and chat (RFC 2782, MS-ADTS section 6.3)."""
    zone = domain(rng) if rng.random() < 0.6 else f"{rng.choice(('ad', 'corp', 'int'))}.{brand(rng)}.{rng.choice(('local', 'lan', 'com'))}"
    site = rng.choice(("Default-First-Site-Name", "Berlin", "HQ", "site01")).lower()
    names = (
        "_ldap._tcp.dc._msdcs",
        "_ldap._tcp.pdc._msdcs",
        "_kerberos._tcp.dc._msdcs",
        "_gc._tcp",
        "_ldap._tcp",
        "_kerberos._udp",
        f"_ldap._tcp.{site}._sites.dc._msdcs",
        f"_kerberos._tcp.{site}._sites.dc._msdcs",
        f"_ldap._tcp.{_guid(rng)}.domains._msdcs",
        f"{_guid(rng)}._msdcs",
        "_vlmcs._tcp",
        "_sip._tls",
        "_sipfederationtls._tcp",
        "_autodiscover._tcp",
        "_xmpp-server._tcp",
        "_caldavs._tcp",
        "_imaps._tcp",
        "_mongodb._tcp",
        "_stun._udp",
        "_matrix._tcp",
        "_minecraft._tcp",
    )
    return rng.choice(names), zone


def multicast(rng: random.Random) -> tuple[str, str]:
    """MDNS and DNS-SD instances (RFC 6762, RFC 6763)."""
    kinds = ("_ipp._tcp", "_airplay._tcp", "_googlecast._tcp", "_raop._tcp", "_companion-link._tcp", "_hap._tcp", "_spotify-connect._tcp")
    instances = (
        "",
        _guid(rng) + ".",
        _hex(rng, 12) + f"@{word(rng)}.",
        f"{word(rng)}-{word(rng)}-{_hex(rng, 32)}.",
        f"{person(rng)}s-macbook-pro.",
        f"_{_hex(rng, 8)}._sub.",
        "brother hl-l2350dw series.",
        f"android-{_hex(rng, 16)}.",
    )
    return rng.choice(instances) + rng.choice(kinds), "local"


def mail_and_web(rng: random.Random) -> tuple[str, str]:
    """DKIM, DMARC, MTA-STS, ACME, ESNI, DANE and ownership tokens (RFC 6376, 7489, 8461, 8555, 6698)."""
    names = (
        f"{rng.choice(('google', 'selector1', 'selector2', 's1', 'k1', 'mandrill', 'dkim', f's{rng.randint(2015, 2025)}'))}._domainkey",
        f"{_chars(rng, codecs.RFC_BASE32, 32)}._domainkey",
        f"{rng.randint(2016, 2025)}{rng.randint(1, 12):02d}._domainkey",
        f"selector{rng.randint(1, 2)}-{brand(rng)}-com._domainkey",
        "_dmarc",
        "_mta-sts",
        "_acme-challenge",
        f"_acme-challenge.{word(rng)}",
        "_esni",
        "_smtp._tls",
        "_443._tcp.www",
        "_25._tcp.mail",
        f"_{_hex(rng, 32)}",
        f"_{_hex(rng, 32)}.{_chars(rng, string.ascii_lowercase, 10)}",
        f"google{_hex(rng, 16)}",
        f"autodiscover.{word(rng)}",
    )
    return rng.choice(names), domain(rng)


def cloud(rng: random.Random) -> tuple[str, str]:
    """Hosts of clouds and content networks as their providers document them."""
    region, ip = rng.choice(_REGIONS), "-".join(_ipv4(rng))
    names = (
        (f"ec2-{ip}.{region}.compute", "amazonaws.com"),
        (f"ip-{ip}.{region}.compute", "internal"),
        (f"d{_chars(rng, codecs.BASE36, 13)}", "cloudfront.net"),
        (f"{word(rng)}-{word(rng)}-{_hex(rng, 6)}.s3.{region}", "amazonaws.com"),
        (f"internal-{word(rng)}-{rng.randrange(10**9)}.{region}.elb", "amazonaws.com"),
        (f"{_hex(rng, 32)}.yl4.{region}.eks", "amazonaws.com"),
        (f"{_chars(rng, codecs.BASE36, 10)}.execute-api.{region}", "amazonaws.com"),
        (f"a{_chars(rng, codecs.BASE36, 13)}-ats.iot.{region}", "amazonaws.com"),
        (f"{_guid(rng)}.{word(rng)}", "azurewebsites.net"),
        (f"{_guid(rng)}.ods.opinsights", "azure.com"),
        (f"{_guid(rng)}.cloudapp", "azure.com"),
        (f"md-{_chars(rng, codecs.BASE36, 12)}.z{rng.randint(1, 40)}.blob.storage", "azure.net"),
        (f"{word(rng)}{_hex(rng, 8)}.blob.core", "windows.net"),
        (f"e{rng.randint(100, 99999)}.{rng.choice('abdg')}", "akamaiedge.net"),
        (f"a{rng.randint(100, 1999)}.dscd", "akamai.net"),
        (f"{word(rng)}.{domain(rng)}", "edgekey.net"),
        (f"{_guid(rng)}", "trafficmanager.net"),
        (f"{_hex(rng, 8)}.{_hex(rng, 4)}", "fbcdn.net"),
        (f"{word(rng)}-{word(rng)}-{_chars(rng, codecs.BASE36, 10)}-uc.a", "run.app"),
        (f"{word(rng)}-{rng.randint(1000, 99999)}", "herokuapp.com"),
        (f"{word(rng)}-{_chars(rng, codecs.BASE36, 9)}-{brand(rng)}", "vercel.app"),
        (f"rr{rng.randint(1, 9)}---sn-{_chars(rng, codecs.BASE36, 8)}", "googlevideo.com"),
        (f"static.{'.'.join(_ipv4(rng))}.clients", f"{brand(rng)}.de"),
        (f"p{_hex(rng, 8)}.dip0", f"{brand(rng)}.de"),
        (f"cpe-{ip}.{word(rng)}.res", domain(rng)),
    )
    return rng.choice(names)


def cluster(rng: random.Random) -> tuple[str, str]:
    """Kubernetes, Consul and Docker service names (Kubernetes "DNS for Services and Pods")."""
    pod = f"{word(rng)}-{word(rng)}-{_chars(rng, 'bcdfghjklmnpqrstvwxz2456789', 10)}-{_chars(rng, 'bcdfghjklmnpqrstvwxz2456789', 5)}"
    space = rng.choice(("default", "kube-system", "prod", "staging", word(rng)))
    names = (
        (f"{word(rng)}-{word(rng)}.{space}.svc", "cluster.local"),
        (f"{'-'.join(_ipv4(rng))}.{space}.pod", "cluster.local"),
        (f"{pod}.{word(rng)}.{space}.svc", "cluster.local"),
        (f"{word(rng)}-{rng.randrange(5)}.{word(rng)}-headless.{space}.svc", "cluster.local"),
        (f"_{rng.choice(('http', 'grpc', 'metrics'))}._tcp.{word(rng)}.{space}.svc", "cluster.local"),
        (f"{rng.choice(('', _hex(rng, 8) + '.'))}{word(rng)}.service.dc{rng.randint(1, 3)}", "consul"),
        (_hex(rng, 12), "lan"),
    )
    return rng.choice(names)


def push_and_telemetry(rng: random.Random) -> tuple[str, str]:
    """Push, analytics, connectivity-check and resolver-probe names."""
    names = (
        (f"{rng.randint(1, 50)}-courier.push", "apple.com"),
        (f"p{rng.randint(10, 99)}-imap.mail", "me.com"),
        (f"gateway-{_hex(rng, 4)}.icloud", "com"),
        (f"mtalk{rng.randint(1, 9)}", "google.com"),
        (_chars(rng, string.ascii_lowercase, rng.randint(7, 15)), rng.choice(("lan", "local", "home"))),
        (f"{_hex(rng, 32)}.{rng.choice(('collect', 'metrics', 'track', 'events'))}", domain(rng)),
        (f"{_guid(rng)}.{word(rng)}", domain(rng)),
        (f"{_hex(rng, 16)}.{rng.choice(('safeframe', 'pixel', 'cm', 'rtb'))}", "googlesyndication.com"),
        (f"{_hex(rng, 10)}.test-ipv6", domain(rng)),
        (f"{_guid(rng)}.{rng.choice(('na', 'eu'))}.dnsleaktest", "com"),
        (f"{_hex(rng, 12)}.nel", domain(rng)),
        (f"device-{_guid(rng)}.remotewd", "com"),
        (f"{_chars(rng, codecs.BASE36, 24)}.{rng.choice(('nr-data', 'omtrdc', 'demdex'))}", "net"),
        (f"o{rng.randrange(10**7)}.ingest", "sentry.io"),
        (f"{_hex(rng, 32)}.{rng.choice(('us', 'eu'))}.auth", domain(rng)),
        (f"prod.{word(rng)}.tracking-protection.cdn", "mozilla.net"),
    )
    return rng.choice(names)


def readable_chain(rng: random.Random) -> tuple[str, str]:
    """Long chains and long hyphenated labels of plain words."""
    kind = rng.randrange(4)
    if kind == 0:
        return ".".join(word(rng) for _ in range(rng.randint(3, 9))), domain(rng)
    if kind == 1:
        return "-".join(word(rng) for _ in range(rng.randint(3, 8)))[:63].strip("-"), domain(rng)
    if kind == 2:
        stage = rng.choice(("prod", "stage", "dev", "int", "qa", "uat"))
        return f"{word(rng)}-{word(rng)}-{rng.randint(1, 40):02d}.{stage}.{rng.choice(_REGIONS)}.{word(rng)}.{syllables(rng, 2)}", domain(
            rng
        )
    return f"www.{domain(rng)}.{word(rng)}.{word(rng)}-{rng.randint(1, 9)}", domain(rng)


def random_host(rng: random.Random) -> tuple[str, str]:
    """Make one random-looking label, its zone cut away: object stores, device and customer identifiers, content hashes."""
    names = (
        _chars(rng, codecs.BASE36, rng.randint(30, 44)),
        _chars(rng, codecs.BASE36, rng.choice((32, 40))),
        _hex(rng, rng.choice((32, 40, 24, 56))),
        f"pub-{_hex(rng, 32)}",
        f"www.{_hex(rng, 32)}",
        f"{_hex(rng, 32)}.{rng.choice(('svc', 'tracker', 'ssm', word(rng)))}",
        f"{_chars(rng, codecs.BASE36, 8)}-{_hex(rng, 40)}-am{rng.randint(1, 3)}.d",
    )
    return rng.choice(names), ""


BUILDERS: dict[str, tuple[Builder, int]] = {
    "dnsbl": (dnsbl, 12),
    "reputation": (reputation, 9),
    "reverse": (reverse, 12),
    "service": (service, 9),
    "multicast": (multicast, 7),
    "mail-web": (mail_and_web, 9),
    "cloud": (cloud, 18),
    "cluster": (cluster, 8),
    "telemetry": (push_and_telemetry, 10),
    "readable-chain": (readable_chain, 10),
    "random-host": (random_host, 8),
}

_SPECIAL_ZONES = frozenset({"ip6.arpa", "in-addr.arpa", "local", "lan", "home", "consul", "internal", "cluster.local"})


def generate(rng: random.Random, n: int, *, bare_rate: float = 0.5) -> list[tuple[str, str, str]]:
    """Make ``n`` rows ``(text, "legit", kind)``.

    ``bare_rate`` is the share of names that lose their registered domain, as the published rows have; zones that
    are no registered domain (``in-addr.arpa``, ``local`` …) and hash look-ups keep theirs more often.
    """
    names, weights = list(BUILDERS), [weight for _, weight in BUILDERS.values()]
    rows: list[tuple[str, str, str]] = []
    while len(rows) < n:
        family = rng.choices(names, weights)[0]
        head, zone = BUILDERS[family][0](rng)
        keep = 0.85 if zone in _SPECIAL_ZONES or family == "reputation" else 1 - bare_rate
        if rng.random() >= keep:
            labels = zone.split(".")
            rest = labels[: max(len(labels) - (3 if zone.endswith((".co.uk", ".com.br")) else 2), 0)]
            zone = zone if family == "reputation" and not rest else ".".join(rest)  # a bare hash would be no look-alike
        text = ".".join(part for part in (head, zone) if part).lower()
        if len(text) <= 253 and all(0 < len(label) <= 63 for label in text.split(".")):
            rows.append((text, "legit", family))
    return rows
