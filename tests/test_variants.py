"""Every faster variant of an op against the reference: same signature, same values, all pairings, inputs unchanged."""

import copy
import functools
import inspect
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyfw.backends.cupy.kernels import variants as cuda_kernels
from anyfw.backends.numpy import kernels
from anyfw.core.backend import backend_class, get_backend
from anyfw.ops import activation, dropout, gather, joined, linear, loss, normalize, softmax, update
from tests.played.player import COMPILER, Player
from tests.played.products import PlayedProducts


def on_a_gpu() -> dict[Any, Callable[..., Any]]:
    """CuPy's variants, which take and give NumPy's arrays; none without a GPU."""
    if not backend_class("cupy").diagnose().works:
        return {}
    backend = get_backend("cupy")

    def there(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(there, value))
        return backend.asarray(value) if isinstance(value, np.ndarray) else value

    def back(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(back, value))
        return backend.to_numpy(value) if backend.owns(value) else value

    def variant(op: Any) -> Callable[..., Any]:
        kernel = op.dispatch(type(backend.asarray(np.zeros(1))))

        @functools.wraps(op.dispatch(object))
        def call(*arguments: Any, **options: Any) -> Any:
            moved = there(arguments)
            found = kernel(*moved, **{name: there(value) for name, value in options.items()})
            for mine, theirs in zip(flat(arguments), flat(moved), strict=True):
                if isinstance(mine, np.ndarray) and mine.flags.writeable:
                    mine[...] = backend.to_numpy(theirs)
            return back(found)

        return call

    return {op: variant(op) for op in cuda_kernels(lambda *_: None)}


MODULES: dict[str, dict[Any, Callable[..., Any]]] = {"plain": kernels.VARIANTS}
try:
    from anyfw.backends.numpy import kernels_numba

    MODULES["numba"] = kernels_numba.VARIANTS
except ImportError:  # numba is an extra
    MODULES["numba"] = {}
# The CUDA kernels, whose text g++ compiles and whose threads are played on the CPU; products by cuBLASLt's interface.
PLAYER = Player(Path(tempfile.mkdtemp(prefix="anyfw-cuda-")))
MODULES["cuda"] = cuda_kernels(PLAYER, PlayedProducts()) if COMPILER else {}
# The same kernels on a GPU, where there is one.
MODULES["cupy"] = on_a_gpu()

Make = Callable[..., np.ndarray]
SHAPES = ((5, 7), (1, 3), (130, 33), (0, 4))
TALL = ((5, 7), (2, 3), (130, 33))  # at least one value in each row and two in each column
# How far two orders of adding up some hundred numbers, or two formulas for one exponential, lie apart.
TOLERANCE = {"float32": 5e-6, "float64": 1e-13}
# The plain variants compute the references' own formulas; so do those that only multiply and compare.


def elementwise(*rest: Any) -> Callable[[Make, tuple[int, ...]], tuple[Any, ...]]:
    return lambda make, shape: (make(*shape), *rest)


def gradient(*rest: Any) -> Callable[[Make, tuple[int, ...]], tuple[Any, ...]]:
    return lambda make, shape: (make(*shape), make(*shape), *rest)


