"""Norms of gradients and weights by layer, measured once an epoch and kept for all epochs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.arrays import Array
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter, to_host
from anyfw.ops.update import square_sum
from anyfw.optim.spans import Span, find_spans

MEASURES = ("gradient", "weight", "largest")


class LayerNorms:
    """What becomes of each layer with parameters that learn.

    An epoch costs three reductions for each layer and one read of the device. Nothing else is touched: the gradient is
    read where the last step left it, after clipping and before the next one overwrites it.

    Attributes:
        layers: their paths in the net.
    """

    def __init__(self) -> None:
        self.layers: list[str] = []
        self._epochs = 0
        # Room for more epochs than there are: a snapshot is a view of the first ones, which never change.
        self._numbers = np.zeros((0, 0, len(MEASURES)))
        self._at = np.zeros(0, dtype=np.int64)
        self._spans: list[tuple[int, Span]] = []
        self._parameters: list[Parameter] = []
        self._places: list[tuple[Any, bool]] = []

    @property
    def epochs(self) -> NDArray[np.int64]:
        """The epochs that were measured; 0 is the net as it was drawn."""
        return self._at[: self._epochs]

    def of(self, measure: str) -> dict[str, list[float]]:
        """One of `MEASURES` by layer, a number for each of `epochs`.

        "gradient" is the norm of the loss's gradient in the last step of the epoch, NaN before training; "weight" the
        norm of all the layer's parameters, "largest" the largest of their absolute values.
        """
        chosen = self._numbers[: self._epochs, :, MEASURES.index(measure)]
        return {path: chosen[:, i].tolist() for i, path in enumerate(self.layers)}

    def measure(self, net: Layer, epoch: int) -> None:
        """Measure after an epoch; or, with epoch 0, before the first one."""
        self._find(net)
        found: list[Array] = []
        for _, span in self._spans:
            xp = span.pack.backend.xp
            # Both ends instead of |w|, for which there would have to be an array as large as the layer.
            found += [square_sum(span.grad), square_sum(span.data), xp.max(span.data), -xp.min(span.data)]
        read = np.zeros((len(self._spans), 4))
        if found:
            xp = self._spans[0][1].pack.backend.xp
            read = to_host(xp.stack(found)).astype(np.float64).reshape(-1, 4)
        row = np.zeros((len(self.layers), len(MEASURES)))
        for (i, _), (gradient, weight, high, low) in zip(self._spans, read, strict=True):
            row[i] = row[i, 0] + gradient, row[i, 1] + weight, max(row[i, 2], high, low)
        row[:, :2] = np.sqrt(row[:, :2])
        if epoch == 0:
            row[:, 0] = np.nan
        self._append(epoch, row)

    def _find(self, net: Layer) -> None:
        # Packs are compared by identity: a net that was moved has others.
        if self._spans and [(one.pack, one.trainable) for one in self._parameters] == self._places:
            return
        self._parameters = list(net.parameters())
        self._places = [(one.pack, one.trainable) for one in self._parameters]
        owners = _owners(net)
        paths = list(dict.fromkeys(owners.values()))
        if paths != self.layers:
            self.layers, self._epochs = paths, 0
            self._numbers = np.zeros((0, len(paths), len(MEASURES)))
        self._spans = [(paths.index(span.kind), span) for span in find_spans(owners, owners.get)]

    def _append(self, epoch: int, row: NDArray[np.float64]) -> None:
        if self._epochs == len(self._numbers):
            room = max(64, 2 * self._epochs)
            numbers, at = np.zeros((room, *row.shape)), np.zeros(room, dtype=np.int64)
            numbers[: self._epochs], at[: self._epochs] = self._numbers[: self._epochs], self._at[: self._epochs]
            self._numbers, self._at = numbers, at
        self._numbers[self._epochs], self._at[self._epochs] = row, epoch
        self._epochs += 1

    # For checkpoints

    def state(self) -> dict[str, Any]:
        """For a checkpoint; empty before the first measurement."""
        if not self._epochs:
            return {}
        return {"layers": list(self.layers), "epochs": self.epochs, "norms": self._numbers[: self._epochs]}

    def load(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave; of an empty one, forget all."""
        layers: Sequence[str] = state.get("layers", ())
        self.layers, self._spans = list(layers), []
        self._numbers = np.array(state.get("norms", np.zeros((0, len(self.layers), len(MEASURES)))), dtype=np.float64)
        self._at = np.array(state.get("epochs", ()), dtype=np.int64)
        self._epochs = len(self._at)


def _owners(net: Layer) -> dict[Parameter, str]:
    """The path of the layer that each learning parameter is in, in the order of definition."""
    return {
        parameter: path.rpartition(".")[0] or "net"
        for path, parameter in net.named_parameters()
        if parameter.trainable and parameter.pack is not None
    }
