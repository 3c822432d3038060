"""Nets, optimizers and schedules from the names and numbers that a user types."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from tyro.conf import arg

from anyfw import nn, optim
from anyfw.core.errors import ConfigError, UnknownNameError
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter

Factor = Any  # a number or a float64 array with one number for each feature

ACTIVATIONS: Mapping[str, Callable[[], Layer]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}
NORMS: Mapping[str, Callable[[int], Layer] | None] = {"none": None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
OPTIMIZERS: Mapping[str, type[optim.Optimizer]] = {
    "sgd": optim.SGD,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
}
SCHEDULES: Mapping[str, Callable[[float, int], optim.Schedule]] = {
    "constant": lambda lr, _: optim.Constant(lr),
    "onecycle": lambda lr, _: optim.OneCycle(lr),
    "cosine": lambda lr, _: optim.Cosine(lr),
    "step": lambda lr, epochs: optim.Step(lr, math.ceil(epochs / 3), unit="epoch"),
    "exponential": lambda lr, epochs: optim.Exponential(lr, 0.01 ** (1.0 / epochs), unit="epoch"),
    "plateau": lambda lr, _: optim.ReduceOnPlateau(lr, patience=3),
}


@dataclass(frozen=True)
class Shape:
    """The part of a perceptron that is chosen by name.

    Args:
        hidden: widths of the hidden layers; without a number: none, a linear model.
        activation: after each hidden layer: relu, leaky-relu, elu, selu, gelu, silu, softplus, sigmoid, tanh, identity.
        norm: after each activation: none, batch, layer.
        dropout: the share of hidden values that is dropped in training.
    """

    hidden: Annotated[tuple[int, ...], arg(metavar="WIDTH ...")] = (256, 128)
    activation: Annotated[str, arg(metavar="NAME")] = "relu"
    norm: Annotated[str, arg(metavar="NAME")] = "none"
    dropout: Annotated[float, arg(metavar="SHARE")] = 0.0


def perceptron(
    shape: Shape,
    features: int,
    outputs: int,
    *,
    first: nn.CategoryColumns | None = None,
    scale: Factor = None,
    shift: Factor = 0.0,
    target_scale: Factor = None,
    target_shift: Factor = 0.0,
) -> nn.Sequential:
    """The first layer, then Linear, activation, norm and dropout for each hidden width, then Linear.

    Args:
        shape: the hidden part.
        features, outputs: widths of x and y.
        first: of a table's columns; without it a Rescale is the first layer.
        scale, shift: of the inputs, as `Dataset` has them; scale None leaves that layer out.
        target_scale, target_shift: of a regression's outputs, so that they come out in their own units.

    Raises:
        UnknownNameError: of an activation or norm; the nearest known one is named.
        ConfigError: a width of 0, a dropout of 2.
    """
    activation, norm = known("activation", shape.activation, ACTIVATIONS), known("norm", shape.norm, NORMS)
    layers: list[Layer] = [] if scale is None else [nn.Rescale(scale, shift)]
    if first is not None:
        layers.append(first)
    width = features if first is None else first.out_features
    for hidden in shape.hidden:
        if hidden < 1:
            raise ConfigError(f"--hidden: expected widths of at least 1, got {hidden}.")
        layers += [nn.Linear(width, hidden), activation()]
        if norm is not None:
            layers.append(norm(hidden))
        if shape.dropout != 0.0:
            layers.append(nn.Dropout(shape.dropout))
        width = hidden
    layers.append(nn.Linear(width, outputs))
    if target_scale is not None:
        layers.append(nn.Rescale(target_scale, target_shift))
    return nn.Sequential(*layers)


def target_rescale(y: np.ndarray[Any, Any]) -> tuple[list[float], list[float]]:
    """(scale, shift) that turn outputs of mean 0 and deviation 1 into a regression's targets, one for each output."""
    values = y.astype(np.float64)
    deviation = values.std(axis=0)
    # A target that never changes has no scale of its own.
    usable = np.isfinite(deviation) & (deviation > 1e-30)
    return np.where(usable, deviation, 1.0).tolist(), values.mean(axis=0).tolist()


def optimizer(
    name: str,
    parameters: Iterable[Parameter],
    lr: optim.Schedule,
    *,
    weight_decay: float | None,
    momentum: float | None,
) -> optim.Optimizer:
    """The optimizer of that name; what is None keeps the optimizer's own default.

    Raises:
        UnknownNameError: no such optimizer.
        ConfigError: it has no such setting, or a number is out of range.
    """
    kind = known("optimizer", name, OPTIMIZERS)
    settings = {"weight_decay": weight_decay, "momentum": momentum}
    given = {setting: value for setting, value in settings.items() if value is not None}
    for setting in given.keys() - inspect.signature(kind).parameters.keys():
        having = [other for other, one in OPTIMIZERS.items() if setting in inspect.signature(one).parameters]
        raise ConfigError(
            f"--{setting.replace('_', '-')}: {name} has none. Leave it out, or use {' or '.join(having)}."
        )
    made: Callable[..., optim.Optimizer] = kind
    return made(parameters, lr=lr, **given)


def known(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """The entry of a table; "LeakyReLU" and "leaky_relu" are "leaky-relu" too.

    Raises:
        UnknownNameError: there is none; the nearest one is named.
    """
    plain = {_bare(entry): entry for entry in table}
    if _bare(name) not in plain:
        raise UnknownNameError(kind, name, table)
    return table[plain[_bare(name)]]


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def widths(shape: Sequence[int]) -> str:
    """The widths of a net for people: 784-256-128-10."""
    return "-".join(map(str, shape))
