"""CUDA kernels without a GPU: what NVRTC says of them, and what they compute when their threads are played on the CPU.

`test_variants.py` compares every kernel with its reference; here are larger sizes, planted errors, and a training run.
"""

import inspect
import re
from collections import Counter

import numpy as np
import pytest

from anyfw import Trainer, get_backend, losses, nn, optim
from anyfw.backends import cupy as cupy_backend
from anyfw.backends.cupy.kernels import launch, variants
from anyfw.ops import activation, gather, linear, loss, normalize, softmax, update
from tests.played import nvrtc
from tests.played.player import COMPILER, Player

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("architecture", ["compute_80", "compute_90"])
def test_nvrtc_compiles_all_kernels_without_a_word(architecture, dtype):
    library = nvrtc.library()
    if library is None:
        pytest.skip("nvidia-cuda-nvrtc-cu12 is not installed")
    ptx = nvrtc.compile_text(library, launch.source(dtype), (*launch.OPTIONS, f"--gpu-architecture={architecture}"))
    entries = set(re.findall(r"\.entry (\w+)", ptx))
    assert {"relu", "cross_entropy", "layer_norm", "adam", "gather_columns", "sum_of_parts"} <= entries
    # Launches name their kernels in strings: each of them is there.
    named = {name for text in _launchers() for name in re.findall(r'"(\w+)"', text)}
    assert entries <= named, entries - named


def _launchers():
    from anyfw.backends.cupy import kernels

    return [path.read_text(encoding="utf-8") for folder in kernels.__path__ for path in _python_files(folder)]


def _python_files(folder):
    from pathlib import Path

    return Path(folder).glob("*.py")


def numbers(*shape, dtype="float32"):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


X, DY, WEIGHT = numbers(300, 1030), numbers(301, 1030)[1:], numbers(1030)
COLUMN = np.abs(numbers(300, 1)) + 0.5
# More rows than a block has, columns that are no whole number of warps, vectors longer than one sum's blocks take in
# one turn; and one row, one column, nothing.
CALLS = [
    (softmax.softmax, (X, -1)),
    (softmax.log_softmax_grad, (DY, X / 9, 1)),
    (loss.cross_entropy, (X, np.arange(300) * 7 % 1030)),
    (loss.cross_entropy, (X[:1], np.asarray([1029]))),
    (loss.mean_, (numbers(1031), numbers(1031, 3), 7.0)),
    (loss.mean_, (numbers(0), numbers(0, 3), 7.0)),
    (normalize.layer_norm, (X, WEIGHT, WEIGHT, 1e-5)),
    (normalize.layer_norm_grad, (DY, X, WEIGHT, COLUMN, COLUMN)),
    (normalize.rms_norm_grad, (DY, X, WEIGHT, COLUMN)),
    (normalize.batch_norm, (X, WEIGHT, None, 1e-5)),
    (normalize.batch_norm_grad, (DY, X, WEIGHT, WEIGHT, np.abs(WEIGHT))),
    (normalize.batch_norm, (X[:1], None, WEIGHT, 1e-5)),
    (linear.linear, (X, numbers(33, 1030), numbers(33))),
    (linear.bias_grad_, (X, WEIGHT.copy(), True)),
    (linear.bias_grad_, (X[:1], WEIGHT.copy(), False)),
    (linear.bias_grad_, (X[:0], WEIGHT.copy(), False)),
    (gather.gather, (X, np.arange(299, -1, -7))),
    (gather.gather, (np.arange(300), np.asarray([299, 0, 17]))),
    (gather.gather, (X, np.asarray([], dtype=np.int64))),
    (gather.gather_columns, (np.arange(298).reshape(2, 149), (X, COLUMN.astype(np.float64)), np.asarray([1]))),
    (gather.gather_columns, (np.arange(299, -1, -3), (X, np.arange(300), X[:, :3].copy()), None)),
    (gather.append_, (numbers(700), np.asarray([699]), np.asarray(np.float32(3)))),
    (activation.gelu, (X[:, :1].copy(),)),
    (update.square_sum, (numbers(700_001),)),
    (update.square_sum, (numbers(0),)),
]


