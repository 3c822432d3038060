"""Rows set aside: the same ones for the same seed, on every machine."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import ConfigError, DataError
from anyfw.core.random import permutation
from anyfw.data.base import Arrays, HostArray

Rows = tuple[HostArray, ...]


def split(
    x: Any, y: Any, sample_weight: Any = None, *, fraction: float = 0.1, seed: int = 0, stratify: bool = False
) -> tuple[Rows, Rows]:
    """Split rows into a training part and a validation part of ceil(rows * fraction) rows.

    Both parts keep the order of the rows. With `stratify`, each class gives its share, rounded so that the
    shares add up, and always keeps a row for training.

    Args:
        x: inputs; shape (rows, ...).
        y: targets; shape (rows, ...), with `stratify` integer labels of shape (rows,).
        sample_weight: shape (rows,), or None.
        fraction: share of the rows that are set aside, between 0 and 1.
        seed: chooses the rows.
        stratify: balance by class.

    Returns:
        `(x, y)` for training and `(x, y)` for validation, each with its weights if there are any.

    Raises:
        ConfigError: a fraction outside (0, 1).
        DataError: what `Arrays` refuses; too few rows for one on each side; `stratify` without labels.

    >>> train, valid = split(np.arange(10)[:, None], np.arange(10) % 2, fraction=0.2, stratify=True)
    >>> len(train[0]), sorted(valid[1].tolist())
    (8, [0, 1])
    """
    arrays = Arrays(x, y, sample_weight).arrays
    chosen = held_out(len(arrays[0]), arrays[1] if stratify else None, fraction=fraction, seed=seed)
    return tuple(a[~chosen] for a in arrays), tuple(a[chosen] for a in arrays)


def held_out(rows: int, labels: HostArray | None, *, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which rows `split` sets aside, by class where there are labels.

    Shapes:
        labels: (rows,), integers; returns (rows,).

    Raises:
        ConfigError, DataError: as `split`.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"split: expected a fraction between 0 and 1, got {fraction!r}.")
    # 0.07 * 100 is 7.000000000000001: less a little, so that rounding error does not cost a row.
    wanted = max(1, math.ceil(rows * fraction - 1e-9))
    order = permutation(rows, seed, "split")
    chosen = np.zeros(rows, dtype=np.bool_)
    chosen[order[:wanted] if labels is None else _chosen_by_class(labels, order, wanted)] = True
    if chosen.all() or not chosen.any():
        raise DataError(
            f"split: expected rows enough for one on each side, got {rows} rows and fraction={fraction}. "
            "Use more rows, another fraction, or no validation rows."
        )
    return chosen


def _chosen_by_class(y: HostArray, order: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    if y.dtype.kind not in "iub" or y.ndim != 1:
        raise DataError(
            f"split: stratify needs integer labels of shape (rows,), got {y.dtype} of shape {y.shape}. "
            "Leave stratify out for a regression."
        )
    _, label, counts = np.unique(y, return_inverse=True, return_counts=True)
    # By class, and within each class in the order drawn: the place in that queue decides.
    queue = order[np.argsort(label[order], kind="stable")]
    place = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen: NDArray[np.int64] = queue[place < np.repeat(_shares(counts, wanted), counts)]
    return chosen


def _shares(counts: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Largest remainders: whole shares first, then one more for the classes that lost most by rounding."""
    exact = counts * (wanted / counts.sum())
    shares: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(shares - exact, kind="stable")
    can_give = by_remainder[shares[by_remainder] < counts[by_remainder] - 1]
    shares[can_give[: wanted - int(shares.sum())]] += 1
    return shares
