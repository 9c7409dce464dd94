"""The map as one HTML file: no request, no framework, the data inside it.

The data block is base64 of deflate (RFC 1950) of::

    uint32      length of the header (little-endian)
    JSON        count, groups, regions, land, start, title, legend, value, low, high
    uint8 [2n]  x: the high bytes of all rows, then the low bytes; in the same way y, group, value (65535: none), times
    uint8 [n]   status: 0 in both or no comparison, 1 new, 2 gone
    uint8 [2n]  length of each name in bytes of UTF-8
    bytes       the names, one after the other

Rows are sorted by name, so that the same names give the same bytes. What a name holds never becomes markup: it leaves this block
through ``textContent`` alone, and the Content-Security-Policy lets only the script and the style run whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import string
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.explore.places import Atlas, Region

MAX_NAME_BYTES = 512
"""A longer name is cut in the page (not in the Parquet file)."""

MAX_GROUPS = 200
NO_VALUE = 65_535
WEB = Path(__file__).parent / "web"


@dataclass(frozen=True)
class Group:
    """One entry of the legend."""

    name: str
    colour: str
    count: int


@dataclass(frozen=True)
class Points:
    """What is on the map, sorted by name: n rows.

    ``group`` numbers the legend's entries; ``value`` float64 or None, NaN where a row has none; ``status`` see the module.
    """

    names: Sequence[str]
    places: NDArray[np.float32]
    group: NDArray[np.uint16]
    times: NDArray[np.int64]
    status: NDArray[np.uint8]
    value: NDArray[np.float64] | None = None
    value_kind: str = ""


def build_page(points: Points, groups: Sequence[Group], atlas: Atlas, *, title: str, legend: str, about: str) -> bytes:
    """The page; the same bytes for the same points.

    Args:
        points: sorted by name.
        groups: the legend, at most ``MAX_GROUPS``.
        atlas: its regions' names and its land are drawn.
        title: stands above the map.
        legend: what the groups are.
        about: a line about where the vectors come from.
    """
    script, style = ((WEB / name).read_text(encoding="utf-8") for name in ("map.js", "map.css"))
    policy = f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; base-uri 'none'; form-action 'none'"
    header = _header(points, groups, atlas)
    data = base64.b64encode(zlib.compress(_block(header | {"title": title, "legend": legend}, points), 9)).decode("ascii")
    page = string.Template((WEB / "map.html").read_text(encoding="utf-8")).substitute(
        policy=policy, title=html.escape(title), about=html.escape(about), style=style, script=script, data=data
    )
    return page.encode("utf-8")


def _source(text: str) -> str:
    """A source expression of Content-Security-Policy (CSP level 2, section 4.2.5) for one inline block."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _header(points: Points, groups: Sequence[Group], atlas: Atlas) -> dict[str, Any]:
    """What the script needs beside the columns."""
    steps = _steps(points.places)
    head: dict[str, Any] = {"count": len(points.names), "value": points.value_kind if points.value is not None else ""}
    low, high = _range(points.value)
    head |= {"low": low, "high": high, "start": _start(steps)}
    head["groups"] = [{"name": group.name, "colour": group.colour, "count": group.count} for group in groups]
    ordered = sorted(atlas.regions, key=lambda region: (region.level, -region.landmarks, region.name))
    head["regions"] = [_shown(region) for region in ordered]
    head["land"] = np.minimum(np.asarray(atlas.places) * 4096, 4095).astype(int).reshape(-1).tolist()
    return head


def _shown(region: Region) -> dict[str, Any]:
    return {"name": region.name, "level": region.level, "x": round(region.x * 65_535), "y": round(region.y * 65_535)}


def _start(steps: NDArray[np.uint16]) -> dict[str, float]:
    """The first view: where all but a few of the points lie, with a margin."""
    if not len(steps):
        return {"x": 32_768, "y": 32_768, "zoom": 0}
    low, high = np.quantile(steps.astype(np.float64), (0.03, 0.97), axis=0)
    x, y = (low + high) / 2
    room = max(float((high - low).max()), 2048.0) * 1.25
    return {"x": round(float(x)), "y": round(float(y)), "zoom": round(max(0.0, float(np.log2(65_536 / room))), 2)}


def _steps(places: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Places 0 .. 1 in 65,536 steps."""
    return np.clip(np.rint(places.astype(np.float64) * 65_535), 0, 65_535).astype(np.uint16)


def _range(value: NDArray[np.float64] | None) -> tuple[float, float]:
    known = value[np.isfinite(value)] if value is not None else np.empty(0)
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)


def _block(header: Mapping[str, Any], points: Points) -> bytes:
    """Header and columns in one piece."""
    raw = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    steps = _steps(points.places)
    value = np.full(len(points.names), NO_VALUE, np.uint16)
    if points.value is not None:
        low, high = _range(points.value)
        known = np.isfinite(points.value)
        value[known] = np.rint((points.value[known] - low) / max(high - low, 1e-300) * 65_534).astype(np.uint16)
    names = [cut_name(name) for name in points.names]
    times = np.minimum(points.times, 65_535).astype(np.uint16)
    columns = [steps[:, 0], steps[:, 1], points.group, value, times]
    length = np.fromiter(map(len, names), np.uint16, len(names))
    parts = [len(raw).to_bytes(4, "little"), raw, *map(_planes, columns), points.status.tobytes(), _planes(length), *names]
    return b"".join(parts)


def _planes(column: NDArray[np.uint16]) -> bytes:
    """The high bytes of a column, then its low bytes: deflate finds more in them than in pairs."""
    return (column >> 8).astype(np.uint8).tobytes() + (column & 255).astype(np.uint8).tobytes()


def cut_name(name: str) -> bytes:
    r"""A name as UTF-8 of at most ``MAX_NAME_BYTES``; a lone surrogate (a byte that was not UTF-8) is spelled out as ``\udcxx``."""
    raw = name.encode("utf-8", "backslashreplace")
    if len(raw) <= MAX_NAME_BYTES:
        return raw
    return raw[: MAX_NAME_BYTES - 3].decode("utf-8", "ignore").encode() + "…".encode()
