"""Verification of Ed25519 signatures (RFC 8032, section 5.1.7) in plain Python; about 5 ms a signature.

Only public data passes through here, so nothing needs constant time. Signing is left to the offline side.
Encodings that are not canonical (y ≥ p, S ≥ L) are refused, and so are keys of small order: one signature would do for
every message.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)

Point: TypeAlias = tuple[int, int, int, int]
"""Extended coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, x·y = T/Z."""

_NEUTRAL: Point = (0, 1, 1, 0)


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Say whether ``signature`` (64 bytes) is ``public_key``'s (32 bytes) for ``message``."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key = _decode(public_key)
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or scalar >= L or is_weak(public_key):
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    challenge = int.from_bytes(digest, "little") % L
    x, y, z, t = key
    expected = _add(_multiply(scalar, _BASE), _multiply(challenge, (P - x, y, z, P - t)))
    return _encode(expected) == signature[:32]


def is_weak(public_key: bytes) -> bool:
    """Say whether 8 times the key is the neutral element, so that the key proves nothing (RFC 8032, section 5.1.7)."""
    point = _decode(public_key)
    if point is None:
        return False
    for _ in range(3):
        point = _add(point, point)
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


def _add(p: Point, q: Point) -> Point:
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _multiply(scalar: int, point: Point) -> Point:
    result = _NEUTRAL
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _decode(data: bytes) -> Point | None:
    """Decode a point (RFC 8032, section 5.1.3); None if there is no such point or the encoding is not canonical."""
    value = int.from_bytes(data, "little")
    sign, y = value >> 255, value & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_MINUS_1 % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def _encode(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


_BASE_Y = 4 * pow(5, P - 2, P) % P
_DECODED_BASE = _decode(_BASE_Y.to_bytes(32, "little"))
assert _DECODED_BASE is not None
_BASE: Point = _DECODED_BASE
