"""Fit the screens of a finished bundle's alarm specialists, and write the bundle with them.

    python -m tools.train.screen --bundle edge_demist/assets/model --data ../shared/data --out /tmp/screened
    python -m tools.train.screen --bundle edge_demist/assets/model --data ../shared/data --out edge_demist/assets/model --overwrite

For each threshold the cut is the first score below which two in a thousand of the calibration strings lie that reach the threshold, or five
in a thousand of the harmless ones among them, whichever is lower: the lowest score of all is that of one odd string, and lets two and a
half times as many harmless ones through.  Calibration strings: the task's training split, ordinary strings, fresh threats and the corpus,
and, where attackers change strings, changed positives; long ones by their windows, as they are served.  Half of them, and more of the other
tables, train the screen's net (:mod:`tools.train.screen_net`), the others give its cuts.  Where the net does not skip more harmless strings
at the threshold for one false alarm in a thousand than the half of the head does, the screen goes without.  Nothing else of a file changes.
Some minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from edge_demist import EdgeDemist
from edge_demist.engines.batching import normalized_bytes
from edge_demist.format import safetensors
from edge_demist.format.facts import calibrated_level
from edge_demist.format.screen import METADATA, PREFIX, Screen, ScreenLevel
from edge_demist.format.specialist import Specialist
from edge_demist.format.writer import describe_files, whole_folder, write_json
from edge_demist.inference import Item
from edge_demist.judging import fits
from edge_demist.text import windows
from edge_demist.text.screens import Screens
from tools.synth import evasion
from tools.train import screen_net

Floats: TypeAlias = "NDArray[np.float64]"

OTHERS = {
    "dga": (
        ("ordinary/hosts", True), ("ordinary/dns", True), ("corpus/hostname", False), ("tasks/dns-tunnel/train", False),
        ("threats/tunnels", False), ("threats/hosts", False),
    ),
    "hostname-threat": (("ordinary/hosts", True), ("threats/hosts", False), ("corpus/hostname", False), ("tasks/dga/train", False)),
    "dns-tunnel": (
        ("ordinary/dns", True), ("ordinary/hosts", True), ("threats/tunnels", False), ("threats/hosts", False),
        ("corpus/dns_query", False), ("corpus/hostname", False), ("tasks/dga/train", False),
    ),
    "url-phishing": (("ordinary/urls", True), ("threats/urls", False)),
    "uri-attack": (("ordinary/targets", True), ("threats/attacks", False)),
    "cmdline": (("tasks/cmdline/extra-benign-life", True),),
}  # fmt: skip
"""Tables beside a task's own training split, and whether their strings are known to be harmless."""
GRID = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995)
"""Thresholds beside the calibrated ones: budgets move thresholds."""
LOST, LOST_OF = 0.002, {"uri-attack": 0.0001, "url-phishing": 0.0003, "cmdline": 0.0005, "dga": 0.004, "dns-tunnel": 0.004}
"""Share of the alarms that a cut may lose; a threshold that fewer alarms than its inverse reach has the cut of the next weaker one.

A scan, a bot and a tunnel repeat one form, so a small share of a table may be a large one of a log.
"""
LEAST_ALARMS = 50
ORDINARY = 20
"""So many times more strings are taken of the other tables: an alarm about an ordinary one counts as one too, and is rare."""
POSITIVE = 3
"""So many times more positives of the training split are taken."""
LEARNED = 0.5
"""Share of the strings that train the net."""
MORE = 300_000
"""Strings of each table beside the training split that are looked through for such as stage one by the head lets pass."""
MORE_LEARNED = 50_000
"""So many of these train the net too."""
AIM = 0.001
"""False-positive rate of the threshold that the net is trained for."""
LOST_ORDINARY = 0.005
"""Share of the alarms about harmless strings that a cut may lose, where there are enough to tell: they look like no attack, and quiet
days have no others."""
BATCH = 2048


@dataclasses.dataclass(frozen=True)
class Measured:
    """First scores and alarm scores of strings, and which are known to be harmless."""

    first: Floats
    score: Floats
    harmless: NDArray[np.bool_]
    lost: float = LOST

    def __post_init__(self) -> None:
        """Check that all are of one length."""
        if not len(self.first) == len(self.score) == len(self.harmless):
            raise ValueError("one first score, one alarm score and one flag a string")

    def part(self, kept: NDArray[np.bool_]) -> Measured:
        """Those of some strings."""
        return Measured(self.first[kept], self.score[kept], self.harmless[kept], self.lost)


