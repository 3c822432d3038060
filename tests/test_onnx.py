"""ONNX files compute what the net computes: every layer, every kind of output; and what is refused, in words."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SEED, open_backend
from specs import LAYERS as SPECS

from anyfw import __version__, data, losses, nn
from anyfw.cli import main
from anyfw.core.arrays import namespace
from anyfw.core.errors import (
    ConfigError,
    FileFormatError,
    MissingExtraError,
    MissingFileError,
    OutputError,
    ShapeError,
    UnknownNameError,
)
from anyfw.interop.onnx import LAYERS, check, export, functions
from anyfw.optim import SGD
from anyfw.train import Trainer

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

DTYPES = ("float32", "float64")
# Rounding alone: onnxruntime adds in another order, and has formulas of its own for tanh, erf and exp.
LIMIT = {"float32": 1e-5, "float64": 1e-13}
X = np.random.default_rng(7).normal(size=(6, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANYFW_BACKEND", raising=False)


def run(x, path="net.onnx"):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


def largest_error(found, y):
    """Absolute for small numbers, relative for large ones."""
    assert (found.shape, found.dtype) == (y.shape, y.dtype)
    with np.errstate(invalid="ignore"):
        error = np.where(found == y, 0.0, np.abs(found.astype(np.float64) - y) / np.maximum(1.0, np.abs(y)))
    return error.max(initial=0.0)


def net_of_five():
    layers = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 3)
    return nn.Sequential(*layers).init(3).to("numpy")


def names(model):
    return [node.name for node in model.graph.node]


def weights(model):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def properties(model):
    return {item.key: item.value for item in model.metadata_props}


# Every layer


@pytest.mark.parametrize("opset", [17, 18, 21])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_each_row_of_the_table_of_layers(spec, dtype, opset):
    net = spec.layer().to("numpy", dtype)
    before = net.state_dict()
    export(net, "net.onnx", input_shape=spec.x[1:], opset=opset)
    for rows, size in ((4, 1.0), (9, 8.0)):
        x = size * np.random.default_rng(rows).normal(size=(rows, *spec.x[1:])).astype(dtype)
        assert largest_error(run(x), net(x)) <= LIMIT[dtype]
    after = net.state_dict()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_every_public_layer_has_a_writer():
    public = {getattr(nn, name) for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    assert set(LAYERS) == {kind for kind in public if issubclass(kind, nn.Layer)} - {nn.Layer}


ELEMENTWISE = (
    nn.ReLU(),
    nn.LeakyReLU(-0.5),
    nn.LeakyReLU(1.5),
    nn.ELU(0.3),
    nn.SELU(),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SiLU(),
    nn.Softplus(),
    nn.Softplus(-0.5, 3.0),
    nn.Softplus(4.0, 25.0),
    nn.Sigmoid(),
    nn.Tanh(),
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", ELEMENTWISE, ids=str)
def test_activations_from_tiny_to_huge(layer, dtype):
    far = np.concatenate([np.linspace(-60.0, 60.0, 1201), *(s * 10.0 ** np.arange(-30, 30) for s in (-1, 1))])
    x = far.astype(dtype)[:, None]
    net = nn.Sequential(layer).to("numpy", dtype)
    export(net, "net.onnx", input_shape=1)
    with np.errstate(over="ignore"):
        assert largest_error(run(x), net(x)) <= LIMIT[dtype]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("sample", [(3,), (3, 6)])
def test_batch_norm_by_the_statistics_of_the_batch(sample, affine):
    net = nn.BatchNorm1d(3, affine=affine, track_running_stats=False).init(0).to("numpy")
    if affine:
        net.weight.data, net.bias.data = [1.0, -2.0, 0.5], [0.0, 1.0, 2.0]
    export(net, "net.onnx", input_shape=sample)
    x = np.random.default_rng(0).normal(size=(8, *sample)).astype(np.float32)
    assert largest_error(run(x), net(x)) <= 1e-6


# Whole nets


def random_layer(rng, width, depth, shared):
    """A layer from width to width, of the kinds that nets are made of."""
    kinds = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.SELU, nn.Softplus, nn.Sigmoid, nn.Softmax, nn.LogSoftmax)
    choice = rng.integers(0, 10 if depth else 6)
    if choice == 0:
        return kinds[rng.integers(len(kinds))]()
    if choice == 1:
        return nn.Dropout(0.4)
    if choice == 2:
        return [nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d][rng.integers(3)](width)
    if choice == 3 and shared:
        return shared[rng.integers(len(shared))]
    if choice <= 5:
        shared.append(nn.Linear(width, width, bias=bool(rng.integers(2))))
        return shared[-1]
    inner = [random_layer(rng, width, depth - 1, shared) for _ in range(rng.integers(1, 4))]
    if choice == 6:
        return nn.Sequential(*inner)
    if choice == 7:
        return nn.Residual(nn.Sequential(*inner), random_layer(rng, width, depth - 1, shared))
    if choice == 8:
        return nn.Parallel(*inner, combine="add")
    return nn.Sequential(nn.Parallel(*inner), nn.Linear(width * len(inner), width))


@pytest.mark.parametrize("number", range(50))
def test_random_nets(number):
    rng = np.random.default_rng([SEED, number])
    net = nn.Sequential(*(random_layer(rng, 6, 3, []) for _ in range(5))).init(number).to("numpy", "float64")
    for path, stored in net.named_stored():
        if path.endswith(("running_mean", "running_var")):
            stored.data = rng.uniform(0.5, 2.0, size=stored.shape)
    x = rng.normal(size=(7, 6))
    y = net(x)
    export(net, "net.onnx", input_shape=6)
    scale = max(1.0, np.abs(y).max())
    assert np.abs(run(x) - y).max() <= 1e-9 * scale
    # Deep nets may magnify float32's rounding: onnxruntime's then may be what ours is, and ten times that.
    single = x.astype(np.float32)
    ours = np.abs(net.to(dtype="float32")(single) - y).max()
    export(net, "net.onnx", input_shape=6)
    assert np.abs(run(single) - y).max() <= 1e-5 * scale + 10.0 * ours


def test_names_are_paths_and_a_shared_layer_is_written_once():
    shared = nn.Linear(4, 4)
    branch = nn.Parallel(nn.Identity(), nn.Sequential(nn.LayerNorm(4), shared))
    net = nn.Sequential(shared, nn.SiLU(), nn.Residual(shared), nn.Dropout(0.5), branch).init(0).to("numpy")
    model = export(net, "net.onnx")
    assert names(model) == [
        "0/Gemm",
        "1/Sigmoid",
        "1/Mul",
        "2.layer/Gemm",
        "2/Add",
        "4.1.0/LayerNormalization",
        "4.1.1/Gemm",
        "4/Concat",
    ]
    found, expected = weights(model), net.state_dict()
    assert list(found) == ["0.weight", "0.bias", "4.1.0.weight", "4.1.0.bias"]
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name])
    assert model.graph.name == "Sequential"
    assert largest_error(run(X[:, :4].copy()), net(X[:, :4].copy())) <= 1e-6


def test_a_single_layer_and_no_layer_at_all():
    assert list(weights(export(nn.Linear(5, 2).init(0), "net.onnx"))) == ["weight", "bias"]
    for net in (nn.Sequential(), nn.Dropout(0.3)):
        assert names(export(net, "net.onnx", input_shape=5)) == ["output"]
        assert np.array_equal(run(X), X)


def test_a_layer_that_is_called_as_an_end_of_the_graph_is():
    class Ends(nn.Layer):
        def __init__(self):
            self.input, self.output = nn.Linear(5, 5), nn.Parameter((5,), "ones")

        def forward(self, x, /, *, train=False):
            return self.input(x) * self.output.data

        def backward(self, dy, /):
            raise NotImplementedError

    net = Ends().init(0).to("numpy")
    writer = lambda graph, layer, x: graph.layer("input", layer.input, x) * graph.stored(layer.output)  # noqa: E731
    model = export(net, "net.onnx", layers={Ends: writer})
    assert list(weights(model)) == ["input.weight", "input.bias", "output_1"]
    assert largest_error(run(X), net(X)) <= 1e-6


def test_what_the_file_says_of_itself():
    net = net_of_five()
    net.metadata = {"task": "classification", "class_names": ("á", "b", "c"), "image_shape": None, "data": "x.npz"}
    model = onnx.load(export(net, "net.onnx", output="label") and "net.onnx")
    assert (model.producer_name, model.producer_version) == ("anyfw", __version__)
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    found = properties(model)
    assert json.loads(found.pop("class_names")) == ["á", "b", "c"]
    assert found == {"anyfw_version": __version__, "output": "label", "task": "classification", "data": "x.npz"}
    x, y = model.graph.input[0], model.graph.output[0]
    assert (x.name, y.name) == ("input", "label")
    assert [axis.dim_param or axis.dim_value for axis in x.type.tensor_type.shape.dim] == ["batch", 5]
    assert [axis.dim_param or axis.dim_value for axis in y.type.tensor_type.shape.dim] == ["batch"]
    onnx.checker.check_model("net.onnx", full_check=True)
    assert "Dropout" not in {node.op_type for node in model.graph.node}
    first = Path("net.onnx").read_bytes()
    export(net, "net.onnx", output="label")
    assert Path("net.onnx").read_bytes() == first


def test_a_net_not_yet_drawn_is_drawn_as_by_save():
    found = weights(export(nn.Sequential(nn.Linear(5, 3)), "net.onnx"))
    expected = nn.Sequential(nn.Linear(5, 3)).state_dict()
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in found)


# Axes of any length


def test_sequences_of_any_length():
    net = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2, bias=False), nn.Softmax())
    net.init(0).to("numpy")
    model = export(net, "net.onnx", input_shape=("time", 5))
    shape = model.graph.output[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in shape] == ["batch", "time", 2]
    for rows, time in ((1, 1), (3, 7)):
        x = np.random.default_rng(0).normal(size=(rows, time, 5)).astype(np.float32)
        assert largest_error(run(x), net(x)) <= 1e-6


@pytest.mark.parametrize(
    ("flatten", "sample", "y"),
    [
        (nn.Flatten(), ("time", 2), ["batch", None]),
        (nn.Flatten(0), (3, 2), [None]),
        (nn.Flatten(0, 1), (3, "time"), [None, "time"]),
        (nn.Flatten(1, 2), (3, 2, "time"), ["batch", 6, "time"]),
        (nn.Flatten(1, 2), (3, None, 2), ["batch", None, 2]),
        (nn.Flatten(-1, -1), (3, 2), ["batch", 3, 2]),
    ],
    ids=str,
)
def test_flatten_of_axes_of_any_length(flatten, sample, y):
    model = export(nn.Sequential(flatten, nn.ReLU()), "net.onnx", input_shape=sample)
    shape = model.graph.output[0].type.tensor_type.shape.dim
    found = [axis.dim_param or axis.dim_value or None for axis in shape]
    # ONNX gives names of its own to lengths that it cannot tell.
    assert [axis if not str(axis).startswith("unk") else None for axis in found] == y
    for rows, other in ((1, 4), (3, 5)):
        x = np.random.default_rng(0).normal(size=(rows, *(n if isinstance(n, int) else other for n in sample)))
        x = x.astype(np.float32)
        assert np.array_equal(run(x), np.maximum(flatten(x), 0.0))


def test_an_axis_count_that_only_the_net_tells():
    kind = own(lambda x: np.squeeze(x, axis=2))
    write = lambda graph, layer, x: graph.node("Squeeze", x)  # noqa: E731
    model = export(kind(), "net.onnx", input_shape=(5, 1), layers={kind: write})
    assert len(model.graph.output[0].type.tensor_type.shape.dim) == 2
    assert np.array_equal(run(X[:, :, None]), X)


def test_no_rows():
    net = net_of_five()
    export(net, "net.onnx")
    assert run(X[:0]).shape == (0, 3)


# What goes in and what comes out


def test_bytes_of_images_go_in_as_they_are():
    net = nn.Sequential(nn.Rescale(1 / 255), nn.Linear(784, 10)).init(0).to("numpy")
    net.metadata = {"x_dtype": "uint8", "image_shape": (28, 28)}
    images = np.random.default_rng(0).integers(0, 256, size=(5, 784)).astype(np.uint8)
    model = export(net, "net.onnx")
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert properties(model)["image_shape"] == "[28, 28]"
    assert largest_error(run(images), net(images)) <= 1e-6
    for dtype in ("float32", "float64", "int64", "int16"):
        export(net, "net.onnx", input_dtype=dtype)
        assert largest_error(run(images.astype(dtype)), net(images)) <= 1e-6
        assert check("net.onnx", net) <= 1e-5


def test_a_net_trained_on_floats_takes_its_own():
    net = net_of_five()
    net.metadata = {"x_dtype": "float64"}
    assert export(net, "net.onnx").graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    net.to(dtype="float64")
    assert export(net, "net.onnx").graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.DOUBLE


class Own(losses.CrossEntropyLoss):
    """Its outputs mean what its base's do."""


