"""Train the last layer's adapter of an alarm specialist for what is fresh: threats of today above ordinary strings, at a low rate.

    python -m tools.train.fresh --data DATA --task hostname-threat --work RUN --out FILES
    python -m quantize add FILES/fresh/hostname-threat.safetensors --replace --out FRESH
    python -m quantize add FILES/known/hostname-threat.safetensors --replace --out KNOWN

The layers below do not change, so a round computes what they give once. Fresh threats and names of lists stand against ordinary
strings, names of category lists and made ones; a share of the category lists' names are the highest of a larger draw by the adapter so
far (hard negatives). The logistic loss weighs all that is harmless ``--against`` times as much as all threats, so that its cut lies
near one ordinary string in some hundred. Of every other row the n-grams' part of the score is left out: columns know rows that they
have seen by heart. Beside it the log-odds of the head that is there and its vectors are kept for the table and for what is made
(Hinton et al., 2015). Nothing that calibrates or measures is read for it. ``--work`` holds what a round leaves: a run that ended goes on.

Two files with one adapter are written, with a plane for what is fresh and one for what is known.  ``tools.train.subclasses`` adds kinds to
each, and ``tools.train.labels`` makes the first the alarm group and the second the label group of one file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import peft
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.screen import METADATA as SCREEN
from edge_demist.train.fit import Cached
from tools.train import checkpoint, mixtures, pools, warm
from tools.train.data import TASKS, Rows, batches, read_table
from tools.train.distil import written
from tools.train.lora import cut_ranks, lora_config
from tools.train.network import Network, mean_pool, run_layers
from tools.train.ood import Served
from tools.train.shipped import BundleTokenizer, encoder_of
from tools.train.subclasses import Plane

if TYPE_CHECKING:
    from edge_demist.format.bundle import Bundle
    from edge_demist.format.specialist import Specialist

Floats = NDArray[np.float32]
WEIGHTS = {"threats": 1.0, "listed": 0.15, "picked": 4.0, "ordinary": 1.0, "unvetted": 0.2, "isp": 0.2, "categories": 0.5, "made": 0.7}
"""How much a row of an origin counts on its side; rows of the table do not count."""
MOST, KEPT = {"table": 10_000, "unvetted": 6000, "categories": 15_000, "made": 12_000}, ("table", "made")
"""Rows of an origin at most, and of which the log-odds and vectors are kept."""
DRAWN, HARD = 100_000, 20_000
"""Names of category lists that are scored, and how many of the highest are taken."""
SCALE, ABOVE, AT_CUT, SLOPE = 10.0, 0.01, 1.5, 0.5
"""Weight of the loss for what is fresh; log-odds that the share ``ABOVE`` of ordinary rows lies above when it is written, where columns
know them (3 for strings that did not train); and its factor, so that float32 tells scores at one in a hundred thousand apart."""


@dataclasses.dataclass
class Round:
    """Rows, alarm [n], weight [n], which are kept [n], n-gram parts of known and fresh [n, 2], known log-odds [n], vectors [n, H]."""

    rows: Rows
    alarm: NDArray[np.bool_]
    weight: Floats
    kept: Floats
    grams: Floats
    known: Floats
    pooled: Floats
    cached: Cached | None = None


class Draw:
    """Rows of a round."""

    def __init__(self, data: Path, bundle: Bundle, task: str, labels: list[str], seed: int) -> None:
        given = argparse.Namespace(exclude_source=[], limit=0, hold_out=[], seed=seed, generated=-1, more=None, more_rows=0, pools=1.0)
        self.task, self.seed = TASKS[task], seed
        self.file = bundle.path / "specialists" / f"{task}.safetensors"
        self.mixture = mixtures.Mixture(data, task, labels, BundleTokenizer(bundle), given)
        found = pools.of_task(data, self.task, labels, given)
        assert found is not None
        self.pool = found
        self._table = set(read_table(data, task, "train")["text"])
        self._origin = dict(zip(found["text"], found["origin"], strict=True))

    def rows(self, number: int) -> pd.DataFrame:
        """Columns text, alarm, origin."""
        texts, names = self.mixture.texts(number)
        rows = pd.DataFrame({"text": texts, "alarm": [name in self.task.positive_labels for name in names]}).drop_duplicates("text")
        rows["origin"] = ["table" if text in self._table else str(self._origin.get(text, "made")) for text in rows["text"]]
        parts = [part.sample(min(len(part), MOST.get(str(name), len(part))), random_state=number) for name, part in rows.groupby("origin")]
        return pd.concat(parts, ignore_index=True)

    def others(self, number: int) -> list[str]:
        """Names of category lists to find hard ones among."""
        names = self.pool.loc[self.pool["origin"] == "categories", "text"]
        return list(names.sample(min(DRAWN, len(names)), random_state=1000 * self.seed + number))


def balanced(alarm: NDArray[np.bool_], origin: NDArray[np.str_], against: float) -> Floats:
    """Weights of rows by their origin, float32 [n], 1 on the mean; all that is harmless weighs ``against`` times as much as all threats."""
    weight = np.array([WEIGHTS.get(name, 0.0) for name in origin], np.float32)
    for side, share in ((alarm, 1 / (1 + against)), (~alarm, against / (1 + against))):
        weight[side] *= share * len(weight) / weight[side].sum()
    return weight


def lesson(served: Served, draw: Draw, planes: Sequence[Plane], now: tuple[Served, Floats], number: int, against: float) -> Round:
    """Rows of a round with the teacher's answers, the hard ones by ``now``: an adapter and the head's weight on vectors and n-grams."""
    found = draw.rows(number)
    others = draw.others(number)
    packed = draw.mixture.pack(others)
    score = np.concatenate([now[0].pooled(packed), served.grams(packed)], axis=1) @ now[1]
    hard = [others[i] for i in np.argsort(-score)[:HARD]]
    found = pd.concat([found, pd.DataFrame({"text": hard, "alarm": False, "origin": "categories"})]).drop_duplicates("text")
    rows = draw.mixture.pack(list(found["text"]))
    pooled, grams, hidden = served.pooled(rows), served.grams(rows), len(served.specialist.weight)
    alarm, origin = found["alarm"].to_numpy(bool), found["origin"].to_numpy(str)
    weight = balanced(alarm, origin, against)
    known = pooled @ planes[0].weight[:hidden] + grams @ planes[0].weight[hidden:] + np.float32(planes[0].bias)
    parts = np.stack([grams @ plane.weight[hidden:] for plane in planes], axis=1)
    return Round(rows, alarm, weight, np.isin(origin, KEPT).astype(np.float32), parts, known, pooled)


def taught(net: Network, model: nn.Module, head: nn.Linear, part: Round, args: argparse.Namespace, number: int, optimizer: Any) -> float:
    """Train adapter and head on one round; returns the mean loss."""
    rng = np.random.default_rng((args.seed, number))
    plan = list(batches(part.rows.lengths, args.tokens, rng))
    began, seen = time.monotonic(), list[float]()
    part.cached = cached = part.cached or Cached(net, part.rows, args.first_layer)
    spread = torch.from_numpy(part.pooled.var(0).clip(1e-6))
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    for step, index in enumerate(plan):
        done = (number + step / len(plan)) / args.rounds
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1.0, (number * len(plan) + step + 1) / 200) * max(0.02, 1 - done)
        hidden, mask, lengths = cached.batch(index)
        pooled = mean_pool(run_layers(model, hidden, mask, args.first_layer), mask, lengths)
        grams, kept = torch.from_numpy(part.grams[index]), torch.from_numpy(part.kept[index])
        grams[:, 1] *= torch.from_numpy(rng.random(len(index)) < 0.5)
        known, fresh = (head(functional.dropout(pooled, 0.1)) + grams).T
        sign = torch.from_numpy(np.where(part.alarm[index], -1.0, 1.0).astype(np.float32))
        loss = (functional.softplus(sign * fresh) * torch.from_numpy(part.weight[index])).mean() * SCALE
        apart = functional.smooth_l1_loss(known, torch.from_numpy(part.known[index]), reduction="none")
        near = ((pooled - torch.from_numpy(part.pooled[index])).square() / spread).mean(1)
        loss = loss + args.keep * ((apart + near) * kept).sum() / kept.sum().clamp_min(1.0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        seen.append(loss.item())
        if step % 200 == 199:
            spent = time.monotonic() - began
            sys.stderr.write(f"round {number + 1}: {step + 1} of {len(plan)}, loss {np.mean(seen[-200:]):.4f}, {spent:.0f} s\n")
            sys.stderr.flush()
    return float(np.mean(seen))


def found_by(args: argparse.Namespace, student: Served, head: Floats) -> dict[str, Any]:
    """What a head on vectors, and with the n-grams' part in several shares, finds of the part ``calibrate``; curated and hand-picked."""
    from tools.train import low_end

    strings = low_end.strings(args.data, args.task)
    assert strings is not None
    hidden = len(student.specialist.weight)
    both = []
    for texts in (strings.ordinary, strings.threats):
        pooled, grams = student(texts)
        both.append((pooled @ head[:hidden], grams @ head[hidden:]))
    result = {}
    for share in (0.0, 0.4, 0.7, 1.0, 1.4):
        plain, threats = (vectors + share * grams for vectors, grams in both)
        rates = {"curated": plain, "picked": plain[strings.picked]}
        result[str(share)] = {k: [round(low_end.found_at(v, threats, (r,)), 4) for r in (1e-2, 1e-3, 1e-4)] for k, v in rates.items()}
    return result


