"""Train the last layer's adapter of dns-tunnel on its ranking: tunnels of many tools above the ordinary names that lie highest.

    python -m tools.train.ranked --data DATA --work RUN --out FILES
    python -m quantize add FILES/dns-tunnel.safetensors --replace --out NEW
    python -m tools.train.thresholds --data DATA --bundle NEW --task dns-tunnel --parts calibrate measure --out FILES

A round draws tunnels of every tool that trains (``tools.synth.tunnel``, ``tunnel_reported``) and of no tool in particular, the table, and
harmless names: made ones, ordinary ones of the part ``train`` and names of category lists. Those that the adapter so far ranks highest are
taken, some others beside them. The loss is cross-entropy, bounded for tunnels (``EPSILON``), since some of their names are like any other,
and every tunnel of a batch against its highest harmless names, bounded likewise. Of some rows the n-grams' part of the score is left at its
mean: columns know rows that they have seen by heart. The adapter keeps its sites and ranks. What is never read: the parts ``calibrate`` and
``measure`` (but for thresholds at the end), recordings, and tools that ``benchmarks.tunnel_tools`` measures. ``--work`` holds what a round
leaves: a run that ended goes on.
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
import pandas as pd
import peft
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.adapter import Adapter
from edge_demist.format.screen import METADATA as SCREEN
from edge_demist.format.specialist import Specialist
from edge_demist.train import calibration
from edge_demist.train.fit import Cached
from tools.synth import dns_legit, everyday_hosts, everyday_kinds, service_names, tunnel, tunnel_reported, words
from tools.train import low_head, mixtures, pools, warm
from tools.train.data import Rows, batches, read_table
from tools.train.distil import written
from tools.train.kept import Kept
from tools.train.network import Network, mean_pool, run_layers
from tools.train.ood import Served, plain_head
from tools.train.shipped import BundleTokenizer, encoder_of
from tools.train.subclasses import without_zones

Floats = NDArray[np.float32]
TASK = "dns-tunnel"
TUNNELS = {"tunnel": 11_000, "reported": 9000, "composed": 12_000}
"""Tunnels drawn a round: of the tools of ``tunnel``, of those of ``tunnel_reported``, and of none in particular."""
KINDS = {
    "identifiers": 4000,
    "antivirus": 3000,
    "provider-lines": 4000,
    "computers": 1500,
    "cloud-machines": 1500,
    "cdn": 1000,
    "dnsbl": 1000,
}
"""Names made a round of kinds that look like tunnels, beside ``EVEN`` of all kinds."""
EVEN, LEGIT, BELOW, HOSTS, LISTED, SHORT = 12_000, 7000, 2500, 2500, 250_000, 2500
BARE = ("identifiers", "cdn", "cloud-machines", "provider-lines")
"""Kinds of which names without their zone are drawn too, as the table has them: half as many. ``SHORT`` more names are dnscat2's."""
FOUND, HARDEST, OTHERS, BY_NGRAMS = 14_000, 17_000, 6000, 25_000
"""Rows a round: tunnels, the highest harmless names, others; and names of category lists that the encoder reads, highest by n-grams."""
SURE, OF_SURE, LONG, OF_LONG = 6.0, 0.15, 70, 0.4
"""Log-odds of tunnels of which a share is taken, and tokens of long ones of which a share is taken: they are found anyway."""
WEIGHTS = {"ordinary": 2.0, "picked": 2.0, "isp": 2.0, "unvetted": 0.4, "categories": 0.8, "table": 5.0, "made": 0.6}
"""How much a harmless row of an origin counts, and every row of the table; other tunnels count 1."""
AGAINST, EPSILON, TOP, HIGHEST, AT_MEAN, SCALE = 20.0, 0.02, 1.0, 0.05, 0.3, 6.0
"""Weight of harmless rows against tunnels; probability from which a tunnel's loss grows no further; weight of the ranking and share of the
harmless rows of a batch in it; share of rows without their n-grams; and the scale of the cross-entropy."""


