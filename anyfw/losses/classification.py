"""Losses of scores against classes."""

from collections.abc import Sequence

from anyfw.core.arrays import Array, is_floating, is_integer, namespace
from anyfw.core.errors import ConfigError, PlacementError, ShapeError
from anyfw.losses import checks
from anyfw.losses.base import Constant, Loss
from anyfw.ops import loss as ops
from anyfw.ops.softmax import softmax


class _Classes(Loss):
    def takes_labels(self, output_shape: Sequence[int], target: Array) -> bool:  # noqa: ARG002 - see HingeLoss
        """Integers are labels."""
        return is_integer(target)

    def expect_labels(self, y: Array, target: Array) -> None:
        """Check that target has one integer for each row of scores."""
        if not is_integer(target):
            raise PlacementError(
                f"{self.who}: expected integer class labels, got {target.dtype}. "
                "Cast them: backend.asarray(target, 'int64')."
            )
        if tuple(target.shape) != tuple(y.shape[:-1]):
            raise ShapeError(
                f"{self.who}: {checks.label_mismatch(tuple(y.shape[:-1]), tuple(target.shape), y.shape[-1])}"
            )

    def labels(self, y: Array) -> Array:
        """The class with the highest score."""
        return namespace(y).argmax(y, axis=-1)


class _Weighted(_Classes):
    def __init__(self, weight: str | Sequence[float] | None, *, reduction: str) -> None:
        super().__init__(reduction=reduction)
        self.weight: str | tuple[float, ...] | None = None
        self._constant: Constant | None = None
        if isinstance(weight, str):
            if weight != "balanced":
                raise ConfigError(f"{self.who}: expected weight None, 'balanced' or numbers, got {weight!r}.")
            self.weight = weight
        elif weight is not None:
            self.weight = checks.weights(self.who, "weight", weight)
            self._constant = Constant(self.weight)

    @property
    def wants_balance(self) -> bool:
        """Whether weight is "balanced" and not found yet."""
        return self.weight == "balanced"

    def balance(self, labels: Array, classes: int) -> None:
        """Where weight is "balanced", put rows / (classes * count of the class) in its place; else do nothing.

        Args:
            labels: those of all training rows, on the host.
            classes: how many there are.

        Raises:
            DataError: a class without rows, whose weight would be infinite.
        """
        if self.wants_balance:
            self.weight = tuple(checks.balanced(self.who, labels, classes))
            self._constant = Constant(self.weight)

    def class_weight(self, y: Array) -> Array | None:
        """The weights as an array beside y, shape (classes,); None where there are none."""
        if self.weight is None:
            return None
        if self._constant is None:
            raise ConfigError(
                f"{self.who}: weight='balanced' has no weights yet. Trainer.fit finds them from the training labels; "
                "without it, call loss.balance(labels, classes) first."
            )
        if len(self.weight) != y.shape[-1]:
            raise ConfigError(
                f"{self.who}: expected one weight for each of {y.shape[-1]} classes, got {len(self.weight)}."
            )
        return self._constant.like(y)

    def row_weight(self, weight: Array, target: Array) -> Array:
        """The weight of each row's class, in the shape of target."""
        xp = namespace(weight)
        flat = xp.reshape(xp.astype(target, xp.int64, copy=False), (-1,))
        return xp.reshape(xp.take(weight, flat, axis=0), tuple(target.shape))

    def weighted(self, y: Array, target: Array, losses: Array, dy: Array) -> tuple[Array, Array, Array | None]:
        """What `each` returns, given the losses and gradients of rows without class weights."""
        if self.weight is None:
            return losses, dy, None
        weight = self.class_weight(y)
        rows = self.row_weight(weight, target)
        dy *= namespace(y).expand_dims(rows, axis=-1)
        return losses * rows, dy, rows


