"""Steps that are recorded once and replayed: where orders cost more than work, the device gets one for a whole step.

A recording repeats the same work on the same arrays, and runs no Python. What changes from step to step is therefore on
the device: the rows of each batch of the epoch and the optimizer's rates, as tables; the losses; and the number of the
next batch, by which the step finds its place in all three, and which it moves on itself. The host fills the tables at
the start of an epoch, when it knows all of it.

`Backend.capture` gives a function that is one step at each call. Its first calls run the step as it is, and make what
stays, as the optimizer's state and the sums of metrics; the next one records it; from then on it is replayed.

A last, smaller batch is not recorded, nor is what a callback does. What Python counts, keeps or draws by itself in a
step would stand still: layers, losses, metrics and optimizers of the user's own are recorded by themselves only where
they say that they are `recordable`.
"""

import json
import logging
from collections.abc import Callable
from operator import is_not
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.arrays import Array
from anyfw.core.criterion import Criterion
from anyfw.core.errors import ConfigError, RecordingError
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter
from anyfw.metrics import Metric
from anyfw.ops.gather import append_, gather
from anyfw.optim import Optimizer
from anyfw.train.feed import Feed, Indices, Supply
from anyfw.train.step import Step

if TYPE_CHECKING:
    from anyfw.train.trainer import Trainer

_log = logging.getLogger("anyfw")

# "auto" records where at least so many steps will be replayed: a recording costs about what a few steps cost.
_WORTH = 32


def recorded_steps(
    trainer: "Trainer", feed: Feed, size: int, batches: int, epochs: int, *, watched: bool
) -> "RecordedSteps | None":
    """The recorded steps of a fit, or None where they run one order after the other; who asked for them is told why.

    Args:
        trainer: whose setting `graph` decides.
        feed: the training rows.
        size, batches: rows of a full batch, and how many of these an epoch has.
        epochs: those to come.
        watched: whether a callback that may change settings listens to each step.
    """
    if trainer.graph is False:
        return None
    reason = _why_never(trainer, batches)
    if reason is None and trainer.graph == "auto":
        reason = _why_not_by_itself(trainer, batches * epochs, watched)
    if reason is None:
        _log.info("steps of full batches are recorded once, and replayed")
        return RecordedSteps(trainer, feed, size, batches, watched=watched)
    _log.log(logging.WARNING if trainer.graph is True else logging.DEBUG, "Steps are not recorded: %s.", reason)
    return None


def _why_never(trainer: "Trainer", batches: int) -> str | None:
    if not trainer.net.backend.records:
        return f"{trainer.net.backend.spec} replays no recordings"
    keeping = [metric.who for metric in trainer.metrics if type(metric).reset is not Metric.reset]
    if keeping:
        return f"{', '.join(keeping)} keeps more than sums"
    kind = type(trainer.optimizer)
    if kind.step is not Optimizer.step or kind.advance is not Optimizer.advance:
        return f"{kind.__name__} has a step of its own"
    if batches < trainer.accumulate:
        return "an epoch has fewer full batches than make a step"
    try:
        _setting(trainer)
    except ConfigError as error:
        return f"what cannot be described cannot be watched for changes: {error}"
    return None


def _why_not_by_itself(trainer: "Trainer", batches: int, watched: bool) -> str | None:
    layers = {id(layer): layer for _, layer in trainer.net.named_layers()}.values()
    parts: tuple[Layer | Criterion | Optimizer, ...] = (*layers, trainer.loss, *trainer.metrics, trainer.optimizer)
    for part in parts:
        if not (part.recordable or type(part).__module__.startswith("anyfw.")):
            return f"{type(part).__name__} does not say that it is recordable; graph=True records all the same"
    if watched:
        return "a callback listens to each step, and may change what was recorded; graph=True records all the same"
    return "the steps are too few" if batches < _WORTH * trainer.accumulate else None


