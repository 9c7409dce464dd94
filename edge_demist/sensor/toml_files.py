"""Reading the operator's TOML files: regular files of a bounded size, never waited for."""

from __future__ import annotations

import tomllib
from pathlib import Path

from edge_demist.io import read_bounded

MAX_TOML_BYTES = 4 << 20


def read_toml(path: Path) -> dict[str, object]:
    """Read a TOML file.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is no UTF-8 or no TOML, or larger than 4 MiB.
    """
    raw = read_bounded(path, MAX_TOML_BYTES)
    if raw is None:
        raise ValueError(f"larger than {MAX_TOML_BYTES} bytes")
    return tomllib.loads(raw.decode("utf-8"))
