"""What scikit-learn's solvers do between steps, as callbacks of a `Trainer`: the penalty, rates, when to stop."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.arrays import Array
from anyfw.core.layer import Layer
from anyfw.core.parameter import to_host
from anyfw.data import Batches
from anyfw.ops.update import square_sum
from anyfw.optim.spans import Span, find_spans
from anyfw.train import Callback

if TYPE_CHECKING:
    from anyfw.train import Trainer

# Below this rate, "adaptive" stops where it would divide once more.
_SMALLEST_RATE = 1e-6


class Objective(Callback):
    """The epoch's loss as scikit-learn reports it: the mean over batches by their weight, not by their rows.

    Args:
        weights: of the training rows; None counts each as 1.
        batches: which rows form which batch.
    """

    def __init__(self, weights: NDArray[Any] | None, batches: Batches) -> None:
        self.weights, self.batches = weights, batches
        self.sums: list[float] = []

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Find what each batch weighs."""
        if self.weights is not None:
            self.sums = [float(self.weights[rows].sum()) for rows in self.batches.epoch(trainer.epoch)]
        elif not self.sums:
            full, rest = divmod(self.batches.source_len, self.batches.batch_size)
            self.sums = [float(self.batches.batch_size)] * full + [float(rest)] * bool(rest)
            del self.sums[len(self.batches) :]

    def on_epoch_end(self, trainer: "Trainer", row: dict[str, Any]) -> None:
        """Put the objective in the place of the mean over batches."""
        losses = to_host(trainer.batch_losses)[: len(self.sums)].astype(np.float64)
        row["loss"] = (float(losses @ self.sums) + self.penalty()) / sum(self.sums)

    def penalty(self) -> float:
        """What is added to the sum of all rows' losses."""
        return 0.0


class Penalised(Objective):
    """With L2, divided by the weight of each batch.

    The gradient is the optimizer's weight decay; the value is taken before each step, on the device, and read once.

    Args:
        alpha: the factor of half the squared weights; biases and norms are exempt.
        weights, batches: as for `Objective`.
    """

    def __init__(self, alpha: float, weights: NDArray[Any] | None, batches: Batches) -> None:
        super().__init__(weights, batches)
        self.alpha = alpha
        # Without weights only a last, smaller batch has another penalty, and that is never recorded.
        self.passive = weights is None
        self._decays: list[float] = []
        self._coming: Iterator[float] = iter(())
        self._squares: list[Array] = []
        self._spans: list[Span] = []

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Set the penalty of the first batch."""
        super().on_epoch_start(trainer)
        if self.weights is not None or not self._decays:
            # Equal sums have the same float, by which the optimizer sees that nothing has changed.
            decays = {total: self.alpha / total for total in self.sums}
            self._decays = [decays[total] for total in self.sums]
        self._spans = self._spans or find_spans(trainer.parameters, lambda p: (p.trainable and p.decay) or None)
        self._coming = iter(self._decays)
        self._squares = []
        self.on_step(trainer)

    def on_step(self, trainer: "Trainer") -> None:
        """Set the penalty of the next batch."""
        for decay in self._coming:
            trainer.optimizer.groups[0]["weight_decay"] = decay
            self._squares += [square_sum(span.data) for span in self._spans]
            break

    def penalty(self) -> float:
        """Half of alpha times the squared weights before each step."""
        return 0.5 * self.alpha * float(to_host(sum(self._squares, start=0.0)))


class Convergence(Callback):
    """Stop where a number has not improved by `tol` for more than `patience` epochs; keep the best weights.

    Any improvement moves the best value; only one by `tol` starts patience anew.

    Args:
        monitor: the number's name in the history.
        higher: whether more is better.
        tol: what counts.
        patience: epochs, or infinity.
        keep_best: remember the weights of the best epoch, and put them back at the end.
        rate: what happens to the learning rate.
        report: told in words why training ends; None where nobody wants to know.
        best: the value to beat, and how many epochs have not: of an earlier fit that this one goes on from.
    """

    def __init__(
        self,
        monitor: str,
        higher: bool,
        tol: float,
        patience: float,
        *,
        keep_best: bool,
        rate: "Rate",
        report: Callable[[str], None] | None = None,
        best: tuple[float, int] | None = None,
    ) -> None:
        self.monitor, self.sign, self.tol, self.patience = monitor, 1.0 if higher else -1.0, tol, patience
        self.keep_best, self.rate, self.report = keep_best, rate, report
        self.best, self.waited = best or (-self.sign * math.inf, 0)
        self._carried = best is not None
        self._net: Layer | None = None
        self._state: dict[str, NDArray[Any]] | None = None

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Where there is a value to beat, the present weights are those to go back to."""
        self._net = trainer.net
        if self.keep_best and self._carried:
            self._state = trainer.net.state_dict()

    def on_epoch_end(self, trainer: "Trainer", row: dict[str, Any]) -> None:
        """Compare; move the rate; stop."""
        value = row[self.monitor]
        gain = self.sign * (value - self.best)
        # Not "gain < tol": a number that is not one improves nothing.
        short = not (gain >= self.tol)
        self.waited = self.waited + 1 if short else 0
        if gain > 0:
            self.best = value
            if self.keep_best:
                self._state = trainer.net.state_dict()
        self.rate.epoch_ended(trainer)
        if self.waited <= self.patience:
            return
        told = f"{self.monitor} did not improve by more than {self.tol:g} for {self.patience:g} epochs in a row."
        if self.rate.lower(trainer):
            self.waited = 0
            self._tell(f"{told} The learning rate is now {self.rate.now:g}.")
            return
        self._tell(f"{told} Stopped.")
        trainer.stop()

    def on_fit_end(self, trainer: "Trainer") -> None:  # noqa: ARG002
        """Put the best weights back."""
        self.close()

    def close(self) -> None:
        """The same where the fit was interrupted."""
        if self._state is not None and self._net is not None:
            self._net.load_state_dict(self._state)
            self._state = None

    def _tell(self, text: str) -> None:
        if self.report is not None:
            self.report(text)


