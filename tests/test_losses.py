"""Every public loss through one table: gradients, dtypes, backends, PyTorch; and what is refused."""

import copy
import json
import pickle
import warnings

import numpy as np
import pytest
from conftest import open_backend
from specs import LOSSES, LossSpec

from anyfw import losses
from anyfw.core.backend import Backend
from anyfw.core.errors import ConfigError, DataError, FileFormatError, PlacementError, ShapeError, UnknownNameError
from anyfw.core.parameter import to_host
from anyfw.inspect.gradcheck import gradcheck_loss

CASES = [pytest.param(spec, reduction, id=f"{spec}-{reduction}") for spec in LOSSES for reduction in spec.reductions]
EACH = [pytest.param(spec, id=str(spec)) for spec in LOSSES]
WEIGHTS = np.array([2.0, 1.0, 0.0, 3.0, 1.0, 0.0, 2.0])  # whole numbers: rows taken so many times


def place(backend: Backend, x: np.ndarray, dtype: str):
    return backend.asarray(x.copy(), dtype if np.issubdtype(x.dtype, np.floating) else None)


def run(loss: losses.Loss, y, target, weight=None, *, spec="numpy", dtype="float64"):
    """(value, dy) on the host."""
    backend = open_backend(spec)
    arrays = [place(backend, x, dtype) for x in (y, target, weight) if x is not None]
    value, dy = loss(*arrays)
    assert tuple(value.shape) == ()
    assert backend.owns(value)
    assert value.dtype == arrays[0].dtype
    return to_host(value), to_host(dy)


def test_every_public_loss_has_a_row():
    public = {name for name in losses.__all__ if name.endswith("Loss")} - {"Loss"}
    assert {spec.name for spec in LOSSES} == public
    for spec in LOSSES:
        assert type(spec.make("mean")).__name__ == spec.name


@pytest.mark.parametrize(("spec", "reduction"), CASES)
def test_gradient_is_the_slope(spec: LossSpec, reduction: str):
    y, target = spec.sample()
    for weight in (None, WEIGHTS[: len(y)]):
        result = gradcheck_loss(spec.make(reduction), y, target, weight)
        assert result.ok, str(result)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning")
@pytest.mark.parametrize(("spec", "reduction"), CASES)
def test_equals_pytorch(spec: LossSpec, reduction: str):
    torch = pytest.importorskip("torch")
    for seed in range(3):
        y, target = spec.sample(seed)
        leaf = torch.tensor(y, requires_grad=True)
        expected = spec.torch(torch, reduction)(leaf, torch.tensor(target))
        expected.backward()
        value, dy = run(spec.make(reduction), y, target)
        np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(dy, leaf.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("spec", "reduction"), CASES)
