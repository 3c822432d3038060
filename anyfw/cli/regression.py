"""The loss of a regression whose targets have units of their own."""

from collections.abc import Sequence

from anyfw.core.arrays import Array
from anyfw.core.errors import ConfigError
from anyfw.losses import Loss
from anyfw.losses.base import Constant


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
    """

    def __init__(self, scale: Sequence[float], *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.scale = tuple(float(value) for value in scale)
        if not self.scale or not all(value > 0.0 for value in self.scale):
            raise ConfigError(f"StandardizedMSELoss: expected scales above 0, got {list(self.scale)}.")
        self._inverse = Constant([1.0 / value for value in self.scale])

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The squared errors; d ((y - t) / s)^2 / dy = 2 (y - t) / s^2."""
        inverse = self._inverse.like(y)
        error = (y - target) * inverse
        return error * error, 2.0 * error * inverse, None
