"""`anyfw profile`: time, memory and arithmetic of a training step, layer by layer."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from anyfw import inspect
from anyfw.cli import build
from anyfw.cli.console import BackendName, Json, Result
from anyfw.cli.open import first_rows
from anyfw.cli.subject import subject


@dataclass(frozen=True)
class Options(build.Shape):
    """Show where a training step's time goes, forward and backward, what each layer computes and what it keeps.

    examples:
      anyfw profile runs/mnist
      anyfw profile runs/mnist mnist --rows 512
      anyfw profile --features 784 --outputs 10 --hidden 1024 1024 --norm batch

    Args:
        model: the folder of a run, a checkpoint, or a model file.
        data: where rows come from.
        features: inputs of a network to be.
        outputs: its outputs.
        rows: how many rows at a time.
        seconds: about how long to measure.
    """

    model: Positional[Annotated[str | None, arg(metavar="RUN_OR_MODEL", help_behavior_hint="")]] = None
    data: Positional[Annotated[str | None, arg(metavar="DATA", help_behavior_hint="(default: normal rows)")]] = None
    features: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    outputs: Annotated[int, arg(metavar="N")] = 10
    rows: Annotated[int, arg(metavar="N")] = 128
    seconds: Annotated[float, arg(metavar="S")] = 0.5
    backend: BackendName = None
    json: Json = False


def run(options: Options) -> Result:
    """Open or build, and measure."""
    net, opened = subject(options.model, options.features, options.outputs, options, options.backend)
    x = None
    if opened is not None and options.data is not None:
        x, _, _ = first_rows(opened, options.data, options.rows)
    backend = options.backend if options.model is None else None
    found = inspect.profile(net, x, rows=options.rows, seconds=options.seconds, backend=backend)
    return Result(str(found), found.as_dict())
