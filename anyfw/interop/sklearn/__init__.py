"""Estimators for scikit-learn: `MLPClassifier`, `MLPRegressor`, and `NetClassifier`, `NetRegressor` for nets of yours.

The names are handed on lazily (PEP 562): scikit-learn, the extra `sklearn`, is imported with the first of them.
"""

import importlib
from typing import TYPE_CHECKING

from anyfw.core.errors import MissingExtraError

if TYPE_CHECKING:
    from anyfw.interop.sklearn.mlp_classifier import MLPClassifier
    from anyfw.interop.sklearn.mlp_regressor import MLPRegressor
    from anyfw.interop.sklearn.net import NetClassifier, NetRegressor

_HOME = {
    "MLPClassifier": "mlp_classifier",
    "MLPRegressor": "mlp_regressor",
    "NetClassifier": "net",
    "NetRegressor": "net",
}

__all__ = ["MLPClassifier", "MLPRegressor", "NetClassifier", "NetRegressor"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'anyfw.interop.sklearn' has no attribute {name!r}")
    try:
        importlib.import_module("sklearn")
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "sklearn", "anyfw.interop.sklearn") from error
    value: object = getattr(importlib.import_module(f"anyfw.interop.sklearn.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
