"""Checkpoints without pickle: tensors in safetensors, everything else in JSON, each written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as packed

from edge_demist.io import replace_file


def save(folder: Path, model: dict[str, torch.Tensor], optimizers: list[torch.optim.Optimizer], progress: dict[str, Any]) -> None:
    """Write model and optimizer state and the progress record; the JSON is renamed last and names the step."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{k}": v.contiguous().clone() for k, v in model.items()}
    for o, optimizer in enumerate(optimizers):
        for p, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimizer.{o}.{p}.{key}"] = value.clone() if isinstance(value, torch.Tensor) else torch.tensor(value)
    name = f"state-{progress['step']}.safetensors"
    replace_file(folder / name, packed(tensors), 0o644)
    replace_file(folder / "progress.json", json.dumps({**progress, "state": name}, indent=1).encode(), 0o644)
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()


def resume(folder: Path, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Any] | None:
    """Load the last checkpoint into model and optimizers; None where there is none."""
    record = folder / "progress.json"
    if not record.exists():
        return None
    progress: dict[str, Any] = json.loads(record.read_text())
    tensors = load_file(folder / progress["state"])
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, strict=False)
    for o, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Any]] = {}
        for key, value in tensors.items():
            head, _, rest = key.partition(f"optimizer.{o}.")
            if head == "" and rest:
                p, _, name = rest.partition(".")
                state.setdefault(int(p), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return progress
