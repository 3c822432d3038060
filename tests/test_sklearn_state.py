"""What an estimator keeps from one call to the next, and what it never keeps: half a fit, a silent mistake."""

import pickle
import threading

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn import datasets
from sklearn.metrics import f1_score, log_loss
from sklearn.preprocessing import StandardScaler

from anyfw import losses, nn
from anyfw.core.errors import DataError, NonFiniteError
from anyfw.interop.sklearn import MLPClassifier, MLPRegressor, NetClassifier

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
    threads[1].join(0.1)
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
