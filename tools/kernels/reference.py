"""Write edge_demist/assets/reference.safetensors: what every kernel level must give, bit for bit.

    python -m tools.kernels.reference              tiny bundle, and the shipped bundle if it is there
    python -m tools.kernels.reference --check      compare with the committed file instead

All levels that run here must agree before anything is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edge_demist
from edge_demist.diagnostics import reference, samples, tiny_model
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.native import library as native

HOSTILE = (
    b"", b" ", b"\0", b"\xff\xfe\xfd", b"\xc3", b"a\xed\xa0\x80b", "schön.example".encode(), "例え.テスト".encode(), b"  two  blanks ",
    b"x" * 300, bytes(range(256)), b"xn--nxasmq6b.example", b"%2e%2e%2f" * 9,
)  # fmt: skip
SHIPPED = Path(edge_demist.__file__).parent / "assets" / "model"
KINDS = ("hostname", "dga", "dns-query", "url", "uri", "cmdline", "user-agent", "filename")


def texts() -> list[bytes]:
    """Shipped samples of every kind, then hostile bytes."""
    return [text.encode() for kind in KINDS for text in samples.shipped(kind)[:: 8 if kind == "hostname" else 16]] + list(HOSTILE)


def agreed(name: str, bundle: Bundle, strings: Sequence[bytes], *, with_adapters: bool) -> dict[str, NDArray[np.generic]]:
    """The result of all levels that run here; they must not differ in one bit."""
    levels = native.available_levels()
    first: dict[str, NDArray[np.generic]] = {}
    for level in levels:
        found = reference.compute(bundle, native.load(level), strings, with_adapters=with_adapters)
        wrong = reference.differences(first, found) if first else []
        if wrong:
            sys.exit(f"{name}: {level} differs from {levels[0]}: {'; '.join(wrong)}")
        first = first or found
    sys.stderr.write(f"{name}: {', '.join(levels)} agree on {len(strings)} strings\n")
    return first


def content() -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
    """Tensors and metadata of the file."""
    strings = texts()
    tensors: dict[str, NDArray[np.generic]] = {
        "texts": np.frombuffer(b"".join(strings), np.uint8),
        "text_offsets": np.cumsum([0, *map(len, strings)]).astype(np.int32),
    }
    for key, value in agreed("tiny", tiny_model.bundle(), strings, with_adapters=True).items():
        tensors[f"tiny.{key}"] = value
    bundle_id = ""
    if (SHIPPED / "manifest.json").is_file():
        shipped = Bundle.load(SHIPPED)
        bundle_id = shipped.id
        part = strings[:: max(1, len(strings) // reference.BUNDLE_STRINGS)][: reference.BUNDLE_STRINGS]
        for key, value in agreed("bundle", shipped, part, with_adapters=False).items():
            tensors[f"bundle.{key}"] = value
        tensors["bundle.texts"] = np.array([strings.index(text) for text in part], np.int32)
    return tensors, {"bundle_id": bundle_id}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    tensors, metadata = content()
    if args.check:
        committed = reference.read()
        wrong = reference.differences(committed.tensors, tensors)
        if wrong or committed.bundle_id != metadata["bundle_id"]:
            sys.exit("the committed reference is out of date: " + "; ".join(wrong or ["another bundle"]))
        return
    safetensors.write(reference.PATH, tensors, metadata)


if __name__ == "__main__":
    main()
