"""The systemd unit: hardened, without network, with limits and a watchdog (systemd.exec(5), systemd.service(5))."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_demist.errors import InputError
from edge_demist.io import replace_file

UNIT_NAME = "edge-demist.service"
UNIT_FOLDER = Path("/etc/systemd/system")
WRITABLE = ("/var/lib/edge-demist/", "/var/log/edge-demist/")
DEFAULT_ARGUMENTS = (
    *("--state", "/var/lib/edge-demist/state", "-o", "/var/log/edge-demist/events.jsonl", "--rotate-mb", "64", "--rotate-keep", "16"),
    *("--metrics", "/var/log/edge-demist/edge_demist.prom", "--emit", "alarms", "--alarms-per-day", "20"),
)
SAFE_PATH = re.compile(r"/[\w./:+@=-]*\Z", re.ASCII)
SAFE_ARGUMENT = re.compile(r"[\w./:+@=,*-]+\Z", re.ASCII)
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp", "/boot", "/dev", "/proc", "/sys")  # noqa: S108
"""What ProtectHome, PrivateTmp, PrivateDevices, ProtectProc and InaccessiblePaths take from the service, or make its own."""
LIMIT = re.compile(r"\d+[KMG]?\Z")

HARDENING = """\
# nobody, nowhere to go
DynamicUser=yes
PrivateNetwork=yes
IPAddressDeny=any
RestrictAddressFamilies=AF_UNIX
PrivateUsers=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateTmp=yes
PrivateIPC=yes
PrivateMounts=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
RemoveIPC=yes
KeyringMode=private
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete
SystemCallErrorNumber=EPERM
"""
"""What every unit of ours goes without."""

RESTART = """\
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
# 130 is Ctrl-C, 2 is wrong usage: starting again would not help
RestartPreventExitStatus=2 130
"""
"""When a unit of ours is started again."""

_TEMPLATE = """\
[Unit]
Description=edge-demist: verdicts for Zeek and Suricata logs
Documentation=man:systemd.exec(5)
After=local-fs.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
{restart}WatchdogSec=120
TimeoutStartSec=180
TimeoutStopSec=60
StateDirectory=edge-demist
StateDirectoryMode=0750
LogsDirectory=edge-demist
LogsDirectoryMode=0750
UMask=0077
Environment=PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1

# limits
MemoryMax={memory_max}
MemorySwapMax=0
CPUQuota={cpu_quota}%
TasksMax=32
LimitNOFILE=1024
Nice=10
IOSchedulingClass=idle
# a worker that is killed for memory is replaced; where it is the sensor itself, the unit starts again
OOMPolicy=continue

{hardening}SupplementaryGroups={groups}
# the logs may be read, the state and our own logs written, nothing else
ReadOnlyPaths={readable}
InaccessiblePaths=-/boot

[Install]
WantedBy=multi-user.target
"""


def hidden_place(path: str) -> str | None:
    """The hidden place that a path lies in, links followed."""
    try:
        places = [path, os.path.realpath(path)]
    except OSError:
        places = [path]
    return next((h for place in places for h in HIDDEN if place == h or place.startswith(h + "/")), None)


@dataclass(frozen=True, slots=True)
class UnitOptions:
    """What differs from host to host. ``memory_max`` as systemd writes sizes; ``cpu_quota`` in percent of one CPU."""

    paths: Sequence[str] = ("/var/log/suricata/eve.json", "/opt/zeek/logs/current")
    executable: str = "/usr/local/bin/edge-demist"
    groups: Sequence[str] = ("adm",)
    memory_max: str = "256M"
    cpu_quota: int = 50
    arguments: Sequence[str] = DEFAULT_ARGUMENTS

    def __post_init__(self) -> None:
        """Refuse what would change the meaning of the unit file.

        Raises:
            InputError: a path that is relative or holds blanks or specifiers, a bad limit.
        """
        for path in (self.executable, *self.paths):
            if not SAFE_PATH.match(path):
                raise InputError(f"{path!r}: an absolute path of letters, digits and ./:+@=_- is needed in a unit file")
        for argument in (*self.arguments, *self.groups):
            if not SAFE_ARGUMENT.match(argument):
                raise InputError(f"{argument!r}: cannot stand in a unit file")
        for option in ("-o", "--output", "--state", "--metrics"):
            for given, value in itertools.pairwise(self.arguments):
                if given == option and not value.startswith(WRITABLE):
                    raise InputError(f"{option} {value}: the service writes below {' and '.join(WRITABLE)} only")
        if not self.paths or not LIMIT.match(self.memory_max) or not 1 <= self.cpu_quota <= 6400:
            raise InputError("a unit needs a path, MemoryMax like 256M and CPUQuota between 1 and 6400")

    def unseen(self) -> list[str]:
        """Why the unit's process could not see a file that it needs; empty if it sees all."""
        named = [value for option, value in itertools.pairwise(self.arguments) if value.startswith("/") and option != "--syslog"]
        found = [(path, hidden_place(path)) for path in (self.executable, *self.paths, *named)]
        return [f"{p}: lies in {h}, which the unit hides from the sensor; put it under /opt, /etc or /var/lib" for p, h in found if h]


def render_unit(options: UnitOptions) -> str:
    """The unit file."""
    return _TEMPLATE.format(
        command=" ".join((options.executable, "watch", *options.paths, *options.arguments)),
        restart=RESTART,
        hardening=HARDENING,
        groups=" ".join(options.groups),
        memory_max=options.memory_max,
        cpu_quota=options.cpu_quota,
        readable=" ".join(f"-{path}" for path in options.paths),
    )


def install_unit(options: UnitOptions, folder: Path = UNIT_FOLDER) -> Path:
    """Write the unit file; enabling it is left to the operator.

    Raises:
        InputError: the unit could not see a file that it needs.
        OSError: the folder cannot be written (root is needed).
    """
    if unseen := options.unseen():
        raise InputError("; ".join(unseen))
    replace_file(folder / UNIT_NAME, render_unit(options).encode("ascii"), 0o644)
    return folder / UNIT_NAME


def installed_state(folder: Path = UNIT_FOLDER) -> Path | None:
    """The state folder that the installed unit names; None without a unit."""
    try:
        words = (folder / UNIT_NAME).read_text(encoding="utf-8").split()
    except (OSError, UnicodeError):
        return None
    return next((Path(value) for option, value in itertools.pairwise(words) if option == "--state"), None)
