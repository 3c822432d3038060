"""`anyfw bench` and `inspect.bench`: figures that add up, whatever the machine's speed."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import open_backend

from anyfw import inspect, losses, nn, optim
from anyfw.cli import main
from anyfw.core.errors import ConfigError
from anyfw.inspect.bench import crossing, crossings
from anyfw.inspect.bench_report import BackendBench, BatchRow, Overhead
from anyfw.inspect.stopwatch import LayerClock, seconds_per_call

QUICK = {"batches": (1, 4), "layers_at": 4, "seconds": 0.002}


class OneHot(nn.Layer):
    """A layer of the user's that takes integers."""

    def forward(self, x, /, *, train=False):
        return np.eye(7, dtype=np.float32)[x]

    def backward(self, dy, /):
        return dy


def small_net():
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def test_the_net_itself_stays_as_it_was():
    net = small_net().init(3)
    before = net.state_dict()
    inspect.bench(net, **QUICK)
    after = net.state_dict()
    assert all((before[name] == after[name]).all() for name in before)
    fresh = small_net()
    inspect.bench(fresh, **QUICK)
    assert not any(parameter.drawn for parameter in fresh.parameters())


def test_figures_add_up():
    found = inspect.bench(small_net(), **QUICK, backends=["numpy"])
    (backend,) = found.backends
    assert [row.batch for row in backend.batches] == [1, 4]
    for row in backend.batches:
        assert row.forward > 0
        assert row.step > 0
        assert 0 <= row.overhead <= 1
    assert [layer.kind for layer in backend.layers] == ["Sequential", "Linear", "Tanh", "Linear", "loss", "update"]
    assert all(layer.forward > 0 for layer in backend.layers[:-2])
    assert backend.layers[-1].backward > 0
    assert found.parameters == 32
    assert (found.net, found.loss, found.optimizer) == ("3-5-2", "CrossEntropyLoss", "Adam")


def test_memory_is_what_a_step_keeps():
    (backend,) = inspect.bench(small_net(), **QUICK, backends=["numpy"]).backends
    small, large = (row.memory for row in backend.batches)
    # Per row: x (3), Tanh's output (5, kept by two layers, counted once), in float32; the label in int64.
    assert large - small == 3 * (4 * (3 + 5) + 8)
    # Parameters, gradients and Adam's two moments.
    assert small == 4 * 32 * 4 + 4 * (3 + 5) + 8


def test_a_net_with_one_output_is_timed_on_the_squared_error():
    assert inspect.bench(nn.Linear(3, 1), **QUICK).loss == "MSELoss"


def test_rows_and_losses_and_optimizers_may_be_given():
    net = nn.Sequential(OneHot(), nn.Linear(7, 3))
    data = np.arange(5), np.arange(5) % 3
    found = inspect.bench(
        net, data=data, loss=losses.CrossEntropyLoss(label_smoothing=0.1), optimizer=lambda p: optim.SGD(p), **QUICK
    )
    assert found.optimizer == "SGD"
    with pytest.raises(ConfigError, match="data"):
        inspect.bench(nn.Sequential(nn.Tanh()), **QUICK)


