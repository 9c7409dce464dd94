"""False alarms per million ordinary strings, and fresh threats found at a real false-alarm rate.

    python -m benchmarks.ordinary --data DATA                        # the shipped bundle, every alarm specialist
    python -m benchmarks.ordinary --data DATA --bundle DIR --name version-9
    python -m benchmarks.ordinary --data DATA --baseline             # character n-grams + linear on the same rows
    python -m benchmarks.ordinary --render                           # the table, as Markdown

Ordinary strings are those of DATA/ordinary, threats those of DATA/threats, both of the part ``measure`` (``tools.train.ordinary``): no
registered domain of it trained or calibrated the specialists. "Curated" leaves out unvetted top lists and doubtful names; "hand-picked"
also what was collected by program. Of uri-attack and cmdline it is what ``tools.train.payload_rows`` keeps back: no site, proof of concept
or repository of it trains, but its ordinary strings set the thresholds. Results go to benchmarks/results/ordinary.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import result_file
from benchmarks.ordinary_report import table
from edge_demist import EdgeDemist
from edge_demist.normalizers import to_bytes
from edge_demist.train.calibration import interval
from tools.train import ordinary, payload_rows
from tools.train.data import TASKS, read_table

RESULTS = result_file.RESULTS / "ordinary.json"
RATES = (1e-2, 1e-3, 1e-4, 1e-5)
LEAST = 10
"""False alarms that a rate must allow on the strings counted; rates that allow fewer are reported with what they allow."""
PAYLOADS = {"cmdline": payload_rows.cmdline, "uri-attack": payload_rows.uri_attack}
TASKS_MEASURED = [*(t for t in ordinary.FILES if TASKS[t].kind == "alarm"), "cmdline"]
Scores = NDArray[np.float64]
Scorer = Callable[[list[str]], Scores]


def sets_of(plain: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Named sets of ordinary strings; those that are equal are named once."""
    curated, picked = plain["curated"].to_numpy(bool), plain["hand_picked"].to_numpy(bool)
    sets = {"curated": curated}
    if picked.any() and (picked != curated).any():
        sets["hand-picked"] = picked
    if not curated.all():
        sets["all"] = np.ones(len(plain), bool)
    return sets


def recall_at(negative: Scores, positive: Scores) -> dict[str, Any]:
    """Share of ``positive`` above the score that each rate of ``negative`` lies above."""
    ranked, result = np.sort(negative)[::-1], {}
    for rate in RATES:
        allowed = int(rate * len(ranked))
        if allowed < 1:
            continue
        found = int((positive > ranked[allowed]).sum())
        result[f"{rate:g}"] = {
            "recall": round(found / len(positive), 5), "interval": interval(found, len(positive)), "false_alarms_allowed": allowed,
        }  # fmt: skip
    return result


def per_million(scores: Scores, thresholds: dict[str, float]) -> dict[str, Any]:
    """False alarms per million at each threshold, with a 95 % interval."""
    result = {}
    for rate, threshold in thresholds.items():
        count = int((scores >= threshold).sum())
        low, high = interval(count, len(scores))
        result[rate] = {"per_million": round(1e6 * count / len(scores)), "interval": [round(1e6 * low), round(1e6 * high)]}
    return result


def measured(plain: pd.DataFrame, threats: pd.DataFrame, score: Scorer, thresholds: dict[str, float]) -> dict[str, Any]:
    """Everything about one scorer on one task."""
    negative, positive = score(list(plain["text"])), score(list(threats["text"]))
    entry: dict[str, Any] = {"threats": len(threats), "ordinary": {}, "kinds": {}}
    for name, mask in sets_of(plain).items():
        entry["ordinary"][name] = {"n": int(mask.sum()), "recall_at": recall_at(negative[mask], positive)}
        if thresholds:
            entry["ordinary"][name]["shipped"] = per_million(negative[mask], thresholds)
    for kind, rows in plain.groupby("kind").indices.items():
        if thresholds:
            entry["kinds"][str(kind)] = {"n": len(rows), **per_million(negative[rows], thresholds)}
    if thresholds:
        entry["threats_at_shipped"] = {r: round(float((positive >= t).mean()), 5) for r, t in thresholds.items()}
    return entry