@dataclasses.dataclass(frozen=True)
class State:
    """What a round leaves: adapter, weight on vectors [H], bias, and the n-grams' share."""

    adapter: Adapter
    weight: Floats
    bias: float
    share: float

    def scores(self, served: Served, rows: Rows, grams: Floats) -> Floats:
        """Log-odds of a tunnel, float32 [n], given the n-grams' part [n]."""
        found: Floats = served.under(self.adapter).pooled(rows) @ self.weight + self.bias + self.share * grams
        return found


def first_state(specialist: Specialist) -> tuple[State, Floats]:
    """The head that is there, and its weight on n-grams, both over its temperature."""
    weight, bias = (part / np.float32(specialist.temperature) for part in plain_head(specialist))
    difference = (weight[:, 1] - weight[:, 0]).astype(np.float32)
    hidden = len(specialist.weight)
    return State(specialist.adapter, difference[:hidden], float(bias[1] - bias[0]), 1.0), difference[hidden:]


def made(data: Path, rng: random.Random) -> list[tuple[str, bool, str]]:
    """Tunnels and harmless names made by program: text, alarm, origin."""
    table, held = read_table(data, "dga", "train"), pools.held_domains(data, TASK)
    real = sorted(set(table.loc[(table["label"] == "legit") & (table["text"].str.count(r"\.") == 1), "text"]) - held)
    zones = rng.sample(real, min(2500, len(real))) + [words.domain(rng) for _ in range(1000)]
    tunnels = tunnel.generate(rng, TUNNELS["tunnel"], bases=zones, base_rate=0.8)
    tunnels += tunnel.generate(rng, SHORT, tools=["dnscat2"], bases=zones, base_rate=0.95)
    tunnels += tunnel_reported.generate(rng, TUNNELS["reported"], bases=zones, base_rate=0.85)
    tunnels += tunnel_reported.generate_composed(rng, TUNNELS["composed"], bases=zones)
    legit = everyday_kinds.generate(rng, EVEN) + dns_legit.generate(rng, LEGIT) + everyday_hosts.generate(rng, HOSTS)
    legit += service_names.below(rng, [tunnel.base_domain(rng, zones) for _ in range(BELOW)])
    names = [row[0] for row in legit]
    for kind, count in KINDS.items():
        templates = everyday_kinds.kinds("names", "train")[kind]
        some = [everyday_kinds.filled(rng, templates[n % len(templates)]) for n in range(count)]
        names += some + (without_zones(some[::2]) if kind in BARE else [])
    return [(row[0], True, row[2]) for row in tunnels] + [(name, False, "made") for name in names]


def drawn(data: Path, served: Served, share: Floats, seed: int, number: int) -> pd.DataFrame:
    """All rows that a round chooses from: columns text, alarm, origin; of category lists those that are highest by n-grams."""
    found = pd.DataFrame(made(data, random.Random(f"{seed} ranked {number}")), columns=["text", "alarm", "origin"])
    table = read_table(data, TASK, "train")
    table = pd.DataFrame({"text": table["text"], "alarm": table["label"] == "tunnel", "origin": "table"})
    plain = pools.ordinary_rows(data, TASK, "legit").assign(alarm=False)
    listed = pools.read(data, "hostname-threat", "malicious", "legit")
    listed = listed[listed["origin"] == "categories"]
    listed = listed.sample(min(LISTED, len(listed)), random_state=seed + number)
    part = np.concatenate([served.ngrams(list(some["text"])) @ share for some in _cut(listed)])
    listed = listed.iloc[np.argsort(-part)[:BY_NGRAMS]].assign(alarm=False)
    rows = pd.concat([table, found, plain, listed], ignore_index=True)[["text", "alarm", "origin"]]
    dev = set(read_table(data, TASK, "dev")["text"])
    return rows[~rows["text"].isin(dev)].drop_duplicates("text").reset_index(drop=True)


