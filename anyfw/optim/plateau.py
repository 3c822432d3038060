"""The schedule that listens: it cuts the rate when training stands still."""

import math

from anyfw.core.errors import UnknownNameError
from anyfw.optim.schedule import Schedule, count, number


class ReduceOnPlateau(Schedule):
    """Multiply the rate by `factor` when more than `patience` epochs in a row brought nothing better.

    Args:
        lr: the rate at the start.
        factor: what each cut leaves of the rate, in [0, 1).
        patience: epochs without progress that are borne.
        threshold: how much better a value must be, as a share of the best one.
        mode: "min" or "max", which values are better.
        cooldown: epochs after a cut in which none is counted.
        minimum: the lowest rate.

    Raises:
        ConfigError: a number out of range, or another mode.
    """

    state = ("rate", "best", "bad_epochs", "cooling")

    def __init__(
        self,
        lr: float,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        mode: str = "min",
        cooldown: int = 0,
        minimum: float = 0.0,
    ) -> None:
        super().__init__(lr)
        if mode not in ("min", "max"):
            raise UnknownNameError("mode of ReduceOnPlateau", mode, ("min", "max"))
        self.factor = number("ReduceOnPlateau", "factor", factor, below=1.0)
        self.patience = count("ReduceOnPlateau", "patience", patience, 0)
        self.threshold = number("ReduceOnPlateau", "threshold", threshold)
        self.mode = mode
        self.cooldown = count("ReduceOnPlateau", "cooldown", cooldown, 0)
        self.minimum = number("ReduceOnPlateau", "minimum", minimum)
        self.rate = self.lr
        self.best: float | None = None
        self.bad_epochs = 0
        self.cooling = 0

    def __call__(self, step: int) -> float:  # noqa: ARG002 - one signature for all
        """The rate."""
        return self.rate

    def report(self, value: float) -> None:
        """Count the epoch as good or bad, and cut the rate after too many bad ones."""
        value = float(value)
        if self._better(value):
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        if self.cooling > 0:
            self.cooling -= 1
            self.bad_epochs = 0
        if self.bad_epochs > self.patience:
            lower = max(self.rate * self.factor, self.minimum)
            # Cuts that no optimizer would notice are left out, as in PyTorch.
            self.rate = lower if self.rate - lower > 1e-8 else self.rate
            self.cooling, self.bad_epochs = self.cooldown, 0

    def _better(self, value: float) -> bool:
        if self.best is None:
            return math.isfinite(value)
        if self.mode == "min":
            return value < self.best * (1.0 - self.threshold)
        return value > self.best * (1.0 + self.threshold)
