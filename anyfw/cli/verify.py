"""`anyfw verify`: does a net compute the same on every backend, and if not, which layer is the first that differs?"""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from anyfw import inspect
from anyfw.cli import build
from anyfw.cli.console import Json, Result, note
from anyfw.cli.open import first_rows
from anyfw.cli.subject import subject
from anyfw.core.errors import ConfigError


@dataclass(frozen=True)
class Options(build.Shape):
    """Run a network forward and backward on several backends, with the same weights and rows, and compare each layer.

    Exit code 1: a backend diverges; the first layer that does is named.

    examples:
      anyfw verify runs/mnist --backends numpy cupy
      anyfw verify runs/mnist mnist --rows 64
      anyfw verify --features 20 --outputs 3 --norm batch --dropout 0.2

    Args:
        model: the folder of a run, a checkpoint, or a model file.
        data: where rows come from.
        features: inputs of a network to be.
        outputs: its outputs.
        backends: the first is the reference.
        rows: how many rows.
        tolerance: the largest relative error that is right.
        dtype: float32 or float64.
        seed: of normal rows, and of the gradient by the output.
    """

    model: Positional[Annotated[str | None, arg(metavar="RUN_OR_MODEL", help_behavior_hint="")]] = None
    data: Positional[Annotated[str | None, arg(metavar="DATA", help_behavior_hint="(default: normal rows)")]] = None
    features: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    outputs: Annotated[int, arg(metavar="N")] = 10
    backends: Annotated[
        tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: numpy and all others that work)")
    ] = ()
    rows: Annotated[int, arg(metavar="N")] = 16
    tolerance: Annotated[float | None, arg(metavar="ERROR", help_behavior_hint="(default: 2e-5 or 1e-12)")] = None
    dtype: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the network's)")] = None
    seed: Annotated[int, arg(metavar="N")] = 0
    json: Json = False


def run(options: Options) -> Result:
    """Open or build, and compare."""
    if options.rows < 2:
        raise ConfigError(f"--rows: expected at least 2, which batch norm needs, got {options.rows}.")
    net, opened = subject(options.model, options.features, options.outputs, options, "numpy")
    x = None
    if opened is not None and options.data is not None:
        x, _, _ = first_rows(opened, options.data, options.rows)
    if options.dtype is not None:
        net.to(None, options.dtype)
    found = inspect.verify(
        net,
        x,
        backends=options.backends or None,
        rows=options.rows,
        tolerance=options.tolerance,
        seed=options.seed,
    )
    if not found.ok:
        note(f"diverging: {', '.join(found.first)}")
    return Result(str(found), found.as_dict(), 0 if found.ok else 1)
