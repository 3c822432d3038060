"""What a data set asks for: net, loss and metric, and which rows are for validation."""

from typing import Any

from anyfw import data, nn
from anyfw.cli import build
from anyfw.data import Dataset
from anyfw.losses import CrossEntropyLoss, StandardizedMSELoss


def net_and_loss(shape: build.Shape, dataset: Dataset) -> tuple[Any, Any, str]:
    """(net, loss, metric): the net takes raw rows, or a table's encoded ones, and gives targets in their own units.

    Raises:
        UnknownNameError, ConfigError: as `build.perceptron`.
    """
    made: dict[str, Any] = {"scale": dataset.scale, "shift": dataset.shift}
    if dataset.columns is not None:
        made = {"first": nn.CategoryColumns(*dataset.columns.layout)}
    if dataset.task == "classification":
        return build.perceptron(shape, dataset.features, dataset.outputs, **made), CrossEntropyLoss(), "accuracy"
    scale, shift = build.target_rescale(dataset.train[1])
    made |= {"target_scale": scale, "target_shift": shift}
    return build.perceptron(shape, dataset.features, dataset.outputs, **made), StandardizedMSELoss(scale), "rmse"


def rows(dataset: Dataset, valid: float, seed: int) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """(train, valid), with that share of the training rows for validation; without a share there are none.

    Raises:
        ConfigError, DataError: as `data.split`.
    """
    if dataset.valid is not None or valid == 0.0:
        return dataset.train, dataset.valid
    return data.split(*dataset.train, fraction=valid, seed=seed, stratify=dataset.task == "classification")