@pytest.mark.parametrize(
    "wrong", [{"batches": (0,)}, {"batches": ()}, {"seconds": 0.0}, {"layers_at": 0}, {"backends": []}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        inspect.bench(small_net(), **{**QUICK, **wrong})


def test_two_backends_are_compared():
    open_backend("torch")
    found = inspect.bench(small_net(), **QUICK, backends=["numpy", "torch"])
    assert [backend.spec for backend in found.backends] == ["numpy", "torch:cpu"]
    assert "faster than" in str(found)


def test_crossing_lies_where_two_power_laws_meet():
    sizes = [1, 8, 64, 512]
    a, b = [2.0 * n for n in sizes], [10.0 * n**0.5 for n in sizes]
    assert crossing(sizes, a, b) == pytest.approx(25.0)
    assert crossing(sizes, b, a) == pytest.approx(25.0)
    assert crossing(sizes, a, [x / 2 for x in a]) is None
    # It crosses twice: the last crossing counts.
    assert crossing([1, 10, 100], [1.0, 3.0, 1.0], [2.0, 2.0, 2.0]) > 10


def measured(spec, steps):
    rows = tuple(BatchRow(batch, step, step / 2, 0.1, 100) for batch, step in steps.items())
    return BackendBench(spec, {}, rows, 8, (), Overhead(1e-6, 1e-5), (f"{spec}: more rows do not fit.",))


def test_a_crossing_names_the_faster_one():
    numpy, cupy = measured("numpy", {1: 1.0, 100: 100.0, 1000: 900.0}), measured("cupy", {1: 10.0, 100: 10.0})
    for pair in ((numpy, cupy), (cupy, numpy)):
        ((slow, fast, at),) = crossings(pair)
        assert (slow, fast, at) == ("numpy", "cupy", pytest.approx(10.0))
    found = inspect.Bench("net", "loss", "optimizer", "float32", 1, (numpy, cupy), tuple(crossings((numpy, cupy))))
    assert "cupy is faster than numpy from a batch size of about 10 on." in str(found)
    assert str(found).endswith("cupy: more rows do not fit.")
    never = measured("torch:cpu", {1: 0.5, 100: 5.0})
    assert list(crossings((cupy, never))) == []
    assert "torch:cpu is faster than cupy at all these" in str(
        inspect.Bench("net", "loss", "optimizer", "float32", 1, (cupy, never), ())
    )
    assert list(crossings((numpy, measured("strict", {7: 1.0})))) == []


def test_samples_per_second_are_rows_by_time():
    assert BatchRow(8, 0.25, 0.1, 0.0, 1).samples_per_second == 32.0


def test_seconds_per_call_is_the_median_of_blocks(monkeypatch):
    clock, calls = [0.0], []

    def run():
        calls.append(0)
        clock[0] += 0.010 if len(calls) != 4 else 5.0  # one call is disturbed

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert seconds_per_call(run, lambda: None, 5.1) == pytest.approx(0.010)


def test_the_layer_clock_counts_each_layer_for_itself(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    outer, inner = nn.Tanh(), nn.ReLU()
    clock = LayerClock(lambda: None)

    def work(seconds, then=lambda: None):
        def method():
            now[0] += seconds
            then()

        return method

    within = clock.forward(inner, work(3.0))
    whole = clock.forward(outer, work(1.0, lambda: (within(), within())))
    whole()
    clock.end_pass(counts=False)
    whole()
    clock.end_pass(counts=True)
    assert (clock.median(outer, "forward"), clock.median(inner, "forward")) == (1.0, 6.0)
    assert clock.median(outer, "backward") == 0.0


def test_a_batch_that_does_not_fit_is_said_and_left_out(monkeypatch):
    forward = nn.Tanh.forward

    def limited(self, x, /, *, train=False):
        if len(x) > 4:
            raise MemoryError
        return forward(self, x, train=train)

    monkeypatch.setattr(nn.Tanh, "forward", limited)
    found = inspect.bench(small_net(), batches=(1, 8, 16), layers_at=2, seconds=0.002, backends=["numpy"])
    assert [row.batch for row in found.backends[0].batches] == [1]
    assert found.backends[0].notes == ("numpy: batches of 8 rows and more do not fit into memory.",)
    # Layers are timed at as many rows as fit.
    (backend,) = inspect.bench(small_net(), batches=(1,), layers_at=16, seconds=0.002, backends=["numpy"]).backends
    assert backend.layers_at == 4
    assert backend.layers
    assert [note.split(",")[0] for note in backend.notes] == [
        f"numpy: layers could not be timed at {rows} rows" for rows in (16, 8)
    ]


def test_the_command_prints_tables_and_json(capsys):
    arguments = ["bench", "--features", "3", "--outputs", "2", "--batches", "1", "2", "--layers-at", "2"]
    arguments += ["--seconds", "0.002", "--backends", "numpy", "--hidden", "4"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "samples/s" in text
    assert "overhead:" in text
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["backends"][0]["batches"][1]["samples_per_second"] > 0
    assert main(["bench", "--optimizer", "adm"]) == 2
    assert "adam" in capsys.readouterr().err


def test_the_command_measures_a_model_file(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    small_net().init(0).save(path)
    assert main(["bench", str(path), "--batches", "2", "--layers-at", "2", "--seconds", "0.002"]) == 0
    assert "3-5-2" in capsys.readouterr().out
    assert main(["bench", str(path), "--features", "5", "--hidden", "7"]) == 2
    assert "has its own layers: --hidden, --features cannot be had with it" in capsys.readouterr().err


def test_a_setting_that_is_refused_is_named():
    environment = {**os.environ, "ANYFW_FUSED": "nonsense", "ANYFW_BACKEND": "numpy"}
    command = [sys.executable, "-m", "anyfw", "bench", "--batches", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "ANYFW_FUSED: expected one of 0, plain, 1, got 'nonsense'" in done.stderr
