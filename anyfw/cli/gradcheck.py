"""`anyfw gradcheck`: every gradient against finite differences."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from tyro.conf import Positional, arg

from anyfw import inspect, losses, nn
from anyfw.cli.console import BackendName, Json, Result, note
from anyfw.cli.open import choose_backend, first_rows, open_net
from anyfw.core import random
from anyfw.core.backend import use_backend
from anyfw.core.errors import ConfigError
from anyfw.inspect import GradcheckResult

Values = NDArray[Any]

_ROWS, _FEATURES = 6, 5

LAYERS: Mapping[str, Callable[[], nn.Layer]] = {
    "Linear": lambda: nn.Linear(_FEATURES, 4),
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
    "ELU": nn.ELU,
    "SELU": nn.SELU,
    "GELU": nn.GELU,
    "GELU (tanh)": lambda: nn.GELU("tanh"),
    "SiLU": nn.SiLU,
    "Softplus": nn.Softplus,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "Softmax": nn.Softmax,
    "LogSoftmax": nn.LogSoftmax,
    "Identity": nn.Identity,
    "Flatten": nn.Flatten,
    "CategoryColumns": lambda: nn.CategoryColumns(_FEATURES - 2, (2, 3), (0, 2)),
    "Rescale": lambda: nn.Rescale([0.5] * _FEATURES, [1.0] * _FEATURES),
    "Dropout": lambda: nn.Dropout(0.4),
    "BatchNorm1d": lambda: nn.BatchNorm1d(_FEATURES),
    "LayerNorm": lambda: nn.LayerNorm(_FEATURES),
    "RMSNorm": lambda: nn.RMSNorm(_FEATURES),
    "Sequential": lambda: nn.Sequential(nn.Linear(_FEATURES, 7), nn.Tanh(), nn.Linear(7, 3)),
    "Residual": lambda: nn.Residual(nn.Linear(_FEATURES, _FEATURES)),
    "Parallel": lambda: nn.Parallel(nn.Linear(_FEATURES, 3), nn.Linear(_FEATURES, 2)),
}
# Each loss with what turns random numbers into outputs, and into targets, that it takes.
LOSSES: Mapping[str, tuple[Callable[[], losses.Loss], Callable[[Values], Values], Callable[[Values], Values]]] = {
    "MSELoss": (losses.MSELoss, lambda z: z, lambda t: t),
    "StandardizedMSELoss": (lambda: losses.StandardizedMSELoss([2.0] * _FEATURES), lambda z: z, lambda t: t),
    "L1Loss": (losses.L1Loss, lambda z: z, lambda t: t),
    "HuberLoss": (losses.HuberLoss, lambda z: z, lambda t: t),
    "BCELoss": (losses.BCELoss, lambda z: 0.1 + 0.8 / (1.0 + np.exp(-z)), lambda t: (t > 0.0) * 1.0),
    "BCEWithLogitsLoss": (losses.BCEWithLogitsLoss, lambda z: z, lambda t: (t > 0.0) * 1.0),
    "CrossEntropyLoss": (losses.CrossEntropyLoss, lambda z: z, lambda t: t.argmax(axis=1)),
    "NLLLoss": (losses.NLLLoss, lambda z: _log_softmax(z), lambda t: t.argmax(axis=1)),
    "HingeLoss": (losses.HingeLoss, lambda z: z, lambda t: t.argmax(axis=1)),
    "KLDivLoss": (losses.KLDivLoss, lambda z: _log_softmax(z), lambda t: np.exp(_log_softmax(t))),
}


@dataclass(frozen=True)
class Options:
    """Compare gradients with finite differences, in float64: of all layers and losses, or of a net.

    Exit code 1: a gradient is wrong.

    examples:
      anyfw gradcheck
      anyfw gradcheck runs/digits --rows 8

    Args:
        model: the folder of a run, a checkpoint, or a model file.
        data: where the rows for a model come from.
        rows: how many of its test rows.
        tolerance: the largest relative error that is right.
        seed: of the directions in which the slopes are compared.
    """

    model: Positional[Annotated[str | None, arg(metavar="RUN_OR_MODEL", help_behavior_hint="")]] = None
    data: Positional[
        Annotated[str | None, arg(metavar="DATA", help_behavior_hint="(default: what it was trained on)")]
    ] = None
    rows: Annotated[int, arg(metavar="N")] = 4
    tolerance: Annotated[float, arg(metavar="ERROR")] = 1e-6
    seed: Annotated[int, arg(metavar="N")] = 0
    backend: BackendName = None
    json: Json = False


def run(options: Options) -> Result:
    """Check, and show one line for each subject."""
    if options.rows < 2:
        raise ConfigError(f"--rows: expected at least 2, which batch norm needs, got {options.rows}.")
    if options.model is not None:
        opened = open_net(options.model, options.backend)
        x, _, _ = first_rows(opened, options.data, options.rows)
        found = inspect.gradcheck(opened.net, x.astype(np.float64), tolerance=options.tolerance, seed=options.seed)
        return _result({"net": found}, str(found), options.tolerance, opened.net.backend.spec)
    with use_backend(choose_backend(options.backend)) as backend:
        checked = dict(_all(options.tolerance, options.seed))
    width = max(map(len, checked))
    lines = [f"{'':{width}}  worst error  gradients"]
    lines += [f"{name:{width}}  {_worst(found):11.1e}  {_gradients(found)}" for name, found in checked.items()]
    return _result(checked, "\n".join(lines), options.tolerance, backend.spec)


def _all(tolerance: float, seed: int) -> Iterator[tuple[str, GradcheckResult]]:
    x = kink_free_rows(seed)
    target = random.normal((_ROWS, _FEATURES), seed, "gradcheck", "target")
    for name, make in LAYERS.items():
        yield name, inspect.gradcheck(make(), x, tolerance=tolerance, seed=seed)
    for name, (make_loss, as_output, as_target) in LOSSES.items():
        y = as_output(x)
        yield name, inspect.gradcheck_loss(make_loss(), y, as_target(target), tolerance=tolerance, seed=seed)


def _result(checked: Mapping[str, GradcheckResult], text: str, tolerance: float, backend: str) -> Result:
    wrong = [name for name, found in checked.items() if not found.ok]
    if wrong:
        note(f"wrong gradients: {', '.join(wrong)}")
    verdict = f"{len(checked) - len(wrong)} of {len(checked)} right to {tolerance:g} on {backend}"
    errors = {name: found.errors for name, found in checked.items()}
    data = {"ok": not wrong, "tolerance": tolerance, "backend": backend, "errors": errors}
    return Result(f"{text}\n{verdict}" if len(checked) > 1 else text, data, 1 if wrong else 0)


def _worst(found: GradcheckResult) -> float:
    return max((row.error for row in found.rows), default=0.0)


def _gradients(found: GradcheckResult) -> str:
    return "  ".join(row.name if row.error <= found.tolerance else f"{row.name} WRONG" for row in found.rows)


def kink_free_rows(seed: int) -> Values:
    """Normal rows that keep away from 0, where ReLU and others have a kink."""
    x = random.normal((_ROWS, _FEATURES), seed, "gradcheck", "x")
    return np.where(np.abs(x) < 0.05, x + np.copysign(0.1, x), x)


def _log_softmax(z: Values) -> Values:
    return np.asarray(z - np.log(np.sum(np.exp(z), axis=1, keepdims=True)))
