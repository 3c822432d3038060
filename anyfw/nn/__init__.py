"""Layers. One file per family; `from_config` rebuilds any of them from its description."""

from collections.abc import Iterable, Mapping
from typing import Any

from anyfw.core import config as _config
from anyfw.core.layer import Layer
from anyfw.core.parameter import Buffer, Parameter
from anyfw.nn.activation import ELU, GELU, SELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from anyfw.nn.columns import CategoryColumns
from anyfw.nn.containers import Parallel, Residual, Sequential
from anyfw.nn.dropout import Dropout
from anyfw.nn.linear import Linear
from anyfw.nn.norm import BatchNorm1d, LayerNorm, RMSNorm
from anyfw.nn.shape import Flatten, Identity, Rescale

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "BatchNorm1d",
    "Buffer",
    "CategoryColumns",
    "Dropout",
    "Flatten",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Parallel",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Rescale",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "from_config",
]


def from_config(config: Mapping[str, Any], layers: Iterable[type[Layer]] = ()) -> Layer:
    """Rebuild a net from what `Layer.config()` gave.

    Args:
        config: the description.
        layers: classes of your own that may occur in it; nothing is ever imported by a name in the description.

    Raises:
        UnknownNameError: a class that is neither public here nor among `layers`.
        FileFormatError: no description of a layer.
    """
    public = {name: globals()[name] for name in __all__}
    known = {name: kind for name, kind in public.items() if isinstance(kind, type) and issubclass(kind, Layer)}
    return _config.from_config(config, known | {kind.__name__: kind for kind in layers})
