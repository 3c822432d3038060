"""Sources, batch order, labels, splits, rescaling and made problems."""

import numpy as np
import pytest

from anyfw.core.errors import AnyfwError, ConfigError, DataError, UnknownNameError
from anyfw.core.random import permutation
from anyfw.data import (
    Arrays,
    Batches,
    Dataset,
    Source,
    as_source,
    blobs,
    check_label_range,
    check_labels,
    circles,
    fit_rescale,
    load,
    moons,
    noisy_curve,
    spirals,
    split,
)

X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


def with_value(value, row=4, column=1):
    x = X.copy()
    x[row, column] = value
    return x


class OnDevice:
    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


# --- sources


@pytest.mark.parametrize("weight", [None, np.array([0.0, 1, 1, 1, 1, 1])])
def test_arrays_hand_out_the_rows_asked_for_without_copying_the_source(weight):
    source = Arrays(X, Y, weight)
    rows = source[np.array([5, 0])]
    assert len(source) == 6
    assert len(rows) == (2 if weight is None else 3)
    assert rows[0].tolist() == [[10.0, 11.0], [0.0, 1.0]]
    assert rows[1].tolist() == [2, 0]
    assert source.arrays[0] is X
    assert isinstance(source, Source)


REFUSED_ARRAYS = [
    ((X, Y[:5]), "as many rows in y as in x, got 5 and 6"),
    ((X, Y, np.ones(5)), "as many rows in sample_weight"),
    ((X[:0], Y[:0]), r"x: expected at least one row, got shape \(0, 2\)"),
    ((X[:, :0], Y), r"x: expected at least one value in each row, got shape \(6, 0\)"),
    ((with_value(np.nan), Y), "x: expected finite numbers, got nan at row 4, column 1"),
    ((with_value(-np.inf), Y), "got -inf at row 4, column 1"),
    ((X, np.where(Y == 2, np.nan, 1.0)), "y: expected finite numbers, got nan at row 2. "),
    ((X.astype(object), Y), "x: expected numbers, got an array of object"),
    ((X, np.array(list("abcabc"))), "y: expected numbers, got an array of <U1. Map text"),
    ((X.astype(complex), Y), "got an array of complex128"),
    ((X, Y.astype("M8[s]")), "got an array of datetime64"),
    (([[1.0], [1.0, 2.0]], [0, 1]), "x: expected an array in host memory, got list"),
    ((OnDevice(), Y), "x: expected an array in host memory, got OnDevice .*Implicit conversion"),
    ((3.0, Y), "got the single value 3.0"),
    ((np.ma.masked_greater(X, 3.0), Y), "x: expected plain numbers, got masked entries"),
    ((X, Y, [1.0, 1, 1, 1, 1, -0.5]), "no negative weight, got -0.5"),
    ((X, Y, np.zeros(6)), "at least one weight above 0"),
    ((X, Y, np.ones((6, 1))), r"one number for each row, got shape \(6, 1\)"),
]


@pytest.mark.parametrize(("arrays", "message"), REFUSED_ARRAYS, ids=[row[1][:40] for row in REFUSED_ARRAYS])
def test_arrays_refuse(arrays, message):
    with pytest.raises(DataError, match=message) as caught:
        Arrays(*arrays)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AnyfwError)


def test_a_nan_far_down_a_long_table_is_found_and_placed():
    x = np.zeros((700_000, 3), dtype=np.float32)
    x[699_999, 2] = np.nan
    with pytest.raises(DataError, match="nan at row 699999, column 2"):
        Arrays(x, np.zeros(700_000))


@pytest.mark.parametrize("indices", [np.array([True, False, True, False, False, False]), np.array([0.0])])
def test_arrays_take_row_numbers_only(indices):
    with pytest.raises(DataError, match="expected row numbers, got an array of"):
        Arrays(X, Y)[indices]


class Rows:
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, indices):
        return indices, indices


class Frame(Rows):
    def __array__(self, dtype=None, copy=None):
        return np.zeros((self.count, 2))


