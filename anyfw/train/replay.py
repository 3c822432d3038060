"""What went wrong first: an epoch whose loss or weights became NaN or infinite is gone through again, with eyes open.

Training looks at its numbers once an epoch, when all of them are spoilt. The state at the epoch's start is kept, as
long as it is small; from there the same rows and the same dropout give the same numbers again, up to the step that
failed, which is then watched layer by layer.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.arrays import Array, is_floating, namespace, nbytes
from anyfw.core.errors import NonFiniteError
from anyfw.core.hooks import Method, watched
from anyfw.core.layer import Layer
from anyfw.core.parameter import Pack, Parameter, to_host
from anyfw.train.feed import Feed, Indices
from anyfw.train.interrupt import Interrupt
from anyfw.train.lint import size_at_first_weights
from anyfw.train.step import Step

if TYPE_CHECKING:
    from anyfw.train.trainer import Trainer

_log = logging.getLogger("anyfw")

# Bytes of weights and optimizer state beyond which no copy is kept.
_LARGEST = 64 * 2**20
# Steps that are watched before the one whose loss failed: the weights may have failed by the one before.
_BEFORE = 1
_NAMED = 8
# Inputs and growth of the loss that are worth a word.
_LARGE_INPUT, _GROWTH = 100.0, 10.0


class Snapshot:
    """A trainer's state at the start of an epoch, in memory; None from `of` where it is too large to keep twice."""

    def __init__(self, trainer: "Trainer", arrays: Sequence[Array]) -> None:
        self.trainer = trainer
        self.copies = [(x, x + 0) for x in arrays]
        optimizer = trainer.optimizer
        self.schedules = [(schedule, schedule.state_dict()) for schedule in optimizer.schedules]
        self.callbacks = [(callback, callback.state_dict()) for callback in trainer.callbacks]
        self.steps, self.forwards, self.step = optimizer.steps, trainer.net.shared.forwards, trainer.step

    @classmethod
    def of(cls, trainer: "Trainer") -> "Snapshot | None":
        """One of now, if it is small."""
        trainer.optimizer.prepare()
        arrays = _arrays(trainer)
        small = sum(map(nbytes, arrays)) <= _LARGEST
        return cls(trainer, arrays) if small and trainer.step_in_epoch == 0 else None

    def restore(self) -> bool:
        """Go back; False where what was kept is no longer what the trainer has."""
        trainer, optimizer, now = self.trainer, self.trainer.optimizer, _arrays(self.trainer)
        if len(now) != len(self.copies) or any(a is not b for a, (b, _) in zip(now, self.copies, strict=True)):
            return False
        for x, copy in self.copies:
            x[...] = copy
        optimizer.go_back(optimizer.steps - self.steps)
        for schedule, state in self.schedules:
            schedule.load_state_dict(state)
        for callback, state in self.callbacks:
            callback.load_state_dict(state)
        trainer.net.zero_grad()
        trainer.net.shared.rewind(self.forwards)
        trainer.step = self.step
        if trainer.plan is not None:
            trainer.plan.batch = 0
        return True


def explain(
    error: NonFiniteError, snapshot: Snapshot | None, feed: Feed, order: Indices, interrupt: Interrupt
) -> str | None:
    """What went wrong first, the rows of that batch, and what it may come from; None where it cannot be told.

    Afterwards the net holds the weights of the epoch's start, and callbacks their state of then.

    Args:
        error: what the loop has found.
        snapshot: of the epoch's start.
        feed: the training rows.
        order: the rows of each batch of the epoch.
        interrupt: ends the replay when it is requested.
    """
    if snapshot is None:
        return None
    trainer = snapshot.trainer
    last = trainer.step_in_epoch - 1 if error.batch is None else error.batch
    seen = to_host(trainer.batch_losses)[: last + 1]
    if last < 0 or not snapshot.restore():
        return None
    _log.info("the loss or the weights became NaN: looking for the first that did")
    with np.errstate(all="ignore"):
        found = _first_wrong(trainer, feed, order, seen, interrupt)
    snapshot.restore()
    return f"{found} The net holds the weights from before this epoch."


class _Wrong(Exception):  # noqa: N818 - ends the replay
    # The place of its batch within the step: the last one's, where the step itself was wrong.
    batch = -1


class _Different(Exception):  # noqa: N818 - so does this
    pass


def _first_wrong(trainer: "Trainer", feed: Feed, order: Indices, seen: NDArray[Any], interrupt: Interrupt) -> str:
    accumulate, work = trainer.accumulate, Step(trainer)
    losses: list[float] = []
    before = _weights(trainer)
    for start in range(0, len(seen), accumulate):
        if interrupt.requested:
            return "The replay was interrupted."
        rows = order[start : start + accumulate]
        looking = start + accumulate * (1 + _BEFORE) >= len(seen)
        try:
            with watched(_layers(trainer.net) if looking else [], _WATCH):
                _step(work, feed, rows, losses, seen, looking)
        except _Wrong as wrong:
            batch = rows[wrong.batch]
            return f"{wrong} {_rows(batch)}{_causes(trainer, feed, batch, losses, before)}"
        except _Different:
            break
    return (
        "A replay gave other numbers: settings were changed in mid-epoch, or the source gives other rows when it is "
        "asked again."
    )


