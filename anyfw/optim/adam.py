"""Adam, and AdamW, whose weight decay stays out of the moments."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from anyfw.core.arrays import Array, namespace
from anyfw.core.errors import ConfigError
from anyfw.core.parameter import Parameter
from anyfw.ops import update as ops
from anyfw.optim.base import Optimizer
from anyfw.optim.groups import Group
from anyfw.optim.schedule import Schedule, number


class _Adaptive(Optimizer):
    """What both have in common: two moments, and where weight decay goes."""

    decoupled: ClassVar[bool]

    def check(self, options: dict[str, Any]) -> None:
        """As the base; both betas in [0, 1)."""
        super().check(options)
        betas = options["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ConfigError(f"{type(self).__name__}: expected betas to be two numbers, got {betas!r}.")
        options["betas"] = tuple(number(type(self).__name__, "each of betas", beta, below=1.0) for beta in betas)
        self.number(options, "eps")

    def init_state(self, data: Array, /, **options: Any) -> dict[str, Array]:
        """Both moments, and the largest second moment with amsgrad."""
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if options["amsgrad"] else ("exp_avg", "exp_avg_sq")
        return {name: namespace(data).zeros_like(data) for name in names}

    def rates(self, *, lr: float, step: int, **options: Any) -> dict[str, float]:
        """The learning rate and the root's factor, both freed of the moments' bias; and what decay leaves of w."""
        beta1, beta2 = options["betas"]
        found = {"rate": lr / (1.0 - beta1**step), "unbias": 1.0 / math.sqrt(1.0 - beta2**step)}
        return {**found, "shrink": 1.0 - lr * options["weight_decay"]} if self.decoupled else found

    def update(self, data: Array, grad: Array, state: dict[str, Array], /, **options: Any) -> None:
        """One step."""
        del options["amsgrad"]
        maximum = state.get("max_exp_avg_sq")
        moments = state["exp_avg"], state["exp_avg_sq"]
        own = {"weight_decay": 0.0} if self.decoupled else {"shrink": None}
        ops.adam_(data, grad, *moments, maximum, **{**options, **own})


class Adam(_Adaptive):
    """w = w - lr m / (sqrt(v) + eps), with m and v the running means of g and g^2, freed of their bias to zero.

    Args:
        parameters, lr, l1, l2: as every `Optimizer`'s.
        betas: how much of m and of v stays at each step.
        eps: keeps the quotient finite.
        weight_decay: adds weight_decay * w to the gradient.
        amsgrad: take the largest v so far.

    Raises:
        ConfigError: a hyperparameter out of range.

    Source: Kingma and Ba, arXiv:1412.6980, algorithm 1; Reddi et al., arXiv:1904.09237 (amsgrad).
    """

    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[Group],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        options: dict[str, Any] = {"betas": betas, "eps": eps, "amsgrad": amsgrad}
        super().__init__(parameters, lr, weight_decay=weight_decay, l1=l1, l2=l2, **options)


class AdamW(_Adaptive):
    """Adam, with w shrunk by lr * weight_decay before each step instead of a larger gradient.

    Args:
        parameters, lr, l1, l2: as every `Optimizer`'s.
        betas, eps, amsgrad: as for Adam.
        weight_decay: the share of w that goes, times lr.

    Raises:
        ConfigError: a hyperparameter out of range.

    Source: Loshchilov and Hutter, arXiv:1711.05101, algorithm 2.
    """

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[Group],
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        options: dict[str, Any] = {"betas": betas, "eps": eps, "amsgrad": amsgrad}
        super().__init__(parameters, lr, weight_decay=weight_decay, l1=l1, l2=l2, **options)
