"""Tags the wheel: no Python ABI, compiled kernels for x86-64 and aarch64 Linux, so one wheel serves both."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLATFORMS = ("manylinux2014_aarch64", "manylinux2014_x86_64", "manylinux_2_17_aarch64", "manylinux_2_17_x86_64")


class CustomBuildHook(BuildHookInterface[Any]):
    """Sets the tag of the standard wheel; an editable install keeps the usual one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before the wheel is written."""
        if version == "standard":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{'.'.join(PLATFORMS)}"
