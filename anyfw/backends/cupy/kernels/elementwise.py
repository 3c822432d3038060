"""Activations and their gradients: one launch each."""

from collections.abc import Callable
from typing import Any

from anyfw.backends.cupy.kernels.run import Run, cover, cover_alike, empty
from anyfw.core.arrays import Array
from anyfw.ops import activation as ops


def _forward(kernel: str) -> Callable[..., Array]:
    def variant(run: Run, x: Array, /, *numbers: float) -> Array:
        """One launch."""
        cover(x)
        y = empty(x, x.shape)
        run.each(kernel, x, y, x, x.size, *map(float, numbers))
        return y

    return variant


def _gradient(kernel: str) -> Callable[..., Array]:
    def variant(run: Run, dy: Array, /, saved: Array, *numbers: float) -> Array:
        """One launch."""
        cover_alike(dy, saved)
        dx = empty(dy, dy.shape)
        run.each(kernel, dy, dx, dy, saved, dy.size, *map(float, numbers))
        return dx

    return variant


VARIANTS: dict[Any, Callable[..., Any]] = {
    ops.relu: _forward("relu"),
    ops.relu_grad: _gradient("relu_grad"),
    ops.leaky_relu: _forward("leaky_relu"),
    ops.leaky_relu_grad: _gradient("leaky_relu_grad"),
    ops.elu: _forward("elu"),
    ops.elu_grad: _gradient("elu_grad"),
    ops.sigmoid: _forward("sigmoid"),
    ops.sigmoid_grad: _gradient("sigmoid_grad"),
    ops.tanh: _forward("tanh_forward"),
    ops.tanh_grad: _gradient("tanh_grad"),
    ops.silu: _forward("silu"),
    ops.silu_grad: _gradient("silu_grad"),
    ops.softplus: _forward("softplus"),
    ops.softplus_grad: _gradient("softplus_grad"),
    ops.gelu: _forward("gelu"),
    ops.gelu_grad: _gradient("gelu_grad"),
    ops.gelu_tanh: _forward("gelu_tanh"),
    ops.gelu_tanh_grad: _gradient("gelu_tanh_grad"),
}
