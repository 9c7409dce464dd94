"""The benchmarks of shortcuts and of strings known by heart: what they ask, and what they count."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

pandas = pytest.importorskip("pandas")
pytest.importorskip("sentencepiece")

from benchmarks import accuracy_report, ood, robustness, sanity  # noqa: E402


class Habit:
    """Calls everything malicious or generated that begins with ``www.`` or ends in ``/login``."""

    bundle_id = "0"

    def classify(self, texts, task):
        labels = {"dga": "dga", "hostname-category": "news"}
        bad = [t.startswith("www.") or t.endswith("/login") for t in texts]
        return [SimpleNamespace(label=labels.get(task, "malicious") if b else "legit") for b in bad]


@pytest.fixture
def found(tmp_path):
    folder = tmp_path / "tasks" / "dga"
    folder.mkdir(parents=True)
    names = [("a.com", "legit"), ("www.b.com", "legit"), ("cdn.c.com", "legit"), ("x7.net", "dga"), ("y8.y.net", "dga")]
    pandas.DataFrame(names, columns=["text", "label"]).to_parquet(folder / "dev.parquet")
    return robustness.measure(Habit(), tmp_path, 1)


def test_habits_are_counted(found):
    assert (found["names"], found["generated"], found["hosts"]) == (2, 1, 1)
    threat = found["hostname-threat, harmless called malicious"]
    assert threat == {before: float(before == "www.") for before in robustness.BEFORE}
    assert found["dga, generated found"]["www."] == 1.0
    assert found["hostname-category, same answer as bare"] == {before: float(before != "www.") for before in robustness.BEFORE}
    assert found["url-phishing, harmless called malicious"] == {after: float(after == "/login") for after in robustness.AFTER}


def test_versions_stand_side_by_side(found):
    text = "\n".join(accuracy_report.shortcut_section(json.loads(json.dumps({"10": found, "9": found}))))
    assert text.index("| 9 |") < text.index("| 10 |")
    assert "| version | bare | `www.` |" in text
    assert accuracy_report.shortcut_section({}) == []


def test_strings_known_by_heart_have_labels_of_the_task_and_stand_once(model):
    labels = {task: set(model.specialist(task).labels) for task in model.tasks}
    assert set(sanity.tasks()) == set(labels)
    for task in sanity.tasks():
        rows = sanity.strings(task)
        assert len(rows) >= 80
        assert len({text for text, _ in rows}) == len(rows)
        assert {label for _, label in rows} <= labels[task]


def test_right_answers_are_counted_by_label(tmp_path):
    class News:
        bundle_id = "0"

        def classify(self, texts, task):
            return [SimpleNamespace(label="news") for _ in texts]

    for task in sanity.tasks():
        folder = tmp_path / "tasks" / task
        folder.mkdir(parents=True)
        text, label = sanity.strings(task)[0]
        pandas.DataFrame({"text": [text, "no such"], "label": [label, label]}).to_parquet(folder / "train.parquet")
    found = sanity.measure(News(), tmp_path)
    for task in sanity.tasks():
        assert found[task]["in_train"] == 1
        for label, (right, n) in found[task]["labels"].items():
            assert right == (n if label == "news" else 0)
    text = "\n".join(accuracy_report.by_heart_section({"10": found, "9": found}))
    assert "| version 9 | version 10 |" in text
    assert "| hostname-category | all | 192 | 8 | 8 | 1 |" in text
    assert accuracy_report.by_heart_section({}) == []


def test_own_labels_are_shown_by_task_and_rows():
    def system(accuracy):
        return {"accuracy": accuracy, "macro_f1": 50.5, "seconds": 7, "bytes": 1_200_000}

    rows = {size: {name: system(60.0 + i) for i, name in enumerate(accuracy_report.OWN_SYSTEMS)} for size in ("1000", "500")}
    text = accuracy_report.own_labels_section({"tasks": {"t": {"labels": 3, "scored": 1234, "rows": rows}}})
    lines = [line for line in text if line.startswith("| t ")]
    assert [line.split(" | ")[2] for line in lines] == ["500", "1,000"]
    assert lines[0] == "| t | 3 | 500 | 1,234 | 60.00 / 50.50 | 61.00 / 50.50 | 62.00 / 50.50 | 7 | 1.20 |"
    assert accuracy_report.own_labels_section({}) == []


def test_strings_of_other_kinds_are_counted(model):
    class Sure:
        bundle_id, tasks = "0", ("dga", "filename")

        def specialist(self, task):
            return SimpleNamespace(kind="alarm" if task == "dga" else "category", positive_labels=("dga",))

        def classify(self, texts, task, fpr=None):
            return [SimpleNamespace(score=0.5 if i % 2 else 0.4, label="dga" if fpr else "x") for i, _ in enumerate(texts)]

    found = ood.measure(Sure(), ood.strings())
    found["later"] = ood.measure(Sure(), ood.strings(ood.LATER))
    for kind, count in found["strings"].items():
        assert found["tasks"]["dga"][kind] == {"sure": count // 2, "alarms": count}
        assert found["tasks"]["filename"][kind] == {"sure": count // 2}
    text = "\n".join(accuracy_report.out_of_domain_section({"9": found, "10": found}))
    assert "| german | 10 | 5 → 5 | 5 → 5 |" in text
    assert "dga 530 → 530" in text
    assert "| polish | 8 | 4 → 4 | 4 → 4 |" in text
    assert accuracy_report.out_of_domain_section({}) == []


def test_foreign_strings_stand_once_and_training_makes_none_of_them():
    import random

    from tools.synth import ood

    kinds = ood.strings()
    texts = [text for rows in kinds.values() for text in rows]
    assert len(texts) == len(set(texts)) == 530
    made = {row[0] for row in ood.generate(random.Random(1), 12_000)}
    assert not made & set(texts)
