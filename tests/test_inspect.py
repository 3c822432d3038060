"""summary, trace and doctor: what they tell is true, and nothing they look at is changed."""

import copy
import importlib
import json
import re
import threading

import numpy as np
import pytest
from specs import LAYERS

from anyfw import inspect, losses, nn
from anyfw.core import backend as core_backend
from anyfw.core import blas_choice
from anyfw.core.errors import ConfigError, ShapeError
from anyfw.inspect import demo, doctor, summary, trace
from anyfw.inspect.cpu import cpu

blas_module = importlib.import_module("anyfw.backends.numpy.blas")
doctor_module = importlib.import_module("anyfw.inspect.doctor")
formulas = importlib.import_module("anyfw.inspect.formulas")


class Twice(nn.Layer):
    """y = x + x, by a layer of the user's."""

    def forward(self, x, /, *, train=False):
        return x + x

    def backward(self, dy, /):
        """Both ways."""
        return dy + dy


def block_net():
    return nn.Sequential(
        nn.Linear(4, 5),
        nn.BatchNorm1d(5),
        nn.Residual(nn.Sequential(nn.Linear(5, 5), nn.Tanh())),
        nn.Parallel(nn.Linear(5, 2), nn.Linear(5, 1, bias=False)),
    )


# summary


def test_summary_counts_and_shapes():
    found = summary(block_net())
    rows = {row.path: row for row in found.rows}
    assert [row.path for row in found.rows] == [
        "",
        "0",
        "1",
        "2",
        "2.layer",
        "2.layer.0",
        "2.layer.1",
        "3",
        "3.0",
        "3.1",
    ]
    assert rows["0"].output_shape == (None, 5)
    assert rows[""].output_shape == rows["3"].output_shape == (None, 3)
    assert (rows["0"].parameters, rows["2"].parameters, rows["3.1"].parameters) == (25, 0, 5)
    assert rows["2.layer.0"].depth == 3
    assert (found.parameters, found.trainable, found.buffers) == (25 + 10 + 30 + 12 + 5, 82, 11)
    assert found.bytes == 4 * (82 + 10) + 8  # num_batches_tracked is int64
    assert found.input_shape == (None, 4)


def test_summary_agrees_with_the_net_itself():
    net = block_net().to("numpy", "float64")
    assert summary(net).parameters == sum(p.size for p in net.parameters())
    assert summary(net).bytes == sum(value.nbytes for value in net.state_dict().values())


def test_summary_leaves_the_net_as_it_was():
    undrawn = block_net()
    summary(undrawn)
    assert undrawn._shared is None
    assert not any(p.drawn for p in undrawn.parameters())

    net = block_net().init(seed=3)
    before, attributes = net.state_dict(), [dict(vars(layer)) for _, layer in net.named_layers()]
    summary(net, 4)
    assert [dict(vars(layer)) for _, layer in net.named_layers()] == attributes
    assert all(np.array_equal(before[path], value) for path, value in net.state_dict().items())
    assert net.shared.forwards == 0

    with pytest.raises(ShapeError, match=r"Linear 'net.0'.*expected last axis 4"):
        summary(net, 7)
    assert [dict(vars(layer)) for _, layer in net.named_layers()] == attributes


def test_summary_of_a_net_with_seed_still_to_come():
    net, other = block_net(), block_net()
    summary(net)
    assert np.array_equal(net.init(5).state_dict()["0.weight"], other.init(5).state_dict()["0.weight"])


def test_summary_of_shared_layers_and_parameters():
    shared = nn.Linear(3, 3)
    tied = nn.Linear(3, 3)
    tied.weight = shared.weight
    found = summary(nn.Sequential(shared, nn.ReLU(), shared, tied))
    assert [row.parameters for row in found.rows] == [0, 12, 0, 0, 3]
    assert found.rows[3].shared_with == "0"
    assert "Linear (= 0)" in str(found)


def test_a_shared_layer_shows_the_shape_of_each_place():
    relu = nn.ReLU()
    found = summary(nn.Sequential(nn.Linear(2, 3), relu, nn.Linear(3, 4), relu))
    assert [row.output_shape for row in found.rows if row.kind == "ReLU"] == [(None, 3), (None, 4)]


