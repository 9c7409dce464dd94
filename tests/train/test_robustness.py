"""The benchmarks of shortcuts and of strings known by heart: what they ask, and what they count."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pandas = pytest.importorskip("pandas")
pytest.importorskip("sentencepiece")

from benchmarks import ood, robustness, sanity  # noqa: E402


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


def test_sanity_strings_have_labels_of_the_task_and_stand_once(model):
    labels = {task: set(model.specialist(task).labels) for task in model.tasks}
    assert set(sanity.tasks()) <= set(labels)
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


def test_ood_strings_stand_once_and_training_makes_none_of_them():
    import random

    from edge_demist.train import ood_texts as generator

    kinds = ood.strings()
    texts = [text for rows in kinds.values() for text in rows]
    assert len(texts) == len(set(texts)) == 530
    made = {row[0] for row in generator.generate(random.Random(1), 12_000)}
    assert not made & set(texts)
