"""Losses: each op returns (losses, dy), the loss of every element or row and its gradient by y, not reduced.

Gradients are fresh arrays, so that the caller may scale them in place.
"""

import math

from anyfw.core.arrays import Array, namespace
from anyfw.ops.dispatch import op

# Below it PyTorch divides no gradient of BCELoss; its 1e-12 is a float32.
_FLOOR = 9.999999960041972e-13


@op
def squared_error(y: Array, /, target: Array) -> tuple[Array, Array]:
    """L = (y - t)^2; dy = 2 (y - t). Shapes: all alike."""
    error = y - target
    return error * error, 2.0 * error


@op
def absolute_error(y: Array, /, target: Array) -> tuple[Array, Array]:
    """L = |y - t|; dy = the sign of y - t, 0 at 0. Shapes: all alike."""
    xp = namespace(y)
    error = y - target
    # Not xp.sign: on CuPy it waits for the device.
    return xp.abs(error), xp.astype(error > 0, y.dtype) - xp.astype(error < 0, y.dtype)


@op
def huber(y: Array, /, target: Array, delta: float) -> tuple[Array, Array]:
    """L = e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), with e = y - t. Shapes: all alike."""
    xp = namespace(y)
    error = y - target
    # With the clipped error c both branches are c (e - c / 2); c is the gradient, too.
    dy = xp.minimum(xp.maximum(error, -delta), delta)
    return dy * (error - 0.5 * dy), dy


@op
def binary_cross_entropy(y: Array, /, target: Array) -> tuple[Array, Array]:
    """L = -t log y - (1 - t) log(1 - y), logarithms at least -100; y are probabilities. Shapes: all alike."""
    xp = namespace(y)
    # The argument is replaced where the logarithm would be infinite: no warning, and NaN stays NaN.
    zero, one = y == 0, y == 1
    log_y = xp.where(zero, -100.0, xp.maximum(xp.log(xp.where(zero, 1.0, y)), -100.0))
    log_rest = xp.where(one, -100.0, xp.maximum(xp.log1p(-xp.where(one, 0.0, y)), -100.0))
    losses = (target - 1.0) * log_rest - target * log_y
    return losses, (y - target) / xp.maximum(y * (1.0 - y), _FLOOR)


@op
def binary_cross_entropy_with_logits(
    y: Array, /, target: Array, pos_weight: Array | None = None
) -> tuple[Array, Array]:
    """L = -p t log s(y) - (1 - t) log(1 - s(y)) with s the sigmoid and p = pos_weight, 1 by default.

    Shapes:
        y, target and what is returned: alike; pos_weight: broadcasts to y.
    """
    xp = namespace(y)
    small = xp.exp(-xp.abs(y))
    # -log s(y) = log(1 + e^-|y|) + max(-y, 0): no exponential of a positive number.
    softplus = xp.log1p(small) + xp.maximum(-y, 0.0)
    sigmoid = xp.where(y >= 0, 1.0, small) / (1.0 + small)
    if pos_weight is None:
        return (1.0 - target) * y + softplus, sigmoid - target
    # Of the two classes' weights, a on 1 and b on 0: L = b y + (a + b) softplus(-y); dy = b - (a + b) s(-y).
    negative = 1.0 - target
    both = pos_weight * target + negative
    rest = xp.where(y >= 0, small, 1.0) / (1.0 + small)
    return negative * y + both * softplus, negative - both * rest


@op
def cross_entropy(y: Array, /, target: Array) -> tuple[Array, Array]:
    """L = log sum exp(y) - y[t]; dy = softmax(y) - onehot(t).

    Shapes:
        y: (..., classes); target: (...), integers in 0 ... classes-1; losses: (...); dy: (..., classes).
    """
    xp = namespace(y)
    shifted = y - xp.max(y, axis=-1, keepdims=True)
    dy = xp.exp(shifted)
    total = xp.sum(dy, axis=-1, keepdims=True)
    dy /= total
    index = label_index(target)
    losses = xp.log(total) - xp.take_along_axis(shifted, index, axis=-1)
    dy -= one_hot(index, y)
    return losses[..., 0], dy


