"""Hyperparameters: what they may be, and the layers and optimizers that they stand for."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from anyfw import nn
from anyfw.core.backend import Backend
from anyfw.core.errors import ConfigError, UnknownNameError
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter
from anyfw.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, Schedule
from anyfw.train import Callback

ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}
NORMALIZATIONS: dict[str, Callable[[int], Layer]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
}
SOLVERS = ("adam", "adamw", "sgd", "rmsprop", "adagrad", "lbfgs")
RATES = ("constant", "invscaling", "adaptive")

Check = Callable[[Any], bool]


def _real(low: float, high: float = math.inf, *, above: bool = False, below: bool = False) -> Check:
    def fits(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            return False
        number = float(value)
        return (number > low if above else number >= low) and (number < high if below else number <= high)

    return fits


def _count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


def _flag(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _sequence(value: Any) -> bool:
    return isinstance(value, tuple | list)


# What each hyperparameter may be, for those that an estimator has.
_EXPECTED: dict[str, tuple[str, Check]] = {
    "alpha": ("a number of at least 0", _real(0.0)),
    "batch_size": (
        "'auto' or a whole number of at least 1",
        lambda v: (isinstance(v, str) and v == "auto") or _count(v),
    ),
    "learning_rate": (
        f"one of {', '.join(RATES)}, or a Schedule",
        lambda v: isinstance(v, Schedule) or (isinstance(v, str) and v in RATES),
    ),
    "learning_rate_init": (
        "a number above 0 or a Schedule",
        lambda v: isinstance(v, Schedule) or _real(0.0, above=True)(v),
    ),
    "power_t": ("a number of at least 0", _real(0.0)),
    "max_iter": ("a whole number of at least 1", _count),
    "max_fun": ("a whole number of at least 1", _count),
    "tol": ("a number of at least 0", _real(0.0)),
    "n_iter_no_change": (
        "a whole number of at least 1, or infinity",
        lambda v: _count(v) or (isinstance(v, Real) and v == math.inf),
    ),
    "validation_fraction": ("a number between 0 and 1", _real(0.0, 1.0, above=True, below=True)),
    "momentum": ("a number in [0, 1]", _real(0.0, 1.0)),
    "beta_1": ("a number in [0, 1)", _real(0.0, 1.0, below=True)),
    "beta_2": ("a number in [0, 1)", _real(0.0, 1.0, below=True)),
    "epsilon": ("a number above 0", _real(0.0, above=True)),
    "shuffle": ("True or False", _flag),
    "warm_start": ("True or False", _flag),
    "early_stopping": ("True or False", _flag),
    "nesterovs_momentum": ("True or False", _flag),
    "verbose": (
        "True, False or a whole number of at least 0",
        lambda v: _flag(v) or _count(v) or (isinstance(v, Real) and v == 0),
    ),
    "metrics": ("a list of names or Metrics", _sequence),
    "callbacks": ("a list of Callbacks", lambda v: _sequence(v) and all(isinstance(one, Callback) for one in v)),
    "layers": (
        "a list of Layer classes",
        lambda v: _sequence(v) and all(isinstance(one, type) and issubclass(one, Layer) for one in v),
    ),
    "backend": ("None, a name or a Backend", lambda v: v is None or isinstance(v, str | Backend)),
    "optimizer_params": ("None or a dict", lambda v: v is None or isinstance(v, Mapping)),
    "optimizer": ("a name or a function of (parameters, lr=, ...)", lambda v: isinstance(v, str) or callable(v)),
    "monitor": ("None or a name in the history", lambda v: v is None or isinstance(v, str)),
}

_MAKINGS = {
    *("solver", "optimizer", "optimizer_params", "alpha", "learning_rate", "learning_rate_init", "momentum"),
    *("nesterovs_momentum", "beta_1", "beta_2", "epsilon", "loss", "metrics", "verbose"),
}
# A perceptron's schedule is its learning_rate.
_EXPECTED_OF_PERCEPTRONS = {
    "learning_rate_init": ("a number above 0 (a Schedule is given as learning_rate)", _real(0.0, above=True))
}


def keep(estimator: object, arguments: Mapping[str, Any]) -> None:
    """Set a constructor's arguments as attributes, each under its own name, and do nothing else with them."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def check(estimator: Any) -> None:
    """Refuse hyperparameters out of range.

    Raises:
        ConfigError: the first one that is.
    """
    given, who = estimator.get_params(deep=False), type(estimator).__name__
    expected = {**_EXPECTED, **_EXPECTED_OF_PERCEPTRONS} if "solver" in given else _EXPECTED
    for name, value in given.items():
        if name in expected and not expected[name][1](value):
            raise ConfigError(f"{who}: expected {name} as {expected[name][0]}, got {value!r}.")
    if "solver" in given and (not isinstance(given["solver"], str) or given["solver"] not in SOLVERS):
        raise UnknownNameError("solver", given["solver"], SOLVERS)
    if given["early_stopping"] and not (given["monitor"] or "valid_").startswith("valid_"):
        raise ConfigError(
            f"{who}: with early_stopping, expected monitor as 'valid_loss' or 'valid_' and the name of a metric, got "
            f"{given['monitor']!r}."
        )


def makings_of(estimator: Any) -> dict[str, Any]:
    """The hyperparameters that a trainer is made of, to be compared: whoever changes one gets another trainer."""
    given = estimator.get_params(deep=False)
    return {name: _still(value) for name, value in given.items() if name in _MAKINGS}


