"""PyTorch beside anyfw: state dicts, nets and arrays both ways, and its own files read without it."""

import random
import re
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest

from anyfw import nn
from anyfw.core.errors import ConfigError, FileFormatError, MissingExtraError, PlacementError, ShapeError
from anyfw.interop import torch as bridge
from tests.conftest import open_backend
from tests.specs import LAYERS

torch = pytest.importorskip("torch")
tn = torch.nn


def each(specs):
    return pytest.mark.parametrize("spec", specs, ids=lambda spec: spec.name)


each_layer = each(LAYERS)
each_torch_layer = each([spec for spec in LAYERS if spec.torch])
# PyTorch has no Residual and no Parallel of its own.
each_module = each([spec for spec in LAYERS if spec.torch and hasattr(tn, type(spec.make()).__name__)])


def assert_same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    # What a norm takes away again has a gradient that cancels to nothing: its noise is that of the terms.
    largest = max((float(np.abs(array).max()) for array in expected.values() if array.size), default=0.0)
    for name in expected:
        assert found[name].shape == expected[name].shape, name
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance * largest, err_msg=name)


def ours(net, x, dy):
    y = net.forward(x, train=True)
    found = {"y": y, "dx": net.backward(dy)}
    found |= {name: value for name, value in net.state_dict().items() if "running" in name}
    return found | {f"grad {name}": parameter.grad for name, parameter in net.named_parameters()} | {"eval": net(x)}


def theirs(module, x, dy):
    x = torch.tensor(x, requires_grad=True)
    y = module.train()(x)
    y.backward(torch.tensor(dy))
    found = {"y": y, "dx": x.grad} | {name: value for name, value in module.state_dict().items() if "running" in name}
    found |= {f"grad {name}": parameter.grad for name, parameter in module.named_parameters()}
    found["eval"] = module.eval()(x)
    return {name: tensor.detach().numpy() for name, tensor in found.items()}


def dy_for(shape):
    return np.random.default_rng(7).normal(size=shape)


# State dicts


@each_torch_layer
def test_state_dicts_go_both_ways(spec):
    layer, module = spec.layer().to("numpy", "float64"), spec.torch(torch).double()
    module.load_state_dict(bridge.state_dict(layer))
    back = spec.layer(seed=5).to("numpy", "float64")
    bridge.load_state_dict(back, module)
    for again in (back.state_dict(), {name: value.numpy() for name, value in module.state_dict().items()}):
        assert list(again) == list(layer.state_dict())
        assert all(np.array_equal(again[name], value) for name, value in layer.state_dict().items())
    x, dy = spec.sample(), dy_for(spec.y)
    assert_same(ours(back, x, dy), theirs(module, x, dy), 1e-6)


def test_state_dicts_are_copies_on_any_backend(backend):
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to(backend)
    state = bridge.state_dict(net)
    assert {name: str(value.dtype) for name, value in state.items() if "num" in name or name == "0.weight"} == {
        "0.weight": "torch.float32",
        "1.num_batches_tracked": "torch.int64",
    }
    assert state["0.weight"].device.type == "cpu"
    state["0.weight"][:] = 5.0
    assert net.state_dict()["0.weight"].max() < 5.0, "the tensors are copies"
    bridge.load_state_dict(net, state)
    state["0.weight"][:] = 6.0
    assert (net.state_dict()["0.weight"] == 5.0).all(), "and so are the net's values"
    assert net.backend is backend


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_floating_point_numbers_of_any_width_are_rounded_to_the_nets(dtype):
    values = torch.tensor([[1.0, 1 / 3, -2e-3]]).to(getattr(torch, dtype))
    for net in (nn.Linear(3, 1, bias=False).to("numpy", "float32"), nn.Linear(3, 1, bias=False).to("numpy", "float64")):
        bridge.load_state_dict(net, {"weight": tn.Parameter(values)})
        expected = values.double().numpy().astype(net.dtype)
        assert net.state_dict()["weight"].dtype == net.dtype
        assert np.array_equal(net.state_dict()["weight"], expected)


def mlp():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def state_with(**changes):
    state = {name: torch.tensor(value) for name, value in mlp().init(0).state_dict().items()}
    state |= {name.replace("_at_", ".", 1): value for name, value in changes.items()}
    return {name: value for name, value in state.items() if value is not None}


