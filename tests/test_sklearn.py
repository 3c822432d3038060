"""The estimators as scikit-learn users meet them: the same models, and what scikit-learn's own cannot do."""

import copy
import doctest
import importlib
import os
import pickle
import pickletools
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")
from scipy import sparse
from sklearn import config_context, datasets, neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anyfw import losses, nn, optim
from anyfw.core.errors import ConfigError, DataError, NonFiniteError, UnknownNameError
from anyfw.interop.sklearn import MLPClassifier, MLPRegressor, NetClassifier, NetRegressor
from anyfw.train import Callback

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = datasets.make_blobs(60, n_features=4, centers=3, cluster_std=3.0, random_state=0)
X = StandardScaler().fit_transform(X)
TWO = (Y > 0).astype(int)
LABELS = np.stack([Y == 0, X[:, 0] > 0], axis=1).astype(int)
NUMBERS = np.stack([X[:, 0] * 2 + 5, np.abs(X[:, 1])], axis=1)
WEIGHTS = np.random.default_rng(0).integers(0, 4, len(X))


def net(features, outputs):
    return nn.Sequential(nn.Linear(features, 16), nn.Tanh(), nn.Linear(16, outputs))


def same_weights(one, other, tolerance=1e-10):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


# scikit-learn's own models

TWINS = [
    ("MLPClassifier", Y, {}),
    ("MLPClassifier", TWO, {"alpha": 1.0, "activation": "tanh", "hidden_layer_sizes": (8, 5)}),
    ("MLPClassifier", LABELS, {"activation": "logistic"}),
    ("MLPClassifier", Y, {"batch_size": 7, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}),
    ("MLPClassifier", Y, {"solver": "sgd", "shuffle": False, "momentum": 0.0, "activation": "identity"}),
    ("MLPClassifier", Y, {"solver": "sgd", "nesterovs_momentum": False, "batch_size": 20}),
    ("MLPClassifier", Y, {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5}),
    (
        "MLPClassifier",
        Y,
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 0.05, "n_iter_no_change": 2},
    ),
    ("MLPClassifier", TWO, {"early_stopping": True, "n_iter_no_change": 4, "validation_fraction": 0.2}),
    ("MLPClassifier", Y, {"solver": "lbfgs", "max_iter": 15}),
    ("MLPClassifier", Y, {"tol": 0.05, "n_iter_no_change": 3}),
]


@pytest.mark.parametrize(("name", "y", "settings"), TWINS, ids=lambda v: str(v) if isinstance(v, dict) else None)
def test_the_same_random_state_gives_scikit_learns_own_model(name, y, settings):
    settings = {"random_state": 3, "max_iter": 40, "hidden_layer_sizes": 10, **settings}
    theirs = getattr(neural_network, name)(**settings).fit(X, y)
    ours = MLPClassifier(**settings).fit(X, y)
    assert (ours.n_iter_, ours.t_, ours.n_layers_, ours.n_outputs_, ours.out_activation_) == (
        theirs.n_iter_,
        theirs.t_,
        theirs.n_layers_,
        theirs.n_outputs_,
        theirs.out_activation_,
    )
    same_weights(ours, theirs, 1e-8 if settings.get("solver") == "lbfgs" else 1e-10)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)
    for curve in ("loss_curve_", "validation_scores_"):
        if getattr(theirs, curve, None) is not None:
            np.testing.assert_allclose(getattr(ours, curve), getattr(theirs, curve), rtol=1e-9)
    assert ours.best_validation_score_ == getattr(theirs, "best_validation_score_", None)


@pytest.mark.parametrize(("loss", "y"), [("squared_error", NUMBERS[:, 0]), ("poisson", NUMBERS[:, 1])])
def test_a_regressor_follows_scikit_learns_from_the_same_weights(loss, y):
    settings = {"loss": loss, "random_state": 0, "warm_start": True, "max_iter": 1, "batch_size": 25}
    theirs, ours = neural_network.MLPRegressor(**settings).fit(X, y), MLPRegressor(**settings).fit(X, y)
    ours.coefs_, ours.intercepts_ = theirs.coefs_, theirs.intercepts_
    for model in (theirs, ours):
        model.set_params(max_iter=30, n_iter_no_change=1000).fit(X, y)
    same_weights(ours, theirs)
    np.testing.assert_allclose(ours.loss_curve_[1:], theirs.loss_curve_[1:], rtol=1e-10)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8)


def test_a_regressors_outputs_start_at_the_mean_of_the_targets():
    model = MLPRegressor(learning_rate_init=1e-12, max_iter=1, random_state=0).fit(X, NUMBERS[:, 0] + 1000.0)
    assert abs(model.predict(X).mean() - (NUMBERS[:, 0].mean() + 1000.0)) < 2.0


