"""Activations and their gradients: one pass, no temporaries. Each kernel writes into its first argument."""

import math
from collections.abc import Callable
from typing import Any

from numpy.lib import introspect

from anyfw.backends.numpy.compiled.jit import covers, elementwise, exp, expm1, sealed, tanh
from anyfw.ops import activation as ops

_TANH_SCALE = math.sqrt(2.0 / math.pi)
_TANH_CUBIC = 0.044715


def _uses_avx512(function: str) -> bool:
    # Whether NumPy's function does, on this processor.
    loops = introspect.opt_func_info(func_name=f"^{function}$").get(function, {})
    return any("AVX512" in loop["current"] or "V4" in loop["current"] for loop in loops.values())


@sealed
def relu(y, x):
    """0 where x is not above it; NaN stays. With AVX2 it gained more than with AVX-512. Measured: 1.0x."""
    source, target = x.reshape(x.size), y.reshape(x.size)
    zero = x.dtype.type(0.0)
    for i in range(x.size):
        v = source[i]
        target[i] = zero if v <= zero else v
    return True


@sealed
def relu_grad(dx, dy, y):
    """A product, not a choice: a NaN in a place that is off must not vanish. Measured: 1.5x."""
    if y.shape != dy.shape:
        return False
    g, v, target = dy.reshape(dy.size), y.reshape(dy.size), dx.reshape(dy.size)
    zero, one = dy.dtype.type(0.0), dy.dtype.type(1.0)
    for i in range(dy.size):
        target[i] = g[i] * (one if v[i] > zero else zero)
    return True


@sealed
def leaky_relu(y, x, slope):
    """Two lines. Measured: 2.5x."""
    source, target = x.reshape(x.size), y.reshape(x.size)
    zero, rest = x.dtype.type(0.0), x.dtype.type(slope)
    for i in range(x.size):
        v = source[i]
        target[i] = v if v > zero else rest * v
    return True


@sealed
def leaky_relu_grad(dx, dy, x, slope):
    """The slope of the line that x is on. Measured: 9.5x."""
    if x.shape != dy.shape:
        return False
    g, v, target = dy.reshape(dy.size), x.reshape(dy.size), dx.reshape(dy.size)
    zero, one, rest = dy.dtype.type(0.0), dy.dtype.type(1.0), dy.dtype.type(slope)
    for i in range(dy.size):
        target[i] = g[i] * (one if v[i] > zero else rest)
    return True


@sealed
def elu(y, x, alpha, scale):
    """The line and the exponential. Measured: 8.0x."""
    source, target = x.reshape(x.size), y.reshape(x.size)
    zero, s, low = x.dtype.type(0.0), x.dtype.type(scale), x.dtype.type(scale * alpha)
    for i in range(x.size):
        v = source[i]
        below = low * expm1(zero if v > zero else v)
        target[i] = s * v if v > zero else below
    return True


@sealed
def elu_grad(dx, dy, y, alpha, scale):
    """From the output y. Measured: 10x."""
    if y.shape != dy.shape:
        return False
    g, v, target = dy.reshape(dy.size), y.reshape(dy.size), dx.reshape(dy.size)
    zero, s, low = dy.dtype.type(0.0), dy.dtype.type(scale), dy.dtype.type(scale * alpha)
    for i in range(dy.size):
        target[i] = g[i] * (s if v[i] > zero else v[i] + low)
    return True


@sealed
def sigmoid(y, x):
    """As the reference. Measured: 12x."""
    source, target = x.reshape(x.size), y.reshape(x.size)
    zero, one = x.dtype.type(0.0), x.dtype.type(1.0)
    for i in range(x.size):
        v = source[i]
        e = exp(-abs(v))
        target[i] = (e if v < zero else one) / (one + e)
    return True


@sealed
def sigmoid_grad(dx, dy, y):
    """From the output y. Measured: 2.0x."""
    if y.shape != dy.shape:
        return False
    g, v, target = dy.reshape(dy.size), y.reshape(dy.size), dx.reshape(dy.size)
    one = dy.dtype.type(1.0)
    for i in range(dy.size):
        target[i] = g[i] * (v[i] * (one - v[i]))
    return True


@sealed
def tanh_forward(y, x):
    """As the reference, where that is not made with AVX-512. Measured: 3.2x."""
    source, target = x.reshape(x.size), y.reshape(x.size)
    for i in range(x.size):
        target[i] = tanh(source[i])
    return True


@sealed
def tanh_grad(dx, dy, y):
    """From the output y. Measured: 2.2x."""
    if y.shape != dy.shape:
        return False
    g, v, target = dy.reshape(dy.size), y.reshape(dy.size), dx.reshape(dy.size)
    one = dy.dtype.type(1.0)
    for i in range(dy.size):
        target[i] = g[i] * (one - v[i] * v[i])
    return True