STATES = {
    "names": (
        lambda: {name.replace("0.weight", "0.kernel"): value for name, value in state_with().items()},
        (ConfigError, r"does not fit the net\. Missing: 0\.weight\. unexpected: 0\.kernel\."),
    ),
    "names and shapes": (
        lambda: state_with(**{"1.weight": None, "0.bias": torch.zeros(3)}),
        (ConfigError, r"Missing: 1\.weight\. expected shapes: 0\.bias \(2,\), got \(3,\)"),
    ),
    "a shape": (lambda: state_with(**{"0.weight": torch.zeros(3, 2)}), (ShapeError, r"\(2, 3\), got \(3, 2\)")),
    "a scalar": (lambda: state_with(**{"0.bias": torch.tensor(0.0)}), (ShapeError, r"0\.bias \(2,\), got \(\)")),
    "integers": (
        lambda: state_with(**{"0.bias": torch.zeros(2, dtype=torch.int64)}),
        (PlacementError, "expected: 0.bias floating-point numbers, got int64"),
    ),
    "no integers": (
        lambda: state_with(**{"1.num_batches_tracked": torch.tensor(1.0)}),
        (PlacementError, "1.num_batches_tracked integers, got float32"),
    ),
    "complex numbers": (
        lambda: state_with(**{"0.bias": torch.zeros(2, dtype=torch.complex64)}),
        (PlacementError, "floating-point numbers, got complex64"),
    ),
    "a sparse tensor": (
        lambda: state_with(**{"0.weight": torch.zeros(2, 3).to_sparse()}),
        (PlacementError, "'0.weight' is no plain tensor of numbers"),
    ),
    "a count beyond int64": (
        lambda: state_with(**{"1.num_batches_tracked": np.array(2**63 + 5, np.uint64)}),
        (PlacementError, r"expected: 1\.num_batches_tracked int64, got 9223372036854775813\."),
    ),
    "a tensor on meta": (
        lambda: state_with(**{"0.weight": torch.zeros(2, 3, device="meta")}),
        (PlacementError, r"^load_state_dict: '0\.weight' is on the device meta, where tensors have no values"),
    ),
    "a parameter that is not drawn": (
        lambda: state_with(**{"0.weight": tn.LazyLinear(2).weight}),
        (PlacementError, "'0.weight' is no plain tensor of numbers"),
    ),
    "a number": (lambda: state_with(**{"0.bias": 3}), (ConfigError, "'0.bias' is a int, and no tensor or array")),
    "a prefix": (
        lambda: {f"module.{name}": value for name, value in state_with().items()},
        (ConfigError, r"All names begin with 'module.': load \{name.removeprefix\('module.'\)"),
    ),
    "a checkpoint": (
        lambda: {"epoch": 3, "model": state_with()}, (ConfigError, r"is state\['model'\] the one to load\?"),
    ),
    "a list": (list, (ConfigError, "expected a torch.nn.Module or a state dict, got list")),
}  # fmt: skip


