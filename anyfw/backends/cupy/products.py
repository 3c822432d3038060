"""Matrix products, with what stands beside them done in the same kernel, also while a step is recorded.

CuPy's own products are cuBLAS's, which CuPy refuses in a stream that records; cuBLASLt is the library below it. It is
made to work column by column, and arrays here are row by row: it is given out^T = b^T a^T, which is the same memory.

What a kernel does beside the product is tried on small numbers before it is used for the first time: that it is right,
and that a NaN passes. One that fails is not used, and a launch of our own takes its place.

This module has never run on a GPU yet; see `cublaslt.py`.
"""

import ctypes
import logging
import math
import threading
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from anyfw.backends.cupy import cublaslt
from anyfw.backends.cupy.cublaslt import CublasLt, Plan
from anyfw.core.arrays import Array, dtype_name
from anyfw.core.errors import BackendError

Epilogue = Literal["", "bias", "relu", "gelu", "relu_grad", "gelu_grad", "sum_a"]

# Of each epilogue without and with a vector: a bias, or sums.
_EPILOGUES = {
    "": (cublaslt.NONE, cublaslt.NONE),
    "bias": (cublaslt.BIAS, cublaslt.BIAS),
    "relu": (cublaslt.RELU, cublaslt.RELU),
    "gelu": (cublaslt.GELU, cublaslt.GELU),
    "relu_grad": (cublaslt.RELU_GRAD, cublaslt.RELU_GRAD_SUMS),
    "gelu_grad": (cublaslt.GELU_GRAD, cublaslt.GELU_GRAD_SUMS),
    # What is a here is b there.
    "sum_a": (cublaslt.SUM_B, cublaslt.SUM_B),
}
# What two roundings of each factor may lie apart.
_NEAR = {"float32": 1e-5, "tf32": 5e-3, "bfloat16": 4e-2, "float64": 1e-12}

_log = logging.getLogger("anyfw")


class Products(Protocol):
    """Computes matrix products."""

    def __call__(
        self,
        out: Array,
        a: Array,
        b: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        epilogue: Epilogue = "",
        vector: Array | None = None,
        aux: Array | None = None,
        add: bool = False,
    ) -> bool:
        """Write op(a) op(b) into out; all arrays are contiguous, of one dtype and have elements.

        Args:
            out: shape (m, n).
            a: (m, k), or (k, m) to be transposed.
            b: (k, n), or (n, k) to be transposed.
            transpose_a, transpose_b: whether.
            epilogue: what is done besides. "bias" adds `vector`, (n,), to each row. "relu" and "gelu" (by tanh) do the
                same, then apply themselves, and write what their gradients will need to `aux`. "relu_grad" and
                "gelu_grad" multiply by the derivative, and write the sums of the result's columns to `vector`, (n,), if
                it is given. "sum_a" writes the sums of op(a)'s rows to `vector`, (m,).
            vector: see there.
            aux: for ReLU one bit for each element of out, whether it is positive, in uint8, (m, n / 8), n a multiple of
                128; for GELU what goes into it, (m, n), n a multiple of 8.
            add: whether to add to out instead.

        Returns:
            Whether it was done; there may be no kernel for this epilogue, and then nothing is.
        """

    def has(self, epilogue: Epilogue, dtype: str) -> bool:
        """Whether there are kernels with this epilogue, and they are right."""


class Room(Protocol):
    """Where arrays are: the part of CuPy, or in tests of NumPy, that is used."""

    def empty(self, shape: Any, dtype: Any) -> Array:
        """New memory."""

    def asarray(self, host: NDArray[Any]) -> Array:
        """A copy on the device."""

    def asnumpy(self, x: Array) -> NDArray[Any]:
        """A copy on the host."""


