"""What a service is told at its start."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.io import open_regular

MODEL_NAME = "edge-demist"
MAX_BODY_BYTES = 4 << 20
MAX_BATCH = 2048
MAX_QUEUE_REQUESTS = 256
MAX_QUEUE_BYTES = 24 << 20
BODY_SECONDS = 20.0
MAX_ARRIVING_BYTES = 24 << 20
MAX_HELD_BYTES = 48 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """Address, key and limits. Sizes in bytes, times in seconds; ``uds`` comes before ``host`` and ``port``."""

    host: str = "127.0.0.1"
    port: int | None = None
    uds: Path | None = None
    api_key: str | None = None
    bundle: Path | None = None
    threads: int = 1
    max_body: int = MAX_BODY_BYTES
    max_batch: int = MAX_BATCH
    max_queue_requests: int = MAX_QUEUE_REQUESTS
    max_queue_bytes: int = MAX_QUEUE_BYTES
    body_seconds: float = BODY_SECONDS

    def __post_init__(self) -> None:
        """Refuse an open door.

        Raises:
            InputError: neither a socket nor a port, or an address beyond this machine without a key.
        """
        if self.uds is None and self.port is None:
            raise InputError("give --uds PATH or --port N")
        if self.port is not None and not self.local and not self.api_key:
            raise InputError(f"--host {self.host} can be reached from other machines: give --api-key-file FILE")

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_key(path: Path) -> str:
    """An API key: the first line of a file, 16 to 512 printable characters.

    Raises:
        InputError: it is none.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            raw = stream.read(1024).splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    key = raw[0].strip().decode("ascii", "replace") if raw else ""
    if not 16 <= len(key) <= 512 or not key.isprintable() or not key.isascii():
        raise InputError(f"{path}: the first line must be a key of 16 to 512 printable ASCII characters")
    return key
