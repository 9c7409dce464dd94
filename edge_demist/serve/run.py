"""Starts and ends the service: sockets, signals, a new bundle without a pause."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from edge_demist.errors import EdgeDemistError, InputError
from edge_demist.model import EdgeDemist
from edge_demist.serve.batcher import Batcher
from edge_demist.serve.settings import Settings

PROBES = ("example.com", "xjw8k2qpz7v1.info", "/index.php?id=1'+OR+1=1--", "")
SWITCH_SECONDS = 5e-4  # the worker comes back from the kernels for the interpreter while the loop writes answers
LISTEN_FDS_START = 3  # sd_listen_fds(3)


def serve(settings: Settings, load: Callable[[], EdgeDemist], say: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP takes a new bundle after it has answered a few strings.

    Raises:
        InputError: the extra is not installed.
    """
    try:
        import orjson  # noqa: F401 - the application writes with it
        import uvicorn

        from edge_demist.serve.app import create
        from edge_demist.serve.connections import MAX_CONNECTIONS, Connection
    except ImportError as error:
        raise InputError(f"this needs the extra: pip install 'edge-demist[serve]' ({error.name} is missing)") from None
    tell = say or (lambda text: print(f"edge-demist serve: {text}", file=sys.stderr, flush=True))  # noqa: T201
    sys.setswitchinterval(SWITCH_SECONDS)
    _more_descriptors(4 * MAX_CONNECTIONS)
    batcher = Batcher(load(), settings)
    options: dict[str, Any] = {"uds": str(settings.uds)} if settings.uds else {"host": settings.host, "port": settings.port}
    given = _given_socket()
    config = uvicorn.Config(
        create(batcher, settings), log_config=None, access_log=False, lifespan="off", server_header=False, http=Connection,
        timeout_keep_alive=10, timeout_graceful_shutdown=20, h11_max_incomplete_event_size=16384, ws="none", **options,
    )  # fmt: skip
    server = uvicorn.Server(config)
    setattr(server, "capture_signals", contextlib.nullcontext)  # noqa: B010

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn would raise them again at the end
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        loop.add_signal_handler(signal.SIGHUP, lambda: loop.run_in_executor(None, _reload, batcher, load, tell))
        place = "the socket of systemd" if given else settings.uds or f"{settings.host}:{settings.port}"
        tell(f"listening on {place}, bundle {batcher.model.bundle_id[:16]}")
        await server.serve([given] if given else None)

    try:
        asyncio.run(run())
    finally:
        batcher.close()


def _given_socket() -> socket.socket | None:
    """The listening socket that systemd passes (sd_listen_fds(3)); its family is read from it."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):  # not for children
        os.environ.pop(name, None)
    return socket.socket(fileno=LISTEN_FDS_START)


def _reload(batcher: Batcher, load: Callable[[], EdgeDemist], tell: Callable[[str], None]) -> None:
    """Take a new bundle if it loads and answers; else keep the old one."""
    try:
        fresh = load()
        for task in fresh.tasks:
            fresh.classify(PROBES, task=task)
    except (EdgeDemistError, OSError, ValueError) as error:
        tell(f"the new bundle is refused, the old one stays: {error}")
        return
    batcher.model = fresh
    tell(f"bundle {fresh.bundle_id[:16]}")


def _more_descriptors(count: int) -> None:
    """As many open files as the administrator allows: each connection takes one."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(hard, count)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a unit that forbids it has its own LimitNOFILE
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
