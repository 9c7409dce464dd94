"""Generators and augmentations of training strings, one module an idea, all seeded by a ``random.Random``.

A generator makes rows ``(text, label, family)``; an augmentation changes a row's text and keeps its label. The
public sources of the encodings are named in each module. Generators take further keyword arguments in their modules.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tools.generators import cmdline, cmdline_admin, dga, dns_legit, tunnel, uri, uri_payloads

Row = tuple[str, str, str]
Generator = Callable[[random.Random, int], list[Row]]
Augmentation = Callable[[random.Random, str, str], str]

GENERATORS: Mapping[str, Generator] = MappingProxyType(
    {
        "tunnel": tunnel.generate,
        "dns-legit": dns_legit.generate,
        "dga": dga.generate,
        "uri": uri_payloads.generate,
        "cmdline-admin": cmdline_admin.generate,
    }
)
# By task.
AUGMENTATIONS: Mapping[str, Augmentation] = MappingProxyType(
    {
        "uri-attack": uri.augment,
        "url-phishing": uri.augment_url,
        "cmdline": cmdline.augment,
    }
)

__all__ = ["AUGMENTATIONS", "GENERATORS", "Augmentation", "Generator", "Row"]