def test_as_source_wraps_tuples_and_passes_sources_on():
    rows = Rows(3)
    assert as_source(rows) is rows
    assert as_source((X, Y)).arrays == (X, Y)
    assert len(as_source((X, Y, np.ones(6))).arrays) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X,), "got a tuple of 1"),
        ((X, Y, Y, Y), "got a tuple of 4"),
        ([X, Y], r"expected a tuple \(x, y\) or a Source, got list"),
        ({"x": X}, "got dict"),
        ("mnist", "got str"),
        (X, "got ndarray"),
        (Frame(3), "got Frame"),
        (None, "got NoneType"),
        (Dataset.from_arrays("d", (X, Y), (X, Y)), "got Dataset.*of a Dataset, its .train"),
        (Rows(0), "an empty Rows"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_as_source_refuses(data, message):
    with pytest.raises(DataError, match=message):
        as_source(data)


# --- batches


@pytest.mark.parametrize(
    ("rows", "size", "drop_last", "sizes"),
    [
        (10, 4, False, [4, 4, 2]),
        (10, 4, True, [4, 4]),
        (8, 4, False, [4, 4]),
        (8, 4, True, [4, 4]),
        (3, 4, False, [3]),
        (3, 4, True, [3]),
        (1, 1, True, [1]),
    ],
)
def test_batches_cover_each_row_once(rows, size, drop_last, sizes):
    batches = Batches(rows, size, 0, drop_last=drop_last)
    epoch = batches.epoch(3)
    assert [len(batch) for batch in epoch] == sizes
    assert len(batches) == len(sizes)
    taken = np.concatenate(epoch)
    assert len(set(taken.tolist())) == sum(sizes)
    assert set(taken.tolist()) <= set(range(rows))


def test_batch_order_is_the_stream_of_seed_and_epoch():
    expected = permutation(10, 7, "order", 2)
    assert np.concatenate(Batches(10, 3, 7).epoch(2)).tolist() == expected.tolist()
    orders = {tuple(np.concatenate(Batches(10, 3, seed).epoch(epoch))) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_batches_without_shuffling_keep_the_order_of_the_rows():
    assert [b.tolist() for b in Batches(5, 2, 0, shuffle=False).epoch(9)] == [[0, 1], [2, 3], [4]]


def test_any_step_can_be_computed_anew():
    batches = Batches(10, 4, 1)
    from_the_start = [batch.tolist() for epoch in range(4) for batch in batches.epoch(epoch)]
    for step, expected in enumerate(from_the_start):
        epoch, start = batches.locate(step)
        assert batches.epoch(epoch, start)[0].tolist() == expected
    assert batches.epoch(0, start=3) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 0, 0), "batch_size: expected at least 1, got 0"),
        ((10, -3, 0), "batch_size: expected at least 1, got -3"),
        ((10, 2.0, 0), "batch_size: expected an integer, got 2.0"),
        ((10, True, 0), "batch_size: expected an integer, got True"),
        ((0, 2, 0), "source_len: expected at least 1, got 0"),
        ((10, 2, 0.5), "seed: expected an integer, got 0.5"),
    ],
)
def test_batches_refuse(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Batches(*arguments)


def test_batches_refuse_a_negative_epoch_or_step():
    with pytest.raises(ConfigError, match="epoch: expected at least 0, got -1"):
        Batches(10, 2, 0).epoch(-1)
    with pytest.raises(ConfigError, match="step: expected at least 0, got -1"):
        Batches(10, 2, 0).locate(-1)


# --- labels


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_labels_give_the_number_of_classes(dtype):
    assert check_labels(Y.astype(dtype)) == 3
    assert check_labels(Y.astype(dtype), classes=5) == 5


REFUSED_LABELS = [
    (Y.astype(float), None, "expected integer class labels, got float64"),
    (Y == 1, None, "expected integer class labels, got bool"),
    (Y[:, None], None, r"shape \(rows,\), got \(6, 1\)"),
    (Y - 1, None, r"expected labels 0 \.\.\. classes-1, got -1 at row 0"),
    (Y, 2, r"expected labels 0 \.\.\. 1 \(2 classes\), got 2 at row 2"),
    (Y[:0], None, "at least one row"),
]


@pytest.mark.parametrize("check", [check_labels, check_label_range])
@pytest.mark.parametrize(("y", "classes", "message"), REFUSED_LABELS, ids=[row[2] for row in REFUSED_LABELS])
def test_labels_refuse(check, y, classes, message):
    with pytest.raises(DataError, match=message):
        check(y, classes)


def test_one_class_only_is_refused_for_training_not_for_evaluation():
    with pytest.raises(DataError, match="at least two classes, got only label 4 in 3 rows"):
        check_labels([4, 4, 4], classes=10)
    assert check_label_range([4, 4, 4], classes=10) == 10


# --- split


@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize(("rows", "fraction", "held_out"), [(10, 0.1, 1), (100, 0.07, 7), (101, 0.2, 21), (2, 0.5, 1)])
def test_split_sizes_and_pairs(rows, fraction, held_out, stratify):
    x = np.arange(rows)[:, None]
    y = np.arange(rows) % 3 if rows > 2 else np.array([0, 0])
    train, valid = split(x, y, np.arange(1.0, rows + 1), fraction=fraction, stratify=stratify)
    assert len(valid[0]) == held_out
    assert sorted([*train[0][:, 0], *valid[0][:, 0]]) == list(range(rows))
    for part in (train, valid):
        assert part[1].tolist() == y[part[0][:, 0]].tolist()
        assert part[2].tolist() == (part[0][:, 0] + 1.0).tolist()
        assert (np.diff(part[0][:, 0]) > 0).all()


def test_split_depends_on_the_seed_alone():
    first, again, other = (split(X, Y, fraction=0.5, seed=seed)[1][0].tolist() for seed in (0, 0, 3))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("counts", "fraction", "expected"),
    [
        ([90, 10], 0.1, [9, 1]),
        ([50, 30, 20], 0.1, [5, 3, 2]),
        ([33, 33, 34], 0.1, [3, 3, 4]),
        ([1, 99], 0.5, [0, 50]),
        ([2, 2, 2, 2], 0.2, [1, 1, 0, 0]),
    ],
)
def test_a_stratified_split_gives_each_class_its_share(counts, fraction, expected):
    y = np.repeat(np.arange(len(counts)), counts)
    y = y[permutation(len(y), 5, "test")]
    _, valid = split(np.arange(len(y)), y, fraction=fraction, stratify=True)
    assert np.bincount(valid[1], minlength=len(counts)).tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((X, Y), {"fraction": 0}, ConfigError, "fraction between 0 and 1, got 0"),
        ((X, Y), {"fraction": 1.0}, ConfigError, "got 1.0"),
        ((X, Y), {"fraction": -0.1}, ConfigError, "got -0.1"),
        ((X, Y), {"fraction": float("nan")}, ConfigError, "got nan"),
        ((X[:1], Y[:1]), {}, DataError, "enough for one on each side, got 1 rows"),
        ((X, Y), {"fraction": 0.99}, DataError, "enough for one on each side, got 6 rows"),
        ((X[:3], Y[:3]), {"stratify": True}, DataError, "enough for one on each side, got 3 rows"),
        ((X, X), {"stratify": True}, DataError, r"stratify needs integer labels of shape \(rows,\)"),
        ((X, Y[:4]), {}, DataError, "as many rows in y"),
    ],
)
def test_split_refuses(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        split(*arguments, **keywords)


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