def labels(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(shape[0]) * 7 % shape[1]


def unit(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.abs(x))


TICK = np.asarray(3, dtype=np.int64)
SGD = {"lr": 0.1, "kept": 0.9, "taken": 1.0, "momentum": 0.9, "nesterov": False, "weight_decay": 0.01}
ADAM = {"rate": 0.3, "unbias": 18.0, "shrink": None, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
RMSPROP = {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "momentum": 0.5, "weight_decay": 0.1}
ADAGRAD = {"rate": 0.1, "eps": 1e-10, "weight_decay": 0.1}


def RECORDED(options: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - reads as the rows around it
    """The same with what changes from step to step in arrays, as a recorded step has them; of each case's dtype."""
    changing = ("lr", "kept", "taken", "rate", "unbias", "shrink")
    return {name: Live(value) if name in changing and value is not None else value for name, value in options.items()}


class Live(float):
    """A number that `typed` makes a 0-d array of."""


def typed(options: dict[str, Any], dtype: str) -> dict[str, Any]:
    return {name: np.asarray(value, dtype) if type(value) is Live else value for name, value in options.items()}


# Op, the shapes it is tried at, its arguments, and keyword arguments (of which each gives a case of its own).
ROWS: list[tuple[Any, Any, Callable[..., tuple[Any, ...]], tuple[dict[str, Any], ...]]] = [
    (activation.relu, SHAPES, elementwise(), ({},)),
    (activation.relu_grad, SHAPES, gradient(), ({},)),
    (activation.leaky_relu, SHAPES, elementwise(0.1), ({},)),
    (activation.leaky_relu_grad, SHAPES, gradient(0.1), ({},)),
    (activation.elu, SHAPES, elementwise(1.5, 1.2), ({},)),
    (activation.elu_grad, SHAPES, gradient(1.5, 1.2), ({},)),
    (activation.sigmoid, SHAPES, elementwise(), ({},)),
    (activation.sigmoid_grad, SHAPES, gradient(), ({},)),
    (activation.tanh, SHAPES, elementwise(), ({},)),
    (activation.tanh_grad, SHAPES, gradient(), ({},)),
    (activation.silu, SHAPES, elementwise(), ({},)),
    (activation.silu_grad, SHAPES, gradient(), ({},)),
    (activation.softplus, SHAPES, elementwise(1.5, 2.0), ({},)),
    (activation.softplus_grad, SHAPES, gradient(1.5, 2.0), ({},)),
    (activation.gelu, SHAPES, elementwise(), ({},)),
    (activation.gelu_grad, SHAPES, gradient(), ({},)),
    (activation.gelu_tanh, SHAPES, elementwise(), ({},)),
    (activation.gelu_tanh_grad, SHAPES, gradient(), ({},)),
    (softmax.softmax, TALL, elementwise(-1), ({},)),
    (softmax.softmax, TALL, elementwise(0), ({},)),
    (softmax.softmax_grad, TALL, gradient(-1), ({},)),
    (softmax.log_softmax, TALL, elementwise(1), ({},)),
    (softmax.log_softmax_grad, TALL, gradient(-1), ({},)),
    (linear.linear, TALL, lambda m, s: (m(*s), m(4, s[1]), m(4)), ({},)),
    (linear.linear, TALL, lambda m, s: (m(2, *s), m(40, s[1]), None), ({},)),
    (linear.product, TALL, lambda m, s: (m(*s), m(s[1], 9)), ({},)),
    (linear.product, TALL, lambda m, s: (m(*s).T, m(s[0], 9)), ({},)),
    (linear.linear_grad, TALL, lambda m, s: (m(*s), m(s[1], 9)), ({},)),
    (linear.linear_grad, TALL, lambda m, s: (m(2, *s), m(s[1], 90)), ({},)),
    (linear.weight_grad_, TALL, lambda m, s: (m(*s), m(s[0], 6), m(s[1], 6), False), ({},)),
    (linear.weight_grad_, TALL, lambda m, s: (m(*s), m(s[0], 6), m(s[1], 6), True), ({},)),
    (linear.bias_grad_, TALL, lambda m, s: (m(*s), m(s[1]), False), ({},)),
    (linear.bias_grad_, TALL, lambda m, s: (m(2, *s), m(s[1]), True), ({},)),
    (
        linear.parameter_grads_,
        TALL,
        lambda m, s: (m(*s), m(s[0], 6), (m(s[1], 6), True), (m(s[1]), False)),
        ({},),
    ),
    (
        linear.parameter_grads_,
        TALL,
        lambda m, s: (m(3, *s), m(3, s[0], 6), (m(s[1], 6), False), (m(s[1]), False)),
        ({},),
    ),
    (linear.parameter_grads_, TALL, lambda m, s: (m(2, *s), m(2, s[0], 6), None, (m(s[1]), True)), ({},)),
    (linear.parameter_grads_, TALL, lambda m, s: (m(*s), m(s[0], 6), (m(s[1], 6), False), None), ({},)),
    (loss.squared_error, SHAPES, gradient(), ({},)),
    (loss.cross_entropy, TALL, lambda m, s: (m(*s), labels(s)), ({},)),
    (loss.cross_entropy, TALL, lambda m, s: (m(2, *s), np.stack([labels(s)] * 2)), ({},)),
    (loss.mean_, TALL, lambda m, s: (m(s[0]), m(*s), 5.0), ({},)),
    (gather.gather, TALL, lambda m, s: (m(*s), np.asarray([1, 0, 1])), ({},)),
    (gather.gather_columns, TALL, lambda m, s: (np.asarray([1, 0, 1]), (m(*s), labels(s), m(s[0])), None), ({},)),
    (gather.gather_columns, TALL, lambda m, s: (np.asarray([[9], [1]]), (m(*s),), np.asarray([1])), ({},)),
    (gather.append_, TALL, lambda m, s: (m(s[0]), np.asarray([1]), m(1).reshape(())), ({},)),
    (dropout.dropout, SHAPES, elementwise(0.3, 0xDEADBEEF, TICK, 2), ({},)),
    (dropout.dropout, SHAPES, elementwise(1.0, 5, TICK, 0), ({},)),
    (dropout.dropout, SHAPES, elementwise(1.0 - 1e-11, 5, TICK, 0), ({},)),
    (dropout.dropout_grad, SHAPES, lambda m, s: (m(*s), m(*s) > 0, 0.3), ({},)),
    (dropout.dropout_grad, SHAPES, lambda m, s: (m(*s), m(*s) > 0, 1.0), ({},)),
    (normalize.layer_norm, TALL, lambda m, s: (m(*s), m(s[1]), m(s[1]), 1e-5), ({},)),
    (normalize.layer_norm, TALL, elementwise(None, None, 1e-5), ({},)),
    (normalize.layer_norm_grad, TALL, lambda m, s: (m(*s), m(*s), m(s[1]), m(s[0], 1), m(s[0], 1)), ({},)),
    (normalize.layer_norm_grad, TALL, lambda m, s: (m(*s), m(*s), None, m(s[0], 1), m(s[0], 1)), ({},)),
    (normalize.rms_norm, TALL, lambda m, s: (m(*s), m(s[1]), 1e-5), ({},)),
    (normalize.rms_norm_grad, TALL, lambda m, s: (m(*s), m(*s), m(s[1]), m(s[0], 1)), ({},)),
    (normalize.rms_norm_grad, TALL, lambda m, s: (m(*s), m(*s), None, m(s[0], 1)), ({},)),
    (normalize.batch_norm, TALL, lambda m, s: (m(*s), m(s[1]), m(s[1]), 1e-5), ({},)),
    (normalize.batch_norm, TALL, lambda m, s: (m(*s, 3), None, None, 1e-5), ({},)),
    (normalize.batch_norm_grad, TALL, lambda m, s: (m(*s), m(*s), m(s[1]), m(s[1]), m(s[1])), ({},)),
    (normalize.batch_norm_grad, TALL, lambda m, s: (m(*s, 3), m(*s, 3), None, m(s[1]), m(s[1])), ({},)),
    (
        normalize.batch_norm_inference,
        TALL,
        lambda m, s: (m(*s), m(s[1]), m(s[1]), m(s[1]), np.abs(m(s[1])), 1e-5),
        ({},),
    ),
    (normalize.batch_norm_inference, TALL, lambda m, s: (m(*s), None, None, m(s[1]), np.abs(m(s[1])), 1e-5), ({},)),
    (update.penalised, ((5,), (150_000,)), gradient(0.1, 0.2), ({},)),
    (update.penalised, ((5,), (150_000,)), gradient(0.0, 0.0), ({},)),
    (update.sgd_, ((5,), (150_000,)), lambda m, s: (m(*s), m(*s), None), ({**SGD, "momentum": 0.0}, RECORDED(SGD))),
    (
        update.sgd_,
        ((5,), (150_000,)),
        lambda m, s: (m(*s), m(*s), m(*s)),
        (
            *({**SGD, "nesterov": nesterov, "taken": taken} for taken in (1.0, 0.8) for nesterov in (False, True)),
            RECORDED({**SGD, "taken": 0.8}),
        ),
    ),
    (
        update.adam_,
        ((5,), (150_000,)),
        lambda m, s: (m(*s), m(*s), m(*s), np.abs(m(*s)), None),
        (
            *({**ADAM, "eps": eps} for eps in (1e-8, 0.0)),
            *({**ADAM, "shrink": 0.99, "weight_decay": 0.0, "eps": eps} for eps in (1e-8, 0.0)),
            RECORDED(ADAM),
            RECORDED({**ADAM, "shrink": 0.99, "weight_decay": 0.0}),
        ),
    ),
    (
        update.adam_,
        ((5,), (150_000,)),
        lambda m, s: (m(*s), m(*s), m(*s), np.abs(m(*s)), np.abs(m(*s))),
        (ADAM, RECORDED(ADAM)),
    ),
    (
        update.rmsprop_,
        ((5,), (150_000,)),
        lambda m, s: (m(*s), m(*s), np.abs(m(*s)), None, None),
        ({"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.1},),
    ),
    (
        update.rmsprop_,
        ((5,), (150_000,)),
        lambda m, s: (m(*s), m(*s), 9 + np.abs(m(*s)), m(*s), m(*s)),
        (RMSPROP, RECORDED(RMSPROP)),
    ),
    (
        update.adagrad_,
        ((5,), (150_000,)),
        lambda m, s: (m(*s), m(*s), np.abs(m(*s))),
        (ADAGRAD, RECORDED(ADAGRAD)),
    ),
    (update.average_, ((5,), (150_000,)), gradient(), ({"decay": 0.9},)),
    (update.square_sum, ((5,), (150_000,)), elementwise(), ({},)),
    (update.scale_to_norm_, ((5,), (150_000,)), lambda m, s: (m(*s), np.abs(m(1)).reshape(()), 0.01), ({},)),
    (update.scale_to_norm_, ((5,), (150_000,)), lambda m, s: (m(*s), np.abs(m(1)).reshape(()), 1e9), ({},)),
    (update.clip_, ((5,), (150_000,)), elementwise(0.5), ({},)),
]
CASES = [
    pytest.param(module, op, shape, make, options, id=f"{module}-{op.__name__}-{i}-{shape}-{j}")
    for module, variants in MODULES.items()
    for i, (op, shapes, make, many) in enumerate(ROWS)
    for shape in shapes
    for j, options in enumerate(many)
    if op in variants
]


def numbers(dtype: str) -> Make:
    generator = np.random.default_rng(0)
    return lambda *shape: generator.standard_normal(shape).astype(dtype) * 2


def ran(function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> list[Any]:
    """What it returns and what its arguments are afterwards."""
    own = copy.deepcopy(arguments)
    return flat((function(*own, **options), own))


def flat(values: Any) -> list[Any]:
    return [one for value in values for one in flat(value)] if isinstance(values, tuple) else [values]


def same(found: list[Any], expected: list[Any], dtype: str) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        if b is None or not isinstance(b, np.ndarray | np.generic):
            assert a is b or a == b
            continue
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        if b.dtype.kind != "f":
            assert (a == b).all()
        elif b.size:
            largest = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
            np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * largest)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("module", "op", "shape", "make", "options"), CASES)
def test_a_variant_equals_the_reference(module, op, shape, make, options, dtype):
    variant, arguments, options = MODULES[module][op], make(numbers(dtype), shape), typed(options, dtype)
    same(ran(variant, arguments, options), ran(op.dispatch(object), arguments, options), dtype)


@pytest.mark.parametrize(("module", "op", "shape", "make", "options"), CASES)
def test_a_variant_takes_arrays_with_strides(module, op, shape, make, options):
    def strided(*size):
        wide = numbers("float64")(*size[:-1], 2 * size[-1]) if size else numbers("float64")()
        return wide[..., ::2]

    arguments, options = make(strided, shape), typed(options, "float64")
    again = make(strided, shape)
    found = MODULES[module][op](*arguments, **options)
    expected = op.dispatch(object)(*again, **options)
    # What it returns, and what it made of its arguments.
    same(flat((found, arguments)), flat((expected, again)), "float64")


SEVERAL = [
    c for c in CASES if sum(isinstance(a, np.ndarray) for a in flat(c.values[3](numbers("float64"), c.values[2]))) > 1
]


@pytest.mark.parametrize(("module", "op", "shape", "make", "options"), SEVERAL)
def test_no_variant_reads_or_writes_past_an_end(module, op, shape, make, options):
    # Each array in turn has one row or element less than it should: an error, or what broadcasting makes of it.
    whole, options = make(numbers("float64"), shape), typed(options, "float64")
    if module in ("cuda", "cupy") and op in (gather.gather, gather.gather_columns):
        pytest.skip("a GPU raises nothing: rows are checked on the host, and a wrong one reads the nearest")
    for i in range(len(flat(whole))):
        if not isinstance(flat(whole)[i], np.ndarray) or not flat(whole)[i].shape or len(flat(whole)[i]) < 2:
            continue
        given = [shortened(whole, i) for _ in range(2)]
        try:
            expected = op.dispatch(object)(*given[1], **options)
        except (ValueError, IndexError) as error:
            with pytest.raises(type(error)):
                MODULES[module][op](*given[0], **options)
        else:
            same(flat((MODULES[module][op](*given[0], **options), given[0])), flat((expected, given[1])), "float64")


def shortened(values: Any, i: int) -> Any:
    place = iter(range(len(flat(values))))

    def one(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(one(inner) for inner in value)
        return value[:-1].copy() if next(place) == i else copy.deepcopy(value)

    return one(values)


@pytest.mark.parametrize("module", MODULES)
def test_every_variant_has_a_row(module):
    if not MODULES[module]:
        pytest.skip({"numba": "numba is not installed", "cupy": "no GPU"}.get(module, "g++ is not installed"))
    # What has no reference is held to the layers it joins, in test_cublaslt.py.
    single = {op for op in MODULES[module] if op not in (joined.linear_activated, joined.activated_grad)}
    assert {op.__name__ for op in single} <= {row[0].__name__ for row in ROWS}


MEASURED = json.loads((Path(__file__).parents[1] / "ci/bench/results/cpu-kernels.json").read_text())["ops"]


@pytest.mark.parametrize("module", ["plain", "numba"])
def test_every_variant_says_the_gain_that_was_measured(module):
    for op, variant in MODULES[module].items():
        # One docstring speaks for all updates in blocks.
        blocked = "one block after the other" in variant.__doc__
        names = ("rmsprop_", "adagrad_", "average_") if blocked else (op.__name__,)
        found = [rows[module]["gain"] for name, rows in MEASURED.items() if name.split()[0] in names and module in rows]
        gains = {f"{gain:.1f}" if gain < 10 else f"{gain:.0f}" for gain in found}
        # One that NumPy itself outdoes with AVX-512 was not measured where it is not used.
        assert gains or op is activation.tanh, op.__name__
        _, _, said = variant.__doc__.partition("Measured: ")
        numbers = re.findall(r"([0-9.]+)x", said)
        assert numbers, op.__name__
        assert not gains or set(numbers) <= gains, (op.__name__, numbers, gains)


@pytest.mark.parametrize("module", MODULES)
def test_signatures_are_the_references(module):
    for op, variant in MODULES[module].items():
        names = list(inspect.signature(op.dispatch(object)).parameters)
        # One function for the updates of all optimisers takes its options by name.
        own = list(inspect.signature(variant).parameters)
        assert own == names or own == ["data", "vectors", "options"], op.__name__


PAIRS = {
    "relu": lambda op, grad, x, dy: grad(dy, op(x)),
    "tanh": lambda op, grad, x, dy: grad(dy, op(x)),
    "sigmoid": lambda op, grad, x, dy: grad(dy, op(x)),
    "elu": lambda op, grad, x, dy: grad(dy, op(x, 1.0, 1.0), 1.0, 1.0),
    "softmax": lambda op, grad, x, dy: grad(dy, op(x, -1), -1),
    "log_softmax": lambda op, grad, x, dy: grad(dy, op(x, -1), -1),
    "dropout": lambda op, grad, x, dy: grad(dy, op(x, 0.5, 7, TICK, 0)[1], 0.5),
    "layer_norm": lambda op, grad, x, dy: grad(dy, x, None, *op(x, None, None, 1e-5)[1:])[0],
    "rms_norm": lambda op, grad, x, dy: grad(dy, x, None, *op(x, None, 1e-5)[1:])[0],
    "batch_norm": lambda op, grad, x, dy: (lambda y, m, v, r: grad(dy, x, None, m, r)[0])(*op(x, None, None, 1e-5)),
}
HOMES = (activation, softmax, dropout, normalize)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_forward_and_backward_may_come_from_different_variants(name, dtype):
    home = next(module for module in HOMES if hasattr(module, name))
    op, grad = getattr(home, name), getattr(home, f"{name}_grad")
    forwards = [op.dispatch(object), *(m[op] for m in MODULES.values() if op in m)]
    backwards = [grad.dispatch(object), *(m[grad] for m in MODULES.values() if grad in m)]
    x, dy = numbers(dtype)(9, 13), numbers(dtype)(13, 9).T.copy()
    expected = PAIRS[name](forwards[0], backwards[0], x, dy)
    for forward in forwards:
        for backward in backwards:
            same([PAIRS[name](forward, backward, x, dy)], [expected], dtype)


ENDS = [
    (activation.relu, ()),
    (activation.leaky_relu, (0.1,)),
    (activation.elu, (1.0, 1.0)),
    (activation.sigmoid, ()),
    (activation.tanh, ()),
    (activation.silu, ()),
    (activation.gelu_tanh, ()),
    (softmax.softmax, (-1,)),
    (softmax.log_softmax, (-1,)),
]


@pytest.mark.parametrize(
    ("module", "op", "rest"),
    [
        pytest.param(module, op, rest, id=f"{module}-{op.__name__}")
        for module, variants in MODULES.items()
        for op, rest in ENDS
        if op in variants
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_is_never_lost_and_the_far_ends_are_finite(module, op, rest, dtype):
    variant = MODULES[module][op]
    x = np.asarray([[0.5, np.nan, 2.0]], dtype=dtype)
    assert np.isnan(variant(x, *rest)[0, 1])
    far = np.asarray([[-1e4, -90.0, 0.0, 90.0, 1e4]], dtype=dtype)
    found, expected = variant(far, *rest), op.dispatch(object)(far, *rest)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("module", [module for module, variants in MODULES.items() if softmax.log_softmax in variants])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_logarithm_of_probabilities_keeps_its_digits_beside_large_numbers(module, dtype):
    x = np.asarray([[1e4] * 8, [-1e10] * 8, [1e30] * 8], dtype=dtype)
    found = MODULES[module][softmax.log_softmax](x, -1)
    np.testing.assert_allclose(found, -np.log(8.0), rtol=1e-6 if dtype == "float32" else 1e-14)


def test_dropped_nan_stays():
    x = np.full((64, 8), np.nan, dtype=np.float32)
    for module in MODULES.values():
        if dropout.dropout in module:
            assert np.isnan(module[dropout.dropout](x, 0.5, 1, TICK, 0)[0]).all()


CURVE = """
import numpy as np
from anyfw import nn, losses, optim, Trainer
x = np.random.default_rng(0).standard_normal((160, 12)); t = np.arange(160) * 5 % 4
net = nn.Sequential(nn.Linear(12, 33), nn.ReLU(), nn.LayerNorm(33), nn.Linear(33, 20), nn.Tanh(), nn.Dropout(0.2),
                    nn.Linear(20, 16, bias=False), nn.BatchNorm1d(16), nn.SiLU(), nn.Linear(16, 4))
trainer = Trainer(net, losses.CrossEntropyLoss(), optim.AdamW(net.parameters(), lr=1e-2), dtype={dtype!r},
                  clip_norm=1.0, seed=1, progress=False)
print(*trainer.fit((x, t), epochs=3, batch_size=32)["loss"])
"""


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_training_curves_agree_with_and_without_variants(dtype, tolerance, monkeypatch):
    found = {}
    for choice in ("0", "plain", "1"):
        monkeypatch.setenv("ANYFW_FUSED", choice)
        monkeypatch.setenv("ANYFW_BACKEND", "numpy")
        done = subprocess.run([sys.executable, "-c", CURVE.format(dtype=dtype)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found[choice] = np.asarray(done.stdout.split(), dtype=float)
    for choice in ("plain", "1"):
        np.testing.assert_allclose(found[choice], found["0"], rtol=tolerance)


def test_another_choice_is_refused(monkeypatch):
    from anyfw.core.errors import ConfigError
    from anyfw.ops.variants import fused

    monkeypatch.setenv("ANYFW_FUSED", "yes")
    with pytest.raises(ConfigError, match="ANYFW_FUSED: expected one of 0, plain, 1, got 'yes'"):
        fused()


@pytest.mark.skipif(not MODULES["numba"], reason="numba is not installed")
def test_kernels_work_where_no_cache_can_be_written(tmp_path):
    # A copy of the package that nobody may write, and no home: numba then finds no folder and refuses to cache.
    code = """
import numba.core.caching as caching
caching._CacheLocator.from_function = classmethod(lambda *a: None)
for locator in caching.CacheImpl._locator_classes:
    locator.from_function = classmethod(lambda cls, *a: None)
import numpy as np, anyfw
from anyfw import nn
anyfw.get_backend("numpy")
print(nn.ReLU()(np.asarray([[-1.0, 2.0]])).tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[0.0, 2.0]]"
