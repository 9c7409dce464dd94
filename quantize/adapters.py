"""PEFT LoRA adapters and the heads beside them, brought to the bundle's ``specialists/<task>.safetensors``.

An input folder ``adapters/<task>/`` holds ``specialist.json`` and ``head.safetensors``; ``adapter_config.json`` with
``adapter_model.safetensors`` as PEFT writes them are optional (a specialist may be a head on the plain base), and so is
``ngrams.safetensors``: an n-gram table of the specialist's own, which its head then reads in place of the shared one.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from edge_demist.normalizers import NORMALIZERS
from quantize.checkpoint import Architecture
from quantize.errors import CheckpointError
from quantize.ngrams import NgramTable, read_ngrams
from quantize.tensors import Tensors, expect, read_json, read_tensors, refuse_pickles

MAX_RANK = 256  # of one linear layer, q, k and v together
MAX_LABELS = 1024
TASK_NAME = re.compile(r"(?!.*[.][.])[a-z0-9][a-z0-9._-]{0,63}")
TARGETS = ("q", "k", "v", "attn_out", "ffn_up", "ffn_down")
KINDS = ("category", "alarm")
HEAD_TENSORS = ("weight", "ngram_weight", "bias", "domain_weight", "domain_ngram_weight", "domain_bias")

Float = NDArray[np.float32]
Site = tuple[int, str]

_MODULES = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "attn_out",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "attention.q_lin": "q",
    "attention.k_lin": "k",
    "attention.v_lin": "v",
    "attention.out_lin": "attn_out",
    "ffn.lin1": "ffn_up",
    "ffn.lin2": "ffn_down",
}
_KEY = re.compile(r"base_model\.model\.(?:\w+\.)*?layer\.(\d+)\.([\w.]+)\.lora_([AB])(?:\.default)?\.weight")


@dataclass(frozen=True)
class Specialist:
    """A task's head tensors and, optionally, its adapter: ``lora[(layer, target)] = (A [K, r], B [r, N])``, scaling in B."""

    task: str
    lora: Mapping[Site, tuple[Float, Float]]
    head: Mapping[str, Float]
    metadata: Mapping[str, str]
    ngrams: NgramTable | None = None

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return the tensors of the specialist's file, in their fixed order."""
        named: dict[str, NDArray[np.generic]] = {}
        for layer, target in sorted(self.lora, key=lambda site: (site[0], TARGETS.index(site[1]))):
            a, b = self.lora[layer, target]
            named[f"lora.{layer}.{target}.A"], named[f"lora.{layer}.{target}.B"] = a, b
        named.update({f"head.{name}": self.head[name] for name in HEAD_TENSORS if name in self.head})
        if self.ngrams:
            named["ngrams.weight"], named["ngrams.scale"] = self.ngrams.matrix.values, self.ngrams.matrix.scale
        return named


def read_specialists(folder: Path, arch: Architecture, ngram_dim: int | None) -> list[Specialist]:
    """Read every ``<task>/`` of ``folder``, sorted by task; an absent folder gives none."""
    if not folder.is_dir():
        return []
    paths = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [read_specialist(path, arch, ngram_dim) for path in paths]


def read_specialist(folder: Path, arch: Architecture, ngram_dim: int | None) -> Specialist:
    """Read one specialist's folder; CheckpointError says which file and why it does not fit the encoder."""
    if not TASK_NAME.fullmatch(folder.name):
        raise CheckpointError(f"{folder}: a task's name has 1 to 64 of a-z 0-9 . _ -, not {folder.name!r}")
    refuse_pickles(folder, "head.safetensors")
    described = read_json(folder / "specialist.json")
    metadata, classes = _describe(described, folder)
    own = read_ngrams(folder / "ngrams.safetensors")
    if own:
        metadata["ngrams"], ngram_dim = _json(own.manifest), own.manifest["dim"]
    head = _head(folder / "head.safetensors", arch.hidden_size, ngram_dim, classes)
    lora = read_lora(folder, arch) if (folder / "adapter_config.json").is_file() else {}
    if not lora and any(folder.glob("adapter_model*")):
        raise CheckpointError(f"{folder}: adapter_model without adapter_config.json")
    return Specialist(folder.name, lora, head, metadata, own)


