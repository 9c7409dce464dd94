"""``tools.train.quiet``: what is pushed over the line, what stays."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

for needed in ("torch", "pandas"):
    pytest.importorskip(needed)

from edge_demist.format import safetensors  # noqa: E402
from quantize import cli  # noqa: E402
from tests.support.plain_heads import with_one_group  # noqa: E402
from tools.train import quiet  # noqa: E402

KEPT = [
    "/index.html",
    "/a?b=1",
    "red shoes",
    "' or 1=1--",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "/news/today",
    "user@example.com",
]
QUIET = ["/etc/", "red alert 2", "(a or b) and c"]


def test_the_head_alone_changes_and_ordinary_strings_alarm_no_more(tmp_path: Path, monkeypatch, model):
    texts = {"kept": KEPT, "quiet": QUIET, "bare": ["whoami"], "loud": ["/a/{{7*7}}"]}
    aims = {"uri-attack": dataclasses.replace(quiet.AIMS["uri-attack"], texts=lambda args: texts)}
    monkeypatch.setattr(quiet, "AIMS", aims)
    model = quiet.EdgeDemist.load(plain := with_one_group(model, "uri-attack", tmp_path / "before"))
    given = ["--data", str(tmp_path), "--bundle", str(plain), "--task", "uri-attack", "--more", str(tmp_path), "--out", str(tmp_path)]
    assert quiet.main(given) == 0
    file = tmp_path / "uri-attack.safetensors"
    _, new = safetensors.read(file)
    _, old = safetensors.read(model.bundle.path / "specialists" / file.name)
    same = {name for name in new if (new[name] == old[name]).all()}
    assert set(new) - same == {"head.weight", "head.ngram_weight", "head.bias"}
    assert not any(name.startswith("screen.") for name in new)
    assert cli.main(["add", str(file), "--bundle", str(plain), "--replace", "--out", str(tmp_path / "bundle")]) == 0
    changed = quiet.EdgeDemist.load(tmp_path / "bundle")
    before, after = (m.classify([*QUIET, *KEPT], task="uri-attack") for m in (model, changed))
    assert sum(a.alarm_score for a in after[:3]) < sum(a.alarm_score for a in before[:3])
    assert [a.label for a in after[3:]] == [a.label for a in before[3:]]
