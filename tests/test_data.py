"""Sources, batch order, labels and splits."""

import numpy as np
import pytest

from anyfw.core.errors import AnyfwError, ConfigError, DataError
from anyfw.core.random import permutation
from anyfw.data import (
    Arrays,
    Batches,
    Dataset,
    Source,
    as_source,
    check_label_range,
    check_labels,
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinities_that_meet_are_found_and_large_numbers_are_not_taken_for_them(dtype):
    x = np.full((4, 5), np.finfo(dtype).max, dtype=dtype)
    y = np.zeros(4, dtype=np.int64)
    assert len(Arrays(x, y)) == 4
    x[2, 1], x[2, 4] = np.inf, -np.inf
    for given in (x, np.asfortranarray(x)):
        with pytest.raises(DataError, match="got inf at row 2, column 1"):
            Arrays(given, y)


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
