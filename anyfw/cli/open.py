"""A run's folder, a checkpoint or a model file, opened by whoever needs the net in it."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyfw import losses, nn
from anyfw.cli import tables
from anyfw.cli.console import note
from anyfw.core.arrays import dtype_name
from anyfw.core.backend import Backend, choose
from anyfw.core.errors import ConfigError, DataError, FileFormatError, MissingFileError
from anyfw.core.files import read_json
from anyfw.core.layer import Layer
from anyfw.data import Dataset
from anyfw.data import load as load_dataset
from anyfw.data.tables.frames import is_table
from anyfw.losses import CrossEntropyLoss, Loss, MSELoss, StandardizedMSELoss
from anyfw.nn.files import load
from anyfw.optim import SGD
from anyfw.report import RunReport
from anyfw.train import Trainer
from anyfw.train.run_folder import CONFIG, HISTORY, MODEL, checkpoints


@dataclass(frozen=True)
class Opened:
    """A trained net and what its run tells of it.

    Attributes:
        net: on its backend.
        model: the file that it came from.
        config: what config.json tells; empty for a model file alone.
        epochs: how many it was trained, None where nothing tells.
    """

    net: Layer
    model: Path
    config: Mapping[str, Any]
    epochs: int | None

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What `anyfw train` noted in the model: class_names, task, data, image_shape, x_dtype, of tables columns."""
        return self.net.metadata

    @property
    def data(self) -> str | None:
        """The data that it was trained on, as a name or path."""
        found = self.metadata.get("data")
        return found if isinstance(found, str) else None

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """One for each class, where they are known."""
        names = self.metadata.get("class_names")
        return tuple(map(str, names)) if isinstance(names, list | tuple) else None

    def trainer(self, task: str) -> Trainer:
        """A trainer that measures and predicts; it trains nothing."""
        loss, metrics = self._loss(task), ["accuracy" if task == "classification" else "rmse"]
        return Trainer(self.net, loss, SGD(self.net.parameters(), lr=0.0), metrics=metrics, progress=False)

    def _loss(self, task: str) -> Loss:
        # A run of `anyfw train` is measured in the targets' own units.
        config = self.config.get("loss")
        if isinstance(config, dict) and config.get("loss") != StandardizedMSELoss.__name__:
            return losses.from_config(config)
        return CrossEntropyLoss() if task == "classification" else MSELoss()


def open_net(path: str, backend_name: str | None) -> Opened:
    """The net in a run's folder (the finished model, else the latest checkpoint), a checkpoint or a model file.

    Raises:
        MissingFileError: there is none.
        FileFormatError: it cannot be read.
    """
    place = Path(path)
    if not place.exists():
        raise MissingFileError(f"{path}: no such run or model.{_near(place)}")
    backend = choose_backend(backend_name)
    if place.is_dir():
        return _open_run(place, backend)
    if place.name.startswith("checkpoint-"):
        return _open_checkpoint(place, backend)
    return Opened(_placed(load(place), backend), place, {}, None)


def load_data(name: str, opened: Opened | None = None) -> Dataset:
    """As `data.load`, or a table for the net that is opened; what the data set has to say is told in notes.

    Raises:
        AnyfwError: as `data.load` and `data.read_table`.
    """
    if opened is not None and is_table(name):
        return tell(tables.read_for_net(opened.metadata, opened.model, name, opened.net.dtype))
    return tell(load_dataset(name))


def tell(dataset: Dataset) -> Dataset:
    """Say in notes what a data set has to say, and how large it is."""
    for line in dataset.notes:
        note(line)
    x = dataset.train[0]
    noun = "classes" if dataset.class_names is not None else "target" if dataset.outputs == 1 else "targets"
    target = f"{dataset.outputs} {noun}"
    tests = 0 if dataset.test is None else len(dataset.test[0])
    training = f"{len(x):,} training and " if len(x) else ""
    note(f"{dataset.name}: {training}{tests:,} test rows, {dataset.features} features, {target}")
    return dataset


def choose_backend(name: str | None) -> Backend:
    """As `get_backend`; the choice and what made it are told in a note.

    Raises:
        UnknownNameError, BackendError: as `get_backend`.
    """
    backend, why = choose(name)
    note(f"backend {backend.spec} ({why})")
    return backend


