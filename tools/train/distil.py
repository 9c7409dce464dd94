"""Teach what a bundle's specialist answers to an adapter on fewer layers, so that more of the encoder is shared by several specialists.

    python -m tools.train.distil --data DATA --task hostname-category --rank 32 --out FILES
    python -m quantize add FILES/hostname-category.safetensors --replace --out NEW

The new adapter starts from the old one's upper layers, the head from the old head; n-gram columns stay. It learns the old specialist's
logits, its vectors and the labels of its rows at once (Hinton et al., 2015): the rows are those of its training and, for
``--unlabelled``, names without a label. Nothing that calibrates or measures is read for it. OOD detector, temperature and thresholds on
dev are fitted again; alarm thresholds come from ``tools.train.low_head``, which fits the head too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.adapter import Adapter
from edge_demist.format.screen import METADATA as SCREEN
from edge_demist.train import calibration
from edge_demist.train.fit import Cached
from tools.synth import everyday_hosts, infrastructure
from tools.train import mixtures, pools, warm
from tools.train.data import TASKS, Rows, batches, read_table
from tools.train.lora import cut_ranks, lora_config
from tools.train.network import Network, mean_pool, run_layers
from tools.train.ood import Served, plain_head
from tools.train.shipped import BundleTokenizer, encoder_of

Floats = NDArray[np.float32]
NAMES = "hostname-threat"
"""Whose pools hold the names without a label."""
VECTORS, HARD, TEMPERATURE = 1.0, 0.5, 2.0
"""Weights of the teacher's vectors and of the labels beside its logits, and the temperature of those."""


@dataclasses.dataclass
class Lesson:
    """Rows with what the teacher makes of them: vectors [n, H], n-gram logits [n, C], logits [n, C]; labels are -1 where there are none."""

    rows: Rows
    pooled: Tensor
    grams: Tensor
    logits: Tensor


def lesson(served: Served, head: calibration.Combined, rows: Rows) -> Lesson:
    """Let the teacher answer."""
    pooled, grams = served.pooled(rows), served.grams(rows)
    parts = (pooled, grams @ head.ngram_weight, head.logits(pooled, grams))
    return Lesson(rows, *(torch.from_numpy(np.asarray(part, np.float32)) for part in parts))


