"""Values that no program likes, and where to put them in JSON."""

from __future__ import annotations

import random
from collections.abc import Iterator

INTS = (
    0, 1, -1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 63, 64, 65, 127, 128, 255, 256, 512, 1023, 1024, 4096, 8192, 65535, 65536, 1 << 20, 1 << 24,
    10**6, 10**9, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**53, 2**63 - 1, 2**63, 2**64, 2**64 - 5, -(2**31), -(2**63), 10**30,
)  # fmt: skip
OTHERS: tuple[object, ...] = (
    None, True, False, "", "0", "a", 0.5, 1e-300, 1e300, float("nan"), float("inf"), -0.0, "\0", "../../etc/passwd", "\ud800",
    "\u00e9" * 50, "[" * 2000, "1e5", "NaN", "inf", "\x1b[2J", "wordpiece", "unigram",
)  # fmt: skip
LISTS = ("[]", "{}", "[[]]", "[0]", '{"a":1}', "[2,2,2,2]", "[3,3,3,3,3]", "[2147483648]", "[-1]", "[null]", '["a"]')
MANY = 2000


def nasty(chance: random.Random) -> object:
    """A hostile value."""
    import json

    roll = chance.random()
    if roll < 0.5:
        return chance.choice(INTS)
    if roll < 0.8:
        return chance.choice(OTHERS)
    return json.loads(chance.choice(LISTS))


def places(value: object, before: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Paths to every value inside a JSON value, itself first."""
    yield before
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*before, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from places(item, (*before, i))


def spoil(value: dict, chance: random.Random) -> None:
    """Put one to three hostile values into a JSON object."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        path = chance.choice([place for place in places(value) if place] or [()])
        if not path:
            return
        target = value
        for key in path[:-1]:
            target = target[key]  # type: ignore[index]
        roll = chance.random()
        if roll < 0.8:
            target[path[-1]] = nasty(chance)  # type: ignore[index]
        elif roll < 0.9 and isinstance(target, dict):
            target[f"odd{chance.randrange(9)}"] = nasty(chance)
        elif isinstance(target, dict):
            del target[path[-1]]


def spoil_bytes(raw: bytes, chance: random.Random, within: int = 3000) -> bytes:
    """Flip, cut, repeat or insert bytes, mostly near the beginning."""
    data, operation = bytearray(raw), chance.randrange(5)
    at = chance.randrange(min(len(data), within) + 1)
    if operation == 0 and data:
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(min(len(data), within))] ^= 1 << chance.randrange(8)
    elif operation == 1:
        del data[at:]
    elif operation == 2:
        data += chance.randbytes(chance.randint(1, 100))
    elif operation == 3:
        data[at:at] = chance.randbytes(chance.randint(1, 20))
    else:
        data[at:at] = data[at : at + chance.randint(1, 200)] * chance.randint(1, 20)
    return bytes(data)
