"""Pictures of training. Each function draws into the axis that it is given, or into a new figure, and returns the axis.

`figure` makes axes, `figure_png(axis.figure)` the bytes of a PNG file. Matplotlib is imported when first needed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import ConfigError, ShapeError, UnknownNameError
from anyfw.report.canvas import (
    COLOURS,
    FAINT,
    INK,
    Axis,
    axis_or_new,
    dress,
    epochs_on,
    figure,
    figure_png,
    legend,
    ramp,
)
from anyfw.report.classes import calibration, confusion
from anyfw.report.graph import graph
from anyfw.report.shapes import activation, activations, losses

__all__ = [
    "activation",
    "activations",
    "by_layer",
    "calibration",
    "confusion",
    "decision_boundary",
    "figure",
    "figure_png",
    "gradient_norms",
    "graph",
    "history",
    "losses",
    "regression_fit",
    "weights",
]

HostArray = NDArray[Any]
Predict = Callable[[HostArray], Any]


def history(history: Mapping[str, Sequence[Any]], name: str = "loss", axis: Axis | None = None) -> Axis:
    """One measure by epoch, on the training rows and, where there is one, on the validation split.

    Args:
        history: what `Trainer.fit` returned, or `history.json`; None and NaN leave a gap.
        name: "loss", "accuracy", ...
        axis: where to draw; by default the one of a new figure, `axis.figure`.

    Raises:
        UnknownNameError: the history has no such measure.
    """
    if name not in history and f"valid_{name}" not in history:
        raise UnknownNameError("measure of this history", name, {key.removeprefix("valid_") for key in history})
    axis = axis_or_new(axis)
    for key, label, style in ((name, "training", "--"), (f"valid_{name}", "validation", "-")):
        if key in history:
            values = _numbers(key, history[key])
            alone = f"valid_{name}" not in history
            colour = COLOURS[1] if key != name else COLOURS[0]
            epochs = np.arange(1, values.size + 1)
            axis.plot(
                epochs, values, "-" if alone else style, color=colour, label=label, linewidth=1.9, marker="o",
                markersize=3 if values.size <= 40 else 0,
            )  # fmt: skip
    epochs_on(axis)
    legend(axis)
    return dress(axis, title=name.replace("_", " ").capitalize(), x="epoch")


def decision_boundary(
    predict: Predict,
    x: Any,
    y: Any,
    axis: Axis | None = None,
    *,
    class_names: Sequence[str] | None = None,
    resolution: int = 220,
    title: str = "",
) -> Axis:
    """The plane coloured by the class that is predicted, paler where the net is unsure, and the rows themselves.

    Args:
        predict: from points (n, 2) to labels (n,), or to scores or probabilities (n, classes).
        x, y: rows (n, 2) and their labels (n,), integers from 0.
        axis: where to draw; by default the one of a new figure, `axis.figure`.
        class_names: one for each class, for the legend; by default the labels.
        resolution: points along each side.
        title: above the drawing.

    Raises:
        ShapeError: x is not (n, 2), or predictions of another length.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y)
    if x.ndim != 2 or x.shape[1] != 2 or y.shape != x.shape[:1]:
        raise ShapeError(f"decision_boundary: expected x (n, 2) and y (n,), got {x.shape} and {y.shape}.")
    axis = axis_or_new(axis, (4.8, 4.2))
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.08 * np.maximum(high - low, 1e-9)
    (left, bottom), (right, top) = low - margin, high + margin
    across, up = np.meshgrid(np.linspace(left, right, resolution), np.linspace(bottom, top, resolution))
    points = np.stack([across.ravel(), up.ravel()], axis=1)
    output = np.asarray(predict(points))
    labels, certainty = _decided(output, points.shape[0])
    classes = int(max(labels.max(), y.max())) + 1
    palette = np.asarray([_rgb(COLOURS[c % len(COLOURS)]) for c in range(classes)])
    strength = (0.12 + 0.30 * certainty)[:, None]
    image = (1 - strength) + strength * palette[labels]
    axis.imshow(
        image.reshape(resolution, resolution, 3), extent=(left, right, bottom, top), origin="lower", aspect="auto",
        interpolation="bilinear",
    )  # fmt: skip
    for c in range(classes - 1 if classes == 2 else classes):
        if 0 < np.count_nonzero(labels == c) < labels.size:
            lead = _lead(output, labels, c).reshape(resolution, resolution)
            axis.contour(across, up, lead, levels=[0.0], colors=[INK], linewidths=0.9)
    for c in range(classes):
        name = class_names[c] if class_names is not None else f"class {c}"
        rows = x[y == c]
        axis.scatter(
            rows[:, 0], rows[:, 1], s=17, color=palette[c], edgecolors="white", linewidths=0.5, label=name, zorder=3
        )
    if classes <= 10:
        legend(axis, loc="upper left", bbox_to_anchor=(1.0, 1.02))
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
    return dress(axis, title=title, grid=None)


