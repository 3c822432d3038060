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


class CategoryColumns(torch.nn.Module):  # type: ignore[misc]
    """`anyfw.nn.CategoryColumns`: numbers as they are, then each category as a one-hot row or as a learnt vector."""

    def __init__(self, numbers: int, counts: Sequence[int] = (), widths: Sequence[int] = ()) -> None:
        super().__init__()
        self.numbers, self.counts = numbers, tuple(counts)
        self.widths = tuple(widths) or (0,) * len(self.counts)
        for i, (count, width) in enumerate(zip(self.counts, self.widths, strict=True)):
            if width:
                self.register_parameter(f"weight_{i}", torch.nn.Parameter(torch.zeros(count, width)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers, one-hot rows and vectors side by side."""
        parts = [x[:, : self.numbers]]
        for i, (count, width) in enumerate(zip(self.counts, self.widths, strict=True)):
            codes = torch.arange(count, dtype=x.dtype, device=x.device)
            one_hot = (torch.round(x[:, self.numbers + i, None]) == codes).to(x.dtype)
            parts.append(one_hot @ getattr(self, f"weight_{i}") if width else one_hot)
        return torch.cat(parts, dim=1)

    def extra_repr(self) -> str:
        """The columns."""
        return f"numbers={self.numbers}, counts={self.counts}, widths={self.widths}"


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
