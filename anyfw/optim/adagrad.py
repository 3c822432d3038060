"""Adagrad."""

from collections.abc import Iterable
from typing import Any

from anyfw.core.arrays import Array, namespace
from anyfw.core.parameter import Parameter
from anyfw.ops import update as ops
from anyfw.optim.base import Optimizer
from anyfw.optim.groups import Group
from anyfw.optim.schedule import Schedule


class Adagrad(Optimizer):
    """w = w - lr g / (sqrt(s) + eps), with s the sum of all g^2 so far.

    Args:
        parameters, lr, l1, l2: as every `Optimizer`'s.
        lr_decay: divides lr by 1 + lr_decay * (steps done).
        weight_decay: adds weight_decay * w to the gradient.
        initial_accumulator_value: where s starts.
        eps: keeps the quotient finite.

    Raises:
        ConfigError: a hyperparameter out of range.

    Source: Duchi et al., JMLR 12, 2011.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[Group],
        lr: float | Schedule = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        options = {"lr_decay": lr_decay, "initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(parameters, lr, weight_decay=weight_decay, l1=l1, l2=l2, **options)

    def check(self, options: dict[str, Any]) -> None:
        """As the base."""
        super().check(options)
        for name in ("lr_decay", "initial_accumulator_value", "eps"):
            self.number(options, name)

    def init_state(self, data: Array, /, **options: Any) -> dict[str, Array]:
        """The sum of squares."""
        return {"sum": namespace(data).zeros_like(data) + options["initial_accumulator_value"]}

    def rates(self, *, lr: float, step: int, **options: Any) -> dict[str, float]:
        """The learning rate, decayed."""
        return {"rate": lr / (1.0 + (step - 1) * options["lr_decay"])}

    def update(self, data: Array, grad: Array, state: dict[str, Array], /, **options: Any) -> None:
        """One step."""
        del options["initial_accumulator_value"], options["lr_decay"]
        ops.adagrad_(data, grad, state["sum"], **options)
