"""The affine map for nets so small that calling the matrix product costs more than computing it."""

import numpy as np

from anyfw.backends.numpy import kernels
from anyfw.backends.numpy.compiled.jit import covers_dtype, kernel
from anyfw.core.arrays import Array
from anyfw.ops import linear as ops

# Products of at most this many multiplications are done in a plain loop: about what one call of BLAS costs.
_TINY = 2048


@kernel
def _linear(y, x, weight, bias):
    rows, (out, features) = x.shape[0], weight.shape
    for r in range(rows):
        for o in range(out):
            total = bias[o]
            for i in range(features):
                total += x[r, i] * weight[o, i]
            y[r, o] = total


@kernel
def _linear_grad(dx, dy, weight):
    rows, (out, features) = dy.shape[0], weight.shape
    dx[:] = dx.dtype.type(0.0)
    for r in range(rows):
        for o in range(out):
            for i in range(features):
                dx[r, i] += dy[r, o] * weight[o, i]


@kernel
def _weight_grad(dy, x, grad, add):
    if not add:
        grad[:] = grad.dtype.type(0.0)
    for r in range(dy.shape[0]):
        for o in range(dy.shape[1]):
            for i in range(x.shape[1]):
                grad[o, i] += dy[r, o] * x[r, i]


@kernel
def _bias_grad(dy, grad, add):
    if not add:
        grad[:] = grad.dtype.type(0.0)
    for r in range(dy.shape[0]):
        for o in range(dy.shape[1]):
            grad[o] += dy[r, o]


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """A loop where the product is tiny, else BLAS."""
    if (
        x.ndim == 2
        and bias is not None
        and bias.ndim == 1
        and len(x) * weight.size <= _TINY
        and covers_dtype(x, weight, bias)
    ):
        y = np.empty((len(x), len(weight)), x.dtype)
        _linear(y, x, weight, bias)
        return y
    return kernels.linear(x, weight, bias)


def linear_grad(dy: Array, weight: Array) -> Array:
    """A loop where the product is tiny, else BLAS."""
    if dy.ndim == 2 and len(dy) * weight.size <= _TINY and covers_dtype(dy, weight):
        dx = np.empty((len(dy), weight.shape[1]), dy.dtype)
        _linear_grad(dx, dy, weight)
        return dx
    return kernels.linear_grad(dy, weight)


def weight_grad_(dy: Array, x: Array, grad: Array, add: bool) -> None:
    """A loop where the product is tiny, else BLAS, which writes into the gradient itself."""
    if dy.ndim == 2 and len(dy) * grad.size <= _TINY and covers_dtype(dy, x, grad):
        _weight_grad(dy, x, grad, add)
    else:
        kernels.weight_grad_(dy, x, grad, add)


def bias_grad_(dy: Array, grad: Array, add: bool) -> None:
    """One pass over dy, row by row."""
    if dy.ndim == 2 and grad.ndim == 1 and covers_dtype(dy, grad):
        _bias_grad(dy, grad, add)
    else:
        kernels.bias_grad_(dy, grad, add)


VARIANTS = {
    ops.linear: linear,
    ops.linear_grad: linear_grad,
    ops.weight_grad_: weight_grad_,
    ops.bias_grad_: bias_grad_,
}
