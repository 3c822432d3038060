"""Callbacks that hand an epoch's numbers to the tools that people already watch: TensorBoard, MLflow, a CSV file.

Each writes what the history holds, once per epoch, and goes on after `Trainer.resume` as if the run were unbroken:
`Trainer.resume("runs/x", callbacks=[TensorBoard("runs/x/tensorboard")])`.
"""

import csv
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from anyfw.core.errors import MissingExtraError, OutputError
from anyfw.train import Trainer
from anyfw.train.callbacks import Callback, Row
from anyfw.train.run_folder import describe


class CSVLog(Callback):
    """A CSV file with one line per epoch, its columns those of the history.

    Args:
        path: the file; one that is there is written anew, from the history of the trainer.

    Raises:
        OutputError: the file cannot be written, at the start of the fit or at the end of an epoch.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._columns: list[str] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        """Write the epochs before this fit, so that a resumed run's file has each of them once."""
        self._write_all(trainer.history.as_dict())

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        """Add a line; a number that was not measured before makes a new column, empty in the lines above."""
        line = {"epoch": trainer.epoch, **row}
        if not line.keys() <= set(self._columns):
            before = trainer.history.as_dict()
            names = {**dict.fromkeys(before), **row}
            self._write_all({name: before.get(name, [None] * trainer.history.epochs) for name in names})
        self._write("a", [[line.get(name) for name in self._columns]])

    def _write_all(self, history: Mapping[str, list[Any]]) -> None:
        self._columns = ["epoch", *history]
        epochs = ([i + 1, *values] for i, values in enumerate(zip(*history.values(), strict=True)))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._problem(error) from error
        self._write("w", [self._columns, *epochs])

    def _write(self, mode: Literal["a", "w"], lines: Iterable[Sequence[Any]]) -> None:
        try:
            with self.path.open(mode, newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(lines)
        except OSError as error:
            raise self._problem(error) from error

    def _problem(self, error: OSError) -> OutputError:
        return OutputError(f"CSVLog: '{self.path}' cannot be written: {error.strerror}. Choose another.")


class TensorBoard(Callback):
    """Event files for TensorBoard, by tensorboardX: `tensorboard --logdir FOLDER` shows them.

    The tags are the history's names; what was measured on validation rows stands beside its training counterpart, as
    "loss/train" and "loss/valid".

    Args:
        folder: where the event files go.

    Raises:
        MissingExtraError: tensorboardX is not installed.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        try:
            import tensorboardX  # noqa: F401 - whether it is there is told before the training
        except ImportError as error:
            raise MissingExtraError("tensorboardX", "tensorboard", "TensorBoard") from error
        self.folder = Path(folder)
        self._writer: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open an event file; what an interrupted run wrote of later epochs TensorBoard then leaves out."""
        from tensorboardX import SummaryWriter

        # By itself a file's name has the second in it, and two fits may begin in the same one.
        start, own = trainer.epoch + 1, f".{time.time_ns()}"
        self._writer = SummaryWriter(str(self.folder), purge_step=start, filename_suffix=own)
        self._writer.add_text("settings", f"```\n{json.dumps(describe(trainer), indent=2)}\n```", start)

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        """Add the epoch's numbers."""
        measured = {name.removeprefix("valid_") for name in row if name.startswith("valid_")}
        for name, value in _numbers(row):
            plain = name.removeprefix("valid_")
            part = "valid" if plain != name else "train"
            self._writer.add_scalar(f"{plain}/{part}" if plain in measured else name, value, trainer.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class MLflow(Callback):
    """Settings, the epochs' numbers and the trained model in an MLflow run.

    The run is the active one of `mlflow.start_run()`, else one of its own, which ends with the fit: FINISHED, or FAILED
    where an error or Ctrl-C ended it. A resumed trainer goes on in the run that it had. Where the runs are kept is
    MLflow's business: `mlflow.set_tracking_uri(...)`, `mlflow.set_experiment(...)`.

    Args:
        name: of the run; MLflow makes one up where it is None.
        model: whether the net as the fit leaves it is kept as the artifact model.safetensors.

    Raises:
        MissingExtraError: mlflow is not installed; mlflow-skinny is enough where a tracking server keeps the runs.
    """

    def __init__(self, name: str | None = None, *, model: bool = True) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise MissingExtraError("mlflow", "mlflow", "MLflow") from error
        self._mlflow: Any = mlflow
        self.name, self.model = name, model
        self.run_id: str | None = None
        self._own = False
        self._status = "FAILED"

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open or enter the run, and write the settings at its first fit."""
        active = self._mlflow.active_run()
        self._own, self._status = active is None, "FAILED"
        run = active or self._mlflow.start_run(run_id=self.run_id, run_name=self.name)
        if self.run_id != run.info.run_id:
            self.run_id = run.info.run_id
            settings = describe(trainer)
            self._mlflow.log_dict(settings, "config.json")
            self._mlflow.log_params(dict(_flat(settings)))

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        """Log the epoch's numbers; the step is the epoch."""
        self._mlflow.log_metrics(dict(_numbers(row)), step=trainer.epoch, run_id=self.run_id)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Keep the model."""
        if self.model:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model.safetensors")
                trainer.net.save(path)
                self._mlflow.log_artifact(str(path), run_id=self.run_id)
        self._status = "FINISHED"

    def close(self) -> None:
        """End the run if it is one of its own."""
        if self._own:
            self._mlflow.end_run(self._status)
            self._own = False

    def state_dict(self) -> dict[str, Any]:
        """Which run it is."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in that run."""
        self.run_id = state.get("run_id")


def _numbers(row: Row) -> Iterator[tuple[str, float]]:
    # Metrics may be arrays, such as one number for each class: those are not for curves.
    return ((name, float(value)) for name, value in row.items() if isinstance(value, int | float))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    # The net is in config.json: as parameters its layers would be a hundred lines that nobody reads.
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.") if name != "net" else ()
        else:
            yield f"{prefix}{name}", str(value)[:500]
