"""A bundle's specialist as the start of another training, and an adapter in training as the bundle would serve it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import peft
import torch
from numpy.typing import NDArray
from torch import nn

from edge_demist import EdgeDemist
from edge_demist.format.adapter import Adapter
from edge_demist.format.bundle import Bundle
from edge_demist.format.specialist import load_specialist
from tools.train.data import Rows

MODULES = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "attn_out",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
}


def start(folder: Path | None, task: str, model: nn.Module, head: nn.Linear, first_layer: int = 0) -> None:
    """Copy the adapter of ``task`` into a PEFT model with room for its ranks and layers, and its head into ``head``.

    What the adapter does below ``first_layer`` is left out.

    Raises:
        ValueError: a site of the bundle's adapter is not in the model, or has a larger rank.
    """
    specialist = load_specialist(Bundle.load(folder), task)
    sites = {}
    for name, module in model.named_modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            stem, _, rest = name.partition("layer.")[2].partition(".")
            sites[int(stem), MODULES[rest]] = module
    with torch.no_grad():
        for site, (down, up) in specialist.adapter.layers.items():
            if site[0] < first_layer:
                continue
            if site not in sites or down.shape[1] > sites[site].r["default"]:
                raise ValueError(f"{task}: layer {site[0]} {site[1]} of rank {down.shape[1]} has no place in the new adapter")
            rank = down.shape[1]
            sites[site].lora_A["default"].weight[:rank] = torch.from_numpy(down.T.copy())
            sites[site].lora_B["default"].weight[:, :rank] = torch.from_numpy(up.T.copy()) / sites[site].scaling["default"]
        owners = np.asarray(specialist.owners)
        for label in range(len(specialist.labels)):  # a label of several subclasses begins in their middle
            columns = np.flatnonzero(owners == label)
            head.weight[label] = torch.from_numpy(specialist.weight[:, columns].mean(1))
            head.bias[label] = float(specialist.bias[columns].mean())


def adapter_of(model: nn.Module, name: str) -> Adapter:
    """A PEFT model's adapter as the engines read it: float32 (A [K, r], B [r, N]) a site, the scaling in B; ranks of zeros left out."""
    layers = {}
    for path, module in model.named_modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            number, _, rest = path.partition("layer.")[2].partition(".")
            down, up = (part["default"].weight.detach().float().numpy() for part in (module.lora_A, module.lora_B))
            used = np.flatnonzero(down.any(1) & up.any(0))
            used = used if len(used) else np.array([0])
            scaled = up[:, used].T * np.float32(module.scaling["default"])
            layers[int(number), MODULES[rest]] = (np.ascontiguousarray(down[used].T), np.ascontiguousarray(scaled))
    return Adapter(name=name, layers=layers)


class Served:
    """Features of packed rows as a bundle's engine computes them: ten times as fast as float layers, and with int8's errors."""

    def __init__(self, folder: Path | None, adapter: Adapter) -> None:
        self._model = EdgeDemist.load(folder)
        self._adapter = adapter

    def pooled(self, rows: Rows) -> NDArray[np.float32]:
        """Vectors under the adapter, float32 [n, H]."""
        order = np.argsort(rows.lengths, kind="stable")
        some = rows.take(order)
        out = np.empty((len(rows), self._model.dim), np.float32)
        out[order] = self._model.engine.encode(some.ids, some.cu.astype(np.int32), [self._adapter], normalize=False)
        return out
