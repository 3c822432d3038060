"""Rows by their numbers, and writing at a place that the device knows and the host does not."""

from anyfw.core.arrays import Array, namespace
from anyfw.ops.dispatch import op


@op
def gather(x: Array, /, rows: Array) -> Array:
    """The rows x[rows], as a new array.

    Shapes:
        x: (n, ...); rows: (batch,), integers in 0 ... n-1; returns (batch, ...).
    """
    return namespace(x).take(x, rows, axis=0)


@op
def gather_columns(rows: Array, /, columns: tuple[Array, ...], position: Array | None) -> tuple[Array, ...]:
    """The rows of each column of a data set: (x[rows], y[rows], ...), as new arrays.

    Shapes:
        rows: (batch,), integers in 0 ... n-1; with a position (batches, batch), of which it takes rows[position];
        columns: each (n, ...); position: (1,), int64; returns (batch, ...) for each column.
    """
    if position is not None:
        rows = namespace(rows).reshape(gather(rows, position), (-1,))
    return tuple([gather(column, rows) for column in columns])


@op
def append_(x: Array, /, position: Array, value: Array) -> None:
    """Write the value to x[position], and move the position on by 1.

    Shapes:
        x: (n,); position: (1,), int64, in 0 ... n-1; value: ().
    """
    xp = namespace(x)
    here = xp.arange(x.shape[0], dtype=position.dtype, device=x.device) == position
    x[...] = xp.where(here, value, x)
    position += 1