def unlabelled(data: Path, count: int, seed: int, without: set[str]) -> list[str]:
    """Names of the pools' part that trains, three in ten of them ordinary ones, and some that every network sees, made by program."""
    if not count:
        return []
    pool = pools.read(data, NAMES, "malicious", "legit")
    pool = pool[~pool["text"].isin(without)]
    near = pool[pool["origin"].isin(("picked", "ordinary", "unvetted", "threats"))]
    far = pool[pool["origin"].isin(("categories", "listed"))]
    parts = [some.sample(min(len(some), int(share * count)), random_state=seed)["text"] for some, share in ((near, 0.3), (far, 0.6))]
    rng = random.Random(f"{seed} distil")
    made = [row[0] for row in everyday_hosts.generate(rng, count // 15)] + [infrastructure.host(rng)[0] for _ in range(count // 30)]
    return [*map(str, parts[0]), *map(str, parts[1]), *made]


def loss_of(student: Tensor, teacher: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """How far a student's logits [n, C] are from the teacher's and, with more than two labels, from the labels (-1: none).

    An alarm lives in the tail, where probabilities no longer tell scores apart and smoothed labels would press them together.
    """
    if student.shape[1] == 2:
        return functional.smooth_l1_loss(student[:, 1] - student[:, 0], teacher[:, 1] - teacher[:, 0])
    now, then = (functional.log_softmax(x / TEMPERATURE, 1) for x in (student, teacher))
    soft = TEMPERATURE**2 * functional.kl_div(now, then, log_target=True, reduction="batchmean")
    known = target >= 0
    if not known.any():
        return soft
    return soft + HARD * functional.cross_entropy(student[known], target[known], label_smoothing=smoothing)


def taught(net: Network, model: nn.Module, head: nn.Linear, lessons: Sequence[Lesson], args: argparse.Namespace) -> None:
    """Train adapter and head on one lesson a round."""
    trained = [*(p for name, p in model.named_parameters() if "lora_" in name), *head.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=args.lr, weight_decay=0.01, betas=(0.9, 0.98))
    plans = [list(batches(x.rows.lengths, args.tokens, np.random.default_rng((args.seed, i)))) for i, x in enumerate(lessons)]
    total, step, began = sum(map(len, plans)), 0, time.monotonic()
    for number, (part, plan) in enumerate(zip(lessons, plans, strict=True)):
        cached = Cached(net, part.rows, args.first_layer)
        spread = part.pooled.var(0).clamp_min(1e-6)
        sys.stderr.write(f"{args.task} round {number + 1}: {len(part.rows)} rows, {time.monotonic() - began:.0f} s\n")
        seen: list[float] = []
        for index in plan:
            rate = args.lr * min(1.0, (step + 1) / max(1, min(100, total // 10))) * max(0.01, 1 - step / total)
            for group in optimizer.param_groups:
                group["lr"] = rate
            hidden, mask, lengths = cached.batch(index)
            pooled = mean_pool(run_layers(model, hidden, mask, args.first_layer), mask, lengths)
            at = torch.from_numpy(index)
            near = ((pooled - part.pooled[at]).square() / spread).mean()
            logits = head(pooled) + part.grams[at]
            loss = VECTORS * near + loss_of(logits, part.logits[at], torch.from_numpy(part.rows.labels[index]), args.smoothing)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            seen.append(loss.item())
            step += 1
            if step % 200 == 0:
                sys.stderr.write(f"{step} of {total}: loss {np.mean(seen[-200:]):.4f}, {time.monotonic() - began:.0f} s\n")
                sys.stderr.flush()


def written(adapter: Adapter, head: dict[str, Floats], old: dict[str, Any]) -> dict[str, Any]:
    """Tensors of the new file: adapter and head anew, the rest as it was, without the old adapter and screen."""
    layers = {
        f"lora.{layer}.{site}.{part}": x for (layer, site), pair in adapter.layers.items() for part, x in zip("AB", pair, strict=True)
    }
    kept = {name: tensor for name, tensor in old.items() if not name.startswith(("lora.", "screen."))}
    return layers | {name: np.ascontiguousarray(head.get(name, tensor)) for name, tensor in kept.items()}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.distil", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle with the teacher (default: the packaged one)")
    p.add_argument("--task", required=True, choices=sorted(TASKS))
    p.add_argument("--layers", type=int, default=1, help="upper layers that get an adapter")
    p.add_argument("--rank", type=int, default=32)
    p.add_argument("--energy", type=float, default=0.98, help="share of each adapter's squared norm that is kept")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--unlabelled", type=int, default=0, help="names without a label a round (host names)")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--tokens", type=int, default=2048, help="tokens a batch")
    p.add_argument("--smoothing", type=float, default=0.05)
    p.add_argument("--rows", type=int, default=100_000, help="rows a round, of those that a round of training has")
    p.add_argument("--limit", type=int, default=0, help="rows of the table (small runs)")
    p.add_argument("--exclude-source", nargs="*", default=[])
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args(argv)
    vars(args).update(hold_out=[], generated=-1, more=None, more_rows=0, pools=1.0)
    return args


def finished(
    args: argparse.Namespace, model: nn.Module, head: nn.Linear, served: Served, mixture: mixtures.Mixture, folder: Path
) -> dict[str, Any]:
    """Cut the ranks, calibrate what is left as it will be served, and write the file; returns what dev says."""
    specialist, task = served.specialist, TASKS[args.task]
    ranks = cut_ranks(model, args.energy)
    student = served.under(warm.adapter_of(model, args.task))
    weight, bias = head.weight.detach().numpy().T, head.bias.detach().numpy()
    assert specialist.ngram_weight is not None
    combined = calibration.Combined(weight, specialist.ngram_weight, bias, 1.0, 1.0)

    def features(rows: Rows) -> tuple[Floats, Floats]:
        return student.pooled(rows), student.grams(rows)

    own, kin, foreign = mixture.domain_features(features)
    domain, dev = calibration.fit_domain(own, foreign, kin), mixture.dev()
    parts = features(dev)
    labels = list(specialist.labels)
    result = calibration.calibrate(task, labels, combined.logits(*parts), dev.labels, domain.probability(*parts))
    result |= {"ranks": sum(ranks.values())}
    metadata, old = safetensors.read(folder / "specialists" / f"{args.task}.safetensors")
    metadata.pop(SCREEN, None)  # cut for the head before: tools.train.screen fits another
    metadata |= {"temperature": repr(result["temperature"]), "thresholds": json.dumps(result["thresholds"], sort_keys=True)}
    new = {**combined.tensors(), **domain.tensors()}
    tensors = written(student.adapter, {f"head.{name}": np.asarray(x, np.float32) for name, x in new.items()}, old)
    args.out.mkdir(parents=True, exist_ok=True)
    safetensors.write(args.out / f"{args.task}.safetensors", tensors, metadata)
    record = {"command": {k: str(v) for k, v in vars(args).items() if k not in ("data", "bundle", "out")}, "dev": result}
    (args.out / f"{args.task}.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Distil one specialist and write its file."""
    args = parse(argv)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    with EdgeDemist.load(args.bundle) as teacher:
        bundle, specialist = teacher.bundle, teacher.specialist(args.task)
        depth, labels = bundle.architecture.num_layers, list(specialist.labels)
        args.first_layer = depth - args.layers
        net, served = Network(encoder_of(bundle), {}), Served(teacher, specialist)
        weight, bias = plain_head(specialist)
        before = calibration.Combined(specialist.weight, weight[len(specialist.weight) :], bias, 1.0, 1.0)
        mixture = mixtures.Mixture(args.data, args.task, labels, BundleTokenizer(bundle), args)
        wrapped = peft.get_peft_model(net.encoder, lora_config(args.rank, args.first_layer, depth))
        model, head = wrapped.base_model.model, nn.Linear(len(specialist.weight), len(labels))
        warm.start(args.bundle, args.task, model, head, args.first_layer)
        known, lessons = {*read_table(args.data, args.task, "dev")["text"]}, []
        for number in range(args.rounds):
            texts, names = mixture.texts(number)
            more = unlabelled(args.data, args.unlabelled, 100 * args.seed + number, known)
            some = random.Random(f"{args.seed} {number}").sample(range(len(texts)), min(args.rows, len(texts)))
            rows = mixture.pack([texts[i] for i in some] + more, [names[i] for i in some] + [""] * len(more))
            lessons.append(lesson(served, before, rows))
        taught(net, model, head, lessons, args)
        result = finished(args, model, head, served, mixture, bundle.path)
    sys.stdout.write(json.dumps({"task": args.task, **{k: result[k] for k in ("accuracy", "macro_f1", "ece", "ranks")}}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
