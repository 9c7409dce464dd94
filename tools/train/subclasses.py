"""Give an alarm specialist's head subclasses: what is listed, what is fresh, and kinds of strings that every network sees; minutes.

    python -m tools.train.subclasses --data DATA --task hostname-threat --skip cheap-endings free-endings foreign-names --out FILES
    python -m quantize add FILES/hostname-threat.safetensors --replace --out NEW

The head that is there answers the balanced table well and finds few fresh threats at a real false-alarm rate of one in a
thousand; a head fitted for that rate alone is bad at the table.  As subclasses of one head (``edge_demist.format.specialist``)
they do not compete.  With a = log-odds of the head that is there, f = those of the head fitted for the rate, above 0 for one
ordinary string in a hundred, and k = log-odds of a kind against threats, above 0 for ``--spare`` of the threats, the columns are::

    harmless   0,  a - CAP,  a + k of each kind
    alarm      a,  a + f,  and for addresses a + d, d = log-odds of where loaders fetch from

so that the log-odds of an alarm are about min(a, CAP) + max(0, f, d), and -k where a kind is recognized.  ``--add`` puts planes of more
kinds beside those of a head that has subclasses.  Vectors, adapter, n-gram columns and OOD detector stay.  Threats below the operators of
a kind are left out of what its k is fitted on: on a list or not, a machine's name of a cloud says nothing about who rents it.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.screen import METADATA as SCREEN
from edge_demist.format.screen import PREFIX
from tools.synth import dropped, everyday_kinds
from tools.synth.templates import lines
from tools.train import low_head, ordinary
from tools.train.data import TASKS
from tools.train.kept import Kept
from tools.train.ood import plain_head

if TYPE_CHECKING:
    from edge_demist.format.specialist import Specialist

Floats: TypeAlias = NDArray[np.float32]
CAP, STEEP, DECAY = 3.0, 2.0, 3e-3
"""Log-odds from which on only what is fresh counts; slope of kinds; weight of a kind's squares on standardized features."""
ABOVE = 0.01
"""Share of ordinary strings above 0 of the head for what is fresh."""
OF_A_KIND, THREATS, LEAST = 1000, 12_000, 10
"""Strings of a part of a kind, threats that it is told from, and strings from which on a registered domain is an operator's."""
PARTS = {
    "cloud-machines": 3, "provider-lines": 2, "cdn": 2, "mail-wrappers": 2, "shared-documents": 3, "sign-in": 3, "foreign-sites": 3,
    "newsletters": 2, "dynamic-dns-parents": 3, "short-names": 6, "short-links": 1, "identifiers": 4, "antivirus": 4,
}  # fmt: skip
"""Kinds whose templates are dealt into parts, each a subclass: one plane does not part them from all threats."""
SPARED = {"dynamic-dns-parents": 4.0, "short-names": 5.0, "short-links": 5.0}
"""Kinds that may take so many times more threats: lists hold strangers' names below the same domains, or names as short."""
LOWERED = {"short-links": 4.0, "identifiers": -1.0, "antivirus": -1.0}
"""Kinds that count later: lists hold most of what they are, so they keep their label and lose their alarm. Negative: earlier."""
OPERATED = {
    "cdn", "cloud-machines", "provider-lines", "antivirus", "dnsbl", "certificates", "updates", "mail-time", "short-links", "mail-wrappers",
    "newsletters", "checks",
}  # fmt: skip
"""Kinds below domains of operators who give names to strangers."""


@dataclasses.dataclass(frozen=True)
class Plane:
    """A column of the head: log-odds x · weight + bias of features float32 [features]."""

    weight: Floats
    bias: float

    def __call__(self, x: Floats) -> Floats:
        """float32 [n]."""
        return x @ self.weight + np.float32(self.bias)

    def plus(self, other: Plane, times: float = 1.0, shift: float = 0.0) -> Plane:
        """This plane and ``times`` another, ``shift`` higher."""
        return Plane(self.weight + np.float32(times) * other.weight, self.bias + times * other.bias + shift)


@dataclasses.dataclass(frozen=True)
class Head:
    """Columns in the order of the labels, and whose each is."""

    columns: list[Plane]
    owners: list[int]

    def logits(self, x: Floats) -> Floats:
        """Log of what the labels' subclasses add up to, float32 [n, labels]."""
        found = np.stack([column(x) for column in self.columns], axis=1)
        owners = np.array(self.owners)
        return np.stack([np.logaddexp.reduce(found[:, owners == label], axis=1) for label in range(max(owners) + 1)], axis=1)

    def lowered(self, label: int, by: float) -> Head:
        """With all columns of a label lower."""
        return Head([Plane(c.weight, c.bias - by * (o == label)) for c, o in zip(self.columns, self.owners, strict=True)], self.owners)


