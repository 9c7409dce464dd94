"""Ordinary searches in query languages of trackers and logs: their words and quotes are those of injections.

Forms: Atlassian's JQL, Kibana's KQL and Lucene's query parser syntax, as their manuals show them.
"""

from __future__ import annotations

import random

from tools.synth.words import syllables, word

FIELDS = ("status", "assignee", "reporter", "priority", "labels", "sprint", "component", "fixVersion", "resolution", "issuetype", "text")
VALUES = ("Open", '"In Review"', "Done", "currentUser()", "High", "Bug", "Unresolved", "EMPTY", "openSprints()", '"To Do"', "Story")
ORDERS = ("", " ORDER BY updated DESC", " order by created", " ORDER BY priority DESC, updated ASC", " order by Rank ASC")
LOG_FIELDS = ("status", "host.name", "response", "event.code", "source.ip", "log.level", "url", "user.name", "http.response.status_code")


def _clause(rng: random.Random) -> str:
    field, value = rng.choice(FIELDS), rng.choice((*VALUES, word(rng), f'"{word(rng)} {word(rng)}"'))
    forms = (
        f"{field} = {value}",
        f"{field} != {value}",
        f"{field} in ({value}, {word(rng).title()})",
        f"{field} not in ({value})",
        f"{rng.choice(('created', 'updated', 'duedate'))} >= -{rng.randint(1, 30)}{rng.choice('dwh')}",
        f"{field} ~ {value}",
        f"{field} is {rng.choice(('', 'not '))}EMPTY",
    )
    return rng.choice(forms)


def jql(rng: random.Random) -> str:
    """A search of issues."""
    forms = (f"project = {syllables(rng, 1).upper()}", f'project = "{word(rng).title()}"', _clause(rng))
    clauses = [rng.choice(forms), *(_clause(rng) for _ in range(rng.randint(1, 3)))]
    return f" {rng.choice(('AND', 'and', 'OR'))} ".join(clauses) + rng.choice(ORDERS)


def kql(rng: random.Random) -> str:
    """A search of a log."""
    parts = []
    for _ in range(rng.randint(1, 3)):
        words = (
            str(rng.randrange(600)),
            f'"{word(rng)}"',
            f"*{word(rng)}*",
            f"({word(rng)} or {word(rng)})",
            f"[{rng.randrange(9)} TO 99]",
        )
        parts.append(rng.choice(LOG_FIELDS) + rng.choice((":", ":", " : ", " >= ", " < ")) + rng.choice(words))
    return rng.choice((" and ", " AND ", " or ", " AND NOT ", " and not ")).join(parts)


def _number(rng: random.Random) -> str:
    return str(rng.choice((rng.randrange(10), rng.randrange(100), rng.randrange(1000), round(rng.random() * 99, 2))))


def kusto(rng: random.Random) -> str:
    """A query of Kusto (Azure Monitor, Defender), as its manual shows it."""
    table = rng.choice(
        ("SecurityEvent", "SigninLogs", "AzureActivity", "Heartbeat", "Perf", "AppTraces", "requests", "DeviceProcessEvents")
    )
    file = rng.choice(("powershell.exe", "cmd.exe", "svchost.exe", f"{word(rng)}.exe", word(rng)))
    how = rng.choice(("=~", "has", "contains", "startswith"))
    count, column = (
        rng.choice(("count()", "avg(CounterValue)", "dcount(Account)")),
        rng.choice(("Computer", "Account", "bin(TimeGenerated, 1h)")),
    )
    steps = (
        f"where {rng.choice(('EventID', 'Level', 'ResultType'))} {rng.choice(('==', '!=', '>'))} {_number(rng)}",
        f'where {rng.choice(("FileName", "Computer", "Account"))} {how} "{file}"',
        f"where TimeGenerated > ago({rng.randrange(1, 30)}{rng.choice('dhm')})",
        f"summarize {count} by {column}",
        f"project {word(rng).title()}, {word(rng).title()}",
        f"{rng.choice(('take', 'limit', 'top'))} {rng.randrange(1, 100)}",
        f"sort by {rng.choice(('TimeGenerated', 'count_'))} desc",
        f"extend {word(rng)} = tostring({word(rng).title()})",
    )
    return " | ".join([table, *rng.sample(steps, rng.randint(1, 3))])


