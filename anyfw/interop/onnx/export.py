"""`export`: a net as an ONNX file."""

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from os import PathLike
from typing import Any

from anyfw import nn
from anyfw.core import random
from anyfw.core.atomic import write_atomic
from anyfw.core.errors import ConfigError, UnknownNameError
from anyfw.core.json_values import plain
from anyfw.core.layer import Layer
from anyfw.core.version import __version__
from anyfw.interop.onnx.graph import Graph, Writer, onnx_package
from anyfw.interop.onnx.layers import LAYERS
from anyfw.interop.onnx.outputs import OUTPUTS, Meaning, meaning
from anyfw.interop.onnx.value import Axis, Value
from anyfw.losses import Loss
from anyfw.nn.inputs import input_features

INPUT = "input"
INPUT_DTYPES = ("float32", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64")
OLDEST_OPSET = 17  # the first with LayerNormalization

_MAX_BYTES = 2**31 - 2**20  # protobuf's limit is 2 GiB, and the graph takes some of it
_DOC = {
    "output": "what the net gives",
    "probability": "the probability of each class",
    "label": "the class, by its number",
}


def export(
    net: Layer,
    path: str | PathLike[str],
    *,
    output: str = "output",
    loss: Loss | None = None,
    input_shape: Sequence[Axis] | int | None = None,
    input_dtype: str | None = None,
    opset: int = OLDEST_OPSET,
    layers: Mapping[type[Layer], Writer] | None = None,
) -> Any:
    """Write what a net computes in inference as an ONNX file; the net stays as it is.

    The file has one input, "input", and one output, called as `output`; their first axis, the batch, is of any length.
    Weights keep their names in the net ("0.weight"), and nodes are called by their layers ("0/Gemm"). Scaling
    (`nn.Rescale`) is part of it as of the net, so that a regression's outputs are in the target's own units. The
    model's properties hold the net's `metadata` (task, class_names, ...; text as it is, all else as JSON), `output`,
    and anyfw_version. The file is checked by onnx before it is written, and it is written whole or not at all.

    Args:
        net: any layer; one that was not drawn yet is drawn, as by `save`.
        path: the file; one that is there is replaced.
        output: "output" as the net gives it, or what `Trainer.predict` makes of it: "probability" of each class,
            "label", the class's number.
        loss: what the net was trained with, which says what its outputs mean; for probabilities and labels only.
            None is CrossEntropyLoss where the metadata say "classification".
        input_shape: of one sample, without the batch axis. A name or None is an axis of any length: ("time", 12). By
            default the width that the first layer names.
        input_dtype: the dtype of the input, which is cast to the net's. None is what the net was trained on where that
            were integers, such as bytes of images (metadata "x_dtype"), else the net's.
        opset: the version of ONNX's operators, 17 or later.
        layers: writers for layers of your own, by class; see `Graph`. They go before those of `LAYERS`.

    Returns:
        The file's content, an `onnx.ModelProto`.

    Raises:
        MissingExtraError: onnx is not installed.
        ConfigError: a setting out of range, a layer without a writer (it is named by its path), outputs that mean no
            probability or label, more than 2 GB of weights.
        ShapeError: the net does not take samples of this shape.
        OutputError: the file cannot be written; an old one is as it was.
    """
    onnx = onnx_package()
    newest = onnx.defs.onnx_opset_version()
    if isinstance(opset, bool) or not isinstance(opset, int) or not OLDEST_OPSET <= opset <= newest:
        raise ConfigError(f"opset: expected {OLDEST_OPSET} to {newest} (with onnx {onnx.__version__}), got {opset!r}.")
    computed, written = meaning(net, output, loss)
    dtype = _input_dtype(net, input_dtype)
    shape = _input_shape(net, input_shape)
    # First of all forward, so that a sample that does not fit is refused by the layer that it does not fit; twice, so
    # that axes of any length are.
    for free in (2, 3):
        sample = random.uniform((free, *(axis if isinstance(axis, int) else free for axis in shape)), 0, "onnx")
        y = computed(net.forward(net.backend.asarray(sample, net.dtype)))
    graph = Graph(net, {**LAYERS, **(layers or {})}, opset, (INPUT, *OUTPUTS))
    x = graph.input(INPUT, dtype, ("batch", *shape))
    result = _write(graph, net, x, output, written, tuple(y.shape))
    if graph.bytes > _MAX_BYTES:
        raise ConfigError(
            f"{path}: the weights take {graph.bytes / 1e9:.2f} GB, and an ONNX file holds 2 GB at most. "
            "Export the net in parts, or in float32: net.to(dtype='float32')."
        )
    model = _model(onnx, graph, net, x, result)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConfigError(f"{path}: onnx refuses what was written: {error}") from error
    write_atomic(path, model.SerializeToString())
    return model


def _write(graph: Graph, net: Layer, x: Value, output: str, meaning: Meaning, shape: tuple[int, ...]) -> Value:
    y = meaning(graph, graph.layer("", net, graph.cast(x, graph.dtype)))
    if y.shape is None:
        y = graph.with_shape(y, (None,) * len(shape))
    known = y.shape or ()
    if len(known) != len(shape) or any(isinstance(a, int) and a != b for a, b in zip(known, shape, strict=True)):
        raise ConfigError(
            f"{net.who}: what was written gives shape {known}, where the net gives {shape} for {shape[0]} samples. "
            "Does a writer of a layer of your own compute what its forward does?"
        )
    return graph.named(y, output)


def _model(onnx: Any, graph: Graph, net: Layer, x: Value, y: Value) -> Any:
    helper = onnx.helper
    ends = [
        helper.make_tensor_value_info(value.name, graph.type_number(value.dtype), list(value.shape or ()), doc)
        for value, doc in ((x, "samples, one for each place of the first axis"), (y, _DOC[y.name]))
    ]
    name = type(net).__name__
    body = helper.make_graph(graph.nodes, name, ends[:1], ends[1:], list(graph.initializers.values()))
    opsets = [helper.make_opsetid("", graph.opset)]
    model = helper.make_model(
        body,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="anyfw",
        producer_version=__version__,
    )
    properties = {"anyfw_version": __version__, "output": y.name}
    for key, value in net.metadata.items():
        if value is not None:
            known = plain(value, f"metadata['{key}']")
            properties.setdefault(str(key), known if isinstance(known, str) else json.dumps(known, ensure_ascii=False))
    helper.set_model_props(model, properties)
    return model


def _input_dtype(net: Layer, asked: str | None) -> str:
    if asked is None:
        trained = net.metadata.get("x_dtype")
        return trained if trained in INPUT_DTYPES and not trained.startswith("float") else net.dtype
    if asked not in INPUT_DTYPES:
        raise UnknownNameError("input_dtype", asked, INPUT_DTYPES)
    return asked


def _input_shape(net: Layer, asked: Sequence[Axis] | int | None) -> tuple[Axis, ...]:
    shape = _first_features(net) if asked is None else (asked,) if isinstance(asked, int) else tuple(asked)
    for axis in shape:
        whole = isinstance(axis, int) and not isinstance(axis, bool) and axis > 0
        free = axis is None or (isinstance(axis, str) and axis not in ("", "batch"))
        if not whole and not free:
            raise ConfigError(
                f"input_shape: expected lengths of at least 1, and names or None for any length, got {shape!r}. "
                "The batch axis is no part of it."
            )
    return shape


def _first_features(net: Layer) -> tuple[int, ...]:
    # What stands before a Flatten may be of any shape.
    layers = takewhile(lambda layer: not isinstance(layer, nn.Flatten), (layer for _, layer in net.named_layers()))
    found = input_features(layers)
    if found is None:
        raise ConfigError(
            "input_shape: no layer tells the shape of a sample. Give it, without the batch axis: (28, 28)."
        )
    return found