@pytest.mark.parametrize(
    ("net", "shape", "last"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), (3, 4), (None, 3)),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), None, (None, 3)),
        (lambda: nn.LayerNorm((2, 3)), None, (None, 2, 3)),
        (lambda: nn.Linear(4, 2), (7, 4), (None, 7, 2)),
        (lambda: nn.Sequential(Twice(), nn.Linear(4, 2)), 4, (None, 2)),
        (nn.Sequential, (5,), (None, 5)),
        (nn.ReLU, (), (None,)),
    ],
)
def test_summary_output_shapes(net, shape, last):
    assert summary(net(), shape).rows[0].output_shape == last


def test_summary_without_a_known_input_says_so():
    found = summary(nn.Sequential(nn.ReLU(), nn.Tanh()))
    assert found.rows[0].output_shape is None
    assert "give input_shape" in (found.note or "")
    # The width that the first Linear asks for, where what stands before it changes the width.
    odd = nn.Sequential(nn.Parallel(nn.Identity(), nn.Identity()), nn.Linear(8, 2))
    assert summary(odd).note is not None
    assert summary(odd, 4).rows[0].output_shape == (None, 2)


@pytest.mark.parametrize("shape", [-1, (3, -2)])
def test_summary_refuses_negative_axes(shape):
    with pytest.raises(ConfigError, match="without negative axes"):
        summary(nn.ReLU(), shape)


def test_summary_of_frozen_parameters_and_as_text():
    net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)).to("numpy")
    net[0].weight.trainable = False
    found = summary(net)
    assert found.trainable == 256 + 2570
    text = str(found)
    assert "200,960 (200,704 frozen)" in text
    assert "203,530 (2,826 trainable, 200,704 frozen)" in text
    assert "(N, 256)" in text
    assert "814.1 KB (814,120 bytes)" in text
    assert max(map(len, text.splitlines())) <= 100
    parsed = json.loads(json.dumps(found.as_dict()))
    assert parsed["layers"][1]["output_shape"] == [None, 256]
    assert parsed["frozen"] == 200704


def test_summary_on_every_backend(backend):
    net = block_net().to(backend)
    assert summary(net).backend == backend.spec
    assert summary(net).rows[0].output_shape == (None, 3)


@pytest.mark.parametrize("spec", LAYERS, ids=lambda spec: spec.name)
def test_summary_of_every_public_layer(spec):
    found = summary(spec.make(), spec.x[1:])
    assert found.rows[0].output_shape is not None
    assert found.rows[0].output_shape[1:] == spec.y[1:]


def test_another_thread_uses_the_net_meanwhile():
    # A summary watches a net while another thread predicts with it: the other one is not recorded.
    net = nn.Sequential(nn.Linear(2, 2)).to("numpy")
    x = np.zeros((9, 2), dtype=np.float32)
    inner = net[0].forward

    def slow(x, /, *, train=False):
        if x.shape[0] != 9:
            thread = threading.Thread(target=lambda: net(np.zeros((9, 2), dtype=np.float32)))
            thread.start()
            thread.join()
        return inner(x, train=train)

    vars(net[0])["forward"] = slow
    assert [row.output_shape for row in summary(net, 2).rows] == [(None, 2), (None, 2)]
    assert vars(net[0])["forward"] is slow
    assert net(x).shape == (9, 2)


# trace


def test_demo_by_hand():
    net, loss, x, t = demo()
    found = trace(net, loss, x, t)
    w0, b0, w2, b2 = (net.state_dict()[name] for name in ("0.weight", "0.bias", "2.weight", "2.bias"))
    h = np.tanh(x @ w0.T + b0)
    z = h @ w2.T + b2
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    d2 = (p - np.eye(2)[t]) / 2
    d0 = d2 @ w2 * (1 - h**2)
    expected = {"0.weight": d0.T @ x, "0.bias": d0.sum(0), "2.weight": d2.T @ h, "2.bias": d2.sum(0)}
    assert found.loss == pytest.approx(-np.log(p[[0, 1], t]).mean(), rel=1e-14)
    for path, value in expected.items():
        np.testing.assert_allclose(found.gradients[path], value, rtol=1e-13)
    np.testing.assert_allclose(found.deltas["0"], d0, rtol=1e-13)
    np.testing.assert_allclose(found.deltas["1"], d2 @ w2, rtol=1e-13)
    np.testing.assert_allclose(found.deltas["2"], d2, rtol=1e-13)
    np.testing.assert_allclose(found.outputs["1"], h, rtol=1e-13)