@needs_compiler
@pytest.mark.parametrize("i", range(len(CALLS)), ids=[f"{op.__name__}-{i}" for i, (op, _) in enumerate(CALLS)])
def test_a_kernel_equals_its_reference_at_odd_and_large_sizes(player, i):
    op, arguments = CALLS[i]
    given = [[a.copy() if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2)]
    before = len(player.launched)
    found, expected = variants(player)[op](*given[0]), op.dispatch(object)(*given[1])
    empty = any(isinstance(a, np.ndarray) and a.size == 0 for a in arguments)
    assert empty or len(player.launched) > before, "the reference ran"
    # Sums of a thousand float32 numbers in another order.
    for a, b in zip(_arrays(found, given[0]), _arrays(expected, given[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * max(1.0, float(np.abs(b).max(initial=0))))


def _arrays(*values):
    for value in values:
        if isinstance(value, tuple | list):
            yield from _arrays(*value)
        elif isinstance(value, np.ndarray | np.generic):
            yield value


@needs_compiler
def test_a_label_out_of_range_gives_nan_and_reads_nothing(player):
    losses_, _ = variants(player)[loss.cross_entropy](numbers(3, 4), np.asarray([0, 4, -1]))
    assert np.isnan(losses_).tolist() == [False, True, True]


FEW = numbers(9, 10)
PLANTED = {
    "one element too many": ("if (i < n)", "if (i <= n)", activation.relu, (numbers(300),), "past the end"),
    "one row too many": (
        "if (r >= rows) return;",
        "if (r > rows) return;",
        softmax.softmax,
        (X[:9], -1),
        "past the end",
    ),
    "half a warp": ("step = WARP / 2", "step = WARP / 4", softmax.softmax, (X[:9], -1), "differs"),
    "the first column left out": (
        "c = threadIdx.x;",
        "c = threadIdx.x + 1;",
        softmax.softmax_grad,
        (X, DY, -1),
        "differs",
    ),
    "a barrier for some": (
        "  real total = tile[0][threadIdx.x];\n  __syncthreads();",
        "  real total = tile[0][threadIdx.x];\n  if (threadIdx.y) __syncthreads();",
        linear.bias_grad_,
        (X, WEIGHT.copy(), False),
        "never reach",
    ),
    "a row of threads left out": (
        "    if (threadIdx.y < step) tile",
        "    if (threadIdx.y < step && threadIdx.y != 1) tile",
        linear.bias_grad_,
        (X, WEIGHT.copy(), False),
        "differs",
    ),
}


@needs_compiler
@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_error_is_caught(planted, tmp_path):
    right, wrong, op, arguments, complaint = PLANTED[planted]

    def change(text):
        assert right in text
        return text.replace(right, wrong)

    given = [[a.copy() if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2)]
    expected = op.dispatch(object)(*given[1])
    kernel = variants(Player(tmp_path, change))[op]
    if complaint == "differs":
        found = kernel(*given[0])
        pairs = zip(_arrays(found, given[0]), _arrays(expected, given[1]), strict=True)
        assert not all(np.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in pairs)
    else:
        with pytest.raises(AssertionError, match=complaint):
            kernel(*given[0])


def _train(net, loss_, target, **options):
    x = np.random.default_rng(0).standard_normal((96, 12))
    trainer = Trainer(net, loss_, optim.AdamW(net.parameters(), lr=1e-2), backend="numpy", progress=False, **options)
    return trainer.fit((x, target), epochs=2, batch_size=40)["loss"]


def _net():
    return nn.Sequential(
        nn.Linear(12, 33), nn.ReLU(), nn.LayerNorm(33), nn.Linear(33, 20), nn.GELU(), nn.Dropout(0.2),
        nn.Linear(20, 16, bias=False), nn.BatchNorm1d(16), nn.SiLU(), nn.RMSNorm(16), nn.Linear(16, 4),
    )  # fmt: skip


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_a_net_trains_on_the_kernels_as_on_numpy(request, dtype, tolerance):
    target = np.arange(96) * 5 % 4
    expected = _train(_net(), losses.CrossEntropyLoss(), target, dtype=dtype, clip_norm=1.0, metrics=["accuracy"])
    player, products = request.getfixturevalue("on_played_kernels")
    before, done = len(player.launched), len(products.done)
    found = _train(_net(), losses.CrossEntropyLoss(), target, dtype=dtype, clip_norm=1.0, metrics=["accuracy"])
    assert len(player.launched) - before > 6 * 17
    assert len(products.done) - done > 6 * 10
    np.testing.assert_allclose(found, expected, rtol=tolerance)


@needs_compiler
@pytest.mark.parametrize("joins", [False, True])
def test_the_launches_of_a_step_are_as_documented(joins, on_played_kernels, monkeypatch):
    monkeypatch.setattr(get_backend("numpy"), "joins", joins, raising=False)
    layers = nn.Linear(12, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 4)
    net = nn.Sequential(*layers).to("numpy", "float32")
    criterion, optimizer = losses.CrossEntropyLoss(), optim.Adam(net.parameters())
    x, y, rows = numbers(50, 12), np.arange(50) % 4, np.arange(40)
    player, products = on_played_kernels
    for _ in range(2):
        player.launched.clear()
        products.done.clear()
        batch, target = gather.gather_columns(rows, (x, y), None)
        _, dy = criterion(net.forward(batch, train=True), target)
        net.accumulate(dy)
        optimizer.step()
        optimizer.zero_grad()
    # Three layers and two activations: see anyfw/backends/cupy/kernels/__init__.py.
    activations = {} if joins else {"relu": 2, "relu_grad": 2}
    assert Counter(player.launched) == {"gather_columns": 1, "cross_entropy": 1, "mean": 1, "adam": 1, **activations}
    # A gradient that comes with the sums of the bias's leaves the weight's alone.
    joined = {"relu": 2, "bias": 1, "sum_a": 1, "relu_grad": 2, "": 2}
    assert Counter(products.done) == (joined if joins else {"bias": 3, "sum_a": 3, "": 2})


BROKEN = [
    (["cupy-cuda12x"], "cudaErrorInsufficientDriver: CUDA driver version is insufficient", "nvidia-smi shows"),
    (["cupy-cuda13x"], "cudaErrorInsufficientDriver: CUDA driver version is insufficient", "uninstall -y cupy-cuda13x"),
    (["cupy-cuda12x"], "cudaErrorNoDevice: no CUDA-capable device is detected", "install the NVIDIA driver"),
    (["cupy-cuda12x"], "libcuda.so.1: cannot open shared object file", "install the NVIDIA driver"),
    (
        ["cupy-cuda12x"],
        "libcublas.so.12: cannot open shared object file",
        "libraries are missing: pip install 'anyfw[cuda12]'",
    ),
    (["cupy-cuda13x"], "libnvrtc.so.13: cannot open shared object file", "pip install 'anyfw[cuda13]'"),
    (
        ["cupy-cuda13x"],
        'catastrophic error: cannot open source file "cuda_fp16.h"',
        "headers are missing: pip install 'anyfw[cuda13]'",
    ),
    (["cupy-cuda12x", "cupy-cuda13x"], "anything", "pip uninstall -y cupy-cuda12x cupy-cuda13x"),
    ([], "No module named 'cupy'", "pip install 'anyfw[cuda12]'"),
]


@pytest.mark.parametrize(("wheels", "error", "advice"), BROKEN, ids=[f"{row[1][:24]}-{len(row[0])}" for row in BROKEN])
def test_each_broken_installation_has_its_fix_in_one_line(wheels, error, advice, monkeypatch):
    monkeypatch.setattr(cupy_backend, "_wheels", lambda: wheels)
    found = cupy_backend.Backend.advice(RuntimeError(error))
    assert advice in found
    assert "\n" not in found


FRAMED = """
================================================================
Failed to import CuPy.

If you installed CuPy via wheels (cupy-cudaXXX), make sure that the package matches with the version of CUDA.

Original error:
  ImportError: libcublas.so.12: cannot open shared object file: No such file or directory
================================================================
"""


def test_the_cause_is_told_of_an_import_that_failed(monkeypatch):
    def fail():
        raise ImportError(FRAMED)

    monkeypatch.setattr("anyfw.core.backend.find_spec", lambda name: name)
    monkeypatch.setattr(cupy_backend.Backend, "version", fail)
    monkeypatch.setattr(cupy_backend, "_wheels", lambda: ["cupy-cuda12x"])
    found = cupy_backend.Backend.diagnose()
    assert found.problem == "ImportError: libcublas.so.12: cannot open shared object file: No such file or directory"
    assert found.fix is not None
    assert "pip install 'anyfw[cuda12]'" in found.fix


def test_cupy_has_what_is_called():
    # CuPy can be imported without a driver; what is called of it cannot be run.
    cupy = pytest.importorskip("cupy")
    signature = cupy.RawModule.__doc__.splitlines()[0]
    assert "code" in signature
    assert "options" in signature
    assert "out" in cupy.matmul.__doc__.splitlines()[0]
    for path in (
        "RawModule.get_function",
        "asarray",
        "asnumpy",
        "empty",
        "ndarray.set",
        "get_default_memory_pool",
        "cuda.Device.synchronize",
        "cuda.Device.use",
        "cuda.MemoryPool.free_bytes",
        "cuda.MemoryPool.get_limit",
        "cuda.MemoryPool.malloc",
        "cuda.MemoryPool.set_limit",
        "cuda.MemoryPool.used_bytes",
        "cuda.MemoryPool.free_all_blocks",
        "cuda.Graph.launch",
        "cuda.Stream.begin_capture",
        "cuda.Stream.end_capture",
        "cuda.Stream.record",
        "cuda.Stream.wait_event",
        "cuda.Event.synchronize",
        "cuda.get_current_stream",
        "cuda.runtime.getDeviceCount",
        "cuda.runtime.memGetInfo",
        "cuda.using_allocator",
    ):
        found = cupy
        for name in path.split("."):
            found = getattr(found, name)
        assert callable(found), path
    assert "stream" in cupy.ndarray.set.__doc__.splitlines()[0]
    assert "non_blocking" in cupy.cuda.Stream.__doc__
    assert "size" in cupy.cuda.MemoryPool.set_limit.__doc__.splitlines()[0]
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    import cupyx

    assert "dtype" in inspect.signature(cupyx.empty_pinned).parameters
