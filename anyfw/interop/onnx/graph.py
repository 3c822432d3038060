"""`Graph`: an ONNX graph while it is written, by a writer for each class of layers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from anyfw.core.errors import ConfigError, MissingExtraError
from anyfw.core.layer import Layer
from anyfw.core.parameter import Stored, to_host
from anyfw.core.placement import join
from anyfw.interop.onnx.value import Axis, Operand, Value

Writer: TypeAlias = Callable[["Graph", Any, Value], Value]


class Graph:
    """An ONNX graph while it is written. Names in it are the paths of the net: "0.weight", "0/Gemm".

    A writer of a layer's forward is a function of (graph, layer, x) that returns y:

        def write_snake(graph, layer, x):  # y = x + sin(a x)^2 / a
            a = graph.stored(layer.a)
            s = graph.node("Sin", a * x)
            return x + s * s / a

        export(net, "model.onnx", layers={Snake: write_snake})

    Args:
        net: what is written; its parameters and buffers have values.
        writers: of each class of layers.
        opset: the version of ONNX's operators.
        taken: names of values that are spoken for.

    Attributes:
        dtype: of the net, "float32" or "float64".
        opset: see there.
        nodes: `onnx.NodeProto`s, in the order of computation.
        initializers: by name, an `onnx.TensorProto` of each parameter and constant.
        bytes: of the initializers.

    Raises:
        MissingExtraError: onnx is not installed.
    """

    def __init__(
        self, net: Layer, writers: Mapping[type[Layer], Writer], opset: int, taken: Sequence[str] = ()
    ) -> None:
        self._onnx = onnx_package()
        self.dtype = net.dtype
        self.opset = opset
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.bytes = 0
        self._writers = writers
        self._opsets = [self._onnx.helper.make_opsetid("", opset)]
        self._path = ""
        self._taken = set(taken)
        self._types: dict[str, Any] = {}
        # A shared parameter is named by its first place, and written once.
        self._paths = {id(stored): path for path, stored in reversed(list(net.named_stored()))}
        self._stored: dict[int, Value] = {}

    # For writers

    def node(self, op: str, *inputs: Operand | None, **attributes: Any) -> Value:
        """Write a node; its (first) output.

        Args:
            op: an operator of ONNX: "Gemm", "Softmax", ...
            inputs: values; numbers, which take the dtype of the values beside them; arrays; None for one left out.
            attributes: the operator's; None leaves one out.

        Raises:
            ConfigError: ONNX has no such operator, or not with these inputs.
        """
        beside = (x.dtype for x in reversed(inputs) if isinstance(x, Value))
        dtype = next((dtype for dtype in beside if dtype != "bool"), self.dtype)
        values = [
            x if isinstance(x, Value) or x is None else self.constant(x, dtype if np.ndim(x) == 0 else None)
            for x in inputs
        ]
        while values and values[-1] is None:
            values.pop()
        name = self._free(f"{self._path}/{op}" if self._path else op)
        names = ["" if value is None else value.name for value in values]
        try:
            node = self._onnx.helper.make_node(op, names, [name], name, **attributes)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"'{name}': onnx refuses attributes {attributes}: {error}") from error
        self._types[name] = self._infer(node, names)
        self.nodes.append(node)
        return self._value(name)

    def constant(self, value: Any, dtype: str | None = None, *, name: str = "constant") -> Value:
        """Numbers that are part of the file.

        Args:
            value: a number or an array.
            dtype: None is the net's for floats, and int64 for integers.
            name: what they are called in the layer.
        """
        array = np.asarray(value)
        if dtype is None:
            dtype = {"f": self.dtype, "b": "bool"}.get(array.dtype.kind, "int64")
        elif array.dtype.kind == "f" and np.dtype(dtype).kind != "f":
            raise ConfigError(
                f"'{self._path}': expected a whole number beside {dtype}, got {value!r}. Cast that before: "
                "graph.cast(x, graph.dtype)."
            )
        return self._initializer(self._free(join(self._path, name)), array.astype(dtype))

    def stored(self, stored: Stored) -> Value:
        """A parameter or buffer of the net, in its own shape, named by its path; one that is shared is written once.

        Raises:
            ConfigError: it is none of the net's.
        """
        if id(stored) not in self._paths:
            raise ConfigError(f"'{self._path}': {stored!r} is no parameter of this net. Keep it as an attribute.")
        if id(stored) not in self._stored:
            name = self._free(self._paths[id(stored)])
            self._stored[id(stored)] = self._initializer(name, to_host(stored.data))
        return self._stored[id(stored)]

    def layer(self, name: str, layer: Layer, x: Value) -> Value:
        """Write a layer in the present one.

        Args:
            name: of its place there, as `children()` has it.
            layer: of any class that has a writer.
            x: its input.

        Raises:
            ConfigError: its class has none.
        """
        outer, self._path = self._path, join(self._path, name)
        try:
            y = self._writer(layer)(self, layer, x)
        finally:
            self._path = outer
        if not isinstance(y, Value):
            raise ConfigError(f"{layer.who}: expected its writer for ONNX to return a Value, got {y!r}.")
        return y

    def mean(self, x: Value, axes: Sequence[int]) -> Value:
        """The mean of x along axes, which stay, with length 1."""
        # From opset 18 on, axes are an input.
        if self.opset < 18:
            return self.node("ReduceMean", x, axes=list(axes), keepdims=1)
        return self.node("ReduceMean", x, np.asarray(axes, dtype=np.int64), keepdims=1)

    def cast(self, x: Value, dtype: str) -> Value:
        """X in another dtype; x itself where it has that one."""
        return x if x.dtype == dtype else self.node("Cast", x, to=self.type_number(dtype))

    def with_shape(self, x: Value, shape: Sequence[Axis]) -> Value:
        """X, whose shape ONNX cannot tell."""
        self._types[x.name] = self._onnx.helper.make_tensor_type_proto(self.type_number(x.dtype), list(shape))
        return self._value(x.name)

    # For whoever makes the file

    def input(self, name: str, dtype: str, shape: Sequence[Axis]) -> Value:
        """Declare an array that comes from outside."""
        self._taken.add(name)
        self._types[name] = self._onnx.helper.make_tensor_type_proto(self.type_number(dtype), list(shape))
        return self._value(name)

    def named(self, value: Value, name: str) -> Value:
        """The value under a name of its own, which must be among those taken."""
        made = next((node for node in self.nodes if node.output[0] == value.name), None)
        if made is None:
            self.nodes.append(self._onnx.helper.make_node("Identity", [value.name], [name], name))
        else:
            for node in self.nodes:
                node.input[:] = [name if other == value.name else other for other in node.input]
            made.output[0] = name
        self._types[name] = self._types[value.name]
        return self._value(name)

    def type_number(self, dtype: str) -> int:
        """ONNX's number of a dtype."""
        number: int = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return number

    def _writer(self, layer: Layer) -> Writer:
        # A subclass may compute something else: the class itself, and no base class of it, must be known.
        kind = type(layer)
        if kind in self._writers:
            return self._writers[kind]
        base = next((base.__name__ for base in kind.__mro__[1:] if base in self._writers), None)
        if base is None:
            advice = f"layers={{{kind.__name__}: write}}, with write(graph, layer, x) that returns y (see class Graph)"
        else:
            advice = f"if it computes what {base} does, layers={{{kind.__name__}: LAYERS[{base}]}}"
        known = ", ".join(sorted(known.__name__ for known in self._writers))
        raise ConfigError(
            f"{layer.who}: {kind.__name__} has no writer for ONNX. Give one: {advice}. Those that have one: {known}."
        )

    def _initializer(self, name: str, array: np.ndarray[Any, Any]) -> Value:
        tensor = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        self.initializers[name] = tensor
        self.bytes += array.nbytes
        self._types[name] = self._onnx.helper.make_tensor_type_proto(tensor.data_type, array.shape)
        return self._value(name)

    def _infer(self, node: Any, names: Sequence[str]) -> Any:
        onnx = self._onnx
        checker, inference = onnx.checker.ValidationError, onnx.shape_inference.InferenceError
        try:
            found = onnx.shape_inference.infer_node_outputs(
                onnx.defs.get_schema(node.op_type, self.opset),
                node,
                {name: self._types[name] for name in names if name},
                # Shapes are read from constants.
                {name: self.initializers[name] for name in names if self._is_shape(name)},
                opset_imports=self._opsets,
                ir_version=onnx.helper.find_min_ir_version_for(self._opsets),
            )
            return found[node.output[0]]
        except (checker, inference, onnx.defs.SchemaError, KeyError) as error:
            inputs = ", ".join(f"{name} {_text(self._value(name))}" for name in names if name)
            raise ConfigError(f"'{node.name}': onnx refuses {node.op_type} of {inputs}: {error}") from error

    def _is_shape(self, name: str) -> bool:
        return name in self.initializers and self._value(name).dtype == "int64"

    def _value(self, name: str) -> Value:
        tensor = self._types[name].tensor_type
        shape: tuple[Axis, ...] | None = None
        if tensor.HasField("shape"):
            shape = tuple(
                axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None for axis in tensor.shape.dim
            )
        return Value(self, name, self._onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, shape)

    def _free(self, name: str) -> str:
        found, n = name, 0
        while found in self._taken:
            n += 1
            found = f"{name}_{n}"
        self._taken.add(found)
        return found


def onnx_package() -> Any:
    """The package onnx.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.defs
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx", "Export to ONNX") from error
    return onnx


def _text(value: Value) -> str:
    return f"({value.dtype}, {'unknown shape' if value.shape is None else value.shape})"
