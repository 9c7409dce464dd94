"""Routes of Ollama's client: ``POST /api/embed``, ``POST /api/embeddings``, ``GET /api/tags``, ``GET /api/version`` (https://docs.ollama.com/api)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist import __version__
from edge_demist.serve.asking import Asking
from edge_demist.serve.problems import Problem
from edge_demist.serve.settings import MODEL_NAME

if TYPE_CHECKING:
    from starlette.requests import Request

    from edge_demist.serve.app import Route


async def embed(asking: Asking, _: Request, body: dict[str, Any]) -> dict[str, Any]:
    """Vectors of one or several inputs."""
    start = time.perf_counter_ns()
    texts = asking.texts(body.get("input"), "input", 400)
    asking.check_dimensions(body, 400)
    task = asking.task_of(body.get("model"))
    asking.check_lengths(body, "input", texts, task, 400)
    vectors = await asking.vectors(texts, task)
    return {
        "model": body.get("model") or MODEL_NAME,
        "embeddings": np.array(vectors, np.float64),
        "total_duration": time.perf_counter_ns() - start,
        "load_duration": 0,
        "prompt_eval_count": sum(asking.tokens(texts, task)[0]),
    }


async def embed_one(asking: Asking, _: Request, body: dict[str, Any]) -> dict[str, Any]:
    """The vector of one prompt, as older clients ask for it."""
    texts = asking.texts(body.get("prompt"), "prompt", 400)
    if len(texts) > 1:
        raise Problem(400, "prompt must be one string; /api/embed takes several", "prompt")
    (vector,) = await asking.vectors(texts, asking.task_of(body.get("model")))
    return {"embedding": vector.astype(np.float64)}


async def tags(asking: Asking, _: Request, __: dict[str, Any]) -> dict[str, Any]:
    """The models there are."""
    bundle = asking.model.bundle
    size = sum(path.stat().st_size for path in bundle.path.rglob("*") if path.is_file())
    details = {"format": "edge-demist", "family": "bert", "families": ["bert"], "parameter_size": "12M", "quantization_level": "INT8"}
    modified = str(bundle.manifest.get("created") or "1970-01-01T00:00:00Z")
    names = [MODEL_NAME, *(f"{MODEL_NAME}/{task}" for task in asking.model.tasks)]
    shared = {"modified_at": modified, "size": size, "digest": bundle.id, "details": details}
    return {"models": [{"name": name, "model": name, **shared} for name in names]}


async def version(_: Asking, __: Request, ___: dict[str, Any]) -> dict[str, Any]:
    """The program's version."""
    return {"version": __version__}


ROUTES: tuple[Route, ...] = (
    ("POST", "/api/embed", embed),
    ("POST", "/api/embeddings", embed_one),
    ("GET", "/api/tags", tags),
    ("GET", "/api/version", version),
)
