"""Fit the head of an alarm specialist again for low false-alarm rates, in minutes: adapter, n-gram columns and OOD detector stay.

    python -m tools.train.low_head --data DATA --task url-phishing --table 4 --top 0.06 --step 0.5 --out FILES
    python -m quantize add FILES/url-phishing.safetensors --replace --out NEW

What is added to the head's weights (of vectors and all n-gram columns) minimizes the cross-entropy of the specialist's rows, rows of the
task's table ``--table`` times as heavy, and ``--top`` times a loss at the score that one ordinary string in a thousand lies above: fresh
threats should lie above it, ordinary strings, generated ones ``--made`` times as heavy, below. ``--step`` of the change is taken
(Wortsman et al., 2022). Thresholds come from ordinary strings of the part ``calibrate``, with ``--thresholds-of-all`` of ``measure`` too.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.screen import METADATA as SCREEN
from edge_demist.format.screen import PREFIX
from edge_demist.train import calibration
from tools.synth import evasion
from tools.train import low_end, mixtures, ordinary, pools
from tools.train.cautious import in_domain
from tools.train.data import TASKS, Task, read_table
from tools.train.kept import Kept
from tools.train.ood import plain_head

if TYPE_CHECKING:
    from edge_demist.format.specialist import Specialist

Floats = NDArray[np.float32]
ORDINARY = ("picked", "ordinary", "unvetted", "isp", "made")
MOST = {"table": 30_000, "made": 30_000, "picked": 16_000, "ordinary": 20_000}
OF_OTHERS, DISGUISED = 12_000, 4500
"""Rows of an origin that are read at most, and of an origin and label that are read under a change."""
TOP, STEEPNESS, OTHERS, FRESH = 1e-3, 2.0, 0.3, 3.0
"""Share of ordinary strings above the cut, steepness of the loss there, weights of other rows and of fresh threats beside the table's."""
EXCESS, DECAY = 300.0, 1e-3
"""Weight of ordinary strings above the cut against threats below it, and of the change's square on standardized features."""


def rows_of(data: Path, task: Task, labels: list[str], args: argparse.Namespace) -> pd.DataFrame:
    """Rows of one round: text, alarm, and their origin: ``table``, one of ``pools``, or ``made``.

    ``args`` has ``seed``, families to ``hold_out``, the ``share`` of those that ``MOST`` allows, and which ``half`` of them is read.
    """
    seed = args.seed
    given = argparse.Namespace(
        exclude_source=[], limit=0, hold_out=args.hold_out, seed=seed, generated=-1, more=None, more_rows=0, pools=1.0
    )
    texts, names = mixtures.Mixture(data, task.name, labels, None, given).texts(0)
    rows = pd.DataFrame({"text": texts, "alarm": [name in task.positive_labels for name in names]}).drop_duplicates("text")
    rows = rows if args.half is None else rows[rows["text"].map(pools.half_of) == args.half]
    origins = dict.fromkeys(read_table(data, task.name, "train")["text"], "table")
    pool = pools.of_task(data, task, labels, given)
    known = origins | (dict(zip(pool["text"], pool["origin"], strict=True)) if pool is not None else {})
    rows["origin"] = [known.get(text, "made") if text not in origins else "table" for text in rows["text"]]
    most = {str(origin): int(args.share * MOST.get(str(origin), OF_OTHERS)) for origin in rows["origin"].unique()}
    parts = [part.sample(min(len(part), most[str(origin)]), random_state=seed) for origin, part in rows.groupby("origin")]
    return pd.concat(parts)


def disguised(rows: pd.DataFrame, task: str, seed: int) -> pd.DataFrame:
    """Fresh threats, ordinary strings and rows of the table under one change each that tells nothing (``tools.synth.evasion``)."""
    changes, rng = list(evasion.CHANGES.get(task, {}).values()), random.Random(f"{seed} {task} disguised")
    some = [part.sample(min(len(part), DISGUISED), random_state=seed) for _, part in rows.groupby(["origin", "alarm"])] if changes else []
    parts = [part.assign(text=[rng.choice(changes)(rng, text) for text in part["text"]]) for part in some]
    return pd.concat(parts).dropna(subset=["text"]) if parts else rows.iloc[:0]


