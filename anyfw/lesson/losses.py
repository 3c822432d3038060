"""The lesson's losses: one number by `forward(p, y)`, its gradient by p by `backward`."""

import math
from abc import abstractmethod
from typing import Any

import numpy as np

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import BackwardError, DataError, ShapeError
from anyfw.data.labels import check_label_range
from anyfw.lesson.placed import Placed
from anyfw.ops import loss as ops


class Loss(Placed):
    """A mean over the rows, and its gradient; backward belongs to the last forward."""

    def __init__(self) -> None:
        super().__init__()
        self._gradient: Array | None = None
        self._to_host = False

    def forward(self, p: Any, y: Any) -> Any:
        """The loss: a number for NumPy p, a 0-d array of the backend for one of its arrays.

        Raises:
            ShapeError: p and y do not fit.
            DataError: no rows, labels out of range.
        """
        p, host = self.take(p, "p")
        y = self.take_target(y)
        self.check(p, y, rows=p.shape[0] if p.ndim else 0)
        value = self.compute(p, y)
        self._to_host = host
        return float(self.backend.to_numpy(value)) if host else value

    def backward(self, loss: Any = None) -> Array:  # noqa: ARG002 - the lesson hands the loss on
        """dl/dp of the last forward; the loss itself, as the lesson hands it over, is not needed.

        Raises:
            BackwardError: there was no forward.
        """
        if self._gradient is None:
            raise BackwardError(f"{type(self).__name__}: backward without a forward before it.")
        return self.give(self._gradient, self._to_host)

    def compute(self, p: Array, y: Array) -> Array:
        """As `forward`, on arrays of the backend that were checked: nothing waits for the device."""
        value, self._gradient = self._value_and_gradient(p, y)
        self._to_host = False
        return value

    @abstractmethod
    def check(self, p: Array, y: Array, rows: int) -> None:
        """Refuse targets of `rows` rows that do not fit predictions like p (whose rows may be fewer)."""

    @abstractmethod
    def accuracy(self, p: Array, y: Array) -> float | None:
        """The share of rows that are classified correctly; None for a regression."""

    @abstractmethod
    def _value_and_gradient(self, p: Array, y: Array) -> tuple[Array, Array]: ...

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _OfLabels(Loss):
    """Predictions (rows, classes), labels (rows,) in 0 ... classes-1."""

    def check(self, p: Array, y: Array, rows: int) -> None:
        """One row of probabilities and one label for each row."""
        if p.ndim != 2 or p.shape[1] < 2:
            raise ShapeError(
                f"{self!r}: expected p of shape (rows, classes) with at least two classes, got {tuple(p.shape)}."
            )
        _expect_rows(self, y, rows)
        check_label_range(self.backend.to_numpy(y), int(p.shape[1]))

    def accuracy(self, p: Array, y: Array) -> float:
        """The share of rows whose largest p is at the label."""
        return _share(self, namespace(p).argmax(p, axis=1), y)


class CrossEntropyLoss(_OfLabels):
    """l = -mean log p[y], on probabilities, as `Softmax` gives them; p is not clipped: p[y] = 0 gives infinity.

    Shapes:
        p: (rows, classes); y: (rows,), integers; backward: (rows, classes), -1 / (rows p) at the label, else 0.
    """

    def check(self, p: Array, y: Array, rows: int) -> None:
        """No probability is negative."""
        super().check(p, y, rows)
        xp = namespace(p)
        if bool(xp.any(p < 0)):
            raise DataError(f"{self!r}: expected probabilities, got negative numbers. Is net.add(Softmax()) missing?")

    def _value_and_gradient(self, p: Array, y: Array) -> tuple[Array, Array]:
        xp = namespace(p)
        index = ops.label_index(y)
        p_of_y = xp.take_along_axis(p, index, axis=1)
        at_label = ops.class_range(index, p.shape[1]) == index
        return -xp.mean(xp.log(p_of_y)), xp.where(at_label, -1.0 / (p.shape[0] * p_of_y), 0.0)


class ZeroOneLoss(_OfLabels):
    """l = the share of rows whose largest p is not at the label: what one wants, and cannot descend.

    Shapes:
        p: (rows, classes); y: (rows,), integers.
    """

    def _value_and_gradient(self, p: Array, y: Array) -> tuple[Array, Array]:
        xp = namespace(p)
        wrong = xp.astype(xp.argmax(p, axis=1) != xp.astype(y, xp.int64), p.dtype)
        return xp.mean(wrong), xp.zeros_like(p)

    def backward(self, loss: Any = None) -> Array:  # noqa: ARG002 - as above
        """There is none: the loss is flat wherever it does not jump.

        Raises:
            BackwardError: always.
        """
        raise BackwardError(
            "ZeroOneLoss has no useful gradient: it is 0 almost everywhere. Train with CrossEntropyLoss."
        )


