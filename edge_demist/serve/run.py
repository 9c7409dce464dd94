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

from edge_demist.errors import InputError
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
        from edge_demist.serve.connections import MAX_CONNECTIONS, SPARE_DESCRIPTORS, Connection
    except ImportError as error:
        raise InputError(f"this needs the extra: pip install 'edge-demist[serve]' ({error.name} is missing)") from None
    tell = say or (lambda text: print(f"edge-demist serve: {text}", file=sys.stderr, flush=True))  # noqa: T201
    sys.setswitchinterval(SWITCH_SECONDS)
    files = MAX_CONNECTIONS + SPARE_DESCRIPTORS
    Connection.most = max(1, _descriptors(files) - SPARE_DESCRIPTORS)
    if Connection.most < MAX_CONNECTIONS:
        tell(f"{Connection.most} connections are held; for {MAX_CONNECTIONS} allow {files} open files (ulimit -Hn)")
    batcher = Batcher(load(), settings)
    options: dict[str, Any] = {"uds": str(settings.uds)} if settings.uds else {"host": settings.host, "port": settings.port}
    given = _given_socket()
    config = uvicorn.Config(
        create(batcher, settings), log_config=None, access_log=False, lifespan="off", server_header=False, http=Connection,
        timeout_keep_alive=10, timeout_graceful_shutdown=20, h11_max_incomplete_event_size=16384, ws="none", proxy_headers=False,
        **options,
    )  # fmt: skip
    server = uvicorn.Server(config)
    setattr(server, "capture_signals", contextlib.nullcontext)  # noqa: B010

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn would raise them again at the end
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        reloads: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive

        def reload() -> None:
            reloads.add(task := loop.create_task(_reload(batcher, load, tell)))
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
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


async def _reload(batcher: Batcher, load: Callable[[], EdgeDemist], tell: Callable[[str], None]) -> None:
    """Take a new bundle if it loads and answers; else keep the old one."""
    try:
        fresh = await asyncio.to_thread(_tried, load)
    except Exception as error:
        tell(f"the new bundle is refused, the old one stays: {error or type(error).__name__}")
        return
    batcher.model = fresh
    tell(f"bundle {fresh.bundle_id[:16]}")


def _tried(load: Callable[[], EdgeDemist]) -> EdgeDemist:
    """A model that has answered a few strings."""
    fresh = load()
    for task in fresh.tasks:
        fresh.classify(PROBES, task=task)
    return fresh


def _descriptors(wanted: int) -> int:
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
