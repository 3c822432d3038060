"""The pictures of the lab's four answers."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from anyfw.report.canvas import COLOURS, FAINT, dress, epochs_on, figure, figure_png, legend, ramp
from anyfw.report.lab_answers import Study
from anyfw.report.lab_runs import Run

_COLOURS = {"none": FAINT, "sigmoid": COLOURS[1], "tanh": COLOURS[2], "relu": COLOURS[0]}
_MARKERS = {"none": "s", "sigmoid": "^", "tanh": "D", "relu": "o"}


def activations(study: Study) -> bytes:
    """Validation accuracy by learning rate at each depth; test accuracy of the chosen nets."""
    depths = study.depths
    made, axes = figure(1, len(depths) + 1, size=(3.9 * (len(depths) + 1), 3.7))
    linear = {run.setting.lr: run for run in study.grid if run.setting.depth == 1}
    for axis, depth in zip(axes, depths, strict=False):
        for name in study.activations:
            runs = [r for r in study.grid if (r.setting.activation, r.setting.depth) == (name, depth)]
            axis.plot(*_by_rate(runs), _MARKERS[name] + "-", color=_COLOURS[name], label=name, linewidth=1.9)
        axis.plot(*_by_rate(list(linear.values())), ":", color=FAINT, label="1 layer", linewidth=1.6)
        _plain_log(axis.xaxis, sorted(linear))
        axis.set_ylim(0, 103)
        legend(axis, loc="lower left")
        dress(axis, title=f"{depth} layers", x="learning rate", y="validation accuracy, %")
    right = axes[-1]
    labels: list[str] = []
    for depth in [1, *depths]:
        for name in study.activations:
            if (name, depth) not in study.chosen:
                continue
            score = study.score(study.chosen[name, depth])
            labels.append("1 layer" if depth == 1 else f"{name}, {depth}")
            right.errorbar(
                100 * score.mean, len(labels) - 1, xerr=200 * score.error, fmt=_MARKERS[name], color=_COLOURS[name],
                capsize=3, markersize=7,
            )  # fmt: skip
    right.set_yticks(range(len(labels)), labels)
    right.invert_yaxis()
    dress(right, title="The chosen nets", x="test accuracy, % ± 2 standard errors", grid="both")
    return figure_png(made)


def depths(study: Study) -> bytes:
    """Training loss by epoch and test accuracy, by the number of layers, on all rows."""
    made, (left, right) = figure(1, 2)
    for colour, (depth, runs) in zip(ramp(len(study.full)), sorted(study.full.items()), strict=True):
        name = "1 layer" if depth == 1 else f"{depth} layers"
        for i, run in enumerate(runs):
            losses = run.history.get("loss", [])
            left.plot(
                range(1, len(losses) + 1), losses, "o-", color=colour, markersize=3, linewidth=1.6,
                label=name if i == 0 else None,
            )  # fmt: skip
            right.plot([depth + 0.12 * (i - (len(runs) - 1) / 2)], [100 * run.test_accuracy], "o", color=colour)
        score = study.score(runs)
        right.errorbar(depth, 100 * score.mean, yerr=200 * score.error, fmt="_", color=colour, capsize=6, markersize=22)
    epochs_on(left)
    _plain_log(left.yaxis)
    legend(left)
    dress(left, title="Training loss, one line per seed", x="epoch", y="cross-entropy")
    right.set_xticks(sorted(study.full))
    dress(right, title="Test accuracy", x="layers", y="%, mean ± 2 standard errors")
    return figure_png(made)


def gradients(study: Study) -> bytes:
    """Gradient norms layer by layer at the start, accuracy by depth, and the norms through training."""
    names = list(dict.fromkeys(name for name, _ in study.deep))
    made, axes = figure(2, 2, size=(11.0, 7.6))
    start, accuracy = axes[:2]
    for name in names:
        runs = {depth: run for (other, depth), run in study.deep.items() if other == name}
        deepest = runs[max(runs)]
        style = {"color": _COLOURS[name], "marker": _MARKERS[name], "linewidth": 2, "label": name}
        norms = deepest.gradients[0]
        start.plot(range(1, len(norms) + 1), norms, **style)
        accuracy.plot(list(runs), [100 * run.test_accuracy for run in runs.values()], **style)
    start.set_yscale("log")
    epochs_on(start)
    epochs_on(accuracy)
    accuracy.set_ylim(0, 103)
    legend(start)
    legend(accuracy, loc="lower left")
    dress(start, title="Before training, layer by layer", x="layer, from the input", y="norm of dLoss/dW")
    dress(accuracy, title="After training", x="layers", y="test accuracy, %")
    drawn = []
    for axis, name in zip(axes[2:], names, strict=False):
        runs = {depth: run for (other, depth), run in study.deep.items() if other == name}
        deepest = runs[max(runs)]
        drawn.append(axis)
        _lines(axis, list(zip(*deepest.gradients, strict=True)))
        dress(axis, title=f"{name}, {max(runs)} layers, through training", x="epoch", y="norm of dLoss/dW")
    lows, highs = zip(*(axis.get_ylim() for axis in drawn), strict=True)
    for axis in [start, *drawn]:
        axis.set_ylim(min(lows), max(highs))
    return figure_png(made)


def weights(study: Study) -> bytes:
    """Max |w| by epoch: of the chosen nets, and by learning rate over the grid."""
    depths = study.depths
    made, axes = figure(1, len(depths) + 1, size=(3.9 * (len(depths) + 1), 3.4))
    for axis, depth in zip(axes, depths, strict=False):
        for name in study.activations:
            _path(axis, [study.chosen[name, depth][0]], color=_COLOURS[name], marker=_MARKERS[name], label=name)
        _legend_above(axis)
        dress(axis, title=f"{depth} layers, best learning rates", x="epoch", y="max |w|")
    rates = sorted({run.setting.lr for run in study.grid})
    for colour, lr in zip(ramp(len(rates)), rates, strict=True):
        runs = [run for run in study.grid if run.setting.lr == lr and not run.diverged]
        if runs:
            _path(axes[-1], runs, color=colour, marker="o", label=f"{lr:g}")
    _plain_log(axes[-1].yaxis)
    _legend_above(axes[-1], title="learning rate", title_fontsize=8.5)
    dress(axes[-1], title="The whole grid, medians", x="epoch", y="max |w|")
    for axis in axes:
        epochs_on(axis)
    return figure_png(made)


def _by_rate(runs: Sequence[Run]) -> tuple[list[float], list[float]]:
    ordered = sorted(runs, key=lambda run: run.setting.lr)
    return [run.setting.lr for run in ordered], [100 * run.valid_accuracy for run in ordered]


def _lines(axis: Any, layers: Sequence[Sequence[float]]) -> None:
    for i, (colour, norms) in enumerate(zip(ramp(len(layers)), layers, strict=True)):
        axis.plot(
            range(len(norms)), norms, color=colour, marker="o", markersize=3, linewidth=1.7, label=f"layer {i + 1}"
        )
    axis.set_yscale("log")
    epochs_on(axis)
    legend(axis, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _legend_above(axis: Any, **options: Any) -> None:
    """Room for the legend over the lines, which may end anywhere."""
    low, high = axis.get_ylim()
    logarithmic = axis.get_yscale() == "log"
    axis.set_ylim(low, high * (high / low) ** 0.4 if logarithmic else high + 0.3 * (high - low))
    legend(axis, loc="upper center", ncols=3 if options else 2, columnspacing=1.2, **options)


def _plain_log(axis: Any, ticks: Sequence[float] | None = None) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10, ... or at the given places."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if ticks is None else FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def _path(axis: Any, runs: Sequence[Run], **style: Any) -> None:
    paths = [[max(layers) for layers in run.max_weight] for run in runs]
    epochs = range(min(map(len, paths)))
    axis.plot(epochs, [median(path[i] for path in paths) for i in epochs], linewidth=1.9, markersize=4, **style)


PICTURES: Mapping[str, tuple[Any, str, str]] = {
    "activation": (
        activations,
        "Accuracy by activation and learning rate",
        "Left: every training of the grid; what lies at the bottom did not learn. Right: each net at its best rate.",
    ),
    "layers": (
        depths,
        "Loss and accuracy by the number of layers",
        "The best activation and learning rate of each depth, trained on all rows.",
    ),
    "depth": (
        gradients,
        "Gradient norms by layer, and accuracy by depth",
        "Above: how large each layer's gradient is, and what becomes of the net. Below: those norms, epoch by epoch.",
    ),
    "weights": (
        weights,
        "The largest absolute weight by epoch",
        "Epoch 0 is the net as it was drawn.",
    ),
}
