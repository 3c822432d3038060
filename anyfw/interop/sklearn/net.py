"""`NetClassifier` and `NetRegressor`: any net of the user's as an estimator of scikit-learn's."""

from typing import Any

from anyfw.interop.sklearn.given import NetEstimator
from anyfw.interop.sklearn.settings import keep
from anyfw.interop.sklearn.tasks import Classifier, Regressor


class NetClassifier(NetEstimator, Classifier):
    """A net of yours for two classes, many, or several labels for each row.

    It has one output for each class, or for two classes one alone, and no softmax or sigmoid at its end where `loss`
    takes logits. All else is as for `MLPClassifier`: the dtype, weights of rows, sparse X, pickles, Array API.

    Args:
        net: a `Layer`, which stays as it is: a copy is trained. Values that were assigned or loaded are where a fit
            starts; all others, also those that a `Trainer` has learnt, are drawn by random_state: to go on from these,
            `net.load_state_dict(net.state_dict())` first. Or a function of (features, outputs) that makes one.
        loss: an `anyfw.losses.Loss`; None is the cross-entropy of a softmax, or of a logistic output where
            there is one, or where rows have several labels.
        optimizer: "adam", "adamw", "sgd", "rmsprop" or "adagrad", with anyfw's defaults; or a function of (parameters,
            lr=, ...) that makes an `anyfw.optim.Optimizer`.
        optimizer_params: a dict of its further settings, such as {"momentum": 0.9}.
        learning_rate_init: the learning rate, above 0, or an `anyfw.optim.Schedule`.
        alpha: half of it times the squared weights, divided by the sum of the batch's sample weights, is added to the
            loss (see `Layer.no_decay` for what is exempt). For "adamw" each step takes alpha times the learning rate
            off each weight instead.
        batch_size: rows of a step; "auto" is min(200, rows).
        max_iter: the most epochs.
        shuffle: whether each epoch has an order of its own.
        random_state: a whole number gives the same initial weights, order, dropout and rows held out each time; None
            does not; a `numpy.random.RandomState` is drawn from, so that each fit has others.
        tol: what counts as an improvement of the loss, or with early_stopping of what is monitored.
        verbose: print the numbers of each epoch, and log what is likely to be a mistake.
        warm_start: `fit` goes on from the weights of the previous fit, with a new optimizer; a changed net is refused.
        early_stopping: hold out validation_fraction of the rows (stratified by class), stop where the monitored number
            has not improved by tol for n_iter_no_change epochs, and go back to the best weights.
        validation_fraction: the share that is held out, between 0 and 1.
        n_iter_no_change: the epochs without an improvement by tol that are borne; the next one ends training.
        class_weight: by which a row's weight is multiplied: a dict from classes to numbers, 1 for those left out;
            "balanced", rows / (classes * rows of the class), counted by weight; or None. Validation
            rows count without it, as in `score`. Not for several labels a row; "balanced" not in `partial_fit`.
        metrics: names (see `anyfw.metrics`) or `Metric`s, measured on training batches and on validation rows after
            each epoch; see `history_`.
        monitor: with early_stopping, the number that is watched: "valid_loss", or "valid_" and the name of one of
            metrics. None is "valid_accuracy", what `score` measures.
        callbacks: `anyfw.train.Callback`s.
        layers: classes of your own that occur in the net, by which a pickle rebuilds it.
        backend: where to compute: "numpy", "cupy", "torch:cuda", ... None is where X is, for arrays of other libraries
            with scikit-learn's `array_api_dispatch`; else anyfw's default.

    Attributes:
        classes_: the classes, sorted; of several labels, their column numbers.
        n_iter_: epochs of the latest fit.
        t_: rows that were learnt from, each time counted.
        loss_: the objective of the latest epoch: the loss, by weight, and the penalty.
        loss_curve_: that of each epoch.
        best_loss_: the least of them; None with early_stopping.
        validation_scores_: with early_stopping, what was monitored, by epoch; else None.
        best_validation_score_: the best of them; else None.
        history_: all that was measured, by name, one number for each epoch: "loss", "lr", "seconds", the metrics, and
            "valid_loss", "valid_accuracy", ... where there were validation rows.
        net_: the net that was trained.
        n_outputs_: the width of its outputs.
        n_features_in_: the features of X.
        feature_names_in_: their names, where X had names.

    Raises:
        ConfigError: in `fit`, a hyperparameter out of range, or a net of other outputs.
        UnknownNameError: in `fit`, a layer of your own that `layers` does not name.

    >>> import numpy as np
    >>> from anyfw import nn
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    >>> net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    >>> model = NetClassifier(net, learning_rate_init=0.05, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95, model.net_ is net
    (True, False)
    """

    def __init__(
        self,
        net: Any,
        *,
        loss: Any = None,
        optimizer: Any = "adam",
        optimizer_params: Any = None,
        learning_rate_init: Any = 0.001,
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: float = 10,
        class_weight: Any = None,
        metrics: Any = (),
        monitor: str | None = None,
        callbacks: Any = (),
        layers: Any = (),
        backend: Any = None,
    ) -> None:
        keep(self, locals())