class Rate:
    """The learning rate of plain gradient descent between epochs, by scikit-learn's names.

    Args:
        kind: "constant", "invscaling" (start / (seen + 1)^power_t) or "adaptive" (a fifth each time patience ends).
        now: the present rate.
        start: the first rate.
        power_t: see there.
        weight: what the rows of an epoch weigh.
        seen: the weight of all rows before.
    """

    def __init__(self, kind: str, now: float, start: float, power_t: float, weight: float, seen: float) -> None:
        self.kind, self.now, self.start, self.power_t = kind, now, start, power_t
        self.weight, self.seen = weight, seen

    def epoch_ended(self, trainer: "Trainer") -> None:
        """Scale inversely, where that is asked for."""
        self.seen += self.weight
        if self.kind == "invscaling":
            self._set(trainer, self.start / (self.seen + 1.0) ** self.power_t)

    def lower(self, trainer: "Trainer") -> bool:
        """Divide by 5; False where the rate is not adaptive, or too low already."""
        if self.kind != "adaptive" or self.now <= _SMALLEST_RATE:
            return False
        self._set(trainer, self.now / 5.0)
        return True

    def _set(self, trainer: "Trainer", rate: float) -> None:
        # scikit-learn's momentum is a sum of steps, ours of gradients, which the rate multiplies: past steps stay.
        for buffer in trainer.optimizer.state_vectors():
            buffer *= self.now / rate
        trainer.optimizer.lr = self.now = rate


class PrintEpochs(Callback):
    """Prints each epoch's numbers, as scikit-learn's `verbose` does."""

    def on_epoch_end(self, trainer: "Trainer", row: dict[str, Any]) -> None:
        """One line on standard output."""
        others = [f"{name} = {value:.6f}" for name, value in row.items() if _told(name, value)]
        print(", ".join([f"Iteration {trainer.epoch}, loss = {row['loss']:.8f}", *others]))  # noqa: T201


def _told(name: str, value: object) -> bool:
    return isinstance(value, float) and name not in ("loss", "lr", "seconds")
