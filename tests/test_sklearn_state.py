"""What an estimator keeps from one call to the next, and what it never keeps: half a fit, a silent mistake."""

import pickle
import threading
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import f1_score, log_loss
from sklearn.preprocessing import StandardScaler

from anyfw import losses, nn
from anyfw.core.errors import ConfigError, DataError, NonFiniteError
from anyfw.interop.sklearn import MLPClassifier, MLPRegressor, NetClassifier
from anyfw.train import Callback

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = datasets.make_blobs(90, n_features=4, centers=3, cluster_std=3.0, random_state=0)
X = StandardScaler().fit_transform(X)
TWO = (Y > 0).astype(int)
LABELS = np.stack([Y == 0, X[:, 0] > 0], axis=1).astype(int)


def probabilities_net(features, outputs):
    return nn.Sequential(nn.Linear(features, outputs), nn.Sigmoid())


def test_threads_that_share_a_pickled_model_wait_for_its_net(monkeypatch):
    model = MLPClassifier(8, max_iter=2, random_state=0).fit(X, Y)
    expected, loaded = model.predict_proba(X), pickle.loads(pickle.dumps(model))
    moved, go_on, waiting = nn.Sequential.to, threading.Event(), threading.Event()

    def slowly(net, *where):
        if threading.current_thread() is threads[0]:
            waiting.set()
            assert go_on.wait(10)
        return moved(net, *where)

    monkeypatch.setattr(nn.Sequential, "to", slowly)
    found = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: loaded.predict_proba(X)}), daemon=True) for i in (0, 1)
    ]
    threads[0].start()
    assert waiting.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    early = dict(found)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert not early
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], expected)


# Losses of probabilities


@pytest.mark.parametrize(("y", "average"), [(TWO, "macro"), (LABELS, None)], ids=["two", "several"])
def test_accuracy_by_name_and_by_default_is_the_score_of_probabilities(y, average):
    for metrics in ([], ["accuracy"]):
        model = NetClassifier(probabilities_net, loss=losses.BCELoss(), metrics=metrics, max_iter=20, random_state=0)
        model.set_params(learning_rate_init=0.05).fit(X[:60], y[:60], validation_data=(X[60:], y[60:]))
        assert model.history_["valid_accuracy"][-1] == pytest.approx(model.score(X[60:], y[60:]))


def test_metrics_by_name_take_probabilities_where_the_loss_does():
    model = NetClassifier(probabilities_net, loss=losses.BCELoss(), metrics=["f1", "log_loss"], random_state=0)
    model.set_params(max_iter=20, learning_rate_init=0.05).fit(X[:60], TWO[:60], validation_data=(X[60:], TWO[60:]))
    expected = f1_score(TWO[60:], model.predict(X[60:]), average="macro")
    assert model.history_["valid_f1"][-1] == pytest.approx(expected)
    assert model.history_["valid_log_loss"][-1] == pytest.approx(log_loss(TWO[60:], model.predict_proba(X[60:])))


# Data that cannot be learnt from


def test_several_labels_are_0_and_1_at_every_call():
    for model in (MLPClassifier(max_iter=2, warm_start=True, random_state=0).fit(X, LABELS), MLPClassifier()):
        with pytest.raises(DataError, match=r"0 or 1 for each label of a row, got also \[5\]"):
            model.fit(X, LABELS * 5)
    part = MLPClassifier(random_state=0).partial_fit(X, LABELS, classes=[0, 1])
    with pytest.raises(DataError, match="0 or 1"):
        part.partial_fit(X, LABELS * 5)
    with pytest.raises(DataError, match="0 or 1"):
        MLPClassifier(max_iter=2).fit(X, LABELS, validation_data=(X, LABELS * 5))


def test_lbfgs_that_diverges_says_so_and_leaves_the_net_as_it_was():
    model = MLPRegressor(hidden_layer_sizes=4, solver="lbfgs", max_iter=5, warm_start=True, random_state=0).fit(
        X, X[:, 0]
    )
    before = model.predict(X)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"lbfgs.*Scale"):
        model.fit(X * 1e200, X[:, 0])
    np.testing.assert_array_equal(model.predict(X), before)


# Fits that fail, stop, or go on


def test_a_refit_that_fails_leaves_the_model_as_it_was():
    model = MLPClassifier(max_iter=3, random_state=0).fit(X, Y)
    before, kept = model.predict(X), dict(vars(model))
    with pytest.raises(ConfigError, match="class_weight"):
        model.set_params(class_weight={9: 1.0}).fit(X[:, :2], np.array(["no", "yes"])[TWO])
    assert vars(model) == {**kept, "class_weight": {9: 1.0}}
    np.testing.assert_array_equal(model.predict(X), before)
    fresh = MLPClassifier(class_weight={9: 1.0})
    with pytest.raises(ConfigError):
        fresh.partial_fit(X, Y, classes=[0, 1, 2])
    assert not hasattr(fresh, "classes_")


