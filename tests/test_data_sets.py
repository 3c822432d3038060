"""`Dataset` with its rescaling, and the problems made on the spot."""

import numpy as np
import pytest

from anyfw.core.errors import ConfigError, DataError, UnknownNameError
from anyfw.data import (
    Dataset,
    blobs,
    circles,
    fit_rescale,
    load,
    moons,
    noisy_curve,
    spirals,
)

X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


# --- rescaling and Dataset


def test_tables_are_standardised_and_constant_columns_left_alone():
    x = np.column_stack([np.linspace(-5, 3, 50), np.full(50, 0.1), np.linspace(1e6, 1e6 + 1, 50)])
    scale, shift = fit_rescale(x)
    z = x * scale + shift
    np.testing.assert_allclose(z[:, [0, 2]].mean(axis=0), 0.0, atol=1e-8)
    np.testing.assert_allclose(z[:, [0, 2]].std(axis=0), 1.0, rtol=1e-8)
    assert (scale[1], shift[1]) == (1.0, 0.0)
    assert z[:, 1].tolist() == x[:, 1].tolist()


@pytest.mark.parametrize(
    ("x", "image", "expected"),
    [
        (np.array([[0, 16]], dtype=np.uint8), False, (1 / 255, 0.0)),
        (np.array([[0, 16]], dtype=np.uint8), True, (1 / 255, 0.0)),
        (np.array([[True, False]]), False, (1.0, 0.0)),
        (np.array([[1.0, 3.0], [3.0, 1.0]]), True, (1.0, -2.0)),
        (np.array([[7, 7], [7, 7]]), True, (1.0, 0.0)),
    ],
)
def test_rescaling_by_one_number(x, image, expected):
    assert fit_rescale(x, image=image) == expected


@pytest.mark.parametrize(("low", "high"), [(-1e300, 1e300), (0.0, 1e-320)])
def test_rescaling_refuses_what_float64_cannot_hold(low, high):
    with pytest.raises(DataError, match="x, feature 1: expected values"):
        fit_rescale(np.array([[0.0, low], [1.0, high]]))


def test_the_rescaling_is_fitted_on_training_rows_only():
    data = Dataset.from_arrays("d", (X, Y), (X + 1000, Y))
    assert data.scale.tolist() == fit_rescale(X)[0].tolist()


def test_images_are_flat_with_their_shape_kept():
    x = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    data = Dataset.from_arrays("d", (x, Y), (x, Y))
    assert (data.train[0].shape, data.image_shape, data.features) == ((6, 4), (2, 2), 4)
    assert data.train[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("y", "task", "shape", "dtype", "outputs"),
    [
        (Y.astype("uint8"), "classification", (6,), "int64", 3),
        (Y[:, None], "classification", (6,), "int64", 3),
        (Y > 0, "classification", (6,), "int64", 2),
        (Y + 0.5, "regression", (6, 1), "float64", 1),
        (X.astype("float32") / 3, "regression", (6, 2), "float32", 2),
    ],
)
def test_the_dtype_of_y_decides_the_task(y, task, shape, dtype, outputs):
    data = Dataset.from_arrays("d", (X, y), (X, y))
    assert (data.task, data.train[1].shape, data.train[1].dtype, data.outputs) == (task, shape, dtype, outputs)
    assert data.class_names == (None if task == "regression" else tuple(map(str, range(outputs))))
    assert data.notes == ()


def test_test_rows_are_held_out_by_class_and_the_user_is_told():
    x, y = moons(100)
    data = Dataset.from_arrays("mine", (x, y))
    assert np.bincount(data.test[1]).tolist() == [10, 10]
    assert data.notes == ("'mine' has no test rows: 20 of its 100 rows (20 %) held out for testing.",)


@pytest.mark.parametrize(
    ("y", "note"),
    [
        (Y.astype(float), "whole numbers as floats: taken as a regression"),
        (Y + 1, "No training row has label 0: do the labels count from 0"),
    ],
)
def test_doubtful_targets_are_noted(y, note):
    assert note in Dataset.from_arrays("d", (X, y), (X, y)).notes[0]


def test_a_class_of_test_rows_alone_is_noted():
    data = Dataset.from_arrays("rows", (X, Y % 2), (X, np.where(np.arange(len(Y)) == 0, 3, Y % 2)))
    assert data.outputs == 4
    assert data.notes == ("No training row has label 2, 3: do the labels count from 0?",)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ((X, Y[:5]), None, "y_train: expected 6 rows as in x_train, got 5"),
        ((X, Y), (X[:, :1], Y), r"x_test: expected rows of shape \(2,\) as in x_train, got \(1,\)"),
        ((X, Y), (X.reshape(6, 1, 2), Y), r"x_test: expected rows of shape None"),
        ((X, Y), (X.astype("float32"), Y), "x_test: expected float64 as in x_train, got float32"),
        ((X, Y), (X, Y + 0.5), "y_test: expected int64 as in y_train, got float64"),
        ((X, X), (X, Y + 0.5), "y_test: expected rows of shape"),
        ((X, Y), (X, Y - 1), "got -1 at row 0"),
        ((X, Y * 0), None, "at least two classes"),
        ((X, Y * 0), (X, Y), "at least two classes"),
        ((X, Y * 10**9), (X, Y), "expected class labels, got labels up to 2000000000 in 6 rows"),
        ((X, Y.astype("uint64") + np.uint64(2**63)), None, "labels 0 ... classes-1, got 9223372036854775810"),
        ((X, np.ones((6, 2), dtype=int)), None, r"one label for each row.*\(6, 2\)"),
        ((X, np.ones((6, 2, 2))), None, r"targets of shape \(rows, outputs\), got \(6, 2, 2\)"),
        ((X, np.array(list("abcabc"))), None, "y_train: expected numbers, got an array of <U1"),
    ],
)
def test_datasets_refuse(train, test, message):
    with pytest.raises(DataError, match=message):
        Dataset.from_arrays("d", train, test)