def changed(
    x: Floats, scores: Floats, rows: pd.DataFrame, args: argparse.Namespace, rounds: int = 3, steps: int = 25
) -> tuple[Floats, float]:
    """What to add to the weight of the alarm label, float32 [features], and to its bias.

    Args:
        x: float32 [n, features].
        scores: float32 [n], log-odds of an alarm before.
        rows: columns ``alarm`` and ``origin``.
        args: weights ``table``, ``top``, ``made``, ``picked``, ``made_labels``, ``decay``.
        rounds: how often the cut is taken anew.
        steps: of L-BFGS a round.
    """
    alarm, origin = rows["alarm"].to_numpy(bool), rows["origin"].to_numpy(str)
    fresh = (origin == "threats") if (origin == "threats").any() else alarm
    plain = np.flatnonzero(np.isin(origin, ORDINARY) & ~alarm)
    heavy = np.select([origin[plain] == "made", origin[plain] == "picked"], [args.made, args.picked], 1.0)
    others = np.where((origin == "made") & ~alarm, args.made_labels, OTHERS)
    weights = np.where(origin == "table", args.table, np.where(fresh & (origin == "threats"), FRESH, others))
    spread = x.std(0) + np.float32(1e-3)
    inputs, base = torch.from_numpy(x / spread), torch.from_numpy(scores)
    sign = torch.from_numpy(np.where(alarm, -1.0, 1.0).astype(np.float32))
    heavy_plain, by_row = (torch.from_numpy(w.astype(np.float32)) for w in (heavy / heavy.mean(), weights))
    at, found = torch.from_numpy(plain), torch.from_numpy(np.flatnonzero(fresh))
    change, shift = torch.zeros(x.shape[1], requires_grad=True), torch.zeros(1, requires_grad=True)
    for _ in range(rounds):
        with torch.no_grad():
            cut = torch.quantile((base + inputs @ change + shift)[at], 1 - TOP)
        optimizer = torch.optim.LBFGS([change, shift], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

        def closure(optimizer: Any = optimizer, cut: torch.Tensor = cut) -> torch.Tensor:
            optimizer.zero_grad()
            now = base + inputs @ change + shift
            above = (functional.softplus(STEEPNESS * (now[at] - cut)) * heavy_plain).mean()
            top = functional.softplus(cut - now[found]).mean() + EXCESS * above
            loss = (functional.softplus(sign * now) * by_row).mean() + args.top * top + args.decay * change.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    return change.detach().numpy() / spread, float(shift.detach())


def calibrated(
    args: argparse.Namespace, specialist: Specialist, served: Kept, head: Callable[[Floats], Floats], temperature: float | None = None
) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Temperature, accuracies and thresholds of a changed head; what the parts ``calibrate`` and ``measure`` say of it; the labels' cut.

    ``head`` gives logits float32 [n, labels] of features; those of the alarm are to be lowered by the cut.
    """
    task, labels = TASKS[args.task], list(specialist.labels)
    dev = read_table(args.data, args.task, "dev")
    pooled, grams = served(list(dev["text"]))
    truth = np.array([labels.index(name) if name in labels else -1 for name in dev["label"]], np.int64)
    logits = head(np.concatenate([pooled, grams], axis=1))
    alarm = labels.index(task.positive_labels[0])
    cut, _ = low_end.best_cut((logits[:, alarm] - logits[:, 1 - alarm]).astype(np.float64), truth == alarm, args.lower)
    cut = 0.0 if args.keep_bias else cut
    lower = np.float32(cut) * (np.arange(len(labels)) == alarm).astype(np.float32)
    result = calibration.calibrate(task, labels, logits - lower, truth, in_domain(specialist, pooled, grams), temperature=temperature)
    mask = np.array([label in task.positive_labels for label in labels])

    def scores(texts: Sequence[str]) -> NDArray[np.float64]:
        return low_end.alarm_logits((head(served.joined(list(texts))) - lower) / result["temperature"], mask)

    table = ordinary.read_ordinary(args.data, args.task)
    plain = {part: table[(table["part"] == part) & table["curated"]] for part in ("calibrate", "measure")}
    found = {part: scores(rows["text"]) for part, rows in plain.items()}
    picked = {part: rows["hand_picked"].to_numpy(bool) for part, rows in plain.items()}
    threats = {part: np.zeros(0) for part in plain}
    if args.task in ordinary.THREATS:
        listed = ordinary.read_threats(args.data, args.task)
        threats = {part: scores(listed.loc[listed["part"] == part, "text"]) for part in plain}
    first, _ = low_end.thresholds(found["calibrate"], threats["calibrate"], picked["calibrate"])
    positive = {part: rows if len(rows) else scores(dev.loc[truth == alarm, "text"]) for part, rows in threats.items()}
    said: dict[str, Any] = {
        part: {f"{r:g}": low_end.found_at(found[part], positive[part], (r,)) for r in (1e-2, 1e-3, 1e-4)} for part in plain
    }
    said["false alarms of measure at the thresholds of calibrate"] = {
        rate: float((1 / (1 + np.exp(-found["measure"])) >= threshold).mean()) for rate, threshold in first.items()
    }
    parts = ("calibrate", "measure") if args.thresholds_of_all else ("calibrate",)
    whole = np.concatenate([found[part] for part in parts])
    given = np.concatenate([threats[part] for part in parts]), np.concatenate([picked[part] for part in parts])
    result["thresholds"]["fpr"], result["ordinary"] = low_end.thresholds(whole, *given)
    result["thresholds"]["fpr_strings"] = dict.fromkeys(result["thresholds"]["fpr"], float(len(whole)))
    return result, said, cut


def column_weight(text: str) -> tuple[int, float]:
    """``60=0.4``: a column's number and a weight."""
    column, _, weight = text.partition("=")
    return int(column), float(weight)


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, calibrate and write the specialist's file."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.low_head", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--task", required=True, choices=[name for name in ordinary.FILES if TASKS[name].kind == "alarm"])
    p.add_argument("--table", type=float, default=4.0, help="weight of the task's table")
    p.add_argument("--top", type=float, default=0.06, help="weight of the loss at the cut")
    p.add_argument("--made", type=float, default=6.0, help="weight of generated strings at the cut")
    p.add_argument("--picked", type=float, default=1.0, help="weight of strings that people picked at the cut")
    p.add_argument("--made-labels", type=float, default=OTHERS, help="weight of harmless generated strings in the cross-entropy")
    p.add_argument(
        "--disguised", type=int, default=0, help="how often rows under a change that tells nothing count, so that it tells nothing"
    )
    p.add_argument("--keep-bias", action="store_true", help="do not move the labels' cut to where dev is answered best")
    p.add_argument("--step", type=float, default=0.5, help="share of the change that is taken")
    p.add_argument("--thresholds-of-all", action="store_true", help="thresholds from the part measure too")
    p.add_argument(
        "--columns", nargs="*", type=column_weight, default=[], metavar="N=W", help="weights added to n-gram columns before the fit"
    )
    p.add_argument("--lower", type=float, default=0.0, help="accuracy on dev that a lower cut of the labels may cost")
    p.add_argument("--half", type=int, choices=(0, 1), help="every other row, by hash: those that no n-gram column has seen")
    p.add_argument("--decay", type=float, default=DECAY, help="weight of the change's square")
    p.add_argument("--share", type=float, default=1.0, help="of the rows of an origin that are read at most")
    p.add_argument("--features", type=Path, metavar="DIR", help="folder where vectors are kept for another fit")
    p.add_argument("--hold-out", nargs="*", default=[], help="families left out")
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args(argv)
    torch.set_num_threads(1)
    with EdgeDemist.load(args.bundle) as model:
        specialist = model.specialist(args.task)
        served, labels = Kept(model, specialist, args.task, args.features), list(specialist.labels)
        weight, bias = plain_head(specialist)
        alarm = labels.index(TASKS[args.task].positive_labels[0])
        for column, share in args.columns:
            weight[len(specialist.weight) + column, alarm] += np.float32(share)
        rows = rows_of(args.data, TASKS[args.task], labels, args)
        if args.disguised:
            rows = pd.concat([rows, *[disguised(rows, args.task, args.seed)] * args.disguised], ignore_index=True)
        x = served.joined(list(rows["text"]))
        logits = x @ weight + bias
        change, shift = changed(x, logits[:, alarm] - logits[:, 1 - alarm], rows, args)
        weight[:, alarm] += np.float32(args.step) * change
        bias[alarm] += np.float32(args.step * shift)
        result, said, cut = calibrated(args, specialist, served, lambda x: x @ weight + bias)
        bias[alarm] -= np.float32(cut)
        metadata, tensors = safetensors.read(model.bundle.path / "specialists" / f"{args.task}.safetensors")
        metadata.pop(SCREEN, None)  # cut for the head before: tools.train.screen fits another
    hidden = len(specialist.weight)
    new = {"head.weight": weight[:hidden], "head.ngram_weight": weight[hidden:], "head.bias": bias}
    metadata |= {"temperature": repr(result["temperature"]), "thresholds": json.dumps(result["thresholds"], sort_keys=True)}
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = {n: np.ascontiguousarray(new.get(n, tensor)) for n, tensor in tensors.items() if not n.startswith(PREFIX)}
    safetensors.write(args.out / f"{args.task}.safetensors", tensors, metadata)
    record = {
        "command": {k: str(v) for k, v in vars(args).items() if k not in ("data", "bundle", "out", "features")},
        "dev": result,
        "found": said,
    }
    (args.out / f"{args.task}.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    sys.stdout.write(json.dumps({"task": args.task, "accuracy": result["accuracy"], **said}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