def test_trace_as_text():
    text = str(trace(*demo()))
    for line in (
        "y[0] = x @ W[0].T + b[0]",
        "y[1] = tanh(y[0])",
        "L = -(q * log(p)).sum() / 2",
        "delta[2] = (p - q) / 2",
        "dW[2] = delta[2].T @ y[1]",
        "delta[1] = delta[2] @ W[2]",
        "delta[0] = delta[1] * (1 - y[1]**2)",
        "db[0] = delta[0].sum(0)",
        "dx = delta[0] @ W[0]",
    ):
        assert f"  {line}\n" in text, line
    assert "-0.0000" not in text
    assert max(map(len, text.splitlines())) <= 100


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normal_cdf(x):
    from math import erf

    return np.vectorize(lambda v: 0.5 * (1 + erf(v / 2**0.5)))(x)


NAMES = {
    name: getattr(np, name) for name in ("exp", "log", "tanh", "sqrt", "maximum", "minimum", "where", "sign", "pi")
}
NAMES |= {
    "sigmoid": sigmoid,
    "Phi": normal_cdf,
    "phi": lambda x: np.exp(-x * x / 2) / (2 * np.pi) ** 0.5,
    "abs": np.abs,
}
NAMES |= {"concatenate": np.concatenate, "round": np.round, "arange": np.arange}
# What is given or drawn, and not computed.
GIVEN = re.compile(r"^(the input|the target|parameter, .*|this branch's part of .*|1, or 0 with probability .*)$")


def assert_every_formula_is_true(found, *, rtol=1e-9):
    """Each formula, run as NumPy on the values that were printed before it, gives the value printed under it."""
    values = {}
    for step in found.steps:
        if not GIVEN.match(step.formula):
            symbols = sorted(values, key=len, reverse=True)
            expression = re.sub(
                "|".join(rf"(?<![\w.\]]){re.escape(name)}(?!\w|\[\w)" for name in symbols),
                lambda match: f"v[{match[0]!r}]",
                step.formula,
            )
            with np.errstate(all="ignore"):
                got = eval(expression, {**NAMES, "v": values, "one_hot": lambda t: np.eye(values["classes"])[t]})
            np.testing.assert_allclose(got, step.value, rtol=rtol, atol=1e-12, err_msg=f"{step.name} = {step.formula}")
        values[step.name] = step.value
        values["classes"] = (
            step.value.shape[-1] if step.phase == "forward" and step.value.ndim else values.get("classes")
        )


@pytest.mark.parametrize("spec", LAYERS, ids=lambda spec: spec.name)
def test_every_formula_of_every_public_layer_is_true(spec):
    layer = spec.make().to("numpy", "float64")
    target = np.random.default_rng(1).normal(size=spec.y)
    assert_every_formula_is_true(trace(layer, losses.MSELoss(), spec.sample(), target), rtol=1e-6)


def test_every_public_layer_has_formulas():
    public = {
        name for name in nn.__all__ if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Layer)
    }
    assert public - {"Layer", "Sequential", "Residual", "Parallel"} <= formulas.LAYERS.keys() | formulas.SPELT.keys()


P = np.random.default_rng(0).dirichlet(np.ones(3), size=4)
LABELS = np.array([0, 2, 1, 1])
LOSSES = [
    (losses.MSELoss(), P),
    (losses.MSELoss(reduction="sum"), P),
    (losses.L1Loss(), P),
    (losses.HuberLoss(delta=0.3), P),
    (losses.BCEWithLogitsLoss(), P),
    (losses.BCEWithLogitsLoss(pos_weight=3.0), P),
    (losses.CrossEntropyLoss(), LABELS),
    (losses.CrossEntropyLoss(reduction="sum"), LABELS),
    (losses.CrossEntropyLoss(label_smoothing=0.1), LABELS),
    (losses.CrossEntropyLoss(), P),
    (losses.CrossEntropyLoss(weight=(1.0, 2.0, 0.5)), LABELS),
    (losses.CrossEntropyLoss(weight=(1.0, 2.0, 0.5), label_smoothing=0.1), LABELS),
    (losses.CrossEntropyLoss(weight=(1.0, 2.0, 0.5)), P),
    (losses.NLLLoss(), LABELS),
    (losses.NLLLoss(weight=(1.0, 2.0, 0.5)), LABELS),
    (losses.HingeLoss(), np.sign(P - 0.3)),
    (losses.KLDivLoss(), P),
    (losses.KLDivLoss(reduction="batchmean"), P),
    (losses.KLDivLoss(log_target=True), np.log(P)),
]


