"""`Trainer`: the loop. Data moves to the device once, the step never waits for it, the host reads at epoch ends."""

import copy
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from anyfw.core.arrays import Array
from anyfw.core.backend import Backend, get_backend
from anyfw.core.errors import ConfigError, DataError
from anyfw.core.layer import Layer
from anyfw.core.parameter import Buffer
from anyfw.data import Arrays, Batches, Source, as_source
from anyfw.data.base import host_array
from anyfw.losses import Loss
from anyfw.metrics import Metric, resolve
from anyfw.optim import Optimizer, Schedule
from anyfw.train.callbacks import Callback, EarlyStopping, progress_callbacks
from anyfw.train.feed import Feed, make_feed
from anyfw.train.history import History
from anyfw.train.lint import check_batches, check_output_layer, look_at_data, look_at_net
from anyfw.train.loop import Loop, Plan
from anyfw.train.measuring import EVALUATION_BATCH, finite_losses, measure
from anyfw.train.run_folder import Checkpointing, RunFolder

_log = logging.getLogger("anyfw")


class Trainer:
    """Train a net.

    Args:
        net: the layer to train; drawn with `seed` if it has no values yet.
        loss: the loss; a Softmax before a CrossEntropyLoss is refused.
        optimizer: made from `net.parameters()`.
        backend: where to train; None leaves a net that was moved where it is, else the default backend.
        dtype: "float32" or "float64"; None is what the net has, float32 at first.
        metrics: names or `Metric`s, measured on the training batches and on validation rows.
        callbacks: in the order in which they run.
        seed: of initial weights, batch order and dropout.
        clip_norm, clip_value: clip gradients by their global norm, and by value.
        accumulate: batches whose gradients make one step, weighted by their rows.
        out: the run's folder; without it nothing is written.
        checkpoint_every: "epoch", "500steps", "5min", or None.
        keep: how many checkpoints stay.
        early_stopping: patience in epochs, or an `EarlyStopping`.
        progress: None is a bar on a terminal and nothing elsewhere; True, "bar" or "lines" always show something.
        on_device: True, False, or "auto": keep the data on the device if it fits.
        graph: record a step once and replay it, on a device that can (CUDA): "auto" where it pays, True wherever it is
            possible, with a warning that says why where it is not, or False. The results are the same, unless layers,
            losses, metrics or optimizers of your own keep account in Python; "auto" asks them (`recordable`).
        lint: warn of what is only likely to be a mistake, in the net and in its data.

    Attributes:
        epoch: epochs done.
        step: optimiser steps done.
        history: what was measured, by epoch.
        rows: of the present fit, those to learn from and those to validate on, for callbacks; None outside of one.
        parameters, buffers: the net's.

    Raises:
        ConfigError: a setting out of range, or a net that does not suit the loss.
    """

    def __init__(
        self,
        net: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        backend: str | Backend | None = None,
        dtype: str | None = None,
        metrics: Sequence[str | Metric] = (),
        callbacks: Sequence[Callback] = (),
        seed: int = 0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        out: str | PathLike[str] | None = None,
        checkpoint_every: str | None = "epoch",
        keep: int = 2,
        early_stopping: int | EarlyStopping | None = None,
        progress: bool | str | None = None,
        on_device: bool | str = "auto",
        graph: bool | str = "auto",
        lint: bool = True,
    ) -> None:
        if isinstance(early_stopping, bool):
            raise ConfigError("Trainer: early_stopping takes a patience in epochs, or an EarlyStopping.")
        for name, count in (("accumulate", accumulate), ("keep", keep)):
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
                raise ConfigError(f"Trainer: expected {name} as a whole number of at least 1, got {count!r}.")
        for name, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if limit is not None and not limit > 0:
                raise ConfigError(f"Trainer: expected {name} above 0, got {limit!r}.")
        check_output_layer(net, loss)
        if not set(net.parameters()).issuperset(optimizer.parameters):
            raise ConfigError("Trainer: the optimizer has parameters of another net. Make it from net.parameters().")
        if lint:
            look_at_net(net, loss, optimizer)
        self.net, self.loss, self.optimizer = net, loss, optimizer
        # Once: to go through the tree at each epoch costs as much as a step of a small net.
        self.parameters = tuple(net.parameters())
        self.buffers = tuple(stored for _, stored in net.named_stored() if isinstance(stored, Buffer))
        self.metrics = [resolve(metric) for metric in metrics]
        self.callbacks = list(callbacks)
        if not isinstance(graph, bool) and not (isinstance(graph, str) and graph == "auto"):
            raise ConfigError(f"Trainer: expected graph as True, False or 'auto', got {graph!r}.")
        self.seed, self.accumulate, self.on_device, self.graph = seed, int(accumulate), on_device, graph
        self.clip_norm, self.clip_value = clip_norm, clip_value
        # A copy: what it remembers of this run is nothing to another trainer that is given the same one.
        stopping = EarlyStopping(early_stopping) if isinstance(early_stopping, int) else copy.copy(early_stopping)
        self.early_stopping = stopping
        self.best = self.early_stopping or EarlyStopping()  # without early stopping: what the best weights are
        self.best_state: dict[str, NDArray[np.generic]] | None = None
        self.checkpointing = Checkpointing.parse(checkpoint_every)
        self.folder = None if out is None else RunFolder(Path(out), keep)
        self.note: dict[str, Any] = {}
        self.epoch = self.step = 0
        self.history = History()
        self.rows: tuple[Source, Source | None] | None = None
        self._progress = progress_callbacks(progress)
        self._told: set[Any] = set()
        self._looked = not lint
        self.plan: Plan | None = None
        self.batch_losses: Array | None = None
        net.draw(seed)
        net.to(backend, dtype)

    @classmethod
    def resume(
        cls,
        path: str | PathLike[str],
        *,
        layers: Sequence[type[Layer]] = (),
        losses: Sequence[type[Loss]] = (),
        metrics: Sequence[type[Metric]] = (),
        optimizers: Sequence[type[Optimizer]] = (),
        schedules: Sequence[type[Schedule]] = (),
        callbacks: Sequence[Callback] = (),
        backend: str | Backend | None = None,
        progress: bool | str | None = None,
    ) -> Self:
        """The trainer as its latest checkpoint left it; `.fit(data)` without `epochs` finishes the interrupted fit.

        Args:
            path: a run's folder, or one checkpoint.
            layers, losses, metrics, optimizers, schedules: classes of your own that occur in it.
            callbacks: as they were given; their state is loaded in order, and what is left over is said.
            backend: where to go on; None is the default backend.
            progress: as for `Trainer`.

        Raises:
            MissingFileError: no checkpoint there.
            FileFormatError: no checkpoint there that can be read.
        """
        from anyfw.train.checkpoint import restore

        own = {"layers": layers, "losses": losses, "metrics": metrics, "optimizers": optimizers, "schedules": schedules}
        return restore(cls, path, own, callbacks, get_backend(backend), progress)

    # Training

    def fit(
        self,
        train: Source | tuple[Any, ...],
        valid: Source | tuple[Any, ...] | None = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        drop_last: bool = False,
        order: Callable[[int], NDArray[np.int64]] | None = None,
    ) -> History:
        """Train that many further epochs, or, after `resume` and without `epochs`, finish the interrupted fit.

        Args:
            train: a `Source`, or host arrays (x, y) or (x, y, sample_weight).
            valid: the same, measured after each epoch.
            epochs: further epochs, at least 1.
            batch_size: rows of a batch, 32 if not given.
            drop_last: leave out an epoch's last batch where it is smaller than the others.
            order: a function of an epoch's number, from 0, that gives the order of the rows; None is one by `seed`.

        Raises:
            ConfigError, DataError, ShapeError: settings or data that cannot be trained on; nothing was changed.
            NonFiniteError: the loss became NaN or infinite; names epoch and batch.
        """
        source = as_source(train)
        valid_source = None if valid is None else as_source(valid)
        plan = self._planned(
            source, epochs, batch_size, drop_last=drop_last, ordered=order is not None, valid=valid is not None
        )
        if self.early_stopping is not None and self.early_stopping.monitor.startswith("valid_") and valid is None:
            raise ConfigError(f"early_stopping monitors {self.early_stopping.monitor!r}: give fit(..., valid=...).")
        if isinstance(source, Arrays) and source.arrays[0].ndim == 2:
            check_batches(self.net, plan.rows, plan.batch_size, drop_last=plan.drop_last)
        feed = self._check(source, training=True)
        measured = None if valid_source is None else (self._check(valid_source, training=False), len(valid_source))
        batches = Batches(plan.rows, plan.batch_size, self.seed, drop_last=plan.drop_last, order=order)
        loop = Loop(self, plan, feed, batches, measured, [*self.callbacks, *self._progress])
        self.plan, self.rows = plan, (source, valid_source)
        if epochs is not None:
            self._bind_schedule(len(batches))
        try:
            if self.folder is not None:
                self.folder.claim(self)
            loop.run()
            plan.finished = True
            if self.early_stopping is not None and self.best_state is not None:
                self.net.load_state_dict(self.best_state)
            if self.folder is not None:
                self.folder.finish(self)
        finally:
            self.rows = None
            if self.folder is not None:
                self.folder.release()
        return self.history

    def stop(self) -> None:
        """End the fit after the present epoch; for callbacks."""
        if self.plan is not None:
            self.plan.stopping = True

    def _planned(
        self, source: Source, epochs: int | None, batch_size: int | None, *, drop_last: bool, ordered: bool, valid: bool
    ) -> Plan:
        left = self.plan if self.plan is not None and not self.plan.finished else None
        if epochs is None:
            if left is None:
                raise ConfigError("fit: expected epochs of at least 1, got none, and no interrupted fit to finish.")
            if len(source) != left.rows or batch_size not in (None, left.batch_size):
                raise DataError(
                    f"fit: the interrupted fit had {left.rows} rows in batches of {left.batch_size}, got {len(source)} "
                    f"rows and batch_size {batch_size}. Give the same data, or epochs= to start another fit."
                )
            if valid != left.valid:
                had = "had validation rows" if left.valid else "had no validation rows"
                raise DataError(f"fit: the interrupted fit {had}. Give the same, or epochs= to start another fit.")
            if ordered != left.ordered:
                had = "an order of its own" if left.ordered else "no order of its own"
                raise DataError(f"fit: the interrupted fit had {had}. Give the same, or epochs= to start another fit.")
            return left
        if not isinstance(epochs, int) or epochs < 1:
            raise ConfigError(f"fit: expected epochs of at least 1, got {epochs!r}.")
        size = 32 if batch_size is None else batch_size
        if not isinstance(size, int) or size < 1:
            raise ConfigError(f"fit: expected batch_size of at least 1, got {size!r}.")
        return Plan(self.epoch, self.epoch + epochs, size, len(source), drop_last, valid, ordered=ordered)

    def _check(self, source: Source, *, training: bool) -> Feed:
        """Run two rows through the net and look at all targets, so that errors come first; then take the data."""
        net, loss = self.net, self.loss
        columns = source.arrays if isinstance(source, Arrays) else source[np.arange(min(2, len(source)))]
        self._tell_cast(columns[0])
        y = net.forward(net.backend.asarray(columns[0][:2], net.dtype))
        shape = tuple(y.shape[1:])
        loss.check(shape, *columns[1:], training=training and isinstance(source, Arrays))
        if training and loss.wants_balance:
            if not isinstance(source, Arrays):
                raise DataError("weight='balanced' counts labels beforehand: give arrays, or the weights themselves.")
            loss.balance(columns[1], shape[-1])
        labels = loss.takes_labels(shape, columns[1])
        if training and not self._looked:
            self._looked = True
            look_at_data(net, columns[0], columns[1], shape, labels=labels and isinstance(source, Arrays))
        check = partial(loss.check, shape, training=False)
        return make_feed(source, net.backend, net.dtype, labels=labels, check=check, on_device=self.on_device)

    def _tell_cast(self, x: NDArray[Any]) -> None:
        if x.dtype == np.float64 and self.net.dtype == "float32" and np.abs(x).max() > np.finfo(np.float32).max:
            raise DataError("x: numbers beyond the range of float32. Scale them, or train with dtype='float64'.")
        if x.dtype.name != self.net.dtype and x.dtype not in self._told:
            self._told.add(x.dtype)
            _log.info("x: %s is cast to %s once, on its way to the device", x.dtype, self.net.dtype)

    def _bind_schedule(self, batches: int) -> None:
        # What a schedule leaves open (the length of a cycle, the steps of an epoch) is this fit's.
        epoch_steps = math.ceil(batches / self.accumulate)
        assert self.plan is not None
        epochs = self.plan.last_epoch - self.plan.first_epoch
        self.optimizer.bind(total_steps=epoch_steps * epochs, epoch_steps=epoch_steps)

    # What callbacks may read

    @property
    def last_epoch(self) -> int:
        """The epoch at which the present fit ends."""
        return self.plan.last_epoch if self.plan else self.epoch

    @property
    def step_in_epoch(self) -> int:
        """Batches done in the present epoch."""
        return self.plan.batch if self.plan else 0

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        plan = self.plan
        return len(Batches(plan.rows, plan.batch_size, self.seed, drop_last=plan.drop_last)) if plan else 0

    def running_loss(self) -> float:
        """The mean loss of the present epoch's batches so far; waits for the device.

        Raises:
            NonFiniteError: one of them is not finite.
        """
        losses = finite_losses(self, self.step_in_epoch)
        return float(losses.mean()) if len(losses) else math.nan

    # Measuring and using the net

    def evaluate(self, data: Source | tuple[Any, ...]) -> dict[str, Any]:
        """The loss and the metrics over all rows: {"loss": ..., "accuracy": ...}; the loss is the exact mean.

        Raises:
            DataError, ShapeError: data that do not fit the net.
        """
        source = as_source(data)
        return measure(self.net, self.loss, self.metrics, self._check(source, training=False), len(source))

    def predict(
        self, x: Any, kind: Literal["output", "label", "probability"] = "output", *, batch_size: int = EVALUATION_BATCH
    ) -> NDArray[Any]:
        """The net's outputs for host rows, or what the loss says they mean, as a NumPy array.

        Args:
            x: shape (rows, ...).
            kind: "output" as it is, "probability" of each class, "label" the likeliest class.
            batch_size: rows at a time.

        Raises:
            ConfigError: another kind, a regression asked for labels, or a batch_size below 1.
            DataError, ShapeError: rows that do not fit the net.
        """
        meaning = {"output": lambda y: y, "label": self.loss.labels, "probability": self.loss.probabilities}
        if kind not in meaning:
            raise ConfigError(f"predict: expected kind 'output', 'label' or 'probability', got {kind!r}.")
        if batch_size < 1:
            raise ConfigError(f"predict: expected batch_size of at least 1, got {batch_size!r}.")
        rows = host_array("x", x)
        backend, dtype = self.net.backend, self.net.dtype
        parts = []
        for start in range(0, len(rows), batch_size):
            y = self.net.forward(backend.asarray(rows[start : start + batch_size], dtype))
            parts.append(np.array(backend.to_numpy(meaning[kind](y))))
        return np.concatenate(parts)

    # For checkpoints

    def counters(self) -> dict[str, Any]:
        """JSON-able: where training is."""
        return {"epoch": self.epoch, "step": self.step, "fit": None if self.plan is None else asdict(self.plan)}

    def take_counters(self, counters: dict[str, Any], batch_losses: Array | None) -> None:
        """Go to where a checkpoint was written."""
        self.epoch, self.step, self.batch_losses = counters["epoch"], counters["step"], batch_losses
        self.plan = None if counters["fit"] is None else Plan(**counters["fit"])
