"""Normalisation: rows by a warp each, columns by blocks that own them."""

from collections.abc import Callable
from typing import Any

from anyfw.backends.cupy.kernels.run import (
    Run,
    Uncovered,
    cover,
    cover_alike,
    empty,
    expect_matrix,
    expect_vectors,
)
from anyfw.core.arrays import Array, dtype_name
from anyfw.ops import normalize


def layer_norm(
    run: Run, x: Array, /, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """One launch."""
    cover(x, weight, bias)
    rows, columns = expect_matrix(x)
    expect_vectors(columns, weight, bias)
    y, mean, rstd = empty(x, x.shape), empty(x, (rows, 1)), empty(x, (rows, 1))
    run.rows("layer_norm", x, y, mean, rstd, x, weight, bias, rows, columns, float(eps))
    return y, mean, rstd


def layer_norm_grad(
    run: Run, dy: Array, /, x: Array, weight: Array | None, mean: Array, rstd: Array
) -> tuple[Any, Any, Any]:
    """Two launches: by rows, and by columns."""
    return _row_norm_grad(run, dy, x, weight, mean, rstd, bias=True)


def rms_norm(run: Run, x: Array, /, weight: Array | None, eps: float) -> tuple[Array, Array]:
    """One launch."""
    cover(x, weight)
    rows, columns = expect_matrix(x)
    expect_vectors(columns, weight)
    y, rstd = empty(x, x.shape), empty(x, (rows, 1))
    run.rows("rms_norm", x, y, rstd, x, weight, rows, columns, float(eps))
    return y, rstd


def rms_norm_grad(run: Run, dy: Array, /, x: Array, weight: Array | None, rstd: Array) -> tuple[Any, Any]:
    """Two launches: by rows, and by columns where there is a weight."""
    return _row_norm_grad(run, dy, x, weight, None, rstd, bias=False)[:2]


def batch_norm(
    run: Run, x: Array, /, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Any, Any, Any, Any]:
    """One launch."""
    cover(x, weight, bias)
    rows, columns = expect_matrix(x)
    expect_vectors(columns, weight, bias)
    y, mean, variance, rstd = empty(x, x.shape), *(empty(x, (columns,)) for _ in range(3))
    found = (y, mean, variance, rstd)
    run.columns("batch_norm", x, *found, x, weight, bias, rows, columns, float(eps))
    return found


def batch_norm_grad(
    run: Run, dy: Array, /, x: Array, weight: Array | None, mean: Array, rstd: Array
) -> tuple[Any, Any, Any]:
    """One launch."""
    cover_alike(dy, x)
    cover(dy, weight, mean, rstd)
    rows, columns = expect_matrix(x)
    expect_vectors(columns, weight, mean, rstd)
    dx, dweight, dbias = empty(x, x.shape), empty(x, (columns,)), empty(x, (columns,))
    arguments = (dx, dweight, dbias, dy, x, weight, mean, rstd, rows, columns)
    run.columns("batch_norm_grad", x, *arguments)
    return dx, None if weight is None else dweight, dbias


def batch_norm_inference(
    run: Run, x: Array, /, weight: Array | None, bias: Array | None, mean: Array, variance: Array, eps: float
) -> Array:
    """One launch."""
    cover(x, weight, bias, mean, variance)
    rows, columns = expect_matrix(x)
    expect_vectors(columns, weight, bias, mean, variance)
    y = empty(x, x.shape)
    arguments = (y, x, weight, bias, mean, variance, rows, columns, float(eps))
    run.matrix("batch_norm_inference", dtype_name(x), rows, columns, *arguments)
    return y


def _row_norm_grad(
    run: Run, dy: Array, x: Array, weight: Array | None, mean: Array | None, rstd: Array, *, bias: bool
) -> tuple[Array, Array | None, Array | None]:
    cover_alike(dy, x)
    cover(dy, weight, mean, rstd)
    rows, columns = expect_matrix(x)
    expect_vectors(columns, weight)
    if rstd.shape != (rows, 1) or (mean is not None and mean.shape != (rows, 1)):
        raise Uncovered
    dx = empty(x, x.shape)
    run.rows("row_norm_grad", x, dx, dy, x, weight, mean, rstd, rows, columns)
    dweight = None if weight is None else empty(x, (columns,))
    dbias = empty(x, (columns,)) if bias else None
    if dweight is not None or dbias is not None:
        run.columns("row_norm_parameter_grads", x, dweight, dbias, dy, x, mean, rstd, rows, columns)
    return dx, dweight, dbias


VARIANTS: dict[Any, Callable[..., Any]] = {
    normalize.layer_norm: layer_norm,
    normalize.layer_norm_grad: layer_norm_grad,
    normalize.rms_norm: rms_norm,
    normalize.rms_norm_grad: rms_norm_grad,
    normalize.batch_norm: batch_norm,
    normalize.batch_norm_grad: batch_norm_grad,
    normalize.batch_norm_inference: batch_norm_inference,
}
