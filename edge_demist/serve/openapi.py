"""The OpenAPI 3.1 document of the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_demist import __version__
from edge_demist.normalizers import NORMALIZERS
from edge_demist.serve.settings import MODEL_NAME

FINEST_FPR = 1e-9
TEXTS = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
VECTORS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
LABELS = {
    "type": "array",
    "items": {"type": "object", "required": ["score", "label"], "properties": {"score": {"type": "number"}, "label": {"type": "string"}}},
}
REFUSALS = {
    "400": "not JSON, or token ids", "401": "key missing or wrong", "404": "no such model or task", "408": "the body came too slowly",
    "413": "too large", "415": "compressed", "422": "a value is not what the route takes", "429": "the queue is full", "503": "stopping",
}  # fmt: skip


def _object(required: Sequence[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or null for "not given"."""
    return {"oneOf": [schema, {"type": "null"}]}


def _post(summary: str, body: dict[str, Any], answer: dict[str, Any], *parameters: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": body}}
    found = {"summary": summary, "requestBody": {"required": True, "content": content}, "responses": _responses(answer)}
    return {"post": found | ({"parameters": list(parameters)} if parameters else {})}


def _get(summary: str, answer: dict[str, Any] | None, media: str = "application/json", *parameters: dict[str, Any]) -> dict[str, Any]:
    good = {"description": "done"} | ({"content": {media: {"schema": answer}}} if answer is not None else {})
    found = {"summary": summary, "responses": {"200": good, "401": _refusal("401"), "404": _refusal("404")}}
    return {"get": found | ({"parameters": list(parameters)} if parameters else {})}


def _refusal(status: str) -> dict[str, Any]:
    return {"description": REFUSALS[status], "content": {"application/json": {"schema": _object(["error"])}}}


def _responses(answer: dict[str, Any]) -> dict[str, Any]:
    good = {"description": "done", "content": {"application/json": {"schema": answer}}}
    return {"200": good, **{status: _refusal(status) for status in REFUSALS}}


def document(tasks: Sequence[str], dim: int) -> dict[str, Any]:
    """Every route with what it takes and gives; ``tasks`` and ``dim`` are those of the bundle."""
    task = {"name": "task", "in": "path", "required": True, "schema": {"type": "string", "enum": list(tasks)}}
    models = [MODEL_NAME, *(f"{MODEL_NAME}/{task}" for task in tasks)]
    model, flag = _optional({"type": "string", "enum": models}), _optional({"type": "boolean"})
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": models}}
    normalizer = _optional({"type": "string", "enum": list(NORMALIZERS)})
    width = _optional({"type": "integer", "enum": [dim]})
    inputs = _object(["inputs"], inputs=TEXTS, model=model, normalizer=normalizer, normalize=flag, truncate=flag, dimensions=width)
    full = {"type": "string", "minLength": 1}
    group = {"type": "array", "items": full, "minItems": 1, "maxItems": 2}
    some = {"oneOf": [full, {"type": "array", "items": {"oneOf": [full, group]}, "minItems": 1}]}
    filled = {"oneOf": [full, {"type": "array", "items": full, "minItems": 1}]}
    form = _optional({"enum": ["float", "base64"]})
    openai = _object(["input"], input=TEXTS, model=model, encoding_format=form, dimensions=width)
    source = _object(["source_sentence", "sentences"], source_sentence={"type": "string"}, sentences=TEXTS)
    share = {"type": "number", "minimum": 0, "maximum": 1}
    top = _optional({"type": "integer", "minimum": 0, "maximum": 1024})
    limits = {"fpr": _optional(share | {"minimum": FINEST_FPR}), "min_accuracy": _optional(share), "top_k": top}
    names = {"type": "array", "items": {"type": "string", "enum": list(tasks)}, "minItems": 1}
    own = _object(["inputs", "tasks"], inputs=TEXTS, tasks=names, **limits)
    paths = {
        "/v1/embeddings": _post("vectors, OpenAI's form", openai, _object(["object", "data", "model", "usage"])),
        "/v1/models": _get("models", _object(["object", "data"])),
        "/v1/models/{name}": _get("a model", _object(["id", "object"]), "application/json", name),
        "/v1/classify": _post("verdicts of several tasks", own, _object(["results"])),
        "/v1/similar": _post("nearest texts", _object(["inputs", "candidates"], inputs=TEXTS, candidates=TEXTS), _object(["results"])),
        "/": _post(
            "vectors or cosines, by what is sent", _object(["inputs"], inputs={"oneOf": [*TEXTS["oneOf"], source]}), {"type": "array"}
        ),
        "/embed": _post("vectors", inputs, VECTORS),
        "/predict": _post("labels", _object(["inputs"], inputs=some, model=model), {"type": "array"}),
        "/predict/{task}": _post("labels", _object(["inputs"], inputs=some), {"type": "array"}, task),
        "/similarity": _post("cosines", _object(["inputs"], inputs=source), {"type": "array", "items": {"type": "number"}}),
        "/tokenize": _post("tokens", _object(["inputs"], inputs=TEXTS, add_special_tokens=flag), {"type": "array"}),
        "/info": _get("what runs here", _object(["model_id", "version"])),
        "/pipeline/text-classification/{task}": _post(
            "labels, nested", _object(["inputs"], inputs=filled), {"type": "array", "items": LABELS}, task
        ),
        "/api/embed": _post(
            "vectors, Ollama's form", _object(["input"], input=TEXTS, model=model, truncate=flag, dimensions=width), _object(["embeddings"])
        ),
        "/api/embeddings": _post(
            "one vector, Ollama's older form", _object(["prompt"], prompt={"type": "string"}, model=model), _object(["embedding"])
        ),
        "/api/tags": _get("models, Ollama's form", _object(["models"])),
        "/api/version": _get("version", _object(["version"])),
        "/health": _get("alive", None),
        "/metrics": _get("Prometheus metrics", {"type": "string"}, "text/plain"),
    }
    return {"openapi": "3.1.0", "info": {"title": "edge-demist", "version": __version__}, "paths": paths}
