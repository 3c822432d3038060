"""`Perceptron`: what the two multi-layer perceptrons share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw import nn
from anyfw.core.errors import ConfigError
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter
from anyfw.interop.sklearn import settings
from anyfw.interop.sklearn.base import Estimator
from anyfw.optim import Optimizer, Schedule


class Perceptron(Estimator):
    """Its net is made of its hyperparameters."""

    def _make_net(self, features: int, random: np.random.RandomState, seed: int, dtype: str) -> Layer:
        net = settings.perceptron(
            features,
            self.hidden_layer_sizes,
            self._outputs_needed(),
            activation=self.activation,
            dropout=self.dropout,
            normalization=self.normalization,
        )
        if self.solver == "lbfgs" and (np.any(self.dropout) or self.normalization == "batch"):
            raise ConfigError("solver='lbfgs': dropout and batch normalization need batches. Use another solver.")
        net.draw(seed).to("numpy", dtype)
        settings.draw(net, self.activation, random)
        return net

    def _made_of(self, features: int) -> dict[str, Any]:  # noqa: ARG002
        widths = settings.widths(self.hidden_layer_sizes)
        return {
            "hidden_layer_sizes": widths,
            "activation": settings.each("activation", self.activation, len(widths)),
            "dropout": [float(share) for share in settings.each("dropout", self.dropout, len(widths))],
            "normalization": self.normalization,
        }

    def _make_optimizer(self, parameters: Sequence[Parameter]) -> tuple[Optimizer, float]:
        return settings.optimizer(self, parameters)

    @property
    def _rate_kind(self) -> str:
        scheduled = isinstance(self.learning_rate, Schedule)
        return self.learning_rate if self.solver == "sgd" and not scheduled else "constant"

    @property
    def n_layers_(self) -> int:
        """The input, each hidden layer, the outputs."""
        return len(self.coefs_) + 1

    @property
    def coefs_(self) -> list[NDArray[Any]]:
        """The weights of each Linear, shape (inputs, outputs)."""
        return [weight.T for weight in self._fitted_model("coefs_").weights("weight")]

    @coefs_.setter
    def coefs_(self, values: list[Any]) -> None:
        self._assign("weight", [np.asarray(value).T for value in values])

    @property
    def intercepts_(self) -> list[NDArray[Any]]:
        """The biases of each Linear, shape (outputs,)."""
        found: list[NDArray[Any]] = self._fitted_model("intercepts_").weights("bias")
        return found

    @intercepts_.setter
    def intercepts_(self, values: list[Any]) -> None:
        self._assign("bias", values)

    def _fitted_model(self, name: str) -> Any:
        if "_model" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted.")
        return self._model

    def _assign(self, name: str, values: list[Any]) -> None:
        net = self._fitted_model(name).net
        own = [getattr(layer, name) for _, layer in net.named_layers() if isinstance(layer, nn.Linear)]
        shapes = [parameter.shape for parameter in own]
        given = [np.shape(value) for value in values]
        if given != shapes:
            turn = (lambda shape: shape[::-1]) if name == "weight" else (lambda shape: shape)
            raise ConfigError(
                f"{'coefs_' if name == 'weight' else 'intercepts_'}: expected arrays of shapes "
                f"{list(map(turn, shapes))}, got {list(map(turn, given))}."
            )
        for parameter, value in zip(own, values, strict=True):
            parameter.data = value