@pytest.mark.parametrize("case", STATES)
def test_a_state_that_does_not_fit_changes_nothing(case):
    make, (error, message) = STATES[case]
    net = mlp().init(1)
    before = net.state_dict()
    with pytest.raises(error, match=message):
        bridge.load_state_dict(net, make())
    assert all(np.array_equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_count_of_another_width_is_taken_over():
    for count in (np.array(2**63 - 1, np.uint64), np.array(7, np.int16)):
        net = mlp().init(1)
        bridge.load_state_dict(net, state_with(**{"1.num_batches_tracked": count}))
        assert net.state_dict()["1.num_batches_tracked"] == count


def test_long_lists_of_names_are_cut():
    with pytest.raises(ConfigError, match=r"unexpected: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 90 more\.$"):
        bridge.load_state_dict(nn.ReLU(), {str(i): np.zeros(1) for i in range(100)})


# Nets


@each_layer
def test_each_layer_becomes_a_module_and_comes_back(spec):
    layer = spec.layer().to("numpy", "float64")
    module = bridge.to_module(layer)
    assert list(module.state_dict()) == list(layer.state_dict())
    assert not module.training
    x, dy = spec.sample(), dy_for(spec.y)
    back = bridge.from_module(module)
    if spec.name == "Dropout":  # whose masks are anyfw's own
        assert back.p == module.p == 0.4
        assert np.array_equal(module(torch.tensor(x)).numpy(), back(x))
        return
    assert_same(ours(layer, x, dy), theirs(module, x, dy), 1e-6)
    again = theirs(bridge.to_module(spec.layer().to("numpy", "float64")), x, dy)
    assert_same(ours(back, x, dy), again, 1e-6)


@each_module
def test_each_module_becomes_a_net(spec):
    module = spec.torch(torch).double()
    module.load_state_dict(bridge.state_dict(spec.layer().to("numpy", "float64")))
    net = bridge.from_module(module)
    assert type(net) is type(spec.make())
    x, dy = spec.sample(), dy_for(spec.y)
    assert_same(ours(net, x, dy), theirs(module, x, dy), 1e-6)


def random_sequential(draw, width, depth=0):
    modules = []
    for _ in range(draw.randint(1, 4)):
        to = draw.randint(2, 7)
        modules.append(tn.Linear(width, to, bias=draw.random() < 0.8))
        width = to
        activations = (
            tn.ReLU(), tn.LeakyReLU(draw.uniform(0, 1)), tn.ELU(draw.uniform(0.1, 2)), tn.SELU(), tn.GELU(),
            tn.GELU(approximate="tanh"), tn.SiLU(), tn.Softplus(draw.uniform(0.5, 3), 2.0), tn.Sigmoid(), tn.Tanh(),
            tn.Softmax(dim=-1), tn.LogSoftmax(dim=1), tn.Identity(), tn.Flatten(), tn.Dropout(0.0),
        )  # fmt: skip
        norms = (
            tn.BatchNorm1d(width, eps=1e-3, momentum=draw.choice([0.1, 0.4, None])),
            tn.BatchNorm1d(width, affine=False), tn.BatchNorm1d(width, track_running_stats=False),
            tn.LayerNorm(width, elementwise_affine=draw.random() < 0.5), tn.LayerNorm([width], bias=False),
            tn.RMSNorm(width), tn.RMSNorm([width], eps=1e-4),
        )  # fmt: skip
        modules += draw.choices([*activations, *norms], k=draw.randint(0, 2))
        if depth < 2 and draw.random() < 0.3:
            inner, width = random_sequential(draw, width, depth + 1)
            modules.append(inner)
    return tn.Sequential(*modules), width


@pytest.mark.parametrize("seed", range(50))
def test_random_sequentials(seed):
    torch.manual_seed(seed)
    draw = random.Random(seed)
    module, width = random_sequential(draw, 5)
    module = module.double()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.tensor(0.1 * rng.normal(size=tuple(parameter.shape)))
    net = bridge.from_module(module, "numpy")
    assert net.dtype == "float64"
    x, dy = rng.normal(size=(6, 5)), rng.normal(size=(6, width))
    assert_same({"eval": net(x)}, {"eval": module.eval()(torch.tensor(x)).detach().numpy()}, 1e-9)
    expected = theirs(module, x, dy)
    assert_same(ours(net, x, dy), expected, 1e-6)


def test_a_net_has_the_modules_dtype_place_and_frozen_parameters(backend):
    module = tn.Sequential(OrderedDict(body=tn.Linear(3, 2), dim=tn.BatchNorm1d(2), head=tn.Linear(2, 1)))
    module.body.weight.requires_grad_(False)
    net = bridge.from_module(module)
    assert (net.backend, net.dtype) == (backend, "float32")
    assert [name for name, parameter in net.named_parameters() if not parameter.trainable] == ["0.weight"]
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("f4")
    with torch.no_grad():
        expected = module.eval()(torch.tensor(x)).numpy()
        module.body.weight.zero_()
    np.testing.assert_allclose(backend.to_numpy(net(backend.asarray(x))), expected, rtol=1e-5, atol=1e-6)
    again = bridge.to_module(net)
    assert [name for name, parameter in again.named_parameters() if not parameter.requires_grad] == ["0.weight"]
    np.testing.assert_allclose(again(torch.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_module_at_two_places_is_one_layer_there():
    inner = tn.Linear(3, 3)
    net = bridge.from_module(tn.Sequential(inner, tn.Tanh(), inner))
    assert net[0] is net[2]
    module = bridge.to_module(net)
    assert module[0] is module[2]


def test_rescale_takes_bytes_as_it_does_here():
    net = nn.Sequential(nn.Rescale(1 / 255, -0.5), nn.Linear(3, 2)).init(0).to("numpy", "float32")
    x = np.arange(12, dtype=np.uint8).reshape(4, 3)
    module = bridge.to_module(net)
    np.testing.assert_allclose(module(torch.tensor(x)).detach().numpy(), net(x), rtol=1e-6)
    assert bridge.from_module(module)[0].scale == 1 / 255, "exactly, though the module computes in float32"


def tied():
    module = tn.Sequential(tn.Linear(3, 3), tn.Tanh(), tn.Linear(3, 3))
    module[2].weight = module[0].weight
    return module


def hooked():
    module = tn.Sequential(tn.Linear(3, 3))
    module[0].register_forward_hook(lambda *_: None)
    return module


def replaced(place, name="forward"):
    module = tn.Sequential(tn.Linear(3, 3))
    owner = module.get_submodule(place)
    old = getattr(owner, name)
    setattr(owner, name, lambda *arguments: old(*arguments))
    return module


def frozen_norm():
    module = tn.Sequential(tn.Tanh(), tn.Sequential(tn.BatchNorm1d(3)))
    module[1][0].bias = None
    return module


class Net(tn.Sequential):
    def forward(self, x):
        return super().forward(x) + 1.0


MODULES = {
    "convolution": (
        lambda: tn.Sequential(tn.ReLU(), tn.Sequential(tn.Conv2d(1, 1, 1))),
        (ConfigError, r"torch's Conv2d at '1\.0': anyfw has no such layer\. Known: BatchNorm1d, .*load_state_dict"),
    ),
    "a module of the user's": (lambda: Net(tn.Linear(3, 3)), (ConfigError, "'s Net at '.': anyfw has no such layer")),
    "a list of modules": (lambda: tn.ModuleList([tn.ReLU()]), (ConfigError, "torch's ModuleList at '.'")),
    "a softmax that guesses": (
        lambda: tn.Sequential(OrderedDict(last=tn.Softmax())),
        (ConfigError, "Softmax at 'last': expected a dim, got None.*dim=-1"),
    ),
    "a falling ELU": (lambda: tn.ELU(-1.0), (ConfigError, "ELU at '.': an option that anyfw has not")),
    "a batch norm without bias": (frozen_norm, (ConfigError, r"BatchNorm1d at '1\.0': expected a bias")),
    "hooks": (hooked, (ConfigError, "Linear at '0': it has hooks")),
    "another forward": (
        lambda: replaced("0"), (ConfigError, "Linear at '0': its forward was replaced.*load_state_dict"),
    ),
    "another forward of all": (lambda: replaced(""), (ConfigError, r"Sequential at '\.': its forward was replaced")),
    "a train that does not": (lambda: replaced("0", "train"), (ConfigError, "Linear at '0': its train was replaced")),
    "a weight norm": (
        lambda: tn.Sequential(tn.utils.parametrizations.weight_norm(tn.Linear(3, 3))),
        (ConfigError, "torch's ParametrizedLinear at '0'"),
    ),
    "tied weights": (tied, (ConfigError, "'0' and '2' of this module have one parameter.*one layer at both places")),
    "bfloat16": (lambda: tn.Linear(3, 3).bfloat16(), (PlacementError, r"got bfloat16 \('weight'\)\. Use module.float")),
    "two dtypes": (
        lambda: tn.Sequential(tn.Linear(3, 3), tn.Linear(3, 3).double()),
        (PlacementError, r"got float32 \('0.weight'\), float64 \('1.weight'\)"),
    ),
    "complex numbers": (lambda: tn.Linear(3, 3, dtype=torch.complex64), (PlacementError, "got complex64")),
    "a module on meta": (
        lambda: tn.Sequential(tn.Linear(3, 3, device="meta")),
        (PlacementError, r"^from_module: '0\.weight' is on the device meta"),
    ),
    "a state dict": (dict, (ConfigError, "expected a torch.nn.Module, got dict")),
}  # fmt: skip


@pytest.mark.parametrize("case", MODULES)
def test_a_module_that_anyfw_has_not(case):
    make, (error, message) = MODULES[case]
    with pytest.raises(error, match=message):
        bridge.from_module(make())


GLOBAL_HOOKS = ("forward_pre_hook", "forward_hook", "full_backward_hook", "full_backward_pre_hook")


@pytest.mark.parametrize("kind", GLOBAL_HOOKS)
def test_hooks_on_all_modules(kind):
    handle = getattr(tn.modules.module, f"register_module_{kind}")(lambda *_: None)
    try:
        with pytest.raises(ConfigError, match=r"^from_module: PyTorch has hooks on all modules"):
            bridge.from_module(tn.Linear(3, 3))
    finally:
        handle.remove()
    assert bridge.from_module(tn.Linear(3, 3)).in_features == 3


def test_what_pytorch_lacks_is_told_whole():
    from anyfw.interop.torch import layers

    told = bridge.to_module.__doc__.partition("What PyTorch lacks")[2].partition("are")[0]
    own = {name for name, one in vars(layers).items() if getattr(one, "__module__", None) == layers.__name__}
    assert set(re.findall(r"`(\w+)`", told)) == own


class Own(nn.Linear):
    pass


def tied_net():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    return net


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.ReLU(), Own(3, 3)), "'s Own at '1': only anyfw's own layers"),
        (tied_net, "'0' and '1' of this net have one parameter"),
    ],
)
def test_a_net_that_pytorch_has_not(make, message):
    with pytest.raises(ConfigError, match=message):
        bridge.to_module(make())


