"""The public suffix list: under which names anyone may register (https://publicsuffix.org/list/, the algorithm there).

The list stands in ``public_suffix.txt`` beside this file, one rule a line in its ASCII form, made by
``python -m tools.sensor.public_suffix``. Its private part (shared hosting, dynamic names: ``github.io``,
``duckdns.org``) counts as suffixes too unless the caller says otherwise. Mozilla Public License 2.0.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_demist.sensor.caching import cached

LIST = Path(__file__).with_name("public_suffix.txt")
MAX_NAME_CHARS = 1024
MAX_LABEL_CHARS = 63
_ICANN, _PRIVATE = "[icann]", "[private]"


_PLAIN, _WILDCARD, _EXCEPTION, _LONGER = 1, 2, 4, 8


class PublicSuffixes(NamedTuple):
    """The rules by name: a plain suffix, the parent of a wildcard (``*.ck`` is ``ck``), an exception (``!www.ck`` is ``www.ck``).

    Every parent of a rule is there too, so that a name that is not ends the search.
    """

    version: str
    rules: dict[str, int]

    def suffix_labels(self, labels: list[str]) -> int:
        """How many labels at the end are the public suffix; 1 for a top level that no rule names."""
        count, name, rules = 1, "", self.rules
        for length, label in enumerate(reversed(labels), 1):
            name = f"{label}.{name}" if name else label
            found = rules.get(name)
            if found is None:
                return count
            if found & _EXCEPTION:
                return length - 1
            if found & _PLAIN:
                count = length
            if found & _WILDCARD and length < len(labels):
                count = length + 1
        return count


def public_suffixes(*, private: bool = True) -> PublicSuffixes:
    """The rules of the list in the package, with or without its private part."""
    return _lists()[private]


@functools.cache
def _lists() -> tuple[PublicSuffixes, PublicSuffixes]:
    """Without and with the private part."""
    head, _, rest = LIST.read_text(encoding="ascii").partition(f"{_ICANN}\n")
    icann, _, private = rest.partition(f"{_PRIVATE}\n")
    version, without = head.partition("\n")[0].removeprefix("# "), _with_rules({}, icann)
    return PublicSuffixes(version, without), PublicSuffixes(version, _with_rules(without, private))


def _with_rules(known: Mapping[str, int], lines: str) -> dict[str, int]:
    """Known rules and those of a part of the list."""
    found = dict(known)
    for rule in lines.split("\n")[:-1]:
        flag = _EXCEPTION if rule[0] == "!" else _WILDCARD if rule[0] == "*" else _PLAIN
        name = rule.removeprefix("!").removeprefix("*.")
        found[name] = found.get(name, 0) | flag
        while "." in name:
            name = name.partition(".")[2]
            held = found.get(name, 0)
            if held & _LONGER:
                break  # and so all above it have
            found[name] = held | _LONGER
    return found


def registrable_domain(name: str, *, private: bool = True) -> str:
    """The registrable domain of a host name, in lower case; empty where the name is itself a suffix or has one label.

    ``www.example.co.uk`` gives ``example.co.uk``; with the private part ``a.b.duckdns.org`` gives ``b.duckdns.org``.
    Labels above the domain may hold any characters (tunnels put bytes there). Addresses are not told apart here.
    """
    last = name.rfind(".")
    begin = name.rfind(".", 0, last) + 1 if last > 0 else last
    if -1 < begin < last < len(name) - 1 < MAX_NAME_CHARS:  # most names: there is no rule for what its last two labels are
        domain, rules = name[begin:].lower(), _lists()[private].rules
        if domain not in rules and domain.isascii() and not rules.get(domain[last - begin + 1 :], 0) & (_WILDCARD | _EXCEPTION):
            return domain
    if name.isascii() and len(name) <= MAX_NAME_CHARS and ".." not in name and name[:1] != "." and name[-1:] != ".":
        return _below_suffix(name.lower(), _lists()[private].rules)
    labels = _labels(name)
    count = public_suffixes(private=private).suffix_labels(_ascii(labels))
    return ".".join(labels[-count - 1 :]) if len(labels) > count else ""


def registrable_domains(names: Sequence[str]) -> list[str]:
    """As :func:`registrable_domain`, of many host names in lower case at once."""
    rules, special, joined = _lists()[True].rules, _special_tops(), "\n".join(names)
    if not joined.isascii() or ".." in joined or max(map(len, names), default=0) > MAX_NAME_CHARS:
        return [registrable_domain(name) for name in names]
    found = []
    for name in names:
        head, _, top = name.rpartition(".")
        domain = name if head and "." not in head else name[head.rfind(".") + 1 :] if head else ""
        found.append(domain if domain not in rules and top not in special else registrable_domain(name))
    return found


@functools.cache
def _special_tops() -> frozenset[str]:
    """Top levels below which a suffix of two labels needs no rule of its own; and what stands behind a last dot."""
    return frozenset(("", *(name for name, found in _lists()[True].rules.items() if "." not in name and found & (_WILDCARD | _EXCEPTION))))


def _below_suffix(name: str, rules: Mapping[str, int]) -> str:
    """As :meth:`PublicSuffixes.suffix_labels` finds it, without taking the name apart: a dozen names are new for one that is not."""
    begin = suffix = name.rfind(".") + 1
    while (found := rules.get(name[begin:])) is not None:
        if found & _EXCEPTION:
            suffix = name.find(".", begin) + 1
            break
        if found & _PLAIN:
            suffix = begin
        if not begin:
            break
        begin = name.rfind(".", 0, begin - 1) + 1
        if found & _WILDCARD:
            suffix = begin
    return name[name.rfind(".", 0, suffix - 1) + 1 :] if suffix else ""


@cached(16_384)
def is_shared(name: str) -> bool:
    """Whether a name is a public suffix of either part: below it live many owners, so a rule about it would open all."""
    labels = _labels(name)
    return not labels or public_suffixes().suffix_labels(_ascii(labels)) >= len(labels)


def is_shared_parent(domain: str) -> bool:
    """Whether a registrable domain stands directly below a suffix of the list's private part (``b.duckdns.org``)."""
    return domain.count(".") > 1 and _is_private(domain)


@cached(16_384)
def _is_private(domain: str) -> bool:
    return registrable_domain(domain, private=False) != domain


def _labels(name: str) -> list[str]:
    labels = name[-MAX_NAME_CHARS:].lower().split(".")[-33:]
    return labels[-32:] if all(labels) else [label for label in labels if label][-32:]


def _ascii(labels: list[str]) -> list[str]:
    return [label if label.isascii() else _punycode(label) for label in labels]


def _punycode(label: str) -> str:
    """A label as the list spells it; one that cannot be is left as it is (it matches no rule)."""
    if len(label) > MAX_LABEL_CHARS:
        return label
    try:
        return label.encode("idna").decode("ascii")
    except UnicodeError:
        return label
