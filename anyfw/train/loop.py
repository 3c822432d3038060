"""One call of `fit` in progress: epochs, steps, and what is read from the device at the end of each epoch."""

import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anyfw.core import transfers
from anyfw.core.errors import ConfigError, NonFiniteError, OutOfMemoryError, OutputError, RecordingError
from anyfw.data import Batches
from anyfw.train.callbacks import Callback, Row
from anyfw.train.feed import Feed, Indices
from anyfw.train.interrupt import Interrupt
from anyfw.train.measuring import check_finite, measure
from anyfw.train.memory import out_of_memory
from anyfw.train.recording import recorded_steps
from anyfw.train.replay import Snapshot, explain
from anyfw.train.step import Step

if TYPE_CHECKING:
    from anyfw.train.trainer import Trainer

_UNLIMITED = 2**62
_log = logging.getLogger("anyfw")


@dataclass
class Plan:
    """What one call of `fit` is to do, and how far it is: what a checkpoint must know to go on.

    Attributes:
        first_epoch, last_epoch: the epochs it trains are first_epoch + 1 ... last_epoch.
        batch_size: rows of a batch.
        rows: rows of the training data.
        drop_last: whether a last, smaller batch is left out.
        valid: whether validation rows are measured.
        batch: batches done in the present epoch.
        stopping: whether it ends after the present epoch.
        finished: whether the fit has ended.
        ordered: whether the caller gives each epoch's order.
    """

    first_epoch: int
    last_epoch: int
    batch_size: int
    rows: int
    drop_last: bool = False
    valid: bool = False
    batch: int = 0
    stopping: bool = False
    finished: bool = False
    ordered: bool = False


