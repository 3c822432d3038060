"""Rows to try a net on, where nobody gave any."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core import random
from anyfw.core.errors import ConfigError
from anyfw.core.layer import Layer
from anyfw.inspect.summary import summary


def sample(who: str, net: Layer, x: Any, rows: int, seed: int) -> NDArray[Any]:
    """The rows given, as a host array; or that many normal ones, in the shape that the net's first layers tell.

    Raises:
        ConfigError: nothing tells the shape, or there are no rows.
    """
    if x is None:
        found = summary(net)
        if found.input_shape is None:
            raise ConfigError(f"{who}: {found.note}: give x, rows that the net takes.")
        return random.normal((rows, *(axis or 1 for axis in found.input_shape[1:])), seed, who, "x")
    values = np.asarray(x)
    if not values.ndim or not len(values):
        raise ConfigError(f"{who}: expected rows, got an array of shape {values.shape}.")
    return values
