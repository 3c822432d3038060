"""Ops on rows: softmax, cross-entropy and normalisation, each row held in the fastest cache while it is used."""

import math
from typing import Any

import numpy as np

from anyfw.backends.numpy.compiled.jit import covers, covers_dtype, elementwise, exp, guarded, kernel, sealed, unseal
from anyfw.core.arrays import Array
from anyfw.ops import loss, normalize, softmax


@sealed
def _softmax(y, x, axis):
    if x.shape[1] == 0 or (axis != 1 and axis != -1):
        return False
    rows, classes = x.shape
    for r in range(rows):
        top = x[r, 0]
        for c in range(classes):
            top = top if top >= x[r, c] else x[r, c]
        total = x.dtype.type(0.0)
        for c in range(classes):
            e = exp(x[r, c] - top)
            y[r, c] = e
            total += e
        scale = x.dtype.type(1.0) / total
        for c in range(classes):
            y[r, c] *= scale
    return True


@sealed
def _softmax_grad(dx, dy, y, axis):
    if y.shape != dy.shape or (axis != 1 and axis != -1):
        return False
    for r in range(dy.shape[0]):
        inner = dy.dtype.type(0.0)
        for c in range(dy.shape[1]):
            inner += dy[r, c] * y[r, c]
        for c in range(dy.shape[1]):
            dx[r, c] = y[r, c] * (dy[r, c] - inner)
    return True


@sealed
def _log_softmax(y, x, axis):
    if x.shape[1] == 0 or (axis != 1 and axis != -1):
        return False
    rows, classes = x.shape
    for r in range(rows):
        top = x[r, 0]
        for c in range(classes):
            top = top if top >= x[r, c] else x[r, c]
        total = x.dtype.type(0.0)
        for c in range(classes):
            total += exp(x[r, c] - top)
        shift = x.dtype.type(math.log(total))
        for c in range(classes):
            y[r, c] = (x[r, c] - top) - shift
    return True


@sealed
def _log_softmax_grad(dx, dy, y, axis):
    if y.shape != dy.shape or (axis != 1 and axis != -1):
        return False
    for r in range(dy.shape[0]):
        total = dy.dtype.type(0.0)
        for c in range(dy.shape[1]):
            total += dy[r, c]
        for c in range(dy.shape[1]):
            dx[r, c] = dy[r, c] - exp(y[r, c]) * total
    return True


@sealed
def _cross_entropy(losses, dy, y, target):
    rows, classes = y.shape
    if target.size != rows:
        return False
    one = y.dtype.type(1.0)
    for r in range(rows):
        top = y[r, 0]
        for c in range(classes):
            top = top if top >= y[r, c] else y[r, c]
        total = y.dtype.type(0.0)
        for c in range(classes):
            e = exp(y[r, c] - top)
            dy[r, c] = e
            total += e
        scale = one / total
        for c in range(classes):
            dy[r, c] *= scale
        t = target[r]
        if t < 0 or t >= classes:
            # What to say of it is the reference's.
            return False
        losses[r] = y.dtype.type(math.log(total)) - (y[r, t] - top)
        dy[r, t] -= one
    return True


def cross_entropy(y: Array, target: Array) -> tuple[Array, Array]:
    """Losses and gradient in one pass over each row; labels out of range are left to the reference."""
    losses, dy = np.empty(y.shape[:1], y.dtype), np.empty_like(y)
    try:
        done = _cross_entropy(losses, dy, y, target)
    except TypeError:
        done = (
            (y.ndim == 2 and target.ndim == 1 and target.dtype.kind in "iu")
            and covers(y)
            and unseal(_cross_entropy, losses, dy, y, target)
        )
    return (losses, dy) if done else loss.cross_entropy.dispatch(object)(y, target)


@sealed
def _mean(losses, dy, count):
    scale = dy.dtype.type(1.0 / count)
    values, slopes = losses.reshape(losses.size), dy.reshape(dy.size)
    total = 0.0
    for i in range(values.size):
        total += values[i]
    for i in range(slopes.size):
        slopes[i] *= scale
    return total / count


def mean_(losses: Array, dy: Array, count: float) -> Array:
    """Both passes in one call; the sum is taken in float64."""
    try:
        mean = _mean(losses, dy, count)
    except TypeError:
        if not (covers(losses) and covers(dy)):
            return loss.mean_.dispatch(object)(losses, dy, count)
        mean = unseal(_mean, losses, dy, count)
    return losses.dtype.type(mean)