def read(data: Path, task: str, families: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ordinary strings and threats of the part ``measure``; for dga the families named, for other tasks without a list dev's."""
    if task in PAYLOADS:
        kept = PAYLOADS[task](data, 1)
        return kept_lines(kept[".ordinary"]), kept[".fresh"].reset_index(drop=True)
    plain = ordinary.read_ordinary(data, task)
    plain = plain[plain["part"] == "measure"].reset_index(drop=True)
    if task in ordinary.THREATS:
        threats = ordinary.read_threats(data, task)
        threats = threats[threats["part"] == "measure"]
    else:
        split = read_table(data, task, "train" if families else "dev")
        threats = split[split["label"].isin(TASKS[task].positive_labels)]
        threats = threats[threats["family"].isin(families)] if families else threats
    return plain, threats.reset_index(drop=True)


def kept_lines(lines: pd.DataFrame) -> pd.DataFrame:
    """Ordinary targets or command lines, all of them curated and none chosen by hand; of lines the kinds of script."""
    kinds = lines["platform"] + ": " + lines["kind"] if "platform" in lines else lines["kind"]
    return lines.assign(kind=kinds, curated=True, hand_picked=False).reset_index(drop=True)


def shipped(model: EdgeDemist, task: str) -> tuple[Scorer, dict[str, float]]:
    """Alarm scores through ``classify``, and the thresholds of the bundle."""

    def score(texts: list[str]) -> Scores:
        return np.array([p.alarm_score for p in model.classify(texts, task=task)], np.float64)

    found = model.specialist(task).thresholds.get("fpr", {})
    return score, {f"{float(rate):g}": value for rate, value in sorted(found.items(), key=lambda item: -float(item[0]))}


def baseline(data: Path, task: str, rounds: int, hold_out: Sequence[str]) -> Scorer:
    """Character 1- to 5-grams in 2^20 buckets and logistic regression, on the rows that the specialist trains on."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    from tools.train.data import normalized
    from tools.train.mixtures import Mixture

    negative = next(label for label in read_table(data, task, "dev")["label"] if label not in TASKS[task].positive_labels)
    labels = [negative, *TASKS[task].positive_labels]
    given = argparse.Namespace(exclude_source=[], limit=0, hold_out=hold_out, seed=1, generated=-1, more=None, more_rows=0, pools=1.0)
    with tempfile.TemporaryDirectory() as folder:
        if task in PAYLOADS:
            given.more, given.more_rows, given.pools = Path(folder) / "more.parquet", 1 << 30, 0
            PAYLOADS[task](data, 1)[""].to_parquet(given.more, index=False)
        mixture = Mixture(data, task, labels, None, given)
    parts = [mixture.texts(number) for number in range(rounds)]
    rows = pd.DataFrame({"text": [t for p in parts for t in p[0]], "alarm": [n != negative for p in parts for n in p[1]]})
    rows = rows.drop_duplicates("text").sample(frac=1, random_state=1)
    grams = HashingVectorizer(analyzer="char", ngram_range=(1, 5), n_features=2**20, alternate_sign=False, lowercase=False)

    def features(texts: Sequence[str]) -> object:
        plain = (to_bytes(text).decode("utf-8", "replace") for text in normalized(texts, TASKS[task].normalizer))
        return grams.transform([f"^{text}$" for text in plain])

    model = SGDClassifier(loss="log_loss", alpha=2e-6, max_iter=5, random_state=1).fit(features(rows["text"]), rows["alarm"])

    def score(texts: list[str]) -> Scores:
        return np.concatenate([model.decision_function(features(texts[i : i + 20_000])) for i in range(0, len(texts), 20_000)])

    return score


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and update the result file, or print the table."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.ordinary", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, help="folder with tasks/, ordinary/ and threats/")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="bundle (default: the packaged one)")
    p.add_argument("--name", default="shipped", help="under which name the results stand")
    p.add_argument("--task", nargs="*", default=TASKS_MEASURED, help="alarm specialists")
    p.add_argument("--families", nargs="*", default=[], help="families that the bundle was trained without, instead of dev (dga)")
    p.add_argument("--baseline", action="store_true", help="measure character n-grams + linear instead of the bundle")
    p.add_argument("--rounds", type=int, default=2, help="rounds of training rows that the baseline gets")
    p.add_argument("--render", action="store_true", help="print the table of the result file")
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    if args.render:
        sys.stdout.write(table(result_file.read(args.out)))
        return 0
    if args.data is None:
        p.error("--data is needed")
    model = None if args.baseline else EdgeDemist.load(args.bundle)
    for task in args.task:
        rows, threats = read(args.data, task, args.families)
        score, thresholds = shipped(model, task) if model else (baseline(args.data, task, args.rounds, args.families), {})
        entry = measured(rows, threats, score, thresholds)
        if model:
            entry["bundle"] = {"id": model.bundle_id, "version": model.bundle.version}
        name = "ngrams" if args.baseline else args.name
        results = result_file.read(args.out)
        results.setdefault(task + (" (families held out)" if args.families else ""), {})[name] = entry
        result_file.write(args.out, results)
        first = next(iter(entry["ordinary"].values()))
        sys.stderr.write(f"{task} {name}: { ({k: v['recall'] for k, v in first['recall_at'].items()}) }\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