def spl(rng: random.Random) -> str:
    """A search of Splunk, as its manual shows it."""
    first = f"{rng.choice(('search ', '', '| tstats count where '))}index={rng.choice(('main', '_internal', 'web', 'windows', word(rng)))}"
    middle = rng.choice(
        (f" sourcetype={word(rng)}", f' host="{word(rng)}-{rng.randrange(9)}"', f" status={rng.randrange(200, 504)}", f" {word(rng)}", "")
    )
    steps = (
        f"stats {rng.choice(('count', 'avg(duration)', 'dc(user)', 'values(src)'))} by {rng.choice(('host', 'uri', 'user', 'src_ip'))}",
        f"timechart span={rng.randrange(1, 60)}m count",
        f"eval {word(rng)}=if({word(rng)}>{_number(rng)}, 1, 0)",
        f"where {word(rng)}>{_number(rng)}",
        f'rex field=_raw "{word(rng)}=(?<{word(rng)}>\\w+)"',
        f"table _time, {word(rng)}",
        f"head {rng.randrange(1, 100)}",
        f"sort -{word(rng)}",
        f"rename {word(rng)} as {word(rng)}",
    )
    return " | ".join([first + middle, *rng.sample(steps, rng.randint(0, 3))])


def lucene(rng: random.Random) -> str:
    """A query of Lucene, Solr or a search box with fields, as their manuals show them."""
    forms = (
        f'{word(rng)}:"{word(rng)} {word(rng)}" {rng.choice(("AND", "OR", "NOT"))} {word(rng)}:{word(rng)}',
        f"{word(rng)}:[{rng.randrange(1990, 2020)} TO {rng.randrange(2020, 2030)}]",
        f'+{word(rng)} -{word(rng)} "{word(rng)} {word(rng)}"~{rng.randrange(1, 9)}',
        f"({word(rng)} OR {word(rng)}) AND {word(rng)}*",
        f"{word(rng)}~{rng.randrange(1, 3)} {word(rng)}^{rng.randrange(2, 9)}",
        f'is:{rng.choice(("open", "unread", "pr", "issue"))} label:"{word(rng)} {word(rng)}" author:{word(rng)}',
        f'from:{word(rng)} subject:"{word(rng)} {word(rng)}" has:attachment',
        f'"{word(rng)} {word(rng)}" -{word(rng)} site:{word(rng)}.example',
        f"-{word(rng)} | {word(rng)} + ({word(rng)})",
    )
    return rng.choice(forms)


def odata(rng: random.Random) -> str:
    """Options of an OData request, as the standard shows them."""
    value = rng.choice(
        (
            _number(rng),
            f"'{word(rng).title()}'",
            f"'{word(rng).title()} {word(rng)}'",
            "true",
            "null",
            f"datetime'20{rng.randrange(10, 26)}-01-01'",
        )
    )
    clauses = (
        f"{word(rng).title()} {rng.choice(('eq', 'ne', 'gt', 'ge', 'lt', 'le'))} {value}",
        f"{rng.choice(('contains', 'startswith', 'endswith'))}({word(rng).title()},'{word(rng)}')",
        f"substringof('{word(rng)}',{word(rng).title()})",
        f"{word(rng).title()}/any(d:d/{word(rng).title()} {rng.choice(('eq', 'gt'))} {value})",
    )
    text = "$filter=" + rng.choice((" and ", " or ")).join(rng.sample(clauses, rng.randint(1, 2)))
    more = (
        f"&$orderby={word(rng).title()} desc",
        f"&$top={rng.randrange(1, 100)}",
        f"&$select={word(rng).title()},{word(rng).title()}",
        "&$count=true",
    )
    return text + "".join(rng.sample(more, rng.randint(0, 2)))


def graphql(rng: random.Random) -> str:
    """A query of GraphQL, as its specification shows it."""
    fields = " ".join(word(rng) for _ in range(rng.randint(1, 4)))
    forms = (
        f"{{{word(rng)}(id:{rng.randrange(1, 9999)}){{{fields}}}}}",
        f"query {word(rng).title()}($id: ID!) {{ {word(rng)}(id: $id) {{ {fields} }} }}",
        f'{{ {word(rng)}(first: {rng.randrange(1, 50)}, after: "{word(rng)}") {{ edges {{ node {{ {fields} }} }} }} }}',
        f'mutation {{ {word(rng)}(input: {{{word(rng)}: "{word(rng)}"}}) {{ {fields} }} }}',
        "{__typename}",
    )
    return rng.choice(forms)