def test_a_whole_weight_is_so_many_rows(spec: LossSpec, reduction: str):
    y, target = spec.sample()
    times = WEIGHTS[: len(y)].astype(int)
    value, dy = run(spec.make(reduction), y, target, WEIGHTS[: len(y)])
    repeated, repeated_dy = run(spec.make(reduction), np.repeat(y, times, axis=0), np.repeat(target, times, axis=0))
    np.testing.assert_allclose(value, repeated, rtol=1e-12)
    row = np.repeat(np.arange(len(y)), times)
    for i in range(len(y)):
        np.testing.assert_allclose(dy[i], repeated_dy[row == i].sum(axis=0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("spec", EACH)
def test_one_weight_for_each_loss(spec: LossSpec):
    y, target = spec.sample()
    loss = spec.make("mean")
    shape = loss.each(y, target)[0].shape
    by_row = WEIGHTS[: len(y)]
    full = np.broadcast_to(by_row.reshape(-1, *(1,) * (len(shape) - 1)), shape).copy()
    for ours, expected in zip(run(loss, y, target, full), run(loss, y, target, by_row), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("spec", "reduction"), CASES)
def test_totals_join_batches_exactly(spec: LossSpec, reduction: str):
    y, target = spec.sample()
    weight = WEIGHTS[: len(y)]
    loss = spec.make(reduction)
    for w in (None, weight):
        parts = [
            loss.totals(y[part], target[part], None if w is None else w[part]) for part in (slice(0, 2), slice(2, None))
        ]
        assert all(np.shape(x) == () for part in parts for x in part)
        above, below = (float(sum(column)) for column in zip(*parts, strict=True))
        value = above if reduction == "sum" else above / below
        np.testing.assert_allclose(value, run(loss, y, target, w)[0], rtol=1e-12)


@pytest.mark.parametrize("spec", EACH)
def test_same_on_every_backend(spec: LossSpec, backend: Backend):
    y, target = spec.sample()
    for weight in (None, WEIGHTS[: len(y)]):
        for reduction in spec.reductions:
            expected = run(spec.make(reduction), y, target, weight)
            for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
                if dtype == "float64" and not backend.has_float64:
                    continue
                ours = run(spec.make(reduction), y, target, weight, spec=backend.spec, dtype=dtype)
                for got, reference in zip(ours, expected, strict=True):
                    assert got.dtype == dtype
                    np.testing.assert_allclose(got, reference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("spec", EACH)
def test_leaves_its_inputs_alone(spec: LossSpec):
    given = (*spec.sample(), WEIGHTS[: len(spec.sample()[0])])
    kept = copy.deepcopy(given)
    loss = spec.make("mean")
    first = loss(*given)
    for before, after in zip(kept, given, strict=True):
        np.testing.assert_array_equal(before, after)
    assert not any(np.shares_memory(first[1], x) for x in given)
    again = loss(*given)
    np.testing.assert_array_equal(first[1], again[1])


@pytest.mark.parametrize("spec", EACH)
def test_config_rebuilds(spec: LossSpec):
    y, target = spec.sample()
    loss = spec.make(spec.reductions[-1])
    config = json.loads(json.dumps(loss.config()))
    assert config["loss"] == spec.name
    for made in (losses.from_config(config), pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert repr(made) == repr(loss)
        np.testing.assert_array_equal(made(y, target)[0], loss(y, target)[0])


def test_a_setting_may_be_a_number_of_numpy():
    assert losses.HuberLoss(np.int64(2)).config()["delta"] == losses.HuberLoss(np.float32(2)).delta == 2.0


def test_config_is_a_closed_world():
    class Own(losses.MSELoss):
        pass

    assert type(losses.from_config(Own().config(), [Own])) is Own
    with pytest.raises(UnknownNameError, match="Own"):
        losses.from_config(Own().config())
    with pytest.raises(UnknownNameError, match="Did you mean 'MSELoss'"):
        losses.from_config({"loss": "MSELos"})
    with pytest.raises(UnknownNameError):
        losses.from_config({"loss": "Loss"})
    with pytest.raises(FileFormatError, match="no loss"):
        losses.from_config({"layer": "Linear"})
    with pytest.raises(FileFormatError, match="no loss"):
        losses.from_config({"loss": ["MSELoss"]})
    with pytest.raises(FileFormatError, match="does not take"):
        losses.from_config({"loss": "MSELoss", "delta": 1})


LARGE = [
    (losses.CrossEntropyLoss(), [[1e4, -1e4, 0], [-1e4, 1e4, 1e4]], [1, 0], [2e4, 2e4 + np.log(2)]),
    (losses.CrossEntropyLoss(label_smoothing=0.3), [[1e4, -1e4, 0]], [0], [3e3]),
    (losses.BCEWithLogitsLoss(), [1e4, -1e4, 1e4, -1e4], [0.0, 1.0, 1.0, 0.0], [1e4, 1e4, 0, 0]),
    (losses.BCEWithLogitsLoss(2.0), [1e4, -1e4, 1e4, -1e4], [0.0, 1.0, 1.0, 0.0], [1e4, 2e4, 0, 0]),
    (losses.BCELoss(), [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0], [0, 0, 100, 100]),
    (losses.HingeLoss(), [[1e4, -1e4, 0]], [1], [2e4 + 1]),
    (losses.KLDivLoss(), [[-1e4, 0]], [[0.0, 1.0]], [[0, 0]]),
    (losses.KLDivLoss(True), [[-1e4, 0]], [[-np.inf, 0.0]], [[0, 0]]),
    (losses.MSELoss(), [1e4], [-1e4], [4e8]),
    (losses.HuberLoss(), [1e4], [-1e4], [2e4 - 0.5]),
]


@pytest.mark.parametrize(("loss", "y", "target", "expected"), LARGE, ids=[type(row[0]).__name__ for row in LARGE])
def test_large_outputs_in_float32(loss, y, target, expected):
    target = np.asarray(target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, dy = run(loss, np.asarray(y), target, dtype="float32")
    np.testing.assert_allclose(value, np.mean(expected), rtol=1e-6)
    assert np.isfinite(dy).all()


def test_bce_gradient_at_the_ends_is_pytorchs():
    torch = pytest.importorskip("torch")
    y, target = np.array([0.0, 1.0, 0.0, 1.0, 1e-20]), np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    leaf = torch.tensor(y, requires_grad=True)
    torch.nn.BCELoss()(leaf, torch.tensor(target)).backward()
    np.testing.assert_allclose(losses.BCELoss()(y, target)[1], leaf.grad.numpy(), rtol=1e-10)


def test_nan_stays_nan():
    for loss in (losses.BCELoss(), losses.BCEWithLogitsLoss(), losses.MSELoss(), losses.HuberLoss(), losses.L1Loss()):
        assert np.isnan(loss(np.array([0.5, np.nan]), np.array([0.0, 1.0]))[0]), loss
    for loss in (losses.CrossEntropyLoss(), losses.NLLLoss(), losses.HingeLoss()):
        assert np.isnan(loss(np.array([[0.5, np.nan, 0.1]]), np.array([1]))[0]), loss
    value, _ = losses.MSELoss()(np.ones(2), np.zeros(2), np.array([1.0, np.nan]))
    assert np.isnan(value)


@pytest.mark.parametrize("spec", EACH)
def test_no_weight_at_all_is_zero_not_nan(spec: LossSpec):
    y, target = spec.sample()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for reduction in spec.reductions:
            value, dy = run(spec.make(reduction), y, target, np.zeros(len(y)))
            assert value == 0
            assert not dy.any()
    value, dy = run(losses.CrossEntropyLoss([0, 1], label_smoothing=0.1), np.ones((2, 2)), np.zeros(2, dtype=int))
    assert value == 0
    assert not dy.any()


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_labels_of_any_integer_dtype(dtype: str, backend: Backend):
    y, target = np.random.default_rng(0).normal(size=(4, 3)), np.array([0, 2, 1, 1])
    for loss in (losses.CrossEntropyLoss((1.0, 2.0, 3.0)), losses.NLLLoss(), losses.HingeLoss()):
        expected = loss(y, target)[0]
        value, _ = loss(backend.asarray(y, "float32"), backend.asarray(target.astype(dtype)))
        np.testing.assert_allclose(to_host(value), expected, rtol=1e-5)


def test_class_weights_are_placed_once(backend: Backend):
    loss = losses.CrossEntropyLoss((1.0, 2.0, 3.0))
    y = backend.asarray(np.zeros((2, 3)), "float32")
    assert loss.class_weight(y) is loss.class_weight(y + 1)
    assert backend.owns(loss.class_weight(y))
    other = np.zeros((2, 3))
    assert loss.class_weight(other).dtype == np.float64


def test_balanced_weights():
    loss = losses.CrossEntropyLoss("balanced")
    y, target = np.random.default_rng(0).normal(size=(6, 3)), np.array([0, 0, 0, 1, 1, 2])
    assert loss.wants_balance
    with pytest.raises(ConfigError, match=r"loss\.balance"):
        loss(y, target)
    assert loss.config()["weight"] == "balanced"
    loss.balance(target, 3)
    assert not loss.wants_balance
    np.testing.assert_allclose(loss.config()["weight"], [6 / 9, 6 / 6, 6 / 3])
    np.testing.assert_array_equal(loss(y, target)[1], losses.CrossEntropyLoss(loss.config()["weight"])(y, target)[1])
    loss.balance(np.array([0, 1, 2]), 3)  # what was found stays
    np.testing.assert_allclose(loss.weight, [6 / 9, 6 / 6, 6 / 3])
    with pytest.raises(DataError, match=r"missing: \[1\]"):
        losses.NLLLoss("balanced").balance(np.array([0, 2]), 3)
    losses.MSELoss().balance(target, 3)


def test_what_outputs_mean(backend: Backend):
    scores = np.array([[1.0, 3.0, 2.0], [0.0, -1.0, -5.0]])
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    single = np.array([-1.0, 0.0, 2.0])
    rows = (
        (losses.CrossEntropyLoss(), scores, p, [1, 0]),
        (losses.NLLLoss(), np.log(p), p, [1, 0]),
        (losses.KLDivLoss(), np.log(p), p, [1, 0]),
        (losses.BCEWithLogitsLoss(), single, 1 / (1 + np.exp(-single)), [0, 0, 1]),
        (losses.BCELoss(), np.array([0.2, 0.5, 0.7]), [0.2, 0.5, 0.7], [0, 0, 1]),
        (losses.HingeLoss(), scores, None, [1, 0]),
        (losses.HingeLoss(), single, None, [-1, -1, 1]),
        (losses.HingeLoss(), single[:, None], None, [[-1], [-1], [1]]),
    )
    for loss, y, probabilities, labels in rows:
        y = backend.asarray(y, "float32")
        found = to_host(loss.labels(y))
        assert found.tolist() == labels, loss
        assert found.dtype == np.int64
        if probabilities is None:
            with pytest.raises(ConfigError, match="no probabilities"):
                loss.probabilities(y)
        else:
            np.testing.assert_allclose(to_host(loss.probabilities(y)), probabilities, rtol=1e-5)
    for loss in (losses.MSELoss(), losses.L1Loss(), losses.HuberLoss()):
        for meaning in (loss.probabilities, loss.labels):
            with pytest.raises(ConfigError, match="kind='output'"):
                meaning(y)


y23, t2, y2 = np.zeros((2, 3)), np.array([0, 1]), np.zeros(2)
CALLS = [
    (losses.MSELoss(), (y2[:, None], y2), ShapeError, r"Use target\[:, None\]"),
    (losses.MSELoss(), (y2, y2[:, None]), ShapeError, r"Use target\[:, 0\]"),
    (losses.MSELoss(), (y23, y2), ShapeError, "CrossEntropyLoss"),
    (losses.MSELoss(), (y23, y23[:1]), ShapeError, "different numbers of rows"),
    (losses.MSELoss(), (y23, y23[:, :1]), ShapeError, "Nothing is broadcast"),
    (losses.MSELoss(), (y2, t2), PlacementError, r"Cast it: .*CrossEntropyLoss"),
    (losses.MSELoss(), (y2, y2.astype("float32")), PlacementError, "float64 as y, got float32"),
    (losses.MSELoss(), (y2, [0.0, 1.0]), PlacementError, "where y is"),
    (losses.MSELoss(), ([0.0], y2), PlacementError, "floating dtype, got builtins.list"),
    (losses.MSELoss(), (t2, y2), PlacementError, "floating dtype"),
    (losses.MSELoss(), (y2[:0], y2[:0]), DataError, "at least one row"),
    (losses.MSELoss(), (np.zeros(()), np.zeros(())), ShapeError, "single number"),
    (losses.MSELoss(), (y2, y2, np.ones(3)), ShapeError, "one weight for each row"),
    (losses.MSELoss(), (y23, y23, np.ones((2, 1))), ShapeError, "one weight for each row"),
    (losses.MSELoss(), (y2, y2, np.ones(2, "float32")), PlacementError, "sample_weight in float64"),
    (losses.StandardizedMSELoss([1.0, 2.0]), (y23, y23), ShapeError, "expected 2 outputs"),
    (losses.BCELoss(), (y2, t2), PlacementError, "Cast it"),
    (losses.BCEWithLogitsLoss([1.0, 2.0]), (y23, y23), ConfigError, "each of 3 features, got 2"),
    (losses.CrossEntropyLoss(), (y23, t2[:, None]), ShapeError, r"Use target\[..., 0\]"),
    (losses.CrossEntropyLoss(), (y23, np.zeros((2, 3), dtype=int)), ShapeError, "one-hot"),
    (losses.CrossEntropyLoss(), (y23, y2), PlacementError, "'int64'"),
    (losses.CrossEntropyLoss(), (y23, y2 > 0), PlacementError, "integer class labels"),
    (losses.CrossEntropyLoss(), (y23, y23.astype("float32")), PlacementError, "float64 as y"),
    (losses.CrossEntropyLoss(), (y2[:, None], t2), ShapeError, "BCEWithLogitsLoss"),
    (losses.CrossEntropyLoss(), (y23, np.array([0, 1, 2])), ShapeError, r"shape \(2,\)"),
    (losses.CrossEntropyLoss([1, 2]), (y23, t2), ConfigError, "each of 3 classes, got 2"),
    (losses.NLLLoss(), (y23, y23), PlacementError, "integer class labels"),
    (losses.NLLLoss(), (y2, t2), ShapeError, "at least two classes"),
    (losses.HingeLoss(), (y2, t2), PlacementError, "Cast it"),
    (losses.HingeLoss(), (y2[:, None], t2), PlacementError, "Cast it"),
    (losses.HingeLoss(), (y23, y2), ShapeError, "target of y's shape"),
]


@pytest.mark.parametrize(("loss", "given", "error", "words"), CALLS)
def test_refuses(loss, given, error, words):
    with pytest.raises(error, match=words):
        loss(*given)


def test_refuses_another_backend_or_device():
    y, target = np.zeros((2, 3)), np.array([0, 1])
    strict, other = open_backend("strict"), open_backend("strict:device1")
    for loss, t in ((losses.CrossEntropyLoss(), target), (losses.MSELoss(), y)):
        with pytest.raises(PlacementError, match="expected target where y is, strict, got strict:device1"):
            loss(strict.asarray(y), other.asarray(t))
        with pytest.raises(PlacementError, match="where y is, strict, got numpy"):
            loss(strict.asarray(y), t)
        with pytest.raises(PlacementError, match="sample_weight where y is"):
            loss(strict.asarray(y), strict.asarray(t), np.ones(2))


SETTINGS = [
    (lambda: losses.MSELoss(reduction="none"), "Known: mean, sum"),
    (lambda: losses.MSELoss(reduction="batchmean"), "Known: mean, sum"),
    (lambda: losses.KLDivLoss(reduction="none"), "batchmean"),
    (lambda: losses.HuberLoss(0), "delta above 0"),
    (lambda: losses.HuberLoss(float("nan")), "delta above 0"),
    (lambda: losses.HingeLoss(-1.0), "margin above 0"),
    (lambda: losses.BCEWithLogitsLoss(-1.0), "pos_weight above 0"),
    (lambda: losses.BCEWithLogitsLoss([1.0, -1.0]), "at least 0"),
    (lambda: losses.CrossEntropyLoss([1.0, float("inf")]), "finite"),
    (lambda: losses.CrossEntropyLoss([[1.0, 2.0]]), "finite"),
    (lambda: losses.CrossEntropyLoss([0, 0]), "not all 0"),
    (lambda: losses.CrossEntropyLoss("balance"), "'balanced'"),
    (lambda: losses.CrossEntropyLoss(label_smoothing=1.5), "between 0 and 1"),
    (lambda: losses.NLLLoss([]), "finite"),
]


@pytest.mark.parametrize(("make", "words"), SETTINGS)
def test_refuses_settings(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


ce, mse, bce, hinge = losses.CrossEntropyLoss(), losses.MSELoss(), losses.BCEWithLogitsLoss(), losses.HingeLoss()
GOOD = [
    (ce, (3,), np.array([0, 2, 1], dtype="uint8")),
    (ce, (4, 3), np.array([[0, 2, 1, 0]])),
    (ce, (3,), np.array([[0.2, 0.3, 0.5]], dtype="float32")),
    (mse, (), np.array([1, 2])),
    (mse, (2,), np.ones((3, 2))),
    (bce, (1,), np.array([[0], [1]])),
    (bce, (), np.array([True, False])),
    (bce, (), np.array([0.5, 0.5])),
    (losses.BCELoss(), (), np.array([0.0, 1.0])),
    (hinge, (), np.array([-1, 1])),
    (hinge, (3,), np.array([0, 2])),
    (losses.KLDivLoss(), (2,), np.array([[0.5, 0.5]])),
    (losses.KLDivLoss(True), (2,), np.log([[0.5, 0.5]])),
]


@pytest.mark.parametrize(("loss", "shape", "target"), GOOD)
def test_check_lets_pass(loss, shape, target):
    loss.check(shape, target)
    loss.check(shape, target, np.arange(len(target)) + 1.0)


BAD = [
    (ce, (3,), np.array([0, 3]), DataError, r"labels 0 ... 2.*got 3"),
    (ce, (3,), np.array([0, -1]), DataError, "got -1"),
    (ce, (3,), np.array([1, 1]), DataError, "at least two classes, got only label 1"),
    (ce, (3,), np.array([0.0, 1.0]), DataError, r"astype\('int64'\)"),
    (ce, (3,), np.array(["a", "b"]), DataError, "real numbers"),
    (ce, (3,), np.array([0, None]), DataError, "real numbers"),
    (ce, (3,), np.zeros((0,), dtype=int), DataError, "at least one row"),
    (ce, (3,), np.array(1), DataError, "at least one row"),
    (ce, (3,), np.array([[0], [1]]), ShapeError, r"target\[..., 0\]"),
    (ce, (3,), np.eye(3, dtype=int), ShapeError, "argmax"),
    (ce, (1,), np.array([0, 1]), ShapeError, "BCEWithLogitsLoss"),
    (ce, (2,), np.array([[0.5, 0.6]]), DataError, "sum to 1, row 0 is off by 0.1"),
    (ce, (2,), np.array([[1.5, -0.5]]), DataError, "got -0.5"),
    (losses.NLLLoss(), (2,), np.array([0, 2]), DataError, "got 2"),
    (mse, (1,), np.zeros(3), ShapeError, r"target\[:, None\]"),
    (mse, (), np.array([0.0, np.nan, np.inf]), DataError, "row 1"),
    (mse, (2,), np.zeros((3, 3)), ShapeError, "Nothing is broadcast"),
    (bce, (), np.array([-1, 1]), DataError, r"\(target \+ 1\) / 2"),
    (bce, (), np.array([0.0, 2.0]), DataError, "between 0 and 1, got 2"),
    (bce, (), np.array([1, 1]), DataError, "at least two classes"),
    (bce, (1,), np.array([0, 1]), ShapeError, r"target\[:, None\]"),
    (hinge, (), np.array([0, 1]), DataError, r"2 \* target - 1"),
    (hinge, (), np.array([1, 1]), DataError, "at least two classes"),
    (hinge, (3,), np.array([0, 3]), DataError, "got 3"),
    (losses.KLDivLoss(), (2,), np.array([[0.5, 0.4]]), DataError, "sum to 1"),
    (losses.KLDivLoss(True), (2,), np.array([[0.5, 0.5]]), DataError, "sum to 1"),
]


@pytest.mark.parametrize(("loss", "shape", "target", "error", "words"), BAD)
def test_check_refuses(loss, shape, target, error, words):
    with pytest.raises(error, match=words):
        loss.check(shape, target)


def test_check_of_weights_and_of_evaluation():
    target = np.array([1, 1])
    ce.check((3,), target, training=False)
    bce.check((), target, training=False)
    target = np.array([0, 1])
    for weight, words in (
        (np.ones(3), "each of 2 rows"),
        (np.array([1.0, -1.0]), "at least 0"),
        (np.zeros(2), "some above 0"),
        (np.array([1.0, np.nan]), "row 1"),
    ):
        with pytest.raises(DataError, match=words):
            ce.check((3,), target, weight)


def test_which_targets_are_labels():
    labels, numbers = np.array([0, 1]), np.array([0.0, 1.0])
    assert ce.takes_labels((3,), labels)
    assert losses.NLLLoss().takes_labels((3,), labels)
    assert hinge.takes_labels((3,), labels)
    assert not hinge.takes_labels((), labels)
    assert not hinge.takes_labels((1,), labels[:, None])
    assert not ce.takes_labels((3,), numbers)
    assert not mse.takes_labels((), labels)
    assert not bce.takes_labels((), labels)


@pytest.mark.parametrize("loss", [losses.MSELoss(), losses.CrossEntropyLoss()])
def test_what_does_not_fit_is_refused_also_after_batches_that_did(loss):
    y = np.linspace(-1, 1, 12).reshape(4, 3)
    good = y if isinstance(loss, losses.MSELoss) else np.array([0, 1, 2, 0])
    for _ in range(2):
        loss(y, good)
        with pytest.raises(ShapeError):
            loss(y, good[:3])
        with pytest.raises(PlacementError):
            loss(y.tolist(), good)
        with pytest.raises(PlacementError):
            loss(y, good.tolist())
    elsewhere = open_backend("strict:device1").asarray(good)
    with pytest.raises(PlacementError):
        loss(y, elsewhere)
    assert pickle.loads(pickle.dumps(loss))._accepted is None
