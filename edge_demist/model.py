"""``EdgeDemist``: texts in, vectors and predictions out.

Does de-duplication, length sorting, chunking and the choice of adapters; leaves packed rows to :mod:`edge_demist.engines.batching`,
arithmetic to an engine, the meaning of a head to :mod:`edge_demist.format.specialist` and thresholds to :mod:`edge_demist.predictions`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from edge_demist import engines
from edge_demist.engines.base import Engine
from edge_demist.engines.batching import Text, cut, normalized_bytes, reorder
from edge_demist.engines.heads import Heads
from edge_demist.engines.native import NativeEngine
from edge_demist.errors import InputError, UnknownTaskError
from edge_demist.explore.search import similarity
from edge_demist.format.adapter import Adapter
from edge_demist.format.bundle import Bundle
from edge_demist.format.specialist import Specialist, load_specialist
from edge_demist.native.library import Kernels
from edge_demist.normalizers import NORMALIZERS, from_bytes, truncate_utf8
from edge_demist.predictions import UNKNOWN, Prediction, Rule
from edge_demist.text import windows
from edge_demist.text.ngrams import Ngrams
from edge_demist.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_demist.explore.places import Atlas
    from edge_demist.text.wordpiece import WordPieceTokenizer

CHUNK = 2048
"""Distinct texts computed at a time; bounds the memory of one call."""

EMPTY = "the text is empty after normalization"

Floats: TypeAlias = "NDArray[np.float32]"


class _Item(NamedTuple):
    """A distinct piece of work: normalized bytes for one specialist (None: no task)."""

    raw: bytes
    task: str | None


class _Judged(NamedTuple):
    """P(label) of a piece of work, whether it was truncated, and the window that they are of (None: the whole)."""

    scores: Sequence[float]
    truncated: bool
    window: windows.Window | None = None

    def prediction(self, rule: Rule, text: Text, top_k: int) -> Prediction:
        """The answer about ``text`` under a rule."""
        return rule.answer(_shown(text), self.scores, truncated=self.truncated, top_k=top_k, window=self.window)


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
        kernels = engines.kernels() if bundle.tokenizer.type == "unigram" or bundle.ngrams is not None else None
        self._tokenizer = _tokenizer(bundle, kernels)
        self._ngrams = Ngrams(bundle, kernels) if bundle.ngrams is not None else None
        self._own_ngrams: dict[str, Ngrams] = {}
        self._heads = Heads(kernels)
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
        closer = getattr(self._engine, "close", None)
        if closer is not None:
            closer()

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
    def tokenizer(self) -> Tokenizer | WordPieceTokenizer:
        """The tokenizer."""
        return self._tokenizer

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

    def encode(
        self,
        texts: Text | Sequence[Text],
        batch_size: int = CHUNK,
        *,
        task: str | None = None,
        normalizer: str = "identity",
        normalize_embeddings: bool = True,
        show_progress_bar: bool = False,
        convert_to_numpy: bool = True,
    ) -> Floats:
        """Vectors of texts.

        Args:
            texts: one text or many; ``str`` or ``bytes``.
            batch_size: distinct texts computed at a time.
            task: see the texts as this specialist does (its adapter and its normalizer); None for the general vector.
            normalizer: named normalizer for the general vector.
            normalize_embeddings: divide each vector by its Euclidean norm.
            show_progress_bar: progress on stderr if it is a terminal.
            convert_to_numpy: accepted for code written for sentence-transformers; must be true.

        Returns:
            float32 [n, dim], or [dim] for a single text.

        Raises:
            InputError: an item is neither ``str`` nor ``bytes``, or an argument is out of range.
        """
        if not convert_to_numpy:
            raise InputError("convert_to_numpy=False is not supported: vectors are numpy arrays")
        if isinstance(texts, (str, bytes)):
            vector: Floats = self._encode([texts], CHUNK, task, normalizer, normalize_embeddings, show=False)[0]
            return vector
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        return self._encode(texts, batch_size, task, normalizer, normalize_embeddings, show=show_progress_bar)

    def _encode(self, texts: Sequence[Text], batch: int, task: str | None, normalizer: str, normalize: bool, *, show: bool) -> Floats:
        """Vectors [n, dim] of a list of texts."""
        specialist = self.specialist(task) if task is not None else None
        name = specialist.normalizer if specialist else normalizer
        if name not in NORMALIZERS:
            raise InputError(f"unknown normalizer {name!r}; known: {', '.join(NORMALIZERS)}")
        out = np.empty((len(texts), self.dim), np.float32)
        for begin in range(0, len(texts), batch):
            items, where = self._distinct([(t, task, name) for t in texts[begin : begin + batch]], begin)
            vectors = self._vectors(items, normalize=normalize)
            out[begin : begin + len(where)] = vectors[where]
            if show and sys.stderr.isatty():
                done = min(begin + batch, len(texts))
                print(f"\r{done:,} / {len(texts):,} texts", end="" if done < len(texts) else "\n", file=sys.stderr, flush=True)  # noqa: T201
        return out

    @functools.cached_property
    def atlas(self) -> Atlas:
        """The landmarks and regions of the world map.

        Raises:
            BundleError: the bundle has no atlas, or it is malformed.
        """
        from edge_demist.explore.places import read_atlas

        return read_atlas(self._bundle)

    def places(self, vectors: Floats, continent: str | None = None) -> Floats:
        """Where general vectors lie on the world map; a vector has the same place on every machine and on every day.

        Args:
            vectors: float32 [n, dim] from :meth:`encode` without a task.
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
        return similarity(*(side if isinstance(side, np.ndarray) else np.atleast_2d(self.encode(side, task=task)) for side in (a, b)))

    def classify(
        self,
        texts: Text | Sequence[Text],
        task: str | Sequence[str] = "hostname-category",
        top_k: int = 1,
        *,
        min_accuracy: float | None = None,
        fpr: float | None = None,
    ) -> list[Prediction]:
        """Ask specialists.

        Args:
            texts: one text or many; ``str`` or ``bytes``.
            task: one task for all, or one per text (they share one batch).
            top_k: how many labels to report in ``scores``; 0 for every label.
            min_accuracy: hold answers back (label ``unknown``) below the score that reaches this accuracy on the dev set.
            fpr: alarms only: answer a positive label only above the score with this false-positive rate; else the best
                other label.

        Returns:
            One prediction a text, in order. A text that cannot be processed gives a prediction with ``error`` set.

        Raises:
            UnknownTaskError: a task without a specialist.
            InputError: ``task`` and ``texts`` differ in length, or an argument is out of range.
        """
        many = [texts] if isinstance(texts, (str, bytes)) else texts
        names = [task] * len(many) if isinstance(task, str) else list(task)
        if len(names) != len(many):
            raise InputError(f"{len(names)} tasks for {len(many)} texts; give one task, or one per text")
        if top_k < 0:
            raise InputError(f"top_k must be 0 (all labels) or more, not {top_k}")
        rules = {name: Rule(self.specialist(name), min_accuracy, fpr) for name in dict.fromkeys(names)}
        if len(many) == 1:
            return [self._classify_one(many[0], rules[names[0]], top_k)]
        answers: list[Prediction] = []
        for begin in range(0, len(many), CHUNK):
            answers += self._classify_chunk(many[begin : begin + CHUNK], names[begin : begin + CHUNK], rules, top_k)
        return answers

    def _classify_one(self, text: Text, rule: Rule, top_k: int) -> Prediction:
        """The prediction for one text: one call of the kernels, where that can be."""
        specialist = rule.specialist
        reason = _refusal(text)
        raw = b"" if reason else normalized_bytes(text, specialist.normalizer, 16 * self._bundle.limits.max_bytes)
        if not raw:
            return Prediction(_shown(text), specialist.task, "", 0.0, error=reason or EMPTY)
        tools = self._short(raw)
        if tools is None:
            return self._judged([_Item(raw, specialist.task)], {specialist.task: rule})[0].prediction(rule, text, top_k)
        engine, tokenizer = tools
        cap = specialist.max_tokens
        ngrams = self._ngrams_of(specialist)
        row, tokens = engine.classify_text(tokenizer, ngrams, self._heads.table(specialist), raw, cap, specialist.adapter)
        over = tokens == cap and len(tokenizer.encode(raw, cap + 1, add_special_tokens=True)) > cap
        found = _Judged(row, over)
        if specialist.kind == "alarm" and windows.is_long(raw, specialist.normalizer, overflow=over):
            found = self._through_windows([_Item(raw, specialist.task)], [found], {specialist.task: rule})[0]
        return found.prediction(rule, text, top_k)

    def _classify_chunk(self, texts: Sequence[Text], names: list[str], rules: Mapping[str, Rule], top_k: int) -> list[Prediction]:
        """Predictions for at most ``CHUNK`` texts."""
        asked, errors = [], {}
        for i, (text, name) in enumerate(zip(texts, names, strict=True)):
            reason = _refusal(text)
            if reason:
                errors[i] = reason
            else:
                asked.append((text, name, rules[name].specialist.normalizer))
        items, where = self._distinct(asked, 0)
        judged = self._judged(items, rules)
        answers: list[Prediction] = []
        place = iter(where)
        for i, (text, name) in enumerate(zip(texts, names, strict=True)):
            shown = _shown(text)
            if i in errors:
                answers.append(Prediction(shown, name, "", 0.0, error=errors[i]))
                continue
            k = next(place)
            if not items[k].raw:
                answers.append(Prediction(shown, name, "", 0.0, error=EMPTY))
                continue
            answers.append(judged[k].prediction(rules[name], shown, top_k))
        return answers

    def _judged(self, items: Sequence[_Item], rules: Mapping[str, Rule]) -> list[_Judged]:
        """Scores of every item; of alarm specialists, of long items through windows."""
        scores, truncated = self._scores(items, rules)
        found = [_Judged(row, over) for row, over in zip(scores, truncated, strict=True)]
        specialists = {name: rule.specialist for name, rule in rules.items() if rule.specialist.kind == "alarm"}
        long = [
            k
            for k, item in enumerate(items)
            if (one := specialists.get(str(item.task))) and windows.is_long(item.raw, one.normalizer, overflow=truncated[k])
        ]
        for k, better in zip(long, self._through_windows([items[k] for k in long], [found[k] for k in long], rules), strict=True):
            found[k] = better
        return found

    def _through_windows(self, items: Sequence[_Item], whole: Sequence[_Judged], rules: Mapping[str, Rule]) -> list[_Judged]:
        """The worst answer about each item: about the whole, or about one of its windows.  At most some ``CHUNK`` windows at a time."""
        result: list[_Judged] = []
        begin = 0
        while begin < len(items):
            parts: dict[_Item, int] = {}
            spans: list[list[windows.Window]] = []
            while begin + len(spans) < len(items) and len(parts) < CHUNK:
                item = items[begin + len(spans)]
                spans.append(self._windows_of(item, rules[str(item.task)].specialist))
                for window in spans[-1]:
                    parts.setdefault(_Item(window.raw, item.task), len(parts))
            scores, truncated = self._scores(list(parts), rules)
            for item, first, cut_up in zip(items[begin : begin + len(spans)], whole[begin:], spans, strict=False):
                numbers = [parts[_Item(window.raw, item.task)] for window in cut_up]
                rows = [first.scores, *(scores[n] for n in numbers)]
                worst = windows.worst([rules[str(item.task)].specialist.alarm_score(row) / (sum(row) or 1.0) for row in rows])
                over = len(item.raw) > windows.MOST_BYTES or any(truncated[n] for n in numbers)
                result.append(_Judged(rows[worst], over, cut_up[worst - 1] if worst else None))
            begin += len(spans)
        return result

    def _windows_of(self, item: _Item, specialist: Specialist) -> list[windows.Window]:
        """Windows over an item, each of at most the specialist's tokens."""
        cap = specialist.max_tokens

        def fits(raw: bytes) -> bool:
            return len(raw) < cap or len(self._tokenizer.encode(raw, cap + 1, add_special_tokens=True)) <= cap

        return windows.expand(item.raw, specialist.normalizer, fits)

    def _scores(self, items: Sequence[_Item], rules: Mapping[str, Rule]) -> tuple[list[list[float]], list[bool]]:
        """P(label) of every item, and whether it was truncated."""
        order = sorted(range(len(items)), key=lambda k: str(items[k].task))  # each specialist's rows follow each other
        items = [items[k] for k in order]
        pooled, truncated = self._pooled(items, normalize=False)
        shared = None
        if self._ngrams is not None and items and any(rule.specialist.ngrams is None for rule in rules.values()):
            shared = self._ngrams.encode_batch([item.raw for item in items])
        rows: list[list[float]] = []
        for name, group in itertools.groupby(items, lambda item: str(item.task)):
            specialist = rules[name].specialist
            begin, end = len(rows), len(rows) + len(list(group))
            if specialist.ngrams is None:
                ngrams = None if shared is None else shared[begin:end]
            else:
                own = self._ngrams_of(specialist)
                ngrams = None if own is None else own.encode_batch([item.raw for item in items[begin:end]])
            rows += self._heads.probabilities(specialist, pooled[begin:end], ngrams)
        scores, cut_off = [[0.0]] * len(items), [False] * len(items)
        for k, row, over in zip(order, rows, truncated.tolist(), strict=True):
            scores[k], cut_off[k] = row, over
        return scores, cut_off

    def _ngrams_of(self, specialist: Specialist) -> Ngrams | None:
        """The n-gram table that a specialist reads: its own, or the bundle's."""
        if specialist.ngrams is None:
            return self._ngrams
        found = self._own_ngrams.get(specialist.task)
        if found is None:
            found = self._own_ngrams.setdefault(specialist.task, Ngrams(specialist.ngrams, self._heads.kernels))
        return found

    def _vectors(self, items: Sequence[_Item], *, normalize: bool) -> Floats:
        """Vectors [n, H] of items; one item takes one call of the kernels."""
        tools = self._short(items[0].raw) if len(items) == 1 else None
        if tools is None:
            return self._pooled(items, normalize=normalize)[0]
        engine, tokenizer = tools
        special = self.specialist(items[0].task) if items[0].task is not None else None
        cap, adapter = (self._bundle.limits.max_tokens, None) if special is None else (special.max_tokens, special.adapter)
        return engine.encode_text(tokenizer, items[0].raw, cap, adapter, normalize)[None]

    def _short(self, raw: bytes) -> tuple[NativeEngine, Tokenizer] | None:
        """What takes bytes to the answer in one call; None where the engine or the tokenizer cannot, or they are too many."""
        engine = self.engine
        if isinstance(engine, NativeEngine) and isinstance(self._tokenizer, Tokenizer) and len(raw) <= self._bundle.limits.max_bytes:
            return engine, self._tokenizer
        return None

    def _distinct(self, asked: Sequence[tuple[Text, str | None, str]], first: int) -> tuple[list[_Item], list[int]]:
        """Distinct normalized items, and for each text the number of its item."""
        items: dict[_Item, int] = {}
        where = []
        for i, (text, task, normalizer) in enumerate(asked):
            if not isinstance(text, (str, bytes)):
                raise InputError(f"text {first + i} is {type(text).__name__}, not str or bytes")
            item = _Item(normalized_bytes(text, normalizer, 16 * self._bundle.limits.max_bytes), task)
            where.append(items.setdefault(item, len(items)))
        return list(items), where

    def _pooled(self, items: Sequence[_Item], *, normalize: bool) -> tuple[Floats, NDArray[np.bool_]]:
        """Pooled vectors [n, H] of items under their adapters, and which were truncated."""
        limits = self._bundle.limits
        if not items:
            return np.empty((0, self.dim), np.float32), np.zeros(0, np.bool_)
        tasks = [item.task for item in items]
        adapters: list[Adapter | None] = []
        slot: dict[str | None, int] = {}
        for task in dict.fromkeys(tasks):
            slot[task] = len(adapters)
            adapters.append(self.specialist(task).adapter if task is not None else None)
        caps = {t: self.specialist(t).max_tokens if t is not None else limits.max_tokens for t in slot}
        raws = [truncate_utf8(item.raw, limits.max_bytes) for item in items]
        ids, offsets = self._tokenizer.encode_batch(raws, max_tokens=limits.max_tokens + 1, add_special_tokens=True)
        cap = np.array([caps[t] for t in tasks], np.int64)
        truncated = np.array([len(r) < len(i.raw) for r, i in zip(raws, items, strict=True)], np.bool_)
        lengths = offsets[1:] - offsets[:-1]
        over = lengths > cap
        if over.any():
            truncated |= over
            ids, offsets = cut(ids, offsets, np.minimum(lengths, cap), over, self._bundle.tokenizer.suffix_ids)
        index = np.array([slot[t] for t in tasks], np.int32)
        order = np.lexsort((offsets[1:] - offsets[:-1], index)).astype(np.int64)
        ids, offsets = reorder(ids, offsets, order)
        sorted_vectors = self.engine.encode(ids, offsets, adapters, index[order], normalize)
        vectors = np.empty_like(sorted_vectors)
        vectors[order] = sorted_vectors
        return vectors, truncated


def _tokenizer(bundle: Bundle, kernels: Kernels | None) -> Tokenizer | WordPieceTokenizer:
    """The tokenizer of the manifest's type."""
    if bundle.tokenizer.type == "wordpiece":
        from edge_demist.text.wordpiece import WordPieceTokenizer

        return WordPieceTokenizer(bundle)
    return Tokenizer(bundle, kernels)


def _refusal(text: object) -> str | None:
    """Why a text cannot be processed; None if it can."""
    if not isinstance(text, (str, bytes)):
        return f"expected str or bytes, not {type(text).__name__}"
    return None if text else "the text is empty"


def _shown(text: object) -> str:
    """A text as predictions repeat it."""
    return from_bytes(text) if isinstance(text, bytes) else text if isinstance(text, str) else repr(text)


@contextlib.contextmanager
def opened(path: str | Path | None = None, **options: object) -> Iterator[EdgeDemist]:
    """Load a model for a ``with`` block and close it afterwards."""
    model = EdgeDemist.load(path, **options)  # type: ignore[arg-type]
    try:
        yield model
    finally:
        model.close()


__all__ = ["UNKNOWN", "EdgeDemist", "Prediction", "UnknownTaskError", "opened"]
