"""Where training rows come from (`Source`, `Arrays`) and in which order they are used (`Batches`)."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import ConfigError, DataError
from anyfw.core.random import permutation

HostArray = NDArray[Any]

# Values that `_check_finite` looks at in one go: enough to be fast, little beside the array itself.
_BLOCK_VALUES = 2**20


@runtime_checkable
class Source(Protocol):
    """Anything that has a length in rows and hands out rows by their indices."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, indices: NDArray[np.int64], /) -> tuple[HostArray, ...]:
        """The rows at `indices`, in that order: `(x, y)` or `(x, y, sample_weight)`.

        Shapes: indices (batch,); each result (batch, ...).
        """


class Arrays:
    """Rows that lie in host arrays, checked once when the source is made; the arrays are not copied.

    Shapes: x (rows, ...), y (rows,) or (rows, ...), sample_weight (rows,).

    Raises:
        DataError: object or text arrays, no rows, lengths that differ, NaN or infinity, negative weights.

    >>> source = Arrays([[0.0], [1.0], [2.0]], [0, 1, 1])
    >>> len(source), source[np.array([2, 0])][0].tolist()
    (3, [[2.0], [0.0]])
    """

    arrays: tuple[HostArray, ...]

    def __init__(self, x: Any, y: Any, sample_weight: Any = None) -> None:
        columns = {"x": host_array("x", x), "y": host_array("y", y)}
        if sample_weight is not None:
            columns["sample_weight"] = host_array("sample_weight", sample_weight)
        for name, column in columns.items():
            if len(column) != len(columns["x"]):
                raise DataError(
                    f"Arrays: expected as many rows in {name} as in x, got {len(column)} and "
                    f"{len(columns['x'])}. Row i of {name} belongs to row i of x."
                )
        if "sample_weight" in columns:
            _check_weights(columns["sample_weight"])
        self.arrays = tuple(columns.values())

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, indices: NDArray[np.int64], /) -> tuple[HostArray, ...]:
        # `take` is faster than `array[indices]`, but would read a mask as the row numbers 0 and 1.
        if indices.dtype.kind not in "iu":
            raise DataError(f"Arrays: expected row numbers, got an array of {indices.dtype}.")
        return tuple(array.take(indices, axis=0) for array in self.arrays)


def as_source(data: Any) -> Source:
    """`data` as a source: a tuple `(x, y)` or `(x, y, sample_weight)` as an `Arrays`, a `Source` as it is.

    Raises:
        DataError: what `Arrays` refuses; a source without rows; anything else than a tuple or a source.
    """
    if isinstance(data, tuple):
        if len(data) not in (2, 3):
            raise DataError(f"Data: expected (x, y) or (x, y, sample_weight), got a tuple of {len(data)}.")
        return Arrays(*data)
    # Lists, mappings, text and arrays have a length and items too, but their items are not batches.
    looks_like_rows = isinstance(data, list | dict | str | bytes) or hasattr(data, "dtype")
    if looks_like_rows or hasattr(data, "__array__") or not isinstance(data, Source):
        raise DataError(
            f"Data: expected a tuple (x, y) or a Source, got {type(data).__name__}. "
            "Hand in x and y together: (x, y); of a Dataset, its .train or .test."
        )
    if len(data) == 0:
        raise DataError(f"Data: expected at least one row, got an empty {type(data).__name__}.")
    return data


def host_array(name: str, values: Any) -> HostArray:
    """`values` as a NumPy array of finite numbers with at least one row, not copied if it is one already.

    Raises:
        DataError: the message begins with `name`.
    """
    if np.ma.is_masked(values):
        raise DataError(f"{name}: expected plain numbers, got masked entries. Fill them or drop those rows.")
    try:
        array: HostArray = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name}: expected an array in host memory, got {type(values).__name__} ({error}). "
            "Rows must have equal lengths, and device arrays must be copied to the host first."
        ) from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected numbers, got an array of {array.dtype}. {_dtype_hint(array)}")
    if array.ndim == 0:
        raise DataError(f"{name}: expected an array with rows, got the single value {array}.")
    if len(array) == 0:
        raise DataError(f"{name}: expected at least one row, got shape {array.shape}.")
    if array.size == 0:
        raise DataError(f"{name}: expected at least one value in each row, got shape {array.shape}.")
    _check_finite(name, array)
    return array


def _dtype_hint(array: HostArray) -> str:
    if array.dtype.kind == "O":
        return "Columns of mixed kinds or rows of unequal length give object arrays: convert to one number type."
    if array.dtype.kind in "US":
        return "Map text to integers 0 ... classes-1 first."
    return "Convert it to float32, float64 or integers first."


