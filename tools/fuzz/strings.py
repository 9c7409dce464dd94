"""Hostile strings through every task: answers are probabilities, alone and in a batch the same; with guard pages on any kernel level."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tools.fuzz import guard, miniature

if TYPE_CHECKING:
    from edge_demist.format.facts import Facts
    from edge_demist.model import EdgeDemist
    from edge_demist.predictions import Prediction

SAMPLES = (
    "mail.google.com", "xn--bcher-kva.example", "/index.php?id=1' union select 1,2--", "/static/app.js?v=3", "../../etc/passwd",
    "powershell -enc SQBFAFgA", "ls -la /tmp && id", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "invoice_2024.pdf.exe",
    "CN=example.com,O=Example", "User-Agent: curl/8.0", "https://example.com/login?next=//evil.example", "<script>alert(1)</script>",
)  # fmt: skip
POOL = (
    "a", "=", "'", " ", "/", ".", "-", "\u00e9", "\u2581", "\ud800", "\udc80", "\0", "\U0001f600", "www.", "select", "%27", "\u0300",
    "http://", "\ufffd", "\x7f", "?", "&", "a=", ";", "|", "\n", "\u202e", "x" * 17, "cmd.exe /c ", "10.0.0.1", "xn--",
)  # fmt: skip
EDGES = (0, 15, 16, 17, 31, 32, 33, 62, 63, 64, 65, 126, 127, 128, 129, 255, 256, 257, 510, 511, 512, 513, 514, 1023, 1024, 1025)
LONG = (4096, 8190, 8191, 8192, 8193, 8194, 20_000)
MOST_BYTES = 8192
WORDS = ("a", "1", "x.", "/a", "&a=1", "%2e%2e/", "\u0130", "-" * 63 + ".")
BATCH, GUARDED = 1000, 200
EVERYTHING, ALONE, EXPLAINED = 30, 3, 2
"""How many strings of a batch go through every specialist too, how many alone, and how many alarms are explained."""
ROUNDED = 1e-5
"""By so much the float32 probabilities of all labels may add up to more than 1."""


def text(chance: random.Random) -> str | bytes:
    """One string: half of a few random bytes, most below 64 bytes, one of some hundreds above 512, one of ten thousand above 8,000."""
    roll = chance.random()
    if roll < 0.5:
        return chance.randbytes(chance.choice((1, 2, 3, 4, 6, 8)))
    if roll < 0.8:
        return "".join(chance.choices(POOL, k=min(30, int(chance.expovariate(0.2)))))
    if roll < 0.95:
        return chance.randbytes(min(512, int(8 * chance.paretovariate(1.2))))
    if roll < 0.99:
        return chance.choice(SAMPLES)[: chance.randint(1, 60)] + chance.choice(POOL) * chance.choice((1, 2, 9))
    if roll < 0.997:
        return (
            chance.randbytes(chance.choice(EDGES))
            if chance.random() < 0.5
            else chance.choice(WORDS) * chance.choice((1, 9, 62, 63, 64, 65))
        )
    if roll < 0.9999:
        return chance.choice(WORDS) * chance.choice((127, 128, 255, 256, 511, 512))
    return (chance.choice(POOL) * 20_000).encode("utf-8", "surrogatepass")[: chance.choice(LONG)]


def is_probability(score: object) -> bool:
    """Whether a number is one, and no negative zero."""
    return isinstance(score, float) and 0.0 <= score <= 1.0 and math.copysign(1.0, score) > 0


def wrong_with(answer: Prediction, facts: Facts) -> str:
    """What is wrong with a whole answer (``top_k=0``); empty for nothing."""
    shown = answer.to_dict()
    read = json.loads(json.dumps(shown, allow_nan=False))
    if read | {"text": "", "window": ""} != shown | {"text": "", "window": ""}:  # halves of a character become one there
        return "no JSON"
    if answer.error is not None:
        return "" if answer.error else "an error without words"
    scores, window = answer.scores, answer.window
    if answer.label not in (*facts.labels, "unknown") or scores is None or set(scores) != set(facts.labels):
        return "other labels"
    ranked = list(scores.values())
    if not all(map(is_probability, (answer.score, answer.alarm_score, *ranked))) or sum(ranked) > 1.0 + ROUNDED:
        return "no probability"
    if any(b > a for a, b in itertools.pairwise(ranked)):
        return "scores out of order"
    if facts.kind == "alarm":
        if not is_probability(answer.threshold) or answer.alarm != (answer.alarm_score >= (answer.threshold or 0.0)):
            return "an alarm that its threshold does not give"
    elif (answer.alarm, answer.threshold, answer.alarm_score) != (None, None, 0.0):
        return "an alarm of a category"
    if window is not None and not (facts.kind == "alarm" and 0 <= window.begin < window.end <= MOST_BYTES and window.text):
        return "no window"
    return ""


def wrongly_explained(model: EdgeDemist, alarms: Sequence[Prediction]) -> str:
    """What is wrong with the explanations of alarms; empty for nothing."""
    from edge_demist.normalizers import to_bytes
    from edge_demist.sensor.detect.explain import explain

    def ask(pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [one.alarm_score for one in model.classify([text for text, _ in pairs], task=[task for _, task in pairs])]

    asked = [(one.text if one.window is None else one.window.text, one.task, one.alarm_score) for one in alarms]
    for (read, _, score), words in zip(asked, explain(asked, ask), strict=True):
        for word in words:
            if not (0 <= word.start < word.end <= len(to_bytes(read)) and 0.0 <= score - word.drop <= 1.0 and 1.0 <= word.logits <= 33.0):
                return "an explanation out of bounds"
    return ""


class Target:
    """A case is a batch of strings, each for a random task.

    ``EDGE_DEMIST_KERNEL`` chooses the level, ``FUZZ_BUNDLE=shipped`` the bundle; with ``FUZZ_TASKS=all`` each string goes through every
    specialist.
    """

    weight = GUARDED if os.environ.get("FUZZ_GUARD") else BATCH

    def __init__(self, folder: Path) -> None:
        """Load the miniature or the shipped bundle; with ``FUZZ_GUARD`` set to ``end`` or ``begin``, between guard pages."""
        from edge_demist import EdgeDemist
        from edge_demist.format.bundle import Bundle

        os.environ["EDGE_DEMIST_CACHE"] = "off"
        side = os.environ.get("FUZZ_GUARD", "")
        self.guard = guard.install(side) if side else None
        bundle = Bundle.load(None if os.environ.get("FUZZ_BUNDLE") == "shipped" else miniature.write(folder / "miniature"))
        self.model = EdgeDemist(guard.guarded(bundle, self.guard) if self.guard else bundle, engine="native")
        self.tasks = self.model.tasks
        self.facts = {task: self.model.facts(task) for task in self.tasks}

    def run(self, seed: int) -> str:
        """Ask: with the screen or without it; a few strings alone too, and a few about everything."""
        chance, model = random.Random(seed), self.model
        texts = [text(chance) for _ in range(self.weight)]
        tasks = chance.choices(self.tasks, k=len(texts))
        screen = chance.random() < 0.5
        if self.guard:
            guard.forget_scratch(model)
        answers = model.classify(texts, task=tasks, top_k=0, screen=screen)
        few = chance.sample(range(len(texts)), len(texts) if os.environ.get("FUZZ_TASKS") == "all" else EVERYTHING)
        whole = model.classify([texts[i] for i in few], tasks=self.tasks, top_k=0, screen=screen)
        if any(every[tasks[i]] != answers[i] for i, every in zip(few, whole, strict=True)):
            return "BAD among all tasks another answer"
        for i in few[:ALONE]:
            if model.classify([texts[i]], task=tasks[i], top_k=0, screen=screen)[0] != answers[i]:
                return "BAD alone another answer"
        everything = [*answers, *(one for every in whole for one in every.values())]
        for answer in everything:
            if wrong := wrong_with(answer, self.facts[answer.task]):
                return f"BAD {wrong}"
        if wrong := wrongly_explained(self.model, [one for one in everything if one.alarm][:EXPLAINED]):
            return f"BAD {wrong}"
        if self.guard:
            raws = [t if isinstance(t, bytes) else t.encode("utf-8", "surrogatepass") for t in texts[:12]]
            model.tokenizer.encode_batch(raws, max_tokens=chance.choice((None, 0, 1, 2, 5, 64)), add_special_tokens=chance.random() < 0.5)
            model.encode([t for t in texts[:12] if t], task=chance.choice((None, *model.tasks)))
        return "answered"
