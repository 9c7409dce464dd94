"""What may be kept between processes: the folder, and which files of a bundle were found whole.

Hashing a bundle of 30 MB takes as long as everything else that ``EdgeDemist.load`` does. A file that was hashed once is
therefore remembered by device, inode, size and times, as version control systems do (git's index, see its document
"racy-git"): a file that was written, replaced or touched since has another change time and is hashed again. A note counts only
if this user wrote it and nobody else can; without a usable folder every file is hashed every time.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from typing import TYPE_CHECKING

from edge_demist.io import open_regular, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

CACHE_VARIABLE = "EDGE_DEMIST_CACHE"
"""Environment variable that names the folder, or ``off``: keep nothing."""
MAX_NOTE_BYTES = 200_000
CHECKED = ""
"""The key under which a note says for which manifest, by which version of this package, every specialist was read and found good."""
SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was hashed is not noted: a later change could carry the same time stamp."""


def folder() -> str | None:
    """Where things are kept: ``EDGE_DEMIST_CACHE``, ``$XDG_CACHE_HOME/edge-demist`` or ``~/.cache/edge-demist``; None: nowhere."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return None if named == "off" else named
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "edge-demist") if os.path.isabs(base) else None


def mark(info: os.stat_result) -> str:
    """Describe one version of a file."""
    return f"{info.st_dev}:{info.st_ino}:{info.st_size}:{info.st_mtime_ns}:{info.st_ctime_ns}"


def settled(info: os.stat_result) -> bool:
    """Whether the file last changed long enough ago for its change time to tell it from a later version."""
    return time.time_ns() - max(info.st_ctime_ns, info.st_mtime_ns) > SETTLED_NS


def _note(bundle: str) -> str | None:
    where = folder()
    if where is None:
        return None
    name = "".join(c if c.isalnum() else "-" for c in os.path.realpath(bundle))[-150:]
    return os.path.join(where, f"verified{name}.json")


def read_verified(bundle: str) -> dict[str, str]:
    """Read what was found whole in the folder ``bundle``.

    Returns:
        ``{file name: "<mark> <sha256>"}``; empty where there is no note that can be trusted.
    """
    path = _note(bundle)
    if path is None:
        return {}
    if not hasattr(os, "geteuid"):  # no way to tell whose a note is
        return {}
    try:
        handle = open_regular(path, follow=False)
    except OSError:
        return {}
    with open(handle, "rb") as stream:
        info = os.fstat(handle)
        own = info.st_uid == os.geteuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not own or info.st_size > MAX_NOTE_BYTES:
            return {}
        try:
            note = json.loads(stream.read(MAX_NOTE_BYTES + 1))
        except (ValueError, RecursionError):
            return {}
    if not isinstance(note, dict) or note.get("folder") != os.path.realpath(bundle) or not isinstance(note.get("files"), dict):
        return {}
    return {str(k): str(v) for k, v in note["files"].items()}


def write_verified(bundle: str, files: Mapping[str, str]) -> None:
    """Note what was found whole, whole or not at all; a folder that cannot be written is no error."""
    path = _note(bundle)
    if path is None:
        return
    body = json.dumps({"folder": os.path.realpath(bundle), "files": dict(files)}, indent=1).encode()
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        replace_file(path, body, 0o600)