def read_lora(folder: Path, arch: Architecture) -> dict[Site, tuple[Float, Float]]:
    """Read a PEFT LoRA folder; returns (A float32 [K, r], B float32 [r, N]) a site, alpha/r folded into B, ranks of zeros left out.

    Scaling is alpha/r, or alpha/√r with ``use_rslora`` (Kalajdzievski, 2023), as in PEFT.
    """
    config = read_json(folder / "adapter_config.json")
    _refuse_lora_variants(config, folder)
    refuse_pickles(folder, "adapter_model.safetensors")
    path = folder / "adapter_model.safetensors"
    tensors, _ = read_tensors(path)
    halves: dict[Site, dict[str, Float]] = {}
    for name, tensor in tensors.items():
        site, half = _site(name, path)
        if site[0] >= arch.num_layers:
            raise CheckpointError(f"{path}: {name!r} is for layer {site[0]}, the encoder has {arch.num_layers} layers")
        halves.setdefault(site, {})[half] = tensor
    if not halves:
        raise CheckpointError(f"{path}: no LoRA tensors")
    pairs = {site: _pair(site, halves[site], config, arch, path) for site in sorted(halves)}
    for layer in {site[0] for site in pairs}:
        total = sum(a.shape[1] for (i, target), (a, _) in pairs.items() if i == layer and target in "qkv")
        if total > MAX_RANK:
            raise CheckpointError(f"{path}: layer {layer}: q, k and v have rank {total} together, more than {MAX_RANK}")
    return pairs


def _refuse_lora_variants(config: Mapping[str, object], folder: Path) -> None:
    if config.get("peft_type", "LORA") != "LORA":
        raise CheckpointError(f"{folder}: peft_type {config.get('peft_type')!r} is not supported, only LORA")
    for option in ("use_dora", "use_qalora", "modules_to_save", "layer_replication", "lora_bias", "trainable_token_indices"):
        if config.get(option):
            raise CheckpointError(f"{folder}: {option} is not supported")
    if config.get("bias", "none") != "none":
        raise CheckpointError(f"{folder}: trained biases are not supported (bias must be 'none')")
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        raise CheckpointError(f"{folder}: rank_pattern and alpha_pattern are not supported")


def _site(name: str, path: Path) -> tuple[Site, str]:
    match = _KEY.fullmatch(name)
    if not match or match[2] not in _MODULES:
        raise CheckpointError(f"{path}: {name!r} is not a LoRA tensor of a linear layer of the encoder")
    return (int(match[1]), _MODULES[match[2]]), match[3]


def _pair(site: Site, halves: Mapping[str, Float], config: Mapping[str, object], arch: Architecture, path: Path) -> tuple[Float, Float]:
    if set(halves) != {"A", "B"}:
        raise CheckpointError(f"{path}: layer {site[0]} {site[1]} has only one of lora_A and lora_B")
    inputs, outputs = site_shape(site[1], arch)
    rank = halves["A"].shape[0]
    if not 1 <= rank <= MAX_RANK or config.get("r") != rank:
        raise CheckpointError(f"{path}: rank {rank} of {site} is outside 1…{MAX_RANK} or not r = {config.get('r')!r}")
    named = {"lora_A": halves["A"], "lora_B": halves["B"]}
    a = expect(named, "lora_A", (rank, inputs), f"{path}, layer {site[0]} {site[1]}")
    b = expect(named, "lora_B", (outputs, rank), f"{path}, layer {site[0]} {site[1]}")
    alpha = config.get("lora_alpha", rank)
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise CheckpointError(f"{path}: lora_alpha {alpha!r} is not a number")
    scaling = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    used = np.flatnonzero(a.any(axis=1) & b.any(axis=0))
    used = used if len(used) else np.array([0])  # an adapter without effect keeps its place
    return np.ascontiguousarray(a[used].T), np.ascontiguousarray(b[:, used].T * np.float32(scaling))


def site_shape(target: str, arch: Architecture) -> tuple[int, int]:
    """Return the (inputs, outputs) of the linear layer that ``target`` names."""
    if target == "ffn_up":
        return arch.hidden_size, arch.intermediate_size
    if target == "ffn_down":
        return arch.intermediate_size, arch.hidden_size
    return arch.hidden_size, arch.hidden_size


