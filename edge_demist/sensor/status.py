"""What ``edge-demist status`` shows: how far the checkpoint is behind the files, without disturbing the runner."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from edge_demist.io import open_regular, printable
from edge_demist.sensor.sources.checkpoint import CheckpointStore, FileState
from edge_demist.sensor.sources.timestamps import format_time


def read_status(folder: Path) -> dict[str, object]:
    """Read a state folder.

    Returns:
        ``committed`` (RFC 3339), ``age_s``, ``bundle_id``, ``lag_bytes``, ``finished_files``, ``thresholds``, ``problems``
        and ``files``: path, offset and size in bytes, lag in bytes (None for gzip), last log time, state.

    Raises:
        FileNotFoundError: there is no checkpoint.
    """
    if not (folder / "checkpoint.json").is_file():
        raise FileNotFoundError(f"{folder}: no checkpoint.json; is this the --state folder of a watch that has run?")
    checkpoint, problems = CheckpointStore(folder, read_only=True).load()
    files = [_file(state) for state in sorted(checkpoint.active, key=lambda s: s.path)]
    thresholds = checkpoint.alarms.get("thresholds", {})
    return {
        "committed": format_time(int(checkpoint.committed_at * 1e6)),
        "age_s": round(max(0.0, time.time() - checkpoint.committed_at), 1),
        "bundle_id": checkpoint.bundle_id,
        "lag_bytes": sum(int(str(f["lag_bytes"] or 0)) for f in files),
        "finished_files": len(checkpoint.finished),
        "output": dict(checkpoint.output),
        "thresholds": thresholds if isinstance(thresholds, dict) else {},
        "problems": problems,
        "files": files,
    }


def _file(state: FileState) -> dict[str, object]:
    path = Path(state.path)
    size, where = state.size, "gone"
    try:
        info = path.stat()
    except OSError:
        info = None
    if info is not None:
        same = (info.st_dev, info.st_ino) == (state.device, state.inode)
        where = "here" if same else "rotated"
        size = info.st_size if same else size
    lag = None if _is_gzip(path) else max(0, size - state.offset)
    clock = format_time(state.clock_us) if state.clock_us else None
    return {"path": state.path, "offset": state.offset, "size": size, "lag_bytes": lag, "log_time": clock, "state": where}


def _is_gzip(path: Path) -> bool:
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            return file.read(2) == b"\x1f\x8b"
    except OSError:
        return path.suffix == ".gz"


def render_status(status: Mapping[str, object]) -> str:
    """The status for people; control characters in file names are escaped."""
    rows = [f"checkpoint  {status['committed']} ({status['age_s']} s ago)   bundle {str(status['bundle_id'])[:16]}"]
    rows.append(f"lag         {status['lag_bytes']} bytes in all; {status['finished_files']} files read to their end")
    files = status["files"]
    for entry in files if isinstance(files, list) else []:
        lag = "gzip" if entry["lag_bytes"] is None else f"{entry['lag_bytes']} behind"
        name = os.fsencode(entry["path"]).decode("ascii", "backslashreplace")
        shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in name)
        rows.append(f"  {entry['offset']:>14} of {entry['size']:>14}  {lag:>20}  {entry['state']:8} {entry['log_time'] or '-':27} {shown}")
    problems = status["problems"]
    rows += [f"problem     {printable(problem)}" for problem in (problems if isinstance(problems, list) else [])]
    return "\n".join(rows) + "\n"
