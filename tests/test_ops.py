"""The maths by itself: exactness, range, NaN, and the bits of dropout."""

import inspect
import math

import numpy as np
import pytest
from conftest import open_backend

from anyfw import nn
from anyfw.core.backend import get_backend
from anyfw.ops import activation, dropout, normalize, softmax, special
from anyfw.ops.dispatch import op

MODULES = (activation, dropout, normalize, softmax, special)


# Dispatch


def test_an_op_runs_the_variant_of_its_first_arguments_type():
    @op
    def twice(x, /, plus, *, times=2):
        """Reference."""
        return times * x + plus

    assert (twice(1, 2), twice(1, plus=2, times=3), twice(1.5, 0)) == (4, 5, 3.0)
    assert (twice.__doc__, twice.__name__, twice.dispatch(object)(1, 1)) == ("Reference.", "twice", 3)
    assert list(inspect.signature(twice).parameters) == ["x", "plus", "times"]
    twice.register(int, lambda x, plus, *, times=2: "int")
    assert (twice(1, 2), twice(True, 2), twice(1.5, 0)) == ("int", "int", 3.0)
    twice.register(bool, lambda x, plus, *, times=2: "bool")  # after bool was served by int's
    assert (twice(1, 2), twice(True, 2), twice.dispatch(bool)(1, 2)) == ("int", "bool", "bool")
    with pytest.raises(TypeError, match="plus"):
        twice(1)


# The error function


def test_erf_is_exact_to_the_last_bits():
    x = np.concatenate([np.linspace(-7, 7, 20001), 10.0 ** np.arange(-300, 300, 7), [0.46875, 4.0, 0.0]])
    exact = np.array([math.erf(value) for value in x])
    error = np.abs(special.erf(x) - exact)
    assert error.max() <= 1e-15
    assert np.max(error[exact != 0] / np.abs(exact[exact != 0])) <= 1e-15
    np.testing.assert_array_equal(special.erf(-x), -special.erf(x))


def test_erf_of_the_ends():
    assert special.erf(np.array([np.inf, -np.inf, 1e300])).tolist() == [1.0, -1.0, 1.0]
    assert np.isnan(special.erf(np.array([np.nan]))).all()
    assert special.erf(np.array([0.5], dtype=np.float32)).dtype == np.float32


# Activations

ACTIVATIONS = (
    nn.ReLU(),
    nn.LeakyReLU(),
    nn.ELU(),
    nn.SELU(),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SiLU(),
    nn.Softplus(),
    nn.Softplus(-2.0),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.Softmax(),
    nn.LogSoftmax(),
)
each_activation = pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
FAR = [-1e30, -1e4, -200.0, -89.0, -20.0, -1e-30, 0.0, 1e-30, 20.0, 89.0, 200.0, 1e4, 1e30]


@each_activation
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_no_finite_input_overflows(layer, backend, size):
    x = np.array([[value] for value in FAR if abs(value) <= size])
    x = x.T if isinstance(layer, nn.Softmax | nn.LogSoftmax) else x
    y, dx = (backend.to_numpy(array) for array in pass_through(layer, backend, x))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


def pass_through(layer, backend, x):
    layer = nn.Sequential(nn.from_config(layer.config())).to(backend, "float32")
    x = backend.asarray(x, "float32")
    y = layer.forward(x, train=True)
    return y, layer.backward(backend.xp.ones_like(y))


@each_activation
def test_nan_and_infinity_come_out_as_from_pytorch(layer):
    torch = pytest.importorskip("torch")
    backend = get_backend("numpy")
    theirs = {nn.GELU: lambda: torch.nn.GELU(layer.approximate), nn.Softplus: lambda: torch.nn.Softplus(layer.beta)}
    make = theirs.get(type(layer), getattr(torch.nn, type(layer).__name__))
    module = make(dim=-1) if isinstance(layer, nn.Softmax | nn.LogSoftmax) else make()
    x = np.array([[np.nan], [1.0], [-1.0]])
    y, dx = pass_through(layer, backend, x)
    expected = module(torch.tensor(x)).numpy()
    assert np.isnan(y[0]).all()
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert np.isfinite(dx[1:]).all()


@pytest.mark.parametrize(("layer", "low", "high"), [(nn.ReLU(), 0, np.inf), (nn.ELU(), -1, np.inf), (nn.Tanh(), -1, 1)])
def test_infinity_is_no_nan(layer, low, high):
    assert layer(np.array([-np.inf, np.inf])).tolist() == [low, high]


