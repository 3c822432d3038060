"""The affine map and its gradients."""

from anyfw.core.arrays import Array, namespace
from anyfw.ops.dispatch import op

Target = tuple[Array, bool] | None


@op
def linear(x: Array, /, weight: Array, bias: Array | None) -> Array:
    """Y = x @ weight.T + bias.

    Shapes:
        x: (..., in); weight: (out, in); bias: (out,) or None; returns (..., out).
    """
    if x.ndim == 2:
        y = x @ weight.T
    else:
        # One large product instead of many small ones: batched matmul is slow on every library.
        y = namespace(x).reshape(_rows(x) @ weight.T, (*x.shape[:-1], weight.shape[0]))
    if bias is not None:
        y += bias
    return y


@op
def product(a: Array, /, b: Array) -> Array:
    """The matrix product a @ b, for what is no layer's: on a device that records steps, the one that can be recorded.

    Shapes:
        a: (m, k); b: (k, n); returns (m, n).
    """
    return a @ b


@op
def linear_grad(dy: Array, /, weight: Array) -> Array:
    """The gradient by the input: dx = dy @ weight.

    Shapes:
        dy: (..., out); weight: (out, in); returns (..., in).
    """
    if dy.ndim == 2:
        return dy @ weight
    return namespace(dy).reshape(_rows(dy) @ weight, (*dy.shape[:-1], weight.shape[1]))


@op
def weight_grad_(dy: Array, /, x: Array, grad: Array, add: bool) -> None:
    """Write dy.T @ x, summed over all leading axes, into grad; with `add`, add it.

    Shapes:
        dy: (..., out); x: (..., in); grad: (out, in).
    """
    product = _rows(dy).T @ _rows(x)
    if add:
        grad += product
    else:
        grad[...] = product


@op
def bias_grad_(dy: Array, /, grad: Array, add: bool) -> None:
    """Write dy, summed over all leading axes, into grad; with `add`, add it.

    Shapes:
        dy: (..., out); grad: (out,).
    """
    total = namespace(dy).sum(_rows(dy), axis=0)
    if add:
        grad += total
    else:
        grad[...] = total


@op
def parameter_grads_(dy: Array, /, x: Array, weight: Target, bias: Target) -> None:
    """`weight_grad_` and `bias_grad_` in one, which a variant may compute in one pass over dy.

    Shapes:
        as theirs; weight and bias are (grad, add), or None for one that is not there or not learnt.
    """
    if weight is not None:
        weight_grad_(dy, x, *weight)
    if bias is not None:
        bias_grad_(dy, *bias)


def _rows(x: Array) -> Array:
    return x if x.ndim == 2 else namespace(x).reshape(x, (-1, x.shape[-1]))
