r"""Teach the n-gram table of uri-attack what is ordinary: its head and adapter stay, so what it says of all else hardly changes.

    python -m tools.train.quiet_table --data DATA --more ROWS/uri-attack.parquet --out FILES
    python -m tools.train.quiet_table --data DATA --more ROWS/uri-attack.parquet --bodies 40000 --line 0.9 --out FILES

``tools.train.quiet`` asks a head for ordinary strings below the line of an alarm. A head sees sums over n-grams and cannot tell ``passwd``
from the end of ``/etc/passwd``; the table can, for it has n-grams of a string's beginning and end. Rows count as they do there; query
languages, quoted prose and words that people type (``label``) are to be answered ``normal`` too, and short attacks among words are loud.
With ``--bodies`` parts of ordinary requests are ``label`` as well, as windows cut them and some parameters at a time, beside what
``uri_bodies.txt`` holds: a long string is as harmless as its worst window, and what stands between two ``&`` is no whole request.
Small gradient steps on the table alone, through the head: rows that are right already pull at nothing.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional

from edge_demist import EdgeDemist
from edge_demist.format import safetensors
from edge_demist.format.int8 import quantize_columns
from edge_demist.format.screen import METADATA as SCREEN
from edge_demist.format.screen import PREFIX
from edge_demist.normalizers import request, to_bytes
from edge_demist.train.ngrams import NgramConfig, hash_rows
from tools.synth import bare_words, query_languages, uri_server_side
from tools.synth.templates import groups
from tools.train import low_end, payload_rows, quiet
from tools.train.data import normalized, read_table
from tools.train.kept import Kept

if TYPE_CHECKING:
    from edge_demist.format.specialist import Specialist

Floats = NDArray[np.float32]
TASK = "uri-attack"
RATE = "0.001"
BATCH = 512
LABEL_MARGIN = 0.7
"""How far on the side of ``normal`` an ordinary string is to stand, in log-odds."""
SHORT = 70
"""Characters of the attacks that are put among words."""
LONG, DRAWN, WIDE = 90, 3, 96
"""Characters of the attacks whose windows are loud; runs of parameters drawn of a query, and the most characters of one."""
_PARAMETER = re.compile(r"(?=[?&])")


def texts_of(args: argparse.Namespace) -> dict[str, list[str]]:
    """Strings by how they count: those of ``tools.train.quiet``, ``label``, and more that are loud."""
    found = {name: list(texts) for name, texts in quiet.uri_texts(args).items()}
    rng = random.Random(f"{args.seed} quiet table")
    listed = {word.lower() for word in groups(bare_words.FILE)[bare_words.LISTED][0]}
    words = [text for text in found["bare"] if text.lower() in listed]
    found["bare"] = [text for text in found["bare"] if text.lower() not in listed]
    rows = read_table(args.data, TASK, "train")
    found["kept"] = list(dict.fromkeys([*found["kept"], *rows["text"].sample(min(args.table, len(rows)), random_state=args.seed)]))
    found["label"] = words + [row[0] for row in query_languages.generate(rng, args.queries) if row[2] not in args.hold_out]
    found["quiet"] += [query_languages.beacon(rng) for _ in range(args.queries // 6)]
    behind = [row[0] for row in uri_server_side.generate(rng, 4 * args.placed, uri_server_side.MARKS) if row[1] != "normal"]
    short = [text for text in behind if text[0] != "/" and len(text) < SHORT]
    found["loud"] += [quiet.placed(rng, text) for text in rng.sample(short, min(args.placed, len(short)))]
    if args.bodies:
        add_bodies(found, rng, args)
    return found


def add_bodies(found: dict[str, list[str]], rng: random.Random, args: argparse.Namespace) -> None:
    """Add parts of ordinary requests and of attacks, and made bodies; a part of an attack counts where it alarms already."""
    more = pd.read_parquet(args.more)
    more = more[more["source"] != "other kinds"]
    rows = pd.concat([read_table(args.data, TASK, "train")[["text", "label"]], more[["text", "label"]]]).drop_duplicates("text")
    ordinary = [text for text in rows.loc[rows["label"] == "normal", "text"] if text.isprintable()]
    found["label"] += dict.fromkeys(part for text in ordinary for part in [*payload_rows.parts(text), *runs(rng, text)])
    attacks = rows.loc[(rows["label"] != "normal") & (rows["text"].str.len() > LONG), "text"]
    found["part"] = list(dict.fromkeys(part for text in attacks for part in payload_rows.parts(text)))
    made = uri_server_side.generate(rng, args.bodies, uri_server_side.BODIES)
    for name, harmless in (("label", True), ("loud", False)):
        found[name] += dict.fromkeys(row[0] for row in made if (row[1] == "normal") == harmless)


def runs(rng: random.Random, text: str) -> list[str]:
    """Some runs of the parameters of a request, as its windows begin and end."""
    parts = [part for part in _PARAMETER.split(request(text)) if part]
    if len(parts) < DRAWN:
        return []
    drawn = [(rng.randrange(1, len(parts)), rng.choice((1, 1, 2, 3, 4, 6))) for _ in range(DRAWN)]
    return [run for begin, count in drawn if 3 < len(run := "".join(parts[begin : begin + count])) <= WIDE]


class Table:
    """Hashed n-grams of some strings, and their sums over a table that learns."""

    def __init__(self, specialist: Specialist, texts: Sequence[str]) -> None:
        assert specialist.ngrams is not None
        found = specialist.ngrams.config
        config = NgramConfig(found.buckets, found.dim, found.min_n, found.max_n, found.max_bytes)
        raw = [to_bytes(text) for text in normalized(texts, specialist.normalizer)]
        ends = np.cumsum([0, *map(len, raw)]).astype(np.int64)
        self._buckets, self._offsets = hash_rows(np.frombuffer(b"".join(raw) + b"\0", np.uint8), ends[:-1], ends[1:], config)

    def sums(self, table: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        """N-gram vectors [n, dim] of the named strings."""
        begins, counts = self._offsets[rows], np.diff(self._offsets)[rows]
        buckets = np.concatenate([self._buckets[begin : begin + count] for begin, count in zip(begins, counts, strict=True)])
        weights = np.repeat((1.0 / np.sqrt(np.maximum(counts, 1))).astype(np.float32), counts)
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        given = (torch.from_numpy(buckets), table, torch.from_numpy(offsets))
        return functional.embedding_bag(*given, mode="sum", per_sample_weights=torch.from_numpy(weights))


def loss_of(now: torch.Tensor, before: torch.Tensor, part: NDArray[np.str_], accused: torch.Tensor, line: float) -> torch.Tensor:
    """Sum over the rows of a batch: what ``tools.train.quiet.Fit`` asks for, and of ``label`` an answer on the side of ``normal``."""
    target = functional.softmax(before, 1)
    kept = (target * (functional.log_softmax(before, 1) - functional.log_softmax(now, 1))).sum(1) + 0.1 * (now - before).square().mean(1)
    odds, old = quiet.log_odds(now, accused), quiet.log_odds(before, accused)
    over, under = odds - (line - 0.5), line + 0.5 - odds
    low = torch.where(old > 0, quiet.FLOOR - odds, torch.full_like(odds, -1.0))
    rows = {
        "kept": kept,
        "quiet": quiet.pull(over),
        "loud": 0.3 * kept + 2 * quiet.pull(under),
        "label": 2 * quiet.pull(odds + LABEL_MARGIN),
    }
    rows["bare"] = rows["quiet"] + quiet.pull(low)
    rows["part"] = torch.where(old >= line, rows["loud"], torch.zeros_like(kept))
    return torch.stack([(torch.from_numpy(part == name).to(value.dtype) * value).sum() for name, value in rows.items()]).sum()


def tuned(specialist: Specialist, kept: Kept, args: argparse.Namespace, line: float) -> Floats:
    """The table after some rounds of small steps, float32 [buckets, dim]."""
    assert specialist.ngrams is not None
    assert specialist.ngram_weight is not None
    found = texts_of(args)
    every = [text for some in found.values() for text in some]
    part = np.array([name for name, some in found.items() for _ in some])
    hashed = Table(specialist, every)
    encoder = torch.from_numpy(kept(every)[0] @ specialist.weight + specialist.bias)
    start = torch.from_numpy(np.asarray(specialist.ngrams.weight, np.float32) * np.asarray(specialist.ngrams.scale, np.float32))
    select = torch.from_numpy(np.array(specialist.ngram_weight, np.float32))
    accused = torch.tensor([label != "normal" for label in specialist.labels])
    table = torch.nn.Parameter(start.clone())
    with torch.no_grad():
        places = np.arange(len(every))
        before = torch.cat([encoder[rows] + hashed.sums(start, rows) @ select for rows in np.array_split(places, len(every) // 4096 + 1)])
    rng = np.random.default_rng(args.seed)
    for number in range(args.rounds):
        order, total = rng.permutation(len(every)), 0.0
        for begin in range(0, len(order), BATCH):
            rows = order[begin : begin + BATCH]
            loss = loss_of(encoder[rows] + hashed.sums(table, rows) @ select, before[rows], part[rows], accused, line)
            (gradient,) = torch.autograd.grad(loss, table)
            with torch.no_grad():
                table -= args.step * gradient
            total += loss.item()
        sys.stderr.write(f"round {number + 1}: loss a row {total / len(every):.4f}\n")
    return table.detach().numpy()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.quiet_table", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--more", type=Path, required=True, help="rows beside the table (tools.train.payload_rows)")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--part", default="", choices=("", "train"), help="words that train: all, or without those kept to measure")
    p.add_argument("--table", type=int, default=60_000, help="rows of the table that are to keep their answers")
    p.add_argument("--queries", type=int, default=8000, help="searches in query languages and quoted prose")
    p.add_argument(
        "--bodies", type=int, default=0, help="made bodies, values and runs of parameters, half of them attacks, and parts of rows"
    )
    p.add_argument("--line", type=float, help="alarm score of the line (default: the threshold for one false alarm in a thousand)")
    p.add_argument("--placed", type=int, default=1000, help="short attacks among words")
    p.add_argument(
        "--hold-out", nargs="*", default=[], help="query languages that train nothing (functions of tools.synth.query_languages)"
    )
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--step", type=float, default=0.2, help="size of a gradient step on the sum of a batch")
    p.add_argument("--features", type=Path, metavar="DIR", help="keep the encoder's vectors there")
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--out", type=Path, required=True, help="folder for uri-attack.safetensors")
    args = p.parse_args(argv)
    args.task, args.whole = TASK, True
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Tune the table and write the specialist's file; thresholds and screen are to be set again."""
    args = parse(argv)
    torch.set_num_threads(1)
    with EdgeDemist.load(args.bundle) as model:
        specialist = model.specialist(TASK)
        metadata, read = safetensors.read(model.bundle.path / "specialists" / f"{TASK}.safetensors")
        threshold = args.line or quiet.threshold_of(metadata)
        line = float(low_end.log_odds(np.array([threshold]))[0]) * float(metadata["temperature"])
        matrix = quantize_columns(tuned(specialist, Kept(model, specialist, TASK, args.features), args, line))
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in read.items() if not name.startswith(PREFIX)}
        metadata.pop(SCREEN, None)  # cut for the table before: tools.train.screen fits another
    args.out.mkdir(parents=True, exist_ok=True)
    safetensors.write(args.out / f"{TASK}.safetensors", tensors | {"ngrams.weight": matrix.values, "ngrams.scale": matrix.scale}, metadata)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
