"""From normalized strings to probabilities, each step once for whatever asks for it.

::

    distinct bytes --> n-gram vectors --> first scores of all screens --> those below their cut are done
         |                                         |
         +--> token ids, once a string <-- survivors, every specialist of a string together
                   |
                   +--> encoder: layers below a specialist's first adapter once a string --> heads

Leaves texts, normalizers and windows to :mod:`edge_demist.model`.
"""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np

from edge_demist.decoding import unpacked
from edge_demist.engines import shared
from edge_demist.engines.base import Engine
from edge_demist.engines.batching import Text, cut, reorder
from edge_demist.engines.general import Projection
from edge_demist.engines.heads import Heads
from edge_demist.engines.native import NativeEngine
from edge_demist.format.bundle import Bundle
from edge_demist.format.general import read_general
from edge_demist.format.specialist import Specialist
from edge_demist.native.library import Kernels
from edge_demist.normalizers import from_bytes, truncate_utf8
from edge_demist.predictions import Prediction, Rule
from edge_demist.text import windows
from edge_demist.text.looks import KINDS
from edge_demist.text.many import normalized
from edge_demist.text.ngrams import Ngrams
from edge_demist.text.screens import Screens
from edge_demist.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_demist.text.wordpiece import WordPieceTokenizer

Floats: TypeAlias = "NDArray[np.float32]"
Task = TypeVar("Task", bound="str | None")

WORTH_SHARING = 1.5
"""Specialists a string from which on layers are shared: below, the blocks of rows that leave the trunk together would be too small."""
SURELY_SHORT = 64
"""Bytes below which a string needs windows only where its tokens overflow."""


class Item(NamedTuple):
    """A distinct piece of work: normalized bytes for one specialist (None: no task)."""

    raw: bytes
    task: str | None


class Judged(NamedTuple):
    """P(label) of an item, whether it was truncated, the window that they are of (None: the whole), whether stage one alone answered."""

    scores: Sequence[float]
    truncated: bool
    window: windows.Window | None = None
    screened: bool = False

    def prediction(self, rule: Rule, shown: str, top_k: int) -> Prediction:
        """The answer under a rule about a text, which it repeats as ``shown``."""
        scores, truncated, window, screened = self
        over = truncated or len(shown) > 16 * windows.MOST_BYTES  # what normalizers are given of a text, at most
        return rule.answer(shown, scores, truncated=over, top_k=top_k, window=window, screened=screened)


class _Batch(NamedTuple):
    """Items apart: distinct strings and specialists (None: the base), and int32 [n] of each, which of them an item is."""

    raws: list[bytes]
    where: NDArray[np.int32]
    specialists: list[Specialist | None]
    slots: NDArray[np.int32]


class Cut(NamedTuple):
    """Below which first score a string is done, and the highest alarm score that it is then given."""

    first: float
    most: float


Cuts: TypeAlias = Mapping[str, Cut]


def cuts_of(rules: Mapping[str, Rule], thresholds: Mapping[str, float] | None) -> dict[str, Cut]:
    """Where stage one ends for each alarm specialist that has a screen, at the threshold in force; None: the rule's own."""
    found = {}
    for name, rule in rules.items():
        screen, own = rule.specialist.screen, rule.threshold
        if screen is None or own is None or (thresholds is not None and name not in thresholds):
            continue
        threshold = own if thresholds is None else thresholds[name]
        first = screen.cut(threshold)
        if first is not None:
            found[name] = Cut(first, min(threshold, own) / 2)
    return found


