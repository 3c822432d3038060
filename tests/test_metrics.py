"""Every public metric through one table: scikit-learn's numbers, on every backend, however the rows are batched."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from conftest import open_backend

from anyfw import metrics
from anyfw.core.backend import Backend
from anyfw.core.errors import ConfigError, DataError, FileFormatError, PlacementError, ShapeError, UnknownNameError
from anyfw.core.parameter import to_host

N, CLASSES = 60, 4


def softmax(y: np.ndarray) -> np.ndarray:
    p = np.exp(y.astype(np.float64) - y.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def sigmoid(y: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-y.astype(np.float64)))


def scores(rng):
    y, target = rng.normal(size=(N, CLASSES)), rng.integers(0, CLASSES, size=N)
    y[np.arange(N), target] += 0.7
    return np.round(y, 1), target  # rounded, so that there are ties


def three_of_four(rng):
    # Class 3 is neither true nor decided.
    y, target = scores(rng)
    y[:, 3] = -9.0
    return y, target % 3


def logits(rng):
    target = rng.integers(0, 2, size=N).astype(float)
    return np.round(rng.normal(size=N) + target, 1) + 0.05, target


def column(rng):
    y, target = logits(rng)
    return y[:, None], target[:, None]


def signs(rng):
    y, target = logits(rng)
    return y, 2 * target - 1


def shares(rng):
    y, target = logits(rng)
    return sigmoid(y), target


def rows(rng):
    y, target = scores(rng)
    return softmax(y), target


def numbers(rng):
    target = rng.normal(size=N) + 1e3
    return target + rng.normal(size=N), target


def table(rng):
    target = rng.normal(size=(N, 3)) * [1.0, 5.0, 0.2]
    return target + rng.normal(size=(N, 3)), target


@dataclass(frozen=True)
class MetricSpec:
    """How to make a metric, its outputs and targets, and what scikit-learn computes for them."""

    name: str
    make: Callable[[], metrics.Metric]
    data: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
    sklearn: Callable[[Any, np.ndarray, np.ndarray, np.ndarray | None], Any]  # (sklearn.metrics, y, target, weight)

    def __str__(self) -> str:
        return f"{self.name}-{self.data.__name__}"


def by_class(function: str, **options: Any):
    return lambda m, y, t, w: getattr(m, function)(t, y.argmax(-1), sample_weight=w, zero_division=0, **options)


def binary(function: str, threshold: float = 0.0, **options: Any):
    return lambda m, y, t, w: getattr(m, function)(
        np.ravel(t) > 0.5, np.ravel(y) > threshold, sample_weight=w, **options
    )


METRICS = (
    MetricSpec(
        "Accuracy",
        metrics.Accuracy,
        scores,
        lambda m, y, t, w: m.accuracy_score(t, y.argmax(-1), sample_weight=w),
    ),
    MetricSpec("Accuracy", metrics.Accuracy, logits, binary("accuracy_score")),
    MetricSpec("Accuracy", metrics.Accuracy, column, binary("accuracy_score")),
    MetricSpec("Accuracy", metrics.Accuracy, signs, binary("accuracy_score")),
    MetricSpec("Accuracy", lambda: metrics.Accuracy(0.5), shares, binary("accuracy_score", 0.5)),
    MetricSpec(
        "ZeroOne", metrics.ZeroOne, scores, lambda m, y, t, w: m.zero_one_loss(t, y.argmax(-1), sample_weight=w)
    ),
    MetricSpec("ZeroOne", metrics.ZeroOne, logits, binary("zero_one_loss")),
    *(
        MetricSpec(
            "TopK",
            lambda k=k: metrics.TopK(k),
            scores,
            lambda m, y, t, w, k=k: m.top_k_accuracy_score(t, y, k=k, sample_weight=w),
        )
        for k in (1, 2, 3)
    ),
    MetricSpec(
        "ConfusionMatrix",
        metrics.ConfusionMatrix,
        scores,
        lambda m, y, t, w: m.confusion_matrix(t, y.argmax(-1), sample_weight=w),
    ),
    MetricSpec("ConfusionMatrix", lambda: metrics.ConfusionMatrix(2), logits, binary("confusion_matrix")),
    *(
        MetricSpec(name, lambda kind=kind, a=average: kind(a), data, reference)
        for name, kind, function in (
            ("Precision", metrics.Precision, "precision_score"),
            ("Recall", metrics.Recall, "recall_score"),
            ("F1", metrics.F1, "f1_score"),
        )
        for average, data, reference in (
            ("macro", scores, by_class(function, average="macro")),
            ("macro", three_of_four, by_class(function, average="macro")),
            (None, three_of_four, by_class(function, average=None, labels=[0, 1, 2, 3])),
            ("macro", logits, binary(function, average="macro")),
            ("binary", logits, binary(function)),
        )
    ),
    MetricSpec("LogLoss", metrics.LogLoss, scores, lambda m, y, t, w: m.log_loss(t, softmax(y), sample_weight=w)),
    MetricSpec(
        "LogLoss",
        lambda: metrics.LogLoss(from_logits=False),
        rows,
        lambda m, y, t, w: m.log_loss(t, y, sample_weight=w),
    ),
    MetricSpec("LogLoss", metrics.LogLoss, column, lambda m, y, t, w: m.log_loss(t, sigmoid(y), sample_weight=w)),
    MetricSpec(
        "LogLoss",
        lambda: metrics.LogLoss(from_logits=False),
        shares,
        lambda m, y, t, w: m.log_loss(t, y, sample_weight=w),
    ),
    MetricSpec(
        "RocAuc",
        metrics.RocAuc,
        scores,
        lambda m, y, t, w: m.roc_auc_score(t, softmax(y), sample_weight=w, multi_class="ovr"),
    ),
    MetricSpec("RocAuc", metrics.RocAuc, logits, lambda m, y, t, w: m.roc_auc_score(t, y, sample_weight=w)),
    MetricSpec("RocAuc", metrics.RocAuc, column, lambda m, y, t, w: m.roc_auc_score(t[:, 0], y[:, 0], sample_weight=w)),
    *(
        MetricSpec(name, kind, data, lambda m, y, t, w, f=function: getattr(m, f)(t, y, sample_weight=w))
        for name, kind, function in (
            ("MAE", metrics.MAE, "mean_absolute_error"),
            ("RMSE", metrics.RMSE, "root_mean_squared_error"),
            ("R2", metrics.R2, "r2_score"),
        )
        for data in (numbers, table)
    ),
)
EACH = [pytest.param(spec, id=f"{i}-{spec}") for i, spec in enumerate(METRICS)]


def measure(metric: metrics.Metric, backend: Backend, dtype: str, *columns: np.ndarray, batch: int = 17) -> Any:
    def place(x: np.ndarray):
        return backend.asarray(x.copy(), dtype if x.dtype.kind == "f" else None)

    metric.reset()
    for start in range(0, len(columns[0]), batch):
        metric.update(*(place(x[start : start + batch]) for x in columns))
    return metric.compute()


def test_every_public_metric_has_a_row():
    public = {name for name in metrics.__all__ if isinstance(getattr(metrics, name), type)} - {"Metric"}
    assert {spec.name for spec in METRICS} == public
    for spec in METRICS:
        assert type(spec.make()).__name__ == spec.name


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("spec", EACH)
def test_equals_scikit_learn_on_every_backend(spec: MetricSpec, weighted: bool, backend: Backend):
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    y, target = spec.data(rng)
    weight = rng.integers(1, 9, size=N) / 4 if weighted else None
    metric = spec.make()
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-6)):
        if dtype == "float64" and not backend.has_float64:
            continue
        cast = [x.astype(dtype) if x.dtype.kind == "f" else x for x in (y, target)]
        expected = spec.sklearn(reference, *cast, weight)
        found = measure(metric, backend, dtype, *cast, *(() if weight is None else (weight,)))
        assert isinstance(found, float | list)
        # Without float64 the sums are float32's; the largest relative step of one is 6e-8, of R2 near 1e3 it is more.
        slack = 1 if backend.has_float64 else 20
        np.testing.assert_allclose(found, expected, rtol=tolerance * slack, atol=tolerance * slack)


@pytest.mark.parametrize("spec", EACH)
def test_batches_and_checkpoints_change_nothing(spec: MetricSpec):
    backend = open_backend("strict:device1")
    y, target = spec.data(np.random.default_rng(0))
    weight = np.arange(N) % 5 / 2
    whole = measure(spec.make(), backend, "float64", y, target, weight, batch=N)
    one = spec.make()
    np.testing.assert_allclose(measure(one, backend, "float64", y, target, weight, batch=1), whole, rtol=1e-11)

    place = [[backend.asarray(x[part]) for x in (y, target, weight)] for part in (slice(0, 25), slice(25, None))]
    first = spec.make()
    assert first.state() == {}
    first.update(*place[0])
    saved = {name: to_host(x).copy() for name, x in first.state().items()}
    assert sorted(saved) == sorted(first.sums)
    kept = first.state()
    first.update(*place[1])
    for name, x in kept.items():
        np.testing.assert_array_equal(to_host(x), saved[name])  # a state does not go on with its metric
    resumed = metrics.from_config(json.loads(json.dumps(first.config())))
    resumed.load_state({name: backend.asarray(x) for name, x in saved.items()})
    resumed.update(*place[1])
    assert resumed.compute() == first.compute()
    assert copy.deepcopy(first).compute() == first.compute()
    first.load_state({})
    with pytest.raises(DataError, match="no rows yet"):
        first.compute()
    with pytest.raises(ConfigError, match="expected a state of"):
        first.load_state({"other": backend.asarray(np.ones(()))})


@pytest.mark.parametrize("spec", EACH)
def test_leaves_its_inputs_alone_and_forgets(spec: MetricSpec):
    y, target = spec.data(np.random.default_rng(0))
    given = (y, target, np.ones(N))
    before = copy.deepcopy(given)
    metric = spec.make()
    metric.update(*given)
    first = metric.compute()
    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, b)
    y += 1e9  # what was taken in is the metric's own
    assert metric.compute() == first
    metric.reset()
    with pytest.raises(DataError, match="no rows yet"):
        metric.compute()


@pytest.mark.parametrize("spec", EACH)
def test_weights_of_zero_are_an_error_not_nan(spec: MetricSpec):
    if spec.name == "ConfusionMatrix":
        return
    y, target = spec.data(np.random.default_rng(0))
    metric = spec.make()
    metric.update(y, target, np.zeros(N))
    with pytest.raises(DataError):
        metric.compute()


@pytest.mark.parametrize("spec", EACH)
def test_whole_weights_are_so_many_rows(spec: MetricSpec):
    backend = open_backend("numpy")
    y, target = spec.data(np.random.default_rng(1))
    times = np.arange(N) % 4
    repeated = measure(spec.make(), backend, "float64", np.repeat(y, times, axis=0), np.repeat(target, times, axis=0))
    np.testing.assert_allclose(
        measure(spec.make(), backend, "float64", y, target, times.astype(float)), repeated, rtol=1e-11
    )


def test_update_never_reads_the_device(monkeypatch: pytest.MonkeyPatch):
    strict = pytest.importorskip("array_api_strict")
    kind = type(strict.zeros(()))

    def refuse(self):
        raise AssertionError("the host read a number of the device")

    backend = open_backend("strict:device1")
    batches = []
    for spec in METRICS:
        columns = (*spec.data(np.random.default_rng(0)), np.ones(N))
        batches.append((spec.make(), [backend.asarray(x) for x in columns]))
    for name in ("__float__", "__bool__", "__int__", "__index__"):
        monkeypatch.setattr(kind, name, refuse)
    for metric, columns in batches:
        metric.update(*columns)
        metric.update(*columns)
        metric.state()


def test_rows_of_several_axes_and_soft_targets():
    rng = np.random.default_rng(0)
    y, target, weight = rng.normal(size=(5, 3, 4)), rng.integers(0, 4, size=(5, 3)), np.arange(5.0)
    flat, labels, weights = y.reshape(15, 4), target.reshape(15), np.repeat(weight, 3)
    for kind in (metrics.Accuracy, metrics.LogLoss, metrics.RocAuc, metrics.TopK, metrics.ConfusionMatrix, metrics.F1):
        first, second, third = kind(), kind(), kind()
        first.update(y, target, weight)
        second.update(flat, labels, weights)
        third.update(y, target, weights.reshape(5, 3))
        np.testing.assert_allclose(first.compute(), second.compute(), rtol=1e-12)
        np.testing.assert_allclose(third.compute(), second.compute(), rtol=1e-12)
    for kind in (metrics.Accuracy, metrics.LogLoss):
        for options in ({}, {"from_logits": False}) if kind is metrics.LogLoss else ({},):
            hard, soft = kind(**options), kind(**options)
            hard.update(softmax(flat), labels)
            soft.update(softmax(flat), np.eye(4)[labels])
            np.testing.assert_allclose(hard.compute(), soft.compute(), rtol=1e-12)


def test_edges_as_in_scikit_learn():
    reference = pytest.importorskip("sklearn.metrics")
    constant = np.full(4, 3.0)
    for y in (constant, constant + np.array([0, 0, 0, 1.0])):
        metric = metrics.R2()
        metric.update(y, constant)
        assert metric.compute() == reference.r2_score(constant, y)
    metric = metrics.R2()
    metric.update(constant[:1], constant[:1])
    with pytest.raises(DataError, match="two rows"):
        metric.compute()
    late = metrics.R2()  # rows without weight come first
    late.update(np.ones(2), np.zeros(2), np.zeros(2))
    late.update(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]), np.ones(3))
    np.testing.assert_allclose(late.compute(), reference.r2_score([1, 2, 4], [1, 2, 3]), rtol=1e-12)
    p, target = np.array([[0.0, 1.0], [1.0, 0.0], [0.3, 0.7]]), np.array([0, 0, 1])
    loss = metrics.LogLoss(from_logits=False)
    loss.update(p, target)
    np.testing.assert_allclose(loss.compute(), reference.log_loss(target, p), rtol=1e-12)
    top = metrics.TopK(1)
    top.update(np.array([[np.nan, 1.0], [1.0, np.nan]]), np.array([0, 0]))
    assert top.compute() == 0.0


def test_one_class_has_no_curve():
    metric = metrics.RocAuc()
    metric.update(np.array([0.1, 0.2]), np.array([1.0, 1.0]))
    with pytest.raises(DataError, match="class 1 and rows that are not"):
        metric.compute()
    metric.reset()
    metric.update(np.eye(3)[:2], np.array([0, 1]))
    with pytest.raises(DataError, match="class 2"):
        metric.compute()


def test_names():
    names = {
        "accuracy": True, "zero_one": False, "top_5": True, "confusion_matrix": None, "precision": True, "recall": True,
        "f1": True, "log_loss": False, "roc_auc": True, "mae": False, "rmse": False, "r2": True,
    }  # fmt: skip
    for name, better in names.items():
        metric = metrics.resolve(name)
        assert metric.name == name
        assert metric.higher_is_better is better
        assert metrics.resolve(metric) is metric
    assert len(names) == len(metrics.__all__) - 3
    with pytest.raises(UnknownNameError, match="Did you mean 'accuracy'"):
        metrics.resolve("acuracy")
    with pytest.raises(ConfigError, match=r"metrics\.Accuracy\(\)"):
        metrics.resolve(metrics.Accuracy)
    assert metrics.TopK(3).name == "top_3"


def test_config_is_a_closed_world():
    class Own(metrics.MAE):
        pass

    assert metrics.Precision(None, threshold=0.5).config() == {
        "metric": "Precision",
        "average": None,
        "threshold": 0.5,
    }
    assert type(metrics.from_config(Own().config(), [Own])) is Own
    with pytest.raises(UnknownNameError, match="Own"):
        metrics.from_config(Own().config())
    with pytest.raises(UnknownNameError):
        metrics.from_config({"metric": "Metric"})
    with pytest.raises(FileFormatError, match="no metric"):
        metrics.from_config({"loss": "MSELoss"})
    with pytest.raises(FileFormatError, match="no metric"):
        metrics.from_config({"metric": {}})
    with pytest.raises(FileFormatError, match="does not take"):
        metrics.from_config({"metric": "MAE", "k": 1})
    with pytest.raises(TypeError):
        metrics.MAE(1)


y23, t2, y2 = np.zeros((2, 3)), np.array([0, 1]), np.zeros(2)
CALLS = [
    (metrics.Accuracy(), (y2, y2[:, None]), ShapeError, "Nothing is broadcast"),
    (metrics.Accuracy(), (y2[:, None], t2), ShapeError, r"target\[:, None\]"),
    (metrics.Accuracy(), (y23, y2), ShapeError, "integer labels"),
    (metrics.Accuracy(), (y23, t2[:, None]), ShapeError, r"target\[:, 0\]"),
    (metrics.Accuracy(), (y23, t2, np.ones(3)), ShapeError, "one weight for each row"),
    (metrics.Accuracy(), (y23, [0, 1]), PlacementError, "where y is"),
    (metrics.Accuracy(), (t2, t2), PlacementError, "floating"),
    (metrics.Accuracy(), ([0.0], t2), PlacementError, "floating"),
    (metrics.Accuracy(), (y2[:0], t2[:0]), DataError, "at least one row"),
    (metrics.TopK(2), (y23, y23), ShapeError, "integer labels"),
    (metrics.TopK(2), (y2, t2), ShapeError, "integer labels"),
    (metrics.ConfusionMatrix(4), (y23, t2), ShapeError, "expected outputs of 4 classes, got 3"),
    (metrics.F1("binary"), (y23, t2), ShapeError, "needs two classes"),
    (metrics.RocAuc(), (y23, y23), ShapeError, "integer labels"),
    (metrics.MAE(), (y2[:, None], y2), ShapeError, "Nothing is broadcast"),
    (metrics.R2(), (y23, y23, np.ones((2, 3))), ShapeError, "one weight for each row"),
]


@pytest.mark.parametrize(("metric", "given", "error", "words"), CALLS)
def test_refuses(metric, given, error, words):
    with pytest.raises(error, match=words):
        metric.update(*given)
    assert metric.state() == {}


@pytest.mark.parametrize("kind", [metrics.ConfusionMatrix, metrics.F1, metrics.RocAuc])
def test_refuses_another_number_of_classes(kind):
    metric = kind()
    metric.update(y23, t2)
    with pytest.raises(ShapeError, match="another number of columns"):
        metric.update(np.zeros((2, 4)), t2)


def test_refuses_another_device():
    strict, other = open_backend("strict"), open_backend("strict:device1")
    with pytest.raises(PlacementError, match="got strict:device1"):
        metrics.Accuracy().update(strict.asarray(y23), other.asarray(t2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: metrics.TopK(0), "at least 1"),
        (lambda: metrics.TopK(2.5), "at least 1"),
        (lambda: metrics.ConfusionMatrix(1), "at least two classes"),
        (lambda: metrics.Precision("micro"), "Known: None, binary, macro"),
    ],
)
def test_refuses_settings(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