class NetRegressor(NetEstimator, Regressor):
    """A net of yours for one number or several for each row.

    It has one output for each. All else is as for `MLPRegressor`: the dtype, weights of rows, sparse X, pickles, Array
    API.

    Args:
        net: a `Layer`, which stays as it is: a copy is trained. Values that were assigned or loaded are where a fit
            starts; all others, also those that a `Trainer` has learnt, are drawn by random_state: to go on from these,
            `net.load_state_dict(net.state_dict())` first. Or a function of (features, outputs) that makes one.
        loss: an `anyfw.losses.Loss`; None is half the squared error, summed over
            a row's outputs.
        optimizer: "adam", "adamw", "sgd", "rmsprop" or "adagrad", with anyfw's defaults; or a function of (parameters,
            lr=, ...) that makes an `anyfw.optim.Optimizer`.
        optimizer_params: a dict of its further settings, such as {"momentum": 0.9}.
        learning_rate_init: the learning rate, above 0, or an `anyfw.optim.Schedule`.
        alpha: half of it times the squared weights, divided by the sum of the batch's sample weights, is added to the
            loss (see `Layer.no_decay` for what is exempt). For "adamw" each step takes alpha times the learning rate
            off each weight instead.
        batch_size: rows of a step; "auto" is min(200, rows).
        max_iter: the most epochs.
        shuffle: whether each epoch has an order of its own.
        random_state: a whole number gives the same initial weights, order, dropout and rows held out each time; None
            does not; a `numpy.random.RandomState` is drawn from, so that each fit has others.
        tol: what counts as an improvement of the loss, or with early_stopping of what is monitored.
        verbose: print the numbers of each epoch, and log what is likely to be a mistake.
        warm_start: `fit` goes on from the weights of the previous fit, with a new optimizer; a changed net is refused.
        early_stopping: hold out validation_fraction of the rows, stop where the monitored number has
            not improved by tol for n_iter_no_change epochs, and go back to the best weights.
        validation_fraction: the share that is held out, between 0 and 1.
        n_iter_no_change: the epochs without an improvement by tol that are borne; the next one ends training.
        metrics: names (see `anyfw.metrics`) or `Metric`s, measured on training batches and on validation rows after
            each epoch; see `history_`.
        monitor: with early_stopping, the number that is watched: "valid_loss", or "valid_" and the name of one of
            metrics. None is "valid_r2", what `score` measures.
        callbacks: `anyfw.train.Callback`s.
        layers: classes of your own that occur in the net, by which a pickle rebuilds it.
        backend: where to compute: "numpy", "cupy", "torch:cuda", ... None is where X is, for arrays of other libraries
            with scikit-learn's `array_api_dispatch`; else anyfw's default.

    Attributes:
        n_iter_: epochs of the latest fit.
        t_: rows that were learnt from, each time counted.
        loss_: the objective of the latest epoch: the loss, by weight, and the penalty.
        loss_curve_: that of each epoch.
        best_loss_: the least of them; None with early_stopping.
        validation_scores_: with early_stopping, what was monitored, by epoch; else None.
        best_validation_score_: the best of them; else None.
        history_: all that was measured, by name, one number for each epoch: "loss", "lr", "seconds", the metrics, and
            "valid_loss", "valid_r2", ... where there were validation rows.
        net_: the net that was trained.
        n_outputs_: the width of its outputs.
        n_features_in_: the features of X.
        feature_names_in_: their names, where X had names.

    Raises:
        ConfigError: in `fit`, a hyperparameter out of range, or a net of other outputs.
        UnknownNameError: in `fit`, a layer of your own that `layers` does not name.

    >>> import numpy as np
    >>> from anyfw import nn
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> def net(features, outputs):
    ...     return nn.Sequential(nn.Linear(features, 32), nn.GELU(), nn.Linear(32, outputs))
    >>> model = NetRegressor(net, learning_rate_init=0.02, random_state=0).fit(X, np.sin(X))
    >>> model.score(X, np.sin(X)) > 0.95, model.predict(X[:3]).shape
    (True, (3, 2))
    """

    def __init__(
        self,
        net: Any,
        *,
        loss: Any = None,
        optimizer: Any = "adam",
        optimizer_params: Any = None,
        learning_rate_init: Any = 0.001,
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: float = 10,
        metrics: Any = (),
        monitor: str | None = None,
        callbacks: Any = (),
        layers: Any = (),
        backend: Any = None,
    ) -> None:
        keep(self, locals())
