"""Contacts: what speaks against one client's traffic with one host. Each sign counts once, however often it is seen.

A host is a registrable domain (below shared suffixes each owner's own) or an address that no name was looked up for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from edge_demist.sensor.incidents.case import Case
from edge_demist.sensor.incidents.counters import Beat
from edge_demist.sensor.incidents.observation import Observation, is_address
from edge_demist.sensor.restoring import real, whole

MAX_NAMES = 6
MAX_URLS = 4
PROGRAMS = re.compile(
    r"\.(?:exe|dll|scr|ps1|bat|cmd|vbs|vbe|hta|msi|jar|apk|bin|elf|sh|lnk|iso|img|cab|zip|rar|7z|tgz|xz|dat|docm|xlsm|jse|wsf)\Z", re.I
)
PROGRAM_TYPES = re.compile(r"dosexec|x-msdownload|x-executable|x-rar|x-7z|x-elf|java-archive|vnd\.android", re.I)
ANY_BYTES = "octet-stream"
"""What servers call a program, and what they call any answer that is no text: of the latter only what was fetched counts."""
SCRIPTS = re.compile(r"\.(?:php\d?|aspx?|jsp|cgi|pl)\Z", re.I)
OWN_ADDRESS = re.compile(
    r"(?:^|\.)(?:[a-z]*(?:my|check|get|what|show|haz|external|public|echo|geo|your|free|ident|wtfis)[a-z]*-?)?ip"
    r"(?:ify|info|-?api|echo|who[a-z]*|lookup|check|-?addr[a-z]*|-?score|stack|geo[a-z]*|location|data)?(?:\.|\Z)|ifconfig|geoplugin"
)
"""A service that tells callers their own address, by the words of its name."""
MAIL_PORTS = frozenset({25, 465, 587, 2525})
MAILBOX_PORTS = frozenset({110, 143, 993, 995})
TRANSFER_PORTS = frozenset({20, 21, 69, 989, 990})
BROWSERS = frozenset({"browser-desktop", "browser-mobile", "tv-console-iot"})
NAME_SIGNS = frozenset(
    {"threat_1", "threat_2", "threat_3", "generated", "shared_suffix", "phishing_2", "phishing_3", "others", "known", "own_address"}
)
"""What is known of a contact by its name and address alone, without anything that the client did."""
SUSPECTED = frozenset({"threat_1", "generated", "phishing_2"})
DEEDS = frozenset({"post", "program", "odd_port", "program_agent", "no_agent", "mail_port", "transfer_port", "upload", "big_upload"})
"""A name or an address that looks bad is common among ten thousand, and so is a program that sends data; both at one host are rare."""
REGULAR = 0.5
USUAL_PAGES = 4
BIG_UPLOAD = 1 << 20
USUAL_PORTS = frozenset(
    {22, 53, 80, 88, 110, 123, 137, 138, 139, 143, 161, 389, 443, 445, 500, 636, 853, 993, 995, 1900, 3389, 3478, 4500, 5222, 5228}
    | {5353, 5355, 8080, 8443, 19302}
)


@dataclass(slots=True)
class Contact(Case):
    """Key: (client, host)."""

    kind: ClassVar[str] = "contact"
    signs: dict[str, float] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    urls: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    beat: Beat | None = None
    contacts: int = 0
    pages: int = 0

    def add_name(self, seen: Observation, levels: Mapping[str, int], *, shared: bool) -> bool:
        """What the specialists say about the host's name; ``levels``: 0 to 3 by task."""
        changed = False
        threat, generated = levels.get("hostname-threat", 0), levels.get("dga", 0)
        for level in range(1, threat + 1):
            changed |= self._sign(f"threat_{level}", seen, seen.name)
        if generated:
            changed |= self._sign("generated", seen, seen.name)
        if shared:
            changed |= self._sign("shared_suffix", seen, seen.name)
        if seen.name and seen.name not in self.names and len(self.names) < MAX_NAMES:
            self.names.append(seen.name)
        return changed

    def add_request(self, seen: Observation, *, named: bool) -> bool:
        """A web request."""
        levels, agent = seen.levels, seen.agent_kind
        self.pages += agent in BROWSERS and seen.method == "GET" and seen.status == 200
        path = seen.uri.split("?", 1)[0]
        bare, url = not named and is_address(seen.name or seen.server), (seen.name + seen.uri)[:300]
        kind = PROGRAM_TYPES.search(seen.service) or (seen.method == "GET" and ANY_BYTES in seen.service)
        program = seen.status in (0, 200) and bool(PROGRAMS.search(path) or kind)
        # pages that phish are read with browsers; what else is fetched from a bare address has addresses of that look too
        phishing = levels.get("url-phishing", 0) if not bare or agent in BROWSERS else 0
        script = seen.method == "POST" and bool(SCRIPTS.search(path))
        found = {
            "phishing_2": phishing >= 2,
            "phishing_3": phishing >= 3,
            "bare_address": bare,
            "no_agent": not seen.agent,
            "program_agent": bool(seen.agent) and agent in ("http-library", "attack-tool"),
            "post": seen.method == "POST",
            "post_script": script,
            "post_to_address": bare and seen.method == "POST",
            "program": program,
            "program_from_address": program and bare,
            "odd_port": seen.port > 0 and seen.port not in USUAL_PORTS,
        }
        changed = False
        for sign, there in found.items():
            if there:
                changed |= self._sign(sign, seen, url)
        if changed and url not in self.urls and len(self.urls) < MAX_URLS:
            self.urls = (*self.urls, url)
        return changed

    def add_session(self, seen: Observation, *, named: bool, mails: bool) -> bool:
        """A connection that carried data both ways, or a TLS handshake; ``mails``: it carries mail, and the client is no mail server."""
        text = f"{seen.server}:{seen.port}"
        changed = False
        if seen.kind == "tls":
            return self._sign("unnamed_tls", seen, text) if not named else False
        if seen.failed or not seen.bytes_in or seen.query_type != "tcp":
            return False
        sends = seen.bytes_out > seen.bytes_in
        if seen.port in MAIL_PORTS:
            changed |= mails and named and self._sign("mail_port", seen, text)
        elif seen.port in MAILBOX_PORTS:
            changed |= self._sign("mailbox", seen, text)
        elif seen.port in TRANSFER_PORTS and named:
            changed |= self._sign("transfer_port", seen, text)
        elif seen.port not in USUAL_PORTS:
            changed |= self._sign("odd_port" if named else "odd_port_unnamed", seen, text)
            if named and "shared_suffix" in self.signs:
                changed |= self._sign("odd_port_shared", seen, text)
            if named and sends and "transfer_port" in self.signs:
                changed |= self._sign("upload", seen, text)
        if sends and seen.bytes_out >= BIG_UPLOAD:
            changed |= self._sign("big_upload", seen, text)
        if changed and seen.port not in self.ports and len(self.ports) < MAX_URLS:
            self.ports = (*self.ports, seen.port)
        return changed

    def tick(self, time_us: int) -> None:
        """A connection, for the intervals between them."""
        if self.beat is None:
            self.beat = Beat()
        self.beat.add(time_us)

    @staticmethod
    def tells_own_address(name: str) -> bool:
        """Whether a name is that of a service which tells callers their own address."""
        return ("ip" in name or "ifconfig" in name or "geoplugin" in name) and OWN_ADDRESS.search(name) is not None

    def note(self, sign: str, seen: Observation) -> bool:
        """A sign from the context."""
        return self._sign(sign, seen, seen.name or seen.server)

    def _sign(self, sign: str, seen: Observation, text: str) -> bool:
        if sign in self.signs:
            return False
        self.signs[sign] = 1.0
        self.remember(sign, text, seen.file, seen.offset)
        return True

    def features(self) -> dict[str, float]:
        """The signs, and how far the specialists agree."""
        found = dict(self.signs)
        if "shared_suffix" in found and NAME_SIGNS.issuperset(found):  # previews and the like have such names: it adds to what was done
            del found["shared_suffix"]
        found["agreement"] = max(0, ("threat_1" in found) + ("generated" in found) + ("phishing_2" in found) - 1)
        if self.beat is not None and self.beat.period_s >= 5:
            found["beacon"] = self.beat.regularity
        if not SUSPECTED.isdisjoint(found) and (not DEEDS.isdisjoint(found) or found.get("beacon", 0.0) > REGULAR):
            found["looks_and_acts"] = 1.0
        if self.pages > USUAL_PAGES:
            found["browsed"] = min(math.log2(self.pages / USUAL_PAGES), 4.0)
        return found

    def entities(self) -> list[str]:
        """The names looked up, or the address."""
        return self.names or [self.key[1]]

    def state(self) -> list[object]:
        """For the checkpoint."""
        return [
            self._shared_state(),
            self.signs,
            self.names,
            self.urls,
            self.ports,
            self.beat.state() if self.beat else None,
            self.contacts,
            self.pages,
        ]

    @classmethod
    def restored(cls, key: tuple[str, ...], state: Sequence[object]) -> Contact:
        """From the checkpoint."""
        case = cls(key)
        shared, signs, names, urls, ports, beat, contacts, pages = state
        case._restore_shared(shared)  # type: ignore[arg-type]
        case.signs = {str(k): real(v) for k, v in signs.items()}  # type: ignore[attr-defined]
        case.names, case.urls = [str(n) for n in names], tuple(str(u) for u in urls)  # type: ignore[attr-defined]
        case.ports = tuple(whole(p) for p in ports)  # type: ignore[attr-defined]
        case.beat = None if beat is None else Beat.restored(beat)  # type: ignore[arg-type]
        case.contacts, case.pages = whole(contacts), whole(pages)
        return case
