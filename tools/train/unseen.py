"""Train the last layer's adapter of dga for families that no table has: the table, made families and shapes above ordinary names; minutes.

    python -m tools.train.unseen --data DATA --out FILES
    python -m quantize add FILES/dga.safetensors --replace --out NEW

It starts from the adapter that is there. Families of the table, those that ``tools.synth.dga`` draws and the shapes of
``tools.synth.dga_shapes`` weigh as ``SIDES`` says, all that is harmless ``--against`` times as much together, so that the cut lies near
one ordinary name in some hundred; of names of category lists the highest by the head that is there are taken (hard negatives). A second
plane, which is not kept, learns the labels of the balanced table, so that the vectors do not forget them. N-grams are left out while
training and weighed after it: the task's column knows rows that it has seen by heart. Nothing that calibrates or measures is read.

``tools.train.ood`` then fits the OOD detector again, ``tools.train.subclasses`` adds kinds and takes thresholds.  ``--hold-out`` leaves
families of the table out and ``--without`` shapes, to learn what unseen families are worth.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
from tools.synth import dga, dga_shapes, everyday_hosts, everyday_kinds, service_names, words
from tools.train import mixtures, pools, warm
from tools.train.data import TASKS, batches, read_table
from tools.train.distil import written
from tools.train.labels import LABEL_GROUP
from tools.train.lora import cut_ranks, lora_config
from tools.train.network import Network, mean_pool, run_layers
from tools.train.ood import Served
from tools.train.shipped import BundleTokenizer, encoder_of

if TYPE_CHECKING:
    from edge_demist.format.adapter import Adapter
    from edge_demist.format.specialist import Specialist

Floats = NDArray[np.float32]
TASK = "dga"
OF_A_FAMILY, LEGIT = 450, 12_000
"""Rows of a family of the table, and harmless rows of it."""
MADE, SHAPES, EVERYDAY, KINDS, HOSTS, LOCAL = 5500, 12_000, 5000, 10_000, 4000, 1000
"""Names made by program: drawn families, shapes, and harmless ones of four generators."""
POOLS = {"picked": 1 << 30, "ordinary": 22_000, "unvetted": 5000}
DRAWN, HARD = 60_000, 10_000
"""Names of category lists that are scored, and how many of the highest are taken."""
WEIGHTS = {"picked": 4.0, "ordinary": 1.0, "unvetted": 0.2, "categories": 0.5, "made": 0.7, "table": 0.5}
"""How much a harmless row of an origin counts for alarms."""
SIDES = {"table": 0.45, "shapes": 0.4, "made": 0.15}
"""What generated names of an origin weigh together."""
WORDS, ZONES = 0.25, 6.0
"""How often a family that puts words together counts, and harmless names below zones that generated ones are often below."""
BELOW = ("dynamic-dns", "cheap-endings", "free-endings", "identifiers")
"""Kinds of such harmless names (``tools.synth.everyday_kinds``)."""
OTHERS, SCALE, LOW = 0.3, 6.0, 3.0
"""Weight of rows beside the table's for labels, weight of the loss of alarms, and how much lower their plane begins."""
ABOVE, AT_CUT = 0.01, 1.5
"""Share of ordinary names that train above the log-odds ``AT_CUT`` of an alarm."""


@functools.cache
def times_of(family: str) -> float:
    """How often a generated row of a family or kind counts."""
    words_of = {f"shape-{shape.name}" for shape in dga_shapes.shapes() if shape.rule in dga_shapes.DICTIONARY} | {
        f"synthetic-{dga.DICTIONARY}"
    }
    return WORDS if family in words_of else ZONES if any(kind in family for kind in BELOW) else 1.0


