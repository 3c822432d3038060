"""`Classifier` and `Regressor`: what targets are, and what outputs mean."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from anyfw.core.errors import ConfigError, DataError
from anyfw.interop.sklearn.base import Estimator, all_or_nothing
from anyfw.interop.sklearn.losses import LogisticLoss, SoftmaxLoss, SquaredError, SubsetAccuracy
from anyfw.interop.sklearn.rows import like, to_host
from anyfw.interop.sklearn.targets import Classes
from anyfw.losses import BCELoss, Loss
from anyfw.metrics import R2, Accuracy, Metric
from anyfw.ops.softmax import log_softmax


def has_epochs(estimator: Any) -> bool:
    """Whether the solver goes by epochs, so that there can be one more.

    Raises:
        AttributeError: it does not.
    """
    if getattr(estimator, "solver", None) == "lbfgs":
        raise AttributeError("partial_fit is only available for solvers with epochs; 'lbfgs' has none.")
    return True


class Classifier(ClassifierMixin, Estimator):
    """An estimator of classes: two, many, or several labels for each row."""

    _numeric_targets = False
    class_weight: Any

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Learn from rows.

        Args:
            X: shape (rows, features), dense or sparse; what is not float32 becomes float64.
            y: shape (rows,), labels of any kind; or (rows, labels), 0 and 1, where a row has several.
            sample_weight: shape (rows,), at least 0. A weight of 2 is the row twice, one of 0 the row left out.
            validation_data: (X, y) or (X, y, sample_weight), measured after each epoch; with early_stopping they take
                the place of rows held out. Classes weigh nothing here, as in `score`.

        Returns:
            The estimator itself.

        Raises:
            ValueError: data that cannot be learnt from, or hyperparameters out of range.
            NonFiniteError: the loss became NaN or infinite.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def predict(self, X: Any) -> Any:
        """The likeliest class of each row; of several labels, 1 for those likelier than not.

        Shapes:
            X: (rows, features); returns (rows,) or (rows, labels).
        """
        labels, own = self._outputs(X, "predict", "labels")
        return like(self._classes.decode(labels), own)

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, by the order of `classes_`; of several labels, that of each.

        Shapes:
            X: (rows, features); returns (rows, classes).
        """
        probabilities, own = self._outputs(X, "predict_proba", "probabilities")
        return like(self._classes.distribution(probabilities), own)

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithm of `predict_proba`, exact also where the probability itself would be 0.

        Shapes:
            X: (rows, features); returns (rows, classes).
        """
        check_is_fitted(self)
        loss = self._make_loss(self.n_outputs_)
        if isinstance(loss, SoftmaxLoss):
            found, own = self._outputs(X, "predict_log_proba", lambda y: log_softmax(y, -1))
        elif isinstance(loss, LogisticLoss):
            y, own = self._outputs(X, "predict_log_proba")
            likely = -np.logaddexp(0.0, -y)
            found = likely if self._classes.several else np.concatenate([-np.logaddexp(0.0, y), likely], axis=1)
        else:
            y, own = self._outputs(X, "predict_log_proba", "probabilities")
            with np.errstate(divide="ignore"):
                found = np.log(self._classes.distribution(y))
        return like(found, own)

    @available_if(has_epochs)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Learn for one epoch from these rows, and go on from there at the next call.

        After `fit` it goes on where that ended, with its optimizer's state; settings that changed since take effect.
        With shuffle each epoch shuffles the order of the one before, so that calls on the same rows are the epochs of
        one fit; scikit-learn's start each call from the rows as they are given, and from random_state anew.

        Args:
            X, y, sample_weight: as for `fit`; y need not hold all classes.
            classes: all classes there will be; needed at the first call. Of several labels a row, y tells how many.

        Returns:
            The estimator itself.
        """
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise ConfigError(
                "partial_fit: class_weight='balanced' needs all rows to count, and sees only some. Give a dict of "
                "weights by class: sklearn.utils.compute_class_weight('balanced', classes=classes, y=y) on all y."
            )
        if not self.__sklearn_is_fitted__():
            if classes is None:
                raise ConfigError("classes must be passed on the first call to partial_fit.")
            given = Classes(self._all_classes(to_host(y), to_host(classes)))
            with all_or_nothing(self):
                self._take_classes(given)
                return self._fit(X, y, sample_weight, None, incremental=True)
        elif classes is not None and not np.array_equal(np.unique(to_host(classes)), self.classes_):
            raise ConfigError(f"partial_fit: expected classes as at the first call, {self.classes_}, got {classes}.")
        return self._fit(X, y, sample_weight, None, incremental=True)

    @staticmethod
    def _all_classes(y: Any, classes: Any) -> Any:
        # Rows with several labels name no classes: their columns are.
        return y if getattr(y, "ndim", 1) == 2 and y.shape[1] > 1 else np.unique(classes)

    def _outputs_needed(self) -> int:
        return self._classes.outputs

    def _learn_targets(self, y: Any) -> None:
        self._take_classes(Classes(y))

    def _take_classes(self, classes: Classes) -> None:
        self._classes, self.classes_ = classes, classes.values

    def _same_targets(self, y: Any, *, incremental: bool) -> None:
        if incremental or self._classes.several:
            return
        found = np.unique(y)
        if not np.array_equal(found, self.classes_):
            raise DataError(
                "warm_start can only be used where y has the same classes as in the previous call to fit: expected "
                f"{self.classes_}, got {found}."
            )

    def _numbers(self, y: Any) -> NDArray[Any]:
        return self._classes.numbers(y)

    def _encoded(self, numbers: NDArray[Any], width: int, dtype: str) -> NDArray[Any]:
        expected = {self._classes.outputs, len(self._classes.values)}
        if width not in expected:
            raise ConfigError(f"net: expected {' or '.join(map(str, sorted(expected)))} outputs, got {width}.")
        return self._classes.encode(numbers, width, dtype)

    def _row_weights(self, numbers: NDArray[Any], weight: NDArray[Any] | None) -> NDArray[Any] | None:
        return self._classes.weights(self.class_weight, numbers, weight)

    def _labels(self, numbers: NDArray[Any]) -> NDArray[Any] | None:
        return None if self._classes.several else numbers

    def _default_loss(self, width: int) -> Loss:
        return LogisticLoss() if self._classes.several or width == 1 else SoftmaxLoss()

    def _score_metric(self, loss: Loss) -> Metric:
        threshold = 0.5 if isinstance(loss, BCELoss) else 0.0
        return SubsetAccuracy(threshold) if self._classes.several else Accuracy(threshold)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class Regressor(RegressorMixin, Estimator):
    """An estimator of numbers, one or several for each row."""

    _numeric_targets = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Learn from rows.

        Args:
            X: shape (rows, features), dense or sparse; what is not float32 becomes float64.
            y: shape (rows,) or (rows, outputs), numbers.
            sample_weight: shape (rows,), at least 0. A weight of 2 is the row twice, one of 0 the row left out.
            validation_data: (X, y) or (X, y, sample_weight), measured after each epoch; with early_stopping they take
                the place of rows held out.

        Returns:
            The estimator itself.

        Raises:
            ValueError: data that cannot be learnt from, or hyperparameters out of range.
            NonFiniteError: the loss became NaN or infinite.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    @available_if(has_epochs)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn for one epoch from these rows, and go on from there at the next call.

        After `fit` it goes on where that ended, with its optimizer's state; settings that changed since take effect.
        With shuffle each epoch shuffles the order of the one before, so that calls on the same rows are the epochs of
        one fit; scikit-learn's start each call from the rows as they are given, and from random_state anew.

        Args:
            X, y, sample_weight: as for `fit`.

        Returns:
            The estimator itself.
        """
        return self._fit(X, y, sample_weight, None, incremental=True)

    def predict(self, X: Any) -> Any:
        """What is predicted for each row.

        Shapes:
            X: (rows, features); returns (rows,), or (rows, outputs) where there were several.
        """
        found, own = self._outputs(X, "predict", self._meaning())
        return like(found[:, 0] if found.shape[1] == 1 else found, own)

    def _meaning(self) -> Any:
        # Of outputs that are not yet what is predicted.
        return None

    def _outputs_needed(self) -> int:
        return int(self._columns)

    def _default_loss(self, width: int) -> Loss:  # noqa: ARG002
        return SquaredError()

    def _learn_targets(self, y: Any) -> None:
        self._columns = 1 if y.ndim == 1 else y.shape[1]

    def _same_targets(self, y: Any, *, incremental: bool) -> None:  # noqa: ARG002
        columns = 1 if y.ndim == 1 else y.shape[1]
        if columns != self._columns:
            raise DataError(f"y: expected {self._columns} columns as before, got {columns}.")

    def _numbers(self, y: Any) -> NDArray[Any]:
        numbers: NDArray[Any] = column_or_1d(y)[:, None] if y.ndim == 1 else y
        return numbers

    def _encoded(self, numbers: NDArray[Any], width: int, dtype: str) -> NDArray[Any]:
        if width != numbers.shape[1]:
            raise ConfigError(f"net: expected {numbers.shape[1]} outputs, got {width}.")
        return numbers.astype(dtype, copy=False)

    def _score_metric(self, loss: Loss) -> Metric:  # noqa: ARG002
        return R2()
