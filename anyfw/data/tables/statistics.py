"""Pass two: means, deviations and categories of the training rows, frame by frame with bounded memory."""

import math
from collections.abc import Sequence

import numpy as np

from anyfw.core.errors import DataError
from anyfw.data.tables.columns import Category, Number, Written
from anyfw.data.tables.frames import Series, polars
from anyfw.data.tables.values import canonical, numbers, texts

# Up to so many codes are one-hot; more become vectors, as long as the square root of their number, up to the longest.
ONE_HOT, LONGEST = 16, 32
# Categories with a code of their own, at most.
MOST = 1000
# Rarer than this, in rows, and than one row in a hundred, shares a code.
_RARE = 5
# Different values that are counted at a time; when there are more, those seen once are forgotten.
_COUNTED = 100_000


class NumberStatistics:
    """Mean and deviation of a column of numbers, in float64.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm", 1979, for the merging of frames.
    """

    def __init__(self, name: str, written: Written, missing: Sequence[str]) -> None:
        self.name, self.written, self.missing = name, written, missing
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.absent = 0

    def add(self, column: Series) -> None:
        """Count the values of some training rows."""
        values = numbers(column, self.missing, self.written).drop_nulls().to_numpy()
        self.absent += len(column) - len(values)
        if not len(values):
            return
        with np.errstate(over="ignore", invalid="ignore"):  # `column` refuses what overflows
            mean = float(values.mean())
            squares = float(((values - mean) ** 2).sum())
        total = self.count + len(values)
        apart = mean - self.mean
        self.squares += squares + apart * apart * self.count * len(values) / total
        self.mean += apart * len(values) / total
        self.count = total

    def column(self) -> Number:
        """What was learnt.

        Raises:
            DataError: values so large, or so close together, that float64 cannot hold their variance.
        """
        deviation = math.sqrt(self.squares / self.count) if self.count else 0.0
        if not (math.isfinite(self.mean) and math.isfinite(deviation)):
            raise DataError(
                f"Column '{self.name}': expected values of which float64 can hold the variance, got values too large. "
                "Change their unit."
            )
        # Rounding leaves equal values a deviation of a few last bits.
        alike = deviation <= 1e-14 * abs(self.mean) or deviation < 1e-150
        return Number(self.name, self.mean, 1.0 if alike else deviation, self.written, indicator=self.absent > 0)


class CategoryStatistics:
    """How often each value of a column of categories occurs."""

    def __init__(self, name: str, missing: Sequence[str]) -> None:
        self.name, self.missing = name, missing
        self.counts: dict[str, int] = {}
        self.rows = self.absent = 0
        self.forgotten = False

    def add(self, column: Series) -> None:
        """Count the values of some training rows."""
        pl = polars()
        text = texts(column, self.missing)
        self.rows += len(text)
        self.absent += text.null_count()
        for value, count in pl.DataFrame({"value": text.drop_nulls()}).group_by("value").len().iter_rows():
            one = canonical(value)
            self.counts[one] = self.counts.get(one, 0) + count
        if len(self.counts) > _COUNTED:
            self.counts = {value: count for value, count in self.counts.items() if count > 1}
            self.forgotten = True

    def column(self) -> Category:
        """What was learnt: the frequent values by their frequency, and whether there were others."""
        rare = min(_RARE, max(1, self.rows // 100))
        frequent = [(-count, value) for value, count in self.counts.items() if count >= rare]
        values = tuple(value for _, value in sorted(frequent)[:MOST])
        pooled = self.forgotten or len(values) < len(self.counts)
        made = Category(self.name, values, 0, pooled, missing=self.absent > 0)
        width = 0 if made.count <= ONE_HOT else min(LONGEST, math.isqrt(made.count))
        return Category(self.name, values, width, pooled, missing=self.absent > 0)
