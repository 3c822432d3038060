"""What can go wrong around a run: each ends with a clear error, the last good state on disk, and the way to go on."""

import errno
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest

from anyfw import Trainer, losses, nn, optim
from anyfw.core import atomic
from anyfw.core.errors import NonFiniteError, OutOfMemoryError, OutputError
from anyfw.core.files import read_tensors
from anyfw.train import Callback
from anyfw.train.run_folder import checkpoints

X, Y = np.random.default_rng(0).standard_normal((60, 5)), np.arange(60) % 3


class At(Callback):
    """Does something after a step."""

    passive = True

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step(self, trainer):
        if trainer.step == self.step:
            self.action()


def make(folder, *callbacks, **options):
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    return Trainer(
        net, losses.CrossEntropyLoss(), optim.Adam(net.parameters()), out=folder, checkpoint_every="2steps",
        callbacks=callbacks, progress=False, **options,
    )  # fmt: skip


def fit(trainer):
    trainer.fit((X, Y), epochs=4, batch_size=10)


def goes_on(folder, whole):
    """What was left behind can be read, and ends as a run that nothing happened to."""
    for path in checkpoints(folder):
        read_tensors(path)
    trainer = Trainer.resume(folder, callbacks=[At(0, None)], progress=False)
    trainer.fit((X, Y))
    expected, found = whole.net.state_dict(), trainer.net.state_dict()
    assert all(np.array_equal(values, found[name]) for name, values in expected.items())
    assert not list(folder.glob(".anyfw-*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    trainer = make(tmp_path_factory.mktemp("whole") / "run", At(0, None))
    fit(trainer)
    return trainer


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota")]
)
def test_a_disk_that_takes_no_more(number, words, whole, tmp_path, monkeypatch):
    folder, plain, calls = tmp_path / "run", os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if len(calls) > 12:
            raise OSError(number, os.strerror(number))
        plain(handle)

    with monkeypatch.context() as patched:
        patched.setattr(atomic.os, "fsync", fsync)
        with pytest.raises(OutputError, match=rf"{words}.* anyfw train --resume {folder}"):
            fit(make(folder, At(0, None)))
    goes_on(folder, whole)


def test_a_folder_that_is_removed_in_mid_run(tmp_path):
    folder = tmp_path / "run"
    trainer = make(folder, At(9, lambda: shutil.rmtree(folder, ignore_errors=True)))
    with pytest.raises(OutputError, match="folder does not exist"):
        fit(trainer)
    # The net holds the state; nothing else is left to go on from.
    assert trainer.step == 10
    assert np.isfinite(trainer.net.state_dict()["0.weight"]).all()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="modes bind neither Windows nor root")
def test_a_folder_that_becomes_read_only(whole, tmp_path):
    folder = tmp_path / "run"
    try:
        with pytest.raises(OutputError, match="permission is denied"):
            fit(make(folder, At(9, lambda: folder.chmod(0o500))))
    finally:
        folder.chmod(0o700)
    goes_on(folder, whole)


def test_out_of_memory_in_a_step(whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    trainer = make(folder, At(0, None))
    plain, calls = trainer.loss.each, []

    def each(y, target):
        calls.append(1)
        if len(calls) == 12:
            raise MemoryError
        return plain(y, target)

    monkeypatch.setattr(trainer.loss, "each", each, raising=False)
    with pytest.raises(OutOfMemoryError, match=rf"batch_size below 10.* anyfw train --resume {folder}"):
        fit(trainer)
    goes_on(folder, whole)


def test_a_loss_that_becomes_nan(whole, tmp_path):
    folder = tmp_path / "run"
    trainer = make(folder)
    trainer.callbacks.append(At(9, lambda: trainer.net.layers[0].weight.data.fill(np.nan)))
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError):
        fit(trainer)
    # No state with NaN was written.
    for path in checkpoints(folder):
        tensors, _ = read_tensors(path)
        assert all(np.isfinite(values).all() for name, values in tensors.items() if name.startswith("net."))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("moment", range(6))
def test_ctrl_c_at_any_point(moment, whole, tmp_path):
    folder = tmp_path / "run"
    trainer = make(folder, At(0, None))
    plain = trainer.loss.each
    trainer.loss.each = lambda y, target: (time.sleep(0.002), plain(y, target))[1]
    done = threading.Event()

    def press():
        while not checkpoints(folder) if folder.exists() else True:
            time.sleep(0.001)
        time.sleep(0.004 * moment)
        if not done.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt, match=rf"Stopped after \d+ steps.* anyfw train --resume {folder}"):
            fit(trainer)
    finally:
        done.set()
        thread.join()
    del trainer.loss.each
    goes_on(folder, whole)


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folders to lock them")
def test_two_processes_do_not_train_in_one_folder(whole, tmp_path):
    folder, refused = tmp_path / "run", []

    def second():
        with pytest.raises(OutputError, match="another process is training in this folder"):
            Trainer.resume(folder, callbacks=[At(0, None)], progress=False).fit((X, Y))
        refused.append(True)

    trainer = make(folder, At(9, second))
    fit(trainer)
    assert refused == [True]
    assert all(
        np.array_equal(values, trainer.net.state_dict()[name]) for name, values in whole.net.state_dict().items()
    )
    # It is free again, also after an error.
    with pytest.raises(ZeroDivisionError):
        fit(make(tmp_path / "other", At(5, lambda: 1 / 0)))
    Trainer.resume(tmp_path / "other", callbacks=[At(0, None)], progress=False).fit((X, Y))
