"""Class labels, checked once on the host: on a CUDA device an index out of range wraps without an error."""

from typing import Any

import numpy as np

from anyfw.core.errors import DataError
from anyfw.data.base import host_array


def check_labels(y: Any, classes: int | None = None) -> int:
    """Refuse labels that a classifier cannot be trained on; return the number of classes.

    Args:
        y: integer labels 0 ... classes-1; shape (rows,).
        classes: how many classes the network has; read from the largest label if None.

    Raises:
        DataError: what `check_label_range` refuses; one class only.

    >>> check_labels([0, 2, 1])
    3
    """
    count = check_label_range(y, classes)
    labels = np.asarray(y)
    if labels.min() == labels.max():
        raise DataError(
            f"y: expected at least two classes, got only label {labels.min()} in {len(labels)} rows. "
            "Are the rows sorted by class, and was only the first part taken?"
        )
    return count


def check_label_range(y: Any, classes: int | None = None) -> int:
    """Refuse labels that are not integers 0 ... classes-1, as for evaluation; return the number of classes.

    Shapes: y (rows,).

    Raises:
        DataError: a floating, boolean or text dtype, another shape than (rows,), negative labels, or
            labels that reach `classes`.
    """
    labels = host_array("y", y)
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"y: expected integer class labels, got {labels.dtype}. "
            "Convert with y.astype('int64'), or use a regression loss."
        )
    if labels.ndim != 1:
        raise DataError(
            f"y: expected one label for each row, shape (rows,), got {labels.shape}. "
            "Turn one-hot rows into labels with y.argmax(axis=1), a single column with y[:, 0]."
        )
    if labels.min() < 0:
        row = int(labels.argmin())
        raise DataError(f"y: expected labels 0 ... classes-1, got {labels[row]} at row {row}.")
    count = int(labels.max()) + 1 if classes is None else classes
    if int(labels.max()) >= count:
        row = int(labels.argmax())
        raise DataError(
            f"y: expected labels 0 ... {count - 1} ({count} classes), got {labels[row]} at row {row}. "
            "Labels count from 0."
        )
    return count