class CrossEntropyLoss(_Weighted):
    """The cross-entropy of logits: l = -w_t log softmax(y)_t, or l = -sum_c w_c q_c log softmax(y)_c.

    Args:
        weight: w, one for each class; "balanced" = rows / (classes * count), found from the training labels.
        label_smoothing: s in [0, 1]: the target is mixed with the uniform distribution, q = (1 - s) t + s / classes.
        reduction: "mean" or "sum". In the mean, a row of an integer target counts with the weight of its class, a row
            of probabilities counts 1 (as in PyTorch).

    Shapes:
        y: (batch, ..., classes), logits, no Softmax before; target: (batch, ...), integers, or probabilities as y.

    Source: Szegedy et al., "Rethinking the Inception architecture", 2015, arXiv:1512.00567 (label smoothing).
    """

    def __init__(
        self,
        weight: str | Sequence[float] | None = None,
        *,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, reduction=reduction)
        if not (isinstance(label_smoothing, int | float) and 0 <= label_smoothing <= 1):
            raise ConfigError(f"{self.who}: expected label_smoothing between 0 and 1, got {label_smoothing!r}.")
        self.label_smoothing = float(label_smoothing)

    def expect(self, y: Array, target: Array) -> None:
        """Check that target holds labels or probabilities of y's rows."""
        self.expect_output(y)
        checks.enough_classes(self.who, tuple(y.shape))
        self.expect_place(y, "target", target)
        if not is_floating(target) or (tuple(target.shape) == tuple(y.shape[:-1])):
            return self.expect_labels(y, target)
        return super().expect(y, target)

    def each(self, y: Array, target: Array) -> tuple[Array, Array, Array | None]:
        """The cross-entropies of rows."""
        hard = is_integer(target)
        if hard and not self.label_smoothing:
            return self.weighted(y, target, *ops.cross_entropy(y, target))
        weight = self.class_weight(y)
        coefficients = ops.one_hot(ops.label_index(target), y) if hard else target
        if self.label_smoothing:
            coefficients = (1.0 - self.label_smoothing) * coefficients + self.label_smoothing / y.shape[-1]
        if weight is not None:
            coefficients = coefficients * weight
        rows = None if weight is None or not hard else self.row_weight(weight, target)
        return *ops.soft_cross_entropy(y, coefficients), rows

    def check_targets(self, shape: tuple[int, ...], target: Array, training: bool) -> None:
        """Labels of the outputs' classes, or rows of probabilities."""
        if is_floating(target) and tuple(target.shape) == shape:
            checks.enough_classes(self.who, shape)
            checks.distributions(self.who, target)
        else:
            checks.class_labels(self.who, shape, target, training)

    def probabilities(self, y: Array) -> Array:
        """The softmax of y."""
        return softmax(y, -1)


class NLLLoss(_Weighted):
    """The negative log-likelihood of log-probabilities: l = -w_t y_t. LogSoftmax before it is CrossEntropyLoss.

    Args:
        weight: w, one for each class; "balanced" = rows / (classes * count), found from the training labels.
        reduction: "mean", in which a row counts with the weight of its class, or "sum".

    Shapes:
        y: (batch, ..., classes), log-probabilities; target: (batch, ...), integers.
    """

    def __init__(self, weight: str | Sequence[float] | None = None, *, reduction: str = "mean") -> None:
        super().__init__(weight, reduction=reduction)

    def expect(self, y: Array, target: Array) -> None:
        """Check that target holds labels of y's rows."""
        self.expect_output(y)
        checks.enough_classes(self.who, tuple(y.shape))
        self.expect_place(y, "target", target)
        self.expect_labels(y, target)

    def each(self, y: Array, target: Array) -> tuple[Array, Array, Array | None]:
        """The negative log-likelihoods of rows."""
        return self.weighted(y, target, *ops.negative_log_likelihood(y, target))

    def check_targets(self, shape: tuple[int, ...], target: Array, training: bool) -> None:
        """Labels of the outputs' classes."""
        checks.class_labels(self.who, shape, target, training)

    def probabilities(self, y: Array) -> Array:
        """Exp y."""
        return namespace(y).exp(y)


class HingeLoss(_Classes):
    """The hinge loss of support vector machines, for two classes or many.

    Two: targets -1 or 1 in y's shape and dtype, l = max(0, margin - t y). Many: integer labels, one for each row,
    l = max(0, margin + max_{c != t} y_c - y_t).

    Args:
        margin: how far a score must be on the right side to cost nothing, above 0.
        reduction: "mean" or "sum".

    Shapes:
        two classes: y and target alike; many: y (batch, ..., classes), target (batch, ...).

    Source: Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines",
    JMLR 2, 2001.
    """

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = checks.number(self.who, "margin", margin)

    def takes_labels(self, output_shape: Sequence[int], target: Array) -> bool:
        """Integers are labels where there is one for each row of scores."""
        return is_integer(target) and len(target.shape) == len(output_shape) and output_shape[-1] > 1

    def expect(self, y: Array, target: Array) -> None:
        """Check that target holds labels of y's rows, or a -1 or 1 for each of y."""
        self.expect_output(y)
        self.expect_place(y, "target", target)
        if self.takes_labels(tuple(y.shape[1:]), target):
            self.expect_labels(y, target)
        else:
            super().expect(y, target)

    def each(self, y: Array, target: Array) -> tuple[Array, Array, None]:
        """The hinge losses of elements or rows."""
        op = ops.hinge if target.ndim == y.ndim else ops.multiclass_hinge
        return *op(y, target, self.margin), None

    def check_targets(self, shape: tuple[int, ...], target: Array, training: bool) -> None:
        """Labels of the outputs' classes, or -1 and 1 in the outputs' shape."""
        if len(target.shape) == len(shape) - 1 and shape[-1] > 1:
            checks.class_labels(self.who, shape, target, training)
        else:
            checks.same_shape(self.who, shape, target)
            checks.binary(self.who, target, -1, training)

    def labels(self, y: Array) -> Array:
        """As the targets: with one output, 1 where it is positive, else -1; with many, the highest score's class."""
        if y.ndim > 1 and y.shape[-1] > 1:
            return super().labels(y)
        xp = namespace(y)
        return 2 * xp.astype(y > 0, xp.int64) - 1