MEANINGS = (
    (losses.CrossEntropyLoss(), 3, None, ("probability", "label")),
    (Own(label_smoothing=0.1), 3, None, ("probability", "label")),
    (losses.NLLLoss(), 3, nn.LogSoftmax(), ("probability", "label")),
    (losses.KLDivLoss(), 3, nn.LogSoftmax(), ("probability", "label")),
    (losses.BCELoss(), 3, nn.Sigmoid(), ("probability", "label")),
    (losses.BCEWithLogitsLoss(), 1, None, ("probability", "label")),
    (losses.HingeLoss(), 1, None, ("label",)),
    (losses.HingeLoss(), 3, None, ("label",)),
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "width", "last", "kinds"), MEANINGS, ids=lambda value: getattr(value, "who", ""))
def test_outputs_are_what_predict_gives(loss, width, last, kinds, dtype):
    net = nn.Sequential(nn.Linear(5, width), last or nn.Identity()).init(2)
    trainer = Trainer(net, loss, SGD(net.parameters(), lr=0.1), backend="numpy", dtype=dtype, progress=False)
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(dtype)
    for kind in ("output", *kinds):
        model = export(net, "net.onnx", output=kind, loss=loss)
        assert [y.name for y in model.graph.output] == [kind]
        found, expected = run(x), trainer.predict(x, kind)
        if kind == "label":
            assert found.dtype == np.int64
            assert np.array_equal(found, expected)
            assert len(np.unique(found)) > 1
        else:
            assert largest_error(found, expected) <= LIMIT[dtype]
        assert check("net.onnx", net, loss=loss) <= LIMIT[dtype]