@pytest.mark.parametrize(("loss", "target"), LOSSES, ids=lambda value: repr(value)[:40] if callable(value) else "")
def test_every_formula_of_every_loss_is_true(loss, target):
    net = nn.Sequential(nn.Linear(2, 3)).to("numpy", "float64")
    x = np.random.default_rng(0).normal(size=(4, 2))
    assert_every_formula_is_true(trace(net, loss, x, target))


def test_formulas_of_bce_on_probabilities():
    net = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid()).to("numpy", "float64")
    assert_every_formula_is_true(trace(net, losses.BCELoss(), np.ones((4, 2)), P))


def test_hinge_of_many_classes_is_told_in_words():
    net = nn.Linear(2, 3).to("numpy", "float64")
    assert "largest wrong score" in str(trace(net, losses.HingeLoss(), np.ones((4, 2)), LABELS))


def test_trace_through_branches():
    net = nn.Sequential(
        nn.Linear(2, 2),
        nn.Residual(nn.Sequential(nn.Tanh(), nn.Linear(2, 2))),
        nn.Residual(nn.Linear(2, 3), nn.Linear(2, 3)),
        nn.Parallel(nn.Linear(3, 1), nn.Sequential(nn.Linear(3, 2), nn.ReLU()), nn.Identity()),
        nn.Parallel(nn.Linear(6, 2), nn.Linear(6, 2), combine="add"),
        nn.Residual(nn.Dropout(0.5)),
    ).to("numpy", "float64")
    found = trace(net, losses.MSELoss(), np.random.default_rng(0).normal(size=(5, 2)), np.zeros((5, 2)))
    assert_every_formula_is_true(found)
    names = [step.name for step in found.steps]
    assert len(names) == len(set(names))
    assert not [name for name in names if not name or "dy" in name]
    assert set(found.gradients) == {path for path, _ in net.named_parameters()}
    # The trace is the net's own backward.
    reference = copy.deepcopy(net)
    reference.shared.rewind(0)
    output = reference.forward(np.random.default_rng(0).normal(size=(5, 2)), train=True)
    reference.backward(losses.MSELoss()(output, np.zeros((5, 2)))[1])
    for path, parameter in reference.named_parameters():
        np.testing.assert_allclose(found.gradients[path], parameter.grad, rtol=1e-12, atol=1e-15)


def test_trace_adds_up_a_shared_layer():
    shared = nn.Linear(2, 2)
    net = nn.Sequential(shared, nn.Tanh(), shared).to("numpy", "float64")
    x = np.ones((3, 2))
    found = trace(net, losses.MSELoss(), x, np.zeros((3, 2)))
    output = net.forward(x, train=True)
    net.backward(losses.MSELoss()(output, np.zeros((3, 2)))[1])
    np.testing.assert_allclose(found.gradients["0.weight"], shared.weight.grad, rtol=1e-13)
    assert [step.name for step in found.steps if step.name.startswith("dW")] == ["dW[2]", "dW[0]"]


def test_trace_of_the_users_own_layer_and_loss():
    def half_square(y, t):
        """Half the squared distance."""
        return ((y - t) ** 2).sum() / 2, y - t

    net = nn.Sequential(nn.Linear(2, 1), Twice()).to("numpy", "float64")
    found = trace(net, half_square, [[1.0, 2.0]], [[0.0]])
    np.testing.assert_allclose(found.deltas["0"], 2 * found.outputs["1"])
    assert "half_square" in str(found)
    assert "delta[0] = Both ways" in str(found)


def test_trace_leaves_the_net_as_it_was():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).to("numpy", "float64")
    before = net.state_dict()
    trace(net, losses.MSELoss(), np.ones((4, 2)), np.zeros((4, 3)))
    assert all(np.array_equal(before[path], value) for path, value in net.state_dict().items())
    assert net.shared.forwards == 0
    assert not any(parameter.grad.any() for parameter in net.parameters())
    undrawn = nn.Sequential(nn.Linear(2, 1))
    trace(undrawn, losses.MSELoss(), np.ones((1, 2)), np.zeros((1, 1)))
    assert undrawn._shared is None