def test_labels_beyond_the_named_classes_are_refused():
    with pytest.raises(DataError, match=r"labels 0 \.\.\. 1 \(2 classes\), got 2"):
        Dataset.from_arrays("d", (X, Y), (X, Y), class_names=("cat", "dog"))


# --- made problems


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("make", [moons, circles, spirals, blobs, noisy_curve])
def test_makers_are_functions_of_the_seed(make, noise):
    keywords = {"spread" if make is blobs else "noise": noise}
    (x, y), (x_again, y_again), (x_other, _) = (make(60, seed=seed, **keywords) for seed in (1, 1, 2))
    assert x.tolist() == x_again.tolist()
    assert y.tolist() == y_again.tolist()
    assert x.tolist() != x_other.tolist()
    assert x.dtype == np.float64
    assert np.isfinite(x).all()
    assert y.dtype == (np.float64 if make is noisy_curve else np.int64)


def test_makers_without_noise_draw_the_curves_they_promise():
    x, y = moons(100, noise=0.0)
    distance = np.hypot(*(x - np.where(y[:, None] == 0, [0.0, 0.0], [1.0, 0.5])).T)
    np.testing.assert_allclose(distance, 1.0)
    assert (x[y == 0, 1] >= 0).all()
    assert (x[y == 1, 1] <= 0.5).all()

    x, y = circles(100, noise=0.0, factor=0.25)
    np.testing.assert_allclose(np.hypot(*x.T), np.where(y == 0, 1.0, 0.25))

    x, y = spirals(99, classes=3, noise=0.0, turns=0.5)
    radius = np.hypot(*x.T)
    turn = np.exp(1j * (np.arctan2(x[:, 1], x[:, 0]) - np.pi * radius - 2 * np.pi * y / 3))
    np.testing.assert_allclose(turn, 1.0, atol=1e-9)
    assert np.bincount(y).tolist() == [33, 33, 33]

    x, y = noisy_curve(50, noise=0.0, curve=np.exp, low=1.0, high=2.0)
    assert (x.shape, y.shape) == ((50, 1), (50, 1))
    assert 1.0 <= x.min() < x.max() < 2.0
    np.testing.assert_array_equal(y, np.exp(x))


def test_blobs_are_round_clouds_of_the_given_spread():
    x, y = blobs(3000, classes=3, features=4, spread=0.5)
    assert x.shape == (3000, 4)
    for label in range(3):
        np.testing.assert_allclose(x[y == label].std(axis=0), 0.5, rtol=0.1)


def test_noise_has_the_deviation_asked_for():
    x, y = noisy_curve(4000, noise=0.3)
    assert np.std(y - np.sin(x)) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(
    ("make", "keywords", "message"),
    [
        (moons, {"rows": 1}, "at least one row for each of 2 classes, got 1"),
        (moons, {"noise": -1.0}, "moons: expected a standard deviation of at least 0, got -1.0"),
        (circles, {"factor": 1.0}, "factor between 0 and 1, got 1.0"),
        (spirals, {"classes": 1}, "at least 2 classes, got 1"),
        (blobs, {"features": 0}, "at least 1 feature, got 0"),
        (blobs, {"spread": float("nan")}, "at least 0, got nan"),
        (noisy_curve, {"rows": 0}, "at least 1 row, got 0"),
        (noisy_curve, {"low": 1.0, "high": 1.0}, "low < high"),
    ],
)
def test_makers_refuse(make, keywords, message):
    with pytest.raises(ConfigError, match=message):
        make(**keywords)


@pytest.mark.parametrize("name", ["moons", "circles", "spirals", "blobs"])
def test_made_problems_load_by_name(name):
    data = load(name)
    assert (data.name, data.features, len(data.train[0]), len(data.test[0])) == (name, 2, 1000, 250)
    assert "made on the spot: 1250 rows, seed 0" in data.notes[0]


def test_the_curve_is_a_regression():
    data = load("curve")
    assert (data.task, data.train[1].shape, data.outputs) == ("regression", (1000, 1), 1)


@pytest.mark.parametrize(("name", "near"), [("mnsit", "mnist"), ("digit", "digits"), ("moon", "moons")])
def test_an_unknown_name_names_the_nearest_known_one(name, near):
    with pytest.raises(UnknownNameError, match=f"'{name}'. Did you mean '{near}'"):
        load(name)
