"""``EdgeDemist``: texts in, vectors and predictions out.

Does de-duplication and chunking; leaves the way from bytes to probabilities to :mod:`edge_demist.inference`, windows over long strings to
:mod:`edge_demist.judging` and thresholds to :mod:`edge_demist.predictions`.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast, overload

import numpy as np

from edge_demist import engines
from edge_demist.engines.base import Engine
from edge_demist.engines.batching import Text, as_shown, as_strings, listed, normalized_bytes, refusal
from edge_demist.engines.native import NativeEngine
from edge_demist.errors import InputError, UnknownTaskError
from edge_demist.format.bundle import Bundle
from edge_demist.format.facts import Facts, load_facts
from edge_demist.format.specialist import Specialist, load_specialist
from edge_demist.inference import Cuts, Inference, Item, Judged, cuts_of
from edge_demist.judging import closely, judge
from edge_demist.normalizers import NORMALIZERS
from edge_demist.predictions import UNKNOWN, Prediction, Rule, failed
from edge_demist.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_demist.explore.places import Atlas
    from edge_demist.text.wordpiece import WordPieceTokenizer

CHUNK = 2048
"""Distinct texts, or answers about them, computed at a time; bounds the memory of one call."""

EMPTY = "the text is empty after normalization"

Floats: TypeAlias = "NDArray[np.float32]"
Screening: TypeAlias = "bool | Mapping[str, float]"
Levels: TypeAlias = "tuple[float | None, float | None]"


class EdgeDemist:
    """A loaded bundle: tokenizer, engine and specialists.

    Thread-safe; usable after ``fork``; pickles by path.
    """

    def __init__(self, bundle: Bundle, engine: str = "auto", threads: int = 1) -> None:
        """Use :meth:`load`; this takes a bundle already opened."""
        self._bundle = bundle
        self._asked = engine
        self._threads = threads
        self._lock = threading.Lock()
        self._specialists: dict[str, Specialist] = {}
        self._facts: dict[str, Facts] = {}
        kernels = engines.kernels() if bundle.tokenizer.type == "unigram" or bundle.ngrams is not None else None
        self._inference = Inference(bundle, kernels, self.specialist)
        self._engine: Engine = engines.create(bundle, engine, threads)
        self._pid = os.getpid()

    @classmethod
    def load(cls, path: str | Path | None = None, *, engine: str = "auto", threads: int = 1) -> EdgeDemist:
        """Open a bundle and make it ready.

        Args:
            path: folder of the bundle; None for the one in the package.
            engine: ``auto``, ``native``, ``jit`` or ``onnxruntime``.
            threads: threads that share the rows of a large call.

        Raises:
            BundleError: missing, damaged or hostile bundle.
            EngineUnavailableError: the engine cannot run here.
        """
        return cls(Bundle.load(path), engine=engine, threads=threads)

    def __reduce__(self) -> tuple[functools.partial[EdgeDemist], tuple[str]]:
        """Pickle by path."""
        return functools.partial(type(self).load, engine=self._asked, threads=self._threads), (self._bundle.folder,)

    def __enter__(self) -> EdgeDemist:
        """Use as a context manager."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Release the engine; the model cannot be used afterwards."""
        getattr(self._engine, "close", lambda: None)()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the specialists."""
        return self._bundle.tasks

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._bundle.architecture.hidden_size

    @property
    def bundle(self) -> Bundle:
        """The bundle in use."""
        return self._bundle

    @property
    def bundle_id(self) -> str:
        """SHA-256 of the bundle's manifest, hexadecimal."""
        return self._bundle.id

    @property
    def engine(self) -> Engine:
        """The engine in use; re-made after ``fork``."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._engine = engines.create(self._bundle, self._asked, self._threads)
                    self._pid = os.getpid()
        return self._engine

    @property
    def inference(self) -> Inference:
        """The way from normalized bytes to probabilities, for tools."""
        return self._inference

    @property
    def tokenizer(self) -> Tokenizer | WordPieceTokenizer:
        """The tokenizer."""
        return self._inference.tokenizer

    def specialist(self, task: str) -> Specialist:
        """The specialist of a task, read on first use.

        Raises:
            UnknownTaskError: no such task.
            BundleError: its file is malformed or belongs to another base.
        """
        found = self._specialists.get(task)
        if found is None:
            with self._lock:
                found = self._specialists.get(task) or load_specialist(self._bundle, task)
                self._specialists[task] = found
        return found

    def facts(self, task: str) -> Facts:
        """What the file of a task's specialist says of itself, its tensors unread; raises as :meth:`specialist` does."""
        found: Facts | None = self._specialists.get(task) or self._facts.get(task)
        return found or self._facts.setdefault(task, load_facts(self._bundle, task))

    def encode(
        self,
        texts: Text | Iterable[Text],
        batch_size: int = CHUNK,
        *,
        task: str | None = None,
        normalizer: str = "identity",
        normalize_embeddings: bool = True,
        show_progress_bar: bool = False,
        convert_to_numpy: bool = True,
        projected: bool = True,
    ) -> Floats:
        """Vectors of texts.

        Args:
            texts: one text or any iterable of texts (list, array, column, generator); ``str`` or ``bytes``.
            batch_size: distinct texts computed at a time.
            task: see the texts as this specialist does (its adapter and its normalizer); None for the general vector.
            normalizer: named normalizer for the general vector.
            normalize_embeddings: divide each vector by its Euclidean norm.
            show_progress_bar: progress on stderr if it is a terminal.
            convert_to_numpy: accepted for code written for sentence-transformers; must be true.
            projected: false: the encoder's pooled vector, also where the bundle projects general vectors.

        Returns:
            float32 [n, dim], or [dim] for a single text.

        Raises:
            InputError: an item is neither ``str`` nor ``bytes``, or an argument is out of range.
        """
        if not convert_to_numpy:
            raise InputError("convert_to_numpy=False is not supported: vectors are numpy arrays")
        name = normalizer if task is None else self.specialist(task).normalizer
        if name not in NORMALIZERS:
            raise InputError(f"unknown normalizer {name!r}; known: {', '.join(NORMALIZERS)}")
        if isinstance(texts, (str, bytes)):
            item = Item(normalized_bytes(texts, name, 16 * self._bundle.limits.max_bytes), task)
            return cast("Floats", self._vectors([item], normalize_embeddings, projected)[0])
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        return self._encode(listed(texts), batch_size, task, name, (normalize_embeddings, projected), show_progress_bar)

    def _encode(self, texts: Sequence[Text], batch: int, task: str | None, name: str, how: tuple[bool, bool], show: bool) -> Floats:
        """Vectors [n, dim] of a list of texts."""
        out = np.empty((len(texts), self.dim), np.float32)
        for begin in range(0, len(texts), batch):
            some = as_strings(texts[begin : begin + batch], begin)
            items, where = self._inference.distinct(some, {task: range(len(some))}, {task: name})
            vectors = self._vectors(items, *how)
            out[begin : begin + len(some)] = vectors if len(items) == len(some) else vectors[where[task]]
            if show and sys.stderr.isatty():
                done = min(begin + batch, len(texts))
                print(f"\r{done:,} / {len(texts):,} texts", end="" if done < len(texts) else "\n", file=sys.stderr, flush=True)  # noqa: T201
        return out

    encode_query = encode_document = encode
    """As code written for sentence-transformers calls it."""

    @functools.cached_property
    def atlas(self) -> Atlas:
        """The landmarks and regions of the world map.

        Raises:
            BundleError: the bundle has no atlas, or it is malformed.
        """
        from edge_demist.explore.places import read_atlas

        return read_atlas(self._bundle)

    def places(self, vectors: Floats, continent: str | None = None) -> Floats:
        """Where vectors of the encoder alone lie on the world map; a vector has the same place on every machine and on every day.

        Args:
            vectors: float32 [n, dim] from :meth:`encode` without a task and with ``projected=False``.
            continent: put all on this one (``atlas.continents`` names them); None lets each vector choose.

        Returns:
            float32 [n, 2] within 0 .. 1; NaN where a vector is not finite.

        Raises:
            BundleError: the bundle has no atlas.
            InputError: vectors of another dimension, or an unknown continent.
        """
        return self.atlas.locate(vectors, continent).places

    def similarity(self, a: Text | Sequence[Text] | Floats, b: Text | Sequence[Text] | Floats, *, task: str | None = None) -> Floats:
        """Cosines between all of ``a`` and all of ``b``: texts, or vectors of one space.

        Args:
            a: a text, texts, or float32 [n, dim] from :meth:`encode`.
            b: in the same way, m of them.
            task: see texts as this specialist does.

        Returns:
            float32 [n, m].
        """
        from edge_demist.explore.search import similarity

        return similarity(*(side if isinstance(side, np.ndarray) else np.atleast_2d(self.encode(side, task=task)) for side in (a, b)))

    @overload
    def classify(
        self, texts: Text | Iterable[Text], task: str | Iterable[str] = ..., top_k: int = ..., *, tasks: None = ...,
        min_accuracy: float | None = ..., fpr: float | None = ..., screen: Screening = ...,
    ) -> list[Prediction]: ...  # fmt: skip

    @overload
    def classify(
        self, texts: Text | Iterable[Text], task: str | Iterable[str] = ..., top_k: int = ..., *, tasks: Iterable[str],
        min_accuracy: float | None = ..., fpr: float | None = ..., screen: Screening = ...,
    ) -> list[dict[str, Prediction]]: ...  # fmt: skip

    def classify(
        self,
        texts: Text | Iterable[Text],
        task: str | Iterable[str] = "hostname-category",
        top_k: int = 1,
        *,
        tasks: Iterable[str] | None = None,
        min_accuracy: float | None = None,
        fpr: float | None = None,
        screen: Screening = False,
    ) -> list[Prediction] | list[dict[str, Prediction]]:
        """Ask specialists.

        Args:
            texts: one text or any iterable of texts (list, array, column, generator); ``str`` or ``bytes``.
            task: one task for all, or one per text (they share one batch).
            top_k: how many labels to report in ``scores``; 0 for every label.
            tasks: ask all of these about each text, in place of ``task``: what their answers have in common is computed once.
            min_accuracy: hold answers back (label ``unknown``) below the score that reaches this accuracy on the dev set.
            fpr: alarms only: answer a positive label only above the score with this false-positive rate; else the best
                other label, or ``unknown`` where a positive one is more likely.
            screen: let stage one answer what cannot alarm (``Prediction.screened``), where a specialist has a screen; a mapping
                gives alarm thresholds by task, in place of those of ``fpr``, and screens no other task.

        Returns:
            One prediction a text, in order; with ``tasks`` a dictionary of predictions by task. A text that cannot be processed gives
            a prediction with ``error`` set. The same bits whatever is asked together.

        Raises:
            UnknownTaskError: a task without a specialist.
            InputError: ``task`` and ``texts`` differ in length, or an argument is out of range.
        """
        many = [texts] if isinstance(texts, (str, bytes)) else listed(texts)
        if tasks is not None:
            asked = tuple(dict.fromkeys(tasks))
            if isinstance(tasks, str) or not asked:
                raise InputError("tasks must be a list of at least one task")
            found = iter(self._classify(many, [asked] * len(many), top_k, (min_accuracy, fpr), screen))
            return [{name: next(found) for name in asked} for _ in many]
        names = [task] * len(many) if isinstance(task, str) else list(task)
        if len(names) != len(many):
            raise InputError(f"{len(names)} tasks for {len(many)} texts; give one task, or one per text")
        return self._classify(many, list(zip(names)), top_k, (min_accuracy, fpr), screen)

    def _classify(
        self, texts: Sequence[Text], asked: Sequence[tuple[str, ...]], top_k: int, levels: Levels, screen: Screening
    ) -> list[Prediction]:
        """Predictions of each text's tasks."""
        if top_k < 0:
            raise InputError(f"top_k must be 0 (all labels) or more, not {top_k}")
        names = dict.fromkeys(itertools.chain.from_iterable(dict.fromkeys(asked)))
        rules = {name: Rule(self.specialist(name), *levels) for name in names}
        cuts = cuts_of(rules, None if screen is True else screen) if screen is not False else {}
        if len(texts) == len(names) == 1:
            return [self._classify_one(texts[0], rules[asked[0][0]], top_k, cuts)]
        answers: list[Prediction] = []
        step = max(1, CHUNK // max(map(len, asked), default=1))
        for begin in range(0, len(texts), step):
            answers += self._classify_chunk(texts[begin : begin + step], asked[begin : begin + step], rules, top_k, cuts)
        return answers

    def first_scores(self, texts: Sequence[Text], tasks: Sequence[str]) -> Floats:
        """Stage one of the screen alone: float32 [n, tasks].

        +inf stands for what stage one does not answer: a task without a screen, a text that is empty, or one of which the specialist
        reads more than stage one does.
        """
        return self._inference.first_scores_of_texts(texts, tasks)

    def _classify_one(self, text: Text, rule: Rule, top_k: int, cuts: Cuts) -> Prediction:
        """The prediction for one text: one call of the kernels, where that can be."""
        specialist = rule.specialist
        reason = refusal(text)
        raw = b"" if reason else normalized_bytes(text, specialist.normalizer, 16 * self._bundle.limits.max_bytes)
        if not raw:
            return failed(as_shown(text), specialist.task, reason or EMPTY)
        item, rules = Item(raw, specialist.task), {specialist.task: rule}
        tools = self._short(raw) if not cuts else None
        if tools is None:
            return judge(self._inference, self.engine, [item], rules, cuts)[0].prediction(rule, as_shown(text), top_k)
        engine, tokenizer = tools
        cap, ngrams, head = specialist.max_tokens, self._inference.ngrams_of(specialist), self._inference.heads.table(specialist)
        row, tokens = engine.classify_text(tokenizer, ngrams, head, raw, cap, specialist.adapter)
        over = tokens == cap and len(tokenizer.encode(raw, cap + 1, add_special_tokens=True)) > cap
        found = Judged(specialist.by_label(row[None])[0].tolist(), over)
        return closely(self._inference, engine, [item], [found], rules)[0].prediction(rule, as_shown(text), top_k)

    def _classify_chunk(
        self, texts: Sequence[Text], asked: Sequence[tuple[str, ...]], rules: Mapping[str, Rule], top_k: int, cuts: Cuts
    ) -> list[Prediction]:
        """Predictions for at most ``CHUNK`` texts."""
        shown, reasons = [as_shown(text) for text in texts], [refusal(text) for text in texts]
        numbers: dict[str, list[int]] = {name: [] for name in rules}
        for n, names in enumerate(asked):
            for name in () if reasons[n] else names:
                numbers[name].append(n)
        normalizers = {name: rule.specialist.normalizer for name, rule in rules.items()}
        items, where = self._inference.distinct(shown, numbers, normalizers)
        judged = judge(self._inference, self.engine, items, rules, cuts)
        answers: list[Prediction] = []
        place = {name: iter(found) for name, found in where.items()}
        for text, why, names in zip(shown, reasons, asked, strict=True):
            for name in names:
                k = -1 if why else next(place[name])
                if why or not items[k].raw:
                    answers.append(failed(text, name, why or EMPTY))
                else:
                    answers.append(judged[k].prediction(rules[name], text, top_k))
        return answers

    def _vectors(self, items: Sequence[Item], normalize: bool, projected: bool) -> Floats:
        """Vectors [n, H] of items of one task; one item takes one call of the kernels."""
        tools = self._short(items[0].raw) if len(items) == 1 else None
        if tools is None:
            return self._inference.vectors(self.engine, items, normalize=normalize, projected=projected)
        return self._inference.vector(*tools, items[0], normalize=normalize, projected=projected)[None]

    def _short(self, raw: bytes) -> tuple[NativeEngine, Tokenizer] | None:
        """What takes bytes to the answer in one call; None where the engine or the tokenizer cannot, or they are too many."""
        engine, tokenizer = self.engine, self.tokenizer
        if isinstance(engine, NativeEngine) and isinstance(tokenizer, Tokenizer) and len(raw) <= self._bundle.limits.max_bytes:
            return engine, tokenizer
        return None


__all__ = ["UNKNOWN", "EdgeDemist", "Prediction", "UnknownTaskError"]
