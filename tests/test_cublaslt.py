"""Products by cuBLASLt's interface, which `tests/played/lt.cpp` plays, and layers that its epilogues run together."""

import ctypes
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from anyfw import Trainer, get_backend, losses, nn, optim
from anyfw.backends.cupy import cublaslt
from anyfw.core import backend as backends
from anyfw.core.backend import backend_class
from anyfw.core.errors import BackendError, UnknownNameError
from anyfw.core.hooks import watched
from tests.played.player import COMPILER
from tests.played.products import PlayedProducts, library

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


def numbers(*shape, dtype="float32"):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transpose", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 5, 7), (40, 33, 2)])
def test_a_product_is_a_product(products, sizes, transpose, dtype):
    m, n, k = sizes
    a, b = numbers(m, k, dtype=dtype), numbers(k, n, dtype=dtype)
    given = [x.T.copy() if flip else x for x, flip in zip((a, b), transpose, strict=True)]
    for add in (False, True):
        out = numbers(m, n, dtype=dtype)
        expected = a @ b + (out if add else 0.0)
        assert products(out, *given, transpose_a=transpose[0], transpose_b=transpose[1], add=add)
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


EPILOGUES = ("bias", "relu", "relu_grad", "gelu", "gelu_grad", "sum_a")
# What `lt.cpp` does wrongly on demand, and which epilogues are refused for it; a gradient needs what forward kept.
FAULTS = {
    "NaN is hidden": (1, ["relu", "relu_grad", "gelu", "gelu_grad"]),
    "sums are wrong": (2, ["relu_grad", "gelu_grad", "sum_a"]),
    "a bias is forgotten": (3, ["bias", "relu", "relu_grad", "gelu", "gelu_grad"]),
}


@needs_compiler
@pytest.mark.parametrize("fault", FAULTS)
def test_an_epilogue_that_is_wrong_is_not_used(fault):
    number, refused = FAULTS[fault]
    library().fault(number)
    try:
        products = PlayedProducts()
        assert [name for name in EPILOGUES if not products.has(name, "float32")] == refused
        assert not products(*map(np.ones, [(2, 3)] * 3), epilogue="relu")
    finally:
        library().fault(0)


@needs_compiler
def test_all_epilogues_are_there_in_float32_and_the_bias_in_float64(products):
    assert all(products.has(name, "float32") for name in EPILOGUES)
    assert [name for name in EPILOGUES if products.has(name, "float64")] == ["bias"]


@needs_compiler
def test_precision_decides_how_products_multiply():
    products = PlayedProducts()
    x = numbers(4, 4)
    for precision in ("float32", "tf32", "bfloat16"):
        products.precision = precision
        assert products(np.empty_like(x), x, x)
        assert library().latest_compute() == cublaslt.COMPUTE[precision]
        assert products(np.empty((4, 4)), x.astype("float64"), x.astype("float64"))
        assert library().latest_compute() == cublaslt.COMPUTE["float64"]


@needs_compiler
def test_a_refusal_is_told_by_its_name(products):
    with pytest.raises(BackendError, match=r"CUBLAS_STATUS_INVALID_VALUE. Run: anyfw doctor."):
        products._library._set(ctypes.c_void_p(_descriptor()), cublaslt.EPILOGUE, ctypes.c_int64(4))


def _descriptor():
    desc = ctypes.c_void_p()
    assert library().cublasLtMatmulDescCreate(ctypes.byref(desc), 68, 0) == 0
    return desc.value


def test_a_backend_without_tensor_cores_has_one_precision():
    backend = get_backend("numpy")
    assert backend.matmul == "float32"
    backend.matmul = "float32"
    with pytest.raises(UnknownNameError, match="matmul precision of numpy 'tf32'"):
        backend.matmul = "tf32"


@pytest.mark.parametrize(
    ("wanted", "precisions", "found", "told"),
    [
        ("tf32", ("float32", "tf32"), "tf32", ""),
        ("", ("float32", "tf32"), "float32", ""),
        ("float32", ("float32",), "float32", ""),
        ("tf32", ("float32",), "float32", "ANYFW_MATMUL=tf32 has no effect on strict:device2"),
    ],
)
def test_the_environment_sets_the_precision(wanted, precisions, found, told, monkeypatch, caplog):
    pytest.importorskip("array_api_strict")
    kind = backend_class("strict")
    monkeypatch.setenv("ANYFW_MATMUL", wanted)
    monkeypatch.setattr(kind, "precisions", precisions)
    monkeypatch.setattr(backends, "_opened", {})
    assert get_backend("strict:device2").matmul == found
    assert told in caplog.text
    assert bool(told) == bool(caplog.records)