def fit(measured: Measured, thresholds: Iterable[float], rng: np.random.Generator) -> Screen | None:
    """The screen for alarm thresholds; None if no threshold is reached by fifty strings."""
    half = rng.random(len(measured.first)) < 0.5
    reached = [(threshold, measured.score >= threshold) for threshold in sorted(set(thresholds), reverse=True)]
    usable = [pair for pair in reached if pair[1].sum() >= 1 / measured.lost] or [pair for pair in reached if pair[1].sum() >= LEAST_ALARMS]
    every, one, other = (_cuts(measured, [alarms & part for _, alarms in usable]) for part in (half | True, half, ~half))
    levels = []
    for k, (threshold, alarms) in enumerate(usable):
        lost = [_share_below(measured.first[alarms & ~half], one[k]), _share_below(measured.first[alarms & half], other[k])]
        skipped = _share_below(measured.first[measured.harmless], every[k])
        levels.append(ScreenLevel(threshold, every[k], int(alarms.sum()), round(float(np.mean(lost)), 6), round(skipped, 6)))
    return Screen(tuple(reversed(levels))) if levels else None


def _cuts(measured: Measured, groups: Sequence[NDArray[np.bool_]]) -> list[float]:
    """The cut of each group of alarms, none above that of the group before: a weaker threshold has no higher cut."""
    cuts: list[float] = []
    for alarms in groups:
        harmless = alarms & measured.harmless
        enough = harmless if harmless.sum() >= 1 / LOST_ORDINARY else harmless & False
        cuts.append(min([_cut(measured.first[alarms], measured.lost), _cut(measured.first[enough], LOST_ORDINARY), *cuts[-1:]]))
    return cuts


def _share_below(first: Floats, cut: float) -> float:
    return float(np.mean(first < cut)) if len(first) else 0.0


def _cut(first: Floats, lost: float) -> float:
    return float(np.float32(np.quantile(first, lost, method="lower"))) if len(first) else np.inf


def strings(data: Path, task: str, positive: Sequence[str], most: int, rng: np.random.Generator) -> Iterator[tuple[list[str], bool]]:
    """Calibration strings of a task in groups, each with whether it is harmless; at most ``most`` of a group."""
    path = data / "tasks" / task / "train.parquet"
    if path.is_file():
        table = pd.read_parquet(path, columns=["text", "label"])
        for harmless in (True, False):
            chosen = _sample(table.text[table.label.isin(positive) != harmless], most * (1 if harmless else POSITIVE), rng)
            yield chosen, harmless
            if not harmless and task in evasion.CHANGES:
                draw = random.Random(int(rng.integers(1 << 31)))
                yield [evasion.changed(draw, task, text) for text in chosen[:most]], harmless
    for name, harmless in OTHERS.get(task, ()):
        path = data / f"{name}.parquet"
        if path.is_file():
            yield _sample(pd.read_parquet(path, columns=["text"]).text, ORDINARY * most, rng), harmless


def _sample(texts: pd.Series[str], most: int, rng: np.random.Generator) -> list[str]:
    values = texts.tolist()
    return values if len(values) <= most else [values[i] for i in rng.permutation(len(values))[:most]]


def measure(model: EdgeDemist, task: str, groups: Iterable[tuple[list[str], bool]]) -> tuple[list[bytes], Measured]:
    """Distinct strings, of a long one the whole and each window; first score by the head's half and alarm score of each."""
    specialist, raws = model.specialist(task), dict[bytes, bool]()
    for texts, harmless in groups:
        for text in texts:
            for raw in _parts(model, specialist, normalized_bytes(text, specialist.normalizer, 16 * model.bundle.limits.max_bytes)):
                raws[raw] = raws.get(raw, True) and harmless
    strings = list(raws)
    known, lost = np.array(list(raws.values())), LOST_OF.get(task, LOST)
    return strings, Measured(by_head(model, specialist, strings), whole(model, specialist, strings), known, lost)


def by_head(model: EdgeDemist, specialist: Specialist, strings: Sequence[bytes]) -> Floats:
    """First scores [n] by the half of the head."""
    head = Screens([(dataclasses.replace(specialist, screen=None), model.inference.ngrams_of(specialist))])
    return head.scores(strings)[:, 0].astype(np.float64)


def whole(model: EdgeDemist, specialist: Specialist, strings: Sequence[bytes]) -> Floats:
    """Alarm scores [n] of the whole specialist."""
    found: list[float] = []
    for begin in range(0, len(strings), BATCH):
        rows = model.inference.rows(model.engine, [Item(raw, specialist.task) for raw in strings[begin : begin + BATCH]])
        found += [specialist.alarm_score(row.scores) / (sum(row.scores) or 1.0) for row in rows]
    return np.array(found)


def more(model: EdgeDemist, task: str, data: Path, known: Set[bytes], lowest: float, rng: np.random.Generator) -> list[bytes]:
    """Further strings of the tables beside the training split, of first scores by the head from ``lowest`` on."""
    specialist, found = model.specialist(task), list[bytes]()
    for name, _ in OTHERS.get(task, ()):
        path = data / f"{name}.parquet"
        texts = _sample(pd.read_parquet(path, columns=["text"]).text, MORE, rng) if path.is_file() else []
        raws = {normalized_bytes(text, specialist.normalizer, windows.MOST_BYTES) for text in texts} - known
        fresh = sorted(raw for raw in raws if raw and not windows.is_long(raw, specialist.normalizer, overflow=False))
        found += [raw for raw, first in zip(fresh, by_head(model, specialist, fresh), strict=True) if first >= lowest]
    return [found[n] for n in rng.permutation(len(found))[:MORE_LEARNED].tolist()]


