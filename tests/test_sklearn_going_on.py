"""`partial_fit` and warm starts: what goes on, what a changed setting changes, and what is refused."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn import datasets, neural_network
from sklearn.preprocessing import StandardScaler

from anyfw import nn, optim
from anyfw.core.errors import ConfigError
from anyfw.interop.sklearn import MLPClassifier, NetClassifier
from anyfw.train import Callback

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = datasets.make_blobs(90, n_features=4, centers=3, cluster_std=3.0, random_state=0)
X = StandardScaler().fit_transform(X)


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd"}, {"solver": "sgd", "learning_rate": "invscaling"}])
def test_partial_fit_goes_on_after_fit_as_scikit_learns(settings):
    settings = {"random_state": 0, "shuffle": False, "max_iter": 3, "batch_size": 20, **settings}
    ours, theirs = MLPClassifier(**settings).fit(X, Y), neural_network.MLPClassifier(**settings).fit(X, Y)
    ours = pickle.loads(pickle.dumps(ours))
    for _ in range(3):
        for model in (ours, theirs):
            model.partial_fit(X, Y)
    for one, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


class Failing(Callback):
    """Fails before the first step."""

    def on_fit_start(self, trainer):
        raise ConfigError("lr")


CHANGES = [
    {"alpha": 100.0},
    {"alpha": 0.0},
    {"learning_rate_init": 1e-9},
    {"solver": "sgd"},
    {"beta_1": 0.0},
    {"batch_size": 7},
]


@pytest.mark.parametrize("changed", CHANGES, ids=str)
def test_a_changed_setting_counts_at_the_next_call(changed):
    live = (
        MLPClassifier(random_state=0, alpha=1.0, shuffle=False).partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y)
    )
    loaded, unchanged = pickle.loads(pickle.dumps(live)), copy.deepcopy(live)
    found = [m.set_params(**changed).partial_fit(X, Y).predict_proba(X) for m in (live, loaded)]
    np.testing.assert_array_equal(*found)
    assert not np.array_equal(found[0], unchanged.partial_fit(X, Y).predict_proba(X))


def test_a_call_that_fails_changes_no_settings():
    model = MLPClassifier(random_state=0, shuffle=False).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ConfigError, match="lr"):
        model.set_params(learning_rate=optim.Cosine(1e-9), metrics=["f1"], callbacks=[Failing()]).partial_fit(X, Y)
    before = model.predict_proba(X)
    model.set_params(callbacks=[]).partial_fit(X, Y)
    np.testing.assert_allclose(model.predict_proba(X), before, atol=1e-6)


def test_momentum_may_be_switched_on_and_metrics_added():
    model = MLPClassifier(solver="sgd", momentum=0.0, random_state=0).partial_fit(X, Y, classes=[0, 1, 2])
    model.set_params(momentum=0.9, metrics=["f1"]).partial_fit(X, Y)
    assert model.history_["f1"][0] is None
    assert model.history_["f1"][1] > 0.0
    model.metrics.append("zero_one")
    assert "zero_one" in model.partial_fit(X, Y).history_


def test_a_fallen_rate_starts_anew_where_another_is_given():
    model = MLPClassifier(solver="sgd", learning_rate="adaptive", tol=10.0, n_iter_no_change=1, random_state=0)
    for _ in range(3):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    assert model._model.progress["rate"] < 0.001
    assert model.set_params(learning_rate_init=0.5).partial_fit(X, Y).history_["lr"][-1] == 0.5


@pytest.mark.parametrize(
    "changed",
    [{"hidden_layer_sizes": 9}, {"activation": "tanh"}, {"dropout": 0.5}, {"normalization": "layer"}],
    ids=str,
)
def test_a_changed_net_needs_a_new_fit(changed):
    model = MLPClassifier((8,), warm_start=True, max_iter=2, random_state=0).fit(X, Y)
    pickle.loads(pickle.dumps(model)).set_params(hidden_layer_sizes=8).fit(X, Y)
    with pytest.raises(ConfigError, match=f"{next(iter(changed))} would make another"):
        model.set_params(**changed).fit(X, Y)
    model.set_params(warm_start=False).fit(X, Y)


def test_a_changed_net_of_ones_own_needs_a_new_fit():
    model = NetClassifier(nn.Linear(4, 3), warm_start=True, max_iter=2, random_state=0).fit(X, Y)
    model.set_params(net=nn.Linear(4, 3)).fit(X, Y)
    with pytest.raises(ConfigError, match="net would make another"):
        model.set_params(net=nn.Sequential(nn.Linear(4, 3))).fit(X, Y)


def test_functions_that_draw_are_not_lost_in_a_pickle():
    def sevens(shape, stream):
        return np.full(shape, 7.0)

    net = nn.Sequential(nn.Linear(4, 3, weight_init=sevens))
    with pytest.raises(ConfigError, match=r"0\.weight of the net are drawn by a function"):
        pickle.dumps(NetClassifier(net))
    assert pickle.loads(pickle.dumps(NetClassifier(nn.Linear(4, 3, weight_init=0.5)))).fit(X, Y).score(X, Y) > 0.3
    pickle.dumps(NetClassifier(net, max_iter=1).fit(X, Y))
    net.layers[0].weight.data = np.zeros((3, 4))
    pickle.dumps(NetClassifier(net))


# Settings of another kind

REFUSED = [
    ({"learning_rate_init": optim.Cosine(0.1)}, "learning_rate_init as a number"),
    ({"class_weight": {"a": 1, 7: 2}}, "class_weight: expected classes of"),
    ({"class_weight": {0: "x"}}, "class_weight: expected finite numbers"),
    ({"class_weight": np.ones(3)}, "class_weight: expected None"),
    ({"hidden_layer_sizes": 5.5}, "hidden_layer_sizes"),
    ({"hidden_layer_sizes": None}, "hidden_layer_sizes"),
    ({"dropout": "a"}, "dropout"),
    ({"dropout": None}, "dropout"),
    ({"normalization": ["batch"]}, "normalization"),
    ({"callbacks": [3]}, "callbacks"),
    ({"backend": 3}, "backend"),
    ({"batch_size": np.array([1, 2])}, "batch_size"),
    ({"solver": ["adam"]}, "solver"),
    ({"early_stopping": True, "monitor": "loss"}, "monitor as 'valid_loss'"),
]
REFUSED_OF_NETS = [
    ({"layers": [3]}, "layers"),
    ({"optimizer": ["adam"]}, "optimizer"),
    ({"optimizer_params": 5}, "optimizer_params"),
    ({"optimizer_params": {"bogus": 1}}, "optimizer_params of 'adam' 'bogus'"),
    ({"optimizer": lambda parameters, lr: 3}, "to make an Optimizer, got 3"),
]


@pytest.mark.parametrize(("settings", "told"), REFUSED, ids=lambda v: next(iter(v)) if isinstance(v, dict) else None)
def test_perceptrons_refuse_settings_of_another_kind(settings, told):
    with pytest.raises(ConfigError, match=told):
        MLPClassifier(**settings).fit(X, Y)


@pytest.mark.parametrize(("settings", "told"), REFUSED_OF_NETS)
def test_nets_refuse_settings_of_another_kind(settings, told):
    with pytest.raises(ConfigError, match=told):
        NetClassifier(nn.Linear(4, 3), **settings).fit(X, Y)


def test_assigned_weights_are_whole_or_refused():
    model = MLPClassifier(8, max_iter=1, random_state=0).fit(X, Y)
    before = [weight.copy() for weight in model.coefs_]
    with pytest.raises(
        ConfigError, match=r"coefs_: expected arrays of shapes \[\(4, 8\), \(8, 3\)\], got \[\(4, 8\)\]"
    ):
        model.coefs_ = [before[0] + 1.0]
    with pytest.raises(ConfigError, match="intercepts_"):
        model.intercepts_ = [np.zeros(8), np.zeros(8)]
    np.testing.assert_array_equal(model.coefs_[0], before[0])
