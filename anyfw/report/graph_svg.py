"""The graph of a net as SVG, for pages: the same boxes and names as `graph`, in the page's colours."""

from collections.abc import Sequence
from itertools import pairwise

from anyfw.core.layer import Layer
from anyfw.report.graph_layout import HEIGHT, RADIUS, WIDTH, Box, Fork, Point, layout, value_names
from anyfw.report.html import escaped

_INCH = 76.0  # units of the drawing to an inch of the layout
_APART = 0.09  # of the forward and the backward arrow, in inches
_HEAD = 7.0
_EDGE = {"Linear": "var(--blue)", "activation": "var(--good)", "norm": "#a06ab4", "other": "var(--faint)"}


def graph_svg(net: Layer, loss: str | None = "loss") -> str:
    """A box per layer, blue arrows down for values and red ones up for gradients, as one <svg> element.

    Args:
        net: any layer.
        loss: what the last box is called; None leaves it out.
    """
    drawing = layout(net, loss)
    parts = [_words(-10.0, -38.0, "forward: values", "blue", "end"), _words(10.0, -38.0, "backward: gradients", "red")]
    for line in drawing.lines:
        parts += _arrows(line)
    parts += [_box(box, centre) for box, centre in drawing.boxes]
    parts += [_circle(fork, centre) for fork, centre in drawing.circles]
    for name, (x, y) in drawing.names:
        forward, backward = value_names(name)
        height = -(y - 0.16) * _INCH + 4
        parts.append(_words((x - 0.18) * _INCH, height, forward, "blue", "end"))
        parts.append(_words((x + 0.18) * _INCH, height, backward, "red"))
    width, height = max(drawing.width, 4.2) * _INCH, drawing.height * _INCH
    top = -0.66 * _INCH
    # Letters keep their size as long as there is room.
    size = f' style="width:{width:.0f}px;max-width:100%"'
    box = f"{-width / 2:g} {top:g} {width:g} {height:g}"
    return f'<svg{size} role="img" aria-label="the graph of the net" viewBox="{box}">{"".join(parts)}</svg>'


def _arrows(points: Sequence[Point]) -> list[str]:
    found = []
    for shift, colour, back in ((-_APART, "blue", False), (_APART, "red", True)):
        moved = [((x + shift) * _INCH, -y * _INCH) for x, y in points]
        if back:
            moved.reverse()
        sign = -1.0 if back else 1.0
        x, y = moved[-1]
        moved[-1] = (x, y - sign * (_HEAD - 1))
        way = [f"M{moved[0][0]:.1f} {moved[0][1]:.1f}"]
        for (x0, y0), (x1, y1) in pairwise(moved):
            middle = (y0 + y1) / 2
            way.append(f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}")
        found.append(f'<path d="{"".join(way)}" fill="none" stroke-width="1.5" style="stroke:var(--{colour})"/>')
        head = f"M{x:.1f} {y:.1f}l-3.4 {-sign * _HEAD:.1f}h6.8z"
        found.append(f'<path d="{head}" style="fill:var(--{colour})"/>')
    return found


def _box(box: Box, centre: Point) -> str:
    x, y = centre[0] * _INCH, -centre[1] * _INCH
    width, height = WIDTH * _INCH, HEIGHT * _INCH
    edge = _EDGE.get(box.fill, "var(--line)")
    lift = 3 if box.detail else -4
    detail = _words(x, y + 14, box.detail, None, "middle") if box.detail else ""
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" rx="9" '
        f'stroke-width="1.4" style="fill:var(--tint);stroke:{edge}"/>'
        f'<text class="title" text-anchor="middle" x="{x:.1f}" y="{y - lift:.1f}">{escaped(box.title)}</text>{detail}'
    )


def _circle(fork: Fork, centre: Point) -> str:
    x, y = centre[0] * _INCH, -centre[1] * _INCH
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS * _INCH:.1f}" style="fill:var(--tint);stroke:var(--faint)"/>'
        f'<text class="ink" text-anchor="middle" x="{x:.1f}" y="{y + 4:.1f}">{escaped(fork.sign)}</text>'
    )


def _words(x: float, y: float, text: str, colour: str | None, anchor: str = "start") -> str:
    style = f' style="fill:var(--{colour})"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escaped(text)}</text>'
