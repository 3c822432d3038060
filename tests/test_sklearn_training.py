"""What the estimators' training does beyond scikit-learn's: each option does what it says."""

import math

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn import datasets
from sklearn.metrics import accuracy_score, f1_score, log_loss, r2_score
from sklearn.preprocessing import StandardScaler

from anyfw import metrics, nn, optim
from anyfw.core.errors import AnyfwError, ConfigError, DataError, UnknownNameError
from anyfw.interop.sklearn import MLPClassifier, MLPRegressor, NetClassifier, NetRegressor
from anyfw.interop.sklearn.settings import ACTIVATIONS, NORMALIZATIONS, SOLVERS
from anyfw.train import Callback

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = datasets.make_blobs(90, n_features=4, centers=3, cluster_std=3.0, random_state=0)
X = StandardScaler().fit_transform(X)
TRAIN, VALID = (X[:60], Y[:60]), (X[60:], Y[60:])
LABELS = np.stack([Y == 0, X[:, 0] > 0], axis=1).astype(int)
NUMBERS = np.sin(X[:, :2]) + 3.0


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_learns(solver):
    rate = {"sgd": 0.1, "adagrad": 0.1}.get(solver, 0.02)
    model = MLPClassifier(solver=solver, learning_rate_init=rate, random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.9
    assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalization", [None, *NORMALIZATIONS])
def test_layers_are_as_they_were_asked_for(activation, normalization):
    model = MLPClassifier(
        [8, 6], [activation, "tanh"], dropout=[0.0, 0.5], normalization=normalization, max_iter=2, random_state=0
    ).fit(X, Y)
    names = [type(layer).__name__ for layer in model._model.net.layers]
    norm = [] if normalization is None else [NORMALIZATIONS[normalization].__name__]
    first = type(ACTIVATIONS[activation]()).__name__
    assert names == ["Linear", *norm, first, "Linear", *norm, "Tanh", "Dropout", "Linear"]
    assert [weight.shape for weight in model.coefs_] == [(4, 8), (8, 6), (6, 3)]
    assert (model.n_layers_, model.n_outputs_) == (4, 3)


def test_biases_and_norms_are_not_penalised():
    model = MLPClassifier(8, normalization="layer", max_iter=1, random_state=0).fit(X, Y)
    decayed = {path for path, parameter in model._model.net.named_parameters() if parameter.decay}
    assert decayed == {"0.weight", "3.weight"}


def test_dropout_acts_in_training_alone():
    plain, thinned = (MLPClassifier(dropout=share, max_iter=3, random_state=0).fit(X, Y) for share in (0.0, 0.5))
    assert thinned.loss_curve_[0] != plain.loss_curve_[0]
    np.testing.assert_array_equal(thinned.predict_proba(X), thinned.predict_proba(X))


def test_a_last_batch_of_one_row_is_left_out_before_batch_norm():
    model = MLPClassifier(8, normalization="batch", batch_size=30, max_iter=2, random_state=0).fit(X[:61], Y[:61])
    assert len(model.loss_curve_) == 2
    assert np.isfinite(model.loss_curve_).all()


def test_adamw_decays_apart_from_the_gradient():
    still = {"learning_rate_init": 0.1, "max_iter": 1, "batch_size": 90, "random_state": 0}
    one = MLPClassifier(solver="adamw", alpha=0.0, **still).fit(X, Y)
    other = MLPClassifier(solver="adamw", alpha=0.5, **still).fit(X, Y)
    start = MLPClassifier(solver="adamw", learning_rate_init=1e-300, max_iter=1, random_state=0).fit(X, Y)
    for a, b, w in zip(one.coefs_, other.coefs_, start.coefs_, strict=True):
        np.testing.assert_allclose(a - b, 0.1 * 0.5 * w, atol=1e-12)
    np.testing.assert_array_equal(one.intercepts_[0], other.intercepts_[0])


def test_a_schedule_sets_the_rate():
    model = MLPClassifier(learning_rate=optim.Exponential(0.1, 0.5, unit="epoch"), max_iter=4, random_state=0)
    assert model.fit(X, Y).history_["lr"] == [0.1, 0.05, 0.025, 0.0125]


# Validation


def test_validation_rows_are_measured_after_each_epoch():
    model = MLPClassifier(metrics=["f1", metrics.TopK(2)], max_iter=7, random_state=0)
    model.fit(*TRAIN, validation_data=VALID)
    assert {name: len(values) for name, values in model.history_.items() if name.startswith("valid_")} == {
        "valid_loss": 7,
        "valid_accuracy": 7,
        "valid_f1": 7,
        "valid_" + metrics.TopK(2).name: 7,
    }
    found, probabilities = model.predict(VALID[0]), model.predict_proba(VALID[0])
    assert model.history_["valid_accuracy"][-1] == pytest.approx(accuracy_score(VALID[1], found))
    assert model.history_["valid_f1"][-1] == pytest.approx(f1_score(VALID[1], found, average="macro"))
    assert model.history_["valid_loss"][-1] == pytest.approx(log_loss(VALID[1], probabilities))


def test_validation_rows_have_weights():
    weight = np.arange(30) % 3
    model = MLPRegressor(max_iter=2, random_state=0)
    model.fit(X[:60], NUMBERS[:60], validation_data=(X[60:], NUMBERS[60:], weight))
    expected = r2_score(NUMBERS[60:], model.predict(X[60:]), sample_weight=weight)
    assert model.history_["valid_r2"][-1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("monitor", "settings"),
    [(None, {}), ("valid_loss", {}), ("valid_f1", {"metrics": ["f1"]}), ("valid_zero_one", {"metrics": ["zero_one"]})],
)
def test_early_stopping_watches_any_number_and_goes_back_to_the_best_weights(monitor, settings):
    model = MLPClassifier(
        early_stopping=True, monitor=monitor, n_iter_no_change=3, learning_rate_init=0.1, random_state=0, **settings
    ).fit(*TRAIN, validation_data=VALID)
    curve = model.history_[monitor or "valid_accuracy"]
    lower = monitor in ("valid_loss", "valid_zero_one")
    best = int(np.argmin(curve) if lower else np.argmax(curve))
    assert model.validation_scores_ == curve
    assert model.best_validation_score_ == curve[best]
    assert model.best_loss_ is None
    assert model.n_iter_ < 200
    # The weights are those of the best epoch, not of the last.
    again = MLPClassifier(max_iter=best + 1, learning_rate_init=0.1, random_state=0).fit(*TRAIN)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))


