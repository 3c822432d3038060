"""The affine map: a product with the bias in it, and its gradients; a launch more where cuBLASLt has no such kernel."""

import math
from collections.abc import Callable
from typing import Any

from anyfw.backends.cupy.kernels.run import Run, Uncovered, cover, empty, expect_vectors
from anyfw.core.arrays import Array, dtype_name, namespace
from anyfw.ops import linear as ops

Target = tuple[Array, bool] | None


def linear(run: Run, x: Array, /, weight: Array, bias: Array | None) -> Array:
    """One product, to which the bias is added in the same kernel."""
    cover(x, weight, bias)
    out = _matrix(x, weight, 1)[0]
    y = empty(x, (*x.shape[:-1], out))
    rows, x = _rows(y), _rows(x)
    if bias is None:
        run.product(rows, x, weight, transpose_b=True)
        return y
    expect_vectors(out, bias)
    if not run.product(rows, x, weight, transpose_b=True, epilogue="bias", vector=bias):
        run.product(rows, x, weight, transpose_b=True)
        run.matrix("add_bias", dtype_name(y), *rows.shape, y, bias, *rows.shape)
    return y


def product(run: Run, a: Array, /, b: Array) -> Array:
    """One product."""
    transposed = not a.flags.c_contiguous and a.ndim == 2
    cover(a.T if transposed else a, b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0] or not a.size or not b.size:
        raise Uncovered
    c = empty(a, (a.shape[0], b.shape[1]))
    run.product(c, a.T if transposed else a, b, transpose_a=transposed)
    return c


def linear_grad(run: Run, dy: Array, /, weight: Array) -> Array:
    """One product."""
    cover(dy, weight)
    features = _matrix(dy, weight, 0)[1]
    dx = empty(dy, (*dy.shape[:-1], features))
    run.product(_rows(dx), _rows(dy), weight)
    return dx


def weight_grad_(run: Run, dy: Array, /, x: Array, grad: Array, add: bool) -> None:
    """One product, into the gradient itself: no temporary, no copy."""
    dy, x = _pair(dy, x, grad)
    run.product(grad, dy, x, transpose_a=True, add=add)


def bias_grad_(run: Run, dy: Array, /, grad: Array, add: bool) -> None:
    """One launch, which adds or overwrites."""
    cover(dy, grad)
    columns = dy.shape[-1]
    expect_vectors(columns, grad)
    if not columns:
        raise Uncovered
    run.columns("column_sums", dy, grad, dy, dy.size // columns, columns, int(add))


def parameter_grads_(run: Run, dy: Array, /, x: Array, weight: Target, bias: Target) -> None:
    """One product, which sums up the bias's gradient in the same kernel where both are the first of a step."""
    done = False
    if weight is not None and bias is not None and not weight[1] and not bias[1]:
        rows, inputs = _pair(dy, x, weight[0])
        cover(rows, bias[0])
        expect_vectors(rows.shape[1], bias[0])
        done = run.product(weight[0], rows, inputs, transpose_a=True, epilogue="sum_a", vector=bias[0])
    if not done:
        if weight is not None:
            ops.weight_grad_(dy, x, *weight)
        if bias is not None:
            ops.bias_grad_(dy, *bias)


def _rows(x: Array) -> Array:
    return x if x.ndim == 2 else namespace(x).reshape(x, (-1, x.shape[-1]))


def _matrix(x: Array, weight: Array, axis: int) -> tuple[int, int]:
    # The shape of the weight, whose axis is the last one of x.
    if weight.ndim != 2 or not x.ndim or not math.prod(x.shape) or not weight.size or x.shape[-1] != weight.shape[axis]:
        raise Uncovered
    out, features = weight.shape
    return out, features


def _pair(dy: Array, x: Array, grad: Array) -> tuple[Array, Array]:
    cover(dy, x, grad)
    if dy.ndim != x.ndim or dy.shape[:-1] != x.shape[:-1] or dy.ndim < 2 or not dy.size or not x.size:
        raise Uncovered
    if (dy.shape[-1], x.shape[-1]) != grad.shape:
        raise Uncovered
    return _rows(dy), _rows(x)


VARIANTS: dict[Any, Callable[..., Any]] = {
    ops.linear: linear,
    ops.product: product,
    ops.linear_grad: linear_grad,
    ops.weight_grad_: weight_grad_,
    ops.bias_grad_: bias_grad_,
    ops.parameter_grads_: parameter_grads_,
}
