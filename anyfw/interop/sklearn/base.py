"""`Estimator`: what all four share: rows in, a `Trainer`, attributes and predictions out."""

import copy
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data

from anyfw.core.backend import Backend
from anyfw.core.errors import ConfigError, DataError
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter
from anyfw.interop.sklearn import settings
from anyfw.interop.sklearn.model import Model, backend_for
from anyfw.interop.sklearn.rows import Rows, dispatched, hold_out, library_of, to_host, without_zeros
from anyfw.interop.sklearn.training import Training
from anyfw.losses import Loss
from anyfw.metrics import Metric
from anyfw.optim import Optimizer


@contextmanager
def all_or_nothing(estimator: object) -> Iterator[None]:
    """A fit that fails leaves what was fitted before: its net beside its own classes, and not beside new ones."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class Estimator(BaseEstimator, ABC):
    """The common part; a subclass names its hyperparameters in a constructor and fills in what is abstract."""

    _numeric_targets: ClassVar[bool]
    layers: Sequence[type[Layer]] = ()
    history_: dict[str, list[Any]]
    loss_curve_: list[float]
    t_: int

    # What subclasses say

    @abstractmethod
    def _make_net(self, features: int, random: np.random.RandomState, seed: int, dtype: str) -> Layer:
        """A new net, drawn."""

    @abstractmethod
    def _made_of(self, features: int) -> dict[str, Any]:
        """JSON-able: by hyperparameter, what a net of these settings would be."""

    @abstractmethod
    def _outputs_needed(self) -> int:
        """How many outputs a net that is made shall have."""

    @abstractmethod
    def _default_loss(self, width: int) -> Loss:
        """The loss of outputs so wide where none is given."""

    @abstractmethod
    def _make_loss(self, width: int) -> Loss:
        """The loss of outputs so wide."""

    @abstractmethod
    def _make_optimizer(self, parameters: Sequence[Parameter]) -> tuple[Optimizer, float]:
        """The optimizer, and the penalty that its first group is given anew for each batch."""

    @abstractmethod
    def _score_metric(self, loss: Loss) -> Metric:
        """What `score` measures, as a metric."""

    @abstractmethod
    def _learn_targets(self, y: Any) -> None:
        """Note what y's values are; y is whole."""

    @abstractmethod
    def _numbers(self, y: Any) -> NDArray[Any]:
        """The targets as numbers, one row each."""

    @abstractmethod
    def _encoded(self, numbers: NDArray[Any], width: int, dtype: str) -> NDArray[Any]:
        """The targets as the loss takes them."""

    def _row_weights(self, numbers: NDArray[Any], weight: NDArray[Any] | None) -> NDArray[Any] | None:  # noqa: ARG002
        return weight

    def _labels(self, numbers: NDArray[Any]) -> NDArray[Any] | None:  # noqa: ARG002 - of classifiers
        """By which to stratify rows that are held out."""
        return None

    # Fitting

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Sequence[Any] | None, *, incremental: bool
    ) -> Self:
        with all_or_nothing(self):
            training = self._learn(X, y, sample_weight, validation_data, incremental=incremental)
        if training.shortfall is not None and not incremental:
            warnings.warn(training.shortfall, ConvergenceWarning, stacklevel=3)
        return self

    def _learn(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Sequence[Any] | None, *, incremental: bool
    ) -> Training:
        settings.check(self)
        going_on = self.__sklearn_is_fitted__() and (incremental or self.warm_start)
        own = library_of(X)
        X, y, weight = self._checked(X, y, sample_weight, reset=not going_on)
        X, y, weight = without_zeros(X, y, weight)
        if going_on:
            self._same_targets(y, incremental=incremental)
            self._same_net(X.shape[1])
        elif not incremental or self._numeric_targets:
            self._learn_targets(y)
        numbers = self._numbers(y)
        backend = backend_for(self.backend, own)
        if not going_on:
            self._model = self._new_model(X)
        elif not incremental:
            self._model.random = check_random_state(self.random_state)
        model = self._model
        model.progress["library"] = None if own is None else own.spec
        width = self._width(model.on(backend), X)
        rows, valid = Rows(X, self._encoded(numbers, width, model.dtype), weight), None
        if validation_data is not None:
            valid = self._validation_rows(validation_data, width, model.dtype)
        elif self.early_stopping:
            if incremental:
                raise ConfigError("partial_fit does not support early_stopping=True: it sees no epochs. Use fit.")
            learnt, held = hold_out(len(rows), self.validation_fraction, model.random, self._labels(numbers))
            rows, numbers, valid = rows.taken(learnt), numbers[learnt], rows.taken(held)
        # Only now: a class weighs in what is learnt, and not in what is measured.
        rows = Rows(*without_zeros(rows.x, rows.y, self._row_weights(numbers, rows.weight)))
        if not going_on:
            self._start(model.net, rows)
        training = Training(self, model, backend, rows, valid, self._make_loss(width))
        training.run(incremental=incremental)
        self._take(training, width, going_on=going_on)
        return training

    def _new_model(self, X: Any) -> Model:
        random = check_random_state(self.random_state)
        # From a whole number a copy: what the net's random layers need must not move scikit-learn's own sequence.
        # A sequence that others share is drawn from itself: the next fit shall have another seed.
        repeated = isinstance(self.random_state, int | np.integer)
        seed = int((copy.deepcopy(random) if repeated else random).randint(np.iinfo(np.int32).max))
        model = Model(self._make_net(X.shape[1], random, seed, X.dtype.name), self.layers, random, seed)
        model.progress["made_of"] = self._made_of(X.shape[1])
        return model

    def _same_net(self, features: int) -> None:
        before = self._model.progress["made_of"]
        changed = sorted(name for name, value in self._made_of(features).items() if value != before[name])
        if changed:
            raise ConfigError(
                f"{type(self).__name__}: what was fitted goes on with the net that it has, and {', '.join(changed)} "
                "would make another one. Set it back, or fit anew with warm_start=False."
            )

    def _checked(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Any, Any, NDArray[Any] | None]:
        X, y, sample_weight = to_host(X), to_host(y), to_host(sample_weight)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            y_numeric=self._numeric_targets,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if sample_weight is None:
            return X, y, None
        if isinstance(sample_weight, Real):
            sample_weight = np.full(X.shape[0], sample_weight)
        weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
        if weight.ndim != 1:
            raise DataError(f"sample_weight: expected one number for each row, got shape {weight.shape}.")
        check_consistent_length(X, y, weight)
        return X, y, weight

    def _same_targets(self, y: Any, *, incremental: bool) -> None:
        """Refuse targets that what was fitted has no outputs for."""

    def _start(self, net: Layer, rows: Rows) -> None:
        """Set what depends on the data in a new net."""

    def _validation_rows(self, validation_data: Sequence[Any], width: int, dtype: str) -> Rows:
        if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
            raise DataError("validation_data: expected (X, y) or (X, y, sample_weight).")
        try:
            X, y, weight = self._checked(*validation_data, *[None] * (3 - len(validation_data)), reset=False)
            X, y, weight = without_zeros(X, y, weight)
            self._same_targets(y, incremental=True)
            return Rows(X, self._encoded(self._numbers(y), width, dtype), weight)
        except ValueError as error:
            raise DataError(f"validation_data: {error}") from error

    def _width(self, net: Layer, X: Any) -> int:
        first = X[:1].toarray() if hasattr(X, "toarray") else X[:1]
        shape = net.forward(net.backend.asarray(first, net.dtype)).shape
        if len(shape) != 2:
            raise ConfigError(f"net: expected outputs of shape (rows, outputs), got {tuple(shape)}.")
        return int(shape[1])

    def _take(self, training: Training, width: int, *, going_on: bool) -> None:
        history = {name: list(values) for name, values in training.history.items()}
        if going_on:
            before = self.history_
            names = dict.fromkeys([*before, *history])
            old, new = len(self.loss_curve_), len(training.losses)
            history = {name: [*before.get(name, [None] * old), *history.get(name, [None] * new)] for name in names}
        self.history_ = history
        self.n_iter_ = training.epochs
        self.loss_curve_ = [*(self.loss_curve_ if going_on else []), *training.losses]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else math.nan
        self.t_ = (self.t_ if going_on else 0) + training.rows_seen
        self.best_loss_ = None if self.early_stopping else training.best
        self.validation_scores_ = history.get(training.monitor, []) if self.early_stopping else None
        self.best_validation_score_ = training.best if self.early_stopping else None
        self.n_outputs_ = width

    def __sklearn_is_fitted__(self) -> bool:
        return "_model" in vars(self) and hasattr(self, "n_iter_")

    # Predicting

    def _outputs(self, X: Any, method: str, meaning: Any = None) -> tuple[NDArray[Any], Backend | None]:
        """What the net gives for rows, on the host, and the library of arrays that they came from.

        Args:
            X: the rows.
            method: what they were given to, for messages.
            meaning: a function of outputs on the device, or the name of one of the loss.
        """
        check_is_fitted(self)
        if isinstance(meaning, str):
            meaning = getattr(self._make_loss(self.n_outputs_), meaning)
        own = library_of(X)
        self._expect_library(own, method)
        X = validate_data(self, to_host(X), accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        return self._model.outputs(X, backend_for(self.backend, own), meaning), own

    def _expect_library(self, own: Backend | None, method: str) -> None:
        fitted, given = self._model.progress["library"], None if own is None else own.spec
        if dispatched() and fitted != given:
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace and the same device as "
                f"those passed to fit(): expected {fitted or 'numpy'}, got {given or 'numpy'}. Move them there."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        tags.target_tags.multi_output = True
        return tags