# Arrays


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_arrays_and_tensors_share_their_memory(dtype):
    x = np.zeros((2, 3), dtype)
    tensor = bridge.as_tensor(x)
    back = bridge.as_array(tensor)
    x[0, 1] = 1
    assert tensor[0, 1] == back[0, 1] == 1
    tensor[1, 2] = 1
    assert x[1, 2] == back[1, 2] == 1
    back[0, 0] = 1
    assert x.sum() == 3
    assert (str(tensor.dtype), back.dtype, type(back)) == (f"torch.{dtype}", x.dtype, np.ndarray)


@pytest.mark.parametrize("look", [lambda x: x.T, lambda x: x[::2, 1::2], lambda x: x[1], lambda x: x[1, 2, ...]])
def test_strides_are_kept(look):
    x = np.arange(20.0).reshape(4, 5)
    tensor = bridge.as_tensor(look(x))
    assert tuple(tensor.shape) == look(x).shape
    assert tensor.data_ptr() == look(x).ctypes.data
    tensor += 100.0
    assert (look(x) >= 100.0).all()
    back = bridge.as_array(look(torch.zeros(4, 5)))
    assert back.strides == tuple(4 * step for step in look(torch.zeros(4, 5)).stride())


@pytest.mark.parametrize("spec", ["strict", "torch", "cupy"])
def test_arrays_of_other_backends_share_theirs(spec):
    backend = open_backend(spec)
    x = backend.asarray(np.zeros(3), "float32")
    tensor = bridge.as_tensor(x)
    tensor[1] = 2.0
    assert backend.to_numpy(x).tolist() == [0.0, 2.0, 0.0]
    back = bridge.as_array(tensor, backend)
    back[0] = 3.0
    assert tensor.tolist() == [3.0, 2.0, 0.0]
    assert backend.owns(back)