HEADERS = ("cublasLt.h", "cublas_api.h")


def _installed(name):
    found = importlib.util.find_spec("nvidia")
    for folder in found.submodule_search_locations or () if found else ():
        path = Path(folder) / "cublas" / name
        if path.exists():
            return path
    return pytest.skip("nvidia-cublas-cu12 is not installed")


def test_numbers_are_those_of_the_header():
    text = "".join(_installed(f"include/{name}").read_text() for name in HEADERS)
    known = {f"CUBLASLT_MATMUL_DESC_{name}": getattr(cublaslt, name) for name in ("TRANSA", "TRANSB", "EPILOGUE")}
    known.update(
        CUBLASLT_MATMUL_DESC_BIAS_POINTER=cublaslt.BIAS_POINTER,
        CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER=cublaslt.AUX_POINTER,
        CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD=cublaslt.AUX_LD,
        CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES=cublaslt.MAX_WORKSPACE,
        CUBLASLT_EPILOGUE_DEFAULT=cublaslt.NONE,
        CUBLASLT_EPILOGUE_RELU_AUX_BIAS=cublaslt.RELU,
        CUBLASLT_EPILOGUE_GELU_AUX_BIAS=cublaslt.GELU,
        CUBLASLT_EPILOGUE_DRELU=cublaslt.RELU_GRAD,
        CUBLASLT_EPILOGUE_DRELU_BGRAD=cublaslt.RELU_GRAD_SUMS,
        CUBLASLT_EPILOGUE_DGELU=cublaslt.GELU_GRAD,
        CUBLASLT_EPILOGUE_DGELU_BGRAD=cublaslt.GELU_GRAD_SUMS,
        CUBLASLT_EPILOGUE_BIAS=cublaslt.BIAS,
        CUBLASLT_EPILOGUE_BGRADB=cublaslt.SUM_B,
        CUBLAS_COMPUTE_32F=cublaslt.COMPUTE["float32"],
        CUBLAS_COMPUTE_32F_FAST_TF32=cublaslt.COMPUTE["tf32"],
        CUBLAS_COMPUTE_32F_FAST_16BF=cublaslt.COMPUTE["bfloat16"],
        CUBLAS_COMPUTE_64F=cublaslt.COMPUTE["float64"],
    )
    values: dict[str, int] = {}
    kinds = "CUBLASLT_EPILOGUE|CUBLASLT_MATMUL_DESC|CUBLASLT_MATMUL_PREF|CUBLAS_COMPUTE"
    for name, formula in re.findall(rf"^ *((?:{kinds})_\w+) *= *([^,/]+),", text, re.MULTILINE):
        values[name] = eval(formula, {}, values)
    assert {name: values[name] for name in known} == known


def test_the_library_takes_our_descriptors_without_a_gpu():
    lt = ctypes.CDLL(str(_installed("lib/libcublasLt.so.12")))
    ours = cublaslt.CublasLt(lt)
    for dtype in cublaslt.TYPES:
        assert ours._layout(dtype, 5, 7).value
    for precision, number in cublaslt.COMPUTE.items():
        desc = ctypes.c_void_p()
        kind = cublaslt.TYPES["float64" if precision == "float64" else "float32"]
        assert lt.cublasLtMatmulDescCreate(ctypes.byref(desc), number, kind) == 0
        ours._set(desc, cublaslt.TRANSA, ctypes.c_int32(1))
        ours._set(desc, cublaslt.EPILOGUE, ctypes.c_int32(cublaslt.RELU_GRAD_SUMS))
        ours._set(desc, cublaslt.AUX_LD, ctypes.c_int64(128))
        ours._point(desc, (4096, 8192))
    with pytest.raises(BackendError, match="CUBLAS_STATUS"):
        ours._set(desc, cublaslt.EPILOGUE, ctypes.c_int64(1))


# Layers run together

