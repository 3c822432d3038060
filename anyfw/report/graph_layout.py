"""Where the boxes and arrows of a net's graph stand: values flow down, gradients flow back up."""

from dataclasses import dataclass, field
from typing import Any

from anyfw import nn
from anyfw.core.layer import Layer

WIDTH, HEIGHT = 2.5, 0.56  # of a box, in inches
LEVEL = 1.14  # from one box to the next
GAP = 0.55  # between branches
LANE = 0.8  # of a branch without boxes
STEM = 0.34  # straight piece before a way forks and before ways meet, where the names stand
RADIUS = 0.2  # of the circle where branches meet

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A layer that is drawn as one box."""

    title: str
    detail: str
    name: str
    fill: str
    width: float = WIDTH
    height: float = LEVEL


@dataclass(frozen=True)
class _Chain:
    """One after the other; without parts it is a line that passes."""

    parts: "tuple[_Part, ...]"

    @property
    def width(self) -> float:
        return max((part.width for part in self.parts), default=LANE)

    @property
    def height(self) -> float:
        return sum(part.height for part in self.parts)


@dataclass(frozen=True)
class Fork:
    """Branches side by side, from one value to the sign where they meet."""

    branches: "tuple[_Part, ...]"
    sign: str
    name: str

    @property
    def width(self) -> float:
        """Of all branches and the gaps between them."""
        return sum(branch.width for branch in self.branches) + GAP * (len(self.branches) - 1)

    @property
    def height(self) -> float:
        """Of the highest branch, with the ways to it and from it."""
        return max(branch.height for branch in self.branches) + LEVEL + 2 * STEM


_Part = Box | _Chain | Fork


@dataclass
class _Line:
    """Where a value comes from, and by which points it went on since."""

    points: list[Point]


@dataclass
class Drawing:
    """Boxes, the circles where branches meet, lines and names, in inches; the middle of the first box is (0, 0).

    Attributes:
        width, height: of all of it.
        boxes, circles: each with its middle.
        lines: the points that each goes through, downwards.
        names: what the value that leaves a box is called, and the place where it leaves.
    """

    width: float
    height: float
    boxes: list[tuple[Box, Point]] = field(default_factory=list)
    circles: list[tuple[Fork, Point]] = field(default_factory=list)
    lines: list[list[Point]] = field(default_factory=list)
    names: list[tuple[str, Point]] = field(default_factory=list)


def layout(net: Layer, loss: str | None = "loss") -> Drawing:
    """Place a box for each layer; containers are drawn as what is in them, Residual and Parallel as branches.

    Args:
        net: any layer.
        loss: what the last box is called; None leaves it out.
    """
    parts: list[_Part] = [Box("x", "", "x", "end"), _part(net, "")]
    if loss is not None:
        parts.append(Box(loss, "", "", "end"))
    whole = _Chain(tuple(parts))
    drawing = Drawing(whole.width + 1.2, whole.height)
    _place(whole, 0.0, 0.0, _Line([]), drawing)
    return drawing


def value_names(name: str) -> tuple[str, str]:
    """What the value that leaves a box is called, and the gradient that comes back, as in `trace`."""
    if name == "x":
        return "x", "dx"
    return ("y", "delta") if name == "net" else (f"y[{name}]", f"delta[{name}]")


def _part(layer: Layer, path: str) -> _Part:
    inner = [(name, child) for name, child in layer.children()]
    parts = tuple(_part(child, f"{path}.{name}" if path else name) for name, child in inner)
    if isinstance(layer, nn.Sequential):
        return _Chain(parts)
    if isinstance(layer, nn.Residual):
        return Fork(parts if layer.shortcut is not None else (*parts, _Chain(())), "+", path)
    if isinstance(layer, nn.Parallel):
        return Fork(parts, "+" if layer.combine == "add" else "cat", path)
    kind = type(layer).__name__
    fill = "other"
    if kind == "Linear":
        fill = "Linear"
    elif "Norm" in kind:
        fill = "norm"
    elif type(layer).__module__ == "anyfw.nn.activation":
        fill = "activation"
    return Box(kind, detail(layer), path or "net", fill)


def detail(layer: Any) -> str:
    """The sizes or settings of a layer in a few characters."""
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


def _place(part: _Part, x: float, top: float, line: _Line, drawing: Drawing) -> _Line:
    """Put a part's middle at x and its first box at height top; gives the line that leaves it."""
    if isinstance(part, Box):
        if line.points:
            drawing.lines.append([*line.points, (x, top + HEIGHT / 2)])
        drawing.boxes.append((part, (x, top)))
        if part.name:
            drawing.names.append((part.name, (x, top - HEIGHT / 2)))
        return _Line([(x, top - HEIGHT / 2)])
    if isinstance(part, _Chain):
        for inner in part.parts:
            line = _place(inner, x, top, line, drawing)
            top -= inner.height
        return line
    left = x - part.width / 2
    bottom = top - part.height + LEVEL
    start, end = line.points[-1], bottom + LEVEL - HEIGHT / 2
    stem = _Line([*line.points, (start[0], start[1] - STEM)])
    for branch in part.branches:
        middle = left + branch.width / 2
        left += branch.width + GAP
        if branch.height:
            leaving = _place(branch, middle, top - STEM, stem, drawing)
        else:
            leaving = _Line([*stem.points, (middle, top - STEM + HEIGHT / 2)])
        # Straight down beside the longer branches, and to the middle in the last gap only.
        drawing.lines.append([*leaving.points, (middle, end), (x, bottom + RADIUS)])
    drawing.circles.append((part, (x, bottom)))
    drawing.names.append((part.name or "net", (x, bottom - RADIUS)))
    return _Line([(x, bottom - RADIUS)])
