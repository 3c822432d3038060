"""anyfw: neural networks with explicit forward and backward, on NumPy or CUDA by one switch, ANYFW_BACKEND.

The names are handed on lazily (PEP 562), so that the command line can act before NumPy loads.
"""

import importlib
from typing import TYPE_CHECKING

from anyfw.core.version import __version__

if TYPE_CHECKING:
    from anyfw import core, data, inspect, interop, lesson, losses, metrics, nn, optim, report
    from anyfw.core.backend import Backend, get_backend, use_backend
    from anyfw.core.errors import AnyfwError
    from anyfw.core.layer import Layer
    from anyfw.core.parameter import Parameter
    from anyfw.core.transfers import audit
    from anyfw.nn.files import load
    from anyfw.train import Trainer

_HOME = {
    "AnyfwError": "anyfw.core.errors",
    "Backend": "anyfw.core.backend",
    "Layer": "anyfw.core.layer",
    "Parameter": "anyfw.core.parameter",
    "Trainer": "anyfw.train",
    "audit": "anyfw.core.transfers",
    "get_backend": "anyfw.core.backend",
    "load": "anyfw.nn.files",
    "use_backend": "anyfw.core.backend",
}
_MODULES = ("core", "data", "inspect", "interop", "lesson", "losses", "metrics", "nn", "optim", "report")

__all__ = [
    "AnyfwError",
    "Backend",
    "Layer",
    "Parameter",
    "Trainer",
    "__version__",
    "audit",
    "core",
    "data",
    "get_backend",
    "inspect",
    "interop",
    "lesson",
    "load",
    "losses",
    "metrics",
    "nn",
    "optim",
    "report",
    "use_backend",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        value: object = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"anyfw.{name}")
    else:
        raise AttributeError(f"module 'anyfw' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
