"""Metrics of classes: what was decided, against what is true."""

from anyfw.core.arrays import Array, is_integer, namespace
from anyfw.core.errors import ConfigError, ShapeError, UnknownNameError
from anyfw.metrics.base import Metric, expect_labels, is_binary, sum_dtype, weighted_sums
from anyfw.ops.linear import product


class _Decided(Metric):
    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = float(threshold)

    def decide(self, y: Array, target: Array, sample_weight: Array | None) -> tuple[Array, Array, Array, int]:
        """(predicted label, true label, weight, classes): flat, int64 and the sums' dtype."""
        self.expect(y, target=target, sample_weight=sample_weight)
        xp = namespace(y)
        if is_binary(self, y, target):
            # One half parts 0 and 1 as it parts -1 and 1.
            predicted, true, classes = xp.astype(y > self.threshold, xp.int64), xp.astype(target, y.dtype) > 0.5, 2
        else:
            true = target if is_integer(target) else xp.argmax(target, axis=-1)
            predicted, classes = xp.argmax(y, axis=-1), y.shape[-1]
        weight = self.weights(sample_weight, y, tuple(true.shape))
        return xp.reshape(predicted, (-1,)), xp.reshape(xp.astype(true, xp.int64), (-1,)), weight, classes


class Accuracy(_Decided):
    """The share of rows that were classified rightly.

    Args:
        threshold: with one output, class 1 is decided above it: 0 for logits, .5 for probabilities.

    Shapes:
        y: (batch, ..., classes), with target (batch, ...) of labels or probabilities as y (a row of several floats
        is one distribution over classes, not several yes and no); or one output, (batch,) or (batch, 1), with target
        alike, 0 and 1 or -1 and 1.
    """

    name = "accuracy"
    higher_is_better = True
    sums = ("right", "weight")

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Count the rows that are right."""
        predicted, true, weight, _ = self.decide(y, target, sample_weight)
        xp = namespace(y)
        self.add(right=xp.sum(weight * xp.astype(predicted == true, weight.dtype)), weight=xp.sum(weight))

    def compute(self) -> float:
        """The weighted mean."""
        return self.ratio(*self.read("right", "weight"))


class ZeroOne(_Decided):
    """The share of rows that were classified wrongly: the 0-1 loss.

    Args:
        threshold: as Accuracy's.

    Shapes:
        as Accuracy's.
    """

    name = "zero_one"
    higher_is_better = False
    sums = ("wrong", "weight")

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Count the rows that are wrong."""
        predicted, true, weight, _ = self.decide(y, target, sample_weight)
        xp = namespace(y)
        self.add(wrong=xp.sum(weight * xp.astype(predicted != true, weight.dtype)), weight=xp.sum(weight))

    def compute(self) -> float:
        """The weighted mean."""
        return self.ratio(*self.read("wrong", "weight"))


class TopK(Metric):
    """The share of rows whose class is among the k highest scores; of equal scores, the higher label comes first.

    Args:
        k: at least 1.

    Shapes:
        y: (batch, ..., classes); target: (batch, ...), integer labels.
    """

    higher_is_better = True
    sums = ("right", "weight")

    def __init__(self, k: int = 5) -> None:
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise ConfigError(f"TopK: expected k as a whole number of at least 1, got {k!r}.")
        self.k = k
        self.name = f"top_{k}"

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Count the rows whose class has less than k rivals before it."""
        self.expect(y, target=target, sample_weight=sample_weight)
        expect_labels(self, y, target)
        xp = namespace(y)
        scores = xp.reshape(y, (-1, y.shape[-1]))
        label = xp.expand_dims(xp.reshape(xp.astype(target, xp.int64, copy=False), (-1,)), axis=-1)
        classes = xp.arange(y.shape[-1], dtype=label.dtype, device=y.device)
        own = xp.take_along_axis(scores, label, axis=-1)
        # No sort. "Not <=" counts NaN as a rival, so that a diverged net is not right by accident.
        before = ~(scores <= own) | ((scores == own) & (classes > label))
        rank = xp.sum(xp.astype(before, xp.int64), axis=-1)
        weight = self.weights(sample_weight, y, tuple(target.shape))
        self.add(right=xp.sum(weight * xp.astype(rank < self.k, weight.dtype)), weight=xp.sum(weight))

    def compute(self) -> float:
        """The weighted mean."""
        return self.ratio(*self.read("right", "weight"))


class ConfusionMatrix(_Decided):
    """How much weight of each true class (row) was decided as each class (column).

    Args:
        classes: how many; read from the outputs if None.
        threshold: as Accuracy's.

    Shapes:
        as Accuracy's; the result: (classes, classes).
    """

    name = "confusion_matrix"
    higher_is_better = None
    sums = ("matrix",)

    def __init__(self, classes: int | None = None, *, threshold: float = 0.0) -> None:
        super().__init__(threshold)
        if classes is not None and (not isinstance(classes, int) or isinstance(classes, bool) or classes < 2):
            raise ConfigError(f"{self.who}: expected at least two classes, got {classes!r}.")
        self.classes = classes

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Count pairs, as the product of two one-hot matrices."""
        predicted, true, weight, classes = self.decide(y, target, sample_weight)
        if self.classes not in (None, classes):
            raise ShapeError(f"{self.who}: expected outputs of {self.classes} classes, got {classes}.")
        columns = _one_hot(predicted, classes, y)
        columns *= namespace(y).expand_dims(weight, axis=-1)
        self.add(matrix=product(_one_hot(true, classes, y).T, columns))

    def compute(self) -> list[list[float]]:
        """The matrix, by rows."""
        (matrix,) = self.read("matrix")
        rows: list[list[float]] = matrix
        return rows