def test_small_probabilities_keep_their_digits():
    x = np.array([-80.0, -40.0, -17.0], dtype=np.float32)
    np.testing.assert_allclose(activation.sigmoid(x), np.exp(x), rtol=1e-6)
    np.testing.assert_allclose(activation.softplus(x, 1.0, 20.0), np.exp(x), rtol=1e-6)
    logits = np.array([[0.0, -200.0]], dtype=np.float32)
    assert softmax.log_softmax(logits, -1).tolist() == [[0.0, -200.0]]


# Normalisation


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.LayerNorm(64)], ids=lambda layer: type(layer).__name__)
def test_a_large_mean_does_not_cancel_the_variance(layer):
    noise = np.random.default_rng(0).normal(size=(64, 3))
    x = np.ascontiguousarray(noise.T if isinstance(layer, nn.LayerNorm) else noise)
    y = layer.to("numpy", "float32").forward((x + 3000).astype(np.float32), train=True)
    small = layer.forward(x.astype(np.float32), train=True)
    np.testing.assert_allclose(y, small, atol=2e-3)


def test_running_statistics_are_the_formula():
    layer = nn.BatchNorm1d(2, momentum=0.25).to("numpy", "float64")
    x = np.array([[1.0, 5.0], [3.0, 9.0]])
    layer.forward(x, train=True)
    assert layer.running_mean.data.tolist() == [0.5, 1.75]
    assert layer.running_var.data.tolist() == [0.75 + 0.25 * 2, 0.75 + 0.25 * 8]
    assert layer.num_batches_tracked.data.tolist() == 1


def test_without_momentum_the_running_mean_is_that_of_all_batches():
    layer = nn.BatchNorm1d(1, momentum=None).to("numpy", "float64")
    for value in (1.0, 2.0, 6.0):
        layer.forward(np.array([[value - 1], [value + 1]]), train=True)
    np.testing.assert_allclose(layer.running_mean.data, [3.0], rtol=1e-15)
    np.testing.assert_allclose(layer.running_var.data, [2.0], rtol=1e-15)


# Dropout


def mask(shape=(200_000,), p=0.5, key=1, tick=0, n=0, spec="numpy"):
    backend = open_backend(spec)
    x = backend.asarray(np.ones(shape), "float32")
    tick = backend.asarray(np.asarray(tick), "int64")
    return np.array(backend.to_numpy(dropout.dropout(x, p, key, tick, n)[1]))


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("key", [0, 1, 0xFFFFFFFF])
def test_the_share_of_zeros_is_p(p, key):
    for tick in (0, 1, 123_456_789):
        dropped = 1.0 - mask(p=p, key=key, tick=tick).mean()
        assert abs(dropped - p) < 4 * math.sqrt(p * (1 - p) / 200_000)


NEIGHBOURS = [1, 2, 3, 4, 8, 16, 64, 100, 128, 1000, 1024, 65536]


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_neighbours_are_independent(p):
    kept = mask(p=p) - (1 - p)
    for distance in NEIGHBOURS:
        assert abs(correlation(kept[:-distance], kept[distance:], p)) < 4.5 / math.sqrt(100_000), distance


@pytest.mark.parametrize("other", [{"key": 2}, {"key": 0}, {"tick": 1}, {"tick": 2**31}, {"n": 1}, {"n": 2}], ids=str)
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_keys_ticks_and_uses_are_independent(other, p):
    first, second = mask(p=p) - (1 - p), mask(p=p, **other) - (1 - p)
    assert (first != second).any()
    for distance in (0, *NEIGHBOURS):
        assert abs(correlation(first[: len(first) - distance], second[distance:], p)) < 4.5 / math.sqrt(100_000)


def correlation(a, b, p):
    return float(np.mean(a * b)) / (p * (1 - p))


def test_tick_and_use_are_not_interchangeable():
    masks = {mask((64,), tick=tick, n=n).tobytes() for tick in range(20) for n in range(20)}
    assert len(masks) == 400


KNOWN_MASK = ["11100110", "11000111", "00010101", "00010000"]
KNOWN_WORDS = [0, 1753845952, 3507691905, 1734902346]