def rows_of(args: argparse.Namespace, pool: pd.DataFrame, served: Served, head: Floats) -> pd.DataFrame:
    """Columns text, alarm, origin, times (how often a row counts); ``head`` are the weights by which hard names of ``pool`` are found."""
    rng = random.Random(f"{args.seed} {TASK} unseen")
    table = read_table(args.data, TASK, "train")
    legit, names = table[table["label"] != TASK], table[(table["label"] == TASK) & ~table["family"].isin(args.hold_out)]
    known = {*table["text"], *read_table(args.data, TASK, "dev")["text"]}
    parts = [part.sample(min(OF_A_FAMILY, len(part)), random_state=args.seed)[["text"]] for _, part in names.groupby("family")]
    found = [pd.concat(parts).assign(alarm=True, origin="table")]
    found.append(legit[["text"]].sample(min(LEGIT, len(legit)), random_state=args.seed).assign(alarm=False, origin="table"))
    vocabulary = words.derive_words(legit["text"].sample(min(LEGIT, len(legit)), random_state=args.seed + 1))
    real = list(zip(legit["text"], legit["label"], strict=True))
    harmless = everyday_hosts.generate(rng, EVERYDAY) + everyday_kinds.generate(rng, KINDS)
    harmless += service_names.hosts(rng, real, HOSTS) + [service_names.local(rng) for _ in range(LOCAL)]
    made = {"shapes": dga_shapes.generate(rng, SHAPES, words=vocabulary, exclude=args.without)}
    made["made"] = dga.generate(rng, MADE, words=vocabulary) + harmless
    for origin, rows in made.items():
        kept = [row for row in rows if row[0] not in known]
        times = [times_of(r[2]) for r in kept]
        found.append(pd.DataFrame({"text": [r[0] for r in kept], "alarm": [r[1] == TASK for r in kept], "origin": origin, "times": times}))
    for origin, most in POOLS.items():
        some = pool[pool["origin"] == origin]
        found.append(some[["text"]].sample(min(most, len(some)), random_state=args.seed).assign(alarm=False, origin=origin))
    others = pool.loc[pool["origin"] == "categories", ["text"]]
    others = others.sample(min(DRAWN, len(others)), random_state=args.seed)
    score = np.concatenate(served(list(others["text"])), axis=1) @ head
    found.append(others.iloc[np.argsort(-score)[:HARD]].assign(alarm=False, origin="categories"))
    return pd.concat(found, ignore_index=True).drop_duplicates("text").reset_index(drop=True).fillna({"times": 1.0})


def weights_of(rows: pd.DataFrame, against: float) -> tuple[Floats, Floats]:
    """Weights of rows for labels and for alarms, float32 [n] each; for alarms what is harmless weighs ``against`` times all the rest."""
    alarm, origin = rows["alarm"].to_numpy(bool), rows["origin"].to_numpy(str)
    weight = rows["times"].to_numpy(np.float32) * np.array([WEIGHTS.get(name, 0.0) for name in origin], np.float32)
    weight[alarm] = rows["times"].to_numpy(np.float32)[alarm]
    present = {name: alarm & (origin == name) for name in SIDES if (alarm & (origin == name)).any()}
    for name, some in present.items():
        weight[some] *= len(weight) * SIDES[name] / sum(SIDES[n] for n in present) / (1 + against) / weight[some].sum()
    weight[~alarm] *= len(weight) * against / (1 + against) / weight[~alarm].sum()
    return np.where(origin == "table", 1.0, OTHERS).astype(np.float32), weight


def begun(args: argparse.Namespace, net: Network, specialist: Specialist) -> tuple[nn.Module, nn.Linear]:
    """A model with the adapter that is there, and a head of two planes, labels and alarms, that both begin as the log-odds of the head."""
    model = peft.get_peft_model(net.encoder, lora_config(args.rank, args.first_layer, args.first_layer + 1)).base_model.model
    head, column = nn.Linear(len(specialist.weight), 2), list(specialist.owners).index(0)
    warm.start(args.bundle, TASK, model, head, args.first_layer)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(np.stack([specialist.weight[:, column]] * 2)))
        head.bias.copy_(float(specialist.bias[column]) - torch.tensor([0.0, LOW]))
    return model, head


def train(
    args: argparse.Namespace, model: nn.Module, head: nn.Linear, cached: Cached, alarm: NDArray[np.bool_], weights: tuple[Floats, Floats]
) -> None:
    """Train adapter and head on the rows, ``args.rounds`` times."""
    trained = [*(p for name, p in model.named_parameters() if "lora_" in name), *head.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=args.lr, weight_decay=0.01, betas=(0.9, 0.98))
    plans = [list(batches(cached.rows.lengths, args.tokens, np.random.default_rng((args.seed, number)))) for number in range(args.rounds)]
    total, began, seen = sum(map(len, plans)), time.monotonic(), list[float]()
    for step, index in enumerate(itertools.chain.from_iterable(plans)):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1.0, (step + 1) / 60) * max(0.02, 1 - step / total)
        hidden, mask, lengths = cached.batch(index)
        scores = head(functional.dropout(mean_pool(run_layers(model, hidden, mask, args.first_layer), mask, lengths), 0.05))
        sign = torch.from_numpy(np.where(alarm[index], -1.0, 1.0).astype(np.float32))
        losses = [(functional.softplus(sign * z) * torch.from_numpy(w[index])).mean() for z, w in zip(scores.T, weights, strict=True)]
        loss = losses[0] + SCALE * losses[1]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        seen.append(loss.item())
        if step % 200 == 199:
            sys.stderr.write(f"{step + 1} of {total}, loss {np.mean(seen[-200:]):.4f}, {time.monotonic() - began:.0f} s\n")


