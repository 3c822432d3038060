"""Counter-based randomness: every draw is a function of (seed, stream), with no generator state to save.

NumPy promises the raw output of Philox across versions and platforms, but not its distributions; so the words
come from NumPy and the distributions are ours, in float64 operations that IEEE 754 fixes to the last bit.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Philox4x64-10).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Word = str | int

_BLOCK = 1 << 14


def key(seed: int, *stream: Word) -> int:
    """The 128-bit key of a stream: a hash of the seed and the stream's name."""
    text = "\x1f".join(f"{type(item).__name__}:{item}" for item in (int(seed), *stream))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def words(n: int, seed: int, *stream: Word) -> NDArray[np.uint64]:
    """The first n 64-bit words of the stream; shape (n,).

    >>> words(2, 0, "example").tolist()
    [10352048985522751497, 10367254800501830026]
    """
    raw: NDArray[np.uint64] = _generator(seed, stream).random_raw(n)
    return raw


def uniform(shape: tuple[int, ...], seed: int, *stream: Word) -> NDArray[np.float64]:
    """Uniform float64 numbers in [0, 1), multiples of 2**-53."""
    return _filled(shape, seed, stream, lambda raw: (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def normal(shape: tuple[int, ...], seed: int, *stream: Word) -> NDArray[np.float64]:
    """Standard normal float64 numbers, by inversion of uniform ones in the open interval (0, 1)."""
    # 52 bits: with 53, the largest word plus one half would round to 1, whose quantile is infinite.
    return _filled(
        shape,
        seed,
        stream,
        lambda raw: _normal_quantile(((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52),
    )


def permutation(n: int, seed: int, *stream: Word) -> NDArray[np.int64]:
    """A random order of 0 ... n-1: the stable argsort of n words."""
    drawn = words(n, seed, *stream)
    # NumPy sorts four times as fast where equal words may come in any order; there are hardly ever any.
    order = np.argsort(drawn)
    ordered = drawn[order]
    if (ordered[1:] == ordered[:-1]).any():
        order = np.argsort(drawn, kind="stable")
    return order.astype(np.int64, copy=False)


def _generator(seed: int, stream: tuple[Word, ...]) -> np.random.Philox:
    bits = key(seed, *stream)
    return np.random.Philox(key=np.array([bits & (2**64 - 1), bits >> 64], dtype=np.uint64))


def _filled(
    shape: tuple[int, ...],
    seed: int,
    stream: tuple[Word, ...],
    numbers: Callable[[NDArray[np.uint64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    # In blocks, whose dozens of temporaries stay in the cache: for a large weight they would take gigabytes.
    values = np.empty(shape)
    flat, generator = values.reshape(-1), _generator(seed, stream)
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK]
        part[...] = numbers(generator.random_raw(part.size))
    return values


@dataclass(frozen=True)
class Stream:
    """One named stream, as an initialiser sees it."""

    seed: int
    names: tuple[Word, ...]

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Uniform float64 numbers in [0, 1)."""
        return uniform(shape, self.seed, *self.names)

    def normal(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Standard normal float64 numbers."""
        return normal(shape, self.seed, *self.names)


# Algorithm AS 241 (PPND16): three rational approximations, exact to about 1e-16.
# Source: M. J. Wichura, "The percentage points of the normal distribution", Applied Statistics 37(3), 1988.
_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_MIDDLE = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_TAIL = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


def _normal_quantile(p: NDArray[np.float64]) -> NDArray[np.float64]:
    q = p - 0.5
    r = np.sqrt(-_log(np.where(q < 0, p, 1.0 - p)))
    tail = np.where(r <= 5.0, _ratio(_MIDDLE, r - 1.6), _ratio(_TAIL, r - 5.0))
    centre = q * _ratio(_CENTRE, 0.180625 - q * q)
    return np.where(np.abs(q) <= 0.425, centre, np.copysign(tail, q))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: NDArray[np.float64]) -> NDArray[np.float64]:
    above, below = (_horner(row, x) for row in coefficients)
    return above / below


def _horner(coefficients: tuple[float, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    y = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        y = y * x + c
    return y


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    # The C library's log differs between platforms in the last bit; products and sums do not.
    # x = m 2^e with m in [sqrt(1/2), sqrt(2)), and log m = 2 artanh(s) with s = (m - 1) / (m + 1), |s| < 0.172.
    m, e = np.frexp(x)
    low = m < 0.7071067811865476
    m, e = np.where(low, 2.0 * m, m), e - low
    s = (m - 1.0) / (m + 1.0)
    series = _horner(tuple(1.0 / k for k in range(1, 25, 2)), s * s)
    return e * 0.6931471805599453 + 2.0 * s * series
