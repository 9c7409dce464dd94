"""Boards to emulate, the files that tell programs which CPU they run on, and how to start a program.

``root`` of a board is a hard-linked copy of the common root with its own ``/proc/cpuinfo`` and ``/sys``: ONNX Runtime
reads them, crashes without them, and trusts the part number in them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

HERE = Path(__file__).resolve().parent
PLUGIN = "blocks"
ROOT = HERE.parent.parent
CORES = 4


@dataclass(frozen=True)
class Board:
    """A board as the emulator and the guest see it.

    Attributes:
        title: name in tables.
        cpu: qemu's name of the core.
        root: folder of its root.
        part, variant, revision, midr: identification registers, from Arm's technical reference manuals.
        features: the kernel's feature list.
        khz: highest clock, kHz; also used to turn estimated cycles into time.
        schedule: the scheduling model of llvm-mca that comes closest.
    """

    title: str
    cpu: str
    root: str
    part: str
    variant: str
    revision: int
    midr: str
    features: str
    khz: int
    schedule: str

    def write_cpu_files(self, root: Path) -> None:
        """Make ``/proc/cpuinfo`` and ``/sys/devices/system/cpu`` inside ``root``."""
        for stale in (root / "proc", root / "sys"):
            shutil.rmtree(stale, ignore_errors=True)
        fields = (
            f"BogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: {self.variant}\nCPU part\t: {self.part}\nCPU revision\t: {self.revision}\n\n"
        )
        _write(root / "proc/cpuinfo", "".join(f"processor\t: {core}\n{fields}" for core in range(CORES)))
        base = root / "sys/devices/system/cpu"
        for name in ("possible", "present", "online"):
            _write(base / name, f"0-{CORES - 1}\n")
        _write(base / "kernel_max", f"{CORES - 1}\n")
        for core in range(CORES):
            folder = base / f"cpu{core}"
            _write(folder / "topology/core_id", f"{core}\n")
            _write(folder / "topology/physical_package_id", "0\n")
            for name in ("core_siblings_list", "cluster_cpus_list", "package_cpus_list"):
                _write(folder / "topology" / name, f"0-{CORES - 1}\n")
            for name in ("thread_siblings_list", "core_cpus_list"):
                _write(folder / "topology" / name, f"{core}\n")
            _write(folder / "cpufreq/cpuinfo_max_freq", f"{self.khz}\n")
            _write(folder / "cpufreq/cpuinfo_min_freq", "600000\n")
            _write(folder / "regs/identification/midr_el1", f"0x{int(self.midr, 16):016x}\n")


BOARDS: Mapping[str, Board] = MappingProxyType(
    {
        "pi4": Board(
            "Raspberry Pi 4 class (Cortex-A72)", "cortex-a72", "root-pi4", "0xd08", "0x0", 3, "0x410fd083",
            "fp asimd evtstrm crc32 cpuid", 1_800_000, "cortex-a72",
        ),
        "pi5": Board(
            "Raspberry Pi 5 class (Cortex-A76)", "cortex-a76", "root-pi5", "0xd0b", "0x4", 1, "0x414fd0b1",
            "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp", 2_400_000, "neoverse-n1",
        ),
    }
)  # fmt: skip
"""llvm-mca costs a Cortex-A76 with the tables of a Cortex-A57; Neoverse N1 is the A76's sibling with tables of its own."""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def build_plugin(folder: Path) -> None:
    """Compile the emulator's plugin; it declares the few functions it uses, so no header is needed."""
    target, source = folder / f"{PLUGIN}.so", HERE / f"{PLUGIN}.c"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(target), str(source)], check=True)


def command(
    folder: Path,
    board: Board,
    arguments: Sequence[str],
    *,
    plugin: str | None = None,
    bare: bool = False,
    environment: Mapping[str, str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run the guest's Python with ``arguments``.

    Args:
        folder: what ``root.make_root`` made.
        board: which.
        arguments: of Python.
        plugin: ``NAME,option=value``; starts the emulator that takes plugins.
        bare: only numpy is installed, as on a sensor.
        environment: more variables.
    """
    root, libraries = folder / board.root, folder / "q/usr/lib/x86_64-linux-gnu"
    if plugin is None:
        start = [str(folder / "q/usr/bin/qemu-aarch64-static")]
    else:
        name, _, options = plugin.partition(",")
        start = ["/lib64/ld-linux-x86-64.so.2", "--library-path", str(libraries), str(folder / "q/usr/bin/qemu-aarch64")]
        start += ["-plugin", f"file={folder / name}.so,{options}"]
    variables = {
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / ("bare" if bare else "site"))]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",
        **(environment or {}),
    }
    return [*start, "-cpu", board.cpu, "-L", str(root), str(root / "usr/bin/python3.11"), *arguments], variables


def run(folder: Path, board: Board, arguments: Sequence[str], *, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the guest's Python; raises ``CalledProcessError`` if it fails and ``check`` is set."""
    line, variables = command(folder, board, arguments, **options)  # type: ignore[arg-type]
    return subprocess.run(line, env=variables, cwd=ROOT, check=check, text=True, stdout=subprocess.PIPE)
