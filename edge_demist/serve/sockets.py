"""Where the service listens: the socket that systemd passes, a Unix socket, or a port; and how many connections it may hold."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.serve.settings import Settings

LISTEN_FDS_START = 3  # sd_listen_fds(3)
BACKLOG = 4096
PROBE_SECONDS = 2.0


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[tuple[socket.socket, str]]:
    """The bound socket, and how to call it; closed afterwards, and its path removed unless systemd owns it.

    Raises:
        InputError: it cannot be had.
    """
    if (given := _given()) is not None:
        with given:
            yield given, "the socket of systemd"
    elif settings.uds:
        with _unix(settings.uds) as one:
            yield one, str(settings.uds)
        settings.uds.unlink(missing_ok=True)
    else:
        with _port(settings.host, settings.port or 0) as one:
            host, port = one.getsockname()[:2]
            yield one, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _given() -> socket.socket | None:
    """The listening socket that systemd passes (sd_listen_fds(3)); its family is read from it."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):  # not for children
        os.environ.pop(name, None)
    return socket.socket(fileno=LISTEN_FDS_START)


def _unix(path: Path) -> socket.socket:
    """A Unix socket for its owner and group; one that nobody answers on any more is replaced."""
    before = os.umask(0o117)
    one = socket.socket(socket.AF_UNIX)
    try:
        if path.is_socket():
            _leave_if_answered(path)
            path.unlink()
        one.bind(str(path))
        one.listen(BACKLOG)
    except OSError as error:
        one.close()
        raise InputError(f"--uds {path}: {error.strerror or error}") from None
    except InputError:
        one.close()
        raise
    finally:
        os.umask(before)
    return one


def _leave_if_answered(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(ConnectionRefusedError):
        probe.settimeout(PROBE_SECONDS)
        probe.connect(str(path))
        raise InputError(f"--uds {path}: another process answers there already")


def _port(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: {error.strerror or error}") from None


def descriptors(wanted: int) -> int:
    """How many files may be open: as many as are wanted, or the hard limit, which the administrator sets."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # not allowed in some sandboxes
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == unlimited else min(hard, wanted), hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == unlimited else min(soft, wanted)
