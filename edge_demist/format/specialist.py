"""Specialists: a LoRA adapter on the shared base, a linear head, calibration and thresholds.

Formula of the head, for pooled vector p [H] and n-gram vector g [dim]::

    logits        = p · W + g · Wn + b
    P(label)      = softmax(logits / temperature) · P(in distribution)
    P(in distribution) = sigmoid(p · w + g · wn + b')          (1 where the file has no OOD detector)

``g`` comes from the bundle's n-gram table, or from the specialist's own where its file holds one.  Where the file names
``subclasses``, W, Wn and b have a column a subclass, the softmax runs over subclasses, and P(label) is the sum of those of its
subclasses: a label may have several kinds of strings, each on its own side of a plane (Hastie and Tibshirani, 1996).

Where an alarm's file names ``label_subclasses``, W, Wn and b have further columns after those: the **label group**, a second head on the
same vectors, each group with a softmax of its own.  With a and l = P(threat) of the columns before (the **alarm group**) and of the label
group, and the cut t = ``label_below``, P(label) is the alarm group's where a >= t and the label group's below; there it is mixed with
the alarm group's as far as it must be for its P(threat) to stay below t.  So the label group decides labels at even odds, and no alarm.

Behind both there may be ``gates`` columns more: where they have more of the softmax together than ``gate_most`` times the threats of the
alarm group, a is 0 (and the label group answers, below t).  Each is a threat's column plus a plane on g, so what they have in relation to
the threat is a matter of n-grams alone: a screen can skip what gates take away, and lose nothing.

The OOD detector was trained to tell this specialist's kind of string from prose, binary data and other kinds of
strings, so that a foreign string gets a low probability instead of a confident label.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edge_demist.errors import BundleError, UnknownTaskError
from edge_demist.format import bounds, safetensors
from edge_demist.format.adapter import LORA_TARGETS, Adapter
from edge_demist.format.bundle import Bundle, check_finite, check_weights
from edge_demist.format.facts import MAX_LABELS, Facts, check_owner, number, read_facts, strings
from edge_demist.format.manifest import NgramConfig, section
from edge_demist.format.ngram_table import NgramTable, table_of
from edge_demist.format.screen import PREFIX, read_net
from edge_demist.native import abi

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_RANK = 256
BELOW, LEAST_STEP, LEAST_MASS = 1.0 - 1e-6, 1e-30, 1e-30
"""How far below the cut P(threat) of the label group stays, more than float32 rounds; the least difference and the least mass that
are divided by."""
MOST_GATE = 44.0
"""A gate that lies further above the alarm group is cut, as the kernels cut the group."""
Floats: TypeAlias = "NDArray[np.float32]"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Specialist(Facts):
    """One task's adapter and head, with its facts."""

    temperature: float
    adapter: Adapter
    weight: Floats
    ngram_weight: Floats | None
    bias: Floats
    domain_weight: Floats | None
    domain_ngram_weight: Floats | None
    domain_bias: float
    ngrams: NgramTable | None = None
    subclasses: tuple[int, ...] = ()
    """The label of each subclass, in the order of the labels; empty where each label is one."""
    label_subclasses: tuple[int, ...] = ()
    """The label of each column of the label group, in the order of the labels; empty where there is no such group."""
    label_below: float = 1.0
    """Alarm score of the alarm group below which the label group answers."""
    gates: int = 0
    """Columns at the end that take an alarm away."""
    gate_most: float = 1.0
    """So many times what threats have in the alarm group may gates have together, for an alarm to stand."""

    def __post_init__(self) -> None:
        """Check what later code relies on."""
        super().__post_init__()
        where = f"specialist {self.task!r}"
        if self.screen is not None and not self.has_first_score:
            raise BundleError(f"{where}: only an alarm that reads n-grams and has a label that is none can have a screen")
        net = self.screen.net if self.screen is not None else None
        if net is not None and self.ngram_weight is not None and net.dim != len(self.ngram_weight):
            raise BundleError(f"{where}: its screen's net reads {net.dim} numbers, its n-gram vector has {len(self.ngram_weight)}")
        groups = {"subclasses": self.owners, "label_subclasses": self.label_subclasses}
        for name, owners in groups.items():
            if (owners or name == "subclasses") and (list(owners) != sorted(owners) or set(owners) != set(range(len(self.labels)))):
                raise BundleError(f"{where}: {name} must be the labels' numbers in order, each of them")
        if sum(map(len, groups.values())) + self.gates != len(self.bias):
            raise BundleError(f"{where}: subclasses, label_subclasses and gates must be {len(self.bias)} in all, a column each")
        if self.gates and (not self.label_subclasses or not self.gate_most > 0.0):
            raise BundleError(f"{where}: gates leave the answer to label_subclasses, gate_most is positive")
        if self.label_subclasses and (self.kind != "alarm" or len(self.positive) == len(self.labels) or not 0.0 < self.label_below < 1.0):
            raise BundleError(f"{where}: label_subclasses are for alarms with a label that is none, label_below lies between 0 and 1")
        if not 0.01 <= self.temperature <= 100.0:
            raise BundleError(f"{where}: temperature {self.temperature} is out of range")

    @functools.cached_property
    def rows(self) -> tuple[Floats, Floats, int]:
        """The head as the kernels read it: float32 [subclasses + 1, H + dim], float32 [subclasses + 1], dim.

        A row a subclass, divided by the temperature, and the domain as one more row; ``dim`` is 0 where no n-grams are taken.
        """
        count, hidden = len(self.bias), len(self.weight)
        parts = (self.ngram_weight, self.domain_ngram_weight)
        dim = next((len(part) for part in parts if part is not None), 0)
        weight, bias = np.zeros((count + 1, hidden + dim), np.float32), np.zeros(count + 1, np.float32)
        temperature = np.float32(self.temperature)
        with np.errstate(over="ignore"):  # what overflows is refused when the specialist is read
            weight[:count, :hidden], bias[:count] = (self.weight / temperature).T, self.bias / temperature
            if self.ngram_weight is not None:
                weight[:count, hidden:] = (self.ngram_weight / temperature).T
        if self.domain_weight is not None:
            weight[count, :hidden], bias[count] = self.domain_weight, self.domain_bias
        if self.domain_ngram_weight is not None:
            weight[count, hidden:] = self.domain_ngram_weight
        return weight, bias, dim

    @property
    def has_first_score(self) -> bool:
        """Whether n-grams alone give a first score (:mod:`edge_demist.format.screen`)."""
        return self.kind == "alarm" and self.ngram_weight is not None and len(set(self.positive_labels)) < len(self.labels)

    @property
    def owners(self) -> tuple[int, ...]:
        """The label of each column that decides alarms."""
        return self.subclasses or tuple(range(len(self.labels)))

    @functools.cached_property
    def _first_columns(self) -> list[int]:
        """The first column of each label, in either group."""
        groups = (self.owners, self.label_subclasses) if self.label_subclasses else (self.owners,)
        labels, skipped = range(len(self.labels)), (0, len(self.owners))
        firsts = [begin + owners.index(label) for begin, owners in zip(skipped, groups, strict=False) for label in labels]
        return [*firsts, *[len(self.bias) - self.gates][: self.gates]]

    def by_label(self, scores: Floats) -> Floats:
        """P(label) float32 [n, labels] from those of columns [n, columns]; each row is worked on alone, so bits do not depend on n."""
        if not self.subclasses and not self.label_subclasses:
            return scores
        added: Floats = np.add.reduceat(scores, self._first_columns, axis=1)
        if len(added) == 1 and self.label_subclasses:
            added = np.array([self._of_groups(added[0].tolist(), min, max)], np.float32)
        elif self.label_subclasses:
            columns = list(added.T.astype(np.float64))
            added = np.stack(self._of_groups(columns, np.minimum, np.maximum), axis=1, dtype=np.float32, casting="same_kind")
        return np.minimum(added, np.float32(1), out=added)  # float32 may add up to more

    def _of_groups(self, added: list[Any], smaller: Callable[[Any, Any], Any], larger: Callable[[Any, Any], Any]) -> list[Any]:
        """P(label) [labels] from what labels have in the alarm group and in the label group [2 labels], and what gates have [0 or 1].

        Each a float, or float64 [n]: one string takes a fifth of the time in floats, with the same bits, since float64 is what they are.
        """
        count = len(self.labels)
        alarms, labels, gates = added[:count], added[count : 2 * count], added[2 * count :]
        both = [functools.reduce(operator.add, group) for group in (alarms, labels)]
        inside = functools.reduce(operator.add, [*both, *gates])
        if gates:
            threats = functools.reduce(operator.add, [alarms[i] for i in self.positive])
            stands = smaller(larger((self.gate_most * threats - gates[0]) / LEAST_MASS, 0.0), 1.0)  # 1, or 0 behind a gate
            alarms = [p * stands if i in self.positive else p for i, p in enumerate(alarms)]
            both[0] = larger(functools.reduce(operator.add, alarms), LEAST_MASS)  # all may have been the threats'
        a, b = (
            functools.reduce(operator.add, [g[i] for i in self.positive]) / total for g, total in zip((alarms, labels), both, strict=True)
        )
        # 0 from the cut on; below 1 where the label group alone would reach it
        share = smaller(larger((self.label_below * BELOW - a) / larger(b - a, LEAST_STEP), 0.0), 1.0)
        of_labels, of_alarms = share * inside / both[1], (1.0 - share) * inside / both[0]
        return [p * of_alarms + q * of_labels for p, q in zip(alarms, labels, strict=True)]

    def probabilities(self, pooled: Floats, ngrams: Floats | None) -> Floats:
        """P(label), float32 [n, labels], from pooled float32 [n, H] and n-gram vectors float32 [n, dim].

        The softmax of the logits over the temperature, times P(in distribution) where the specialist has an OOD detector. The native
        engine computes the same in ``kernels.head``.
        """
        weight, bias, dim = self.rows
        logits = pooled @ weight[:, : len(self.weight)].T
        if dim and ngrams is not None:
            logits += ngrams @ weight[:, len(self.weight) :].T
        logits += bias
        scores, domain = logits[:, :-1], logits[:, -1:]
        first, gates = len(self.owners), len(self.bias) - self.gates
        top = scores[:, :first].max(axis=1, keepdims=True)
        scores[:, gates:] = np.minimum(scores[:, gates:] - top, MOST_GATE)  # gates are compared with the alarm group
        scores[:, :first] -= top
        of_labels = scores[:, first:gates]  # how this group compares does not matter
        np.subtract(of_labels, of_labels.max(axis=1, keepdims=True, initial=-np.inf), out=of_labels)
        np.exp(scores, out=scores)
        total = scores.sum(axis=1, keepdims=True)
        if self.domain_weight is not None:
            total *= 1.0 + np.exp(-np.clip(domain, -30.0, 30.0))
        scores /= total
        return self.by_label(scores)


