"""`verify`: agreement is measured, and the first layer that diverges is named."""

import numpy as np
import pytest

from anyfw import inspect, nn
from anyfw.core.errors import BackendError, ConfigError, UnknownNameError
from anyfw.ops import activation, normalize


def net():
    return nn.Sequential(
        nn.Linear(6, 9), nn.BatchNorm1d(9), nn.GELU(), nn.Dropout(0.3), nn.Residual(nn.Linear(9, 9)), nn.LayerNorm(9),
        nn.Linear(9, 3), nn.Softmax(),
    ).init(1)  # fmt: skip


@pytest.fixture
def strict():
    pytest.importorskip("array_api_strict")
    return ["numpy", "strict:device1"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("other", ["strict:device1", "torch"])
def test_backends_agree(dtype, other):
    pytest.importorskip({"torch": "torch"}.get(other, "array_api_strict"))
    found = inspect.verify(net().to("numpy", dtype), backends=["numpy", other])
    assert found.ok, str(found)
    assert found.first == {}
    # But for a bias before batch norm, whose gradient is nothing but rounding.
    others = [row.relative for row in found.rows if row.what not in ("dbias", "d0.bias")]
    assert max(others) < (5e-6 if dtype == "float32" else 1e-14)
    assert {row.what for row in found.rows if row.layer == "0 Linear"} == {"forward", "dweight", "dbias", "dx"}
    names = [row.layer for row in found.rows if row.what == "forward"]
    assert names[0] == "0 Linear"
    assert names[-3:] == ["7 Softmax", "net Sequential", "whole net"]
    whole = [row.what for row in found.rows if row.layer == "whole net"]
    assert whole[0] == "forward"
    assert whole[-1] == "inference"
    assert {"running_mean", "running_var"} <= {row.what for row in found.rows if row.layer == "1 BatchNorm1d"}


@pytest.mark.parametrize(
    ("home", "name", "change", "layer", "what"),
    [
        (activation, "gelu", lambda y: y * 1.001, "2 GELU", "forward"),
        (normalize, "layer_norm_grad", lambda grads: (grads[0] * 1.001, *grads[1:]), "5 LayerNorm", "dx"),
        (activation, "gelu", lambda y: y * float("nan"), "2 GELU", "forward"),
    ],
)
def test_the_first_layer_that_diverges_is_named(home, name, change, layer, what, strict, monkeypatch):
    op = getattr(home, name)
    kind = type(inspect.verify.__globals__["get_backend"]("strict:device1").asarray(np.zeros(1)))
    plain = op.dispatch(kind)
    op.register(kind, lambda *args, **options: change(plain(*args, **options)))
    try:
        found = inspect.verify(net(), backends=strict)
    finally:
        op.register(kind, plain)
    assert not found.ok
    assert (found.first["strict:device1"].layer, found.first["strict:device1"].what) == (layer, what)
    assert f"strict:device1 diverges first at {layer}, {what}" in str(found)


def test_the_net_stays_as_it_is_and_rows_may_be_given(strict):
    model = net().to("numpy", "float64")
    before = model.state_dict()
    found = inspect.verify(model, np.ones((4, 6)) * np.arange(6), backends=strict)
    assert found.ok
    assert all((values == before[name]).all() for name, values in model.state_dict().items())
    assert model.shared.forwards == 0


def test_a_layer_that_is_used_twice_has_a_row_for_each_use(strict):
    act = nn.Tanh()
    found = inspect.verify(nn.Sequential(nn.Linear(3, 3), act, nn.Linear(3, 3), act), backends=strict)
    assert [row.what for row in found.rows if row.layer == "1 Tanh"] == ["forward", "forward 2", "dx", "dx 2"]


def test_what_cannot_be_compared_is_told(strict):
    with pytest.raises(ConfigError, match="at least two backends"):
        inspect.verify(net(), backends=["numpy"])
    with pytest.raises(UnknownNameError, match="strikt"):
        inspect.verify(net(), backends=["numpy", "strikt"])
    with pytest.raises(BackendError, match="no float64"):
        inspect.verify(net().to("numpy", "float64"), backends=["numpy", "strict:no_float64"])
    with pytest.raises(ConfigError, match="give x"):
        inspect.verify(nn.Tanh(), backends=strict)
    with pytest.raises(ConfigError, match="expected rows"):
        inspect.verify(nn.Tanh(), np.zeros((0, 3)), backends=strict)


def test_without_names_all_that_work_are_compared():
    found = inspect.verify(net())
    assert found.backends[0] == "numpy"
    assert found.ok
    assert set(found.left_out) | {spec.partition(":")[0] for spec in found.backends} == {
        "numpy",
        "cupy",
        "torch",
        "strict",
    }


DEEP = [layer for _ in range(20) for layer in (nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU())]
HARD = {
    "two rows": (net, {"rows": 2}),
    "three rows": (net, {"rows": 3, "seed": 5}),
    "years": (
        lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 2)), {"x": 1000 + np.arange(48.0).reshape(8, 6) % 3},
    ),
    "two features": (lambda: nn.Sequential(nn.Linear(6, 2), nn.LayerNorm(2), nn.Linear(2, 2)), {}),
    "twenty layers": (lambda: nn.Sequential(*DEEP), {}),
    "whole numbers": (
        lambda: nn.Sequential(nn.Rescale([1 / 255] * 6, [0.0] * 6), nn.Linear(6, 2)),
        {"x": np.arange(48, dtype=np.uint8).reshape(8, 6)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", HARD)
def test_rounding_is_no_divergence(name, dtype, strict):
    make, options = HARD[name]
    found = inspect.verify(make().init(2).to("numpy", dtype), **options, backends=strict)
    assert found.ok, str(found)


def test_running_statistics_and_infinities_are_compared(strict, monkeypatch):
    kind = type(inspect.verify.__globals__["get_backend"]("strict:device1").asarray(np.zeros(1)))
    op = normalize.batch_norm
    plain = op.dispatch(kind)

    def wrong(*args):
        y, mean, variance, rstd = plain(*args)
        return y, mean, variance * 100.0, rstd

    op.register(kind, wrong)
    try:
        found = inspect.verify(net(), backends=strict).first["strict:device1"]
    finally:
        op.register(kind, plain)
    assert (found.layer, found.what) == ("1 BatchNorm1d", "running_var")

    op, plain = activation.tanh, activation.tanh.dispatch(kind)
    op.register(kind, lambda x: plain(x) / 0.0)
    before = activation.tanh.dispatch(np.ndarray)
    op.register(np.ndarray, lambda x: before(x) * float("nan"))
    try:
        with np.errstate(all="ignore"):
            found = inspect.verify(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), backends=strict)
    finally:
        op.register(kind, plain)
        op.register(np.ndarray, before)
    assert found.first["strict:device1"].layer == "1 Tanh"
