"""Figures without a display: Matplotlib's objects alone, and no pyplot, whose global state keeps figures alive."""

import io
from typing import Any

from anyfw.core.errors import MissingExtraError

# Matplotlib's types: it is imported when the first picture is drawn, and it may not be installed.
Axis = Any
Figure = Any

INK = "#1f2733"
FAINT = "#6b7684"
LINE = "#d8dde4"
# Okabe and Ito's palette, which colour-blind readers can tell apart, in an order that starts quietly.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8c6d31", "#5f6b7a", "#b5446e")


def figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float] | None = None) -> tuple[Figure, list[Axis]]:
    """A figure and its axes, row by row.

    Args:
        rows, columns: the grid of axes.
        size: width and height of the figure in inches; None makes each axis about 5 x 3.5.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as MatplotlibFigure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots", "Drawing") from error
    made = MatplotlibFigure(figsize=size or (5.2 * columns, 3.5 * rows), layout="constrained", facecolor="white")
    axes = made.subplots(rows, columns, squeeze=False)
    return made, list(axes.flat)


def figure_png(figure: Figure, dpi: float = 144) -> bytes:
    """The figure as the bytes of a PNG file; the same figure gives the same bytes.

    Args:
        figure: of Matplotlib.
        dpi: dots per inch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def axis_or_new(axis: Axis | None, size: tuple[float, float] = (5.6, 3.8)) -> Axis:
    """The given axis, or that of a new figure, which `axis.figure` gives."""
    return figure(size=size)[1][0] if axis is None else axis


def dress(axis: Axis, *, title: str = "", x: str = "", y: str = "", grid: str | None = "y") -> Axis:
    """Give an axis this package's look; `grid` is "x", "y", "both" or None."""
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=9)
    axis.set_xlabel(x, fontsize=9, color=FAINT)
    axis.set_ylabel(y, fontsize=9, color=FAINT)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(LINE)
    axis.tick_params(colors=FAINT, labelsize=8.5, length=3, color=LINE)
    axis.set_axisbelow(True)
    if grid:
        axis.grid(axis=grid, color=LINE, linewidth=0.7, alpha=0.8)
    return axis


def legend(axis: Axis, **options: Any) -> None:
    """A quiet legend, where there is something to name."""
    if axis.get_legend_handles_labels()[1]:
        shown = axis.legend(fontsize=8.5, labelcolor=INK, handlelength=1.6, **options)
        shown.get_frame().set(facecolor="white", edgecolor="none", alpha=0.85)


def epochs_on(axis: Axis) -> None:
    """Whole numbers on the x axis."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def ramp(n: int) -> list[Any]:
    """n colours from deep blue to warm yellow, for what has an order, such as depth."""
    from matplotlib import colormaps

    return [colormaps["plasma"](0.05 + 0.8 * i / max(n - 1, 1)) for i in range(n)]
