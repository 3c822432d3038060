"""The lesson's layers, each usable alone, and the net that chains them."""

import math
from typing import Any, ClassVar

import numpy as np

from anyfw.core import random
from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import BackwardError, ConfigError, PlacementError, ShapeError
from anyfw.lesson.placed import Placed
from anyfw.ops import activation, linear, softmax


class _Value:
    # An array of a Linear: made when first read, copied in when assigned.
    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: "Linear | None", owner: type) -> Array:
        return self if layer is None else layer._get(self.name)

    def __set__(self, layer: "Linear", value: Any) -> None:
        layer._set(self.name, value)


class Linear(Placed):
    """z = x W^T + b.

    Args:
        nin, nout: widths, at least 1.
        seed: of the weights; None takes the net's, or 0 alone.

    Attributes:
        W, dW: (nout, nin); readable and assignable, on the backend; dW is 0 before the first backward.
        b, db: (1, nout); b starts as 0.

    Shapes:
        x: (rows, nin), or (nin,) for one row; z: (rows, nout).

    Raises:
        ConfigError: a width below 1.
        ShapeError: another number of features than nin.
        BackwardError: backward without forward, update without backward.
    """

    W, b = _Value(), _Value()
    dW, db = _Value(), _Value()  # noqa: N815 - the learner's name

    def __init__(self, nin: int, nout: int, seed: int | None = None) -> None:
        super().__init__()
        if not all(isinstance(n, int | np.integer) and n >= 1 for n in (nin, nout)):
            raise ConfigError(f"Linear: expected whole widths of at least 1, got {nin} and {nout}.")
        self.nin, self.nout, self.seed = int(nin), int(nout), seed
        self._place: tuple[int, int] | None = None  # seed and position of a net
        self._values: dict[str, Array] = {}
        self._x: Array | None = None

    def forward(self, x: Any) -> Array:
        """Z for x."""
        x, host = self.take(x, "x")
        if x.ndim == 1:
            x = namespace(x).reshape(x, (1, -1))
        if x.ndim != 2 or x.shape[1] != self.nin:
            where = f" (layer {self._place[1]} of the net)" if self._place else ""
            raise ShapeError(
                f"Linear({self.nin}, {self.nout}){where}: expected x of shape (rows, {self.nin}), got "
                f"{tuple(x.shape)}. Does nin equal the nout before it?"
            )
        self._x = x
        return self.give(linear.linear(x, self.W, self.b), host)

    def backward(self, dz: Any) -> Array:
        """dx = dz W; writes dW = dz^T x and db = sum of dz over the rows."""
        dz, host = self.take(dz, "dz")
        _expect_forward(self, self._x is not None)
        x, W = self._x, self.W
        assert x is not None
        _expect_shape(self, dz, (x.shape[0], self.nout))
        # New arrays: who kept the former gradients still has them.
        xp = self.backend.xp
        self._values["dW"], self._values["db"] = xp.empty_like(W), xp.empty_like(self.b)
        linear.weight_grad_(dz, x, self._values["dW"], False)
        linear.bias_grad_(dz, self._values["db"][0, :], False)
        return self.give(linear.linear_grad(dz, W), host)

    def update(self, lr: float) -> None:
        """W -= lr dW and b -= lr db, in place."""
        step = _checked_lr(lr)
        if not {"dW", "db"} <= self._values.keys():
            raise BackwardError(f"{self!r}: update without a backward before it: there is no dW yet.")
        W, b = self.W, self.b
        W -= step * self._values["dW"]
        b -= step * self._values["db"]

    def _get(self, name: str) -> Array:
        if name not in self._values:
            values = np.zeros(self._shape(name))
            if name == "W":
                stream: tuple[random.Word, ...] = ("lesson", "alone", self.nout, self.nin)
                seed = 0
                if self._place is not None:
                    seed, stream = self._place[0], ("lesson", "net", self._place[1])
                seed = seed if self.seed is None else self.seed
                values = random.normal((self.nout, self.nin), seed, *stream) / math.sqrt(self.nin)
            self._values[name] = self.backend.asarray(values, self.dtype)
        return self._values[name]

    def _set(self, name: str, value: Any) -> None:
        if value is self._values.get(name):  # the end of lin.W -= v, which has changed the array itself
            return
        taken, _ = self.take(value, name)
        if tuple(taken.shape) != self._shape(name):
            raise ShapeError(f"{self!r}: expected {name} of shape {self._shape(name)}, got {tuple(taken.shape)}.")
        self._values[name] = self.backend.xp.asarray(taken, device=self.backend.device, copy=True)

    def _shape(self, name: str) -> tuple[int, int]:
        return (self.nout, self.nin) if name[-1] == "W" else (1, self.nout)

    def __repr__(self) -> str:
        return f"Linear({self.nin}, {self.nout})"


