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
