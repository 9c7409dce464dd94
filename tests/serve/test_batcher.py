"""The queue: bounds, mixed batches, one bad request, a model replaced."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

pytest.importorskip("starlette")
from edge_demist.serve.batcher import BATCH_TOKENS, Batcher, count_tokens
from edge_demist.serve.problems import Problem
from edge_demist.serve.settings import Settings


class Fake:
    name = "one"


def characters(_, texts):
    return np.array([len(text) for text in texts], np.int32)


def lengths(_, texts, tasks):
    return [(len(t), task) for t, task in zip(texts, tasks, strict=True)]


def test_requests_share_calls_and_get_their_own_answers() -> None:
    batcher = Batcher(Fake(), Settings(port=1), characters)  # type: ignore[arg-type]

    async def run() -> list[list[object]]:
        return await asyncio.gather(*(batcher.ask("k", ["x" * i, "y"], ["t", None], lengths) for i in range(50)))

    found = asyncio.run(run())
    assert found == [[(i, "t"), (1, None)] for i in range(50)]
    assert batcher.served == 50 and batcher.texts == 100
    batcher.close()


def test_a_full_queue_refuses_and_a_stopped_one_too() -> None:
    hold, started = threading.Event(), threading.Event()

    def slow(_, texts, __):
        started.set()
        hold.wait(30)
        return texts

    batcher = Batcher(Fake(), Settings(port=1, max_queue_requests=2), characters)  # type: ignore[arg-type]

    async def run() -> list[object]:
        first = asyncio.ensure_future(batcher.ask(1, ["a"], [None], slow))
        await asyncio.to_thread(started.wait, 30)
        waiting = [asyncio.ensure_future(batcher.ask(2, ["b"], [None], slow)) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        hold.set()
        return await asyncio.gather(first, *waiting, return_exceptions=True)

    found = asyncio.run(run())
    refused = [one for one in found if isinstance(one, Problem)]
    assert len(refused) == 3 and {one.status for one in refused} == {429}
    batcher.close()
    with pytest.raises(Problem, match="stopping"):
        asyncio.run(batcher.ask(1, ["a"], [None], slow))


def test_one_bad_request_costs_no_other() -> None:
    def picky(_, texts, __):
        if "bad" in texts:
            raise ValueError("bad")
        return texts

    batcher = Batcher(Fake(), Settings(port=1), characters)  # type: ignore[arg-type]

    async def run() -> list[object]:
        return await asyncio.gather(*(batcher.ask("k", [t], [None], picky) for t in ("a", "bad", "b")), return_exceptions=True)

    found = asyncio.run(run())
    assert found[0] == ["a"] and found[2] == ["b"] and isinstance(found[1], ValueError)
    batcher.close()


def test_a_batch_holds_so_many_tokens(model) -> None:
    seen: list[int] = []
    hold = threading.Event()

    def note(_, texts, __):
        hold.wait(30)
        seen.append(len(texts))
        return texts

    batcher = Batcher(Fake(), Settings(port=1), characters)  # type: ignore[arg-type]

    async def run() -> None:
        asked = [asyncio.ensure_future(batcher.ask("k", ["x" * (BATCH_TOKENS // 4)], [None], note)) for _ in range(9)]
        asked.append(asyncio.ensure_future(batcher.ask("k", ["x" * (3 * BATCH_TOKENS)], [None], note)))
        await asyncio.sleep(0.1)
        hold.set()
        await asyncio.gather(*asked)

    asyncio.run(run())
    batcher.close()
    assert sum(seen) == 10 and max(seen) <= 4 and seen[-1] == 1
    assert count_tokens(model, ["www.example.com", "", "x" * 10_000]).tolist() == [
        len(model.tokenizer.encode(b"www.example.com")),
        0,
        model.bundle.limits.max_tokens + 1,
    ]
