"""The application: routes, key, bounds, errors, metrics."""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from edge_demist.errors import EdgeDemistError, InputError
from edge_demist.serve import ollama, openai, openapi, own, tei
from edge_demist.serve.asking import Asking
from edge_demist.serve.batcher import Batcher
from edge_demist.serve.body import read_object
from edge_demist.serve.problems import Problem, response
from edge_demist.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

Handler: TypeAlias = Callable[[Asking, "Request", dict[str, Any]], Awaitable[Any]]
Route: TypeAlias = tuple[str, str, Handler]

ROUTES: tuple[Route, ...] = (*openai.ROUTES, *tei.ROUTES, *ollama.ROUTES, *own.ROUTES)
OPEN = ("/health", "/metrics")
"""Routes that need no key: they tell nothing about strings."""


def create(batcher: Batcher, settings: Settings) -> Starlette:
    """The application over a batcher's model."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route as WebRoute

    asking = Asking(batcher, settings)
    routes = [WebRoute(path, _endpoint(asking, handler, reads=method == "POST"), methods=[method]) for method, path, handler in ROUTES]
    routes += [
        WebRoute("/health", _plain(asking, _health), methods=["GET"]),
        WebRoute("/metrics", _plain(asking, _metrics), methods=["GET"]),
        WebRoute("/openapi.json", _plain(asking, _document), methods=["GET"]),
    ]

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return response(request, Problem(error.status_code, str(error.detail), headers=error.headers))

    return Starlette(routes=routes, exception_handlers={HTTPException: refused})


def _endpoint(asking: Asking, handler: Handler, *, reads: bool) -> Callable[[Request], Awaitable[Response]]:
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response

    async def endpoint(request: Request) -> Response:
        start = time.perf_counter()
        try:
            _check_key(request, asking.settings)
            body, weight = await read_object(request, asking.settings, asking.arriving) if reads else ({}, 0)
            with asking.bodies.holding(weight):
                found = await handler(asking, request, body)
        except Problem as problem:
            return response(request, problem)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except InputError as error:
            return response(request, Problem(422, str(error)))
        except EdgeDemistError as error:
            return response(request, Problem(500, str(error)))
        headers = {"x-compute-type": "cpu", "x-total-time": str(round((time.perf_counter() - start) * 1e3))}
        return Response(written(found), media_type="application/json", headers=headers)

    return endpoint


def written(value: object) -> bytes:
    """JSON; arrays as they are, float32 exactly, by way of float64 (a text with half a surrogate is escaped)."""
    import orjson

    try:
        found: bytes = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=lambda array: array.tolist()).encode("ascii")
    return found


def _check_key(request: Request, settings: Settings) -> None:
    if settings.api_key is None:
        return
    given = re.sub(r"^bearer +", "", request.headers.get("authorization", ""), flags=re.IGNORECASE)
    if not hmac.compare_digest(given.encode("utf-8", "replace"), settings.api_key.encode()):
        raise Problem(401, "this service needs its API key: Authorization: Bearer KEY")


def _plain(asking: Asking, make: Callable[[Asking], tuple[str, str]]) -> Callable[[Request], Awaitable[Response]]:
    from starlette.responses import Response

    async def endpoint(request: Request) -> Response:
        try:
            if request.url.path not in OPEN:
                _check_key(request, asking.settings)
        except Problem as problem:
            return response(request, problem)
        content, media = make(asking)
        return Response(content, media_type=media)

    return endpoint


def _health(_: Asking) -> tuple[str, str]:
    return "", "text/plain"


def _document(asking: Asking) -> tuple[str, str]:
    return json.dumps(openapi.document(asking.model.tasks, asking.model.dim)), "application/json"


def _metrics(asking: Asking) -> tuple[str, str]:
    batcher = asking.batcher
    rows = (
        ("requests_total", "counter", "Requests answered by the model.", batcher.served),
        ("texts_total", "counter", "Texts answered.", batcher.texts),
        ("refused_total", "counter", "Requests refused because the queue was full.", batcher.refused),
        ("queue_requests", "gauge", "Requests that wait.", batcher.waiting),
    )
    lines = []
    for name, kind, text, value in rows:
        full = f"edge_demist_serve_{name}"
        lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}", f"{full} {value}"]
    return "\n".join(lines) + "\n", "text/plain; version=0.0.4"
