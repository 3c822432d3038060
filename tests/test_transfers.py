"""The audit of copies between host and device: what is counted, where it is seen, and what a fit may cost."""

import logging

import numpy as np
import pytest

import anyfw
from anyfw import Trainer, get_backend, losses, nn, optim
from anyfw.core.errors import ConfigError, TransferError
from tests.conftest import open_backend

X, Y = np.random.default_rng(0).standard_normal((60, 5)), np.arange(60) % 3

DEVICES = pytest.mark.parametrize("spec", ["strict:device1", "torch", "cupy"])


class Peeking(nn.ReLU):
    """Reads a number from the device."""

    def forward(self, x, /, *, train=False):
        self.latest = float(x[0, 0])  # the line that is named
        return super().forward(x, train=train)


def fit(spec, activation=None, epochs=2, **options):
    net = nn.Sequential(nn.Linear(5, 8), activation or nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)).to(spec)
    optimizer = optim.AdamW(net.parameters(), lr=optim.OneCycle(1e-2))
    trainer = Trainer(net, losses.CrossEntropyLoss(), optimizer, metrics=["accuracy"], progress=False, **options)
    trainer.fit((X, Y), (X[:20], Y[:20]), epochs=epochs, batch_size=10)
    return trainer


@DEVICES
def test_copies_and_reads_are_counted_with_their_lines(spec):
    backend = open_backend(spec)
    with anyfw.audit() as report:
        x = backend.asarray(np.ones((3, 4), np.float32))
        backend.to_numpy(x)
        float(x[0, 0])
        bool(x[0, 1] > 0)
        (x * 2.0).sum() if spec == "torch" else None
    assert [(one.kind, one.how) for one in report.transfers] == [
        ("to device", "asarray"), ("to host", "to_numpy"), ("read", "float"), ("read", "bool"),
    ]  # fmt: skip
    assert all("test_transfers.py:" in one.where for one in report.transfers)
    assert all(one.where.endswith("in test_copies_and_reads_are_counted_with_their_lines") for one in report.transfers)
    assert report.transfers[0].bytes in (48, 8)
    assert not any(one.in_step for one in report.transfers)
    float(x[0, 0])
    assert report.count() == 4
    assert "1 to device, 1 to host, 2 read; 0 in steps" in str(report)


@DEVICES
@pytest.mark.parametrize("on_device", [True, False])
def test_a_step_copies_and_reads_nothing_and_an_epoch_little(spec, on_device):
    open_backend(spec)
    fit(spec, on_device=on_device, epochs=1)  # what is made once for all
    reports = []
    for epochs in (1, 5):
        with anyfw.audit() as report:
            fit(spec, epochs=epochs, on_device=on_device)
        assert report.count(in_step=True) == 0, str(report)
        reports.append(report)
    # To the device: the room for losses and two orders, of training and of validation; or, where the data stay on the
    # host, two columns of six batches and of one. To the host: losses, the sum of the weights' squares, two sums of
    # accuracy; of validation the loss, its weight and two sums; and four parameters, for the epoch is the best so far.
    to_device, to_host, read = (
        (reports[1].count(kind) - reports[0].count(kind)) / 4 for kind in ("to device", "to host", "read")
    )
    assert (to_device, to_host, read) == (3 if on_device else 1 + 2 * 7, 8 + 4, 0), str(reports[1])


@DEVICES
def test_a_planted_read_is_found_with_its_line(spec):
    open_backend(spec)
    with anyfw.audit() as report:
        fit(spec, Peeking(), epochs=1)
    found = [one for one in report.transfers if one.in_step]
    assert len(found) == 6
    assert {(one.kind, one.how) for one in found} == {("read", "float")}
    with open(__file__, encoding="utf-8") as file:
        line = next(n for n, text in enumerate(file, 1) if "the line that is named" in text)
    assert {one.where for one in found} == {f"tests/test_transfers.py:{line} in forward"}
    assert "IN A STEP" in str(report)


@DEVICES
def test_the_environment_warns_or_raises(spec, monkeypatch, caplog):
    open_backend(spec)
    monkeypatch.setenv("ANYFW_TRANSFERS", "warn")
    with caplog.at_level(logging.WARNING, "anyfw"):
        fit(spec, epochs=1)
        assert not caplog.records
        fit(spec, Peeking(), epochs=2)
    assert [
        record.message.startswith("A step waits for the device: float (read) at tests") for record in caplog.records
    ] == [True]
    monkeypatch.setenv("ANYFW_TRANSFERS", "error")
    with pytest.raises(TransferError, match=r"float \(read\) at tests.*forward"):
        fit(spec, Peeking())
    fit(spec)
    monkeypatch.setenv("ANYFW_TRANSFERS", "maybe")
    with pytest.raises(ConfigError, match="expected 'warn' or 'error'"):
        fit(spec)


def test_nothing_stays_changed():
    pytest.importorskip("array_api_strict")
    backend = get_backend("strict:device1")
    kind = type(backend.asarray([1.0]))
    before = kind.__float__, backend.xp.asarray
    with anyfw.audit() as outer:
        with anyfw.audit() as inner:
            float(backend.asarray([1.0])[0])
        float(backend.asarray([1.0])[0])
    assert (inner.count("read"), outer.count("read")) == (1, 2)
    assert (kind.__float__, backend.xp.asarray) == before
    assert "asarray" not in vars(backend)


def test_a_backend_that_is_opened_meanwhile_is_watched(monkeypatch):
    pytest.importorskip("array_api_strict")
    from anyfw.core import backend as backends

    monkeypatch.setattr(backends, "_opened", {})
    with anyfw.audit() as report:
        get_backend("strict:device2").asarray([1.0])
    assert report.count("to device") == 1
