"""Dropout."""

from anyfw.core import random
from anyfw.core.arrays import Array
from anyfw.core.errors import ConfigError
from anyfw.nn.fixed import Fixed
from anyfw.ops import dropout as ops


class Dropout(Fixed):
    """In training y = x / (1 - p), or 0 with probability p for each element; in inference y = x.

    The mask is a function of the net's seed, the layer's path in the net, how many forward passes in training the
    net has run, and which use of the layer within the pass it is: the same on every backend.

    Args:
        p: the probability of a 0; with 1 all are 0.

    Shapes:
        x and y alike, any.

    Raises:
        ConfigError: p outside 0 to 1.

    Source: Srivastava et al., JMLR 15, 2014.
    """

    _draws = True

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise ConfigError(f"Dropout: expected a probability p from 0 to 1, got {p}.")
        self.p = p

    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """X, in training with a part of it dropped."""
        if not train:
            return x
        shared = self.shared
        n = shared.use(self)
        if self.p == 0.0:
            self.push(None)
            return x
        key = random.key(shared.seed, "dropout", self._path) & 0xFFFFFFFF
        y, mask = ops.dropout(x, self.p, key, shared.tick, n)
        self.push(mask)
        return y

    def backward(self, dy: Array, /) -> Array:
        """Dy through the same mask."""
        (mask,) = self.pop()
        return dy if mask is None else ops.dropout_grad(dy, mask, self.p)
