"""Names of files whose ending says what they are: lists of paths hold a few endings a thousand times and most others hardly ever."""

from __future__ import annotations

import random

from tools.synth.templates import Slots, fill, groups
from tools.synth.words import word

Row = tuple[str, str, str]

_FOLDERS: tuple[str, ...] = (
    "src",
    "lib",
    "bin",
    "test",
    "tests",
    "docs",
    "data",
    "assets",
    "images",
    "scripts",
    "tools",
    "etc",
    "var/log",
    "backup",
    "app",
)
_FOLDERS += (
    "build",
    "dist",
    "config",
    "public",
    "resources",
    "Program Files",
    "Windows/System32",
    "Users/Public",
    "home/user",
    "opt",
    "usr/lib",
)


def folder(rng: random.Random) -> str:
    """None to four folders, with their slashes."""
    depth = rng.choice((0, 0, 1, 1, 2, 2, 3, 4))
    return "".join(f"{rng.choice(_FOLDERS) if rng.random() < 0.5 else word(rng)}/" for _ in range(depth))


def stem(rng: random.Random) -> str:
    """Name without an ending: one to three words, sometimes numbered."""
    joined = rng.choice(("", "_", "-", "-", "_", ".")).join(word(rng) for _ in range(rng.choice((1, 1, 2, 2, 3))))
    return joined + rng.choice(("", "", "", "", str(rng.randint(1, 99)), f"-{rng.randint(0, 9)}.{rng.randint(0, 20)}"))


def capitals(rng: random.Random) -> str:
    """Words in the way of class names."""
    return "".join(word(rng).capitalize() for _ in range(rng.randint(1, 3)))


SLOTS: Slots = {"folder": folder, "stem": stem, "Stem": capitals, "word": word}


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows, equally many of each class, one in eight in upper-case letters or with backslashes."""
    templates = groups("file_names.txt")
    labels = list(templates)
    rows = []
    for i in range(n):
        label = labels[i % len(labels)]
        texts, weights = templates[label]
        name = fill(rng, rng.choices(texts, weights)[0], SLOTS)
        change = rng.random()
        if change < 0.06:
            name = name.replace("/", "\\")
        elif change < 0.12 and label != "vcs-metadata":
            name = name.upper()
        rows.append((name, label, "ending"))
    return rows
