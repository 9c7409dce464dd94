"""Finds and loads the compiled kernels for this CPU: ctypes, the standard library, one file of ``lib/``.

CPU levels, best first; the kernel's own list of features decides, so a feature that the operating system does not
save is never used:

=====================  ==========================================================================
``x86_64_amx``         AVX-512 VNNI + AMX int8 tiles, where the kernel grants this process tile state
``x86_64_avx512vnni``  AVX-512 F/BW/DQ/VL/CD + VNNI
``x86_64_avxvnni``     AVX2 + AVX-VNNI (client cores)
``x86_64_avx2``        AVX2, FMA, BMI (x86-64-v3)
``x86_64_sse``         SSE4.2 (x86-64-v2)
``aarch64_neondot``    ARMv8.2 with dot product (Cortex-A76 and later)
``aarch64_neon``       ARMv8.0 (Cortex-A72)
=====================  ==========================================================================

Every level gives the same bits.  The environment variable ``EDGE_DEMIST_KERNEL`` or an argument overrides the choice.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from typing import TYPE_CHECKING

import numpy as np

from edge_demist.errors import EngineUnavailableError
from edge_demist.native import abi

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FOLDER = os.path.join(os.path.dirname(__file__), "lib")
KERNEL_VARIABLE = "EDGE_DEMIST_KERNEL"
ANY_PLATFORM = "this is the package for any platform, without compiled kernels"

LEVELS = {
    "x86_64": ("x86_64_amx", "x86_64_avx512vnni", "x86_64_avxvnni", "x86_64_avx2", "x86_64_sse"),
    "aarch64": ("aarch64_neondot", "aarch64_neon"),
}
_AVX2 = {"avx2", "fma", "bmi1", "bmi2", "abm", "movbe", "f16c"}
_AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "avx512_vnni"}
NEEDED_FLAGS: dict[str, frozenset[str]] = {
    "x86_64_amx": frozenset(_AVX2 | _AVX512 | {"amx_tile", "amx_int8"}),
    "x86_64_avx512vnni": frozenset(_AVX2 | _AVX512),
    "x86_64_avxvnni": frozenset(_AVX2 | {"avx_vnni"}),
    "x86_64_avx2": frozenset(_AVX2),
    "x86_64_sse": frozenset({"ssse3", "sse4_1", "sse4_2", "popcnt"}),
    "aarch64_neondot": frozenset({"asimd", "asimddp"}),
    "aarch64_neon": frozenset({"asimd"}),
}
"""Features as the kernel names them, that a level needs."""

# Linux ABI constants: <sys/auxv.h>, arch/arm64 <asm/hwcap.h>, arch/x86 <asm/prctl.h> and Documentation/arch/x86/xstate.rst
_AT_HWCAP = 16
_HWCAP = {"asimd": 1 << 1, "asimddp": 1 << 20}
_SYS_ARCH_PRCTL = 158
_ARCH_REQ_XCOMP_PERM = 0x1023
_XFEATURE_XTILEDATA = 18


class Kernels:
    """The compiled functions of ``abi.EXPORTS`` as attributes; every argument is an int64: an address, a count or a flag."""

    def __init__(self, level: str, owner: object, functions: Mapping[str, Callable[..., int]]) -> None:
        """Take the functions of one CPU level and what keeps them in memory."""
        self.level, self.owner = level, owner
        self.__dict__.update(functions)

    def __getattr__(self, name: str) -> Callable[..., int]:
        """Only for a name that is no function of these kernels."""
        raise AttributeError(f"kernel {self.level} has no function {name!r}")


def declare(take: Callable[[str], Callable[..., int]]) -> dict[str, Callable[..., int]]:
    """Every export by its short name.

    Args:
        take: gives the function of an exported name.
    """
    return {name: take(abi.PREFIX + name) for name in abi.EXPORTS}


def machine() -> str:
    """``x86_64``, ``aarch64``, or whatever else the kernel calls this machine."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Features of this CPU that the kernel supports: ``/proc/cpuinfo`` on x86-64, ``AT_HWCAP`` on aarch64."""
    if machine() == "x86_64":
        try:
            with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
                for line in stream:
                    if line.startswith("flags"):
                        return frozenset(line.partition(":")[2].split())
        except OSError:
            return frozenset()
    if machine() == "aarch64":
        try:
            getauxval = ctypes.CDLL(None).getauxval
        except (OSError, AttributeError):  # not Linux: ARMv8 always has Advanced SIMD
            return frozenset({"asimd"})
        getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
        capabilities = getauxval(_AT_HWCAP)
        return frozenset(name for name, bit in _HWCAP.items() if capabilities & bit)
    return frozenset()


