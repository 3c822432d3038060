"""What the estimators make small, as scikit-learn defines it: the losses of a row's outputs add up, rows are averaged.

Targets are made by the estimators themselves, so that a batch of one class, as `partial_fit` may get, is no mistake.
"""

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import ConfigError
from anyfw.losses import BCEWithLogitsLoss, CrossEntropyLoss, Loss, MSELoss
from anyfw.losses.checks import same_shape
from anyfw.metrics import Metric
from anyfw.metrics.base import sum_dtype


class SoftmaxLoss(CrossEntropyLoss):
    """The cross-entropy of logits against one label for each row."""

    def check_targets(self, shape: tuple[int, ...], target: Array, training: bool) -> None:
        """Labels are encoded from `classes_`."""


class LogisticLoss(Loss):
    """The sum over a row's outputs of the binary cross-entropy of logits. Shapes: y and target (rows, outputs)."""

    def __init__(self) -> None:
        super().__init__()
        self._elements = BCEWithLogitsLoss()

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The losses of rows."""
        losses, dy, _ = self._elements.each(y, target)
        return _by_row(losses), dy, None

    def check_targets(self, shape: tuple[int, ...], target: Array, training: bool) -> None:  # noqa: ARG002
        """One 0 or 1 for each output."""
        same_shape(self.who, shape, target)

    def probabilities(self, y: Array) -> Array:
        """The sigmoid of y."""
        return self._elements.probabilities(y)

    def labels(self, y: Array) -> Array:
        """1 where y is positive, else 0."""
        return self._elements.labels(y)


class SquaredError(Loss):
    """Half the sum over a row's outputs of (y - t)^2. Shapes: y and target (rows, outputs)."""

    def __init__(self) -> None:
        super().__init__()
        self._elements = MSELoss()

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The losses of rows."""
        losses, dy, _ = self._elements.each(y, target)
        dy *= 0.5
        return _by_row(losses) * 0.5, dy, None


class PoissonLoss(Loss):
    """Half the Poisson deviance of exp(y): the sum over a row's outputs of exp(y) - t + t log t - t y.

    Shapes:
        y, the logarithm of what is predicted, and target, at least 0: (rows, outputs).
    """

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The losses of rows."""
        xp = namespace(y)
        mean = xp.exp(y)
        entropy = target * xp.log(xp.where(target == 0, 1.0, target))
        return _by_row(mean - target + entropy - target * y), mean - target, None

    def check_targets(self, shape: tuple[int, ...], target: Array, training: bool) -> None:  # noqa: ARG002
        """Counts, or rates."""
        same_shape(self.who, shape, target)
        if bool(namespace(target).any(target < 0)):
            raise ConfigError("loss='poisson': expected targets of at least 0, got a negative one.")


class SubsetAccuracy(Metric):
    """The share of rows of which every label is right: scikit-learn's accuracy for several labels of a row.

    Args:
        threshold: a label is decided above it: 0 for logits, .5 for probabilities.

    Shapes:
        y: (rows, labels); target: alike, 0 and 1.
    """

    name = "accuracy"
    higher_is_better = True
    sums = ("right", "weight")

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = float(threshold)

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Count the rows that are right."""
        self.expect(y, target=target, sample_weight=sample_weight)
        self.expect_same_shape(y, target)
        xp = namespace(y)
        right = xp.all((y > self.threshold) == (target > 0.5), axis=-1)
        weight = self.weights(sample_weight, y, (y.shape[0],))
        self.add(right=xp.sum(weight * xp.astype(right, sum_dtype(y))), weight=xp.sum(weight))

    def compute(self) -> float:
        """The weighted mean."""
        return self.ratio(*self.read("right", "weight"))


def _by_row(losses: Array) -> Array:
    # One output is the usual case, and a view of it costs nothing.
    return losses[..., 0] if losses.shape[-1] == 1 else namespace(losses).sum(losses, axis=-1)