def fit_best(model: EdgeDemist, task: str, data: Path, most: int, rng: np.random.Generator) -> Screen | None:
    """The screen of a specialist: with a net where that skips more, else by the half of its head; None if too few strings alarm."""
    specialist = model.specialist(task)
    raws, measured = measure(model, task, strings(data, task, specialist.positive_labels, most, rng))
    thresholds = [*GRID, *specialist.thresholds.get("fpr", {}).values()]
    plain = fit(measured, thresholds, rng)
    ngrams = model.inference.ngrams_of(specialist)
    aim = calibrated_level(specialist.thresholds, "fpr", AIM)
    if plain is None or ngrams is None or aim is None:
        return plain
    learn = rng.random(len(raws)) < LEARNED
    learned, rest = measured.part(learn), measured.part(~learn)
    near, lowest = screen_net.near(learned.first, learned.score >= aim[1], rng)
    chosen = [raws[n] for n in np.flatnonzero(learn)[near].tolist()]
    further = more(model, task, data, set(raws), lowest, rng)
    score = np.concatenate([learned.score[near], whole(model, specialist, further)])
    net = screen_net.train(ngrams.encode_batch([*chosen, *further]), score, aim[1], rng, read_by_alarms(specialist))
    made = dataclasses.replace(specialist, screen=Screen((ScreenLevel(0.0, 0.0),), net))
    first = Screens([(made, ngrams)]).scores([raws[n] for n in np.flatnonzero(~learn).tolist()])[:, 0].astype(np.float64)
    by_net = fit(dataclasses.replace(rest, first=first), thresholds, rng)
    before, after = (_skipped(one, aim[1]) for one in (fit(rest, thresholds, rng), by_net))
    sys.stderr.write(
        f"{task}: {len(raws):,} strings, {len(score):,} for the net; skipped at {AIM}: {after:.4f}, by the head {before:.4f}\n"
    )
    return dataclasses.replace(by_net, net=net) if by_net is not None and after > before else plain


def read_by_alarms(specialist: Specialist) -> NDArray[np.bool_] | None:
    """Which n-gram columns decide alarms, bool [dim]: a column for labels alone may change, and no first score with it."""
    weight = specialist.ngram_weight
    return None if weight is None else np.abs(weight[:, : len(specialist.owners)]).max(axis=1) > 0


def level_for(screen: Screen, threshold: float) -> ScreenLevel | None:
    """The level that a threshold takes."""
    return next((one for one in reversed(screen.levels) if one.threshold <= threshold), None)


def _skipped(screen: Screen | None, threshold: float) -> float:
    level = None if screen is None else level_for(screen, threshold)
    return 0.0 if level is None else level.skipped


def _parts(model: EdgeDemist, specialist: Specialist, raw: bytes) -> list[bytes]:
    whole = fits(model.inference, raw, specialist)
    if not raw or not windows.is_long(raw, specialist.normalizer, overflow=not whole):
        return [raw] if raw else []
    cut_up = windows.expand(raw, specialist.normalizer, lambda part: fits(model.inference, part, specialist))
    return [raw, *(window.raw for window in cut_up)]


def write(source: Path, out: Path, screens: dict[str, Screen], *, overwrite: bool) -> None:
    """Write the bundle with these screens; all files but those of its specialists, and the manifest, byte for byte."""
    with whole_folder(out, overwrite) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        for task, screen in screens.items():
            path = folder / "specialists" / f"{task}.safetensors"
            metadata, tensors = safetensors.read(path)
            copies = {name: np.array(tensor) for name, tensor in tensors.items() if not name.startswith(PREFIX)}
            copies |= {} if screen.net is None else screen.net.tensors()
            path.unlink()
            safetensors.write(path, copies, {**metadata, METADATA: screen.to_json()})
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        manifest["files"] = describe_files(folder, list(manifest["files"]))
        (folder / "manifest.json").unlink()
        write_json(folder / "manifest.json", manifest)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with tasks/, ordinary/ and threats/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle at --out, which may be --bundle")
    parser.add_argument("--tasks", nargs="*", help="fit these alone (default: all alarm specialists that read n-grams)")
    parser.add_argument("--most", type=int, default=4000, help="strings of one table and class (default 4000)")
    args = parser.parse_args()
    model, screens = EdgeDemist.load(args.bundle), {}
    rng = np.random.default_rng(0)
    for task in args.tasks or model.tasks:
        specialist = model.specialist(task)
        if not specialist.has_first_score:
            continue
        screen = fit_best(model, task, args.data, args.most, rng)
        if screen is None:
            sys.stderr.write(f"{task}: too few alarms for a screen\n")
            continue
        screens[task] = screen
        for rate, threshold in specialist.thresholds.get("fpr", {}).items():
            level = level_for(screen, threshold)
            if level is not None:
                sys.stderr.write(f"{task} at {rate}: {level}\n")
    write(args.bundle, args.out, screens, overwrite=args.overwrite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
