"""What an array is here: anything that follows the Python Array API standard, and how to find its functions."""

from collections.abc import Iterator
from math import prod
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
DType: TypeAlias = Any
Namespace: TypeAlias = Any

# Numpy's own namespace follows the standard; the wrapper of array-api-compat would cost 70 ms at import.
_NAMESPACES: dict[type, Namespace] = {np.ndarray: np, np.float64: np, np.float32: np, np.int64: np}


def namespace(x: Array, /) -> Namespace:
    """The module whose functions work on x; found once per type, so that a call costs one look-up.

    Raises:
        TypeError: x is no array of a library that follows the standard.
    """
    try:
        return _NAMESPACES[type(x)]
    except KeyError:
        from array_api_compat import array_namespace

        return _NAMESPACES.setdefault(type(x), array_namespace(x))


# Name, floating, integer: asked for at every step of every layer, and slow to find out. By type, too: libraries warn
# when their dtypes are compared with those of others.
_DTYPES: dict[tuple[type, DType], tuple[str, bool, bool]] = {}


def dtype_name(x: Array, /) -> str:
    """The name that the standard gives to the dtype of x: "float32", "int64", ..."""
    try:
        return _DTYPES[type(x), x.dtype][0]
    except (AttributeError, KeyError):
        return _dtype(x)[0]


def is_floating(x: Array, /) -> bool:
    """Whether x holds real floating-point numbers."""
    try:
        return _DTYPES[type(x), x.dtype][1]
    except (AttributeError, KeyError):
        return _dtype(x)[1]


def is_integer(x: Array, /) -> bool:
    """Whether x holds integers."""
    try:
        return _DTYPES[type(x), x.dtype][2]
    except (AttributeError, KeyError):
        return _dtype(x)[2]


def nbytes(x: Array, /) -> int:
    """How much memory the elements of x take."""
    elements: int = prod(x.shape)
    return elements * np.dtype(dtype_name(x)).itemsize


def memory(x: Array, /) -> int:
    """A number for the memory that x is in: the same for views of one array, where the library tells."""
    while getattr(x, "base", None) is not None:
        x = x.base
    return id(x)


def arrays_in(values: object, /) -> Iterator[Array]:
    """The arrays in nested lists and tuples."""
    if isinstance(values, list | tuple):
        for value in values:
            yield from arrays_in(value)
    elif hasattr(values, "shape") and hasattr(values, "dtype"):
        yield values


def _dtype(x: Array) -> tuple[str, bool, bool]:
    xp, name = namespace(x), str(x.dtype).rpartition(".")[2]
    found = name, bool(xp.isdtype(x.dtype, "real floating")), bool(xp.isdtype(x.dtype, "integral"))
    return _DTYPES.setdefault((type(x), x.dtype), found)
