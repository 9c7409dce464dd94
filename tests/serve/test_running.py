"""A service with a key: who is let in, a bundle replaced while it runs, and its end under load."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import edge_demist

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

KEY = "k" * 20
GOOD = {"Authorization": f"Bearer {KEY}"}


class Service:
    """A started service and what it said."""

    def __init__(self, folder: Path) -> None:
        self.bundle, self.log = folder / "bundle", folder / "log"
        shutil.copytree(Path(edge_demist.__file__ or "").parent / "assets" / "model", self.bundle)
        (folder / "key").write_text(KEY + "\n")
        words = ["serve", "--port", "0", "--bundle", str(self.bundle), "--api-key-file", str(folder / "key")]
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen([sys.executable, "-P", "-m", "edge_demist", *words], stderr=stream)
        self.port = int(self.said("listening on").partition(",")[0].rpartition(":")[2])

    def said(self, words: str, times: int = 1) -> str:
        """The line with these words, once it is there so often."""
        for _ in range(600):
            found = [line for line in self.log.read_text().splitlines() if words in line]
            if len(found) >= times:
                return found[-1]
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def come(self) -> int:
        """Requests that were answered or wait."""
        metrics = self.ask("/metrics")[1].decode()
        return sum(int(line.split()[1]) for line in metrics.splitlines() if re.match(r"\w+_(requests_total|queue_requests) ", line))

    def ask(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    found = Service(tmp_path_factory.mktemp("running"))
    yield found
    found.process.kill()
    found.process.wait()


def test_the_key_is_asked_for(service: Service) -> None:
    for path, body in (("/embed", {"inputs": "a"}), ("/v1/embeddings", {"input": "a"}), ("/api/embed", {"input": "a"}), ("/info", None)):
        assert service.ask(path, body)[0] == 401
        assert service.ask(path, body, {"Authorization": "Bearer wrong"})[0] == 401
        assert service.ask(path, body, {"Authorization": f"Bearer {KEY}x"})[0] == 401
        for given in (f"Bearer {KEY}", f"bearer {KEY}"):
            assert service.ask(path, body, {"Authorization": given})[0] == 200
    assert service.ask("/openapi.json")[0] == 401 and service.ask("/v1/models/edge-demist")[0] == 401
    assert service.ask("/health")[0] == service.ask("/metrics")[0] == 200


def test_a_broken_bundle_changes_nothing_and_a_whole_one_is_taken(service: Service) -> None:
    before = service.ask("/embed", {"inputs": "kernel.org"}, GOOD)
    weights = service.bundle / "weights.safetensors"
    raw = weights.read_bytes()
    for times, content in enumerate((raw[:1000], raw[:-1] + b"\0" * 9, b""), 1):
        other = service.bundle / "new"
        other.write_bytes(content)
        other.rename(weights)
        service.process.send_signal(signal.SIGHUP)
        service.said("is refused, the old one stays", times)
        assert service.ask("/embed", {"inputs": "kernel.org"}, GOOD) == before
    other.write_bytes(raw)
    other.rename(weights)
    service.process.send_signal(signal.SIGHUP)
    service.said("edge-demist serve: bundle ")
    assert service.ask("/embed", {"inputs": "kernel.org"}, GOOD) == before


def test_what_was_asked_is_answered_at_the_end(service: Service) -> None:
    body = json.dumps({"inputs": [f"w{i}.example" for i in range(400)]}).encode()
    before = service.come()
    connections = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=60) for _ in range(12)]
    for connection in connections:
        connection.request("POST", "/embed", body, GOOD)
    while service.come() < before + len(connections):
        time.sleep(0.01)
    service.process.send_signal(signal.SIGTERM)
    with concurrent.futures.ThreadPoolExecutor(len(connections)) as pool:
        answers = list(pool.map(lambda connection: (answer := connection.getresponse(), answer.read()), connections))
    assert [answer.status for answer, _ in answers] == [200] * len(connections)
    assert {len(json.loads(content)) for _, content in answers} == {400}
    assert service.process.wait(60) == 0 and "Traceback" not in service.log.read_text()
    for connection in connections:
        connection.close()