class LtProducts:
    """Products on one device, as `Products` says; how to do each kind is asked once.

    Args:
        library: cuBLASLt.
        room: where arrays are.
        address: where an array begins.
        stream: the handle of the current stream.

    Attributes:
        precision: of products of float32: "float32", or on tensor cores "tf32" (10 bits of each factor) or "bfloat16"
            (7 bits). Sums are float32 in all three, and so are the arrays.
    """

    def __init__(
        self, library: ctypes.CDLL, room: Room, address: Callable[[Array], int], stream: Callable[[], int]
    ) -> None:
        self._library, self._room, self._address, self._stream = CublasLt(library), room, address, stream
        self._workspace: Array | None = None
        self._plans: dict[tuple[Any, ...], Plan | None] = {}
        self._right: dict[tuple[str, str], bool] = {}
        # A plan is pointed to its arrays before each call: no two threads at a time.
        self._lock = threading.RLock()
        self.precision = "float32"

    def has(self, epilogue: Epilogue, dtype: str) -> bool:
        """As `Products`."""
        key = epilogue, self.precision if dtype == "float32" else dtype
        with self._lock:
            if key not in self._right:
                self._right[key] = True  # for the trial itself
                self._right[key] = self._tried(*key, dtype)
                if not self._right[key]:
                    _log.debug("cuBLASLt's epilogue %s is not used in %s: it is not there, or not right.", *key)
            return self._right[key]

    def __call__(
        self,
        out: Array,
        a: Array,
        b: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        epilogue: Epilogue = "",
        vector: Array | None = None,
        aux: Array | None = None,
        add: bool = False,
    ) -> bool:
        """As `Products`."""
        dtype = dtype_name(out)
        if epilogue and not self.has(epilogue, dtype):
            return False
        (m, n), k = out.shape, a.shape[0 if transpose_a else 1]
        addresses = [self._address(x) for x in (a, b, out)]
        pointers = 0 if vector is None else self._address(vector), 0 if aux is None else self._address(aux)
        # Parts of one vector begin where they begin: how well that suits a kernel is part of the question.
        alignment = tuple([min(address & -address, 256) for address in (*addresses, *pointers)])
        precision = self.precision if dtype == "float32" else dtype
        key = dtype, precision, m, n, k, transpose_a, transpose_b, epilogue, vector is None, alignment
        with self._lock:
            if key not in self._plans:
                self._plans[key] = self._library.plan(
                    dtype,
                    precision,
                    (k, n) if transpose_b else (n, k),
                    (m, k) if transpose_a else (k, m),
                    (n, m),
                    transpose=(transpose_b, transpose_a),
                    epilogue=_EPILOGUES[epilogue][vector is not None],
                    pointers=pointers,
                    aux_ld=0 if aux is None else n,
                )
            plan = self._plans[key]
            if plan is None:
                if not epilogue:
                    raise BackendError(f"cuBLASLt has no kernel for a product {(m, k)} by {(k, n)} in {dtype}.")
                return False
            if self._workspace is None:
                self._workspace = self._room.empty(cublaslt.WORKSPACE, np.uint8)
            workspace, stream = self._address(self._workspace), self._stream()
            first, second, target = addresses
            self._library.run(
                plan, second, first, target, add=add, pointers=pointers, workspace=workspace, stream=stream
            )
        return True

    def _tried(self, epilogue: Epilogue, precision: str, dtype: str) -> bool:
        # Two rows of products, and in a third one a NaN.
        room, n = self._room, 128
        random = np.random.default_rng(0)
        a, b, dy = (random.integers(-4, 5, shape).astype(dtype) / 4 for shape in ((3, 8), (8, n), (3, 8)))
        a[2, 0] = math.nan
        bias = random.integers(-4, 5, n).astype(dtype) / 4
        da, db, ddy = room.asarray(a), room.asarray(b), room.asarray(dy)
        y, vector = room.empty((3, n), dtype), room.asarray(bias)
        if epilogue == "sum_a":
            vector = room.asarray(a[:, 0])
            done = self(y, da, db, epilogue=epilogue, vector=vector)
            return done and self._same(((y, a @ b), (vector, a.sum(axis=1))), precision)
        z = a @ b + bias
        if epilogue == "bias":
            return self(y, da, db, epilogue=epilogue, vector=vector) and self._same(((y, z),), precision)
        kind: Any = epilogue.removesuffix("_grad")
        aux = room.empty((3, n // 8), np.uint8) if kind == "relu" else room.empty((3, n), dtype)
        if not self(y, da, db, epilogue=kind, vector=vector, aux=aux):
            return False
        # Where a NaN went in, ReLU's slope is 0, whatever dy.
        value, slope = (np.maximum(z, 0), (z > 0).astype(dtype)) if kind == "relu" else _gelu(z)
        if epilogue == kind:
            return self._same(((y, value),), precision)
        dz = (dy @ b) * slope
        sums = room.empty(n, dtype)
        done = self(y, ddy, db, epilogue=epilogue, vector=sums, aux=aux)
        done = done and self._same(((y, dz), (sums, dz.sum(axis=0))), precision)
        done = done and self(y, ddy, db, epilogue=epilogue, aux=aux)
        return done and self._same(((y, dz),), precision)

    def _same(self, pairs: tuple[tuple[Array, NDArray[Any]], ...], precision: str) -> bool:
        near = _NEAR[precision] * 8
        return all(
            np.allclose(self._room.asnumpy(found), expected, rtol=near, atol=near, equal_nan=True)
            for found, expected in pairs
        )


def _gelu(z: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    c = math.sqrt(2.0 / math.pi)
    t = np.tanh(c * (z + 0.044715 * z**3))
    return 0.5 * z * (1 + t), 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * c * (1 + 3 * 0.044715 * z * z)
