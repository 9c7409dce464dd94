"""Allow-lists: strings that never alarm, each with the reason why."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.hostnames import hostname
from edge_demist.sensor.detect.linear_regex import LinearRegex, NotRegularError
from edge_demist.sensor.public_suffix import is_shared, registrable_domain
from edge_demist.sensor.toml_files import read_toml

MAX_REGEX_CHARS = 2048
SHARED_SITES = frozenset(
    re.findall(
        r"\S+",
        """
        google.com sharepoint.com live.com office.com dropbox.com box.com github.com gitlab.com bitbucket.org medium.com notion.so
        wetransfer.com mediafire.com mega.nz archive.org pastebin.com facebook.com linkedin.com youtube.com reddit.com yahoo.com
        icloud.com adobe.com canva.com typeform.com jotform.com discordapp.com discord.com telegram.org t.me bit.ly t.co
        tinyurl.com slack.com atlassian.net zendesk.com salesforce.com amazon.com microsoft.com 1drv.ms onedrive.com we.tl goo.gl
        g.co ow.ly is.gd v.gd cutt.ly rebrand.ly rb.gy shorturl.at s.id buff.ly lnkd.in linktr.ee forms.gle telegra.ph tumblr.com
        googleapis.com dropboxusercontent.com
        """,
    )
)
"""Sites where anyone can put a page, a file or a redirection, which are no public suffixes."""
SHARED_PARENTS = frozenset(
    re.findall(
        r"\S+",
        """
        sharepoint.com onmicrosoft.com fastly.net akamaihd.net akamaized.net edgekey.net edgesuite.net llnwd.net hwcdn.net
        cdn77.org googleusercontent.com 000webhostapp.com zendesk.com atlassian.net slack.com salesforce.com force.com
        typeform.com tumblr.com medium.com substack.com notion.site dropboxusercontent.com service-now.com freshdesk.com
        okta.com auth0.com zohosites.com backblazeb2.com digitaloceanspaces.com linodeobjects.com wasabisys.com aliyuncs.com
        myqcloud.com incapdns.net impervadns.net weebly.com glitch.me jimdo.com jimdofree.com jimdosite.com strikingly.com
        wordpress.com livejournal.com hatenablog.com over-blog.com webnode.com webnode.page ucoz.com ucoz.net ucoz.ru narod.ru
        altervista.org rf.gd epizy.com infinityfreeapp.com unaux.com byethost.com byethost7.com awardspace.com atwebpages.com
        tripod.com angelfire.com freehostia.com hostfree.pw profreehost.com serveo.net loca.lt localtunnel.me pagekite.me
        portmap.io freemyip.com mooo.com chickenkiller.com us.to azureedge.net azurefd.net trafficmanager.net cloudapp.net
        windows.net akamai.net akadns.net cloudflare.net b-cdn.net kxcdn.com stackpathcdn.com bcebos.com volces.com
        hwclouds.com oraclecloud.com oraclevcn.com appdomain.cloud contaboserver.net your-server.de vultrusercontent.com
        linodeusercontent.com ovh.net secureserver.net myftpupload.com kinsta.cloud wpengine.com pantheonsite.io
        wpenginepowered.com gitbook.io readme.io carrd.co framer.app framer.website framer.ai webflow.io bubbleapps.io
        squarespace.com bigcartel.com myshopify.com kajabi.com mykajabi.com teachable.com thinkific.com hs-sites.com
        hubspotpagebuilder.com hubspotpagebuilder.eu mailchimpsites.com list-manage.com sendgrid.net mktoweb.com
        exacttarget.com constantcontact.com formstack.com myworkdayjobs.com myworkday.com onelogin.com oktapreview.com
        webex.com zoom.us egnyte.com supabase.co replit.app replit.dev csb.app stackblitz.io codesandbox.io github.dev
        codeberg.page sourceforge.net sourceforge.io appspot.com firebaseio.com web.core.windows.net duckdns.org no-ip.com
        canva.site my.canva.site godaddysites.com wixstudio.com yolasite.com site123.me ukit.me tilda.ws tildacdn.com
        nethouse.ru blogspot.com ghost.io bravesites.com moonfruit.com simdif.com zyrosite.com gofile.io googleapis.com
        amazonaws.com cloudfront.net myfritz.net synology.me quickconnect.to freshservice.com helpscoutdocs.com uservoice.com
        statuspage.io
        """,
    )
)
"""Domains below which each customer has a name, and which are no public suffixes."""
_KINDS = ("exact", "suffix", "regex")
_ADDRESS = re.compile(r"[\d.]+\Z", re.ASCII)
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.\-]*://")


@dataclass(frozen=True, slots=True)
class AllowRule:
    """One rule. ``suffix`` matches a host name and everything below it, also as the host of a URL."""

    kind: str
    value: str
    reason: str
    task: str = "*"
    expires: str = ""
    pattern: LinearRegex | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse unknown kinds, empty values and missing reasons; compile the pattern."""
        if self.kind not in _KINDS:
            raise InputError(f"allow rule: kind {self.kind!r} is none of {', '.join(_KINDS)}")
        if not self.value.strip(".") or not self.reason.strip():
            raise InputError(f"allow rule {self.value!r}: value and reason must not be empty")
        if self.expires:
            try:
                date.fromisoformat(self.expires)
            except ValueError as error:
                raise InputError(f"allow rule {self.value!r}: expires must be a date such as 2026-12-31, not {self.expires!r}") from error
        if self.kind == "regex":
            try:
                object.__setattr__(self, "pattern", LinearRegex(self.value))
            except (re.error, NotRegularError, RecursionError, OverflowError) as error:
                raise InputError(f"allow rule {self.value!r}: {error}") from error

    @property
    def is_over(self) -> bool:
        """Whether the last day of the rule has passed."""
        return bool(self.expires) and date.fromisoformat(self.expires) < datetime.now(UTC).date()

    def matches(self, text: str, task: str) -> bool:
        """Whether the rule silences this string for this specialist. Patterns must match the whole string."""
        if self.task not in ("*", task):
            return False
        if self.kind == "exact":
            return text == self.value or hostname(text) == self.value
        if self.kind == "suffix":
            host, suffix = host_of(text), hostname(self.value).lstrip(".")
            return host == suffix or host.endswith("." + suffix)
        return self.pattern is not None and len(text) <= MAX_REGEX_CHARS and self.pattern.fullmatch(text)

    def __str__(self) -> str:
        """For the event that the rule silenced."""
        return f"allow-list: {self.reason}"


