"""The bundle of a release: specialists on a base, the model card, and every source that any part of it has seen.

    python -m tools.train.assemble --base BUNDLE --specialists FILES/*.safetensors ADAPTERS/cmdline --data DATA --version 10 --out OUT

``sources`` of the manifest names the sources of the base and of the shared n-gram table: all tables, category lists, and where the tables
of a specialist grew by ordinary strings and fresh threats, those of the part ``train``. ``edge-demist info --licences`` shows them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from edge_demist.format.bundle import Bundle
from edge_demist.format.writer import write_json
from quantize.extend import add_specialists
from tools.train import ordinary

CARD = Path(__file__).resolve().parents[2] / "docs" / "reference" / "model-card.md"


def sources(data: Path) -> list[str]:
    """Names of all sources that trained base or n-gram table."""
    found: set[str] = set()
    for path in sorted((data / "tasks").glob("*/train.parquet")):
        table = pd.read_parquet(path)
        for column in {"source", "dataset"} & set(table):
            found |= {str(name) for name in table[column].dropna().unique()}
    labels = pd.read_parquet(data / "corpus" / "hostname-labels.parquet", columns=["sources"])["sources"]
    found |= {name for names in labels.unique() for name in str(names).split("|")}
    for task in ordinary.FILES:
        tables = [ordinary.read_ordinary(data, task)]
        tables += [ordinary.read_threats(data, task)] if task in ordinary.THREATS else []
        for table in tables:
            found |= set(table.loc[table["part"] == "train", "source"].astype(str).unique())
    return sorted(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the bundle."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.assemble", description=__doc__, formatter_class=raw)
    p.add_argument("--base", type=Path, required=True, help="bundle with the base, its n-gram table and the specialists that stay")
    p.add_argument("--specialists", type=Path, nargs="*", default=[], help="folders or files of specialists, new or in place of old ones")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--version", type=int, required=True)
    p.add_argument("--card", type=Path, default=CARD)
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args(argv)
    card = args.card.read_text(encoding="utf-8")
    add_specialists(Bundle.load(args.base), args.specialists, args.out, version=args.version, replace=True, overwrite=True, card=card)
    manifest = json.loads((args.out / "manifest.json").read_text(encoding="utf-8"))
    manifest.pop("extends", None)
    write_json(args.out / "manifest.json", {**manifest, "sources": sources(args.data)})
    bundle = Bundle.load(args.out, hash_all=True)
    size = sum(entry.bytes for entry in bundle.files.values()) / 1e6
    sys.stdout.write(f"{args.out}: version {bundle.version}, {size:.1f} MB, id {bundle.id}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
