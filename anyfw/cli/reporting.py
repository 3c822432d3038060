"""The report of a run that the command line trains: its page, its command line, and the page of a running one."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from typing import Any

from anyfw import data
from anyfw.cli.console import note
from anyfw.core.errors import ConfigError
from anyfw.data import Dataset
from anyfw.report import LivePage, RunReport
from anyfw.train import Trainer


@contextmanager
def reported(trainer: Trainer, dataset: Dataset, serve: tuple[int, ...] | None) -> Iterator[None]:
    """Let a trainer write its report; with `serve`, also serve it while it trains, on that port or a free one.

    Raises:
        ConfigError: a port that cannot be served on, or several.
    """
    report = next((one for one in trainer.callbacks if isinstance(one, RunReport)), None)
    if report is None:
        report = RunReport()
        trainer.callbacks.append(report)
    report.test = None if dataset.test is None else data.as_source(dataset.test)
    report.command = command_line(trainer.note)
    if serve is None:
        yield
        return
    if len(serve) > 1:
        raise ConfigError(f"--serve: expected one port, or none for any free one, got {len(serve)}.")
    with LivePage(*serve) as live:
        report.show = live.show
        note(f"live page    {live.url}")
        yield


def command_line(settings: Mapping[str, Any]) -> str | None:
    """The `anyfw train` that trains the same again, from what config.json holds; None where another program did."""
    from anyfw.cli.train import Options  # which reports, and so imports this module

    name, arguments = settings.get("data"), settings.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, Mapping):
        return None
    words = ["anyfw", "train", name, "--seed", str(arguments.get("seed", 0))]
    defaults = {field.name: field.default for field in fields(Options) if field.default is not MISSING}
    for option, value in arguments.items():
        chosen = tuple(value) if isinstance(value, list | tuple) else value
        if option == "seed" or option not in defaults or chosen == defaults[option]:
            continue
        values = chosen if isinstance(chosen, tuple) else () if chosen is True else (chosen,)
        words += [f"--{option.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)
