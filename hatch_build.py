"""Tags the wheel and chooses what it holds.

The standard wheel has no Python ABI and compiled kernels for x86-64 and aarch64 Linux, so one serves both. With
``EDGE_DEMIST_ANY_WHEEL=1`` a second one is built for other systems, without the kernels: it runs on the extra jit or onnxruntime.
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLATFORMS = ("manylinux2014_aarch64", "manylinux2014_x86_64", "manylinux_2_17_aarch64", "manylinux_2_17_x86_64")
LIBRARIES = "edge_demist/native/lib"


class CustomBuildHook(BuildHookInterface[Any]):
    """Sets tag and libraries of a wheel; an editable install keeps the usual ones."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before the wheel is written."""
        if version == "standard" and os.environ.get("EDGE_DEMIST_ANY_WHEEL") != "1":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{'.'.join(PLATFORMS)}"
            build_data["force_include"][os.path.join(self.root, LIBRARIES)] = LIBRARIES  # noqa: PTH118
