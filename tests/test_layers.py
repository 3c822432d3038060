"""Every row of `LAYERS` through every check; a public layer without a row fails."""

import json
import random

import numpy as np
import pytest
from specs import LAYERS, LayerSpec

from anyfw import nn
from anyfw.core.backend import get_backend
from anyfw.core.errors import AnyfwError, BackwardError, ShapeError
from anyfw.inspect.gradcheck import gradcheck

each_layer = pytest.mark.parametrize("spec", LAYERS, ids=lambda spec: spec.name)
each_torch_layer = pytest.mark.parametrize("spec", [s for s in LAYERS if s.torch], ids=lambda spec: spec.name)


def dy_for(spec: LayerSpec) -> np.ndarray:
    return np.random.default_rng(99).normal(size=spec.y)


def run(layer: nn.Layer, x: np.ndarray, dy: np.ndarray, spec="numpy", dtype="float64") -> dict[str, np.ndarray]:
    """One pass forward and back on a backend; outputs, gradients and buffers on the host."""
    backend = get_backend(spec)
    layer.to(backend, dtype)
    y = layer.forward(backend.asarray(x, dtype), train=True)
    dx = layer.backward(backend.asarray(dy, dtype))
    found = {"y": y, "dx": dx, "inference": layer(backend.asarray(x, dtype))}
    found |= {f"grad {name}": parameter.grad for name, parameter in layer.named_parameters()}
    for name, array in found.items():
        assert backend.owns(array), name
        assert backend.dtype_name(array.dtype) == dtype, name
    host = {name: np.array(backend.to_numpy(array)) for name, array in found.items()}
    return host | {f"state {name}": value for name, value in layer.state_dict().items()}


def assert_equal(found, expected, tolerance, least=1e-3):
    """Largest difference relative to the largest number, array by array, which counts as `least` where it is less."""
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].shape == expected[name].shape, name
        size = np.max(np.abs(expected[name]), initial=least)
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance * size, err_msg=name)


def test_every_public_layer_has_a_row():
    public = {name for name in nn.__all__ if isinstance(kind := getattr(nn, name), type) and issubclass(kind, nn.Layer)}
    assert {type(spec.make()).__name__ for spec in LAYERS} == public - {"Layer"}
    assert len({spec.name for spec in LAYERS}) == len(LAYERS)


@each_layer
def test_gradients_against_finite_differences(spec, backend):
    if not backend.has_float64:
        pytest.skip(f"{backend.spec} has no float64")
    found = gradcheck(spec.layer(), backend.asarray(spec.sample()))
    assert found.ok, str(found)
    assert found.errors.keys() == {"input", *dict(spec.make().named_parameters())}


@each_layer
def test_float32_against_float64(spec):
    x, dy = (array.astype(np.float32).astype(np.float64) for array in (spec.sample(), dy_for(spec)))
    expected = run(spec.layer(), x, dy)
    found = run(spec.layer(), x, dy, dtype="float32")
    assert found["y"].shape == spec.y
    assert_equal(found, expected, 1e-5)


@each_layer
def test_all_backends_agree(spec, backend):
    dtype, tolerance = ("float64", 1e-12) if backend.has_float64 else ("float32", 1e-5)
    expected = run(spec.layer(), spec.sample(), dy_for(spec), dtype=dtype)
    found = run(spec.layer(), spec.sample(), dy_for(spec), backend, dtype)
    assert_equal(found, expected, tolerance)


@each_layer
def test_inputs_are_unchanged_and_inference_keeps_nothing(spec, backend):
    layer = spec.layer().to(backend, "float32")
    x, dy = (backend.asarray(array, "float32") for array in (spec.sample(), dy_for(spec)))
    before = layer.state_dict()
    layer(x)
    assert all(not inner._saved for _, inner in layer.named_layers())
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    layer.forward(x, train=True)
    layer.backward(dy)
    np.testing.assert_array_equal(backend.to_numpy(x), spec.sample().astype("float32"))
    np.testing.assert_array_equal(backend.to_numpy(dy), dy_for(spec).astype("float32"))


