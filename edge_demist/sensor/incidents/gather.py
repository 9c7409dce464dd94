"""From observations to cases: who is it about, what is new, which case has changed."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from edge_demist.sensor.detect.allow import AllowList
from edge_demist.sensor.incidents.case import DAY_US, Case
from edge_demist.sensor.incidents.contacts import MAIL_PORTS, Contact
from edge_demist.sensor.incidents.counters import Cases, Recent
from edge_demist.sensor.incidents.generated import GeneratedNames, Outage
from edge_demist.sensor.incidents.lookups import Noted, Row, Seen, Waiting, lookup
from edge_demist.sensor.incidents.observation import DNS, FLOW, HTTP, MAIL_TYPES, TLS, Observation, domain_of, is_address, is_internal
from edge_demist.sensor.incidents.scans import Scan
from edge_demist.sensor.incidents.tunnels import FirstName, Tunnel
from edge_demist.sensor.public_suffix import is_shared_parent
from edge_demist.sensor.restoring import whole

FIRST_CONTACT_US = 300_000_000
MAX_FIRST_CONTACTS = 4
"""Of the hosts that a client turns to after it has asked for its own address: who meets many at once is no bot that reports."""
MAX_SUB_CHARS = 24
"""A longer part before the registrable domain is judged as a tunnel's, not as a name."""
MAX_MAIL = 16_384
"""Look-ups for mail that are known, of all clients together."""
MAX_MAIL_HOSTS = 3
"""What sends mail to more hosts than this is a mail server."""
MAX_OTHERS = 7
"""More further clients of a host or zone than this say no more for it."""
MAX_MISSING = 4
"""What so many clients miss speaks against none; a host with two addresses and its resolver are up to three."""
_QUESTIONS = ("query", "request")
"""What Suricata calls a record of a question without its answer."""
_NO_LEVELS: Mapping[str, int] = MappingProxyType({})
V = TypeVar("V")


class Known(Protocol):
    """What a memory says about a domain or address."""

    first_us: int

    @property
    def others(self) -> int:
        """How many clients beside the one that asked last."""


class Remembers(Protocol):
    """The memory of hosts."""

    def touch(self, host: str, client: str, time_us: int) -> Known:
        """Note a contact; what was known before it."""

    def look_up(self, host: str) -> Known | None:
        """What is known of a domain or address."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many ordinary entries are held; a quarter as many remarkable ones beside them."""

    clients: int = 2048
    zones: int = 2048
    contacts: int = 4096
    scans: int = 1024
    addresses: int = 8192


