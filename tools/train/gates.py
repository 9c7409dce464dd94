"""Let n-grams have a say in every alarm of a specialist: planes that call a string harmless unless its n-grams are suspicious too.

    python -m tools.train.gates --data DATA --bundle BUNDLE --task hostname-threat --out FILES
    python -m quantize add FILES/hostname-threat.safetensors --bundle BUNDLE --replace --out NEW

A screen reads n-grams alone, before the encoder.  The less an alarm is a matter of n-grams, the more ordinary strings it must let
pass, and each costs a pass.  Here an alarm becomes a matter of both: strings whose n-grams look least like those of alarms lose
theirs (``--lost`` of all alarms, for good, screened or not), and the screen that is fitted next can skip what they look like.

The head gets ``--planes`` gates behind its label group, each the threat's own column plus a plane on the n-gram vector; an alarm stands
where log(sum_j exp(a_j · g + b_j)) lies below a limit, a convex set of n-gram vectors.  The planes learn, by the cross-entropy that the
screen's net has (:mod:`tools.train.screen_net`), which strings the whole specialist finds suspicious; half of the strings train them
(those whose n-grams are suspicious, and some of the rest), the others give the limit.  Thresholds stay.  The file has no screen
afterwards: fit one.  Labels below the cut are the label group's, as before.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.facts import calibrated_level
from edge_demist.format.screen import METADATA, PREFIX
from edge_demist.format.specialist import Specialist, read_specialist
from tools.train import labels, ordinary, screen, screen_net
from tools.train.data import TASKS, read_table
from tools.train.kept import Kept
from tools.train.screen_net import BATCH, DECAY, SLOPE, logit

Floats: TypeAlias = NDArray[np.float64]
EPOCHS, RATE, ALARMS_COUNT = 12, 3e-2, 4.0


class Planes:
    """Planes a_j · g + b_j on n-gram vectors float32 [n, dim]."""

    def __init__(self, vectors: NDArray[np.float32], excess: Floats, count: int, read: NDArray[np.bool_], seed: int) -> None:
        """Learn from alarm scores in logits over the threshold; columns that the head does not ``read`` weigh nothing."""
        torch.manual_seed(seed)
        mean, spread = vectors.mean(0, dtype=np.float64), vectors.std(0, dtype=np.float64)
        spread = np.where(read & (spread > 0), spread + 1e-6, np.inf)
        x = torch.from_numpy(((vectors - mean) / spread).astype(np.float32))
        y = torch.sigmoid(SLOPE * torch.from_numpy(excess.astype(np.float32)))
        weight = (0.05 * torch.randn(vectors.shape[1], count)).requires_grad_()
        bias = torch.zeros(count, requires_grad=True)
        optimizer = torch.optim.AdamW([weight, bias], lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * -(-len(x) // BATCH))
        for _ in range(EPOCHS):
            for part in torch.randperm(len(x)).split(BATCH):
                score, counts = -torch.logsumexp(x[part] @ weight + bias, 1), 1 + (ALARMS_COUNT - 1) * y[part]
                loss = torch.nn.functional.binary_cross_entropy_with_logits(score, y[part], weight=counts)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        self.weight: Floats = weight.detach().double().numpy() / spread[:, None]
        self.bias: Floats = bias.detach().double().numpy() - mean @ self.weight

    def over(self, vectors: NDArray[np.float32]) -> Floats:
        """log(sum_j exp(a_j · g + b_j)) [n]."""
        total: Floats = np.logaddexp.reduce(vectors @ self.weight + self.bias, axis=1)
        return total


def measures(text: str) -> bool:
    """Whether ordinary strings or threats of a registered domain measure: gates decide alarms, so these must not train them."""
    key = ordinary.key_of(text)
    return "measure" in (ordinary.part_of(key, ordinary.SHARES[which]) for which in ("ordinary", "threats"))


def with_gates(
    specialist: Specialist, file: tuple[dict[str, str], labels.Tensors], planes: Planes, most: float
) -> tuple[dict[str, str], labels.Tensors]:
    """The file with gates, and no screen.

    Raises:
        SystemExit: the file has no label group, or gates already, or several columns of its alarm group are threats.
    """
    hidden = len(specialist.weight)
    threats = [i for i, label in enumerate(specialist.owners) if label in specialist.positive]
    if len(threats) != 1 or not specialist.label_subclasses or specialist.gates:
        raise SystemExit(f"{specialist.task}: gates stand against one column of threats, beside a label group (tools.train.labels), once")
    head = np.concatenate([file[1]["head.weight"], file[1]["head.ngram_weight"], file[1]["head.bias"][None]], dtype=np.float64)
    gates = np.repeat(head[:, threats], len(planes.bias), axis=1)
    gates[hidden:-1] += specialist.temperature * planes.weight
    gates[-1] += specialist.temperature * planes.bias
    rows = np.concatenate([head, gates], axis=1).astype(np.float32)
    metadata = {name: value for name, value in file[0].items() if name != METADATA}
    metadata |= {"gates": str(len(planes.bias)), "gate_most": repr(most)}
    new = {"head.weight": rows[:hidden], "head.ngram_weight": rows[hidden:-1], "head.bias": rows[-1]}
    kept = {name: tensor for name, tensor in file[1].items() if not name.startswith(PREFIX)}
    return metadata, {name: np.ascontiguousarray(new.get(name, tensor)) for name, tensor in kept.items()}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.gates", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/, ordinary/, threats/ and corpus/")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle whose specialist is changed (default: the packaged one)")
    p.add_argument("--task", required=True, choices=[name for name, task in TASKS.items() if task.kind == "alarm"])
    p.add_argument("--planes", type=int, default=24)
    p.add_argument("--lost", type=float, default=0.05, help="share of the alarms at one false alarm in a thousand that may go")
    p.add_argument("--most", type=int, default=3000, help="strings of one table and class (tools.train.screen)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, required=True)
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Learn the planes and write the specialist's file."""
    args = parse(argv)
    rng = np.random.default_rng(args.seed)
    with EdgeDemist.load(args.bundle) as model:
        specialist = model.specialist(args.task)
        ngrams, aim = model.inference.ngrams_of(specialist), calibrated_level(specialist.thresholds, "fpr", screen.AIM)
        if ngrams is None or aim is None or specialist.ngram_weight is None:
            raise SystemExit(f"{args.task} reads no n-grams, or has no threshold for {screen.AIM}")
        raws, measured = screen.measure(model, args.task, screen.strings(args.data, args.task, specialist.positive_labels, args.most, rng))
        known = np.array([measures(raw.decode(errors="replace")) for raw in raws])
        learn = (rng.random(len(raws)) < screen.LEARNED) & ~known
        near, lowest = screen_net.near(measured.first[learn], measured.score[learn] >= aim[1], rng)
        trains = np.flatnonzero(learn)[near]
        further = screen.more(model, args.task, args.data, set(raws), lowest, rng)
        further = [raw for raw in further if not measures(raw.decode(errors="replace"))]
        score = np.concatenate([measured.score[trains], screen.whole(model, specialist, further)])
        some, others = [*(raws[n] for n in trains.tolist()), *further], [raws[n] for n in np.flatnonzero(~learn & ~known).tolist()]
        read = np.abs(specialist.ngram_weight[:, : len(specialist.owners)]).max(axis=1) > 0
        planes = Planes(ngrams.encode_batch(some), logit(score) - logit(aim[1]), args.planes, read, args.seed)
        over, told = planes.over(ngrams.encode_batch(others)), measured.score[~learn & ~known] >= aim[1]
        limit = float(np.quantile(over[told], 1.0 - args.lost, method="higher"))
        path = model.bundle.path / "specialists" / f"{args.task}.safetensors"
        metadata, tensors = with_gates(specialist, safetensors.read(path, copy=True), planes, float(np.exp(limit)))
        args.out.mkdir(parents=True, exist_ok=True)
        written = args.out / f"{args.task}.safetensors"
        safetensors.write(written, tensors, metadata)
        made = read_specialist(model.bundle, written, args.task)
        dev = read_table(args.data, args.task, "dev")
        truth = np.array([made.labels.index(name) if name in made.labels else -1 for name in dev["label"]], np.int64)
        accuracy, said = labels.calibrated(made, Kept(model, made, args.task, None).joined(list(dev["text"])), truth)
    if said["apart"] > labels.APART:
        written.unlink()
        raise SystemExit(f"largest logits of the groups are {said['apart']} apart, over {labels.APART}")
    table = {**json.loads(metadata["thresholds"]), "accuracy": accuracy}
    safetensors.write(written, tensors, {**metadata, "thresholds": json.dumps(table, sort_keys=True)})
    harmless = measured.harmless[~learn & ~known]
    after = told & (over < limit)
    note: dict[str, float] = {
        "strings": len(raws),
        "alarms": int(told.sum()),
        "left": int(after.sum()),
        "of harmless": int((harmless & told).sum()),
    }
    note |= {"left of harmless": int((harmless & after).sum()), "harmless behind gates": round(float(np.mean(over[harmless] >= limit)), 4)}
    sys.stdout.write(json.dumps({"task": args.task, **note, **said}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
