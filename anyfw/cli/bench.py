"""`anyfw bench`: how fast a net is on this machine, and where the time goes."""

from dataclasses import dataclass, fields
from typing import Annotated

from tyro.conf import Positional, arg

from anyfw import inspect, losses, optim
from anyfw.cli import build
from anyfw.cli.console import Json, Result, note
from anyfw.cli.open import open_net
from anyfw.core.errors import ConfigError
from anyfw.inspect.bench import BATCHES
from anyfw.inspect.cpu import cpu


@dataclass(frozen=True)
class Options(build.Shape):
    """Time training steps of a trained network, or of one to be, over batch sizes and backends.

    The weights in the file stay as they are: a copy is trained, on random rows.

    examples:
      anyfw bench
      anyfw bench runs/mnist --backends numpy cupy
      anyfw bench --features 64 --outputs 1 --hidden 512 512 --batches 1 32 1024

    Args:
        model: the folder of a run, a checkpoint, or a model file.
        features: inputs of a network to be.
        outputs: its outputs; 1 is a regression.
        optimizer: sgd, adam, adamw, rmsprop, adagrad.
        batches: the batch sizes.
        layers_at: the batch size at which layers are timed one by one.
        backends: each one to be measured.
        seconds: about how long each figure is measured.
    """

    model: Positional[Annotated[str | None, arg(metavar="RUN_OR_MODEL", help_behavior_hint="")]] = None
    features: Annotated[int, arg(metavar="N")] = 784
    outputs: Annotated[int, arg(metavar="N")] = 10
    optimizer: Annotated[str, arg(metavar="NAME")] = "adam"
    batches: Annotated[tuple[int, ...], arg(metavar="ROWS ...")] = BATCHES
    layers_at: Annotated[int, arg(metavar="ROWS")] = 128
    backends: Annotated[
        tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: numpy, and cupy where it works)")
    ] = ()
    seconds: Annotated[float, arg(metavar="S")] = 0.2
    json: Json = False


def run(options: Options) -> Result:
    """Open or build, and time."""
    processor = cpu()
    note(f"{processor.model or 'an unknown processor'}, {processor.cores} cores for this process")
    build.known("optimizer", options.optimizer, build.OPTIMIZERS)
    if options.model is not None:
        _refuse_shape(options)
        opened = open_net(options.model, "numpy")
        net, loss = opened.net, losses.from_config(opened.config["loss"]) if "loss" in opened.config else None
    else:
        if options.features < 1 or options.outputs < 1:
            raise ConfigError(
                f"Expected at least one feature and one output, got {options.features} and {options.outputs}."
            )
        net, loss = build.perceptron(options, options.features, options.outputs), None
    found = inspect.bench(
        net,
        loss=loss,
        optimizer=lambda parameters: build.optimizer(
            options.optimizer, parameters, optim.Constant(1e-6), weight_decay=None, momentum=None
        ),
        batches=options.batches,
        layers_at=options.layers_at,
        backends=options.backends or None,
        seconds=options.seconds,
    )
    return Result(str(found), found.as_dict())


def _refuse_shape(options: Options) -> None:
    # What describes a network to be says nothing of one that is there.
    usual = Options()
    names = (field.name for field in fields(build.Shape))
    given = [name for name in (*names, "features", "outputs") if getattr(options, name) != getattr(usual, name)]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{options.model} has its own layers: {flags} cannot be had with it. Leave one of them out.")
