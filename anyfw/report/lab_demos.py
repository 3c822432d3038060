"""The lesson's demonstrations: borders of growing nets, a fitted curve, capacity, the losses, the graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw import data, losses, nn, optim
from anyfw.report import plots
from anyfw.report.canvas import COLOURS, FAINT, dress, legend
from anyfw.train import Trainer

Rows = tuple[NDArray[Any], NDArray[Any]]

MOONS: tuple[tuple[int, ...], ...] = ((), (2,), (4,), (16, 16))
SHAPES: tuple[tuple[int, ...], ...] = ((1,), (2,), (4, 4), (8, 8), (16, 16, 16))
_CURVE_NOISE, _FEW_NOISE = 0.2, 0.4


@dataclass(frozen=True)
class Demo:
    """One demonstration.

    Attributes:
        key: in lab.json.
        title: what is asked or shown.
        answer: a sentence with figures.
        pictures: (PNG, what it shows, caption).
        header, rows: a table; no rows, no table.
        reproduce: the example or the code that shows the same.
    """

    key: str
    title: str
    answer: str
    pictures: Sequence[tuple[bytes, str, str]]
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    reproduce: str


def mlp(inputs: int, widths: Sequence[int], outputs: int) -> nn.Sequential:
    """Linear layers with tanh between them."""
    layers: list[nn.Layer] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.Tanh()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def moons(seed: int, epochs: int) -> Demo:
    """Decision boundaries of growing nets."""
    train, test = data.moons(400, noise=0.2, seed=seed), data.moons(2000, noise=0.2, seed=seed + 1)
    picture, axes = plots.figure(2, 2, size=(9.6, 7.4))
    rows: list[list[Any]] = []
    for axis, widths in zip(axes, MOONS, strict=True):
        net = mlp(2, widths, 2)
        trainer = Trainer(
            net,
            losses.CrossEntropyLoss(),
            optim.Adam(net.parameters(), lr=optim.Cosine(0.03)),
            metrics=["accuracy"],
            seed=seed,
            progress=False,
        )
        trainer.fit(train, epochs=epochs, batch_size=50)
        accuracy = trainer.evaluate(test)["accuracy"]
        rows.append([_hidden(widths), _size(net), 100 * trainer.evaluate(train)["accuracy"], 100 * accuracy])
        title = f"hidden: {_hidden(widths)} ({accuracy:.1%})"
        plots.decision_boundary(trainer.predict, train[0], train[1], axis, title=title)
        if axis.get_legend() is not None:
            axis.get_legend().remove()
    best = max(rows, key=lambda row: row[3])
    answer = (
        f"A net without hidden layer draws a straight border and gets {rows[0][3]:.1f} % of 2,000 new rows right; the "
        f"best of the others, with hidden widths {best[0]}, bends it and gets {best[3]:.1f} %."
        if best is not rows[0]
        else f"None of the nets with hidden layers beats the straight border, {rows[0][3]:.1f} % of 2,000 new rows."
    )
    caption = (
        "The rows learnt from, and what each net says of every point of the plane; paler where it is unsure. "
        "In brackets: right on new rows."
    )
    return Demo(
        "moons",
        "Which borders can a growing net draw?",
        answer,
        [(plots.figure_png(picture), "Decision boundaries of four nets on two moons", caption)],
        ("hidden widths", "parameters", "accuracy on the rows learnt from, %", "on new rows, %"),
        rows,
        "python examples/spirals.py    # the same on three spirals\nanyfw train moons --hidden 16 16 --activation tanh",
    )


def curve(seed: int, epochs: int) -> Demo:
    """A regression."""
    x, y = data.noisy_curve(300, noise=_CURVE_NOISE, seed=seed)
    new = data.noisy_curve(1000, noise=_CURVE_NOISE, seed=seed + 1)
    net = mlp(1, (16, 16), 1)
    optimizer = optim.Adam(net.parameters(), lr=optim.Cosine(0.02))
    trainer = Trainer(net, losses.MSELoss(), optimizer, metrics=["rmse", "r2"], seed=seed, progress=False)
    history = trainer.fit((x, y), new, epochs=epochs, batch_size=30)
    result = trainer.evaluate(new)
    picture, (left, right) = plots.figure(1, 2)
    plots.regression_fit(trainer.predict, x, y, left, title="y = sin x + noise")
    plots.history(history, "loss", right)
    right.set_title("Squared error by epoch", loc="left", fontsize=11, fontweight="bold")
    answer = (
        f"After {history.epochs} epochs the net misses new rows by {result['rmse']:.3f} (root mean square), and "
        f"{_CURVE_NOISE} of that is noise that no net can foretell; it explains {result['r2']:.1%} of their variance."
    )
    table = [["rows learnt from", *_regression(trainer, (x, y))], ["new rows", *_regression(trainer, new)]]
    caption = "Left: the rows and the fit. Right: how the loss fell."
    return Demo(
        "curve",
        "Can a net fit a curve through noisy points?",
        answer,
        [(plots.figure_png(picture), "The fitted curve, and the loss by epoch", caption)],
        ("measured on", "squared error", "root mean square", "R²"),
        table,
        "python examples/regression.py    # with outliers, by two losses\nanyfw train curve",
    )


def capacity(seed: int, epochs: int, tables: int) -> Demo:
    """Under- and overfitting."""
    rows: list[list[Any]] = []
    last: list[Trainer] = []
    for widths in SHAPES:
        errors = []
        for table in range(seed, seed + tables):
            net = mlp(1, widths, 1)
            optimizer = optim.Adam(net.parameters(), lr=optim.Cosine(0.02))
            trainer = Trainer(net, losses.MSELoss(), optimizer, seed=table, progress=False)
            trainer.fit(_few(24, table), epochs=epochs, batch_size=24)
            errors.append([trainer.evaluate(part)["loss"] for part in (_few(24, table), _few(500, table + 100))])
        trained, new = (float(value) for value in np.mean(errors, axis=0))
        rows.append([_hidden(widths), _size(net), trained, new, new - trained])
        last.append(trainer)
    picture, axes = plots.figure(2, 2, size=(9.6, 6.6))
    sizes = [row[1] for row in rows]
    for column, name, colour in ((2, "rows learnt from", COLOURS[0]), (3, "new rows", COLOURS[1])):
        axes[0].plot(sizes, [row[column] for row in rows], "o-", color=colour, label=name, linewidth=2)
    axes[0].fill_between(sizes, [row[2] for row in rows], [row[3] for row in rows], color=FAINT, alpha=0.12)
    axes[0].set_xscale("log")
    axes[0].set_xticks(sizes, [str(count) for count in sizes])
    axes[0].minorticks_off()
    legend(axes[0])
    dress(axes[0], title="The gap", x="parameters", y="squared error")
    for axis, i in zip(axes[1:], (0, len(SHAPES) // 2, len(SHAPES) - 1), strict=True):
        plots.regression_fit(last[i].predict, *_few(24, seed + tables - 1), axis, title=f"hidden: {rows[i][0]}")
        axis.set_ylim(-2.2, 2.2)
    gaps = [row[4] for row in rows]
    wider = sum(after > before for before, after in pairwise(gaps))
    best = min(range(len(rows)), key=lambda i: rows[i][3])
    turn = (
        f"New rows are foretold best with hidden widths {rows[best][0]}: smaller nets underfit, larger ones overfit."
        if 0 < best < len(rows) - 1
        else f"New rows are foretold best with hidden widths {rows[best][0]}."
    )
    answer = (
        f"From {sizes[0]} to {sizes[-1]} parameters the error on the 24 rows learnt from goes from {rows[0][2]:.2f} to "
        f"{rows[-1][2]:.2f}, and the gap to new rows from {gaps[0]:.2f} to {gaps[-1]:.2f}; it widens in {wider} of "
        f"{len(gaps) - 1} steps. {turn}"
    )
    draws = f"{tables} draw{'s' * (tables > 1)}"
    caption = f"The gap: a mean over {draws} of 24 rows. Then the fits of three nets to the last of them."
    return Demo(
        "capacity",
        "Underfitting and overfitting: what does a larger net gain and lose?",
        answer,
        [(plots.figure_png(picture), "Errors by the number of parameters, and three fits", caption)],
        ("hidden widths", "parameters", "error on the rows learnt from", "on new rows", "gap"),
        rows,
        "python examples/capacity.py",
    )


def shapes() -> Demo:
    """The losses."""
    picture, (left, right) = plots.figure(1, 2)
    plots.losses("regression", left)
    plots.losses("classification", right)
    one, zero = np.ones((1, 1)), np.zeros((1, 1))
    rows: list[list[Any]] = []
    for loss in (losses.MSELoss(), losses.L1Loss(), losses.HuberLoss()):
        small, large = (loss(e * one, zero) for e in (0.1, 3.0))
        rows.append(
            [type(loss).__name__, "error", *(float(v) for v, _ in (small, large)), _slope(small), _slope(large)]
        )
    for classifier in (losses.BCEWithLogitsLoss(), losses.HingeLoss()):
        small, large = (classifier(margin * one, one) for margin in (0.1, 3.0))
        values = (float(v) for v, _ in (small, large))
        rows.append([type(classifier).__name__, "margin", *values, _slope(small), _slope(large)])
    answer = (
        f"An error of 3 costs {rows[0][3]:.3g} squared, {rows[1][3]:.3g} absolute and {rows[2][3]:.3g} under Huber's "
        f"loss, which pull it back with slopes {rows[0][5]:.3g}, {rows[1][5]:.3g} and {rows[2][5]:.3g}; a row that is "
        f"right by a margin of 3 still costs {rows[3][3]:.3f} under the logistic loss and {rows[4][3]:.3g} under the "
        "hinge loss."
    )
    return Demo(
        "losses",
        "What do the losses punish?",
        answer,
        [(plots.figure_png(picture), "Losses by error and by margin", "Drawn from the losses themselves.")],
        ("loss", "of", "value at 0.1", "at 3", "slope at 0.1", "at 3"),
        rows,
        "loss = losses.HuberLoss()\nvalue, dy = loss(y, target)",
    )


def graph(features: int, classes: int) -> Demo:
    """The computational graph of a perceptron, and its shapes."""
    net = nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, classes))
    axis = plots.graph(net, loss="CrossEntropyLoss")
    rows: list[list[Any]] = [
        [path, " x ".join(map(str, parameter.shape)), parameter.size] for path, parameter in net.named_parameters()
    ]
    answer = (
        f"Forward, {features} numbers become {classes} scores through {len(net)} layers; backward, the chain rule "
        f"takes the loss's gradient through the same layers in reverse and leaves one gradient for each of "
        f"{_size(net):,} parameters."
    )
    caption = "Blue: values flow down. Orange: gradients flow back up."
    return Demo(
        "graph",
        "What is computed, forward and backward?",
        answer,
        [(plots.figure_png(axis.figure), "The computational graph of a 2-layer perceptron", caption)],
        ("parameter", "shape", "numbers"),
        rows,
        "anyfw trace    # every value and every gradient of a small net, in figures",
    )


def _few(rows: int, seed: int) -> Rows:
    return data.noisy_curve(rows, noise=_FEW_NOISE, curve=lambda x: np.sin(2.0 * x), seed=seed)


def _hidden(widths: Sequence[int]) -> str:
    return "-".join(map(str, widths)) or "none"


def _size(net: nn.Layer) -> int:
    return sum(parameter.size for parameter in net.parameters())


def _regression(trainer: Trainer, rows: Rows) -> list[float]:
    result = trainer.evaluate(rows)
    return [result["loss"], result["rmse"], result["r2"]]


def _slope(result: tuple[Any, Any]) -> float:
    return float(result[1][0, 0])
