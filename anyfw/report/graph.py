"""The computational graph of a net as a picture: values flow down, gradients flow back up."""

from collections.abc import Sequence
from itertools import pairwise

from anyfw.core.layer import Layer
from anyfw.report.canvas import COLOURS, FAINT, INK, Axis, axis_or_new
from anyfw.report.graph_layout import HEIGHT, LEVEL, RADIUS, WIDTH, Box, Fork, Point, layout, value_names

_APART = 0.11  # of the forward and the backward arrow, in inches of a new figure

_FORWARD, _BACKWARD = COLOURS[0], COLOURS[1]
_FILL = {
    "Linear": "#dcebf7",
    "norm": "#efe3f3",
    "activation": "#dff1ea",
    "other": "#eef0f3",
    "end": "#fff6e0",
}


def graph(net: Layer, axis: Axis | None = None, *, loss: str | None = "loss", title: str = "") -> Axis:
    """Draw the net: a box per layer, forward arrows with y[path], backward arrows with delta[path], as in `trace`.

    Containers are drawn as what is in them, Residual and Parallel as branches.

    Args:
        net: any layer.
        axis: a new figure of a fitting size by default.
        loss: what the last box is called; None leaves it out.
        title: above the drawing.
    """
    drawing = layout(net, loss)
    width = drawing.width
    axis = axis_or_new(axis, (max(width, 4.2), drawing.height + 0.1))
    for points in drawing.lines:
        _arrows(axis, points)
    for box, centre in drawing.boxes:
        _draw_box(axis, box, centre)
    for fork, centre in drawing.circles:
        _draw_circle(axis, fork, centre)
    for name, (x, y) in drawing.names:
        _draw_names(axis, name, x, y)
    for offset, colour, words in ((-0.3, _FORWARD, "forward: values"), (0.3, _BACKWARD, "backward: gradients")):
        side = "right" if offset < 0 else "left"
        axis.text(offset / 2, 0.52, words, color=colour, fontsize=8.5, ha=side, va="center")
    axis.set_xlim(-max(width, 4.2) / 2, max(width, 4.2) / 2)
    axis.set_ylim(-drawing.height + LEVEL - HEIGHT / 2 - 0.05, 0.66)
    axis.set_aspect("equal")
    axis.set_axis_off()
    if title:
        axis.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    return axis


def _arrows(axis: Axis, points: Sequence[Point]) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    for shift, colour, back in ((-_APART, _FORWARD, False), (_APART, _BACKWARD, True)):
        moved = [(x + shift, y) for x, y in points]
        if back:
            moved.reverse()
        vertices, codes = [moved[0]], [Path.MOVETO]
        for (x0, y0), (x1, y1) in pairwise(moved):
            middle = (y0 + y1) / 2
            vertices += [(x0, middle), (x1, middle), (x1, y1)]
            codes += [Path.CURVE4] * 3
        axis.add_patch(
            FancyArrowPatch(
                path=Path(vertices, codes),
                arrowstyle="-|>,head_length=4.5,head_width=2.4",
                color=colour,
                linewidth=1.3,
                shrinkA=0,
                shrinkB=0,
                joinstyle="round",
                capstyle="butt",
                zorder=2,
            )
        )


def _draw_box(axis: Axis, box: Box, centre: Point) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = centre
    axis.add_patch(
        FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=_FILL[box.fill],
            edgecolor="#aab3be",
            linewidth=0.9,
            zorder=3,
        )
    )
    rise = 0.1 if box.detail else 0.0
    axis.text(x, y + rise, box.title, ha="center", va="center", fontsize=10, fontweight="bold", color=INK, zorder=4)
    if box.detail:
        axis.text(x, y - 0.13, box.detail, ha="center", va="center", fontsize=8, color=FAINT, zorder=4)


def _draw_circle(axis: Axis, fork: Fork, centre: Point) -> None:
    from matplotlib.patches import Circle

    axis.add_patch(Circle(centre, RADIUS, facecolor="white", edgecolor=INK, linewidth=1.1, zorder=3))
    size = 13 if fork.sign == "+" else 7.5
    axis.text(*centre, fork.sign, ha="center", va="center", fontsize=size, color=INK, zorder=4)


def _draw_names(axis: Axis, name: str, x: float, y: float) -> None:
    forward, backward = value_names(name)
    halo = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    for words, shift, side, colour in ((forward, -0.2, "right", _FORWARD), (backward, 0.2, "left", _BACKWARD)):
        axis.text(
            x + shift, y - 0.16, words, ha=side, va="center", fontsize=7.5, color=colour, family="monospace", zorder=5,
            bbox=halo,
        )  # fmt: skip
