"""Byte-to-text encodings that DNS tunnels use, each with its inverse, before any lower-casing."""

from __future__ import annotations

import base64
import string

RFC_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648, section 6
RFC_BASE32HEX = "0123456789abcdefghijklmnopqrstuv"  # RFC 4648, section 7
ZBASE32 = "ybndrfg8ejkmcpqxot1uwisza345h769"  # O'Whielacronx, human-oriented base-32 encoding
BASE36 = string.digits + string.ascii_lowercase
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase

# iodine, src/base32.c, base64.c, base64u.c, base128.c: most significant bit first, no padding.
IODINE_BASE32 = string.ascii_lowercase + "012345"
IODINE_BASE64 = string.ascii_lowercase + string.ascii_uppercase + "-0123456789+"
IODINE_BASE64U = string.ascii_lowercase + string.ascii_uppercase + "_0123456789-"
IODINE_BASE128 = string.ascii_lowercase + string.ascii_uppercase + string.digits + bytes(range(0xBC, 0xFE)).decode("latin-1")


def encode_bits(data: bytes, alphabet: str) -> str:
    """Encode with a power-of-two alphabet, most significant bit first, the last group filled with zero bits."""
    width = len(alphabet).bit_length() - 1
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % width)
    return "".join(alphabet[int(bits[i : i + width], 2)] for i in range(0, len(bits), width))


def decode_bits(text: str, alphabet: str) -> bytes:
    """Invert :func:`encode_bits`."""
    width = len(alphabet).bit_length() - 1
    bits = "".join(f"{alphabet.index(char):0{width}b}" for char in text)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8))


def encode_integer(data: bytes, alphabet: str) -> str:
    """Encode the bytes as one big-endian number in base ``len(alphabet)`` (base36, base58, base62)."""
    number = int.from_bytes(b"\x01" + data, "big")
    digits: list[str] = []
    while number:
        number, rest = divmod(number, len(alphabet))
        digits.append(alphabet[rest])
    return "".join(reversed(digits))


def decode_integer(text: str, alphabet: str) -> bytes:
    """Invert :func:`encode_integer`."""
    number = 0
    for char in text:
        number = number * len(alphabet) + alphabet.index(char)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")[1:]


def base64_text(data: bytes, *, url: bool = False, pad: bool = False) -> str:
    """Encode as base64 or base64url (RFC 4648), without ``=`` unless asked."""
    text = (base64.urlsafe_b64encode(data) if url else base64.b64encode(data)).decode("ascii")
    return text if pad else text.rstrip("=")


def split_labels(text: str, width: int, room: int) -> str:
    """Cut text into labels of ``width`` characters joined by dots, at most ``room`` characters in all."""
    labels: list[str] = []
    left = room
    for start in range(0, len(text), width):
        label = text[start : start + width][: max(left, 0)]
        if not label:
            break
        labels.append(label)
        left -= len(label) + 1
    return ".".join(labels)