def test_a_worse_warm_start_goes_back_to_the_best_weights():
    model = MLPClassifier(early_stopping=True, warm_start=True, solver="sgd", random_state=0, max_iter=30)
    model.set_params(learning_rate_init=0.1).fit(X, Y, validation_data=(X, Y))
    best, weights = model.best_validation_score_, [weight.copy() for weight in model.coefs_]
    model.set_params(alpha=20.0, max_iter=3).fit(X, Y, validation_data=(X, Y))
    assert max(model.validation_scores_[-3:]) < model.best_validation_score_ == best
    for kept, found in zip(weights, model.coefs_, strict=True):
        np.testing.assert_array_equal(kept, found)


def test_a_best_value_is_that_of_its_monitor():
    model = MLPClassifier(warm_start=True, random_state=0, max_iter=5).fit(X, Y)
    model.set_params(early_stopping=True, monitor="valid_loss").fit(X, Y, validation_data=(X, Y))
    assert model.best_validation_score_ == min(model.history_["valid_loss"][5:])
    model.set_params(monitor=None).fit(X, Y, validation_data=(X, Y))
    assert model.best_validation_score_ == max(model.history_["valid_accuracy"][10:])


@pytest.mark.parametrize("shared", [None, 3])
def test_each_fit_draws_its_own_net_from_a_shared_random_state(shared):
    state = None if shared is None else np.random.RandomState(shared)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    fits = [NetClassifier(net, shuffle=False, max_iter=1, random_state=state).fit(X, Y) for _ in range(2)]
    assert not np.array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))


class Interrupting(Callback):
    """Turns the net's weights around, and then interrupts."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_step(self, trainer):
        if trainer.epoch == self.epoch:
            for parameter in trainer.net.parameters():
                parameter.data *= -1.0
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_back_to_its_best_weights():
    model = MLPClassifier(early_stopping=True, callbacks=[Interrupting(8)], learning_rate_init=0.1, random_state=0)
    with pytest.warns(UserWarning, match="interrupted") as told:
        model.fit(X, Y, validation_data=(X, Y))
    assert told[0].filename == __file__
    assert model.score(X, Y) == model.best_validation_score_ == max(model.validation_scores_) > 0.8


def test_a_run_may_be_interrupted_in_its_first_epoch():
    model = MLPClassifier(early_stopping=True, callbacks=[Interrupting(0)], random_state=0)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, Y)
    assert (model.n_iter_, model.validation_scores_, model.loss_curve_) == (0, [], [])
    assert model.predict(X).shape == (90,)


class Stopping(Callback):
    """Stops after each epoch."""

    def on_epoch_end(self, trainer, row):
        trainer.stop()


def test_only_a_run_that_fell_short_is_said_to_have():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert MLPClassifier(callbacks=[Stopping()], random_state=0).fit(X, Y).n_iter_ == 1
    with pytest.warns(ConvergenceWarning, match=r"L-BFGS.*EVALUATIONS") as told:
        MLPClassifier(solver="lbfgs", max_fun=3, random_state=0).fit(X, Y)
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="batch_size") as told:
        MLPClassifier(max_iter=1, batch_size=1000, random_state=0).fit(X, Y)
    assert told[0].filename == __file__


# Class weights


def test_balanced_classes_need_all_rows():
    with pytest.raises(ConfigError, match="compute_class_weight"):
        MLPClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_class_weights_act_on_what_is_learnt_and_not_on_what_is_measured():
    model = MLPClassifier(max_iter=2, early_stopping=True, class_weight={0: 100.0}, random_state=0).fit(X, Y)
    scores = 9 * np.array(model.validation_scores_)
    np.testing.assert_allclose(scores, np.rint(scores), atol=1e-9)
    model.set_params(early_stopping=False).fit(X, Y, validation_data=(X, Y))
    assert model.history_["valid_accuracy"][-1] == pytest.approx(model.score(X, Y))


@pytest.mark.parametrize("data", [(X, Y + 5), (X[:, :2], Y)], ids=["labels", "columns"])
def test_errors_name_the_validation_data(data):
    with pytest.raises(DataError, match=r"^validation_data: "):
        MLPClassifier().fit(X, Y, validation_data=data)
    with pytest.raises(DataError, match=r"^validation_data: y: expected 1 columns"):
        MLPRegressor().fit(X, Y, validation_data=(X, LABELS))