def regression_fit(
    predict: Predict, x: Any, y: Any, axis: Axis | None = None, *, title: str = "", points: int = 400
) -> Axis:
    """Rows with one feature, and the curve that is predicted for them.

    Args:
        predict: from (n, 1) to (n,) or (n, 1).
        x, y: rows, (n,) or (n, 1) each.
        axis: where to draw; by default the one of a new figure, `axis.figure`.
        title: above the drawing.
        points: of the curve.

    Raises:
        ShapeError: more than one feature or target.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.size != len(x) or y.size != len(y) or len(x) != len(y):
        raise ShapeError(f"regression_fit: expected one feature and one target, got x {x.shape} and y {y.shape}.")
    axis = axis_or_new(axis)
    grid = np.linspace(x.min(), x.max(), points)
    curve = np.asarray(predict(grid[:, None])).reshape(-1)
    if curve.shape != grid.shape:
        raise ShapeError(f"regression_fit: expected one prediction for each of {points} points, got {curve.shape}.")
    axis.scatter(x.ravel(), y.ravel(), s=15, color=FAINT, alpha=0.55, linewidths=0, label="rows")
    axis.plot(grid, curve, color=COLOURS[1], linewidth=2.2, label="fit")
    legend(axis)
    return dress(axis, title=title, x="x", y="y")


def weights(values: Mapping[str, Sequence[Any]], axis: Axis | None = None) -> Axis:
    """The largest absolute weight of each layer by epoch.

    Args:
        values: {path: one number per epoch}, in the net's order.
        axis: where to draw; by default the one of a new figure, `axis.figure`.
    """
    return by_layer(values, axis, title="Largest absolute weight", label="max |w|")


def gradient_norms(values: Mapping[str, Sequence[Any]], axis: Axis | None = None) -> Axis:
    """The norm of each layer's gradient by epoch, on a logarithmic axis.

    Args:
        values: {path: one number per epoch}, in the net's order.
        axis: where to draw; by default the one of a new figure, `axis.figure`.
    """
    return by_layer(values, axis, title="Gradient norm by layer", label="norm", logarithmic=True)


def by_layer(
    values: Mapping[str, Sequence[Any]],
    axis: Axis | None = None,
    *,
    title: str = "",
    label: str = "",
    logarithmic: bool = False,
) -> Axis:
    """One line per layer by epoch, coloured by depth.

    Args:
        values: {path: one number per epoch}, from the first layer to the last.
        axis: where to draw; by default the one of a new figure, `axis.figure`.
        title: above the drawing.
        label: of the y axis.
        logarithmic: whether the y axis is; then what is not above 0 leaves a gap.
    """
    axis = axis_or_new(axis)
    for colour, (path, numbers) in zip(ramp(len(values)), values.items(), strict=True):
        line = _numbers(path, numbers)
        if logarithmic:
            line = np.where(line > 0, line, np.nan)
        epochs = np.arange(1, line.size + 1)
        axis.plot(epochs, line, color=colour, linewidth=1.9, label=path, marker="o", markersize=3)
    if logarithmic:
        axis.set_yscale("log")
    epochs_on(axis)
    legend(axis, loc="center left", bbox_to_anchor=(1.0, 0.5), title="layer", title_fontsize=8.5)
    return dress(axis, title=title, x="epoch", y=label)


def _numbers(name: str, values: Sequence[Any]) -> HostArray:
    try:
        return np.asarray([math.nan if value is None else float(value) for value in values])
    except (TypeError, ValueError):
        raise ConfigError(f"'{name}' cannot be drawn: expected one number per epoch, got {values!r:.60}.") from None


def _decided(output: HostArray, n: int) -> tuple[NDArray[np.int64], HostArray]:
    """Labels, and how sure: from 0 to 1."""
    if output.shape[:1] != (n,) or output.ndim > 2:
        raise ShapeError(
            f"decision_boundary: expected predictions (n,) or (n, classes) for n = {n}, got {output.shape}."
        )
    if output.ndim == 1 or output.shape[1] == 1:
        return output.reshape(n).astype(np.int64), np.ones(n)
    scores = output - output.max(axis=1, keepdims=True)
    given = output.min() >= 0 and np.allclose(output.sum(axis=1), 1.0, atol=1e-4)
    probabilities = output if given else np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    chance = 1.0 / output.shape[1]
    return output.argmax(axis=1), (probabilities.max(axis=1) - chance) / (1.0 - chance)


def _lead(output: HostArray, labels: HostArray, c: int) -> HostArray:
    """By how much class c is ahead of the best other one: the boundary is where it is 0."""
    if output.ndim == 1 or output.shape[1] <= max(c, 1):
        return np.where(labels == c, 1.0, -1.0)
    lead: HostArray = output[:, c] - np.delete(output, c, axis=1).max(axis=1)
    return lead


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
