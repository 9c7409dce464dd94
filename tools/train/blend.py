"""Blend one task's specialists of two bundles with the same encoder: what one learnt and what the other had not forgotten.

    python -m tools.train.blend --task hostname-threat --bundles OLD NEW --share 0.6 --out hostname-threat.safetensors

The weights are interpolated, as Wortsman et al. (2022) do to keep a fine-tuned model's old skills: adapters side by side (ranks add up;
``tools.train.specialist --warm --epochs 0`` cuts them), heads by their sum. Thresholds are those of NEW: calibrate again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle


def main(argv: Sequence[str] | None = None) -> int:
    """Write the blended specialist."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.blend", description=__doc__, formatter_class=raw)
    p.add_argument("--task", required=True)
    p.add_argument("--bundles", type=Path, nargs=2, required=True, metavar=("OLD", "NEW"))
    p.add_argument("--share", type=float, default=0.5, help="of NEW")
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args(argv)
    if not 0 <= args.share <= 1:
        p.error(f"--share is from 0 to 1, not {args.share}")
    files = [Bundle.load(folder).path / "specialists" / f"{args.task}.safetensors" for folder in args.bundles]
    (_, old), (metadata, new) = (safetensors.read(path) for path in files)
    shares = {"old": np.float32(1 - args.share), "new": np.float32(args.share)}
    tensors: dict[str, NDArray[np.float32]] = {}
    for name in sorted({*old, *new}):
        parts = [(shares[which], np.array(found[name], np.float32)) for which, found in (("old", old), ("new", new)) if name in found]
        if name.endswith(".A"):
            tensors[name] = np.concatenate([part for _, part in parts], axis=1)
        elif name.endswith(".B"):
            tensors[name] = np.concatenate([share * part for share, part in parts], axis=0)
        else:
            tensors[name] = np.sum([share * part for share, part in parts], axis=0, dtype=np.float32)
    safetensors.write(args.out, tensors, metadata)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
