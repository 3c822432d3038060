"""Runs and saves that are killed at random moments: what was on disk goes on, to the bit.

ANYFW_KILLS trainings and ANYFW_SAVE_KILLS saves are killed, 3 and 10 here, 20 and 100 in `ci/soak.sh`; the seed of the
moments is in the header of the test run.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from anyfw.core.files import read_json, read_tensors
from tests.conftest import SEED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")

KILLS, SAVE_KILLS = (int(os.environ.get(name, n)) for name, n in (("ANYFW_KILLS", "3"), ("ANYFW_SAVE_KILLS", "10")))
ROOT = Path(__file__).parent.parent

# Dropout, batch norm, accumulation and a schedule that waits for a plateau; a step takes its time, so that it is killed
# in its middle, too.
RUN = """
import sys, time
import numpy as np
from anyfw import Trainer, losses, nn, optim
from anyfw.train import Callback

class Slow(Callback):
    passive = True
    def on_step(self, trainer):
        time.sleep(0.002)

x = np.random.default_rng(0).standard_normal((120, 6))
y = np.arange(120) % 3
folder, resume = sys.argv[1], len(sys.argv) > 2
if resume:
    trainer = Trainer.resume(folder, callbacks=[Slow()], progress=False)
    if not trainer.plan.finished:  # it was killed when all was done
        trainer.fit((x, y), (x[:40], y[:40]))
else:
    net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
    optimizer = optim.AdamW(net.parameters(), lr=optim.ReduceOnPlateau(0.02, 0.5, patience=0))
    trainer = Trainer(net, losses.CrossEntropyLoss(), optimizer, metrics=["accuracy"], callbacks=[Slow()], accumulate=2,
                      seed=7, out=folder, checkpoint_every="3steps", keep=2, progress=False, clip_norm=1.0)
    trainer.fit((x, y), (x[:40], y[:40]), epochs=12, batch_size=10)
"""

SAVE = """
import sys
import numpy as np
from anyfw.core.files import write_tensors
path, n = sys.argv[1], int(sys.argv[2])
while True:
    n += 1
    write_tensors(path, {"a": np.full(300_000, n, dtype=np.float32), "n": np.asarray(n)}, {"n": n})
    print(n, flush=True)
"""


def start(program, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], env=environment, **options)


def finish(process):
    assert process.wait(timeout=120) == 0


def state(folder):
    tensors, metadata = read_tensors(folder / "model.safetensors")
    history = {name: column for name, column in read_json(folder / "history.json").items() if name != "seconds"}
    return {name: values.tobytes() for name, values in tensors.items()}, json.dumps(history), metadata["config"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, and how long it takes."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    started = time.monotonic()
    finish(start(RUN, folder))
    return folder, time.monotonic() - started


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_run_that_is_killed_and_resumed_is_bit_equal(kill, whole, tmp_path):
    reference, seconds = whole
    moments = random.Random(f"{SEED} {kill}")
    folder, process = tmp_path / "killed", start(RUN, tmp_path / "killed")
    kills = 0
    while True:
        # From the first checkpoint on; several times, until a run comes to its end.
        while process.poll() is None and not list(folder.glob("checkpoint-*")):
            time.sleep(0.002)
        time.sleep(moments.random() * seconds * 0.6)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        process = start(RUN, folder, "resume") if kills < 3 else start(RUN.replace("0.002", "0.0"), folder, "resume")
        if kills == 3:
            break
    finish(process)
    assert state(folder) == state(reference), f"killed {kills} times"
    assert not list(folder.glob(".anyfw-*"))


@pytest.mark.parametrize("kill", range(SAVE_KILLS))
def test_a_save_that_is_killed_leaves_a_whole_file(kill, tmp_path):
    moments, path, latest = random.Random(f"save {SEED} {kill}"), tmp_path / "state.safetensors", 0
    for _ in range(2):
        process = start(SAVE, path, latest, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline()
        time.sleep(moments.random() * 0.03)
        process.send_signal(signal.SIGKILL)
        said = [latest, *(int(line) for line in process.stdout.read().split() if line.isdigit())]
        process.wait()
        process.stdout.close()
        tensors, metadata = read_tensors(path)
        n = metadata["n"]
        # The last that was done, or the one after it, which was just being renamed.
        assert n >= max(said)
        assert int(tensors["n"]) == n
        np.testing.assert_array_equal(tensors["a"], np.full(300_000, n, dtype=np.float32))
        latest = n
