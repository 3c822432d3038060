"""The report of a run that the command line trains: its page, and the page of a running one."""

from collections.abc import Iterator
from contextlib import contextmanager

from anyfw import data
from anyfw.cli.console import note
from anyfw.cli.train_options import command_line
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
