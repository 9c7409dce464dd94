"""A whole bundle that has learnt from sources under permitted terms alone, by one command.

    python -m tools.train.permitted --data DATA --work WORK --out BUNDLE
    python -m tools.train.permitted --data DATA --work WORK --out BUNDLE --terms permissive own --minutes 260
    python -m tools.train.permitted --check BUNDLE            # whether a bundle names sources under other terms

Steps: the permitted rows (``tools.train.permitted_data``), vocabulary, base, n-gram table, specialists, int8 bundle, specialists without
an adapter, thresholds of cmdline, sources and card, screens, and last the check, which fails where ``edge-demist info --licences`` would
name a source under other terms or a part of the bundle names none.  Each step that has left its result in WORK is skipped, and the base
goes on from its checkpoint, so the command may be broken off and given again.  Nothing under other terms is read behind the first step.

The base starts from all-MiniLM-L6-v2 (Apache-2.0), whose makers publish its weights under that licence; what they trained on is theirs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_demist.format import licences
from edge_demist.format.bundle import Bundle
from edge_demist.format.specialist import load_specialist
from edge_demist.format.writer import whole_folder
from tools.train import permitted_data
from tools.train.data import TASKS
from tools.train.plain import PLAIN

CARD = """# Model card: edge-demist trained on permitted sources alone

Terms of the sources: {terms}. The base trained for {minutes} minutes, from the first layers of all-MiniLM-L6-v2 (Apache-2.0).

Labels left out because no more than a few permitted rows have them: {labels}.
hostname-threat, url-phishing, dga and dns-tunnel have learnt from lists of threats, category lists, ordinary strings and generators in
place of the published tables, which state no licence. `edge-demist info --licences` names every source.

