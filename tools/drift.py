"""Put into a bundle what ordinary strings look like to it, for ``edge-demist drift`` (``drift.json``, 5 kB).

    python -m tools.drift --bundle DIR --data ../shared/data/ordinary

Takes 5,000 ordinary strings a specialist, answers them whole, and writes histograms, the share of unknown tokens, and the eight main
axes of host names' vectors. DIR is changed in place; its signature, which no longer fits, is taken away. Ten seconds on one core.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import pandas as pd

from edge_demist import EdgeDemist
from edge_demist.format.signing import SIGNATURE_NAME
from edge_demist.format.writer import describe_files, sha256, write_json
from edge_demist.sensor.detect.scoring import Scorer
from edge_demist.sensor.drift_sample import AXES, BINS, FILE, Reference, score_bin, unknown_tokens

TABLES = {"dga": "hosts", "hostname-threat": "hosts", "dns-tunnel": "dns", "url-phishing": "urls", "uri-attack": "targets"}


def make(model: EdgeDemist, data: Path, count: int, seed: int = 1) -> Reference:
    """The reference of a bundle."""
    scorer, scores, texts = Scorer(model), {}, {}
    for table in sorted(set(TABLES.values())):
        rows = pd.read_parquet(data / f"{table}.parquet", columns=["text"])["text"].drop_duplicates().tolist()
        texts[table] = random.Random(seed).sample(rows, min(count, len(rows)))
    for task, table in TABLES.items():
        if task in model.tasks:
            bins = [0] * BINS
            for answer in scorer.uncached([(text, task) for text in texts[table]]):
                bins[score_bin(answer.alarm_score or 0.0)] += 1
            scores[task] = bins
    counted = [unknown_tokens(model, rows) for rows in texts.values()]
    unknown, total = (sum(column) for column in zip(*counted, strict=True))
    vectors = scorer.embed(texts["hosts"])
    _, _, axes = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    axes = axes[:AXES] * np.sign(axes[:AXES].sum(1, keepdims=True))  # the sign is the machine's; the axis is not
    stored = np.round(axes / np.abs(axes).max(1, keepdims=True) * 127).astype(np.int8)
    along = vectors @ (stored.astype(np.float32).T / 127)
    edges = np.quantile(along, np.arange(1, BINS) / BINS, axis=0).T
    return Reference(scores, round(unknown / max(total, 1), 6), stored, edges)


def main() -> None:
    """Make it, add it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle, changed in place")
    parser.add_argument("--data", type=Path, required=True, help="folder with hosts, dns, urls and targets as Parquet")
    parser.add_argument("--count", type=int, default=5000, help="strings a table")
    args = parser.parse_args()
    with EdgeDemist.load(args.bundle) as model:
        reference, bundle = make(model, args.data, args.count), model.bundle
    (args.bundle / FILE).write_text(json.dumps(reference.to_json()) + "\n", encoding="utf-8")
    manifest = {**bundle.manifest, "files": describe_files(args.bundle, sorted({*bundle.files, FILE}))}
    write_json(args.bundle / "manifest.json", manifest)
    (args.bundle / SIGNATURE_NAME).unlink(missing_ok=True)
    print(f"{FILE}: {(args.bundle / FILE).stat().st_size:,} bytes; bundle id {sha256(args.bundle / 'manifest.json')}")


if __name__ == "__main__":
    main()
