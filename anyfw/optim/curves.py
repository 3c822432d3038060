"""Schedules that are a formula of the position: constant, steps, exponential, cosine, one cycle."""

import math
from bisect import bisect_right
from collections.abc import Sequence

from anyfw.core.errors import ConfigError, UnknownNameError
from anyfw.optim.schedule import Schedule, count, number


class Constant(Schedule):
    """The same rate always.

    Args:
        lr: the rate.

    Raises:
        ConfigError: a rate that is negative or not finite.
    """

    def __init__(self, lr: float) -> None:
        super().__init__(lr)

    def __call__(self, step: int) -> float:  # noqa: ARG002 - one signature for all
        """The rate."""
        return self.lr


class Step(Schedule):
    """lr * gamma^floor(n / step_size), n the position in units.

    Args:
        lr: the rate at the start.
        step_size: units between two cuts, at least 1.
        gamma: what each cut leaves of the rate.
        unit: what is counted, "step" or "epoch".

    Raises:
        ConfigError: a number out of range, or another unit.
    """

    def __init__(self, lr: float, step_size: int, gamma: float = 0.1, *, unit: str = "step") -> None:
        super().__init__(lr, unit=unit)
        self.step_size = count("Step", "step_size", step_size)
        self.gamma = number("Step", "gamma", gamma)

    def __call__(self, step: int) -> float:
        """The rate."""
        return self.lr * self.gamma ** (self.position(step) // self.step_size)


class MultiStep(Schedule):
    """lr * gamma^(number of milestones reached).

    Args:
        lr: the rate at the start.
        milestones: the positions of the cuts, in units.
        gamma: what each cut leaves of the rate.
        unit: what is counted, "step" or "epoch".

    Raises:
        ConfigError: a number out of range, or another unit.
    """

    def __init__(self, lr: float, milestones: Sequence[int], gamma: float = 0.1, *, unit: str = "step") -> None:
        super().__init__(lr, unit=unit)
        self.milestones = sorted(count("MultiStep", "each milestone", milestone, 0) for milestone in milestones)
        self.gamma = number("MultiStep", "gamma", gamma)

    def __call__(self, step: int) -> float:
        """The rate."""
        return self.lr * self.gamma ** bisect_right(self.milestones, self.position(step))


class Exponential(Schedule):
    """lr * gamma^n, n the position in units.

    Args:
        lr: the rate at the start.
        gamma: what each unit leaves of the rate.
        unit: what is counted, "step" or "epoch".

    Raises:
        ConfigError: a number out of range, or another unit.
    """

    def __init__(self, lr: float, gamma: float, *, unit: str = "step") -> None:
        super().__init__(lr, unit=unit)
        self.gamma = number("Exponential", "gamma", gamma)

    def __call__(self, step: int) -> float:
        """The rate."""
        return self.lr * self.gamma ** self.position(step)


class Cosine(Schedule):
    """minimum + (lr - minimum) (1 + cos(pi n / total)) / 2, and `minimum` from then on.

    Args:
        lr: the rate at the start.
        total: the length in units; None is the length of the fit.
        minimum: the rate at the end.
        unit: what is counted, "step" or "epoch".

    Raises:
        ConfigError: a number out of range, or another unit.

    Source: Loshchilov and Hutter, arXiv:1608.03983, equation 5.
    """

    def __init__(self, lr: float, total: int | None = None, minimum: float = 0.0, *, unit: str = "step") -> None:
        super().__init__(lr, unit=unit)
        self.total = None if total is None else count("Cosine", "total", total)
        self.minimum = number("Cosine", "minimum", minimum)

    def __call__(self, step: int) -> float:
        """The rate."""
        done, total = self.progress(step, self.total)
        return cosine(self.lr, self.minimum, done / total if total else 1.0)


class OneCycle(Schedule):
    """Up from lr / div_factor to lr in the first part, down to lr / div_factor / final_div_factor in the rest.

    Momentum stays as it is (as PyTorch's with cycle_momentum=False).

    Args:
        lr: the highest rate.
        total: the number of steps; None is the length of the fit.
        pct_start: the share of steps that go up.
        anneal_strategy: "cos" or "linear".
        div_factor, final_div_factor: how much lower it starts, and ends.

    Raises:
        ConfigError: a number out of range, or another strategy.

    Source: Smith and Topin, arXiv:1708.07120.
    """

    def __init__(
        self,
        lr: float,
        total: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        super().__init__(lr)
        if anneal_strategy not in ("cos", "linear"):
            raise UnknownNameError("anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.total = None if total is None else count("OneCycle", "total", total)
        self.pct_start = number("OneCycle", "pct_start", pct_start)
        self.anneal_strategy = anneal_strategy
        self.div_factor = number("OneCycle", "div_factor", div_factor)
        self.final_div_factor = number("OneCycle", "final_div_factor", final_div_factor)
        if self.pct_start > 1 or not self.div_factor or not self.final_div_factor:
            raise ConfigError("OneCycle: expected pct_start of at most 1 and division factors above 0.")

    def __call__(self, step: int) -> float:
        """The rate."""
        done, total = self.progress(step, self.total)
        anneal = cosine if self.anneal_strategy == "cos" else linear
        lowest = self.lr / self.div_factor
        top, last = self.pct_start * total - 1.0, total - 1.0
        if done <= top:
            return anneal(lowest, self.lr, done / top if top else 1.0)
        share = min((done - top) / (last - top), 1.0) if last > top else 1.0
        return anneal(self.lr, lowest / self.final_div_factor, share)


def linear(begin: float, end: float, share: float) -> float:
    """From begin (share 0) to end (share 1) in a straight line."""
    return begin + (end - begin) * share


def cosine(begin: float, end: float, share: float) -> float:
    """From begin (share 0) to end (share 1) along half a cosine."""
    return end + (begin - end) * 0.5 * (1.0 + math.cos(math.pi * share))