def _step(work: Step, feed: Feed, rows: Indices, losses: list[float], seen: NDArray[Any], looking: bool) -> None:
    trainer, total = work.trainer, sum(map(len, rows))

    def look(value: Array) -> None:
        loss = float(to_host(value))
        if len(losses) < len(seen) and not np.isclose(loss, seen[len(losses)], rtol=1e-3, equal_nan=True):
            raise _Different
        if not np.isfinite(loss):
            raise _Wrong(f"First wrong: the loss itself, {loss}, of outputs that are finite.")
        losses.append(loss)

    for i, (indices, batch) in enumerate(zip(rows, feed.batches(rows), strict=True)):
        try:
            if looking and (bad := _bad(batch[0])) is not None:
                row = indices[int(np.argmin(np.isfinite(to_host(batch[0])).reshape(len(indices), -1).all(axis=1)))]
                raise _Wrong(f"First wrong: row {row} of the inputs, {bad.partition(' ')[0]}.")
            work.learn(batch, len(indices) / total, look)
        except _Wrong as wrong:
            wrong.batch = i
            raise
    work.update()
    if looking:
        for name, parameter in trainer.net.named_parameters():
            if (bad := _bad(parameter.data)) is not None:
                rate = trainer.optimizer.schedules[0](trainer.optimizer.steps - 1)
                raise _Wrong(f"First wrong: the weights '{name}', {bad}, by the step itself (learning rate {rate:g}).")


def _forward(layer: Layer, method: Method) -> Method:
    def call(x: Array, /, *, train: bool = False) -> Array:
        y = method(x, train=train)
        if (bad := _bad(y)) is not None:
            raise _Wrong(f"First wrong: the output of {layer.who}, {bad}; its input is {_range(x)}.")
        return y

    return call


def _backward(layer: Layer, method: Method) -> Method:
    def call(dy: Array, /) -> Array | None:
        if (bad := _bad(dy)) is not None:
            raise _Wrong(f"First wrong: the gradient by the output of {layer.who}, {bad}.")
        dx = method(dy)
        for name, value in vars(layer).items():
            if isinstance(value, Parameter) and value.trainable and (bad := _bad(value.grad)) is not None:
                raise _Wrong(f"First wrong: the gradient of the {name} of {layer.who}, {bad}; dy reaches {_reach(dy)}.")
        if dx is not None and (bad := _bad(dx)) is not None:
            raise _Wrong(f"First wrong: the gradient by the input of {layer.who}, {bad}; dy reaches {_reach(dy)}.")
        return dx

    return call


_WATCH = {"forward": _forward, "backward": _backward, "accumulate": _backward}


def _bad(x: Array) -> str | None:
    # The first number that is not finite, and where.
    if not is_floating(x):
        return None
    xp = namespace(x)
    if bool(xp.all(xp.isfinite(x))):
        return None
    host = to_host(x)
    place = np.unravel_index(int(np.argmin(np.isfinite(host))), host.shape)
    return f"{host[place]} at {tuple(map(int, place))}"


def _reach(x: Array) -> str:
    return f"{float(np.abs(to_host(x)).max(initial=0.0)):.3g}" if is_floating(x) else "no fractions"


def _range(x: Array) -> str:
    host = to_host(x)
    return (
        f"from {host.min(initial=np.inf):.3g} to {host.max(initial=-np.inf):.3g}" if is_floating(x) else "whole numbers"
    )


def _rows(batch: NDArray[np.int64]) -> str:
    more = f", ... {len(batch)} in all" if len(batch) > _NAMED else ""
    return f"Its batch has the rows {', '.join(map(str, batch[:_NAMED].tolist()))}{more}."


def _causes(trainer: "Trainer", feed: Feed, batch: NDArray[np.int64], losses: Sequence[float], before: float) -> str:
    found = []
    x = to_host(next(feed.batches([batch]))[0])
    size = size_at_first_weights(trainer.net, x)
    if size is not None and not size <= _LARGE_INPUT:
        found.append(f"inputs reach {float(np.abs(x).max(initial=0.0)):.3g} and are not scaled (nn.Rescale)")
    rate = trainer.optimizer.schedules[0](max(trainer.optimizer.steps - 1, 0))
    low, now = min(losses, default=0.0), _weights(trainer)
    grown = ""
    if losses and losses[-1] > _GROWTH * max(abs(low), 1e-3):
        grown = f"the loss grew from {low:.3g} to {losses[-1]:.3g} before"
    elif not now <= _GROWTH * max(before, 1.0):
        grown = f"the weights grew from {before:.3g} to {now:.3g} at most"
    if grown:
        found.append(f"{grown}: a learning rate of {rate:g} is too high")
    return f" Likely: {'; '.join(found)}." if found else ""


def _weights(trainer: "Trainer") -> float:
    # The largest of them.
    return max((float(np.abs(to_host(p.data)).max(initial=0.0)) for p in trainer.net.parameters()), default=0.0)


def _layers(net: Layer) -> list[Layer]:
    return [layer for _, layer in net.named_layers() if not any(True for _ in layer.children())]


def _arrays(trainer: "Trainer") -> list[Array]:
    packs: dict[Pack, None] = dict.fromkeys(p.pack for p in trainer.parameters if p.pack is not None)
    buffers = [stored.data for stored in trainer.buffers]
    return [*(pack.data for pack in packs), *buffers, *trainer.optimizer.state_vectors()]
