"""Damaged files, by the thousand: only anyfw's own errors, bounded memory, no code run.

Hypothesis makes the damage. ANYFW_MUTATIONS is the number for each loader, 300 here and 10,000 in `ci/soak.sh`; the
seed is in the header of the test run, and ANYFW_SEED sets it.
"""

import io
import json
import os
import pickle
import sys
import tracemalloc
import zipfile

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from anyfw import AnyfwError, Trainer, load, losses, nn, optim
from anyfw.core.files import read_json
from anyfw.data import idx, npz
from anyfw.interop import torch as bridge
from tests import torch_files
from tests.conftest import SEED

MUTATIONS = int(os.environ.get("ANYFW_MUTATIONS", "300"))
# Beside what the intact file takes; a bomb would take a thousand times as much.
BOUND = 64 * 2**20

# Each edit: what, where as a share of the file, and a number.
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "insert", "delete", "cut", "repeat", "number"]),
        st.floats(0.0, 1.0, exclude_max=True),
        st.integers(0, 2**64 - 1),
    ),
    min_size=1,
    max_size=4,
)


def mutated(raw, edits):
    data = bytearray(raw)
    for what, share, number in edits:
        # Half of the edits fall on the first bytes, where the headers are.
        place = int((share * 2 % 1.0) * (min(len(data), 400) if share < 0.5 else len(data)))
        if not data:
            break
        if what == "flip":
            data[place] ^= 1 << number % 8
        elif what == "set":
            data[place] = number % 256
        elif what == "insert":
            data[place:place] = number.to_bytes(8, "little")[: 1 + number % 8]
        elif what == "delete":
            del data[place : place + 1 + number % 16]
        elif what == "cut":
            del data[place:]
        elif what == "repeat":
            data[place:place] = data[place : place + 1 + number % 64]
        else:
            size = (1, 2, 4, 8)[number % 4]
            data[place : place + size] = (number >> 3).to_bytes(8, "big")[-size:]
    return bytes(data)


def net():
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Residual(nn.Linear(5, 5)), nn.Linear(5, 3))


def make_model(folder):
    net().init(0).save(folder / "model.safetensors")
    return folder / "model.safetensors", load


def make_checkpoint(folder):
    model = net()
    trainer = Trainer(
        model, losses.CrossEntropyLoss(), optim.Adam(model.parameters()), out=folder / "run", progress=False
    )
    trainer.fit((np.random.default_rng(0).standard_normal((12, 4)), np.arange(12) % 3), epochs=1, batch_size=6)
    path = next((folder / "run").glob("checkpoint-*"))
    return path, lambda found: Trainer.resume(found, progress=False)


def make_config(folder):
    make_checkpoint(folder)

    def rebuild(path):
        config = read_json(path)
        if not isinstance(config, dict):
            return
        built = nn.from_config(config.get("net", {}))
        losses.from_config(config.get("loss", {}))
        optim.from_config(config.get("optimizer", {}), built.parameters())

    return folder / "run" / "config.json", rebuild


def make_idx(folder):
    raw = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (6, 5, 4)) + bytes(range(120))
    (folder / "images").write_bytes(raw)
    return folder / "images", idx.read_idx


def make_npz(folder):
    np.savez_compressed(folder / "data.npz", x=np.arange(60.0).reshape(20, 3), y=np.arange(20) % 3)
    return folder / "data.npz", npz.load


def make_pt(folder):
    (folder / "checkpoint.pt").write_bytes(torch_files.archive(torch_files.CHECKPOINT))

    def read_the_same(path):
        # Each entry has its checksum: what is read at all is what was written.
        assert torch_files.same(bridge.read(path), torch_files.checkpoint_values())

    return folder / "checkpoint.pt", read_the_same


def make_open_pt(folder):
    # As PyTorch writes it where it is told to leave out checksums: the damage reaches the pickle.
    (folder / "checkpoint.pt").write_bytes(torch_files.archive(torch_files.CHECKPOINT, checksum=0))
    return folder / "checkpoint.pt", bridge.read


def make_old_pt(folder):
    (folder / "checkpoint.pth").write_bytes(torch_files.sequence(torch_files.old(torch_files.CHECKPOINT)))
    return folder / "checkpoint.pth", bridge.read