def test_a_tensor_stays_what_it_is():
    tensor = torch.ones(2)
    assert bridge.as_tensor(tensor) is tensor
    assert bridge.as_array(tensor, "torch") is tensor


def read_only():
    x = np.zeros(3)
    x.flags.writeable = False
    return x


ARRAYS = {
    "read-only": (read_only, r"can be written, got a read-only one\. Use x\.copy"),
    "broadcast": (lambda: np.broadcast_to(np.zeros(1), (4,)), "read-only"),
    "backwards": (lambda: np.zeros(3)[::-1], r"expected strides from 0, got \(-8,\), as of x\[::-1\]"),
    "the other byte order": (lambda: np.zeros(3, np.dtype("f4").newbyteorder()), "native byte order"),
    "texts": (lambda: np.array(["a"]), "this ndarray of <U1"),
    "objects": (lambda: np.array([object()]), "this ndarray of object"),
    "dates": (lambda: np.zeros(2, "M8[s]"), "datetime64"),
    "a field of a record": (lambda: np.zeros(4, [("a", "i1"), ("b", "f4")])["b"], "strides which are a multiple"),
    "a list": (lambda: [1.0], "expected an array, got list. Use numpy.asarray"),
    "a number of NumPy": (lambda: np.float64(1), "expected an array, got float64"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_memory_that_no_tensor_can_have(case):
    make, message = ARRAYS[case]
    with pytest.raises(PlacementError, match=rf"^as_tensor: .*{message}"):
        bridge.as_tensor(make())


def test_strict_arrays_backwards_are_refused_too():
    xp = open_backend("strict").xp
    with pytest.raises(PlacementError, match="strides"):
        bridge.as_tensor(xp.flip(xp.arange(3)))


TENSORS = {
    "gradients": (lambda: torch.zeros(2, requires_grad=True), None, r"Use tensor\.detach\(\), which shares memory"),
    "bfloat16": (lambda: torch.zeros(2, dtype=torch.bfloat16), None, "of numpy can have.*torch.bfloat16.*tensor.float"),
    "sparse": (lambda: torch.zeros(2, 2).to_sparse(), None, "no array of numpy"),
    "conjugated": (lambda: torch.zeros(2, dtype=torch.complex64).conj(), None, "conjugate bit.*clone"),
    "nowhere": (lambda: torch.zeros(2, device="meta"), "numpy", "numpy has no arrays on meta"),
    "another device": (lambda: torch.zeros(2), "strict:device1", "on cpu, which is not the device of strict:device1"),
    "an array": (lambda: np.zeros(2), None, "expected a tensor of PyTorch, got ndarray"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_memory_that_no_array_can_have(case):
    make, backend, message = TENSORS[case]
    with pytest.raises(PlacementError, match=rf"^as_array: .*{message}"):
        bridge.as_array(make(), backend)


# Files


def same(found, expected):
    if isinstance(expected, torch.Tensor):
        expected = expected.detach()
        expected = (expected.float() if expected.dtype is torch.bfloat16 else expected).numpy()
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            same(*pair)
    elif isinstance(expected, torch.device | torch.dtype):
        assert found == str(expected).removeprefix("torch.")
    else:
        assert (found, type(found)) == (expected, type(expected))


def trained(make=torch.optim.AdamW):
    torch.manual_seed(0)
    module = tn.Sequential(tn.Linear(3, 4), tn.BatchNorm1d(4), tn.ReLU(), tn.Linear(4, 2))
    optimizer = make(module.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        module(torch.randn(6, 3)).square().mean().backward()
        optimizer.step()
    return module, optimizer


def saved_optimizer(make):
    module, optimizer = trained(make)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 30])
    return {
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "epoch": 3,
        "best": 0.25,
        "rng": torch.get_rng_state(),
    }


def views():
    base = torch.arange(24.0).reshape(4, 6)
    return [
        base.T,
        base[1:, ::2],
        base[2],
        base[0, 0],
        base.reshape(2, 2, 6).permute(2, 0, 1),
        base[:0],
    ]


DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
SAVED = {
    "a state dict": lambda: trained()[0].state_dict(),
    "SGD": lambda: saved_optimizer(lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)),
    "Adam": lambda: saved_optimizer(torch.optim.Adam),
    "AdamW": lambda: saved_optimizer(torch.optim.AdamW),
    "RMSprop": lambda: saved_optimizer(torch.optim.RMSprop),
    "Adagrad": lambda: saved_optimizer(torch.optim.Adagrad),
    "all dtypes": lambda: {name: torch.tensor([0, 1, -3, 1 / 3]).to(getattr(torch, name)) for name in DTYPES},
    "bfloat16, all bits": lambda: torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16),
    "float16, all bits": lambda: torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.float16),
    "views": views,
    "parameters": lambda: [tn.Parameter(torch.randn(3, 2)), tn.Parameter(torch.ones(1), requires_grad=False)],
    "no axes, nothing": lambda: {"scalar": torch.tensor(2.5), "none": torch.zeros(0, 3), "truth": torch.tensor(True)},
    "containers": lambda: {
        "nested": [{"a": (1, 2.5, None, True, "é", [])}, {}, ()],
        "numbers": [0, 255, 256, 65536, -1, 2**31, -(2**63), 2**100, 1e300, float("inf")],
        "long": "x" * 300,
        "many": list(range(2000)),
        7: "a key that is a number",
        "torch": (torch.Size([2, 3]), torch.device("cuda", 1), torch.bfloat16),
    },
    "a large tensor": lambda: torch.randn(300, 1000),
    "many tensors": lambda: {f"layer{i}.weight": torch.full((2,), float(i)) for i in range(300)},
}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("case", SAVED)
def test_files_read_as_pytorch_reads_them(case, new, tmp_path):
    value = SAVED[case]()
    torch.save(value, tmp_path / "modèle.pt", _use_new_zipfile_serialization=new)
    same(bridge.read(tmp_path / "modèle.pt"), torch.load(tmp_path / "modèle.pt", weights_only=True))


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_tensors_that_shared_their_memory_share_it(new, tmp_path):
    torch.save(views(), tmp_path / "v.pt", _use_new_zipfile_serialization=new)
    found = bridge.read(tmp_path / "v.pt")
    found[3][...] = -1.0
    assert found[0][0, 0] == found[4][0, 0, 0] == -1.0


