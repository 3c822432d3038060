"""Activations: each one and its gradient, as a pair `foo` and `foo_grad`."""

from functools import singledispatch

from anyfw.core.arrays import Array, namespace


@singledispatch
def relu(x: Array, /) -> Array:
    """max(x, 0)."""
    return namespace(x).maximum(x, 0.0)


@singledispatch
def relu_grad(dy: Array, /, y: Array) -> Array:
    """Dy where the output y is positive, else 0."""
    return dy * namespace(dy).astype(y > 0, dy.dtype)