def _cut(rows: pd.DataFrame, size: int = 8192) -> list[pd.DataFrame]:
    return [rows.iloc[begin : begin + size] for begin in range(0, len(rows), size)]


def chosen(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Rows to train on, given ``score`` and ``tokens``: tunnels that are not sure, and the highest harmless names."""
    rng, alarm = np.random.default_rng(seed), rows["alarm"].to_numpy(bool)
    some = np.where(rows["score"] > SURE, OF_SURE, 1.0) * np.where(rows["tokens"] > LONG, OF_LONG, 1.0)
    tunnels = rows[alarm & (rng.random(len(rows)) < some)]
    plain = rows[~alarm & ~((rows["origin"] == "unvetted") & (rows["score"] > 0))].sort_values("score", ascending=False, kind="stable")
    rest = plain.iloc[HARDEST:]
    parts = [tunnels.sample(min(FOUND, len(tunnels)), random_state=seed), plain.iloc[:HARDEST]]
    parts.append(rest.sample(min(OTHERS, len(rest)), random_state=seed))
    return pd.concat(parts).sample(frac=1, random_state=seed).reset_index(drop=True)


def weights_of(rows: pd.DataFrame) -> Floats:
    """Weight of each row, float32 [n], 1 on the mean of its side."""
    alarm = rows["alarm"].to_numpy(bool)
    weight = rows["origin"].map(lambda origin: WEIGHTS.get(origin, 1.0)).to_numpy(np.float32).copy()
    weight[alarm & (rows["origin"] != "table").to_numpy()] = 1.0
    for side in (alarm, ~alarm):
        weight[side] /= max(float(weight[side].mean()), 1e-9) if side.any() else 1.0
    return weight


def bounded(score: Tensor) -> Tensor:
    """Cross-entropy of an alarm that grows no further where its probability is far below ``EPSILON``."""
    return -torch.log(torch.sigmoid(score) * (1 - EPSILON) + EPSILON)


def loss_of(score: Tensor, alarm: Tensor, weight: Tensor, share: float) -> Tensor:
    """Loss of a batch: scores, alarms and weights [n], and the share of alarms among all rows."""
    found, plain = score[alarm], score[~alarm]
    by_row = (bounded(found) * weight[alarm]).sum() / share + AGAINST * (functional.softplus(plain) * weight[~alarm]).sum() / (1 - share)
    loss = SCALE * by_row / len(score) / (1 + AGAINST)
    if len(found) and len(plain):
        highest = plain.topk(max(1, int(HIGHEST * len(plain)))).values
        loss = loss + TOP * bounded(found[:, None] - highest[None, :]).mean()
    return loss


def student_of(net: Network, state: State, last: int) -> nn.Module:
    """The encoder with a PEFT adapter of the same sites and ranks, with the same values."""
    named = {site: name for name, site in warm.MODULES.items()}
    ranks = {rf"{last}.{named[site]}": down.shape[1] for (_, site), (down, _) in state.adapter.layers.items()}
    config = peft.LoraConfig(
        r=1, lora_alpha=1, target_modules=rf".*layer\.({'|'.join(ranks).replace('.', chr(92) + '.')})",
        rank_pattern=ranks, alpha_pattern=dict(ranks), task_type="FEATURE_EXTRACTION",
    )  # fmt: skip
    model: nn.Module = peft.get_peft_model(net.encoder, config).base_model.model
    with torch.no_grad():
        for path, module in model.named_modules():
            if isinstance(module, peft.tuners.lora.LoraLayer):
                number, _, rest = path.partition("layer.")[2].partition(".")
                down, up = state.adapter.layers[int(number), warm.MODULES[rest]]
                module.lora_A["default"].weight.copy_(torch.from_numpy(down.T.copy()))
                module.lora_B["default"].weight.copy_(torch.from_numpy(up.T.copy()) / module.scaling["default"])
    return model


def taught(net: Network, state: State, rows: pd.DataFrame, packed: Rows, grams: Floats, args: argparse.Namespace, number: int) -> State:
    """Train on one round's rows."""
    model, head = student_of(net, state, args.last), nn.Linear(len(state.weight), 1)
    share = nn.Parameter(torch.tensor(state.share))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(state.weight[None]))
        head.bias.fill_(state.bias)
    trained = [p for name, p in model.named_parameters() if "lora_" in name] + list(head.parameters())
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW([{"params": trained}, {"params": [share], "weight_decay": 0.0}], weight_decay=0.01, betas=(0.9, 0.98))
    alarm, weight, mean = rows["alarm"].to_numpy(bool), weights_of(rows), float(grams.mean())
    cached, rng, began = Cached(net, packed, args.last), np.random.default_rng((args.seed, number)), time.monotonic()
    plans = [list(batches(packed.lengths, args.tokens, np.random.default_rng((args.seed, number, n)))) for n in range(args.epochs)]
    steps = [index for plan in plans for index in plan]
    rate, seen = args.lr[min(number, len(args.lr) - 1)], list[float]()
    for step, index in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 60) * max(0.02, 1 - step / len(steps))
        hidden, mask, lengths = cached.batch(index)
        pooled = mean_pool(run_layers(model, hidden, mask, args.last), mask, lengths)
        part = np.where(rng.random(len(index)) < AT_MEAN, np.float32(mean), grams[index])
        score = head(functional.dropout(pooled, 0.1)).squeeze(1) + share * torch.from_numpy(part)
        loss = loss_of(score, torch.from_numpy(alarm[index]), torch.from_numpy(weight[index]), float(alarm.mean()))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*trained, share], 1.0)
        optimizer.step()
        seen.append(loss.item())
        if step % 100 == 99:
            loss_now, spent = np.mean(seen[-100:]), time.monotonic() - began
            sys.stderr.write(f"round {number + 1}: {step + 1} of {len(steps)}, loss {loss_now:.4f}, {spent:.0f} s\n")
    weight_now = head.weight.detach().numpy()[0].copy()
    return State(warm.adapter_of(model, TASK), weight_now, float(head.bias.detach()), float(share.detach()))


