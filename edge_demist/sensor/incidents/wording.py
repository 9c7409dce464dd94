"""What people read: what each sign says, a sentence for an incident, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

SIGNS = {
    "missing_generated": "look-ups of names that look generated and do not exist",
    "missing": "look-ups of domains that do not exist",
    "generated": "names that look generated",
    "strong": "names that look generated beyond doubt",
    "distinct_names": "many distinct names below one zone within an hour",
    "verdict": "names that look like encoded data",
    "length": "long names",
    "rare_types": "record types that carry data (TXT, NULL, MX, CNAME)",
    "others": "other clients talk to it too",
    "paired": "each name is asked for with two types, as programs do that connect",
    "visited": "its hosts are connected to",
    "reads_pages": "all by a browser that reads pages outside",
    "attacks": "request values that look like attacks",
    "strong_attacks": "request values that are attacks beyond doubt",
    "attack_kinds": "attacks of several kinds",
    "tool": "user agent of an attack tool",
    "missing_pages": "many requests for pages that are not there",
    "closed_ports": "many ports that do not answer",
    "inbound": "from outside to a server of this network",
    "threat_1": "the name looks malicious",
    "threat_2": "the name looks malicious at a strict threshold",
    "threat_3": "the name looks malicious at the strictest threshold",
    "agreement": "several specialists agree",
    "looks_and_acts": "it looks bad, and what is done there is what bad hosts are used for",
    "phishing_2": "the address looks like phishing",
    "phishing_3": "the address looks like phishing at the strictest threshold",
    "bare_address": "web requests to an address without a name",
    "no_agent": "requests without a user agent",
    "program_agent": "requests by a program, not a browser",
    "post": "data sent by POST",
    "post_script": "data sent by POST to a script",
    "post_to_address": "data sent by POST to an address without a name",
    "program": "a program or an archive was fetched",
    "program_from_address": "a program or an archive was fetched from an address without a name",
    "unnamed_tls": "an encrypted connection to an address that no name was looked up for",
    "mail_port": "mail sent straight to an outside server",
    "mailbox": "mail is fetched from it too",
    "transfer_port": "a file-transfer connection to an outside server",
    "upload": "more sent than received over a data connection",
    "big_upload": "over a mebibyte sent, and less received",
    "odd_port_shared": "an unusual port at a host below a domain that many share",
    "browsed": "pages read with a browser",
    "odd_port": "data exchanged over an unusual port",
    "odd_port_unnamed": "data exchanged over an unusual port with an address without a name",
    "shared_suffix": "the name stands below a domain that many share (dynamic names, hosting)",
    "after_own_address": "contacted right after the client had asked for its own public address",
    "own_address": "a service that tells callers their own address",
    "beacon": "contacts at regular intervals",
    "known": "known here for more than a day before",
}

TECHNIQUES = {
    "dga": ("T1568.002", "Dynamic Resolution: Domain Generation Algorithms", "TA0011"),
    "tunnel": ("T1071.004", "Application Layer Protocol: DNS", "TA0011"),
    "c2": ("T1071.001", "Application Layer Protocol: Web Protocols", "TA0011"),
    "phishing": ("T1566.002", "Phishing: Spearphishing Link", "TA0001"),
    "download": ("T1105", "Ingress Tool Transfer", "TA0011"),
    "exfiltration": ("T1048.003", "Exfiltration Over Unencrypted Non-C2 Protocol", "TA0010"),
    "scan": ("T1595.002", "Active Scanning: Vulnerability Scanning", "TA0043"),
}

_WHAT = {
    "dga": "{clients} looked up {count} generated names such as {entities}",
    "tunnel": "{clients} put data into look-ups below {entities} ({count} distinct names)",
    "c2": "{clients} talked to {entities} the way infected machines talk to their controller",
    "phishing": "{clients} visited {entities}, which looks like a phishing page",
    "download": "{clients} fetched programs from {entities}",
    "exfiltration": "{clients} sent data to {entities} over mail or file transfer",
    "scan": "{clients} tried attacks on {entities} ({count} requests)",
}
_NEXT = {
    "dga": "isolate the client and look for the process that makes these look-ups; check which of the names resolved",
    "tunnel": "find the process that resolves names below this zone; block the zone at the resolver",
    "c2": "find the process behind these connections; block the host; look for other clients that contact it",
    "phishing": "ask the user what was entered; reset the passwords concerned; block the host",
    "download": "get the file and its hash; look for its start on the client; block the host",
    "exfiltration": "find out what was sent and by which process; change the credentials that the client knows",
    "scan": "check the server's answers to these requests for success (status 200, unusual sizes); block the source",
}


def sentence(kind: str, clients: Sequence[str], entities: Sequence[str], count: int, signs: Sequence[str]) -> str:
    """One sentence: who, what, and the three heaviest signs."""
    shown = ", ".join(entities[:3]) if kind == "dga" else _some(entities, 3)  # its count says how many
    what = _WHAT[kind].format(clients=_some(clients, 3), entities=shown, count=count)
    why = "; ".join(SIGNS.get(sign, sign) for sign in signs[:3])
    return f"{what}: {why}." if why else f"{what}."


def next_steps(kind: str, examples: Sequence[tuple[str, int]]) -> list[str]:
    """What to do: where to look in the logs, and the usual next step for the kind."""
    places: dict[str, list[int]] = {}
    for file, offset in examples:
        places.setdefault(file, []).append(offset)
    look = [f"read {file} at byte {', '.join(str(o) for o in sorted(set(offsets))[:4])}" for file, offsets in places.items()]
    return [*look[:3], _NEXT[kind]]


def _some(items: Sequence[str], limit: int) -> str:
    shown = ", ".join(items[:limit])
    return f"{shown} and {len(items) - limit} more" if len(items) > limit else shown