@kernel
def _squared_error(y, target):
    losses, dy = np.empty_like(y), np.empty_like(y)
    a, b, c, d = y.reshape(y.size), target.reshape(y.size), losses.reshape(y.size), dy.reshape(y.size)
    for i in range(y.size):
        error = a[i] - b[i]
        c[i] = error * error
        d[i] = error + error
    return losses, dy


@kernel
def _layer_norm(x, weight, bias, eps):
    rows, features = x.shape
    t = x.dtype.type
    y, mean, rstd = np.empty_like(x), np.empty((rows, 1), x.dtype), np.empty((rows, 1), x.dtype)
    scale = t(1.0) / t(features)
    for r in range(rows):
        total = t(0.0)
        for c in range(features):
            total += x[r, c]
        centre = total * scale
        total = t(0.0)
        for c in range(features):
            total += (x[r, c] - centre) * (x[r, c] - centre)
        s = t(1.0) / math.sqrt(total * scale + t(eps))
        mean[r, 0], rstd[r, 0] = centre, s
        for c in range(features):
            y[r, c] = (x[r, c] - centre) * s
        if weight is not None:
            for c in range(features):
                y[r, c] *= weight[c]
        if bias is not None:
            for c in range(features):
                y[r, c] += bias[c]
    return y, mean, rstd


@kernel
def _layer_norm_grad(dy, x, weight, mean, rstd):
    rows, features = x.shape
    t = x.dtype.type
    dx, dweight, dbias = np.empty_like(x), np.zeros(features, x.dtype), np.zeros(features, x.dtype)
    z, g = np.empty(features, x.dtype), np.empty(features, x.dtype)
    scale = t(1.0) / t(features)
    for r in range(rows):
        centre, s = mean[r, 0], rstd[r, 0]
        for c in range(features):
            z[c] = (x[r, c] - centre) * s
            g[c] = dy[r, c]
            dbias[c] += dy[r, c]
            dweight[c] += dy[r, c] * z[c]
        if weight is not None:
            for c in range(features):
                g[c] *= weight[c]
        total, along = t(0.0), t(0.0)
        for c in range(features):
            total += g[c]
            along += g[c] * z[c]
        total, along = total * scale, along * scale
        for c in range(features):
            dx[r, c] = s * (g[c] - total - z[c] * along)
    return dx, dweight, dbias


def layer_norm_grad(dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array) -> tuple[Any, Any, Any]:
    """All three gradients in one pass over each row."""
    if not (_rows(x, weight) and covers(dy, x) and _columns(x, mean, rstd)):
        return normalize.layer_norm_grad.dispatch(object)(dy, x, weight, mean, rstd)
    dx, dweight, dbias = _layer_norm_grad(dy, x, weight, mean, rstd)
    return dx, None if weight is None else dweight, dbias


@kernel
def _rms_norm(x, weight, eps):
    rows, features = x.shape
    t = x.dtype.type
    y, rstd = np.empty_like(x), np.empty((rows, 1), x.dtype)
    for r in range(rows):
        total = t(0.0)
        for c in range(features):
            total += x[r, c] * x[r, c]
        s = t(1.0) / math.sqrt(total / t(features) + t(eps))
        rstd[r, 0] = s
        for c in range(features):
            y[r, c] = x[r, c] * s
        if weight is not None:
            for c in range(features):
                y[r, c] *= weight[c]
    return y, rstd


@kernel
def _rms_norm_grad(dy, x, weight, rstd):
    rows, features = x.shape
    t = x.dtype.type
    dx, dweight = np.empty_like(x), np.zeros(features, x.dtype)
    z, g = np.empty(features, x.dtype), np.empty(features, x.dtype)
    for r in range(rows):
        s = rstd[r, 0]
        for c in range(features):
            z[c] = x[r, c] * s
            g[c] = dy[r, c]
            dweight[c] += dy[r, c] * z[c]
        if weight is not None:
            for c in range(features):
                g[c] *= weight[c]
        along = t(0.0)
        for c in range(features):
            along += g[c] * z[c]
        along = along / t(features)
        for c in range(features):
            dx[r, c] = s * (g[c] - z[c] * along)
    return dx, dweight


def rms_norm_grad(dy: Array, x: Array, weight: Array | None, rstd: Array) -> tuple[Any, Any]:
    """Both gradients in one pass over each row."""
    if not (_rows(x, weight) and covers(dy, x) and _columns(x, rstd)):
        return normalize.rms_norm_grad.dispatch(object)(dy, x, weight, rstd)
    dx, dweight = _rms_norm_grad(dy, x, weight, rstd)
    return dx, None if weight is None else dweight


