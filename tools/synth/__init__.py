"""Generators and augmentations of training strings, one module an idea, all seeded by a ``random.Random``.

A generator makes rows ``(text, label, family)``; an augmentation changes a row's text and keeps its label. The
public sources of the encodings are named in each module. Generators take further keyword arguments in their modules.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType

from edge_demist.train import ood_texts
from tools.synth import (
    bare_words,
    cmdline,
    cmdline_admin,
    cmdline_attack,
    cmdline_classic,
    cmdline_dev,
    dga,
    dga_shapes,
    dns_legit,
    everyday_hosts,
    everyday_kinds,
    filename,
    infrastructure,
    pages,
    sensitive_files,
    service_names,
    tunnel,
    uri,
    uri_commands,
    uri_payloads,
    uri_server_side,
    user_agent,
    well_known,
)

Row = tuple[str, str, str]
Generator = Callable[[random.Random, int], list[Row]]
Augmentation = Callable[[random.Random, str, str], str]

GENERATORS: Mapping[str, Generator] = MappingProxyType(
    {
        "service-names": service_names.generate,
        "tunnel": tunnel.generate,
        "dns-legit": dns_legit.generate,
        "everyday-hosts": everyday_hosts.generate,
        "everyday-kinds": everyday_kinds.generate,
        "dga": dga.generate,
        "dga-shapes": dga_shapes.generate,
        "searches": bare_words.searches,
        "uri": uri_payloads.generate,
        "uri-bodies": uri_server_side.bodies,
        "uri-commands": uri_commands.generate,
        "uri-server-side": uri_server_side.generate,
        "sensitive-files": sensitive_files.generate,
        "cmdline-admin": cmdline_admin.generate,
        "cmdline-attack": cmdline_attack.generate,
        "cmdline-classic": cmdline_classic.generate,
        "cmdline-dev": cmdline_dev.generate,
        "filename": filename.generate,
        "foreign": ood_texts.generate,
        "infrastructure": infrastructure.generate,
        "pages": pages.generate,
        "user-agent": user_agent.generate,
        "well-known": well_known.generate,
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


def drop_known(rows: Iterable[Row], known: Container[str]) -> list[Row]:
    """Leave out repeated rows and rows whose text is in ``known``.

    Pass the texts of both train and dev: a generated row must neither contradict a real one nor leak into dev.
    """
    seen: set[str] = set()
    kept: list[Row] = []
    for row in rows:
        if row[0] not in seen and row[0] not in known:
            seen.add(row[0])
            kept.append(row)
    return kept


__all__ = ["AUGMENTATIONS", "GENERATORS", "Augmentation", "Generator", "Row", "drop_known"]