def test_a_net_that_says_it_classifies_needs_no_loss():
    net = net_of_five()
    net.metadata = {"task": "classification"}
    export(net, "net.onnx", output="probability")
    np.testing.assert_allclose(run(X).sum(axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("spec", ["strict:device1", "torch", "cupy"])
def test_a_net_on_another_device(spec):
    net = net_of_five().to(open_backend(spec))
    export(net, "net.onnx", output="probability", loss=losses.CrossEntropyLoss())
    assert check("net.onnx", net, X, loss=losses.CrossEntropyLoss()) <= 1e-5
    assert net.backend.spec == open_backend(spec).spec


def test_check_finds_another_net():
    net, other = net_of_five(), net_of_five()
    export(net, "net.onnx")
    assert check("net.onnx", net) < 1e-6
    other[4].bias.data = np.array([0.0, 0.0, 0.5])
    found = check("net.onnx", other)
    assert 0.01 < found < 10.0
    assert check("net.onnx", other, rows=16) == found
    assert check("net.onnx", other, rows=16, seed=1) != found


def test_check_counts_each_output_in_its_own_unit():
    net = nn.Sequential(nn.Linear(5, 2), nn.Rescale([1e-6, 1e6])).init(0).to("numpy")
    export(net, "net.onnx")
    assert check("net.onnx", net) < 1e-6
    net[0].weight.data[0] *= np.float32(1.01)
    assert check("net.onnx", net) == pytest.approx(0.01, rel=0.05)


def test_check_does_not_blow_up_what_is_hardly_probable():
    net, loss = nn.Linear(5, 3).init(0).to("numpy"), losses.CrossEntropyLoss()
    net.bias.data = [-30.0, 0.0, 0.0]
    export(net, "net.onnx", output="probability", loss=loss)
    net.bias.data = [-31.0, 0.0, 0.0]
    assert check("net.onnx", net, loss=loss) < 1e-6


def test_check_takes_rows_on_the_scale_that_the_net_expects():
    net = nn.Sequential(nn.Rescale(1e-9, -7.0), nn.ReLU(), nn.Linear(5, 3)).init(0).to("numpy")
    export(net, "net.onnx")
    net[2].weight.data[:] += np.float32(0.1)
    # Of rows near 0 the ReLU would let nothing through.
    assert check("net.onnx", net, X) == 0.0
    assert check("net.onnx", net) > 0.01


# Layers of one's own


class Snake(nn.Layer):
    """y = x + sin(a x)^2 / a."""

    def __init__(self, features):
        self.features = features
        self.a = nn.Parameter((features,), 2.0)

    def forward(self, x, /, *, train=False):
        return x + namespace(x).sin(self.a.data * x) ** 2 / self.a.data

    def backward(self, dy, /):
        raise NotImplementedError


def write_snake(graph, layer, x):
    a = graph.stored(layer.a)
    s = graph.node("Sin", a * x)
    return x + s * s / a


class Around(nn.Layer):
    """Y = layer(x) + x, twice; a container of one's own."""

    def __init__(self, inner):
        self.inner = inner

    def forward(self, x, /, *, train=False):
        return self.inner(self.inner(x) + x)

    def backward(self, dy, /):
        raise NotImplementedError


def write_around(graph, layer, x):
    return graph.layer("inner", layer.inner, graph.layer("inner", layer.inner, x) + x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_of_ones_own(dtype):
    inner = nn.Sequential(nn.Linear(5, 5), Snake(5))
    net = nn.Sequential(Around(inner), Snake(5)).init(0).to("numpy", dtype)
    model = export(net, "net.onnx", layers={Snake: write_snake, Around: write_around})
    assert list(weights(model)) == ["0.inner.0.weight", "0.inner.0.bias", "0.inner.1.a", "1.a"]
    assert names(model)[:2] == ["0.inner.0/Gemm", "0.inner.1/Mul"]
    assert "0.inner.0/Gemm_1" in names(model)
    x = X.astype(dtype)
    assert largest_error(run(x), net(x)) <= LIMIT[dtype]


def own(forward):
    """A layer without parameters, of one function."""

    class Square(nn.Layer):
        def forward(self, x, /, *, train=False):
            return forward(x)

        def backward(self, dy, /):
            raise NotImplementedError

    return Square


def test_whole_numbers_of_a_layer_before_are_cast_by_rescale():
    kind = own(lambda x: np.floor(x).astype(np.int64))
    net = nn.Sequential(kind(), nn.Rescale(0.1)).to("numpy")
    write = lambda graph, layer, x: graph.cast(graph.node("Floor", x), "int64")  # noqa: E731
    export(net, "net.onnx", input_shape=5, layers={kind: write})
    assert largest_error(run(X), net(X)) <= 1e-6


def test_arithmetic_with_values():
    weight, row = np.arange(15.0, dtype=np.float32).reshape(5, 3) / 7, np.arange(5.0, dtype=np.float32)

    def forward(x):
        y = -(((2.0 + x - 0.5) * 3 / (1 + row) - 1.5) ** 2.0)
        y = np.where(y < x, y, x) + np.where(y <= -1, 1.0, x) + np.where(x > 0.5, row * x, 0.0)
        y = y + np.where(x > 1, 1.0, 2.0).astype(np.float32)
        y = y + np.where(x >= row, np.float32(2) / (x * x + 1), 2.0 - x)
        return np.maximum(y, -3.0) @ weight

    def write(graph, layer, x):
        where = functions.where
        y = -(((2.0 + x - 0.5) * 3 / (1 + row) - 1.5) ** 2.0)
        y = where(y < x, y, x) + where(y <= -1, 1.0, x) + where(x > 0.5, row * x, 0.0) + where(x > 1, 1.0, 2.0)
        y = y + where(x >= row, np.float32(2) / (x * x + 1), 2.0 - x)
        return functions.maximum(y, -3.0) @ weight

    kind = own(forward)
    net = kind().to("numpy")
    export(net, "net.onnx", input_shape=5, layers={kind: write})
    assert largest_error(run(X), net(X)) <= 1e-6


def test_a_writer_of_ones_own_goes_before_ours():
    twice = {nn.ReLU: lambda graph, layer, x: functions.maximum(x, 0.0)}
    assert names(export(nn.Sequential(nn.ReLU()), "net.onnx", input_shape=5, layers=twice)) == ["0/Max"]
    assert np.array_equal(run(X), np.maximum(X, 0.0))


class Halved(nn.Linear):
    """A subclass, which may compute anything."""


def test_a_layer_without_a_writer_is_named_by_its_path():
    net = nn.Sequential(nn.Linear(5, 5), nn.Residual(nn.Sequential(Snake(5))))
    with pytest.raises(
        ConfigError, match=r"Snake 'net\.1\.layer\.0': Snake has no writer.*layers=\{Snake: write\}.*Linear"
    ):
        export(net, "net.onnx")
    with pytest.raises(ConfigError, match=r"Halved 'net': .*if it computes what Linear does, .*LAYERS\[Linear\]"):
        export(Halved(5, 2), "net.onnx")
    assert not list(Path().iterdir())
    net = Halved(5, 2).init(0).to("numpy")
    export(net, "net.onnx", layers={Halved: LAYERS[nn.Linear]})
    assert largest_error(run(X), net(X)) <= 1e-6


WRONG_WRITERS = (
    (lambda graph, layer, x: None, "Square 'net': expected its writer for ONNX to return a Value, got None"),
    (lambda graph, layer, x: graph.node("Sqare", x), "'Sqare': onnx refuses Sqare of input .*No schema"),
    (lambda graph, layer, x: graph.node("Mul", x), "'Mul': onnx refuses Mul of input .*input size 1"),
    (
        lambda graph, layer, x: x * np.ones((3, 4)),
        r"refuses Mul of input \(float32, \('batch', 5\)\), constant \(float32",
    ),
    (lambda graph, layer, x: graph.node("Mul", x, x, axis=object()), "'Mul': onnx refuses attributes"),
    (lambda graph, layer, x: graph.node("Mul", x, x, axis=1), "onnx refuses .*Unrecognized attribute: axis"),
    (lambda graph, layer, x: graph.stored(nn.Parameter((5,))), "is no parameter of this net"),
    (lambda graph, layer, x: graph.node("Shape", x) * 0.5, "expected a whole number beside int64, got 0.5"),
    (lambda graph, layer, x: graph.mean(x, [1]), r"gives shape \('batch', 1\), where the net gives \(3, 5\) for 3"),
    (lambda graph, layer, x: graph.node("Flatten", x, axis=0), r"gives shape \(1, None\)"),
    (lambda graph, layer, x: graph.node("Squeeze", x).ndim, "number of axes is not known"),
)


@pytest.mark.parametrize(("writer", "words"), WRONG_WRITERS)
def test_what_is_wrong_in_a_writer(writer, words):
    kind = own(lambda x: x * x)
    with pytest.raises(ConfigError, match=words):
        export(kind(), "net.onnx", input_shape=5, layers={kind: writer})
    assert not list(Path().iterdir())


# What is refused


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"output": "labels"}, UnknownNameError, "Unknown output 'labels'. Did you mean 'label'"),
        ({"output": "label"}, ConfigError, "output='label': the loss .* Give it: loss="),
        ({"output": "label", "loss": losses.MSELoss()}, ConfigError, "MSELoss: its outputs are no classes"),
        ({"output": "probability", "loss": losses.HingeLoss()}, ConfigError, "HingeLoss: its outputs are no prob"),
        ({"input_dtype": "float16"}, UnknownNameError, "Unknown input_dtype 'float16'"),
        ({"opset": 16}, ConfigError, "opset: expected 17 to [0-9]+ .*got 16"),
        ({"opset": 1000}, ConfigError, "got 1000"),
        ({"opset": True}, ConfigError, "got True"),
        ({"input_shape": 4}, ShapeError, r"Linear 'net\.0': expected last axis 5, got shape \(2, 4\)"),
        ({"input_shape": (0, 5)}, ConfigError, r"lengths of at least 1, and names or None .*\(0, 5\)"),
        ({"input_shape": ("batch", 5)}, ConfigError, "The batch axis is no part of it"),
        ({"input_shape": (2.5,)}, ConfigError, "lengths of at least 1"),
    ],
)
def test_refused_in_words_and_the_old_file_stays(arguments, error, words):
    Path("net.onnx").write_text("old")
    with pytest.raises(error, match=words):
        export(net_of_five(), "net.onnx", **arguments)
    assert Path("net.onnx").read_text() == "old"


