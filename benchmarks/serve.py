"""The HTTP service under load: ``python -m benchmarks.serve`` (writes ``benchmarks/results/serve.json``).

``mixed``: 64 connections that ask at once, each for a route drawn anew, for 60 s: requests a second, times, answers by status.
``embed``: ``/embed`` in batches of 32 beside ``EdgeDemist.encode`` of the same batches in one process, interleaved in short
turns: strings a second. ``crowd``: how long one client waits while others send a byte a second, a body of 1 GB, and while
10,000 connections are open. The clients share the machine with the service.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import markdown, result_file
from edge_demist import EdgeDemist
from edge_demist.diagnostics import machine
from tools.spread.names import HOSTS

RESULT = result_file.RESULTS / "serve.json"
BATCH = 32


@contextlib.contextmanager
def service(threads: int = 1) -> Iterator[int]:
    """A started service on a port of its own."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    words = [sys.executable, "-P", "-m", "edge_demist", "serve", "--port", str(port), "--threads", str(threads)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def names(count: int, seed: int) -> list[str]:
    """Host names, mostly distinct."""
    hosts, draw = HOSTS.read_text(encoding="utf-8").split(), random.Random(seed)
    return [f"{draw.choice(hosts).partition('.')[0]}{draw.randrange(1000)}.{draw.choice(hosts)}" for _ in range(count)]