def _adapter(bundle: Bundle, file: str, task: str, tensors: Mapping[str, safetensors.Tensor]) -> Adapter:
    """Collect and check the LoRA pairs of a specialist file."""
    arch = bundle.architecture
    h, f = arch.hidden_size, arch.intermediate_size
    sizes = {"q": (h, h), "k": (h, h), "v": (h, h), "attn_out": (h, h), "ffn_up": (h, f), "ffn_down": (f, h)}
    layers = {}
    for name in [n for n in tensors if n.startswith("lora.") and n.endswith(".A")]:
        parts = name.split(".")
        if len(parts) != 4 or not parts[1].isascii() or not parts[1].isdigit() or parts[2] not in LORA_TARGETS:
            raise BundleError(f"{file}: unexpected tensor {name!r}")
        layer, target = int(parts[1]), parts[2]
        if layer >= arch.num_layers:
            raise BundleError(f"{file}: {name} is for layer {layer}, the base has {arch.num_layers}")
        a, b = tensors[name], tensors.get(name[:-1] + "B")
        k, n = sizes[target]
        rank = a.shape[1] if a.ndim == 2 else 0
        if b is None or not 1 <= rank <= MAX_RANK or a.shape != (k, rank) or b.shape != (rank, n):
            raise BundleError(f"{file}: {name[:-2]}: A and B must be [{k}, r] and [r, {n}] with 1 ≤ r ≤ {MAX_RANK}")
        layers[layer, target] = (_float32(a), _float32(b))
    for layer in range(arch.num_layers):
        for group in (("q", "k", "v"), ("attn_out",), ("ffn_up",), ("ffn_down",)):
            total = sum(layers[layer, target][0].shape[1] for target in group if (layer, target) in layers)
            if -(-total // 4) * 4 > abi.MAX_TOTAL_RANK:
                raise BundleError(f"{file}: lora.{layer}: {' + '.join(group)} have rank {total} together, over {abi.MAX_TOTAL_RANK}")
    return Adapter(name=task, layers=layers)


def _own_table(file: str, metadata: Mapping[str, str], tensors: Mapping[str, safetensors.Tensor]) -> NgramTable | None:
    """The file's own n-gram table; None if its metadata names none."""
    if "ngrams" not in metadata:
        return None
    try:
        found = json.loads(metadata["ngrams"])
    except (ValueError, RecursionError):
        raise BundleError(f"{file}: ngrams must be a JSON object") from None
    try:
        config: NgramConfig = section({"ngrams": found}, "ngrams", NgramConfig)
    except BundleError as error:
        raise BundleError(f"{file}: {str(error).removeprefix('manifest: ')}") from None
    return table_of(config, tensors, f"{file}: ")


def _subclasses(file: str, metadata: Mapping[str, str], name: str) -> tuple[int, ...]:
    """The label of each column of a group of the head; empty if the metadata names none."""
    try:
        found = json.loads(metadata.get(name, "[]"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) > MAX_LABELS or any(type(n) is not int for n in found):
        raise BundleError(f"{file}: {name} must be a JSON list of at most {MAX_LABELS} numbers of labels")
    return tuple(found)


def _float32(tensor: safetensors.Tensor) -> Floats:
    return np.ascontiguousarray(tensor, dtype=np.float32)


def load_specialist(bundle: Bundle, task: str) -> Specialist:
    """Read one specialist of a verified bundle.

    Raises:
        UnknownTaskError: the bundle has no such task.
        BundleError: the file is malformed or made for another base.
    """
    if task not in bundle.tasks:
        raise UnknownTaskError(task, bundle.tasks)
    return _specialist(bundle, f"{task}.safetensors", task, *bundle.read(f"specialists/{task}.safetensors", copy=True))


def read_specialist(bundle: Bundle, path: Path | str, task: str) -> Specialist:
    """Parse and check one specialist file, of any place, against the bundle's base."""
    return _specialist(bundle, os.path.basename(path), task, *safetensors.read(path, copy=True))


def _specialist(bundle: Bundle, file: str, task: str, metadata: Mapping[str, str], tensors: Mapping[str, safetensors.Tensor]) -> Specialist:
    check_owner(bundle, file, task, metadata)
    own = _own_table(file, metadata, tensors)
    largest: dict[str, float] = {}
    for name, tensor in tensors.items():
        if own is not None and name == "ngrams.weight":
            continue
        if not name.startswith(("lora.", "head.", PREFIX)) and (own is None or name != "ngrams.scale"):
            raise BundleError(f"{file}: unexpected tensor {name!r}")
        if tensor.dtype.kind != "f":
            raise BundleError(f"{file}: {name} must hold floats")
        largest[name] = check_finite(file, name, tensor)
    subclasses, label_subclasses = (_subclasses(file, metadata, name) for name in ("subclasses", "label_subclasses"))
    h, c = bundle.architecture.hidden_size, len(subclasses) or len(strings(f"{file}: labels", metadata.get("labels", "")))
    gates = int(number(f"{file}: gates", metadata.get("gates", "0"), int, 0, MAX_LABELS))
    c += len(label_subclasses) + gates
    config = own.config if own else bundle.ngrams
    dim = config.dim if config else 0
    expected = {
        "head.weight": (h, c),
        "head.bias": (c,),
        "head.ngram_weight": (dim, c),
        "head.domain_weight": (h,),
        "head.domain_bias": (1,),
        "head.domain_ngram_weight": (dim,),
    }
    head: dict[str, Floats] = {}
    for name, tensor in tensors.items():
        if name.startswith("head."):
            if expected.get(name) != tensor.shape:
                raise BundleError(f"{file}: {name} has shape {list(tensor.shape)}, expected {list(expected.get(name, ()))}")
            head[name[5:]] = _float32(tensor)
    if not {"weight", "bias"} <= set(head) or ("domain_weight" in head) != ("domain_bias" in head):
        raise BundleError(f"{file}: head.weight and head.bias are needed, domain weight and bias only together")
    made = Specialist(
        **read_facts(bundle, file, task, metadata, read_net(file, tensors)),
        temperature=number(f"{file}: temperature", metadata.get("temperature", "1.0"), float, 0.01, 100.0),
        adapter=_adapter(bundle, file, task, tensors),
        weight=head["weight"],
        ngram_weight=head.get("ngram_weight"),
        bias=head["bias"],
        domain_weight=head.get("domain_weight"),
        domain_ngram_weight=head.get("domain_ngram_weight"),
        domain_bias=float(head["domain_bias"][0]) if "domain_bias" in head else 0.0,
        ngrams=own,
        subclasses=subclasses,
        label_subclasses=label_subclasses,
        label_below=number(f"{file}: label_below", metadata.get("label_below", "1.0"), float, 0.0, 1.0),
        gates=gates,
        gate_most=number(f"{file}: gate_most", metadata.get("gate_most", "1.0"), float, 0.0, 1e30),
    )
    _check_bounds(bundle, made, largest)
    return made


def _check_bounds(bundle: Bundle, specialist: Specialist, largest: Mapping[str, float]) -> None:
    """Refuse a specialist whose numbers could overflow for some string; ``largest``: magnitude of each of its tensors."""
    arch = bundle.architecture
    base = bundle.magnitudes or check_weights(bundle.tensors, arch, bundle.ngrams)
    gains = {
        (i, t): (largest[f"lora.{i}.{t}.A"], b.shape[0] * largest[f"lora.{i}.{t}.B"])
        for (i, t), (_, b) in specialist.adapter.layers.items()
    }
    try:
        vector = bounds.largest_vector(arch, base, gains)
    except BundleError as error:
        raise BundleError(f"specialist {specialist.task!r}: {error}") from None
    divisor = min(specialist.temperature, 1.0)
    weight, grams, bias = (
        max(largest.get(f"head.{d}{n}", 0.0) for d in ("", "domain_")) / divisor for n in ("weight", "ngram_weight", "bias")
    )
    config = specialist.ngrams.config if specialist.ngrams is not None else bundle.ngrams
    scale = largest.get("ngrams.scale", base.get("ngrams.scale", 0.0))
    if config is not None and specialist.screen is not None and specialist.screen.net is not None:
        specialist.screen.net.check_bounds(bounds.largest_ngram(config, scale))
    if not bounds.largest_logit(arch.hidden_size * vector, weight, config, scale, grams) + bias < bounds.LARGEST:
        raise BundleError(f"specialist {specialist.task!r}: the numbers of its head are so large that its scores would overflow")
