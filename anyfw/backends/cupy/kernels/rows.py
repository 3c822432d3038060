"""Softmax and the losses: one launch each, losses and gradient together."""

from collections.abc import Callable
from typing import Any

from anyfw.backends.cupy.kernels.run import (
    BLOCK,
    Run,
    Uncovered,
    blocks,
    cover,
    cover_alike,
    empty,
    expect_matrix,
)
from anyfw.core.arrays import Array, dtype_name
from anyfw.ops import loss, softmax


def _forward(kernel: str) -> Callable[..., Array]:
    def variant(run: Run, x: Array, /, axis: int) -> Array:
        """One launch, along the last axis of a matrix."""
        cover(x)
        rows, columns = expect_matrix(x)
        if axis not in (-1, 1):
            raise Uncovered
        y = empty(x, x.shape)
        run.rows(kernel, x, y, x, rows, columns)
        return y

    return variant


def _gradient(kernel: str) -> Callable[..., Array]:
    def variant(run: Run, dy: Array, /, y: Array, axis: int) -> Array:
        """One launch, along the last axis of a matrix."""
        cover_alike(dy, y)
        rows, columns = expect_matrix(dy)
        if axis not in (-1, 1):
            raise Uncovered
        dx = empty(dy, dy.shape)
        run.rows(kernel, dy, dx, dy, y, rows, columns)
        return dx

    return variant


def cross_entropy(run: Run, y: Array, /, target: Array) -> tuple[Array, Array]:
    """One launch: losses and gradient."""
    cover(y)
    rows, columns = expect_matrix(y)
    if dtype_name(target) != "int64" or target.shape != (rows,) or not target.flags.c_contiguous:
        raise Uncovered
    losses, dy = empty(y, (rows,)), empty(y, y.shape)
    run.rows("cross_entropy", y, losses, dy, y, target, rows, columns)
    return losses, dy


def squared_error(run: Run, y: Array, /, target: Array) -> tuple[Array, Array]:
    """One launch: losses and gradient."""
    cover_alike(y, target)
    losses, dy = empty(y, y.shape), empty(y, y.shape)
    run.each("squared_error", y, losses, dy, y, target, y.size)
    return losses, dy


def mean_(run: Run, losses: Array, /, dy: Array, count: float) -> Array:
    """One launch: the sum, in float64, and the gradient's factor."""
    cover(losses, dy)
    mean = empty(losses, ())
    grid = 1 + blocks(dy.size, BLOCK)
    arguments = (mean, losses, dy, losses.size, dy.size, float(count))
    run.launch(dtype_name(losses), "mean", (grid,), (BLOCK,), *arguments)
    return mean


VARIANTS: dict[Any, Callable[..., Any]] = {
    softmax.softmax: _forward("softmax"),
    softmax.softmax_grad: _gradient("softmax_grad"),
    softmax.log_softmax: _forward("log_softmax"),
    softmax.log_softmax_grad: _gradient("log_softmax_grad"),
    loss.cross_entropy: cross_entropy,
    loss.squared_error: squared_error,
    loss.mean_: mean_,
}
