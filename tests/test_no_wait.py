"""Inside a training step the host reads nothing from the device: on a GPU each such read would wait for it.

The arrays of array-api-strict stand for those of a GPU: whatever would bring one of their numbers to the host, or make
the host ask for their contents, raises here while a step runs.
"""

from contextlib import contextmanager

import numpy as np
import pytest
from specs import LAYERS, LOSSES, OPTIMISERS

from anyfw import Trainer, get_backend, losses, metrics, nn, optim
from anyfw.train.loop import Loop

strict = pytest.importorskip("array_api_strict")
_Array = type(strict.zeros(()))
_READS = (
    "__float__",
    "__int__",
    "__bool__",
    "__index__",
    "__complex__",
    "__array__",
    "__buffer__",
    "__dlpack__",
    "to_device",
)
# Their results have as many elements as the contents say, which the host must then know.
_COUNTING = ("nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values")


class WaitError(AssertionError):
    pass


@contextmanager
def no_waiting(monkeypatch):
    def refuse(name):
        def method(*_args, **_kwargs):
            raise WaitError(f"{name} waits for the device")

        return method

    def masked(name):
        plain = getattr(_Array, name)

        def method(self, key, *value):
            keys = key if isinstance(key, tuple) else (key,)
            if any(isinstance(k, _Array) and k.dtype == strict.bool for k in keys):
                raise WaitError(f"{name} with a mask waits for the device")
            return plain(self, key, *value)

        return method

    with monkeypatch.context() as patched:
        for name in _READS:
            patched.setattr(_Array, name, refuse(name))
        for name in ("__getitem__", "__setitem__"):
            patched.setattr(_Array, name, masked(name))
        for name in _COUNTING:
            patched.setattr(strict, name, refuse(name))
        yield


def test_what_would_wait_is_seen(monkeypatch):
    x = strict.asarray([1.0, 2.0])
    with no_waiting(monkeypatch):
        for read in (lambda: float(x[0]), lambda: bool(x[0] > 1.0), lambda: x[x > 1.0], lambda: np.asarray(x)):
            with pytest.raises(WaitError):
                read()
    assert float(x[0]) == 1.0


@pytest.mark.parametrize("spec", LAYERS, ids=lambda spec: spec.name)
def test_no_layer_waits(spec, monkeypatch):
    layer = spec.layer().to("strict:device1", "float32")
    x = layer.backend.asarray(spec.sample(), "float32")
    dy = layer.backend.asarray(np.ones(spec.y), "float32")
    layer.forward(x, train=True)  # the first use places, and makes what is kept
    layer.zero_grad()
    with no_waiting(monkeypatch):
        layer.forward(x, train=True)
        layer.backward(dy)
        layer.forward(x)


@pytest.mark.parametrize("spec", OPTIMISERS, ids=str)
def test_no_optimizer_waits(spec, monkeypatch):
    net = nn.Linear(3, 2).to("strict:device1")
    optimizer = getattr(optim, spec.name)(net.parameters(), **spec.arguments)
    for _ in range(2):
        for parameter in net.parameters():
            parameter.grad[...] = 1.0
        with no_waiting(monkeypatch):
            optim.clip_value_(net.parameters(), 0.5)
            optim.clip_norm_(net.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("spec", LOSSES, ids=str)
def test_no_loss_waits(spec, reduction, monkeypatch):
    if reduction not in spec.reductions:
        pytest.skip(f"{spec} has no reduction {reduction}")
    backend, loss = get_backend("strict:device1"), spec.make(reduction)
    y, target = (backend.asarray(x) for x in spec.sample())
    weight = backend.asarray(np.ones(y.shape[0]))
    loss(y, target)  # the first use makes what is kept
    with no_waiting(monkeypatch):
        loss(y, target)
        loss(y, target, weight)
        loss.totals(y, target)


METRICS = [
    (metrics.Accuracy(), (6, 3), "labels"),
    (metrics.ZeroOne(), (6, 1), "labels"),
    (metrics.TopK(2), (6, 3), "labels"),
    (metrics.ConfusionMatrix(), (6, 3), "labels"),
    (metrics.Precision(), (6, 3), "labels"),
    (metrics.Recall(), (6, 3), "labels"),
    (metrics.F1(), (6, 3), "labels"),
    (metrics.MAE(), (6, 2), "values"),
    (metrics.RMSE(), (6, 2), "values"),
    (metrics.R2(), (6, 2), "values"),
]


@pytest.mark.parametrize(("metric", "shape", "kind"), METRICS, ids=lambda value: getattr(value, "name", ""))
def test_no_metric_waits_before_it_is_read(metric, shape, kind, monkeypatch):
    backend = get_backend("strict:device1")
    y = backend.asarray(np.random.default_rng(0).standard_normal(shape))
    labels = np.arange(6) % max(2, shape[1])
    target = backend.asarray(labels.reshape(shape) if shape[1] == 1 else labels) if kind == "labels" else y * 2.0
    metric.update(y, target)
    with no_waiting(monkeypatch):
        metric.update(y, target)


class Reading(nn.ReLU):
    """Reads a number from the device."""

    def forward(self, x, /, *, train=False):
        float(x[0, 0])
        return super().forward(x, train=train)


def _trainer(activation):
    net = nn.Sequential(nn.Linear(4, 8), activation, nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 3))
    return Trainer(
        net,
        losses.CrossEntropyLoss(label_smoothing=0.1),
        optim.AdamW(net.parameters(), lr=optim.Cosine(1e-2)),
        backend="strict:device1",
        metrics=["accuracy"],
        clip_norm=1.0,
        clip_value=0.5,
        accumulate=2,
        progress=False,
    )


def test_a_step_of_the_trainer_waits_for_nothing(monkeypatch):
    steps, plain = [], Loop._steps

    def watched(self, pending):
        # The first step of a fit makes the optimizer's state and moves the epoch's order.
        each = plain(self, pending)
        yield next(each)
        while len(steps) < 3:
            with no_waiting(monkeypatch):
                steps.append(next(each))
            yield
        yield from each

    monkeypatch.setattr(Loop, "_steps", watched)
    data = np.random.default_rng(0).standard_normal((40, 4)), np.arange(40) % 3
    _trainer(nn.ReLU()).fit(data, epochs=1, batch_size=5)
    assert len(steps) == 3
    steps.clear()
    with pytest.raises(WaitError, match="__float__ waits"):
        _trainer(Reading()).fit(data, epochs=1, batch_size=5)
