"""The lesson's own framework: what a learner writes there, under the learner's names, on any backend.

    net = Net()
    net.add(Linear(2, 10)); net.add(Tanh()); net.add(Linear(10, 2)); net.add(Softmax())
    loss = CrossEntropyLoss()

    p = net.forward(x)          # probabilities, (rows, classes)
    l = loss.forward(p, y)      # one number
    dp = loss.backward(l)       # dl/dp of this forward
    net.backward(dp)            # writes dW and db of every Linear
    net.update(0.1)             # W -= 0.1 dW, b -= 0.1 db

**Where it computes.** Each layer, net and loss computes on the backend that was the default when it was made
(ANYFW_BACKEND or `use_backend`), in float64 where the device has it. NumPy arrays and lists may go in anywhere, and
NumPy comes back; arrays of the backend give arrays of the backend. `W`, `b`, `dW`, `db` are always arrays of the
backend: with the numpy backend, NumPy arrays. `lin.W = v` copies NumPy or backend values in; `lin.W -= v` and
`lin.W[...] = v` take what the backend's own arrays take.

**What a forward keeps.** Only what the backward of the latest one needs: backward belongs to the last forward, and
may be repeated. A backward overwrites `dW` and `db`; nothing accumulates.

**Weights** are drawn when first used, as normal numbers / sqrt(nin): in a net by (seed, position in the net), alone
by (seed, shape). The same code gives the same weights, also twice in one process.
"""

import math
from typing import Any

import numpy as np

from anyfw.core.arrays import Array
from anyfw.core.backend import use_backend
from anyfw.core.errors import ConfigError, DataError, PlacementError, ShapeError
from anyfw.lesson.layers import Linear, Net, ReLU, Sigmoid, Softmax, Tanh
from anyfw.lesson.losses import (
    AbsoluteLoss,
    CrossEntropyLoss,
    LogisticLoss,
    Loss,
    SquaredLoss,
    ZeroOneLoss,
)

__all__ = [
    "AbsoluteLoss",
    "CrossEntropyLoss",
    "Linear",
    "LogisticLoss",
    "Net",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "SquaredLoss",
    "Tanh",
    "ZeroOneLoss",
    "get_loss_acc",
    "train_epoch",
]


def train_epoch(net: Net, x: Any, y: Any, loss: Any = None, batch_size: int = 4, lr: float = 0.1) -> None:
    """Go once through the rows in their order: forward, loss, backward and update for each batch.

    x and y are checked and moved to the device once; the loop stays there. The last batch may be smaller.

    Args:
        net: what is trained.
        x: features, (rows, nin).
        y: what the loss expects, (rows, ...).
        loss: CrossEntropyLoss() by default; one of your own has `forward(p, y)` and `backward(l)`.
        batch_size: rows, at least 1.
        lr: the learning rate.

    Raises:
        ConfigError: a batch size below 1, a negative learning rate.
        DataError: no rows, NaN or infinity, x and y of different lengths, labels out of range; nothing was updated.
    """
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ConfigError(f"train_epoch: expected a batch size of at least 1, got {batch_size}.")
    if not (math.isfinite(lr) and lr >= 0.0):
        raise ConfigError(f"train_epoch: expected a learning rate of 0 or more, got {lr}.")
    loss, x, y = _moved(net, x, y, loss, "train_epoch")
    for start in range(0, x.shape[0], batch_size):
        stop = min(start + batch_size, x.shape[0])
        p, batch_y = net.forward(x[start:stop, ...]), y[start:stop, ...]
        if isinstance(loss, Loss):
            if start == 0:
                loss.check(p, y, rows=x.shape[0])
            # Checked once for all batches: a check waits for the device.
            value = loss.compute(p, batch_y)
        else:
            value = loss.forward(p, batch_y)
        net.backward(loss.backward(value))
        net.update(lr)


def get_loss_acc(net: Net, x: Any, y: Any, loss: Any = None) -> tuple[float, float | None]:
    """(loss, accuracy) of the net on all rows; accuracy is None for a regression, which has none.

    Accuracy is the share of rows whose largest output is at the label, for LogisticLoss that of rows whose output
    is positive just where the label is 1.

    Raises:
        DataError: as `train_epoch`.
    """
    loss, x, y = _moved(net, x, y, loss, "get_loss_acc")
    p = net.forward(x)
    value = loss.forward(p, y)
    value = float(net.backend.to_numpy(value) if net.backend.owns(value) else value)
    if isinstance(loss, Loss):
        return value, loss.accuracy(p, y)
    # A loss of one's own: labels are whole numbers, one for each row of more than one output.
    labels, outputs = net.backend.to_numpy(y), net.backend.to_numpy(p)
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or outputs.ndim != 2 or outputs.shape[1] < 2:
        return value, None
    return value, float((outputs.argmax(axis=1) == labels).mean())


def _moved(net: Net, x: Any, y: Any, loss: Any, who: str) -> tuple[Any, Array, Array]:
    if loss is None:
        with use_backend(net.backend):
            loss = CrossEntropyLoss()
    if isinstance(loss, Loss) and loss.backend is not net.backend:
        raise PlacementError(
            f"{who}: the net is on {net.backend.spec}, the loss on {loss.backend.spec}. Make both within the same "
            "use_backend(...)."
        )
    x, y = net.take(x, "x")[0], net.take_target(y)
    if x.ndim < 2:
        raise ShapeError(
            f"{who}: expected x of shape (rows, features), got {tuple(x.shape)}. Use x.reshape(-1, 1) for one feature."
        )
    rows = (x.shape[0], y.shape[0] if y.ndim else 0)
    if 0 in rows or rows[0] != rows[1]:
        raise DataError(f"{who}: expected as many rows in x as in y, and at least one, got {rows[0]} and {rows[1]}.")
    xp = net.backend.xp
    if not bool(xp.all(xp.isfinite(x))):
        raise DataError(f"{who}: x holds NaN or infinity. Remove or replace those values first.")
    return loss, x, y
