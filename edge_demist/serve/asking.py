"""What routes ask of the model: vectors and verdicts, through the batcher; inputs checked first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_demist.format.facts import calibrated_level
from edge_demist.model import EdgeDemist
from edge_demist.normalizers import NORMALIZERS
from edge_demist.predictions import Prediction
from edge_demist.serve.batcher import Batcher, count_tokens
from edge_demist.serve.body import Arriving, Bodies, flag
from edge_demist.serve.problems import Problem
from edge_demist.serve.settings import MAX_ARRIVING_BYTES, MAX_HELD_BYTES, MODEL_NAME, Settings


class Asking:
    """The model as routes see it."""

    def __init__(self, batcher: Batcher, settings: Settings) -> None:
        """Remember both."""
        self.batcher, self.settings = batcher, settings
        self.arriving, self.bodies = Arriving(MAX_ARRIVING_BYTES), Bodies(MAX_HELD_BYTES)

    @property
    def model(self) -> EdgeDemist:
        """The model in use."""
        return self.batcher.model

    def task_of(self, name: object, status: int = 404) -> str | None:
        """The task that a model's name stands for: ``edge-demist`` is the general vector, ``edge-demist/TASK`` a specialist.

        Raises:
            Problem: no such model.
        """
        text = str(name if name is not None else MODEL_NAME).removesuffix(":latest")
        if text == MODEL_NAME:
            return None
        task = text.removeprefix(f"{MODEL_NAME}/")
        if task == text or task not in self.model.tasks:
            known = ", ".join([MODEL_NAME, *(f"{MODEL_NAME}/{task}" for task in self.model.tasks)])
            raise Problem(status, f"no model is called {text[:80]!r}; these are: {known}", "model")
        return task

    def texts(self, value: object, parameter: str, status: int = 422) -> list[str]:
        """A string or a list of strings, as a list.

        Raises:
            Problem: it is something else, empty, or more than a request may hold.
        """
        many = [value] if isinstance(value, str) else value
        if isinstance(many, list) and many and all(isinstance(v, (int, list)) and not isinstance(v, bool) for v in many):
            hint = "token ids are not taken, send strings (langchain: check_embedding_ctx_length=False)"
            raise Problem(400, hint, parameter)
        if not isinstance(many, list) or not all(isinstance(text, str) for text in many):
            raise Problem(status, f"{parameter} must be a string or a list of strings", parameter)
        if not many:
            raise Problem(status, f"{parameter} is empty", parameter)
        if len(many) > self.settings.max_batch:
            raise Problem(413, f"batch size {len(many)} > maximum allowed batch size {self.settings.max_batch}", parameter)
        return many

    def normalizer(self, body: Mapping[str, Any]) -> str:
        """The normalizer of the general vector that a request names.

        Raises:
            Problem: there is no such.
        """
        name = "identity" if (given := body.get("normalizer")) is None else given
        if not isinstance(name, str) or name not in NORMALIZERS:
            raise Problem(422, f"unknown normalizer {str(name)[:80]!r}; known: {', '.join(NORMALIZERS)}", "normalizer")
        return name

    def check_dimensions(self, body: Mapping[str, Any], status: int) -> None:
        """Refuse another number of dimensions than the model's.

        Raises:
            Problem: ``dimensions`` is given and not that number.
        """
        given = body.get("dimensions")
        if given is not None and (isinstance(given, bool) or given != self.model.dim):
            raise Problem(status, f"this model has {self.model.dim} dimensions", "dimensions")

    def check_lengths(self, body: Mapping[str, Any], parameter: str, texts: Sequence[str], task: str | None, status: int) -> None:
        """Refuse texts that would be cut, where ``truncate`` is false.

        Raises:
            Problem: one has more tokens than are read.
        """
        if flag(body, "truncate", default=True):
            return
        counts, cut = self.tokens(texts, task, self.normalizer(body))
        if any(cut):
            raise Problem(status, f"`{parameter}` must have at most {max(counts)} tokens; text {cut.index(True)} has more", parameter)

    async def vectors(self, texts: Sequence[str], task: str | None, name: str = "identity", *, normalize: bool = True) -> list[Any]:
        """Vectors float32 [dim], one a text; ``name`` is a normalizer."""

        def ask(model: EdgeDemist, many: Sequence[str], _: Sequence[str | None]) -> Sequence[Any]:
            return list(model.encode(many, task=task, normalizer=name, normalize_embeddings=normalize))

        return await self.batcher.ask(("vectors", task, name, normalize), texts, [task] * len(texts), ask)

    async def verdicts(
        self, texts: Sequence[str], tasks: Sequence[str], top_k: int = 1, fpr: float | None = None, min_accuracy: float | None = None
    ) -> list[Prediction]:
        """One verdict a text; ``tasks`` names a specialist for each.

        Raises:
            Problem: a specialist has no threshold so strict.
        """
        for kind, level in (("fpr", fpr), ("accuracy", min_accuracy)):
            if level is None:
                continue
            for task in dict.fromkeys(tasks):
                if kind in (thresholds := self.model.specialist(task).thresholds) and calibrated_level(thresholds, kind, level) is None:
                    known = ", ".join(sorted(thresholds[kind], key=float))
                    raise Problem(422, f"{task} has no threshold for {kind} {level:g} or stricter; calibrated: {known}", kind)

        def ask(model: EdgeDemist, many: Sequence[str], names: Sequence[str | None]) -> Sequence[Any]:
            return model.classify(many, task=[str(name) for name in names], top_k=top_k, fpr=fpr, min_accuracy=min_accuracy)

        return await self.batcher.ask(("verdicts", top_k, fpr, min_accuracy), texts, list(tasks), ask)

    def tokens(self, texts: Sequence[str], task: str | None = None, normalizer: str = "identity") -> tuple[list[int], list[bool]]:
        """Tokens of each text as :meth:`vectors` reads it, and whether it is cut."""
        specialist = None if task is None else self.model.specialist(task)
        limit = self.model.bundle.limits.max_tokens if specialist is None else specialist.max_tokens
        counts = count_tokens(self.model, texts, specialist.normalizer if specialist else normalizer).tolist()
        return [min(count, limit) for count in counts], [count > limit for count in counts]