def test_a_loss_with_labels_of_its_own_is_refused():
    class Odd(losses.CrossEntropyLoss):
        def labels(self, y):
            return super().labels(y) + 1

    export(net_of_five(), "net.onnx", output="probability", loss=Odd())
    with pytest.raises(ConfigError, match=r"Odd: its own labels cannot be written to ONNX. Use output='output'"):
        export(net_of_five(), "net.onnx", output="label", loss=Odd())


def test_an_output_layer_that_the_loss_applies_itself():
    net = nn.Sequential(nn.Linear(5, 3), nn.Softmax())
    with pytest.raises(ConfigError, match=r"Softmax .* stands before CrossEntropyLoss"):
        export(net, "net.onnx", output="probability", loss=losses.CrossEntropyLoss())


@pytest.mark.parametrize("net", [nn.Sequential(nn.ReLU()), nn.Sequential(nn.Flatten(), nn.Linear(6, 2))], ids=str)
def test_a_shape_that_no_layer_tells(net):
    with pytest.raises(ConfigError, match=r"input_shape: no layer tells the shape of a sample. Give it"):
        export(net, "net.onnx")


def test_more_than_a_file_holds(monkeypatch):
    monkeypatch.setattr(sys.modules["anyfw.interop.onnx.export"], "_MAX_BYTES", 100)
    with pytest.raises(ConfigError, match=r"net.onnx: the weights take .* GB, and an ONNX file holds 2 GB at most"):
        export(net_of_five(), "net.onnx")


