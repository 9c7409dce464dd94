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
    assert len(refused) == 4 and {one.status for one in refused} == {429}
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


def test_a_batch_holds_so_many_tokens_and_a_large_request_lets_others_pass(model) -> None:
    seen: list[int] = []
    done: list[str] = []
    hold = threading.Event()

    def note(_, texts, __):
        hold.wait(30)
        seen.append(sum(map(len, texts)))
        return texts

    batcher = Batcher(Fake(), Settings(port=1), characters)  # type: ignore[arg-type]

    async def one(name: str, texts: list[str]) -> None:
        assert await batcher.ask("k", texts, [None] * len(texts), note) == texts
        done.append(name)

    async def run() -> None:
        large = [f"{i:03}".ljust(BATCH_TOKENS // 4, "x") for i in range(40)] + ["y" * 3 * BATCH_TOKENS]
        asked = [asyncio.ensure_future(one("large", large))]
        await asyncio.sleep(0.05)
        asked += [asyncio.ensure_future(one("small", [str(i)])) for i in range(3)]
        await asyncio.sleep(0.05)
        hold.set()
        await asyncio.gather(*asked)

    asyncio.run(run())
    batcher.close()
    assert done == ["small"] * 3 + ["large"] and batcher.waiting == 0
    assert sorted(seen)[-2:] == [BATCH_TOKENS, 3 * BATCH_TOKENS]
    assert count_tokens(model, ["www.example.com", "", "x" * 10_000, " " * 4_000_000]).tolist() == [
        len(model.tokenizer.encode(b"www.example.com", add_special_tokens=True)),
        model.tokenizer.special_count,
        model.bundle.limits.max_tokens + 1,
        model.bundle.limits.max_tokens + 1,
    ]


def test_a_request_is_answered_by_one_model() -> None:
    def whose(model, texts, _):
        batcher.model = other  # a new bundle comes while it is answered
        return [model.name] * len(texts)

    other = Fake()
    other.name = "two"
    batcher = Batcher(Fake(), Settings(port=1), characters)  # type: ignore[arg-type]
    found = asyncio.run(batcher.ask("k", ["x" * BATCH_TOKENS] * 6, [None] * 6, whose))
    assert found == ["one"] * 6
    assert asyncio.run(batcher.ask("k", ["x"], [None], whose)) == ["two"]
    batcher.close()
