"""The affine map and the activation after it in one, where a device has kernels that do both.

There is no reference: that is the one op after the other, which the caller runs where these give None.
"""

from typing import Literal

from anyfw.core.arrays import Array
from anyfw.ops.dispatch import op
from anyfw.ops.linear import Target

Activation = Literal["relu", "gelu"]


@op
def linear_activated(
    x: Array,  # noqa: ARG001 - the signature is what variants follow
    /,
    weight: Array,  # noqa: ARG001
    bias: Array,  # noqa: ARG001
    activation: Activation,  # noqa: ARG001
) -> tuple[Array, Array] | None:
    """(y, kept): y = activation(x @ weight.T + bias), GELU by tanh, and what `activated_grad` will need.

    Shapes:
        x: (batch, in); weight: (out, in); bias: (out,); y: (batch, out).
    """
    return None


@op
def activated_grad(
    dy: Array,  # noqa: ARG001
    /,
    weight: Array,  # noqa: ARG001
    kept: Array,  # noqa: ARG001
    activation: Activation,  # noqa: ARG001
    bias: Target,  # noqa: ARG001
) -> Array | None:
    """dz = (dy @ weight) times the slope of the activation below; its sum over the batch goes to that layer's bias.

    Shapes:
        dy: (batch, out) of the layer above; weight: its (out, in); kept: of the layer below; dz: (batch, in).
    """
    return None
