r"""Push ordinary strings below the line where a specialist accuses them, keep attacks above it, change little else: a minute or two.

    python -m tools.train.quiet --data DATA --task uri-attack --more ROWS/uri-attack.parquet --whole --out TRIAL
    python -m tools.train.quiet --data DATA --task uri-attack --more ROWS/uri-attack.parquet --out FILES \
        --mean-of TRIAL/uri-attack.safetensors
    python -m tools.train.quiet --data DATA --task user-agent --more RUN/agents.parquet --out FILES --margin 0.7 \
        --hold 0.05 --quiet 2 --loud 0.4 --steps 40

The line is the threshold for one false alarm in a thousand (uri-attack) or even odds (user-agent's attack-tool). The head is held to its
present answers on rows of the task: cross-entropy against its probabilities, squares of the logits' change. Ordinary strings with a word
of attacks and agents of operating systems cost where their log-odds of an attack come nearer to the line than ``--margin``, attacks where
they are not as far above it. A bare ``passwd``, which lists of payloads hold, may stay more like an attack than not (``FLOOR``), but alarms
no more. Attacks among words, in names of parameters and arrays are loud as well, but with ``--whole``; a mean of a head with them and one
without (``--share`` of the former) is better at both. Adapter and n-gram tables stay; so do thresholds (``tools.train.thresholds``
sets them again).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.screen import METADATA as SCREEN
from edge_demist.format.screen import PREFIX
from tools.synth import bare_words, uri_commands, uri_payloads, uri_server_side, user_agent
from tools.synth.words import word
from tools.train import low_end
from tools.train.data import read_table
from tools.train.ood import Served, plain_head

if TYPE_CHECKING:
    from edge_demist.format.specialist import Specialist

Floats = NDArray[np.float32]
Texts = dict[str, list[str]]
RATE, FLOOR = "0.001", 0.8
MOST = 3.0
"""How far beyond the line a row's pull stops growing."""
SIGNS = r"['\"<;|`(]"
"""What short attacks hold that are put among words."""
SYSTEMS = ("generated-system", "generated-bare", "generated-appliance", "generated-software")


def uri_texts(args: argparse.Namespace) -> Texts:
    """Strings of uri-attack by how they count: ``kept``, ``quiet``, ``loud``, and ``bare`` words (quiet, with a floor)."""
    rng = random.Random(f"{args.seed} quiet")
    table = list(read_table(args.data, args.task, "train")["text"].sample(14_000, random_state=args.seed))
    more = list(pd.read_parquet(args.more)["text"].sample(8000, random_state=args.seed))
    made = [row[0] for row in uri_commands.generate(rng, 2000) + uri_payloads.generate(rng, 1500)]
    both = uri_server_side.generate(rng, 6000) + uri_server_side.generate(rng, 6000, uri_server_side.MARKS)
    quiet = bare_words.generate(rng, 9000, args.part)
    same = {row[0] for row in quiet}
    kept = [text for text in [*table, *more, *made, *(row[0] for row in both)] if text not in same]
    rows = read_table(args.data, args.task, "train")
    rows = rows[rows["label"].isin(("sqli", "xss", "cmd-injection")) & rows["text"].str.contains(SIGNS) & (rows["text"].str.len() < 60)]
    attacks = [*rows["text"].sample(3000, random_state=args.seed), *(row[0] for row in both if row[1] != "normal" and row[0][0] != "/")]
    found = {"kept": kept, "loud": [row[0] for row in both if row[1] != "normal"]}
    if not args.whole:
        found["loud"] += [placed(rng, text) for text in attacks[:6000]]
    return found | {name: [row[0] for row in quiet if (row[2] == "bare") == (name == "bare")] for name in ("quiet", "bare")}


