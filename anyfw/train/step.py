"""What one step of training does with the device: nothing here reads from it, and nothing counts."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from anyfw.core.arrays import Array
from anyfw.optim import clip_norm_, clip_value_
from anyfw.train.feed import Batch

if TYPE_CHECKING:
    from anyfw.train.trainer import Trainer


class Step:
    """A step of a trainer, in its parts: `learn` for each batch of it, then `update`."""

    def __init__(self, trainer: "Trainer") -> None:
        self.trainer = trainer
        self.parameters = trainer.parameters

    def learn(self, batch: Batch, share: float, look: Callable[[Array], None] | None = None) -> Array:
        """Forward, loss, backward, metrics; returns the loss, 0-d.

        Args:
            batch: inputs, targets, and weights of rows if there are any.
            share: of the step's rows, by which a mean's gradient counts.
            look: shown the loss before backward.
        """
        trainer = self.trainer
        x, *rest = batch
        y = trainer.net.forward(x, train=True)
        value, dy = trainer.loss(y, *rest)
        if look is not None:
            look(value)
        if share != 1.0 and trainer.loss.reduction != "sum":
            dy *= share
        trainer.net.accumulate(dy)
        for metric in trainer.metrics:
            metric.update(y, *rest)
        return value

    def update(self, rates: Array | None = None) -> None:
        """Clip, update, forget the gradients.

        Args:
            rates: the optimizer's, a row of `Optimizer.ahead` on the device; None is a step that the optimizer counts.
        """
        trainer = self.trainer
        if trainer.clip_value is not None:
            clip_value_(self.parameters, trainer.clip_value)
        if trainer.clip_norm is not None:
            clip_norm_(self.parameters, trainer.clip_norm)
        if rates is None:
            trainer.optimizer.step()
        else:
            trainer.optimizer.apply(rates)
        for parameter in self.parameters:
            parameter.zero_grad()