def test_files_without_checksums_are_read(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(views(), tmp_path / "v.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    same(bridge.read(tmp_path / "v.pt"), views())


def test_files_of_safetensors(tmp_path):
    from safetensors.torch import save_file

    values = SAVED["all dtypes"]() | {
        "matrix": torch.randn(3, 2),
        "scalar": torch.tensor(1.5),
        "none": torch.zeros(0, 2),
    }
    save_file(values, tmp_path / "v.safetensors", metadata={"format": "pt"})
    same(bridge.read(tmp_path / "v.safetensors"), dict(sorted(values.items())))


def test_from_a_file_into_a_net(tmp_path):
    module, _ = trained()
    torch.save(module.state_dict(), tmp_path / "m.pt")
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    bridge.load_state_dict(net, bridge.read(tmp_path / "m.pt"))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("f4")
    with torch.no_grad():
        expected = module.eval()(torch.tensor(x)).numpy()
    np.testing.assert_allclose(net.to("numpy")(x), expected, rtol=1e-5, atol=1e-6)


REFUSED = {
    "a whole module": (lambda: tn.Sequential(tn.Linear(2, 2)), r"whole module, 'torch\.nn\.modules.*state_dict"),
    "complex numbers": (lambda: torch.zeros(2, dtype=torch.complex64), "complex numbers"),
    "uint16": (lambda: torch.zeros(2, dtype=torch.uint16), "uint16 or float8"),
    "float8": (lambda: torch.zeros(2).to(torch.float8_e5m2), "uint16 or float8"),
    "sparse": (lambda: torch.zeros(2, 2).to_sparse(), "names 'torch._utils._rebuild_sparse_tensor'"),
    "meta": (lambda: torch.zeros(2, device="meta"), "_rebuild_meta_tensor"),
    "expanded": (lambda: torch.zeros(1).expand(3), "repeats the 1 numbers.*clone"),
    "an array of NumPy": (lambda: np.zeros(3), "values of NumPy"),
    "a number of NumPy": (lambda: {"best": np.float64(3)}, "values of NumPy.*item"),
    "a set": (lambda: {1}, "names '__builtin__.set'"),
    "bytes": (lambda: b"ab", "names '_codecs.encode'"),
    "a key of two parts": (lambda: {(1, 2): 3}, "a key is a tuple"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_files_of_what_is_not_read(case, tmp_path):
    make, message = REFUSED[case]
    torch.save(make(), tmp_path / "f.pt")
    with pytest.raises(FileFormatError, match=message):
        bridge.read(tmp_path / "f.pt")


def test_another_protocol(tmp_path):
    torch.save({}, tmp_path / "f.pt", pickle_protocol=4)
    with pytest.raises(FileFormatError, match=r"protocol 2, as torch\.save writes, got 4"):
        bridge.read(tmp_path / "f.pt")


def test_without_pytorch():
    program = (
        "import sys; sys.modules['torch'] = None; import numpy as np; from anyfw import nn; "
        "from anyfw.core.errors import MissingExtraError; from anyfw.interop import torch as bridge\n"
        "calls = {bridge.as_tensor: np.zeros(1), bridge.as_array: None, bridge.state_dict: nn.ReLU(), "
        "bridge.from_module: None, bridge.to_module: nn.ReLU()}\n"
        "for call, argument in calls.items():\n"
        "    try: call(argument)\n"
        "    except MissingExtraError as error: print(error)\n"
        "net = nn.Linear(1, 1); bridge.load_state_dict(net, {'weight': np.ones((1, 1)), 'bias': np.ones(1)})\n"
        "print(net.state_dict()['weight'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines == ["anyfw.interop.torch needs torch: pip install 'anyfw[torch]'"] * 5 + ["[[1.]]"]
    assert issubclass(MissingExtraError, RuntimeError)
