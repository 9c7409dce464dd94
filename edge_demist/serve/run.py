"""Starts and ends the service: sockets, signals, a new bundle without a pause."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from edge_demist.errors import InputError
from edge_demist.model import EdgeDemist
from edge_demist.serve.batcher import Batcher
from edge_demist.serve.settings import Settings
from edge_demist.serve.sockets import BACKLOG, descriptors, listening

if TYPE_CHECKING:
    from uvicorn import Server

PROBES = ("example.com", "xjw8k2qpz7v1.info", "/index.php?id=1'+OR+1=1--", "")
SWITCH_SECONDS = 5e-4  # the worker comes back from the kernels for the interpreter while the loop writes answers


def serve(settings: Settings, load: Callable[[], EdgeDemist], say: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP takes a new bundle after it has answered a few strings.

    Raises:
        InputError: the extra is not installed, or the place to listen at cannot be had.
    """
    try:
        import orjson  # noqa: F401 - the application writes with it
        import uvicorn
        from h11 import ProtocolError

        from edge_demist.serve.app import create
        from edge_demist.serve.connections import MAX_CONNECTIONS, SPARE_DESCRIPTORS, Connection
    except ImportError as error:
        raise InputError(f"this needs the extra: pip install 'edge-demist[serve]' ({error.name} is missing)") from None
    tell = say or (lambda text: print(f"edge-demist serve: {text}", file=sys.stderr, flush=True))  # noqa: T201
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what comes before there is a bundle to replace
    sys.setswitchinterval(SWITCH_SECONDS)
    for name in ("uvicorn.error", "asyncio"):  # what clients do wrong is answered, and fills no log
        logging.getLogger(name).addFilter(lambda told: not (told.exc_info and isinstance(told.exc_info[1], ProtocolError)))
    files = MAX_CONNECTIONS + SPARE_DESCRIPTORS
    Connection.most = max(1, descriptors(files) - SPARE_DESCRIPTORS)
    if Connection.most < MAX_CONNECTIONS:
        tell(f"{Connection.most} connections are held; for {MAX_CONNECTIONS} allow {files} open files (ulimit -Hn)")
    with listening(settings) as (door, place):
        batcher = Batcher(load(), settings)
        server = uvicorn.Server(uvicorn.Config(
            create(batcher, settings), log_config=None, access_log=False, lifespan="off", server_header=False, http=Connection,
            timeout_keep_alive=10, timeout_graceful_shutdown=20, h11_max_incomplete_event_size=16384, ws="none", proxy_headers=False,
            backlog=BACKLOG, log_level="error",
        ))  # fmt: skip
        setattr(server, "capture_signals", contextlib.nullcontext)  # noqa: B010
        tell(f"listening on {place}, bundle {batcher.model.bundle_id[:16]}")
        try:
            asyncio.run(_run(server, door, functools.partial(_reload, batcher, load, tell)))
        finally:
            batcher.close()


async def _run(server: Server, door: socket.socket, reload: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Serve until a signal says to stop; ``reload`` at SIGHUP."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn would raise them again at the end
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    reloads: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive

    def begin() -> None:
        reloads.add(task := loop.create_task(reload()))
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, begin)
    await server.serve([door])


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
