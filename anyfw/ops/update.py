"""Optimiser updates: one pass over flat vectors, in place.

Every op takes the vector of values first and changes it and its state vectors, all of shape (n,), of one dtype and
device; the gradient stays as it is. Hyperparameters are Python floats. What changes from step to step is a `Rate`: a
float too, or, in a recorded step that must not ask the host, a 0-d array of data's dtype beside it.
"""

from anyfw.core.arrays import Array, namespace
from anyfw.ops.dispatch import op

Rate = float | Array


@op
def sgd_(
    data: Array,
    /,
    grad: Array,
    buffer: Array | None,
    *,
    lr: Rate,
    kept: Rate,
    taken: Rate,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """b = kept b + taken g; data -= lr b, or lr (g + momentum b) by Nesterov.

    Without a buffer: data -= lr g. In both, g has weight_decay * data added.
    """
    grad = penalised(grad, data, 0.0, weight_decay)
    if buffer is not None:
        buffer *= kept
        buffer += grad * taken
        grad = grad + buffer * momentum if nesterov else buffer
    data -= grad * lr


@op
def adam_(
    data: Array,
    /,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    max_exp_avg_sq: Array | None,
    *,
    rate: Rate,
    unbias: Rate,
    shrink: Rate | None,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; data -= rate m / (unbias sqrt(v) + eps).

    With a third vector, the root is of the largest v so far. Data is multiplied by `shrink` first, where there is one;
    g has weight_decay * data added.
    """
    xp = namespace(data)
    beta1, beta2 = betas
    if shrink is not None:
        data *= shrink
    grad = penalised(grad, data, 0.0, weight_decay)
    change = grad - exp_avg
    change *= 1.0 - beta1
    exp_avg += change
    change = grad * grad
    change *= 1.0 - beta2
    exp_avg_sq *= beta2
    exp_avg_sq += change
    if max_exp_avg_sq is not None:
        max_exp_avg_sq[...] = xp.maximum(max_exp_avg_sq, exp_avg_sq)
        exp_avg_sq = max_exp_avg_sq
    root = xp.sqrt(exp_avg_sq)
    root *= unbias
    root += _positive(eps, data)
    change = exp_avg / root
    change *= rate
    data -= change


@op
def rmsprop_(
    data: Array,
    /,
    grad: Array,
    square_avg: Array,
    grad_avg: Array | None,
    buffer: Array | None,
    *,
    lr: Rate,
    alpha: float,
    eps: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """v = alpha v + (1 - alpha) g^2; data -= lr g / (sqrt(v) + eps).

    With grad_avg the root is of v minus the square of the mean gradient; with a buffer, b = momentum b + that quotient
    and data -= lr b.
    """
    xp = namespace(data)
    grad = penalised(grad, data, 0.0, weight_decay)
    change = grad * grad
    change *= 1.0 - alpha
    square_avg *= alpha
    square_avg += change
    if grad_avg is None:
        root = xp.sqrt(square_avg)
    else:
        grad_avg += (grad - grad_avg) * (1.0 - alpha)
        # A constant gradient has no variance; rounding may leave it a little below zero, whose root is NaN.
        root = xp.sqrt(xp.maximum(square_avg - grad_avg * grad_avg, 0.0))
    root += _positive(eps, data)
    change = grad / root
    if buffer is not None:
        buffer *= momentum
        buffer += change
        change = buffer
    data -= change * lr


@op
def adagrad_(
    data: Array,
    /,
    grad: Array,
    total: Array,
    *,
    rate: Rate,
    eps: float,
    weight_decay: float,
) -> None:
    """s = s + g^2; data -= rate g / (sqrt(s) + eps)."""
    grad = penalised(grad, data, 0.0, weight_decay)
    total += grad * grad
    root = namespace(data).sqrt(total)
    root += _positive(eps, data)
    change = grad / root
    change *= rate
    data -= change


@op
def average_(average: Array, /, data: Array, *, decay: float) -> None:
    """Average = decay average + (1 - decay) data."""
    average += (data - average) * (1.0 - decay)


@op
def penalised(grad: Array, /, data: Array, l1: float, l2: float) -> Array:
    """Grad + l1 sign(data) + l2 data, as a new array; grad itself where both are 0."""
    if l1:
        xp = namespace(data)
        # The standard's sign waits for the device on CuPy.
        grad = grad + (xp.astype(data > 0, data.dtype) - xp.astype(data < 0, data.dtype)) * l1
    if l2:
        grad = grad + data * l2
    return grad


@op
def square_sum(x: Array, /) -> Array:
    """The sum of all squares, a 0-d array."""
    return namespace(x).sum(x * x)


@op
def scale_to_norm_(x: Array, /, norm: Array, limit: float) -> None:
    """Multiply x by min(1, limit / (norm + 1e-6)), with the norm of all that is scaled, a 0-d array."""
    x *= namespace(x).minimum(limit / (norm + 1e-6), 1.0)


@op
def clip_(x: Array, /, limit: float) -> None:
    """Confine x to [-limit, limit]."""
    xp = namespace(x)
    x[...] = xp.minimum(xp.maximum(x, -limit), limit)


def _positive(eps: float, data: Array) -> float:
    # The padding of a pack has zero gradients for ever: with eps = 0 it would divide zero by zero.
    return eps or float(namespace(data).finfo(data.dtype).smallest_normal)
