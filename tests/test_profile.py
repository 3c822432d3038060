"""`profile`: what is counted is counted exactly, what is timed is there."""

import numpy as np
import pytest

from anyfw import inspect, nn
from anyfw.core.errors import ConfigError
from anyfw.inspect.profile import _EACH


def test_operations_and_bytes_of_each_layer():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Residual(nn.Linear(8, 8, bias=False)), nn.Linear(8, 3))
    found = inspect.profile(net, rows=10, seconds=0.01)
    rows = {row.layer: row for row in found.rows}
    assert list(rows) == ["0 Linear", "1 ReLU", "2 Residual", "2.layer Linear", "3 Linear"]
    assert (rows["0 Linear"].flops_forward, rows["0 Linear"].flops_backward) == (2 * 480 + 80, 4 * 480 + 80)
    assert (rows["1 ReLU"].flops_forward, rows["1 ReLU"].flops_backward) == (80, 160)
    assert (rows["2 Residual"].flops_forward, rows["2.layer Linear"].flops_forward) == (80, 2 * 640)
    assert rows["0 Linear"].parameters == 4 * (48 + 8)
    # x, then ReLU's output, which the next Linear keeps too, then what the residual gave.
    assert [rows[name].saved for name in rows] == [4 * 60, 4 * 80, 0, 0, 4 * 80]
    assert all(row.forward > 0 for row in found.rows)
    assert found.shape == (10, 6)
    assert "in all" in str(found)
    assert found.as_dict()["rows"][0]["layer"] == "0 Linear"
    assert net.shared.forwards == 0


def test_every_public_layer_is_counted():
    public = {getattr(nn, name) for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    exact = {nn.Layer, nn.Linear, nn.Sequential, nn.Residual, nn.Parallel, nn.Identity, nn.Flatten, nn.CategoryColumns}
    counted = {kind for kind in public if issubclass(kind, nn.Layer)} - exact
    assert counted == set(_EACH)


def test_a_layer_of_ones_own_is_timed_and_not_counted(backend):
    class Own(nn.Layer):
        def forward(self, x, /, *, train=False):
            return x * 2.0

        def backward(self, dy, /):
            return dy * 2.0

    found = inspect.profile(nn.Sequential(nn.Linear(3, 3), Own()), np.ones((4, 3)), seconds=0.01, backend=backend)
    assert found.rows[1].flops_forward is None
    assert found.rows[1].backward > 0
    assert found.backend == backend.spec


def test_what_cannot_be_profiled_is_told():
    with pytest.raises(ConfigError, match="give x"):
        inspect.profile(nn.Tanh())
    with pytest.raises(ConfigError, match="at least one row"):
        inspect.profile(nn.Linear(2, 2), rows=0)
