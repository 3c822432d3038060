"""`read_table`: from a file or a frame to training and test rows, with what was learnt about their columns."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anyfw.core.atomic import open_to_read
from anyfw.core.errors import ConfigError, DataError
from anyfw.data.base import HostArray
from anyfw.data.dataset import TEST_FRACTION, TEST_SEED, Dataset
from anyfw.data.split import held_out
from anyfw.data.tables.columns import Columns
from anyfw.data.tables.encoding import Encoder, check_float
from anyfw.data.tables.frames import Frames, open_frames
from anyfw.data.tables.learning import Labels, fit, labelled, survey
from anyfw.data.tables.rows import RowStore
from anyfw.data.tables.shown import shown
from anyfw.data.tables.wishes import MISSING, Wishes

_BLOCK = 2**20
# Bytes of encoded rows beyond which they are kept in a file.
IN_MEMORY = 2**28

# Of each row: which part it belongs to.
Parts: TypeAlias = NDArray[np.uint8]
_TRAIN, _VALID, _TEST = range(3)


def read_table(
    source: Any,
    target: str | None = None,
    *,
    task: str | None = None,
    categories: Sequence[str] = (),
    numbers: Sequence[str] = (),
    drop: Sequence[str] = (),
    missing: Sequence[str] = MISSING,
    columns: Columns | None = None,
    valid: float = 0.0,
    test: float = TEST_FRACTION,
    seed: int = 0,
    dtype: str = "float32",
    memory: int | None = None,
) -> Dataset:
    """The rows of a table, encoded for `nn.CategoryColumns(*dataset.columns.layout)`; needs the extra `tables`.

    Each column's kind is told by all its values; means, deviations and categories are learnt from the training rows
    alone. Rows without a target are left out. The test rows are the same ones each time, as for an `.npz`; test and
    validation rows are chosen by class. The notes show every column. The table is gone through three times and never in
    memory as a whole: what grows with it are up to 60 bytes a row, and the encoded rows up to `memory`.

    Args:
        source: the path of a .csv, .tsv or .parquet file, a polars or pandas frame, or a dict of columns.
        target: the column to be predicted.
        task: classification or regression; by default text, booleans and up to 20 different whole numbers are classes.
        categories: columns that are categories although they look like numbers or names.
        numbers: columns that are numbers although they look like a running number.
        drop: columns that are left out.
        missing: the texts that stand for a missing value, in place of the usual ones.
        columns: what was learnt from another table, or from this one before: nothing is learnt anew.
        valid: share of the training rows for validation.
        test: share of the rows for testing, 20 % by default; 1 makes all of them test rows.
        seed: chooses the validation rows.
        dtype: of x: float32 or float64.
        memory: bytes of encoded rows beyond which they are kept in a file without a name, in TMPDIR's folder; 256 MiB.

    Raises:
        MissingExtraError: polars is not installed.
        MissingFileError: no such file.
        FileFormatError: a damaged file, rows of different lengths, no UTF-8, no header or one with the same name twice.
        DataError: columns that are not there, dates, numbers mixed with text or beyond float64, or nothing to learn.
        ConfigError: shares out of range, another dtype, or a column with two wishes.

    >>> from anyfw import data
    >>> rows = {"area": [30, 55, 80, 42] * 5, "city": ["Rome", "Oslo", "Rome", None] * 5, "price": [1.5, 2, 4, 2.5] * 5}
    >>> table = data.read_table(rows, target="price")
    >>> table.train[0].shape, table.task, table.columns.layout
    ((16, 2), 'regression', (1, (3,), (0,)))
    """
    if target is None and columns is None:
        raise ConfigError("read_table: expected the name of the target, or columns that were learnt before.")
    if not 0.0 <= valid < 1.0 or not 0.0 < test <= 1.0:
        raise ConfigError(
            f"read_table: expected shares valid from 0 to 1 and test above 0 up to 1, got {valid} and {test}."
        )
    check_float(dtype)
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    frames, divided = open_frames(source), _Divided(valid, test, seed)
    notes: tuple[str, ...] = ()
    if columns is None:
        assert target is not None
        surveyed = survey(frames, Wishes(target, task, categories, numbers, drop, missing))
        parts = divided.parts(surveyed.rows, surveyed.labels())
        columns = fit(frames, surveyed, parts == _TRAIN)
        notes = tuple(shown(surveyed, columns))
    else:
        parts = divided.parts(*_counted(frames, columns))
    name = "table" if path is None else path.stem
    x, y, odd = _encoded(frames, columns, parts, dtype, IN_MEMORY if memory is None else memory)
    if not notes:  # of a table that was learnt from they tell all there is
        notes = odd
    pairs = [(stored, y[parts == part]) for part, stored in enumerate(x)]
    if test < 1.0:
        rows = f"{len(x[_TEST]):,} of its {len(y):,} rows ({100 * test:g} %)"
        notes += (f"'{name}' has no test rows: {rows} held out for testing.",)
    return Dataset(
        name,
        pairs[_TRAIN],
        pairs[_TEST],
        columns.target.class_names,
        scale=1.0,
        shift=0.0,
        notes=notes,
        columns=columns,
        valid=pairs[_VALID] if valid else None,
    )


def file_hash(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file, by which it is known again.

    Raises:
        MissingFileError: no such file.
    """
    found = hashlib.sha256()
    with open_to_read(path) as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


class _Divided:
    """Which rows are for training, validation and testing: a function of their number, and of the labels if any."""

    def __init__(self, valid: float, test: float, seed: int) -> None:
        self.valid, self.test, self.seed = valid, test, seed

    def parts(self, rows: int, labels: Labels | None) -> Parts:
        parts = np.full(rows, _TEST, dtype=np.uint8)
        if self.test == 1.0:
            return parts
        training = ~held_out(rows, labels, fraction=self.test, seed=TEST_SEED)
        parts[training] = _TRAIN
        if self.valid:
            rest = np.flatnonzero(training)
            chosen = held_out(len(rest), None if labels is None else labels[rest], fraction=self.valid, seed=self.seed)
            parts[rest[chosen]] = _VALID
        return parts


def _counted(frames: Frames, columns: Columns) -> tuple[int, Labels | None]:
    # Rows with a target, and their labels in a classification: what the survey tells of a table that is learnt from.
    target = columns.target
    if target.name not in frames.names:
        raise DataError(f"{frames.name}: expected the target '{target.name}', and there is no such column.")
    encoder = Encoder(columns, frames.names, frames.name, "float64")
    found = [encoder.y(frame, rows) for frame, rows in labelled(frames, target.name, columns.missing)]
    y: HostArray = np.concatenate(found) if found else np.empty(0)
    if not len(y):
        raise DataError(f"{frames.name}: expected rows with a target, got none.")
    return len(y), None if target.class_names is None else y


def _encoded(
    frames: Frames, columns: Columns, parts: Parts, dtype: str, memory: int
) -> tuple[list[HostArray], HostArray, tuple[str, ...]]:
    # The inputs of each part, the targets of all rows, and what was not as in training.
    stores, targets = [RowStore(columns.features, dtype) for _ in range(3)], []
    encoder, start = Encoder(columns, frames.names, frames.name, dtype), 0
    for frame, rows in labelled(frames, columns.target.name, columns.missing):
        x, part = encoder.x(frame, rows), parts[start : start + len(frame)]
        start += len(frame)
        targets.append(encoder.y(frame, rows))
        for i, store in enumerate(stores):
            store.add(x[part == i])
        if sum(store.nbytes for store in stores) > memory:
            for store in stores:
                store.spill()
    return [store.array() for store in stores], np.concatenate(targets), tuple(encoder.notes())