class Inference:
    """Tokenizer, n-gram tables, screens and heads of one bundle.  Thread-safe."""

    def __init__(self, bundle: Bundle, kernels: Kernels | None, specialist: Callable[[str], Specialist]) -> None:
        """Bind a bundle; ``specialist`` reads one on first use."""
        self._bundle, self.kernels, self._specialist = bundle, kernels, specialist
        self.tokenizer = _tokenizer(bundle, kernels)
        self._ngrams = Ngrams(bundle, kernels) if bundle.ngrams is not None else None
        general = read_general(bundle)
        self.projection = None
        if general is not None and self._ngrams is not None and kernels is not None:
            self.projection = Projection(general, bundle, self._ngrams, kernels)
        self._own_ngrams: dict[str, Ngrams] = {}
        self._screens: dict[tuple[str, ...], Screens] = {}
        self._lock = threading.Lock()
        self.heads = Heads(kernels)

    def ngrams_of(self, specialist: Specialist) -> Ngrams | None:
        """The n-gram table that a specialist reads: its own, or the bundle's."""
        if specialist.ngrams is None:
            return self._ngrams
        found = self._own_ngrams.get(specialist.task)
        if found is None:
            found = self._own_ngrams.setdefault(specialist.task, Ngrams(specialist.ngrams, self.kernels))
        return found

    def distinct(
        self, texts: Sequence[str], asked: Mapping[Task, Sequence[int]], normalizers: Mapping[Task, str]
    ) -> tuple[list[Item], dict[Task, list[int]]]:
        """Distinct normalized items, one task after the other, and by task the number of each text's item.

        Args:
            texts: any.
            asked: by task, the numbers of the texts that it is asked about.
            normalizers: by task.
        """
        items: list[Item] = []
        where: dict[Task, list[int]] = {}
        known: dict[str, dict[str, bytes]] = {}
        limit = 16 * self._bundle.limits.max_bytes
        for task, numbers in asked.items():
            own = list(map(texts.__getitem__, numbers))
            raw_of = known.setdefault(normalizers[task], {})
            new = [text for text in dict.fromkeys(own) if text not in raw_of]
            raw_of.update(zip(new, normalized([text[:limit] for text in new], normalizers[task]), strict=True))
            raws = list(map(raw_of.__getitem__, own))
            place = dict(zip(dict.fromkeys(raws), itertools.count(len(items)), strict=False))
            items += map(Item, place, itertools.repeat(task))
            where[task] = list(map(place.__getitem__, raws))
        return items, where

    # ---- stage one --------------------------------------------------------------------------------------------

    def first_scores(self, raws: Sequence[bytes], tasks: Sequence[str]) -> Floats:
        """First scores float32 [n, tasks] of normalized strings of tasks; +inf for a task that has no stage one."""
        key = tuple(tasks)
        screens = self._screens.get(key)
        if screens is None:
            found = [self._specialist(task) for task in key]
            with self._lock:
                screens = self._screens.setdefault(key, Screens([(one, self.ngrams_of(one)) for one in found]))
        return screens.scores(raws)

    def first_scores_of_texts(self, texts: Sequence[Text], tasks: Sequence[str]) -> Floats:
        """First scores float32 [n, tasks] of texts as they are given; +inf where stage one must not answer."""
        out = np.full((len(texts), len(tasks)), np.inf, np.float32)
        limit = 16 * self._bundle.limits.max_bytes
        whole = [from_bytes(text) if isinstance(text, bytes) else text for text in texts]
        by_normalizer: dict[str, list[int]] = {}
        for column, task in enumerate(tasks):
            by_normalizer.setdefault(self._specialist(task).normalizer, []).append(column)
        if not by_normalizer:
            return out
        raws = {normalizer: normalized([text[:limit] for text in whole], normalizer) for normalizer in by_normalizer}
        first, *others = raws.values()
        alike = np.ones(len(texts), np.bool_)  # what all normalizers make the same of is looked at once
        for other in others:
            alike &= np.fromiter(map(operator.eq, first, other), np.bool_, len(texts))
        together, apart = np.flatnonzero(alike), np.flatnonzero(~alike)
        out[together] = self.first_scores([first[n] for n in together], tasks)
        for normalizer, columns in by_normalizer.items():
            own, some = raws[normalizer], [tasks[column] for column in columns]
            if len(apart):
                out[apart[:, None], columns] = self.first_scores([own[n] for n in apart], some)
            unread = [n for n, raw in enumerate(own) if not raw] + self.beyond_stage_one(own, normalizer, some)
            out[np.ix_(unread, columns)] = np.inf
        return out

    def stage_one_bytes(self, tasks: Sequence[str]) -> int:
        """How long a string these tasks' n-grams read whole; what lies behind only the encoder sees."""
        tables = [self.ngrams_of(self._specialist(task)) for task in tasks]
        return min((one.max_bytes for one in tables if one is not None), default=0)

    def beyond_stage_one(self, raws: Sequence[bytes], normalizer: str, tasks: Sequence[str]) -> list[int]:
        """Numbers of the strings that need windows or stand behind a wrapper, or of which specialists read more than the n-grams do."""
        most, cap = self.stage_one_bytes(tasks), min(self._specialist(task).max_tokens for task in tasks)

        def is_beyond(raw: bytes) -> bool:
            overflow = len(raw) >= cap and len(self.tokenizer.encode(raw, cap + 1, add_special_tokens=True)) > cap
            return len(raw) > most or windows.is_long(raw, normalizer, overflow=overflow)

        shortest, kind = min(cap, SURELY_SHORT), KINDS.get(normalizer)
        wrappers = kind.wrappers if kind is not None else ()
        wrapped = {n for n, raw in enumerate(raws) if raw.partition(b" ")[0] in wrappers} if wrappers else ()
        return [n for n, raw in enumerate(raws) if (len(raw) >= shortest and is_beyond(raw)) or n in wrapped]

    def _screened(self, items: Sequence[Item], cuts: Cuts) -> tuple[list[int], dict[int, Judged]]:
        """The items that reach the encoder, and the rows of those that stage one answers."""
        asked = [task for task in dict.fromkeys(str(item.task) for item in items) if task in cuts]
        if not asked:
            return list(range(len(items))), {}
        column = {task: c for c, task in enumerate(asked)}
        raws = list(dict.fromkeys(item.raw for item in items))
        place = {raw: n for n, raw in enumerate(raws)}
        first = self.first_scores(raws, asked).tolist()
        most_bytes = self.stage_one_bytes(asked)
        left, done = [], {}
        for k, item in enumerate(items):
            c = column.get(str(item.task))
            score = first[place[item.raw]][c] if c is not None else np.inf
            if c is None or score >= cuts[str(item.task)].first or len(item.raw) > most_bytes:
                left.append(k)
            else:
                scores = screened_scores(self._specialist(str(item.task)), score, cuts[str(item.task)].most)
                done[k] = Judged(scores, truncated=False, screened=True)
        return left, done

    # ---- all of it --------------------------------------------------------------------------------------------

    def rows(self, engine: Engine, items: Sequence[Item], cuts: Cuts | None = None) -> list[Judged]:
        """P(label) of every item, in order; with ``cuts`` stage one answers what lies below them."""
        if not cuts:
            return self._encoded(engine, items)
        left, found = self._screened(items, cuts)
        found.update(zip(left, self._encoded(engine, [items[k] for k in left]), strict=True))
        return [found[k] for k in range(len(items))]

    def _encoded(self, engine: Engine, items: Sequence[Item]) -> list[Judged]:
        """P(label) of items that go through the encoder."""
        if not items:
            return []
        batch = self._batch(items)
        pooled, truncated = self._pooled(engine, batch, normalize=False)
        answers: list[Judged | None] = [None] * len(items)
        ngrams: Floats | None = None
        for slot, specialist in enumerate(batch.specialists):
            assert specialist is not None
            places = np.flatnonzero(batch.slots == slot)
            own, where = self.ngrams_of(specialist), batch.where[places]
            if own is None or own is not self._ngrams:
                vectors = None if own is None else own.encode_batch([batch.raws[n] for n in where.tolist()])
            else:
                ngrams = own.encode_batch(batch.raws) if ngrams is None else ngrams
                vectors = ngrams[where]
            scores = self.heads.probabilities(specialist, pooled[places], vectors)
            for n, found in zip(places.tolist(), map(Judged, scores, truncated[places].tolist()), strict=True):
                answers[n] = found
        return cast("list[Judged]", answers)

    def _batch(self, items: Sequence[Item]) -> _Batch:
        """Each string and each specialist once."""
        raws, tasks = zip(*items, strict=True)
        place = {raw: n for n, raw in enumerate(dict.fromkeys(raws))}
        slot = {task: n for n, task in enumerate(dict.fromkeys(tasks))}
        where = np.fromiter(map(place.__getitem__, raws), np.int32, len(items))
        slots = np.fromiter(map(slot.__getitem__, tasks), np.int32, len(items))
        return _Batch(list(place), where, [self._specialist(task) if task is not None else None for task in slot], slots)

    def pooled(self, engine: Engine, items: Sequence[Item], *, normalize: bool) -> tuple[Floats, NDArray[np.bool_]]:
        """Pooled vectors [n, H] of items under their adapters, and which were truncated."""
        if not items:
            return np.empty((0, self._bundle.architecture.hidden_size), np.float32), np.zeros(0, np.bool_)
        return self._pooled(engine, self._batch(items), normalize=normalize)

    def vectors(self, engine: Engine, items: Sequence[Item], *, normalize: bool, projected: bool = True) -> Floats:
        """Vectors [n, H] of items, all of one task; the general ones by the bundle's projection, where it has one, of what words pack."""
        if self.projection is None or not projected or not items or items[0].task is not None:
            return self.pooled(engine, items, normalize=normalize)[0]
        limits = self._bundle.limits
        raws = [unpacked(raw) for raw, _ in items]
        raws = [raw if len(raw) <= limits.max_bytes else truncate_utf8(raw, limits.max_bytes) for raw in raws]
        ids, offsets = self.tokenizer.encode_batch(raws, max_tokens=limits.max_tokens, add_special_tokens=True)
        ngrams = self.projection.ngrams.encode_batch(raws)  # before the encoder, behind which nothing is in a cache
        return self.projection.vectors(engine.encode(ids, offsets, normalize=False), ngrams, ids, offsets, normalize=normalize)

    def vector(self, engine: NativeEngine, tokenizer: Tokenizer, item: Item, *, normalize: bool, projected: bool = True) -> Floats:
        """The vector [H] of one item in one call of the kernels, with the bits of :meth:`vectors`."""
        raw, task = item
        if task is not None:
            specialist = self._specialist(task)
            return engine.encode_text(tokenizer, raw, specialist.max_tokens, specialist.adapter, normalize)
        most = self._bundle.limits.max_tokens
        if self.projection is None or not projected:
            return engine.encode_text(tokenizer, raw, most, None, normalize)
        return self.projection.vector(engine, tokenizer, unpacked(raw), most, normalize=normalize)

    def _pooled(self, engine: Engine, batch: _Batch, *, normalize: bool) -> tuple[Floats, NDArray[np.bool_]]:
        """Pooled vectors of a batch's items."""
        limits = self._bundle.limits
        whole, where, specialists, slots = batch
        caps = np.array([limits.max_tokens if one is None else one.max_tokens for one in specialists], np.int64)
        raws = [raw if len(raw) <= limits.max_bytes else truncate_utf8(raw, limits.max_bytes) for raw in whole]
        ids, offsets = self.tokenizer.encode_batch(raws, max_tokens=limits.max_tokens + 1, add_special_tokens=True)
        lengths = offsets[1:] - offsets[:-1]
        shortened = np.array([len(raw) > limits.max_bytes for raw in whole], np.bool_)
        overlong = lengths[where] > caps[slots]
        truncated, rows = shortened[where] | overlong, where
        if overlong.any():  # a row is a string cut to a length: one row for all specialists that read as much of it
            keys, row_of = np.unique(np.minimum(lengths[where], caps[slots]) * len(raws) + where, return_inverse=True)
            rows = row_of.astype(np.int32)
            ids, offsets = self._rows_of_ids(ids, offsets, keys // len(raws), keys % len(raws))
        adapters = [None if one is None else one.adapter for one in specialists]
        if isinstance(engine, NativeEngine) and len(where) >= WORTH_SHARING * (len(offsets) - 1) and not normalize:
            layers = self._bundle.architecture.num_layers
            numbers = np.cumsum([0, *(a is not None and bool(a.layers) for a in adapters)])[:-1].tolist()
            forks = [shared.fork(a, layers) for a in adapters]
            return engine.encode_shared(ids, offsets, adapters, shared.branches(rows, slots, forks, numbers, layers)), truncated
        order = np.lexsort((rows, slots))
        ids, offsets = reorder(ids, offsets, rows[order].astype(np.int64))
        vectors = np.empty((len(where), self._bundle.architecture.hidden_size), np.float32)
        vectors[order] = engine.encode(ids, offsets, adapters, slots[order], normalize)
        return vectors, truncated

    def _rows_of_ids(
        self, ids: NDArray[np.int32], offsets: NDArray[np.int32], lengths: NDArray[np.int64], strings: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Packed ids of strings cut to lengths; shorter ones end with the suffix again."""
        ids, offsets = reorder(ids, offsets, strings)
        over = offsets[1:] - offsets[:-1] > lengths
        if over.any():
            ids, offsets = cut(ids, offsets, lengths, over, self._bundle.tokenizer.suffix_ids)
        return ids, offsets


def screened_scores(specialist: Specialist, first: float, most: float) -> list[float]:
    """What stage one says as P(label): the logistic function of its score, at most ``most``, for the first positive label.

    It tells no harmless label from another: they have equal shares of the rest.
    """
    alarm = min(1.0 / (1.0 + float(np.exp(min(max(-first, -60.0), 60.0)))), most)
    harmless = len(specialist.labels) - len(specialist.positive)
    scores = [0.0 if i in specialist.positive else (1.0 - alarm) / harmless for i in range(len(specialist.labels))]
    scores[specialist.positive[0]] = alarm
    return scores


def _tokenizer(bundle: Bundle, kernels: Kernels | None) -> Tokenizer | WordPieceTokenizer:
    """The tokenizer of the manifest's type."""
    if bundle.tokenizer.type == "wordpiece":
        from edge_demist.text.wordpiece import WordPieceTokenizer

        return WordPieceTokenizer(bundle)
    return Tokenizer(bundle, kernels)
