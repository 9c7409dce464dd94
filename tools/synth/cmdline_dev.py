"""Ordinary command lines of developers, administrators, build jobs and manual pages, for Linux, macOS, Windows and the cloud.

The counterpart of :mod:`cmdline_attack`: the same programs, paths and security words in their ordinary use, so that none of them
tells the class alone.
"""

from __future__ import annotations

import random

from tools.synth.cmdline_slots import Row, draw

FILES = ("benign_unix.txt", "benign_windows.txt")
EVERYDAY = ("everyday.txt",)
BACKGROUND = ("background.txt",)
PROVISIONING = ("provisioning.txt",)


def generate(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows ``(text, "benign", "dev-<kind>")``."""
    everyday = n // 3
    return draw(rng, n - everyday, FILES, "benign", "dev-") + draw(rng, everyday, EVERYDAY, "benign", "everyday-")


def background(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows of what machines start by themselves: services, security agents, timers, automation."""
    return draw(rng, n, BACKGROUND, "benign", "background-")


def provisioning(rng: random.Random, n: int) -> list[Row]:
    """Make ``n`` rows of scripts that build images and set up hosts, and of comments and file names in other languages."""
    return draw(rng, n, PROVISIONING, "benign", "provisioning-")
