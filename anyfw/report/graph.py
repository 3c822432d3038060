"""The computational graph of a net as a picture: values flow down, gradients flow back up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from anyfw import nn
from anyfw.core.layer import Layer
from anyfw.report.canvas import COLOURS, FAINT, INK, Axis, axis_or_new

_WIDTH, _HEIGHT = 2.5, 0.56  # of a box, in inches of a new figure
_LEVEL = 1.14  # from one box to the next
_GAP = 0.55  # between branches
_LANE = 0.8  # of a branch without boxes
_STEM = 0.34  # straight piece before a way forks and before ways meet, where the names stand
_APART = 0.11  # of the forward and the backward arrow
_RADIUS = 0.2  # of the circle where branches meet

_FORWARD, _BACKWARD = COLOURS[0], COLOURS[1]
_FILL = {
    "Linear": "#dcebf7",
    "norm": "#efe3f3",
    "activation": "#dff1ea",
    "other": "#eef0f3",
    "end": "#fff6e0",
}

Point = tuple[float, float]


@dataclass(frozen=True)
class _Box:
    """A layer that is drawn as one box."""

    title: str
    detail: str
    name: str
    fill: str
    width: float = _WIDTH
    height: float = _LEVEL


@dataclass(frozen=True)
class _Chain:
    """One after the other; without parts it is a line that passes."""

    parts: "tuple[_Part, ...]"

    @property
    def width(self) -> float:
        return max((part.width for part in self.parts), default=_LANE)

    @property
    def height(self) -> float:
        return sum(part.height for part in self.parts)


@dataclass(frozen=True)
class _Fork:
    """Side by side, from one value to the sign where they meet."""

    branches: "tuple[_Part, ...]"
    sign: str
    name: str

    @property
    def width(self) -> float:
        return sum(branch.width for branch in self.branches) + _GAP * (len(self.branches) - 1)

    @property
    def height(self) -> float:
        return max(branch.height for branch in self.branches) + _LEVEL + 2 * _STEM


_Part = _Box | _Chain | _Fork


@dataclass
class _Line:
    """Where a value comes from, and by which points it went on since."""

    points: list[Point]


@dataclass
class _Drawing:
    boxes: list[tuple[_Box, Point]] = field(default_factory=list)
    circles: list[tuple[_Fork, Point]] = field(default_factory=list)
    lines: list[list[Point]] = field(default_factory=list)
    names: list[tuple[str, Point]] = field(default_factory=list)


def graph(net: Layer, axis: Axis | None = None, *, loss: str | None = "loss", title: str = "") -> Axis:
    """Draw the net: a box per layer, forward arrows with y[path], backward arrows with delta[path], as in `trace`.

    Containers are drawn as what is in them, Residual and Parallel as branches.

    Args:
        net: any layer.
        axis: a new figure of a fitting size by default.
        loss: what the last box is called; None leaves it out.
    """
    parts: list[_Part] = [_Box("x", "", "x", "end"), _part(net, "")]
    if loss is not None:
        parts.append(_Box(loss, "", "", "end"))
    whole = _Chain(tuple(parts))
    drawing = _Drawing()
    _place(whole, 0.0, 0.0, _Line([]), drawing)
    width, height = whole.width + 1.2, whole.height + 0.1
    axis = axis_or_new(axis, (max(width, 4.2), height))
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
    axis.set_ylim(-whole.height + _LEVEL - _HEIGHT / 2 - 0.05, 0.66)
    axis.set_aspect("equal")
    axis.set_axis_off()
    if title:
        axis.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    return axis


def _part(layer: Layer, path: str) -> _Part:
    inner = [(name, child) for name, child in layer.children()]
    parts = tuple(_part(child, f"{path}.{name}" if path else name) for name, child in inner)
    if isinstance(layer, nn.Sequential):
        return _Chain(parts)
    if isinstance(layer, nn.Residual):
        return _Fork(parts if layer.shortcut is not None else (*parts, _Chain(())), "+", path)
    if isinstance(layer, nn.Parallel):
        return _Fork(parts, "+" if layer.combine == "add" else "cat", path)
    kind = type(layer).__name__
    fill = "other"
    if kind == "Linear":
        fill = "Linear"
    elif "Norm" in kind:
        fill = "norm"
    elif type(layer).__module__ == "anyfw.nn.activation":
        fill = "activation"
    return _Box(kind, _detail(layer), path or "net", fill)


def _detail(layer: Any) -> str:
    if hasattr(layer, "in_features") and hasattr(layer, "out_features"):
        return f"{layer.in_features} → {layer.out_features}"
    if hasattr(layer, "num_features"):
        return f"{layer.num_features} features"
    if hasattr(layer, "normalized_shape"):
        return " x ".join(map(str, layer.normalized_shape))
    if isinstance(layer, nn.Dropout):
        return f"p = {layer.p:g}"
    if isinstance(layer, nn.LeakyReLU):
        return f"slope {layer.negative_slope:g}"
    inside = sum(1 for _ in layer.children())
    return f"{inside} layers inside" if inside > 1 else ""


def _place(part: _Part, x: float, top: float, line: _Line, drawing: _Drawing) -> _Line:
    """Put a part's middle at x and its first box at height top; gives the line that leaves it."""
    if isinstance(part, _Box):
        if line.points:
            drawing.lines.append([*line.points, (x, top + _HEIGHT / 2)])
        drawing.boxes.append((part, (x, top)))
        if part.name:
            drawing.names.append((part.name, (x, top - _HEIGHT / 2)))
        return _Line([(x, top - _HEIGHT / 2)])
    if isinstance(part, _Chain):
        for inner in part.parts:
            line = _place(inner, x, top, line, drawing)
            top -= inner.height
        return line
    left = x - part.width / 2
    bottom = top - part.height + _LEVEL
    start, end = line.points[-1], bottom + _LEVEL - _HEIGHT / 2
    stem = _Line([*line.points, (start[0], start[1] - _STEM)])
    for branch in part.branches:
        middle = left + branch.width / 2
        left += branch.width + _GAP
        if branch.height:
            leaving = _place(branch, middle, top - _STEM, stem, drawing)
        else:
            leaving = _Line([*stem.points, (middle, top - _STEM + _HEIGHT / 2)])
        # Straight down beside the longer branches, and to the middle in the last gap only.
        drawing.lines.append([*leaving.points, (middle, end), (x, bottom + _RADIUS)])
    drawing.circles.append((part, (x, bottom)))
    drawing.names.append((part.name or "net", (x, bottom - _RADIUS)))
    return _Line([(x, bottom - _RADIUS)])


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


