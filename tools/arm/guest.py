"""What runs inside the emulation. Needs numpy; onnxruntime only for its own counts. Not for use on the host.

guest.py count native BUNDLE IDS.npz REPEATS
guest.py count ort GRAPH.onnx IDS.npz REPEATS
guest.py count screened|passes BUNDLE NAMES.json REPEATS
guest.py digest BUNDLE|tiny STRINGS.json OUT.json [best]
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

DIGEST_ROWS = 250
"""Rows of one call, and of one digest."""
ALARMS = ("dga", "dns-tunnel", "hostname-threat")
ADAPTED = 10
"""One call in this many also runs the tiny bundle's adapters."""


def native_calls(bundle: str, rows: list[np.ndarray]) -> Callable[[], object]:
    """One pass over the rows, batch 1, with the engine."""
    from edge_demist import engines
    from edge_demist.format.bundle import Bundle

    engine = engines.create(Bundle.load(bundle), "native")
    batches = [(row, np.array([0, len(row)], np.int32)) for row in rows]
    return lambda: [engine.encode(*batch) for batch in batches]


def ort_calls(graph: str, rows: list[np.ndarray]) -> Callable[[], object]:
    """One pass over the rows, batch 1, with ONNX Runtime: one thread, no spinning."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_BASIC if "best" in Path(graph).name else level.ORT_ENABLE_ALL
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    dtype = np.int32 if inputs[0].type == "tensor(int32)" else np.int64
    feeds = [{inputs[0].name: row[None].astype(dtype), inputs[1].name: np.ones((1, len(row)), dtype)} for row in rows]
    return lambda: [session.run(None, feed) for feed in feeds]


def name_calls(kind: str, bundle: str, names: list[str]) -> Callable[[], object]:
    """One pass over host names: ``screened`` is stage one of the alarm specialists, ``passes`` asks each of the four whole."""
    from edge_demist import EdgeDemist

    model = EdgeDemist.load(bundle)
    if kind == "screened":
        return lambda: model.first_scores(names, ALARMS)
    return lambda: [model.classify(names, task=task) for task in (*ALARMS, "hostname-category")]


def count(kind: str, model: str, ids: str, repeats: int) -> None:
    """Warm up, then ``repeats`` passes between marks 0 and 1; marks 1 and 2 lie next to each other and give a mark's own cost."""
    if kind in ("screened", "passes"):
        calls = name_calls(kind, model, json.loads(Path(ids).read_text(encoding="utf-8")))
    else:
        data = np.load(ids)
        rows = [data["token_ids"][a:b] for a, b in itertools.pairwise(data["offsets"])]
        calls = (native_calls if kind == "native" else ort_calls)(model, rows)
    mark = ctypes.CDLL(None).syscall
    for _ in range(2):
        calls()
    mark(1000, 0)
    for _ in range(repeats):
        calls()
    mark(1000, 1)
    mark(1000, 2)


def digest(bundle: str, strings: str, out: str, levels: str = "all") -> None:
    """SHA-256 of ids, vectors and n-grams, a digest for every ``DIGEST_ROWS`` strings, at the CPU levels that run here."""
    from edge_demist.diagnostics import reference, tiny_model
    from edge_demist.format.bundle import Bundle
    from edge_demist.native import library as native

    texts = [text.encode() for text in json.loads(Path(strings).read_text(encoding="utf-8"))]
    opened = tiny_model.bundle() if bundle == "tiny" else Bundle.load(bundle)
    found = {}
    for name in native.available_levels()[: 1 if levels == "best" else None]:
        digests = []
        for number, begin in enumerate(range(0, len(texts), DIGEST_ROWS)):
            adapters = bundle == "tiny" and number % ADAPTED == 0
            rows = texts[begin : begin + DIGEST_ROWS]
            parts = reference.compute(opened, native.load(name), rows, with_adapters=adapters, single=False)
            digests.append(hashlib.sha256(b"".join(parts[key].tobytes() for key in sorted(parts))).hexdigest())
            sys.stderr.write(f"\r{name}: {begin + len(rows)} strings")
        sys.stderr.write("\n")
        found[name] = digests
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "count":
        count(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        digest(*sys.argv[2:])
