"""The public suffix list: under which names anyone may register (https://publicsuffix.org/list/, the algorithm there).

The list stands in ``public_suffix.txt`` beside this file, one rule a line in its ASCII form, made by
``python -m tools.sensor.public_suffix``. Its private part (shared hosting, dynamic names: ``github.io``,
``duckdns.org``) counts as suffixes too unless the caller says otherwise. Mozilla Public License 2.0.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("public_suffix.txt")
MAX_NAME_CHARS = 1024
MAX_LABEL_CHARS = 63
_ICANN, _PRIVATE = "[icann]", "[private]"


@dataclass(frozen=True, slots=True)
class PublicSuffixes:
    """The rules: plain suffixes, parents of wildcards (``*.ck`` is ``ck``) and exceptions (``!www.ck`` is ``www.ck``)."""

    version: str
    plain: frozenset[str]
    wildcard: frozenset[str]
    exception: frozenset[str]

    def suffix_labels(self, labels: list[str]) -> int:
        """How many labels at the end are the public suffix; 1 for a top level that no rule names."""
        count = 1
        for length in range(1, len(labels) + 1):
            name = ".".join(labels[-length:])
            if name in self.exception:
                return length - 1
            if name in self.plain:
                count = length
            if name in self.wildcard and length < len(labels):
                count = length + 1
        return count


@functools.cache
def public_suffixes(*, private: bool = True) -> PublicSuffixes:
    """The rules of the list in the package, with or without its private part."""
    version, section = "", ""
    rules: list[str] = []
    for line in LIST.read_text(encoding="ascii").splitlines():
        if line.startswith("#"):
            version = version or line.removeprefix("# ")
        elif line.startswith("["):
            section = line
        elif section == _ICANN or (section == _PRIVATE and private):
            rules.append(line)
    return PublicSuffixes(
        version=version,
        plain=frozenset(rule for rule in rules if rule[0] not in "*!"),
        wildcard=frozenset(rule[2:] for rule in rules if rule.startswith("*.")),
        exception=frozenset(rule[1:] for rule in rules if rule.startswith("!")),
    )


@functools.lru_cache(maxsize=16_384)
def registrable_domain(name: str, *, private: bool = True) -> str:
    """The registrable domain of a host name, in lower case; empty where the name is itself a suffix or has one label.

    ``www.example.co.uk`` gives ``example.co.uk``; with the private part ``a.b.duckdns.org`` gives ``b.duckdns.org``.
    Labels above the domain may hold any characters (tunnels put bytes there). Addresses are not told apart here.
    """
    labels = _labels(name)
    count = public_suffixes(private=private).suffix_labels(_ascii(labels))
    return ".".join(labels[-count - 1 :]) if len(labels) > count else ""


@functools.lru_cache(maxsize=16_384)
def is_shared(name: str) -> bool:
    """Whether a name is a public suffix of either part: below it live many owners, so a rule about it would open all."""
    labels = _labels(name)
    return not labels or public_suffixes().suffix_labels(_ascii(labels)) >= len(labels)


@functools.lru_cache(maxsize=16_384)
def is_shared_parent(domain: str) -> bool:
    """Whether a registrable domain stands directly below a suffix of the list's private part (``b.duckdns.org``)."""
    return bool(domain) and registrable_domain(domain, private=False) != domain


def _labels(name: str) -> list[str]:
    tail = name[-MAX_NAME_CHARS:].lower().rstrip(".")
    return [label for label in tail.split(".")[-32:] if label]


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
