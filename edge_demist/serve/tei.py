"""Routes of Text Embeddings Inference, and of huggingface_hub's client.

https://huggingface.github.io/text-embeddings-inference: ``/embed``, ``/predict``, ``/similarity``, ``/tokenize``, ``/info``,
``/health``; ``/pipeline/text-classification/TASK`` answers nested, as ``InferenceClient.text_classification`` reads it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_demist import __version__
from edge_demist.model import EdgeDemist
from edge_demist.normalizers import to_bytes
from edge_demist.serve.asking import Asking
from edge_demist.serve.batcher import BATCH_TOKENS
from edge_demist.serve.body import flag
from edge_demist.serve.problems import Problem
from edge_demist.serve.settings import MODEL_NAME

if TYPE_CHECKING:
    from starlette.requests import Request

    from edge_demist.serve.app import Route

DEFAULT_TASK = "hostname-threat"
MAX_TOKENIZED = 65_536
"""Characters of one request to ``/tokenize``: its answer is some thirty times as long."""


async def embed(asking: Asking, _: Request, body: dict[str, Any]) -> Any:
    """A vector a text; ``model`` may name a specialist's view, ``truncate: false`` refuses what would be cut."""
    texts = asking.texts(body.get("inputs"), "inputs")
    asking.check_dimensions(body, 422)
    if body.get("prompt_name") is not None:
        raise Problem(422, "there are no prompts here: leave prompt_name out", "prompt_name")
    if body.get("truncation_direction") not in (None, "right", "Right"):
        raise Problem(422, "what is too long is cut at its end: truncation_direction must be right", "truncation_direction")
    task, normalize = asking.task_of(body.get("model")), flag(body, "normalize", default=True)
    asking.check_lengths(body, "inputs", texts, task, 413)
    vectors = await asking.vectors(texts, task, asking.normalizer(body), normalize=normalize)
    return np.array(vectors, np.float64)


async def root(asking: Asking, request: Request, body: dict[str, Any]) -> Any:
    """What a client means that was given the address alone: vectors, or cosines where it sends a source and sentences."""
    return await (similarity if isinstance(body.get("inputs"), dict) else embed)(asking, request, body)


async def predict(asking: Asking, request: Request, body: dict[str, Any]) -> list[Any]:
    """Labels with probabilities: of a string, of a pair (read as one string), or of a batch of strings and pairs."""
    task = _task(asking, request, body)
    if flag(body, "raw_scores", default=False):
        raise Problem(422, "scores are calibrated probabilities: leave raw_scores out", "raw_scores")
    inputs = body.get("inputs")
    single = isinstance(inputs, str) or (isinstance(inputs, list) and len(inputs) == 2 and all(isinstance(i, str) for i in inputs))
    many = [inputs] if single else inputs
    if not isinstance(many, list) or not many:
        raise Problem(422, "inputs must be a string, a pair of strings, or a list of lists of one or two strings", "inputs")
    found = await _labels(asking, task, [_joined(item) for item in many])
    return found[0] if single else found


def _joined(item: object) -> str:
    parts = [item] if isinstance(item, str) else item
    if not isinstance(parts, list) or not 1 <= len(parts) <= 2 or not all(isinstance(part, str) for part in parts):
        raise Problem(422, "inputs must be a string, a pair of strings, or a list of lists of one or two strings", "inputs")
    return " ".join(parts)


async def pipeline(asking: Asking, request: Request, body: dict[str, Any]) -> list[Any]:
    """As ``/predict`` on a string or a list of strings, nested: one list a text."""
    task = _task(asking, request, body)
    parameters = body.get("parameters") or {}
    top = parameters.get("top_k") if isinstance(parameters, dict) else None
    found = await _labels(asking, task, asking.texts(body.get("inputs"), "inputs"))
    return [labels[:top] if isinstance(top, int) and top > 0 else labels for labels in found]


def _task(asking: Asking, request: Request, body: dict[str, Any]) -> str:
    named = request.path_params.get("task")
    task = asking.task_of(body.get("model"), 422) if named is None else asking.task_of(f"{MODEL_NAME}/{named}")
    fallback = DEFAULT_TASK if DEFAULT_TASK in asking.model.tasks else asking.model.tasks[0]
    return task or fallback


async def _labels(asking: Asking, task: str, texts: list[str]) -> list[list[dict[str, Any]]]:
    texts = asking.texts(texts, "inputs")
    answers = await asking.verdicts(texts, [task] * len(texts), top_k=0)
    failed = next((answer for answer in answers if answer.error), None)
    if failed:
        raise Problem(422, f"{failed.text[:80]!r}: {failed.error}", "inputs")
    return [[{"score": score, "label": label} for label, score in (answer.scores or {}).items()] for answer in answers]


async def similarity(asking: Asking, _: Request, body: dict[str, Any]) -> list[float]:
    """Cosine of each sentence to the source."""
    inputs = body.get("inputs")
    if not isinstance(inputs, dict) or not isinstance(inputs.get("source_sentence"), str):
        raise Problem(422, "inputs must hold source_sentence and sentences", "inputs")
    sentences = asking.texts(inputs.get("sentences"), "sentences")
    task = asking.task_of(body.get("model"))
    source, *others = await asking.vectors([inputs["source_sentence"], *sentences], task, asking.normalizer(body))
    return [min(1.0, max(-1.0, float(source @ other))) for other in others]  # what a sum has over 1 is rounding


async def tokenize(asking: Asking, _: Request, body: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Tokens of each text with their places in it, in bytes."""
    texts = asking.texts(body.get("inputs"), "inputs")
    if (size := sum(map(len, texts))) > MAX_TOKENIZED:
        raise Problem(413, f"{size} characters; at most {MAX_TOKENIZED} are tokenized in one request", "inputs")
    special = flag(body, "add_special_tokens", default=True)
    return await asyncio.to_thread(lambda: [_tokens(asking.model, text, special=special) for text in texts])


def _tokens(model: EdgeDemist, text: str, *, special: bool) -> list[dict[str, Any]]:
    prefix = len(model.bundle.tokenizer.prefix_ids) if special else 0
    ids = model.tokenizer.encode(to_bytes(text), add_special_tokens=special)
    row, place = [], 0
    for i, (number, piece) in enumerate(zip(ids.tolist(), model.tokenizer.pieces(ids), strict=True)):
        own = i < prefix
        size = 0 if own else 1 if piece.startswith("<0x") and piece.endswith(">") else len(piece.encode())
        span = {"start": None, "stop": None} if own else {"start": place, "stop": place + size}
        row.append({"id": number, "text": piece, "special": own, **span})
        place += size
    return row


async def info(asking: Asking, _: Request, __: dict[str, Any]) -> dict[str, Any]:
    """What runs here."""
    limits, settings = asking.model.bundle.limits, asking.settings
    return {
        "model_id": MODEL_NAME,
        "model_sha": asking.model.bundle_id,
        "model_dtype": "int8",
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_concurrent_requests": settings.max_queue_requests,
        "max_input_length": limits.max_tokens,
        "max_batch_tokens": BATCH_TOKENS,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_batch,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "tasks": list(asking.model.tasks),
    }


ROUTES: tuple[Route, ...] = (
    ("POST", "/", root),
    ("POST", "/embed", embed),
    ("POST", "/predict", predict),
    ("POST", "/predict/{task}", predict),
    ("POST", "/similarity", similarity),
    ("POST", "/tokenize", tokenize),
    ("GET", "/info", info),
    ("POST", "/pipeline/text-classification/{task}", pipeline),
)
