"""Labels of scikit-learn's kinds, encoded for a loss, and outputs decoded into them."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from anyfw.core.errors import ConfigError, DataError


class Classes:
    """The classes of a classifier.

    Args:
        y: shape (rows,), labels of any kind; (rows, labels), 0 and 1, where a row has several.

    Attributes:
        values: sorted; of several labels a row, their column numbers.
        several: whether a row may have several labels.

    Raises:
        DataError: less than two classes.
        ValueError: no labels, in scikit-learn's words.
    """

    def __init__(self, y: Any) -> None:
        check_classification_targets(y)
        self.several = type_of_target(y, input_name="y") == "multilabel-indicator"
        self.values: NDArray[Any] = np.arange(y.shape[1]) if self.several else np.unique(y)
        if len(self.values) < 2 and not self.several:
            raise DataError(f"y: expected at least two classes, got one class, {self.values.tolist()[0]!r}.")

    @property
    def outputs(self) -> int:
        """How many a net needs: one for each class, and one alone for two."""
        return len(self.values) if self.several or len(self.values) > 2 else 1

    def numbers(self, y: Any) -> NDArray[Any]:
        """The place of each label in `values`; of several labels a row, their 0 and 1.

        Raises:
            DataError: a label that is none of these classes, or none of 0 and 1.
        """
        if self.several:
            labels: NDArray[Any] = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            if labels.ndim != 2 or labels.shape[1] != len(self.values):
                raise DataError(f"y: expected {len(self.values)} labels for each row, got shape {labels.shape}.")
            if not ((labels == 0) | (labels == 1)).all():
                raise DataError(f"y: expected 0 or 1 for each label of a row, got also {_others(labels)}.")
            return labels
        unknown = np.setdiff1d(y, self.values)
        if len(unknown):
            raise DataError(f"y: expected classes {self.values.tolist()}, got also {unknown.tolist()}.")
        numbers: NDArray[Any] = np.searchsorted(self.values, y)
        return numbers

    def encode(self, numbers: NDArray[Any], width: int, dtype: str) -> NDArray[Any]:
        """What a loss takes, given how wide the net's outputs are: labels, or columns of 0 and 1."""
        if self.several:
            return np.ascontiguousarray(numbers, dtype=dtype)
        return numbers.astype(dtype)[:, None] if width == 1 else numbers.astype(np.int64)

    def decode(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Labels as they were given, from those of a loss."""
        if self.several:
            return labels
        return self.values[labels.reshape(-1).astype(np.int64)]

    def distribution(self, probabilities: NDArray[Any]) -> NDArray[Any]:
        """One column for each class, from a loss's probabilities. Shapes: (rows, outputs) to (rows, classes)."""
        if self.several or probabilities.shape[1] > 1:
            return probabilities
        return np.concatenate([1.0 - probabilities, probabilities], axis=1)

    def weights(self, class_weight: Any, numbers: NDArray[Any], weight: NDArray[Any] | None) -> NDArray[Any] | None:
        """Each row's weight times that of its class.

        Args:
            class_weight: None, "balanced" (rows / (classes * rows of the class), rows counted by weight), or weights by
                class, 1 for those left out.
            numbers: as `numbers` gave them.
            weight: of the rows, or None.

        Raises:
            ConfigError: something else, or with several labels a row.
        """
        if class_weight is None:
            return weight
        if self.several:
            raise ConfigError("class_weight: rows have several labels, and no one class. Use sample_weight.")
        if not isinstance(class_weight, Mapping | str) or (
            isinstance(class_weight, str) and class_weight != "balanced"
        ):
            raise ConfigError(f"class_weight: expected None, 'balanced' or a dict, got {class_weight!r}.")
        if isinstance(class_weight, str):
            counts = np.bincount(numbers, weights=weight, minlength=len(self.values))
            with np.errstate(divide="ignore"):
                by_class = counts.sum() / (np.count_nonzero(counts) * counts)
        else:
            by_class = self._listed(class_weight)
        found: NDArray[Any] = by_class[numbers]
        return found if weight is None else found * weight

    def _listed(self, class_weight: Mapping[Any, Any]) -> NDArray[Any]:
        unknown = set(class_weight) - set(self.values.tolist())
        if unknown:
            raise ConfigError(
                f"class_weight: expected classes of {self.values.tolist()}, got also {sorted(unknown, key=repr)}."
            )
        given = [class_weight.get(value, 1.0) for value in self.values.tolist()]
        if not all(isinstance(one, Real) and math.isfinite(one) and float(one) >= 0.0 for one in given):
            raise ConfigError(f"class_weight: expected finite numbers of at least 0, got {dict(class_weight)}.")
        return np.asarray(given, dtype=np.float64)


def _others(labels: NDArray[Any]) -> list[Any]:
    # A few tell enough.
    found: list[Any] = np.setdiff1d(labels, [0, 1])[:5].tolist()
    return found
