"""From a table to its `Columns`: one pass tells what each column is, a second one takes the statistics."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import DataError
from anyfw.data.tables.columns import Category, Columns, Number
from anyfw.data.tables.frames import Frame, Frames, Series, polars
from anyfw.data.tables.kinds import MOST_CLASSES, input_kind
from anyfw.data.tables.kinds import target as target_kind
from anyfw.data.tables.statistics import CategoryStatistics, NumberStatistics
from anyfw.data.tables.survey import Survey
from anyfw.data.tables.values import canonical, texts
from anyfw.data.tables.wishes import Wishes

Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]


def survey(frames: Frames, wishes: Wishes) -> "Surveyed":
    """Pass one: what each column is, and what is to be predicted.

    Raises:
        DataError: columns that are not there or cannot be learnt from, or no rows.
    """
    wishes.check_names(frames.names, frames.name)
    inputs = [name for name in frames.names if name != wishes.target and name not in wishes.drop]
    if not inputs:
        raise DataError(f"{frames.name}: expected columns to learn from, got none besides the target.")
    return Surveyed(frames, wishes, inputs)


def fit(frames: Frames, surveyed: "Surveyed", training: Mask | None = None) -> Columns:
    """Pass two: means, deviations and categories of the training rows.

    Args:
        frames: the table.
        surveyed: what the first pass told.
        training: which of the rows with a target are for training; by default all.

    Raises:
        DataError: numbers whose variance float64 cannot hold.
    """
    kinds, target, missing = surveyed.kinds, surveyed.target, tuple(surveyed.wishes.missing)
    statistics: dict[str, NumberStatistics | CategoryStatistics] = {}
    for name, kind in kinds.items():
        if kind.kind == "number":
            statistics[name] = NumberStatistics(name, kind.written, missing)
        elif kind.kind == "category":
            statistics[name] = CategoryStatistics(name, missing)
    start = 0
    for frame, _ in labelled(frames, target.name, missing):
        stop = start + len(frame)
        rows = (
            frame if training is None else frame.filter(polars().Series(training[start:stop], dtype=polars().Boolean))
        )
        start = stop
        for name, one in statistics.items():
            one.add(rows[name])
    learnt = [one.column() for one in statistics.values()]
    return Columns(
        tuple(one for one in learnt if isinstance(one, Number)),
        tuple(one for one in learnt if isinstance(one, Category)),
        target,
        missing,
        tuple(name for name in frames.names if name not in statistics and name != target.name),
    )


def labelled(frames: Frames, target: str, missing: tuple[str, ...]) -> Iterator[tuple[Frame, Series]]:
    """Each frame's rows that have a target, with their numbers in the table, from 0."""
    pl, start = polars(), 0
    for frame in frames:
        rows = pl.Series("row", np.arange(start, start + len(frame)))
        start += len(frame)
        there = texts(frame[target], missing).is_not_null()
        yield (frame, rows) if there.all() else (frame.filter(there), rows.filter(there))


class Surveyed:
    """What the first pass told of a table.

    Attributes:
        wishes: what the user said of it.
        inputs: a survey of each column but the target and those to be dropped, by name.
        answers: that of the target.
        kinds: what each column of inputs is.
        target: what is to be predicted.
        rows: how many have a target.
        without_target: how many have none.
    """

    def __init__(self, frames: Frames, wishes: Wishes, inputs: list[str]) -> None:
        missing = tuple(wishes.missing)
        self.wishes = wishes
        self.answers = Survey(wishes.target, missing)
        self.inputs = {name: Survey(name, missing) for name in inputs}
        self.without_target = 0
        self._codes: dict[str, int] = {}
        self._labels: list[NDArray[np.int32]] | None = []  # None: too many to be classes
        rows = 0
        for frame in frames:
            rows += len(frame)
            self._add(frame, rows - len(frame), missing)
        if rows == 0:
            raise DataError(f"{frames.name}: expected rows below the header, got none.")
        self.rows = self.answers.values
        self.target = target_kind(self.answers, wishes, frames.name)
        self.kinds = {name: input_kind(one, wishes, frames.name) for name, one in self.inputs.items()}
        if all(kind.kind == "left out" for kind in self.kinds.values()):
            why = "; ".join(f"'{name}' ({kind.why})" for name, kind in list(self.kinds.items())[:5])
            raise DataError(f"{frames.name}: expected columns to learn from, and all are left out: {why}.")

    def labels(self) -> Labels | None:
        """The label of each row that has a target; None for a regression."""
        names = self.target.class_names
        if names is None:
            return None
        label = np.empty(len(names), dtype=np.int64)
        for i, name in enumerate(names):
            label[self._codes[name]] = i
        assert self._labels is not None
        return label[np.concatenate(self._labels)]

    def _add(self, frame: Frame, first: int, missing: tuple[str, ...]) -> None:
        pl = polars()
        rows = pl.Series("row", np.arange(first, first + len(frame)))
        column = frame[self.answers.name]
        self.answers.add(column, rows)
        if self.answers.unusable is not None:
            return
        text = texts(column, missing)
        there = text.is_not_null()
        if not there.all():
            self.without_target += len(frame) - int(there.sum())
            frame, rows, text = frame.filter(there), rows.filter(there), text.filter(there)
        if not len(frame):
            return
        for name, survey in self.inputs.items():
            survey.add(frame[name], rows)
        if self._labels is not None:
            values = text.unique().to_list()
            codes = [self._codes.setdefault(canonical(value), len(self._codes)) for value in values]
            self._labels.append(text.replace_strict(values, codes, return_dtype=pl.Int32).to_numpy())
            if len(self._codes) > MOST_CLASSES:
                self._labels = None