def test_accuracy_of_several_labels_is_that_of_whole_rows():
    model = MLPClassifier(max_iter=20, random_state=0)
    model.fit(X[:60], LABELS[:60], validation_data=(X[60:], LABELS[60:]))
    assert model.history_["valid_accuracy"][-1] == pytest.approx(model.score(X[60:], LABELS[60:]))


def test_callbacks_run():
    class Counting(Callback):
        epochs = steps = 0

        def on_step(self, trainer):
            self.steps += 1

        def on_epoch_end(self, trainer, row):
            self.epochs += 1
            if row["loss"] < 0.5:
                trainer.stop()

    counting = Counting()
    model = MLPClassifier(callbacks=[counting], batch_size=30, learning_rate_init=0.05, random_state=0).fit(X, Y)
    assert counting.epochs == model.n_iter_ < 200
    assert counting.steps == 3 * model.n_iter_


def test_the_loss_is_the_objective_that_is_minimised():
    model = MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", alpha=2.0, random_state=0, max_iter=30).fit(X, NUMBERS)
    penalty = 0.5 * 2.0 * sum(float((weight**2).sum()) for weight in model.coefs_) / len(X)
    squares = 0.5 * float(((model.predict(X) - NUMBERS) ** 2).sum(axis=1).mean())
    assert model.loss_ == pytest.approx(squares + penalty, rel=1e-10)
    assert model.loss_curve_ == sorted(model.loss_curve_, reverse=True)


def test_verbose_tells(capsys):
    MLPClassifier(verbose=True, max_iter=2, random_state=0).fit(*TRAIN, validation_data=VALID)
    told = capsys.readouterr().out
    assert told.startswith("Iteration 1, loss = ")
    assert "valid_accuracy = " in told


# What is refused