@sealed
def silu(y, x):
    """x times its sigmoid. Measured: 1.7x."""
    source, target = x.reshape(x.size), y.reshape(x.size)
    zero, one = x.dtype.type(0.0), x.dtype.type(1.0)
    for i in range(x.size):
        v = source[i]
        e = exp(-abs(v))
        target[i] = v * ((e if v < zero else one) / (one + e))
    return True


@sealed
def silu_grad(dx, dy, x):
    """From the input x. Measured: 3.9x."""
    if x.shape != dy.shape:
        return False
    g, source, target = dy.reshape(dy.size), x.reshape(dy.size), dx.reshape(dy.size)
    zero, one = x.dtype.type(0.0), x.dtype.type(1.0)
    for i in range(dy.size):
        v = source[i]
        e = exp(-abs(v))
        s = (e if v < zero else one) / (one + e)
        target[i] = g[i] * (s * (one + v * (one - s)))
    return True


@sealed
def softplus_grad(dx, dy, x, beta, threshold):
    """From the input x; 1 above the threshold. Measured: 3.2x."""
    if x.shape != dy.shape:
        return False
    g, source, target = dy.reshape(dy.size), x.reshape(dy.size), dx.reshape(dy.size)
    zero, one = x.dtype.type(0.0), x.dtype.type(1.0)
    b, most = x.dtype.type(beta), x.dtype.type(threshold)
    for i in range(dy.size):
        z = b * source[i]
        e = exp(-abs(z))
        s = (e if z < zero else one) / (one + e)
        target[i] = g[i] * (one if z > most else s)
    return True


@sealed
def gelu_tanh(y, x):
    """As the reference. Measured: 3.9x."""
    source, target = x.reshape(x.size), y.reshape(x.size)
    t = x.dtype.type
    one, half, far, scale, cubic = t(1.0), t(0.5), t(40.0), t(_TANH_SCALE), t(_TANH_CUBIC)
    for i in range(x.size):
        v = source[i]
        near = far if v > far else (-far if v < -far else v)
        target[i] = half * v * (one + tanh(scale * near * (one + cubic * near * near)))
    return True


@sealed
def gelu_tanh_grad(dx, dy, x):
    """From the input x. Measured: 6.8x."""
    if x.shape != dy.shape:
        return False
    g, source, target = dy.reshape(dy.size), x.reshape(dy.size), dx.reshape(dy.size)
    t = x.dtype.type
    one, half, three, far, scale, cubic = t(1.0), t(0.5), t(3.0), t(40.0), t(_TANH_SCALE), t(_TANH_CUBIC)
    for i in range(dy.size):
        v = source[i]
        near = far if v > far else (-far if v < -far else v)
        h = tanh(scale * near * (one + cubic * near * near))
        slope = scale * (one + three * cubic * near * near)
        target[i] = g[i] * (half * (one + h) + half * near * (one - h * h) * slope)
    return True


VARIANTS: dict[Any, Callable[..., Any]] = {
    ops.relu: elementwise(ops.relu, covers, relu),
    ops.relu_grad: elementwise(ops.relu_grad, covers, relu_grad),
    ops.leaky_relu: elementwise(ops.leaky_relu, lambda x, _: covers(x), leaky_relu, float),
    ops.leaky_relu_grad: elementwise(ops.leaky_relu_grad, lambda dy, x, _: covers(dy, x), leaky_relu_grad, float),
    ops.elu: elementwise(ops.elu, lambda x, *_: covers(x), elu, float, float),
    ops.elu_grad: elementwise(ops.elu_grad, lambda dy, y, *_: covers(dy, y), elu_grad, float, float),
    ops.sigmoid: elementwise(ops.sigmoid, covers, sigmoid),
    ops.sigmoid_grad: elementwise(ops.sigmoid_grad, covers, sigmoid_grad),
    # LLVM makes vectors of half the width of AVX-512: NumPy is the quicker there.
    **({} if _uses_avx512("tanh") else {ops.tanh: elementwise(ops.tanh, covers, tanh_forward)}),
    ops.tanh_grad: elementwise(ops.tanh_grad, covers, tanh_grad),
    ops.silu: elementwise(ops.silu, covers, silu),
    ops.silu_grad: elementwise(ops.silu_grad, covers, silu_grad),
    ops.softplus_grad: elementwise(ops.softplus_grad, lambda dy, x, *_: covers(dy, x), softplus_grad, float, float),
    ops.gelu_tanh: elementwise(ops.gelu_tanh, covers, gelu_tanh),
    ops.gelu_tanh_grad: elementwise(ops.gelu_tanh_grad, covers, gelu_tanh_grad),
}
