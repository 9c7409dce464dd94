"""Ordinary traffic that looks like trouble: what must not become an incident. All zones that matter are made up or public services."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable

from tools.days.intrusions import BROWSERS
from tools.days.track import Track, address
from tools.synth import dns_legit
from tools.synth.words import brand, domain, person, word

DAY = 86_400
Noise = Callable[[random.Random, list[str], float], list[Track]]
"""Takes a source of chance, clients, and the day's first second; gives tracks of one or more of the clients."""


def _times(rng: random.Random, start: float, count: int, first: float = 7.5, last: float = 18.0) -> list[float]:
    return sorted(start + rng.uniform(first, last) * 3600 for _ in range(count))


def browsing(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """Pages of many sites, with their content from elsewhere."""
    tracks, sites = [Track(client) for client in clients], [(domain(rng), address(rng)) for _ in range(60)]
    helpers = [(f"{rng.choice(('cdn', 'static', 'img', 'api', 'www', 'stats', 'ads'))}.{domain(rng)}", address(rng)) for _ in range(25)]
    for track in tracks:
        agent = rng.choice(BROWSERS)
        for time in _times(rng, start, rng.randint(20, 80)):
            name, server = rng.choice(sites)
            track.visit(time, name, server, agent, f"/{word(rng)}/{word(rng)}")
            for more, place in rng.sample(helpers, 3):
                track.lookup(time + 0.3, more, rng.choice(("A", "AAAA", "HTTPS")), (place,))
                track.tls(time + 0.4, place, more)
    return tracks


def content_networks(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """Content networks and telemetry with a name for every user, film or session."""
    tracks = [Track(client) for client in clients]
    own = [
        (
            f"{rng.choice(('edge', 'cdn', 'media', 'tlm', 'events', 'rtb'))}.{brand(rng)}.{rng.choice(('net', 'com', 'io'))}",
            rng.randrange(3),
        )
        for _ in range(3)
    ]
    for track in tracks:
        for time in _times(rng, start, 80):
            if rng.random() < 0.2:
                name = ".".join(rng.choice((dns_legit.push_and_telemetry, dns_legit.cloud))(rng))
            else:
                zone, form = rng.choice(own)
                label = (
                    str(uuid.UUID(int=rng.getrandbits(128))),
                    f"r{rng.randrange(20)}---sn-{''.join(rng.choice(string.ascii_lowercase + string.digits) for _ in range(8))}",
                    rng.randbytes(8).hex(),
                )[form]
                name = f"{label}.{zone}"
            track.lookup(time, name, rng.choice(("A", "A", "AAAA", "HTTPS")), (address(rng),))
    return tracks


def antivirus(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """An antivirus that asks its cloud about every file, by TXT or A."""
    tracks, kind, zone = (
        [Track(client) for client in clients],
        rng.choice(("TXT", "A")),
        rng.choice(("", f"{rng.choice(('rep', 'avc', 'q'))}.{brand(rng)}.{rng.choice(('com', 'net'))}")),
    )
    for track in tracks:
        for time in _times(rng, start, rng.randint(30, 120)):
            sub, known = dns_legit.reputation(rng)
            track.lookup(
                time,
                f"{sub}.{zone or 'avqs.mcafee.com'}" if zone or rng.random() < 0.7 else f"{sub}.{known}",
                kind,
                ("127.0.0.1",) if kind == "A" else ("ok",),
            )
    return tracks


def mail_server(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """A mail server: block lists, MX and SPF of senders that may not exist, mail to many servers."""
    track = Track(clients[0])
    for time in _times(rng, start, 250, 0, 24):
        for _ in range(rng.randint(1, 3)):
            sub, zone = dns_legit.dnsbl(rng)
            track.lookup(time, f"{sub}.{zone}", failed=rng.random() < 0.8)
        sender = (
            domain(rng) if rng.random() < 0.7 else "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(8, 16))) + ".top"
        )
        gone = rng.random() < 0.25
        for kind, name in (
            ("MX", sender),
            ("TXT", sender),
            ("TXT", f"_dmarc.{sender}"),
            ("TXT", f"s{rng.randrange(9)}._domainkey.{sender}"),
            ("A", sender),
        ):
            track.lookup(time + 0.2, name, kind, () if gone else (f"mail.{sender}",), failed=gone)
        if not gone and rng.random() < 0.4:
            server = address(rng)
            track.lookup(time + 1, f"mail.{sender}", answers=(server,))
            track.connect(time + 1.2, server, 25, 20_000, 900, 2.0)
    return [track]


def mail_clients(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """People whose mail program speaks to a provider itself: IMAP every few minutes, a mail sent now and then."""
    tracks, provider, server = [], domain(rng), address(rng)
    for client in clients[: rng.randint(1, 3)]:
        track = Track(client)
        for second in range(8 * 3600, 17 * 3600, 600):
            track.lookup(start + second, f"imap.{provider}", answers=(server,))
            track.connect(start + second + 1, server, 993, 900, 4000, 2.0)
        for time in _times(rng, start, 6):
            track.lookup(time, f"smtp.{provider}", answers=(server,))
            track.connect(time + 0.3, server, rng.choice((587, 465)), 40_000, 1500, 3.0)
        tracks.append(track)
    return tracks


def probes(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """Browsers that ask for three random labels at each start, some with the network's own suffix."""
    tracks, suffix = [Track(client) for client in clients], rng.choice(("", ".corp.local", f".office.{domain(rng)}"))
    for track in tracks:
        for time in _times(rng, start, 6):
            for i in range(3):
                label = "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(7, 15)))
                track.lookup(time + i / 10, label + suffix, failed=True)
    return tracks


def search_suffix(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """A list of search suffixes: every name is asked for below the company's domain too, where it does not exist."""
    suffixes, tracks = [f"{rng.choice(('corp', 'ad', 'eu'))}.{domain(rng)}", domain(rng)], [Track(client) for client in clients]
    for track in tracks:
        for time in _times(rng, start, 150):
            name = f"{rng.choice(('www', 'api', 'cdn', 'mail', 'static'))}.{domain(rng)}"
            for suffix in suffixes:
                track.lookup(time, f"{name}.{suffix}", failed=True)
            track.lookup(time + 0.1, name, answers=(address(rng),))
    return tracks


def broken_resolver(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """For a quarter of an hour no name exists; before and after the same sites do."""
    tracks, sites = [Track(client) for client in clients], [domain(rng) for _ in range(80)]
    broken = start + rng.uniform(9, 16) * 3600
    for track in tracks:
        mine = rng.sample(sites, 50)
        for time in _times(rng, start, 100) + sorted(broken + rng.uniform(0, 900) for _ in range(60)):
            down = broken <= time < broken + 900
            track.lookup(time, rng.choice(mine), answers=() if down else (address(rng),), failed=down)
    return tracks


def monitoring(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """A monitoring system that asks servers inside and outside at exact intervals, the cloud's metadata too."""
    track, sites = Track(clients[0]), [(f"status.{domain(rng)}", address(rng)) for _ in range(8)]
    agent = rng.choice(
        ("Prometheus/2.48.0", "check_http/v2.3.3 (nagios-plugins 2.3.3)", "Zabbix", "curl/8.4.0", "Blackbox Exporter/0.24.0")
    )
    for time in range(0, DAY, 600):
        for name, server in sites:
            track.lookup(start + time, name, answers=(server,))
            track.request(start + time + 0.2, server, "/health", agent, host=name, mime="application/json")
            track.tls(start + time + 0.5, server, name)
        track.request(start + time + 1, "10.77.0.20", "/metrics", agent, host="10.77.0.20", port=9100)
        track.request(start + time + 2, "169.254.169.254", "/latest/meta-data/", agent)
    return [track]


def backups(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """Nightly copies to an outside store: large, at a fixed hour, by TLS, SSH or rsync."""
    track, name, server = Track(clients[0]), f"{rng.choice(('backup', 'vault', 's3', 'store'))}.{domain(rng)}", address(rng)
    port = rng.choice((443, 22, 873, 8443))
    for i in range(20):
        time = start + 2 * 3600 + 90 * i
        track.lookup(time, name, answers=(server,))
        track.connect(time + 0.3, server, port, 80_000_000, 20_000, 60.0)
    return [track]


def updates(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """Programs that fetch programs: updates by name, pieces from a content network's address, games, package mirrors."""
    tracks = []
    for client in clients[:4]:
        track, mirror, server = Track(client), f"{rng.choice(('dl', 'download', 'update', 'archive', 'pkg'))}.{domain(rng)}", address(rng)
        agent = rng.choice(
            (
                "Microsoft-Delivery-Optimization/10.1",
                "Valve/Steam HTTP Client 1.0",
                "Debian APT-HTTP/1.3 (2.6.1)",
                "Microsoft BITS/7.8",
                "Avast Antivirus",
            )
        )
        edge = address(rng)
        for time in _times(rng, start, 25):
            track.lookup(time, mirror, answers=(server,))
            track.request(
                time + 0.1,
                server,
                f"/{word(rng)}/{word(rng)}-{rng.randrange(99)}.{rng.choice(('exe', 'cab', 'msi', 'deb', 'zip'))}",
                agent,
                host=mirror,
                mime="application/octet-stream",
                back=900_000,
            )
            track.request(
                time + 5,
                edge,
                f"/filestreamingservice/files/{uuid.UUID(int=rng.getrandbits(128))}?P1={rng.randrange(10**9)}",
                agent,
                status=206,
                mime="application/octet-stream",
                back=900_000,
            )
        tracks.append(track)
    return tracks


def peers(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """File sharing, games and calls: many addresses without a name, odd ports, connections that fail."""
    track = Track(clients[0])
    for time in _times(rng, start, 300):
        alive = rng.random() < 0.4
        track.connect(time, address(rng), rng.randrange(10_000, 65_000), 40_000, 60_000 if alive else 0, 30.0)
    tracker = f"tracker.{domain(rng)}"
    for time in _times(rng, start, 12):
        server = address(rng)
        track.lookup(time, tracker, answers=(server,))
        track.request(
            time + 0.2,
            server,
            f"/announce?info_hash={rng.randbytes(10).hex()}&port=51413",
            "Transmission/3.00",
            host=tracker,
            port=6969,
            mime="text/plain",
        )
    return [track]


def things(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """Cameras, speakers and televisions: a beat to their maker, by TLS, MQTT or plain web requests."""
    tracks = []
    for client in clients[:4]:
        track, name, server, port = (
            Track(client),
            f"{rng.choice(('mqtt', 'api', 'device', 'p2p', 'iot'))}.{domain(rng)}",
            address(rng),
            rng.choice((443, 8883, 1883, 80)),
        )
        for time in range(rng.randrange(300), DAY, 300):
            if time % 1800 < 300:
                track.lookup(start + time, name, answers=(server,))
            if port == 80:
                track.request(
                    start + time + 0.3,
                    server,
                    "/v1/heartbeat",
                    rng.choice(("", "okhttp/4.9")),
                    host=name,
                    method="POST",
                    out=120,
                    mime="application/json",
                )
            else:
                track.connect(start + time + 0.3, server, port, 500, 400, 1.0)
        tracks.append(track)
    return tracks


def own_server(rng: random.Random, clients: list[str], start: float) -> list[Track]:
    """The network's web server as the world sees it: crawlers that meet missing pages, searches for odd words, stray knocks."""
    tracks, server, words = (
        [],
        "10.77.0.80",
        ("select a plan", "union jobs", "drop box", "o'brien", "c++ <vector>", "script writing", "50% off"),
    )
    for _ in range(6):
        crawler = Track(address(rng))
        for time in _times(rng, start, 40, 0, 24):
            crawler.request(
                time,
                server,
                f"/{word(rng)}/{rng.randrange(9999)}",
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                status=rng.choice((200, 200, 404)),
            )
        tracks.append(crawler)
    for _ in range(20):
        visitor = Track(address(rng))
        for time in _times(rng, start, 8, 0, 24):
            visitor.request(
                time, server, f"/search?q={rng.choice(words).replace(' ', '+')}&user={person(rng)}", rng.choice(BROWSERS), status=200
            )
        tracks.append(visitor)
    for _ in range(15):
        knock = Track(address(rng))
        knock.connect(start + rng.uniform(0, DAY), server, rng.choice((22, 23, 445, 3389, 8080)), 0, 0)
        tracks.append(knock)
    return tracks


NOISE: dict[str, Noise] = {
    noise.__name__.replace("_", " "): noise
    for noise in (
        *(browsing, content_networks, antivirus, mail_server, mail_clients, probes, search_suffix, broken_resolver, monitoring, backups),
        *(updates, peers, things, own_server),
    )
}
