"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import Any

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import ConfigError
from anyfw.core.parameter import Parameter
from anyfw.ops import update as ops
from anyfw.optim.base import Optimizer
from anyfw.optim.groups import Group
from anyfw.optim.schedule import Schedule


class SGD(Optimizer):
    """w = w - lr b, with b the running sum of gradients: b = momentum b + (1 - dampening) g.

    Args:
        parameters, lr, l1, l2: as every `Optimizer`'s.
        momentum: how much of b stays; 0 leaves the plain gradient.
        dampening: how much of each gradient but the first is left out of b.
        nesterov: step by g + momentum b.
        weight_decay: adds weight_decay * w to the gradient.

    Raises:
        ConfigError: a hyperparameter out of range, or Nesterov without momentum or with dampening.

    Source: Sutskever et al., ICML 2013 (Nesterov momentum).
    """

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[Group],
        lr: float | Schedule = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        options = {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(parameters, lr, weight_decay=weight_decay, l1=l1, l2=l2, **options)

    def check(self, options: dict[str, Any]) -> None:
        """As the base, and Nesterov's conditions."""
        super().check(options)
        self.number(options, "momentum")
        self.number(options, "dampening")
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise ConfigError("SGD: expected momentum above 0 and dampening 0 with nesterov=True.")

    def init_state(self, data: Array, /, **options: Any) -> dict[str, Array]:
        """A buffer where there is momentum."""
        return {"momentum_buffer": namespace(data).zeros_like(data)} if options["momentum"] else {}

    def rates(self, *, lr: float, step: int, **options: Any) -> dict[str, float]:
        """The learning rate, and how much of b stays and of g comes in: at the first step b is g."""
        if step == 1:
            return {"lr": lr, "kept": 0.0, "taken": 1.0}
        return {"lr": lr, "kept": options["momentum"], "taken": 1.0 - options["dampening"]}

    def update(self, data: Array, grad: Array, state: dict[str, Array], /, **options: Any) -> None:
        """One step."""
        del options["dampening"]
        ops.sgd_(data, grad, state.get("momentum_buffer"), **options)
