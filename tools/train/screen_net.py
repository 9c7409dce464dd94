"""Train the small net of a screen to say, from n-gram vectors alone, what a whole specialist says near its threshold.

Two layers of 64 rectified units.  The loss is the cross-entropy to the logistic function of half of what the alarm score's logit has more
than the threshold's: a string is worth as much as it lies near the threshold, and how far beyond does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from edge_demist.format.screen import ScreenNet

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 64
EPOCHS = 40
SLOPE = 0.5
"""How fast the target rises around the threshold, a logit."""
BATCH = 2048
STEPS = 32
"""An epoch has at least so many steps."""
RATE = 1e-2
DECAY = 1e-3
LOWEST = 0.001
FAR = 0.1
"""Share taken of the strings that lie below the head's own cut: they are easy, and most."""
SMALLEST = 1e-9


def logit(probability: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """log(p / (1 - p)), kept finite."""
    clipped = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def near(first: NDArray[np.float64], alarms: NDArray[np.bool_], rng: np.random.Generator) -> tuple[NDArray[np.int64], float]:
    """Numbers of the strings to train on: alarms, those whose first score is as high as nearly every alarm's, and some of the rest.

    That first score comes with them.
    """
    lowest = float(np.quantile(first[alarms], LOWEST)) if alarms.any() else np.inf
    return np.flatnonzero(alarms | (first >= lowest) | (rng.random(len(first)) < FAR)), lowest


def train(
    vectors: NDArray[np.float32],
    score: NDArray[np.float64],
    threshold: float,
    rng: np.random.Generator,
    read: NDArray[np.bool_] | None = None,
) -> ScreenNet:
    """A net for n-gram vectors float32 [n, dim] and alarm scores [n]; those not ``read`` bool [dim] weigh nothing."""
    torch.manual_seed(int(rng.integers(1 << 31)))
    mean, spread = vectors.mean(0), vectors.std(0)
    known = spread > 0 if read is None else read & (spread > 0)
    spread = np.where(known, spread + 1e-6, np.inf)  # what is empty, or for labels alone, weighs nothing, whatever comes into it
    x = torch.from_numpy((vectors - mean) / spread)
    y = torch.sigmoid(SLOPE * torch.from_numpy((logit(score) - logit(threshold)).astype(np.float32)))
    layers = [torch.nn.Linear(a, b) for a, b in ((vectors.shape[1], WIDTH), (WIDTH, WIDTH), (WIDTH, 1))]
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    batch = min(BATCH, len(x) // STEPS + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * -(-len(x) // batch))
    for _ in range(EPOCHS):
        order = torch.from_numpy(rng.permutation(len(x)))
        for part in order.split(batch):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x[part])[:, 0], y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    weights = [layer.weight.detach().double().numpy().T for layer in layers]
    biases = [layer.bias.detach().double().numpy() for layer in layers]
    weights[0] = weights[0] / spread[:, None]
    biases[0] = biases[0] - mean @ weights[0]
    one, two, three = (np.ascontiguousarray(part, np.float32) for part in (weights[0], weights[1], weights[2][:, 0]))
    b1, b2, b3 = (np.ascontiguousarray(part, np.float32) for part in biases)
    return ScreenNet((one, two, three), (b1, b2, b3))
