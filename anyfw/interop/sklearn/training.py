"""One call of `fit` or `partial_fit`: the `Trainer`, with what scikit-learn's solvers do besides."""

import copy
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anyfw.core.backend import Backend
from anyfw.core.errors import ConfigError
from anyfw.data import Batches
from anyfw.interop.sklearn import lbfgs, optimizer_state
from anyfw.interop.sklearn.convergence import Convergence, Objective, Penalised, PrintEpochs, Rate
from anyfw.interop.sklearn.losses import SubsetAccuracy
from anyfw.interop.sklearn.model import Model
from anyfw.interop.sklearn.rows import Orders, Rows
from anyfw.interop.sklearn.settings import makings_of
from anyfw.losses import BCELoss, Loss
from anyfw.metrics import Metric, resolve
from anyfw.nn import BatchNorm1d
from anyfw.optim import Schedule
from anyfw.train import Callback, Trainer

if TYPE_CHECKING:
    from anyfw.interop.sklearn.base import Estimator


class Training:
    """Train a model by an estimator's settings.

    Args:
        settings: the estimator, which is only read.
        model: what to train.
        backend: where.
        rows: to learn from.
        valid: to measure after each epoch, or None.
        loss: of the net's outputs.

    Attributes:
        history: by name, a number for each epoch of this call; without it where the solver has none.
        epochs: done in this call.
        rows_seen: rows times epochs; 0 where the solver has none.
        best: the best value of what was monitored, over earlier calls that this one goes on from, too.
        shortfall: why the solver did not come to an end of its own; None where it did, or somebody stopped it.
    """

    def __init__(
        self, settings: "Estimator", model: Model, backend: Backend, rows: Rows, valid: Rows | None, loss: Loss
    ) -> None:
        self.settings, self.model, self.backend = settings, model, backend
        self.rows, self.valid, self.loss = rows, valid, loss
        self.history: Mapping[str, list[Any]] = {}
        self.epochs = self.rows_seen = 0
        self.shortfall: str | None = None
        self.best: float | None = None
        self.score = settings._score_metric(loss)
        self.monitor = self._monitored()

    @property
    def losses(self) -> list[float]:
        """The objective, by epoch."""
        return list(self.history.get("loss", ()))

    def run(self, *, incremental: bool) -> None:
        """Train: one epoch, or until the solver or `max_iter` ends it.

        Raises:
            NonFiniteError: loss or weights became NaN or infinite.
        """
        if getattr(self.settings, "solver", None) == "lbfgs":
            self._minimize()
        else:
            self._descend(1 if incremental else self.settings.max_iter, incremental=incremental)

    def _minimize(self) -> None:
        settings = self.settings
        if self.valid is not None:
            raise ConfigError("solver='lbfgs' has no epochs: early_stopping and validation_data need another solver.")
        net = self.model.on(self.backend)
        found = lbfgs.minimize(
            net,
            self.loss,
            self.rows,
            alpha=settings.alpha,
            tol=settings.tol,
            iterations=settings.max_iter,
            evaluations=settings.max_fun,
        )
        self.history, self.epochs = {"loss": found.losses}, found.iterations
        if not found.converged:
            self.shortfall = (
                f"L-BFGS has not converged after {found.iterations} iterations: {found.message}. Increase max_iter or "
                "max_fun, or scale the data."
            )
        self.best = min(found.losses)
        if settings.verbose:
            print(f"L-BFGS: {found.iterations} iterations, loss = {found.losses[-1]:.8f}. {found.message}")  # noqa: T201

    def _descend(self, epochs: int, *, incremental: bool) -> None:
        settings, model = self.settings, self.model
        before = model.progress
        now = self._rate(going_on=incremental)
        makings = {**makings_of(settings), "backend": self.backend}
        trainer, alpha = self._trainer(now, makings, going_on=incremental)
        monitor, best, waited = before.get("best", (None, None, None))
        rate = Rate(
            settings._rate_kind,
            now,
            settings.learning_rate_init,
            getattr(settings, "power_t", 0.5),
            self.rows.total,
            before["seen"],
        )
        convergence = Convergence(
            self.monitor,
            self._higher(),
            settings.tol,
            settings.n_iter_no_change,
            keep_best=settings.early_stopping,
            rate=rate,
            report=print if settings.verbose else None,
            best=(best, waited) if monitor == self.monitor else None,
        )
        size, drop_last = self._batch_size(), self._drops_last()
        order = model.order if incremental else None
        orders = Orders(len(self.rows), model.random if settings.shuffle else None, trainer.epoch, order)
        batches = Batches(len(self.rows), size, model.seed, drop_last=drop_last, order=orders)
        weights = self.rows.weight
        trainer.callbacks = [
            Penalised(alpha, weights, batches) if alpha else Objective(weights, batches),
            convergence,
            *settings.callbacks,
            *self._printing(),
        ]
        first, rows_before = trainer.epoch, trainer.history.epochs
        try:
            trainer.fit(
                self.rows.source,
                None if self.valid is None else self.valid.source,
                epochs=epochs,
                batch_size=size,
                drop_last=drop_last,
                order=orders,
            )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=6)
            stopped = True
        else:
            stopped = trainer.plan is not None and trainer.plan.stopping
        self.epochs = trainer.epoch - first
        if self.epochs == epochs and not stopped:
            self.shortfall = (
                f"Maximum iterations ({epochs}) reached and the optimization hasn't converged yet. Increase max_iter, "
                "scale the data, or raise learning_rate_init."
            )
        self.rows_seen = self.epochs * len(self.rows)
        self.history = {name: values[rows_before:] for name, values in trainer.history.as_dict().items()}
        self.best = convergence.best
        model.remember(trainer, rate.seen)
        model.progress.update(
            best=(self.monitor, convergence.best, convergence.waited), rate=rate.now, start=self._start(), alpha=alpha
        )
        # Together, and only now: a call that fails leaves the trainer beside the settings that it was made of.
        model.trainer, model.makings = (trainer, makings) if incremental else (None, {})
        model.optimizer_state = None if incremental else optimizer_state.saved(trainer.optimizer, trainer.net)
        model.order = orders(trainer.epoch - 1) if incremental and trainer.epoch > first else None

    def _start(self) -> float | None:
        # A schedule keeps its place itself.
        start = self.settings.learning_rate_init
        return None if isinstance(start, Schedule) else float(start)

    def _rate(self, *, going_on: bool) -> Any:
        before, start = self.model.progress, self.settings.learning_rate_init
        return before["rate"] if going_on and "start" in before and before["start"] == self._start() else start

    def _trainer(self, rate: Any, makings: dict[str, Any], *, going_on: bool) -> tuple[Trainer, float]:
        settings, model = self.settings, self.model
        net = model.on(self.backend)
        if going_on and model.trainer is not None and model.makings == makings:
            return model.trainer, model.progress["alpha"]
        optimizer, alpha = settings._make_optimizer(list(net.parameters()))
        state = model.optimizer_now() if going_on else None
        if state is not None:
            optimizer_state.load(optimizer, net, state)
            if settings._rate_kind != "constant":
                optimizer.lr = rate
        trainer = Trainer(
            net,
            self.loss,
            optimizer,
            backend=self.backend,
            dtype=model.dtype,
            metrics=self._metrics(),
            seed=model.seed,
            progress=False,
            lint=bool(settings.verbose),
        )
        trainer.take_counters({"epoch": model.progress["epochs"], "step": model.progress["steps"], "fit": None}, None)
        return trainer, alpha

    def _metrics(self) -> list[Metric]:
        own = [self._metric(metric) for metric in self.settings.metrics]
        names = [metric.name for metric in own]
        theirs = [one for one in own if one is not self.score]
        if isinstance(self.score, SubsetAccuracy) and any(type(one).__module__.startswith("anyfw.") for one in theirs):
            raise ConfigError(
                f"metrics: {names} take one class for each row, and here are several labels. Use your own."
            )
        watched = self.valid is not None and self.score.name not in names
        return [self.score, *own] if watched else own

    def _metric(self, given: str | Metric) -> Metric:
        # A name stands for what suits the loss: its outputs may be probabilities as well as logits.
        if isinstance(given, str) and given == self.score.name:
            return self.score
        metric = resolve(copy.deepcopy(given))
        if isinstance(given, str) and isinstance(self.loss, BCELoss):
            for name, value in (("threshold", 0.5), ("from_logits", False)):
                if hasattr(metric, name):
                    setattr(metric, name, value)
        return metric

    def _monitored(self) -> str:
        if not self.settings.early_stopping:
            return "loss"
        return self.settings.monitor or f"valid_{self.score.name}"

    def _higher(self) -> bool:
        by_name = {metric.name: metric.higher_is_better for metric in self._metrics()}
        name = self.monitor.removeprefix("valid_")
        if name != "loss" and by_name.get(name) is None:
            raise ConfigError(
                f"monitor: expected 'valid_loss' or 'valid_' and the name of a metric that has a better, of "
                f"{sorted(by_name)}, got {self.monitor!r}. Name it in metrics, too."
            )
        return bool(by_name.get(name, False))

    def _batch_size(self) -> int:
        size, rows = self.settings.batch_size, len(self.rows)
        if size == "auto":
            return min(200, rows)
        if size > rows:
            warnings.warn(f"batch_size {size} is larger than the {rows} rows: one batch of all.", stacklevel=7)
        return int(min(size, rows))

    def _drops_last(self) -> bool:
        # One row alone has no variance to normalise by.
        normed = any(isinstance(layer, BatchNorm1d) for _, layer in self.model.net.named_layers())
        return normed and len(self.rows) % self._batch_size() == 1

    def _printing(self) -> list[Callback]:
        return [PrintEpochs()] if self.settings.verbose else []
