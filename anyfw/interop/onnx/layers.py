"""How each layer's forward in inference is written: a function of (graph, layer, x), and a row of `LAYERS`.

Operators keep their names where ONNX has one for a layer. In float64 more is written out: onnxruntime has no kernels of
some operators there, and attributes of operators, such as epsilon, are float32 always.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from anyfw import nn
from anyfw.core.layer import Layer
from anyfw.interop.onnx.graph import Graph, Writer
from anyfw.interop.onnx.value import Value
from anyfw.ops import activation as ops


def _same(graph: Graph, layer: Layer, x: Value) -> Value:  # noqa: ARG001 - a writer's arguments
    return x


def _operator(op: str) -> Writer:
    return lambda graph, _, x: graph.node(op, x)


# Containers


def _sequential(graph: Graph, layer: nn.Sequential, x: Value) -> Value:
    for name, child in layer.children():
        x = graph.layer(name, child, x)
    return x


def _residual(graph: Graph, layer: nn.Residual, x: Value) -> Value:
    branch = graph.layer("layer", layer.layer, x)
    past = x if layer.shortcut is None else graph.layer("shortcut", layer.shortcut, x)
    return past + branch


def _parallel(graph: Graph, layer: nn.Parallel, x: Value) -> Value:
    outputs = [graph.layer(name, branch, x) for name, branch in layer.children()]
    if layer.combine == "concatenate":
        return graph.node("Concat", *outputs, axis=layer.axis)
    total = outputs[0]
    for y in outputs[1:]:
        total = total + y
    return total


# The affine map


def _linear(graph: Graph, layer: nn.Linear, x: Value) -> Value:
    weight, bias = graph.stored(layer.weight), None if layer.bias is None else graph.stored(layer.bias)
    if x.ndim == 2:
        return graph.node("Gemm", x, weight, bias, transB=1)
    y = graph.node("MatMul", x, graph.node("Transpose", weight, perm=[1, 0]))
    return y if bias is None else y + bias


# Tables


def _category_columns(graph: Graph, layer: nn.CategoryColumns, x: Value) -> Value:
    parts = [graph.node("Slice", x, np.array([0]), np.array([layer.numbers]), np.array([1]))]
    for i, (count, width) in enumerate(zip(layer.counts, layer.widths, strict=True)):
        place = layer.numbers + i
        code = graph.node("Round", graph.node("Slice", x, np.array([place]), np.array([place + 1]), np.array([1])))
        one_hot = graph.cast(graph.node("Equal", code, graph.constant(np.arange(float(count)))), x.dtype)
        parts.append(one_hot @ graph.stored(getattr(layer, f"weight_{i}")) if width else one_hot)
    return graph.node("Concat", *(parts if layer.numbers else parts[1:]), axis=1)


# Activations


def _leaky_relu(graph: Graph, layer: nn.LeakyReLU, x: Value) -> Value:
    if x.dtype == "float64":
        y: Value = ops.leaky_relu(x, layer.negative_slope)
        return y
    return graph.node("LeakyRelu", x, alpha=layer.negative_slope)


def _elu(graph: Graph, layer: nn.ELU, x: Value) -> Value:
    if x.dtype == "float64":
        y: Value = ops.elu(x, layer.alpha, 1.0)
        return y
    return graph.node("Elu", x, alpha=layer.alpha)


def _selu(graph: Graph, layer: nn.SELU, x: Value) -> Value:
    if x.dtype == "float64":
        y: Value = ops.elu(x, layer._ALPHA, layer._SCALE)
        return y
    return graph.node("Selu", x, alpha=layer._ALPHA, gamma=layer._SCALE)


def _gelu(graph: Graph, layer: nn.GELU, x: Value) -> Value:
    if layer.approximate == "none" and x.dtype == "float32":
        return x * (0.5 * (1.0 + graph.node("Erf", x * math.sqrt(0.5))))
    y: Value = ops.gelu(x) if layer.approximate == "none" else ops.gelu_tanh(x)
    return y


def _silu(graph: Graph, layer: nn.SiLU, x: Value) -> Value:  # noqa: ARG001 - a writer's arguments
    if x.dtype == "float64":  # onnxruntime 1.20 joins the two nodes below to one that it has no kernel of in float64
        y: Value = ops.silu(x)
        return y
    return x * graph.node("Sigmoid", x)


def _softplus(graph: Graph, layer: nn.Softplus, x: Value) -> Value:
    if x.dtype == "float64":
        written: Value = ops.softplus(x, layer.beta, layer.threshold)
        return written
    z = x if layer.beta == 1.0 else layer.beta * x
    y = graph.node("Softplus", z)
    y = y if layer.beta == 1.0 else y / layer.beta
    # Above 17, log(1 + exp(z)) rounds to z in float32.
    return y if layer.threshold >= 17.0 else graph.node("Where", z > layer.threshold, x, y)


def _softmax(op: str) -> Writer:
    return lambda graph, layer, x: graph.node(op, x, axis=layer.dim)


# Normalisation


def _batch_norm(graph: Graph, layer: nn.BatchNorm1d, x: Value) -> Value:
    if layer.running_mean is None or layer.running_var is None:
        axes = (0, 2) if x.ndim == 3 else (0,)
        y = _normalised(graph, x, axes, layer.eps)
        if layer.weight is None or layer.bias is None:
            return y
        weight, bias = graph.stored(layer.weight), graph.stored(layer.bias)
        if x.ndim == 3:
            weight, bias = (graph.node("Unsqueeze", vector, np.array([1])) for vector in (weight, bias))
        return y * weight + bias
    eps, variance = layer.eps, graph.stored(layer.running_var)
    if x.dtype == "float64":
        eps, variance = 0.0, variance + layer.eps
    ones, zeros = np.ones(layer.num_features), np.zeros(layer.num_features)
    weight = graph.constant(ones, name="weight") if layer.weight is None else graph.stored(layer.weight)
    bias = graph.constant(zeros, name="bias") if layer.bias is None else graph.stored(layer.bias)
    return graph.node("BatchNormalization", x, weight, bias, graph.stored(layer.running_mean), variance, epsilon=eps)


def _layer_norm(graph: Graph, layer: nn.LayerNorm, x: Value) -> Value:
    shape = layer.normalized_shape
    if x.dtype == "float64":
        y = _normalised(graph, x, range(-len(shape), 0), layer.eps)
        y = y if layer.weight is None else y * graph.stored(layer.weight)
        return y if layer.bias is None else y + graph.stored(layer.bias)
    weight = graph.constant(np.ones(shape), name="weight") if layer.weight is None else graph.stored(layer.weight)
    bias = None if layer.bias is None else graph.stored(layer.bias)
    return graph.node("LayerNormalization", x, weight, bias, axis=-len(shape), epsilon=layer.eps)


def _rms_norm(graph: Graph, layer: nn.RMSNorm, x: Value) -> Value:
    eps = float(np.finfo(x.dtype).eps) if layer.eps is None else layer.eps
    mean = graph.mean(x * x, range(-len(layer.normalized_shape), 0))
    y = x / graph.node("Sqrt", mean + eps)
    return y if layer.weight is None else y * graph.stored(layer.weight)


def _normalised(graph: Graph, x: Value, axes: Any, eps: float) -> Value:
    centred = x - graph.mean(x, axes)
    return centred / graph.node("Sqrt", graph.mean(centred * centred, axes) + eps)


# Shapes and scales


def _flatten(graph: Graph, layer: nn.Flatten, x: Value) -> Value:
    assert x.shape is not None
    start, end = (axis % x.ndim for axis in (layer.start_dim, layer.end_dim))
    if start == 1 and end == x.ndim - 1:
        return graph.node("Flatten", x, axis=1)
    # An axis of 0 stays as it is; but one after those that are joined has another number then.
    merged, after = x.shape[start : end + 1], x.shape[end + 1 :]
    lengths = [axis for axis in merged if isinstance(axis, int)]
    head = [0] * start + [math.prod(lengths) if len(lengths) == len(merged) else -1]
    tail = [axis for axis in after if isinstance(axis, int)]
    if len(tail) == len(after):
        return graph.node("Reshape", x, np.array(head + tail))
    rest = graph.node("Shape", x, start=end + 1)
    y = graph.node("Reshape", x, graph.node("Concat", graph.constant(head), rest, axis=0))
    return graph.with_shape(y, (*x.shape[:start], None if head[-1] < 0 else head[-1], *after))


def _rescale(graph: Graph, layer: nn.Rescale, x: Value) -> Value:
    x = graph.cast(x, graph.dtype)
    if layer.scale != 1.0:
        x = x * graph.constant(layer.scale, name="scale")
    return x if layer.shift == 0.0 else x + graph.constant(layer.shift, name="shift")


LAYERS: Mapping[type[Layer], Writer] = {
    nn.BatchNorm1d: _batch_norm,
    nn.CategoryColumns: _category_columns,
    nn.Dropout: _same,
    nn.ELU: _elu,
    nn.Flatten: _flatten,
    nn.GELU: _gelu,
    nn.Identity: _same,
    nn.LayerNorm: _layer_norm,
    nn.LeakyReLU: _leaky_relu,
    nn.Linear: _linear,
    nn.LogSoftmax: _softmax("LogSoftmax"),
    nn.Parallel: _parallel,
    nn.RMSNorm: _rms_norm,
    nn.ReLU: _operator("Relu"),
    nn.Rescale: _rescale,
    nn.Residual: _residual,
    nn.SELU: _selu,
    nn.Sequential: _sequential,
    nn.SiLU: _silu,
    nn.Sigmoid: _operator("Sigmoid"),
    nn.Softmax: _softmax("Softmax"),
    nn.Softplus: _softplus,
    nn.Tanh: _operator("Tanh"),
}
