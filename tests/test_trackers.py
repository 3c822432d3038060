"""CSV files, TensorBoard and MLflow hold an epoch's numbers once each, also after a run was interrupted and resumed."""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from anyfw import Trainer, data, load, losses, nn, optim
from anyfw.core.errors import MissingExtraError, OutputError
from anyfw.interop import trackers
from anyfw.train.callbacks import Callback

ROWS = data.moons(96, noise=0.2, seed=0)
VALID = data.moons(32, noise=0.2, seed=1)


def make(*callbacks: Callback, **options: object) -> Trainer:
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    return Trainer(
        net, losses.CrossEntropyLoss(), optim.Adam(net.parameters()), metrics=["accuracy"], callbacks=callbacks,
        progress=False, **options,
    )  # fmt: skip


class StopAfter(Callback):
    """Ctrl-C, after so many steps."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_step(self, trainer):
        if trainer.step == self.steps:
            raise KeyboardInterrupt


def interrupted(folder: Path, tracker: Callback) -> None:
    """A run of six epochs of three steps that ends in the fourth one, its latest checkpoint being of the second."""
    trainer = make(tracker, StopAfter(11), out=folder, checkpoint_every="5steps")
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(ROWS, VALID, epochs=6, batch_size=32)
    for path in sorted(folder.glob("checkpoint-*"))[1:]:
        path.unlink()


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_holds_the_history(tmp_path: Path):
    path = tmp_path / "logs" / "run.csv"
    trainer = make(trackers.CSVLog(path))
    history = trainer.fit(ROWS, epochs=2, batch_size=32)
    assert [line["epoch"] for line in read_csv(path)] == ["1", "2"]
    assert [float(line["loss"]) for line in read_csv(path)] == history["loss"]
    # A further fit measures more: a column that is empty above.
    trainer.fit(ROWS, VALID, epochs=1, batch_size=32)
    found = read_csv(path)
    assert [line["valid_loss"] for line in found] == ["", "", str(trainer.history["valid_loss"][2])]
    assert list(found[0]) == ["epoch", *trainer.history]


def test_csv_of_a_resumed_run_holds_each_epoch_once(tmp_path: Path):
    path = tmp_path / "run.csv"
    interrupted(tmp_path / "run", trackers.CSVLog(path))
    assert len(read_csv(path)) == 3
    trainer = Trainer.resume(tmp_path / "run", callbacks=[trackers.CSVLog(path)], progress=False)
    trainer.fit(ROWS, VALID)
    assert [line["epoch"] for line in read_csv(path)] == list("123456")
    assert [float(line["valid_accuracy"]) for line in read_csv(path)] == trainer.history["valid_accuracy"]


def test_csv_that_cannot_be_written_is_told_before_training(tmp_path: Path):
    trainer = make(trackers.CSVLog(tmp_path))
    with pytest.raises(OutputError, match=r"CSVLog: .* cannot be written: Is a directory"):
        trainer.fit(ROWS, epochs=1)
    assert trainer.step == 0


class Remove(Callback):
    """The folder goes in the middle of the fit, as a disk that is taken away."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_epoch_end(self, trainer, row):
        if trainer.epoch == 2:
            shutil.rmtree(self.folder)


def test_csv_whose_folder_goes_is_told(tmp_path: Path):
    folder = tmp_path / "logs"
    trainer = make(Remove(folder), trackers.CSVLog(folder / "run.csv"))
    with pytest.raises(OutputError, match=r"CSVLog: .*run\.csv' cannot be written: No such file or directory"):
        trainer.fit(ROWS, epochs=3)
    assert trainer.epoch == 2


def events(folder: Path) -> tuple[dict[str, dict[int, float]], list[int]]:
    """The scalars by tag and step, and from which steps on earlier ones were to be left out."""
    from tensorboardX import proto

    scalars: dict[str, dict[int, float]] = {}
    starts: list[int] = []
    for path in sorted(folder.glob("events*")):
        raw, place = path.read_bytes(), 0
        while place < len(raw):  # length (8), its checksum (4), the event, its checksum (4)
            size = int.from_bytes(raw[place : place + 8], "little")
            event = proto.event_pb2.Event.FromString(raw[place + 12 : place + 12 + size])
            place += 16 + size
            if event.HasField("session_log"):
                starts.append(event.step)
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    return scalars, starts


