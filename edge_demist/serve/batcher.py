"""Requests of all kinds gathered into mixed batches for one model, in one worker thread behind a bounded queue.

While the worker computes, requests gather; it takes all that wait, up to a number of tokens, and asks the model once for
each kind of question. What is beyond the queue's bounds is refused at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist.model import EdgeDemist
from edge_demist.normalizers import to_bytes
from edge_demist.serve.problems import Problem
from edge_demist.serve.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_TOKENS = 512
"""Tokens of a batch: as fast a token as larger ones, and answers are written while the next batch is computed. A larger request is one."""
Answer = Callable[[EdgeDemist, Sequence[str], Sequence[str | None]], Sequence[Any]]


@dataclass
class Job:
    """A request: texts, a task for each, and how to ask. Jobs of equal ``kind`` share one call of ``ask``."""

    kind: Hashable
    texts: Sequence[str]
    tasks: Sequence[str | None]
    ask: Answer
    tokens: int = 0
    done: Future[list[Any]] = field(default_factory=Future)

    @property
    def size(self) -> int:
        """Characters, with something for each text."""
        return sum(map(len, self.texts)) + 16 * len(self.texts)


def count_tokens(model: EdgeDemist, texts: Sequence[str]) -> NDArray[np.int32]:
    """Tokens of each text, int32 [n]; at most one more than the encoder reads."""
    _, offsets = model.tokenizer.encode_batch([to_bytes(text) for text in texts], model.bundle.limits.max_tokens + 1)
    return np.diff(offsets)


class Batcher:
    """The queue and its worker; ``model`` may be replaced between two batches."""

    def __init__(self, model: EdgeDemist, settings: Settings, count: Callable[..., NDArray[np.int32]] = count_tokens) -> None:
        """Start the worker; ``count`` gives the tokens of texts."""
        self.model, self._settings, self._count = model, settings, count
        self._jobs: deque[Job] = deque()
        self._bytes = 0
        self._wake = threading.Condition()
        self._closed = False
        self.served = self.refused = self.texts = 0
        self._thread = threading.Thread(target=self._work, name="edge-demist-serve", daemon=True)
        self._thread.start()

    async def ask(self, kind: Hashable, texts: Sequence[str], tasks: Sequence[str | None], ask: Answer) -> list[Any]:
        """One answer a text, in order.

        Raises:
            Problem: 429 when the queue is full, 503 when the service is stopping.
        """
        job = Job(kind, texts, tasks, ask, int(self._count(self.model, texts).sum()))
        with self._wake:
            full = len(self._jobs) >= self._settings.max_queue_requests or self._bytes + job.size > self._settings.max_queue_bytes
            if self._closed or (full and self._jobs):
                self.refused += 1
                raise Problem(503, "the service is stopping") if self._closed else Problem(429, "the queue is full; try again in a second")
            self._jobs.append(job)
            self._bytes += job.size
            self._wake.notify()
        return await asyncio.wrap_future(job.done)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._jobs)

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
                self._bytes -= job.size
                taken.append(job)
            return taken

    def _work(self) -> None:
        while jobs := self._take():
            groups: dict[Hashable, list[Job]] = {}
            for job in jobs:
                if job.done.set_running_or_notify_cancel():
                    groups.setdefault(job.kind, []).append(job)
            for group in groups.values():
                self._answer(group)

    def _answer(self, group: Sequence[Job]) -> None:
        """Ask once for all jobs of a kind; if that fails, each alone, so that one bad request costs no other."""
        texts = [text for job in group for text in job.texts]
        tasks = [task for job in group for task in job.tasks]
        try:
            answers = list(group[0].ask(self.model, texts, tasks))
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
        self.served += len(group)
        self.texts += len(texts)
