"""Engines: native (compiled ahead of time), jit (Numba), onnxruntime. ``create`` chooses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_demist.engines.base import Engine
from edge_demist.errors import EngineUnavailableError, InputError
from edge_demist.format.adapter import LORA_TARGETS, Adapter

if TYPE_CHECKING:
    from edge_demist.format.bundle import Bundle
    from edge_demist.native.library import Kernels

ENGINE_VARIABLE = "EDGE_DEMIST_ENGINE"
ENGINES = ("native", "jit", "onnxruntime")
"""Names of the engines, in the order in which ``auto`` tries them."""

__all__ = ["ENGINES", "ENGINE_VARIABLE", "LORA_TARGETS", "Adapter", "Engine", "create", "kernels"]


def kernels() -> Kernels:
    """Compiled tokenizer, n-grams and heads: the shipped library, or Numba's where none fits this CPU.

    Raises:
        EngineUnavailableError: neither can be had.
    """
    from edge_demist.native import library as native

    try:
        return native.load()
    except EngineUnavailableError as missing:
        try:
            from edge_demist.engines import jit
        except ImportError:
            raise missing from None
        return jit.kernels()


def _native(bundle: Bundle, threads: int) -> Engine:
    from edge_demist.engines.native import NativeEngine

    return NativeEngine(bundle, threads)


def _installed(package: str) -> bool:
    """Whether a package could be imported; found without importing it."""
    from importlib.util import find_spec

    return find_spec(package) is not None


def _jit(bundle: Bundle, threads: int) -> Engine:
    if not _installed("numba"):
        raise EngineUnavailableError("numba is not installed (pip install 'edge-demist[jit]')")
    from edge_demist.engines.jit import JitEngine

    return JitEngine(bundle, threads)


def _onnxruntime(bundle: Bundle, threads: int) -> Engine:
    if not _installed("onnxruntime"):
        raise EngineUnavailableError("onnxruntime is not installed (pip install 'edge-demist[onnxruntime]')")
    from edge_demist.engines.onnx import OnnxEngine

    return OnnxEngine(bundle, threads)


_MAKERS = {"native": _native, "jit": _jit, "onnxruntime": _onnxruntime}


def create(bundle: Bundle, engine: str = "auto", threads: int = 1) -> Engine:
    """Make an engine for ``bundle``.

    Args:
        bundle: the weights.
        engine: ``native``, ``jit``, ``onnxruntime``, or ``auto``: the first of these that runs here.  The environment
            variable ``EDGE_DEMIST_ENGINE`` stands in for ``auto``.
        threads: how many threads split the rows of a large call.

    Raises:
        EngineUnavailableError: the engine asked for, or every engine, cannot run; says what each one misses.
        InputError: an unknown engine name, or a number of threads below 1.
    """
    if engine == "auto":
        engine = os.environ.get(ENGINE_VARIABLE) or "auto"
    if engine != "auto" and engine not in _MAKERS:
        raise InputError(f"unknown engine {engine!r}; engines are auto, {', '.join(ENGINES)}")
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    if engine != "auto":
        return _MAKERS[engine](bundle, threads)
    missing = []
    for name in ENGINES:
        try:
            return _MAKERS[name](bundle, threads)
        except EngineUnavailableError as error:
            missing.append(f"{name}: {error}")
    raise EngineUnavailableError("no engine can run here. " + "; ".join(missing))
