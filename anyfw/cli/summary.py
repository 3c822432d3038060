"""`anyfw summary`: what a net is made of, trained or only planned."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from anyfw import inspect
from anyfw.cli import build
from anyfw.cli.console import BackendName, Json, Result
from anyfw.cli.subject import subject


@dataclass(frozen=True)
class Options(build.Shape):
    """Show layers, output shapes, parameters and memory of a trained network, or of one to be.

    examples:
      anyfw summary runs/mnist
      anyfw summary --features 784 --outputs 10 --hidden 512 512 --norm batch

    Args:
        model: the folder of a run, a checkpoint, or a model file.
        features: inputs of a network to be.
        outputs: its outputs.
    """

    model: Positional[Annotated[str | None, arg(metavar="RUN_OR_MODEL", help_behavior_hint="")]] = None
    features: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    outputs: Annotated[int, arg(metavar="N")] = 10
    backend: BackendName = None
    json: Json = False


def run(options: Options) -> Result:
    """Open or build, and describe."""
    net, _ = subject(options.model, options.features, options.outputs, options, options.backend)
    found = inspect.summary(net, options.features)
    return Result(str(found), found.as_dict())
