"""One row per public layer, loss and optimiser: each row is driven through every check in the suite.

A public class without a row fails the suite. A new layer is its family's file and one row here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anyfw import nn

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerSpec:
    """How to make a layer, what goes in and comes out, and what PyTorch calls it."""

    name: str
    make: Callable[[], nn.Layer]
    x: Shape
    y: Shape
    torch: Callable[[Any], Any] | None = None  # given the module torch: the torch.nn module, whose state_dict fits ours
    errors: tuple[tuple[Callable[[], object], type[Exception], str], ...] = ()  # (call, error, words of its message)
    deterministic: bool = True
    away_from: tuple[float, ...] = field(default=())  # kinks, where finite differences mean nothing

    def sample(self, seed: int = 0) -> np.ndarray:
        """Float64 inputs, none of them near a kink."""
        x = np.random.default_rng(seed).normal(size=self.x)
        for kink in self.away_from:
            x = np.where(np.abs(x - kink) < 0.05, kink + 0.1, x)
        return x


LAYERS = (
    LayerSpec(
        "Linear",
        lambda: nn.Linear(5, 3),
        (4, 5),
        (4, 3),
        torch=lambda torch: torch.nn.Linear(5, 3),
        errors=((lambda: nn.Linear(0, 3), ValueError, "widths of at least 1"),),
    ),
    LayerSpec("ReLU", nn.ReLU, (4, 5), (4, 5), torch=lambda torch: torch.nn.ReLU(), away_from=(0.0,)),
    LayerSpec(
        "Sequential",
        lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)),
        (4, 5),
        (4, 3),
        torch=lambda torch: torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)),
    ),
)
