"""A linear warm-up before any other schedule."""

from collections.abc import Mapping
from typing import Any

from anyfw.optim.curves import Constant, linear
from anyfw.optim.schedule import Schedule, count, number


class Warmup(Schedule):
    """Linear from start_factor times the first rate of another schedule up to it, then that schedule from its start.

    Args:
        steps: the length of the warm-up, in units.
        then: what follows; a number is a constant rate.
        start_factor: where it starts, as a share of that first rate.
        unit: what `steps` counts, "step" or "epoch".

    Raises:
        ConfigError: a number out of range, or another unit.

    Source: Goyal et al., arXiv:1706.02677, section 2.2.
    """

    state = (*Schedule.state, "_steps")

    def __init__(self, steps: int, then: Schedule | float, start_factor: float = 1e-3, *, unit: str = "step") -> None:
        self.then = then if isinstance(then, Schedule) else Constant(then)
        super().__init__(self.then.lr, unit=unit)
        self.steps = count("Warmup", "steps", steps)
        self.start_factor = number("Warmup", "start_factor", start_factor)
        self._steps: int | None = self.steps if unit == "step" else None

    def __call__(self, step: int) -> float:
        """The rate."""
        if self._steps is None:
            self.position(step)
        steps = self._steps or 0
        if step >= steps:
            return self.then(step - steps)
        first = self.then(0)
        return linear(self.start_factor * first, first, step / steps)

    def bind(self, *, total_steps: int, epoch_steps: int, start: int = 0) -> None:
        """Give the schedule that follows what the warm-up leaves of the fit."""
        super().bind(total_steps=total_steps, epoch_steps=epoch_steps, start=start)
        if self._steps is None or (self.unit == "epoch" and start < self._steps):
            self._steps = self.steps * epoch_steps
        left = max(self._steps - start, 0)
        self.then.bind(
            total_steps=max(total_steps - left, 1), epoch_steps=epoch_steps, start=max(start - self._steps, 0)
        )

    def report(self, value: float) -> None:
        """Hand it on."""
        self.then.report(value)

    def state_dict(self) -> dict[str, Any]:
        """With that of the schedule that follows."""
        return {**super().state_dict(), "then": self.then.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """With that of the schedule that follows."""
        self.then.load_state_dict(state.get("then", {}))
        super().load_state_dict({name: value for name, value in state.items() if name != "then"})