def test_defaults_are_scikit_learns():
    for ours, theirs in ((MLPClassifier, neural_network.MLPClassifier), (MLPRegressor, neural_network.MLPRegressor)):
        expected = theirs().get_params()
        assert {name: ours().get_params()[name] for name in expected} == expected


# Weights of rows

EVERY = [
    (MLPClassifier(hidden_layer_sizes=8), Y),
    (MLPClassifier(hidden_layer_sizes=8), LABELS),
    (MLPClassifier(solver="sgd", learning_rate="invscaling", hidden_layer_sizes=8), TWO),
    (MLPClassifier(solver="lbfgs", hidden_layer_sizes=8), Y),
    (MLPRegressor(hidden_layer_sizes=8, alpha=1.0), NUMBERS),
    (NetClassifier(net, alpha=0.1), TWO),
    (NetRegressor(net), NUMBERS),
]


@pytest.mark.filterwarnings("ignore:batch_size 1000 is larger")
@pytest.mark.parametrize(("model", "y"), EVERY)
def test_a_weight_is_a_repetition(model, y):
    model = clone(model).set_params(random_state=0, max_iter=20, batch_size=1000)
    rows = np.repeat(np.arange(len(X)), WEIGHTS)
    weighted = clone(model).fit(X, y, sample_weight=WEIGHTS)
    repeated = clone(model).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-6)


def test_lbfgs_has_no_batches_to_warn_of():
    assert MLPClassifier(solver="lbfgs", batch_size=1000, max_iter=3, random_state=0).fit(X, Y).n_iter_ == 3


def test_class_weights_are_sample_weights():
    weights = {0: 3.0, 2: 0.5}
    settings = {"random_state": 0, "max_iter": 10}
    by_class = MLPClassifier(class_weight=weights, **settings).fit(X, Y)
    by_row = MLPClassifier(**settings).fit(X, Y, sample_weight=np.array([3.0, 1.0, 0.5])[Y])
    same_weights(by_class, by_row, 0)
    few = np.r_[np.flatnonzero(TWO == 0)[:5], np.flatnonzero(TWO == 1)]
    balanced = MLPClassifier(class_weight="balanced", **settings).fit(X[few], TWO[few])
    by_row = MLPClassifier(**settings).fit(X[few], TWO[few], sample_weight=np.where(TWO[few] == 0, 45 / 10, 45 / 80))
    same_weights(balanced, by_row, 1e-12)


# Epochs, one call and the next


@pytest.mark.parametrize(("model", "y"), [row for row in EVERY if getattr(row[0], "solver", "") != "lbfgs"])
@pytest.mark.parametrize("through_a_pickle", [False, True])
def test_calls_of_partial_fit_are_epochs(model, y, through_a_pickle):
    settings = {"random_state": 0, "batch_size": 16, "max_iter": 4}
    whole = clone(model).set_params(**settings).fit(X, y)
    parts = clone(model).set_params(**settings)
    classes = {"classes": np.unique(y)} if hasattr(model, "class_weight") else {}
    for _ in range(4):
        parts.partial_fit(X, y, **classes)
        parts = pickle.loads(pickle.dumps(parts)) if through_a_pickle else parts
    np.testing.assert_array_equal(parts.predict(X), whole.predict(X))
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.t_ == whole.t_ == 240


