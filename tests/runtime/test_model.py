"""``EdgeDemist``: the Python contract."""

from __future__ import annotations

import multiprocessing
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_demist import EdgeDemist, Prediction
from edge_demist.errors import BundleError, InputError, UnknownTaskError
from edge_demist.predictions import UNKNOWN

NAMES = ["kernel.org", "www.wikipedia.org", "xjqzvwpk8r3t.info", "secure-paypal-login.example", "a.b", "münchen.example", "x" * 60 + ".com"]
texts = st.one_of(st.text(max_size=60), st.binary(max_size=60))


def test_vectors(model):
    vectors = model.encode(NAMES)
    assert vectors.shape == (len(NAMES), model.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_one_text_gives_one_vector(model):
    np.testing.assert_array_equal(model.encode("kernel.org"), model.encode(["kernel.org"])[0])


def test_bytes_and_text_agree(model):
    np.testing.assert_array_equal(model.encode(["é.org"]), model.encode(["é.org".encode()]))


def test_vectors_do_not_depend_on_company(model):
    together = model.encode(NAMES)
    for i, name in enumerate(NAMES):
        np.testing.assert_array_equal(together[i], model.encode(name))
    np.testing.assert_array_equal(model.encode(NAMES[::-1] * 3, batch_size=2), np.concatenate([together[::-1]] * 3))


def test_sentence_transformers_arguments(model):
    raw = model.encode(NAMES, batch_size=3, normalize_embeddings=False, show_progress_bar=False, convert_to_numpy=True)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(raw / norms, model.encode(NAMES), atol=1e-5)
    with pytest.raises(InputError, match="convert_to_numpy"):
        model.encode(NAMES, convert_to_numpy=False)


def test_empty_input(model):
    assert model.encode([]).shape == (0, model.dim)
    assert model.classify([], task="dga") == []
    assert model.encode("").shape == (model.dim,)


@pytest.mark.parametrize("bad", [None, 3, ["a"], {"a": 1}])
def test_wrong_types(model, bad):
    with pytest.raises(InputError, match="not str or bytes"):
        model.encode(["fine", bad])
    good, wrong = model.classify(["kernel.org", bad], task="dga")
    assert good.error is None
    assert "expected str or bytes" in wrong.error


def test_predictions(model):
    for task in model.tasks:
        specialist = model.specialist(task)
        for prediction in model.classify(NAMES, task=task):
            assert isinstance(prediction, Prediction)
            assert prediction.task == task
            assert prediction.label in {*specialist.labels, UNKNOWN}
            assert 0 <= prediction.score <= 1
            assert prediction.scores is None


def test_predictions_are_frozen(model):
    (prediction,) = model.classify("kernel.org", task="dga")
    with pytest.raises(AttributeError):
        prediction.label = "other"


def test_top_k(model):
    (best,) = model.classify("kernel.org", task="hostname-category")
    (three,) = model.classify("kernel.org", task="hostname-category", top_k=3)
    (every,) = model.classify("kernel.org", task="hostname-category", top_k=0)
    assert next(iter(three.scores)) == best.label
    assert len(three.scores) == 3
    assert set(every.scores) == set(model.specialist("hostname-category").labels)
    assert sorted(every.scores.values(), reverse=True) == list(every.scores.values())
    assert sum(every.scores.values()) <= 1 + 1e-5


def test_mixed_batch_equals_separate_calls(model):
    tasks = [model.tasks[i % len(model.tasks)] for i in range(len(NAMES))]
    mixed = model.classify(NAMES, task=tasks)
    for prediction, name, task in zip(mixed, NAMES, tasks, strict=True):
        (alone,) = model.classify([name], task=task)
        assert (prediction.text, prediction.task, prediction.label) == (name, task, alone.label)
        assert prediction.score == pytest.approx(alone.score, abs=1e-5)


def test_one_text_many_specialists(model):
    answers = model.classify(["kernel.org"] * len(model.tasks), task=list(model.tasks))
    assert [a.task for a in answers] == list(model.tasks)


def test_unknown_task(model):
    with pytest.raises(UnknownTaskError, match="dga"):
        model.classify("a", task="nonsense")
    with pytest.raises(InputError, match="2 tasks for 1 texts"):
        model.classify(["a"], task=["dga", "dga"])


def test_min_accuracy_holds_answers_back(model):
    names = [f"{w}-{i}.example" for w in ("bank", "qq", "games", "zzx") for i in range(20)]
    plain = model.classify(names, task="hostname-category")
    strict = model.classify(names, task="hostname-category", min_accuracy=0.94)
    floor = model.specialist("hostname-category").threshold("accuracy", 0.94)
    for a, b in zip(plain, strict, strict=True):
        assert b.label == (a.label if a.score >= floor else "unknown")
    with pytest.raises(BundleError, match="no threshold"):
        model.classify("a", task="hostname-category", min_accuracy=0.99999)


def test_fpr_moves_the_alarm(model):
    specialist = model.specialist("dga")
    for rate in (1e-2, 1e-3):
        floor = specialist.threshold("fpr", rate)
        for p in model.classify(NAMES, task="dga", fpr=rate):
            assert (p.label in specialist.positive_labels) == (p.alarm_score >= floor)
    assert specialist.threshold("fpr", 1e-3) >= specialist.threshold("fpr", 1e-2)
    with pytest.raises(InputError, match="alarm tasks"):
        model.classify("a", task="hostname-category", fpr=1e-2)


def test_errors_are_values(model):
    answers = model.classify(["kernel.org", "", "  ", b"\xff"], task="dga")
    assert [a.error is None for a in answers] == [True, False, False, True]
    assert "empty" in answers[1].error


def test_long_text_is_truncated_and_says_so(model):
    limit = model.bundle.limits.max_bytes
    short, long = model.classify(["a" * 20, "a" * (1 << 20)], task="uri-attack")
    assert not short.truncated
    assert long.truncated
    assert long.error is None
    np.testing.assert_array_equal(model.encode("b" * limit), model.encode("b" * (limit + 100)))


def test_normalizers_are_applied(model):
    a, b = model.classify(["Kernel.ORG.", "kernel.org"], task="dga")
    assert a.score == b.score
    with pytest.raises(InputError, match="normalizer"):
        model.encode("a", normalizer="none-such")


def test_task_view_differs_from_general_vector(model):
    general, view = model.encode("kernel.org", normalizer="hostname"), model.encode("kernel.org", task="hostname-category")
    assert not np.array_equal(general, view)


def test_foreign_strings_score_low(model):
    foreign = "The quick brown fox jumps over the lazy dog, and then it sleeps for the rest of the afternoon."
    (prose,) = model.classify(foreign, task="hostname-category")
    (binary,) = model.classify(bytes(range(128, 228)), task="hostname-category")
    assert prose.score < 0.5
    assert binary.score < 0.5


@settings(max_examples=60)
@given(st.lists(texts, max_size=8))
def test_anything_is_answered(model, many):
    for task in ("dga", "uri-attack"):
        answers = model.classify(many, task=task)
        assert len(answers) == len(many)
        assert all((a.error is None) == bool(a.label) for a in answers)
    assert np.isfinite(model.encode(many)).all()


def test_threads(model):
    expected = model.encode(NAMES)
    failures = []

    def work():
        for _ in range(20):
            if not np.array_equal(model.encode(NAMES), expected):
                failures.append(1)
            model.classify(NAMES, task="dga")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not failures


def test_pickle(model):
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.encode(NAMES), model.encode(NAMES))


def _in_child(model, queue):
    queue.put(model.encode(NAMES))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork(model):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(model, queue))
    child.start()
    vectors = queue.get(timeout=60)
    child.join(timeout=60)
    np.testing.assert_array_equal(vectors, model.encode(NAMES))


def test_context_manager():
    with EdgeDemist.load() as opened:
        assert opened.tasks
        assert len(opened.bundle_id) == 64


def test_lazy_import():
    import edge_demist

    with pytest.raises(AttributeError, match="no attribute"):
        edge_demist.nothing  # noqa: B018
