"""Train specialists: LoRA on the upper layers of the frozen, quantized base, and a linear head.

    python -m tools.train.specialist --data DATA --checkpoint RUN/checkpoint --task dga --out ADAPTERS
    python -m tools.train.specialist --data DATA --bundle --task dga --out ADAPTERS     # on the installed bundle

The base's weights and n-gram table are rounded to int8 and back first, so the adapter learns on what will be served.
The layers below the adapter do not change: their output is computed once a round of augmentation and kept.
Writes ADAPTERS/<task>/: a PEFT adapter (adapter_config.json, adapter_model.safetensors), head.safetensors,
specialist.json (labels, calibration, thresholds) and training.json (command, seed, hashes, dev scores).
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

from edge_demist.format.bundle import default_path
from edge_demist.train import calibration
from edge_demist.train import columns as own_table
from edge_demist.train.fit import Cached, drawn, features
from edge_demist.train.ngrams import NgramTable
from tools.train import losses, low_end, mixtures, ngram_table, warm
from tools.train.data import TASKS, Rows, Task, batches
from tools.train.frozen import Base, bundle_base, checkpoint_base
from tools.train.lora import cut_ranks, lora_config, start_at
from tools.train.network import Network, mean_pool, run_layers

Floats = NDArray[np.float32]

START_ROWS = 20_000
"""Rows for the head that training starts from, where a base has none."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How one task's specialist is trained where the command line does not say."""

    epochs: int = 3
    layers: int = 1
    energy: float = 0.9


SETTINGS = {
    "hostname-category": Settings(epochs=2, layers=3),
    "hostname-threat": Settings(epochs=1, layers=2),
    "dga": Settings(energy=0.99),
    "url-phishing": Settings(epochs=1, layers=3),
    "dns-tunnel": Settings(epochs=2, energy=0.99),
    "uri-attack": Settings(epochs=2, layers=3),
    "user-agent": Settings(layers=3),
    "cmdline": Settings(epochs=2),
    "filename": Settings(epochs=4, layers=3),
}
"""Of the shipped specialists (docs/decisions/)."""


