"""`Dataset`: training and test rows with what a network needs to know about them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import DataError
from anyfw.data.base import HostArray, host_array
from anyfw.data.labels import check_label_range, check_labels
from anyfw.data.rescale import fit_rescale
from anyfw.data.split import split

if TYPE_CHECKING:
    from anyfw.data.tables.columns import Columns

Pair = tuple[HostArray, HostArray]

# The share of the rows held out where a data set has no test rows, and the seed that chooses them.
TEST_FRACTION = 0.2
TEST_SEED = 0

# More classes than both this and the number of rows: the labels are row numbers or measurements, not classes.
_MANY_CLASSES = 1000


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows for training and testing, flat, with class names and a suggestion for `nn.Rescale`.

    Attributes:
        name: what to call it.
        train: x (rows, features) and y; y is (rows,) int64 labels 0 ... classes-1 for a classification and
            (rows, outputs) floats for a regression.
        test: the same for the test rows, or None.
        class_names: one for each class; None for a regression.
        scale: with `shift`, for `nn.Rescale`: x * scale + shift; a number or shape (features,), float64,
            fitted on the training rows only (see `fit_rescale`).
        shift: see `scale`.
        image_shape: the shape of one row of x before it was made flat, such as (28, 28); None for tables.
        notes: lines that the user must be told, such as that test rows were held out.
        columns: what was learnt about a table's columns, of which x is made; None for other data.
        valid: rows for validation, where they were set apart as the data were read.
    """

    name: str
    train: Pair
    test: Pair | None
    class_names: tuple[str, ...] | None
    scale: float | NDArray[np.float64]
    shift: float | NDArray[np.float64]
    image_shape: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    columns: "Columns | None" = None
    valid: Pair | None = None

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train: tuple[Any, Any],
        test: tuple[Any, Any] | None = None,
        *,
        class_names: tuple[str, ...] | None = None,
        notes: tuple[str, ...] = (),
    ) -> "Dataset":
        """Check the rows, bring them to the shapes above and fit the rescaling.

        Integer (or boolean) y are class labels, floating y a regression. Rows of more than one axis are made
        flat and their shape kept as `image_shape`; x of one axis is one feature. Without test rows 20 % of
        the rows are held out, by class for labels, the same ones each time; a note says so.

        Raises:
            DataError: what `Arrays` and `check_labels` refuse; training and test rows that do not fit.
        """
        x, y, image_shape = _prepared(train, "train")
        if y.dtype.kind == "f" and class_names is None and np.array_equal(y, np.round(y)):
            notes += ("y holds whole numbers as floats: taken as a regression. Store integers to classify.",)
        if test is None:
            rows = len(x)
            (x, y), (x_test, y_test) = _held_out(x, y)
            notes += (f"'{name}' has no test rows: {len(x_test)} of its {rows} rows (20 %) held out for testing.",)
        else:
            x_test, y_test, test_shape = _prepared(test, "test")
            if test_shape != image_shape:
                raise DataError(f"x_test: expected rows of shape {image_shape} as in x_train, got {test_shape}.")
            _check_alike("x", x, x_test)
            _check_alike("y", y, y_test)
        if y.dtype.kind == "i":
            given, class_names = class_names, _named_classes(y, y_test, class_names)
            notes += _absent_notes(y, len(class_names)) if given is None else ()
        scale, shift = fit_rescale(x, image=image_shape is not None)
        return cls(name, (x, y), (x_test, y_test), class_names, scale, shift, image_shape, notes)

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What y asks for."""
        return "regression" if self.class_names is None else "classification"

    @property
    def features(self) -> int:
        """Width of x, the network's input."""
        return int(self.train[0].shape[1])

    @property
    def outputs(self) -> int:
        """Width of the network's output: the number of classes, or of regression targets."""
        return int(self.train[1].shape[1]) if self.class_names is None else len(self.class_names)


def _prepared(pair: tuple[Any, Any], part: str) -> tuple[HostArray, HostArray, tuple[int, ...] | None]:
    x, y = host_array(f"x_{part}", pair[0]), host_array(f"y_{part}", pair[1])
    if len(x) != len(y):
        raise DataError(
            f"y_{part}: expected {len(x)} rows as in x_{part}, got {len(y)}. "
            f"Row i of y_{part} belongs to row i of x_{part}."
        )
    image_shape = x.shape[1:] if x.ndim > 2 else None
    return x.reshape(len(x), -1), _prepared_targets(y, part), image_shape


def _prepared_targets(y: HostArray, part: str) -> HostArray:
    if y.dtype.kind == "f":
        return y.reshape(len(y), 1) if y.ndim == 1 else _of_two_axes(y, part)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind == "u" and y.max() > np.iinfo(np.int64).max:
        raise DataError(f"y_{part}: expected labels 0 ... classes-1, got {y.max()}.")
    return y.astype(np.int64)


def _of_two_axes(y: HostArray, part: str) -> HostArray:
    if y.ndim != 2:
        raise DataError(f"y_{part}: expected targets of shape (rows, outputs), got {y.shape}.")
    return y


def _held_out(x: HostArray, y: HostArray) -> tuple[Pair, Pair]:
    if y.dtype.kind == "i":
        check_labels(y)
    train, test = split(x, y, fraction=TEST_FRACTION, seed=TEST_SEED, stratify=y.dtype.kind == "i")
    return (train[0], train[1]), (test[0], test[1])


def _check_alike(name: str, train: HostArray, test: HostArray) -> None:
    if test.dtype != train.dtype:
        raise DataError(
            f"{name}_test: expected {train.dtype} as in {name}_train, got {test.dtype}. "
            "Store both in one dtype and one scale."
        )
    if test.shape[1:] != train.shape[1:]:
        raise DataError(
            f"{name}_test: expected rows of shape {train.shape[1:]} as in {name}_train, got {test.shape[1:]}."
        )


def _named_classes(y: HostArray, y_test: HostArray, names: tuple[str, ...] | None) -> tuple[str, ...]:
    expected = None if names is None else len(names)
    classes = max(check_labels(y, expected), check_label_range(y_test, expected))
    if classes > max(_MANY_CLASSES, len(y)):
        raise DataError(
            f"y: expected class labels, got labels up to {classes - 1} in {len(y)} rows. "
            "Number the classes 0, 1, 2, ...; for a regression store y as floats."
        )
    return names if names is not None else tuple(map(str, range(classes)))


def _absent_notes(y: HostArray, classes: int) -> tuple[str, ...]:
    absent = sorted(set(range(min(classes, _MANY_CLASSES))) - set(np.unique(y).tolist()))
    if absent:
        return (f"No training row has label {', '.join(map(str, absent[:10]))}: do the labels count from 0?",)
    return ()
