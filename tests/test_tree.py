"""The net as a tree: shared layers, copies, descriptions, layers of one's own."""

import copy
import json
import pickle

import numpy as np
import pytest

from anyfw import nn
from anyfw.core.errors import BackwardError, ConfigError, FileFormatError, UnknownNameError
from anyfw.inspect.gradcheck import gradcheck

X = np.arange(6.0).reshape(2, 3) / 6


def make():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))


def same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


# Shared layers and copies


def shared_net():
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), layer)


def test_a_shared_layer_has_one_set_of_parameters_and_the_sum_of_gradients():
    net = shared_net().init(0).to("numpy", "float64")
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    apart = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).to("numpy", "float64")
    apart.load_state_dict(net.state_dict())
    dy = np.ones((2, 3))
    for each in (net, apart):
        each.forward(X, train=True)
    np.testing.assert_allclose(net.backward(dy), apart.backward(dy), rtol=1e-14)
    np.testing.assert_allclose(net[0].weight.grad, apart[0].weight.grad + apart[2].weight.grad, rtol=1e-14)
    with pytest.raises(BackwardError):
        net.backward(dy)


@pytest.mark.parametrize("combine", ["add", "concatenate"])
def test_a_layer_may_stand_in_several_branches(combine):
    layer = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    branches = [nn.Sequential(nn.Rescale(scale), layer) for scale in (1.0, -2.0, 3.0)]
    net = nn.Parallel(*branches, combine=combine)
    assert gradcheck(net, X).ok
    y = net.to("numpy", "float64").forward(X, train=True)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    net.backward(dy)
    gradient = layer[0].weight.grad.copy()
    net.zero_grad()
    net.forward(X, train=True)
    net.accumulate(dy)
    np.testing.assert_allclose(layer[0].weight.grad, gradient, rtol=1e-12)
    assert gradcheck(nn.Residual(*branches[:2]), X).ok


def test_a_shared_layer_is_described_and_copied_as_one():
    net = shared_net()
    again = nn.from_config(json.loads(json.dumps(net.config())))
    for each in (again, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert each[0] is each[2]
        assert each[0] is not net[0]


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"]
)
def test_copies_stand_alone(how, backend):
    x = backend.asarray(X, "float32")
    net = nn.Sequential(nn.Rescale([2.0, 1.0, 1.0]), make(), nn.Dropout(0.5)).init(1).to(backend)
    net.forward(x, train=True)
    before = net.state_dict()
    twin = how(net)
    assert twin.backend is net.backend
    same(twin.state_dict(), before)
    masks = [backend.to_numpy(each.forward(x, train=True)) for each in (net, twin)]
    np.testing.assert_array_equal(*masks)
    same(twin.state_dict(), net.state_dict())
    assert twin.state_dict()["1.1.num_batches_tracked"] == 2
    before = net.state_dict()
    for parameter in twin.parameters():
        parameter.data = np.zeros(parameter.shape)
    twin.forward(x, train=True)
    same(net.state_dict(), before)


def test_a_net_not_yet_drawn_can_be_copied():
    same(copy.deepcopy(make()).state_dict(), make().state_dict())


# Layers of one's own


class Scale(nn.Layer):
    """y = weight layer(x), with arguments of every kind."""

    def __init__(self, layer, shared=1.0, more=(), named=None):
        self.layer, self.shared_, self.more, self.named = layer, shared, list(more), dict(named or {})
        self.weight = nn.Parameter((), "ones")

    def forward(self, x, /, *, train=False):
        y = self.layer.forward(x, train=train)
        if train:
            self.push(y)
        return y * self.weight.data

    def backward(self, dy, /):
        (y,) = self.pop()
        self.weight.add_grad(np.sum(dy * y))
        return self.layer.backward(dy * self.weight.data)

    def arguments(self):
        return {"layer": self.layer, "shared": self.shared_, "more": self.more, "named": self.named}


def test_a_layer_of_your_own_in_the_tree():
    tanh = nn.Tanh()
    layer = Scale(nn.Linear(3, 3), 2.0, [tanh, [nn.ReLU()]], {"layer": 1, "a": tanh})
    assert [path for path, _ in layer.named_layers()] == ["", "layer", "more.0", "more.1.0", "named.a"]
    assert list(layer.state_dict()) == ["weight", "layer.weight", "layer.bias"]
    config = json.loads(json.dumps(layer.config()))
    again = nn.from_config(config, layers=[Scale])
    assert again.config() == config
    assert again.more[0] is again.named["a"]
    assert (again.shared_, again.named["layer"]) == (2.0, 1)


def test_an_argument_that_is_not_kept():
    class Forgetful(nn.Layer):
        def __init__(self, width):
            pass

        def forward(self, x, /, *, train=False):
            return x

        def backward(self, dy, /):
            return dy

    with pytest.raises(ConfigError, match=r"its argument 'width' is not kept as self\.width"):
        Forgetful(3).config()
    assert repr(Forgetful(3)) == "Forgetful(...)"


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"layer": "Liner"}, UnknownNameError, "Unknown layer 'Liner'. Did you mean 'Linear'"),
        ({"layer": "Layer"}, FileFormatError, "Layer does not take these arguments"),
        ({"layer": {"layer": "ReLU"}}, UnknownNameError, "Unknown layer"),
        ({"layer": "Linear"}, FileFormatError, "Linear does not take these arguments"),
        ({"layer": "ReLU", "slope": 1}, FileFormatError, "ReLU does not take these arguments"),
        ({"layer": "Sequential", "layers": [{"shared": 0}]}, FileFormatError, "A shared layer points nowhere: 0"),
        ({"shared": "0"}, FileFormatError, "points nowhere"),
        ({}, FileFormatError, "This describes no layer"),
        ([], FileFormatError, "This describes no layer"),
        ("os.system", FileFormatError, "This describes no layer"),
    ],
)
def test_descriptions_that_are_refused(config, error, message):
    with pytest.raises(error, match=message):
        nn.from_config(config)