def test_tensorboard_has_training_beside_validation(tmp_path: Path):
    pytest.importorskip("tensorboardX")
    trainer = make(trackers.TensorBoard(tmp_path))
    history = trainer.fit(ROWS, VALID, epochs=3, batch_size=32)
    scalars, _ = events(tmp_path)
    assert set(scalars) == {"loss/train", "loss/valid", "accuracy/train", "accuracy/valid", "lr", "seconds"}
    for tag, name in (("loss/train", "loss"), ("accuracy/valid", "valid_accuracy")):
        assert scalars[tag] == {i + 1: pytest.approx(value, rel=1e-6) for i, value in enumerate(history[name])}


def test_tensorboard_of_a_resumed_run_leaves_out_what_was_undone(tmp_path: Path):
    pytest.importorskip("tensorboardX")
    interrupted(tmp_path / "run", trackers.TensorBoard(tmp_path / "events"))
    trainer = Trainer.resume(tmp_path / "run", callbacks=[trackers.TensorBoard(tmp_path / "events")], progress=False)
    assert trainer.epoch == 1
    trainer.fit(ROWS, VALID)
    scalars, starts = events(tmp_path / "events")
    assert sorted(scalars["loss/train"]) == [1, 2, 3, 4, 5, 6]
    assert starts[-1] == 2  # epochs from 2 on in the older file are of no account


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """MLflow that keeps its runs in a folder of the test."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    found = pytest.importorskip("mlflow")
    found.set_tracking_uri((tmp_path / "mlruns").as_uri())
    yield found
    while found.active_run() is not None:
        found.end_run()


def test_mlflow_keeps_settings_numbers_and_the_model(mlflow, tmp_path):
    tracker = trackers.MLflow("first")
    trainer = make(tracker)
    history = trainer.fit(ROWS, VALID, epochs=2, batch_size=32)
    run = mlflow.get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert run.data.params["optimizer.optimizer"] == "Adam"
    assert run.data.params["seed"] == "0"
    numbers = mlflow.MlflowClient().get_metric_history(tracker.run_id, "valid_accuracy")
    assert [(one.step, one.value) for one in numbers] == list(enumerate(history["valid_accuracy"], 1))
    path = mlflow.artifacts.download_artifacts(
        run_id=tracker.run_id, artifact_path="model.safetensors", dst_path=str(tmp_path)
    )
    assert np.array_equal(load(path)(VALID[0].astype("float32")), trainer.net(VALID[0].astype("float32")))
    assert mlflow.active_run() is None


def test_mlflow_goes_on_in_the_run_of_a_resumed_trainer(mlflow, tmp_path):
    first = trackers.MLflow(model=False)
    interrupted(tmp_path / "run", first)
    assert mlflow.get_run(first.run_id).info.status == "FAILED"
    second = trackers.MLflow(model=False)
    Trainer.resume(tmp_path / "run", callbacks=[second], progress=False).fit(ROWS, VALID)
    assert second.run_id == first.run_id
    assert mlflow.get_run(first.run_id).info.status == "FINISHED"
    assert {one.step for one in mlflow.MlflowClient().get_metric_history(first.run_id, "loss")} == set(range(1, 7))


def test_mlflow_enters_an_active_run_and_leaves_it_open(mlflow):
    tracker = trackers.MLflow(model=False)
    with mlflow.start_run() as run:
        make(tracker).fit(ROWS, epochs=1)
        assert mlflow.active_run().info.run_id == run.info.run_id == tracker.run_id


@pytest.mark.parametrize(
    ("package", "make_one", "extra"),
    [("tensorboardX", lambda: trackers.TensorBoard("x"), "tensorboard"), ("mlflow", trackers.MLflow, "mlflow")],
)
def test_a_missing_package_is_told_with_its_extra(monkeypatch, package, make_one, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'anyfw\[{extra}\]'"):
        make_one()
