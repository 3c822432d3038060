"""Softmax and its logarithm along one axis."""

from anyfw.core.arrays import Array, namespace
from anyfw.ops.dispatch import op


@op
def softmax(x: Array, /, axis: int) -> Array:
    """exp(x) / sum exp(x) along the axis, after subtracting the largest x, which changes nothing but the range."""
    xp = namespace(x)
    y = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    y /= xp.sum(y, axis=axis, keepdims=True)
    return y


@op
def softmax_grad(dy: Array, /, y: Array, axis: int) -> Array:
    """Y (dy - sum(dy y)), of the output y: the Jacobian is diag(y) - y y^T."""
    inner = namespace(dy).sum(dy * y, axis=axis, keepdims=True)
    return y * (dy - inner)


@op
def log_softmax(x: Array, /, axis: int) -> Array:
    """X - log sum exp(x) along the axis, without a logarithm of 0 where a probability underflows."""
    xp = namespace(x)
    y = x - xp.max(x, axis=axis, keepdims=True)
    y -= xp.log(xp.sum(xp.exp(y), axis=axis, keepdims=True))
    return y


@op
def log_softmax_grad(dy: Array, /, y: Array, axis: int) -> Array:
    """Dy - softmax(x) sum(dy), of the output y, whose exponential is the softmax."""
    xp = namespace(dy)
    return dy - xp.exp(y) * xp.sum(dy, axis=axis, keepdims=True)