class _PerClass(_Decided):
    sums = ("right", "predicted", "true")

    def __init__(self, average: str | None = "macro", *, threshold: float = 0.0) -> None:
        super().__init__(threshold)
        if average not in ("macro", "binary", None):
            raise UnknownNameError("average", average, ("macro", "binary", "None"))
        self.average = average

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Count, for each class, rows that are right, that were decided as it, and that are of it."""
        predicted, true, weight, classes = self.decide(y, target, sample_weight)
        if self.average == "binary" and classes != 2:
            raise ShapeError(f"{self.who}: average='binary' needs two classes, got {classes}. Use 'macro' or None.")
        xp = namespace(y)
        decided, actual = _one_hot(predicted, classes, y), _one_hot(true, classes, y)
        right = weight * xp.astype(predicted == true, weight.dtype)
        self.add(
            right=weighted_sums(right, actual),
            predicted=weighted_sums(weight, decided),
            true=weighted_sums(weight, actual),
        )

    def compute(self) -> float | list[float]:
        """One number for each class, or their mean over the classes that occur."""
        right, predicted, true = self.read("right", "predicted", "true")
        self.ratio(0.0, sum(true))
        scores = [self.score(*counts) for counts in zip(right, predicted, true, strict=True)]
        if self.average is None:
            return scores
        if self.average == "binary":
            return scores[1]
        occurring = [s for s, p, t in zip(scores, predicted, true, strict=True) if p or t]
        return sum(occurring) / len(occurring)

    def score(self, right: float, predicted: float, true: float) -> float:
        """The measure of one class."""
        raise NotImplementedError


class Precision(_PerClass):
    """Of the rows decided as a class, the share that is of it; 0 where there are none.

    Args:
        average: "macro", the mean over the classes that are true or decided somewhere; None, a list with one number
            for each class; "binary", that of class 1 of two.
        threshold: as Accuracy's.

    Shapes:
        as Accuracy's.
    """

    name = "precision"
    higher_is_better = True

    def score(self, right: float, predicted: float, true: float) -> float:  # noqa: ARG002
        """Right by predicted."""
        return right / predicted if predicted else 0.0


class Recall(_PerClass):
    """Of the rows of a class, the share that was decided as it; 0 where there are none.

    Args:
        average, threshold: as Precision's.

    Shapes:
        as Accuracy's.
    """

    name = "recall"
    higher_is_better = True

    def score(self, right: float, predicted: float, true: float) -> float:  # noqa: ARG002
        """Right by true."""
        return right / true if true else 0.0


class F1(_PerClass):
    """The harmonic mean of precision and recall; 0 where both are.

    Args:
        average, threshold: as Precision's.

    Shapes:
        as Accuracy's.
    """

    name = "f1"
    higher_is_better = True

    def score(self, right: float, predicted: float, true: float) -> float:
        """Twice right by predicted and true."""
        return 2.0 * right / (predicted + true) if predicted + true else 0.0


def _one_hot(label: Array, classes: int, y: Array) -> Array:
    xp = namespace(y)
    return xp.astype(
        xp.arange(classes, dtype=label.dtype, device=label.device) == xp.expand_dims(label, axis=-1), sum_dtype(y)
    )