def _check_finite(name: str, array: HostArray) -> None:
    if array.dtype.kind != "f":
        return
    rows = max(1, _BLOCK_VALUES * len(array) // array.size)
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        if _sums_are_finite(block):
            continue
        finite = np.isfinite(block)
        if not finite.all():
            row, *column = np.argwhere(~finite)[0].tolist()
            where = f"row {start + row}" + (f", column {', '.join(map(str, column))}" if column else "")
            raise DataError(
                f"{name}: expected finite numbers, got {array[start + row][tuple(column)]} at {where}. "
                "Drop such rows or fill them in."
            )


def _sums_are_finite(block: HostArray) -> bool:
    # A NaN or an infinity shows in the sum of its row, which costs BLAS a fifth of the time of `isfinite`. Sums that
    # overflow prove nothing.
    if block.ndim != 2 or block.dtype not in (np.float32, np.float64) or not block.flags.c_contiguous:
        return False
    with np.errstate(all="ignore"):
        sums = block @ np.ones(block.shape[1], dtype=block.dtype)
    return bool(np.isfinite(sums).all())


def _check_weights(weight: HostArray) -> None:
    if weight.ndim != 1:
        raise DataError(f"sample_weight: expected one number for each row, got shape {weight.shape}.")
    if weight.min() < 0:
        raise DataError(f"sample_weight: expected no negative weight, got {weight.min()}.")
    if weight.max() == 0:
        raise DataError("sample_weight: expected at least one weight above 0, got only zeros.")


@dataclass(frozen=True)
class Batches:
    """Which rows form which batch: a function of (seed, epoch), so that any step can be computed anew.

    The order of epoch e is `permutation(source_len, seed, "order", e)`, cut into pieces of `batch_size` rows;
    with `shuffle=False` it is 0 ... source_len-1. The last batch holds what remains; `drop_last` leaves it
    out if it is smaller than the others. A source smaller than one batch gives one batch of all its rows.
    `order`, a function of e, gives another order than these: row numbers, shape (source_len,), in which a row may come
    again in the place of another one.

    Raises:
        ConfigError: a batch size or source length below 1, or a number that is not an integer.
        DataError: in `epoch`, an order of something else than row numbers.

    >>> batches = Batches(source_len=5, batch_size=2, seed=0, shuffle=False)
    >>> [rows.tolist() for rows in batches.epoch(0)], len(batches), batches.locate(7)
    ([[0, 1], [2, 3], [4]], 3, (2, 1))
    """

    source_len: int
    batch_size: int
    seed: int
    shuffle: bool = True
    drop_last: bool = False
    order: Callable[[int], NDArray[np.int64]] | None = None

    def __post_init__(self) -> None:
        _check_integer("source_len", self.source_len, least=1)
        _check_integer("batch_size", self.batch_size, least=1)
        _check_integer("seed", self.seed, least=None)

    def __len__(self) -> int:
        """Number of batches (steps) in each epoch."""
        if self.drop_last:
            return max(1, self.source_len // self.batch_size)
        return math.ceil(self.source_len / self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> list[NDArray[np.int64]]:
        """The row numbers of each batch of one epoch, from batch `start` on (to resume in its middle).

        Shapes: each (batch_size,), the last one perhaps shorter.
        """
        _check_integer("epoch", epoch, least=0)
        _check_integer("start", start, least=0)
        if self.order is not None:
            order = self._given(int(epoch))
        elif self.shuffle:
            order = permutation(self.source_len, self.seed, "order", int(epoch))
        else:
            order = np.arange(self.source_len, dtype=np.int64)
        size = self.batch_size
        return [order[batch * size : (batch + 1) * size] for batch in range(start, len(self))]

    def _given(self, epoch: int) -> NDArray[np.int64]:
        assert self.order is not None
        order, rows = np.asarray(self.order(epoch)), self.source_len
        # A row number out of range would be another row on some devices, without a word.
        if order.shape != (rows,) or order.dtype.kind not in "iu" or order.min() < 0 or order.max() >= rows:
            raise DataError(
                f"order: expected {rows} row numbers from 0 to {rows - 1} for epoch {epoch}, got {order.dtype} of "
                f"shape {order.shape}."
            )
        return order

    def locate(self, step: int) -> tuple[int, int]:
        """(epoch, batch within it) of a step; both and the step count from 0."""
        _check_integer("step", step, least=0)
        return divmod(step, len(self))


def _check_integer(name: str, value: Any, *, least: int | None) -> None:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ConfigError(f"{name}: expected an integer, got {value!r}.")
    if least is not None and number < least:
        raise ConfigError(f"{name}: expected at least {least}, got {value}.")
