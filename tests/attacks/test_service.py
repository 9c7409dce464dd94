"""Clients of the HTTP service that mean harm: the others are answered meanwhile, and memory stays bounded.

The whole of it (200 crawling clients, 1 GB, 10,000 connections) is ``python -m benchmarks.serve crowd``.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from edge_demist.serve.body import MAX_VALUES, parsed
from edge_demist.serve.connections import MAX_CONNECTIONS, SPARE_DESCRIPTORS
from edge_demist.serve.problems import Problem
from edge_demist.serve.settings import MAX_BATCH, MAX_BODY_BYTES

MAX_RSS_MB = 300
HELD = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A started service that may open few files, and so holds ``HELD`` connections."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = ["sh", "-c", f'ulimit -n {HELD + SPARE_DESCRIPTORS}; exec "$@"', "sh", sys.executable, "-P", "-m", "edge_demist"]
    log = tmp_path_factory.mktemp("service") / "log"
    with log.open("wb") as stream, subprocess.Popen([*command, "serve", "--port", str(port)], stderr=stream) as process:
        for _ in range(600):
            with contextlib.suppress(OSError):
                ask(port)
                break
            time.sleep(0.1)
        yield process, port
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    said = log.read_text()
    assert f"{HELD} connections are held; for {MAX_CONNECTIONS} allow" in said and "Traceback" not in said


def ask(port: int) -> int:
    """An honest client: the dimensions of its vector."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/embed", json.dumps({"inputs": "kernel.org"}).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        return len(json.loads(answer.read())[0])


def rss_mb(process: subprocess.Popen[bytes]) -> int:
    """Memory that the service holds."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) >> 10


@contextlib.contextmanager
def connections(port: int, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections, each with the beginning of a request."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            one.sendall(first)
            opened.append(one)
        yield opened


def test_a_byte_at_a_time(server) -> None:
    process, port = server
    head = b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: 30\r\n\r\n{"
    with connections(port, 50, head[:5]) as heads, connections(port, 50, head) as bodies:
        for place in range(3):
            for one in heads:
                one.sendall(head[5 + place : 6 + place])
            for one in bodies:
                one.sendall(b" ")
            assert ask(port) == 384
    assert rss_mb(process) < MAX_RSS_MB


def test_a_body_without_end(server) -> None:
    process, port = server
    with connections(port, 1, b"POST /embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n") as (one,):
        block = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        with contextlib.suppress(OSError):
            for _ in range(64):
                one.sendall(block)
        assert ask(port) == 384
    assert rss_mb(process) < MAX_RSS_MB


def test_more_connections_than_are_held(server) -> None:
    process, port = server
    with connections(port, HELD + 50) as opened:
        assert [ask(port) for _ in range(5)] == [384] * 5
        opened[0].settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert opened[0].recv(1) == b""  # the oldest was cut
    assert rss_mb(process) < MAX_RSS_MB


def test_many_large_bodies_that_never_end(server) -> None:
    process, port = server
    size = MAX_BODY_BYTES - 100
    head = f"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode()
    with connections(port, 60, head) as opened:
        for one in opened:
            with contextlib.suppress(OSError):  # the first have had their time
                one.sendall(b" " * (size - 100))
        assert ask(port) == 384
    assert rss_mb(process) < MAX_RSS_MB


def test_answers_that_nobody_reads(server) -> None:
    process, port = server
    body = json.dumps({"inputs": ["kernel.org"] * MAX_BATCH}).encode()
    head = f"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with connections(port, 20, head + body):
        assert [ask(port) for _ in range(3)] == [384] * 3
    assert rss_mb(process) < MAX_RSS_MB


@pytest.mark.parametrize(
    "request_",
    [
        b"X" * 20 + b" / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
        b"POST /embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_requests_that_break_the_protocol_fill_no_log(server, request_) -> None:
    process, port = server
    for _ in range(5):
        with connections(port, 1, request_ * 3) as (one,), contextlib.suppress(OSError):
            one.recv(1000)
    assert ask(port) == 384 and process.poll() is None  # that no traceback was written is seen at the end


def test_clients_that_leave_in_the_middle(server) -> None:
    _, port = server
    body = json.dumps({"inputs": ["kernel.org"] * 300}).encode()
    head = f"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    for sent in (head + body[:9], head + body):
        with connections(port, 5, sent):
            pass
    assert ask(port) == 384


BOMBS = {
    "lists": b'"x": [' + b"[]," * 1_300_000 + b"[]]",
    "keys": b",".join(b'"%x": 0' % number for number in range(400_000)),
    "numbers": b'"x": [' + b"1.5," * 1_000_000 + b"1]",
    "wide text": b'"x": "' + b"a" * 4_000_000 + "\U0001f600".encode() + b'"',
    "a string without end": b'"x": "' + b'\\"' * 1_900_000,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bodies_that_are_larger_in_memory(server, kind) -> None:
    process, port = server
    work = json.dumps({"inputs": [f"{i}" + "ab/" * 300 for i in range(20)]}).encode()
    body = b'{"inputs": ["a"], ' + BOMBS[kind] + b"}"
    requests = [f"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: {len(one)}\r\n\r\n".encode() + one for one in (work, *[body] * 8)]
    with contextlib.ExitStack() as stack:
        for request in requests:
            stack.enter_context(connections(port, 1, request))
        assert ask(port) == 384
        assert peak_mb(process) < MAX_RSS_MB


def peak_mb(process: subprocess.Popen[bytes]) -> int:
    """The most memory that the service has held."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) >> 10


@pytest.mark.parametrize("quote", ["", '"', '\\"', '"\\\\"', '","', '"[{,'])
def test_values_are_counted_outside_of_texts(quote) -> None:
    texts = [quote + "," * 100_000 + quote, quote * 5]
    assert parsed(json.dumps({"inputs": texts}).encode()) == {"inputs": texts}
    with pytest.raises(Problem) as caught:
        parsed(json.dumps({"inputs": texts, "x": [0] * (MAX_VALUES + 1)}).encode())
    assert caught.value.status == 413
