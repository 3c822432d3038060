"""The functions themselves as pictures: losses and activations, each drawn by what this package computes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw import losses as loss_classes
from anyfw import nn
from anyfw.core.errors import UnknownNameError
from anyfw.report.canvas import COLOURS, LINE, Axis, Figure, axis_or_new, dress, figure, legend

HostArray = NDArray[Any]


def losses(kind: str = "regression", axis: Axis | None = None) -> Axis:
    """The shapes of the losses, drawn from the losses themselves.

    Args:
        kind: "regression", by the error y - t, or "classification", by the margin t y of two classes.
        axis: where to draw; by default the one of a new figure, `axis.figure`.

    Raises:
        UnknownNameError: another kind.
    """
    if kind not in ("regression", "classification"):
        raise UnknownNameError("kind of losses", kind, ("regression", "classification"))
    axis = axis_or_new(axis)
    values = np.linspace(-3.0, 3.0, 601)
    curves: list[tuple[str, HostArray]] = []
    if kind == "regression":
        for loss in (loss_classes.MSELoss(), loss_classes.L1Loss(), loss_classes.HuberLoss()):
            curves.append((type(loss).__name__, loss.each(values, np.zeros_like(values))[0]))
    else:
        curves.append(("0-1 loss", np.where(values > 0, 0.0, 1.0)))
        curves.append(("BCEWithLogitsLoss", loss_classes.BCEWithLogitsLoss().each(values, np.ones_like(values))[0]))
        curves.append(("HingeLoss", loss_classes.HingeLoss().each(values, np.ones_like(values))[0]))
        curves.append(("MSELoss", loss_classes.MSELoss().each(values, np.ones_like(values))[0]))
    for i, (name, curve) in enumerate(curves):
        axis.plot(values, curve, color=COLOURS[i], linewidth=2.0, label=name)
    axis.set_xlim(-3.0, 3.0)
    axis.set_ylim(-0.1, 4.6)
    axis.axvline(0.0, color=LINE, linewidth=0.9, zorder=0)
    legend(axis, loc="upper center", bbox_to_anchor=(0.5 if kind == "regression" else 0.63, 1.0))
    title = "Losses of an error" if kind == "regression" else "Losses of a margin"
    return dress(axis, title=title, x="error y - t" if kind == "regression" else "margin t y", y="loss")


def activation(layer: nn.Layer, axis: Axis | None = None) -> Axis:
    """One activation and its derivative, by the layer's own forward and backward.

    Args:
        layer: elementwise; it is moved to NumPy.
        axis: where to draw; by default the one of a new figure, `axis.figure`.
    """
    axis = axis_or_new(axis, (3.4, 2.6))
    x = np.linspace(-4.0, 4.0, 401)
    layer.to("numpy", "float64")
    y = np.asarray(layer.forward(x, train=True))
    dy = np.asarray(layer.backward(np.ones_like(x)))
    # At a kink the derivative jumps: a gap is truer than a steep line.
    dy = np.where(np.abs(np.diff(dy, append=dy[-1])) > 0.25, np.nan, dy)
    axis.axhline(0.0, color=LINE, linewidth=0.9, zorder=0)
    axis.axvline(0.0, color=LINE, linewidth=0.9, zorder=0)
    axis.plot(x, y, color=COLOURS[0], linewidth=2.0, label="y")
    axis.plot(x, dy, color=COLOURS[1], linewidth=1.6, linestyle="--", label="dy/dx")
    axis.set_xlim(-4.0, 4.0)
    axis.set_ylim(-1.9, 2.4)
    return dress(axis, title=_title(layer), grid="both")


def activations(layers: Sequence[nn.Layer] | None = None, columns: int = 3) -> Figure:
    """Activations and their derivatives, a figure of small ones.

    Args:
        layers: elementwise ones; by default all that anyfw has.
        columns: of the figure.
    """
    layers = layers or (
        nn.ReLU(), nn.LeakyReLU(0.1), nn.ELU(), nn.SELU(), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.Sigmoid(), nn.Tanh(),
    )  # fmt: skip
    columns = min(columns, len(layers))
    rows = math.ceil(len(layers) / columns)
    made, axes = figure(rows, columns, size=(2.9 * columns, 2.35 * rows))
    for axis, layer in zip(axes, layers, strict=False):
        activation(layer, axis)
    legend(axes[0], loc="upper left")
    for axis in axes[len(layers) :]:
        axis.set_axis_off()
    return made


def _title(layer: nn.Layer) -> str:
    slope = getattr(layer, "negative_slope", None)
    return f"{type(layer).__name__}({slope:g})" if slope is not None else type(layer).__name__
