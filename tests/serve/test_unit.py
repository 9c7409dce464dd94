"""``install-service --serve``: units that systemd accepts, and a service that takes the socket it is given."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_demist.cli import install_service
from edge_demist.errors import InputError
from edge_demist.serve.settings import Settings
from edge_demist.serve.unit import ServeUnit, install, render

CODE = """
import os, socket, sys
given = socket.socket(fileno=int(sys.argv[1]))
os.dup2(given.fileno(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
os.execv(sys.executable, [sys.executable, '-P', '-m', 'edge_demist', 'serve', '--port', '1'])
"""


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    install_service.add_parser(parser.add_subparsers())
    return install_service.run(parser.parse_args(["install-service", "--serve", *arguments]))


def test_the_units_of_a_socket_and_of_a_port(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command("--print", "--executable", "/opt/x/bin/edge-demist", "--threads", "2", "--group", "web") == 0
    text = capsys.readouterr().out.splitlines()
    assert "ListenStream=/run/edge-demist.sock" in text and "SocketMode=0660" in text and "SocketGroup=web" in text
    assert "ExecStart=/opt/x/bin/edge-demist serve --uds /run/edge-demist.sock --threads 2" in text
    assert {"DynamicUser=yes", "PrivateNetwork=yes", "Requires=edge-demist-serve.socket", "ExecReload=/bin/kill -HUP $MAINPID"} <= set(text)
    key = tmp_path / "key"
    key.write_text("k" * 32)
    assert command("--print", "--host", "0.0.0.0", "--port", "8080", "--api-key-file", str(key)) == 0
    text = capsys.readouterr().out.splitlines()
    assert "ListenStream=0.0.0.0:8080" in text and f"LoadCredential=api-key:{key}" in text
    assert any(line.endswith("--api-key-file ${CREDENTIALS_DIRECTORY}/api-key") for line in text)
    assert "IPAddressAllow=localhost" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--host", "0.0.0.0", "--port", "8080"],
        ["/var/log/eve.json"],
        ["--emit", "all"],
        ["--allow", "/etc/allow.toml"],
        ["--no-screen"],
        ["--uds", "/run/a b.sock"],
        ["--uds", "/run/a.sock", "--port", "1"],
        ["--memory-max", "much"],
        ["--group", "a\nb"],
    ],
)
def test_what_would_open_a_door_or_change_the_unit_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--print", *arguments) == 2
    assert capsys.readouterr().out == ""


def test_files_that_the_service_could_not_see_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hides"):
        install(ServeUnit(Settings(uds=Path("/run/x.sock")), arguments=("--bundle", "/home/x/bundle")), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for settings in (Settings(uds=Path("/run/x.sock")), Settings(host="::1", port=8080)):
        paths = install(ServeUnit(settings, executable="/bin/true"), tmp_path)
        done = subprocess.run(["systemd-analyze", "verify", *map(str, paths)], capture_output=True, text=True, check=False, timeout=60)
        told = [line for line in done.stderr.splitlines() if "edge-demist" in line and "Failed to create" not in line]
        assert done.returncode == 0 and told == [], done.stderr
    assert set(render(ServeUnit(settings))) == {path.name for path in paths}


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_a_passed_socket_is_served(family: int, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    with socket.socket(family) as listening:
        listening.bind(str(tmp_path / "s") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listening.listen()
        listening.set_inheritable(True)
        arguments = [sys.executable, "-P", "-c", CODE, str(listening.fileno())]
        with subprocess.Popen(arguments, pass_fds=[listening.fileno()], stderr=subprocess.PIPE, env=dict(os.environ)) as process:
            with socket.socket(family) as client:  # connects before the process listens: the socket is there already
                client.settimeout(60)
                client.connect(listening.getsockname())
                client.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 200")
            time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=30)
            assert process.returncode == 0 and b"the socket of systemd" in told
