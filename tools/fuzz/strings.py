"""Hostile strings through every task: answers are probabilities, alone and in a batch the same; with guard pages on any kernel level."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tools.fuzz import guard

POOL = (
    "a", "=", "'", " ", "/", ".", "-", "\u00e9", "\u2581", "\ud800", "\udc80", "\0", "\U0001f600", "www.", "select", "%27", "\u0300",
    "http://", "\ufffd", "\x7f", "?", "&", "a=", ";", "|", "\n", "\u202e", "x" * 17, "cmd.exe /c ", "10.0.0.1", "xn--",
)  # fmt: skip
SIZES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 62, 63, 64, 65, 126, 127, 128, 129, 255, 256, 257)
EDGES = (510, 511, 512, 513, 514, 1023, 1024, 1025)
LONG = (4096, 8190, 8191, 8192, 8193, 8194, 20_000)
BATCH = 200


def text(chance: random.Random) -> str | bytes:
    """One string."""
    roll = chance.random()
    if roll < 0.7:
        return chance.randbytes(chance.choice((1, 1, 2, 3)))
    if roll < 0.9:
        return "".join(chance.choices(POOL, k=chance.randint(0, 30)))
    if roll < 0.97:
        return chance.randbytes(chance.choice(SIZES))
    if roll < 0.98:
        return chance.randbytes(chance.choice(EDGES))
    if roll < 0.981:
        return (chance.choice(POOL) * 20_000).encode("utf-8", "surrogatepass")[: chance.choice(LONG)]
    return chance.choice(("a", "1", "x.", "/a", "&a=1")) * chance.choice((1, 62, 63, 64, 65, 127, 128, 511, 512))


class Target:
    """A case is a batch of 200 strings, each for a random task. ``EDGE_DEMIST_KERNEL`` chooses the level."""

    weight = BATCH

    def __init__(self, folder: Path) -> None:
        """Load the model; with ``FUZZ_GUARD`` set to ``end`` or ``begin``, between guard pages."""
        from edge_demist import EdgeDemist
        from edge_demist.format.bundle import Bundle

        del folder
        side = os.environ.get("FUZZ_GUARD", "")
        self.guard = guard.install(side) if side else None
        bundle = Bundle.load()
        self.model = EdgeDemist(guard.guarded(bundle, self.guard) if self.guard else bundle, engine="native")

    def run(self, seed: int) -> str:
        """Ask."""
        chance, model = random.Random(seed), self.model
        texts = [text(chance) for _ in range(self.weight)]
        tasks = [chance.choice(model.tasks) for _ in texts]
        if self.guard:
            guard.forget_scratch(model)
        answers = model.classify(texts, task=tasks, top_k=0)
        for answer, task in zip(answers, tasks, strict=True):
            if answer.error is None and not (0.0 <= answer.score <= 1.0 and answer.label in (*model.specialist(task).labels, "unknown")):
                return "BAD no probability"
        for i in chance.sample(range(len(texts)), 3):
            alone = model.classify([texts[i]], task=tasks[i], top_k=0)[0]
            if (alone.label, alone.score, alone.error) != (answers[i].label, answers[i].score, answers[i].error):
                return "BAD alone and in a batch differ"
        if self.guard:
            raws = [t if isinstance(t, bytes) else t.encode("utf-8", "surrogatepass") for t in texts[:12]]
            model.tokenizer.encode_batch(raws, max_tokens=chance.choice((None, 0, 1, 2, 5, 64)), add_special_tokens=chance.random() < 0.5)
            model.encode([t for t in texts[:12] if t], task=chance.choice((None, *model.tasks)))
        return "answered"
