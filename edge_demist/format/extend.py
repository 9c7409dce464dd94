"""A bundle with more specialists, made without the checkpoint it came from.

Base, tokenizer and the specialists already there are copied byte for byte, so that specialists stay bound to the same base; the
graph for ONNX Runtime gets inputs for the new adapters, manifest and card name what was added.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist.errors import InputError
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.signing import MAX_SPECIALIST_BYTES, Policy
from edge_demist.format.specialist import read_specialist
from edge_demist.format.writer import created, describe_files, sha256, whole_folder, write_json
from edge_demist.io import printable

SUFFIX = ".safetensors"
GRAPH = "encoder.onnx"
TASK_NAME = re.compile(r"(?!.*[.][.])[a-z0-9][a-z0-9._-]{0,63}")
FUSED_SITES = {"q": "qkv", "k": "qkv", "v": "qkv"}
Site = tuple[int, str]
Read = Callable[[Bundle, Path], tuple[Mapping[str, NDArray[np.generic]], Mapping[str, str]]]
"""Turns a folder of a toolchain (PEFT) into tensors and metadata of a specialist's file."""
Draw = Callable[[Bundle, Iterable[Site]], bytes]
"""Makes a graph for ONNX Runtime with inputs for adapters at (layer, target) pairs."""


def add_specialists(
    bundle: Bundle,
    sources: Sequence[Path],
    out: Path,
    *,
    version: int | None = None,
    name: str | None = None,
    replace: bool = False,
    overwrite: bool = False,
    policy: Policy | None = None,
    card: str | None = None,
    read_folder: Read | None = None,
    draw_graph: Draw | None = None,
) -> str:
    """Write ``bundle`` with the specialists of ``sources`` to the folder ``out`` and return the new bundle's id.

    Args:
        bundle: what to start from.
        sources: ``<task>.safetensors`` files made for the same base, or folders of such; with ``read_folder`` also folders with a
            ``specialist.json``, and folders of such folders.
        out: the new bundle; written whole or not at all.
        version: the new bundle's number; None for the old one plus one.
        name: the new bundle's name; None for the old one.
        replace: allow tasks that the bundle has.
        overwrite: replace an existing bundle at ``out``.
        policy: what is demanded of files that come without a bundle.
        card: text of the new bundle's card; None for the old one and a list of what was added.
        read_folder: reads folders with a ``specialist.json``.
        draw_graph: makes the graph for ONNX Runtime. Without it the old graph stays if it has inputs for all adapters; if not, the new
            bundle is without a graph, and that is said on stderr.

    Returns:
        The SHA-256 of ``manifest.json``, in hexadecimal.

    Raises:
        BundleError: a file is malformed or made for another base.
        SignatureError: a file is not signed as ``policy`` demands.
        InputError: ``out`` exists, a task is given twice or is in the bundle, the version goes back.
    """
    number = bundle.version + 1 if version is None else version
    if number < bundle.version:
        raise InputError(f"version {number} is below the {bundle.version} of the bundle; sensors would refuse it")
    if out.resolve() == bundle.path.resolve():
        raise InputError(f"{out}: is the bundle to start from; choose another folder")
    with tempfile.TemporaryDirectory() as place:
        added = _collect(bundle, sources, Path(place), policy or Policy(), read_folder)
        taken = sorted(set(added) & set(bundle.tasks))
        if taken and not replace:
            raise InputError(f"the bundle has {', '.join(taken)} already; --replace replaces it")
        with whole_folder(out, overwrite) as folder:
            _write(bundle, added, folder, number, bundle.name if name is None else name, card, draw_graph)
    return sha256(out / "manifest.json")


def _collect(bundle: Bundle, sources: Sequence[Path], place: Path, policy: Policy, read: Read | None) -> dict[str, Path]:
    """Bring every source to a checked specialist file in ``place``; returns file by task."""
    found: dict[str, Path] = {}
    for source in _each(sources, folders=read is not None):
        if source.is_dir() and read is not None:
            task, path = source.name, place / f"{source.name}{SUFFIX}"
            tensors, metadata = read(bundle, source)
            safetensors.write(path, tensors, {**metadata, "base_sha256": bundle.base_sha256})
        else:
            task, path = _copied(source, place, policy)
        if task in found:
            raise InputError(f"{source}: task {task} is given twice")
        read_specialist(bundle, path, task)
        found[task] = path
    return found


