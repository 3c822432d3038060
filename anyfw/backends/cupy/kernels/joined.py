"""The affine map with its activation, and the gradients of both: one product each, by an epilogue of cuBLASLt."""

from collections.abc import Callable
from typing import Any

from anyfw.backends.cupy.kernels.run import Run, Uncovered, cover, empty, expect_matrix, expect_vectors
from anyfw.core.arrays import Array, dtype_name, namespace
from anyfw.ops import joined as ops
from anyfw.ops.joined import Activation
from anyfw.ops.linear import Target, bias_grad_

# What a row of the result must be a multiple of, for what is kept to have no gaps.
_WHOLE = {"relu": 128, "gelu": 8}


def linear_activated(
    run: Run, x: Array, /, weight: Array, bias: Array, activation: Activation
) -> tuple[Array, Array] | None:
    """One product."""
    cover(x, weight, bias)
    (rows, features), (out, own) = expect_matrix(x), expect_matrix(weight)
    expect_vectors(out, bias)
    if features != own or out % _WHOLE[activation] or run.products is None:
        raise Uncovered
    dtype = dtype_name(x)
    gradient: Any = f"{activation}_grad"
    if not (run.products.has(activation, dtype) and run.products.has(gradient, dtype)):
        return None
    y = empty(x, (rows, out))
    kept = empty(x, (rows, out // 8), namespace(x).uint8) if activation == "relu" else empty(x, (rows, out))
    done = run.product(y, x, weight, transpose_b=True, epilogue=activation, vector=bias, aux=kept)
    return (y, kept) if done else None


def activated_grad(
    run: Run, dy: Array, /, weight: Array, kept: Array, activation: Activation, bias: Target
) -> Array | None:
    """One product; a launch more where the bias's gradient adds to another."""
    cover(dy, weight)
    (rows, out), (own, features) = expect_matrix(dy), expect_matrix(weight)
    if out != own or not kept.flags.c_contiguous or len(kept) != rows:
        raise Uncovered
    sums = bias[0] if bias is not None and not bias[1] else None
    cover(dy, sums)
    dz = empty(dy, (rows, features))
    gradient: Any = f"{activation}_grad"
    if not run.product(dz, dy, weight, epilogue=gradient, vector=sums, aux=kept):
        return None
    if bias is not None and sums is None:
        bias_grad_(dz, *bias)
    return dz


VARIANTS: dict[Any, Callable[..., Any]] = {
    ops.linear_activated: linear_activated,
    ops.activated_grad: activated_grad,
}
