"""Makes an aarch64 root with Python and wheels in one folder; changes nothing outside it.

Debian packages are resolved by apt with a private state and unpacked without their scripts; wheels are chosen for
aarch64 by pip on this machine. Needs Debian or Ubuntu with ``apt-get``, ``dpkg`` and the package registries. Run
``apt-get update`` once before, for the emulator's packages.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.arm import boards

EMULATORS = ("qemu-user-static", "qemu-user", "libcapstone4", "liburing2")
"""The static emulator runs tests; only the dynamic one takes plugins, and needs the two libraries."""
USERLAND = ("python3.11", "libpython3.11", "libstdc++6", "libgomp1")
PLATFORMS = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 26, 27, 28, 31, 34, 35, 36)))
WHEELS = ("numpy", "onnxruntime", "pytest", "hypothesis", "sentencepiece")


def run(command: Sequence[str | Path], **options: object) -> None:
    """Run a command; its output is shown only if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:200]}: exit {done.returncode}\n{done.stderr[-2000:]}")


def unpack_member(package: Path, member: str, target: Path) -> None:
    """Take one file out of a Debian package."""
    with subprocess.Popen(["dpkg", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as source:
        subprocess.run(["tar", "-x", "-C", str(target), member], stdin=source.stdout, check=True)


def make_emulators(folder: Path) -> None:
    """``folder/q``: both emulators and the libraries of the dynamic one."""
    downloads, target = folder / "downloads", folder / "q"
    downloads.mkdir(parents=True, exist_ok=True)
    downloads.chmod(0o755)
    target.mkdir(exist_ok=True)
    run(["apt-get", "download", "-q", *EMULATORS], cwd=downloads)
    unpack_member(next(downloads.glob("qemu-user-static_*.deb")), "./usr/bin/qemu-aarch64-static", target)
    unpack_member(next(downloads.glob("qemu-user_*.deb")), "./usr/bin/qemu-aarch64", target)
    for name in EMULATORS[2:]:
        run(["dpkg", "-x", next(downloads.glob(f"{name}_*.deb")), target])
    shutil.rmtree(downloads)


def make_userland(folder: Path) -> None:
    """``folder/root``: Python for arm64 and what it needs."""
    state = folder / "apt"
    for part in ("state/lists/partial", "cache/archives/partial", "etc/sources.list.d", "etc/preferences.d"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    shutil.copy("/etc/apt/sources.list.d/debian.sources", state / "etc/sources.list.d")
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::State": state / "state",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": state / "etc/sources.list.d",
        "Dir::Etc::preferencesparts": state / "etc/preferences.d",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", "-qq", *(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))]
    run([*apt, "update"])
    run([*apt, "-y", "--download-only", "install", *USERLAND])
    for package in (state / "cache/archives").glob("*.deb"):
        run(["dpkg", "-x", package, folder / "root"])
    shutil.rmtree(state)


def make_site(folder: Path, wheels: Sequence[str], target: str) -> None:
    """``folder/<target>``: wheels for CPython 3.11 on aarch64."""
    platforms = [part for name in PLATFORMS for part in ("--platform", f"{name}_aarch64")]
    abis = [part for name in ("cp311", "abi3", "none") for part in ("--abi", name)]
    options: list[str | Path] = [
        "--only-binary=:all:",
        "--python-version",
        "3.11",
        "--implementation",
        "cp",
        "--no-compile",
        "--target",
        folder / target,
    ]
    run([sys.executable, "-m", "pip", "install", "-q", *platforms, *abis, *options, *wheels])


def make_root(folder: Path) -> None:
    """Make whatever is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    steps = {
        "q/usr/bin/qemu-aarch64": lambda: make_emulators(folder),
        "root/usr/bin/python3.11": lambda: make_userland(folder),
        "site/onnxruntime": lambda: make_site(folder, WHEELS, "site"),
        "bare/numpy": lambda: make_site(folder, ["numpy"], "bare"),
    }
    for product, step in steps.items():
        if not (folder / product).exists():
            sys.stderr.write(f"making {folder / product}\n")
            step()
    for board in boards.BOARDS.values():
        if not (folder / board.root).exists():
            run(["cp", "-al", folder / "root", folder / board.root])
        board.write_cpu_files(folder / board.root)
    boards.build_plugin(folder)
