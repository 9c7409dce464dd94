"""The service as its clients call it: vectors equal to ``encode`` bit for bit."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

# clients that leave their sockets to the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TEXTS = ["kernel.org", "/?id=1' or '1'='1", "", "\u00fcber.example", "x" * 300]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A started server."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        number = one.getsockname()[1]
    command = [sys.executable, "-P", "-m", "edge_demist", "serve", "--port", str(number)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{number}/health", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, process.stderr.read().decode()  # type: ignore[union-attr]
            time.sleep(0.1)
    yield number
    gc.collect()  # sockets that clients left open are told here, not in the middle of another file's tests
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    process.stderr.close()  # type: ignore[union-attr]


def call(port: int, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, object]:
    """Status and JSON of an answer."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def same(found: object, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(np.array(found, np.float32), expected)


def test_embed_of_text_embeddings_inference(port: int, model) -> None:
    status, found = call(port, "/embed", {"inputs": TEXTS})
    assert status == 200
    same(found, model.encode(TEXTS))
    same(call(port, "/embed", {"inputs": "a.example", "normalize": False})[1], model.encode(["a.example"], normalize_embeddings=False))
    view = call(port, "/embed", {"inputs": ["kernel.org"], "model": "edge-demist/dga"})[1]
    same(view, model.encode(["kernel.org"], task="dga"))


def test_predict_string_pair_and_batch(port: int, model) -> None:
    one = call(port, "/predict/dga", {"inputs": "xjqzvwpk8r3t.info"})[1]
    answer = model.classify("xjqzvwpk8r3t.info", task="dga", top_k=0)[0]
    assert one == [{"score": score, "label": label} for label, score in answer.scores.items()]
    assert call(port, "/predict", {"inputs": ["a", "b"], "model": "edge-demist/dga"})[1] == call(port, "/predict/dga", {"inputs": "a b"})[1]
    batch = call(port, "/predict/dga", {"inputs": [["xjqzvwpk8r3t.info"], ["kernel.org"]]})[1]
    assert batch[0] == one and batch[1][0]["label"] == "legit"  # type: ignore[index]
    nested = call(port, "/pipeline/text-classification/dga", {"inputs": "xjqzvwpk8r3t.info"})[1]
    assert nested == [one]


def test_similarity_and_tokens(port: int, model) -> None:
    found = call(port, "/similarity", {"inputs": {"source_sentence": "a.example", "sentences": ["b.example", "a.example"]}})[1]
    vectors = model.encode(["a.example", "b.example"])
    assert found[0] == float(vectors[0] @ vectors[1]) and found[1] == pytest.approx(1.0)  # type: ignore[index]
    tokens = call(port, "/tokenize", {"inputs": ["www.example.com"]})[1][0]  # type: ignore[index]
    assert [t["id"] for t in tokens] == model.tokenizer.encode(b"www.example.com", add_special_tokens=True).tolist()
    assert tokens[0]["special"] and tokens[-1]["stop"] == len("www.example.com")
    assert call(port, "/info")[1]["model_sha"] == model.bundle_id  # type: ignore[index]


def test_own_routes(port: int, model) -> None:
    status, found = call(
        port, "/v1/classify", {"inputs": ["kernel.org", "xjqzvwpk8r3t.info"], "tasks": ["dga", "hostname-threat"], "fpr": 1e-3}
    )
    assert status == 200
    expected = model.classify(["kernel.org"], task="dga", fpr=1e-3)[0]
    assert found["results"][0][0] == expected.to_dict() and len(found["results"][1]) == 2  # type: ignore[index]
    near = call(port, "/v1/similar", {"inputs": "a.example", "candidates": ["z", "a.example"], "k": 1})[1]
    assert near["results"][0][0]["text"] == "a.example"  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/embed", {"inputs": []}, 422),
        ("/embed", {"inputs": 3}, 422),
        ("/embed", {"inputs": [[1, 2]]}, 400),
        ("/embed", b"not json", 400),
        ("/embed", b"[1]", 422),
        ("/embed", {"inputs": ["a"] * 2049}, 413),
        ("/embed", {"inputs": "a", "dimensions": 128}, 422),
        ("/embed", {"inputs": "a", "prompt_name": "query"}, 422),
        ("/embed", {"inputs": "a", "truncation_direction": "left"}, 422),
        ("/embed", {"inputs": "a b " * 4000, "truncate": False}, 413),
        ("/embed", b'{"inputs": "a", "x": NaN}', 400),
        ("/tokenize", {"inputs": "x" * 100_000}, 413),
        ("/predict/dga", {"inputs": "a", "raw_scores": True}, 422),
        ("/embed", {"inputs": "a", "normalizer": "none"}, 422),
        ("/v1/embeddings", {"input": "a", "model": "gpt"}, 404),
        ("/v1/embeddings", {"input": [1, 2, 3]}, 400),
        ("/v1/embeddings", {"input": "a", "dimensions": 5}, 400),
        ("/v1/classify", {"inputs": "a", "tasks": ["nosuch"]}, 404),
        ("/v1/classify", {"inputs": "a"}, 422),
        ("/v1/classify", {"inputs": "a", "tasks": ["dga"], "fpr": "x"}, 422),
        ("/predict/nosuch", {"inputs": "a"}, 404),
        ("/v1/classify", {"inputs": "a", "tasks": ["dga"], "top_k": 1.5}, 422),
        ("/v1/similar", {"inputs": ["a"] * 2048, "candidates": ["a"] * 2048, "k": 2048}, 413),
        ("/similarity", {"inputs": "a"}, 422),
        ("/api/embed", {"input": "a b " * 4000, "truncate": False}, 400),
        ("/api/embed", {"input": "a", "dimensions": 5}, 400),
        ("/api/embeddings", {"prompt": ["a", "b"]}, 400),
        ("/api/embed", {"model": "llama", "input": "a"}, 404),
        ("/nothing", {"inputs": "a"}, 404),
    ],
)
def test_bad_requests_say_why(port: int, path: str, body: object, status: int) -> None:
    code, found = call(port, path, body)
    assert code == status
    text = found["error"]  # type: ignore[index]
    message = text["message"] if isinstance(text, dict) else text
    assert message
    if body == {"input": [1, 2, 3]}:
        assert "check_embedding_ctx_length=False" in message


