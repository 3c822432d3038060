"""Charts as SVG: lines, points and bars, in the page's colours, light and dark, with no library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from anyfw.report.html import escaped

_WIDTH, _HEIGHT = 460, 270
_LEFT, _RIGHT, _BOTTOM = 54, 14, 40
_LETTER = 6.5  # a mean width, in units of the drawing
_MARKED = 40  # points of a line up to which each is marked, and tells its number
_MOST = 600  # points of a line; more than pixels
_DECADES = 1.5  # from which on a line of positive numbers is drawn on a logarithmic axis


@dataclass(frozen=True)
class Line:
    """A line of a chart; None, NaN and infinity leave gaps.

    Attributes:
        name: for the legend, beside its last number.
        colour: as CSS has it.
        start: the x of the first number; the others follow by one.
    """

    name: str
    values: Sequence[float | None]
    colour: str = "var(--blue)"
    start: int = 1

    @property
    def points(self) -> list[tuple[float, float]]:
        """(x, y), y NaN where there is none."""
        return [(self.start + i, _number(value)) for i, value in enumerate(self.values)]


@dataclass(frozen=True)
class _Axis:
    """From numbers to places, and where the ticks stand."""

    low: float
    high: float
    first: float
    last: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Sequence[float], first: float, last: float, *, logarithmic: bool = False) -> "_Axis":
        low, high = min(values), max(values)
        if logarithmic:
            low, high = math.log10(low), math.log10(high)
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            margin = 0.5 * abs(low) or 0.5
            low, high = low - margin, high + margin
        return cls(low, high, first, last, logarithmic)

    def place(self, value: float) -> float:
        value = math.log10(value) if self.logarithmic else value
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)

    def ticks(self, most: int = 6, *, whole: bool = False) -> list[float]:
        if self.logarithmic:
            return self._decades()
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        step *= next(factor for factor in (1, 2, 5, 10, 20) if (self.high - self.low) / (factor * step) <= most)
        step = max(step, 1.0) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]

    def _decades(self) -> list[float]:
        factors = (1,) if self.high - self.low > 2 else (1, 2, 5)
        apart = max(1, math.ceil((self.high - self.low) / 6))
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        found = [f * 10.0**p for p in powers if p % apart == 0 for f in factors]
        return [x for x in found if self.low - 1e-9 <= math.log10(x) <= self.high + 1e-9]


def line_chart(
    lines: Sequence[Line], title: str, *, x_label: str = "epoch", unit: str = "", logarithmic: bool | None = None
) -> str:
    """Lines by epoch, or another whole number.

    Args:
        lines: any number of them; a chart without a finite number says that there is none.
        title: above it.
        x_label: below it.
        unit: of the numbers, behind those of the legend, such as " %".
        logarithmic: whether the y axis is; None is where positive numbers reach over several powers of ten.
    """
    values = [y for line in lines for _, y in line.points if math.isfinite(y)]
    if not values:
        return _chart(title, [f'<text x="{_LEFT}" y="80">no finite number</text>'])
    if logarithmic is None:
        logarithmic = min(values) > 0 and math.log10(max(values) / min(values)) > _DECADES
    legend, top = _legend(lines, unit)
    across = _Axis.over([x for line in lines for x, _ in line.points], _LEFT, _WIDTH - _RIGHT)
    up = _Axis.over(values, _HEIGHT - _BOTTOM - 4, top + 6, logarithmic=logarithmic)
    parts = [*legend, *_grid(across, up, x_label, whole=True)]
    for line in lines:
        parts += _line(line, across, up)
    return _chart(title, parts)


def scatter(x: Sequence[float], y: Sequence[float], title: str, *, x_label: str, y_label: str) -> str:
    """Points, and the line on which x and y are equal; both axes have one scale."""
    both = [*x, *y]
    across, up = _Axis.over(both, _LEFT, _WIDTH - _RIGHT), _Axis.over(both, _HEIGHT - _BOTTOM - 4, 50)
    ends = [(axis.place(axis.low), axis.place(axis.high)) for axis in (across, up)]
    (x0, x1), (y0, y1) = ends
    parts = [*_grid(across, up, x_label), f'<text x="{_LEFT}" y="40">{escaped(y_label)}</text>']
    parts.append(f'<path d="M{x0:g} {y0:g}L{x1:g} {y1:g}" stroke-width="1.4" style="stroke:var(--red)"/>')
    dots = "".join(
        f"M{across.place(a):.1f} {up.place(b):.1f}h0"
        for a, b in zip(x, y, strict=True)
        if math.isfinite(a) and math.isfinite(b)
    )
    # A line of no length with round ends is a dot, and one element holds all of them.
    parts.append(
        f'<path d="{dots}" stroke-width="4.5" stroke-linecap="round" opacity=".45" style="stroke:var(--blue)"/>'
    )
    return _chart(title, parts)


def histogram(edges: Sequence[float], counts: Sequence[int], title: str, *, x_label: str) -> str:
    """Bars of the counts between neighbouring edges, and a line at 0 where it is among them."""
    across = _Axis.over(edges, _LEFT, _WIDTH - _RIGHT)
    up = _Axis.over([0, max([*counts, 1])], _HEIGHT - _BOTTOM - 4, 42)
    parts, floor = _grid(across, up, x_label), up.place(0)
    for (low, high), count in zip(pairwise(edges), counts, strict=True):
        left, right, top = across.place(low), across.place(high), up.place(count)
        told = f"<title>{low:.4g} to {high:.4g}: {count:,}</title>"
        parts.append(
            f'<rect x="{left + 0.5:.1f}" y="{top:.1f}" width="{max(right - left - 1, 0.5):.1f}" '
            f'height="{floor - top:.1f}" opacity=".75" style="fill:var(--blue)">{told}</rect>'
        )
    if edges[0] < 0 < edges[-1]:
        zero = across.place(0)
        parts.append(f'<path d="M{zero:.1f} {floor:.1f}V42" stroke-width="1.4" style="stroke:var(--red)"/>')
    return _chart(title, parts)


def ramp(n: int) -> list[str]:
    """n colours from blue to red, for what has an order, such as depth; all of one lightness."""
    return [f"hsl({250 - 235 * i / max(n - 1, 1):.0f} 62% 54%)" for i in range(n)]


def _chart(title: str, parts: Sequence[str]) -> str:
    head = f'<svg role="img" aria-label="{escaped(title)}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
    return f'{head}<text class="title" x="4" y="16">{escaped(title)}</text>{"".join(parts)}</svg>'


def _grid(across: _Axis, up: _Axis, x_label: str, *, whole: bool = False) -> list[str]:
    left, right, bottom = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for value in up.ticks():
        y = up.place(value)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        parts.append(f'<text text-anchor="end" x="{left - 7}" y="{y + 4:.1f}">{_tick(value)}</text>')
    for value in across.ticks(7, whole=whole):
        x = across.place(value)
        parts.append(f'<text text-anchor="middle" x="{x:.1f}" y="{bottom + 17}">{_tick(value)}</text>')
    label = f'<text text-anchor="middle" x="{(left + right) / 2}" y="{bottom + 35}">{escaped(x_label)}</text>'
    return [*parts, label]


def _legend(lines: Sequence[Line], unit: str) -> tuple[list[str], float]:
    """The names with the last numbers, in as many rows as they need; and where these end."""
    # Of many lines, the first, the one in the middle and the last tell the order.
    shown = lines if len(lines) <= 8 else [lines[0], lines[len(lines) // 2], lines[-1]]
    parts, x, y = [], 6.0, 37.0
    for line in shown:
        last = next((value for _, value in reversed(line.points) if math.isfinite(value)), None)
        number = "" if last is None else f"{last:.4g}{unit}"
        width = 26 + _LETTER * (len(line.name) + len(number) + 2)
        if x > 6 and x + width > _WIDTH:
            x, y = 6.0, y + 18
        parts.append(f'<path d="M{x:g} {y - 4:g}h14" stroke-width="3" style="stroke:{line.colour}"/>')
        parts.append(
            f'<text x="{x + 19:g}" y="{y:g}">{escaped(line.name)} <tspan class="ink">{escaped(number)}</tspan></text>'
        )
        x += width
    return parts, y + 8


def _line(line: Line, across: _Axis, up: _Axis) -> list[str]:
    points, way, marks = line.points, [], []
    thinned = points[:: math.ceil(len(points) / _MOST)]
    if thinned and thinned[-1] != points[-1]:
        thinned.append(points[-1])
    begun = False
    for x, y in thinned:
        drawn = math.isfinite(y) and (y > 0 or not up.logarithmic)
        if drawn:
            place = f"{across.place(x):.1f} {up.place(y):.1f}"
            way.append(f"{'L' if begun else 'M'}{place}")
            if len(points) <= _MARKED:
                left, top = place.split()
                told = f"<title>{escaped(line.name)}, {x:g}: {y:.6g}</title>"
                marks.append(f'<circle cx="{left}" cy="{top}" r="2.6" style="fill:{line.colour}">{told}</circle>')
        begun = drawn
    path = (
        f'<path d="{"".join(way)}" fill="none" stroke-width="2" stroke-linejoin="round" style="stroke:{line.colour}"/>'
    )
    return [path, *marks]


def _tick(value: float) -> str:
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.10g}".replace("-", "−")


def _number(value: Any) -> float:
    usable = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if usable else math.nan
