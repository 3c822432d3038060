"""Activations: functions of each element alone, and softmax along one axis. No parameters."""

import math
from typing import Literal

from anyfw.core.arrays import Array
from anyfw.core.errors import ConfigError, ShapeError, UnknownNameError
from anyfw.nn.fixed import Fixed
from anyfw.ops import activation as ops
from anyfw.ops import softmax as softmax_ops


class ReLU(Fixed):
    """y = max(x, 0). Shapes: x and y alike, any.

    Source: Nair and Hinton, ICML 2010.
    """

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The positive part."""
        y = ops.relu(x)
        if train:
            self.push(y)
        return y

    def backward(self, dy: Array, /) -> Array:
        """Dy where y > 0."""
        (y,) = self.pop()
        return ops.relu_grad(dy, y)


class LeakyReLU(Fixed):
    """y = x where x > 0, else negative_slope x. Shapes: x and y alike, any.

    Raises:
        ConfigError: a slope that is not finite.

    Source: Maas, Hannun and Ng, ICML 2013.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = _finite("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The two lines."""
        if train:
            self.push(x)
        return ops.leaky_relu(x, self.negative_slope)

    def backward(self, dy: Array, /) -> Array:
        """Dy times the slope of the line that x is on."""
        (x,) = self.pop()
        return ops.leaky_relu_grad(dy, x, self.negative_slope)


class ELU(Fixed):
    """y = x where x > 0, else alpha (exp(x) - 1). Shapes: x and y alike, any.

    Raises:
        ConfigError: a negative alpha.

    Source: Clevert, Unterthiner and Hochreiter, arXiv:1511.07289.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        # The gradient is taken from y, whose sign tells the side only where alpha is not negative.
        if not 0.0 <= alpha < math.inf:
            raise ConfigError(f"ELU: expected alpha of at least 0, got {alpha}.")
        self.alpha = float(alpha)

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The line and the exponential."""
        y = ops.elu(x, self.alpha, 1.0)
        if train:
            self.push(y)
        return y

    def backward(self, dy: Array, /) -> Array:
        """Dy, times y + alpha on the exponential."""
        (y,) = self.pop()
        return ops.elu_grad(dy, y, self.alpha, 1.0)


class SELU(Fixed):
    """y = s x where x > 0, else s alpha (exp(x) - 1): with these two constants N(0, 1) is a fixed point.

    Shapes: x and y alike, any.

    Source: Klambauer et al., arXiv:1706.02515, equation 14.
    """

    _ALPHA = 1.6732632423543772848170429916717
    _SCALE = 1.0507009873554804934193349852946

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The line and the exponential."""
        y = ops.elu(x, self._ALPHA, self._SCALE)
        if train:
            self.push(y)
        return y

    def backward(self, dy: Array, /) -> Array:
        """Dy s, times (y / s + alpha) on the exponential."""
        (y,) = self.pop()
        return ops.elu_grad(dy, y, self._ALPHA, self._SCALE)


class GELU(Fixed):
    """y = x P(Z < x) with Z ~ N(0, 1). Shapes: x and y alike, any.

    Args:
        approximate: "none", by the error function, or "tanh", y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.

    Raises:
        UnknownNameError: another `approximate`.

    Source: Hendrycks and Gimpel, arXiv:1606.08415.
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise UnknownNameError("approximation of GELU", approximate, ("none", "tanh"))
        self.approximate = approximate

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The gate times x."""
        if train:
            self.push(x)
        return ops.gelu(x) if self.approximate == "none" else ops.gelu_tanh(x)

    def backward(self, dy: Array, /) -> Array:
        """Dy times the gate plus x times its slope."""
        (x,) = self.pop()
        return ops.gelu_grad(dy, x) if self.approximate == "none" else ops.gelu_tanh_grad(dy, x)


class SiLU(Fixed):
    """y = x sigmoid(x), also called swish. Shapes: x and y alike, any.

    Source: Elfwing, Uchibe and Doya, arXiv:1702.03118.
    """

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The gate times x."""
        if train:
            self.push(x)
        return ops.silu(x)

    def backward(self, dy: Array, /) -> Array:
        """Dy times the gate plus x times its slope."""
        (x,) = self.pop()
        return ops.silu_grad(dy, x)


class Softplus(Fixed):
    """y = log(1 + exp(beta x)) / beta, a smooth ReLU. Shapes: x and y alike, any.

    Args:
        beta: sharpness; not 0.
        threshold: where beta x is above it, y = x.

    Raises:
        ConfigError: a beta of 0.

    Source: Dugas et al., NIPS 2000.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = _finite("Softplus", "beta", beta)
        self.threshold = float(threshold)
        if beta == 0.0:
            raise ConfigError("Softplus: expected a beta that is not 0, got 0.")

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The smooth ReLU."""
        if train:
            self.push(x)
        return ops.softplus(x, self.beta, self.threshold)

    def backward(self, dy: Array, /) -> Array:
        """Dy sigmoid(beta x)."""
        (x,) = self.pop()
        return ops.softplus_grad(dy, x, self.beta, self.threshold)


class Sigmoid(Fixed):
    """y = 1 / (1 + exp(-x)). Shapes: x and y alike, any."""

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The logistic function."""
        y = ops.sigmoid(x)
        if train:
            self.push(y)
        return y

    def backward(self, dy: Array, /) -> Array:
        """Dy y (1 - y)."""
        (y,) = self.pop()
        return ops.sigmoid_grad(dy, y)


class Tanh(Fixed):
    """y = tanh(x). Shapes: x and y alike, any."""

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The hyperbolic tangent."""
        y = ops.tanh(x)
        if train:
            self.push(y)
        return y

    def backward(self, dy: Array, /) -> Array:
        """Dy (1 - y^2)."""
        (y,) = self.pop()
        return ops.tanh_grad(dy, y)


class Softmax(Fixed):
    """y = exp(x) / sum exp(x) along one axis. Before `CrossEntropyLoss`, which takes logits, leave it out.

    Args:
        dim: the axis.

    Shapes:
        x and y alike, any that has the axis.

    Raises:
        ShapeError: in forward, x without that axis.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """Probabilities along the axis."""
        _expect_axis(self, x, self.dim)
        y = softmax_ops.softmax(x, self.dim)
        if train:
            self.push(y)
        return y

    def backward(self, dy: Array, /) -> Array:
        """Y (dy - sum(dy y))."""
        (y,) = self.pop()
        return softmax_ops.softmax_grad(dy, y, self.dim)


class LogSoftmax(Fixed):
    """y = x - log sum exp(x) along one axis: the input of `NLLLoss`.

    Args:
        dim: the axis.

    Shapes:
        x and y alike, any that has the axis.

    Raises:
        ShapeError: in forward, x without that axis.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """Log-probabilities along the axis."""
        _expect_axis(self, x, self.dim)
        y = softmax_ops.log_softmax(x, self.dim)
        if train:
            self.push(y)
        return y

    def backward(self, dy: Array, /) -> Array:
        """Dy - softmax(x) sum(dy)."""
        (y,) = self.pop()
        return softmax_ops.log_softmax_grad(dy, y, self.dim)


def _finite(layer: str, name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ConfigError(f"{layer}: expected a finite {name}, got {value}.")
    return float(value)


def _expect_axis(layer: Softmax | LogSoftmax, x: Array, axis: int) -> None:
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{layer.who}: expected an array with axis {axis}, got shape {tuple(x.shape)}.")