def test_a_large_body_is_refused_before_it_is_read(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n")
        assert connection.recv(200).startswith(b"HTTP/1.1 413")


def test_a_compressed_body_is_told_so(port: int) -> None:
    code, found = call(port, "/embed", b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert code == 415 and "gzip" in found["error"]  # type: ignore[index]


def test_what_was_cut_is_told(port: int, model) -> None:
    limit = model.bundle.limits.max_tokens
    fits = next(
        text for n in range(limit, 0, -1) if len(model.tokenizer.encode((text := "a " * n).encode(), add_special_tokens=True)) <= limit
    )
    found = call(port, "/v1/embeddings", {"input": [fits, fits + " over", "short"]})[1]
    assert found["truncated"] == [1] and found["usage"]["prompt_tokens"] < 2 * limit + 10  # type: ignore[index]


def test_any_string_is_answered(port: int, model) -> None:
    strings = ["\x00", "\ud800", "\u202e", "a" * 9000, "\\", '"', "\n"]
    status, found = call(port, "/embed", {"inputs": strings})
    assert status == 200
    same(found, model.encode(strings))


def test_openai_client(port: int, model) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
    answer = client.embeddings.create(model="edge-demist", input=TEXTS[:2])
    same([row.embedding for row in answer.data], model.encode(TEXTS[:2]))
    assert "edge-demist/dga" in [one.id for one in client.models.list().data]

    async def ask() -> object:
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none") as other:
            return await other.embeddings.create(model="edge-demist", input=TEXTS[:2], encoding_format="float")

    same([row.embedding for row in asyncio.run(ask()).data], model.encode(TEXTS[:2]))  # type: ignore[attr-defined]
    client.close()


def test_langchain_openai_client(port: int, model) -> None:
    langchain = pytest.importorskip("langchain_openai")
    client = langchain.OpenAIEmbeddings(
        base_url=f"http://127.0.0.1:{port}/v1", api_key="none", model="edge-demist", check_embedding_ctx_length=False
    )
    same(client.embed_documents(TEXTS[:2]), model.encode(TEXTS[:2]))


def test_huggingface_hub_client(port: int, model) -> None:
    hub = pytest.importorskip("huggingface_hub")
    base = f"http://127.0.0.1:{port}"
    for address in (base, f"{base}/embed"):
        same(hub.InferenceClient(address).feature_extraction("kernel.org"), model.encode(["kernel.org"]))
    labels = hub.InferenceClient(f"{base}/pipeline/text-classification/dga").text_classification("xjqzvwpk8r3t.info")
    assert labels[0].label == "dga"
    for address in (base, f"{base}/similarity"):
        found = hub.InferenceClient(address).sentence_similarity("a.example", other_sentences=["a.example"])
        assert found == [pytest.approx(1.0)]


def test_llama_index_client(port: int, model) -> None:
    tei = pytest.importorskip("llama_index.embeddings.text_embeddings_inference")
    client = tei.TextEmbeddingsInference(base_url=f"http://127.0.0.1:{port}", model_name="edge-demist")
    same(client.get_text_embedding_batch(["kernel.org"]), model.encode([" kernel.org".strip()]))


def test_ollama_client(port: int, model) -> None:
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=f"http://127.0.0.1:{port}")
    same(client.embed(model="edge-demist", input=["kernel.org"]).embeddings, model.encode(["kernel.org"]))
    same(client.embeddings(model="edge-demist", prompt="kernel.org").embedding, model.encode("kernel.org"))
    assert "edge-demist" in [one.model for one in client.list().models]