def _head(path: Path, hidden: int, ngram_dim: int | None, classes: int) -> Tensors:
    """Read and check the head: weight [H, C] and bias [C]; optional n-gram weight, optional OOD detector."""
    tensors, _ = read_tensors(path)
    dim = ngram_dim or 0
    shapes = {
        "weight": (hidden, classes),
        "ngram_weight": (dim, classes),
        "bias": (classes,),
        "domain_weight": (hidden,),
        "domain_ngram_weight": (dim,),
        "domain_bias": (1,),
    }
    unknown = sorted(set(tensors) - set(shapes))
    if unknown:
        raise CheckpointError(f"{path}: unexpected tensors {', '.join(unknown)}")
    if ngram_dim is None and any("ngram" in name for name in tensors):
        raise CheckpointError(f"{path}: has n-gram weights, but the checkpoint has no ngrams.safetensors")
    if ("domain_weight" in tensors) != ("domain_bias" in tensors):
        raise CheckpointError(f"{path}: domain_weight and domain_bias belong together")
    names = [name for name in HEAD_TENSORS if name in tensors or name in ("weight", "bias")]
    return {name: expect(tensors, name, shapes[name], path) for name in names}


def _describe(described: Mapping[str, object], folder: Path) -> tuple[dict[str, str], int]:
    """Check ``specialist.json``; returns the file's metadata (strings) and the number of labels."""
    where = folder / "specialist.json"
    labels = described.get("labels")
    if not isinstance(labels, list) or not 2 <= len(labels) <= MAX_LABELS or not all(isinstance(x, str) and x for x in labels):
        raise CheckpointError(f"{where}: labels must be a list of 2 to {MAX_LABELS} strings")
    if len(set(labels)) != len(labels):
        raise CheckpointError(f"{where}: a label appears twice")
    task = described.get("task", folder.name)
    normalizer = described.get("normalizer", "identity")
    max_tokens = described.get("max_tokens", 128)
    temperature = described.get("temperature", 1.0)
    kind = described.get("kind", "category")
    positive = described.get("positive_labels", [])
    thresholds = described.get("thresholds", {})
    sources = described.get("sources", [])
    owners = described.get("subclasses", list(range(len(labels))))
    problems = {
        f"task is {task!r}, the folder is {folder.name!r}": task != folder.name,
        f"normalizer {normalizer!r} is not one of {', '.join(NORMALIZERS)}": normalizer not in NORMALIZERS,
        f"max_tokens {max_tokens!r} is not an integer of at least 4": type(max_tokens) is not int or max_tokens < 4,
        f"temperature {temperature!r} is not a number in 0.01…100": not _temperature(temperature),
        f"kind {kind!r} is not one of {', '.join(KINDS)}": kind not in KINDS,
        "positive_labels are not a list of labels": not isinstance(positive, list) or not set(map(str, positive)) <= set(labels),
        "an alarm needs positive_labels": kind == "alarm" and not positive,
        "thresholds are not an object of objects": not _tables(thresholds),
        "sources are not a list of strings": not isinstance(sources, list) or not all(isinstance(x, str) for x in sources),
    }
    wrong = [text for text, bad in problems.items() if bad]
    if wrong:
        raise CheckpointError(f"{where}: {'; '.join(wrong)}")
    if not _owners(owners, len(labels)):
        raise CheckpointError(f"{where}: subclasses are not the labels' numbers in order")
    return {
        "task": str(task),
        "labels": _json(labels),
        "normalizer": str(normalizer),
        "max_tokens": str(max_tokens),
        "temperature": repr(float(str(temperature))),
        "kind": str(kind),
        "positive_labels": _json(positive),
        "thresholds": _json(thresholds),
        "sources": _json(sources),
        **({"subclasses": _json(owners)} if len(owners) > len(labels) else {}),
    }, len(owners)


def _temperature(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.01 <= value <= 100


def _owners(value: object, labels: int) -> TypeGuard[list[int]]:
    """Whether these are the labels of subclasses: the number of each label, in order."""
    return isinstance(value, list) and all(type(n) is int for n in value) and value == sorted(value) and {*value} == {*range(labels)}


def _tables(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(table, dict) for table in value.values())


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
