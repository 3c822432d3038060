"""What is read from the device: measures of whole data sets, and whether an epoch's numbers are finite."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import NonFiniteError
from anyfw.core.layer import Layer
from anyfw.core.parameter import to_host
from anyfw.data import Batches
from anyfw.losses import Loss
from anyfw.metrics import Metric
from anyfw.ops.update import square_sum
from anyfw.train.feed import Feed

if TYPE_CHECKING:
    from anyfw.train.trainer import Trainer

EVALUATION_BATCH = 1024  # rows at a time where nothing is learnt
_MEND = "Lower the learning rate, scale the inputs (nn.Rescale), or clip the gradients (clip_norm)."


def measure(net: Layer, loss: Loss, metrics: Sequence[Metric], feed: Feed, rows: int) -> dict[str, Any]:
    """The loss, exact over all rows, and the metrics; the device is read once, at the end."""
    metrics = [copy.deepcopy(metric) for metric in metrics]
    for metric in metrics:
        metric.reset()
    total, weight = 0.0, 0.0
    for x, *rest in feed.batches(Batches(rows, EVALUATION_BATCH, 0, shuffle=False).epoch(0)):
        y = net.forward(x)
        value, share = loss.totals(y, *rest)
        total, weight = total + value, weight + share
        for metric in metrics:
            metric.update(y, *rest)
    summed = float(to_host(total))
    result: dict[str, Any] = {"loss": summed if loss.reduction == "sum" else summed / float(to_host(weight))}
    result.update((metric.name, metric.compute()) for metric in metrics)
    return result


def check_finite(trainer: "Trainer") -> NDArray[np.float64]:
    """The present epoch's losses, once they and the weights after the latest step are known to be finite.

    Raises:
        NonFiniteError: they are not.
    """
    losses = finite_losses(trainer, trainer.step_in_epoch)
    for pack in {parameter.pack for parameter in trainer.parameters if parameter.pack is not None}:
        xp = pack.backend.xp
        # The sum of squares shows a NaN or an infinity in a fraction of the time; one that overflows proves nothing.
        with np.errstate(all="ignore"):
            finite = np.isfinite(to_host(square_sum(pack.data)))
        if not finite and not bool(xp.all(xp.isfinite(pack.data))):
            raise NonFiniteError(
                f"The weights became NaN or infinite in epoch {trainer.epoch + 1}, at the latest in batch "
                f"{trainer.step_in_epoch}.",
                advice=_MEND,
            )
    return losses


def finite_losses(trainer: "Trainer", batches: int) -> NDArray[np.float64]:
    """The present epoch's losses by batch, shape (batches,); waits for the device.

    Raises:
        NonFiniteError: one is NaN or infinite.
    """
    if trainer.batch_losses is None:
        return np.zeros(0)
    losses = to_host(trainer.batch_losses)[:batches].astype(np.float64)
    if not np.isfinite(losses).all():
        batch = int(np.argmin(np.isfinite(losses)))
        raise NonFiniteError(
            f"The loss became {losses[batch]} in epoch {trainer.epoch + 1}, batch {batch + 1}.", batch, _MEND
        )
    return losses
