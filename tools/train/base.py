"""Train the base: masked-language and multi-task training of a shallow encoder with our vocabulary.

    python -m tools.train.base --data DATA --tokenizer spm.model --out RUN --minutes 75

Starts from all-MiniLM-L6-v2's first layers (vocabulary transfer) or, with ``--from-scratch``, from random weights.
Resumes from RUN by itself. Writes RUN/log.jsonl, RUN/progress.json + state-*.safetensors, and at the end a
Hugging Face folder RUN/checkpoint (config.json, model.safetensors, heads.safetensors, spm.model, training.json).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch.nn import functional

from edge_demist.format.bundle import Bundle
from tools.train import checkpoint
from tools.train.data import (
    CORPUS_KINDS,
    TASKS,
    Rows,
    batches,
    in_order,
    load_tokenizer,
    normalized,
    pack,
    read_labels,
    read_table,
    sha256_file,
)
from tools.train.mixtures import Mixture
from tools.train.network import Network, empty_encoder, padded, shaped, transferred_encoder
from tools.train.shipped import encoder_of

# Share of training batches (each of about --tokens tokens) given to each source.
SHARES = {
    "labels": 0.28, "hostname-category": 0.17, "hostname-threat": 0.05, "dga": 0.09, "url-phishing": 0.09, "dns-tunnel": 0.02,
    "uri-attack": 0.08, "user-agent": 0.06, "cmdline": 0.03, "filename": 0.01, "mlm": 0.12,
}  # fmt: skip
MLM_ROWS = {"hostname": 400_000, "uri": 120_000, "dns_query": 10_000, "cmdline": 52_000, "http_header": 20_000, "path": 60_000,
            "payload": 60_000, "user_agent": 20_000, "cert": 1_512}  # fmt: skip


MLM_PLACES = 192
"""Masked tokens scored a batch: a fixed number, see ``data.batches``."""


class Source:
    """An endless, seeded, resumable stream of batches; ``rows_of`` gives the rows of an epoch."""

    def __init__(self, name: str, rows_of: Callable[[int], Rows], token_budget: int, seed: int) -> None:
        self.name, self.rows_of, self.token_budget, self.seed = name, rows_of, token_budget, seed
        self.epoch, self.position = 0, 0
        self._stream = self._open()

    def _open(self) -> Iterator[NDArray[np.int64]]:
        self.rows = self.rows_of(self.epoch)
        return batches(self.rows.lengths, self.token_budget, np.random.default_rng((self.seed, self.epoch)))

    def seek(self, epoch: int, position: int) -> None:
        """Go back to where a checkpoint was taken."""
        if epoch != self.epoch or self.position:
            self.epoch = epoch
            self._stream = self._open()
        self.position = position
        for _ in range(position):
            next(self._stream, None)

    def next(self) -> NDArray[np.int64]:
        """Row numbers of the next batch."""
        index = next(self._stream, None)
        if index is None:
            self.epoch, self.position = self.epoch + 1, 0
            self._stream = self._open()
            index = next(self._stream)
        self.position += 1
        return index


def build_sources(args: argparse.Namespace, tokenizer: Any) -> tuple[dict[str, Source], dict[str, list[str]], dict[str, Rows]]:
    """Training sources (the rounds that the specialists train on), label lists and a small dev sample of every task."""
    sources, labels, dev = {}, {}, {}
    for number, (name, task) in enumerate(TASKS.items()):
        labels[name] = sorted(read_table(args.data, name, "train", args.exclude_source)["label"].unique())
        own = {"more": args.agents if name == "user-agent" else None, "more_rows": 12_000}
        mixture = Mixture(args.data, name, labels[name], tokenizer, argparse.Namespace(**{**vars(args), **own}))
        sources[name] = Source(name, mixture.round, args.tokens, args.seed * 100 + number)
        code = {label: i for i, label in enumerate(labels[name])}
        check = read_table(args.data, name, "dev").sample(frac=1, random_state=0).head(args.dev_rows)
        check_y = check["label"].map(code).fillna(-1).to_numpy(np.int64)
        dev[name] = pack(normalized(check["text"], task.normalizer), tokenizer, task.max_tokens, check_y)
    table = read_labels(args.data, args.exclude_source)
    table = table.sample(min(args.limit or args.label_rows, len(table)), random_state=args.seed)
    names = sorted({p for joined in table["labels"].unique() for p in joined.split("|")})
    labels["labels"] = names
    column = {n: i for i, n in enumerate(names)}
    y = np.zeros((len(table), len(names)), np.float32)
    for i, joined in enumerate(table["labels"]):
        for part in joined.split("|"):
            y[i, column[part]] = 1.0
    y /= y.sum(1, keepdims=True)
    label_rows = pack(normalized(table["text"], "owner"), tokenizer, 64, y)
    sources["labels"] = Source("labels", lambda _: label_rows, args.tokens, args.seed * 100 + 50)
    texts: list[str] = []
    for kind in CORPUS_KINDS:
        column_of_kind = pd.read_parquet(args.data / "corpus" / f"{kind}.parquet")["text"]
        texts += list(column_of_kind.head(args.limit or MLM_ROWS[kind]))
    mlm_rows = pack(texts, tokenizer, 128)
    sources["mlm"] = Source("mlm", lambda _: mlm_rows, args.tokens, args.seed * 100 + 51)
    return sources, labels, dev


def mask_tokens(ids: torch.Tensor, lengths: torch.Tensor, mask_id: int, vocab: int) -> tuple[torch.Tensor, torch.Tensor]:
    """BERT masking: 15 % of the tokens, of these 80 % <mask>, 10 % random, 10 % kept. Returns (input, chosen mask)."""
    real = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
    real[:, 0] = False
    chosen = (torch.rand(ids.shape) < 0.15) & real
    kind = torch.rand(ids.shape)
    masked = torch.where(chosen & (kind < 0.8), mask_id, ids)
    return torch.where(chosen & (kind > 0.9), torch.randint(0, vocab, ids.shape), masked), chosen


def loss_of(net: Network, source: Source, index: NDArray[np.int64], mask_id: int) -> torch.Tensor:
    """Loss of one batch of one source."""
    ids, lengths = padded(source.rows, index)
    if source.name == "mlm":
        masked, chosen = mask_tokens(ids, lengths, mask_id, net.encoder.config.vocab_size)
        hidden, _ = net.pooled(masked, lengths)
        places = chosen.flatten().nonzero()[:, 0]
        places = places[torch.arange(MLM_PLACES) % len(places)] if len(places) else torch.arange(MLM_PLACES)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = functional.linear(net.mlm(hidden.flatten(0, 1)[places]), net.encoder.embeddings.word_embeddings.weight)
        return functional.cross_entropy(scores.float(), ids.flatten()[places])
    _, pooled = net.pooled(ids, lengths)
    logits = net.logits(source.name, pooled)
    assert source.rows.y is not None
    target = torch.from_numpy(source.rows.y[index])
    return functional.cross_entropy(logits, target, label_smoothing=0.05)


@torch.no_grad()
def evaluate(net: Network, dev: dict[str, Rows]) -> dict[str, float]:
    """Accuracy of every head on its dev sample."""
    net.eval()
    result = {}
    for name, rows in dev.items():
        right = 0
        for index in in_order(rows.lengths, 4096):
            _, pooled = net.pooled(*padded(rows, index))
            right += int((net.logits(name, pooled).argmax(1).numpy() == rows.labels[index]).sum())
        result[name] = round(right / len(rows), 4)
    net.train()
    return result


def export(net: Network, args: argparse.Namespace, labels: dict[str, list[str]], record: dict[str, Any]) -> None:
    """Write the Hugging Face folder that the quantizer reads."""
    folder: Path = args.out / "checkpoint"
    net.encoder.save_pretrained(folder, safe_serialization=True)
    shutil.copyfile(args.tokenizer, folder / "spm.model")
    heads = {f"{n}.{k}": v.detach().contiguous() for n in net.heads for k, v in net.heads[n].state_dict().items()}
    save_file(heads, folder / "heads.safetensors", metadata={"labels": json.dumps(labels)})
    (folder / "training.json").write_text(json.dumps(record, indent=1))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    p = argparse.ArgumentParser(
        prog="python -m tools.train.base", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--data", type=Path, required=True, help="folder with corpus/ and tasks/")
    p.add_argument("--tokenizer", type=Path, required=True, help="SentencePiece model")
    p.add_argument("--out", type=Path, required=True, help="run folder; an unfinished run there is resumed")
    p.add_argument("--minutes", type=float, default=60, help="training time; the learning rate falls to zero over it")
    p.add_argument("--steps", type=int, default=10**9, help="optimizer steps, if sooner reached than --minutes")
    p.add_argument("--layers", type=int, default=3)
    p.add_argument("--start", type=Path, help="run folder, or bundle, whose weights to go on from, instead of MiniLM's")
    p.add_argument("--from-scratch", action="store_true", help="random weights instead of MiniLM's")
    p.add_argument("--hidden-size", type=int, default=384, help="another width than MiniLM's 384; needs --from-scratch, multiple of 64")
    p.add_argument(
        "--batch-tokens",
        "--tokens",
        dest="tokens",
        type=int,
        default=2048,
        help="tokens a batch; three batches of different sources make a step",
    )
    p.add_argument("--lr", type=float, default=3e-4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--label-rows", type=int, default=1_800_000, help="rows of hostname-labels to use")
    p.add_argument("--limit", type=int, default=0, help="rows of every table (small runs)")
    p.add_argument(
        "--synthetic-rows",
        "--generated",
        dest="generated",
        type=int,
        default=-1,
        help="generated rows a round and task (-1: as for the specialists)",
    )
    p.add_argument("--agents", type=Path, help="rows of tools.train.known_agents, for user-agent")
    p.add_argument("--dev-rows", type=int, default=3000)
    p.add_argument("--hold-out", nargs="*", default=[], help="families left out of training (dga, dns-tunnel)")
    p.add_argument("--exclude-source", nargs="*", default=[], help="sources of task rows to leave out")
    p.add_argument("--evaluate-every", type=float, default=12, help="minutes between checkpoints with dev scores")
    args = p.parse_args(argv)
    if args.hidden_size % 64 or not 64 <= args.hidden_size <= 1024:
        p.error("--hidden-size must be a multiple of 64, at most 1024")
    if args.hidden_size != 384 and not args.from_scratch:
        p.error("MiniLM's weights are 384 wide: another --hidden-size needs --from-scratch")
    return args


def start(folder: Path, net: Network) -> dict[str, Any]:
    """Load the weights of a run (all of them), or of a bundle (its encoder); returns what the record says of it."""
    if not (folder / "manifest.json").is_file():
        checkpoint.resume(folder, net, [])
        found: dict[str, Any] = json.loads((folder / "checkpoint" / "training.json").read_text())
        return found
    bundle = Bundle.load(folder)
    weights = encoder_of(bundle).state_dict()
    types = "embeddings.token_type_embeddings.weight"  # a bundle has them in its positions
    weights[types] = torch.zeros_like(net.encoder.state_dict()[types])
    net.encoder.load_state_dict(weights)
    return {"bundle": bundle.id, "base_sha256": bundle.base_sha256}


def main(argv: Sequence[str] | None = None) -> int:
    """Train and export."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(args.tokenizer)
    sources, labels, dev = build_sources(args, tokenizer)
    encoder = transferred_encoder(tokenizer, args.layers)
    if args.from_scratch:
        encoder = empty_encoder(shaped(encoder.config, args.hidden_size))
    net = Network(encoder, {n: len(x) for n, x in labels.items()})
    hidden = encoder.config.hidden_size
    net.mlm = torch.nn.Sequential(torch.nn.Linear(hidden, hidden), torch.nn.GELU(), torch.nn.LayerNorm(hidden))
    groups = [
        {"params": list(net.encoder.encoder.parameters()), "base": args.lr},
        {"params": list(net.encoder.embeddings.parameters()), "base": args.lr * 2},
        {"params": [*net.heads.parameters(), *net.mlm.parameters()], "base": args.lr * 3},
    ]
    optimizer = torch.optim.AdamW([{**g, "lr": g["base"]} for g in groups], weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    trainable = [q for g in groups for q in g["params"]]
    started = start(args.start, net) if args.start else None
    state = checkpoint.resume(args.out, net, [optimizer]) or {"step": 0, "seconds": 0.0, "streams": {}, "scores": {}}
    for name, (epoch, position) in state["streams"].items():
        sources[name].seek(epoch, position)
    print({n: len(s.rows) for n, s in sources.items()}, f"resumed at step {state['step']}", file=sys.stderr, flush=True)
    names, shares = list(SHARES), np.array(list(SHARES.values()))
    mask_id = tokenizer.piece_to_id("<mask>")
    step, before, began, last_saved = state["step"], state["seconds"], time.monotonic(), time.monotonic()
    losses: dict[str, list[float]] = {n: [] for n in names}
    tokens = 0
    net.train()
    while True:
        seconds = before + time.monotonic() - began
        done = max(seconds / (args.minutes * 60), step / args.steps)
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * min(1.0, (step + 1) / 200) * max(0.005, 1 - done)
        finished = done >= 1
        if finished or time.monotonic() - last_saved > args.evaluate_every * 60:
            state = {"step": step, "seconds": seconds, "streams": {n: [s.epoch, s.position] for n, s in sources.items()},
                     "scores": evaluate(net, dev)}  # fmt: skip
            line = {**state, "loss": {n: round(float(np.mean(v[-50:])), 4) for n, v in losses.items() if v}}
            with (args.out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            checkpoint.save(args.out, net.state_dict(), [optimizer], state)
            print(json.dumps(line), file=sys.stderr, flush=True)
            last_saved = time.monotonic()
            if finished:
                break
        rng = np.random.default_rng((args.seed, step))
        optimizer.zero_grad()
        for name in rng.choice(names, size=3, replace=False, p=shares / shares.sum()):
            index = sources[name].next()
            tokens += int(sources[name].rows.lengths[index].sum())
            loss = loss_of(net, sources[name], index, mask_id)
            loss.backward()
            losses[name].append(loss.item())
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            rate = tokens / (time.monotonic() - began)
            recent = {n: round(float(np.mean(v[-20:])), 3) for n, v in losses.items() if v}
            print(f"step {step} {done:.1%} {rate:.0f} tokens/s {recent}", file=sys.stderr, flush=True)
    files = sorted(p for p in args.data.rglob("*.parquet") if "dev" not in p.name)
    command = {k: str(v) for k, v in vars(args).items() if k not in ("data", "tokenizer", "out", "start", "agents")}
    record = {"command": command, "shares": SHARES, "steps": step,
              "seconds": round(state["seconds"]), "scores_dev_sample": state["scores"],
              "data_sha256": {str(p.relative_to(args.data)): sha256_file(p) for p in files},
              "tokenizer_sha256": sha256_file(args.tokenizer),
              "agents_sha256": sha256_file(args.agents) if args.agents else None,
              "start": started}  # fmt: skip
    export(net, args, labels, record)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
