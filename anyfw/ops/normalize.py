"""Normalisation: to zero mean and unit variance, or to unit root mean square, then an affine map.

All save the normalised axes' mean and `rstd`, the reciprocal of their standard deviation, and compute the
normalised x anew in backward: a kernel that holds x in a register then reads and writes nothing more.
"""

from anyfw.core.arrays import Array, namespace
from anyfw.ops.dispatch import op

MaybeArray = Array | None


@op
def layer_norm(x: Array, /, weight: MaybeArray, bias: MaybeArray, eps: float) -> tuple[Array, Array, Array]:
    """(x - mean) / sqrt(variance + eps) of each row, times weight, plus bias.

    Shapes:
        x: (rows, features); weight, bias: (features,) or None; returns y (rows, features), mean and rstd (rows, 1).
    """
    xp = namespace(x)
    mean = xp.mean(x, axis=1, keepdims=True)
    centred = x - mean
    # The variance of the centred numbers, not the mean of squares less the square of the mean, which cancels.
    rstd = 1.0 / xp.sqrt(xp.mean(centred * centred, axis=1, keepdims=True) + eps)
    return _affine(centred * rstd, weight, bias), mean, rstd


@op
def layer_norm_grad(
    dy: Array, /, x: Array, weight: MaybeArray, mean: Array, rstd: Array
) -> tuple[Array, MaybeArray, Array]:
    """The gradients by x, weight and bias; that by weight is None where there is none.

    With z = (x - mean) rstd and g = dy weight: mean and rstd both depend on every x of the row, which takes from g
    its parts along the constant vector and along z: dx = rstd (g - mean(g) - z mean(g z)).

    Shapes:
        as in `layer_norm`; returns dx (rows, features), dweight and dbias (features,).
    """
    xp = namespace(dy)
    z = (x - mean) * rstd
    g = dy if weight is None else dy * weight
    along_z = xp.mean(g * z, axis=1, keepdims=True)
    dx = rstd * (g - xp.mean(g, axis=1, keepdims=True) - z * along_z)
    return dx, None if weight is None else xp.sum(dy * z, axis=0), xp.sum(dy, axis=0)


@op
def rms_norm(x: Array, /, weight: MaybeArray, eps: float) -> tuple[Array, Array]:
    """X / sqrt(mean(x^2) + eps) of each row, times weight.

    Shapes:
        x: (rows, features); weight: (features,) or None; returns y (rows, features) and rstd (rows, 1).
    """
    xp = namespace(x)
    rstd = 1.0 / xp.sqrt(xp.mean(x * x, axis=1, keepdims=True) + eps)
    return _affine(x * rstd, weight, None), rstd


@op
def rms_norm_grad(dy: Array, /, x: Array, weight: MaybeArray, rstd: Array) -> tuple[Array, MaybeArray]:
    """The gradients by x and weight; that by weight is None where there is none.

    As `layer_norm_grad` without a mean: with z = x rstd and g = dy weight, dx = rstd (g - z mean(g z)).

    Shapes:
        as in `rms_norm`; returns dx (rows, features) and dweight (features,).
    """
    xp = namespace(dy)
    z = x * rstd
    g = dy if weight is None else dy * weight
    dx = rstd * (g - z * xp.mean(g * z, axis=1, keepdims=True))
    return dx, None if weight is None else xp.sum(dy * z, axis=0)


@op
def batch_norm(x: Array, /, weight: MaybeArray, bias: MaybeArray, eps: float) -> tuple[Array, Array, Array, Array]:
    """(x - mean) / sqrt(variance + eps) of each feature over the batch, times weight, plus bias.

    Shapes:
        x: (batch, features) or (batch, features, time); weight, bias: (features,) or None; returns y as x, and mean,
        variance (of all, not of all but one) and rstd, (features,).
    """
    xp = namespace(x)
    axes = _all_but_features(x)
    mean = xp.mean(x, axis=axes)
    centred = x - _column(mean, x)
    variance = xp.mean(centred * centred, axis=axes)
    rstd = 1.0 / xp.sqrt(variance + eps)
    centred *= _column(rstd, x)
    return _affine(centred, _column(weight, x), _column(bias, x)), mean, variance, rstd


@op
def batch_norm_grad(
    dy: Array, /, x: Array, weight: MaybeArray, mean: Array, rstd: Array
) -> tuple[Array, MaybeArray, Array]:
    """The gradients by x, weight and bias; that by weight is None where there is none.

    With z = (x - mean) rstd, mean and rstd depend on every x of the feature. dmean/dx = 1/n, drstd/dx = -rstd^2 z/n,
    so dy loses its parts along the constant vector and along z:
        dx = weight rstd (dy - sum(dy)/n - z sum(dy z)/n), where sum(dy z) = dweight and sum(dy) = dbias.

    Shapes:
        as in `batch_norm`; returns dx as x, dweight and dbias (features,).
    """
    xp = namespace(dy)
    axes = _all_but_features(x)
    n = float(x.shape[0] * (x.shape[2] if x.ndim == 3 else 1))
    z = (x - _column(mean, x)) * _column(rstd, x)
    dweight, dbias = xp.sum(dy * z, axis=axes), xp.sum(dy, axis=axes)
    z *= _column(dweight / n, x)
    slope = rstd if weight is None else weight * rstd
    dx = _column(slope, x) * (dy - _column(dbias / n, x) - z)
    return dx, None if weight is None else dweight, dbias


@op
def batch_norm_inference(
    x: Array, /, weight: MaybeArray, bias: MaybeArray, mean: Array, variance: Array, eps: float
) -> Array:
    """As `batch_norm` with a given mean and variance: one line for each feature, y = slope x + shift.

    Shapes:
        as in `batch_norm`; mean, variance: (features,).
    """
    slope = 1.0 / namespace(x).sqrt(variance + eps)
    if weight is not None:
        slope *= weight
    shift = -mean * slope
    if bias is not None:
        shift += bias
    return x * _column(slope, x) + _column(shift, x)


def _affine(z: Array, weight: MaybeArray, bias: MaybeArray) -> Array:
    # z is the caller's own temporary: no third array for the result.
    if weight is not None:
        z *= weight
    if bias is not None:
        z += bias
    return z


def _all_but_features(x: Array) -> tuple[int, ...]:
    return (0, 2) if x.ndim == 3 else (0,)


def _column(vector: MaybeArray, x: Array) -> Array:
    return vector if vector is None or x.ndim == 2 else namespace(x).reshape(vector, (-1, 1))
