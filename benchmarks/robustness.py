"""What stands before and after a name, and what it makes of the answer: the shortcuts that dev splits do not show.

    python -m benchmarks.robustness --data DATA                     # the shipped bundle
    python -m benchmarks.robustness --data DATA --bundle OLD_BUNDLE # another version beside it

Registered domains of the dga task's dev split, harmless ones from top lists and generated ones, are asked about bare, under labels
that administrators use (``www.``, ``mail.``), and with paths that most sites have. What is before or after a name should not change
the answer. Adds to ``benchmarks/results/robustness.json``, one entry a bundle version; ``benchmarks.accuracy --render`` shows it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import result_file
from edge_demist import EdgeDemist
from tools.synth import well_known
from tools.synth.templates import lines
from tools.train.data import read_table

RESULTS = result_file.RESULTS / "robustness.json"
NAMES = 1000
BEFORE = ("", "www.", "mail.", "api.", "cdn.", "ns1.", "login.", "vpn.")
AFTER = ("", "/", "/login", "/index.html", "/contact", "/images/logo.png", "/js/app.min.js")


def share(model: EdgeDemist, task: str, texts: Sequence[str], label: str) -> float:
    """Share of the texts that get ``label``."""
    return round(float(np.mean([answer.label == label for answer in model.classify(list(texts), task=task)])), 4)


def measure(model: EdgeDemist, data: Path, seed: int) -> dict[str, object]:
    """Shares by task and surroundings."""
    table = read_table(data, "dga", "dev")
    dots = table["text"].str.removeprefix("www.").str.count(r"\.")
    two = {label: table.loc[(dots == 1) & (table["label"] == label), "text"].str.removeprefix("www.") for label in ("legit", "dga")}
    harmless, generated = (list(two[label].sample(min(NAMES, len(two[label])), random_state=seed)) for label in ("legit", "dga"))
    hosts = list(table.loc[(dots > 1) & (table["label"] == "legit"), "text"])
    ours = tuple("." + name for name in (*lines("infrastructure.txt"), *well_known.services()))
    others = [host for host in hosts if not host.endswith(ours)]
    bare = [answer.label for answer in model.classify(harmless, task="hostname-category")]

    def same(before: str) -> float:
        answers = model.classify([before + name for name in harmless], task="hostname-category")
        return round(float(np.mean([a.label == b for a, b in zip(answers, bare, strict=True)])), 4)

    def around(task: str, names: list[str], label: str) -> dict[str, float]:
        return {before: share(model, task, [before + name for name in names], label) for before in BEFORE}

    pages = {after: share(model, "url-phishing", [name + after for name in harmless], "malicious") for after in AFTER}
    return {
        "bundle_id": model.bundle_id, "names": len(harmless), "generated": len(generated), "hosts": len(hosts),
        "other_hosts": len(others), "seed": seed,
        "hostname-threat, harmless called malicious": around("hostname-threat", harmless, "malicious"),
        "hostname-threat, hosts of top lists called malicious": {"": share(model, "hostname-threat", hosts, "malicious")},
        "hostname-threat, hosts of domains on none of our lists": {"": share(model, "hostname-threat", others, "malicious")},
        "dga, harmless called dga": around("dga", harmless, "dga"),
        "dga, generated found": around("dga", generated, "dga"),
        "hostname-category, same answer as bare": {before: same(before) for before in BEFORE},
        "url-phishing, harmless called malicious": pages,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one bundle."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="python -m benchmarks.robustness", description=__doc__, formatter_class=raw)
    p.add_argument("--data", type=Path, required=True, help="folder with tasks/")
    p.add_argument("--bundle", type=Path, default=None, help="bundle folder (default: the shipped one)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", type=Path, default=RESULTS)
    args = p.parse_args(argv)
    with EdgeDemist.load(args.bundle) as model:
        found = result_file.read(args.out) | {str(model.bundle.version): measure(model, args.data, args.seed)}
    result_file.write(args.out, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