def _draw_box(axis: Axis, box: _Box, centre: Point) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = centre
    axis.add_patch(
        FancyBboxPatch(
            (x - _WIDTH / 2, y - _HEIGHT / 2),
            _WIDTH,
            _HEIGHT,
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


def _draw_circle(axis: Axis, fork: _Fork, centre: Point) -> None:
    from matplotlib.patches import Circle

    axis.add_patch(Circle(centre, _RADIUS, facecolor="white", edgecolor=INK, linewidth=1.1, zorder=3))
    size = 13 if fork.sign == "+" else 7.5
    axis.text(*centre, fork.sign, ha="center", va="center", fontsize=size, color=INK, zorder=4)


def _draw_names(axis: Axis, name: str, x: float, y: float) -> None:
    if name == "x":
        forward, backward = "x", "dx"
    elif name == "net":
        forward, backward = "y", "delta"
    else:
        forward, backward = f"y[{name}]", f"delta[{name}]"
    halo = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    for words, shift, side, colour in ((forward, -0.2, "right", _FORWARD), (backward, 0.2, "left", _BACKWARD)):
        axis.text(
            x + shift, y - 0.16, words, ha=side, va="center", fontsize=7.5, color=colour, family="monospace", zorder=5,
            bbox=halo,
        )  # fmt: skip
