"""Learning rates that change: a schedule is a function of the number of optimizer steps done so far.

The k-th step, from 0, uses `schedule(k)`. With unit="epoch" the lengths that a schedule is made with count epochs
instead, and the rate changes between epochs only.
"""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ClassVar

from anyfw.core.errors import ConfigError, FileFormatError, UnknownNameError


def number(who: str, name: str, value: Any, low: float = 0.0, below: float = math.inf) -> float:
    """The value as a Python float: NumPy's scalars would promote float32 arrays.

    Raises:
        ConfigError: no finite number in [low, below).
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) < below:
        limit = "" if below == math.inf else f" and below {below:g}"
        raise ConfigError(f"{who}: expected {name} to be a finite number of at least {low:g}{limit}, got {value!r}.")
    return float(value)


def count(who: str, name: str, value: Any, least: int = 1) -> int:
    """The value as an int.

    Raises:
        ConfigError: no whole number of at least `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or float(value) % 1.0 or value < least:
        raise ConfigError(f"{who}: expected {name} to be a whole number of at least {least}, got {value!r}.")
    return int(float(value))


class Schedule(ABC):
    """A learning rate by the number of steps done.

    Args:
        lr: the rate that it starts from.
        unit: what the lengths count, "step" or "epoch".

    Raises:
        ConfigError: a rate that is negative or not finite, or lengths out of range.
    """

    state: ClassVar[tuple[str, ...]] = ("_start", "_total_steps", "_epoch_steps", "_epochs_before")

    def __init__(self, lr: float, *, unit: str = "step") -> None:
        if unit not in ("step", "epoch"):
            raise UnknownNameError(f"unit of {type(self).__name__}", unit, ("step", "epoch"))
        self.lr = number(type(self).__name__, "lr", lr)
        self.unit = unit
        self._start = 0
        self._total_steps: int | None = None
        self._epoch_steps: int | None = None
        self._epochs_before = 0

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The rate of the step that comes after `step` others."""

    def bind(self, *, total_steps: int, epoch_steps: int, start: int = 0) -> None:
        """Fill in what was left open, at the start of a fit.

        Args:
            total_steps: the steps of this fit; a length left open spans exactly this fit.
            epoch_steps: the steps of one epoch of it.
            start: the steps done before it.
        """
        if self._epoch_steps is not None:
            self._epochs_before = self.position(start) if self.unit == "epoch" else 0
        self._start, self._total_steps, self._epoch_steps = start, total_steps, epoch_steps

    def report(self, value: float) -> None:  # noqa: B027 - most schedules do not listen
        """Hear the monitored value of the epoch that ended."""

    def position(self, step: int) -> int:
        """The units done since training began.

        Raises:
            ConfigError: in epochs, before `bind` told their length.
        """
        if self.unit == "step":
            return step
        if self._epoch_steps is None:
            raise ConfigError(
                f"{type(self).__name__} counts epochs and does not know how many steps one has. "
                "Call bind(total_steps=, epoch_steps=), or use unit='step'; a Trainer binds it by itself."
            )
        return self._epochs_before + (step - self._start) // self._epoch_steps

    def progress(self, step: int, total: int | None) -> tuple[int, int]:
        """(units done, units in all), done at most all; with total None those of the present fit.

        Raises:
            ConfigError: the total was left open and `bind` was not called.
        """
        if total is not None:
            return min(self.position(step), total), total
        if self._total_steps is None:
            raise ConfigError(
                f"{type(self).__name__} does not know its length. Give total=, or call bind(total_steps=, epoch_steps=)"
                "; a Trainer binds it by itself."
            )
        done, total = max(step - self._start, 0), self._total_steps
        if self.unit == "epoch" and self._epoch_steps is not None:
            done, total = done // self._epoch_steps, -(-total // self._epoch_steps)
        return min(done, total), total

    def config(self) -> dict[str, Any]:
        """The JSON-able description, for `from_config`."""
        found: dict[str, Any] = {"schedule": type(self).__name__}
        for name in inspect.signature(type(self).__init__).parameters:
            if name != "self":
                value = getattr(self, name)
                found[name] = value.config() if isinstance(value, Schedule) else value
        return found

    def state_dict(self) -> dict[str, Any]:
        """What changes in training, as JSON-able values."""
        return {name.removeprefix("_"): getattr(self, name) for name in self.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ConfigError: the state of another kind of schedule.
        """
        own = {name.removeprefix("_"): name for name in self.state}
        if state.keys() != own.keys():
            raise ConfigError(
                f"This state does not fit {type(self).__name__}: {sorted(state)}, expected {sorted(own)}."
            )
        for name, attribute in own.items():
            setattr(self, attribute, state[name])

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items() if name != "schedule")
        return f"{type(self).__name__}({arguments})"


def build(config: Mapping[str, Any], known: Mapping[str, Callable[..., Schedule]]) -> Schedule:
    """Rebuild a schedule from what `Schedule.config()` gave.

    Args:
        config: the description.
        known: the classes that may be built, by name.

    Raises:
        UnknownNameError: a class that is not known.
        FileFormatError: no description of a schedule, or arguments that its class refuses.
    """
    if not isinstance(config, Mapping) or "schedule" not in config:
        raise FileFormatError(f"This describes no schedule: {str(config)[:80]}")
    if not isinstance(config["schedule"], str) or config["schedule"] not in known:
        raise UnknownNameError("schedule", config["schedule"], known)
    arguments = {
        name: build(value, known) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name != "schedule"
    }
    try:
        return known[config["schedule"]](**arguments)
    except TypeError as error:
        raise FileFormatError(f"{config['schedule']} does not take these arguments: {error}") from error
