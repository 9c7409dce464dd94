"""Requests of all kinds gathered into mixed batches for one model, in one worker thread behind a bounded queue.

While the worker computes, requests gather; it takes all that wait, up to a number of tokens, and asks the model once for
each kind of question. A request of more tokens is asked in parts, between which others have their turn. What is beyond the
queue's bounds is refused at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist.engines.batching import normalized_bytes
from edge_demist.model import EdgeDemist
from edge_demist.normalizers import truncate_utf8
from edge_demist.serve.problems import Problem
from edge_demist.serve.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_TOKENS = 512
"""Tokens of a batch: as fast a token as larger ones, and answers are written while the next batch is computed."""
AHEAD = 2
"""Parts of a request that may be in the queue, so that the worker need not wait for the next one."""
TEXT_BYTES = 2048
"""What a text takes beside its characters: a vector float32 and its text form, or a verdict."""
Answer = Callable[[EdgeDemist, Sequence[str], Sequence[str | None]], Sequence[Any]]


@dataclass
class Job:
    """A request or a part of it: texts, a task for each, and how to ask. Jobs of equal ``kind`` share one call of ``ask``."""

    model: EdgeDemist
    kind: Hashable
    texts: Sequence[str]
    tasks: Sequence[str | None]
    ask: Answer
    tokens: int
    done: Future[list[Any]] = field(default_factory=Future)


def count_tokens(model: EdgeDemist, texts: Sequence[str], normalizer: str = "identity") -> NDArray[np.int32]:
    """Tokens of each text as ``encode`` reads it, int32 [n]; one more than the encoder takes where a text is cut."""
    limits = model.bundle.limits
    whole = [normalized_bytes(text, normalizer, 16 * limits.max_bytes) for text in texts]
    read = [truncate_utf8(raw, limits.max_bytes) for raw in whole]
    _, offsets = model.tokenizer.encode_batch(read, limits.max_tokens + 1, add_special_tokens=True)
    cut = np.fromiter((len(a) < len(b) for a, b in zip(read, whole, strict=True)), np.bool_, len(whole))
    return np.where(cut, limits.max_tokens + 1, np.diff(offsets))


def spans(counts: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Begin and end of runs of texts of at most so many tokens, or of one text."""
    begin = total = 0
    for i, count in enumerate(counts):
        if total + count > most and i > begin:
            yield begin, i
            begin, total = i, 0
        total += count
    yield begin, len(counts)


class Batcher:
    """The queue and its worker; ``model`` may be replaced, for requests to come. ``waiting`` counts requests that are not answered yet."""

    def __init__(self, model: EdgeDemist, settings: Settings, count: Callable[..., NDArray[np.int32]] = count_tokens) -> None:
        """Start the worker; ``count`` gives the tokens of texts."""
        self.model, self._settings, self._count = model, settings, count
        self._jobs: deque[Job] = deque()
        self._bytes = 0
        self._wake = threading.Condition()
        self._closed = False
        self.waiting = self.served = self.refused = self.texts = 0
        self._thread = threading.Thread(target=self._work, name="edge-demist-serve", daemon=True)
        self._thread.start()

    async def ask(self, kind: Hashable, texts: Sequence[str], tasks: Sequence[str | None], ask: Answer) -> list[Any]:
        """One answer a text, in order.

        Raises:
            Problem: 429 when the queue is full, 503 when the service is stopping.
        """
        size = sum(map(len, texts)) + TEXT_BYTES * len(texts)
        full = self.waiting >= self._settings.max_queue_requests or self._bytes + size > self._settings.max_queue_bytes
        if self._closed or (full and self.waiting):
            self.refused += 1
            raise Problem(503, "the service is stopping") if self._closed else Problem(429, "the queue is full; try again in a second")
        self.waiting += 1
        self._bytes += size
        try:
            answers = await self._in_parts(kind, texts, tasks, ask)
        finally:
            self.waiting -= 1
            self._bytes -= size
        self.served += 1
        self.texts += len(texts)
        return answers

    async def _in_parts(self, kind: Hashable, texts: Sequence[str], tasks: Sequence[str | None], ask: Answer) -> list[Any]:
        model = self.model  # one for all parts
        counts = self._count(model, texts)
        parts = [Job(model, kind, texts[a:b], tasks[a:b], ask, int(counts[a:b].sum())) for a, b in spans(counts.tolist(), BATCH_TOKENS)]
        asked: deque[asyncio.Future[list[Any]]] = deque()
        answers: list[Any] = []
        try:
            for part in parts:
                asked.append(self._put(part))
                if len(asked) == AHEAD:
                    answers += await asked.popleft()
            while asked:
                answers += await asked.popleft()
        finally:
            for one in asked:
                one.cancel()
        return answers

    def _put(self, job: Job) -> asyncio.Future[list[Any]]:
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()
        return asyncio.wrap_future(job.done)

    def close(self) -> None:
        """Answer what waits, take nothing more."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _take(self) -> list[Job]:
        with self._wake:
            while not self._jobs and not self._closed:
                self._wake.wait()
            taken: list[Job] = []
            tokens = 0
            while self._jobs and (not taken or tokens + self._jobs[0].tokens <= BATCH_TOKENS):
                job = self._jobs.popleft()
                tokens += job.tokens
                taken.append(job)
            return taken

    def _work(self) -> None:
        while jobs := self._take():
            groups: dict[Hashable, list[Job]] = {}
            for job in jobs:
                if job.done.set_running_or_notify_cancel():
                    groups.setdefault((job.model, job.kind), []).append(job)
            for group in groups.values():
                self._answer(group)

    def _answer(self, group: Sequence[Job]) -> None:
        """Ask once for all jobs of a kind; if that fails, each alone, so that one bad request costs no other."""
        texts = [text for job in group for text in job.texts]
        tasks = [task for job in group for task in job.tasks]
        try:
            answers = list(group[0].ask(group[0].model, texts, tasks))
        except Exception as error:
            if len(group) > 1:
                for job in group:
                    self._answer([job])
            else:
                group[0].done.set_exception(error)
            return
        begin = 0
        for job in group:
            job.done.set_result(answers[begin : begin + len(job.texts)])
            begin += len(job.texts)