def test_partial_fit_takes_a_batch_of_one_class():
    model = MLPClassifier(random_state=0)
    for label in (0, 1, 2):
        model.partial_fit(X[label == Y], Y[label == Y], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (60, 3)


def test_warm_start_goes_on():
    model = MLPClassifier(warm_start=True, max_iter=5, random_state=0).fit(X, Y)
    before = [weight.copy() for weight in model.coefs_]
    first = model.loss_
    model.set_params(learning_rate_init=1e-12).fit(X, Y)
    assert max(np.abs(a - b).max() for a, b in zip(before, model.coefs_, strict=True)) < 1e-9
    assert len(model.loss_curve_) == len(model.history_["lr"]) == 10
    assert (model.n_iter_, model.t_) == (5, 600)
    assert model.loss_ < first
    with pytest.raises(DataError, match="same classes"):
        model.fit(X, TWO)


def test_random_state():
    def fitted(seed):
        return MLPClassifier(max_iter=3, random_state=seed, dropout=0.3, batch_size=8).fit(X, Y).predict_proba(X)

    np.testing.assert_array_equal(fitted(1), fitted(1))
    assert not np.array_equal(fitted(1), fitted(2))
    assert not np.array_equal(fitted(None), fitted(None))


# Rows of all kinds


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize(("model", "y"), EVERY)
def test_sparse_rows_are_as_dense_ones_and_never_dense_as_a_whole(kind, model, y, monkeypatch):
    model = clone(model).set_params(random_state=0, max_iter=3, batch_size=16)
    few = np.where(np.abs(X) > 0.5, X, 0.0)
    dense = clone(model).fit(few, y, sample_weight=WEIGHTS)
    rows = sparse.csr_array(few).asformat(kind)
    widest = []
    plain = sparse.csr_array.toarray
    monkeypatch.setattr(sparse.csr_array, "toarray", lambda s, *a, **k: widest.append(s.shape[0]) or plain(s, *a, **k))
    thin = clone(model).fit(rows, y, sample_weight=WEIGHTS)
    if getattr(model, "solver", "") != "lbfgs":
        assert max(widest) <= 16
    np.testing.assert_array_equal(thin.predict(rows), dense.predict(few))


@pytest.mark.parametrize(("model", "y"), EVERY)
def test_float32_stays_and_all_else_becomes_float64(model, y):
    model = clone(model).set_params(max_iter=2, random_state=0)
    name = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    for given, computed in (("float32", "float32"), ("float64", "float64"), ("int64", "float64")):
        rows = (X * 10).astype(given)
        fitted = clone(model).fit(rows, y)
        assert getattr(fitted, name)(rows).dtype == computed
        assert fitted._model.net.dtype == computed


def test_labels_of_any_kind():
    words = np.array(["red", "green", "blue"])[Y]
    model = MLPClassifier(max_iter=200, learning_rate_init=0.01, random_state=0).fit(X, words)
    assert model.classes_.tolist() == ["blue", "green", "red"]
    assert model.score(X, words) > 0.9
    several = MLPClassifier(random_state=0, max_iter=300).fit(X, sparse.csr_array(LABELS))
    assert several.predict(X).shape == several.predict_proba(X).shape == (60, 2)
    assert several.score(X, LABELS) > 0.8
    np.testing.assert_array_equal(several.predict(X), several.predict_proba(X) > 0.5)


def test_log_probabilities_do_not_underflow():
    for y in (Y, TWO):
        model = MLPClassifier(max_iter=5, random_state=0).fit(X, y)
        np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), rtol=1e-10)
        assert np.isfinite(model.predict_log_proba(X * 1e5)).all()


# Backends, and arrays of other libraries


@pytest.mark.parametrize("spec", ["strict:device1", "torch"])
@pytest.mark.parametrize(("model", "y"), EVERY)
def test_backends_agree(spec, model, y):
    pytest.importorskip("array_api_strict" if spec.startswith("strict") else "torch")
    model = clone(model).set_params(random_state=0, max_iter=5)
    here, there = clone(model).fit(X, y), clone(model).set_params(backend=spec).fit(X, y)
    assert there._model.net.backend.spec.startswith(spec)
    np.testing.assert_allclose(there.loss_curve_, here.loss_curve_, rtol=1e-8)
    np.testing.assert_allclose(there.predict(X), here.predict(X), rtol=1e-6)
    # What was trained there can be used here.
    np.testing.assert_allclose(pickle.loads(pickle.dumps(there)).set_params(backend=None).predict(X), here.predict(X))


def test_rows_of_another_library_are_computed_where_they_are():
    # scikit-learn asks SciPy before it lets the dispatch be switched on.
    program = (
        "import numpy as np, torch, sklearn; from anyfw.interop.sklearn import MLPRegressor\n"
        "sklearn.set_config(array_api_dispatch=True)\n"
        "x = torch.asarray(np.random.default_rng(0).normal(size=(30, 3)))\n"
        "model = MLPRegressor(max_iter=400, learning_rate_init=.02, random_state=0).fit(x, x[:, 0])\n"
        "found = model.predict(x)\n"
        "assert isinstance(found, torch.Tensor) and found.dtype == torch.float64, found\n"
        "assert model._model.net.backend.name == 'torch' and model.score(x, x[:, 0]) > .9\n"
    )
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# Pickles


@pytest.mark.parametrize(("model", "y"), [*EVERY, (NetClassifier(net(4, 3)), Y)])
def test_pickles_are_state_only(model, y, tmp_path):
    joblib = pytest.importorskip("joblib")
    fitted = clone(model).set_params(random_state=0, max_iter=3).fit(X, y)
    fitted.predict(X)
    text = pickle.dumps(fitted)
    named = [str(arg) for op, arg, _ in pickletools.genops(text) if op.name in ("SHORT_BINUNICODE", "BINUNICODE")]
    assert not [name for name in named if name.startswith(("anyfw.nn", "anyfw.core", "anyfw.backends", "anyfw.optim"))]
    joblib.dump(fitted, tmp_path / "model")
    for again in (pickle.loads(text), copy.deepcopy(fitted), joblib.load(tmp_path / "model")):
        np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
        assert again.loss_curve_ == fitted.loss_curve_


