"""`anyfw trace`: one forward and one backward pass, number by number."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from anyfw import inspect
from anyfw.cli.console import BackendName, Json, Result
from anyfw.cli.open import choose_backend, first_rows, open_net
from anyfw.core.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Print every output of a forward pass and every delta of the backward pass, with its formula.

    Without a model: a small net with short numbers, to follow by hand.

    examples:
      anyfw trace
      anyfw trace runs/moons --rows 3

    Args:
        model: the folder of a run, a checkpoint, or a model file.
        data: where the rows come from.
        rows: how many of its test rows.
    """

    model: Positional[Annotated[str | None, arg(metavar="RUN_OR_MODEL", help_behavior_hint="")]] = None
    data: Positional[
        Annotated[str | None, arg(metavar="DATA", help_behavior_hint="(default: what it was trained on)")]
    ] = None
    rows: Annotated[int, arg(metavar="N")] = 2
    backend: BackendName = None
    json: Json = False


def run(options: Options) -> Result:
    """Trace the demonstration, or a model."""
    if options.rows < 1:
        raise ConfigError(f"--rows: expected at least 1, got {options.rows}.")
    if options.model is None:
        net, loss, x, y = inspect.demo()
        net.to(choose_backend(options.backend)) if options.backend is not None else None
        found = inspect.trace(net, loss, x, y)
    else:
        opened = open_net(options.model, options.backend)
        x, y, task = first_rows(opened, options.data, options.rows)
        found = inspect.trace(opened.net, opened.trainer(task).loss, x, y)
    return Result(str(found), found.as_dict())