def test_known_masks(backend):
    # Fixed for ever: a checkpoint of another version must go on with the same masks.
    found = mask((4, 8), 0.5, 0x12345678, 7, 1, backend.spec)
    bits = ["".join("01"[bit] for bit in row) for row in found.astype(int)]
    assert bits == KNOWN_MASK
    words = dropout.mix(backend.asarray(np.array([0, 1, 2, 0xFFFFFFFF]), "int64"))
    assert backend.to_numpy(words).tolist() == KNOWN_WORDS


def test_words_are_those_of_32_bit_arithmetic():
    words = np.random.default_rng(0).integers(0, 2**32, size=10_000)
    x = words.astype(np.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    np.testing.assert_array_equal(dropout.mix(words), x.astype(np.int64))


def test_masks_are_the_same_on_every_backend(backend):
    for shape, p in (((7, 11), 0.3), ((3, 5, 2), 0.9), ((0, 4), 0.5), ((), 0.5)):
        found = mask(shape, p, 0xDEADBEEF, 2**33 + 5, 3, backend.spec)
        np.testing.assert_array_equal(found, mask(shape, p, 0xDEADBEEF, 2**33 + 5, 3))


@pytest.mark.parametrize(("p", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_ends_of_p(p, expected, backend):
    y, dx = pass_through(nn.Dropout(p), backend, np.ones((4, 5)))
    for array in (y, dx):
        assert np.unique(backend.to_numpy(array)).tolist() == [expected]


def test_the_ends_of_p_hold_for_every_word():
    # Element 0 of key 0, tick 0 has the word 0.
    assert mask((4,), p=0.0, key=0).tolist() == [True] * 4
    assert mask((4,), p=2.0**-32, key=0).tolist() == [False, True, True, True]
    assert mask(p=1.0).sum() == 0


def test_dropout_keeps_the_mean_and_backward_uses_the_same_mask(backend):
    x = np.ones((100, 50))
    y, dx = (backend.to_numpy(array) for array in pass_through(nn.Dropout(0.2), backend, x))
    assert set(np.unique(y).tolist()) == {0.0, 1.25}
    assert y.mean() == pytest.approx(1.0, abs=0.03)
    np.testing.assert_array_equal(y, dx)


def test_a_nan_is_not_dropped_in_silence():
    y = nn.Dropout(0.5).forward(np.full((4, 4), np.nan), train=True)
    assert np.isnan(y).all()


def test_masks_follow_seed_path_tick_and_use():
    x = np.ones((4, 16), dtype=np.float32)

    def masks(seed, *before):
        net = nn.Sequential(*before, nn.Dropout(0.5)).init(seed)
        return [net.forward(x, train=True).tobytes() for _ in range(3)]

    assert masks(0) == masks(0)
    assert len({*masks(0), *masks(1), *masks(0, nn.Identity())}) == 9

    twice = nn.Dropout(0.5)
    y = nn.Parallel(twice, twice).init(0).forward(x, train=True)
    assert (y[:, :16] != y[:, 16:]).any()


def test_two_passes_back_in_reverse_use_their_own_masks():
    layer, x = nn.Dropout(0.5), np.ones((4, 16), dtype=np.float32)
    first, second = layer.forward(x, train=True), layer.forward(x, train=True)
    assert (first != second).any()
    np.testing.assert_array_equal(layer.backward(x), second)
    np.testing.assert_array_equal(layer.backward(x), first)


def test_the_masks_of_a_restored_tick_are_those_of_the_first_run():
    net, x = nn.Sequential(nn.Dropout(0.5)).init(0), np.ones((4, 16), dtype=np.float32)
    run = [net.forward(x, train=True) for _ in range(4)]
    net.shared.rewind(2)
    np.testing.assert_array_equal(net.forward(x, train=True), run[2])


# Second implementations


def test_every_op_takes_variants():
    public = [
        function
        for module in MODULES
        for name, function in vars(module).items()
        if inspect.getmodule(function) is module and not name.startswith("_") and callable(function)
    ]
    plain = {function.__name__ for function in public if not hasattr(function, "register")}
    assert plain == {"keep_mask", "mix", "stream_word"}
    for function in public:
        first = next(iter(inspect.signature(function).parameters.values()))
        if hasattr(function, "register"):
            assert first.kind is first.POSITIONAL_ONLY, function.__name__


def test_a_variant_is_found_by_the_type_of_the_array():
    class Marked(np.ndarray):
        pass

    activation.relu.register(Marked, lambda x, /: "variant")
    assert activation.relu(np.ones(2).view(Marked)) == "variant"
    assert activation.relu(-np.ones(2)).tolist() == [0.0, 0.0]