class Loop:
    """The loop of one fit.

    Args:
        trainer: whose net is trained; the loop moves its counters and its history.
        plan: what is to be done.
        feed: the training rows.
        batches: which rows form which batch.
        measured: the validation rows and their number, if any.
        listeners: callbacks, in their order.

    Raises:
        ConfigError: a cap of the environment that is no whole number.
    """

    def __init__(
        self,
        trainer: "Trainer",
        plan: Plan,
        feed: Feed,
        batches: Batches,
        measured: tuple[Feed, int] | None,
        listeners: Sequence[Callback],
    ) -> None:
        self.trainer, self.plan = trainer, plan
        self.feed, self.batches, self.measured = feed, batches, measured
        self.listeners = listeners
        self.step_listeners = [one for one in listeners if type(one).on_step is not Callback.on_step]
        self.work = Step(trainer)
        self.snapshot: Snapshot | None = None
        self.policy = transfers.policy()
        self.coming: tuple[int, list[NDArray[np.int64]]] | None = None
        self.last_epoch = min(plan.last_epoch, plan.first_epoch + _cap("ANYFW_MAX_EPOCHS"))
        self.last_step = trainer.step + _cap("ANYFW_MAX_STEPS")
        self.recorded = recorded_steps(
            trainer,
            feed,
            plan.batch_size,
            plan.rows // plan.batch_size,
            self.last_epoch - trainer.epoch,
            watched=any(not one.passive for one in self.step_listeners),
        )

    def run(self) -> None:
        """Train to the plan's end, a cap of the environment, `Trainer.stop`, Ctrl-C or an error."""
        trainer = self.trainer
        with Interrupt() as interrupt, self.policy:
            try:
                if any(layer._draws for _, layer in trainer.net.named_layers()):
                    trainer.net.shared.tick  # noqa: B018 - brings it to the device
                for listener in self.listeners:
                    listener.on_fit_start(trainer)
                while self._goes_on():
                    try:
                        self._epoch(interrupt)
                    except NonFiniteError as error:
                        order = self.batches.epoch(trainer.epoch)
                        told = explain(error, self.snapshot, self.feed, order, interrupt)
                        if told is None:
                            raise
                        raise NonFiniteError(f"{error.what} {told}", error.batch) from None
                    except (OutputError, OutOfMemoryError) as error:
                        raise type(error)(f"{error}{trainer.folder.way_back() if trainer.folder else ''}") from error
                    if interrupt.requested:
                        self._interrupted()
                for listener in self.listeners:
                    listener.on_fit_end(trainer)
                check_finite(trainer)
            finally:
                trainer.net.zero_grad()
                if self.recorded is not None:
                    self.recorded.close()
                if trainer.folder is not None:
                    trainer.folder.wait()
                for listener in self.listeners:
                    listener.close()

    def _goes_on(self) -> bool:
        trainer, plan = self.trainer, self.plan
        # An epoch that was interrupted in its middle is finished, also where it is the last one.
        stopped = plan.stopping and plan.batch == 0
        return trainer.epoch < self.last_epoch and trainer.step < self.last_step and not stopped

    def _epoch(self, interrupt: Interrupt) -> None:
        trainer, plan = self.trainer, self.plan
        started = time.perf_counter()
        order = self._order(trainer.epoch)
        if plan.batch == 0:
            trainer.batch_losses = trainer.net.backend.asarray(np.zeros(len(order)), trainer.net.dtype)
            for metric in trainer.metrics:
                metric.reset()
        for listener in self.listeners:
            listener.on_epoch_start(trainer)
        self.snapshot = Snapshot.of(trainer)
        pending = order[plan.batch :][: (self.last_step - trainer.step) * trainer.accumulate]
        for _ in self._steps(pending):
            for listener in self.step_listeners:
                listener.on_step(trainer)
            if interrupt.requested:
                self._interrupted()
            if trainer.folder is not None and plan.batch < len(order) and trainer.checkpointing.due(trainer.step):
                check_finite(trainer)
                trainer.folder.checkpoint(trainer)
        if self.recorded is not None and trainer.epoch + 1 < self.last_epoch:
            # While the device still works on what it was given.
            self.coming = trainer.epoch + 1, self.batches.epoch(trainer.epoch + 1)
            with suppress(RecordingError):  # it is told when the epoch begins
                self.recorded.look_ahead()
        self._end_epoch([len(rows) for rows in order[: plan.batch]], started)

    def _order(self, epoch: int) -> list[NDArray[np.int64]]:
        found, self.coming = self.coming, None
        return found[1] if found is not None and found[0] == epoch else self.batches.epoch(epoch)

    def _steps(self, pending: Indices) -> Iterator[None]:
        # Does the step of each of these batches, or of so many as make one, when it is asked for. The host only gives
        # orders here: it reads nothing from the device.
        trainer, plan = self.trainer, self.plan
        try:
            before = plan.batch
            yield from self._recorded_steps(pending)
            rest, losses = pending[plan.batch - before :], trainer.batch_losses
            moved = self.feed.batches(rest)
            assert losses is not None
            learn, update = transfers.marked(self.work.learn), transfers.marked(self.work.update)
            accumulate = trainer.accumulate
            for start in range(0, len(rest), accumulate):
                rows = sum(map(len, rest[start : start + accumulate])) if accumulate > 1 else None
                for indices in rest[start : start + accumulate]:
                    losses[plan.batch] = learn(next(moved), 1.0 if rows is None else len(indices) / rows)
                    plan.batch += 1
                update()
                trainer.step += 1
                yield
        except MemoryError as error:
            raise out_of_memory(trainer, self.feed) from error

    def _recorded_steps(self, pending: Indices) -> Iterator[None]:
        # As many of them as can be recorded; the others are left.
        trainer = self.trainer
        if self.recorded is None:
            return
        try:
            batches = self.recorded.begin(pending)
        except RecordingError as error:
            self._record_no_more(error)
            return
        step = transfers.marked(self.recorded.step)
        for _ in range(0, batches, trainer.accumulate):
            try:
                step()
            except RecordingError as error:
                self._record_no_more(error)
                return
            self.plan.batch += trainer.accumulate
            trainer.step += 1
            yield

    def _record_no_more(self, why: RecordingError) -> None:
        _log.warning("Steps are not recorded: %s. They run one order after the other, with the same result.", why)
        assert self.recorded is not None
        self.recorded.close()
        self.recorded = None

    def _end_epoch(self, sizes: Sequence[int], started: float) -> None:
        trainer = self.trainer
        losses, rows = check_finite(trainer), np.asarray(sizes, dtype=np.float64)
        summed = trainer.loss.reduction == "sum"
        row: Row = {"loss": float(losses.sum() if summed else (losses * rows).sum() / rows.sum())}
        row.update((metric.name, metric.compute()) for metric in trainer.metrics)
        if self.measured is not None:
            found = measure(trainer.net, trainer.loss, trainer.metrics, *self.measured)
            if not math.isfinite(found["loss"]):
                self.snapshot = None  # there is nothing to be found in the training steps
                raise NonFiniteError(
                    f"The loss of the validation rows became {found['loss']} in epoch {trainer.epoch + 1}, although "
                    "the weights, and the loss of the training rows, are finite."
                )
            row.update((f"valid_{name}", value) for name, value in found.items())
        row["lr"] = trainer.optimizer.schedules[0](trainer.optimizer.steps - 1)
        row["seconds"] = time.perf_counter() - started
        trainer.epoch, self.plan.batch = trainer.epoch + 1, 0
        for listener in self.listeners:
            listener.on_epoch_end(trainer, row)
        trainer.history.append(row)
        self._watch(row)
        if trainer.folder is not None:
            trainer.folder.write_history(trainer)
            if trainer.checkpointing.due_at_epoch(trainer.step):
                trainer.folder.checkpoint(trainer)

    def _watch(self, row: Row) -> None:
        # The schedule that waits for a plateau, the best weights, early stopping.
        trainer, stopping = self.trainer, self.trainer.early_stopping
        trainer.optimizer.report(row["loss" if self.measured is None else "valid_loss"])
        if stopping is None and self.measured is None:
            return
        monitor = trainer.best.monitor
        if not isinstance(row.get(monitor), float):
            numbers = ", ".join(name for name, value in row.items() if isinstance(value, float))
            raise ConfigError(f"early_stopping monitors {monitor!r}; numbers that are measured: {numbers}.")
        if trainer.best.improved(row[monitor], trainer.epoch, self._mode(monitor)):
            trainer.best_state = trainer.net.state_dict()
        if stopping is not None and stopping.exhausted(trainer.epoch, self.plan.first_epoch):
            trainer.stop()

    def _mode(self, monitor: str) -> str:
        trainer = self.trainer
        if trainer.best.mode != "auto":
            return trainer.best.mode
        better = {metric.name: metric.higher_is_better for metric in trainer.metrics}
        return "max" if better.get(monitor.removeprefix("valid_"), False) else "min"

    def _interrupted(self) -> None:
        trainer, hint = self.trainer, ""
        if trainer.folder is not None:
            check_finite(trainer)
            trainer.folder.checkpoint(trainer)
            hint = trainer.folder.way_back()
        raise KeyboardInterrupt(f"Stopped after {trainer.step} steps; the net holds the last state.{hint}")


def _cap(variable: str) -> int:
    value = os.environ.get(variable, "").strip()
    if not value:
        return _UNLIMITED
    if not value.isdigit() or int(value) < 1:
        raise ConfigError(f"{variable}: expected a whole number of at least 1, got {value!r}.")
    return int(value)
