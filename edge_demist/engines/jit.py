"""The JIT engine: the same kernel sources, compiled by Numba and LLVM for the host when the process starts.

For machines that no library in ``lib/`` fits.  Needs numba (``pip install 'edge-demist[jit]'``).  The machine code is
kept in a cache folder (``EDGE_DEMIST_CACHE``, else ``$XDG_CACHE_HOME/edge-demist``, else ``~/.cache/edge-demist``)
where that can be written, and compiled anew where it cannot; nothing is ever written beside the package.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_demist.engines.native import NativeEngine
from edge_demist.errors import EngineUnavailableError
from edge_demist.format import verified
from edge_demist.native import abi
from edge_demist.native import library as native
from edge_demist.native.library import Kernels

if TYPE_CHECKING:
    from edge_demist.format.bundle import Bundle


class JitEngine(NativeEngine):
    """``NativeEngine`` over functions that were compiled in this process."""

    name = "jit"

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        """Compile (or read from the cache) and bind the weights; see ``NativeEngine``.

        Raises:
            EngineUnavailableError: numba or llvmlite is missing or cannot compile here.
        """
        super().__init__(bundle, threads, kernels())


@functools.cache
def kernels(level: str | None = None) -> Kernels:
    """Functions compiled for ``level``, or for the best level this machine runs (``generic`` if it runs none).

    Raises:
        EngineUnavailableError: numba or llvmlite is missing or cannot compile here.
    """
    try:
        from edge_demist.kernels import compiler
    except (ImportError, OSError) as error:
        raise EngineUnavailableError(f"numba cannot be used ({error}); pip install 'edge-demist[jit]'") from None
    wanted = level or os.environ.get(native.KERNEL_VARIABLE) or _best_level()
    if wanted != "generic" and not native.supports(wanted):
        raise EngineUnavailableError(f"kernel {wanted!r} does not run on this machine")
    code = _cached(_key(wanted, compiler.versions()), lambda: compiler.host_object(wanted))
    owner, addresses = compiler.load_object(code)
    functions = native.declare(lambda name: function(addresses[name], abi.EXPORTS[name.removeprefix(abi.PREFIX)]))
    return Kernels(wanted, owner, functions)


def function(address: int, count: int) -> Callable[..., int]:
    """A compiled function of ``count`` int64 arguments."""
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * count)(address)


def _best_level() -> str:
    levels = [level for level in native.LEVELS.get(native.machine(), ()) if native.supports(level)]
    return levels[0] if levels else "generic"


def _key(level: str, versions: str) -> str:
    """Name of a cache entry: level, compiler versions and the kernels' own sources."""
    digest = hashlib.sha256(f"{level} {versions}".encode())
    package = Path(__file__).parent.parent
    for path in sorted([*(package / "kernels").glob("*.py"), package / "native" / "abi.py"]):
        digest.update(path.read_bytes())
    return f"{level}-{digest.hexdigest()[:32]}.o"


def _cached(name: str, make: Callable[[], bytes]) -> bytes:
    """The entry ``name``, made and kept if it is not there; a folder that cannot be used is no error."""
    where = verified.folder()
    if where is None:
        return make()
    folder = Path(where)
    try:
        path = folder / name
        entry = path.read_bytes()
        content, digest = entry[:-32], entry[-32:]
        if hashlib.sha256(content).digest() == digest:
            return content
    except (OSError, RuntimeError):
        pass
    sys.stderr.write(f"edge-demist: compiling kernels for this machine, once; they are kept in {folder} where that can be written\n")
    content = make()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as stream:
            stream.write(content + hashlib.sha256(content).digest())
        Path(stream.name).replace(folder / name)
    except (OSError, RuntimeError):
        pass
    return content