class Gatherer:
    """All cases. State is bounded by ``limits``; everything depends on the observations and their order alone."""

    def __init__(self, memory: Remembers, weights: Mapping[str, Mapping[str, float]], limits: Limits | None = None) -> None:
        """Start empty."""
        limits = limits or Limits()
        self.memory, self._weights, self.allow = memory, weights, AllowList()
        self.names: Cases[GeneratedNames] = Cases(limits.clients, self._remarkable)
        self.tunnels: Cases[Tunnel | FirstName | Row] = Cases(limits.zones, self._remarkable)
        self.contacts: Cases[Contact] = Cases(limits.contacts, self._remarkable)
        self.scans: Cases[Scan] = Cases(limits.scans, self._remarkable)
        self._name_of: Recent[str] = Recent(limits.addresses)
        self._asked_own: Recent[int] = Recent(limits.clients)
        self._met_since: Recent[int] = Recent(limits.clients)
        self._missed_by: Recent[str] = Recent(limits.addresses)
        self._mails_to: Recent[str] = Recent(limits.clients)
        self._mail: OrderedDict[tuple[str, str], GeneratedNames] = OrderedDict()
        self._outage = Outage()

    def _remarkable(self, case: Case | FirstName | Row) -> bool:
        if not isinstance(case, Case):
            return False
        weights = self._weights[case.kind]
        if isinstance(case, Contact) and weights.get("threat_1", 0.0) > 0 and case.signs.get("threat_1", 0.0) > 0:
            return True  # as most that are looked at: without all the rest being worked out
        return bool([sign for sign, value in case.features().items() if value > 0 and weights.get(sign, 0.0) > 0])

    def add_all(self, due: Sequence[Waiting], noted: Noted) -> Iterator[tuple[int, Sequence[Case]]]:
        """Take what is due, in order; the time of each that changed cases, and the cases.

        Most look-ups are ordinary: the name exists, and nothing is held against it. What :meth:`_add_lookup` comes to for them is written
        out here, for a call costs as much as a look into a table. ``noted`` holds what specialists said; what is due leaves it.
        """
        names_of, contact_of, tunnels, touch = self.names.find, self.contacts.find, self.tunnels, self.memory.touch
        note_address, tell, rules = self._name_of.note, self._outage.answers.append, self.allow.rules
        changed: Sequence[Case]
        for row in due:
            if len(row) == 6:  # no look-up's
                yield row[0], self.add(row[5])
                continue
            time_us, _, _, _, _, client, _, _, name, _, _, answers, domain, is_ordinary = row
            said = noted.pop(id(row), None)
            for answer in answers:
                if ":" in answer or answer[-1:].isdigit():  # an address; no top level ends so
                    note_address(answer, name)
            if not domain:
                continue
            key, names = (client, domain), names_of((client,))
            is_new = contact_of(key) is None and (names is None or domain not in names.domains)
            if said or rules or not (is_ordinary and is_new):
                yield time_us, self._add_lookup(said[1] if said else lookup(row), domain)
                continue
            if names is not None:
                if names.hour_us <= time_us < names.due_us:
                    names.asked += 1
                else:
                    names.forget(time_us)
            tell((client, False))
            changed = ()
            if len(name) > len(domain) + 1:
                if tunnels.find(key) is None:  # of most zones a client asks for one name
                    tunnels.hold(key, row)
                else:
                    changed = self._add_below(lookup(row), name[: -len(domain) - 1], key)
            touch(domain, client, time_us)
            if changed:
                yield time_us, changed

    def add(self, seen: Seen) -> Sequence[Case]:
        """Take an observation; the cases it changed."""
        if seen.kind != DNS:
            return self._add_connection(seen.whole())
        for answer in seen.answers:
            if ":" in answer or answer[-1:].isdigit():  # an address; no top level ends so
                self._name_of.note(answer, seen.name)
        domain = seen.domain
        return self._add_lookup(seen, domain) if domain else ()

    # --- by kind of observation --------------------------------------------------------------------------------

    def _add_lookup(self, seen: Seen, domain: str) -> Sequence[Case]:
        client, name, key = seen.client, seen.name, (seen.client, domain)
        sub = name[: -len(domain) - 1] if len(name) > len(domain) else ""
        levels = seen.levels if len(sub) <= MAX_SUB_CHARS else _NO_LEVELS
        changed = self._add_name(seen, domain, levels)
        if sub:
            changed = [*changed, *self._add_below(seen, sub, key)]
        if seen.failed or seen.service in _QUESTIONS:  # the answer tells whether there is such a host
            return changed
        if levels and (names := self.names.find((client,))) is not None and domain in names.mail:
            levels = _NO_LEVELS
        if levels or self.contacts.find(key) is not None or Contact.tells_own_address(name):
            return [*changed, *self._add_contact(seen.whole(), domain, levels, named=True)]
        self.memory.touch(domain, client, seen.time_us)  # nothing is held against it yet: a case begins with a sign or with a connection
        return changed

    def _add_connection(self, seen: Observation) -> Sequence[Case]:
        changed: list[Case] = []
        if seen.kind == HTTP:
            changed += self._add_scan(seen)
        elif seen.kind == FLOW and seen.failed and seen.query_type == "tcp":
            changed += self._add_closed_port(seen)
        host, named = self._host_of(seen)
        if named and not seen.failed and (tunnel := self._tunnel((seen.client, host))) is not None:
            tunnel.visits += 1
        if host and (is_internal(seen.client) or not is_internal(seen.server)):
            changed += self._add_contact(seen, host, seen.levels, named=named)
            if named and seen.levels.get("dga"):  # where look-ups are encrypted, names show here alone
                changed += self._add_name(seen, host, seen.levels)
        return changed

    def _add_below(self, seen: Seen, sub: str, key: tuple[str, str]) -> Sequence[Case]:
        """A name below the registrable domain."""
        if self.tunnels.use(key) is None:
            self.tunnels.hold(key, FirstName.of(seen))
            return ()
        tunnel = self._tunnel(key)
        if tunnel is None or not tunnel.add(seen, sub, seen.tunnel):
            return ()
        known = self.memory.look_up(key[1])
        if known is not None:
            tunnel.note_memory(known.first_us, min(known.others, MAX_OTHERS))
        self.tunnels.promote(key, tunnel)
        return (tunnel,)

    def _tunnel(self, key: tuple[str, str]) -> Tunnel | None:
        """The tunnel of a key; it begins now where only a first name is held."""
        held = self.tunnels.find(key)
        if held is None or isinstance(held, Tunnel):
            return held
        tunnel = Tunnel.begun(key, held)
        self.tunnels.hold(key, tunnel)
        return tunnel

    def _add_name(self, seen: Seen, domain: str, levels: Mapping[str, int]) -> Sequence[Case]:
        """Whether the name exists, and looks generated."""
        names = self.names.find((seen.client,))
        if self.allow.rules and self.allow.find(domain, "dga") is not None:
            return ()
        level = levels.get("dga", 0)
        if level or seen.failed or seen.query_type in MAIL_TYPES or (names is not None and domain in names.domains):
            return self._add_telling(seen, domain, level)
        if levels:
            names = self.names.use((seen.client,)) or self.names.hold((seen.client,), GeneratedNames((seen.client,)))
        if names is not None:  # most look-ups: the name exists, and looks like others
            names.forget(seen.time_us)
        if seen.service not in _QUESTIONS:
            self._outage.answers.append((seen.client, False))
        return ()

    def _add_telling(self, seen: Seen, domain: str, level: int) -> Sequence[Case]:
        key = (seen.client,)
        names = self.names.use(key) or self.names.hold(key, GeneratedNames(key))
        if seen.query_type in MAIL_TYPES:
            self._note_mail(seen.client, domain, names)
        missing = seen.service not in _QUESTIONS and self._is_telling(seen, domain, level)
        if not names.add(seen, domain, level, missing=missing):
            return ()
        self.names.promote(key, names)
        return (names,)

    def _note_mail(self, client: str, domain: str, names: GeneratedNames) -> None:
        """A client has asked for a domain's mail; of all clients together the last ones are known."""
        key = (client, domain)
        self._mail[key] = names
        self._mail.move_to_end(key)
        if len(self._mail) > MAX_MAIL:
            (_, oldest), of = self._mail.popitem(last=False)
            of.mail.pop(oldest, None)

    def _is_telling(self, seen: Seen, domain: str, level: int) -> bool:
        """Whether it says something about a client that a domain does not exist for it."""
        if not level:
            self._outage.answers.append((seen.client, seen.failed))
        if not seen.failed or self._outage.is_on or self.memory.look_up(domain) is not None:
            return False
        if level:
            return True
        missing = (self._missed_by.get(domain) or "").split()
        if seen.client not in missing and len(missing) < MAX_MISSING:
            missing.append(seen.client)
            self._missed_by.note(domain, " ".join(missing))
            if len(missing) == MAX_MISSING:
                for client in missing:
                    if (held := self.names.find((client,))) is not None:
                        held.excuse(domain)
        return len(missing) < MAX_MISSING

    def _add_scan(self, seen: Observation) -> list[Case]:
        key = (seen.client, seen.server)
        case = self.scans.use(key) or self.scans.hold(key, Scan(key))
        case.inbound = is_internal(seen.server) and not is_internal(seen.client)
        case.outbound = is_internal(seen.client) and not is_internal(seen.server)
        if not case.add_request(seen):
            return []
        self.scans.promote(key, case)
        return [case]

    def _add_closed_port(self, seen: Observation) -> list[Case]:
        key = (seen.client, seen.server)
        case = self.scans.use(key) or self.scans.hold(key, Scan(key))
        if not case.add_closed_port(seen):
            return []
        self.scans.promote(key, case)
        return [case]

    def _add_contact(self, seen: Observation, host: str, levels: Mapping[str, int], *, named: bool) -> list[Case]:
        key = (seen.client, host)
        known = self.memory.touch(host, seen.client, seen.time_us)
        case = self.contacts.use(key) or self.contacts.hold(key, Contact(key))
        case.touch(seen.time_us)
        case.contacts += 1
        changed, fresh = False, seen.name not in case.names
        if seen.name and (levels or fresh) and not is_address(seen.name):
            changed |= case.add_name(seen, levels, shared=is_shared_parent(host))
        if seen.kind == HTTP:
            changed |= case.add_request(seen, named=named)
        elif seen.kind != DNS:
            changed |= case.add_session(seen, named=named, mails=seen.port in MAIL_PORTS and not self._is_mail_server(seen.client, host))
        if seen.kind != DNS:
            case.tick(seen.time_us)
        changed |= self._add_context(case, seen, fresh=fresh or case.contacts == 1)
        if case.signs:
            case.signs["others"] = math.log2(1 + min(known.others, MAX_OTHERS))
            case.signs["known"] = float(case.first_us - known.first_us >= DAY_US)
        if not (changed or (case.signs and case.contacts % 8 == 0)):
            return []
        self.contacts.promote(key, case)
        return [case]

    def _add_context(self, case: Contact, seen: Observation, *, fresh: bool) -> bool:
        """Whether the host tells callers their own address, or follows such a one."""
        if "own_address" in case.signs or (fresh and Contact.tells_own_address(seen.name)):
            asked = self._asked_own.get(seen.client)
            if asked is None or not 0 <= seen.time_us - asked < FIRST_CONTACT_US:
                self._met_since.note(seen.client, 0)
            self._asked_own.note(seen.client, seen.time_us)
            return case.note("own_address", seen)
        asked = self._asked_own.get(seen.client) if case.contacts == 1 else None
        if asked is None or not 0 <= case.first_us - asked < FIRST_CONTACT_US:
            return False
        met = (self._met_since.get(seen.client) or 0) + 1
        self._met_since.note(seen.client, met)
        return met <= MAX_FIRST_CONTACTS and case.note("after_own_address", seen)

    def _is_mail_server(self, client: str, host: str) -> bool:
        """Whether a client, which sends mail to this host now, does so to many."""
        hosts = (self._mails_to.get(client) or "").split()
        if host not in hosts and len(hosts) <= MAX_MAIL_HOSTS:
            hosts.append(host)
        self._mails_to.note(client, " ".join(hosts))
        return len(hosts) > MAX_MAIL_HOSTS

    def _host_of(self, seen: Observation) -> tuple[str, bool]:
        """The registrable domain or public address of a connection's far end; whether a name leads to it."""
        if seen.name and not is_address(seen.name):
            if seen.kind in (TLS, HTTP):
                self._name_of.note(seen.server, seen.name)
            name = seen.name
        else:
            name = self._name_of.get(seen.server) or ""
        domain = domain_of(name)
        if domain:
            return domain, True
        return ("" if is_internal(seen.server) else seen.server), False

    # --- all of them -------------------------------------------------------------------------------------------

    def cases(self) -> Iterator[Case]:
        """Every case."""
        return itertools.chain(*self._tables().values())

    def _tables(self) -> dict[str, list[Case]]:
        tunnels = [case if isinstance(case, Tunnel) else Tunnel.begun(key, case) for key, case in self.tunnels.items()]
        tables: dict[str, Cases[Any]] = {"names": self.names, "contacts": self.contacts, "scans": self.scans}
        return {"tunnels": tunnels} | {name: [case for _, case in table.items()] for name, table in tables.items()}

    def state(self) -> dict[str, object]:
        """For the checkpoint."""
        return {
            **{name: [case.state() for case in cases] for name, cases in self._tables().items()},
            "name_of": self._name_of.state(),
            "asked_own": self._asked_own.state(),
            "met_since": self._met_since.state(),
            "missed_by": self._missed_by.state(),
            "mails_to": self._mails_to.state(),
            "outage": self._outage.state(),
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """From the checkpoint."""
        self.names.load(_read(state, "names", GeneratedNames.restored))
        asked = [(time_us, key[0], domain, names) for key, names in self.names.items() for domain, time_us in names.mail.items()]
        for _, client, domain, names in sorted(asked, key=lambda item: item[:3]):
            self._note_mail(client, domain, names)
        self.tunnels.load(_read(state, "tunnels", Tunnel.restored))
        self.contacts.load(_read(state, "contacts", Contact.restored))
        self.scans.load(_read(state, "scans", Scan.restored))
        for address, name in state.get("name_of", ()):  # type: ignore[attr-defined]
            self._name_of.note(str(address), str(name))
        for client, time_us in state.get("asked_own", ()):  # type: ignore[attr-defined]
            self._asked_own.note(str(client), whole(time_us))
        for client, met in state.get("met_since", ()):  # type: ignore[attr-defined]
            self._met_since.note(str(client), whole(met))
        for domain, client in state.get("missed_by", ()):  # type: ignore[attr-defined]
            self._missed_by.note(str(domain), str(client))
        for client, hosts in state.get("mails_to", ()):  # type: ignore[attr-defined]
            self._mails_to.note(str(client), str(hosts))
        self._outage.load(state.get("outage", ()))  # type: ignore[arg-type]


def _read(
    state: Mapping[str, object], name: str, restored: Callable[[tuple[str, ...], Sequence[object]], V]
) -> Iterator[tuple[tuple[str, ...], V]]:
    for item in state.get(name, ()):  # type: ignore[attr-defined]
        key = tuple(str(part) for part in item[0][0])
        yield key, restored(key, item)
