"""What a net must not look like for its loss and its data, found before the first step.

What would be wrong in silence is an error; what is only likely to be a mistake is told once, as a warning.
"""

import logging
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import ConfigError
from anyfw.core.layer import Layer
from anyfw.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, Loss, NLLLoss
from anyfw.nn import (
    BatchNorm1d,
    Dropout,
    Flatten,
    Identity,
    LayerNorm,
    Linear,
    LogSoftmax,
    RMSNorm,
    Sequential,
    Sigmoid,
    Softmax,
)
from anyfw.optim import Optimizer

_log = logging.getLogger("anyfw")

_LOGITS = (
    (CrossEntropyLoss, Softmax, "CrossEntropyLoss takes logits"),
    (CrossEntropyLoss, LogSoftmax, "CrossEntropyLoss takes logits"),
    (BCEWithLogitsLoss, Sigmoid, "BCEWithLogitsLoss takes logits"),
    (NLLLoss, Softmax, "NLLLoss takes log-probabilities, of LogSoftmax"),
)
_PROBABILITIES = (
    (NLLLoss, (LogSoftmax,), "log-probabilities", "LogSoftmax, or use CrossEntropyLoss"),
    (BCELoss, (Sigmoid, Softmax), "probabilities", "Sigmoid, or use BCEWithLogitsLoss"),
)
# Layers that change no number, or, in inference, none.
_PASSING = (Dropout, Flatten, Identity)
# The root mean square of inputs within which initial weights and learning rates are made to work.
_SMALL, _LARGE = 0.02, 20.0
# Rows that are looked at.
_ROWS = 256


def check_output_layer(net: Layer, loss: Loss) -> None:
    """Refuse an output layer that the loss applies itself: the gradient would be wrong in silence.

    Raises:
        ConfigError: a Softmax or Sigmoid before a loss on logits.
    """
    path, last = _last(net)
    for kind, output, why in _LOGITS:
        if isinstance(loss, kind) and isinstance(last, output):
            raise ConfigError(f"{output.__name__} '{path}' stands before {kind.__name__}: {why}. Remove that layer.")


def look_at_net(net: Layer, loss: Loss, optimizer: Optimizer) -> None:
    """Warn of layers that are likely to be a mistake."""
    path, last = _last(net)
    for kind, outputs, what, advice in _PROBABILITIES:
        # Layers of the user's own may well end in probabilities.
        if isinstance(loss, kind) and not isinstance(last, outputs) and type(last).__module__.startswith("anyfw."):
            _warn(f"{kind.__name__} takes {what}, and {type(last).__name__} '{path}' gives others: end with {advice}.")
    for before, after in _pairs(net):
        _warn(
            f"Linear '{before}' and Linear '{after}' with nothing between are one linear map: put an activation there."
        )
    if not any(parameter.trainable for parameter in optimizer.parameters):
        _warn("All parameters of the optimizer are frozen: nothing will be learnt.")


def look_at_data(net: Layer, x: NDArray[Any], y: NDArray[Any], outputs: tuple[int, ...], *, labels: bool) -> None:
    """Warn of inputs far from unit scale, and of classes that do not occur.

    Args:
        net: on its backend.
        x, y: training rows on the host.
        outputs: the shape of one row of the net's outputs.
        labels: whether y are class labels.
    """
    if labels and outputs and y.size and int(y.max()) + 1 < outputs[-1]:
        _warn(
            f"The net has {outputs[-1]} outputs, and the labels are 0 ... {y.max()} only: is the last layer too wide?"
        )
    # Rows from all over the data, which may be sorted.
    size = size_at_first_weights(net, x[:: max(1, len(x) // _ROWS)][:_ROWS])
    if size is not None and not _SMALL <= size <= _LARGE:
        _warn(
            f"Inputs of the first layer that learns have a root mean square of {size:.3g}, far from 1: scale them "
            "(nn.Rescale), or put a BatchNorm1d first."
        )


def check_batches(net: Layer, rows: int, batch_size: int, *, drop_last: bool) -> None:
    """Refuse a batch of one row for batch norm, before the first step rather than in the middle of an epoch.

    Args:
        net: of rows that are vectors.
        rows: how many there are.
        batch_size, drop_last: how they form batches.

    Raises:
        ConfigError: with a BatchNorm1d, a batch of one row.
    """
    layers = [layer for _, layer in net.named_layers()]
    # A layer of the user's own may make more than one value of each row.
    if any(not type(layer).__module__.startswith("anyfw.") for layer in layers):
        return
    norms = [layer.who for layer in layers if isinstance(layer, BatchNorm1d)]
    size = min(batch_size, rows)
    if norms and (size == 1 or (rows % size == 1 and not drop_last)):
        which = "batches of one row" if size == 1 else f"the last of {rows} rows, a batch of its own"
        advice = "Use a batch_size of 2 or more" if size == 1 else "Use drop_last=True, or another batch_size"
        raise ConfigError(f"{norms[0]}: knows no variance of {which}. {advice}.")


def _warn(text: str) -> None:
    _log.warning("%s", text)


def _last(net: Layer) -> tuple[str, Layer]:
    # The last layer that makes something else of its input.
    found = [("net", net)] if not isinstance(net, Sequential) else list(_flattened(net, "net"))
    return next((place for place in reversed(found) if not isinstance(place[1], _PASSING)), ("net", net))


def _pairs(net: Layer) -> Iterator[tuple[str, str]]:
    # Neighbours in a Sequential, also where one is the end of a Sequential in it.
    flat = [place for place in _flattened(net, "net") if not isinstance(place[1], _PASSING)]
    for (before, first), (after, second) in pairwise(flat):
        if isinstance(first, Linear) and isinstance(second, Linear):
            yield before, after


def _flattened(net: Layer, path: str) -> Iterator[tuple[str, Layer]]:
    if isinstance(net, Sequential):
        for i, layer in enumerate(net.layers):
            yield from _flattened(layer, f"{path}.{i}")
    else:
        yield path, net


def size_at_first_weights(net: Layer, x: NDArray[Any]) -> float | None:
    """The root mean square of the numbers, but zeros, that the first Linear sees for rows x.

    None where another layer comes first that learns or scales, or where all are zero.
    """
    value = net.backend.asarray(x, net.dtype)
    for _, layer in _flattened(net, "net"):
        if isinstance(layer, Linear):
            host = net.backend.to_numpy(value).astype(np.float64)
            # Of one-hot rows most are zero, and those that are not are of the right size.
            count = np.count_nonzero(host)
            size = math.sqrt(float(np.sum(host * host)) / count) if count else math.nan
            return size if math.isfinite(size) else None
        if isinstance(layer, LayerNorm | RMSNorm) or not layer._learns_nothing:
            return None
        value = layer.forward(value)
    return None
