"""Buffers between pages that cannot be touched: a read or a write past the end, or before the beginning, is a signal at once.

``install`` puts every buffer that the kernels get between such pages: texts, offsets, ids, tables, vectors, and scratch memory as
small as the contract allows. Each buffer costs 130 pages of address space, so it is for a process of its own.
"""

from __future__ import annotations

import collections
import ctypes
import mmap
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE = mmap.PAGESIZE
WALL = 64
"""Pages that cannot be touched, on each side."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Guard(types.ModuleType):
    """Stands in for numpy in the modules that call the kernels; ``mode`` is ``end`` or ``begin``: which side touches the wall."""

    def __init__(self, mode: str = "end") -> None:
        """Choose the side."""
        super().__init__("numpy")
        self.mode, self.count = mode, 0
        self._kept: collections.deque[NDArray[np.generic]] = collections.deque(maxlen=200)  # copies must outlive the call

    def __getattr__(self, name: str) -> object:
        """Everything else is numpy's."""
        return getattr(np, name)

    def block(self, size: int, alignment: int = 1) -> NDArray[np.uint8]:
        """``size`` bytes of 0xA5; the end is rounded up to ``alignment``."""
        self.count += 1
        room = -(-max(size, 1) // alignment) * alignment
        pages = -(-room // PAGE)
        held = np.frombuffer(mmap.mmap(-1, (pages + 2 * WALL) * PAGE), np.uint8)
        address = held.__array_interface__["data"][0]
        for wall in (address, address + (pages + WALL) * PAGE):
            if _libc.mprotect(wall, WALL * PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        start = WALL * PAGE + (pages * PAGE - room if self.mode == "end" else 0)
        out = held[start : start + size]
        out[...] = 0xA5
        return out

    def like(self, array: NDArray[np.generic], alignment: int = 1) -> NDArray[np.generic]:
        """A copy between walls."""
        array = np.ascontiguousarray(array)
        if array.nbytes == 0:
            return array
        out = self.block(array.nbytes, alignment).view(array.dtype).reshape(array.shape)
        out[...] = array
        return out

    def empty(self, shape: Any, dtype: Any = float) -> NDArray[np.generic]:
        """``numpy.empty``."""
        kind, count = np.dtype(dtype), int(np.prod(shape))
        return np.empty(shape, dtype) if count == 0 else self.block(count * kind.itemsize, kind.itemsize).view(kind).reshape(shape)

    def zeros(self, shape: Any, dtype: Any = float) -> NDArray[np.generic]:
        """``numpy.zeros``."""
        out = self.empty(shape, dtype)
        out[...] = 0
        return out

    def frombuffer(self, buffer: bytes, dtype: Any = np.uint8) -> NDArray[np.generic]:
        """``numpy.frombuffer``, but a copy."""
        out = self.like(np.frombuffer(buffer, dtype))
        self._kept.append(out)
        return out

    def ascontiguousarray(self, array: Any, dtype: Any = None) -> NDArray[np.generic]:
        """``numpy.ascontiguousarray``, but always a copy."""
        found = np.ascontiguousarray(array, dtype)
        return self.like(found, found.dtype.itemsize)


def install(mode: str = "end") -> Guard:
    """Put every buffer of this process between walls."""
    from edge_demist.engines import heads, tables
    from edge_demist.engines import native as engine
    from edge_demist.native import arrays, library
    from edge_demist.text import ngrams, tokenizer

    guard = Guard(mode)
    for module in (heads, tables, engine, arrays, ngrams, tokenizer):
        if hasattr(module, "np"):
            setattr(module, "np", guard)  # noqa: B010 - no attribute that a type checker knows
    library.aligned = lambda size: guard.block(size, 64)

    def exact(self: Any, _: str, need: tuple[int, int, int], size: Callable[[int, int, int], int]) -> int:
        self._local.memory = guard.block(size(*need), 64)
        return library.address(self._local.memory)

    setattr(engine.NativeEngine, "_memory", exact)  # noqa: B010 - no method that a type checker lets be replaced
    return guard


def guarded(bundle: Any, guard: Guard) -> Any:
    """A bundle whose weights and tables lie between walls."""
    tensors = {k: guard.like(v, 64 if v.nbytes % 64 == 0 else v.dtype.itemsize) for k, v in bundle.tensors.items()}
    tables = {k: guard.like(v, v.dtype.itemsize) for k, v in bundle.tokenizer_tensors.items()}
    return bundle._replace(tensors=tensors, tokenizer_tensors=tables)


def forget_scratch(model: Any) -> None:
    """Every next call makes its scratch memory anew, as small as it may be."""
    inner = model._inference
    holders = [inner.tokenizer, model.engine, inner.heads, inner._ngrams, *inner._own_ngrams.values()]
    for holder in holders:
        holder._local.__dict__.clear()