def of_specialist(specialist: Specialist, alarm: int) -> Plane:
    """Log-odds of an alarm of a head of two labels, over its temperature."""
    assert len(specialist.labels) == 2
    weight, bias = ((part / np.float32(specialist.temperature)).astype(np.float32) for part in plain_head(specialist))
    difference: Floats = weight[:, alarm] - weight[:, 1 - alarm]
    return Plane(difference, float(bias[alarm] - bias[1 - alarm]))


def fresh_head(x: Floats, known: Plane, rows: pd.DataFrame, args: argparse.Namespace) -> Plane:
    """The head fitted for a low rate, above ``--fresh-shift`` for ``ABOVE`` of the ordinary strings."""
    change, shift = low_head.changed(x, known(x), rows, args)
    found = known.plus(Plane(change, shift), args.step)
    plain = ~rows["alarm"].to_numpy(bool) & rows["origin"].isin([name for name in low_head.ORDINARY if name != "made"]).to_numpy()
    return Plane(found.weight, found.bias - float(np.quantile(found(x[plain]), 1 - ABOVE)) + args.fresh_shift)


def parts_of(what: str, skip: Sequence[str]) -> dict[str, list[str]]:
    """Strings by part of a kind; lines of public reports are a part of their own where the kind is dealt into parts."""
    reported = {line.removeprefix(everyday_kinds.REPORTED) for line in lines(everyday_kinds.FILES[what]) if line.startswith("+ ")}
    groups: dict[str, list[str]] = {}
    for kind, templates in everyday_kinds.kinds(what, "train").items():
        for n, template in enumerate(templates if kind not in skip else ()):
            part = "+" * (template in reported) + str(n % PARTS.get(kind, 1))
            groups.setdefault(f"{kind} {part}" if kind in PARTS else kind, []).append(template)
    found = {}
    for name, some in groups.items():
        rng = random.Random(f"{name} subclasses")
        found[name] = list(dict.fromkeys(everyday_kinds.filled(rng, some[n % len(some)]) for n in range(OF_A_KIND)))
    return found


def without_zones(texts: Sequence[str]) -> list[str]:
    """Names without their registered domain, as dns-tunnel's table has them, where several labels are left."""
    found = (text.removesuffix(ordinary.registered_domain(text)).strip(".") for text in texts)
    return [text for text in found if "." in text]


def operators(parts: Mapping[str, Sequence[str]]) -> set[str]:
    """Registered domains below which the kinds in ``OPERATED`` lie again and again."""
    found = [ordinary.registered_domain(text) for name, texts in parts.items() if name.split()[0] in OPERATED for text in texts]
    return {domain for domain, count in collections.Counter(found).items() if count >= LEAST}