def host_of(text: str) -> str:
    """The host name of a host name or URL."""
    host = re.split(r"[/?#\\]", _SCHEME.sub("", text), maxsplit=1)[0].rpartition("@")[2]
    return hostname(re.sub(r":\d*\Z", "", host))


class AllowList:
    """All rules; exact ones are looked up, the others tried in order."""

    def __init__(self, rules: Iterable[AllowRule] = ()) -> None:
        """Index the rules."""
        self.rules = tuple(rules)
        self._exact: dict[str, list[AllowRule]] = {}
        for rule in self.rules:
            if rule.kind == "exact":
                self._exact.setdefault(rule.value, []).append(rule)
        self._tried = tuple(rule for rule in self.rules if rule.kind != "exact")

    def check(self, tasks: Iterable[str]) -> None:
        """Refuse a rule for a specialist that is not there (InputError)."""
        known = {"*", *tasks}
        for rule in self.rules:
            if rule.task not in known:
                import difflib

                near = difflib.get_close_matches(rule.task, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
                raise InputError(f"allow rule {rule.value!r}: there is no specialist {rule.task!r}; {hint}")

    def find(self, text: str, task: str) -> AllowRule | None:
        """The first rule that silences the string."""
        candidates: list[AllowRule] = [*self._exact.get(text, []), *self._exact.get(hostname(text), []), *self._tried]
        return next((rule for rule in candidates if rule.matches(text, task)), None)


def load_allow_lists(paths: Iterable[Path]) -> AllowList:
    """Read TOML files of ``[[allow]]`` tables with ``kind``, ``value``, ``reason`` and optionally ``task`` and ``expires``.

    Expired rules are left out.

    Raises:
        InputError: a file cannot be read or a rule is wrong.
    """
    rules: list[AllowRule] = []
    for path in paths:
        try:
            data = read_toml(path)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"allow-list {path}: {error}") from error
        tables = data.get("allow", [])
        if set(data) - {"allow"} or not isinstance(tables, list):
            raise InputError(f"allow-list {path}: expected [[allow]] tables and nothing else")
        rules.extend(_rule(path, table) for table in tables)
    return AllowList(rule for rule in rules if not rule.is_over)


def _rule(path: Path, table: object) -> AllowRule:
    if not isinstance(table, dict) or set(table) - {"kind", "value", "reason", "task", "expires"}:
        raise InputError(f"allow-list {path}: a rule has kind, value, reason, task and expires, nothing else: {table!r}")
    table = {key: value.isoformat() if key == "expires" and isinstance(value, date) else value for key, value in table.items()}
    if not all(isinstance(value, str) for value in table.values()):
        raise InputError(f"allow-list {path}: all values of a rule are strings: {table!r}")
    try:
        return AllowRule(
            table.get("kind", ""), table.get("value", ""), table.get("reason", ""), table.get("task", "*"), table.get("expires", "")
        )
    except InputError as error:
        raise InputError(f"allow-list {path}: {error}") from error


def suggest(text: str, task: str) -> dict[str, str]:
    """The narrowest useful rule that would silence an alarm: the owner's domain for host names and URLs, the address, else the string.

    Never a domain under which others have names of their own (public suffixes, their private part included), and for sites
    where anyone can put a page, the page alone.
    """
    host_tasks = ("dga", "hostname", "dns-tunnel", "url-phishing")
    host = host_of(text)
    if task.startswith(host_tasks) and _ADDRESS.match(host):
        return {"task": task, "kind": "suffix", "value": host}
    site = registrable_domain(host) if task.startswith(host_tasks) and all(host.split(".")) else ""
    if site in SHARED_PARENTS:
        site = ".".join(host.split(".")[-site.count(".") - 2 :])
        site = "" if site in SHARED_PARENTS else site
    if site and not is_shared(site) and not (task.startswith("url") and site in SHARED_SITES):
        return {"task": task, "kind": "suffix", "value": site}
    return {"task": task, "kind": "exact", "value": text[:MAX_REGEX_CHARS]}
