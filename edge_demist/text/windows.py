"""Windows over strings that are longer than a specialist reads at once, and the worst of their answers.

An alarm must not be switched off by length: an overlong string is cut into windows that together hold every byte of it up to
``MOST_BYTES``, request targets by parameter and path segment, addresses with their host before each window.  Leaves tokens and
scores to :mod:`edge_demist.model`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from edge_demist.normalizers import by_name, from_bytes, to_bytes

MOST_BYTES = 8192
"""Bytes of a normalized string that windows cover; what stands behind them is not read, and the answer says so."""
LEAST_ROOM = 16
"""A window is never halved below twice so many bytes."""


class Window(NamedTuple):
    """A part of a normalized string: bytes ``begin`` to ``end``, and what a specialist reads of it (of an address, its host as well)."""

    begin: int
    end: int
    text: str
    """What is read; bytes that are no UTF-8 as :func:`edge_demist.normalizers.from_bytes` gives them."""

    @property
    def raw(self) -> bytes:
        """What is read, as bytes."""
        return to_bytes(self.text)

    def shown(self) -> dict[str, int | str]:
        """As answers and events show it: ``start`` and ``end`` in bytes of the normalized string, and the text read."""
        return {"start": self.begin, "end": self.end, "text": self.raw.decode("utf-8", "backslashreplace")}


@dataclasses.dataclass(frozen=True)
class Shape:
    """How strings of one normalizer are cut.

    Attributes:
        room: bytes of a window.
        overlap: bytes that a window shares with the next where a part is longer than a window.
        whole: up to so many bytes a string is one window if its tokens fit; None: however long it is.
        parts: bytes at which parts begin; parts are cut only where one is longer than a window.
        places: bytes after which a longer part is cut.
        words: long runs of plain words stand in windows of their own.
    """

    room: int
    overlap: int
    whole: int | None = None
    parts: bytes = b""
    places: bytes = b" ;|&,/"
    words: bool = False

    def __post_init__(self) -> None:
        """Check that windows move on."""
        if not 0 <= self.overlap < self.room // 2 or self.room < 2 * LEAST_ROOM:
            raise ValueError(f"windows of {self.room} bytes that share {self.overlap} do not move on")


TEXT = Shape(192, 64)
HOST = Shape(64, 16, places=b".")
REQUEST = Shape(96, 24, whole=96, parts=b"?&", words=True)
COMMAND = Shape(160, 48, parts=b";&|#")
SHAPES: Mapping[str, Shape] = by_name(
    {
        "request": REQUEST,
        "cased_request": REQUEST,
        "command": COMMAND,
        "cased_command": COMMAND,
        "header": Shape(192, 64, parts=b"|"),
        "url": Shape(128, 32, whole=256, parts=b"?&#"),
        "url_without_root_slash": Shape(128, 32, whole=256, parts=b"?&#"),
        "page": Shape(128, 32, whole=256, parts=b"?&#"),
        **dict.fromkeys(("hostname", "strip_www", "strip_service_labels", "strip_all_service_labels"), HOST),
    }
)
"""Shapes by normalizer; ``TEXT`` for the others."""
_ADDRESS_WITHIN = re.compile(rb"[=/]https?(?::|%3a|-3a)", re.IGNORECASE)
_PLAIN_WORDS = re.compile(rb"(?<![^ =\n])(?:[a-z]{2,15} ){4,}[a-z]{2,15}(?![^ &])")
LONG_QUERY = 24
"""An address with a query of more bytes is read without it as well: parameters are as cheap to add as blanks."""
ADDRESSES = ("url", "url_without_root_slash", "address", "page")
"""Normalizers whose windows begin with the host."""


def is_long(raw: bytes, normalizer: str, *, overflow: bool) -> bool:
    """Whether a string needs windows: its tokens overflow, it is longer than its kind is read at once, or an address has a long query."""
    whole = SHAPES.get(normalizer, TEXT).whole
    return overflow or (whole is not None and len(raw) > whole) or (normalizer in ADDRESSES and _before_query(raw) > 0)


def _before_query(raw: bytes) -> int:
    """Bytes of an address before a query or fragment of ``LONG_QUERY`` bytes or more; 0 where it has none, or one that holds an address.

    What wraps another address (mail wrappers, redirections, sign-in with a way back) is known by its parameters; fragments reach no
    server.
    """
    place = min((k for k in (raw.find(b"?"), raw.find(b"#")) if k >= 0), default=0)
    wraps = raw[place : place + 1] == b"?" and _ADDRESS_WITHIN.search(raw, place)
    return place if place and len(raw) - place > LONG_QUERY and not wraps else 0


def is_name(normalizer: str) -> bool:
    """Whether its strings are host names or names of DNS questions."""
    return SHAPES.get(normalizer) is HOST


def is_read_whole(raw: bytes, normalizer: str) -> bool:
    """Whether an address is read at once and has a window for its long query alone."""
    return normalizer in ADDRESSES and len(raw) <= (SHAPES[normalizer].whole or 0) and _before_query(raw) > 0


def expand(raw: bytes, normalizer: str, fits: Callable[[bytes], bool]) -> list[Window]:
    """Windows over a string, in order; each fits, and together they hold its first ``MOST_BYTES`` bytes.

    Of an address that is read whole, and has a long query, there is one: the address without it.

    Args:
        raw: normalized bytes.
        normalizer: the name of the normalizer that made them.
        fits: whether a specialist reads such bytes whole.
    """
    raw, shape, head = raw[:MOST_BYTES], SHAPES.get(normalizer, TEXT), b""
    page = _before_query(raw) if normalizer in ADDRESSES and shape.whole else 0
    if page and is_read_whole(raw, normalizer) and fits(raw):  # what is read whole already
        return [Window(0, page, from_bytes(raw[:page]))]
    if normalizer in ADDRESSES:
        head = raw[: min((k for k in (raw.find(b) for b in (b"/", b"?", b"#")) if k >= 0), default=0)][: shape.room // 2]
    spans = [(0, page)] * bool(page and page <= shape.room)
    for begin, end in _apart(raw, shape):
        spans += [(begin + a, begin + b) for a, b in _packed(raw[begin:end], shape)]
    found: list[Window] = []
    while spans:
        begin, end = spans.pop(0)
        text = raw[begin:end]
        text = text if begin < len(head) or not head else head + b"/" + text.lstrip(b"/")
        if end - begin > 2 * LEAST_ROOM and not fits(text):
            middle = _before(raw, begin + LEAST_ROOM, (begin + end) // 2, shape.places)
            spans[:0] = [(begin, middle), (middle, end)]
        else:
            found.append(Window(begin, end, from_bytes(text)))
    return found


def _apart(raw: bytes, shape: Shape) -> list[tuple[int, int]]:
    """Where a string is cut in any case: around long runs of plain words, which would be company for what stands beside them."""
    ends = [0, *(place for found in _PLAIN_WORDS.finditer(raw) for place in found.span()), len(raw)] if shape.words else [0, len(raw)]
    return [(a, b) for a, b in itertools.pairwise(ends) if b > a]


def _packed(raw: bytes, shape: Shape) -> list[tuple[int, int]]:
    """Parts joined as far as a window has room, longer ones cut with an overlap."""
    spans: list[tuple[int, int]] = []
    begin = end = 0
    for part in _ends(raw, shape.parts):
        if part - begin <= shape.room:
            end = part
            continue
        if end > begin:
            spans.append((begin, end))
        if part - end > shape.room:
            spans += _cut(raw, end, part, shape)
            begin = end = part  # what follows a long part is not read together with its end
        else:
            begin, end = end, part
    return [*spans, (begin, end)] if end > begin else spans


def _ends(raw: bytes, marks: bytes) -> Iterator[int]:
    """Where the parts of a string end."""
    for place in range(1, len(raw)) if marks else ():
        if raw[place] in marks:
            yield place
    if raw:
        yield len(raw)


def _cut(raw: bytes, begin: int, end: int, shape: Shape) -> list[tuple[int, int]]:
    """Overlapping windows over one long part."""
    spans = []
    while end - begin > shape.room:
        stop = _before(raw, begin + shape.room // 2, begin + shape.room, shape.places)
        spans.append((begin, stop))
        begin = _before(raw, stop - shape.overlap, stop - shape.overlap // 2, shape.places)
    return [*spans, (begin, end)]


def _before(raw: bytes, low: int, high: int, places: bytes) -> int:
    """The last place to cut from ``low`` to ``high``: behind one of ``places``, else before a character, else ``high``."""
    for place in range(high, low, -1):
        if raw[place - 1] in places:
            return place
    for place in range(high, max(low, high - 3), -1):
        if raw[place] & 0xC0 != 0x80:
            return place
    return high


def worst(scores: Sequence[float]) -> int:
    """The number of the highest score; the first of equal ones."""
    return max(range(len(scores)), key=scores.__getitem__)
