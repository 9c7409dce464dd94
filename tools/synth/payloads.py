"""Bytes that a DNS tunnel carries: encrypted, compressed, plain text, command output, packets."""

from __future__ import annotations

import random
import zlib

from tools.synth.words import person, sentence, word


def command_output(rng: random.Random) -> str:
    """Make text that looks like the output of a shell command."""
    kind = rng.randrange(5)
    user = person(rng)
    if kind == 0:
        return f"uid={rng.randint(0, 2000)}({user}) gid={rng.randint(0, 2000)}({user}) groups=27(sudo)\n"
    if kind == 1:
        return f"{user}:x:{rng.randint(1000, 1999)}:100::/home/{user}:/bin/bash\n" * rng.randint(1, 3)
    if kind == 2:
        rows = (f"-rw-r--r-- 1 {user} {user} {rng.randint(9, 99999)} Jan {rng.randint(1, 28)} {word(rng)}.txt" for _ in range(4))
        return "\n".join(rows)
    if kind == 3:
        return f"Host Name: {word(rng).upper()}-{rng.randint(1, 99)}\r\nOS Name: Microsoft Windows 10 Pro\r\nSystem Type: x64-based PC\r\n"
    return f"Ethernet adapter:\r\n   IPv4 Address. . . : 192.0.2.{rng.randint(1, 254)}\r\n   Subnet Mask . . : 255.255.255.0\r\n"


def plain_text(rng: random.Random) -> str:
    """Make text of a document, table or configuration."""
    kind = rng.randrange(4)
    if kind == 0:
        return ". ".join(sentence(rng).capitalize() for _ in range(4))
    if kind == 1:
        return "\n".join(f"{word(rng)},{rng.randint(1, 9999)},{person(rng)}@example.com" for _ in range(6))
    if kind == 2:
        return "{" + ", ".join(f'"{word(rng)}": {rng.randint(0, 999)}' for _ in range(6)) + "}"
    return "\n".join(f"{word(rng)}_{word(rng)} = {word(rng)}" for _ in range(6))


def ip_packet(rng: random.Random, size: int) -> bytes:
    """Make an IPv4/TCP packet head (RFC 791, RFC 9293) between two private addresses, filled with random bytes."""
    head = bytes([0x45, rng.choice((0, 0x10)), size >> 8 & 255, size & 255]) + rng.randbytes(2) + b"\x40\x00\x40\x06"
    addresses = bytes([10, rng.randint(0, 255), 0, rng.randint(1, 9), 10, 0, 0, rng.randint(1, 9)])
    ports = rng.choice((22, 80, 443)).to_bytes(2, "big") + rng.randbytes(2)
    tcp = ports + rng.randbytes(8) + b"\x80\x18" + rng.randbytes(4) + b"\x00\x00\x01\x01\x08\x0a"
    return (head + rng.randbytes(2) + addresses + tcp + rng.randbytes(max(size, 1)))[: max(size, 1)]


def payload(rng: random.Random, size: int) -> bytes:
    """Return ``size`` bytes of a random kind of payload."""
    kind = rng.random()
    if kind < 0.45:
        return rng.randbytes(size)
    if kind < 0.6:
        return ip_packet(rng, size)
    text = (command_output if kind < 0.8 else plain_text)(rng).encode()
    if rng.random() < 0.4:
        text = zlib.compress(text + rng.randbytes(8), 9)
    start = rng.randrange(max(len(text) - size, 0) + 1)
    cut = text[start : start + size]
    return cut + rng.randbytes(size - len(cut)) if len(cut) < size and rng.random() < 0.5 else cut or rng.randbytes(size)
