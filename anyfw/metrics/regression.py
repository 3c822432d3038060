"""Metrics of numbers against numbers; of several outputs, the mean of each one's measure."""

from math import prod, sqrt

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import DataError
from anyfw.metrics.base import Metric, sum_dtype, weighted_sums


class _Numbers(Metric):
    def columns(self, y: Array, target: Array, sample_weight: Array | None) -> tuple[Array, Array, Array]:
        """(y, target, weight) in the sums' dtype; shapes (rows, outputs), the same, and (rows,)."""
        self.expect(y, target=target, sample_weight=sample_weight)
        self.expect_same_shape(y, target)
        xp, dtype, shape = namespace(y), sum_dtype(y), (y.shape[0], prod(y.shape[1:]))
        weight = self.weights(sample_weight, y, (y.shape[0],))
        return xp.reshape(xp.astype(y, dtype), shape), xp.reshape(xp.astype(target, dtype), shape), weight


class MAE(_Numbers):
    """The mean absolute error. Shapes: y and target alike, (batch, ...)."""

    name = "mae"
    higher_is_better = False
    sums = ("error", "weight")

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Sum the absolute errors of each output."""
        y, target, weight = self.columns(y, target, sample_weight)
        xp = namespace(y)
        self.add(error=weighted_sums(weight, xp.abs(y - target)), weight=xp.sum(weight))

    def compute(self) -> float:
        """The weighted mean."""
        errors, weight = self.read("error", "weight")
        return self.ratio(sum(errors) / len(errors), weight)


class RMSE(_Numbers):
    """The root of the mean squared error. Shapes: y and target alike, (batch, ...)."""

    name = "rmse"
    higher_is_better = False
    sums = ("error", "weight")

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Sum the squared errors of each output."""
        y, target, weight = self.columns(y, target, sample_weight)
        xp = namespace(y)
        error = y - target
        self.add(error=weighted_sums(weight, error * error), weight=xp.sum(weight))

    def compute(self) -> float:
        """The root for each output, then their mean."""
        errors, weight = self.read("error", "weight")
        return sum(sqrt(self.ratio(error, weight)) for error in errors) / len(errors)


class R2(_Numbers):
    """The coefficient of determination: 1 - sum (y - t)^2 / sum (t - mean t)^2.

    Where all targets are the same number it is 1 for exact outputs and 0 for any others.

    Shapes:
        y and target alike, (batch, ...), at least two rows in all.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """

    name = "r2"
    higher_is_better = True
    sums = ("error", "mean", "spread", "weight", "rows")

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Join this batch's mean and spread of targets with those so far."""
        y, target, weight = self.columns(y, target, sample_weight)
        xp = namespace(y)
        total = xp.sum(weight)
        mean = weighted_sums(weight, target) / _nonzero(total)
        off, error = target - mean, y - target
        spread = weighted_sums(weight, off * off)
        rows = xp.full((), float(y.shape[0]), dtype=y.dtype, device=y.device)
        if self._state:
            # Sums of squares minus squared sums would cancel: the spreads add, and the distance of the means.
            before = self._state
            both = _nonzero(before["weight"] + total)
            step = mean - before["mean"]
            spread = spread + step * step * (before["weight"] * total / both)
            mean = step * (total / both)
        self.add(error=weighted_sums(weight, error * error), mean=mean, spread=spread, weight=total, rows=rows)

    def compute(self) -> float:
        """That of each output, then their mean."""
        errors, spreads, weight, rows = self.read("error", "spread", "weight", "rows")
        self.ratio(0.0, weight)
        if rows < 2:
            raise DataError(f"{self.who}: expected at least two rows, got one.")
        scores = [1.0 - e / s if s else float(e == 0) for e, s in zip(errors, spreads, strict=True)]
        return sum(scores) / len(scores)


def _nonzero(weight: Array) -> Array:
    # Rows without any weight: their mean does not matter, but it must not be NaN.
    return namespace(weight).where(weight == 0, 1.0, weight)
