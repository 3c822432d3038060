"""Callbacks: what happens beside the training loop, in the order in which they are listed."""

import math
import sys
import time
from typing import TYPE_CHECKING, Any

from anyfw.core.errors import ConfigError
from anyfw.core.layer import Layer
from anyfw.optim import EMA

if TYPE_CHECKING:
    from rich.progress import Progress

    from anyfw.train.trainer import Trainer

Row = dict[str, Any]


class Callback:
    """Override what you need. `trainer.stop()` ends the fit after the present step's epoch.

    `on_step` runs after every optimiser step: reading a device value there waits for the device.

    Attributes:
        passive: whether `on_step` leaves the settings of the net, the loss and the optimizer as they are. With another
            one steps are recorded only where `graph=True` asks for it.
    """

    passive = False

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Before the first step of a fit."""

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Before the first step of an epoch."""

    def on_step(self, trainer: "Trainer") -> None:
        """After each optimiser step."""

    def on_epoch_end(self, trainer: "Trainer", row: Row) -> None:
        """After an epoch and its validation; what is put into `row` goes into the history."""

    def on_fit_end(self, trainer: "Trainer") -> None:
        """After the last epoch; not when an error or Ctrl-C ends the fit."""

    def close(self) -> None:
        """When the fit is over, however it ended."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: JSON-able values, and NumPy arrays."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state back on resume."""


class EarlyStopping:
    """Stop when a number has not improved for `patience` epochs, and restore the best weights.

    Args:
        patience: epochs without improvement before stopping, at least 1.
        monitor: a name in the history; must be measured on validation rows or on training rows every epoch.
        min_delta: what counts as an improvement.
        mode: "min", "max", or "auto" by the metric.

    Raises:
        ConfigError: a setting out of range.
    """

    def __init__(
        self, patience: int = 5, monitor: str = "valid_loss", min_delta: float = 0.0, mode: str = "auto"
    ) -> None:
        if patience < 1 or min_delta < 0 or mode not in ("min", "max", "auto"):
            raise ConfigError(
                "EarlyStopping: expected patience of at least 1, min_delta of at least 0 and mode 'min', 'max' or "
                f"'auto', got {patience}, {min_delta} and {mode!r}."
            )
        self.patience, self.monitor, self.min_delta, self.mode = patience, monitor, min_delta, mode
        self.best: float | None = None
        self.best_epoch: int | None = None

    def improved(self, value: float, epoch: int, mode: str) -> bool:
        """Whether `value` is the best so far; remembers it."""
        sign = -1.0 if mode == "max" else 1.0
        if math.isnan(value) or (self.best is not None and sign * (self.best - value) <= self.min_delta):
            return False
        self.best, self.best_epoch = value, epoch
        return True

    def exhausted(self, epoch: int, first_epoch: int) -> bool:
        """Whether patience is over after this epoch of a fit that began after `first_epoch`."""
        return epoch - max(self.best_epoch or 0, first_epoch) >= self.patience


class AverageWeights(Callback):
    """Keep an exponential moving average of the weights, and leave it in the net at the end of the fit.

    Args:
        decay: weight of the past in each step, in [0, 1).
    """

    passive = True

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self.average: EMA | None = None
        self._net: Layer | None = None
        self._loaded: dict[str, Any] | None = None

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Start from the present weights, from those of the checkpoint, or from the average of an earlier fit."""
        if self.average is None or self._net is not trainer.net:
            self._net, self.average = trainer.net, EMA(trainer.net.parameters(), decay=self.decay)
        if self._loaded is not None:
            self.average.load_state_dict(self._loaded)
            self._loaded = None

    def on_step(self, trainer: "Trainer") -> None:  # noqa: ARG002 - the average knows its parameters
        """Move the average."""
        if self.average is not None:
            self.average.update()

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Put the average into the net."""
        if self.average is not None:
            with self.average.swapped():
                averaged = trainer.net.state_dict()
            trainer.net.load_state_dict(averaged)

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of its updates."""
        if self.average is None:
            return {}
        state = self.average.state_dict()
        return {"updates": state["updates"], **state["state"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the average back when the fit starts."""
        if state:
            self._loaded = {"updates": state["updates"], "state": {k: v for k, v in state.items() if k != "updates"}}


class PrintProgress(Callback):
    """One plain line per epoch on stderr."""

    def on_epoch_end(self, trainer: "Trainer", row: Row) -> None:
        """Print the epoch's numbers."""
        print(f"epoch {trainer.epoch}/{trainer.last_epoch}  {_shown(row)}", file=sys.stderr, flush=True)  # noqa: T201


class ProgressBar(Callback):
    """A bar on the terminal with the running loss; reads the loss a few times a second, not every step."""

    passive = True
    interval = 0.25  # seconds between two reads

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: Any = None
        self._read = 0.0

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Open the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"),
            console=Console(stderr=True),
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=trainer.steps_per_epoch, epoch=trainer.epoch + 1, shown="")

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Start the bar again from the left."""
        if self._bar is not None:
            label = f"{trainer.epoch + 1}/{trainer.last_epoch}"
            self._bar.reset(self._task, total=trainer.steps_per_epoch, epoch=label, shown="")

    def on_step(self, trainer: "Trainer") -> None:
        """Advance; now and then read the loss."""
        if self._bar is not None and time.monotonic() - self._read > self.interval:
            self._read = time.monotonic()
            shown = f"loss {trainer.running_loss():.4g}"
            self._bar.update(self._task, completed=trainer.step_in_epoch, shown=shown)

    def on_epoch_end(self, trainer: "Trainer", row: Row) -> None:
        """Leave a line with the epoch's numbers."""
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.steps_per_epoch)
            self._bar.console.print(f"epoch {trainer.epoch}/{trainer.last_epoch}  {_shown(row)}", highlight=False)

    def close(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def progress_callbacks(progress: bool | str | None) -> list[Callback]:
    """The callbacks that `Trainer(progress=...)` stands for: a bar, plain lines, or nothing.

    Raises:
        ConfigError: another value than None, True, False, "bar", "lines".
    """
    if progress not in (None, True, False, "bar", "lines"):
        raise ConfigError(f"progress: expected None, True, False, 'bar' or 'lines', got {progress!r}.")
    terminal = sys.stderr.isatty()
    if progress == "bar" or (progress in (None, True) and terminal):
        return [ProgressBar()]
    return [PrintProgress()] if progress in (True, "lines") else []


def _shown(row: Row) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float))
