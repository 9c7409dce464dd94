"""A bundle with more specialists, made without the checkpoint it came from.

Base, tokenizer and the specialists already there are copied byte for byte, so that specialists stay bound to the same base; the
graph for ONNX Runtime gets inputs for the new adapters, manifest and card name what was added.
"""

import html
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.signing import MAX_SPECIALIST_BYTES, Policy
from edge_demist.format.specialist import read_specialist as read_specialist_file
from edge_demist.io import printable
from quantize.adapters import TASK_NAME, read_specialist
from quantize.bundle_writer import created, describe_files, sha256, whole_folder, write_json
from quantize.errors import QuantizeError
from quantize.graph import build_encoder_graph
from quantize.unpack import architecture_of

SUFFIX = ".safetensors"


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
) -> str:
    """Write ``bundle`` with the specialists of ``sources`` to the folder ``out`` and return the new bundle's id.

    Args:
        bundle: what to start from.
        sources: folders as training writes them (``specialist.json``, ``head.safetensors``, a PEFT adapter), folders of such
            folders, or ``<task>.safetensors`` files made for the same base.
        out: the new bundle; written whole or not at all.
        version: the new bundle's number; None for the old one plus one.
        name: the new bundle's name; None for the old one.
        replace: allow tasks that the bundle has.
        overwrite: replace an existing bundle at ``out``.
        policy: what is demanded of files that come without a bundle.
        card: text of the new bundle's card; None for the old one and a list of what was added.

    Returns:
        The SHA-256 of ``manifest.json``, in hexadecimal.

    Raises:
        CheckpointError: a folder is malformed.
        BundleError: a file is malformed or made for another base.
        SignatureError: a file is not signed as ``policy`` demands.
        QuantizeError: ``out`` exists, a task is given twice or is in the bundle, the version goes back.
    """
    number = bundle.version + 1 if version is None else version
    if number < bundle.version:
        raise QuantizeError(f"version {number} is below the {bundle.version} of the bundle; sensors would refuse it")
    if out.resolve() == bundle.path.resolve():
        raise QuantizeError(f"{out}: is the bundle to start from; choose another folder")
    with tempfile.TemporaryDirectory() as place:
        added = _collect(bundle, sources, Path(place), policy or Policy())
        taken = sorted(set(added) & set(bundle.tasks))
        if taken and not replace:
            raise QuantizeError(f"the bundle has {', '.join(taken)} already; --replace replaces it")
        with whole_folder(out, overwrite) as folder:
            _write(bundle, added, folder, number, bundle.name if name is None else name, card)
    return sha256(out / "manifest.json")


def _collect(bundle: Bundle, sources: Sequence[Path], place: Path, policy: Policy) -> dict[str, Path]:
    """Bring every source to a checked specialist file in ``place``; returns file by task."""
    found: dict[str, Path] = {}
    for source in _each(sources):
        if source.is_dir():
            task = source.name
            specialist = read_specialist(source, architecture_of(bundle), bundle.ngrams.dim if bundle.ngrams else None)
            path = place / f"{task}{SUFFIX}"
            metadata = {**specialist.metadata, "base_sha256": bundle.base_sha256}
            safetensors.write(path, specialist.tensors(), metadata)
        else:
            if source.stat().st_size > MAX_SPECIALIST_BYTES:
                raise QuantizeError(f"{source}: larger than {MAX_SPECIALIST_BYTES} bytes")
            copy = place / "copy" / source.name  # checked and used: nobody changes it in between
            copy.parent.mkdir(exist_ok=True)
            for file in (source, source.with_name(source.name + ".sig")):
                if file.is_file():
                    shutil.copyfile(file, copy.with_name(file.name))
            policy.check_specialist(copy)
            task = safetensors.read(copy)[0].get("task", "")
            if not TASK_NAME.fullmatch(task):
                raise QuantizeError(f"{source}: a task's name has 1 to 64 of a-z 0-9 . _ -, not {task[:80]!r}")
            path = place / f"{task}{SUFFIX}"
            copy.rename(path)
        if task in found:
            raise QuantizeError(f"{source}: task {task} is given twice")
        read_specialist_file(bundle, path, task)
        found[task] = path
    return found


def _each(sources: Sequence[Path]) -> Iterator[Path]:
    for source in sources:
        if source.is_file() or (source / "specialist.json").is_file():
            yield source
            continue
        inside = sorted(path.parent for path in source.glob("*/specialist.json"))
        if not inside:
            raise QuantizeError(f"{source}: neither a specialist's folder (specialist.json), nor a folder of such, nor a file")
        yield from inside


def _write(bundle: Bundle, added: dict[str, Path], folder: Path, version: int, name: str, text: str | None) -> None:
    (folder / "specialists").mkdir()
    files = {f"specialists/{task}{SUFFIX}": path for task, path in added.items()}
    for file in sorted({*bundle.files, *files}):
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files.get(file, bundle.path / file), target)
    tasks = sorted({*bundle.tasks, *added})
    adapters = [read_specialist_file(bundle, folder / "specialists" / f"{task}{SUFFIX}", task).adapter for task in tasks]
    sites = [site for adapter in adapters for site in adapter.layers]
    names = sorted({*bundle.files, *files, "encoder.onnx", "MODEL_CARD.md"})
    (folder / "encoder.onnx").write_bytes(build_encoder_graph(architecture_of(bundle), sites))
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
    manifest["files"] = describe_files(folder, names)
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