def placed(rng: random.Random, payload: str) -> str:
    """A payload where scanners and forms put it: among words, as a parameter's name, in arrays, matrix parameters, JSON."""
    one, two, three, four = (word(rng) for _ in range(4))
    forms = (
        f"/{one}?{two}={three} {four} {payload}",
        f"/{one}?{two}={three} {word(rng)} {payload} {four} {word(rng)}", f"/{one}?{payload}={two}",
        f"/{one}?{two}[{three}][]={payload}", f"/{one}?{two}[{three}]={payload}", f"/{one};{two}={payload}/{three}",
        f'/{one}?{two}={{"{three}":{{"{four}":"{payload}"}}}}', f"/{one}/{payload}", f"/{one}/{payload}/{two}",
    )  # fmt: skip
    return rng.choice(forms)


def agent_texts(args: argparse.Namespace) -> Texts:
    """Strings of user-agent: agents of operating systems and ordinary software are quiet, tools loud."""
    rng = random.Random(f"{args.seed} quiet")
    table = read_table(args.data, args.task, "train")
    made = user_agent.generate(rng, 12_000)
    quiet = [row[0] for row in made if row[2] in SYSTEMS and row[0] not in {*table["text"]}]
    same = {*quiet}
    kept = [*table["text"], *pd.read_parquet(args.more)["text"].sample(5000, random_state=args.seed), *(row[0] for row in made)]
    loud = [*table.loc[table["label"] == "attack-tool", "text"], *(row[0] for row in made if row[1] == "attack-tool")]
    return {"kept": [t for t in kept if t not in same], "quiet": quiet, "loud": [t for t in loud if t not in same], "bare": []}


@dataclasses.dataclass(frozen=True)
class Aim:
    """Which labels accuse, whether the line is a threshold (else even odds), and the strings."""

    accuses: Callable[[str], bool]
    threshold: bool
    texts: Callable[[argparse.Namespace], Texts]


AIMS = {
    "uri-attack": Aim(lambda label: label != "normal", True, uri_texts),
    "user-agent": Aim(lambda label: label == "attack-tool", False, agent_texts),
}


def log_odds(z: torch.Tensor, accused: torch.Tensor) -> torch.Tensor:
    """Log-odds of the accusing labels (bool [C]) against the others, [n]."""
    return torch.logsumexp(z[:, accused], 1) - torch.logsumexp(z[:, ~accused], 1)


@dataclasses.dataclass
class Fit:
    """Rows of all parts: features and logits before, part by part; where the line is; and how things weigh."""

    x: Floats
    z: Floats
    part: NDArray[np.str_]
    accused: torch.Tensor
    line: float
    args: argparse.Namespace

    def loss(self, now: torch.Tensor, before: torch.Tensor, part: NDArray[np.str_]) -> torch.Tensor:
        """Loss of each row, [n]."""
        target = functional.softmax(before, 1)
        kept = -(target * functional.log_softmax(now, 1)).sum(1) + (target * functional.log_softmax(before, 1)).sum(1)
        kept = kept + self.args.hold * (now - before).square().mean(1)
        odds, old = log_odds(now, self.accused), log_odds(before, self.accused)
        over, under = odds - (self.line - self.args.margin), self.line + self.args.margin - odds
        low = torch.where(old > 0, FLOOR - odds, torch.full_like(odds, -1.0))
        rows = {"kept": kept, "quiet": self.args.quiet * pull(over), "loud": 0.3 * kept + self.args.loud * pull(under)}
        rows["bare"] = rows["quiet"] + self.args.quiet * pull(low)
        chosen = [torch.from_numpy(part == name) for name in rows]
        return torch.stack(
            [torch.where(mask, value, torch.zeros_like(value)) for mask, value in zip(chosen, rows.values(), strict=True)]
        ).sum(0)

    def head(self) -> tuple[Floats, Floats]:
        """What to add to the head's weight, float32 [F, C], and bias, float32 [C]."""
        spread = self.x.std(0) + np.float32(1e-3)
        x, z = torch.from_numpy(self.x / spread), torch.from_numpy(self.z)
        moved = torch.zeros(x.shape[1], z.shape[1], requires_grad=True)
        shift = torch.zeros(z.shape[1], requires_grad=True)
        optimizer = torch.optim.LBFGS([moved, shift], max_iter=self.args.steps, history_size=20, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = self.loss(z + x @ moved + shift, z, self.part).mean() + self.args.decay * moved.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return moved.detach().numpy() / spread[:, None], shift.detach().numpy()


def pull(excess: torch.Tensor) -> torch.Tensor:
    """Huber's loss of what is above zero."""
    return functional.huber_loss(functional.relu(excess), torch.zeros_like(excess), reduction="none", delta=MOST)


def threshold_of(metadata: Mapping[str, str]) -> float:
    """The threshold for one false alarm in a thousand that stands in a specialist's file."""
    return float(json.loads(metadata["thresholds"])["fpr"][RATE])


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.quiet", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--task", required=True, choices=sorted(AIMS))
    p.add_argument("--more", type=Path, required=True, help="rows beside the table (tools.train.payload_rows, tools.train.known_agents)")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--part", default="", choices=("", "train"), help="words that train: all, or without those kept to measure")
    p.add_argument("--quiet", type=float, default=1.2, help="weight of ordinary strings above the line")
    p.add_argument("--loud", type=float, default=2.0, help="weight of attacks below it")
    p.add_argument("--hold", type=float, default=0.1, help="weight of the logits' change")
    p.add_argument("--decay", type=float, default=1e-5, help="weight of the change's square on standardized features")
    p.add_argument("--margin", type=float, default=0.5, help="between the line and where the loss of a row begins, in log-odds")
    p.add_argument("--steps", type=int, default=60, help="of the head")
    p.add_argument("--whole", action="store_true", help="uri-attack: no attacks among words and in names of parameters")
    p.add_argument("--mean-of", type=Path, metavar="FILE", help="write a mean of the new head and that of this file")
    p.add_argument("--share", type=float, default=0.5, help="of the new head in that mean")
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--out", type=Path, required=True)
    return p.parse_args(argv)


