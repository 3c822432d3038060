"""`anyfw train`: from a data set to a model file and its test result, in one command."""

import shlex
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from anyfw.cli import build, tables, task
from anyfw.cli.console import Result, note, progress_kind
from anyfw.cli.folder import Replacing, free_folder
from anyfw.cli.open import (
    Opened,
    choose_backend,
    describe_net,
    headline,
    load_data,
    measure,
    open_net,
    read_epochs,
    tell,
)
from anyfw.cli.reporting import reported
from anyfw.cli.train_options import Options, command_line
from anyfw.core.errors import ConfigError, FileFormatError, MissingFileError
from anyfw.core.files import read_json
from anyfw.core.layer import Layer
from anyfw.data import Columns, Dataset
from anyfw.data.catalog import KNOWN
from anyfw.data.tables.frames import is_table
from anyfw.data.tables.read import file_hash
from anyfw.optim import Optimizer
from anyfw.report import RunReport
from anyfw.train import Trainer
from anyfw.train.run_folder import CONFIG, MODEL, REPORT, checkpoints

# What may differ between a run and its resumption: where, and what is shown.
_FREE = ("data", "backend", "out", "progress", "resume", "overwrite", "serve", "json")
# Fewer steps than this hardly ever train a network to its end.
_FEW_STEPS = 300


def run(options: Options) -> Result:
    """Train anew, or go on with a run."""
    progress_kind(options.progress)
    if options.resume is not None:
        if options.overwrite or options.out is not None:
            raise ConfigError("--resume goes on in the run's own folder: leave out --out and --overwrite.")
        return _resume(options, Path(options.resume))
    if options.data is None:
        raise ConfigError(
            "DATA is missing: what to train on. For a start: anyfw train digits. More: anyfw train --help"
        )
    return _start(options, replace_run=options.overwrite)


def _start(options: Options, *, replace_run: bool) -> Result:
    assert options.data is not None
    if options.epochs < 1:
        raise ConfigError(f"--epochs: expected at least 1, got {options.epochs}.")
    if options.early_stopping is not None and options.valid == 0.0:
        raise ConfigError("--early-stopping needs rows to watch: add --valid 0.1.")
    _optimizer(options, build.perceptron(options, 1, 1))  # what they refuse, they refuse before the data are loaded
    backend = choose_backend(options.backend)
    dataset = _dataset(options)
    folder = free_folder(dataset.name) if options.out is None else Path(options.out)
    net, loss, metric = task.net_and_loss(options, dataset)
    trainer = Trainer(
        net,
        loss,
        _optimizer(options, net),
        backend=backend,
        dtype=options.dtype,
        metrics=[metric],
        seed=options.seed,
        clip_norm=options.clip_norm,
        out=folder,
        checkpoint_every=None if options.checkpoint_every == "none" else options.checkpoint_every,
        keep=options.keep,
        early_stopping=options.early_stopping,
        progress=progress_kind(options.progress),
    )
    net.metadata = {
        "task": dataset.task,
        "class_names": dataset.class_names,
        "data": options.data,
        "image_shape": dataset.image_shape,
        "x_dtype": str(dataset.train[0].dtype),
    }
    if dataset.columns is not None:
        net.metadata |= {"columns": dataset.columns.to_config(), "data_sha256": file_hash(options.data)}
    arguments = {name: value for name, value in asdict(options).items() if name not in _FREE}
    trainer.note = {"data": options.data, "arguments": arguments}
    if replace_run:
        trainer.folder = Replacing(folder, options.keep)
    note(f"{describe_net(net)} ({options.activation}, {options.dtype}) in {folder}")
    train, valid = task.rows(dataset, options.valid, options.seed)
    size = options.batch_size
    return _fit(trainer, folder, dataset, train, valid, serve=options.serve, epochs=options.epochs, batch_size=size)


def _dataset(options: Options, columns: Columns | None = None) -> Dataset:
    assert options.data is not None
    if not is_table(options.data):
        tables.refuse_options(options, options.data)
        return load_data(options.data)
    valid, seed, dtype = options.valid, options.seed, options.dtype
    found = tables.read_for_training(options, options.data, columns=columns, valid=valid, seed=seed, dtype=dtype)
    return tell(found)


def _optimizer(options: Options, net: Layer) -> Optimizer:
    lr = build.known("schedule", options.schedule, build.SCHEDULES)(options.lr, options.epochs)
    return build.optimizer(
        options.optimizer, net.parameters(), lr, weight_decay=options.weight_decay, momentum=options.momentum
    )


