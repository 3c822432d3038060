"""What a net's outputs mean under a loss, as nodes: what `Loss.probabilities` and `Loss.labels` compute."""

from collections.abc import Callable, Mapping
from typing import Any

from anyfw import losses
from anyfw.core.errors import ConfigError, UnknownNameError
from anyfw.core.layer import Layer
from anyfw.interop.onnx.graph import Graph
from anyfw.interop.onnx.value import Value
from anyfw.losses import Loss
from anyfw.train.lint import check_output_layer

OUTPUTS = ("output", "probability", "label")

Meaning = Callable[[Graph, Value], Value]


def _above(limit: float) -> Meaning:
    return lambda graph, y: graph.cast(y > limit, "int64")


def _likeliest(graph: Graph, y: Value) -> Value:
    return graph.node("ArgMax", y, axis=-1, keepdims=0)


def _side_or_likeliest(graph: Graph, y: Value) -> Value:
    if y.shape is not None and y.ndim > 1 and y.shape[-1] != 1:
        return _likeliest(graph, y)
    return 2 * graph.cast(y > 0.0, "int64") - 1


# By the method, not by the class: a loss of the user's own that inherits it means the same by its outputs.
_MEANINGS: Mapping[Any, Meaning] = {
    losses.BCELoss.labels: _above(0.5),
    losses.BCELoss.probabilities: lambda _, y: y,
    losses.BCEWithLogitsLoss.labels: _above(0.0),
    losses.BCEWithLogitsLoss.probabilities: lambda graph, y: graph.node("Sigmoid", y),
    losses.CrossEntropyLoss.labels: _likeliest,
    losses.CrossEntropyLoss.probabilities: lambda graph, y: graph.node("Softmax", y, axis=-1),
    losses.HingeLoss.labels: _side_or_likeliest,
    losses.KLDivLoss.labels: _likeliest,
    losses.KLDivLoss.probabilities: lambda graph, y: graph.node("Exp", y),
    losses.NLLLoss.probabilities: lambda graph, y: graph.node("Exp", y),
}


def meaning(net: Layer, output: str, loss: Loss | None) -> tuple[Callable[[Any], Any], Meaning]:
    """How a net's outputs become what is asked for: as a function of arrays, and as one that writes nodes.

    Args:
        net: whose metadata may tell that it classifies; then without a loss it is a `CrossEntropyLoss`.
        output: "output" as it is, "probability" or "label".
        loss: what the net was trained with.

    Raises:
        UnknownNameError: another output.
        ConfigError: no loss, or one under which outputs stand for nothing of the kind.
    """
    if output not in OUTPUTS:
        raise UnknownNameError("output", output, OUTPUTS)
    if output == "output":
        return lambda y: y, lambda _, y: y
    if loss is None and net.metadata.get("task") == "classification":
        loss = losses.CrossEntropyLoss()
    if loss is None:
        raise ConfigError(
            f"output='{output}': the loss that the net was trained with says what its outputs mean. "
            "Give it: loss=losses.CrossEntropyLoss()."
        )
    check_output_layer(net, loss)
    ours = loss.probabilities if output == "probability" else loss.labels
    method = getattr(type(loss), ours.__name__)
    if method in (Loss.probabilities, Loss.labels):
        ours(None)  # which says why not
    if method not in _MEANINGS:
        raise ConfigError(
            f"{loss.who}: its own {ours.__name__} cannot be written to ONNX. Use output='output', and compute the rest "
            "from it."
        )
    return ours, _MEANINGS[method]
