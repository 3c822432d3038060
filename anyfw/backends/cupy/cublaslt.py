"""Matrix products by cuBLASLt, with what stands beside them done in the same kernel, also while a step is recorded.

CuPy's own products are cuBLAS's, which CuPy refuses in a stream that records. cuBLASLt is the library below it, comes
in the same package, and is called here through ctypes: a dozen functions of a C interface that keeps its numbers,
against a binding that would be one package more. Constants are those of `cublasLt.h`.

Arrays here are row by row and cuBLASLt's column by column: it is given out^T = b^T a^T, which is the same memory.

This module has never run on a GPU yet. Its calls are tested against a library with this interface that computes on the
CPU, and what asks for no GPU was tried with cuBLASLt 12.9.
"""

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from anyfw.core.arrays import Array, dtype_name
from anyfw.core.errors import BackendError

Epilogue = Literal["", "bias", "relu", "gelu", "relu_grad", "gelu_grad", "sum_a"]
Precision = Literal["float32", "tf32", "bfloat16"]

# cublasLtEpilogue_t. Those of activations add a bias first and keep what their gradients need; the gradients' also sum
# the rows of the result; BGRADB sums what is b to cuBLASLt and a here.
_EPILOGUES = {"": 1, "bias": 4, "relu": 2 | 128 | 4, "gelu": 32 | 128 | 4, "sum_a": 512}
_EPILOGUES.update({"relu_grad": 8 | 128 | 16, "gelu_grad": 64 | 128 | 16})
# cublasLtMatmulDescAttributes_t and cublasLtMatmulPreferenceAttributes_t.
_TRANSA, _TRANSB, _EPILOGUE, _BIAS_POINTER, _AUX_POINTER, _AUX_LD = 3, 4, 7, 8, 11, 12
_MAX_WORKSPACE = 1
# cudaDataType_t and cublasComputeType_t.
_TYPES = {"float32": 0, "float64": 1}
_COMPUTE = {"float32": 68, "tf32": 77, "bfloat16": 75}
_COMPUTE_64 = 70
# What cuBLAS itself asks for on GPUs since Hopper.
WORKSPACE = 32 * 2**20


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
                "gelu_grad" multiply by the derivative and write the sums of the result's columns to `vector`, (n,).
                "sum_a" writes the sums of op(a)'s rows to `vector`, (m,).
            vector: see there.
            aux: see there, as `aux_shape` says.
            add: whether to add to out instead.

        Returns:
            Whether it was done; there may be no kernel for this epilogue, and then nothing is.
        """


@dataclass
class _Plan:
    desc: ctypes.c_void_p
    a: ctypes.c_void_p
    b: ctypes.c_void_p
    out: ctypes.c_void_p
    algorithm: Any
    workspace: int


class _Found(ctypes.Structure):
    # cublasLtMatmulHeuristicResult_t.
    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


class CublasLt:
    """Products on one device, as `Products` says; how to do each kind is asked once.

    Args:
        library: cuBLASLt.
        address: where an array begins.
        stream: the handle of the current stream.
        workspace: makes a buffer of so many bytes.

    Attributes:
        precision: of products of float32: "float32", or on tensor cores "tf32" (10 bits of each factor) or "bfloat16"
            (7 bits). Sums are float32 in all three, and so are the arrays.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        address: Callable[[Array], int],
        stream: Callable[[], int],
        workspace: Callable[[int], Array],
    ) -> None:
        self._library, self._address, self._stream = library, address, stream
        self._make_workspace, self._workspace = workspace, None
        self._handle: ctypes.c_void_p | None = None
        self._plans: dict[tuple[Any, ...], _Plan | None] = {}
        self.precision: Precision = "float32"
        # A plan is pointed to its arrays before each call: no two threads at a time.
        self._lock = threading.Lock()

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
        (m, n), k, dtype = out.shape, a.shape[0 if transpose_a else 1], dtype_name(out)
        addresses = [self._address(x) for x in (a, b, out)]
        # Parts of one vector begin where they begin: how well that suits a kernel is part of the question.
        alignment = tuple([min(address & -address, 256) for address in addresses])
        precision = self.precision if dtype == "float32" else ""
        key = dtype, precision, m, n, k, transpose_a, transpose_b, epilogue, alignment
        with self._lock:
            if key not in self._plans:
                self._plans[key] = self._plan(*key[:-1], vector, aux)
            plan = self._plans[key]
            if plan is None:
                if not epilogue:
                    raise BackendError(f"cuBLASLt has no kernel for a product {(m, k)} by {(k, n)} in {dtype}.")
                return False
            self._point(plan.desc, vector, aux)
            number = ctypes.c_float if dtype == "float32" else ctypes.c_double
            alpha, beta = number(1.0), number(float(add))
            pa, pb, pout = map(ctypes.c_void_p, addresses)
            self._expect(
                self._library.cublasLtMatmul(
                    *(self._handle, plan.desc, ctypes.byref(alpha), pb, plan.b, pa, plan.a, ctypes.byref(beta)),
                    *(pout, plan.out, pout, plan.out, ctypes.byref(plan.algorithm)),
                    *(ctypes.c_void_p(self._address(self._workspace)), ctypes.c_size_t(plan.workspace)),
                    ctypes.c_void_p(self._stream()),
                )
            )
        return True

    def _plan(
        self,
        dtype: str,
        precision: str,
        m: int,
        n: int,
        k: int,
        transpose_a: bool,
        transpose_b: bool,
        epilogue: str,
        vector: Array | None,
        aux: Array | None,
    ) -> _Plan | None:
        # None where there is no kernel.
        library = self._library
        if self._handle is None:
            self._handle, self._workspace = ctypes.c_void_p(), self._make_workspace(WORKSPACE)
            self._expect(library.cublasLtCreate(ctypes.byref(self._handle)))
        desc, preference = ctypes.c_void_p(), ctypes.c_void_p()
        compute = _COMPUTE[precision] if precision else _COMPUTE_64
        self._expect(library.cublasLtMatmulDescCreate(ctypes.byref(desc), compute, _TYPES[dtype]))
        # What is a here is their b.
        self._set(desc, _TRANSA, ctypes.c_int32(int(transpose_b)))
        self._set(desc, _TRANSB, ctypes.c_int32(int(transpose_a)))
        self._set(desc, _EPILOGUE, ctypes.c_int32(_EPILOGUES[epilogue]))
        self._point(desc, vector, aux)
        if aux is not None:
            self._set(desc, _AUX_LD, ctypes.c_int64(aux_width(n, epilogue)))
        layouts = [
            self._layout(dtype, *((k, m) if transpose_a else (m, k))),
            self._layout(dtype, *((n, k) if transpose_b else (k, n))),
            self._layout(dtype, m, n),
        ]
        self._expect(library.cublasLtMatmulPreferenceCreate(ctypes.byref(preference)))
        most = ctypes.c_uint64(WORKSPACE)
        self._expect(
            library.cublasLtMatmulPreferenceSetAttribute(
                preference, _MAX_WORKSPACE, ctypes.byref(most), ctypes.c_size_t(ctypes.sizeof(most))
            )
        )
        found, count = _Found(), ctypes.c_int(0)
        a, b, out = layouts
        status = library.cublasLtMatmulAlgoGetHeuristic(
            *(self._handle, desc, b, a, out, out, preference, 1, ctypes.byref(found), ctypes.byref(count))
        )
        library.cublasLtMatmulPreferenceDestroy(preference)
        if status or not count.value or found.state:
            return None
        return _Plan(desc, a, b, out, found.algorithm, found.workspace)

    def _layout(self, dtype: str, rows: int, columns: int) -> ctypes.c_void_p:
        # Row by row, an array is its transpose column by column.
        layout = ctypes.c_void_p()
        self._expect(
            self._library.cublasLtMatrixLayoutCreate(
                *(ctypes.byref(layout), _TYPES[dtype]),
                *(ctypes.c_uint64(columns), ctypes.c_uint64(rows), ctypes.c_int64(columns)),
            )
        )
        return layout

    def _point(self, desc: ctypes.c_void_p, vector: Array | None, aux: Array | None) -> None:
        for attribute, x in ((_BIAS_POINTER, vector), (_AUX_POINTER, aux)):
            if x is not None:
                self._set(desc, attribute, ctypes.c_void_p(self._address(x)))

    def _set(self, desc: ctypes.c_void_p, attribute: int, value: Any) -> None:
        size = ctypes.c_size_t(ctypes.sizeof(value))
        self._expect(self._library.cublasLtMatmulDescSetAttribute(desc, attribute, ctypes.byref(value), size))

    def _expect(self, status: int) -> None:
        if status:
            name = self._library.cublasLtGetStatusName
            name.restype = ctypes.c_char_p
            raise BackendError(f"cuBLASLt: {name(status).decode()}. Run: anyfw doctor.")


def aux_width(n: int, epilogue: str) -> int:
    """How many elements of `aux` a row of out has: bits of ReLU's mask, or numbers that went into GELU."""
    step = 128 if epilogue.startswith("relu") else 8
    return -(-n // step) * step


def aux_shape(rows: int, n: int, epilogue: str) -> tuple[int, int]:
    """The shape of `aux`: of uint8 for ReLU, of the product's dtype for GELU."""
    width = aux_width(n, epilogue)
    return rows, width // 8 if epilogue.startswith("relu") else width


def load() -> ctypes.CDLL:
    """The library that CuPy's cuBLAS stands on.

    Raises:
        OSError: there is none.
    """
    try:
        # CuPy itself finds its libraries so.
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return ctypes.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
    except (ImportError, RuntimeError) as error:
        raise OSError(f"cuBLASLt was not found: {error}") from error
