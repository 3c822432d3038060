"""`Value`: an array in an ONNX graph, with which one computes as with an array."""

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, Union

import numpy as np

from anyfw.core.errors import ConfigError

if TYPE_CHECKING:
    from anyfw.interop.onnx.graph import Graph

Axis: TypeAlias = int | str | None  # a length, the name of any length, or any length at all
Operand: TypeAlias = Union["Value", float, np.ndarray[Any, Any]]


@dataclass(frozen=True, eq=False)
class Value:
    """An array in a graph. Arithmetic and comparison with another one, or with a number, write the node for it.

    The ops of `anyfw.ops` that need no more than elementwise functions take it as they take arrays.

    Attributes:
        graph: what it is in.
        name: its name there.
        dtype: "float32", "int64", "bool", ...
        shape: None where it is not known; else of each axis its length, or its name or None where it is any.
    """

    graph: "Graph"
    name: str
    dtype: str
    shape: tuple[Axis, ...] | None

    __array_ufunc__: ClassVar[None] = None  # NumPy's arrays and numbers leave arithmetic with a Value to it

    @property
    def ndim(self) -> int:
        """The number of axes.

        Raises:
            ConfigError: it is not known.
        """
        if self.shape is None:
            raise ConfigError(f"'{self.name}': its number of axes is not known. Reshape it to a constant shape.")
        return len(self.shape)

    def __add__(self, other: Operand) -> "Value":
        return self.graph.node("Add", self, other)

    def __radd__(self, other: Operand) -> "Value":
        return self.graph.node("Add", other, self)

    def __sub__(self, other: Operand) -> "Value":
        return self.graph.node("Sub", self, other)

    def __rsub__(self, other: Operand) -> "Value":
        return self.graph.node("Sub", other, self)

    def __mul__(self, other: Operand) -> "Value":
        return self.graph.node("Mul", self, other)

    def __rmul__(self, other: Operand) -> "Value":
        return self.graph.node("Mul", other, self)

    def __truediv__(self, other: Operand) -> "Value":
        return self.graph.node("Div", self, other)

    def __rtruediv__(self, other: Operand) -> "Value":
        return self.graph.node("Div", other, self)

    def __pow__(self, other: Operand) -> "Value":
        return self.graph.node("Pow", self, other)

    def __matmul__(self, other: Operand) -> "Value":
        return self.graph.node("MatMul", self, other)

    def __neg__(self) -> "Value":
        return self.graph.node("Neg", self)

    def __lt__(self, other: "Value | float") -> "Value":
        return self.graph.node("Less", self, other)

    def __le__(self, other: "Value | float") -> "Value":
        # Not LessOrEqual: onnx 1.17 cannot tell the shape that it gives.
        return self.graph.node("Or", self < other, self.graph.node("Equal", self, other))

    def __gt__(self, other: "Value | float") -> "Value":
        return self.graph.node("Greater", self, other)

    def __ge__(self, other: "Value | float") -> "Value":
        return self.graph.node("Or", self > other, self.graph.node("Equal", self, other))

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        from anyfw.interop.onnx import functions

        return functions