Limits and use are those of the model in the package; its scores are not.
"""
ORDINARY_LINES = Path("tasks/cmdline/extra-benign-life.parquet")


class Step(NamedTuple):
    """A command (``python -m`` follows), and the file that says that it is done."""

    name: str
    command: list[str]
    done: Path


def offenders(bundle: Bundle, terms: Sequence[str]) -> list[str]:
    """What keeps a bundle from being one of permitted sources: a line a source under other terms, and a part that names no source."""
    found = [
        f"{source.terms}\t{source.licence}\t{source.name}\t{','.join(source.seen_by)}"
        for source in licences.sources_of(bundle)
        if not permitted_data.permitted(source.name, terms)
    ]
    found += [f"{task} names no source" for task in bundle.tasks if not load_specialist(bundle, task).sources]
    if not bundle.manifest.get("sources"):
        found.append("the manifest names no source of base and n-gram table")
    return found


def check(folder: Path, terms: Sequence[str]) -> None:
    """Say how many sources a bundle names.

    Raises:
        SystemExit: one of them is under other terms.
    """
    bundle = Bundle.load(folder, hash_all=True)
    if found := offenders(bundle, terms):
        lines = "\n".join(found)
        raise SystemExit(f"{folder} is not of sources under {', '.join(terms)} alone:\n{lines}")
    size = sum(entry.bytes for entry in bundle.files.values()) / 1e6
    sys.stdout.write(
        f"{folder}: {len(licences.sources_of(bundle))} sources, all {', '.join(terms)}; {len(bundle.tasks)} tasks, {size:.1f} MB, "
        f"id {bundle.id}\n"
    )


def training_steps(args: argparse.Namespace) -> list[Step]:
    """From strings to the folders of the specialists with an adapter."""
    data, work = args.work / "data", args.work
    checkpoint, model = work / "base" / "checkpoint", work / "spm.model"
    common = ["--data", str(data), "--checkpoint", str(checkpoint)]
    base = ["--data", str(data), "--tokenizer", str(model), "--out", str(work / "base"), "--minutes", str(args.minutes)]
    steps = [
        Step(
            "rows",
            ["tools.train.permitted_data", "--data", str(args.data), "--out", str(data), "--terms", *args.terms],
            data / "report.json",
        ),
        Step("vocabulary", ["tools.train.tokenizer", "--data", str(data), "--out", str(model)], model),
        Step("base", ["tools.train.base", *base], checkpoint / "training.json"),
    ]
    limit = ["--limit", str(args.limit)] if args.limit else []
    steps += [
        Step(f"n-grams of {task}", ["tools.train.ngram_table", *common, *limit, "--task", task], checkpoint / f"ngrams-{task}.done")
        for task in TASKS
    ]
    for task in TASKS:
        command = ["tools.train.specialist", *common, *limit, "--task", task, "--out", str(work / "adapters")]
        for option in ("epochs", "layers", "pools"):
            if (value := getattr(args, option)) is not None:
                command += [f"--{option}", str(value)]
        steps.append(Step(task, command, work / "adapters" / task / "specialist.json"))
    return steps


def bundle_steps(args: argparse.Namespace) -> list[Step]:
    """From the folders of specialists to the bundle with its screens."""
    data, work = args.work / "data", args.work
    built, whole, screened = work / "built", work / "whole", work / "screened"
    build = ["--checkpoint", str(work / "base" / "checkpoint"), "--adapters", str(work / "adapters"), "--artefacts", "", "--overwrite"]
    steps = [
        Step("int8", ["quantize", "build", *build, *(["--force"] if args.force else []), "--out", str(built)], built / "manifest.json")
    ]
    for task in PLAIN:
        command = ["tools.train.plain", "--data", str(data), "--bundle", str(built), "--task", task, "--out", str(work / "plain")]
        steps.append(Step(task, command, work / "plain" / task / "specialist.json"))
    files = [str(work / "plain" / task) for task in PLAIN]
    if (data / ORDINARY_LINES).is_file():
        command = ["tools.train.thresholds", "--bundle", str(built), "--task", "cmdline", "--ordinary", str(data / ORDINARY_LINES)]
        steps.append(Step("thresholds of cmdline", [*command, "--out", str(work / "files")], work / "files" / "cmdline.safetensors"))
        files.append(str(work / "files" / "cmdline.safetensors"))
    card = ["--version", str(args.version), "--card", str(work / "MODEL_CARD.md")]
    command = ["tools.train.assemble", "--base", str(built), "--specialists", *files, "--data", str(data), *card, "--out", str(whole)]
    steps.append(Step("sources and card", command, whole / "manifest.json"))
    command = ["tools.train.screen", "--bundle", str(whole), "--data", str(data), "--most", str(args.most), "--overwrite"]
    return [*steps, Step("screens", [*command, "--out", str(screened)], screened / "manifest.json")]


def write_card(args: argparse.Namespace) -> None:
    """The card of the bundle: what it was made of, as the first steps left it."""
    report = json.loads((args.work / "data" / "report.json").read_text(encoding="utf-8"))
    record = json.loads((args.work / "base" / "checkpoint" / "training.json").read_text(encoding="utf-8"))
    gone = [f"{label} of {task}" for task, labels in report["labels_left_out"].items() for label in labels]
    text = CARD.format(terms=", ".join(report["terms"]), minutes=round(record["seconds"] / 60), labels=", ".join(gone) or "none")
    (args.work / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def run(steps: Sequence[Step], call: Callable[[list[str]], None]) -> None:
    """Run the steps that are not done."""
    for number, step in enumerate(steps, 1):
        fresh = step.done.is_file()
        sys.stderr.write(f"[{number}/{len(steps)}] {step.name}: {'done already' if fresh else '…'}\n")
        sys.stderr.flush()
        if not fresh:
            call(step.command)
            if step.done.suffix == ".done":
                step.done.touch()


def call(command: list[str]) -> None:
    """Run a module of the repository in a process of its own, which gives its memory back.

    Raises:
        SystemExit: it failed.
    """
    code = subprocess.run([sys.executable, "-m", *command], check=False).returncode
    if code:
        raise SystemExit(f"python -m {' '.join(command)} ended with {code}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m tools.train.permitted", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, help="folder with corpus/, tasks/, ordinary/ and threats/")
    p.add_argument("--work", type=Path, help="folder for what the steps leave")
    p.add_argument("--out", type=Path, metavar="BUNDLE")
    choices = sorted({terms for _, terms in licences.table().values()})
    p.add_argument("--terms", nargs="+", default=list(permitted_data.TERMS), choices=choices, help="terms that sources may be under")
    p.add_argument("--minutes", type=float, default=260, help="of the base, on one core")
    p.add_argument(
        "--epochs", type=int, help="rounds of every specialist, instead of each task's own number; 0: heads on the base as it is"
    )
    p.add_argument("--layers", type=int, help="upper layers with an adapter, instead of each task's own number")
    p.add_argument("--pools", type=float, help="ordinary strings and listed names a round (tools.train.specialist)")
    p.add_argument("--limit", type=int, default=0, help="rows of every table for n-grams and specialists (small runs)")
    p.add_argument("--most", type=int, default=4000, help="strings of one table and class that screens are fitted on")
    p.add_argument("--version", type=int, default=1, help="of the bundle")
    p.add_argument("--force", action="store_true", help="take the int8 bundle also where rounding cost more than quantize allows")
    p.add_argument("--check", type=Path, metavar="BUNDLE", help="check this bundle and do nothing else")
    args = p.parse_args(argv)
    if args.check is None and None in (args.data, args.work, args.out):
        p.error("--data, --work and --out are needed, or --check")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Make the bundle, step by step, and check it."""
    args = parse(argv)
    if args.check:
        check(args.check, args.terms)
        return 0
    args.work.mkdir(parents=True, exist_ok=True)
    run(training_steps(args), call)
    write_card(args)
    run(bundle_steps(args), call)
    check(args.work / "screened", args.terms)
    with whole_folder(args.out, overwrite=True) as folder:
        shutil.copytree(args.work / "screened", folder, dirs_exist_ok=True)
    check(args.out, args.terms)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
