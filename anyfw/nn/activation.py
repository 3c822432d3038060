"""Activations: elementwise, no parameters."""

from anyfw.core.arrays import Array
from anyfw.core.layer import Layer
from anyfw.ops import activation as ops


class ReLU(Layer):
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
