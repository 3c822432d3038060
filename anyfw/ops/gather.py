"""Rows by their numbers."""

from anyfw.core.arrays import Array, namespace
from anyfw.ops.dispatch import op


@op
def gather(x: Array, /, rows: Array) -> Array:
    """The rows x[rows], as a new array.

    Shapes:
        x: (n, ...); rows: (batch,), integers in 0 ... n-1; returns (batch, ...).
    """
    return namespace(x).take(x, rows, axis=0)
