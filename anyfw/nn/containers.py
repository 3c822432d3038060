"""Containers: layers made of layers."""

from collections.abc import Iterator
from typing import Literal

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import ConfigError, ShapeError, UnknownNameError
from anyfw.core.layer import Layer
from anyfw.nn import joined


class Sequential(Layer):
    """One layer after the other: y = f_n(...f_1(x)).

    Args:
        layers: in the order of forward; none is the identity.

    Shapes:
        as its layers.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = _all_layers("Sequential", layers)

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """Each layer in turn."""
        if train and self._shared is not None and self._shared.joins:
            return joined.forward(self.layers, x)
        for layer in self.layers:
            x = layer.forward(x, train=train)
        return x

    def backward(self, dy: Array, /) -> Array:
        """Each layer's backward in reverse."""
        if self._shared is not None and self._shared.joins:
            return joined.backward(self.layers, dy, -1)
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def accumulate(self, dy: Array, /) -> None:
        """As backward; the first layer that learns computes no gradient by its input, those before it nothing."""
        layers = self.layers
        first = 0
        while first < len(layers) and layers[first]._learns_nothing:
            first += 1
        if self._shared is not None and self._shared.joins:
            joined.backward(layers, dy, first)
            return
        for layer in reversed(layers[first + 1 :]):
            dy = layer.backward(dy)
        for layer in reversed(layers[: first + 1]):
            layer.accumulate(dy)

    @property
    def _learns_nothing(self) -> bool:  # type: ignore[override]
        return all(layer._learns_nothing for layer in self.layers)

    def children(self) -> Iterator[tuple[str, Layer]]:
        """By their numbers alone, as in PyTorch: "0", "1", ..."""
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)


class Residual(Layer):
    """y = shortcut(x) + layer(x).

    Args:
        layer: the branch.
        shortcut: what x passes beside it; None is the identity.

    Shapes:
        as its layers, which must give the same shape.

    Raises:
        ShapeError: in forward, two different shapes.

    Source: He et al., arXiv:1512.03385.
    """

    def __init__(self, layer: Layer, shortcut: Layer | None = None) -> None:
        _all_layers("Residual", (layer,) if shortcut is None else (layer, shortcut))
        self.layer = layer
        self.shortcut = shortcut

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """The branch plus the shortcut."""
        branch = self.layer.forward(x, train=train)
        past = x if self.shortcut is None else self.shortcut.forward(x, train=train)
        if branch.shape != past.shape:
            advice = "Give a shortcut that maps the one to the other" if self.shortcut is None else "Change one of them"
            raise ShapeError(
                f"{self.who}: expected the branch to give the shape of the shortcut, {tuple(past.shape)}, "
                f"got {tuple(branch.shape)}. {advice}."
            )
        return past + branch

    def backward(self, dy: Array, /) -> Array:
        """The sum of both ways' gradients."""
        # The reverse of forward's order, for a layer that stands in both ways.
        past = dy if self.shortcut is None else self.shortcut.backward(dy)
        return past + self.layer.backward(dy)

    @property
    def _learns_nothing(self) -> bool:  # type: ignore[override]
        return self.layer._learns_nothing and (self.shortcut is None or self.shortcut._learns_nothing)

    def accumulate(self, dy: Array, /) -> None:
        """Accumulate along both ways."""
        if self.shortcut is not None:
            self.shortcut.accumulate(dy)
        self.layer.accumulate(dy)


class Parallel(Layer):
    """The same x through several branches, whose outputs are concatenated or added.

    Args:
        branches: at least one.
        combine: "concatenate" or "add".
        axis: along which to concatenate.

    Shapes:
        as its branches; their outputs may differ along `axis` where they are concatenated, else not at all.

    Raises:
        ConfigError: no branch.
        UnknownNameError: another `combine`.
        ShapeError: in forward, outputs that do not fit together.

    Source: Szegedy et al., arXiv:1409.4842.
    """

    def __init__(
        self, *branches: Layer, combine: Literal["concatenate", "add"] = "concatenate", axis: int = -1
    ) -> None:
        if not branches:
            raise ConfigError("Parallel: expected at least one branch, got none.")
        if combine not in ("concatenate", "add"):
            raise UnknownNameError("way to combine branches", combine, ("concatenate", "add"))
        self.branches = _all_layers("Parallel", branches)
        self.combine = combine
        self.axis = axis

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """All branches, combined."""
        outputs = [branch.forward(x, train=train) for branch in self.branches]
        self._expect_shapes([tuple(y.shape) for y in outputs])
        if train:
            self.push([y.shape[self.axis] for y in outputs] if self.combine == "concatenate" else None)
        if self.combine == "concatenate":
            return namespace(x).concat(outputs, axis=self.axis)
        total = outputs[0]
        for y in outputs[1:]:
            total = total + y
        return total

    def backward(self, dy: Array, /) -> Array:
        """Each branch takes its part of dy; their gradients by x add up."""
        parts = self._parts(dy)
        dx = self.branches[-1].backward(parts[-1])
        # In reverse, for a layer that stands in several branches.
        for branch, part in reversed(list(zip(self.branches[:-1], parts[:-1], strict=True))):
            dx = dx + branch.backward(part)
        return dx

    def accumulate(self, dy: Array, /) -> None:
        """Accumulate in each branch."""
        for branch, part in reversed(list(zip(self.branches, self._parts(dy), strict=True))):
            branch.accumulate(part)

    def children(self) -> Iterator[tuple[str, Layer]]:
        """By their numbers alone: "0", "1", ..."""
        return ((str(i), branch) for i, branch in enumerate(self.branches))

    def _parts(self, dy: Array) -> list[Array]:
        (widths,) = self.pop()
        if widths is None:
            return [dy] * len(self.branches)
        axis = self.axis % dy.ndim
        parts, start = [], 0
        for width in widths:
            parts.append(dy[(*(slice(None),) * axis, slice(start, start + width), ...)])
            start += width
        return parts

    def _expect_shapes(self, shapes: list[tuple[int, ...]]) -> None:
        if self.combine == "add":
            fits, what = len(set(shapes)) == 1, "outputs of one shape"
        else:
            what = f"outputs that differ along axis {self.axis} alone"
            fits = all(-len(shape) <= self.axis < len(shape) for shape in shapes)
            fits = fits and len({_without(shape, self.axis) for shape in shapes}) == 1
        if not fits:
            raise ShapeError(f"{self.who}: expected {what}, got shapes {', '.join(map(str, shapes))}.")


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    axis %= len(shape)
    return (*shape[:axis], -1, *shape[axis + 1 :])


def _all_layers(container: str, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    for layer in layers:
        if not isinstance(layer, Layer):
            raise ConfigError(f"{container}: expected layers, got {layer!r}. Is it a class that lacks its brackets?")
    return layers
