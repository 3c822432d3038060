"""`anyfw eval`: a trained net's loss and accuracy or error on test rows."""

import time
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from anyfw.cli.console import BackendName, Json, Result
from anyfw.cli.open import headline, load_data, measure, open_net
from anyfw.core.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Measure a trained network on the test rows of a data set.

    examples:
      anyfw eval runs/mnist
      anyfw eval model.safetensors other.npz
      anyfw eval runs/houses sold-since.csv

    Args:
        model: the folder of a run, a checkpoint, or a model file.
        data: a known name, a table with the target, an .npz, or a folder of idx files.
    """

    model: Positional[Annotated[str, arg(metavar="RUN_OR_MODEL")]]
    data: Positional[
        Annotated[str | None, arg(metavar="DATA", help_behavior_hint="(default: what it was trained on)")]
    ] = None
    backend: BackendName = None
    json: Json = False


def run(options: Options) -> Result:
    """Load, measure, tell."""
    opened = open_net(options.model, options.backend)
    name = options.data or opened.data
    if name is None:
        raise ConfigError(f"{options.model} does not tell what it was trained on: name the data set as well.")
    dataset = load_data(name, opened)
    started = time.perf_counter()
    found = measure(opened, dataset)
    seconds = time.perf_counter() - started
    backend = opened.net.backend.spec
    lines = [
        headline(found, dataset),
        f"  model       {opened.model}",
        f"  measured    in {seconds:.2f} s on {backend}",
    ]
    return Result(
        "\n".join(lines),
        {**found, "epochs": opened.epochs, "seconds": seconds, "backend": backend, "data": dataset.name},
    )
