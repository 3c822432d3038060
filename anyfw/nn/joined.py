"""Linear, activation, Linear in a Sequential: run together where the device has kernels that do several at once.

Forward, the first Linear and the activation are one product; backward, the second Linear's input gradient, the
activation's and the sum of the first one's bias gradient are one. Every layer's stack holds what it would have saved,
but for what a kernel keeps in place of ReLU's output.

Of Linear 0, ReLU 1, Linear 2 and a dy, backward comes to 2 first: its parameters' gradients as ever, then `_through` in
one product to the gradient by what 0 gave, which leaves 0's bias gradient behind (`summed`) and 1 with nothing to do.
"""

from collections.abc import Sequence

from anyfw.core.arrays import Array, is_floating
from anyfw.core.layer import Layer
from anyfw.nn.activation import GELU, ReLU
from anyfw.nn.linear import Linear
from anyfw.ops import joined as ops
from anyfw.ops import linear as affine
from anyfw.ops.activation import relu_grad
from anyfw.ops.joined import Activation


def forward(layers: Sequence[Layer], x: Array) -> Array:
    """Each layer in turn, in training."""
    i = 0
    while i < len(layers):
        layer, activation = layers[i], _activation(layers, i)
        if activation is not None and isinstance(layer, Linear) and layer.bias is not None:
            layer.expect_features(x, layer.in_features)
            done = ops.linear_activated(x, layer.weight.data, layer.bias.data, activation)
            if done is not None:
                layer.push(x)
                x, kept = done
                layers[i + 1].push(kept)
                i += 2
                continue
        x = layer.forward(x, train=True)
        i += 1
    return x


def backward(layers: Sequence[Layer], dy: Array, first: int) -> Array:
    """Each layer's backward in reverse, down to the first that learns, which takes no gradient by its input.

    Args:
        layers: as they were given to `forward`.
        dy: the gradient by their output.
        first: that layer's place; -1 where the gradient by the input is asked for.
    """
    i, summed = len(layers) - 1, False  # whether the bias's gradient of layer i is there already
    while i >= 0:
        layer, dz = layers[i], None
        if summed or (i > first and _kept(layers, i)):
            assert isinstance(layer, Linear)
            _accumulate(layer, dy, summed=summed)
            if i > first and _kept(layers, i):
                dz = _through(layers, i, dy)
            elif i > first:
                dy = affine.linear_grad(dy, layer.weight.data)
        elif i > first:
            dy = layer.backward(dy)
        else:
            layer.accumulate(dy)
        summed = dz is not None
        dy, i = (dz, i - 2) if dz is not None else (dy, i - 1)
    return dy


def _activation(layers: Sequence[Layer], i: int) -> Activation | None:
    # Of a Linear at i, if a Linear comes after it; classes of the user's own, and layers that are watched, run alone.
    three = layers[i : i + 3]
    if len(three) < 3 or type(three[0]) is not Linear or type(three[2]) is not Linear:
        return None
    if any(name in vars(layer) for layer in three for name in ("forward", "backward", "accumulate")):
        return None
    if type(three[1]) is ReLU:
        return "relu"
    return "gelu" if isinstance(three[1], GELU) and three[1].approximate == "tanh" else None


def _kept(layers: Sequence[Layer], i: int) -> bool:
    # Whether the activation below the Linear at i was run together with the Linear below that.
    below = layers[i - 1] if i >= 2 and _activation(layers, i - 2) is not None else None
    # ReLU alone saves its output; what a kernel keeps of it is bits. GELU's input is what it saves alone, too.
    return below is not None and bool(below._saved) and (type(below) is GELU or not is_floating(below._saved[-1][0]))


def _accumulate(layer: Linear, dy: Array, *, summed: bool) -> None:
    if not summed:
        layer.accumulate(dy)
        return
    (x,) = layer.pop()
    if layer.weight.trainable:
        affine.weight_grad_(dy, x, *layer.weight.into())


def _through(layers: Sequence[Layer], i: int, dy: Array) -> Array:
    # The gradient by what the Linear at i - 2 gives, whose bias's gradient it sums up.
    above, below = layers[i], layers[i - 2]
    assert isinstance(above, Linear)
    assert isinstance(below, Linear)
    activation = _activation(layers, i - 2)
    assert activation is not None
    assert below.bias is not None
    kept = layers[i - 1]._saved[-1][0]
    bias = below.bias.into() if below.bias.trainable else None
    dz = ops.activated_grad(dy, above.weight.data, kept, activation, bias)
    if dz is not None:
        layers[i - 1].pop()
        return dz
    # No kernel for these shapes: one after the other, from ReLU's output anew if only bits were kept.
    dy = affine.linear_grad(dy, above.weight.data)
    if activation == "relu":
        layers[i - 1].pop()
        (x,) = below._saved[-1]
        dz = relu_grad(dy, affine.linear(x, below.weight.data, below.bias.data))
    else:
        dz = layers[i - 1].backward(dy)
    if bias is not None:
        affine.bias_grad_(dz, *bias)
    return dz
