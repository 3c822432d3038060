"""What `trace` writes down while a net runs: it watches each layer's methods and names what goes through them."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw import nn
from anyfw.core.arrays import Array
from anyfw.core.hooks import Method
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter, to_host
from anyfw.inspect import formulas

HostArray = NDArray[Any]
Loss = Callable[[Array, Array], tuple[Array, Array]]


@dataclass
class Step:
    """One line of a trace: a name, the formula that gave it, its value.

    Attributes:
        phase: "forward", "loss" or "backward".
        path, kind: the layer; of the loss, path is "".
        name: "y[0]", "delta[0]", "W[0]", "dW[0]", "L", ...
        formula: in NumPy's notation, of names that were given before; of a given value what it is.
    """

    phase: str
    path: str
    kind: str
    name: str
    formula: str
    value: HostArray


@dataclass
class _Gradient:
    """A gradient that is named when somebody takes it: only then is it clear whose delta it is."""

    array: Array  # held, so that its id stays its own
    step: Step
    value: HostArray


@dataclass
class _Use:
    path: str
    y: str
    names: dict[str, Any]
    formula: formulas.Formula


@dataclass
class _Frame:
    layer: Layer
    outputs: list[str] = field(default_factory=list)
    gradients: list[_Gradient] = field(default_factory=list)


class Recorder:
    """Wraps the methods of a net's layers (see `hooks.watched`), one forward and one backward pass long.

    Arrays are told apart by identity, and kept so that an identity is never given twice.

    Attributes:
        steps, outputs, deltas, gradients: as in `Trace`.
    """

    def __init__(self, net: Layer) -> None:
        self.steps: list[Step] = []
        self.outputs: dict[str, HostArray] = {}
        self.deltas: dict[str, HostArray] = {}
        self.gradients: dict[str, HostArray | None] = {path: None for path, p in net.named_parameters()}
        self._parameter_path = {id(parameter): path for path, parameter in net.named_parameters()}
        self._paths: dict[int, list[str]] = defaultdict(list)
        for path, layer in net.named_layers():
            self._paths[id(layer)].append(path)
        self._calls: dict[int, int] = defaultdict(int)
        self._uses: dict[int, list[_Use]] = defaultdict(list)
        self._names: dict[int, str] = {}
        self._pending: dict[int, _Gradient] = {}
        self._held: list[Array] = []
        self._frames: list[_Frame] = [_Frame(net)]

    def add(self, phase: str, path: str, kind: str, name: str, formula: str, value: Array) -> Step:
        """Note one line."""
        step = Step(phase, path, kind, name, formula, np.array(to_host(value)))
        self.steps.append(step)
        return step

    def name(self, array: Array, name: str) -> None:
        """From now on this array goes by this name."""
        self._held.append(array)
        self._names[id(array)] = name

    # Forward

    def forward(self, layer: Layer, method: Method) -> Method:
        """The wrapper of a layer's `forward`."""

        def call(x: Array, /, *, train: bool = False) -> Array:
            paths, n = self._paths[id(layer)], self._calls[id(layer)]
            self._calls[id(layer)] += 1
            path = paths[n] if n < len(paths) else f"{paths[-1]}#{n + 1}"
            kind = type(layer).__name__
            if id(x) not in self._names:
                self.add("forward", path, kind, _at("x", path), "made in the layer around it", x)
                self.name(x, _at("x", path))
            x_name, host_x = self._names[id(x)], np.array(to_host(x))
            self._frames.append(_Frame(layer))
            y = method(x, train=train)
            branches = self._frames.pop().outputs
            if type(layer) is nn.Sequential:
                self._frames[-1].outputs.append(self._names[id(y)])
                self.outputs[path] = np.array(to_host(y))
                return y
            use = self._describe(layer, path, x_name, host_x, np.array(to_host(y)), branches)
            self._uses[id(layer)].append(use)
            self.add("forward", path, kind, use.y, use.formula.y.format(**use.names), y)
            self.outputs[path] = self.steps[-1].value
            self.name(y, use.y)
            self._frames[-1].outputs.append(use.y)
            return y

        return call

    def _describe(
        self, layer: Layer, path: str, x: str, host_x: HostArray, host_y: HostArray, branches: list[str]
    ) -> _Use:
        kind = type(layer).__name__
        parameters = {name: value for name, value in vars(layer).items() if isinstance(value, Parameter)}
        names: dict[str, Any] = {name: _parameter_name(name, path) for name in parameters}
        for name, parameter in parameters.items():
            shape = "x".join(map(str, parameter.shape))
            frozen = "" if parameter.trainable else ", frozen"
            self.add("forward", path, kind, names[name], f"parameter, {shape}{frozen}", parameter.data)
        found, more = formulas.extras(layer, path, x, host_x, host_y)
        for name, formula, value in found:
            self.add("forward", path, kind, name, formula, value)
        expand = "[:, None]" if kind == "BatchNorm1d" and host_x.ndim == 3 else ""
        names |= more | {"x": x, "y": _at("y", path), "layer": layer}
        names |= {"x_shape": host_x.shape, "y_shape": host_y.shape, "x_rows": _rows(host_x), "y_rows": _rows(host_y)}
        names["plus_bias"] = f" + {names['bias']}{expand}" if "bias" in names else ""
        names["times_weight"] = f" * {names['weight']}{expand}" if "weight" in names else ""
        return _Use(path, names["y"], names, _combination(layer, x, branches) or formulas.of_layer(layer))

    # Loss

    def loss(self, loss: Loss, output: Array, target: Array, value: Array, dy: Array) -> None:
        """Note the loss and its gradient."""
        kind = type(loss).__name__ if not hasattr(loss, "__name__") else str(loss.__name__)
        self.add("loss", "", kind, "t", "the target", target)
        y = self._names.get(id(output), "y")
        spelt = formulas.of_loss(loss, y, np.asarray(to_host(output)), np.asarray(to_host(target)))
        for name, formula, extra in spelt.extras:
            self.add("loss", "", kind, name, formula, extra)
        self.add("loss", "", kind, "L", spelt.value, value)
        self._hand_on(dy, self.add("loss", "", kind, "dy", spelt.dy, dy))

    # Backward

    def backward(self, layer: Layer, method: Method) -> Method:
        """The wrapper of a layer's `backward`."""
        return self._backward(layer, method)

    def accumulate(self, layer: Layer, method: Method) -> Method:
        """The wrapper of a layer's `accumulate`."""
        return self._backward(layer, method)

    def _backward(self, layer: Layer, method: Method) -> Method:
        def call(dy: Array, /) -> Array | None:
            if self._frames[-1].layer is layer and len(self._frames) > 1:  # backward that calls accumulate
                return method(dy)
            if type(layer) is nn.Sequential:
                self._frames.append(_Frame(layer))
                dx = method(dy)
                self._frames.pop()
                if dx is not None and id(dx) in self._pending:
                    self._frames[-1].gradients.append(self._pending[id(dx)])
                return dx
            use = self._uses[id(layer)].pop()
            kind = type(layer).__name__
            delta = self._take(dy, use.path, kind)
            parameters = {n: p for n, p in vars(layer).items() if isinstance(p, Parameter) and p.trainable}
            for parameter in parameters.values():
                parameter.zero_grad()  # so that what is read afterwards is of this use alone
            self._frames.append(_Frame(layer))
            dx = method(dy)
            inner = self._frames.pop().gradients
            self._parameter_steps(use, kind, delta, parameters)
            if dx is not None:
                self._dx_step(layer, use, kind, delta, inner, dx)
            return dx

        return call

    def _take(self, dy: Array, path: str, kind: str) -> str:
        pending = self._pending.pop(id(dy), None)
        if pending is not None:
            pending.step.name = _at("delta", path)
            self._names[id(dy)] = pending.step.name
        elif id(dy) not in self._names:
            self.add("backward", path, kind, _at("delta", path), self._origin(), dy)
            self.name(dy, _at("delta", path))
        self.deltas[path] = np.array(to_host(dy))
        return self._names[id(dy)]

    def _origin(self) -> str:
        around = next((f.layer for f in reversed(self._frames) if type(f.layer) is not nn.Sequential), None)
        if isinstance(around, nn.Parallel):
            return f"this branch's part of {_at('delta', self._open_path(around))}"
        return "made in the layer around it"

    def _open_path(self, layer: Layer) -> str:
        return self._paths[id(layer)][min(len(self._uses[id(layer)]), len(self._paths[id(layer)]) - 1)]

    def _parameter_steps(self, use: _Use, kind: str, delta: str, parameters: dict[str, Parameter]) -> None:
        for name, parameter in parameters.items():
            grad = np.array(to_host(parameter.grad))
            formula = use.formula.grads.get(name, f"as {kind}.backward says").format(**use.names, dy=delta)
            self.add("backward", use.path, kind, f"d{use.names[name]}", formula, grad)
            path = self._parameter_path[id(parameter)]
            before = self.gradients[path]
            self.gradients[path] = grad if before is None else before + grad

    def _dx_step(self, layer: Layer, use: _Use, kind: str, delta: str, inner: list[_Gradient], dx: Array) -> None:
        for gradient in inner:
            if self._pending.get(id(gradient.array)) is gradient:
                gradient.step.name = _at("dx", gradient.step.path)
        ways = [gradient.step.name for gradient in inner]
        if isinstance(layer, nn.Residual):
            formula = " + ".join(ways if layer.shortcut is not None else [delta, *ways])
        elif isinstance(layer, nn.Parallel):
            formula = " + ".join(reversed(ways))
        else:
            g = f"({delta}{use.names['times_weight']})" if use.names["times_weight"] else delta
            formula = use.formula.dx.format(**use.names, dy=delta, g=g)
        gradient = self._hand_on(dx, self.add("backward", use.path, kind, _at("dx", use.path), formula, dx))
        self._frames[-1].gradients.append(gradient)

    def _hand_on(self, array: Array, step: Step) -> _Gradient:
        self._held.append(array)
        self._names.pop(id(array), None)
        self._pending[id(array)] = _Gradient(array, step, step.value)
        return self._pending[id(array)]

    def result(self, dx: Array | None) -> None:
        """Name what the backward pass of the net gave."""
        if dx is not None and id(dx) in self._pending:
            self._pending[id(dx)].step.name = "dx"


def _combination(layer: Layer, x: str, branches: list[str]) -> formulas.Formula | None:
    if isinstance(layer, nn.Residual):
        past = x if layer.shortcut is None else branches[1]
        return formulas.Formula(f"{past} + {branches[0]}", "")
    if isinstance(layer, nn.Parallel):
        if layer.combine == "add":
            return formulas.Formula(" + ".join(branches), "")
        return formulas.Formula(f"concatenate([{', '.join(branches)}], {layer.axis})", "")
    return None


def _rows(array: HostArray) -> str:
    return "" if array.ndim == 2 else f".reshape(-1, {array.shape[-1] if array.ndim else 1})"


def _at(name: str, path: str) -> str:
    return f"{name}[{path}]" if path else name


def _parameter_name(name: str, path: str) -> str:
    return _at({"weight": "W", "bias": "b"}.get(name, name), path)