def _copied(source: Path, place: Path, policy: Policy) -> tuple[str, Path]:
    """A copy of a specialist's file, checked and then used: nobody changes it in between."""
    if source.stat().st_size > MAX_SPECIALIST_BYTES:
        raise InputError(f"{source}: larger than {MAX_SPECIALIST_BYTES} bytes")
    copy = place / "copy" / source.name
    copy.parent.mkdir(exist_ok=True)
    for file in (source, source.with_name(source.name + ".sig")):
        if file.is_file():
            shutil.copyfile(file, copy.with_name(file.name))
    policy.check_specialist(copy)
    task = safetensors.read(copy)[0].get("task", "")
    if not TASK_NAME.fullmatch(task):
        raise InputError(f"{source}: a task's name has 1 to 64 of a-z 0-9 . _ -, not {task[:80]!r}")
    path = place / f"{task}{SUFFIX}"
    copy.rename(path)
    return task, path


def _each(sources: Sequence[Path], *, folders: bool) -> Iterator[Path]:
    for source in sources:
        if source.is_file() or (folders and (source / "specialist.json").is_file()):
            yield source
            continue
        inside = sorted(path.parent for path in source.glob("*/specialist.json")) if folders else []
        parts = () if (source / "specialist.json").is_file() else sorted(source.glob(f"*{SUFFIX}"))
        if not inside and not parts:
            hint = " nor a folder with specialist.json" if folders else "; python -m quantize add reads folders with specialist.json"
            raise InputError(f"{source}: neither a specialist's folder nor a file: no <task>{SUFFIX} in it{hint}")
        yield from [*inside, *parts]


def _graph(bundle: Bundle, sites: Iterable[Site], draw: Draw | None) -> bytes | None:
    """The graph for ONNX Runtime: drawn anew, the old one if it has inputs at all sites, or None."""
    if draw is not None:
        return draw(bundle, sites)
    if GRAPH not in bundle.files:
        return None
    raw = (bundle.path / GRAPH).read_bytes()
    for layer, target in sites:
        if f"lora.{layer}.{FUSED_SITES.get(target, target)}.A".encode() not in raw:
            sys.stderr.write(
                f"edge-demist: {GRAPH} is left out: it has no input for an adapter at layer {layer}, {target}; the native and jit engines "
                "need none, and python -m quantize add makes one\n"
            )
            return None
    return raw


def _write(bundle: Bundle, added: dict[str, Path], folder: Path, version: int, name: str, text: str | None, draw: Draw | None) -> None:
    (folder / "specialists").mkdir()
    files = {f"specialists/{task}{SUFFIX}": path for task, path in added.items()}
    for file in sorted({*bundle.files, *files}):
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files.get(file, bundle.path / file), target)
    tasks = sorted({*bundle.tasks, *added})
    adapters = [read_specialist(bundle, folder / "specialists" / f"{task}{SUFFIX}", task).adapter for task in tasks]
    graph = _graph(bundle, [site for adapter in adapters for site in adapter.layers], draw)
    names = {*bundle.files, *files, "MODEL_CARD.md"} - {GRAPH}
    (folder / GRAPH).unlink(missing_ok=True)
    if graph is not None:
        (folder / GRAPH).write_bytes(graph)
        names.add(GRAPH)
    card = folder / "MODEL_CARD.md"
    if text is None:
        before = card.read_text(encoding="utf-8") if card.is_file() else f"# {name}\n"
        text = f"{before.rstrip()}\n\n{_card(bundle, added)}"
    card.write_text(text, encoding="utf-8")
    manifest = {**bundle.manifest, "name": name, "version": version}
    manifest.pop("created", None)
    if (when := created()) is not None:
        manifest["created"] = when
    manifest["extends"] = {"bundle": bundle.id, "added": {task: sha256(path) for task, path in sorted(added.items())}}
    manifest["files"] = describe_files(folder, sorted(names))
    write_json(folder / "manifest.json", manifest)


def _plain(name: str) -> str:
    """A stranger's name in Markdown: no control characters, no HTML, no links, no headings."""
    return html.escape(re.sub(r"([\\`*_\[\]#|~])", r"\\\1", printable(name)), quote=False)


def _card(bundle: Bundle, added: dict[str, Path]) -> str:
    lines = [f"## Added to bundle {bundle.id[:16]}…", ""]
    for task, path in sorted(added.items()):
        metadata = safetensors.read(path)[0]
        labels, sources = (json.loads(metadata.get(key, "[]")) for key in ("labels", "sources"))
        lines.append(f"- **{task}**: {len(labels)} labels ({', '.join(map(_plain, labels[:20]))}{', …' if len(labels) > 20 else ''})")
        if sources:
            lines.append(f"  from {', '.join(map(_plain, sources))}")
    return "\n".join(lines) + "\n"