def keep(file: Path, number: int, state: State) -> None:
    """Write what ``number`` rounds have left, whole or not at all."""
    tensors = {
        f"{layer}.{target}.{side}": x for (layer, target), pair in state.adapter.layers.items() for side, x in zip("ab", pair, strict=True)
    }
    tensors |= {"weight": state.weight, "bias": np.array([state.bias, state.share], np.float32)}
    safetensors.write(file, tensors, {"rounds": str(number)})


def resumed(file: Path) -> tuple[int, State]:
    """How many rounds a file of :func:`keep` holds, and what they left."""
    metadata, read = safetensors.read(file, copy=True)
    tensors = {name: np.asarray(tensor, np.float32) for name, tensor in read.items()}
    bias, share = (float(x) for x in tensors["bias"])
    sites = [name[:-2] for name in tensors if name.endswith(".a")]
    layers = {(int(site.split(".")[0]), site.split(".")[1]): (tensors[f"{site}.a"], tensors[f"{site}.b"]) for site in sites}
    return int(metadata["rounds"]), State(Adapter(TASK, layers), tensors["weight"], bias, share)


def rounds(args: argparse.Namespace, served: Served, net: Network, share: Floats, state: State) -> State:
    """Train round after round; goes on from what ``--work`` holds."""
    file = args.work / "state.safetensors"
    begin = 0
    if file.is_file():
        begin, state = resumed(file)
    mixture = mixture_of(args, served)
    for number in range(begin, args.rounds):
        rows = drawn(args.data, served, share, args.seed, number)
        scores, tokens = [], []
        for some in _cut(rows):
            packed = mixture.pack(list(some["text"]))
            scores.append(state.scores(served, packed, served.grams(packed) @ share))
            tokens.append(packed.lengths)
        rows = chosen(rows.assign(score=np.concatenate(scores), tokens=np.concatenate(tokens)), args.seed + number)
        packed = mixture.pack(list(rows["text"]))
        state = taught(net, state, rows, packed, (served.grams(packed) @ share).astype(np.float32), args, number)
        keep(file, number + 1, state)
    return state


