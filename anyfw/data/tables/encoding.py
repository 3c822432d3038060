"""Raw rows as a net takes them: numbers, indicators and codes; and targets as labels or numbers."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import ConfigError, DataError
from anyfw.data.base import HostArray
from anyfw.data.tables.columns import Category, Columns, Number
from anyfw.data.tables.frames import Frame, Frames, Series, open_frames, polars
from anyfw.data.tables.values import canonical, numbers, texts, unusable
from anyfw.data.tables.wishes import listed

_log = logging.getLogger("anyfw")


class Encoder:
    """Encodes frames of one table and counts what was not as in training.

    Args:
        columns: what was learnt.
        names: the columns of the table.
        where: the table, for messages.
        dtype: of encoded rows.

    Raises:
        DataError: columns are missing.
        ConfigError: as `check_float`.
    """

    def __init__(self, columns: Columns, names: list[str], where: str, dtype: str) -> None:
        check_float(dtype)
        columns.check_names(names, where)
        self.columns, self.where, self.dtype = columns, where, dtype
        self.extra = columns.unknown(names)
        self.rows = 0
        self.missing: dict[str, int] = {}
        self.unknown: dict[str, tuple[int, str]] = {}

    def x(self, frame: Frame, rows: Series | None = None) -> HostArray:
        """Encoded rows.

        Args:
            frame: raw rows.
            rows: their numbers in the table, for messages; by default they count on from the frame before.

        Shapes:
            returns (rows, features).

        Raises:
            DataError: values that are no numbers, or beyond the dtype, where numbers were in training.
        """
        if rows is None:
            rows = polars().Series("row", np.arange(self.rows, self.rows + len(frame)))
        self.rows += len(frame)
        self._check_kinds(frame)
        values = [self._standardised(number, frame[number.name], rows) for number in self.columns.numbers]
        indicators = [np.isnan(value) for value, one in zip(values, self.columns.numbers, strict=True) if one.indicator]
        codes = [self._codes(category, frame[category.name]) for category in self.columns.categories]
        x = np.empty((len(frame), self.columns.features), dtype=self.dtype)
        for i, column in enumerate([*(np.nan_to_num(value, nan=0.0) for value in values), *indicators, *codes]):
            x[:, i] = column
        return x

    def y(self, frame: Frame, rows: Series) -> HostArray:
        """The targets of rows that all have one.

        Shapes:
            returns int64 labels (rows,), or float64 (rows, 1) for a regression.

        Raises:
            DataError: classes that were not there in training, or values that are no numbers.
        """
        target, column = self.columns.target, frame[self.columns.target.name]
        if target.class_names is None:
            value = self._numbers(target, column, rows)
            floats: HostArray = value.to_numpy().reshape(-1, 1)
            return floats
        labels = {name: i for i, name in enumerate(target.class_names)}
        text = texts(column, self.columns.missing)
        values = text.unique().to_list()
        unknown = sorted(value for value in values if canonical(value) not in labels)
        if unknown:
            raise DataError(
                f"{self.where}: expected in '{target.name}' the classes that the net knows "
                f"({listed(list(target.class_names))}), got {unknown[0]!r}."
            )
        codes = [labels[canonical(value)] for value in values]
        label = text.replace_strict(values, codes, return_dtype=polars().Int64)
        return np.asarray(label.to_numpy())

    def notes(self) -> Iterator[str]:
        """What was not as in training, as lines for the user."""
        if self.extra:
            yield f"{self.where}: columns that the net does not know are left alone: {listed(self.extra)}"
        for name, count in self.missing.items():
            yield f"'{name}': {_counted(count, 'value is', 'values are')} missing, and none was in training"
        for name, (count, example) in self.unknown.items():
            yield f"'{name}': {_counted(count, 'value was', 'values were')} rare or absent in training, as {example!r}"

    def _check_kinds(self, frame: Frame) -> None:
        for name in self.columns.used:
            what = unusable(frame[name])
            if what is not None:
                raise DataError(
                    f"{self.where}: column '{name}': expected numbers or texts, as in training, got {what}."
                )

    def _standardised(self, number: Number, column: Series, rows: Series) -> NDArray[np.float64]:
        value = self._numbers(number, column, rows)
        absent = value.null_count()
        if absent and not number.indicator:
            self.missing[number.name] = self.missing.get(number.name, 0) + absent
        raw = value.to_numpy()  # null is NaN
        scaled: NDArray[np.float64] = (raw - number.mean) / number.deviation
        far = np.abs(scaled) > float(np.finfo(np.float32).max)
        if far.any():
            i = int(np.argmax(far))
            raise DataError(
                f"{self.where}: column '{number.name}': expected finite numbers near {number.mean:.4g}, as in "
                f"training, got {raw[i]} in row {rows[i]}."
            )
        return scaled

    def _numbers(self, one: Any, column: Series, rows: Series) -> Series:
        value = numbers(column, self.columns.missing, one.written)
        odd = (texts(column, self.columns.missing).is_not_null() & value.is_null()).arg_true()
        if len(odd):
            raise DataError(
                f"{self.where}: column '{one.name}': expected numbers, as in training, got "
                f"{str(column[odd[0]])[:30]!r} in row {rows[odd[0]]}."
            )
        if value.null_count() == len(value):
            return value.cast(polars().Float64)
        return value

    def _codes(self, category: Category, column: Series) -> HostArray:
        pl = polars()
        codes = {value: code for code, value in enumerate(category.values)}
        text = texts(column, self.columns.missing)
        counted = pl.DataFrame({"value": text.drop_nulls()}).group_by("value").len()
        values, counts = counted["value"].to_list(), counted["len"].to_list()
        found = [codes.get(canonical(value), category.other) for value in values]
        others = [
            (value, count) for value, code, count in zip(values, found, counts, strict=True) if code == category.other
        ]
        if others:
            count, example = self.unknown.get(category.name, (0, min(others)[0]))
            self.unknown[category.name] = count + sum(count for _, count in others), example
        absent = text.null_count()
        if absent and not category.missing:
            self.missing[category.name] = self.missing.get(category.name, 0) + absent
        code = text.replace_strict(values, found, default=category.absent, return_dtype=pl.Float64)
        return np.asarray(code.to_numpy())


def check_float(dtype: str) -> None:
    """Refuse a dtype that encoded rows cannot have.

    Raises:
        ConfigError: neither float32 nor float64.
    """
    if dtype not in ("float32", "float64"):
        raise ConfigError(f"dtype of encoded rows: expected 'float32' or 'float64', got {dtype!r}.")


def encode_all(columns: Columns, rows: Any, dtype: str) -> HostArray:
    """As `Columns.encode`."""
    frames = open_frames(rows)
    parts = list(encoded(columns, frames, dtype))
    if not parts:
        raise DataError(f"{frames.name}: expected at least one row, got none.")
    return np.concatenate(parts)


def encoded(columns: Columns, frames: Frames, dtype: str) -> Iterator[HostArray]:
    """Encoded rows frame by frame, whether they have a target or not; what was odd is told at the end."""
    encoder = Encoder(columns, frames.names, frames.name, dtype)
    for frame in frames:
        if len(frame):
            yield encoder.x(frame)
    for line in encoder.notes():
        _log.info("%s", line)


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"
