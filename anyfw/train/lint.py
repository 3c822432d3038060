"""What a net must not look like for its loss, found before the first step."""

from anyfw.core.errors import ConfigError
from anyfw.core.layer import Layer
from anyfw.losses import BCEWithLogitsLoss, CrossEntropyLoss, Loss
from anyfw.nn import LogSoftmax, Sequential, Sigmoid, Softmax

_LOGITS = (
    (CrossEntropyLoss, Softmax, "CrossEntropyLoss takes logits"),
    (CrossEntropyLoss, LogSoftmax, "CrossEntropyLoss takes logits"),
    (BCEWithLogitsLoss, Sigmoid, "BCEWithLogitsLoss takes logits"),
)


def check_output_layer(net: Layer, loss: Loss) -> None:
    """Refuse an output layer that the loss applies itself: the gradient would be wrong in silence.

    Raises:
        ConfigError: a Softmax or Sigmoid before a loss on logits.
    """
    path, last = "net", net
    while isinstance(last, Sequential) and len(last):
        path, last = f"{path}.{len(last) - 1}", last[len(last) - 1]
    for kind, output, why in _LOGITS:
        if isinstance(loss, kind) and isinstance(last, output):
            raise ConfigError(f"{output.__name__} '{path}' stands before {kind.__name__}: {why}. Remove that layer.")
