"""Errors of the service, in the form that each kind of client reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import JSONResponse

TYPES = {401: "Unauthorized", 404: "NotFound", 408: "Timeout", 429: "Overloaded"}


class Problem(Exception):
    """A request that is not answered; ``status`` is the HTTP status code."""

    def __init__(self, status: int, message: str, parameter: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Status code, what was wrong, with which parameter, and headers of the answer."""
        super().__init__(message)
        self.status, self.message, self.parameter, self.headers = status, message, parameter, dict(headers or {})


def response(request: Request, problem: Problem) -> JSONResponse:
    """The problem as the route's clients expect it: OpenAI's below ``/v1``, Ollama's below ``/api``, else TEI's."""
    from starlette.responses import JSONResponse

    path = request.url.path
    if path.startswith("/v1/"):
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(problem.status, "invalid_request_error")
        code = "model_not_found" if problem.status == 404 and problem.parameter == "model" else None
        inner = {"message": problem.message, "type": kind, "param": problem.parameter, "code": code}
        body: dict[str, object] = {"error": inner}
    elif path.startswith("/api/"):
        body = {"error": problem.message}
    else:
        fallback = "Backend" if problem.status >= 500 else "Validation"
        body = {"error": problem.message, "error_type": TYPES.get(problem.status, fallback)}
    headers = problem.headers | ({"Retry-After": "1"} if problem.status in (429, 503) else {})
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status_code=problem.status, headers=headers)
