"""Which backend is chosen, and what a user reads when it cannot work."""

import copy
import logging
import pickle
import platform
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import open_backend

from anyfw import AnyfwError, get_backend, nn, use_backend
from anyfw.backends import numpy as numpy_backend
from anyfw.backends.numpy import Backend as NumpyBackend
from anyfw.backends.numpy import blas as blas_module
from anyfw.core import backend as core
from anyfw.core import blas_choice
from anyfw.core.errors import BackendError, PlacementError, UnknownNameError


def test_order_explicit_then_block_then_environment_then_auto(monkeypatch):
    monkeypatch.setenv("ANYFW_BACKEND", "strict:device1")
    assert get_backend().spec == "strict:device1"
    with use_backend("strict:device2"):
        assert get_backend().spec == "strict:device2"
        assert get_backend("strict").spec == "strict"
    assert core.choose()[1] == "ANYFW_BACKEND=strict:device1"
    monkeypatch.delenv("ANYFW_BACKEND")
    assert core.choose()[1].startswith("auto: ")


def test_one_place_is_one_object():
    assert get_backend("numpy") is get_backend("numpy:cpu")
    assert get_backend("strict") is get_backend("strict:CPU_DEVICE")
    assert (
        copy.deepcopy(get_backend("numpy")) is pickle.loads(pickle.dumps(get_backend("numpy"))) is get_backend("numpy")
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("cuppy", "Did you mean 'cupy'?"),
        ("tensorflow", "Known: auto, cupy, numpy, strict, torch"),
        ("strict:device9", "Known: CPU_DEVICE, device1, device2"),
        ("numpy:gpu", "device of numpy"),
        ("", "backend"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(spec, words):
    with pytest.raises(UnknownNameError) as caught:
        get_backend(spec)
    assert words in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_named_backend_that_cannot_work_says_how_to_mend_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(core, "_opened", {})
    with pytest.raises(BackendError, match=r"anyfw\[cuda12\]") as caught:
        get_backend("cupy")
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(("name", "package"), [("torch", "torch"), ("strict", "array_api_strict")])
def test_a_backend_whose_library_is_missing_says_what_to_install(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"anyfw.backends.{name}", raising=False)
    monkeypatch.setattr(core, "_opened", {})
    with pytest.raises(BackendError, match="pip install"):
        get_backend(name)


def test_auto_takes_the_cpu_loudly_where_cupy_is_broken(monkeypatch, caplog):
    broken = core.Diagnosis("cupy", True, "14", (), False, "no driver", "install the driver")
    real = core.backend_class
    cupy = SimpleNamespace(diagnose=lambda: broken)
    monkeypatch.setattr(core, "backend_class", lambda name: cupy if name == "cupy" else real(name))
    core._auto.cache_clear()
    try:
        assert get_backend("auto").name == "numpy"
        assert "install the driver" in caplog.text
    finally:
        core._auto.cache_clear()


def test_third_parties_come_through_the_entry_point_group(monkeypatch):
    class Mine(NumpyBackend):
        name = "mine"

        def __init__(self, device=None):
            super().__init__(device)
            self.spec = "mine"

    point = SimpleNamespace(name="mine", load=lambda: Mine)
    wrong = SimpleNamespace(name="wrong", load=lambda: dict)
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: [point, wrong] if group == "anyfw.backends" else []
    )
    monkeypatch.setattr(core, "_opened", {})
    assert get_backend("mine").spec == "mine"
    with pytest.raises(BackendError, match="no subclass"):
        get_backend("wrong")
    with pytest.raises(UnknownNameError, match="mine"):
        get_backend("mien")


def test_backends_work_side_by_side():
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    specs = ["numpy", "strict", "strict:device1", "torch"]
    nets = [nn.Sequential(nn.Linear(3, 5), nn.Tanh()).to(open_backend(spec)) for spec in specs]
    outputs = [net.backend.to_numpy(net(net.backend.asarray(x))) for net in nets]
    for output in outputs[1:]:
        np.testing.assert_allclose(output, outputs[0], rtol=1e-6)


@pytest.mark.parametrize("other", ["strict", "strict:device1", "torch"])
def test_mixed_backends_are_refused_in_both_directions(other):
    there = open_backend(other)
    net = nn.Sequential(nn.Linear(3, 2))
    x = np.ones((2, 3), np.float32)
    with pytest.raises(PlacementError, match="asarray"):
        net.to("numpy")(there.asarray(x))
    with pytest.raises(PlacementError, match=there.spec):
        net.to(there)(x)


def test_mixed_devices_are_refused():
    x = get_backend("strict:device2").asarray(np.ones((2, 3), np.float32))
    with pytest.raises(PlacementError, match="strict:device2"):
        nn.Linear(3, 2).to("strict:device1")(x)


def test_mixed_dtypes_are_refused(backend):
    net = nn.Sequential(nn.Linear(3, 2)).to(backend, "float32")
    with pytest.raises(AnyfwError, match="expected float32"):
        net(backend.asarray(np.ones((2, 3)), "int64"))
    if backend.has_float64:
        with pytest.raises(PlacementError, match="expected float32, got float64"):
            net(backend.asarray(np.ones((2, 3)), "float64"))


def test_a_device_without_float64_says_so():
    with pytest.raises(BackendError, match="dtype='float32'"):
        nn.Linear(3, 2).to("strict:no_float64", "float64")


def test_arrays_make_the_round_trip(backend):
    for dtype in ("float32", "int64", "uint8", "bool"):
        host = np.arange(6).reshape(2, 3).astype(dtype)
        back = backend.to_numpy(backend.asarray(host))
        assert back.dtype == host.dtype
        np.testing.assert_array_equal(back, host)
        assert backend.owns(backend.asarray(host))
    frozen = np.ones(3)
    frozen.flags.writeable = False
    assert backend.to_numpy(backend.asarray(frozen[::-1], "float32")).tolist() == [1.0, 1.0, 1.0]


def test_a_backend_probes_itself(backend):
    backend.probe()
    assert type(backend).available()
    assert backend.capture(lambda: 7)() == 7
    assert backend.pinned(np.ones(3)).sum() == 3
    backend.synchronize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the limit that is raised is glibc's")
def test_what_one_step_frees_the_next_one_has_without_a_page_fault():
    program = """
import resource, sys
import numpy as np
import anyfw
if sys.argv[1] == "numpy":
    anyfw.get_backend("numpy")
def step():
    arrays = [np.ones(1 << 17, dtype=np.float32) for _ in range(8)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        opened: int(subprocess.run([sys.executable, "-c", program, opened], capture_output=True, text=True).stdout)
        for opened in ("no", "numpy")
    }
    assert faults["numpy"] < 100 < faults["no"]


@pytest.mark.parametrize(
    ("core_type", "wanted", "hints"), [("Haswell", "SKYLAKEX", 1), ("SkylakeX", "SKYLAKEX", 0), ("Haswell", None, 0)]
)
def test_numpy_hints_once_at_better_kernels(monkeypatch, caplog, core_type, wanted, hints):
    monkeypatch.setattr(blas_choice, "wanted", lambda: blas_choice.Choice(wanted, "this CPU has AVX-512"))
    monkeypatch.setattr(blas_module, "wanted", blas_choice.wanted)
    monkeypatch.setattr(blas_module, "_ask", lambda name: {"core": core_type})
    numpy_backend.hint_at_kernels.cache_clear()
    with caplog.at_level(logging.WARNING, "anyfw"):
        NumpyBackend()
        NumpyBackend()
    numpy_backend.hint_at_kernels.cache_clear()
    assert [record.message.count("OPENBLAS_CORETYPE=SKYLAKEX") for record in caplog.records] == [1] * hints


def test_provenance_tells_what_decides_the_last_bits(backend):
    told = backend.provenance()
    assert told[backend.package] == backend.version()
    if backend.name == "numpy":
        assert told["kernels"] in ("reference", "plain", "numba")
        assert int(told["BLAS threads"]) >= 1


def test_an_object_is_known_from_its_first_use_like_one_that_was_named(monkeypatch):
    class Mine(NumpyBackend):
        spec = "mine"

        def owns(self, x):
            return isinstance(x, SimpleNamespace)

    class Other(NumpyBackend):
        spec = "mine"

    for kind in (Mine, Other):
        monkeypatch.setattr(kind, "__init__", lambda self: None)
    monkeypatch.setattr(core, "_opened", {})
    array = SimpleNamespace()
    assert core.backend_of(array) is None
    mine = get_backend(Mine())
    assert core.backend_of(array) is mine
    assert get_backend("mine") is get_backend(Mine()) is mine
    with pytest.raises(BackendError, match=r"Backend 'mine': expected one .* got a .*Other beside a .*Mine"):
        get_backend(Other())
