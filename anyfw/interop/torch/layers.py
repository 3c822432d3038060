"""The layers that PyTorch lacks, as its modules; importing this imports PyTorch."""

from collections.abc import Sequence
from typing import Any

import torch


class Rescale(torch.nn.Module):  # type: ignore[misc]
    """`anyfw.nn.Rescale`: y = x scale + shift, integers cast to the module's dtype first.

    The constants are in no state dict, as in anyfw.
    """

    def __init__(self, scale: float | Sequence[float] = 1.0, shift: float | Sequence[float] = 0.0) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift
        for name, value in (("_scale", scale), ("_shift", shift)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """X on the new scale."""
        if not x.is_floating_point():
            x = x.to(self._scale.dtype)
        return x * self._scale + self._shift

    def extra_repr(self) -> str:
        """The constants."""
        return f"scale={self.scale}, shift={self.shift}"


class Residual(torch.nn.Module):  # type: ignore[misc]
    """`anyfw.nn.Residual`: y = shortcut(x) + layer(x), x itself where there is no shortcut."""

    def __init__(self, layer: torch.nn.Module, shortcut: torch.nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.shortcut = layer, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The branch plus the shortcut."""
        branch = self.layer(x)
        return (x if self.shortcut is None else self.shortcut(x)) + branch


class Parallel(torch.nn.ModuleList):  # type: ignore[misc]
    """`anyfw.nn.Parallel`: the same x through several branches, whose outputs are concatenated or added."""

    def __init__(self, *branches: torch.nn.Module, combine: str = "concatenate", axis: int = -1) -> None:
        super().__init__(branches)
        self.combine, self.axis = combine, axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All branches, combined."""
        outputs: list[Any] = [branch(x) for branch in self]
        return torch.cat(outputs, dim=self.axis) if self.combine == "concatenate" else sum(outputs[1:], outputs[0])

    def extra_repr(self) -> str:
        """How the outputs are combined."""
        return f"combine={self.combine!r}, axis={self.axis}"
