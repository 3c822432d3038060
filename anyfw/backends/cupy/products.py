"""Matrix products, with what stands beside them done in the same kernel, also while a step is recorded.

CuPy's own products are cuBLAS's, which CuPy refuses in a stream that records; cuBLASLt is the library below it. It is
made to work column by column, and arrays here are row by row: the memory of a (2, 3) array is to it a matrix of 3 rows
and 2 columns, the transpose. So out = a b is asked for as out^T = b^T a^T, with b as its A and a as its B.

What a kernel does beside the product is tried on small numbers before it is used for the first time, see `trial.py`.
One that fails is not used, and a launch of our own takes its place.

This module has never run on a GPU yet; see `cublaslt.py`.
"""

import ctypes
import logging
import threading
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from anyfw.backends.cupy import cublaslt, trial
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
# How many kinds of products, and how many streams, are remembered.
_PLANS, _STREAMS = 4096, 8

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
        self._workspaces: dict[int, Array] = {}
        self._plans: dict[tuple[Any, ...], Plan | None] = {}
        self._right: dict[tuple[str, str], bool] = {}
        self._trying = False
        # A plan is pointed to its arrays before each call: no two threads at a time.
        self._lock = threading.RLock()
        self.precision = "float32"

    def has(self, epilogue: Epilogue, dtype: str) -> bool:
        """As `Products`."""
        key = epilogue, self.precision if dtype == "float32" else dtype
        with self._lock:
            if key not in self._right and not self._trying:
                self._trying = True
                try:
                    self._right[key] = trial.passes(self, self._room, *key, dtype)
                except BackendError as error:
                    self._right[key] = False
                    _log.warning("cuBLASLt's epilogue %s failed its trial in %s: %s", *key, error)
                finally:
                    self._trying = False
            # In a trial all are there: what it tries is what they do.
            return self._trying or self._right[key]

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
        at_a, at_b, at_out = (self._address(x) for x in (a, b, out))
        pointers = 0 if vector is None else self._address(vector), 0 if aux is None else self._address(aux)
        # Parts of one vector begin where they begin: how well that suits a kernel is part of the question.
        alignments = _alignment(at_b), _alignment(at_a), _alignment(at_out)
        precision = self.precision if dtype == "float32" else dtype
        kind = dtype, precision, m, n, k, transpose_a, transpose_b, epilogue, vector is None
        key = *kind, *alignments, *map(_alignment, pointers)
        with self._lock:
            if key not in self._plans:
                self._make_room()
                self._plans[key] = self._library.plan(
                    dtype,
                    precision,
                    (k, n) if transpose_b else (n, k),
                    (m, k) if transpose_a else (k, m),
                    (n, m),
                    transpose=(transpose_b, transpose_a),
                    epilogue=_EPILOGUES[epilogue][vector is not None],
                    alignments=alignments,
                    pointers=pointers,
                    aux_ld=0 if aux is None else n,
                )
            plan = self._plans[key]
            if plan is None:
                if not epilogue:
                    raise BackendError(f"cuBLASLt has no kernel for a product {(m, k)} by {(k, n)} in {dtype}.")
                return False
            stream = self._stream()
            room = self._address(self._workspace(stream))
            self._library.run(plan, at_b, at_a, at_out, add=add, pointers=pointers, workspace=room, stream=stream)
        return True

    def _workspace(self, stream: int) -> Array:
        # Each stream has its own: two products at one time must not share it. One that goes is memory of its stream.
        if stream not in self._workspaces:
            while len(self._workspaces) >= _STREAMS:
                del self._workspaces[next(iter(self._workspaces))]
            self._workspaces[stream] = self._room.empty(cublaslt.WORKSPACE, np.uint8)
        return self._workspaces[stream]

    def _make_room(self) -> None:
        while len(self._plans) >= _PLANS:
            plan = self._plans.pop(next(iter(self._plans)))
            if plan is not None:
                self._library.drop(plan)


def _alignment(address: int) -> int:
    # The largest power of two that divides it, up to what is asked for at most.
    return min(address & -address, 256)
