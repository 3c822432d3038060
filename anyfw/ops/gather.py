"""Rows by their numbers."""

from functools import singledispatch

from anyfw.core.arrays import Array, namespace


@singledispatch
def gather(x: Array, /, rows: Array) -> Array:
    """The rows x[rows], as a new array.

    Shapes:
        x: (n, ...); rows: (batch,), integers in 0 ... n-1; returns (batch, ...).
    """
    return namespace(x).take(x, rows, axis=0)
