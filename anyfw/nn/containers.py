"""Containers: layers made of layers."""

from collections.abc import Iterator

from anyfw.core.arrays import Array
from anyfw.core.layer import Layer


class Sequential(Layer):
    """One layer after the other: y = f_n(...f_1(x)).

    Args:
        layers: in the order of forward; none is the identity.

    Shapes:
        as its layers.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """Each layer in turn."""
        for layer in self.layers:
            x = layer.forward(x, train=train)
        return x

    def backward(self, dy: Array, /) -> Array:
        """Each layer's backward in reverse."""
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def accumulate(self, dy: Array, /) -> None:
        """As backward; the first layer computes no gradient by its input."""
        for layer in reversed(self.layers[1:]):
            dy = layer.backward(dy)
        if self.layers:
            self.layers[0].accumulate(dy)

    def children(self) -> Iterator[tuple[str, Layer]]:
        """By their numbers alone, as in PyTorch: "0", "1", ..."""
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)