def _still(value: Any) -> Any:
    # A list or a dict may be changed in its place.
    if isinstance(value, Mapping):
        return tuple(value.items())
    return tuple(value) if isinstance(value, list) else value


def perceptron(
    features: int,
    hidden: Any,
    outputs: int,
    *,
    activation: Any,
    dropout: Any,
    normalization: str | None,
) -> Layer:
    """Linear, normalization, activation and dropout for each hidden layer, and a Linear at the end; see `draw`.

    Raises:
        ConfigError: widths below 1, or lists that are not as long as `hidden`.
        UnknownNameError: another activation or normalization.
    """
    sizes = widths(hidden)
    kinds = each("activation", activation, len(sizes))
    shares = each("dropout", dropout, len(sizes))
    if not all(map(_real(0.0, 1.0, below=True), shares)):
        raise ConfigError(f"dropout: expected numbers in [0, 1), one or a list of them, got {dropout!r}.")
    for kind in kinds:
        if not isinstance(kind, str) or kind not in ACTIVATIONS:
            raise UnknownNameError("activation", kind, ACTIVATIONS)
    if normalization is not None and (not isinstance(normalization, str) or normalization not in NORMALIZATIONS):
        raise UnknownNameError("normalization", normalization, NORMALIZATIONS)
    layers: list[Layer] = []
    before = features
    for width, kind, share in zip(sizes, kinds, shares, strict=True):
        layers.append(nn.Linear(before, width, weight_init="zeros"))
        if normalization is not None:
            layers.append(NORMALIZATIONS[normalization](width))
        layers.append(ACTIVATIONS[kind]())
        if share:
            layers.append(nn.Dropout(float(share)))
        before = width
    return nn.Sequential(*layers, nn.Linear(before, outputs, weight_init="zeros")).no_decay("bias", "norm")


def widths(hidden: Any) -> list[int]:
    """Of the hidden layers.

    Raises:
        ConfigError: no whole numbers above 0.
    """
    given: list[Any] = [hidden] if isinstance(hidden, Real) else hidden
    listed = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
    if not listed or not all(map(_count, given)):
        raise ConfigError(f"hidden_layer_sizes must be > 0: expected a whole number or a list of them, got {hidden!r}.")
    return [int(width) for width in given]


def each(name: str, value: Any, layers: int) -> list[Any]:
    """A list with one for each hidden layer, of one for all or of such a list.

    Raises:
        ConfigError: a list of another length.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * layers
    if len(value) != layers:
        raise ConfigError(f"{name}: expected one for each of {layers} hidden layers, got {len(value)}: {value!r}.")
    return list(value)


def draw(net: Layer, activation: Any, random: np.random.RandomState) -> None:
    """Fill the Linears with scikit-learn's own numbers: uniform weights and biases within Glorot and Bengio's bound.

    Source: Glorot and Bengio, AISTATS 2010, equation 16; a third of its variance before logistic activations.
    """
    linears = [layer for _, layer in net.named_layers() if isinstance(layer, nn.Linear)]
    kinds = each("activation", activation, max(len(linears) - 1, 1))
    for layer, kind in zip(linears, [*kinds, kinds[-1]], strict=False):
        fans = layer.in_features, layer.out_features
        bound = math.sqrt((2.0 if kind in ("logistic", "sigmoid") else 6.0) / sum(fans))
        layer.weight.data = random.uniform(-bound, bound, fans).T
        if layer.bias is not None:
            layer.bias.data = random.uniform(-bound, bound, fans[1])


class _Adam(Adam):
    # scikit-learn adds epsilon to the root before it is freed of its bias.
    recordable = True

    def rates(self, *, lr: float, step: int, **options: Any) -> dict[str, float]:
        beta1, beta2 = options["betas"]
        return {"rate": lr * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step), "unbias": 1.0}


def optimizer(estimator: Any, parameters: Sequence[Parameter]) -> tuple[Optimizer, float]:
    """The optimizer that a perceptron's `solver` stands for, and the penalty that its first group gets by the batch.

    AdamW's decay is its own: a share of each weight, whatever the batch.
    """
    schedule = estimator.learning_rate
    # A copy: a schedule notes the fit that it is bound to.
    lr = copy.deepcopy(schedule) if isinstance(schedule, Schedule) else float(estimator.learning_rate_init)
    alpha, betas = float(estimator.alpha), (float(estimator.beta_1), float(estimator.beta_2))
    eps, groups = float(estimator.epsilon), by_penalty(parameters, estimator.alpha)
    match estimator.solver:
        case "sgd":
            momentum = float(estimator.momentum)
            nesterov = bool(estimator.nesterovs_momentum) and momentum > 0
            return SGD(groups, lr, momentum, nesterov=nesterov), alpha
        case "adam":
            return _Adam(groups, lr, betas, eps), alpha
        case "adamw":
            return AdamW(parameters, lr, betas, eps, alpha), 0.0
        case "rmsprop":
            return RMSprop(groups, lr, betas[1], eps), alpha
        case _:
            return Adagrad(groups, lr, eps=eps), alpha


def by_penalty(parameters: Sequence[Parameter], alpha: float) -> list[Any]:
    """Groups for an optimizer: what is penalised, and apart from it the rest, which no change of the penalty touches.

    Without a penalty all are one, and so one flat update.
    """
    if not alpha:
        return list(parameters)
    decayed = [parameter for parameter in parameters if parameter.decay]
    others = [parameter for parameter in parameters if not parameter.decay]
    return [{"params": group} for group in (decayed, others) if group]
