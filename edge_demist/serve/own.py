"""Routes of our own: several specialists for each text, with thresholds; nearest texts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist.explore.search import of_units
from edge_demist.serve.asking import Asking
from edge_demist.serve.body import number
from edge_demist.serve.problems import Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from starlette.requests import Request

    from edge_demist.serve.app import Route

MAX_QUESTIONS = 16384
"""Answers of one request: texts times tasks, or queries times neighbours."""


async def classify(asking: Asking, _: Request, body: dict[str, Any]) -> dict[str, Any]:
    """Verdicts of every task for every text: a list a text, in the order of the tasks."""
    texts = asking.texts(body.get("inputs"), "inputs")
    named = body.get("tasks") or body.get("task")
    tasks = [named] if isinstance(named, str) else named
    if not isinstance(tasks, list) or not tasks:
        raise Problem(422, f"tasks must name one or more of {', '.join(asking.model.tasks)}", "tasks")
    if unknown := [task for task in tasks if task not in asking.model.tasks]:
        raise Problem(404, f"unknown task {str(unknown[0])[:80]!r}; this bundle has: {', '.join(asking.model.tasks)}", "tasks")
    if len(texts) * len(tasks) > MAX_QUESTIONS:
        raise Problem(413, f"{len(texts)} texts times {len(tasks)} tasks; at most {MAX_QUESTIONS} answers a request", "inputs")
    top_k = number(body, "top_k", 0, 1024, whole=True)
    fpr, accuracy = number(body, "fpr", 1e-9, 1), number(body, "min_accuracy", 0, 1)
    asked, bundle = [(text, task) for text in texts for task in tasks], asking.model.bundle_id
    answers = await asking.verdicts([t for t, _ in asked], [t for _, t in asked], 1 if top_k is None else int(top_k), fpr, accuracy)
    rows = [answer.to_dict() for answer in answers]
    results = [rows[i : i + len(tasks)] for i in range(0, len(rows), len(tasks))]
    return {"bundle_id": bundle, "tasks": tasks, "results": results}


async def similar(asking: Asking, _: Request, body: dict[str, Any]) -> dict[str, Any]:
    """For each query the ``k`` nearest candidates by cosine."""
    queries, candidates = asking.texts(body.get("inputs"), "inputs"), asking.texts(body.get("candidates"), "candidates")
    k = min(int(number(body, "k", 1, asking.settings.max_batch, whole=True) or 10), len(candidates))
    if len(queries) * k > MAX_QUESTIONS:
        raise Problem(413, f"{len(queries)} queries times {k} neighbours; at most {MAX_QUESTIONS} answers a request", "k")
    task, bundle = asking.task_of(body.get("model")), asking.model.bundle_id
    found = await asking.vectors([*queries, *candidates], task, asking.normalizer(body))
    cosines, order = await asyncio.to_thread(_nearest, np.stack(found), len(queries), k)
    results = [[{"text": candidates[j], "index": int(j), "cosine": float(cosines[i, j])} for j in row] for i, row in enumerate(order)]
    return {"bundle_id": bundle, "results": results}


def _nearest(vectors: NDArray[np.float32], queries: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Cosines of queries [n] to what follows them [m], float32 [n, m], and the k first of each, int [n, k]."""
    cosines = of_units(vectors[:queries], vectors[queries:])
    return cosines, np.argsort(-cosines, axis=1, kind="stable")[:, :k]


ROUTES: tuple[Route, ...] = (
    ("POST", "/v1/classify", classify),
    ("POST", "/v1/similar", similar),
)