def make_safetensors(folder):
    values = {"0.weight": np.ones((3, 4), np.float16), "0.bias": np.arange(3.0), "1.count": np.asarray(3)}
    save_file(values, folder / "state.safetensors")
    return folder / "state.safetensors", bridge.read


LOADERS = {
    "model": make_model,
    "checkpoint": make_checkpoint,
    "config": make_config,
    "idx": make_idx,
    "npz": make_npz,
    "pt": make_pt,
    "pt without checksums": make_open_pt,
    "pt before 1.6": make_old_pt,
    "safetensors of others": make_safetensors,
}
# A checksum covers everything that is ours; these have none, or not of everything.
LOOSE = ("idx", "npz", "config", "pt", "pt without checksums", "pt before 1.6", "safetensors of others")
_FORBIDDEN = ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "ctypes.dlopen")
_watching: list[str] = []


def _hook(event, args):
    if _watching and event in _FORBIDDEN:
        _watching.append(event)


sys.addaudithook(_hook)


def loads_safely(read, path):
    """Whether it loads; anything but anyfw's errors, much memory, or code that runs, fails the test."""
    tracemalloc.start()
    _watching.append("on")
    try:
        read(path)
        return True
    except AnyfwError:
        return False
    finally:
        seen = _watching[1:]
        _watching.clear()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert not seen, seen
        assert peak < BOUND, f"{peak / 1e6:.0f} MB"


@pytest.mark.parametrize("name", LOADERS)
def test_a_mutated_file_loads_or_is_refused(name, tmp_path):
    path, read = LOADERS[name](tmp_path)
    raw = path.read_bytes()
    read(path)  # imports what it needs
    assert loads_safely(read, path)
    found = {True: 0, False: 0}

    @hypothesis.seed(SEED)
    @settings(
        max_examples=MUTATIONS, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=_PHASES
    )
    @given(EDITS)
    def run(edits):
        path.write_bytes(mutated(raw, edits))
        with np.errstate(all="ignore"):
            found[loads_safely(read, path)] += 1

    run()
    assert sum(found.values()) >= MUTATIONS // 2
    # Most damage is found.
    assert name in LOOSE or found[True] <= found[False] // 20, found


_PHASES = (hypothesis.Phase.generate,)


class _Bomb:
    def __reduce__(self):
        return os.system, ("echo boom",)


def _safetensors(header, data=b""):
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def _zipped(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def _npy(descr, shape):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def _objects():
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([_Bomb(), 1], dtype=object), y=np.arange(2))
    return buffer.getvalue()


MALICIOUS = {
    "a pickle for a model": (load, "m.safetensors", lambda: pickle.dumps(_Bomb())),
    "a pickle for a checkpoint": (Trainer.resume, "checkpoint-000000001.safetensors", lambda: pickle.dumps(_Bomb(), 4)),
    "a pickle for rows": (npz.load, "d.npz", lambda: pickle.dumps(_Bomb(), 2)),
    "an array of objects": (npz.load, "d.npz", _objects),
    "a header of a terabyte": (load, "m.safetensors", lambda: (2**40).to_bytes(8, "little") + b"{" + b" " * 100),
    "offsets beyond the end": (
        load, "m.safetensors",
        lambda: _safetensors({"w": {"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, 4_000_000]}}, b"0000"),
    ),
    "offsets that turn back": (
        load, "m.safetensors",
        lambda: _safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"0000"),
    ),
    "a zip bomb": (npz.load, "d.npz", lambda: _zipped("x.npy", _npy("<f8", (2**27,)) + bytes(2**28))),
    "a shape of a petabyte": (npz.load, "d.npz", lambda: _zipped("x.npy", _npy("<f8", (2**20, 2**20, 64)))),
    "idx of a petabyte": (idx.read_idx, "i", lambda: b"\0\0\x0e\x03" + b"\x7f\xff\xff\xff" * 3),
    "a description nested without end": (
        lambda path: nn.from_config(read_json(path)), "c.json", lambda: (b'{"layer": [' * 5000),
    ),
    "a layer of another module": (
        lambda path: nn.from_config(read_json(path)), "c.json", lambda: b'{"layer": "os.system", "a": "echo boom"}',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MALICIOUS)
def test_a_malicious_file_is_refused(name, tmp_path):
    read, file, make = MALICIOUS[name]
    path = tmp_path / file
    path.write_bytes(make())
    assert not loads_safely(read, path)