@kernel
def _batch_norm(x, weight, bias, eps):
    rows, features = x.shape
    t = x.dtype.type
    y = np.empty_like(x)
    mean, variance, rstd = np.zeros(features, x.dtype), np.zeros(features, x.dtype), np.empty(features, x.dtype)
    scale = t(1.0) / t(rows)
    for r in range(rows):
        for c in range(features):
            mean[c] += x[r, c]
    for c in range(features):
        mean[c] *= scale
    for r in range(rows):
        for c in range(features):
            d = x[r, c] - mean[c]
            variance[c] += d * d
    for c in range(features):
        variance[c] *= scale
        rstd[c] = t(1.0) / math.sqrt(variance[c] + t(eps))
    slope, shift = rstd.copy(), np.zeros(features, x.dtype)
    if weight is not None:
        for c in range(features):
            slope[c] *= weight[c]
    if bias is not None:
        for c in range(features):
            shift[c] = bias[c]
    for r in range(rows):
        for c in range(features):
            y[r, c] = (x[r, c] - mean[c]) * slope[c] + shift[c]
    return y, mean, variance, rstd


@kernel
def _batch_norm_grad(dy, x, weight, mean, rstd):
    rows, features = x.shape
    t = x.dtype.type
    dx, dweight, dbias = np.empty_like(x), np.zeros(features, x.dtype), np.zeros(features, x.dtype)
    for r in range(rows):
        for c in range(features):
            dbias[c] += dy[r, c]
            dweight[c] += dy[r, c] * ((x[r, c] - mean[c]) * rstd[c])
    slope = rstd.copy()
    if weight is not None:
        for c in range(features):
            slope[c] *= weight[c]
    scale = t(1.0) / t(rows)
    along, level = dweight * scale, dbias * scale
    for r in range(rows):
        for c in range(features):
            z = (x[r, c] - mean[c]) * rstd[c]
            dx[r, c] = slope[c] * (dy[r, c] - level[c] - z * along[c])
    return dx, dweight, dbias


def batch_norm_grad(dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array) -> tuple[Any, Any, Any]:
    """All three gradients in two passes."""
    if not (_rows(x, weight, mean, rstd) and covers(dy, x)):
        return normalize.batch_norm_grad.dispatch(object)(dy, x, weight, mean, rstd)
    dx, dweight, dbias = _batch_norm_grad(dy, x, weight, mean, rstd)
    return dx, None if weight is None else dweight, dbias


def _rows(x: Array, *rest: Any) -> bool:
    # Ends of the argument lists that are numbers (eps) are no vectors; all vectors have one value for each feature.
    vectors = [v for v in rest if hasattr(v, "dtype")]
    return (
        x.ndim == 2
        and 0 not in x.shape
        and all(vector.shape == x.shape[1:] for vector in vectors)
        and covers_dtype(x, *vectors)
    )


def _columns(x: Array, *columns: Array) -> bool:
    return all(column.shape == (len(x), 1) for column in columns) and covers_dtype(x, *columns)


def _last_axis(x: Array, *rest: Any) -> bool:
    *others, axis = rest
    return x.ndim == 2 and x.shape[1] > 0 and axis in (-1, 1) and covers(x, *others)


VARIANTS = {
    softmax.softmax: elementwise(softmax.softmax, _last_axis, _softmax),
    softmax.softmax_grad: elementwise(softmax.softmax_grad, _last_axis, _softmax_grad),
    softmax.log_softmax: elementwise(softmax.log_softmax, _last_axis, _log_softmax),
    softmax.log_softmax_grad: elementwise(softmax.log_softmax_grad, _last_axis, _log_softmax_grad),
    loss.cross_entropy: cross_entropy,
    loss.squared_error: guarded(loss.squared_error, covers, _squared_error),
    loss.mean_: mean_,
    normalize.layer_norm: guarded(normalize.layer_norm, _rows, _layer_norm),
    normalize.layer_norm_grad: layer_norm_grad,
    normalize.rms_norm: guarded(normalize.rms_norm, _rows, _rms_norm),
    normalize.rms_norm_grad: rms_norm_grad,
    normalize.batch_norm: guarded(normalize.batch_norm, _rows, _batch_norm),
    normalize.batch_norm_grad: batch_norm_grad,
}
