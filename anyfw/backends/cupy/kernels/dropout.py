"""Dropout: the same bits as everywhere, in one launch that reads the tick on the device."""

import math
from collections.abc import Callable
from typing import Any

from anyfw.backends.cupy.kernels.run import Run, Uncovered, cover, empty
from anyfw.core.arrays import Array, dtype_name, namespace
from anyfw.ops import dropout as ops


def dropout(run: Run, x: Array, /, p: float, key: int, tick: Array, n: int) -> tuple[Array, Array]:
    """One launch, which reads the tick on the device."""
    cover(x)
    if dtype_name(tick) != "int64" or tick.size != 1:
        raise Uncovered
    y, mask = empty(x, x.shape), empty(x, x.shape, dtype=namespace(x).bool)
    scale = 1.0 / (1.0 - p) if p < 1.0 else 1.0
    numbers = math.ceil(p * 2.0**32), key & 0xFFFFFFFF, n & 0xFFFFFFFF
    run.each("dropout", x, y, mask, x, tick, x.size, *numbers, scale)
    return y, mask


def dropout_grad(run: Run, dy: Array, /, mask: Array, p: float) -> Array:
    """One launch."""
    cover(dy)
    if mask.shape != dy.shape or dtype_name(mask) != "bool" or not mask.flags.c_contiguous:
        raise Uncovered
    dx = empty(dy, dy.shape)
    run.each("dropout_grad", dy, dx, dy, mask, dy.size, 1.0 / (1.0 - p) if p < 1.0 else 1.0)
    return dx


VARIANTS: dict[Any, Callable[..., Any]] = {ops.dropout: dropout, ops.dropout_grad: dropout_grad}
