"""Where the lesson's objects compute, and which arrays they hand back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.arrays import Array, dtype_name, namespace
from anyfw.core.backend import backend_of, get_backend
from anyfw.core.errors import DataError, PlacementError


class Placed:
    """What computes on one backend, and knows whether an array came from the host.

    Attributes:
        backend: where it computes.
        dtype: "float64", or "float32" where the device has no other.
    """

    def __init__(self) -> None:
        self.backend = get_backend()
        self.dtype = "float64" if self.backend.has_float64 else "float32"

    def take(self, x: Any, name: str) -> tuple[Array, bool]:
        """X on the backend in its dtype, and whether it came from the host."""
        if self.backend.owns(x):
            kind = dtype_name(x)
            if kind == self.dtype:
                return x, self.backend.name == "numpy"
            if self.backend.name != "numpy":
                xp = namespace(x)
                if not xp.isdtype(x.dtype, ("bool", "integral", "real floating")):
                    raise DataError(f"{type(self).__name__}: expected numbers as {name}, got {kind}.")
                return xp.astype(x, self.backend.dtype(self.dtype)), False
        return self.backend.asarray(host_numbers(x, self, name), self.dtype), True

    def take_target(self, y: Any) -> Array:
        """Labels on the backend as int64, other targets in its dtype."""
        if self.backend.owns(y) and self.backend.name != "numpy":
            return y
        values = host_numbers(y, self, "y")
        return self.backend.asarray(values, "int64" if values.dtype.kind in "iub" else self.dtype)

    def give(self, x: Array, to_host: bool) -> Array:
        """X, or its NumPy copy for a caller who gave NumPy."""
        return self.backend.to_numpy(x) if to_host else x


def host_numbers(x: Any, owner: Placed, name: str) -> NDArray[Any]:
    """X as a NumPy array of numbers.

    Raises:
        DataError: ragged rows, text, objects.
        PlacementError: an array of another backend than the owner's.
    """
    who = type(owner).__name__
    there = None if isinstance(x, np.ndarray | np.generic) else backend_of(x)
    if there is not None and there is not owner.backend:
        raise PlacementError(
            f"{who}: expected {name} as NumPy or as an array of {owner.backend.spec}, got one of {there.spec}. "
            "Make net and arrays within the same use_backend(...)."
        )
    try:
        values = owner.backend.to_numpy(x) if there is not None else np.asarray(x)
    except ValueError as error:
        raise DataError(f"{who}: expected rows of equal length as {name}: {error}.") from error
    if values.dtype.kind not in "fiub":
        raise DataError(f"{who}: expected numbers as {name}, got dtype {values.dtype}.")
    return values
