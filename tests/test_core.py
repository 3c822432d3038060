"""Parameters, packing, state, placement, passes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from anyfw import nn
from anyfw.core.backend import get_backend, use_backend
from anyfw.core.errors import (
    AnyfwError,
    BackendError,
    BackwardError,
    ConfigError,
    PlacementError,
    ShapeError,
    UndrawnError,
)
from anyfw.core.parameter import pack

X = np.arange(6.0).reshape(2, 3) / 6


def make():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))


def same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


# Parameters and packing


def test_parameters_in_the_order_of_definition():
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"]
    assert [name for name, _ in make().named_parameters()] == names
    assert list(make().state_dict()) == [
        *names[:4],
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
        *names[4:],
    ]


def test_all_values_lie_in_one_vector(backend):
    net = make().to(backend)
    packs = {id(parameter.pack) for parameter in net.parameters()}
    packed = next(net.parameters()).pack
    assert len(packs) == 1
    assert packed.data.shape == (16 * 6,)
    packed.data[...] = backend.xp.arange(96, dtype=backend.dtype("float32"), device=backend.device)
    packed.grad[...] = 1.0
    for parameter in net.parameters():
        parameter._written = True
        start = parameter.start
        expected = np.arange(start, start + parameter.size).reshape(parameter.shape)
        np.testing.assert_array_equal(backend.to_numpy(parameter.data), expected)
        np.testing.assert_array_equal(backend.to_numpy(parameter.grad), np.ones(parameter.shape))
        assert start % 16 == 0


def test_runs_trainable_undecayed_frozen():
    net = make().no_decay("bias", "norm")
    net[0].weight.trainable = False
    net.to("numpy")
    order = {id(parameter): name for name, parameter in net.named_parameters()}
    assert [order[id(p)] for p in net[0].weight.pack.members] == [
        "3.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "3.bias",
        "0.weight",
    ]


def test_packing_anew_keeps_parameters_values_and_gradients():
    net = make().init(0).to("numpy", "float64")
    parameters, before = list(net.parameters()), net.state_dict()
    net.forward(X, train=True)
    net.backward(np.ones((2, 3)))
    gradients = [parameter.grad.copy() for parameter in parameters]
    net[0].weight.decay = False
    first = net[0].weight.pack
    pack(net.parameters())
    assert net[0].weight.pack is not first
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    for parameter, gradient in zip(parameters, gradients, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)
    assert net.state_dict()["0.weight"].tolist() == before["0.weight"].tolist()
    second = net[0].weight.pack
    pack(net.parameters())
    assert net[0].weight.pack is second


def test_the_first_gradient_overwrites_and_the_next_ones_add():
    parameter = nn.Linear(2, 1).init(0).weight
    assert parameter.grad.tolist() == [[0.0, 0.0]]
    parameter.zero_grad()
    for total in ([[1.0, 2.0]], [[2.0, 4.0]]):
        parameter.add_grad(np.array([[1.0, 2.0]], dtype=np.float32))
        assert parameter.grad.tolist() == total
    parameter.zero_grad()
    assert parameter.grad.tolist() == [[0.0, 0.0]]
    parameter.zero_grad()
    parameter.add_grad(np.array([[5.0, 6.0]], dtype=np.float32))
    assert parameter.grad.tolist() == [[5.0, 6.0]]


def test_a_frozen_parameter_takes_no_gradient():
    parameter = nn.Linear(2, 1).init(0).weight
    parameter.trainable = False
    parameter.add_grad(np.ones((1, 2), dtype=np.float32))
    assert parameter.grad.tolist() == [[0.0, 0.0]]


def test_assigning_data_keeps_dtype_and_place_and_checks_the_shape():
    layer = nn.Linear(2, 2).to("strict:device1", "float32")
    view = layer.weight.data
    layer.weight.data = np.eye(2)
    assert layer.weight.data is view
    assert get_backend("strict:device1").owns(view)
    assert layer.state_dict()["weight"].tolist() == np.eye(2).tolist()
    with pytest.raises(ShapeError, match=r"Expected values of shape \(2, 2\), got \(2,\)"):
        layer.weight.data = np.zeros(2)


def test_values_are_not_read_before_they_are_there():
    with pytest.raises(UndrawnError, match="no values yet"):
        nn.Linear(2, 2).weight.data  # noqa: B018


def test_no_decay_by_name_and_by_kind():
    net = make().no_decay("bias", "norm")
    assert {name for name, p in net.named_parameters() if not p.decay} == {"0.bias", "1.weight", "1.bias", "3.bias"}


# State


def test_the_state_is_a_copy(backend):
    net = make().to(backend)
    for array in net.state_dict().values():
        array[...] = 5
    assert not any((value == 5).any() for value in net.state_dict().values())


def test_state_moves_from_backend_to_backend(backend):
    source = make().init(3).to("numpy", "float32")
    for given in (source, make().init(3).to(backend)):
        net = make().to(backend).init(9)
        net.load_state_dict({name: stored.data for name, stored in given.named_stored()})
        same(net.state_dict(), source.state_dict())
        assert net.state_dict()["1.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("3.bias"), ConfigError, r"Missing: \['3.bias'\]; unknown: none"),
        (lambda s: s.update(new=np.zeros(1)), ConfigError, r"Missing: none; unknown: \['new'\]"),
        (lambda s: s.update({"3.bias": np.zeros(4)}), ShapeError, r"'3.bias': expected shape \(3,\), got \(4,\)"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, error, message):
    net = make().init(0)
    before = net.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    change(state)
    with pytest.raises(error, match=message):
        net.load_state_dict(state)
    same(net.state_dict(), before)


# Placement


def test_a_net_computes_where_it_is_first_used(backend):
    net = make()
    y = net(backend.asarray(X, "float32"))
    assert backend.owns(y)
    assert (net.backend, net.dtype) == (backend, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_net_that_nobody_placed_takes_the_dtype_of_its_first_input(dtype):
    net = make()
    assert str(net(X.astype(dtype)).dtype) == net.dtype == dtype


def test_a_net_without_parameters_follows_its_first_input():
    strict = get_backend("strict")
    assert strict.owns(nn.Sequential(nn.Tanh())(strict.asarray(X)))


def test_a_net_that_was_only_drawn_is_placed_by_its_first_use(backend):
    net = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    net.draw(4)
    assert net(backend.asarray(np.ones((1, 3)), "float32")).shape == (1, 2)
    assert net.draw(4).backend is nn.Linear(3, 2).draw(4).backend is backend


def test_a_first_use_that_failed_can_be_repeated(monkeypatch):
    net = nn.Linear(3, 2)
    monkeypatch.setenv("ANYFW_BACKEND", "cuppy")
    with pytest.raises(AnyfwError, match="cuppy"):
        net(np.ones((1, 3)))
    monkeypatch.setenv("ANYFW_BACKEND", "numpy")
    with pytest.raises(PlacementError, match=r"got builtins\.list"):
        net([[1.0, 2.0, 3.0]])
    assert net(np.ones((1, 3), dtype=np.float32)).shape == (1, 2)


def test_a_layer_that_another_net_moved_away_comes_back():
    first, both, last = (nn.Linear(2, 2) for _ in range(3))
    net = nn.Sequential(first, both).to("numpy")
    nn.Sequential(both, last).to("strict")
    net.to("numpy")
    assert net(np.ones((1, 2), dtype=np.float32)).shape == (1, 2)


def test_moving_keeps_the_values(backend):
    net = make().init(2)
    before = net.state_dict()
    same(net.to(backend).to("numpy").state_dict(), before)


def test_the_scope_decides_where_a_new_net_goes():
    with use_backend("strict:device1"):
        assert make().init(0).backend.spec == "strict:device1"


@pytest.mark.parametrize(
    ("place", "x", "message"),
    [
        (
            ("strict", "float32"),
            lambda: X.astype("float32"),
            r"Sequential 'net': expected an array of strict, got numpy",
        ),
        (
            ("strict:device1", "float32"),
            lambda: get_backend("strict").asarray(X, "float32"),
            "strict:device1, got .*strict",
        ),
        (("numpy", "float32"), lambda: X, "expected float32, got float64. Cast the input"),
        (("numpy", "float64"), lambda: X.astype("float32"), "expected float64, got float32"),
        (("numpy", "float32"), lambda: [[1.0, 2.0, 3.0]], "expected an array of numpy, got builtins.list"),
        (("numpy", "float32"), lambda: X.astype(int), "Linear 'net.0': expected float32, got int64"),
    ],
)
def test_mixed_backends_devices_and_dtypes_are_refused(place, x, message):
    net = make().to(*place)
    with pytest.raises(PlacementError, match=message):
        net(x())


def test_a_dtype_that_the_device_lacks():
    with pytest.raises(BackendError, match=r"strict:no_float64 has no float64\. Use dtype='float32'"):
        make().to("strict:no_float64", "float64")
    with pytest.raises(ConfigError, match="Expected dtype 'float32' or 'float64', got 'float16'"):
        make().to("numpy", "float16")


def test_an_input_from_elsewhere_is_refused_also_after_good_ones():
    net = make().to("numpy", "float64")
    for _ in range(2):
        net(X)
        with pytest.raises(PlacementError, match="expected float64, got float32"):
            net(X.astype("float32"))
        with pytest.raises(PlacementError, match=r"got builtins\.list"):
            net(X.tolist())
    net.to(dtype="float32")
    with pytest.raises(PlacementError, match="expected float32, got float64"):
        net(X)


# Passes


def test_an_outermost_pass_in_training_counts_once():
    net = nn.Sequential(nn.Sequential(nn.Dropout(0.5)), nn.Residual(nn.Dropout(0.5))).init(0)
    x = np.ones((2, 3), dtype=np.float32)
    assert net.shared.tick.tolist() == 0
    for count in (1, 2):
        net.forward(x, train=True)
        net(x)
        assert net.shared.forwards == net.shared.tick.tolist() == count


def test_zero_grad_forgets_a_forward_without_backward():
    net = make().to("numpy", "float64")
    net.forward(X, train=True)
    net.zero_grad()
    with pytest.raises(BackwardError, match=r"Linear 'net\.3'"):
        net.backward(np.ones((2, 3)))


class Loud(nn.Layer):
    def forward(self, x, /, *, train=False):
        return x

    def backward(self, dy, /):
        raise AssertionError("nobody asked for this gradient")


class LoudLinear(nn.Linear):
    def backward(self, dy, /):
        raise AssertionError("nobody asked for this gradient")


def test_backward_in_the_first_layers_stops_where_nothing_learns():
    fixed = nn.Sequential(nn.Flatten(), nn.Residual(nn.Rescale(2.0)))
    net = nn.Sequential(fixed, nn.Dropout(0.1), LoudLinear(6, 2), nn.Tanh()).to("numpy", "float64")
    net.forward(np.ones((4, 3, 2)), train=True)
    net.accumulate(np.ones((4, 2)))
    assert np.abs(net[2].weight.grad).max() > 0
    assert all(not layer._saved for _, layer in net.named_layers())


def test_a_layer_that_promises_nothing_is_asked_for_its_gradient():
    net = nn.Sequential(Loud(), nn.Linear(3, 1)).to("numpy", "float64")
    net.forward(X, train=True)
    with pytest.raises(AssertionError, match="nobody asked"):
        net.accumulate(np.ones((2, 1)))


def test_many_threads_may_infer_with_a_new_net():
    net = nn.Sequential(*[nn.Linear(64, 64) for _ in range(5)])
    x = np.random.default_rng(0).normal(size=(8, 64)).astype("float32")
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: net(x), range(32)))
    assert all((result == results[0]).all() for result in results)


def test_a_pass_through_super_counts_once():
    class Twice(nn.Linear):
        def forward(self, x, /, *, train=False):
            return 2.0 * super().forward(x, train=train)

    layer = Twice(3, 2).to("numpy")
    layer.forward(np.ones((4, 3), np.float32), train=True)
    assert layer.shared.forwards == 1


def test_an_input_is_recognised_only_for_the_place_it_was_checked_for():
    net = nn.Linear(2, 1).to("numpy")
    x = np.ones((3, 2), dtype=np.float32)
    net(x)
    net.to(dtype="float64")
    with pytest.raises(PlacementError, match="expected float64, got float32"):
        net(x)
    # As by another thread, whose check ended after the move.
    net.shared.accepted = (net.backend, "float32", type(x), x.dtype, x.device)
    with pytest.raises(PlacementError, match="expected float64, got float32"):
        net(x)


def test_a_layer_may_have_any_argument_under_its_own_name():
    class Scale(nn.Layer):
        def __init__(self, fixed):
            self.fixed = fixed
            self.weight = nn.Parameter((1,), 1.0)

        def forward(self, x, /, *, train=False):
            if train:
                self.push(x)
            return x * self.weight.data

        def backward(self, dy, /):
            (x,) = self.pop()
            self.weight.add_grad(np.sum(dy * x)[None])
            return dy * self.weight.data

    net = nn.Sequential(nn.Linear(2, 2), Scale(fixed=True), nn.Linear(2, 1)).init(0)
    net.accumulate(net.forward(np.ones((1, 2), dtype=np.float32), train=True))
    assert all(parameter._written for parameter in net.parameters())


def test_a_net_may_be_used_while_its_parameters_are_gone_through():
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    assert [net.backend.to_numpy(parameter.data).shape for parameter in net.parameters()] == [
        (8, 2),
        (8,),
        (1, 8),
        (1,),
    ]
