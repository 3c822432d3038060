"""Optimizers, learning-rate schedules, clipping, and the average of the weights."""

from collections.abc import Iterable, Mapping
from typing import Any

from anyfw.core.parameter import Parameter
from anyfw.optim import groups as _groups
from anyfw.optim import schedule as _schedule
from anyfw.optim.adagrad import Adagrad
from anyfw.optim.adam import Adam, AdamW
from anyfw.optim.base import Optimizer
from anyfw.optim.clip import clip_norm_, clip_value_
from anyfw.optim.curves import Constant, Cosine, Exponential, MultiStep, OneCycle, Step
from anyfw.optim.ema import EMA
from anyfw.optim.plateau import ReduceOnPlateau
from anyfw.optim.rmsprop import RMSprop
from anyfw.optim.schedule import Schedule
from anyfw.optim.sgd import SGD
from anyfw.optim.warmup import Warmup

__all__ = [
    "EMA",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Exponential",
    "MultiStep",
    "OneCycle",
    "Optimizer",
    "RMSprop",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "Warmup",
    "clip_norm_",
    "clip_value_",
    "from_config",
    "schedule_from_config",
]

_OPTIMIZERS: dict[str, type[Optimizer]] = {kind.__name__: kind for kind in (SGD, Adam, AdamW, RMSprop, Adagrad)}
_SCHEDULES: dict[str, type[Schedule]] = {
    kind.__name__: kind for kind in (Constant, Step, MultiStep, Exponential, Cosine, OneCycle, Warmup, ReduceOnPlateau)
}


def from_config(
    config: Mapping[str, Any],
    parameters: Iterable[Parameter],
    optimizers: Iterable[type[Optimizer]] = (),
    schedules: Iterable[type[Schedule]] = (),
) -> Optimizer:
    """Rebuild an optimizer, without its state, from what `Optimizer.config()` gave.

    Args:
        config: the description.
        parameters: in the order in which the first one had them, over all groups.
        optimizers, schedules: classes of your own that may occur in it; nothing is imported by a name in it.

    Raises:
        UnknownNameError: a class that is neither public here nor among those given.
        FileFormatError: no description of an optimizer, or one of other parameters.
    """
    return _groups.build_optimizer(config, parameters, _with(_OPTIMIZERS, optimizers), _with(_SCHEDULES, schedules))


def schedule_from_config(config: Mapping[str, Any], schedules: Iterable[type[Schedule]] = ()) -> Schedule:
    """Rebuild a schedule, without its state, from what `Schedule.config()` gave; `schedules` may occur in it.

    Raises:
        UnknownNameError: a class that is neither public here nor among `schedules`.
        FileFormatError: no description of a schedule.
    """
    return _schedule.build(config, _with(_SCHEDULES, schedules))


def _with(public: dict[str, type[Any]], others: Iterable[type[Any]]) -> dict[str, type[Any]]:
    return public | {kind.__name__: kind for kind in others}
