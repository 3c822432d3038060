"""RMSprop."""

from collections.abc import Iterable
from typing import Any

from anyfw.core.arrays import Array, namespace
from anyfw.core.parameter import Parameter
from anyfw.ops import update as ops
from anyfw.optim.base import Optimizer
from anyfw.optim.groups import Group
from anyfw.optim.schedule import Schedule


class RMSprop(Optimizer):
    """w = w - lr g / (sqrt(v) + eps), with v = alpha v + (1 - alpha) g^2.

    Args:
        parameters, lr, l1, l2: as every `Optimizer`'s.
        alpha: how much of v stays at each step.
        eps: keeps the quotient finite.
        weight_decay: adds weight_decay * w to the gradient.
        momentum: how much of the running sum of quotients stays.
        centered: take the variance of g in place of its mean square.

    Raises:
        ConfigError: a hyperparameter out of range.

    Source: Tieleman and Hinton, Coursera lecture 6.5, 2012; Graves, arXiv:1308.0850, equations 38 to 41 (centered).
    """

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[Group],
        lr: float | Schedule = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        options: dict[str, Any] = {"alpha": alpha, "eps": eps, "momentum": momentum, "centered": centered}
        super().__init__(parameters, lr, weight_decay=weight_decay, l1=l1, l2=l2, **options)

    def check(self, options: dict[str, Any]) -> None:
        """As the base; alpha in [0, 1)."""
        super().check(options)
        self.number(options, "alpha", below=1.0)
        self.number(options, "eps")
        self.number(options, "momentum")

    def init_state(self, data: Array, /, **options: Any) -> dict[str, Array]:
        """The mean square; with momentum its buffer; centered, the mean."""
        names = ["square_avg"]
        names += ["momentum_buffer"] if options["momentum"] else []
        names += ["grad_avg"] if options["centered"] else []
        return {name: namespace(data).zeros_like(data) for name in names}

    def rates(self, *, lr: float, step: int, **options: Any) -> dict[str, float]:  # noqa: ARG002 - as the base
        """The learning rate."""
        return {"lr": lr}

    def update(self, data: Array, grad: Array, state: dict[str, Array], /, **options: Any) -> None:
        """One step."""
        del options["centered"]
        ops.rmsprop_(data, grad, state["square_avg"], state.get("grad_avg"), state.get("momentum_buffer"), **options)