def fitted(args: argparse.Namespace, specialist: Specialist, served: Served, line: float) -> dict[str, Floats]:
    """Tensors of the new head."""
    weight, bias = plain_head(specialist)
    texts = AIMS[args.task].texts(args)
    every = [text for some in texts.values() for text in some]
    part = np.array([name for name, some in texts.items() for _ in some])
    x = np.concatenate(served(every), axis=1)
    accused = torch.tensor([AIMS[args.task].accuses(label) for label in specialist.labels])
    fit = Fit(x, x @ weight + bias, part, accused, line, args)
    more, shift = fit.head()
    weight, bias, hidden = weight + more, bias + shift, len(specialist.weight)
    new = {"head.weight": weight[:hidden], "head.ngram_weight": weight[hidden:], "head.bias": bias}
    now = x @ weight + bias
    for name in (name for name, some in texts.items() if some and name != "kept"):
        odds = [log_odds(torch.from_numpy(z[part == name]), accused).numpy() >= line for z in (fit.z, now)]
        sys.stderr.write(f"{name}: above the line {odds[0].mean():.4f}, by the new head {odds[1].mean():.4f}\n")
    return new


def main(argv: Sequence[str] | None = None) -> int:
    """Fit and write the specialist's file."""
    args = parse(argv)
    torch.set_num_threads(1)
    with EdgeDemist.load(args.bundle) as model:
        specialist = model.specialist(args.task)
        metadata, tensors = safetensors.read(model.bundle.path / "specialists" / f"{args.task}.safetensors")
        line = 0.0
        if AIMS[args.task].threshold:
            line = float(low_end.log_odds(np.array([threshold_of(metadata)]))[0]) * float(metadata["temperature"])
        new = fitted(args, specialist, Served(model, specialist), line)
        metadata.pop(SCREEN, None)  # cut for the head before: tools.train.screen fits another
    if args.mean_of:
        _, other = safetensors.read(args.mean_of)
        new = {name: args.share * tensor + (1 - args.share) * np.array(other[name], np.float32) for name, tensor in new.items()}
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = {n: np.ascontiguousarray(new.get(n, tensor)) for n, tensor in tensors.items() if not n.startswith(PREFIX)}
    safetensors.write(args.out / f"{args.task}.safetensors", tensors, metadata)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