NETS = {
    "relu": lambda: [nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 4)],
    "gelu by tanh": lambda: [nn.Linear(12, 24), nn.GELU("tanh"), nn.Linear(24, 8), nn.GELU("tanh"), nn.Linear(8, 4)],
    "a width that is none": lambda: [nn.Linear(12, 100), nn.ReLU(), nn.Linear(100, 4)],
    "nothing to join": lambda: [nn.Linear(12, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 4), nn.ReLU()],
    "between others": lambda: [
        nn.LayerNorm(12), nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 8), nn.GELU(), nn.Linear(8, 4),
    ],
    "frozen": lambda: [
        _frozen(nn.Linear(12, 128), "bias"), nn.ReLU(), _frozen(nn.Linear(128, 128), "weight"), nn.ReLU(),
        nn.Linear(128, 4),
    ],
    "frozen first": lambda: [_frozen(nn.Linear(12, 128), "weight", "bias"), nn.ReLU(), nn.Linear(128, 4)],
    "shared": lambda: (lambda inner, act: [nn.Linear(12, 128), act, inner, act, inner, act, nn.Linear(128, 4)])(
        nn.Linear(128, 128), nn.ReLU()
    ),
    "nested": lambda: [nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 128)), nn.Linear(128, 4)],
    "without bias": lambda: [nn.Linear(12, 128, bias=False), nn.ReLU(), nn.Linear(128, 4)],
}  # fmt: skip
NEAR = {"float32": 1e-4, "float64": 1e-11}
JOINED = {"relu": ("relu", 2), "gelu by tanh": ("gelu", 2), "between others": ("relu", 1), "frozen": ("relu", 2),
          "frozen first": ("relu", 1), "shared": ("relu", 3), "nested": ("relu", 1)}  # fmt: skip


def _frozen(layer, *names):
    for name in names:
        getattr(layer, name).trainable = False
    return layer


def _passes(net, dtype, x, passes=1):
    net = net.to("numpy", dtype)
    for _ in range(passes):
        y = net.forward(x.astype(dtype), train=True)
        dx = net.backward(numbers(*y.shape, dtype=dtype))
    net.accumulate(np.ones_like(net.forward(x.astype(dtype), train=True)))
    assert not any(layer._saved for _, layer in net.named_layers())
    return [y, dx, *(parameter.grad.copy() for parameter in net.parameters())]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_layers_run_together_give_what_they_give_alone(request, name, dtype, monkeypatch):
    x = numbers(9, 12)
    expected = _passes(nn.Sequential(*NETS[name]()).init(3), dtype, x, passes=2)
    _, products = request.getfixturevalue("on_played_kernels")
    monkeypatch.setattr(get_backend("numpy"), "joins", True, raising=False)
    products.done.clear()
    found = _passes(nn.Sequential(*NETS[name]()).init(3), dtype, x, passes=2)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=NEAR[dtype], atol=NEAR[dtype])
    kind, pairs = JOINED.get(name, ("relu", 0))
    # Twice forward and backward, then once more; there are no such kernels in float64.
    assert products.done.count(kind) == 3 * pairs * (dtype == "float32")
    assert products.done.count(f"{kind}_grad") == 3 * pairs * (dtype == "float32")


def test_a_gradient_without_a_kernel_is_found_one_layer_after_the_other(request, monkeypatch):
    from anyfw.ops import joined

    for name in ("relu", "gelu by tanh"):
        expected = _passes(nn.Sequential(*NETS[name]()).init(3), "float32", numbers(9, 12))
        request.getfixturevalue("on_played_kernels")
        monkeypatch.setattr(get_backend("numpy"), "joins", True, raising=False)
        kernel = joined.activated_grad.dispatch(np.ndarray)
        joined.activated_grad.register(np.ndarray, joined.activated_grad.dispatch(object))
        try:
            found = _passes(nn.Sequential(*NETS[name]()).init(3), "float32", numbers(9, 12))
        finally:
            joined.activated_grad.register(np.ndarray, kernel)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_layers_that_are_watched_run_alone(on_played_kernels, monkeypatch):
    monkeypatch.setattr(get_backend("numpy"), "joins", True, raising=False)
    net, seen = nn.Sequential(*NETS["relu"]()).to("numpy"), []
    wrap = lambda layer, method: lambda *a, **k: (seen.append(type(layer).__name__), method(*a, **k))[1]  # noqa: E731
    with watched(net.layers, {"forward": wrap, "backward": wrap}):
        net.backward(net.forward(numbers(3, 12), train=True))
    names = ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert seen == [*names, *names]
    seen.clear()
    net.backward(net.forward(numbers(3, 12), train=True))
    assert seen == []


def test_a_net_trains_on_joined_layers_as_on_numpy(request, monkeypatch):
    def train():
        net = nn.Sequential(*NETS["relu"]()).init(1)
        data = numbers(96, 12), np.arange(96) * 5 % 4
        trainer = Trainer(
            net, losses.CrossEntropyLoss(), optim.AdamW(net.parameters()), backend="numpy", progress=False
        )
        return trainer.fit(data, epochs=2, batch_size=32)["loss"]

    expected = train()
    request.getfixturevalue("on_played_kernels")
    monkeypatch.setattr(get_backend("numpy"), "joins", True, raising=False)
    np.testing.assert_allclose(train(), expected, rtol=1e-5)