@each_layer
def test_accumulate_adds_what_backward_adds(spec):
    layer = spec.layer().to("numpy", "float64")
    x, dy = spec.sample(), dy_for(spec)
    layer.forward(x, train=True)
    layer.backward(dy)
    once = {name: parameter.grad.copy() for name, parameter in layer.named_parameters()}
    layer.shared.rewind(0)
    layer.forward(x, train=True)
    layer.accumulate(dy)
    for name, parameter in layer.named_parameters():
        np.testing.assert_allclose(parameter.grad, 2 * once[name], rtol=1e-12, err_msg=name)
    assert all(not inner._saved for _, inner in layer.named_layers())


@each_layer
def test_frozen_parameters_take_no_gradient(spec):
    layer = spec.layer().to("numpy", "float64")
    for parameter in layer.parameters():
        parameter.trainable = False
    layer.forward(spec.sample(), train=True)
    dx = layer.backward(dy_for(spec))
    assert all(not np.any(parameter.grad) for parameter in layer.parameters())
    assert_equal({"dx": dx}, {"dx": run(spec.layer(), spec.sample(), dy_for(spec))["dx"]}, 1e-12)


@each_layer
def test_an_extra_backward_names_the_layer(spec):
    layer = nn.Sequential(spec.layer()).to("numpy", "float64")
    layer.forward(spec.sample(), train=True)
    layer.backward(dy_for(spec))
    if spec.name == "Sequential, empty":
        return
    with pytest.raises(BackwardError, match=r"'net\.0.*'?: backward without a forward\(train=True\) before it"):
        layer.backward(dy_for(spec))
    layer(spec.sample())
    with pytest.raises(BackwardError):
        layer.accumulate(dy_for(spec))


@each_layer
def test_the_description_rebuilds_the_layer(spec):
    layer = spec.layer()
    config = layer.config()
    again = nn.from_config(json.loads(json.dumps(config)))
    assert again.config() == config
    again.load_state_dict(layer.state_dict())
    assert_equal(run(again, spec.sample(), dy_for(spec)), run(layer, spec.sample(), dy_for(spec)), 0.0)
    assert repr(again) == repr(layer)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [row for spec in LAYERS for row in spec.errors],
    ids=[f"{spec.name}-{i}" for spec in LAYERS for i in range(len(spec.errors))],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, AnyfwError)


