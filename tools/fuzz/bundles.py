"""Mutants of a tiny bundle, with hashes that fit: each is refused with a ``BundleError``, or all its answers are probabilities."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge_demist.errors import BundleError, EdgeDemistError
from edge_demist.explore.places import FILE as ATLAS
from edge_demist.format.bundle import default_folder
from tools.fuzz import miniature
from tools.fuzz.values import nasty, spoil, spoil_bytes

Files = dict[str, bytes]
FILE_KINDS = ("weights", "tokenizer", "specialists/", "specialists/", "general", "atlas")
EXTREMES = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 1e10, 1e-38, 1e-45, 0.0, -0.0)
TEXTS = ("example.com", "a" * 3000, "\ud800\x00\u00e9" * 20, "x.y/" * 40, "", "www.%27 or 1=1", "q")
METADATA = {
    "thresholds": ('{"fpr":{"0.001":NaN}}', '{"fpr":{"nan":0.5}}', "{}", '{"accuracy":{"0.9":1e999}}', '{"fpr":{"0.001":-5}}'),
    "labels": ('["\\u001b[31mx","<script>"]', '["a\\nb","c"]', '["a","a"]', json.dumps([str(n) for n in range(1025)])),
    "ngrams": ('{"buckets":256,"dim":16,"min_n":0,"max_n":9,"max_bytes":1}', '{"buckets":16777216,"dim":1024,"min_n":1,"max_n":8}'),
    "max_tokens": ("0", "4", "5", "-1", "64", "1e3", "9" * 50),
    "temperature": ("0", "nan", "1e-9", "100", "0.01"),
    "task": ("..", "dga", "a..b", ""),
    "kind": ("alarm", "category", "x"),
    "positive_labels": ("[]", '["dga"]', "null"),
    "normalizer": ("identity", "registrant", "os.system"),
    "base_sha256": ("0" * 64,),
}  # fmt: skip


def base(folder: Path) -> tuple[Files, dict]:
    """The files that mutants come from: the miniature's, or with ``FUZZ_BUNDLE=shipped`` those of the shipped bundle."""
    if os.environ.get("FUZZ_BUNDLE") == "shipped":
        folder = Path(default_folder())
    else:
        shutil.rmtree(folder, ignore_errors=True)
        miniature.write(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    return {name: (folder / name).read_bytes() for name in manifest["files"]}, manifest


def split(raw: bytes) -> tuple[dict, bytes]:
    """Header and data of a safetensors file."""
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def join(header: dict, data: bytes) -> bytes:
    """A safetensors file."""
    raw = json.dumps(header, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return (len(raw) + -(8 + len(raw)) % 64).to_bytes(8, "little") + raw + b" " * (-(8 + len(raw)) % 64) + data


def some(files: Files, chance: random.Random, beginning: str = "") -> str:
    """The name of a file; every kind of file is as likely."""
    kinds = [beginning] if beginning else [kind for kind in FILE_KINDS if any(name.startswith(kind) for name in files)]
    chosen = chance.choice(kinds)
    return chance.choice([name for name in files if name.startswith(chosen)])


# ---- kinds of mutants -----------------------------------------------------------------------------------------


def manifest_values(files: Files, manifest: dict, chance: random.Random) -> None:
    """Hostile values in the manifest."""
    spoil(manifest, chance)


def headers(files: Files, manifest: dict, chance: random.Random) -> None:
    """Hostile values in a header."""
    name = some(files, chance)
    header, data = split(files[name])
    metadata = header.pop("__metadata__", None)
    spoil(header, chance)
    files[name] = join(header | ({"__metadata__": metadata} if metadata else {}), data)


def raw_bytes(files: Files, manifest: dict, chance: random.Random) -> None:
    """A file with bytes changed."""
    name = some(files, chance)
    files[name] = spoil_bytes(files[name], chance)


def metadata(files: Files, manifest: dict, chance: random.Random) -> None:
    """Hostile metadata of a specialist."""
    name = some(files, chance, "specialists/")
    header, data = split(files[name])
    for _ in range(chance.choice((1, 1, 2))):
        key = chance.choice(sorted(METADATA))
        value = chance.choice(METADATA[key]) if chance.random() < 0.7 else nasty(chance)
        header["__metadata__"][key] = value if isinstance(value, str) and chance.random() < 0.95 else json.dumps(value)
    files[name] = join(header, data)


def numbers(files: Files, manifest: dict, chance: random.Random) -> None:
    """Extreme numbers in weights."""
    name = some(files, chance, chance.choice(("weights", "specialists/", "general")))
    header, data = split(files[name])
    raw = bytearray(data)
    for _ in range(chance.choice((1, 2, 5))):
        facts = header[chance.choice([key for key in header if key != "__metadata__"])]
        begin, end = facts["data_offsets"]
        kind = {"F32": "<f4", "I8": "i1", "I32": "<i4"}[facts["dtype"]]
        values = np.frombuffer(bytes(raw[begin:end]), kind).copy()
        whole = chance.random() < 0.5
        value = chance.choice(EXTREMES) if kind == "<f4" else chance.choice((np.iinfo(kind).min, np.iinfo(kind).max, 0))
        values[:] = value if whole or not len(values) else values
        if len(values):
            values[chance.randrange(len(values))] = value
        raw[begin:end] = values.tobytes()
    files[name] = join(header, bytes(raw))


def tables(files: Files, manifest: dict, chance: random.Random) -> None:
    """A trie that leads anywhere."""
    header, data = split(files["tokenizer.safetensors"])
    raw = bytearray(data)
    name = chance.choice(("trie.base", "trie.check", "trie.value", "scores"))
    begin, end = header[name]["data_offsets"]
    size = (end - begin) // 4
    if name == "scores":
        values = np.full(size, chance.choice(EXTREMES), "<f4")
    else:
        low, high = chance.choice(
            ((-3, size - 256), (-1, 100), (-9, manifest["architecture"]["vocab_size"]), (0, 1), (-(2**31), 2**31 - 1))
        )
        values = np.random.default_rng(chance.randrange(1 << 30)).integers(low, high, size, dtype=np.int64).astype("<i4")
        if name == "trie.base" and chance.random() < 0.6:
            values = np.minimum(values, size - 256)
            values[0] = max(0, int(values[0]))
    raw[begin:end] = values.tobytes()
    if chance.random() < 0.2:
        header["__metadata__"]["unk_score"] = chance.choice(("nan", "inf", "1e999", "", "x", "-1e38"))
    files["tokenizer.safetensors"] = join(header, bytes(raw))


def special_ids(files: Files, manifest: dict, chance: random.Random) -> None:
    """Special ids against limits."""
    for name in ("prefix_ids", "suffix_ids"):
        manifest["tokenizer"][name] = [chance.randrange(200) for _ in range(chance.randint(0, 4))]
    manifest["limits"] = {"max_bytes": chance.choice((16, 17, 64, 8192, 1 << 20)), "max_tokens": chance.choice((8, 9, 16, 64))}
    name = some(files, chance, "specialists/")
    header, data = split(files[name])
    header["__metadata__"]["max_tokens"] = str(chance.choice((4, 5, 6, 7, 8, 9, 10)))
    files[name] = join(header, data)


def ranks(files: Files, manifest: dict, chance: random.Random) -> None:
    """Adapters of any rank."""
    name = some(files, chance, "specialists/")
    header, data = split(files[name])
    kept = {key: value for key, value in header.items() if not key.startswith("lora.")}
    tensors = {key: np.frombuffer(data[slice(*facts["data_offsets"])], {"F32": "<f4", "I8": "i1"}[facts["dtype"]]).reshape(facts["shape"])
               for key, facts in kept.items() if key != "__metadata__"}  # fmt: skip
    made = np.random.default_rng(chance.randrange(1 << 30))
    arch = manifest["architecture"]
    hidden, wide = arch["hidden_size"], arch["intermediate_size"]
    for layer in range(arch["num_layers"] + (chance.random() < 0.1)):
        for target in ("q", "k", "v", "attn_out", "ffn_up", "ffn_down"):
            if chance.random() < 0.5:
                rank = chance.choice((1, 2, 3, 4, 5, 16, 85, 86, 128, 255, 256, 257))
                k, n = (hidden, wide) if target == "ffn_up" else (wide, hidden) if target == "ffn_down" else (hidden, hidden)
                tensors[f"lora.{layer}.{target}.A"] = made.standard_normal((k, rank)).astype("<f4")
                tensors[f"lora.{layer}.{target}.B"] = made.standard_normal((rank, n)).astype("<f4")
    files[name] = packed(tensors, kept.get("__metadata__", {}))


def shapes(files: Files, manifest: dict, chance: random.Random) -> None:
    """A tensor of another shape or kind."""
    name = some(files, chance)
    header, data = split(files[name])
    kinds = {"F32": "<f4", "I8": "i1", "I32": "<i4", "U8": "u1"}
    tensors = {key: np.frombuffer(data[slice(*facts["data_offsets"])], kinds[facts["dtype"]]).reshape(facts["shape"])
               for key, facts in header.items() if key != "__metadata__"}  # fmt: skip
    key = chance.choice(sorted(tensors))
    tensor = tensors[key]
    changes: list[Callable[[], np.ndarray]] = [
        lambda: tensor.T,
        lambda: tensor.reshape(-1),
        lambda: tensor[:-1],
        lambda: np.concatenate([tensor, tensor]),
        lambda: tensor.astype(chance.choice(("i1", "<i4", "<f4"))),
        lambda: tensor[None],
        lambda: np.zeros((0, *tensor.shape[1:]), tensor.dtype),
    ]
    with np.errstate(all="ignore"):
        tensors[key] = chance.choice(changes)()
    if chance.random() < 0.2:
        del tensors[key]
    files[name] = packed(tensors, header.get("__metadata__", {}))


def packed(tensors: dict[str, np.ndarray], about: dict) -> bytes:
    """A safetensors file of these tensors."""
    header: dict[str, object] = {"__metadata__": about} if about else {}
    at, parts = 0, []
    for key, tensor in tensors.items():
        array = np.ascontiguousarray(tensor)
        kind = {"float32": "F32", "int8": "I8", "int32": "I32", "uint8": "U8"}[str(array.dtype)]
        header[key] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
        parts.append(array.tobytes())
    return join(header, b"".join(parts))


KINDS = (manifest_values, headers, raw_bytes, metadata, numbers, tables, special_ids, ranks, shapes)


def digest(raw: bytes) -> dict[str, object]:
    """The manifest's entry of a file."""
    return {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}


class Target:
    """A case is one mutant, loaded, and used as far as the mutation can reach."""

    weight = 1

    def __init__(self, folder: Path) -> None:
        """Make the bundle that the mutants come from."""
        os.environ["EDGE_DEMIST_CACHE"] = "off"
        self.folder, self.whole = folder / "mutant", folder / "whole"
        self.files, self.manifest = base(folder / "base")
        self.entries = {name: digest(raw) for name, raw in self.files.items()}
        for name, raw in self.files.items():
            (self.whole / name).parent.mkdir(parents=True, exist_ok=True)
            (self.whole / name).write_bytes(raw)

    def write(self, seed: int) -> tuple[set[str], random.Random]:
        """Write the mutant, files without a change as links; returns the files with one."""
        chance, files, manifest = random.Random(seed), dict(self.files), json.loads(json.dumps(self.manifest))
        chance.choice(KINDS)(files, manifest, chance)
        if files["weights.safetensors"] is not self.files["weights.safetensors"] and chance.random() < 0.9:
            self._bind(files)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "specialists").mkdir(parents=True)
        changed = {name for name, raw in files.items() if raw is not self.files[name]}
        for name, raw in files.items():
            if name in changed:
                (self.folder / name).write_bytes(raw)
            else:
                os.link(self.whole / name, self.folder / name)
        listed = manifest.get("files")
        for name in listed if isinstance(listed, dict) else ():
            if name in files and isinstance(listed[name], dict) and set(listed[name]) <= {"sha256", "bytes"}:
                listed[name] = digest(files[name]) if name in changed else self.entries[name]
        about = json.dumps(manifest).encode("utf-8", "surrogatepass")
        (self.folder / "manifest.json").write_bytes(spoil_bytes(about, chance) if chance.random() < 0.03 else about)
        return changed, chance

    @staticmethod
    def _bind(files: Files) -> None:
        """Specialists and the projection follow changed weights."""
        bound = hashlib.sha256(files["weights.safetensors"]).hexdigest()
        for name in [name for name in files if name.startswith(("specialists/", "general"))]:
            try:
                header, data = split(files[name])
                if header["__metadata__"]["base_sha256"] not in (bound, "0" * 64):
                    header["__metadata__"]["base_sha256"] = bound
                    files[name] = join(header, data)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue

    def run(self, seed: int) -> str:
        """Load and use it: the specialists whose files were changed, else a few, and what all share."""
        from edge_demist import EdgeDemist

        changed, chance = self.write(seed)
        try:
            model = EdgeDemist.load(self.folder)
        except BundleError:
            return "refused"
        own = [task for task in model.tasks if f"specialists/{task}.safetensors" in changed]
        asked = own[:3] or chance.sample(model.tasks, min(3, len(model.tasks)))
        refused = 0
        for task in asked:
            try:
                labels = model.specialist(task).labels
            except BundleError:
                refused += 1
                continue
            for texts, screen in (([TEXTS[0]], False), ([TEXTS[1]], False), (list(TEXTS), chance.random() < 0.5)):
                for answer in model.classify(texts, task=task, top_k=0, screen=screen):
                    if answer.error is None and not (0.0 <= answer.score <= 1.0 and answer.label in (*labels, "unknown")):
                        return "BAD no probability"
            model.encode([TEXTS[0]], task=task)
        vectors = model.encode(["a.b", "c" * 700, *filter(None, TEXTS)])
        if not np.isfinite(vectors).all():
            return "BAD vector not finite"
        with contextlib.suppress(EdgeDemistError):
            model.tokenizer.pieces(model.tokenizer.encode(b"www.example.com \xff"))
        if ATLAS in changed:
            with contextlib.suppress(BundleError):
                if not ((places := model.places(vectors)) >= 0).all() or not (places <= 1).all():
                    return "BAD place outside of the map"
        return f"used, {refused} of {len(asked)} specialists refused" if refused else "used"
