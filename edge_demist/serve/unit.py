"""The systemd units of the service: a socket that systemd holds, and a process without network behind it (systemd.socket(5)).

systemd opens the Unix socket or the port and passes it on, so that the process itself needs no network, not even for a port,
starts with the first request, and keeps connections waiting while it is started again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.io import replace_file
from edge_demist.sensor.service import HARDENING, LIMIT, RESTART, SAFE_ARGUMENT, SAFE_PATH, UNIT_FOLDER, hidden_place
from edge_demist.serve.settings import Settings

NAME = "edge-demist-serve"
CREDENTIAL = "api-key"

_SOCKET = """\
[Unit]
Description=edge-demist: socket of the service

[Socket]
{listen}
Backlog=4096

[Install]
WantedBy=sockets.target
"""

_SERVICE = """\
[Unit]
Description=edge-demist: embeddings and verdicts over HTTP
Documentation=man:systemd.exec(5)
Requires={name}.socket
After=local-fs.target {name}.socket
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
{restart}TimeoutStopSec=60
UMask=0077
Environment=PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
{credential}
# limits
MemoryMax={memory_max}
MemorySwapMax=0
CPUQuota={cpu_quota}%
TasksMax=64
LimitNOFILE=16384
OOMPolicy=stop

{hardening}
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class ServeUnit:
    """What differs from host to host. ``settings`` is the address; ``arguments`` are further ones of ``edge-demist serve``."""

    settings: Settings
    executable: str = "/usr/local/bin/edge-demist"
    key_file: str | None = None
    group: str | None = None
    memory_max: str = "256M"
    cpu_quota: int = 100
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would change the meaning of the unit files.

        Raises:
            InputError: a path that is relative or holds blanks or specifiers, a bad limit, an address that is none.
        """
        paths = [self.executable, *([str(self.settings.uds)] if self.settings.uds else []), *([self.key_file] if self.key_file else [])]
        if wrong := next((path for path in paths if not SAFE_PATH.match(path)), None):
            raise InputError(f"{wrong!r}: an absolute path of letters, digits and ./:+@=_- is needed in a unit file")
        words = (self.settings.host, *([self.group] if self.group else []), *self.arguments)
        if wrong := next((word for word in words if not SAFE_ARGUMENT.match(word)), None):
            raise InputError(f"{wrong!r}: cannot stand in a unit file")
        if not LIMIT.match(self.memory_max) or not 1 <= self.cpu_quota <= 6400:
            raise InputError("a unit needs MemoryMax like 256M and CPUQuota between 1 and 6400")

    def unseen(self) -> list[str]:
        """Why the process could not see a file that it needs; empty if it sees all."""
        found = [(path, hidden_place(path)) for path in (self.executable, *(word for word in self.arguments if word.startswith("/")))]
        return [f"{p}: lies in {h}, which the unit hides from the service; put it under /opt, /etc or /var/lib" for p, h in found if h]


def render(unit: ServeUnit) -> dict[str, str]:
    """The unit files by name."""
    return {f"{NAME}.socket": _SOCKET.format(listen=_listen(unit)), f"{NAME}.service": _service(unit)}


def _listen(unit: ServeUnit) -> str:
    settings = unit.settings
    if settings.uds:
        group = f"\nSocketGroup={unit.group}" if unit.group else ""
        return f"ListenStream={settings.uds}\nSocketMode=0660{group}"
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    place = f"[{host}]" if ":" in host else host
    local = "\nIPAddressDeny=any\nIPAddressAllow=localhost" if settings.local else ""
    return f"ListenStream={place}:{settings.port}{local}"


def _service(unit: ServeUnit) -> str:
    settings = unit.settings
    address = ("--uds", str(settings.uds)) if settings.uds else ("--host", settings.host, "--port", str(settings.port))
    key = ("--api-key-file", "${CREDENTIALS_DIRECTORY}/" + CREDENTIAL) if unit.key_file else ()
    return _SERVICE.format(
        name=NAME,
        command=" ".join((unit.executable, "serve", *address, *key, *unit.arguments)),
        credential=f"LoadCredential={CREDENTIAL}:{unit.key_file}\n" if unit.key_file else "",
        memory_max=unit.memory_max,
        cpu_quota=unit.cpu_quota,
        restart=RESTART,
        hardening=HARDENING,
    )


def install(unit: ServeUnit, folder: Path = UNIT_FOLDER) -> list[Path]:
    """Write the unit files; enabling them is left to the operator.

    Raises:
        InputError: the process could not see a file that it needs.
        OSError: the folder cannot be written (root is needed).
    """
    if unseen := unit.unseen():
        raise InputError("; ".join(unseen))
    for name, text in render(unit).items():
        replace_file(folder / name, text.encode("ascii"), 0o644)
    return [folder / name for name in render(unit)]
