"""Losses of numbers against numbers, elementwise."""

from anyfw.core.arrays import Array
from anyfw.losses import checks
from anyfw.losses.base import Loss
from anyfw.ops import loss as ops


class MSELoss(Loss):
    """The squared error: l = (y - t)^2. Shapes: y and target alike.

    >>> import numpy as np
    >>> value, dy = MSELoss()(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    >>> float(value), dy.tolist()
    (2.0, [0.0, -2.0])
    """

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The squared errors."""
        return *ops.squared_error(y, target), None


class L1Loss(Loss):
    """The absolute error: l = |y - t|; the gradient at 0 is 0. Shapes: y and target alike."""

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The absolute errors."""
        return *ops.absolute_error(y, target), None


class HuberLoss(Loss):
    """Squared for small errors, absolute for large: e^2 / 2 up to |e| = delta, then delta (|e| - delta / 2); e = y - t.

    Args:
        delta: where the parabola becomes a line, above 0.
        reduction: "mean" or "sum".

    Shapes:
        y and target alike.

    Source: Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35(1), 1964.
    """

    def __init__(self, delta: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.delta = checks.number(self.who, "delta", delta)

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The errors, squared or absolute."""
        return *ops.huber(y, target, self.delta), None
