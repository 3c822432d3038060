"""Clipping of gradients, on the device: nothing here waits for a number."""

from collections.abc import Iterable

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import ConfigError
from anyfw.core.parameter import Parameter
from anyfw.ops import update as ops
from anyfw.optim.spans import flat_gradients


def clip_norm_(parameters: Iterable[Parameter], max_norm: float) -> Array:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)), norm being that of all of them together.

    Returns:
        The norm before scaling, a 0-d array on the device.

    Raises:
        ConfigError: no parameters, none of them trainable, or max_norm not above 0.
        PlacementError: parameters on several backends or of several dtypes.

    Source: Pascanu et al., arXiv:1211.5063, algorithm 1.
    """
    gradients = _gradients(parameters, "max_norm", max_norm)
    xp = namespace(gradients[0])
    # A sum starts from the first term: the integer 0 would be one kernel more.
    total = ops.square_sum(gradients[0])
    for grad in gradients[1:]:
        total = total + ops.square_sum(grad)
    # As an array: NumPy makes a number of what has no axes.
    norm = xp.asarray(xp.sqrt(xp.asarray(total)))
    for grad in gradients:
        ops.scale_to_norm_(grad, norm, float(max_norm))
    return norm


def clip_value_(parameters: Iterable[Parameter], value: float) -> None:
    """Confine every element of every gradient to [-value, value].

    Raises:
        ConfigError: no parameters, none of them trainable, or value not above 0.
        PlacementError: parameters on several backends or of several dtypes.
    """
    for grad in _gradients(parameters, "value", value):
        ops.clip_(grad, float(value))


def _gradients(parameters: Iterable[Parameter], name: str, limit: float) -> list[Array]:
    if not limit > 0:
        raise ConfigError(f"Clipping: expected {name} above 0, got {limit!r}.")
    gradients = flat_gradients(parameters)
    if not gradients:
        raise ConfigError("Clipping: expected a trainable parameter; all of them are frozen.")
    return gradients
