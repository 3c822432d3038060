"""Layers that hand values on, in another shape or on another scale, and learn nothing."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from anyfw.core.arrays import Array, is_floating, namespace
from anyfw.core.errors import ConfigError, ShapeError
from anyfw.core.layer import Layer
from anyfw.nn.fixed import Fixed

Factor = float | tuple[float, ...]


class Identity(Fixed):
    """y = x. Shapes: x and y alike, any."""

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """X itself."""
        if train:
            self.push()
        return x

    def backward(self, dy: Array, /) -> Array:
        """Dy itself."""
        self.pop()
        return dy


class Flatten(Fixed):
    """The axes from start_dim to end_dim as one.

    Shapes:
        x: any that has both axes; y: (batch, features) with the defaults.

    Raises:
        ShapeError: in forward, x without these axes, or with end_dim before start_dim.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """X in its new shape."""
        start, end = (axis + x.ndim if axis < 0 else axis for axis in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < x.ndim:
            raise ShapeError(
                f"{self.who}: expected axes {self.start_dim} to {self.end_dim}, got shape {tuple(x.shape)}. "
                "Does the input lack its batch axis?"
            )
        if train:
            self.push(x.shape)
        flat = math.prod(x.shape[start : end + 1])
        return namespace(x).reshape(x, (*x.shape[:start], flat, *x.shape[end + 1 :]))

    def backward(self, dy: Array, /) -> Array:
        """Dy in the shape of x."""
        (shape,) = self.pop()
        return namespace(dy).reshape(dy, shape)


class Rescale(Fixed):
    """y = x scale + shift; the first layer of a net on raw inputs, saved with it. Nothing here is learnt.

    Integers, such as the bytes of an image, are cast to the dtype of the net first. The constants are part of the
    layer's description, not of `state_dict()`.

    Args:
        scale, shift: finite numbers, or one for each feature.

    Shapes:
        x and y alike: any where both are numbers, else (..., features).

    Raises:
        ConfigError: constants that are not finite, not numbers, or not of one length.
        ShapeError: in forward, another number of features.

    >>> from anyfw import nn
    >>> nn.Rescale(1 / 255)
    Rescale(scale=0.00392156862745098, shift=0.0)
    """

    def __init__(self, scale: float | Sequence[float] = 1.0, shift: float | Sequence[float] = 0.0) -> None:
        self.scale = _numbers("scale", scale)
        self.shift = _numbers("shift", shift)
        lengths = {len(value) for value in (self.scale, self.shift) if isinstance(value, tuple)}
        if len(lengths) > 1:
            raise ConfigError(f"Rescale: expected scale and shift of one length, got {sorted(lengths)}.")
        self._features = lengths.pop() if lengths else None
        self._on_device: dict[tuple[str, str], tuple[Array | float, Array | float]] = {}

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """X on the new scale."""
        if self._features is not None and (x.ndim < 1 or x.shape[-1] != self._features):
            raise ShapeError(f"{self.who}: expected last axis {self._features}, got shape {tuple(x.shape)}.")
        scale, shift = self._constants()
        if train:
            self.push()
        if not is_floating(x):
            x = namespace(x).astype(x, self.backend.dtype(self.dtype))
        return x * scale + shift

    def backward(self, dy: Array, /) -> Array:
        """Dy scale."""
        self.pop()
        return dy * self._constants()[0]

    def _constants(self) -> tuple[Array | float, Array | float]:
        # Copied to each device once: a copy in every step would make it wait.
        place = (self.backend.spec, self.dtype)
        if place not in self._on_device:
            self._on_device[place] = self._moved(self.scale), self._moved(self.shift)
        return self._on_device[place]

    def _moved(self, value: Factor) -> Array | float:
        return value if isinstance(value, float) else self.backend.asarray(value, self.dtype)

    def children(self) -> Iterator[tuple[str, Layer]]:
        """None: there is nothing to look for among thousands of numbers."""
        return iter(())


def _numbers(name: str, value: Any) -> Factor:
    if hasattr(value, "tolist"):
        value = value.tolist()
    several = isinstance(value, Sequence) and not isinstance(value, str)
    try:
        numbers = tuple(float(item) for item in (value if several else (value,)))
    except (TypeError, ValueError):
        raise ConfigError(f"Rescale: expected {name} to be a number or one for each feature, got {value!r}.") from None
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ConfigError(f"Rescale: expected a finite {name}, got {value!r}.")
    return numbers if several else numbers[0]