class RecordedSteps:
    """The steps of full batches of a fit.

    Args:
        trainer: whose steps they are.
        feed: the training rows.
        size: rows of a batch.
        batches: full batches of an epoch.
        watched: whether to look for changed settings before each step, not only at the start of an epoch.
    """

    def __init__(self, trainer: "Trainer", feed: Feed, size: int, batches: int, *, watched: bool) -> None:
        self.trainer, self.feed, self.size, self.batches, self.watched = trainer, feed, size, batches, watched
        self._work = Step(trainer)
        # What a replay reads and writes, made when it is first needed: the next batch's number, and by these numbers
        # the rows, the rates and the losses; and the sums of the metrics.
        self._number: Array | None = None
        self._supply: Supply | None = None
        self._rates: Array | None = None
        self._losses: Array | None = None
        self._sums: list[dict[str, Array]] = []
        self._replay: Callable[[], None] | None = None
        # What the recording was made with, and the arrays that it knows; rates as the host knows them.
        self._setting: tuple[Any, ...] = ()
        self._held: list[Any] | None = None
        self._table: NDArray[np.float64] = np.zeros((0, 0))
        self._early: tuple[Any, list[list[float]]] | None = None
        self._refused: str | None = None

    def begin(self, indices: Indices) -> int:
        """Prepare the steps of these batches, the epoch's next; returns how many of them are in recorded steps.

        Raises:
            RecordingError: nothing was prepared, since what the steps need cannot be known ahead.
        """
        trainer, accumulate = self.trainer, self.trainer.accumulate
        full = next((i for i, rows in enumerate(indices) if len(rows) != self.size), len(indices))
        count = full - full % accumulate
        if not count:
            return 0
        backend, first = trainer.net.backend, trainer.step_in_epoch
        if self._number is None or self._supply is None:
            self._number = backend.asarray(np.zeros(1), "int64")
            self._supply = self.feed.supply(self._number, self.batches, self.size)
        assert trainer.batch_losses is not None
        # The trainer's losses of this epoch are those that a replay writes, from here on.
        if self._losses is None or self._losses.shape != trainer.batch_losses.shape:
            self._losses, self._replay = trainer.batch_losses, None
        elif self._losses is not trainer.batch_losses:
            self._losses[...] = trainer.batch_losses
            trainer.batch_losses = self._losses
        early, self._early = self._early, None
        known = early is not None and early[0] == self._follows_from(count // accumulate)
        self._tabulate(first, early[1] if early is not None and known else self._ahead(count // accumulate))
        self._supply.begin(first, indices[:count])
        self._number[...] = backend.asarray(np.asarray([first]), "int64")
        # There are none yet where nothing is recorded yet.
        for metric, arrays in zip(trainer.metrics, self._sums, strict=False):
            metric.continue_in(arrays)
        return count

    def step(self) -> None:
        """Do the next step.

        Raises:
            RecordingError: it cannot be recorded; nothing was done.
        """
        trainer, shared = self.trainer, self.trainer.net.shared
        if self.watched:
            self._tabulate(trainer.step_in_epoch, self._ahead(1))
        assert self._supply is not None
        self._supply.load(trainer.accumulate)
        forwards = shared.forwards
        try:
            if self._refused is not None:
                raise RecordingError(self._refused)
            if self._replay is None:
                self._replay = trainer.net.backend.capture(self._step)
            self._replay()
        except RecordingError:
            trainer.net.zero_grad()
            shared.forwards = forwards
            raise
        # Python runs the step only until it is recorded: what it counts by itself is set.
        shared.forwards = forwards + trainer.accumulate
        trainer.optimizer.advance()
        if self._held is None:
            self._held, self._sums = _held(trainer), [metric.sums_in_place() for metric in trainer.metrics]
        elif _others(self._held, _held(trainer)):
            self._refused = "a step makes new arrays where it should write into those of the net or the optimizer"

    def look_ahead(self) -> None:
        """Compute the next epoch's rates, as far as they are known, while the device is busy."""
        steps = self.batches // self.trainer.accumulate
        self._early = self._follows_from(steps), self._ahead(steps)

    def close(self) -> None:
        """Let go of the recording and its memory."""
        self._replay = None

    def _step(self) -> None:
        # What is recorded. Everything it reads and writes stays where it is for as long as the recording lives.
        accumulate = self.trainer.accumulate
        assert self._losses is not None
        assert self._rates is not None
        assert self._supply is not None
        rates = gather(self._rates, self._number)
        for i in range(accumulate):
            value = self._work.learn(self._supply.take(i), 1.0 / accumulate)
            append_(self._losses, self._number, value)
        self._work.update(rates[0, :])

    def _ahead(self, steps: int) -> list[list[float]]:
        try:
            return self.trainer.optimizer.ahead(steps)
        except ConfigError as error:
            raise RecordingError(str(error)) from error

    def _tabulate(self, first: int, steps: list[list[float]]) -> None:
        # A row for each batch, of which a step reads that of its first.
        backend, rows = self.trainer.net.backend, np.asarray(steps).repeat(self.trainer.accumulate, axis=0)
        self._refresh()
        if self._rates is None:
            self._table = np.full((self.batches, rows.shape[1]), np.nan)
            self._rates = backend.asarray(self._table, self.trainer.net.dtype)
        there = slice(first, first + len(rows))
        if not np.array_equal(self._table[there], rows):
            self._table[there] = rows
            self._rates[there, :] = backend.asarray(rows, self.trainer.net.dtype)

    def _refresh(self) -> None:
        # A recording has taken the settings for fixed, and the arrays that it was made with.
        setting = _setting(self.trainer)
        if setting != self._setting or (self._held is not None and _others(self._held, _held(self.trainer))):
            self._setting, self._replay, self._rates, self._sums, self._held = setting, None, None, [], None

    def _follows_from(self, steps: int) -> tuple[Any, ...]:
        # What the rates of so many coming steps follow from.
        optimizer = self.trainer.optimizer
        schedules = [(schedule, schedule.state_dict()) for schedule in optimizer.schedules]
        return steps, optimizer, optimizer.steps, schedules, _described(optimizer.config()), _changes(self.trainer)


def _held(trainer: "Trainer") -> list[Any]:
    # What a recorded step reads and writes, and would go on with were there others in its place.
    stored = [stored for _, stored in trainer.net.named_stored()]
    packs = [one.pack if isinstance(one, Parameter) else one.data for one in stored]
    parts = [trainer.net, trainer.loss, trainer.optimizer, *trainer.metrics]
    return [*parts, *packs, *trainer.optimizer.state_vectors(), trainer.net.shared._tick]


def _others(before: list[Any], now: list[Any]) -> bool:
    return len(before) != len(now) or any(map(is_not, before, now))


def _setting(trainer: "Trainer") -> tuple[Any, ...]:
    # The learning rate is in the table.
    optimizer = {name: value for name, value in trainer.optimizer.config().items() if name != "lr"}
    described = _described([trainer.net.config(), trainer.loss.config(), optimizer])
    own = trainer.accumulate, trainer.clip_norm, trainer.clip_value, trainer.net.backend.matmul
    return described, own, _changes(trainer)


def _described(settings: Any) -> str:
    return json.dumps(settings, default=lambda value: value.tolist() if isinstance(value, np.ndarray) else repr(value))


def _changes(trainer: "Trainer") -> list[Any]:
    # Which parameters learn, and which are decayed, has changed where these numbers have.
    return [parameter.pack and parameter.pack.changes for parameter in trainer.net.parameters()]