@pytest.mark.parametrize(
    ("x", "dtype"),
    [(np.ones((1, 2)), "float64"), (np.ones((1, 2), dtype=np.float32), "float32"), ([[1, 2]], "float64")],
)
def test_trace_draws_an_undrawn_net_in_the_dtype_of_x(x, dtype):
    net = nn.Sequential(nn.Rescale(0.5), nn.Linear(2, 1))
    found = trace(net, losses.MSELoss(), x, [[1.0]])
    assert str(found.outputs["1"].dtype) == dtype
    np.testing.assert_allclose(found.outputs["0"], np.asarray(x) * 0.5)


def test_trace_as_dict_is_json_even_where_numbers_are_not_finite():
    net = nn.Sequential(nn.Linear(1, 1)).to("numpy", "float64")
    net[0].weight.data = np.array([[1e200]])
    with np.errstate(over="ignore"):
        found = trace(net, losses.MSELoss(), [[1.0]], [[0.0]])
    parsed = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert parsed["loss"] is None
    assert parsed["outputs"]["0"] == [[1e200]]
    str(found)


def test_trace_on_every_backend(backend):
    net, loss, x, t = demo()
    # Moved, not made there: a device without float64 computes the same in float32.
    dtype = "float64" if backend.has_float64 else "float32"
    found = trace(net.to(backend, dtype), loss, x, t)
    expected = trace(*demo())
    for path, value in expected.gradients.items():
        np.testing.assert_allclose(found.gradients[path], value, rtol=1e-12 if dtype == "float64" else 1e-5)


def test_trace_refuses_ragged_rows():
    with pytest.raises(ConfigError, match="rows of one length"):
        trace(nn.Linear(2, 1), losses.MSELoss(), np.array([[1.0], [1.0, 2.0]], dtype=object), [[1.0]])


def test_trace_with_a_frozen_parameter():
    net, loss, x, t = demo()
    net[0].weight.trainable = False
    found = trace(net, loss, x, t)
    assert "0.weight" not in found.gradients
    assert "parameter, 3x2, frozen" in str(found)


# doctor


@pytest.fixture
def clean(monkeypatch):
    monkeypatch.delenv("ANYFW_BACKEND", raising=False)
    core_backend._auto.cache_clear()
    yield monkeypatch
    core_backend._auto.cache_clear()


def by_name(report):
    return {diagnosis.name: diagnosis for diagnosis in report.backends}


def test_doctor_here(clean):
    report = doctor()
    backends = by_name(report)
    assert backends["numpy"].works
    assert backends["numpy"].version == np.__version__
    assert backends["strict"].devices[0] == "CPU_DEVICE"
    assert report.ok
    assert report.versions["numpy"] == np.__version__
    assert report.choice.why.startswith("auto: ")
    text = str(report)
    assert max(len(line) for line in text.splitlines() if "/" not in line and "\\" not in line) <= 100
    assert f"{report.choice.spec}, by auto" in text
    parsed = json.loads(json.dumps(report.as_dict()))
    assert parsed["ok"] is True
    assert parsed["blas"]["threads"] == report.blas.threads


@pytest.mark.parametrize(
    ("setting", "problem", "fix"),
    [
        ("cuppy", "Did you mean 'cupy'?", "ANYFW_BACKEND=numpy"),
        ("strict:device9", "Unknown device of strict 'device9'", "ANYFW_BACKEND=numpy"),
        ("numpy:gpu", "Unknown device of numpy", "ANYFW_BACKEND=numpy"),
    ],
)
def test_doctor_tells_of_a_setting_that_cannot_work(clean, setting, problem, fix):
    clean.setenv("ANYFW_BACKEND", setting)
    report = doctor()
    assert not report.ok
    assert problem in (report.choice.problem or "")
    assert fix in (report.choice.fix or "")
    assert report.choice.why == f"ANYFW_BACKEND={setting}"
    assert f"asked for by ANYFW_BACKEND={setting}" in str(report)
    assert next(report.fixes())[0] == f"ANYFW_BACKEND={setting}"
    assert by_name(report)["numpy"].works


def test_doctor_tells_which_setting_decided(clean):
    clean.setenv("ANYFW_BACKEND", "strict:device1")
    assert (doctor().choice.spec, doctor().choice.why) == ("strict:device1", "ANYFW_BACKEND=strict:device1")
    with core_backend.use_backend("numpy"):
        assert doctor().choice.why == "use_backend('numpy')"


