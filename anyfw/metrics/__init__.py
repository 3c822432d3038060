"""Metrics, measured on the device: updated batch by batch without a wait, read once at the end."""

from collections.abc import Iterable, Mapping
from typing import Any

from anyfw.core.criterion import rebuild
from anyfw.core.errors import ConfigError, UnknownNameError
from anyfw.metrics.base import Metric
from anyfw.metrics.classification import F1, Accuracy, ConfusionMatrix, Precision, Recall, TopK, ZeroOne
from anyfw.metrics.probability import LogLoss, RocAuc
from anyfw.metrics.regression import MAE, R2, RMSE

__all__ = [
    "F1",
    "MAE",
    "R2",
    "RMSE",
    "Accuracy",
    "ConfusionMatrix",
    "LogLoss",
    "Metric",
    "Precision",
    "Recall",
    "RocAuc",
    "TopK",
    "ZeroOne",
    "from_config",
    "resolve",
]


def resolve(metric: str | Metric) -> Metric:
    """The metric of that name, with its defaults; a Metric is itself.

    Raises:
        UnknownNameError: no metric has this name.

    >>> resolve("accuracy")
    Accuracy(threshold=0.0)
    """
    if isinstance(metric, Metric):
        return metric
    if not isinstance(metric, str):
        raise ConfigError(f"Expected a metric or its name, got {metric!r}. Make one: metrics.Accuracy().")
    known = {made.name: made for made in (kind() for kind in _public().values())}
    if metric not in known:
        raise UnknownNameError("metric", metric, known)
    return known[metric]


def from_config(config: Mapping[str, Any], metrics: Iterable[type[Metric]] = ()) -> Metric:
    """Rebuild a metric from what `Metric.config()` gave.

    Args:
        config: the description.
        metrics: classes of your own that it may name; nothing is ever imported by a name in the description.

    Raises:
        UnknownNameError: a class that is neither public here nor among `metrics`.
        FileFormatError: no description of a metric, or arguments that its class refuses.
    """
    metric: Metric = rebuild("metric", config, _public() | {kind.__name__: kind for kind in metrics})
    return metric


def _public() -> dict[str, type[Metric]]:
    found = {name: globals()[name] for name in __all__}
    return {name: kind for name, kind in found.items() if isinstance(kind, type) and kind is not Metric}
