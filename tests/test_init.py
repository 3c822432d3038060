"""Random streams with known answers, and what initialisers draw from them."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from anyfw import nn
from anyfw.core import init, random
from anyfw.core.errors import ConfigError, ShapeError, UnknownNameError
from anyfw.core.random import Stream

# Random streams. Known answers are fixed for ever: a seed must give the same net in every version.


def test_known_words():
    assert random.words(3, 0, "init", "0.weight").tolist() == [
        12869037018028704982,
        3067101689314412452,
        4648479491327968993,
    ]
    assert random.key(0, "dropout", "net.1") == 296500964767990868478680657293418095209


def test_known_numbers():
    assert random.uniform((3,), 7, "a").tolist() == [0.7520362759110202, 0.7941888001662112, 0.7196990827567309]
    assert random.normal((3,), 7, "a").tolist() == [0.6809115675822123, 0.8210419043928279, 0.5819478113249958]
    assert random.permutation(8, 0, "order", 1).tolist() == [2, 6, 7, 3, 1, 5, 4, 0]


def test_numbers_are_the_words_in_their_order_however_many_are_drawn_at_a_time():
    n = 2 * random._BLOCK + 7
    expected = (random.words(n, 1, "b") >> np.uint64(11)).astype(np.float64) * 2.0**-53
    np.testing.assert_array_equal(random.uniform((n,), 1, "b"), expected)
    # On both sides of each block's edge too.
    chances = ((random.words(n, 1, "b") >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    found = random.normal((n,), 1, "b")
    for edge in (5, random._BLOCK, 2 * random._BLOCK):
        near = slice(edge - 5, edge + 5)
        expected = [NormalDist().inv_cdf(p) for p in chances[near]]
        np.testing.assert_allclose(found[near], expected, rtol=1e-12)


def test_streams_are_told_apart_by_seed_name_and_kind():
    streams = [
        (0,),
        (1,),
        (-1,),
        (0, "a"),
        (0, "b"),
        (0, "a", "b"),
        (0, "ab"),
        (0, 1),
        (0, "1"),
        (0, "a", 1),
        (0, "a1"),
    ]
    assert len({random.words(1, *stream)[0] for stream in streams}) == len(streams)


def test_a_longer_draw_begins_with_the_shorter():
    assert random.words(9, 0, "a")[:4].tolist() == random.words(4, 0, "a").tolist()
    assert random.uniform((2, 3), 0, "a").ravel().tolist() == random.uniform((6,), 0, "a").tolist()


def test_uniform_numbers_are_uniform():
    u = np.sort(random.uniform((100_000,), 0, "test"))
    assert 0.0 <= u[0] <= u[-1] < 1.0
    assert largest_gap(u) < 1.95 / math.sqrt(len(u))  # Kolmogorov and Smirnov at 0.1 %


def test_normal_numbers_are_normal():
    z = np.sort(random.normal((100_000,), 0, "test"))
    assert largest_gap(np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in z])) < 1.95 / math.sqrt(len(z))


def largest_gap(ascending):
    return np.max(np.abs(ascending - (np.arange(len(ascending)) + 0.5) / len(ascending)))


def test_the_normal_quantile_is_exact():
    p = np.concatenate([10.0 ** -np.arange(1, 17), np.linspace(0.001, 0.5, 500)])
    z = random._normal_quantile(p)
    again = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in z])
    # An error e of z changes p by the density: relative to p about |z| e in the tail.
    np.testing.assert_allclose(again, p, rtol=2e-14)
    np.testing.assert_allclose(random._normal_quantile(np.array([0.75])), 0.6744897501960817, rtol=1e-15)


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_permutations_hold_each_number_once(n):
    assert sorted(random.permutation(n, 3, "order", 0).tolist()) == list(range(n))


# Initialisers

VARIANCES = {
    "lecun_normal": 1 / 300,
    "lecun_uniform": 1 / 300,
    "glorot_normal": 2 / 500,
    "glorot_uniform": 2 / 500,
    "he_normal": 2 / 300,
    "he_uniform": 2 / 300,
}


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("shape", [(200, 300), (20, 30, 10)])
def test_variances(name, shape):
    values = init.NAMED[name](shape, Stream(0, ("test",)))
    variance = VARIANCES[name]
    assert (values.shape, values.dtype) == (shape, np.float64)
    assert values.var() == pytest.approx(2 / 500 if "glorot" in name else variance, rel=0.06)
    assert abs(values.mean()) < 4 * math.sqrt(values.var() / values.size)
    limit = math.sqrt(3 * values.var())
    assert (np.max(np.abs(values)) < 1.1 * limit) == ("uniform" in name)


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (4, 3, 2)])
def test_orthogonal_rows_or_columns(shape):
    w = init.orthogonal(shape, Stream(0, ("test",))).reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-14)


def test_orthogonal_draws_favour_no_direction():
    # Without the signs of R, LAPACK's first column points away from its input each time.
    corner = [init.orthogonal((3, 3), Stream(seed, ("test",)))[0, 0] for seed in range(300)]
    assert abs(np.mean(corner)) < 4 * math.sqrt(1 / 3 / 300)


@pytest.mark.parametrize(("spec", "value"), [("zeros", 0.0), ("ones", 1.0), (0.25, 0.25), (3, 3.0)])
def test_constants(spec, value):
    state = nn.Linear(3, 2, weight_init=spec, bias_init=spec).state_dict()
    assert np.unique(state["weight"]).tolist() == np.unique(state["bias"]).tolist() == [value]
    assert np.unique(init.constant(value)((2,), Stream(0, ()))).tolist() == [value]


def test_an_initialiser_of_your_own():
    asked = []

    def mine(shape, stream):
        asked.append((shape, stream.seed, stream.names))
        return np.arange(6.0).reshape(shape)

    net = nn.Sequential(nn.Linear(3, 2, weight_init=mine)).init(5)
    assert net.state_dict()["0.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert asked == [((2, 3), 5, ("init", "0.weight"))]
    assert "weight_init" not in net.config()["layers"][0]


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("he_nromal", UnknownNameError, "Unknown initialiser 'he_nromal'. Did you mean 'he_normal'"),
        (True, ConfigError, "a name, a number or a function, got True"),
        (None, ConfigError, "got None"),
    ],
)
def test_refused_initialisers(spec, error, message):
    with pytest.raises(error, match=message):
        nn.Linear(3, 2, weight_init=spec)


def test_an_initialiser_that_gives_another_shape():
    with pytest.raises(ShapeError, match=r"was asked for shape \(2, 3\) and gave \(3,\)"):
        nn.Linear(3, 2, weight_init=lambda shape, stream: np.zeros(3)).init()


# Drawing a net


def make():
    return nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 3))


def test_known_weights():
    state = nn.Linear(3, 2).init(0).to(dtype="float64").state_dict()
    np.testing.assert_allclose(
        state["weight"],
        [[-0.48773065, 0.9109101, 0.09432884], [-0.67803407, -0.48522398, -0.27091515]],
        rtol=1e-7,
    )
    assert state["bias"].tolist() == [0.0, 0.0]


def test_one_seed_gives_one_net_on_every_backend(backend):
    expected = make().init(3).to("numpy", "float32").state_dict()
    found = make().to(backend, "float32").init(3).state_dict()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_the_first_use_draws_with_seed_0():
    expected = make().init(0).state_dict()
    nets = [make() for _ in range(3)]
    nets[0].to("numpy")
    nets[1](np.zeros((1, 3), dtype=np.float32))
    for net in nets:
        assert all((value == expected[name]).all() for name, value in net.state_dict().items())
    other = make().init(1).state_dict()
    assert (other["0.weight"] != expected["0.weight"]).all()


def test_weights_depend_on_the_path_not_on_the_rest_of_the_net():
    long = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 2)).init(0).state_dict()
    assert (long["0.weight"] == make().init(0).state_dict()["0.weight"]).all()
    assert (long["1.weight"] != long["2.weight"]).all()


def test_assigned_and_loaded_values_are_never_redrawn():
    net = make()
    net[0].weight.data = np.full((2, 3), 7.0)
    net.init(1)
    assert np.unique(net.state_dict()["0.weight"]).tolist() == [7.0]
    drawn = net.state_dict()["2.weight"]
    net.init(2)
    assert np.unique(net.state_dict()["0.weight"]).tolist() == [7.0]
    assert (net.state_dict()["2.weight"] != drawn).all()
    net.load_state_dict({name: np.ones_like(value) for name, value in net.state_dict().items()})
    net.init(3)
    assert {value for array in net.state_dict().values() for value in np.unique(array)} == {1.0}


def test_a_shared_layer_is_drawn_once_at_its_first_place():
    def shared():
        layer = nn.Linear(3, 3)
        return nn.Sequential(layer, nn.Tanh(), layer)

    used, drawn = shared().to("numpy"), shared().init(0)
    for net in (used, drawn):
        assert (net.state_dict()["0.weight"] == nn.Sequential(nn.Linear(3, 3)).init(0).state_dict()["0.weight"]).all()


def test_values_are_assigned_and_drawn_before_any_backend_is_open(monkeypatch):
    monkeypatch.setattr("anyfw.core.backend._opened", {})
    layer = nn.Linear(1, 2)
    for value in (1.0, 2.0):
        layer.weight.data = np.full((2, 1), value)
    layer.bias.draw(0, "a")
    layer.bias.draw(0, "b")
    assert layer.weight.data.tolist() == [[2.0], [2.0]]
    layer.weight.add_grad(np.ones((2, 1)))
    assert layer.weight.grad.tolist() == [[1.0], [1.0]]


def test_init_keeps_the_place():
    net = make().to("strict", "float64").init(1)
    assert (net.backend.spec, net.dtype) == ("strict", "float64")
    assert net[0].weight.data is not None


def test_equal_words_keep_their_order_in_a_permutation(monkeypatch):
    # Two equal words of 64 bits do not happen by themselves.
    monkeypatch.setattr(random, "words", lambda n, *_: np.asarray([3, 1, 3, 1, 0] * (n // 5), dtype=np.uint64))
    found = random.permutation(1000, 0)
    expected = np.argsort(random.words(1000, 0), kind="stable")
    np.testing.assert_array_equal(found, expected)
