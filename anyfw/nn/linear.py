"""The affine map."""

from anyfw.core.arrays import Array
from anyfw.core.errors import ConfigError
from anyfw.core.init import Initializer
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter
from anyfw.ops import linear as ops


class Linear(Layer):
    """y = x W^T + b.

    Args:
        in_features, out_features: widths, at least 1.
        bias: whether there is a b.
        weight_init, bias_init: initialisers by name, number or function.

    Shapes:
        x: (..., in_features); y: (..., out_features); weight: (out_features, in_features); bias: (out_features,).

    Raises:
        ConfigError: a width below 1.
        ShapeError: in forward, another last axis than in_features.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        weight_init: str | float | Initializer = "lecun_normal",
        bias_init: str | float | Initializer = "zeros",
    ) -> None:
        widths = (in_features, out_features)
        if not all(isinstance(width, int) and width >= 1 for width in widths):
            raise ConfigError(f"Linear: expected widths of at least 1, whole numbers, got {widths}.")
        self.in_features = in_features
        self.out_features = out_features
        self.weight_init = weight_init
        self.bias_init = bias_init
        self.weight = Parameter((out_features, in_features), weight_init)
        self.bias = Parameter((out_features,), bias_init) if bias else None

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The affine map of the last axis."""
        self.expect_features(x, self.in_features)
        if train:
            self.push(x)
        return ops.linear(x, self.weight.data, None if self.bias is None else self.bias.data)

    def backward(self, dy: Array, /) -> Array:
        """dx = dy W; dW = dy^T x and db = sum dy, over all leading axes."""
        self.accumulate(dy)
        return ops.linear_grad(dy, self.weight.data)

    def accumulate(self, dy: Array, /) -> None:
        """DW and db alone: as the first layer of a net, half the work of `backward`."""
        (x,) = self.pop()
        weight, bias = self.weight, self.bias
        ops.parameter_grads_(
            dy,
            x,
            weight.into() if weight.trainable else None,
            bias.into() if bias is not None and bias.trainable else None,
        )

    def arguments(self) -> dict[str, object]:
        """The attribute `bias` is the parameter; the argument says whether there is one."""
        return {**super().arguments(), "bias": self.bias is not None}
