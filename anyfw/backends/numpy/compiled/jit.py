"""How kernels are compiled, and the elementary functions that LLVM can turn into vector instructions.

A call of the C library's `exp` keeps a loop scalar. The functions here are polynomials instead: of float32 within five
units in the last place, of float64 `exp` within one. The others of float64 are the C library's. What would be next
to the smallest or the largest number, below 2^-1022 or from 2^1023.5 on, is 0 and infinity.
"""

import functools
import logging
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from anyfw.core.arrays import Array

_log = logging.getLogger("anyfw")
_told = False

# Sums may be taken in any order and products contracted: what vector instructions need. NaN and infinity stay exact.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile at the first call for the arguments' types; kept on disk, or in memory where no folder can be written.

    Serial on purpose: numba's threads beside those of OpenBLAS cost far more than they bring.
    """
    try:
        compiled = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return numba.njit(**_OPTIONS)(function)
    _tell(Path(compiled.stats.cache_path))
    return compiled


def sealed(function: Callable[..., Any]) -> Any:
    """As `kernel`, but a call with types for which it was not compiled raises TypeError; `unseal` compiles it for them.

    numba looks up the types of all arguments at every call in any case. Where it must not compile, this look-up is the
    guard: what was accepted once needs no look from Python. The kernel itself returns False for shapes that do not fit.

    Where it must not compile, numba also turns each number into the kind that it did compile for, 0.5 into 0 too:
    whoever calls a sealed kernel gives each number one kind, by `float(...)` or `int(...)`.
    """
    compiled = kernel(function)
    # As `disable_compile()`, which refuses a function that was never compiled.
    compiled._can_compile = False
    return compiled


def unseal(compiled: Any, *args: Any) -> Any:
    """Compile a sealed kernel for the types of these arguments, which must be such as it is made for, and call it."""
    signature = tuple(map(numba.typeof, args))
    with _unsealing:
        if signature not in compiled.overloads:
            # By a twin: other threads, which may be calling it, must find this one sealed all the time.
            twin = kernel(compiled.py_func)
            twin.compile(signature)
            compiled.add_overload(twin.overloads[signature])
    return compiled(*args)


_unsealing = threading.Lock()

inline = numba.njit(**_OPTIONS)


def _tell(folder: Path) -> None:
    global _told
    if not _told:
        _told = True
        if not any(folder.glob("*.nbi")):
            _log.info("compiling the CPU kernels, once; they are kept in %s", folder)


def covers(x: Array, *others: Array) -> bool:
    """Whether a kernel may loop over these: contiguous, all float32 or all float64, alike in shape."""
    dtype, shape = x.dtype, x.shape
    if (dtype != _FLOAT32 and dtype != _FLOAT64) or not shape or not x.flags.c_contiguous:
        return False
    for other in others:  # noqa: SIM110 - a generator would cost more than the check
        if other.dtype != dtype or other.shape != shape or not other.flags.c_contiguous:
            return False
    return True


def covers_dtype(x: Array, *others: Array) -> bool:
    """Whether these are all float32 or all float64, for kernels that index and so take any strides."""
    dtype = x.dtype
    if dtype != _FLOAT32 and dtype != _FLOAT64:
        return False
    for other in others:  # noqa: SIM110 - a generator would cost more than the check
        if other.dtype != dtype:
            return False
    return True


def elementwise(
    op: Any, accepts: Callable[..., bool], compiled: Any, *numbers: Callable[[Any], Any]
) -> Callable[..., Any]:
    """A variant of the op, whose result is like its first argument: a sealed kernel for types that `accepts` takes.

    The result is made here: an array that numba makes takes a microsecond to become one of Python's.

    Args:
        op, accepts, compiled: `accepts` gets the arguments of the op, the kernel the result before them.
        numbers: `float` or `int` for each of the op's last arguments that is a number.
    """
    reference = op.dispatch(object)

    @functools.wraps(reference)
    def variant(x: Array, *rest: Any) -> Array:
        result = np.empty_like(x)
        if numbers:
            arrays = len(rest) - len(numbers)
            rest = *rest[:arrays], *(kind(value) for kind, value in zip(numbers, rest[arrays:], strict=True))
        try:
            done = compiled(result, x, *rest)
        except TypeError:
            done = accepts(x, *rest) and unseal(compiled, result, x, *rest)
        return result if done else reference(x, *rest)

    variant.__doc__ = compiled.__doc__
    return variant


def guarded(op: Any, accepts: Callable[..., bool], compiled: Callable[..., Any]) -> Callable[..., Any]:
    """A variant of the op: the kernel where `accepts` says so of the same arguments, else the reference."""
    reference = op.dispatch(object)

    @functools.wraps(reference)
    def variant(*args: Any) -> Any:
        return compiled(*args) if accepts(*args) else reference(*args)

    variant.__doc__ = compiled.__doc__
    return variant


_SAME_BITS = {
    types.int32: types.float32,
    types.int64: types.float64,
    types.float32: types.int32,
    types.float64: types.int64,
}


@intrinsic
def _same_bits(typing: Any, value: Any) -> Any:
    """The float with the bits of an integer, or the integer with those of a float."""
    kind = _SAME_BITS[value]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(kind))

    return kind(value), generate


_LOG2_E = np.float32(1.0 / math.log(2.0))
# ln 2 in two parts: the first has so few bits that its product with a small whole number is exact.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(math.log(2.0) - 0.693359375)
_LOWEST, _HIGHEST = np.float32(-87.33), np.float32(88.37)
_ONE, _HALF, _TWO, _ZERO, _TEN = (np.float32(value) for value in (1.0, 0.5, 2.0, 0.0, 10.0))
_C3, _C4, _C5, _C6, _C7, _C8 = (np.float32(1.0 / math.factorial(n)) for n in range(3, 9))


@inline
def _exp32(x):
    # x = n ln 2 + r with |r| <= ln 2 / 2, where seven terms of the series reach float32's precision; 2^n by its bits.
    # Below the smallest normal number it is 0, above the largest it is infinite; NaN stays NaN by the series.
    held = _HIGHEST if x > _HIGHEST else (_LOWEST if x < _LOWEST else x)
    n = np.floor(held * _LOG2_E + _HALF)
    r = held - n * _LN2_HIGH - n * _LN2_LOW
    series = _ONE + r * (_ONE + r * (_HALF + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * _C7))))))
    whole = np.int32(n) if x == x else np.int32(0)
    y = series * _same_bits(np.int32((whole + np.int32(127)) << np.int32(23)))
    y = _ZERO if x < _LOWEST else y
    return np.float32(np.inf) if x > _HIGHEST else y


_LOG2_E_64 = 1.0 / math.log(2.0)
# In float64: 33 bits of ln 2, so that the products with whole numbers up to 2^11 are exact, and the rest of it.
_LN2_HIGH_64, _LN2_LOW_64 = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
_LOWEST_64, _HIGHEST_64 = -708.39, 709.43
_D3, _D4, _D5, _D6, _D7, _D8, _D9, _D10, _D11, _D12, _D13 = (1.0 / math.factorial(n) for n in range(3, 14))


@numba.njit(error_model="numpy", nogil=True, fastmath=False)  # said, since else it is the caller's
def _remainder64(x, n):
    # In this order: with the freedom of _OPTIONS LLVM adds the two parts of ln 2 first, and all is lost.
    return (x - n * _LN2_HIGH_64) - n * _LN2_LOW_64


@inline
def _exp64(x):
    # As _exp32, with the terms that float64 needs.
    held = _HIGHEST_64 if x > _HIGHEST_64 else (_LOWEST_64 if x < _LOWEST_64 else x)
    n = np.floor(held * _LOG2_E_64 + 0.5)
    r = _remainder64(held, n)
    tail = _D8 + r * (_D9 + r * (_D10 + r * (_D11 + r * (_D12 + r * _D13))))
    series = 1.0 + r * (1.0 + r * (0.5 + r * (_D3 + r * (_D4 + r * (_D5 + r * (_D6 + r * (_D7 + r * tail)))))))
    whole = np.int64(n) if x == x else np.int64(0)
    y = series * _same_bits(np.int64((whole + np.int64(1023)) << np.int64(52)))
    y = 0.0 if x < _LOWEST_64 else y
    return np.inf if x > _HIGHEST_64 else y


@inline
def _expm1_32(x):
    # Near 0, where exp(x) - 1 cancels, the series itself; from -ln 2 / 2 on the difference is good.
    small = x * (_ONE + x * (_HALF + x * (_C3 + x * (_C4 + x * (_C5 + x * (_C6 + x * (_C7 + x * _C8)))))))
    far = _exp32(x) - _ONE
    return small if abs(x) < np.float32(0.35) else far


@inline
def _tanh32(x):
    # tanh(x) = -e / (2 + e) with e = expm1(-2 x): nothing cancels; from -10 downwards it is -1 in float32.
    # `max`, since choices by `if` here make LLVM give up vector instructions; NaN passes it in this order.
    held = max(x, -_TEN)
    e = _expm1_32(-_TWO * held)
    return -e / (_TWO + e)


@inline
def largest(row):
    """The largest number of a row that has one; NaN counts as above or below all others, by its sign."""
    # As integers in the order of the floats: their maximum becomes vector instructions, while that of floats, where
    # LLVM must mind NaN, stays a chain of comparisons.
    best = _ordered(_same_bits(row[0]))
    for i in range(row.size):
        best = max(best, _ordered(_same_bits(row[i])))
    return _same_bits(_ordered(best))


def _ordered(bits):
    raise NotImplementedError


@overload(_ordered, jit_options=_OPTIONS)
def _in_the_order_of_floats(bits):
    # Below zero all bits but the sign are turned round; done twice, nothing has happened.
    # `kind`, since numba takes whatever it computes of two int32 for an int64.
    kind, sign, rest = (np.int32, 31, 2**31 - 1) if bits == types.int32 else (np.int64, 63, 2**63 - 1)
    return lambda bits: kind(bits ^ kind(kind(bits >> kind(sign)) & kind(rest)))


def exp(x):
    """e^x, in kernels only."""
    raise NotImplementedError


def expm1(x):
    """e^x - 1, in kernels only."""
    raise NotImplementedError


def tanh(x):
    """The hyperbolic tangent, in kernels only."""
    raise NotImplementedError


@overload(exp, jit_options=_OPTIONS)
def _exp(x):
    return (lambda x: _exp32(x)) if x == types.float32 else (lambda x: _exp64(x))


@overload(expm1, jit_options=_OPTIONS)
def _expm1(x):
    return (lambda x: _expm1_32(x)) if x == types.float32 else (lambda x: math.expm1(x))


@overload(tanh, jit_options=_OPTIONS)
def _tanh(x):
    return (lambda x: _tanh32(x)) if x == types.float32 else (lambda x: math.tanh(x))
