"""cuBLASLt through ctypes: a dozen functions of an interface that keeps its numbers, against one more thing to install.

Constants are those of `cublasLt.h`. Matrices are column by column here, as in the library.

This module has never run on a GPU yet. Its calls are tested against a library with this interface that computes on the
CPU, and what asks for no GPU was tried with cuBLASLt 12.9.
"""

import ctypes
from dataclasses import dataclass
from typing import Any

from anyfw.core.errors import BackendError

# cublasLtEpilogue_t. Those of activations add a bias first and keep what their gradients need, for which there is one
# with and one without the sums of the result's rows; the last sums op(B) over k.
BIAS, RELU, GELU, RELU_GRAD, RELU_GRAD_SUMS, GELU_GRAD, GELU_GRAD_SUMS, SUM_B = 4, 134, 164, 136, 152, 192, 208, 512
NONE = 1
# cublasLtMatmulDescAttributes_t and cublasLtMatmulPreferenceAttributes_t.
TRANSA, TRANSB, EPILOGUE, BIAS_POINTER, AUX_POINTER, AUX_LD = 3, 4, 7, 8, 11, 12
MAX_WORKSPACE, ALIGNMENTS = 1, (5, 6, 7, 8)
# cublasStatus_t.
_NOT_SUPPORTED = 15
# cudaDataType_t and cublasComputeType_t.
TYPES = {"float32": 0, "float64": 1}
COMPUTE = {"float32": 68, "tf32": 77, "bfloat16": 75, "float64": 70}
# What cuBLAS itself asks for on GPUs since Hopper.
WORKSPACE = 32 * 2**20

Matrix = tuple[int, int]


class _Found(ctypes.Structure):
    # cublasLtMatmulHeuristicResult_t.
    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


@dataclass(frozen=True)
class Plan:
    """How a kind of product is done: descriptors, and the kernel that the library recommends."""

    desc: ctypes.c_void_p
    a: ctypes.c_void_p
    b: ctypes.c_void_p
    d: ctypes.c_void_p
    dtype: str
    found: _Found