def test_it_is_checked_before_it_is_written(monkeypatch):
    def refuse(model, full_check):
        assert full_check
        raise onnx.checker.ValidationError("not this one")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(ConfigError, match=r"net.onnx: onnx refuses what was written: not this one"):
        export(net_of_five(), "net.onnx")
    assert not list(Path().iterdir())


def test_a_file_that_cannot_be_written():
    with pytest.raises(OutputError, match="its folder does not exist"):
        export(net_of_five(), "missing/net.onnx")


def test_without_the_packages(monkeypatch):
    export(net_of_five(), "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"Running an ONNX file needs onnxruntime: pip install"):
        check("net.onnx", net_of_five())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"Export to ONNX needs onnx: pip install 'anyfw\[onnx\]'"):
        export(net_of_five(), "net.onnx")


def test_a_file_that_onnxruntime_does_not_take():
    Path("net.onnx").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"net.onnx: onnxruntime .* cannot run it"):
        check("net.onnx", net_of_five())


def test_check_of_no_file():
    with pytest.raises(MissingFileError, match=r"none\.onnx: there is no such file"):
        check("none.onnx", net_of_five())
    with pytest.raises(FileFormatError, match="expected a file, got a folder"):
        check(".", net_of_five())


def test_check_with_rows_that_do_not_fit():
    export(net_of_five(), "net.onnx")
    with pytest.raises(ShapeError, match=r"Linear 'net\.0': expected last axis 5"):
        check("net.onnx", net_of_five(), np.ones((2, 4)))


