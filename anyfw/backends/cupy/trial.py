"""Are a product's epilogues right on this device? Each is tried once on small numbers, as a Linear layer uses it.

A wrong one would spoil training, and one that turns NaN into 0, as a maximum may, would hide that it is spoilt.

This module has never run on a GPU yet; see `cublaslt.py`.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.arrays import Array

if TYPE_CHECKING:
    from anyfw.backends.cupy.products import Products, Room

Values = NDArray[Any]

_ROWS, _FEATURES, _OUT = 24, 8, 128
# Relative errors of one product of two rounded factors, times those of a sum of 24 terms.
_NEAR = {"float32": 1e-5, "tf32": 2e-2, "bfloat16": 2e-1, "float64": 1e-12}
# What each activation makes of z, and its slope there; where a NaN went in, ReLU's is 0.
_ACTIVATIONS: dict[str, Callable[[Values], tuple[Values, Values]]] = {
    "bias": lambda z: (z, np.ones_like(z)),
    "relu": lambda z: (np.maximum(z, 0), (z > 0).astype(z.dtype)),
    "gelu": lambda z: _gelu(z),
}


def passes(products: "Products", room: "Room", epilogue: str, precision: str, dtype: str) -> bool:
    """Whether there are kernels with this epilogue, they are right, and a NaN that goes in comes out."""
    return _Trial(products, room, precision, dtype).passes(epilogue)


class _Trial:
    def __init__(self, products: "Products", room: "Room", precision: str, dtype: str) -> None:
        self.products, self.room, self.near, self.dtype = products, room, _NEAR[precision], dtype
        self._random = np.random.default_rng(0)
        self.x, self.weight, self.bias = self._some(_ROWS, _FEATURES), self._some(_OUT, _FEATURES), self._some(_OUT)

    def passes(self, epilogue: str) -> bool:
        if epilogue == "sum_a":
            return self._sums()
        kind = epilogue.removesuffix("_grad")
        kept = self._forward(kind)
        if kept is None or (epilogue != kind and not self._gradient(kind, kept)):
            return False
        self.x[2, 0] = math.nan
        return self._forward(kind) is not None

    def _forward(self, kind: Any) -> list[Array] | None:
        # What the gradient needs, if any; None where the result is wrong or there is no kernel.
        kept = []
        if kind != "bias":
            bits = kind == "relu"
            kept = [self.room.empty((_ROWS, _OUT // 8 if bits else _OUT), np.uint8 if bits else self.dtype)]
        y = self.room.empty((_ROWS, _OUT), self.dtype)
        x, weight, bias = map(self.room.asarray, (self.x, self.weight, self.bias))
        aux = kept[0] if kept else None
        done = self.products(y, x, weight, transpose_b=True, epilogue=kind, vector=bias, aux=aux)
        value, _ = _ACTIVATIONS[kind](self.x @ self.weight.T + self.bias)
        return kept if done and self._same(y, value) else None

    def _gradient(self, kind: str, kept: list[Array]) -> bool:
        dy, above = self._some(_ROWS, _FEATURES), self._some(_FEATURES, _OUT)
        _, slope = _ACTIVATIONS[kind](self.x @ self.weight.T + self.bias)
        expected, epilogue = (dy @ above) * slope, f"{kind}_grad"
        dz, sums = self.room.empty((_ROWS, _OUT), self.dtype), self.room.empty(_OUT, self.dtype)
        given = self.room.asarray(dy), self.room.asarray(above)
        for vector in (sums, None):
            done = self.products(dz, *given, epilogue=epilogue, vector=vector, aux=kept[0])  # type: ignore[arg-type]
            if not done or not self._same(dz, expected):
                return False
        return self._same(sums, expected.sum(axis=0))

    def _sums(self) -> bool:
        dy = self._some(_ROWS, _OUT)
        grad, sums = self.room.empty((_OUT, _FEATURES), self.dtype), self.room.empty(_OUT, self.dtype)
        given = self.room.asarray(dy), self.room.asarray(self.x)
        done = self.products(grad, *given, transpose_a=True, epilogue="sum_a", vector=sums)
        return done and self._same(grad, dy.T @ self.x) and self._same(sums, dy.sum(axis=0))

    def _some(self, *shape: int) -> Values:
        # Quarters: exact in every precision.
        return self._random.integers(-4, 5, shape).astype(self.dtype) / 4

    def _same(self, found: Array, expected: Values) -> bool:
        near = self.near
        return bool(np.allclose(self.room.asnumpy(found), expected, rtol=near, atol=near, equal_nan=True))


def _gelu(z: Values) -> tuple[Values, Values]:
    c = math.sqrt(2.0 / math.pi)
    t = np.tanh(c * (z + 0.044715 * z**3))
    return 0.5 * z * (1 + t), 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * c * (1 + 3 * 0.044715 * z * z)