def _resume(options: Options, folder: Path) -> Result:
    if folder.is_file():
        raise ConfigError(f"--resume: expected the folder of a run, got the file {folder}.")
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else None
    if config is None:
        if options.data is not None and (not folder.exists() or not any(folder.iterdir())):
            note(f"{folder} holds no run yet: starting it.")
            return _start(replace(options, out=str(folder)), replace_run=False)
        hint = "" if folder.exists() else " Name DATA as well to start it."
        raise MissingFileError(f"{folder}: no run to go on with: there is no {CONFIG}.{hint}")
    stored = _stored(options, config, folder)
    if not checkpoints(folder) and (folder / MODEL).is_file():
        return _finished(stored, folder)
    if not checkpoints(folder):
        note(f"{folder}: no checkpoint was written yet; starting over.")
        return _start(replace(stored, out=str(folder)), replace_run=True)
    trainer = Trainer.resume(
        folder, callbacks=[RunReport()], backend=options.backend, progress=progress_kind(options.progress)
    )
    if trainer.plan is not None and trainer.plan.finished and (folder / MODEL).is_file():
        return _finished(stored, folder)
    choose_backend(options.backend)  # tells which
    assert stored.data is not None
    tables.check_unchanged(trainer.net.metadata, stored.data)
    dataset = _dataset(stored, tables.columns_in(trainer.net.metadata))
    note(f"{describe_net(trainer.net)} goes on after {trainer.step} steps, in epoch {trainer.epoch + 1}")
    train, valid = task.rows(dataset, stored.valid, stored.seed)
    return _fit(trainer, folder, dataset, train, valid, serve=stored.serve)


def _finished(stored: Options, folder: Path) -> Result:
    note(f"{folder}: this run is finished; nothing is left to train.")
    assert stored.data is not None
    opened = open_net(str(folder), stored.backend)
    tables.check_unchanged(opened.metadata, stored.data)
    epochs, seconds = read_epochs(folder)
    return _report(opened, load_data(stored.data, opened), folder, epochs or 0, seconds)


def _stored(options: Options, config: Any, folder: Path) -> Options:
    """The options of the run, with what may differ taken from `options`."""
    own = {field.name for field in fields(Options)}
    arguments = config.get("arguments") if isinstance(config, dict) else None
    if not isinstance(arguments, dict) or not arguments.keys() <= own or not isinstance(config.get("data"), str):
        raise FileFormatError(
            f"{folder / CONFIG}: not written by this version of 'anyfw train'. "
            f"In Python: Trainer.resume({str(folder)!r})."
        )
    arguments = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
    for name, value in arguments.items():
        given = getattr(options, name)
        if given not in (getattr(Options, name), value):
            raise ConfigError(
                f"--{name.replace('_', '-')} {given}: this run has {value}, and a resumed run keeps its settings. "
                "Leave the option out, or start another run."
            )
    free = {name: getattr(options, name) for name in _FREE}
    return Options(**{**arguments, **free, "data": options.data or config["data"]})


def _fit(
    trainer: Trainer,
    folder: Path,
    dataset: Dataset,
    train: tuple[Any, ...],
    valid: tuple[Any, ...] | None,
    *,
    serve: tuple[int, ...] | None,
    epochs: int | None = None,
    batch_size: int | None = None,
) -> Result:
    before = sum(trainer.history["seconds"]) if "seconds" in trainer.history else 0.0
    started = time.perf_counter()
    with reported(trainer, dataset, serve):
        trainer.fit(train, valid, epochs=epochs, batch_size=batch_size)
    seconds = before + time.perf_counter() - started
    net = trainer.net
    if trainer.best_state is not None:
        net.load_state_dict(trainer.best_state)
    opened = Opened(net, folder / MODEL, {}, trainer.epoch)
    best_epoch = trainer.best.best_epoch if valid else None
    few = _few(trainer) if trainer.step < _FEW_STEPS else None
    return _report(opened, dataset, folder, trainer.epoch, seconds, best_epoch=best_epoch, few=few)


def _report(
    opened: Opened,
    dataset: Dataset,
    folder: Path,
    epochs: int,
    seconds: float,
    *,
    best_epoch: int | None = None,
    few: str | None = None,
) -> Result:
    found = measure(opened, dataset)
    backend = opened.net.backend.spec
    out = {**found, "epochs": epochs, "seconds": seconds, "backend": backend, "data": dataset.name, "out": str(folder)}
    if best_epoch is not None:
        out["best_epoch"] = best_epoch
    if (folder / REPORT).is_file():
        out["report"] = str(folder / REPORT)
    best = "" if best_epoch is None else f" (epoch {best_epoch} was the best)"
    plural = "epoch" if epochs == 1 else "epochs"
    lines = [
        headline(found, dataset),
        f"  trained     {epochs} {plural}{best} in {seconds:.1f} s on {backend}",
        f"  model       {folder / MODEL}",
        *([f"  report      {folder / REPORT}"] if (folder / REPORT).is_file() else []),
        f"  next        {few or _usage(dataset, opened.data or dataset.name, folder)}",
    ]
    return Result("\n".join(lines), out)


def _few(trainer: Trainer) -> str:
    arguments = {**trainer.note["arguments"], "epochs": 10 * trainer.epoch}
    count = "1 step is" if trainer.step == 1 else f"{trainer.step} steps are"
    return f"{count} few: {command_line({**trainer.note, 'arguments': arguments})}"


def _usage(dataset: Dataset, name: str, folder: Path) -> str:
    rows = name if name in KNOWN else "rows.npy" if dataset.columns is None else f"rows{Path(name).suffix}"
    return f"anyfw predict {shlex.quote(str(folder))} {rows}"
