"""Losses of numbers against numbers, elementwise."""

from collections.abc import Sequence

from anyfw.core.arrays import Array
from anyfw.core.errors import ConfigError, ShapeError
from anyfw.losses import checks
from anyfw.losses.base import Constant, Loss
from anyfw.ops import loss as ops


class MSELoss(Loss):
    """The squared error: l = (y - t)^2.

    Args:
        reduction: "mean" or "sum".

    Shapes:
        y and target alike.

    >>> import numpy as np
    >>> value, dy = MSELoss()(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    >>> float(value), dy.tolist()
    (2.0, [0.0, -2.0])
    """

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The squared errors."""
        return *ops.squared_error(y, target), None


class L1Loss(Loss):
    """The absolute error: l = |y - t|; the gradient at 0 is 0.

    Args:
        reduction: "mean" or "sum".

    Shapes:
        y and target alike.
    """

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


class StandardizedMSELoss(Loss):
    """The squared error in units of the targets' deviation: l = ((y - t) / scale)^2.

    The same gradients, and so the same good learning rates, whether a target is in millimetres or in miles; each
    output counts alike. A value of 1 is what predicting the mean of the training targets gives.

    Args:
        scale: the deviation of each output, above 0.
        reduction: "mean" or "sum".

    Shapes:
        y and target: (batch, outputs).

    Raises:
        ConfigError: a scale that is not above 0.
        ShapeError: another number of outputs than of scales.
    """

    def __init__(self, scale: Sequence[float], *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.scale = tuple(float(value) for value in scale)
        if not self.scale or not all(0.0 < value < float("inf") for value in self.scale):
            raise ConfigError(f"{self.who}: expected scales above 0, got {list(self.scale)}.")
        self._inverse = Constant([1.0 / value for value in self.scale])

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The squared errors; d ((y - t) / s)^2 / dy = 2 (y - t) / s^2."""
        if y.shape[-1] != len(self.scale):
            raise ShapeError(
                f"{self.who}: expected {len(self.scale)} outputs, one for each scale, got y of shape {tuple(y.shape)}."
            )
        inverse = self._inverse.like(y)
        error = (y - target) * inverse
        return error * error, 2.0 * error * inverse, None