def weight_of(head: nn.Linear, planes: Sequence[Plane]) -> Floats:
    """Weights of known and fresh on vectors and n-grams, float32 [features, 2]."""
    hidden = head.in_features
    return np.stack([np.concatenate([head.weight[i].detach().numpy(), p.weight[hidden:]]) for i, p in enumerate(planes)], axis=1)


def planes_of(specialist: Specialist) -> list[Plane]:
    """Known and what is fresh of a head of ``tools.train.subclasses`` whose alarm is the second of two labels."""
    assert specialist.ngram_weight is not None and specialist.subclasses and len(specialist.labels) == 2 and specialist.positive == (1,)
    if specialist.label_subclasses:
        raise SystemExit(
            f"{specialist.task}: known and fresh stand in groups of their own here; start from a file of tools.train.subclasses"
        )
    weight = np.concatenate([specialist.weight, specialist.ngram_weight])
    begin = specialist.subclasses.count(0)
    known, both = (Plane(w, float(b)) for w, b in zip(weight.T[begin : begin + 2], specialist.bias[begin : begin + 2], strict=True))
    return [known, both.plus(known, -1.0)]


def finished(args: argparse.Namespace, net: nn.Module, head: nn.Linear, served: Served, planes: Sequence[Plane], draw: Draw) -> int:
    """Cut the ranks and write a file with the plane of what is fresh and one with the plane of what is known; the ranks that are left."""
    ranks = cut_ranks(net, args.energy)
    adapter, weight, bias = warm.adapter_of(net, args.task), weight_of(head, planes), head.bias.detach().numpy().copy()
    weight[:, 1] *= np.float32(SLOPE)
    weight[head.in_features :, 1] *= np.float32(args.ngrams)
    rows = draw.rows(0)
    pooled, grams = served.under(adapter)(list(rows.loc[rows["origin"].isin(("ordinary", "picked")), "text"]))
    bias[1] = AT_CUT - np.quantile(np.concatenate([pooled, grams], axis=1) @ weight[:, 1], 1 - ABOVE)
    metadata, old = safetensors.read(draw.file)
    for name in (SCREEN, "subclasses", "label_subclasses", "label_below"):  # a screen is cut for one head: tools.train.screen fits another
        metadata.pop(name, None)
    for number, name in enumerate(("known", "fresh")):
        columns = np.stack([np.zeros_like(weight[:, number]), weight[:, number]], axis=1).astype(np.float32)
        parts = {"weight": columns[: head.in_features], "ngram_weight": columns[head.in_features :]}
        parts["bias"] = np.array([0.0, bias[number]], np.float32)
        (args.out / name).mkdir(parents=True, exist_ok=True)
        tensors = written(adapter, {f"head.{key}": value for key, value in parts.items()}, old)
        safetensors.write(args.out / name / f"{args.task}.safetensors", tensors, metadata)
    return sum(ranks.values())


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.fresh", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--task", required=True, choices=["hostname-threat"])
    p.add_argument("--rank", type=int, default=24)
    p.add_argument("--energy", type=float, default=0.95, help="share of each adapter's squared norm that is kept")
    p.add_argument("--rounds", type=int, default=6)
    p.add_argument("--mine", type=int, default=6, help="rounds on the same rows, before others are drawn and hard ones looked for")
    p.add_argument("--against", type=float, default=60.0, help="weight of all that is harmless against all threats")
    p.add_argument("--keep", type=float, default=0.3, help="weight of what the head that is there says of the table")
    p.add_argument("--ngrams", type=float, default=1.2, help="weight of the n-grams in the plane of what is fresh, when it is written")
    p.add_argument("--lr", type=float, default=8e-4)
    p.add_argument("--tokens", type=int, default=3072, help="tokens a batch")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--finish", action="store_true", help="write the files of what is in --work")
    p.add_argument("--work", type=Path, required=True, help="folder for what a round leaves")
    p.add_argument("--out", type=Path, required=True)
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, round after round, and write the files."""
    args = parse(argv)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    with EdgeDemist.load(args.bundle) as teacher:
        bundle, specialist = teacher.bundle, teacher.specialist(args.task)
        args.first_layer = bundle.architecture.num_layers - 1
        net, served, planes = Network(encoder_of(bundle), {}), Served(teacher, specialist), planes_of(specialist)
        model = peft.get_peft_model(net.encoder, lora_config(args.rank, args.first_layer, args.first_layer + 1)).base_model.model
        head = nn.Linear(len(specialist.weight), 2)
        warm.start(args.bundle, args.task, model, head, args.first_layer)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(np.stack([p.weight[: head.in_features] for p in planes])))
            head.bias.copy_(torch.tensor([p.bias for p in planes]))
        trained = [*(p for name, p in model.named_parameters() if "lora_" in name), *head.parameters()]
        for parameter in trained:
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW(trained, lr=args.lr, weight_decay=0.01, betas=(0.9, 0.98))
        held, part = nn.ParameterList(trained), None
        begin = int((checkpoint.resume(args.work, held, [optimizer]) or {"step": 0})["step"])
        draw = Draw(args.data, bundle, args.task, list(specialist.labels), args.seed)
        for number in range(begin, begin if args.finish else args.rounds):
            if part is None or number % args.mine == 0:
                now = served.under(warm.adapter_of(model, args.task)), weight_of(head, planes)[:, 1]
                part = lesson(served, draw, planes, now, number // args.mine, args.against)
            loss = taught(net, model, head, part, args, number, optimizer)
            checkpoint.save(args.work, held.state_dict(), [optimizer], {"step": number + 1})
            found = found_by(args, served.under(warm.adapter_of(model, args.task)), weight_of(head, planes)[:, 1])
            with (args.work / "log.jsonl").open("a") as log:
                log.write(json.dumps({"round": number + 1, "rows": len(part.rows), "loss": loss, "found": found}) + "\n")
        ranks = finished(args, model, head, served, planes, draw)
    sys.stdout.write(json.dumps({"task": args.task, "ranks": ranks}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