def mixture_of(args: argparse.Namespace, served: Served) -> mixtures.Mixture:
    """The task's rows, for its foreign strings and to pack names."""
    given = argparse.Namespace(exclude_source=[], limit=0, hold_out=[], seed=args.seed, generated=-1, more=None, more_rows=0, pools=0)
    return mixtures.Mixture(args.data, TASK, list(served.specialist.labels), BundleTokenizer(args.bundle_read), given)


def finished(args: argparse.Namespace, model: EdgeDemist, served: Served, share: Floats, state: State) -> dict[str, Any]:
    """Fit the OOD detector, calibrate and write the file; what dev and both parts of ordinary names say."""
    under = served.under(state.adapter)
    own, kin, foreign = mixture_of(args, served).domain_features(lambda rows: (under.pooled(rows), under.grams(rows)))
    domain = calibration.fit_domain(own, foreign, kin)
    column = np.concatenate([state.weight, np.float32(state.share * args.ngrams) * share])
    weight, bias = np.stack([np.zeros_like(column), column], axis=1), np.array([0.0, state.bias], np.float32)
    known = {"domain_weight": domain.weight, "domain_ngram_weight": domain.ngram_weight, "domain_bias": domain.bias}
    specialist = dataclasses.replace(served.specialist, adapter=state.adapter, **known)  # type: ignore[arg-type]
    result, said, cut = low_head.calibrated(args, specialist, Kept(model, specialist, TASK, None), lambda x: x @ weight + bias)
    bias[1] -= np.float32(cut)
    metadata, old = safetensors.read(args.bundle_read.path / "specialists" / f"{TASK}.safetensors")
    metadata.pop(SCREEN, None)  # cut for the head before: tools.train.screen fits another
    metadata |= {"temperature": repr(result["temperature"]), "thresholds": json.dumps(result["thresholds"], sort_keys=True)}
    hidden = len(state.weight)
    head = {"weight": weight[:hidden], "ngram_weight": weight[hidden:], "bias": bias} | domain.tensors()
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = written(state.adapter, {f"head.{name}": np.asarray(x, np.float32) for name, x in head.items()}, old)
    safetensors.write(args.out / f"{TASK}.safetensors", tensors, metadata)
    command = {k: str(v) for k, v in vars(args).items() if k not in ("data", "bundle", "bundle_read", "work", "out")}
    record = {"command": command, "dev": result, "found": said, "share": state.share}
    (args.out / f"{TASK}.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    return {"accuracy": result["accuracy"], **said}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.ranked", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--epochs", type=int, default=3, help="times that a round's rows are seen")
    p.add_argument("--lr", type=float, nargs="+", default=[6e-4, 5e-4, 4e-4], help="learning rate of each round; the last goes on")
    p.add_argument("--tokens", type=int, default=4096, help="tokens a batch")
    p.add_argument("--ngrams", type=float, default=1.8, help="the n-grams count so many times as much as in training")
    p.add_argument("--lower", type=float, default=0.0, help="accuracy on dev that a lower cut of the labels may cost")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--work", type=Path, required=True, help="folder for what a round leaves")
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args(argv)
    vars(args).update(task=TASK, keep_bias=False, thresholds_of_all=False)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Train and write the file."""
    args = parse(argv)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    with EdgeDemist.load(args.bundle) as model:
        served = Served(model, model.specialist(TASK))
        args.bundle_read, args.last = model.bundle, model.bundle.architecture.num_layers - 1
        state, share = first_state(served.specialist)
        state = rounds(args, served, Network(encoder_of(model.bundle), {}), share, state)
        sys.stdout.write(json.dumps(finished(args, model, served, share, state), default=str) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