def promql(rng: random.Random) -> str:
    """A query of Prometheus or Loki, as their manuals show them."""
    labels = f'{word(rng)}{rng.choice(("=", "!=", "=~", "!~"))}"{rng.choice((word(rng), "5..", f"{word(rng)}|{word(rng)}", ".+"))}"'
    metric = f"{rng.choice(('http_requests', 'node_cpu_seconds', 'process_open_fds', word(rng)))}{rng.choice(('_total', '', '_bucket'))}"
    forms = (
        f"sum(rate({metric}{{{labels}}}[{rng.randrange(1, 30)}m])) by ({word(rng)})",
        f"histogram_quantile(0.{rng.randrange(50, 99)}, sum(rate({metric}[5m])) by (le))",
        f"{metric}{{{labels}}} > {_number(rng)}",
        f'{{{labels}}} {rng.choice(("|=", "!=", "|~"))} "{word(rng)}" | {rng.choice(("json", "logfmt"))}',
        f"avg_over_time({metric}[{rng.randrange(1, 24)}h]) / {_number(rng)}",
        f"topk({rng.randrange(1, 20)}, {metric})",
    )
    return rng.choice(forms)


def quoted(rng: random.Random) -> str:
    """Ordinary prose with quotes, apostrophes and words that queries have as well."""
    a, b, c = (word(rng) for _ in range(3))
    verbs = ("select", "union", "drop", "insert", "update", "delete", "order", "table", "where", "join", "group", "having", "like")
    verb = rng.choice(verbs)
    forms = (
        f"this is a '{a}' {b}", f'a "{a} {b}" for {c}', f"{a} isn't {b}", f"the {a}'s {b} {c}", f"{a} 'n' {b}",
        f"it's {rng.randrange(1, 13)} o'clock", f"{rng.choice(('O', 'D'))}'{a.title()}", f"don't {verb} the {a}",
        f"{verb} a {a} from the {b}", f"how to {verb} {a} and {b}", f"{a} {verb} {b} for sale", f"{verb} your {a}", f"'{a}'", f'"{a}"',
        f"{a} (the '{b}' {c})", f"what does '{a} {b}' mean?", f"{a} & {b} {c}!", f"which {a} or {b}; {c}", f"I <3 {a} & {b}",
        f"{a} > {b}", f"{a} -- {b}", f'{a}: "{b}"', f"rock 'n' {a}", f"{a} vs. {b} ({rng.randrange(1900, 2030)})",
    )  # fmt: skip
    return rng.choice(forms)


def beacon(rng: random.Random) -> str:
    """A measurement that a page sends: braces, colons and commas without quotes, and JSON."""
    values = [rng.choice((_number(rng), word(rng), syllables(rng, 2), "-1", "true")) for _ in range(rng.randint(2, 9))]
    pairs = [f"{word(rng)[: rng.randint(1, 9)]}:{value}" for value in values]
    record = ",".join(
        f'"{word(rng)}":{value}' for value in rng.choices((_number(rng), f'"{word(rng)}"', "null", "[]"), k=rng.randint(1, 6))
    )
    forms = (
        f"/{word(rng)}?{word(rng)}={rng.randrange(10**6)}&tv={{{','.join(pairs)}}}",
        f"/collect?v=1&{word(rng)[0]}={{{','.join(pairs)}}}&z={rng.randrange(10**9)}",
        f"/pixel.gif?d={{{record}}}",
        f"/{word(rng)}/track?data=[{{{record}}}]&t={rng.randrange(10**9)}",
        f"/ads?targeting={{{';'.join(pairs)}}}&size={rng.choice(('300x250', '728x90', '[[300,250],[728,90]]'))}",
        f"/{word(rng)}?fields={word(rng)}({word(rng)},{word(rng)}),{word(rng)}",
    )
    return rng.choice(forms)


