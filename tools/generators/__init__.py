"""Generators and augmentations of training strings, one module an idea, all seeded by a ``random.Random``.

A generator makes rows ``(text, label, family)``; an augmentation changes a row's text and keeps its label. The
public sources of the encodings are named in each module. Training imports :data:`GENERATORS` and :data:`AUGMENTATIONS`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tools.generators import dga, dns_legit, tunnel

Row = tuple[str, str, str]
Generator = Callable[[random.Random, int], list[Row]]
Augmentation = Callable[[random.Random, str, str], str]

GENERATORS: Mapping[str, Generator] = MappingProxyType(
    {
        "tunnel": tunnel.generate,
        "dns-legit": dns_legit.generate,
        "dga": dga.generate,
    }
)
AUGMENTATIONS: Mapping[str, Augmentation] = MappingProxyType({})

__all__ = ["AUGMENTATIONS", "GENERATORS", "Augmentation", "Generator", "Row"]
