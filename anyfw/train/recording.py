"""Steps that are recorded once and replayed: where orders cost more than work, the device gets one for a whole step.

A recording repeats the same work on the same arrays. What changes from step to step is therefore on the device: the
rows of each batch of the epoch and the optimizer's rates, as tables; the losses; and the place in all three, which the
recorded step itself moves on. The host fills the tables at the start of an epoch, when it knows all of it.

A last, smaller batch is not recorded, nor is what a callback does.
"""

import json
import logging
from collections.abc import Callable
from operator import is_not
from typing import TYPE_CHECKING, Any

import numpy as np

from anyfw.core.arrays import Array
from anyfw.core.errors import ConfigError, RecordingError
from anyfw.core.parameter import Parameter
from anyfw.metrics import Metric
from anyfw.ops.gather import append_, gather
from anyfw.train.feed import Feed, Indices
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
    reason = None
    if not trainer.net.backend.records:
        reason = f"{trainer.net.backend.spec} replays no recordings"
    elif kept := [metric.who for metric in trainer.metrics if type(metric).reset is not Metric.reset]:
        reason = f"{', '.join(kept)} keeps more than sums"
    elif batches < trainer.accumulate:
        reason = "an epoch has no full batches"
    elif trainer.graph == "auto" and watched:
        reason = "a callback listens to each step, and may change what was recorded; graph=True records all the same"
    elif trainer.graph == "auto" and batches * epochs < _WORTH * trainer.accumulate:
        reason = "the steps are too few"
    if reason is None:
        return RecordedSteps(trainer, feed, size, batches, watched=watched)
    _log.log(logging.WARNING if trainer.graph is True else logging.DEBUG, "Steps are not recorded: %s.", reason)
    return None


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
        backend = trainer.net.backend
        self.trainer, self.size, self.watched = trainer, size, watched
        self.work = Step(trainer)
        self.position = backend.asarray(np.zeros(1), "int64")
        self.supply = feed.supply(self.position, batches, size)
        self.rates: Array | None = None
        self.losses: Array | None = None
        self.sums: list[dict[str, Array]] = []
        self.replay: Callable[[], None] | None = None
        self.setting: tuple[Any, ...] = ()
        self.held: list[Any] | None = None
        self.coming: tuple[Any, list[list[float]]] | None = None
        self.batches = batches

    def begin(self, indices: Indices) -> int:
        """Prepare the steps of these batches, the epoch's next; returns how many of them are in recorded steps."""
        trainer, accumulate = self.trainer, self.trainer.accumulate
        full = next((i for i, rows in enumerate(indices) if len(rows) != self.size), len(indices))
        whole = full - full % accumulate
        if not whole:
            return 0
        backend, place = trainer.net.backend, trainer.step_in_epoch
        assert trainer.batch_losses is not None
        if self.losses is None or self.losses.shape != trainer.batch_losses.shape:
            self.losses, self.replay = trainer.batch_losses, None
        elif self.losses is not trainer.batch_losses:
            self.losses[...] = trainer.batch_losses
            trainer.batch_losses = self.losses
        self._tabulate(place, whole)
        self.supply.begin(place, indices[:whole])
        self.position[...] = backend.asarray(np.asarray([place]), "int64")
        for metric, arrays in zip(trainer.metrics, self.sums, strict=False):
            metric.continue_in(arrays)
        return whole

    def step(self) -> None:
        """Do the next step.

        Raises:
            RecordingError: it cannot be recorded; nothing was done.
        """
        trainer, shared = self.trainer, self.trainer.net.shared
        if self.watched:
            self._tabulate(trainer.step_in_epoch, trainer.accumulate)
        self.supply.load(trainer.accumulate)
        forwards = shared.forwards
        if self.replay is None:
            self.replay = trainer.net.backend.capture(self._step)
        try:
            self.replay()
        except RecordingError as error:
            trainer.net.zero_grad()
            shared.forwards = forwards
            _log.warning("Steps are not recorded: %s. They run one order after the other, with the same result.", error)
            raise
        # Python ran the step only while it was being recorded: what it counts by itself is set.
        shared.forwards = forwards + trainer.accumulate
        trainer.optimizer.advance()
        if self.held is None:
            self.held, self.sums = _held(trainer), [metric.sums_in_place() for metric in trainer.metrics]

    def look_ahead(self) -> None:
        """Compute the next epoch's rates, as far as they are known, while the device is busy."""
        steps = self.batches // self.trainer.accumulate
        self.coming = self._known(steps), self.trainer.optimizer.ahead(steps)

    def close(self) -> None:
        """Let go of the recording and its memory."""
        self.replay = None

    def _step(self) -> None:
        # What is recorded. Everything it reads and writes stays where it is for as long as the recording lives.
        accumulate = self.trainer.accumulate
        assert self.losses is not None
        assert self.rates is not None
        rates = gather(self.rates, self.position)
        for i in range(accumulate):
            value = self.work.learn(self.supply.take(i), 1.0 / accumulate)
            append_(self.losses, self.position, value)
        self.work.update(rates[0, :])

    def _refresh(self) -> None:
        # A recording has taken the settings for fixed, and the arrays that it was made with.
        setting, held = _setting(self.trainer), _held(self.trainer)
        same = self.held is None or (len(held) == len(self.held) and not any(map(is_not, held, self.held)))
        if setting != self.setting or not same:
            self.setting, self.replay, self.rates, self.sums, self.held = setting, None, None, [], None

    def _tabulate(self, place: int, batches: int) -> None:
        # A row for each batch, of which a step reads that of its first.
        trainer, backend = self.trainer, self.trainer.net.backend
        steps, coming = batches // trainer.accumulate, self.coming
        known = coming is not None and coming[0] == self._known(steps)
        table = coming[1] if coming is not None and known else trainer.optimizer.ahead(steps)
        rows = np.asarray(table).repeat(trainer.accumulate, axis=0)
        self._refresh()
        if self.rates is None:
            self.rates = backend.asarray(np.zeros((self.batches, rows.shape[1])), trainer.net.dtype)
        self.rates[place : place + batches, :] = backend.asarray(rows, trainer.net.dtype)

    def _known(self, steps: int) -> tuple[Any, ...]:
        # What the rates of so many coming steps follow from.
        optimizer = self.trainer.optimizer
        schedules = [(schedule, schedule.state_dict()) for schedule in optimizer.schedules]
        return steps, optimizer.steps, schedules, json.dumps(optimizer.config())


def _held(trainer: "Trainer") -> list[Any]:
    # What a recorded step reads and writes, and would go on with were there others in its place.
    stored = [stored for _, stored in trainer.net.named_stored()]
    packs = [one.pack if isinstance(one, Parameter) else one.data for one in stored]
    return [*packs, *trainer.optimizer.state_arrays(), trainer.net.shared._tick]


def _setting(trainer: "Trainer") -> tuple[Any, ...]:
    try:
        net = json.dumps(trainer.net.config())
    except ConfigError:  # a layer that cannot be described is one whose settings cannot be compared
        net = ""
    optimizer = {name: value for name, value in trainer.optimizer.config().items() if name != "lr"}
    changes = [parameter.pack and parameter.pack.changes for parameter in trainer.net.parameters()]
    precision, clips = trainer.net.backend.matmul, (trainer.clip_norm, trainer.clip_value)
    return net, json.dumps(optimizer), repr(trainer.loss.config()), precision, clips, changes