@functools.cache
def request_amx() -> bool:
    """Ask the kernel for AMX tile state; the grant holds for the process and its children."""
    try:
        return bool(ctypes.CDLL(None).syscall(_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA) == 0)
    except (OSError, AttributeError):
        return False


def supports(level: str) -> bool:
    """Whether this machine runs ``level``."""
    if level not in LEVELS.get(machine(), ()) or not NEEDED_FLAGS[level] <= cpu_flags():
        return False
    return level != "x86_64_amx" or request_amx()


def available_levels(folder: Path | str = FOLDER) -> list[str]:
    """Levels that this machine runs and ``folder`` holds, best first."""
    return [level for level in LEVELS.get(machine(), ()) if supports(level) and os.path.isfile(library_path(level, folder))]


def library_path(level: str, folder: Path | str = FOLDER) -> str:
    """File of one level's library."""
    return os.path.join(folder, f"lib{level}.so")


def load(level: str | None = None, folder: Path | str = FOLDER) -> Kernels:
    """Load the library of ``level``, of ``EDGE_DEMIST_KERNEL``, or of the best level this machine runs.

    Raises:
        EngineUnavailableError: no library fits, or the one asked for does not run here.
    """
    wanted = level or os.environ.get(KERNEL_VARIABLE) or None
    levels = available_levels(folder)
    if wanted is None:
        if not levels:
            raise EngineUnavailableError(f"{_why_none(folder)}; install edge-demist[jit] or edge-demist[onnxruntime]")
        wanted = levels[0]
    elif wanted not in levels:
        raise EngineUnavailableError(f"kernel {wanted!r} does not run on this machine; these do: {', '.join(levels) or 'none'}")
    return _open(wanted, library_path(wanted, folder))


def _why_none(folder: Path | str) -> str:
    if not os.path.isdir(folder):
        return ANY_PLATFORM
    flags = " ".join(sorted(cpu_flags() & set().union(*NEEDED_FLAGS.values()))) or "none of the needed features"
    return f"no compiled kernel in {folder} runs on this machine ({machine()}; {flags})"


@functools.cache
def _open(level: str, path: str) -> Kernels:
    """Load and declare one library, once per process."""
    try:
        library = ctypes.CDLL(path)
        functions = declare(lambda name: getattr(library, name))
    except (OSError, AttributeError) as error:
        raise EngineUnavailableError(f"the kernel library {path} cannot be loaded: {error}") from None
    for name, function in functions.items():
        function.argtypes, function.restype = [ctypes.c_int64] * abi.EXPORTS[name], ctypes.c_int64  # type: ignore[attr-defined]
    return Kernels(level, library, functions)


_bytes_address = ctypes.pythonapi.PyBytes_AsString
_bytes_address.restype, _bytes_address.argtypes = ctypes.c_void_p, [ctypes.py_object]


def bytes_address(text: bytes) -> int:
    """Address of the first of some bytes, behind which a zero stands; the caller keeps them alive."""
    return int(_bytes_address(text))


def address(array: NDArray[np.generic]) -> int:
    """Address of an array's first element; the caller keeps the array alive."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]  # a fifth of the time of the array interface
    except (TypeError, ValueError):  # an array that is read-only, empty, or not in one piece
        return int(array.__array_interface__["data"][0])


def aligned(size: int) -> NDArray[np.uint8]:
    """``size`` uninitialised bytes on a 64-byte boundary."""
    block = np.empty(size + 64, np.uint8)
    start = -address(block) % 64
    return block[start : start + size]