def test_check_with_a_file_of_another_shape():
    export(nn.Linear(5, 2), "net.onnx")
    with pytest.raises(ConfigError, match=r"it gives shape \(16, 2\) where the net gives \(16, 3\)"):
        check("net.onnx", net_of_five())


# The command


@pytest.fixture
def cli(capsys):
    """Run a command; gives what it printed to stdout and stderr."""

    def call(*arguments, code=0):
        found = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert found == code, err
        return out, err

    return call


def test_classification_from_training_to_onnxruntime(cli):
    cli("train", "digits", "--hidden", "16", "--norm", "batch", "--dropout", "0.2", "--epochs", "3")
    for kind in ("output", "probability", "label"):
        out, _ = cli("export", "runs/digits", "digits.onnx", "--output", kind)
        assert out.startswith("digits.onnx: ")
        assert "input (batch, 64) uint8" in out
        cli("predict", "runs/digits", "digits", "--kind", kind, "--out", "found.npy")
        found = run(data.load("digits").test[0], "digits.onnx")
        expected = np.load("found.npy")
        assert largest_error(found, expected) <= (0.0 if kind == "label" else 1e-5)
    found = properties(onnx.load("digits.onnx"))
    assert (found["task"], json.loads(found["class_names"])[3], found["data"]) == ("classification", "3", "digits")


