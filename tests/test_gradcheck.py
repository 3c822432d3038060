"""`gradcheck` finds wrong gradients, and says so."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from anyfw import losses, nn
from anyfw.cli.gradcheck import LAYERS, LOSSES
from anyfw.core.backend import get_backend
from anyfw.core.errors import BackendError
from anyfw.inspect.gradcheck import gradcheck, gradcheck_loss

X = np.random.default_rng(0).normal(size=(4, 3))


class Cubic(nn.Layer):
    """y = weight x^3; its gradients may be spoilt by a factor."""

    def __init__(self, input_error=1.0, weight_error=1.0):
        self.input_error, self.weight_error = input_error, weight_error
        self.weight = nn.Parameter((3,), 0.7)

    def forward(self, x, /, *, train=False):
        if train:
            self.push(x)
        return self.weight.data * x**3

    def backward(self, dy, /):
        (x,) = self.pop()
        self.weight.add_grad(np.sum(dy * x**3, axis=0) * self.weight_error)
        return dy * 3 * x**2 * self.weight.data * self.input_error


@pytest.mark.parametrize(
    ("layer", "wrong"),
    [
        (Cubic(), []),
        (Cubic(input_error=1 + 1e-5), ["input"]),
        (Cubic(weight_error=1 - 1e-5), ["weight"]),
        (Cubic(-1.0, 0.0), ["input", "weight"]),
        (Cubic(np.nan), ["input"]),
    ],
)
def test_a_wrong_gradient_is_found(layer, wrong):
    found = gradcheck(layer, X)
    assert [row.name for row in found.rows if not row.error <= 1e-6] == wrong
    assert found.ok == (not wrong)
    assert ("WRONG" in str(found)) == bool(wrong)
    assert str(found).count("  WRONG") == len(wrong)


def test_the_tolerance_decides():
    assert gradcheck(Cubic(1 + 1e-5), X, tolerance=1e-4).ok
    assert not gradcheck(Cubic(1 + 1e-5), X, tolerance=1e-6).ok


def test_the_result_reads_as_a_table():
    lines = str(gradcheck(nn.Sequential(nn.Linear(3, 2)), X)).splitlines()
    assert lines[0] == "Sequential: every gradient is right (relative error at most 1e-06)"
    assert lines[1].split() == ["gradient", "error", "backward", "differences"]
    assert [line.split()[0] for line in lines[2:]] == ["input", "0.weight", "0.bias"]


def test_a_gradient_of_another_shape_is_told():
    class Flat(nn.Tanh):
        def backward(self, dy, /):
            return super().backward(dy)[0]

    found = gradcheck(Flat(), X)
    assert not found.ok
    assert "input, shape (3,) in place of (4, 3)" in str(found)


def test_the_layer_stays_as_it_is():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).to("numpy", "float32")
    net.forward(X.astype("float32"), train=True)
    before, forwards = net.state_dict(), net.shared.forwards
    assert gradcheck(net, X).ok
    assert (net.dtype, net.shared.forwards) == ("float32", forwards)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    net.backward(np.ones((4, 3), dtype="float32"))


def test_frozen_parameters_and_integers_have_no_gradient():
    net = nn.Sequential(nn.Rescale(0.1), nn.Linear(3, 2))
    net[1].bias.trainable = False
    found = gradcheck(net, np.arange(12, dtype=np.uint8).reshape(4, 3))
    assert list(found.errors) == ["1.weight"]
    assert found.ok


def test_inner_layers_of_a_net_can_be_checked():
    net = nn.Sequential(nn.Linear(3, 3), nn.Residual(nn.LayerNorm(3))).to("strict", "float32")
    assert gradcheck(net[1], X).ok
    assert net[1].who == "Residual 'net.1'"


def test_a_device_without_float64_is_refused():
    with pytest.raises(BackendError, match="has no float64"):
        gradcheck(nn.Tanh().to("strict:no_float64"), X)


def test_losses():
    y, target = X, np.random.default_rng(1).normal(size=(4, 3))
    strict = get_backend("strict")
    assert gradcheck_loss(losses.MSELoss(), y, target).ok
    assert gradcheck_loss(losses.MSELoss(), strict.asarray(y, "float32"), target, np.arange(4.0)).ok
    assert gradcheck_loss(losses.CrossEntropyLoss(), y, np.array([0, 1, 2, 1])).ok

    def wrong(y, target, sample_weight):
        value, dy = losses.MSELoss()(y, target, sample_weight)
        return value, 2 * dy

    found = gradcheck_loss(wrong, y, target)
    assert not found.ok
    assert str(found).startswith("wrong: WRONG gradients")
    assert found.errors["y"] == pytest.approx(0.5)


def test_the_ledger_of_gradients_in_the_readme_is_current():
    root = Path(__file__).parent.parent
    sys.path.insert(0, str(root / "ci"))
    try:
        import gradcheck_ledger as ledger
    finally:
        sys.path.pop(0)
    text = (root / "README.md").read_text(encoding="utf-8")
    head, _, *lines = text.split(ledger.BEGIN)[1].split(ledger.END)[0].strip().splitlines()
    columns = re.findall(r"(float\d\d) `(\w+)`", head)
    said = {}
    for line in lines:
        if line.startswith("| "):
            name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            said.update({(name, *column): int(cell[2:]) for column, cell in zip(columns, cells, strict=True)})
    assert {name for name, _, _ in said} == {*LAYERS, *LOSSES}
    # With other libraries and processors the last digits are others: one power of ten is left.
    for backend in {backend for _, backend in columns if ledger.works(backend)}:
        for name, *errors in ledger.measured(get_backend(backend)):
            for dtype, error in zip(("float64", "float32"), errors, strict=True):
                assert ledger.power(error) <= said[name, dtype, backend] + 1, (name, dtype, backend, error)


def test_every_public_layer_and_loss_is_in_the_ledger():
    def public(module, base):
        found = (getattr(module, name) for name in module.__all__)
        return {
            kind.__name__ for kind in found if isinstance(kind, type) and issubclass(kind, base) and kind is not base
        }

    assert public(nn, nn.Layer) <= {name.partition(" ")[0] for name in LAYERS}
    assert public(losses, losses.Loss) <= set(LOSSES)
