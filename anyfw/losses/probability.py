"""Losses of probabilities against probabilities, elementwise."""

from collections.abc import Sequence
from math import prod

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import ConfigError
from anyfw.losses import checks
from anyfw.losses.base import Constant, Loss
from anyfw.ops import loss as ops
from anyfw.ops.activation import sigmoid


class _Binary(Loss):
    def check_targets(self, shape: tuple[int, ...], target: Array, training: bool) -> None:
        """Shaped as the outputs, between 0 and 1."""
        checks.same_shape(self.who, shape, target)
        checks.binary(self.who, target, 0, training)


class BCELoss(_Binary):
    """Binary cross-entropy of probabilities: l = -t log y - (1 - t) log(1 - y), logarithms no less than -100.

    BCEWithLogitsLoss is exact where this one must clamp: prefer it, without a Sigmoid before.

    Args:
        reduction: "mean" or "sum".

    Shapes:
        y, between 0 and 1, and target, between 0 and 1, alike.
    """

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The cross-entropies."""
        return *ops.binary_cross_entropy(y, target), None

    def probabilities(self, y: Array) -> Array:
        """Y itself."""
        return y

    def labels(self, y: Array) -> Array:
        """1 where y is above one half, else 0."""
        xp = namespace(y)
        return xp.astype(y > 0.5, xp.int64)


class BCEWithLogitsLoss(_Binary):
    """Binary cross-entropy of logits: l = -p t log s(y) - (1 - t) log(1 - s(y)), s the sigmoid.

    Args:
        pos_weight: p, the weight of the positive class: a number, or one for each of the last axis's features. It
            does not count in the denominator of the mean (as in PyTorch).
        reduction: "mean" or "sum".

    Shapes:
        y, any numbers, and target, between 0 and 1, alike.
    """

    def __init__(self, pos_weight: float | Sequence[float] | None = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.pos_weight: float | tuple[float, ...] | None = None
        if isinstance(pos_weight, int | float):
            self.pos_weight = checks.number(self.who, "pos_weight", pos_weight)
        elif pos_weight is not None:
            self.pos_weight = checks.weights(self.who, "pos_weight", pos_weight)
        self._constant = None if self.pos_weight is None else Constant(self.pos_weight)

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The cross-entropies."""
        if self._constant is None:
            return *ops.binary_cross_entropy_with_logits(y, target), None
        if isinstance(self.pos_weight, tuple) and len(self.pos_weight) != y.shape[-1]:
            raise ConfigError(
                f"{self.who}: expected one pos_weight for each of {y.shape[-1]} features, got {len(self.pos_weight)}."
            )
        return *ops.binary_cross_entropy_with_logits(y, target, self._constant.like(y)), None

    def probabilities(self, y: Array) -> Array:
        """The sigmoid of y."""
        return sigmoid(y)

    def labels(self, y: Array) -> Array:
        """1 where y is positive, else 0."""
        xp = namespace(y)
        return xp.astype(y > 0, xp.int64)


class KLDivLoss(Loss):
    """The Kullback-Leibler divergence of log-probabilities y from a distribution t: l = t (log t - y), 0 where t = 0.

    Args:
        log_target: whether target holds log t.
        reduction: "mean" over all elements (as in PyTorch), "batchmean" over rows, which is the divergence itself, or
            "sum".

    Shapes:
        y and target alike, (batch, ..., classes).

    Source: Kullback and Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22(1), 1951.
    """

    reductions = ("mean", "batchmean", "sum")

    def __init__(self, log_target: bool = False, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The divergence's terms."""
        return *ops.kl_divergence(y, target, self.log_target), None

    def units_per_weight(self, y: Array) -> float:
        """With "batchmean", the number of elements in a row."""
        return prod(y.shape[1:]) if self.reduction == "batchmean" else 1.0

    def check_targets(self, shape: tuple[int, ...], target: Array, training: bool) -> None:  # noqa: ARG002
        """Shaped as the outputs, each row a distribution."""
        checks.same_shape(self.who, shape, target)
        checks.distributions(self.who, namespace(target).exp(target) if self.log_target else target)

    def probabilities(self, y: Array) -> Array:
        """Exp y."""
        return namespace(y).exp(y)

    def labels(self, y: Array) -> Array:
        """The most probable class."""
        return namespace(y).argmax(y, axis=-1)