class _OfOutput(Placed):
    """A layer without parameters whose backward needs its output alone. Shapes: x and y alike."""

    _function: ClassVar[Any]
    _gradient: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self._y: Array | None = None

    def forward(self, x: Any) -> Array:
        """Y for x."""
        x, host = self.take(x, "x")
        self._y = type(self)._function(x)
        return self.give(self._y, host)

    def backward(self, dy: Any) -> Array:
        """Dx for dy."""
        dy, host = self.take(dy, "dy")
        _expect_forward(self, self._y is not None)
        assert self._y is not None
        _expect_shape(self, dy, tuple(self._y.shape))
        return self.give(type(self)._gradient(dy, self._y), host)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Tanh(_OfOutput):
    """y = tanh(x); dx = dy (1 - y^2)."""

    _function = staticmethod(activation.tanh)
    _gradient = staticmethod(activation.tanh_grad)


class ReLU(_OfOutput):
    """y = max(x, 0); dx = dy where y > 0, else 0."""

    _function = staticmethod(activation.relu)
    _gradient = staticmethod(activation.relu_grad)


class Sigmoid(_OfOutput):
    """y = 1 / (1 + exp(-x)); dx = dy y (1 - y)."""

    _function = staticmethod(activation.sigmoid)
    _gradient = staticmethod(activation.sigmoid_grad)


class Softmax(_OfOutput):
    """p = exp(z) / sum exp(z) over the last axis; dz = p (dp - sum(dp p))."""

    _function = staticmethod(lambda z: softmax.softmax(z, -1))
    _gradient = staticmethod(lambda dp, p: softmax.softmax_grad(dp, p, -1))


class Net(Placed):
    """Layers one after the other; also any object of your own with `forward`, `backward` and, if it learns, `update`.

    One of your own is given arrays of the backend: with the numpy backend, NumPy arrays.

    Args:
        seed: of the weights of all its Linear layers that have no seed of their own.

    Attributes:
        layers: in the order of forward.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.layers: list[Any] = []

    def add(self, layer: Any) -> None:
        """Append a layer.

        Raises:
            ConfigError: it is in the net already, or no layer, or a Linear that was drawn outside the net to the
                same weights as another one in it.
            PlacementError: it was made on another backend.
        """
        if isinstance(layer, type) or not (hasattr(layer, "forward") and hasattr(layer, "backward")):
            raise ConfigError(f"Net.add: expected a layer with forward and backward, got {layer!r}. Write Tanh().")
        if any(layer is other for other in self.layers):
            raise ConfigError(
                f"Net.add: {layer!r} is in the net already, and keeps one forward only. Make another one."
            )
        if isinstance(layer, Placed) and layer.backend is not self.backend:
            raise PlacementError(
                f"Net.add: the net is on {self.backend.spec}, {layer!r} on {layer.backend.spec}. "
                "Make both within the same use_backend(...)."
            )
        self.layers.append(layer)
        try:
            self._seat()
        except ConfigError:
            self.layers.pop()
            raise

    def forward(self, x: Any) -> Array:
        """The output of the last layer."""
        self._seat()
        x, host = self.take(x, "x")
        for layer in self.layers:
            x = layer.forward(x)
        return self.give(x, host)

    def backward(self, dp: Any) -> Array:
        """The gradient by x; each layer's backward in reverse."""
        dp, host = self.take(dp, "dp")
        for layer in reversed(self.layers):
            dp = layer.backward(dp)
        return self.give(dp, host)

    def update(self, lr: float) -> None:
        """One step of gradient descent on every layer that has an `update`."""
        _checked_lr(lr)
        for layer in self.layers:
            if hasattr(layer, "update"):
                layer.update(lr)

    def _seat(self) -> None:
        # Also for layers that came by net.layers.append. One that was drawn outside keeps its weights.
        seen: list[Linear] = []
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Linear):
                continue
            if layer._place is None:
                drawn = [other for other in seen if "W" in layer._values and _same_weights(layer, other)]
                if drawn:
                    raise ConfigError(
                        f"Net.add: {layer!r} was used before, outside the net, and has the same weights as layer "
                        f"{self.layers.index(drawn[0])}. Give it another seed: Linear({layer.nin}, {layer.nout}, 1)."
                    )
                layer._place = (self.seed, i)
            seen.append(layer)

    def __repr__(self) -> str:
        return f"Net({', '.join(map(repr, self.layers))})"


def _same_weights(a: Linear, b: Linear) -> bool:
    if (a.nin, a.nout) != (b.nin, b.nout):
        return False
    return np.array_equal(a.backend.to_numpy(a.W), b.backend.to_numpy(b.W))


def _checked_lr(lr: float) -> float:
    step = float(lr)
    if not (math.isfinite(step) and step >= 0.0):
        raise ConfigError(f"update: expected a learning rate of 0 or more, got {lr}.")
    return step


def _expect_forward(layer: object, happened: bool) -> None:
    if not happened:
        raise BackwardError(f"{layer!r}: backward without a forward before it.")


def _expect_shape(layer: object, dy: Array, shape: tuple[int, ...]) -> None:
    if tuple(dy.shape) != shape:
        raise ShapeError(
            f"{layer!r}: expected a gradient of the last forward's shape {shape}, got {tuple(dy.shape)}. "
            "Was there another forward in between?"
        )
