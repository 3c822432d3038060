"""What stands beside a matrix product, which is cuBLAS's: the bias and its gradient."""

import math
from collections.abc import Callable
from typing import Any

from anyfw.backends.cupy.kernels.run import Run, Uncovered, cover, expect_vectors
from anyfw.core.arrays import Array, dtype_name, namespace
from anyfw.ops import linear as ops


def linear(run: Run, x: Array, /, weight: Array, bias: Array | None) -> Array:
    """The product, and one launch for the bias."""
    y = ops.linear.dispatch(object)(x, weight, None)
    if bias is None:
        return y
    rows, columns = math.prod(y.shape[:-1]), y.shape[-1]
    try:
        cover(y, bias)
        expect_vectors(columns, bias)
    except Uncovered:
        y += bias
    else:
        run.matrix("add_bias", dtype_name(y), rows, columns, y, bias, rows, columns)
    return y


def weight_grad_(run: Run, dy: Array, /, x: Array, grad: Array, add: bool) -> None:  # noqa: ARG001 - no launch
    """The first product of a step is written into the gradient itself: no temporary, no copy."""
    cover(dy, x, grad)
    if add or dy.ndim != 2 or x.ndim != 2 or dy.shape[1:] + x.shape[1:] != grad.shape or len(dy) != len(x):
        raise Uncovered
    namespace(dy).matmul(dy.T, x, out=grad)


def bias_grad_(run: Run, dy: Array, /, grad: Array, add: bool) -> None:
    """One launch, which adds or overwrites."""
    cover(dy, grad)
    columns = dy.shape[-1]
    expect_vectors(columns, grad)
    if not columns:
        raise Uncovered
    run.columns("column_sums", dy, grad, dy, dy.size // columns, columns, int(add))


VARIANTS: dict[Any, Callable[..., Any]] = {
    ops.linear: linear,
    ops.weight_grad_: weight_grad_,
    ops.bias_grad_: bias_grad_,
}
