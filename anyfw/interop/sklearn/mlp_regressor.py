"""`MLPRegressor`: a multi-layer perceptron as a regressor of scikit-learn's."""

from typing import Any

import numpy as np

from anyfw import nn
from anyfw.core.arrays import namespace
from anyfw.core.errors import UnknownNameError
from anyfw.core.layer import Layer
from anyfw.interop.sklearn.losses import PoissonLoss, SquaredError
from anyfw.interop.sklearn.perceptron import Perceptron
from anyfw.interop.sklearn.rows import Rows
from anyfw.interop.sklearn.settings import keep
from anyfw.interop.sklearn.tasks import Regressor
from anyfw.losses import Loss


class MLPRegressor(Perceptron, Regressor):
    """A multi-layer perceptron for one number or several for each row.

    scikit-learn's own of that name, with its hyperparameters, defaults and attributes; and besides more solvers and
    activations, dropout, normalization, metrics, validation data and GPUs.

    It computes in X's dtype: float32 stays, all else becomes float64. A sample weight of 2 is the same as the row
    twice, as long as all rows are in one batch. Sparse X becomes dense by the batch. What is pickled are
    hyperparameters, the net's description and NumPy arrays.

    With scikit-learn's own settings the same whole number as random_state gives the same initial weights and batches,
    with one exception: the outputs' biases start at the targets' mean, which a small learning rate would need hundreds
    of epochs to reach. Of several outputs the losses add up, in the value as in the gradient (scikit-learn's value is
    their mean).

    Args:
        loss: "squared_error", half the squared error; "poisson", half the Poisson deviance, for targets of at least 0
            and predictions above 0.
        hidden_layer_sizes: the width of each hidden layer, a whole number or a list of them; an empty one is a linear
            model.
        activation: of hidden layers: "identity", "logistic" (also "sigmoid"), "tanh", "relu", "leaky_relu", "elu",
            "selu", "gelu", "gelu_tanh", "silu" or "softplus"; or a list with one for each.
        solver: "adam", "adamw", "sgd", "rmsprop" or "adagrad", by batches; "lbfgs", SciPy's L-BFGS-B on all rows at
            once.
        alpha: half of it times the squared weights, divided by the sum of the batch's sample weights, is added to the
            loss; biases are exempt. For "adamw" each step takes alpha times the learning rate off each weight instead.
        batch_size: rows of a step; "auto" is min(200, rows).
        learning_rate: for "sgd": "constant"; "invscaling", learning_rate_init / (t + 1)^power_t after t rows, by
            weight; "adaptive", a fifth of it each time n_iter_no_change epochs brought less than tol, down to 1e-6.
            For any solver but "lbfgs": an `anyfw.optim.Schedule`.
        learning_rate_init: the (first) learning rate, above 0.
        power_t: see learning_rate.
        max_iter: the most epochs, or iterations of "lbfgs".
        shuffle: whether each epoch has an order of its own.
        random_state: a whole number gives the same initial weights, order, dropout and rows held out each time; None
            does not; a `numpy.random.RandomState` is drawn from, so that each fit has others.
        tol: what counts as an improvement of the loss, or with early_stopping of what is monitored; for "lbfgs", the
            largest element of the gradient at the end.
        verbose: print the numbers of each epoch, and log what is likely to be a mistake.
        warm_start: `fit` goes on from the weights of the previous fit, with a new optimizer; a changed net is refused.
        momentum: of "sgd", in [0, 1].
        nesterovs_momentum: take the step from where momentum leads; of "sgd", where momentum is above 0.
        early_stopping: hold out validation_fraction of the rows (stratified by class), stop where the monitored number
            has not improved by tol for n_iter_no_change epochs, and go back to the best weights.
        validation_fraction: the share that is held out, between 0 and 1.
        beta_1: how much of the mean gradient stays at each step of "adam" and "adamw", in [0, 1).
        beta_2: how much of the mean squared gradient stays at each step of "adam", "adamw" and "rmsprop", in [0, 1).
        epsilon: added to the root of the mean squared gradient; for "adam" before it is freed of its bias.
        n_iter_no_change: the epochs without an improvement by tol that are borne; the next one ends training.
        max_fun: the most evaluations of the loss by "lbfgs".
        dropout: the share of each hidden layer's values that is dropped in training, in [0, 1); or a list.
        normalization: between each hidden layer and its activation: "batch" (of which a last batch of one row is left
            out), "layer", "rms" or None.
        metrics: names (see `anyfw.metrics`) or `Metric`s, measured on training batches and on validation rows after
            each epoch; see `history_`.
        monitor: with early_stopping, the number that is watched: "valid_loss", or "valid_" and the name of one of
            metrics. None is "valid_r2", what `score` measures.
        callbacks: `anyfw.train.Callback`s; for solvers but "lbfgs".
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
        coefs_: the weights of each Linear, shape (inputs, outputs). On NumPy they are the net's own memory; assigning a
            list of arrays changes the net on any backend.
        intercepts_: the biases, likewise; shape (outputs,).
        n_layers_: the layers that scikit-learn counts: the input, each hidden layer, the outputs.
        n_outputs_: the width of the outputs.
        out_activation_: "identity", or "exp" for the Poisson loss.
        n_features_in_: the features of X.
        feature_names_in_: their names, where X had names.

    Raises:
        ConfigError: in `fit`, a hyperparameter out of range.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = np.sin(X[:, 0]) + 5.0
    >>> model = MLPRegressor(learning_rate_init=0.02, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95, model.predict(X[:3]).shape
    (True, (3,))
    """

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        normalization: str | None = None,
        metrics: Any = (),
        monitor: str | None = None,
        callbacks: Any = (),
        backend: Any = None,
    ) -> None:
        keep(self, locals())

    def _make_loss(self, width: int) -> Loss:  # noqa: ARG002
        if self.loss not in ("squared_error", "poisson"):
            raise UnknownNameError("loss", self.loss, ("squared_error", "poisson"))
        return SquaredError() if self.loss == "squared_error" else PoissonLoss()

    def _start(self, net: Layer, rows: Rows) -> None:
        last = [layer for _, layer in net.named_layers() if isinstance(layer, nn.Linear)][-1]
        mean = np.average(rows.y, axis=0, weights=rows.weight)
        if self.loss == "poisson":
            mean = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
        if last.bias is not None:
            last.bias.data = net.backend.to_numpy(last.bias.data) + mean

    def _meaning(self) -> Any:
        return (lambda y: namespace(y).exp(y)) if self.loss == "poisson" else None

    @property
    def out_activation_(self) -> str:
        """What the outputs' activation is."""
        return "exp" if self.loss == "poisson" else "identity"