def train(
    net: Network, model: BertModel, head: nn.Linear, rounds: Iterator[Rows], args: argparse.Namespace, weights: Tensor | None
) -> float:
    """Train adapter and head over ``args.epochs`` rounds; returns the seconds it took."""
    positive = torch.tensor([label in TASKS[args.task].positive_labels for label in args.labels])
    adapter = [p for n, p in model.named_parameters() if "lora_" in n]
    for p in adapter:
        p.requires_grad_(True)
    for p in head.parameters():
        p.requires_grad_(True)
    groups = [{"params": adapter, "base": args.lr}, {"params": list(head.parameters()), "base": args.lr}]
    optimizer = torch.optim.AdamW([{**g, "lr": g["base"]} for g in groups], weight_decay=0.01, betas=(0.9, 0.98))
    began, step, total = time.monotonic(), 0, None
    cached: Cached | None = None
    for epoch in range(args.epochs):
        rows = next(rounds)
        if cached is None or cached.rows is not rows:
            cached = Cached(net, rows, args.first_layer)
        plan = list(batches(rows.lengths, args.tokens, np.random.default_rng((args.seed, epoch))))
        total = total or len(plan) * args.epochs
        losses_now = []
        for index in plan:
            rate = min(1.0, (step + 1) / max(1, min(100, total // 10))) * max(0.01, 1 - step / total)
            for group in optimizer.param_groups:
                group["lr"] = group["base"] * rate
            hidden, mask, lengths = cached.batch(index)
            pooled = mean_pool(run_layers(model, hidden, mask, args.first_layer), mask, lengths)
            logits = head(functional.dropout(pooled, 0.1))
            target = torch.from_numpy(rows.labels[index])
            loss = functional.cross_entropy(logits, target, weight=weights, label_smoothing=args.smoothing)
            if positive.any() and args.top:
                loss = loss + args.top * losses.top_loss(losses.alarm_logit(logits, positive), positive[target])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*adapter, *head.parameters()], 1.0)
            optimizer.step()
            losses_now.append(loss.item())
            step += 1
        loss_now, spent = np.mean(losses_now[-200:]), time.monotonic() - began
        print(f"{args.task} round {epoch + 1}/{args.epochs} loss {loss_now:.4f} {spent:.0f} s", file=sys.stderr, flush=True)
    return time.monotonic() - began


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    p = argparse.ArgumentParser(
        prog="python -m tools.train.specialist", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--data", type=Path, required=True, help="folder with corpus/ and tasks/")
    base = p.add_mutually_exclusive_group(required=True)
    base.add_argument("--checkpoint", type=Path, help="folder written by tools.train.base")
    base.add_argument(
        "--bundle", type=Path, nargs="?", const=default_path(), metavar="DIR", help="a bundle instead (default: the packaged one)"
    )
    p.add_argument("--own-table", action="store_true", help="train an n-gram table of the specialist's own, in place of the shared columns")
    p.add_argument("--task", required=True, choices=sorted(TASKS))
    p.add_argument("--out", type=Path, required=True, help="folder of adapters; <task>/ is made in it")
    p.add_argument("--epochs", type=int, help="rounds, instead of the task's own number")
    p.add_argument("--rank", type=int, default=16)
    p.add_argument(
        "--svd-energy",
        "--energy",
        dest="energy",
        type=float,
        help="share of each adapter's squared norm to keep (with --reuse 1: cut already)",
    )
    p.add_argument("--layers", type=int, help="how many upper layers get an adapter, instead of the task's own number")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--batch-tokens", "--tokens", dest="tokens", type=int, default=2048, help="tokens a batch")
    p.add_argument("--smoothing", type=float, default=0.05)
    p.add_argument("--top", type=float, default=0.5, help="weight of the loss on the highest-scored harmless rows (alarms)")
    p.add_argument("--pools", type=float, default=1.0, help="rows of DATA/ordinary, DATA/threats and listed names a round (0: none)")
    p.add_argument(
        "--recalibrate-only",
        "--reuse",
        dest="reuse",
        action="store_true",
        help="keep the adapter and head in --out; only combine and calibrate again",
    )
    p.add_argument("--warm", action="store_true", help="start from the bundle's adapter and head of the task, in place of a regression")
    p.add_argument(
        "--columns", type=int, nargs="*", default=[], help="more columns of the shared table (tools.train.bundle_columns --into)"
    )
    p.add_argument("--dev-loss", type=float, default=low_end.DEV_LOSS, help="accuracy on dev that the n-grams' weights may cost (alarms)")
    p.add_argument(
        "--class-weight-power",
        "--balance",
        dest="balance",
        type=float,
        default=0.0,
        help="0: classes as they are; 1: weights inverse to frequency",
    )
    p.add_argument(
        "--synthetic-rows", "--generated", dest="generated", type=int, default=-1, help="generated rows a round (-1: the task's default)"
    )
    p.add_argument(
        "--extra-data",
        "--more",
        dest="more",
        type=Path,
        help="Parquet file of more rows: text, label, source (tools.train.known_agents makes one)",
    )
    p.add_argument(
        "--extra-rows", "--more-rows", dest="more_rows", type=int, default=12_000, help="rows of --more a round, drawn anew each round"
    )
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--limit", type=int, default=0, help="rows of the table (small runs)")
    p.add_argument("--hold-out", nargs="*", default=[], help="families left out of training and scored apart")
    p.add_argument("--exclude-source", nargs="*", default=[], help="sources of task rows to leave out")
    args = p.parse_args(argv)
    own = SETTINGS.get(args.task, Settings())
    args.epochs = own.epochs if args.epochs is None else args.epochs
    args.layers = own.layers if args.layers is None else args.layers
    if args.energy is None:
        args.energy = 1.0 if args.reuse else own.energy
    if args.reuse and (args.bundle or args.own_table):
        p.error("--reuse needs --checkpoint and the shared table: a bundle does not hold the parts of a head")
    if args.warm and not args.bundle:
        p.error("--warm needs --bundle")
    if not 0 < args.energy <= 1:
        p.error(f"--energy is a share above 0 and up to 1, not {args.energy}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Train one specialist and write its folder."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    base = bundle_base(args.bundle, args.task) if args.bundle else checkpoint_base(args.checkpoint, args.task)
    net, labels = base.net, base.labels
    num_layers = net.encoder.config.num_hidden_layers
    args.layers = min(args.layers, num_layers)
    args.first_layer = num_layers - args.layers
    args.labels = labels
    mixture = mixtures.Mixture(args.data, args.task, labels, base.tokenizer, args)
    rounds = mixture.rounds()
    if args.own_table:
        config = own_table.shape(len(labels))
        settings = ngram_table.SETTINGS.get(args.task, ngram_table.Settings())
        columns, bias, _ = ngram_table.task_columns(args, args.task, labels, base.tokenizer, config, settings)
        base.table, base.ngram_head = own_table.folded(columns, bias, len(labels), config)
    wrapped, head, rounds = begun(args, base, rounds)
    model = wrapped.base_model.model
    seconds = 0.0 if args.reuse else train(net, model, head, rounds, args, class_weights(mixture.train_y, len(labels), args.balance))
    ranks = cut_ranks(model, args.energy)
    dev = mixture.dev()

    features_of = reader(args, base, model)
    if args.bundle and not args.own_table and len(labels) > 2:
        base.ngram_head = base.ngram_head[0], column_biases(base, mixture)
    pooled, ngrams = features_of(dev)
    task = TASKS[args.task]
    low = low_end.read(args.data, task, lambda texts: features_of(mixture.pack(texts))) if args.pools else None
    given = pooled, ngrams
    combined, tried = low_end.combined(head, base.ngram_head, (given, dev.labels), low, labels, task, args.columns, args.dev_loss)
    logits = combined.logits(pooled, ngrams)

    own, kin, foreign = mixture.domain_features(features_of)
    domain = calibration.fit_domain(own, foreign, kin)
    result = calibration.calibrate(task, labels, logits, dev.labels, domain.probability(pooled, ngrams))
    if low is not None:
        low_end.add_thresholds(result, combined, low, labels, task)
        result["weights_tried"] = tried
    result["held_out"] = mixture.score_held_out(lambda rows: combined.logits(*features_of(rows)).argmax(1))
    result["ranks"] = sum(ranks.values())
    result["share"] = {"encoder": combined.encoder_factor, "ngrams": combined.ngram_factor}
    described = {
        "task": args.task, "labels": labels, **describe(task), "temperature": result["temperature"],
        "thresholds": result["thresholds"], "sources": mixture.sources,
    }  # fmt: skip
    record = {
        "command": {k: str(v) for k, v in vars(args).items() if k not in ("data", "out", "checkpoint", "bundle", "more")},
        "seconds": round(seconds), **base.record, "data_sha256": mixture.hashes, "dev": result,
    }  # fmt: skip
    if args.reuse:
        before = json.loads((args.out / args.task / "training.json").read_text())
        record["trained"] = before.get("trained", {k: before[k] for k in ("command", "seconds")})
    own_columns = base.table if args.own_table else None
    write(args.out / args.task, wrapped, {**combined.tensors(), **domain.tensors()}, described, record, own_columns)
    print(json.dumps({"task": args.task, **{k: result[k] for k in ("accuracy", "macro_f1", "ece", "held_out")}}), flush=True)
    return 0


def begun(args: argparse.Namespace, base: Base, rounds: Iterator[Rows]) -> tuple[peft.PeftModel, nn.Linear, Iterator[Rows]]:
    """The adapter and head that training starts from, and the rounds, of which a regression may have seen the first."""
    net, layers = base.net, base.net.encoder.config.num_hidden_layers
    head = nn.Linear(net.encoder.config.hidden_size, len(base.labels))
    if args.reuse:
        wrapped = peft.PeftModel.from_pretrained(net.encoder, args.out / args.task)
        kept = {k: v.numpy() for k, v in load_file(args.out / args.task / "head.safetensors").items()}
        weight, bias = calibration.encoder_head(kept, base.ngram_head)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(weight))
            head.bias.copy_(torch.from_numpy(bias))
        return wrapped, head, rounds
    wrapped = peft.get_peft_model(net.encoder, lora_config(args.rank, args.first_layer, layers))
    model = wrapped.base_model.model
    if args.warm:
        warm.start(args.bundle, args.task, model, head)
    elif base.head is not None:
        head.load_state_dict(base.head.state_dict())
    else:
        first = next(rounds)
        sample = drawn(first, START_ROWS, args.seed)
        start_at(head, features(net, base.table, model, sample, args.first_layer)[0], sample.labels)
        rounds = itertools.chain([first], rounds)
    return wrapped, head, rounds


def class_weights(y: NDArray[np.int64], classes: int, power: float) -> Tensor | None:
    """Weights inverse to the labels' frequency to the given power, float32 [C] with mean 1 over the rows; None for power 0."""
    if not power:
        return None
    counts = np.bincount(y, minlength=classes)
    inverse = (counts.sum() / np.maximum(counts, 1)) ** power
    return torch.tensor(inverse / inverse[y].mean(), dtype=torch.float32)


def reader(args: argparse.Namespace, base: Base, model: BertModel) -> Callable[[Rows], tuple[Floats, Floats]]:
    """What gives pooled and n-gram vectors of rows under the trained adapter: a bundle's engine, or the float layers."""
    if not args.bundle:
        return lambda rows: features(base.net, base.table, model, rows, args.first_layer)
    served = warm.Served(args.bundle, warm.adapter_of(model, args.task))

    def features_of(rows: Rows) -> tuple[Floats, Floats]:
        parts = [base.table.vectors(rows, np.arange(b, min(b + 4096, len(rows)))).numpy() for b in range(0, len(rows), 4096)]
        return served.pooled(rows), np.concatenate(parts) if parts else np.zeros((0, base.table.config.dim), np.float32)

    return features_of


def column_biases(base: Base, mixture: mixtures.Mixture) -> Floats:
    """Biases of a task's n-gram columns, fitted anew to the rows that its specialist trains on."""
    rows = drawn(mixture.round(0), START_ROWS, 0)
    parts = [base.table.vectors(rows, np.arange(b, min(b + 4096, len(rows)))).numpy() for b in range(0, len(rows), 4096)]
    known = rows.labels >= 0
    return calibration.fit_biases((np.concatenate(parts) @ base.ngram_head[0])[known], rows.labels[known])


def describe(task: Task) -> dict[str, Any]:
    """What ``specialist.json`` says of how a task's texts are read and answered."""
    return {
        "normalizer": task.normalizer, "max_tokens": task.max_tokens, "kind": task.kind, "positive_labels": list(task.positive_labels),
    }  # fmt: skip


def write(
    folder: Path,
    wrapped: peft.PeftModel,
    head: dict[str, Floats],
    described: dict[str, Any],
    record: dict[str, Any],
    own: NgramTable | None = None,
) -> None:
    """Write a specialist's folder: PEFT adapter, head, n-gram table of its own, ``training.json``, and last ``specialist.json``.

    Without the last one ``quantize`` reads no specialist, so a folder that was not finished is not taken for one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "specialist.json").unlink(missing_ok=True)
    (folder / "ngrams.safetensors").unlink(missing_ok=True)
    if own is not None:
        own.write(folder / "ngrams.safetensors")
    wrapped.peft_config["default"].base_model_name_or_path = "edge-demist-base"
    wrapped.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    save_file({k: torch.from_numpy(v).contiguous() for k, v in head.items()}, folder / "head.safetensors")
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / "specialist.json").write_text(json.dumps(described, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
