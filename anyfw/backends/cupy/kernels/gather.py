"""Rows by their numbers: one launch for all columns of a batch, which finds its place on the device."""

import math
from collections.abc import Callable
from typing import Any

from anyfw.backends.cupy.kernels.run import Run, Uncovered, cover, empty
from anyfw.core.arrays import Array, dtype_name
from anyfw.ops import gather as ops

# How many columns one launch takes: inputs, targets, weights of rows.
_COLUMNS = 3


def gather(run: Run, x: Array, /, rows: Array) -> Array:
    """One launch, for rows of any kind."""
    _cover_numbers(rows, 1)
    words = _words(x)
    y = empty(x, (len(rows), *x.shape[1:]))
    # A gather moves words and knows no numbers: either compilation has it.
    run.matrix("gather", "float32", len(rows), words, y, x, rows, len(rows), words, len(x))
    return y


def gather_columns(run: Run, rows: Array, /, columns: tuple[Array, ...], position: Array | None) -> tuple[Array, ...]:
    """One launch for all columns."""
    _cover_numbers(rows, 1 if position is None else 2)
    if position is not None:
        _cover_numbers(position, 1)
    if not 1 <= len(columns) <= _COLUMNS or not rows.size:
        raise Uncovered
    batches, count = (1, *rows.shape)[-2:]
    widths = [_words(column) for column in columns]
    found = tuple([empty(column, (count, *column.shape[1:])) for column in columns])
    arguments: list[Any] = []
    for y, x, words in zip(found, columns, widths, strict=True):
        arguments += y, x, words, len(x)
    arguments += [None, None, 0, 0] * (_COLUMNS - len(columns))
    run.matrix("gather_columns", "float32", count, max(widths), rows, position, batches, count, *arguments)
    return found


def append_(run: Run, x: Array, /, position: Array, value: Array) -> None:
    """One launch."""
    cover(x, value)
    _cover_numbers(position, 1)
    if x.ndim != 1 or value.size != 1 or position.size != 1:
        raise Uncovered
    run.launch(dtype_name(x), "append", (1,), (1,), x, x.size, position, value)


def _cover_numbers(rows: Array, ndim: int) -> None:
    if dtype_name(rows) != "int64" or rows.ndim != ndim or not rows.flags.c_contiguous:
        raise Uncovered


def _words(x: Array) -> int:
    # How many words of 4 bytes a row has.
    size: int = math.prod(x.shape[1:]) * x.dtype.itemsize
    if not x.ndim or not len(x) or size % 4 or not x.flags.c_contiguous:
        raise Uncovered
    return size // 4


VARIANTS: dict[Any, Callable[..., Any]] = {
    ops.gather: gather,
    ops.gather_columns: gather_columns,
    ops.append_: append_,
}
