"""Losses: `loss(y, target, sample_weight=None) -> (value, dy)`. One file per family."""

from collections.abc import Iterable, Mapping
from typing import Any

from anyfw.core.criterion import rebuild
from anyfw.losses.base import Loss
from anyfw.losses.classification import CrossEntropyLoss, HingeLoss, NLLLoss
from anyfw.losses.probability import BCELoss, BCEWithLogitsLoss, KLDivLoss
from anyfw.losses.regression import HuberLoss, L1Loss, MSELoss, StandardizedMSELoss

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HingeLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "NLLLoss",
    "StandardizedMSELoss",
    "from_config",
]


def from_config(config: Mapping[str, Any], losses: Iterable[type[Loss]] = ()) -> Loss:
    """Rebuild a loss from what `Loss.config()` gave.

    Args:
        config: the description.
        losses: classes of your own that it may name; nothing is ever imported by a name in the description.

    Raises:
        UnknownNameError: a class that is neither public here nor among `losses`.
        FileFormatError: no description of a loss, or arguments that its class refuses.
    """
    public = {name: globals()[name] for name in __all__}
    known = {name: kind for name, kind in public.items() if isinstance(kind, type) and kind is not Loss}
    loss: Loss = rebuild("loss", config, known | {kind.__name__: kind for kind in losses})
    return loss