BAD = [
    ({"hidden_layer_sizes": (8, 0)}, "must be > 0"),
    ({"hidden_layer_sizes": (8, 8), "activation": ["relu"]}, "one for each of 2 hidden layers"),
    ({"activation": "rellu"}, "'relu'"),
    ({"normalization": "bach"}, "'batch'"),
    ({"solver": "adm"}, "'adam'"),
    ({"dropout": 1.5}, "p"),
    ({"alpha": -1.0}, "alpha"),
    ({"batch_size": 0}, "batch_size"),
    ({"learning_rate": "falling"}, "learning_rate"),
    ({"learning_rate_init": 0.0}, "learning_rate_init"),
    ({"power_t": -0.5}, "power_t"),
    ({"max_iter": 0}, "max_iter"),
    ({"max_fun": 1.5}, "max_fun"),
    ({"tol": math.nan}, "tol"),
    ({"momentum": 1.1}, "momentum"),
    ({"beta_1": 1.0}, "beta_1"),
    ({"epsilon": 0.0}, "epsilon"),
    ({"validation_fraction": 1.0}, "validation_fraction"),
    ({"n_iter_no_change": 0}, "n_iter_no_change"),
    ({"shuffle": "yes"}, "shuffle"),
    ({"class_weight": "even"}, "class_weight"),
    ({"class_weight": {7: 1.0}}, "class_weight"),
    ({"metrics": "f1"}, "metrics"),
    ({"metrics": ["f2"]}, "metric 'f2'"),
    ({"early_stopping": True, "monitor": "valid_f1"}, "monitor"),
    ({"solver": "lbfgs", "early_stopping": True}, "lbfgs"),
    ({"solver": "lbfgs", "dropout": 0.5}, "lbfgs"),
    ({"early_stopping": True, "validation_fraction": 0.01}, None),
    ({"backend": "numpi"}, "'numpy'"),
]


@pytest.mark.parametrize(("settings", "told"), BAD, ids=lambda v: str(v) if isinstance(v, dict) else None)
def test_settings_out_of_range(settings, told):
    with pytest.raises(ValueError, match=told) as caught:
        MLPClassifier(**settings).fit(X, Y)
    assert isinstance(caught.value, AnyfwError) or told is None


NETS = [
    (NetClassifier("net"), Y, ConfigError, "a Layer or a function"),
    (NetClassifier(nn.Linear), Y, ConfigError, "a Layer or a function"),
    (NetClassifier(lambda features, outputs: None), Y, ConfigError, "to make a Layer"),
    (NetClassifier(nn.Linear(4, 5)), Y, ConfigError, "3 outputs, got 5"),
    (NetRegressor(nn.Linear(4, 5)), NUMBERS, ConfigError, "2 outputs, got 5"),
    (NetClassifier(nn.Sequential(nn.Linear(4, 3), nn.Softmax())), Y, ConfigError, "takes logits"),
    (NetClassifier(nn.Linear(4, 3), optimizer="adm"), Y, UnknownNameError, "'adam'"),
    (NetClassifier(nn.Linear(4, 3), loss="hinge"), Y, ConfigError, "loss"),
    (NetClassifier(nn.Linear(4, 3), alpha=1.0, optimizer_params={"weight_decay": 1.0}), Y, ConfigError, "not both"),
    (MLPRegressor(loss="absolute"), Y, UnknownNameError, "squared_error"),
    (MLPRegressor(loss="poisson"), -1.0 - Y, ConfigError, "at least 0"),
    (MLPClassifier(class_weight="balanced"), LABELS, ConfigError, "several labels"),
    (MLPClassifier(metrics=["f1"]), LABELS, ConfigError, "several labels"),
]


@pytest.mark.parametrize(("model", "y", "error", "told"), NETS)
def test_nets_and_losses_that_do_not_fit(model, y, error, told):
    with pytest.raises(error, match=told):
        model.fit(X, y)


@pytest.mark.parametrize(
    ("weight", "told"), [(np.zeros(90), "zero"), (-np.ones(90), "negative"), (np.ones((90, 2)), "one number")]
)
def test_weights_out_of_range(weight, told):
    with pytest.raises(DataError, match=told):
        MLPClassifier().fit(X, Y, sample_weight=weight)


def test_validation_data_out_of_range():
    with pytest.raises(DataError, match="expected \\(X, y\\)"):
        MLPClassifier().fit(X, Y, validation_data=X)
    with pytest.raises(DataError, match="also \\[9\\]"):
        MLPClassifier().fit(X, Y, validation_data=(X[:2], [0, 9]))
    with pytest.raises(ConfigError, match="partial_fit does not support"):
        MLPClassifier(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2])
