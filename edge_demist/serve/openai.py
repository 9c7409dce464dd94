"""Routes of the OpenAI client: ``POST /v1/embeddings``, ``GET /v1/models``.

https://platform.openai.com/docs/api-reference/embeddings; the client asks for base64 when its user says nothing.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist.serve.asking import Asking
from edge_demist.serve.problems import Problem
from edge_demist.serve.settings import MODEL_NAME

if TYPE_CHECKING:
    from starlette.requests import Request

    from edge_demist.serve.app import Route


async def embeddings(asking: Asking, _: Request, body: dict[str, Any]) -> dict[str, Any]:
    """Vectors as lists of numbers, or float32 little-endian in base64."""
    task = asking.task_of(body.get("model"))
    texts = asking.texts(body.get("input"), "input", 400)
    given = body.get("encoding_format")
    form = "float" if given is None else given
    if form not in ("float", "base64"):
        raise Problem(400, "encoding_format must be float or base64", "encoding_format")
    asking.check_dimensions(body, 400)
    normalizer = asking.normalizer(body)
    vectors = await asking.vectors(texts, task, normalizer)
    tokens, cut = asking.tokens(texts, task, normalizer)
    data = [
        {
            "object": "embedding",
            "index": i,
            "embedding": base64.b64encode(v.astype("<f4").tobytes()).decode("ascii") if form == "base64" else v.astype(np.float64),
        }
        for i, v in enumerate(vectors)
    ]
    used = sum(tokens)
    usage = {"prompt_tokens": used, "total_tokens": used}
    found = {"object": "list", "data": data, "model": body.get("model") or MODEL_NAME, "usage": usage}
    return found | ({"truncated": [i for i, over in enumerate(cut) if over]} if any(cut) else {})


def _described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "edge-demist"}


async def models(asking: Asking, _: Request, __: dict[str, Any]) -> dict[str, Any]:
    """The general vector, and one model a specialist."""
    names = [MODEL_NAME, *(f"{MODEL_NAME}/{task}" for task in asking.model.tasks)]
    return {"object": "list", "data": [_described(name) for name in names]}


async def one_model(asking: Asking, request: Request, _: dict[str, Any]) -> dict[str, Any]:
    """One of them."""
    name = request.path_params["name"]
    asking.task_of(name)
    return _described(name)


ROUTES: tuple[Route, ...] = (
    ("POST", "/v1/embeddings", embeddings),
    ("GET", "/v1/models", models),
    ("GET", "/v1/models/{name:path}", one_model),
)