@op
def soft_cross_entropy(y: Array, /, coefficients: Array) -> tuple[Array, Array]:
    """L = -sum_c a_c log softmax(y)_c, for coefficients a that need not sum to 1.

    Shapes:
        y, coefficients and dy: (..., classes); losses: (...).
    """
    xp = namespace(y)
    shifted = y - xp.max(y, axis=-1, keepdims=True)
    dy = xp.exp(shifted)
    total = xp.sum(dy, axis=-1, keepdims=True)
    # dL/dy_c = softmax_c sum(a) - a_c. Both terms of the loss are positive: nothing cancels.
    mass = xp.sum(coefficients, axis=-1, keepdims=True)
    losses = mass * xp.log(total) - xp.sum(coefficients * shifted, axis=-1, keepdims=True)
    dy *= mass / total
    dy -= coefficients
    return losses[..., 0], dy


@op
def negative_log_likelihood(y: Array, /, target: Array) -> tuple[Array, Array]:
    """L = -y[t]; dy = -onehot(t).

    Shapes:
        y: (..., classes), log-probabilities; target: (...), integers; losses: (...); dy: (..., classes).
    """
    index = label_index(target)
    return -namespace(y).take_along_axis(y, index, axis=-1)[..., 0], -one_hot(index, y)


@op
def hinge(y: Array, /, target: Array, margin: float) -> tuple[Array, Array]:
    """L = max(0, margin - t y); dy = -t where that is positive. Shapes: all alike; targets -1 or 1."""
    xp = namespace(y)
    slack = margin - target * y
    return xp.maximum(slack, 0.0), -target * xp.astype(slack > 0, y.dtype)


@op
def multiclass_hinge(y: Array, /, target: Array, margin: float) -> tuple[Array, Array]:
    """L = max(0, margin + max_{c != t} y_c - y_t); dy = 1 at the strongest rival and -1 at t where L > 0.

    Shapes:
        y: (..., classes); target: (...), integers; losses: (...); dy: (..., classes).
    """
    xp = namespace(y)
    index = label_index(target)
    classes = class_range(index, y.shape[-1])
    rivals = xp.where(classes == index, -math.inf, y)
    rival = xp.expand_dims(xp.argmax(rivals, axis=-1), axis=-1)
    slack = margin + xp.max(rivals, axis=-1, keepdims=True) - xp.take_along_axis(y, index, axis=-1)
    dy = xp.astype(classes == rival, y.dtype) - xp.astype(classes == index, y.dtype)
    dy *= xp.astype(slack > 0, y.dtype)
    return xp.maximum(slack, 0.0)[..., 0], dy


@op
def kl_divergence(y: Array, /, target: Array, log_target: bool) -> tuple[Array, Array]:
    """L = t (log t - y), 0 where t is 0; dy = -t. With `log_target`, target is log t. Shapes: all alike."""
    xp = namespace(y)
    if log_target:
        probability = xp.exp(target)
        log_probability = xp.where(probability == 0, 0.0, target)
    else:
        probability = target
        log_probability = xp.log(xp.where(target == 0, 1.0, target))
    return probability * (log_probability - y), -probability


@op
def mean_(losses: Array, /, dy: Array, count: float) -> Array:
    """The sum of all losses by count; dy is divided by it, too, in place."""
    dy *= 1.0 / count
    return namespace(losses).sum(losses) / count


def label_index(target: Array, /) -> Array:
    """Labels as `take_along_axis` takes them: (...) becomes (..., 1), int64."""
    xp = namespace(target)
    return xp.expand_dims(xp.astype(target, xp.int64, copy=False), axis=-1)


def class_range(index: Array, classes: int) -> Array:
    """0 ... classes-1 beside `index`, of its dtype and on its device."""
    return namespace(index).arange(classes, dtype=index.dtype, device=index.device)


def one_hot(index: Array, like: Array) -> Array:
    """Rows with a 1 at index, in the dtype of `like` and with as many classes. Shapes: (..., 1) to (..., classes)."""
    return namespace(like).astype(class_range(index, like.shape[-1]) == index, like.dtype)
