"""Tables: rows of numbers and of categories, as a net takes them."""

from collections.abc import Sequence

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import ConfigError, ShapeError
from anyfw.core.init import Initializer
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter
from anyfw.ops import linear as ops


class CategoryColumns(Layer):
    """Numbers as they are, then each category as a one-hot row or as a learnt vector.

    The last columns of x are codes 0 ... count-1, as floats, and are rounded. A code that is none of these, such as -1
    for a category that nobody knew in training, gives zeros. Codes have no gradient: theirs in dx is 0.

    Args:
        numbers: how many columns of numbers come first.
        counts: how many codes each category has, at least 1.
        widths: for each category the length of its vectors, or 0 for one-hot; without them all are one-hot.
        weight_init: initialiser of the vectors, by name, number or function.

    Shapes:
        x: (batch, numbers + categories); y: (batch, out_features), where a one-hot category takes its count;
        weight_i of category i, where it has vectors: (count, width).

    Raises:
        ConfigError: no column at all, a count below 1, a width below 0, or not one width for each count.
        ShapeError: in forward, another number of columns.

    Source: Guo and Berkhahn, arXiv:1604.06737, for the vectors.

    >>> import numpy as np
    >>> from anyfw import nn
    >>> nn.CategoryColumns(1, (3,))(np.asarray([[0.5, 2.0], [0.1, -1.0]], dtype="float32")).tolist()
    [[0.5, 0.0, 0.0, 1.0], [0.10000000149011612, 0.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        numbers: int,
        counts: Sequence[int] = (),
        widths: Sequence[int] = (),
        *,
        weight_init: str | float | Initializer = "lecun_normal",
    ) -> None:
        self.numbers, self.counts = numbers, tuple(counts)
        self.widths = tuple(widths) or (0,) * len(self.counts)
        self.weight_init = weight_init
        _expect_whole("numbers", (numbers,), least=0)
        _expect_whole("counts", self.counts, least=1)
        _expect_whole("widths", self.widths, least=0)
        if len(self.counts) != len(self.widths):
            raise ConfigError(
                f"CategoryColumns: expected one width for each of {len(self.counts)} counts, got {len(self.widths)}."
            )
        if not numbers and not counts:
            raise ConfigError("CategoryColumns: expected at least one column, got neither numbers nor counts.")
        self.in_features = numbers + len(self.counts)
        self.out_features = numbers + sum(width or count for count, width in zip(self.counts, self.widths, strict=True))
        for i, (count, width) in enumerate(zip(self.counts, self.widths, strict=True)):
            if width:
                # Vectors of length about 1, as one-hot rows have.
                setattr(self, f"weight_{i}", Parameter((count, width), weight_init))

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """Numbers, one-hot rows and vectors side by side."""
        self.expect_features(x, self.in_features)
        if x.ndim != 2:
            raise ShapeError(f"{self.who}: expected (batch, {self.in_features}), got shape {tuple(x.shape)}.")
        xp = namespace(x)
        parts, saved = [x[:, : self.numbers]], []
        for i, count in enumerate(self.counts):
            code = xp.round(x[:, self.numbers + i])
            codes = xp.arange(count, dtype=x.dtype, device=x.device)
            part = xp.astype(codes == xp.expand_dims(code, axis=1), x.dtype)
            weight = self._weight(i)
            if weight is not None:
                saved.append(part)
                # A product, not a gather, whose gradient would be a scatter: the standard has none.
                part = ops.product(part, weight.data)
            parts.append(part)
        if train:
            self.push(saved)
        return xp.concat(parts, axis=1)

    def backward(self, dy: Array, /) -> Array:
        """The gradient by the numbers is theirs in dy, that by the codes 0; dW = one_hot^T dy."""
        xp = namespace(dy)
        self.accumulate(dy)
        codes = xp.zeros((dy.shape[0], len(self.counts)), dtype=dy.dtype, device=dy.device)
        return xp.concat([dy[:, : self.numbers], codes], axis=1)

    def accumulate(self, dy: Array, /) -> None:
        """The gradients by the vectors alone."""
        (saved,) = self.pop()
        start, one_hots = self.numbers, iter(saved)
        for i, (count, width) in enumerate(zip(self.counts, self.widths, strict=True)):
            weight = self._weight(i)
            if weight is not None:
                one_hot = next(one_hots)
                if weight.trainable:
                    ops.weight_grad_(one_hot, dy[:, start : start + width], *weight.into())
            start += width or count

    @property
    def _learns_nothing(self) -> bool:  # type: ignore[override]
        return not any(self.widths)

    def _weight(self, i: int) -> Parameter | None:
        return getattr(self, f"weight_{i}") if self.widths[i] else None


def _expect_whole(name: str, values: tuple[int, ...], *, least: int) -> None:
    if not all(isinstance(value, int) and not isinstance(value, bool) and value >= least for value in values):
        raise ConfigError(f"CategoryColumns: expected {name} as whole numbers of at least {least}, got {values}.")
