"""Takes personal data out of URIs, paths and command lines: typed placeholders, or keyed hashes where joins are needed.

The rules go from the specific (a mail address, ``--password``) to the general (long numbers, strings that look
random). A placeholder holds nothing of the original; a keyed one holds an HMAC-SHA256 (RFC 2104) cut to 64 bits, which
cannot be tried out without the key.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import hexdigits

from edge_demist.errors import InputError

MIN_KEY_BYTES = 16
MAX_TEXT_CHARS = 4096
_HASH_HEX = 16

_RULES_FILE = Path(__file__).with_name("anonymize.toml")


@dataclass(frozen=True, slots=True)
class _Rule:
    """A kind and a pattern; the group ``v`` is what goes (the whole match without one)."""

    kind: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None


def _looks_random(text: str) -> bool:
    """Whether a run of letters and digits was hardly typed by a person: digits and letters mixed again and again."""
    core = re.sub(r"[-_~]", "", text)
    classes = "".join("d" if c.isdigit() else "u" if c.isupper() else "l" for c in core)
    changes = len(re.sub(r"(.)\1+", r"\1", classes)) - 1
    digits, letters = sum(c.isdigit() for c in core), sum(c.isalpha() for c in core)
    return digits >= 2 and letters >= 2 and changes >= max(4, len(core) // 6)


def _mixed_case_random(text: str) -> bool:
    """Base64 without many digits: upper and lower case change all the time, unlike CamelCase words."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", text)
    return len(words) >= len(text) / 3.2 and any(c.islower() for c in text) and any(c.isupper() for c in text)


def _random_token(text: str) -> bool:
    return _looks_random(text) or _mixed_case_random(text)


_CHECKS: dict[str, Callable[[str], bool]] = {
    "no-number-no-flag": lambda v: not v.isdigit() and not v.startswith("-"),
    "address": lambda v: sum(c in hexdigits for c in v) >= 2 and not re.fullmatch(r"\d{1,2}(?::\d{2}){1,2}", v),
    "long-hex": lambda v: any(c.isdigit() for c in v) or len(v) >= 24,
    "random": lambda v: _random_token(v.strip("-_=")),
    "random-base64": lambda v: _random_token(v.rstrip("=")) and v.count("/") <= len(v) // 12,
    "short-random": lambda v: _looks_random(v) and len(re.findall(r"\d+", v)) >= 3,
}


@functools.cache
def _rules() -> tuple[_Rule, ...]:
    """The rules of ``anonymize.toml``, compiled."""
    data = tomllib.loads(_RULES_FILE.read_text(encoding="utf-8"))
    rules = []
    for table in data["rule"]:
        pattern = table["pattern"]
        for name, fragment in data["fragments"].items():
            pattern = pattern.replace(f"{{{{{name}}}}}", fragment)
        flags = 0 if table.get("case") else re.IGNORECASE
        rules.append(_Rule(table["kind"], re.compile(pattern, flags), _CHECKS[table["check"]] if "check" in table else None))
    return tuple(rules)


_PLACEHOLDER = re.compile(r"<(?:USER|MAIL|TOKEN|SECRET|SESSION|SID|UUID|MAC|IP|HEX|NUM)(?::[0-9a-f]{16})?>")


class Anonymizer:
    """Replaces personal data; counts what it replaced, by kind."""

    def __init__(self, key: bytes | None = None) -> None:
        """With a key, equal values of a kind get equal placeholders.

        Raises:
            InputError: the key is shorter than 16 bytes.
        """
        if key is not None and len(key) < MIN_KEY_BYTES:
            raise InputError(f"the key must have at least {MIN_KEY_BYTES} bytes; make one with: head -c 32 /dev/urandom > key")
        self._key = key
        self.counts: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        """The text without what the rules know. Placeholders already there are kept, so a second pass changes nothing."""
        if len(text) > MAX_TEXT_CHARS:
            self.counts["cut"] += 1
            text = text[:MAX_TEXT_CHARS]
        for rule in _rules():
            text = self._apply(rule, text)
        return text

    def _apply(self, rule: _Rule, text: str) -> str:
        parts: list[str] = []
        position = 0
        for start, end in _hits(rule, text):
            parts += [text[position:start], self._placeholder(rule.kind, text[start:end])]
            position = end
        return "".join([*parts, text[position:]]) if parts else text

    def _placeholder(self, kind: str, value: str) -> str:
        self.counts[kind] += 1
        if self._key is None:
            return f"<{kind}>"
        message = f"{kind}\0{value.strip(chr(34) + chr(39)).casefold()}".encode("utf-8", "surrogatepass")
        return f"<{kind}:{hmac.new(self._key, message, hashlib.sha256).hexdigest()[:_HASH_HEX]}>"


def _hits(rule: _Rule, text: str) -> Iterator[tuple[int, int]]:
    """Where a rule strikes, outside of placeholders."""
    taken = [match.span() for match in _PLACEHOLDER.finditer(text)]
    named = "v" in rule.pattern.groupindex
    for match in rule.pattern.finditer(text):
        group = "v" if named and match["v"] is not None else 0
        start, end = match.span(group)
        if start == end or (rule.check is not None and not rule.check(match[group])):
            continue
        while taken and taken[0][1] <= start:
            taken.pop(0)
        if not taken or taken[0][0] >= end:
            yield start, end