def told_apart(some: Floats, others: Floats, scale: Floats, steps: int = 40) -> Plane:
    """Logistic regression of ``some`` against ``others``, each side weighing half, on features divided by ``scale``."""
    x = torch.from_numpy(np.concatenate([some, others]) / scale)
    sign = torch.cat([torch.full((len(some),), -1.0), torch.full((len(others),), 1.0)])
    each = torch.cat([torch.full((len(part),), 0.5 / len(part)) for part in (some, others)])
    weight, bias = torch.zeros(x.shape[1], requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (functional.softplus(sign * (x @ weight + bias)) * each).sum() + DECAY * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return Plane((weight.detach().numpy() / scale).astype(np.float32), float(bias.detach()))


def kind_planes(parts: Mapping[str, Sequence[str]], served: Kept, x: Floats, rows: pd.DataFrame, args: argparse.Namespace) -> list[Plane]:
    """A plane a part of a kind: above ``kinds_shift`` for the share ``spare`` of the threats, ``steep`` times its log-odds."""
    threats, scale = np.flatnonzero(rows["alarm"].to_numpy(bool)), x.std(0) + np.float32(1e-3)
    known = operators(parts)
    strange = threats[[ordinary.registered_domain(text) not in known for text in rows["text"].to_numpy(str)[threats]]]
    planes = []
    for name, texts in parts.items():
        share = args.spare * SPARED.get(name.split()[0], 1.0)
        others = strange if name.split()[0] in OPERATED else threats
        drawn = np.random.default_rng(0).permutation(others)[:THREATS]
        plane = told_apart(served.joined(texts), x[drawn], scale)
        bias = args.steep * (plane.bias - float(np.quantile(plane(x[others]), 1 - share))) - LOWERED.get(name.split()[0], 0.0)
        planes.append(Plane(np.float32(args.steep) * plane.weight, bias + args.kinds_shift))
    return planes


def dropped_plane(parts: Mapping[str, Sequence[str]], served: Kept, x: Floats, rows: pd.DataFrame) -> Plane:
    """Where loaders fetch from against all that is ordinary, above 0 for one ordinary string in ten thousand."""
    rng = random.Random("dropped subclasses")
    some = served.joined([row[0] for row in dropped.generate(rng, 2 * OF_A_KIND)])
    plain = np.concatenate([x[~rows["alarm"].to_numpy(bool)], *(served.joined(texts) for texts in parts.values())])
    plane = told_apart(some, np.random.default_rng(0).permutation(plain)[: 3 * THREATS], x.std(0) + np.float32(1e-3))
    return Plane(np.float32(STEEP) * plane.weight, STEEP * (plane.bias - float(np.quantile(plane(plain), 1 - 1e-4))))


def composed(known: Plane, fresh: Plane | None, kinds: Sequence[Plane], more: Sequence[Plane], alarm: int) -> Head:
    """The columns of both labels, as the module says."""
    none = Plane(np.zeros_like(known.weight), 0.0)
    harmless = [none, *([known.plus(none, shift=-CAP)] if fresh else []), *(known.plus(kind) for kind in kinds)]
    alarming = [known, *([known.plus(fresh)] if fresh else []), *(known.plus(one) for one in more)]
    sides = [harmless, alarming] if alarm else [alarming, harmless]
    return Head([*sides[0], *sides[1]], [0] * len(sides[0]) + [1] * len(sides[1]))


def fit(args: argparse.Namespace, specialist: Specialist, served: Kept, say: Callable[[str], object]) -> Head:
    """The new head."""
    task, labels = TASKS[args.task], list(specialist.labels)
    alarm = labels.index(task.positive_labels[0])
    rows = low_head.rows_of(args.data, task, labels, args)
    if args.disguised:
        rows = pd.concat([rows, *[low_head.disguised(rows, args.task, args.seed)] * args.disguised], ignore_index=True)
    x, known = served.joined(list(rows["text"])), of_specialist(specialist, alarm)
    say(f"{len(rows):,} rows")
    fresh = fresh_head(x, known, rows, args) if args.step else None
    say("fresh threats fitted")
    what = "pages" if args.task == "url-phishing" else "names"
    parts = parts_of(what, args.skip)
    if args.task == "dns-tunnel":
        parts |= {name: [*texts, *without_zones(texts[::2])] for name, texts in parts.items() if name.startswith("identifiers")}
    kinds = kind_planes(parts, served, x, rows, args) if args.spare else []
    say(f"{len(kinds)} parts of kinds fitted")
    more = [dropped_plane(parts, served, x, rows)] if what == "pages" else []
    return composed(known, fresh, kinds, more, alarm)


def add(args: argparse.Namespace, specialist: Specialist, served: Kept, say: Callable[[str], object]) -> Head:
    """The head that is there, with planes of the kinds in ``--add`` beside those that it has."""
    labels, owners = list(specialist.labels), list(specialist.subclasses)
    if not owners or specialist.label_subclasses or specialist.ngram_weight is None:
        raise SystemExit(f"{args.task}: its head needs subclasses, n-grams and no label group, to get more planes of kinds")
    weight, alarm = np.concatenate([specialist.weight, specialist.ngram_weight]), labels.index(TASKS[args.task].positive_labels[0])
    columns = [Plane(w / specialist.temperature, float(b / specialist.temperature)) for w, b in zip(weight.T, specialist.bias, strict=True)]
    rows = low_head.rows_of(args.data, TASKS[args.task], labels, args)
    rows = rows[rows["alarm"]]
    x = served.joined(list(rows["text"]))
    say(f"{len(rows):,} threats")
    what = "pages" if args.task == "url-phishing" else "names"
    parts = parts_of(what, sorted(everyday_kinds.kinds(what, "train").keys() - set(args.add)))
    known = columns[owners.index(alarm)]
    kinds = [known.plus(kind) for kind in kind_planes(parts, served, x, rows, args)]
    place = owners.index(1) if alarm else len(owners)  # the labels' columns stand in their order
    return Head([*columns[:place], *kinds, *columns[place:]], [*owners[:place], *[1 - alarm] * len(kinds), *owners[place:]])


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.subclasses", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle whose head has no subclasses yet (default: the packaged one)")
    p.add_argument("--task", required=True, choices=[name for name in ordinary.FILES if TASKS[name].kind == "alarm"])
    p.add_argument("--step", type=float, default=0.7, help="share of the change for a low rate that is taken (0: no such subclass)")
    p.add_argument("--spare", type=float, default=2e-4, help="share of the threats above 0 of each part of a kind (0: no kinds)")
    p.add_argument("--fresh-shift", type=float, default=0.0, help="added to the log-odds of what is fresh")
    p.add_argument("--steep", type=float, default=STEEP, help="slope of kinds")
    p.add_argument("--kinds-shift", type=float, default=0.0, help="added to the log-odds of kinds")
    p.add_argument("--add", nargs="+", default=[], metavar="KIND", help="only add planes of these kinds to a head with subclasses")
    p.add_argument("--skip", nargs="*", default=[], help="kinds that are no subclasses")
    p.add_argument("--table", type=float, default=0.0, help="weight of the task's table in the head for what is fresh")
    p.add_argument("--top", type=float, default=0.12, help="weight of the loss at the cut")
    p.add_argument("--made", type=float, default=6.0, help="weight of generated strings at the cut")
    p.add_argument("--picked", type=float, default=12.0, help="weight of strings that people picked at the cut")
    p.add_argument("--made-labels", type=float, default=low_head.OTHERS, help="weight of harmless generated strings in the cross-entropy")
    p.add_argument("--decay", type=float, default=low_head.DECAY, help="weight of the change's square")
    p.add_argument("--disguised", type=int, default=0, help="how often rows under a change that tells nothing count")
    p.add_argument("--half", type=int, choices=(0, 1), help="every other row, by hash: those that no n-gram column has seen")
    p.add_argument("--share", type=float, default=1.0, help="of the rows of an origin that are read at most")
    p.add_argument("--thresholds-of-all", action="store_true", help="thresholds from the part measure too")
    p.add_argument("--lower", type=float, default=0.0, help="accuracy on dev that a lower cut of the labels may cost")
    p.add_argument("--keep-bias", action="store_true", help="do not move the labels' cut to where dev is answered best")
    p.add_argument("--features", type=Path, metavar="DIR", help="folder where vectors are kept for another fit")
    p.add_argument("--hold-out", nargs="*", default=[], help="families left out")
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--out", type=Path, required=True)
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, calibrate and write the specialist's file."""
    args = parse(argv)
    torch.set_num_threads(1)
    record: dict[str, Any] = {"command": {k: str(v) for k, v in vars(args).items() if k not in ("data", "bundle", "out", "features")}}
    with EdgeDemist.load(args.bundle) as model:
        specialist = model.specialist(args.task)
        served = Kept(model, specialist, args.task, args.features)
        metadata, tensors = safetensors.read(model.bundle.path / "specialists" / f"{args.task}.safetensors")
        head = (add if args.add else fit)(args, specialist, served, lambda what: sys.stderr.write(f"{what}\n"))
        if not args.add:  # what is only lowered keeps its thresholds and its screen
            result, said, cut = low_head.calibrated(args, specialist, served, head.logits, temperature=1.0)
            head = head.lowered(list(specialist.labels).index(TASKS[args.task].positive_labels[0]), cut)
            metadata.pop(SCREEN, None)  # cut for the head before: tools.train.screen fits another
            metadata["thresholds"] = json.dumps(result["thresholds"], sort_keys=True)
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
            record |= {"dev": result, "found": said}
            sys.stdout.write(json.dumps({"task": args.task, "accuracy": result["accuracy"], **said}) + "\n")
    weight, hidden = np.stack([column.weight for column in head.columns], axis=1).astype(np.float32), len(specialist.weight)
    new = {"weight": weight[:hidden], "ngram_weight": weight[hidden:], "bias": np.array([c.bias for c in head.columns], np.float32)}
    metadata |= {"temperature": "1.0", "subclasses": json.dumps(head.owners)}
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = {n: np.ascontiguousarray(new.get(n.removeprefix("head."), tensor)) for n, tensor in tensors.items()}
    safetensors.write(args.out / f"{args.task}.safetensors", tensors, metadata)
    (args.out / f"{args.task}.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