class CublasLt:
    """The library, on the device that is current at its first use."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._handle: ctypes.c_void_p | None = None

    def plan(
        self,
        dtype: str,
        precision: str,
        a: Matrix,
        b: Matrix,
        d: Matrix,
        *,
        transpose: tuple[bool, bool],
        epilogue: int,
        alignments: tuple[int, int, int],
        pointers: tuple[int, int],
        aux_ld: int,
    ) -> Plan | None:
        """The plan of D = op(A) op(B) with an epilogue; None if the library has no kernel for it.

        Args:
            dtype: of all matrices.
            precision: of `COMPUTE`.
            a, b, d: (rows, columns), as they lie in memory without a gap.
            transpose: whether op transposes, for A and for B.
            epilogue: one of the constants above.
            alignments: what the addresses of A, B and D are multiples of, in bytes.
            pointers: to the vector and to the auxiliary matrix: how they are aligned is part of the question.
            aux_ld: the auxiliary matrix's leading dimension, 0 without one.
        """
        library, desc, preference = self._library, ctypes.c_void_p(), ctypes.c_void_p()
        if self._handle is None:
            handle = ctypes.c_void_p()
            self._expect(library.cublasLtCreate(ctypes.byref(handle)))
            self._handle = handle
        self._expect(library.cublasLtMatmulDescCreate(ctypes.byref(desc), COMPUTE[precision], TYPES[dtype]))
        for attribute, number in zip((TRANSA, TRANSB), transpose, strict=True):
            self._set(desc, attribute, ctypes.c_int32(int(number)))
        self._set(desc, EPILOGUE, ctypes.c_int32(epilogue))
        self._point(desc, pointers)
        if aux_ld:
            self._set(desc, AUX_LD, ctypes.c_int64(aux_ld))
        la, lb, ld = [self._layout(dtype, *shape) for shape in (a, b, d)]
        self._expect(library.cublasLtMatmulPreferenceCreate(ctypes.byref(preference)))
        first, second, result = alignments
        for attribute, value in (
            (MAX_WORKSPACE, ctypes.c_uint64(WORKSPACE)),
            *zip(ALIGNMENTS, map(ctypes.c_uint32, (first, second, result, result)), strict=True),
        ):
            size = ctypes.c_size_t(ctypes.sizeof(value))
            self._expect(library.cublasLtMatmulPreferenceSetAttribute(preference, attribute, ctypes.byref(value), size))
        found, count = _Found(), ctypes.c_int(0)
        results = ctypes.byref(found), ctypes.byref(count)
        status = library.cublasLtMatmulAlgoGetHeuristic(self._handle, desc, la, lb, ld, ld, preference, 1, *results)
        library.cublasLtMatmulPreferenceDestroy(preference)
        plan = Plan(desc, la, lb, ld, dtype, found)
        if status not in (0, _NOT_SUPPORTED):
            self._expect(status)
        if status or not count.value or found.state:
            self.drop(plan)
            return None
        return plan

    def run(
        self, plan: Plan, a: int, b: int, d: int, *, add: bool, pointers: tuple[int, int], workspace: int, stream: int
    ) -> None:
        """Order a product: A, B, D, the epilogue's vector and matrix, the workspace by their addresses.

        Raises:
            BackendError: the library refuses.
        """
        self._point(plan.desc, pointers)
        number = ctypes.c_float if plan.dtype == "float32" else ctypes.c_double
        alpha, beta = number(1.0), number(float(add))
        pa, pb, pd, work, handle = (ctypes.c_void_p(value) for value in (a, b, d, workspace, stream))
        inputs = ctypes.byref(alpha), pa, plan.a, pb, plan.b, ctypes.byref(beta), pd, plan.d
        room = ctypes.byref(plan.found.algorithm), work, ctypes.c_size_t(plan.found.workspace)
        self._expect(self._library.cublasLtMatmul(self._handle, plan.desc, *inputs, pd, plan.d, *room, handle))

    def drop(self, plan: Plan) -> None:
        """Give back what a plan holds."""
        self._library.cublasLtMatmulDescDestroy(plan.desc)
        for layout in (plan.a, plan.b, plan.d):
            self._library.cublasLtMatrixLayoutDestroy(layout)

    def _layout(self, dtype: str, rows: int, columns: int) -> ctypes.c_void_p:
        layout = ctypes.c_void_p()
        sizes = ctypes.c_uint64(rows), ctypes.c_uint64(columns), ctypes.c_int64(rows)
        self._expect(self._library.cublasLtMatrixLayoutCreate(ctypes.byref(layout), TYPES[dtype], *sizes))
        return layout

    def _point(self, desc: ctypes.c_void_p, pointers: tuple[int, int]) -> None:
        for attribute, address in zip((BIAS_POINTER, AUX_POINTER), pointers, strict=True):
            if address:
                self._set(desc, attribute, ctypes.c_void_p(address))

    def _set(self, desc: ctypes.c_void_p, attribute: int, value: Any) -> None:
        size = ctypes.c_size_t(ctypes.sizeof(value))
        self._expect(self._library.cublasLtMatmulDescSetAttribute(desc, attribute, ctypes.byref(value), size))

    def _expect(self, status: int) -> None:
        if status:
            name = self._library.cublasLtGetStatusName
            name.restype = ctypes.c_char_p
            raise BackendError(f"cuBLASLt: {name(status).decode()}. Run: anyfw doctor.")


def load() -> ctypes.CDLL:
    """The library that CuPy's cuBLAS stands on.

    Raises:
        OSError: there is none.
    """
    try:
        # CuPy itself finds its libraries so.
        from cuda.pathfinder import load_nvidia_dynamic_lib

        path = load_nvidia_dynamic_lib("cublasLt").abs_path
        if path is None:
            raise RuntimeError("it was loaded from an unknown place")
        return ctypes.CDLL(path)
    except (ImportError, RuntimeError) as error:
        raise OSError(f"cuBLASLt was not found: {error}") from error
