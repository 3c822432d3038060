"""Activations: each one and its gradient, as a pair `foo` and `foo_grad`.

A gradient takes dy and what it needs of the forward pass: the output y where that is enough, else the input x.
All are safe for inputs of any finite size: exponentials are taken of numbers that are not positive.
"""

import math

from anyfw.core.arrays import Array, namespace
from anyfw.ops.dispatch import op
from anyfw.ops.special import erf

_TANH_SCALE = math.sqrt(2.0 / math.pi)
_TANH_CUBIC = 0.044715
# Where both forms of GELU have long become x or 0, also in float64; squares and cubes of it are harmless.
_GELU_FAR = 40.0


@op
def relu(x: Array, /) -> Array:
    """max(x, 0)."""
    return namespace(x).maximum(x, 0.0)


@op
def relu_grad(dy: Array, /, y: Array) -> Array:
    """Dy where the output y is positive, else 0."""
    return dy * namespace(dy).astype(y > 0, dy.dtype)


@op
def leaky_relu(x: Array, /, slope: float) -> Array:
    """X where it is positive, else slope x."""
    xp = namespace(x)
    # The higher of two lines up to slope 1, the lower above it: one pass without a mask.
    return xp.maximum(x, slope * x) if slope <= 1.0 else xp.minimum(x, slope * x)


@op
def leaky_relu_grad(dy: Array, /, x: Array, slope: float) -> Array:
    """Dy where the input x is positive, else slope dy."""
    return namespace(dy).where(x > 0, dy, slope * dy)


@op
def elu(x: Array, /, alpha: float, scale: float) -> Array:
    """Scale x where x is positive, else scale alpha (exp(x) - 1)."""
    xp = namespace(x)
    return xp.where(x > 0, scale * x, (scale * alpha) * xp.expm1(xp.minimum(x, 0.0)))


@op
def elu_grad(dy: Array, /, y: Array, alpha: float, scale: float) -> Array:
    """Scale dy where the output y is positive, else dy (y + scale alpha); alpha and scale are not negative."""
    return dy * namespace(dy).where(y > 0, scale, y + scale * alpha)


@op
def sigmoid(x: Array, /) -> Array:
    """1 / (1 + exp(-x)), with full relative precision on both sides."""
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x < 0, e, 1.0) / (1.0 + e)


@op
def sigmoid_grad(dy: Array, /, y: Array) -> Array:
    """Dy y (1 - y), of the output y."""
    return dy * (y * (1.0 - y))


@op
def tanh(x: Array, /) -> Array:
    """The hyperbolic tangent."""
    return namespace(x).tanh(x)


@op
def tanh_grad(dy: Array, /, y: Array) -> Array:
    """Dy (1 - y^2), of the output y."""
    return dy * (1.0 - y * y)


@op
def silu(x: Array, /) -> Array:
    """X sigmoid(x)."""
    return x * sigmoid(x)


@op
def silu_grad(dy: Array, /, x: Array) -> Array:
    """Dy s (1 + x (1 - s)), with s = sigmoid(x) of the input x."""
    s = sigmoid(x)
    return dy * (s * (1.0 + x * (1.0 - s)))


@op
def softplus(x: Array, /, beta: float, threshold: float) -> Array:
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold."""
    xp = namespace(x)
    z = beta * x
    smooth = (xp.maximum(z, 0.0) + xp.log1p(xp.exp(-xp.abs(z)))) / beta
    return xp.where(z > threshold, x, smooth)


@op
def softplus_grad(dy: Array, /, x: Array, beta: float, threshold: float) -> Array:
    """Dy sigmoid(beta x), of the input x; dy itself where beta x is above the threshold."""
    z = beta * x
    return namespace(dy).where(z > threshold, dy, dy * sigmoid(z))


@op
def gelu(x: Array, /) -> Array:
    """X times the normal distribution function at x, by erf."""
    return x * _normal_cdf(x)


@op
def gelu_grad(dy: Array, /, x: Array) -> Array:
    """Dy (cdf(x) + x pdf(x)), of the input x, with the normal distribution's cdf and density pdf."""
    near = _near(x)
    density = namespace(dy).exp(-0.5 * near * near) * (1.0 / math.sqrt(2.0 * math.pi))
    return dy * (_normal_cdf(x) + near * density)


@op
def gelu_tanh(x: Array, /) -> Array:
    """X (1 + tanh(u)) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3)."""
    return 0.5 * x * (1.0 + _gelu_tanh(_near(x)))


@op
def gelu_tanh_grad(dy: Array, /, x: Array) -> Array:
    """Dy ((1 + t) / 2 + x (1 - t^2) u' / 2), of the input x, with t = tanh(u)."""
    near = _near(x)
    t = _gelu_tanh(near)
    slope = _TANH_SCALE * (1.0 + 3.0 * _TANH_CUBIC * near * near)
    return dy * (0.5 * (1.0 + t) + 0.5 * near * (1.0 - t * t) * slope)


def _near(x: Array) -> Array:
    xp = namespace(x)
    return xp.maximum(xp.minimum(x, _GELU_FAR), -_GELU_FAR)


def _normal_cdf(x: Array) -> Array:
    return 0.5 * (1.0 + erf(x * math.sqrt(0.5)))


def _gelu_tanh(near: Array) -> Array:
    return namespace(near).tanh(_TANH_SCALE * near * (1.0 + _TANH_CUBIC * near * near))