CUPY = core_backend.backend_class("cupy")
CUPY_CASES = [
    ("no driver", "cudaErrorNoDevice: no CUDA-capable device is detected", "driver"),
    ("no libcuda", "libcuda.so.1: cannot open shared object file", "driver"),
    ("old driver", "cudaErrorInsufficientDriver: CUDA driver version is insufficient", "driver"),
    ("no cuBLAS", "libcublas.so.12: cannot open shared object file", "pip install 'anyfw[cuda12]' brings them"),
    ("no headers", "Failed to find CUDA headers", "pip install 'anyfw[cuda12]' brings them"),
    ("anything", "something else", "pip install 'anyfw[cuda12]'"),
]


@pytest.mark.parametrize(("message", "advice"), [case[1:] for case in CUPY_CASES], ids=[case[0] for case in CUPY_CASES])
def test_doctor_on_a_broken_cupy(clean, message, advice):
    def broken(self, device=None):
        raise RuntimeError(message)

    clean.setattr(core_backend, "find_spec", lambda name: object())
    clean.setattr(CUPY, "version", classmethod(lambda cls: "14.0.0"))
    clean.setattr(CUPY, "devices", classmethod(lambda cls: ()))
    clean.setattr(CUPY, "__init__", broken)
    clean.setattr(core_backend, "_opened", {})
    report = doctor()
    cupy = by_name(report)["cupy"]
    assert (cupy.installed, cupy.works) == (True, False)
    assert message in (cupy.problem or "")
    assert advice in (cupy.fix or "")
    assert report.choice.spec == "numpy"
    assert "installed and does not work" in report.choice.why
    # Asked for by name it is an error, which doctor tells with the same fix.
    clean.setenv("ANYFW_BACKEND", "cupy")
    asked = doctor()
    assert not asked.ok
    assert message in (asked.choice.problem or "")
    assert advice in (asked.choice.fix or "")


def test_doctor_on_a_backend_that_computes_wrongly(clean):
    kind = core_backend.backend_class("strict")
    clean.setattr(kind, "to_numpy", lambda self, x: np.zeros((2, 2)))
    strict = by_name(doctor())["strict"]
    assert not strict.works
    assert "wrong matrix product" in (strict.problem or "")


class Point:
    """An entry point whose `load` does what it is told."""

    def __init__(self, name, load):
        self.name, self.load = name, load


def raising(error):
    def load():
        raise error

    return load


class Odd(core_backend.backend_class("numpy")):
    """A backend whose diagnosis is none."""

    name = "odd"

    @classmethod
    def diagnose(cls):
        return "fine"


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (raising(ImportError("libodd.so is missing")), "ImportError: libodd.so is missing"),
        (raising(SyntaxError("bad")), "SyntaxError: bad"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(RuntimeError()), "RuntimeError"),
        (lambda: 7, "no subclass of anyfw.Backend: 7"),
        (lambda: Odd, "gave str, not a Diagnosis"),
    ],
    ids=["import", "syntax", "exit", "wordless", "no class", "no diagnosis"],
)
def test_doctor_on_a_broken_third_party(clean, load, words):
    import importlib.metadata

    clean.setattr(importlib.metadata, "entry_points", lambda group: [Point("odd", load)])
    report = doctor()
    odd = by_name(report)["odd"]
    assert (odd.installed, odd.works) == (True, False)
    assert words in (odd.problem or "")
    assert "odd" in (odd.fix or "")
    assert report.ok
    assert words in " ".join(str(report).split())


def test_doctor_where_metadata_of_packages_is_damaged(clean):
    import importlib.metadata

    clean.setattr(importlib.metadata, "entry_points", lambda group: 1 / 0)
    assert by_name(doctor()).keys() == set(core_backend.BUILT_IN)


def test_doctor_where_a_backends_package_is_absent(clean):
    real = importlib.import_module

    def without(name, *rest):
        if name in ("anyfw.backends.torch", "anyfw.backends.strict"):
            raise ModuleNotFoundError("No module", name={"torch": "torch", "strict": "array_api_strict"}[name[15:]])
        return real(name, *rest)

    clean.setattr(core_backend.importlib, "import_module", without)
    backends = by_name(doctor())
    assert not backends["torch"].installed
    assert "pip install 'anyfw[torch]'" in (backends["torch"].fix or "")
    assert "array-api-strict" in (backends["strict"].fix or "")