def questions(texts: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """A request of each route."""
    return [
        ("/embed", {"inputs": list(texts)}),
        ("/v1/embeddings", {"model": "edge-demist", "input": list(texts), "encoding_format": "base64"}),
        ("/v1/classify", {"inputs": list(texts[:8]), "tasks": ["dga", "hostname-threat"], "fpr": 1e-3}),
        ("/predict/dga", {"inputs": [[text] for text in texts[:8]]}),
        ("/api/embed", {"model": "edge-demist", "input": texts[0]}),
        ("/similarity", {"inputs": {"source_sentence": texts[0], "sentences": list(texts[1:9])}}),
        ("/tokenize", {"inputs": list(texts[:8])}),
    ]


def written(path: str, body: dict[str, Any]) -> bytes:
    """The request as it goes over the wire."""
    raw = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n".encode() + raw


async def answer(reader: asyncio.StreamReader) -> int:
    """Reads one answer; its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(head[9:12])


async def mixed(port: int, connections: int, seconds: float) -> dict[str, Any]:
    """All connections ask as fast as they are answered."""
    times: list[float] = []
    statuses: Counter[str] = Counter()
    end = time.perf_counter() + seconds

    async def one(seed: int) -> None:
        draw = random.Random(seed)
        asked = [(written(path, body), path) for path, body in questions(names(BATCH, seed))]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        while time.perf_counter() < end:
            raw, _ = draw.choice(asked)
            start = time.perf_counter()
            writer.write(raw)
            status = await answer(reader)
            times.append(time.perf_counter() - start)
            statuses[str(status)] += 1
            if status == 429:
                await asyncio.sleep(0.05)
        writer.close()

    start = time.perf_counter()
    results = await asyncio.gather(*(one(i) for i in range(connections)), return_exceptions=True)
    broken = sum(isinstance(result, BaseException) for result in results)
    took = time.perf_counter() - start
    ranked = sorted(times)
    return {
        "connections": connections, "seconds": round(took, 2), "requests": len(times), "requests_per_second": round(len(times) / took, 1),
        "p50_ms": round(ranked[len(ranked) // 2] * 1e3, 2), "p99_ms": round(ranked[int(len(ranked) * 0.99)] * 1e3, 2),
        "statuses": dict(statuses), "broken_connections": broken,
    }  # fmt: skip


def embed(port: int, turns: int, batches: int) -> dict[str, Any]:
    """``/embed`` beside ``encode``, in turns; four connections, so that the service never waits for its client."""
    model = EdgeDemist.load()
    served, alone = [], []
    for turn in range(turns):
        lists = [names(BATCH, turn * batches + i) for i in range(batches)]
        start = time.perf_counter()
        for texts in lists:
            model.encode(texts)
        alone.append(batches * BATCH / (time.perf_counter() - start))
        raw = [written("/embed", {"inputs": texts}) for texts in lists]
        start = time.perf_counter()
        asyncio.run(_send(port, raw))
        served.append(batches * BATCH / (time.perf_counter() - start))
    ratios = [a / b for a, b in zip(served, alone, strict=True)]
    return {
        "batch": BATCH, "turns": turns, "strings_per_turn": batches * BATCH, "library_per_second": round(statistics.median(alone)),
        "service_per_second": round(statistics.median(served)), "ratio": round(statistics.median(ratios), 3),
        "ratio_lowest": round(min(ratios), 3), "ratio_highest": round(max(ratios), 3),
    }  # fmt: skip


async def _send(port: int, raw: list[bytes], connections: int = 4) -> None:
    waiting = list(reversed(raw))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        while waiting:
            writer.write(waiting.pop())
            assert await answer(reader) == 200
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))


async def crowd(port: int, slow: int, idle: int, seconds: float) -> dict[str, Any]:
    """Times of one client alone and beside each kind of hostile one."""
    found = {"alone_ms": await _median(port, seconds)}
    crawlers = [asyncio.ensure_future(_crawl(port)) for _ in range(slow)]
    found["byte_a_second_ms"] = await _median(port, seconds)
    flood = asyncio.ensure_future(_large(port, 1_000_000_000))
    found["body_of_1_gb_ms"] = await _median(port, seconds)
    found["body_of_1_gb_status"] = await flood
    for crawler in crawlers:
        crawler.cancel()
    opened = []
    for _ in range(idle):
        with contextlib.suppress(OSError):
            opened.append(await asyncio.open_connection("127.0.0.1", port))
    found |= {"idle_connections": len(opened), "idle_connections_ms": await _median(port, seconds, patient=True)}
    found["idle_connections_held"] = sum(not reader.at_eof() for reader, _ in opened)
    for _, writer in opened:
        writer.close()
    return found | {"slow_clients": slow}


async def _median(port: int, seconds: float, *, patient: bool = False) -> float:
    times: list[float] = []
    end, raw = time.perf_counter() + seconds, written("/embed", {"inputs": names(1, 7)})
    while time.perf_counter() < end or not times:
        start = time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(raw)
            status = await answer(reader)
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            status = 0
        if status == 200:
            times.append(time.perf_counter() - start)
        elif not patient or time.perf_counter() > end + 60:
            raise SystemExit(f"a client was refused with {status}")
        else:
            await asyncio.sleep(0.1)
    return round(statistics.median(times) * 1e3, 2)


async def _crawl(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for byte in written("/embed", {"inputs": "kernel.org"}):
            writer.write(bytes([byte]))
            await asyncio.sleep(1)
    finally:
        writer.close()


async def _large(port: int, size: int) -> int:
    """A body that is larger than is read; the status it is answered with, 0 if the connection is cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"POST /embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        block = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        for _ in range(size >> 20):
            writer.write(block)
            await writer.drain()
        return await answer(reader)
    except (OSError, asyncio.IncompleteReadError):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            return int((await reader.readuntil(b"\r\n"))[9:12])
        return 0
    finally:
        writer.close()


def table(content: dict[str, Any]) -> str:
    """What was measured, a row each."""
    load, embedded, crowded = content["mixed"], content["embed"], content["crowd"]
    answers = ", ".join(f"{count:,} × {status}" for status, count in sorted(load["statuses"].items()))
    rows = [
        (
            f"{load['connections']} connections, all routes, {load['seconds']:.0f} s",
            f"{load['requests_per_second']:,.0f} requests a second",
        ),
        ("half of them answered within, 99 of 100 within", f"{load['p50_ms']:.0f} ms, {load['p99_ms']:.0f} ms"),
        ("answers", answers),
        (
            f"`/embed`, batches of {embedded['batch']}, beside `encode` in one process",
            f"{embedded['service_per_second']:,} and {embedded['library_per_second']:,} strings a second, "
            f"{embedded['ratio']:.2f} ({embedded['ratio_lowest']:.2f} to {embedded['ratio_highest']:.2f})",
        ),
        ("one client alone", f"{crowded['alone_ms']:.1f} ms"),
        (f"beside {crowded['slow_clients']} clients that send a byte a second", f"{crowded['byte_a_second_ms']:.1f} ms"),
        ("beside a body of 1 GB as well", f"{crowded['body_of_1_gb_ms']:.1f} ms"),
        (
            f"beside {crowded['idle_connections']:,} idle connections, {crowded['idle_connections_held']:,} of them held to the end",
            f"{crowded['idle_connections_ms']:.1f} ms",
        ),
    ]
    return markdown.table(("what", "measured"), rows)


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="mixed, embed, crowd (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--turns", type=int, default=9)
    args = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    content = result_file.read(RESULT)
    for part in args.parts or ("mixed", "embed", "crowd"):
        with service() as port:
            if part == "mixed":
                content[part] = asyncio.run(mixed(port, 64, args.seconds))
            elif part == "embed":
                content[part] = embed(port, args.turns, 60)
            else:
                content[part] = asyncio.run(crowd(port, 200, 10_000, 5.0))
        print(part, content[part], flush=True)
        content["machine"] = machine.facts() | {"processors_used": os.cpu_count()}
        content["bundle"] = EdgeDemist.load().bundle_id
        result_file.write(RESULT, content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