def sign_in(rng: random.Random) -> str:
    """Parameters of a sign-in by OAuth 2.0, OpenID Connect or CAS, and of a return to one's own site."""
    site = (
        f"{rng.choice(('app', 'www', 'portal', 'login', word(rng)))}.{word(rng)}{rng.choice(('.com', '.org', '.example', '.net', '.io'))}"
    )
    back = rng.choice(
        (f"https://{site}/{rng.choice(('callback', 'oauth2/callback', 'signin-oidc', word(rng)))}", f"https%3A%2F%2F{site}%2Fcallback")
    )
    scopes = rng.sample(
        ("openid", "profile", "email", "offline_access", "User.Read", f"{word(rng)}.read", "address", "phone"), rng.randint(1, 4)
    )
    parts = [
        f"response_type={rng.choice(('code', 'token', 'id_token', 'code id_token', 'code%20id_token'))}",
        f"client_id={rng.choice((word(rng), str(rng.randrange(10**9)), syllables(rng, 3), f'{word(rng)}-{word(rng)}'))}",
        f"redirect_uri={back}",
        f"scope={rng.choice((' ', '+', '%20')).join(scopes)}",
        f"state={syllables(rng, 5)}",
        f"nonce={rng.randrange(10**9)}",
        f"prompt={rng.choice(('login', 'none', 'consent', 'select_account'))}",
        "code_challenge_method=S256",
    ]
    return "&".join([*parts[:3], *rng.sample(parts[3:], rng.randint(1, 4))])


def record(rng: random.Random) -> str:
    """A value that holds a JSON object, a formula or a template of a mail."""
    a, b, c = (word(rng) for _ in range(3))
    forms = (
        f'{{"{a}":"{b.title()}","{c}":{_number(rng)}}}', f'{{"{a}":{{"{b}":{_number(rng)}}},"{c}":["{b}","{a}"]}}',
        f'[{{"{a}":"{b} {c}"}}]',
        f"{rng.randrange(1, 99)}*({rng.randrange(9)}+{rng.randrange(99)})", f"({a}+{b})/{rng.randrange(1, 9)}", f"{a}({b})",
        f"sum({a},{b})",
        f"{{{a}}}", f"{a}={{{b}}}", f"round({_number(rng)})", f"{_number(rng)}%", f"{a} ({_number(rng)})", f"{a};{b};{c}", f"{a}|{b}|{c}",
    )  # fmt: skip
    return rng.choice(forms)


LANGUAGES = (
    (jql, ("/rest/api/2/search?jql={}", "/rest/api/3/search?jql={}&maxResults=50", "/issues/?jql={}", "/search?query={}")),
    (kql, ("/_search?q={}", "/app/discover?query={}", "/api/logs?filter={}", "/search?kuery={}")),
    (kusto, ("/v1/workspaces/query?query={}", "/api/query?q={}", "/logs?kql={}", "/advancedhunting?query={}")),
    (spl, ("/services/search/jobs?search={}", "/en-US/app/search/search?q={}", "/splunk/api?query={}")),
    (lucene, ("/_search?q={}", "/solr/core/select?q={}", "/search?q={}", "/issues?q={}", "/mail?search={}", "/?s={}")),
    (odata, ("/odata/{w}?{}", "/api/{w}?{}", "/_api/web/lists?{}", "/sap/opu/odata/{w}Set?{}")),
    (graphql, ("/graphql?query={}", "/api/graphql?query={}&variables={{}}", "/gql?q={}")),
    (promql, ("/api/v1/query?query={}", "/api/v1/query_range?query={}&step=15", "/loki/api/v1/query?query={}", "/api/ds/query?expr={}")),
    (sign_in, ("/oauth/authorize?{}", "/oauth2/v2.0/authorize?{}", "/connect/authorize?{}", "/auth?{}", "/login/oauth/{w}?{}")),
    (record, ("/{w}?d={}", "/calc?expr={}", "/api/{w}?filter={}", "/{w}?{w}={}", "/i18n?key={w}&args={}", "/comment?{w}={}")),
    (quoted, ("/search?q={}", "/comment?text={}", "/?s={}", "/forum/post?title={}", "/api/{w}?{w}={}", "/share?text={}")),
)  # fmt: skip


def generate(rng: random.Random, count: int) -> list[tuple[str, str, str]]:
    """Draw ``count`` rows ``(text, "normal", language)``: a query alone, or where its program puts it."""
    rows = []
    for i in range(count):
        make, places = LANGUAGES[i % len(LANGUAGES)]
        text = make(rng)
        if rng.random() < 0.6:
            text = rng.choice(places).replace("{w}", word(rng)).replace("{{}}", "{ }").replace("{}", text, 1)
        rows.append((text, "normal", make.__name__))
    return rows