def measure(opened: Opened, dataset: Dataset) -> dict[str, Any]:
    """{"test_loss": ..., "test_accuracy" or "test_rmse": ...} over the test rows.

    Raises:
        DataError: no test rows, or rows that do not fit the net.
    """
    if dataset.test is None:
        raise DataError(f"{dataset.name}: expected test rows, got none.")
    task = opened.metadata.get("task", dataset.task)
    if task != dataset.task:
        raise DataError(f"{opened.model}: trained for {task}, and '{dataset.name}' asks for {dataset.task}.")
    check_dtype(opened, str(dataset.test[0].dtype), dataset.name)
    found = opened.trainer(task).evaluate(dataset.test)
    return {f"test_{name}": float(value) for name, value in found.items()}


def headline(found: dict[str, Any], dataset: Dataset) -> str:
    """The measured numbers for people."""
    assert dataset.test is not None
    rows = f"{len(dataset.test[0]):,} test rows"
    if "test_accuracy" in found:
        first = f"{dataset.name}: {100 * found['test_accuracy']:.2f} % of {rows} right"
    else:
        first = f"{dataset.name}: root mean squared error {found['test_rmse']:.4g} on {rows}"
    return f"{first}\n  test loss   {found['test_loss']:.4g}"


def first_rows(opened: Opened, name: str | None, rows: int) -> tuple[Any, Any, str]:
    """(x, y, task) of the first test rows of a data set, by default of the one that the net was trained on.

    Raises:
        ConfigError: nothing tells which data set.
    """
    name = name or opened.data
    if name is None:
        raise ConfigError(f"{opened.model} does not tell what it was trained on: name the data set as well.")
    dataset = load_data(name, opened)
    if dataset.test is None:
        raise DataError(f"{dataset.name}: expected test rows, got none.")
    x, y = dataset.test
    return x[:rows], y[:rows], dataset.task


def check_dtype(opened: Opened, dtype: str, name: str) -> None:
    """Warn where rows come in another dtype than those trained on: 0 ... 255 and 0 ... 1 look alike to a net."""
    trained = opened.metadata.get("x_dtype")
    if trained is not None and trained != dtype:
        note(f"warning: {name} holds {dtype}, the net was trained on {trained}. Are the values on the same scale?")


def read_epochs(folder: Path) -> tuple[int | None, float]:
    """(epochs, seconds in them) of a run, by its history.json; (None, 0) where there is none.

    Raises:
        FileFormatError: it is no JSON.
    """
    path = folder / HISTORY
    columns = read_json(path) if path.is_file() else {}
    seconds = columns.get("seconds") if isinstance(columns, dict) else None
    return (len(seconds), sum(map(float, seconds))) if isinstance(seconds, list) else (None, 0.0)


def _open_run(folder: Path, backend: Backend) -> Opened:
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    if not isinstance(config, dict):
        raise FileFormatError(f"{folder / CONFIG}: expected an object, got {type(config).__name__}. Is it damaged?")
    if (folder / MODEL).is_file():
        epochs, _ = read_epochs(folder)
        return Opened(_placed(load(folder / MODEL), backend), folder / MODEL, config, epochs)
    if checkpoints(folder):
        return _open_checkpoint(folder, backend)
    if config:
        raise MissingFileError(
            f"{folder}: this run has neither a model nor a checkpoint yet. Start it over: anyfw train --resume {folder}"
        )
    raise MissingFileError(f"{folder}: no run: expected {MODEL} or a checkpoint in this folder.")


def _open_checkpoint(path: Path, backend: Backend) -> Opened:
    trainer = Trainer.resume(path, callbacks=[RunReport()], backend=backend, progress=False)
    which = f"the state after {trainer.step} steps"
    if trainer.best_state is not None:
        trainer.net.load_state_dict(trainer.best_state)
        which = f"the best state, of epoch {trainer.best.best_epoch}"
    note(f"{path}: not finished; this is {which}.")
    config = {"loss": trainer.loss.config()}
    return Opened(trainer.net, path, config, trainer.epoch)


def _placed(net: Layer, backend: Backend) -> Layer:
    dtypes = {dtype_name(parameter.data) for parameter in net.parameters()}
    dtype = "float64" if "float64" in dtypes else "float32"
    if dtype == "float64" and not backend.has_float64:
        note(f"{backend.spec} has no float64: the net is cast to float32.")
        dtype = "float32"
    return net.to(backend, dtype)


def _near(place: Path) -> str:
    try:
        beside = [str(other) for other in place.parent.iterdir() if other.is_dir() or other.suffix == ".safetensors"]
    except OSError:
        return ""
    near = difflib.get_close_matches(str(place), beside, n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def describe_net(net: Layer) -> str:
    """The widths of its linear layers: 784-256-128-10."""
    linear = [layer for _, layer in net.named_layers() if isinstance(layer, nn.Linear)]
    return (
        "-".join(str(width) for width in [linear[0].in_features, *(layer.out_features for layer in linear)])
        if linear
        else ""
    )
