"""Pictures of a classifier: what it mistakes for what, and whether it is as sure as it should be."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyfw.core.errors import ConfigError, ShapeError
from anyfw.report.canvas import COLOURS, FAINT, INK, Axis, axis_or_new, dress, legend


def confusion(
    matrix: Any, class_names: Sequence[str] | None = None, axis: Axis | None = None, *, title: str = "Confusion matrix"
) -> Axis:
    """Counts of true classes (rows) by predicted ones (columns), coloured by their share of the row.

    Args:
        matrix: (classes, classes) counts, as of `metrics.ConfusionMatrix`.
        class_names: one for each class; by default their numbers.
        axis: where to draw; by default the one of a new figure, `axis.figure`.
        title: above the drawing.

    Raises:
        ShapeError: a matrix that is not square, or another number of names.
    """
    counts = np.asarray(matrix, dtype=float)
    n = len(counts) if counts.ndim else 0
    names = [str(i) for i in range(n)] if class_names is None else list(class_names)
    if counts.shape != (n, n) or len(names) != n or not n:
        raise ShapeError(f"confusion: expected a square matrix and a name per class, got {counts.shape}, {len(names)}.")
    side = min(max(0.5 * n + 1.6, 3.2), 14.0)
    axis = axis_or_new(axis, (side, side))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-30)
    axis.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    if n <= 25:
        size = 9 if n <= 12 else 6.5
        for i, j in np.ndindex(n, n):
            if counts[i, j]:
                colour = "white" if share[i, j] > 0.55 else INK
                axis.text(j, i, f"{counts[i, j]:,.10g}", ha="center", va="center", fontsize=size, color=colour)
    long = max(map(len, names)) > 3
    axis.set_xticks(range(n), names, rotation=45 if long else 0, ha="right" if long else "center")
    axis.set_yticks(range(n), names)
    dress(axis, title=title, x="predicted", y="true", grid=None)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return axis


def calibration(
    probabilities: Any, labels: Any, axis: Axis | None = None, *, bins: int = 10, title: str = "Calibration"
) -> Axis:
    """A reliability diagram: how often the net is right where it says that it is, say, 80 % sure.

    Rows are put into bins of equal width by the probability of the class that they are given; a bar is the share of a
    bin that is right, with the number of its rows above it, and the diagonal is perfect. The expected calibration error
    is sum over bins of rows / all rows * |share right - mean probability|.

    Args:
        probabilities: (n, classes), of each class; or (n,) or (n, 1), of class 1 of two.
        labels: (n,), integers from 0.
        axis: where to draw; by default the one of a new figure, `axis.figure`.
        bins: how many, at least 1.
        title: above the drawing.

    Raises:
        ShapeError: shapes that do not fit, or no rows.
        ConfigError: no probabilities, or no bin.

    Source: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", 2017, arXiv:1706.04599.
    """
    given, true = np.asarray(probabilities, dtype=float), np.asarray(labels)
    if given.ndim not in (1, 2) or true.shape != given.shape[:1] or not true.size:
        raise ShapeError(
            f"calibration: expected probabilities (n, classes) and labels (n,), got {given.shape} and {true.shape}."
        )
    if bins < 1 or not (given.min() >= 0 and given.max() <= 1 + 1e-6):
        raise ConfigError(f"calibration: expected probabilities from 0 to 1 and at least 1 bin, got {bins} bins.")
    if given.ndim == 1 or given.shape[1] == 1:
        given = np.stack([1 - given.reshape(-1), given.reshape(-1)], axis=1)
    sure, right = given.max(axis=1), given.argmax(axis=1) == true
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    filled = np.maximum(counts, 1)
    share = np.bincount(place, weights=right, minlength=bins) / filled
    mean = np.bincount(place, weights=sure, minlength=bins) / filled
    error = float((counts * np.abs(share - mean)).sum() / counts.sum())
    axis = axis_or_new(axis, (4.6, 4.2))
    centres = (np.arange(bins) + 0.5) / bins
    drawn = axis.bar(centres, share, 0.92 / bins, color=COLOURS[0], alpha=0.75, label="right")
    for bar, count in zip(drawn, counts.tolist(), strict=True):
        if count:
            above = (bar.get_x() + bar.get_width() / 2, bar.get_height() + 0.015)
            axis.text(*above, f"{count:,}", ha="center", fontsize=7.5, color=FAINT)
    axis.plot([0, 1], [0, 1], color=COLOURS[1], linewidth=1.6, label="perfect")
    known = counts > 0
    axis.plot(mean[known], share[known], "o", color=INK, markersize=4, label="at the mean probability")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.1)
    legend(axis, loc="upper left")
    named = f"{title}: expected error {100 * error:.1f} %"
    return dress(axis, title=named, x="probability of the predicted class", y="share that is right")
