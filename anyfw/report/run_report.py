"""`RunReport`: the callback that keeps report.html in a run's folder up to date, and `write_report` for any trainer."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from anyfw.core.beside import beside
from anyfw.core.errors import ConfigError, OutputError
from anyfw.data import Arrays, Source, as_source
from anyfw.report.findings import Findings, check, look
from anyfw.report.html import Page
from anyfw.report.norms import LayerNorms
from anyfw.report.run_facts import Data, Facts, counted, fingerprint, machine
from anyfw.report.run_page import make_page
from anyfw.train import Callback, Trainer
from anyfw.train.callbacks import Row
from anyfw.train.run_folder import REPORT, describe

_log = logging.getLogger("anyfw")

# A page is written at the end of an epoch where writing took at most this share of the time since the last one.
_SHARE = 0.01
_SOONEST = 2.0  # seconds between two pages
LOOKED_AT = 2000  # training rows that are measured beside those kept apart
_HASHED = 2**32  # bytes of training rows up to which they are hashed


class RunReport(Callback):
    """Write a run's report: one page with answers, curves, mistakes, layers, settings and how to run it again.

    The page is written anew while training goes on, at the end of an epoch and as often as costs next to nothing, and
    once more when the fit is over, then with what the net makes of the rows kept apart. Nothing happens in a step.

    Args:
        path: the page; None is report.html in the trainer's folder.
        test: rows (x, y) or a `Source` that nothing was chosen by; without them validation rows are looked at.
        name: the page's title; None is the name of the data or of the folder.
        class_names: one for each class; None is what the net's metadata tell.
        image_shape: of a row of x, where it is a picture: (28, 28); None is what the net's metadata tell.
        command: the command line that trains the same again.
        show: called with each page that is made, also with those that are not written.

    Raises:
        ConfigError: at the start of a fit, where there is neither a path nor a folder.
        DataError, ShapeError: at the start of a fit, of test rows that do not fit the net.
    """

    passive = True

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        test: Source | tuple[Any, ...] | None = None,
        name: str | None = None,
        class_names: Sequence[str] | None = None,
        image_shape: Sequence[int] | None = None,
        command: str | None = None,
        show: Callable[[Page], object] | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.test = None if test is None else as_source(test)
        self.name, self.class_names, self.image_shape = name, class_names, image_shape
        self.command, self.show = command, show
        self.norms = LayerNorms()
        self._trainer: Trainer | None = None
        self._written, self._cost = 0.0, 0.0
        self._held: Findings | None = None
        self._learnt: Findings | None = None
        self._sha256: str | None = None
        self._hashing: Callable[[], None] | None = None
        self._failed = self._closing = False

    def on_fit_start(self, trainer: Trainer) -> None:
        """Check the test rows, look at the first weights, and begin to hash the training rows, beside the training."""
        if self.path is None:
            if trainer.folder is None:
                raise ConfigError("RunReport: expected a path, or a Trainer with a folder, got neither. Give out=.")
            self.path = trainer.folder.path / REPORT
        if self.test is not None:
            check(trainer.net, trainer.loss, self.test)
        self._trainer, self._failed, self._closing = trainer, False, False
        self._held = self._learnt = None
        self._written, self._cost = time.perf_counter(), 0.0
        if trainer.epoch == 0 and not len(self.norms.epochs):
            self.norms.measure(trainer.net, 0)
        self._hashing = beside(self._hash)
        if self.show is not None:
            self.show(make_page(self.facts(trainer)))

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        """Measure the layers; write the page if it is time."""
        self.norms.measure(trainer.net, trainer.epoch)
        since = time.perf_counter() - self._written
        if since > _SOONEST and since > self._cost / _SHARE:
            self._write(row)

    def on_fit_end(self, trainer: Trainer) -> None:
        """See what the net, with the weights that are kept, makes of rows apart and of some that it learnt from."""
        train, valid = trainer.rows or (None, None)
        kind, apart = ("test", self.test) if self.test is not None else ("validation", valid)
        present = None if trainer.best_state is None else trainer.net.state_dict()
        if trainer.best_state is not None:
            trainer.net.load_state_dict(trainer.best_state)
        try:
            if apart is not None:
                self._held = look(kind, trainer.net, trainer.loss, trainer.metrics, apart)
            if apart is not None and train is not None:
                self._learnt = look("training", trainer.net, trainer.loss, (), train, most=LOOKED_AT)
        except Exception as error:  # what a run is for is its weights, and they are not yet written
            _log.warning("The report lacks what the net makes of rows: %s: %s", type(error).__name__, error)
        finally:
            if present is not None:
                trainer.net.load_state_dict(present)

    def close(self) -> None:
        """Write the page for the last time."""
        if self._trainer is None:
            return
        if self._hashing is not None:
            self._hashing()
        self._closing = True
        self._write()
        self._trainer = self._hashing = None

    def state_dict(self) -> dict[str, Any]:
        """The norms of all epochs so far, and the hash of the rows, once it is known."""
        known = {} if self._sha256 is None else {"sha256": self._sha256}
        return {**self.norms.state(), **known}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.norms.load(state)
        self._sha256 = state.get("sha256", self._sha256)

    def _hash(self) -> None:
        trainer, before = self._trainer, self._sha256
        assert trainer is not None
        source = trainer.rows[0] if trainer.rows else None
        if isinstance(source, Arrays) and sum(column.nbytes for column in source.arrays) <= _HASHED:
            self._sha256 = fingerprint(source.arrays)
        if before is not None and self._sha256 != before:
            _log.warning("This run began on other training rows (sha256 %.12s..., now %.12s...).", before, self._sha256)

    def _write(self, row: Row | None = None) -> None:
        started = time.perf_counter()
        trainer = self._trainer
        assert trainer is not None
        page = make_page(self.facts(trainer, row))
        if self.show is not None:
            self.show(page)
        assert self.path is not None
        try:
            page.write(self.path)
        except OutputError as error:
            # What a run is for is its weights: a page that cannot be written is told of, once, and ends nothing.
            if not self._failed:
                _log.warning("The report is not written: %s", error)
            self._failed = True
        self._written = time.perf_counter()
        self._cost = self._written - started

    def facts(self, trainer: Trainer, row: Row | None = None) -> Facts:
        """What is known of a trainer's run.

        Args:
            trainer: in a fit or not.
            row: of the epoch that has just ended, where it is not yet in the history.
        """
        facts = trainer_facts(trainer, row)
        data = replace(facts.data, sha256=self._sha256)
        return replace(
            facts,
            name=self.name or facts.name,
            # While it is closed, the trainer has not yet let go of its rows.
            status=_status(trainer, training=False) if self._closing else facts.status,
            norms=self.norms,
            held=self._held,
            learnt=self._learnt,
            data=data,
            command=self.command,
            class_names=facts.class_names if self.class_names is None else tuple(self.class_names),
            image_shape=facts.image_shape if self.image_shape is None else tuple(self.image_shape),
        )


def write_report(
    trainer: Trainer,
    path: str | PathLike[str] | None = None,
    *,
    test: Source | tuple[Any, ...] | None = None,
    class_names: Sequence[str] | None = None,
    image_shape: Sequence[int] | None = None,
) -> Path:
    """Write the report of a trainer that is not training, also of one that had no `RunReport`.

    Args:
        trainer: as it was left by `fit`, or by `Trainer.resume`.
        path: the page; None is report.html in the trainer's folder.
        test, class_names, image_shape: as for `RunReport`.

    Raises:
        ConfigError: neither a path nor a folder.
        DataError, ShapeError: test rows that do not fit the net.
        OutputError: the page cannot be written.
    """
    if path is None and trainer.folder is None:
        raise ConfigError("write_report: expected a path, or a Trainer with a folder, got neither.")
    target = Path(path) if path is not None else trainer.folder.path / REPORT  # type: ignore[union-attr]
    recorder = RunReport(class_names=class_names, image_shape=image_shape)
    recorder.norms = next((one.norms for one in trainer.callbacks if isinstance(one, RunReport)), recorder.norms)
    facts = recorder.facts(trainer)
    if test is not None:
        facts = replace(facts, held=look("test", trainer.net, trainer.loss, trainer.metrics, as_source(test)))
    make_page(facts).write(target)
    return target


def trainer_facts(trainer: Trainer, row: Row | None = None) -> Facts:
    """What a trainer itself tells of its run.

    Args:
        trainer: in a fit or not.
        row: of the epoch that has just ended, where it is not yet in the history.
    """
    settings, meta = describe(trainer), trainer.net.metadata
    history = trainer.history.as_dict()
    for name, value in (row or {}).items():
        history.setdefault(name, [None] * (trainer.epoch - 1)).append(value)
    folder = None if trainer.folder is None else fspath(trainer.folder.path)
    data = settings.get("data") if isinstance(settings.get("data"), str) else meta.get("data")
    names, shape = meta.get("class_names"), meta.get("image_shape")
    source = trainer.rows[0] if trainer.rows else None
    return Facts(
        name=str(data or (Path(folder).name if folder else "A training")),
        status=_status(trainer, training=trainer.rows is not None),
        net=trainer.net,
        settings=settings,
        history=history,
        kept=trainer.best.best_epoch if trainer.best_state is not None else None,
        data=Data(None if data is None else str(data), _shapes(source), None, _unhashed(source)),
        environment=machine(trainer.net.backend),
        class_names=None if names is None else tuple(map(str, names)),
        image_shape=None if shape is None else tuple(shape),
        folder=folder,
    )


def _shapes(source: Source | None) -> str:
    if isinstance(source, Arrays):
        names = ("x", "y", "sample weights")
        told = [f"{name} {c.shape} {c.dtype}" for name, c in zip(names, source.arrays, strict=False)]
        return ", ".join(told)
    return "" if source is None else f"{len(source):,}, handed out by {type(source).__name__}"


def _unhashed(source: Source | None) -> str:
    if source is None:
        return "not recorded"
    return "not known yet" if isinstance(source, Arrays) else "none: the rows are not arrays in memory"


def _status(trainer: Trainer, *, training: bool) -> str:
    done, wanted, steps = trainer.epoch, trainer.last_epoch, counted(trainer.step, "step")
    if trainer.plan is None or trainer.plan.finished or done == wanted:
        return f"Finished: {counted(done, 'epoch')}, {steps}."
    if trainer.plan.stopping:
        return f"Stopped early, after epoch {done} of {wanted} and {steps}."
    state = "In training" if training else "Stopped before its end"
    return f"{state}: {done} of {wanted} epochs are done."
