"""One module a peer. ``REGISTRY`` names the variants: which module, with which environment and settings.

Every variant runs in its own process (``benchmarks.baselines.engines.worker``), so that each has its own memory figure, its own
instruction set and its own dependencies; ``benchmarks.interleaved`` lets them measure in turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Variant:
    """A peer as it is measured.

    Attributes:
        module: module of this package; its ``load(models, **settings)`` gives the object that computes.
        title: how tables call it.
        takes: ``ids`` (token ids in, vectors out) or ``texts`` (texts in, vectors or labels out).
        environment: variables of the worker's process.
        settings: keyword arguments of ``load``.
        venv: ``main``, or the name of the ``--python NAME=PATH`` interpreter that has its packages.
    """

    module: str
    title: str
    takes: str = "ids"
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    venv: str = "main"


def _held(isa: str) -> dict[str, str]:
    """CTranslate2 and its matrix library: its own variable alone leaves MKL on the best instruction set of the machine."""
    return {"CT2_FORCE_CPU_ISA": isa, "MKL_ENABLE_INSTRUCTIONS": isa, "ONEDNN_MAX_CPU_ISA": isa.replace("AVX512", "AVX512_CORE_VNNI")}


def _ours(level: str | None) -> dict[str, str]:
    return {"EDGE_DEMIST_KERNEL": level} if level else {}


REGISTRY: Mapping[str, Variant] = MappingProxyType(
    {
        "native": Variant("ours", "edge-demist, best kernel"),
        "native-amx": Variant("ours", "edge-demist, AMX", environment=_ours("x86_64_amx")),
        "native-avx512vnni": Variant("ours", "edge-demist, AVX-512 VNNI", environment=_ours("x86_64_avx512vnni")),
        "native-avxvnni": Variant("ours", "edge-demist, AVX-VNNI", environment=_ours("x86_64_avxvnni")),
        "native-avx2": Variant("ours", "edge-demist, AVX2", environment=_ours("x86_64_avx2")),
        "native-sse": Variant("ours", "edge-demist, SSE4.2", environment=_ours("x86_64_sse")),
        "engine-onnxruntime": Variant("ours", "edge-demist, its onnxruntime engine", settings={"engine": "onnxruntime"}),
        "ort-stock": Variant("ort", "ONNX Runtime int8 (optimizer + quantize_dynamic)", settings={"graph": "stock"}),
        "ort-best": Variant("ort", "ONNX Runtime int8, hand-fixed graph", settings={"graph": "best"}),
        "ort-fp32": Variant("ort", "ONNX Runtime fp32, optimizer", settings={"graph": "fp32"}),
        "ctranslate2": Variant("ct2", "CTranslate2 int8"),
        "ctranslate2-avx512": Variant("ct2", "CTranslate2 int8, held to AVX-512", environment=_held("AVX512")),
        "ctranslate2-avx2": Variant("ct2", "CTranslate2 int8, held to AVX2", environment=_held("AVX2")),
        "openvino": Variant("ov", "OpenVINO int8", venv="openvino"),
        "openvino-avx2": Variant("ov", "OpenVINO int8, held to AVX2", environment={"ONEDNN_MAX_CPU_ISA": "AVX2"}, venv="openvino"),
        "torch-fp32": Variant("torch_fp32", "PyTorch fp32"),
        "classify": Variant("ours_text", "edge-demist, text to label", takes="texts"),
        "sentence-transformers": Variant("sentence", "sentence-transformers all-MiniLM-L6-v2 + linear head", takes="texts"),
    }
)