@pytest.mark.parametrize(("unit", "offset"), [(1.0, 0.0), (1e4, -3e4), (1e-5, 0.0)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_regression_in_the_units_of_its_targets(cli, unit, offset, dtype):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, size=(300, 2))
    y = unit * np.stack([x[:, 0] * x[:, 1], x[:, 0] - x[:, 1]], axis=1) + offset
    np.savez("d.npz", x=x, y=y)
    np.save("rows.npy", x.astype(dtype))
    cli("train", "d.npz", "--epochs", "2", "--activation", "gelu", "--dtype", dtype, "--out", "run")
    out, _ = cli("export", "run", "d.onnx", "--json")
    answer = json.loads(out)
    assert answer["difference"] <= LIMIT[dtype]
    assert answer["input"] == {"name": "input", "dtype": dtype, "shape": ["batch", 2]}
    assert answer["output"] == {"name": "output", "dtype": dtype, "shape": ["batch", 2]}
    assert (answer["opset"], answer["bytes"]) == (17, Path("d.onnx").stat().st_size)
    cli("predict", "run", "rows.npy", "--out", "found.npy")
    expected = np.load("found.npy")
    np.testing.assert_allclose(run(x.astype(dtype), "d.onnx"), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert abs(expected.mean() - y.mean()) < 2 * unit
    assert "its outputs are no classes" in cli("export", "run", "d.onnx", "--output", "label", code=2)[1]


def test_a_model_of_the_library_by_the_command(cli):
    nn.Sequential(nn.Flatten(), nn.Linear(6, 2)).init(0).save("m.safetensors")
    assert "input_shape: no layer tells" in cli("export", "m.safetensors", "m.onnx", code=2)[1]
    out, _ = cli(
        "export", "m.safetensors", "m.onnx", "--opset", "18", "--input-dtype", "int32", "--input-shape", "3", "2"
    )
    assert "input (batch, 3, 2) int32" in out
    assert "opset 18" in out
    _, err = cli("export", "m.safetensors", "m.onnx", "--input-shape", "time", "2", code=2)
    assert "Linear 'net.1': expected last axis 6" in err


def test_the_command_tells_what_differs_and_what_was_not_run(cli, monkeypatch):
    nn.Sequential(nn.Linear(6, 2)).init(0).save("m.safetensors")
    monkeypatch.setattr("anyfw.interop.onnx.check", lambda *args, **kwargs: 0.25)
    assert (
        "at most 0.25 from anyfw in onnxruntime, more than 1e-05: do not use it"
        in cli("export", "m.safetensors", "m.onnx", code=1)[0]
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    out, err = cli("export", "m.safetensors", "m.onnx", "--json")
    assert "onnxruntime is not installed: the file was checked by onnx, but not run." in err
    assert json.loads(out)["difference"] is None


def test_other_kinds_of_files_are_refused(cli):
    assert "expected a file name that ends in .onnx" in cli("export", "runs/x", "m.pt", code=2)[1]
    assert "no such run or model" in cli("export", "runs/x", "m.onnx", code=2)[1]