@pytest.mark.parametrize(
    ("layer", "width"),
    [
        (nn.Linear(4, 2), 4),
        (nn.LayerNorm(4), 4),
        (nn.RMSNorm(4), 4),
        (nn.BatchNorm1d(4), 4),
        (nn.Rescale([1.0] * 4), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_feature_count_names_the_path(layer, width):
    net = nn.Sequential(nn.Linear(5, 3), nn.Residual(nn.Sequential(nn.Tanh(), layer)))
    kind = type(layer).__name__
    with pytest.raises(ShapeError, match=rf"^{kind} 'net\.1\.layer\.1': expected .*\b{width}\b.*got shape \(2, 3\)"):
        net(np.ones((2, 5), dtype=np.float32))


# Rescale


@pytest.mark.parametrize("dtype", ["uint8", "int64", "int32"])
@pytest.mark.parametrize("scale", [1 / 255, [1 / 255, 0.5, -3.0]], ids=["number", "features"])
def test_integers_are_rescaled_in_the_dtype_of_the_net(scale, dtype, backend):
    x = np.array([[0, 127, 255], [1, 2, 3]])
    for net_dtype in ("float32", "float64") if backend.has_float64 else ("float32",):
        net = nn.Sequential(nn.Rescale(scale, -0.5), nn.Linear(3, 2)).to(backend, net_dtype)
        y = net[0](backend.asarray(x, dtype))
        assert backend.dtype_name(y.dtype) == net_dtype
        expected = x * np.array(scale).astype(net_dtype) - 0.5
        np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=1e-6 if net_dtype == "float32" else 1e-15)
        net.forward(backend.asarray(x, dtype), train=True)
        net.accumulate(backend.asarray(np.ones((2, 2)), net_dtype))


def test_the_constants_of_rescale_move_with_the_net(backend):
    layer, x = nn.Rescale([0.1, 0.2, 0.3]), np.ones((1, 3))
    for place, dtype in (("numpy", "float32"), (backend, "float32"), ("numpy", "float64")):
        layer.to(place, dtype)
        y = layer(layer.backend.asarray(x, dtype))
        assert layer.backend.dtype_name(y.dtype) == dtype
        expected = np.array([[0.1, 0.2, 0.3]]).astype(dtype)
        np.testing.assert_array_equal(layer.backend.to_numpy(y), expected)
    assert layer.state_dict() == {}


def test_rescale_takes_arrays_and_describes_them_exactly():
    scale = np.random.default_rng(0).normal(size=7)
    layer = nn.Rescale(scale, scale.astype("float32"))
    again = nn.from_config(json.loads(json.dumps(layer.config())))
    assert again.scale == tuple(scale.tolist())
    assert again.shift == tuple(scale.astype("float32").tolist())


# Against PyTorch


def torch_run(torch, module, x, dy):
    x = torch.tensor(x, requires_grad=True)
    y = module(x)
    y.backward(torch.tensor(dy))
    found = {"y": y, "dx": x.grad} | {f"grad {name}": p.grad for name, p in module.named_parameters()}
    return {name: tensor.detach().numpy() for name, tensor in found.items()}


def torch_state(torch, layer):
    return {name: torch.tensor(value) for name, value in layer.state_dict().items()}


@each_torch_layer
def test_pytorch_gives_the_same(spec):
    torch = pytest.importorskip("torch")
    layer, module = spec.layer().to("numpy", "float64"), spec.torch(torch).double()
    module.load_state_dict(torch_state(torch, layer))
    x, dy = spec.sample(), dy_for(spec)
    y = layer.forward(x, train=True)
    found = {"y": y, "dx": layer.backward(dy)}
    found |= {f"grad {name}": parameter.grad for name, parameter in layer.named_parameters()}
    assert_equal(found, torch_run(torch, module, x, dy), 1e-10)

    again = spec.make().to("numpy", "float64")
    again.load_state_dict(module.state_dict())
    assert_equal(again.state_dict(), layer.state_dict(), 1e-12)
    with torch.no_grad():
        assert_equal({"y": again(x)}, {"y": module.eval()(torch.tensor(x)).numpy()}, 1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_random_nets_are_pytorchs(seed):
    torch = pytest.importorskip("torch")
    chain = [spec for spec in LAYERS if spec.torch and spec.x == spec.y == (4, 5)]
    draw = random.Random(seed)
    ours, theirs = [], []
    for spec in draw.choices(chain, k=5):
        ours += [spec.layer(seed), nn.Linear(5, 5)]
        theirs += [spec.torch(torch), torch.nn.Linear(5, 5)]
    net = nn.Sequential(*ours).init(seed).to("numpy", "float64")
    module = torch.nn.Sequential(*theirs).double()
    module.load_state_dict(torch_state(torch, net))
    x, dy = (np.random.default_rng([seed, i]).normal(size=(4, 5)) for i in range(2))
    y = net.forward(x, train=True)
    found = {"y": y, "dx": net.backward(dy)}
    found |= {f"grad {name}": parameter.grad for name, parameter in net.named_parameters()}
    # What a norm takes away again has a gradient that cancels to nothing: its noise is that of the terms.
    largest = max(float(np.abs(array).max()) for array in found.values())
    assert_equal(found, torch_run(torch, module, x, dy), 1e-10, least=0.1 * largest)
