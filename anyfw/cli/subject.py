"""The net that a command is about: one that was trained, or one to be."""

from anyfw.cli import build
from anyfw.cli.open import Opened, open_net
from anyfw.core.errors import ConfigError
from anyfw.core.layer import Layer


def subject(
    model: str | None, features: int | None, outputs: int, shape: build.Shape, backend: str | None
) -> tuple[Layer, Opened | None]:
    """The net in a run or a model file, and what its run tells; or the one that `shape` describes, and None.

    Raises:
        ConfigError: neither a model nor features are named, or both.
        MissingFileError, FileFormatError: as `open_net`.
    """
    if model is not None and features is None:
        opened = open_net(model, backend)
        return opened.net, opened
    if model is None and features is not None:
        return build.perceptron(shape, features, outputs), None
    raise ConfigError("Name a run or a model, or give --features N for a network to be: one of the two.")
