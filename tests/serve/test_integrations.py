"""The classes for other people's libraries give the vectors and verdicts of the model."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from edge_demist.errors import InputError


def test_arrow(model) -> None:
    pa = pytest.importorskip("pyarrow")
    from edge_demist.integrations.arrow import Classify, Embed

    batch = pa.record_batch({"name": ["kernel.org", None, "xjqzvwpk8r3t.info"], "n": [1, 2, 3]})
    for fixed in (False, True):
        found = pickle.loads(pickle.dumps(Embed("name", fixed=fixed)))(batch)
        column = found.column("vector").to_pylist()
        assert column[1] is None and found.schema.names == ["name", "n", "vector"]
        np.testing.assert_array_equal(np.array([column[0], column[2]], np.float32), model.encode(["kernel.org", "xjqzvwpk8r3t.info"]))
        assert json.loads(found.schema.field("vector").metadata[b"edge_demist"])["bundle"] == model.bundle_id
    rows = Classify("name", "dga", fpr=1e-3)(pa.Table.from_batches([batch])).column("verdict").to_pylist()
    assert rows[1]["label"] is None and "not text" in rows[1]["error"]
    assert rows[2]["label"] == "dga" and rows[2]["score"] == model.classify(["xjqzvwpk8r3t.info"], task="dga", fpr=1e-3)[0].score
    assert len(pickle.dumps(Embed("name"))) < 400


def test_arrow_columns_of_any_kind(model) -> None:
    pa = pytest.importorskip("pyarrow")
    from edge_demist.integrations.arrow import Embed

    offsets = pa.array([0, 1, 2], pa.int32()).buffers()[1]
    columns = {
        "dictionary": (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        "large": (pa.array(["\u00fc", ""], pa.large_string()), ["\u00fc", ""]),
        "no UTF-8": (pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"a\xff")]), [b"a", b"\xff"]),
        "numbers": (pa.array([1, 2]), [None, None]),
        "empty": (pa.array([], pa.string()), []),
    }
    for column, texts in columns.values():
        found = Embed("name")(pa.record_batch({"name": column})).column("vector").to_pylist()
        assert [one is None for one in found] == [text is None for text in texts]
        kept = [np.array(one, np.float32) for one in found if one is not None]
        np.testing.assert_array_equal(np.array(kept).reshape(-1, model.dim), model.encode([text for text in texts if text is not None]))
    twice = pa.RecordBatch.from_arrays([pa.array(["a"])] * 3, names=["x", "x", "name"])
    assert Embed("name")(twice).schema.names == ["x", "x", "name", "vector"]
    for wrong in (Embed("x"), Embed("nosuch"), Embed("name", output="x")):
        with pytest.raises(InputError):
            wrong(twice)


def test_langchain(model) -> None:
    standard = pytest.importorskip("langchain_tests.unit_tests.embeddings")
    from edge_demist.integrations.langchain import EdgeDemistEmbeddings

    class Standard(standard.EmbeddingsUnitTests):
        embeddings_class = EdgeDemistEmbeddings

    Standard().test_init()
    client = EdgeDemistEmbeddings(normalizer="hostname")
    assert client.embed_documents([]) == []
    np.testing.assert_array_equal(np.array(client.embed_query("kernel.org"), np.float32), model.encode("kernel.org", normalizer="hostname"))


def test_llama_index(model) -> None:
    pytest.importorskip("llama_index.core")
    from edge_demist.integrations.llama_index import EdgeDemistEmbedding

    client = EdgeDemistEmbedding()
    expected = model.encode(["kernel.org", "a"])
    np.testing.assert_array_equal(np.array(client.get_text_embedding_batch(["kernel.org", "a"]), np.float32), expected)
    np.testing.assert_array_equal(np.array(client.get_query_embedding("a"), np.float32), expected[1])


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn(model) -> None:
    pytest.importorskip("sklearn")
    from sklearn.utils.estimator_checks import check_estimator

    from edge_demist.integrations.sklearn import EdgeDemistVectorizer

    texts = ["kernel.org", "a.example"]
    np.testing.assert_array_equal(EdgeDemistVectorizer().fit_transform(texts), model.encode(texts))
    check_estimator(EdgeDemistVectorizer())
