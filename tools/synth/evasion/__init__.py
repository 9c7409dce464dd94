"""One simple change each that keeps an attack working: padding, company, order, case, quoting, comments, encodings.

Request changes take an argument value and give a request target; command changes take a command line, address changes an address
without its scheme.  A change gives None where it does not apply.  The same changes are made to harmless strings, in training and in
``benchmarks.evasion``, so that no change is a sign of an attack by itself.  Forms: OWASP Web Security Testing Guide, MITRE ATT&CK
T1027.010 and T1140, Bohannon's Invoke-DOSfuscation.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType

from tools.synth.evasion.addresses import MORE_URL_CHANGES, URL_CHANGES
from tools.synth.evasion.commands import COMMAND_CHANGES
from tools.synth.evasion.further_commands import MORE_COMMAND_CHANGES
from tools.synth.evasion.further_requests import MORE_REQUEST_CHANGES
from tools.synth.evasion.invented_addresses import INVENTED_URL_CHANGES
from tools.synth.evasion.invented_commands import INVENTED_COMMAND_CHANGES
from tools.synth.evasion.invented_requests import INVENTED_REQUEST_CHANGES
from tools.synth.evasion.requests import REQUEST_CHANGES
from tools.synth.evasion.shared import Change, carrier, escaped, is_windows, parameter, parameters
from tools.synth.evasion.wrapped_commands import WRAPPED_COMMAND_CHANGES
from tools.synth.evasion.written_addresses import WRITTEN_URL_CHANGES
from tools.synth.evasion.written_requests import WRITTEN_REQUEST_CHANGES

__all__ = [
    "CHANGES",
    "COMMAND_CHANGES",
    "FURTHER",
    "REQUEST_CHANGES",
    "Change",
    "carrier",
    "changed",
    "company",
    "escaped",
    "is_windows",
    "parameter",
    "parameters",
]

CHANGES: Mapping[str, Mapping[str, Change]] = MappingProxyType(
    {"uri-attack": REQUEST_CHANGES, "cmdline": COMMAND_CHANGES, "url-phishing": URL_CHANGES}
)
"""Changes by task: training makes them as well."""
FURTHER: Mapping[str, Mapping[str, Change]] = MappingProxyType(
    {
        "uri-attack": MappingProxyType({**MORE_REQUEST_CHANGES, **INVENTED_REQUEST_CHANGES, **WRITTEN_REQUEST_CHANGES}),
        "cmdline": MappingProxyType({**MORE_COMMAND_CHANGES, **INVENTED_COMMAND_CHANGES, **WRAPPED_COMMAND_CHANGES}),
        "url-phishing": MappingProxyType({**MORE_URL_CHANGES, **INVENTED_URL_CHANGES, **WRITTEN_URL_CHANGES}),
    }
)
"""Changes by task that are only measured; other spellings (``spelled_commands``) that training makes are of the same kinds as a few."""


def company(rng: random.Random, target: str) -> str:
    """A request target whose query gets harmless parameters before and after its own."""
    path, mark, query = target.partition("?")
    if not mark:
        return f"{target}?{parameters(rng, rng.randint(1, 4))}" if target.startswith("/") and "#" not in target else target
    sides = [parameters(rng, rng.randint(1, 4)) for _ in range(2)]
    return f"{path}?{rng.choice((f'{sides[0]}&{query}', f'{query}&{sides[1]}', f'{sides[0]}&{query}&{sides[1]}'))}"


def changed(rng: random.Random, task: str, text: str) -> str:
    """The text under one change drawn from those of its task that apply; the text itself if none does."""
    names = list(CHANGES[task])
    for name in rng.sample(names, 4):
        if found := CHANGES[task][name](rng, text):
            return found
    return text
