"""What a net says of rows that are put before it: scores, confusions, residuals, and the rows it is worst at."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anyfw.core.arrays import namespace
from anyfw.core.errors import ConfigError
from anyfw.core.layer import Layer
from anyfw.core.parameter import to_host
from anyfw.data import Arrays, Source
from anyfw.losses import Loss
from anyfw.metrics import Metric
from anyfw.train.measuring import EVALUATION_BATCH

Host = NDArray[Any]
Task = Literal["classification", "regression", "other"]

_WORST = 12
_POINTS = 800  # of a scatter plot
_BARS = 40
_OUTPUTS = 3  # outputs of a regression whose residuals are drawn


@dataclass(frozen=True)
class Worst:
    """A row with one of the highest losses.

    Attributes:
        row: its number.
        x: its inputs, flat.
        true, said: the label, or the numbers.
        probability: that the net gives to what it says, where its loss knows probabilities.
        loss: of this row.
    """

    row: int
    x: Host
    true: Any
    said: Any
    probability: float | None
    loss: float


@dataclass(frozen=True)
class Residuals:
    """Errors y - t of one output: points for a scatter plot, and counts between edges of all rows.

    Attributes:
        true, said: of some rows.
        edges, counts: of a histogram.
        odd: rows with an output that is no finite number, which are left out of both.
    """

    true: list[float]
    said: list[float]
    edges: list[float]
    counts: list[int]
    odd: int = 0


@dataclass(frozen=True)
class Findings:
    """What was found on some rows.

    Attributes:
        kind: which rows: "test", "validation" or "training".
        rows: how many were measured.
        of: how many there are.
        task: what the loss and the targets make of it.
        loss: mean over the rows (their sum where the loss is one).
        score: accuracy, or root mean squared error; None for other tasks.
        error: the standard error of the score.
        baseline: the score of who always says the most frequent class, or the mean; of these rows.
        metrics: those of the training, by name.
        confusion: counts by true class and predicted one.
        residuals: of the first outputs of a regression.
        worst: the rows with the highest losses, from the highest on.
    """

    kind: str
    rows: int
    of: int
    task: Task
    loss: float
    score: float | None = None
    error: float = 0.0
    baseline: float = 0.0
    metrics: dict[str, Any] = field(default_factory=dict)
    confusion: list[list[int]] | None = None
    residuals: tuple[Residuals, ...] = ()
    worst: tuple[Worst, ...] = ()


def look(
    kind: str, net: Layer, loss: Loss, metrics: Sequence[Metric], source: Source, *, most: int | None = None
) -> Findings:
    """Put rows before the net and see what it makes of them.

    Args:
        kind: what to call the rows.
        net, loss, metrics: as they were trained; nothing in them changes.
        source: the rows.
        most: at most so many, evenly spread; None is all.

    Raises:
        DataError, ShapeError: rows that do not fit the net or the loss.
    """
    count = len(source) if most is None else min(most, len(source))
    indices = np.arange(count) * len(source) // count
    gathered = _gather(net, loss, metrics, source, indices)
    found = Findings(kind, count, len(source), "other", gathered.loss, metrics=gathered.metrics)
    found = replace(found, worst=tuple(_worst(source, indices, gathered)))
    if gathered.labels is not None:
        return _classified(found, gathered.truth, gathered.labels, gathered.outputs)
    if gathered.outputs.shape == gathered.truth.shape:
        return _regressed(found, gathered.truth, gathered.outputs)
    return found


def _classified(found: Findings, truth: Host, said: Host, outputs: Host) -> Findings:
    accuracy = float((said == truth).mean())
    classes = max(int(truth.max()) + 1, int(said.max()) + 1, outputs.shape[1] if outputs.ndim == 2 else 2, 2)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (truth, said), 1)
    return replace(
        found,
        task="classification",
        score=accuracy,
        error=_share_error(accuracy, found.rows),
        baseline=float(confusion.sum(axis=1).max() / found.rows),
        confusion=confusion.tolist(),
    )


def _share_error(share: float, rows: int) -> float:
    # Agresti and Coull: with two more rows right and two more wrong, so that all rows right is no certainty.
    middle = (share * rows + 2) / (rows + 4)
    return float(np.sqrt(middle * (1 - middle) / (rows + 4)))


def _regressed(found: Findings, truth: Host, outputs: Host) -> Findings:
    y, t = outputs.reshape(found.rows, -1).astype(np.float64), truth.reshape(found.rows, -1).astype(np.float64)
    with np.errstate(all="ignore"):  # what overflows is told as what it is
        squares = (y - t) ** 2
        rmse = np.sqrt(squares.mean(axis=0))
        # By the square's own standard error: d sqrt(m) = dm / (2 sqrt(m)).
        errors = squares.std(axis=0) / np.sqrt(found.rows) / np.maximum(2 * rmse, 1e-300)
    return replace(
        found,
        task="regression",
        score=float(rmse.mean()),
        error=float(errors.mean()),
        baseline=float(t.std(axis=0).mean()),
        residuals=tuple(_residuals(t[:, i], y[:, i]) for i in range(min(y.shape[1], _OUTPUTS))),
    )


def check(net: Layer, loss: Loss, source: Source) -> None:
    """Refuse rows that `look` could not put before the net, before anything is trained.

    Raises:
        DataError, ShapeError: rows that do not fit the net or the loss.
    """
    columns = source.arrays if isinstance(source, Arrays) else source[np.arange(min(2, len(source)))]
    y = net.forward(net.backend.asarray(columns[0][:2], net.dtype))
    loss.check(tuple(y.shape[1:]), *columns[1:], training=False)


@dataclass
class _Gathered:
    loss: float
    metrics: dict[str, Any]
    losses: Host  # by row
    outputs: Host
    truth: Host
    labels: Host | None
    probabilities: Host | None  # of what is said


def _gather(net: Layer, loss: Loss, metrics: Sequence[Metric], source: Source, indices: Host) -> _Gathered:
    backend = net.backend
    metrics = [copy.deepcopy(metric) for metric in metrics]
    for metric in metrics:
        metric.reset()
    total = weight = 0.0
    parts: list[tuple[Host, ...]] = []
    classifies = True
    for columns in _batches(source, indices):
        x, target = backend.asarray(columns[0], net.dtype), columns[1]
        y = net.forward(x)
        labelled = loss.takes_labels(tuple(y.shape[1:]), target)
        rest = [backend.asarray(target, "int64" if labelled else net.dtype)]
        rest += [backend.asarray(column, net.dtype) for column in columns[2:]]
        losses, _, weights = loss.each(y, rest[0])
        if len(rest) > 1 or weights is not None:
            value, share = loss.totals(y, *rest)
        else:
            value, share = namespace(y).sum(losses), prod(losses.shape) / loss.units_per_weight(y)
        total, weight = total + value, weight + share
        for metric in metrics:
            metric.update(y, *rest)
        each = to_host(losses).reshape(len(target), -1).mean(axis=1)
        outputs = to_host(y)
        classifies = classifies and _is_labels(target)
        said, sure = _said(loss, y) if classifies else (np.zeros(0), np.zeros(0))
        parts.append((each, np.array(outputs), np.asarray(target), said, sure))
    by_row, outputs, truth, said, sure = (np.concatenate(column) for column in zip(*parts, strict=True))
    classifies = classifies and len(said) == len(by_row) and said.ndim == 1
    if classifies:
        # Two classes may be -1 and 1.
        truth = np.maximum(truth.reshape(-1), 0).astype(np.int64)
        said = np.maximum(said, 0)
    elif truth.dtype.kind != "f":
        truth = truth.astype(np.float64)
    summed = float(to_host(total))
    return _Gathered(
        summed if loss.reduction == "sum" else summed / float(to_host(weight)),
        {metric.name: metric.compute() for metric in metrics},
        by_row,
        outputs,
        truth,
        said if classifies else None,
        sure if classifies and len(sure) == len(by_row) else None,
    )


def _batches(source: Source, indices: Host) -> Iterator[tuple[Host, ...]]:
    for start in range(0, len(indices), EVALUATION_BATCH):
        yield source[indices[start : start + EVALUATION_BATCH]]


def _is_labels(target: Host) -> bool:
    flat = target.ndim == 1 or (target.ndim == 2 and target.shape[1] == 1)
    return flat and (target.dtype.kind in "iub" or bool(np.isin(target, (-1.0, 0.0, 1.0)).all()))


def _said(loss: Loss, y: Any) -> tuple[Host, Host]:
    # The label of each row, and the probability that it is given; empty where the loss knows none.
    try:
        labels = to_host(loss.labels(y))
    except ConfigError:
        return np.zeros(0), np.zeros(0)
    labels = labels.reshape(len(labels), -1)
    if labels.shape[1] != 1:
        return np.zeros(0), np.zeros(0)
    labels = labels[:, 0]
    try:
        each = to_host(loss.probabilities(y)).reshape(len(labels), -1)
    except ConfigError:
        return labels, np.zeros(0)
    sure = each[np.arange(len(labels)), labels] if each.shape[1] > 1 else np.maximum(each[:, 0], 1 - each[:, 0])
    return labels, sure


def _worst(source: Source, indices: Host, found: _Gathered) -> Iterator[Worst]:
    # A loss that is no number is worse than any.
    order = np.argsort(-np.where(np.isnan(found.losses), np.inf, found.losses), kind="stable")[:_WORST]
    rows = source[indices[order]][0]
    for i, x in zip(order, rows, strict=True):
        true = found.truth[i].tolist()
        said = found.outputs[i].tolist() if found.labels is None else int(found.labels[i])
        sure = None if found.probabilities is None else float(found.probabilities[i])
        yield Worst(int(indices[i]), np.array(x).reshape(-1), true, said, sure, float(found.losses[i]))


def _residuals(true: Host, said: Host) -> Residuals:
    finite = np.isfinite(said - true)
    odd, true, said = int((~finite).sum()), true[finite], said[finite]
    if not len(true):
        return Residuals([], [], [], [], odd)
    shown = np.linspace(0, len(true) - 1, min(len(true), _POINTS)).astype(np.int64)
    counts, edges = np.histogram(said - true, bins=min(_BARS, max(8, int(len(true) ** 0.5))))
    return Residuals(true[shown].tolist(), said[shown].tolist(), edges.tolist(), counts.tolist(), odd)