def plane(args: argparse.Namespace, head: nn.Linear, specialist: Specialist) -> Floats:
    """Weights of an alarm, float32 [features]: on vectors the trained ones, on n-grams those of the head that is there so many times."""
    assert specialist.ngram_weight is not None
    grams = args.ngrams * specialist.ngram_weight[:, list(specialist.owners).index(0)]
    return np.concatenate([head.weight[1].detach().numpy(), grams]).astype(np.float32)


def write(args: argparse.Namespace, adapter: Adapter, weight: Floats, bias: float, source: Path) -> None:
    """A file with the adapter and a head of one column a label."""
    metadata, old = safetensors.read(source)
    for name in (SCREEN, "subclasses", *LABEL_GROUP):  # a screen is cut for one head: tools.train.screen fits another
        metadata.pop(name, None)
    columns, hidden = np.stack([weight, np.zeros_like(weight)], axis=1), len(weight) - len(old["head.ngram_weight"])
    new = {"head.weight": columns[:hidden], "head.ngram_weight": columns[hidden:], "head.bias": np.array([bias, 0.0], np.float32)}
    args.out.mkdir(parents=True, exist_ok=True)
    safetensors.write(args.out / f"{TASK}.safetensors", written(adapter, new, old), {**metadata, "temperature": "1.0"})


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.unseen", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--energy", type=float, default=0.98, help="share of each adapter's squared norm that is kept")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--against", type=float, default=40.0, help="weight of all that is harmless against all that is generated")
    p.add_argument("--ngrams", type=float, default=1.3, help="weight of the n-grams, times that of the head that is there")
    p.add_argument("--lr", type=float, default=7e-4)
    p.add_argument("--tokens", type=int, default=3072, help="tokens a batch")
    p.add_argument("--hold-out", nargs="*", default=[], help="families of the table left out")
    p.add_argument("--without", nargs="*", default=[], help="shapes left out")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", type=Path, required=True)
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train and write the file."""
    args = parse(argv)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    given = argparse.Namespace(exclude_source=[], limit=0, hold_out=[], seed=args.seed, generated=0, more=None, more_rows=0, pools=0)
    with EdgeDemist.load(args.bundle) as model:
        bundle, specialist = model.bundle, model.specialist(TASK)
        args.first_layer, labels = bundle.architecture.num_layers - 1, list(specialist.labels)
        if labels[0] != TASK or specialist.ngram_weight is None:
            raise SystemExit(f"{TASK}: its head needs n-grams, and the alarm as its first label")
        net, served = Network(encoder_of(bundle), {}), Served(model, specialist)
        pool = pools.of_task(args.data, TASKS[TASK], labels, given)
        assert pool is not None
        before = np.concatenate([specialist.weight, specialist.ngram_weight])[:, list(specialist.owners).index(0)]
        rows = rows_of(args, pool, served, before)
        packed = mixtures.Mixture(args.data, TASK, labels, BundleTokenizer(bundle), given).pack(list(rows["text"]))
        wrapped, head = begun(args, net, specialist)
        train(args, wrapped, head, Cached(net, packed, args.first_layer), rows["alarm"].to_numpy(bool), weights_of(rows, args.against))
        ranks = cut_ranks(wrapped, args.energy)
        weight = plane(args, head, specialist)
        adapter, plain = warm.adapter_of(wrapped, TASK), list(rows.loc[rows["origin"].isin(("ordinary", "picked")), "text"])
        scores = np.concatenate(served.under(adapter)(plain), axis=1) @ weight
        bias = AT_CUT - float(np.quantile(scores, 1 - ABOVE))
        write(args, adapter, weight, bias, bundle.path / "specialists" / f"{TASK}.safetensors")
    sys.stdout.write(json.dumps({"rows": len(rows), "ranks": sum(ranks.values())}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