class Doubled(nn.Layer):
    def forward(self, x, /, *, train=False):
        return x + x

    def backward(self, dy, /):
        return dy + dy


def test_layers_of_your_own_are_named():
    def made(features, outputs):
        return nn.Sequential(Doubled(), net(features, outputs))

    with pytest.raises(UnknownNameError, match="Doubled"):
        NetClassifier(made).fit(X, Y)
    model = NetClassifier(made(4, 3), layers=[Doubled], random_state=0, max_iter=2).fit(X, Y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))


# Nets of the user's


def test_a_given_net_stays_as_it_is():
    given = net(4, 3).init(7)
    given.layers[0].weight.data = np.ones((16, 4))
    before = given.state_dict()
    model = NetClassifier(given, random_state=0, learning_rate_init=1e-12, max_iter=1).fit(X, Y)
    for name, values in given.state_dict().items():
        np.testing.assert_array_equal(values, before[name])
    after = model.net_.state_dict()
    np.testing.assert_allclose(after["0.weight"], 1.0, atol=1e-9)  # an assigned value is where training starts
    assert np.abs(after["2.weight"] - before["2.weight"]).max() > 0.01  # others are drawn by random_state
    assert clone(model).net is not given


def test_losses_and_optimizers_of_ones_choice():
    model = NetClassifier(net(4, 3), loss=losses.HingeLoss(), optimizer="sgd", optimizer_params={"momentum": 0.9})
    assert model.set_params(learning_rate_init=0.05, random_state=0).fit(X, Y).score(X, Y) > 0.8
    with pytest.raises(ConfigError, match="no probabilities"):
        model.predict_proba(X)
    schedule = optim.Cosine(0.02)
    cooled = NetRegressor(net, learning_rate_init=schedule, max_iter=50, tol=0, optimizer=optim.AdamW, random_state=0)
    assert cooled.fit(X, NUMBERS).history_["lr"][-1] < 1e-3
    assert schedule._total_steps is None
    assert (
        NetRegressor(net, loss=losses.HuberLoss(), random_state=0, learning_rate_init=0.02)
        .fit(X, NUMBERS)
        .score(X, NUMBERS)
        > 0.8
    )
    assert NetClassifier(net(4, 2), random_state=0).fit(X, TWO).predict_proba(X).shape == (60, 2)


# The workshop


def test_the_workshop():
    model = make_pipeline(StandardScaler(), MLPClassifier(max_iter=60, learning_rate_init=0.02, random_state=0))
    search = GridSearchCV(model, {"mlpclassifier__hidden_layer_sizes": [2, (8, 8)]}, cv=3).fit(X, Y)
    assert search.best_score_ > 0.8
    found = cross_validate(model, X, Y, cv=3)
    assert found["test_score"].mean() > 0.8
    calibrated = CalibratedClassifierCV(model, cv=3).fit(X, Y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)
    assert "MLPClassifier" in model._repr_html_()
    with config_context(enable_metadata_routing=True):
        routed = MLPClassifier(max_iter=5, random_state=0).set_fit_request(sample_weight=True)
        routed.set_score_request(sample_weight=True)
        weighted = cross_validate(routed, X, Y, cv=3, params={"sample_weight": np.ones(60)})
        assert np.isfinite(weighted["test_score"]).all()


def test_what_users_expect_of_errors():
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\)"):
        MLPClassifier(max_iter=2, random_state=0).fit(X, Y)
    with pytest.raises(AttributeError):
        MLPClassifier(solver="lbfgs").partial_fit  # noqa: B018
    with pytest.raises(AttributeError):
        MLPClassifier().coefs_  # noqa: B018
    with pytest.raises(ConfigError, match="first call"):
        MLPClassifier().partial_fit(X, Y)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError):
        MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0).fit(X * 100, NUMBERS * 1e6)


def test_a_run_that_is_interrupted_is_kept():
    class Interrupting(Callback):
        def on_epoch_end(self, trainer, row):
            if trainer.epoch == 3:
                raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        model = MLPClassifier(callbacks=[Interrupting()], random_state=0).fit(X, Y)
    assert model.predict(X).shape == (60,)


@pytest.mark.parametrize("name", ["mlp_classifier", "mlp_regressor", "net"])
def test_the_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"anyfw.interop.sklearn.{name}"))
    assert found.failed == 0 < found.attempted


def test_without_scikit_learn_the_way_to_get_it_is_named():
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import anyfw.interop.sklearn as interop\n"
        "from anyfw.core.errors import MissingExtraError\n"
        "try: interop.MLPClassifier\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'anyfw[sklearn]'" in done.stdout
