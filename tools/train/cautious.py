"""Make some labels of a category specialist rare on ordinary strings: only the head's columns of those labels are fitted again.

    python -m tools.train.cautious --data DATA --bundle BUNDLE --task hostname-category --labels malware phishing --out FILES
    python -m tools.train.cautious --data DATA --task hostname-category --labels malware phishing --only-shift --shift 0.3 --out FILES
    python -m quantize add FILES/hostname-category.safetensors --replace --out NEW

The loss is the cross-entropy of the task's rows and, ``--weight`` times, a logistic loss of every ordinary string whose odds of those
labels are not well below one. Ordinary strings are those that train (``tools.train.ordinary``) and names that every network sees. At the
end ``--shift`` is taken from the labels' biases. Thresholds and temperature are fitted again on dev; what ordinary strings of the part
``measure`` get is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.train import calibration
from tools.synth import everyday_hosts, infrastructure
from tools.train import ordinary
from tools.train.data import TASKS, read_table
from tools.train.ood import Served, plain_head

if TYPE_CHECKING:
    from edge_demist.format.specialist import Specialist

Floats = NDArray[np.float32]
LOG_ODDS, STEEPNESS, DECAY = 0.3, 4.0, 3e-4
"""Where the loss of an ordinary string begins, how steep it is, and the weight decay of the change on standardized features."""


def fitted(
    rows: tuple[Floats, Floats], y: NDArray[np.int64], plain: tuple[Floats, Floats], spread: Floats, labels: list[int], weight: float
) -> tuple[Floats, Floats]:
    """What to add to the labels' columns, float32 [features, labels], and to their biases.

    ``rows`` and ``plain`` are features [n, F] and logits [n, C] of labelled and of ordinary strings.
    """
    others = [label for label in range(rows[1].shape[1]) if label not in labels]
    (x, base), (xo, plain_base) = (tuple(torch.from_numpy(np.asarray(part)) for part in pair) for pair in (rows, plain))
    target, scale = torch.from_numpy(y), torch.from_numpy(spread)
    change = torch.zeros(x.shape[1], len(labels), requires_grad=True)
    shift = torch.full((len(labels),), -1.0, requires_grad=True)
    optimizer = torch.optim.LBFGS([change, shift], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def moved(logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        out = logits.clone()
        out[:, labels] = out[:, labels] + (features / scale) @ change + shift
        return out

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        found = moved(plain_base, xo)
        odds = torch.logsumexp(found[:, labels], 1) - torch.logsumexp(found[:, others], 1)
        loss = functional.cross_entropy(moved(base, x), target) + DECAY * (change**2).sum()
        loss = loss + weight * functional.softplus(STEEPNESS * (odds - LOG_ODDS)).mean() / STEEPNESS
        loss.backward()
        return loss

    optimizer.step(closure)
    return (change.detach() / scale[:, None]).numpy(), shift.detach().numpy()


def in_domain(specialist: Specialist, pooled: Floats, grams: Floats) -> NDArray[np.float64]:
    """The OOD detector's probabilities, float64 [n]; one where there is none."""
    if specialist.domain_weight is None or specialist.domain_ngram_weight is None:
        return np.ones(len(pooled))
    head = calibration.Domain(specialist.domain_weight, specialist.domain_ngram_weight, specialist.domain_bias)
    return head.probability(pooled, grams)


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, calibrate and write the specialist's file."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.cautious", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR")
    p.add_argument("--task", default="hostname-category")
    p.add_argument("--labels", nargs="+", required=True)
    p.add_argument("--weight", type=float, default=4.0)
    p.add_argument("--shift", type=float, default=0.4)
    p.add_argument("--only-shift", action="store_true", help="leave the head as it is but for the shift")
    p.add_argument("--rows", type=int, default=40_000, help="of the table, and half as many ordinary strings")
    p.add_argument("--out", type=Path, required=True)
    args = p.parse_args(argv)
    rng, table = random.Random(1), read_table(args.data, args.task, "train").sample(args.rows, random_state=1)
    plain = ordinary.read_ordinary(args.data, args.task)
    plain = plain[plain["curated"]]
    made = [row[0] for row in everyday_hosts.generate(rng, 3500)] + [infrastructure.host(rng)[0] for _ in range(2000)]
    texts = [*plain.loc[plain["part"] == "train", "text"].sample(args.rows // 2, random_state=1), *made]
    with EdgeDemist.load(args.bundle) as model:
        specialist = model.specialist(args.task)
        served, names = Served(model, specialist), list(specialist.labels)
        weight, bias = plain_head(specialist)
        labels = [names.index(label) for label in args.labels]

        def read(given: Sequence[str]) -> tuple[Floats, Floats]:
            features = np.concatenate(served(list(given)), axis=1)
            return features, features @ weight + bias

        if not args.only_shift:
            rows, y = read(table["text"]), np.array([names.index(label) for label in table["label"]], np.int64)
            change, shift = fitted(rows, y, read(texts), rows[0].std(0) + np.float32(1e-3), labels, args.weight)
            weight[:, labels] += change
            bias[labels] += shift
        bias[labels] -= np.float32(args.shift)
        dev = read_table(args.data, args.task, "dev")
        pooled, grams = served(list(dev["text"]))
        truth = np.array([names.index(label) if label in names else -1 for label in dev["label"]], np.int64)
        logits, sure_of_kind = np.concatenate([pooled, grams], 1) @ weight + bias, in_domain(specialist, pooled, grams)
        result = calibration.calibrate(TASKS[args.task], names, logits, truth, sure_of_kind)
        metadata, tensors = safetensors.read(model.bundle.path / "specialists" / f"{args.task}.safetensors")
        hidden = len(specialist.weight)
        new = {"head.weight": weight[:hidden], "head.ngram_weight": weight[hidden:], "head.bias": bias}
        metadata |= {"temperature": repr(result["temperature"]), "thresholds": json.dumps(result["thresholds"], sort_keys=True)}
        args.out.mkdir(parents=True, exist_ok=True)
        file = args.out / f"{args.task}.safetensors"
        safetensors.write(file, {name: np.ascontiguousarray(new.get(name, tensor)) for name, tensor in tensors.items()}, metadata)
        measured = read(plain.loc[plain["part"] == "measure", "text"])[1] / result["temperature"]
        sure = calibration.softmax(measured)
        answered = sure.max(1) >= result["thresholds"]["accuracy"]["0.94"]
        said = answered & np.isin(sure.argmax(1), labels)
        result["ordinary"] = {"strings": len(sure), "answered": int(answered.sum()), "said": int(said.sum())}
        (args.out / f"{args.task}.json").write_text(json.dumps({"command": sys.argv[1:], "dev": result}, indent=1, default=str) + "\n")
        sys.stdout.write(json.dumps({"accuracy": result["accuracy"], "macro_f1": result["macro_f1"], **result["ordinary"]}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
