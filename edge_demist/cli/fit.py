"""Which specialist a string is for: of those whose detector of other kinds (OOD detector) takes it, the one that its form suggests."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge_demist.model import EdgeDemist

AUTO = "auto"
SHOWN_FITS = 3
TAKES = 0.5
"""A specialist takes a string if P(the string is of its kind) is so high."""
_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("user-agent", re.compile(r"Mozilla/|[\w.+-]{1,40}/v?\d[\w.+-]*(?:\s*\(|\s|\Z)", re.IGNORECASE)),
    ("url-phishing", re.compile(r"[a-z][a-z0-9+.-]{1,20}://|(?:[\w-]{1,63}\.)+[a-z]{2,24}(?::\d{1,5})?/", re.IGNORECASE)),
    ("uri-attack", re.compile(r"[/?]|[\w.\[\]-]{1,40}=")),
    ("filename", re.compile(r"[^/\\]{1,200}\.(?:exe|dll|pdf|docx?|xlsx?|zip|rar|js|vbs|ps1|bat|txt|png|jpe?g|iso|lnk)\Z", re.IGNORECASE)),
    ("hostname-threat", re.compile(r"(?:[\w-]{1,63}\.)+[\w-]{2,63}\.?\Z")),
    ("cmdline", re.compile(r"\S+\s+\S|[a-z]:\\", re.IGNORECASE)),
)


def fitting(model: EdgeDemist, texts: Sequence[str]) -> list[dict[str, float]]:
    """For each text the specialists that fit it best, best first, with P(the string is of the specialist's kind)."""
    found: list[dict[str, float]] = [{} for _ in texts]
    for task in model.tasks:
        answers = model.classify(texts, task=task, top_k=0)
        for fits, answer in zip(found, answers, strict=True):
            fits[task] = min(sum((answer.scores or {}).values()), 1.0)
    return [_best(text, fits) for text, fits in zip(texts, found, strict=True)]


def _best(text: str, fits: dict[str, float]) -> dict[str, float]:
    ranked = sorted(fits, key=lambda task: (-fits[task], task))
    by_form = (task for task, form in _FORMS if fits.get(task, 0.0) >= TAKES and form.match(text))
    first = next(by_form, ranked[0])
    return {task: fits[task] for task in [first, *(t for t in ranked if t != first)][:SHOWN_FITS]}
