"""Initialisers: a function of (shape, stream) that draws float64 values on the host.

A layer takes one by name ("he_normal"), a number (that constant) or any function of the same signature.
`fan_in` is the number of inputs of one output, `fan_out` the number of outputs of one input; shapes are (out, in, ...).
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import ConfigError, UnknownNameError
from anyfw.core.random import Stream

Shape = tuple[int, ...]
Values = NDArray[np.float64]
Initializer = Callable[[Shape, Stream], Values]


def zeros(shape: Shape, stream: Stream) -> Values:  # noqa: ARG001 - one signature for all
    """All 0."""
    return np.zeros(shape)


def ones(shape: Shape, stream: Stream) -> Values:  # noqa: ARG001 - one signature for all
    """All 1."""
    return np.ones(shape)


def constant(value: float) -> Initializer:
    """All `value`; a layer also takes the bare number."""
    return lambda shape, _stream: np.full(shape, float(value))


def lecun_normal(shape: Shape, stream: Stream) -> Values:
    """Normal with variance 1 / fan_in. Source: LeCun et al., "Efficient BackProp", 1998, section 4.6."""
    return _normal(shape, stream, 1.0 / _fans(shape)[0])


def lecun_uniform(shape: Shape, stream: Stream) -> Values:
    """Uniform with variance 1 / fan_in. Source: LeCun et al., "Efficient BackProp", 1998, section 4.6."""
    return _uniform(shape, stream, 1.0 / _fans(shape)[0])


def glorot_normal(shape: Shape, stream: Stream) -> Values:
    """Normal with variance 2 / (fan_in + fan_out). Source: Glorot and Bengio, AISTATS 2010, equation 12."""
    return _normal(shape, stream, 2.0 / sum(_fans(shape)))


def glorot_uniform(shape: Shape, stream: Stream) -> Values:
    """Uniform with variance 2 / (fan_in + fan_out). Source: Glorot and Bengio, AISTATS 2010, equation 16."""
    return _uniform(shape, stream, 2.0 / sum(_fans(shape)))


def he_normal(shape: Shape, stream: Stream) -> Values:
    """Normal with variance 2 / fan_in, for ReLU. Source: He et al., arXiv:1502.01852, equation 10."""
    return _normal(shape, stream, 2.0 / _fans(shape)[0])


def he_uniform(shape: Shape, stream: Stream) -> Values:
    """Uniform with variance 2 / fan_in, for ReLU. Source: He et al., arXiv:1502.01852, equation 10."""
    return _uniform(shape, stream, 2.0 / _fans(shape)[0])


def orthogonal(shape: Shape, stream: Stream) -> Values:
    """Orthonormal rows (or columns, where there are more rows). Source: Saxe et al., arXiv:1312.6120.

    The factorisation comes from LAPACK: the last bits may differ from machine to machine.
    """
    rows = shape[0]
    columns = math.prod(shape[1:])
    q, r = np.linalg.qr(stream.normal((max(rows, columns), min(rows, columns))))
    # QR leaves the signs open; fixing them makes the draw uniform over the orthogonal group (Mezzadri 2007).
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray(q if rows >= columns else q.T).reshape(shape)


NAMED: dict[str, Initializer] = {
    function.__name__: function
    for function in (
        zeros,
        ones,
        lecun_normal,
        lecun_uniform,
        glorot_normal,
        glorot_uniform,
        he_normal,
        he_uniform,
        orthogonal,
    )
}


def resolve(spec: str | float | Initializer) -> Initializer:
    """The initialiser that a name, a number or a function stands for.

    Raises:
        UnknownNameError: no initialiser has this name.
        ConfigError: `spec` is none of the three.
    """
    if isinstance(spec, str):
        if spec not in NAMED:
            raise UnknownNameError("initialiser", spec, NAMED)
        return NAMED[spec]
    if isinstance(spec, int | float) and not isinstance(spec, bool):
        return constant(spec)
    if callable(spec):
        return spec
    raise ConfigError(f"An initialiser is a name, a number or a function, got {spec!r}")


def _fans(shape: Shape) -> tuple[int, int]:
    if len(shape) < 2:
        return (math.prod(shape), math.prod(shape))
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _normal(shape: Shape, stream: Stream, variance: float) -> Values:
    values = stream.normal(shape)
    values *= math.sqrt(variance)
    return values


def _uniform(shape: Shape, stream: Stream, variance: float) -> Values:
    values = stream.uniform(shape)
    values *= 2.0
    values -= 1.0
    values *= math.sqrt(3.0 * variance)
    return values
