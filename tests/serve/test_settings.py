"""How a service is started, and what it does without its extra."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge_demist.errors import InputError
from edge_demist.serve import openapi
from edge_demist.serve.settings import Settings, read_key
from edge_demist.serve.sockets import listening


def test_an_open_address_needs_a_key(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "sensor.example"):
        with pytest.raises(InputError, match="--api-key-file"):
            Settings(host=host, port=1)
    assert Settings(host="127.0.0.1", port=1).local and Settings(host="::1", port=1).local and Settings(host="localhost", port=1).local
    with pytest.raises(InputError, match="--uds PATH or --port"):
        Settings()
    (tmp_path / "key").write_text("short\n")
    with pytest.raises(InputError, match="16 to 512"):
        read_key(tmp_path / "key")
    (tmp_path / "key").write_text("k" * 32 + "\n")
    assert Settings(host="0.0.0.0", port=1, api_key=read_key(tmp_path / "key")).port == 1


def test_nothing_of_it_is_loaded_unasked_and_the_extra_is_named() -> None:
    code = "import sys, edge_demist, edge_demist.cli; assert not any('serve' in n or n in ('starlette', 'uvicorn') for n in sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)
    code = "import sys; sys.modules['uvicorn'] = None; from edge_demist.cli import main; sys.exit(main(['serve', '--port', '1']))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 2 and b"pip install 'edge-demist[serve]'" in done.stderr


def test_the_openapi_document_names_every_route(model) -> None:
    pytest.importorskip("starlette")
    from edge_demist.serve.app import ROUTES

    found = openapi.document(model.tasks, model.dim)
    json.dumps(found)
    assert {path.replace(":path", "") for _, path, _ in ROUTES} <= set(found["paths"])
    for path, methods in found["paths"].items():
        for method, one in methods.items():
            assert one["responses"]["200"] and (method == "get" or one["requestBody"]["required"]), path


def test_a_unix_socket_is_for_its_owner_and_group_and_never_taken_from_another(tmp_path: Path) -> None:
    path = tmp_path / "s"
    settings = Settings(uds=path)
    with listening(settings) as (one, place):
        assert place == str(path) and path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(InputError, match="another process answers there"), listening(settings):
            pass
        assert one.fileno() >= 0 and path.is_socket()
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as left:  # a process that was killed
        left.bind(str(path))
    with listening(settings):
        assert path.is_socket()
    path.write_text("not a socket")
    with pytest.raises(InputError, match="Address already in use"), listening(settings):
        pass
    assert path.read_text() == "not a socket"
    for wrong in (tmp_path / "none" / "s", tmp_path / ("s" * 120)):
        with pytest.raises(InputError, match="--uds"), listening(Settings(uds=wrong)):
            pass


def test_a_port_that_is_taken_is_told() -> None:
    with listening(Settings(port=0)) as (_, place):
        port = int(place.rpartition(":")[2])
        with pytest.raises(InputError, match=f"--port {port}"), listening(Settings(port=port)):
            pass
    with pytest.raises(InputError, match="--host"), listening(Settings(host="nosuch.invalid", port=0, api_key="k" * 16)):
        pass
