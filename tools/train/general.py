"""Train the projection that makes general vectors, and put it into a bundle.

    python -m benchmarks.embedding_kinds --data DATA --list measured.json     # the strings that the measure looks at
    python -m tools.train.general --data DATA --without measured.json --work WORK -o general.safetensors
    python -m tools.train.general --add general.safetensors --bundle DIR      # writes the file and its hash; sign again afterwards

Nothing of the base changes, and nothing but the general vector reads the projection. It starts as whitened features, by parts, cut to
the main directions; then strings of one label are pulled together, and pairs (``tools.train.general_pairs``) nearest to each other. WORK
keeps the features.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.bundle import Bundle
from edge_demist.format.general import FILE, check_general, width_of
from edge_demist.format.int8 import quantize_columns, to_panels
from edge_demist.format.signing import SIGNATURE_NAME
from edge_demist.format.writer import describe_files, sha256, write_json
from edge_demist.inference import Item
from edge_demist.normalizers import to_bytes
from edge_demist.text.ngrams import Ngrams
from tools.train.general_pairs import Rows

Floats = NDArray[np.float32]
PARTS = ("pooled", "n-grams", "words")
BATCH, ROUNDS_AT_ONCE = 256, 3
TEMPERATURE_OF_PAIRS, TEMPERATURE_OF_GROUPS = 0.05, 0.1


class Learnt(NamedTuple):
    """A projection in float32: vector = (x - mean) . weight for features x of unit parts."""

    mean: Floats
    weight: Floats


def _unit(rows: Floats) -> Floats:
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(rows / lengths, np.float32)


def features(model: EdgeDemist, texts: Sequence[str], keep: Path) -> Floats:
    """What the projection reads, float32 [n, 2 H + dim]: pooled vector, n-gram vector and words, each of length one."""
    name = hashlib.sha256("\0".join([model.bundle.base_sha256, *texts]).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    file = keep / f"{name}.npy"
    if file.exists():
        kept: Floats = np.load(file)
        return kept
    bundle, inference, ngrams = model.bundle, model.inference, Ngrams(model.bundle, model.inference.kernels)
    table: Floats = bundle.tensors["embeddings.word.weight"].astype(np.float32)
    table *= np.asarray(bundle.tensors["embeddings.word.scale"], np.float32)[:, None]
    parts = []
    for begin in range(0, len(texts), 4096):
        raws = [to_bytes(text)[: bundle.limits.max_bytes] for text in texts[begin : begin + 4096]]
        ids, offsets = inference.tokenizer.encode_batch(raws, max_tokens=bundle.limits.max_tokens, add_special_tokens=True)
        words = np.add.reduceat(table[ids], offsets[:-1], axis=0)
        pooled = inference.pooled(model.engine, [Item(raw, None) for raw in raws], normalize=False)[0]
        grams = ngrams.encode_batch(raws)
        parts.append(np.hstack([_unit(pooled), _unit(grams), _unit(words)]))
    made = np.concatenate(parts)
    np.save(file, made)
    return made


def start(x: Floats, sizes: Sequence[int], shares: Sequence[float]) -> Learnt:
    """Whitened parts, each with its share, cut to the H main directions of them together."""
    mean, edges = x.mean(0), np.cumsum([0, *sizes])
    blocks = np.zeros((x.shape[1], x.shape[1]), np.float32)
    for begin, end, share in zip(edges[:-1], edges[1:], shares, strict=True):
        own = x[:, begin:end] - mean[begin:end]
        values, directions = np.linalg.eigh(np.cov(own.T))
        white = directions / np.sqrt(np.maximum(values, 0) + 0.1 * values.mean())
        blocks[begin:end, begin:end] = white * (share / np.linalg.norm(own @ white, axis=1).mean())
    directions = np.linalg.eigh(np.cov(((x - mean) @ blocks).T))[1][:, ::-1][:, : sizes[0]]
    return Learnt(mean, np.asarray(blocks @ directions, np.float32))


class Data(NamedTuple):
    """Features of what is learnt from."""

    groups: list[tuple[Floats, NDArray[np.int64]]]
    pairs: list[tuple[Floats, Floats]]


def train(begun: Learnt, data: Data, *, steps: int, rate: float, pair_weight: float, seed: int) -> Learnt:
    """The projection after ``steps`` steps of Adam.

    Loss of a group's rows: minus the log of the share of their own label in the softmax of cosines with all others; of pairs: cross
    entropy of each one's other among those of the batch, both ways.
    """
    import torch
    from torch.nn import functional

    random = np.random.default_rng(seed)
    weight, mean = torch.nn.Parameter(torch.tensor(begun.weight)), torch.tensor(begun.mean)
    optimizer = torch.optim.Adam([weight], rate)
    share = np.array([1.0] * len(data.groups) + [pair_weight] * len(data.pairs))

    def vectors(rows: Floats) -> Any:
        return functional.normalize((torch.tensor(rows) - mean) @ weight, dim=1)

    def of_group(rows: Floats, of: NDArray[np.int64]) -> Any:
        z, own = vectors(rows), torch.tensor(of)
        cosines = (z @ z.T / TEMPERATURE_OF_GROUPS).fill_diagonal_(-1e9)
        same = (own[:, None] == own) & ~torch.eye(len(of), dtype=torch.bool)
        there = same.any(1)
        inside = torch.logsumexp(torch.where(same, cosines, torch.tensor(-1e9)), 1)
        return (torch.logsumexp(cosines, 1) - inside)[there].mean()

    def of_pairs(rows: Floats, others: Floats) -> Any:
        cosines = vectors(rows) @ vectors(others).T / TEMPERATURE_OF_PAIRS
        given = torch.tensor(rows)
        twin = (given @ given.T > len(PARTS) - 5e-4) & ~torch.eye(len(rows), dtype=torch.bool)
        cosines, number = cosines.masked_fill(twin, -1e9), torch.arange(len(rows))
        return (functional.cross_entropy(cosines, number) + functional.cross_entropy(cosines.T, number)) / 2

    total = 0.0
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        loss = torch.zeros(())
        for number in random.choice(len(share), ROUNDS_AT_ONCE, p=share / share.sum()):
            grouped = number < len(data.groups)
            a, b = data.groups[number] if grouped else data.pairs[number - len(data.groups)]
            some = random.permutation(len(a))[:BATCH]
            loss = loss + (of_group if grouped else of_pairs)(a[some], b[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach())
        if (step + 1) % 250 == 0:
            print(f"step {step + 1:,} of {steps:,}: loss {total / 250:.3f}", file=sys.stderr, flush=True)
            total = 0.0
    return Learnt(begun.mean, weight.detach().numpy())


def quantized(learnt: Learnt, sizes: Sequence[int]) -> dict[str, Any]:
    """The tensors of the file: factors that give all parts numbers of one size, int8 panels, one scale a column."""
    hidden, width, edges = sizes[0], width_of(sizes[0], sizes[1]), np.cumsum([0, *sizes])
    factors, rows = np.zeros(16, np.float32), np.zeros((width, hidden), np.float32)
    for part, (begin, end) in enumerate(itertools.pairwise(edges)):
        factors[part] = np.sqrt((end - begin) / hidden)
        rows[begin:end] = learnt.weight[begin:end] / factors[part]
    matrix = quantize_columns(rows)
    found = {"weight": to_panels(matrix.values), "scale": matrix.scale, "correction": matrix.correction, "factors": factors}
    return found | {"bias": np.asarray(-learnt.mean @ learnt.weight, np.float32)}


def make(args: argparse.Namespace) -> None:
    """Features, training, file."""
    args.work.mkdir(parents=True, exist_ok=True)
    without = set(json.loads(args.without.read_text(encoding="utf-8")))
    rows = Rows(args.data, without, args.seed)
    with EdgeDemist.load(args.bundle) as model:
        assert model.bundle.ngrams is not None
        sizes = (model.dim, model.bundle.ngrams.dim, model.dim)
        data = Data([], [])
        for group in rows.groups():
            data.groups.append((features(model, group.texts, args.work), np.asarray(group.of, np.int64)))
            print(f"{group.name}: {len(group.texts):,} strings", file=sys.stderr, flush=True)
        for name, texts, others in rows.pairs():
            data.pairs.append((features(model, texts, args.work), features(model, others, args.work)))
            print(f"{name}: {len(texts):,} pairs", file=sys.stderr, flush=True)
        base = model.bundle.base_sha256
    some = np.concatenate([a[:9000] for a, _ in data.groups] + [a[:4000] for a, _ in data.pairs])
    begun = start(some, sizes, args.shares)
    learnt = train(begun, data, steps=args.steps, rate=args.rate, pair_weight=args.pair_weight, seed=args.seed) if args.steps else begun
    tensors = quantized(learnt, sizes)
    check_general(tensors, sizes[0], sizes[1])
    safetensors.write(args.output, tensors, {"format": "1", "base_sha256": base})
    print(f"{args.output}: {args.output.stat().st_size:,} bytes")


def add(file: Path, folder: Path) -> None:
    """Put a projection into a bundle's folder; its old signature, which no longer fits, is taken away."""
    bundle = Bundle.load(folder)
    metadata, tensors = safetensors.read(file)
    assert bundle.ngrams is not None and metadata.get("base_sha256") == bundle.base_sha256, f"{file} was made for another base"
    check_general(tensors, bundle.architecture.hidden_size, bundle.ngrams.dim)
    shutil.copyfile(file, folder / FILE)
    write_json(folder / "manifest.json", {**bundle.manifest, "files": describe_files(folder, sorted({*bundle.files, FILE}))})
    (folder / SIGNATURE_NAME).unlink(missing_ok=True)
    print(f"{folder}: bundle id {sha256(folder / 'manifest.json')}")


def main(argv: Sequence[str] | None = None) -> int:
    """Make one, or put one into a bundle."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.general", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, help="folder with corpus/ and tasks/")
    p.add_argument("--without", type=Path, metavar="FILE", help="JSON list of strings that must stay unseen")
    p.add_argument("--work", type=Path, help="folder that keeps features")
    p.add_argument("--bundle", type=Path, help="bundle (default: the one in the package)")
    p.add_argument("--steps", type=int, default=8000, help="0: whitening alone")
    p.add_argument("--rate", type=float, default=7e-4)
    p.add_argument("--shares", type=float, nargs=len(PARTS), default=(1.0, 1.0, 1.2), metavar="SHARE", help=f"of {', '.join(PARTS)}")
    p.add_argument("--pair-weight", type=float, default=0.6, help="how often pairs are drawn for one draw of a group")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--add", type=Path, metavar="FILE", help="put this one into --bundle, in place of training")
    p.add_argument("-o", "--output", type=Path, default=Path(FILE))
    args = p.parse_args(argv)
    if args.add:
        if args.bundle is None:
            p.error("--add needs --bundle")
        add(args.add, args.bundle)
    elif args.data is None or args.without is None or args.work is None:
        p.error("give --data, --without and --work")
    else:
        make(args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