class LogisticLoss(Loss):
    """l = mean of log(1 + exp(-f)) where y is 1 and log(1 + exp(f)) where y is 0, on scores f before any sigmoid.

    It is -y log s(f) - (1 - y) log(1 - s(f)) with s the sigmoid, without overflow.

    Shapes:
        p (the scores): (rows,) or (rows, 1); y: as p or (rows,), labels 0 and 1.
    """

    def check(self, p: Array, y: Array, rows: int) -> None:
        """One score and one label for each row."""
        if p.ndim not in (1, 2) or (p.ndim == 2 and p.shape[1] != 1):
            raise ShapeError(f"{self!r}: expected scores of shape (rows,) or (rows, 1), got {tuple(p.shape)}.")
        labels = self.backend.to_numpy(y)
        if labels.ndim == 2 and labels.shape[1] == 1 and p.ndim == 2:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise ShapeError(f"{self!r}: expected y of shape (rows,), got {tuple(y.shape)}.")
        _expect_rows(self, y, rows)
        wrong = ~np.isin(labels, (0, 1))
        if wrong.any():
            raise DataError(f"{self!r}: expected labels 0 and 1, got {labels[wrong][0]} at row {int(wrong.argmax())}.")

    def accuracy(self, p: Array, y: Array) -> float:
        """The share of rows whose score is positive just where the label is 1."""
        xp = namespace(p)
        flat = xp.reshape(p, (-1,)) > 0
        return _share(self, xp.astype(flat, xp.int64), xp.reshape(y, (-1,)))

    def _value_and_gradient(self, p: Array, y: Array) -> tuple[Array, Array]:
        xp = namespace(p)
        target = xp.reshape(xp.astype(y, p.dtype), p.shape)
        losses, dy = ops.binary_cross_entropy_with_logits(p, target)
        return xp.mean(losses), dy / p.shape[0]


class _OfValues(Loss):
    """Predictions and targets of one shape; the mean is over all numbers."""

    def check(self, p: Array, y: Array, rows: int) -> None:
        """Targets of the predictions' shape: nothing is broadcast."""
        expected = (rows, *p.shape[1:])
        if rows == 0 or p.ndim == 0 or tuple(y.shape) != expected:
            hint = " Use y.reshape(-1, 1)." if tuple(y.shape) == (rows,) and expected == (rows, 1) and rows else ""
            raise ShapeError(f"{self!r}: expected y of the shape of p, {expected}, got {tuple(y.shape)}.{hint}")
        xp = namespace(y)
        if xp.isdtype(y.dtype, "real floating") and not bool(xp.all(xp.isfinite(y))):
            raise DataError(f"{self!r}: y holds NaN or infinity. Remove those rows first.")

    def accuracy(self, p: Array, y: Array) -> None:  # noqa: ARG002 - one signature for all
        """None: a regression has none."""
        return

    def _value_and_gradient(self, p: Array, y: Array) -> tuple[Array, Array]:
        xp = namespace(p)
        losses, dy = self._elementwise(p, xp.astype(y, p.dtype))
        return xp.mean(losses), dy / math.prod(p.shape)

    @staticmethod
    @abstractmethod
    def _elementwise(p: Array, y: Array) -> tuple[Array, Array]: ...


class AbsoluteLoss(_OfValues):
    """l = mean |p - y|; dl/dp = sign(p - y) / n over all n numbers, 0 where they are equal. Shapes: p and y alike."""

    @staticmethod
    def _elementwise(p: Array, y: Array) -> tuple[Array, Array]:
        found: tuple[Array, Array] = ops.absolute_error(p, y)
        return found


class SquaredLoss(_OfValues):
    """l = mean (p - y)^2; dl/dp = 2 (p - y) / n over all n numbers. Shapes: p and y alike."""

    @staticmethod
    def _elementwise(p: Array, y: Array) -> tuple[Array, Array]:
        found: tuple[Array, Array] = ops.squared_error(p, y)
        return found


def _expect_rows(loss: Loss, y: Array, rows: int) -> None:
    if y.ndim == 0 or y.shape[0] != rows or rows == 0:
        count = 0 if y.ndim == 0 else y.shape[0]
        raise DataError(f"{loss!r}: expected one label for each of {rows} rows, and at least one row, got {count}.")


def _share(loss: Loss, found: Array, labels: Array) -> float:
    xp = namespace(found)
    hits = xp.astype(found == xp.astype(labels, found.dtype), loss.backend.dtype(loss.dtype))
    return float(loss.backend.to_numpy(xp.mean(hits)))