def test_doctor_on_folders(clean, tmp_path):
    clean.setenv("ANYFW_DATA_DIR", str(tmp_path / "nowhere"))
    clean.setenv("XDG_CACHE_HOME", str(tmp_path))
    report = doctor()
    assert "create it, or unset" in dict(report.fixes())["ANYFW_DATA_DIR"]
    assert report.cache_folder.path == str(tmp_path / "anyfw")
    assert (report.cache_folder.exists, report.cache_folder.writable) == (False, True)
    (tmp_path / "file").write_text("")
    clean.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "XDG_CACHE_HOME" in dict(doctor().fixes())["cache"]
    clean.setenv("ANYFW_DATA_DIR", str(tmp_path))
    assert "ANYFW_DATA_DIR" not in dict(doctor().fixes())


def test_doctor_lists_the_variables_that_matter(clean):
    clean.setenv("OPENBLAS_NUM_THREADS", "1 ")
    clean.delenv("OMP_NUM_THREADS", raising=False)
    report = doctor()
    assert report.settings["OPENBLAS_NUM_THREADS"] == "1 "
    assert report.settings["OMP_NUM_THREADS"] is None
    assert "OPENBLAS_NUM_THREADS    '1 '" in str(report)


# BLAS


def test_blas_agrees_with_threadpoolctl():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    known = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]
    ours = blas_module.blas()
    mine = [info for info in known if info["filepath"] == ours.library]
    if not mine or mine[0]["internal_api"] != "openblas":
        pytest.skip("NumPy runs on no OpenBLAS here")
    assert ours.core == mine[0]["architecture"]
    assert ours.threads == mine[0]["num_threads"]
    assert ours.threading == mine[0]["threading_layer"]
    assert mine[0]["version"] in (ours.version or "")
    assert ours.problems == ()


def test_each_probe_of_blas_fails_softly(monkeypatch):
    def broken(*args, **kwargs):
        raise OSError("no such thing here")

    monkeypatch.setattr(np, "show_config", broken)
    monkeypatch.setattr(blas_module, "_library", lambda: None)
    found = blas_module.blas()
    assert (found.name, found.core, found.threads) == (None, None, None)
    assert any("numpy.show_config: OSError: no such thing here" in problem for problem in found.problems)
    assert any("could be asked" in problem for problem in found.problems)
    assert "kernels unknown, threads unknown" in str(doctor())


@pytest.mark.parametrize(
    ("core", "flags", "advice"),
    [
        ("Haswell", "avx2 avx512f avx512cd avx512bw avx512dq avx512vl", True),
        ("Zen", "avx2 avx512f avx512cd avx512bw avx512dq avx512vl", True),
        ("SkylakeX", "avx2 avx512f avx512cd avx512bw avx512dq avx512vl", False),
        ("Haswell", "avx2 fma", False),
        ("Haswell", "avx512f", False),  # too little of it for the SkylakeX kernels
        (None, "avx512f avx512cd avx512bw avx512dq avx512vl", False),
    ],
)
def test_avx512_that_is_there_but_unused_is_told(monkeypatch, tmp_path, core, flags, advice):
    info = tmp_path / "cpuinfo"
    info.write_text(
        f"processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: Some CPU\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\n"
    )
    monkeypatch.setattr(blas_choice, "CPUINFO", info)
    found = {"library": "x", "version": "OpenBLAS 1", "core": core, "threads": 1, "threading": "pthreads"}
    monkeypatch.setattr(blas_module, "_ask", lambda name: found)
    assert (blas_module.blas().advice is not None) == advice
    assert cpu().model == "Some CPU"
    assert ("SKYLAKEX" in str(doctor())) == advice


def test_a_system_without_cpuinfo_and_maps(monkeypatch, tmp_path):
    monkeypatch.setattr(blas_choice, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(blas_module, "MAPS", tmp_path / "none")
    assert cpu().avx512 is None
    assert "instruction sets unknown" in str(doctor())
    assert blas_module.blas().advice is None


def test_more_threads_than_cores_are_told(monkeypatch):
    found = {"library": "x", "version": "OpenBLAS 1", "core": None, "threads": 10_000, "threading": None}
    monkeypatch.setattr(blas_module, "_ask", lambda name: found)
    assert "OPENBLAS_NUM_THREADS=" in dict(doctor().fixes())["BLAS threads"]


def test_names_of_the_package():
    assert all(callable(getattr(inspect, name)) for name in inspect.__all__)
