"""`NetEstimator`: what `NetClassifier` and `NetRegressor` share."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anyfw import nn, optim
from anyfw.core.errors import ConfigError, UnknownNameError
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter
from anyfw.interop.sklearn import settings
from anyfw.interop.sklearn.base import Estimator
from anyfw.interop.sklearn.model import Recipe
from anyfw.losses import Loss
from anyfw.optim import Optimizer

_OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "sgd": optim.SGD,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
}
# What a pickle holds in the place of a net among the hyperparameters.
_RECIPE = "net (a recipe)"


class NetEstimator(Estimator):
    """Its net is given."""

    _rate_kind = "constant"
    net: Any

    def _make_net(self, features: int, random: np.random.RandomState, seed: int, dtype: str) -> Layer:  # noqa: ARG002
        # A deep copy keeps what a description does not: initialisers that are functions, and assigned values.
        made = copy.deepcopy(self.net) if isinstance(self.net, Layer) else self._called(features)
        # That it can be pickled is found out now rather than after hours of training.
        nn.from_config(made.config(), self.layers)
        # Placed first: `init` would place it in float32.
        return made.to("numpy", dtype).init(seed)

    def _made_of(self, features: int) -> dict[str, Any]:
        return {"net": (self.net if isinstance(self.net, Layer) else self._called(features)).config()}

    def _called(self, features: int) -> Layer:
        if not callable(self.net) or isinstance(self.net, type):
            raise ConfigError(
                f"{type(self).__name__}: expected net as a Layer or a function of (features, outputs) that makes one, "
                f"got {self.net!r}."
            )
        made = self.net(features, self._outputs_needed())
        if not isinstance(made, Layer):
            raise ConfigError(f"{type(self).__name__}: expected net(features, outputs) to make a Layer, got {made!r}.")
        return made

    def _make_loss(self, width: int) -> Loss:
        if self.loss is None:
            return self._default_loss(width)
        if not isinstance(self.loss, Loss):
            raise ConfigError(f"{type(self).__name__}: expected loss as None or a Loss, got {self.loss!r}.")
        return copy.deepcopy(self.loss)

    def _make_optimizer(self, parameters: Sequence[Parameter]) -> tuple[Optimizer, float]:
        options = dict(self.optimizer_params or {})
        if "params" in options or "parameters" in options:
            raise ConfigError(f"{type(self).__name__}: optimizer_params are settings; the parameters are the net's.")
        options = {"lr": copy.deepcopy(self.learning_rate_init), **copy.deepcopy(options)}
        if callable(self.optimizer):
            made = self.optimizer(parameters, **options)
            if not isinstance(made, Optimizer):
                raise ConfigError(f"{type(self).__name__}: expected optimizer to make an Optimizer, got {made!r}.")
            return made, 0.0
        if self.optimizer not in _OPTIMIZERS:
            raise UnknownNameError("optimizer", self.optimizer, _OPTIMIZERS)
        if self.alpha and "weight_decay" in options:
            raise ConfigError(f"{type(self).__name__}: give alpha or optimizer_params['weight_decay'], not both.")
        known = inspect.signature(_OPTIMIZERS[self.optimizer].__init__).parameters.keys() - {"self", "parameters"}
        for name in options.keys() - known:
            raise UnknownNameError(f"setting in optimizer_params of {self.optimizer!r}", name, known)
        if self.optimizer == "adamw":
            return optim.AdamW(parameters, **{"weight_decay": float(self.alpha), **options}), 0.0
        groups: Any = settings.by_penalty(parameters, self.alpha)
        return _OPTIMIZERS[self.optimizer](groups, **options), float(self.alpha)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if isinstance(self.net, Layer):
            if "_model" not in state:
                self._expect_named_initialisers(self.net)
            state = {**state, "net": {_RECIPE: Recipe(self.net, self.layers, drawn=False)}}
        return state

    def _expect_named_initialisers(self, net: Layer) -> None:
        # A function is code, which a description does not hold: another would be drawn by in its place.
        rebuilt = dict(nn.from_config(net.config(), self.layers).named_stored())
        lost = [
            path
            for path, one in net.named_stored()
            if not one.assigned and _code(one.initializer) != _code(rebuilt[path].initializer)
        ]
        if lost:
            raise ConfigError(
                f"{type(self).__name__}: {', '.join(lost)} of the net are drawn by a function, which a pickle cannot "
                "hold. Name an initialiser, assign values, or give net as a function that makes it."
            )

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__(state)
        if isinstance(self.net, Mapping) and _RECIPE in self.net:
            self.net = self.net[_RECIPE].make()

    @property
    def net_(self) -> Layer:
        """The net that was trained."""
        if "_model" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no net_ before it is fitted.")
        net: Layer = self._model.net
        return net


def _code(initializer: Any) -> object:
    # Two closures of the same function, as two constants are, are made of the same code.
    return getattr(initializer, "__code__", type(initializer))
