"""A run's report: whole, harmless, true to the run's numbers; it answers what its reader asks, and costs no step."""

import base64
import io
import json
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
import tyro

from anyfw import Trainer, losses, nn, optim
from anyfw import data as datasets
from anyfw.cli import main
from anyfw.cli.train_options import Options, command_line
from anyfw.core.errors import ConfigError, ShapeError
from anyfw.data import Arrays
from anyfw.report import LivePage, Page, RunReport, fingerprint, png, svg, write_report
from anyfw.report import run_answers as answers
from anyfw.report.blocks import matrix
from anyfw.report.findings import Findings, look
from anyfw.report.norms import LayerNorms
from anyfw.train import Callback
from tests.pages import Parsed

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = '</td><script>alert(1)</script><img src=http://evil.example/x onerror="b()"> & " \''


def run(folder, *, epochs=4, callbacks=None, classes=None, data="digits", fit=True, name=None):
    dataset = datasets.load(data)
    train, valid = datasets.split(*dataset.train, fraction=0.2, seed=0)
    net = nn.Sequential(
        nn.Rescale(dataset.scale, dataset.shift),
        nn.Linear(dataset.features, 16),
        nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Linear(16, 16), nn.Tanh())),
        nn.Linear(16, dataset.outputs),
    )
    task = dataset.task == "classification"
    if callbacks is None:
        callbacks = [
            RunReport(test=dataset.test, class_names=classes, image_shape=dataset.image_shape, name=name or data)
        ]
    trainer = Trainer(
        net,
        losses.CrossEntropyLoss() if task else losses.MSELoss(),
        optim.Adam(net.parameters(), lr=3e-3),
        metrics=["accuracy" if task else "rmse"],
        callbacks=callbacks,
        out=folder,
        clip_norm=5.0,
        progress=False,
    )
    if fit:
        trainer.fit(train, valid, epochs=epochs, batch_size=64)
    return trainer, train, valid, dataset


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    trainer, train, _, dataset = run(folder)
    return trainer, (folder / "report.html").read_text(encoding="utf-8"), train, dataset


# The page


def test_the_page_is_whole_and_asks_for_nothing(finished):
    text = finished[1]
    parsed = Parsed(text)
    outside = r"https?:|//[a-z]|url\(|@import|<script|<link|<iframe|<object|srcset|http-equiv=\"refresh"
    assert not re.findall(outside, re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    titles = [line["aria-label"] for line in parsed.all("svg")]
    assert titles == [
        "Loss", "Accuracy", "Learning rate", "Norm of the gradient", "Norm of the weights", "Largest |w|",
        "the graph of the net",
    ]  # fmt: skip
    for words in (
        "How good is it?", "Is it overfitted?", "What is mistaken for what", "Worst test rows", "Settings", "clip norm",
        "CrossEntropyLoss", "Adam", "y[3.layer.0]", "Run it again", "Trainer.resume", "numpy", "seed",
    ):  # fmt: skip
        assert words in parsed.text


def test_its_images_decode_to_the_worst_rows(finished):
    image = pytest.importorskip("PIL.Image")
    trainer, text, _, dataset = finished
    pictures = Parsed(text).all("img")
    assert len(pictures) == 12
    trainer.net.load_state_dict(trainer.best_state)
    x, y = dataset.test
    probability = trainer.predict(x, "probability")[np.arange(len(y)), y]
    worst = np.argsort(probability, kind="stable")[:12]
    for picture, row in zip(pictures, worst, strict=True):
        kind, _, encoded = picture["src"].partition(",")
        assert kind == "data:image/png;base64"
        pixels = np.asarray(image.open(io.BytesIO(base64.b64decode(encoded, validate=True))))
        # Black and white are the least and the most of all that are shown.
        low, high = x[worst].min(), x[worst].max()
        np.testing.assert_array_equal(pixels, np.round((x[row].reshape(8, 8) - float(low)) * (255 / (high - low))))
        assert f"row {row}: true {y[row]}" in picture["alt"]


def test_its_numbers_are_those_of_the_run(finished):
    trainer, text, train, dataset = finished
    parsed = Parsed(text)
    for name in ("loss", "valid_loss"):
        assert f"{trainer.history[name][-1]:.4g}" in parsed.text
        for epoch, value in enumerate(trainer.history[name], 1):
            label = "validation" if name.startswith("valid") else "training"
            assert f"{label}, {epoch}: {value:.6g}" in text
    trainer.net.load_state_dict(trainer.best_state)
    found = trainer.evaluate(dataset.test)
    assert f"{100 * found['accuracy']:.2f} % of {len(dataset.test[1])} test rows are right." in parsed.text
    assert f"{found['loss']:.4g}" in parsed.text
    assert fingerprint(train) in parsed.text
    labels = trainer.predict(dataset.test[0], "label")
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (dataset.test[1], labels), 1)
    cells = re.findall(r'<table class="matrix">.*?</table>', text, re.S)[0]
    shown = re.findall(r"<td[^>]*>([\d,]*)</td>", cells)
    assert [int(cell or 0) for cell in shown] == counts.reshape(-1).tolist()


def test_a_regression_has_residuals_and_a_table(tmp_path):
    trainer, *_, dataset = run(tmp_path / "curve", data="curve")
    parsed = Parsed((tmp_path / "curve" / "report.html").read_text(encoding="utf-8"))
    trainer.net.load_state_dict(trainer.best_state)
    assert {"Predicted by true", "Residuals"} <= {one["aria-label"] for one in parsed.all("svg")}
    assert f"The root mean squared error is {trainer.evaluate(dataset.test)['rmse']:.4g}" in parsed.text
    assert not parsed.all("img")
    errors = (trainer.predict(dataset.test[0]) - dataset.test[1])[:, 0]
    assert f"{float(dataset.test[0][np.abs(errors).argmax(), 0]):.4g}" in parsed.text


def test_hostile_names_are_text(tmp_path):
    run(tmp_path / "a'b&<i>", classes=[f"{EVIL}{i}" for i in range(10)], name=EVIL, epochs=1)
    text = (tmp_path / "a'b&<i>" / "report.html").read_text(encoding="utf-8")
    parsed = Parsed(text)
    assert not parsed.all("script")
    assert "<i>" not in text
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    assert all(one["src"].startswith("data:") for one in parsed.all("img"))
    assert parsed.text.count("<script>alert(1)</script>") > 10
    assert "<script" not in matrix([[1]], [EVIL])
    assert "<script" not in svg.line_chart([svg.Line(EVIL, [1.0])], EVIL, x_label=EVIL)


def test_without_rows_apart_the_page_says_so(tmp_path):
    x, y = datasets.moons(60, seed=0)
    net = nn.Sequential(nn.Linear(2, 2))
    trainer = Trainer(net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), progress=False)
    trainer.callbacks.append(RunReport(tmp_path / "page.html"))
    trainer.fit((x, y), epochs=1)
    text = Parsed((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "Nobody can tell: no validation or test rows were measured." in " ".join(text.split())


def test_rows_that_are_no_arrays_have_no_hash(tmp_path):
    class Rows:
        def __len__(self):
            return 50

        def __getitem__(self, indices):
            return np.ones((len(indices), 2)), indices % 2

    net = nn.Sequential(nn.Linear(2, 2))
    trainer = Trainer(net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), progress=False)
    trainer.callbacks.append(RunReport(tmp_path / "page.html", test=Rows()))
    trainer.fit(Rows(), epochs=1)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "the rows are not arrays in memory" in text
    assert "50.00 % of 50 test rows are right." in text


@pytest.mark.parametrize(
    ("report", "error", "words"),
    [
        (lambda: RunReport(), ConfigError, "expected a path, or a Trainer with a folder"),
        (lambda: RunReport("p.html", test=(np.ones((4, 3)), np.ones(4, int))), ShapeError, "expected last axis 2"),
    ],
)
def test_what_cannot_be_reported_is_refused_before_training(report, error, words):
    net = nn.Sequential(nn.Linear(2, 2))
    trainer = Trainer(net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), callbacks=[report()])
    with pytest.raises(error, match=words):
        trainer.fit(datasets.moons(20, seed=0), epochs=1)
    assert trainer.step == 0


# What it records


def test_norms_are_those_of_the_last_step(tmp_path):
    seen = []

    class Watch(nn.Linear):
        def accumulate(self, dy, /):
            super().accumulate(dy)
            seen.append((np.array(self.weight.grad), np.array(self.bias.grad)))

    net = nn.Sequential(Watch(2, 3), nn.Tanh(), nn.Linear(3, 2))
    net.init(0)
    start = np.abs(net.state_dict()["0.weight"]).max()
    report = RunReport(tmp_path / "p.html")
    trainer = Trainer(
        net, losses.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), callbacks=[report], progress=False
    )
    trainer.fit(datasets.moons(64, seed=0), epochs=3, batch_size=16)
    norms = report.norms
    assert norms.epochs.tolist() == [0, 1, 2, 3]
    assert norms.layers == ["0", "2"]
    expected = [np.sqrt(sum((part**2).sum() for part in seen[i])) for i in (3, 7, 11)]
    np.testing.assert_allclose(norms.of("gradient")["0"], [np.nan, *expected], rtol=1e-5)
    state = net.state_dict()
    whole = np.concatenate([state["2.weight"].ravel(), state["2.bias"]])
    assert norms.of("weight")["2"][-1] == pytest.approx(np.linalg.norm(whole), rel=1e-5)
    assert norms.of("largest")["2"][-1] == pytest.approx(np.abs(whole).max(), rel=1e-6)
    assert norms.of("largest")["0"][0] == pytest.approx(max(start, 0.0), rel=1e-6)


def test_frozen_and_undecayed_parameters(backend):
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)).no_decay("bias")
    net.init(1)
    net[0].weight.trainable = False
    norms = LayerNorms()
    norms.measure(net, 1)
    state = net.state_dict()
    assert norms.layers == ["0", "1"]
    assert norms.of("weight")["0"] == [0.0]  # its bias alone, which starts at 0
    assert norms.of("weight")["1"][0] == pytest.approx(np.linalg.norm(state["1.weight"]), rel=1e-5)
    assert norms.of("largest")["1"][0] == pytest.approx(np.abs(state["1.weight"]).max(), rel=1e-6)


def test_training_is_the_same_with_and_without(tmp_path):
    with_it, *_ = run(tmp_path / "a")
    without, *_ = run(tmp_path / "b", callbacks=[])
    for name, value in without.net.state_dict().items():
        np.testing.assert_array_equal(with_it.net.state_dict()[name], value)
    assert with_it.history["valid_loss"] == without.history["valid_loss"]


class Interrupt(Callback):
    def on_epoch_start(self, trainer):
        if trainer.epoch == 2:
            raise KeyboardInterrupt


def interrupted(folder, **named):
    trainer, train, valid, dataset = run(folder, fit=False)
    trainer.callbacks.append(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(train, valid, batch_size=64, **named)
    return train, valid, dataset


def test_the_weights_that_are_kept_are_measured(tmp_path):
    class Spoil(Callback):
        def on_epoch_start(self, trainer):
            if trainer.epoch == 3:
                trainer.net.load_state_dict({name: 0 * value for name, value in trainer.net.state_dict().items()})

    report = RunReport(test=datasets.load("digits").test)
    trainer, *_, dataset = run(tmp_path / "run", callbacks=[Spoil(), report])
    last = trainer.evaluate(dataset.test)["accuracy"]
    assert trainer.best.best_epoch == 3
    trainer.net.load_state_dict(trainer.best_state)
    assert report._held.score == trainer.evaluate(dataset.test)["accuracy"] > last + 0.1
    assert "the weights of epoch 3 were kept" in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_a_resumed_run_has_the_curves_of_a_whole_one(tmp_path):
    whole, *_ = run(tmp_path / "whole", epochs=5)
    train, valid, dataset = interrupted(tmp_path / "part", epochs=5)
    report = RunReport(test=dataset.test)
    trainer = Trainer.resume(tmp_path / "part", callbacks=[report], progress=False)
    assert trainer.epoch == 2
    trainer.fit(train, valid)
    expected = whole.callbacks[0].norms
    assert report.norms.epochs.tolist() == expected.epochs.tolist() == [0, 1, 2, 3, 4, 5]
    for measure in ("gradient", "weight", "largest"):
        assert json.dumps(report.norms.of(measure)) == json.dumps(expected.of(measure))
    assert report._sha256 == fingerprint(train)


def test_other_rows_on_resume_are_told_of(tmp_path, caplog):
    train, valid, _ = interrupted(tmp_path / "run", epochs=4)
    page = Parsed((tmp_path / "run" / "report.html").read_text("utf-8"))
    assert "Stopped before its end: 2 of 4 epochs are done." in page.text
    trainer = Trainer.resume(tmp_path / "run", callbacks=[RunReport()], progress=False)
    trainer.fit((train[0] + np.uint8(1), train[1]), valid)
    assert "began on other training rows" in caplog.text


def test_a_killed_run_leaves_a_whole_page(tmp_path):
    script = (
        "import os, sys\n"
        "from anyfw import Trainer, data, losses, nn, optim, train\n"
        "from anyfw.report import run_report\n"
        "run_report._SOONEST, run_report._SHARE = 0.0, 1e9\n"
        "class Kill(train.Callback):\n"
        "    def on_epoch_end(self, trainer, row):\n"
        "        if trainer.epoch == 3: os._exit(9)\n"
        "net = nn.Sequential(nn.Linear(2, 2))\n"
        "callbacks = [run_report.RunReport(), Kill()]\n"
        "optimizer = optim.SGD(net.parameters(), lr=0.1)\n"
        "t = Trainer(net, losses.CrossEntropyLoss(), optimizer, callbacks=callbacks, out=sys.argv[1])\n"
        "t.fit(data.moons(200, seed=0), epochs=9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "run"], check=False, capture_output=True)
    assert done.returncode == 9, done.stderr
    assert "In training: 3 of 9 epochs are done." in Parsed((tmp_path / "run" / "report.html").read_text("utf-8")).text


def test_a_page_that_cannot_be_written_ends_nothing(tmp_path, caplog):
    trainer, *_ = run(tmp_path / "run", callbacks=[RunReport(tmp_path / "nowhere" / "page.html")])
    assert trainer.epoch == 4
    assert caplog.text.count("The report is not written") == 1


def test_a_page_at_any_time(tmp_path):
    trainer, *_, dataset = run(tmp_path / "run", callbacks=[])
    assert write_report(trainer, test=dataset.test) == tmp_path / "run" / "report.html"
    assert "Norms by layer were not recorded" in (tmp_path / "run" / "report.html").read_text("utf-8")
    trainer.folder = None
    with pytest.raises(ConfigError, match="expected a path"):
        write_report(trainer)


# The answers


def found(kind, score, rows=1000, loss=0.1, task="classification", baseline=0.1):
    error = (score * (1 - score) / rows) ** 0.5 if task == "classification" else 0.01 * score
    return Findings(kind, rows, rows, task, loss, score, error, baseline)


@pytest.mark.parametrize(
    ("learnt", "held", "history", "kept", "verdict", "words"),
    [
        (0.95, 0.94, {}, None, "No.", "a gap of 1.00 points, no more than chance"),
        (0.999, 0.85, {}, None, "Yes:", "a gap of 14.90 points"),
        (0.99, 0.96, {}, None, "A little:", "a gap of 3.00 points"),
        (0.70, 0.95, {}, None, "No.", "−25.00 points: those apart are easier"),
        (None, 0.90, {}, None, "Nobody can tell:", "no training rows were measured"),
        (None, None, {"loss": [None], "valid_loss": [1.0]}, None, "Nobody can tell:", "no finite number"),
        (0.11, 0.10, {}, None, "No, the opposite", "always saying the most frequent class"),
        (0.95, 0.94, {"valid_loss": [0.5, 0.2, 0.4]}, None, "A little:", "lowest in epoch 2, 0.2, and has risen to"),
        (0.95, 0.94, {"valid_loss": [0.5, 0.2, 0.4]}, 2, "No.", "the weights of epoch 2 were kept"),
        (None, None, {"loss": [1.0], "valid_loss": [1.05]}, None, "No:", "1.05 on the validation rows"),
        (None, None, {"loss": [1.0, 0.1], "valid_loss": [1.0, 0.9]}, None, "Yes:", "9 times as much"),
        (None, None, {"accuracy": [0.99], "valid_accuracy": [0.7], "loss": [0.1], "valid_loss": [0.1]}, None, "Yes:",
         "a gap of 29.00 points"),
        (None, None, {"loss": [1.0]}, None, "Nobody can tell:", "no validation or test rows"),
    ],
)  # fmt: skip
def test_overfitted_or_not(learnt, held, history, kept, verdict, words):
    pair = [None if score is None else found(kind, score) for kind, score in (("training", learnt), ("test", held))]
    answer = answers.overfitted(*pair, history, kept)
    assert answer.verdict.startswith(verdict)
    assert words in answer.reason


@pytest.mark.parametrize(
    ("learnt", "held", "verdict"),
    [(1.0, 1.05, "No:"), (1.0, 1.3, "A little:"), (1.0, 3.0, "Yes:"), (9.9, 9.9, "No, the opposite")],
)
def test_overfitted_regressions(learnt, held, verdict):
    pair = [found(kind, score, task="regression", baseline=10.0) for kind, score in (("training", learnt), ("t", held))]
    assert answers.overfitted(*pair, {}).verdict.startswith(verdict)


def test_a_gap_of_errors_may_be_chance():
    learnt, held = (found(kind, score, task="regression", baseline=10.0) for kind, score in (("t", 1.0), ("h", 1.3)))
    answer = answers.overfitted(learnt, replace(held, error=0.2), {})
    assert answer.verdict == "No:"
    assert answer.reason.endswith("no more than chance makes of so many rows.")


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ({"loss": [4.0, 3.0, 2.0, 1.0]}, "It was still getting better: the training loss fell by 50.00 %"),
        ({"valid_loss": [4.0, 1.0, 1.0, 1.0]}, "It had levelled off"),
        ({"loss": [1.0] * 8, "valid_loss": [1.0] * 7 + [2.0]}, "Longer would not help: the validation loss rose"),
        ({"loss": [1.0, None]}, "Too few epochs"),
    ],
)
def test_long_enough_or_not(history, words):
    answer = answers.enough(history)
    assert words in f"{answer.verdict} {answer.reason}"


def test_how_good():
    good = answers.how_good(found("test", 0.9, 100), {})
    assert (good.verdict, good.tone) == ("90.00 % of 100 test rows are right.", "good")
    assert answers.how_good(found("test", 0.12, 100), {}).tone == "bad"
    assert (
        "75.00 % of the variance" in answers.how_good(found("test", 5.0, task="regression", baseline=10.0), {}).reason
    )
    worse = answers.how_good(found("test", 12.0, task="regression", baseline=10.0), {})
    assert worse.reason == "Always saying the mean would give 10: it does worse than that."
    assert answers.how_good(found("test", 12.0, task="regression", baseline=0.0), {}).reason.endswith("give 0.")
    assert "validation rows" in answers.how_good(None, {"accuracy": [0.5], "valid_accuracy": [0.25]}).verdict
    assert answers.took([2.0, 2.0], 100, "numpy").reason == "on numpy, 50 training rows a second."


def test_outputs_that_are_no_numbers_are_told_and_end_nothing(tmp_path):
    x, y = datasets.noisy_curve(60, seed=0)
    odd = np.concatenate([x[:9], [[3e38]]]).astype("float32")
    net = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1, weight_init=9.0))
    report = RunReport(test=(odd, np.zeros((10, 1))))
    trainer = Trainer(
        net, losses.MSELoss(), optim.SGD(net.parameters(), lr=0.0), callbacks=[report], out=tmp_path / "r"
    )
    trainer.fit((x.astype("float32"), y), epochs=1)
    assert (tmp_path / "r" / "model.safetensors").is_file()
    page = (tmp_path / "r" / "report.html").read_text("utf-8")
    assert "1 row got an output that is no finite number" in page
    assert "Predicted by true" in page


def test_all_rows_right_is_no_certainty():
    net = nn.Identity().to("numpy", "float32")
    seen = look("test", net, losses.CrossEntropyLoss(), (), Arrays(9 * np.eye(4, dtype="float32"), np.arange(4)))
    assert seen.score == 1.0
    assert seen.error == pytest.approx((0.75 * 0.25 / 8) ** 0.5)


@pytest.mark.parametrize(
    ("name", "content"), [("config.json", '"fit"'), ("config.json", '"arguments"'), ("history.json", '"loss"')]
)
def test_damaged_settings_are_told(tmp_path, monkeypatch, capsys, name, content):
    monkeypatch.chdir(tmp_path)
    ask(capsys, "train", "moons", "--epochs", 1)
    path = Path("runs/moons", name)
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), json.loads(content): 3}), "utf-8")
    assert f"{name}: not as a run writes it" in ask(capsys, "report", "runs/moons", code=2)[1]


# Its parts


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "score"),
    [
        (losses.BCEWithLogitsLoss(), 1, [[1.0], [0.0], [1.0], [1.0]], 0.75),
        (losses.HingeLoss(), 1, [[1.0], [-1.0], [1.0], [1.0]], 0.75),
        (losses.BCEWithLogitsLoss(), 2, [[1.0, 0.0]] * 4, None),
        (losses.CrossEntropyLoss(weight=[1.0, 2.0]), 2, [1, 0, 1, 1], 0.75),
    ],
)
def test_tasks_are_told_apart(loss, outputs, y, score):
    net = nn.Sequential(nn.Linear(1, outputs))
    net.init(0)
    ones = np.ones((outputs, 1)) if outputs == 1 else np.array([[0.0], [1.0]])
    net.load_state_dict({"0.weight": ones, "0.bias": np.zeros(outputs)})
    x, y = np.array([[1.0], [-1.0], [2.0], [-3.0]]), np.asarray(y)
    source = datasets.Arrays(x, y)
    seen = look("test", net, loss, (), source)
    if score is None:
        # Of several labels to a row there is no single right or wrong.
        assert seen.confusion is None
        return
    assert (seen.task, seen.score) == ("classification", score)
    assert seen.worst[0].row == 3
    dtype = "int64" if y.dtype.kind == "i" else "float32"
    value, _ = loss(net(x.astype("float32")), y.astype(dtype))
    assert seen.loss == pytest.approx(float(value), rel=1e-6)
    assert seen.confusion == [[1, 0], [1, 2]]


@pytest.mark.parametrize("shape", [(3, 2), (5, 4, 3), (1, 1)])
def test_png_round_trip(shape):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(image.open(io.BytesIO(png.encode(pixels)))), pixels)


def test_rows_as_pixels():
    row = np.arange(12.0)
    np.testing.assert_array_equal(png.as_pixels(row, (3, 4), 0, 11)[-1], [185, 209, 232, 255])
    assert png.as_pixels(row, (3, 2, 2), 0, 11).shape == (2, 2, 3)
    assert png.as_pixels(row, (3, 2, 2), 0, 11)[0, 0].tolist() == [0, 93, 185]
    assert png.as_pixels(row, (2, 3, 2), 0, 11) is None
    assert png.as_pixels(row, (3, 2, 2, 1), 0, 11) is None
    assert png.as_pixels(row, (4, 3, 1), 0, 11).shape == (4, 3)
    assert png.as_pixels(row, None, 0, 1) is None
    assert png.as_pixels(row, (28, 28), 0, 1) is None
    with pytest.raises(ShapeError, match="expected pixels"):
        png.encode(np.zeros((2, 2, 4), np.uint8))


def test_lines_have_gaps_where_numbers_are_missing():
    chart = svg.line_chart([svg.Line("a", [1.0, None, 3.0, float("nan"), 2.0, 1.0])], "t")
    way = re.findall(r' d="(M[^"]*)" fill="none"', chart)[0]
    assert way.count("M") == 3
    assert len(re.findall("<circle", chart)) == 4
    Parsed(chart)
    assert "no finite number" in svg.line_chart([svg.Line("a", [None])], "t")
    assert "1e-5" in svg.line_chart([svg.Line("a", [1.0, 1e-6])], "t")  # several powers of ten
    Parsed(svg.line_chart([svg.Line("a", [0.0])], "one number"))
    Parsed(svg.histogram([0.0, 1.0], [3], "t", x_label="x"))


def test_fingerprints_tell_rows_apart():
    x = np.arange(6.0).reshape(3, 2)
    assert fingerprint([x]) == fingerprint([np.asfortranarray(x)])
    others = [[x.astype("float32")], [x[::-1]], [x.T], [x, x], [x.reshape(-1)]]
    assert len({fingerprint([x]), *map(fingerprint, others)}) == 6


# The running page


def get(url, path="/", host=None, method="GET"):
    connection = HTTPConnection("127.0.0.1", int(url.rsplit(":", 1)[1].strip("/")), timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or url[7:-1])
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def test_the_live_page():
    with LivePage() as live:
        assert "not begun" in get(live.url)[1]
        live.show(Page("Now"))
        status, text, headers = get(live.url)
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        assert '<meta http-equiv="refresh" content="3">' in text
        assert get(live.url, host=f"localhost:{live.port}")[0] == 200
        for path in ("/index.html", "/../etc/passwd", "/?x=1", "/report.html"):
            assert get(live.url, path)[0] == 404
        for host in ("evil.example", f"evil.example:{live.port}", "127.0.0.1", f"127.0.0.1:{live.port}.evil.example"):
            assert get(live.url, host=host)[0] == 403
        for method in ("POST", "HEAD", "PUT", "DELETE"):
            assert get(live.url, method=method)[0] == 501
        assert live._server.server_address[0] == "127.0.0.1"
        with pytest.raises(ConfigError, match=f"Port {live.port} cannot be served on"):
            LivePage(live.port)
        live._server.watched.clear()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(live.url, timeout=5)


def test_who_looks_gets_the_last_page_which_asks_for_no_other():
    live = LivePage()
    get(live.url)
    live.show(Page("Done"))
    closing = threading.Thread(target=live.close)
    closing.start()
    time.sleep(0.1)
    text = get(live.url)[1]
    closing.join(timeout=10)
    assert not closing.is_alive()
    assert "Done" in text
    assert "refresh" not in text


@pytest.mark.parametrize("port", [-1, 70000, True, "80"])
def test_ports_that_are_none(port):
    with pytest.raises(ConfigError, match="whole number from 0 to 65535"):
        LivePage(port)


# The command line


def ask(capsys, *arguments, code=0):
    assert main([*map(str, arguments)]) == code
    out, err = capsys.readouterr()
    return (json.loads(out.splitlines()[-1]) if "--json" in arguments else out), err


def test_train_writes_it_and_report_writes_it_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result, _ = ask(capsys, "train", "digits", "--hidden", 24, "--epochs", 4, "--valid", 0.1, "--lr", "0.01", "--json")
    page = Path(result["report"])
    first = page.read_text("utf-8")
    assert str(page) == "runs/digits/report.html"
    command = "anyfw train digits --seed 0 --hidden 24 --lr 0.01 --epochs 4 --valid 0.1"
    assert command in first
    page.unlink()
    again, _ = ask(capsys, "report", "runs/digits", "--json")
    assert again["accuracy"] == pytest.approx(result["test_accuracy"])
    second = page.read_text("utf-8")
    assert re.findall("<svg.*</svg>", first) == re.findall("<svg.*</svg>", second)
    assert re.findall(r"[0-9a-f]{64}", first) == re.findall(r"[0-9a-f]{64}", second) != []
    # The command does what it says.
    again, _ = ask(capsys, *command.split()[1:], "--json")
    assert again["test_loss"] == result["test_loss"]
    out, _ = ask(capsys, "report", "runs/digits")
    assert "report      runs/digits/report.html" in out


def test_rows_of_another_data_set_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ask(capsys, "train", "moons", "--epochs", 1)
    x, y = datasets.moons(50, seed=7)
    np.savez("other.npz", x=x, y=y)
    ask(capsys, "report", "runs/moons", "other.npz")
    assert "Measured on other.npz, not on the rows" in Path("runs/moons/report.html").read_text("utf-8")


def test_few_steps_are_told_with_the_whole_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out, _ = ask(capsys, "train", "moons", "--epochs", 2, "--hidden", 8, "--lr", 0.01)
    assert "steps are few: anyfw train moons --seed 0 --hidden 8 --lr 0.01 --epochs 20" in out


def test_a_command_line_is_taken_as_it_was_meant():
    arguments = {"seed": 1, "target": "-x", "missing": ["-999"], "drop": ["a b", "c"], "overwrite": True, "lr": 3e-3}
    told = command_line({"data": "h.csv", "arguments": arguments})
    assert told == "anyfw train h.csv --seed 1 --target=-x --missing=-999 --drop 'a b' c --overwrite"
    parsed = tyro.cli(
        Options, args=shlex.split(told)[2:], config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    )
    assert (parsed.target, parsed.missing, parsed.drop, parsed.overwrite) == ("-x", ("-999",), ("a b", "c"), True)


def test_a_browser_that_leaves_is_no_error(capfd):
    with LivePage() as live:
        for _ in range(3):
            asked = socket.create_connection(("127.0.0.1", live.port))
            # A reset in the place of a farewell.
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            asked.close()
        assert get(live.url)[0] == 200
        live._server.watched.clear()
    assert "Traceback" not in capfd.readouterr().err


def test_report_of_runs_of_the_library(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run("plain", callbacks=[])
    assert "its net is not measured" in ask(capsys, "report", "plain")[1]
    assert ask(capsys, "report", "plain", "digits", "--json")[0]["rows"] == 360
    for path in Path("plain").glob("checkpoint-*"):
        path.unlink()
    assert ask(capsys, "report", "plain", "digits", "--json")[0]["epochs"] == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report", "nowhere"), "no run"),
        (("report", "."), "there is no config.json"),
        (("train", "moons", "--serve", "1", "2"), "expected one port"),
        (("train", "moons", "--serve", "99999"), "from 0 to 65535"),
    ],
)
def test_refused_on_the_command_line(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in ask(capsys, *arguments, code=2)[1]
    assert not Path("runs").exists()


def test_train_serves_while_it_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pages = []
    before = RunReport.on_epoch_end

    def on_epoch_end(self, trainer, row):
        before(self, trainer, row)
        pages.append(get(self.show.__self__.url))
        self.show.__self__._server.watched.clear()

    monkeypatch.setattr(RunReport, "on_epoch_end", on_epoch_end)
    _, err = ask(capsys, "train", "--serve", "moons", "--epochs", "2")
    url = re.search(r"live page +(http://127\.0\.0\.1:\d+/)", err)[1]
    assert [page[0] for page in pages] == [200, 200]
    assert "refresh" in pages[0][1]
    assert "refresh" not in Path("runs/moons/report.html").read_text("utf-8")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


# In a browser


def browse(path, folder):
    """What Chromium complained of while it showed a page, and its picture."""
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}", "--window-size=1000,3000", "--enable-logging=stderr",
            f"--screenshot={folder / 'shot.png'}", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return told, folder / "shot.png"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
def test_a_browser_shows_it_without_a_complaint(finished, tmp_path):
    image = pytest.importorskip("PIL.Image")
    page = tmp_path / "report.html"
    page.write_text(finished[1], encoding="utf-8")
    told, shot = browse(page, tmp_path)
    assert told == []
    picture = np.asarray(image.open(shot).convert("RGB"))
    # The curves' blue and the matrix's are on it, in the upper half and in the lower one.
    blue = np.abs(picture.astype(int) - (0, 114, 178)).sum(axis=2) < 12
    assert blue[:1500].sum() > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
def test_that_check_can_fail(finished, tmp_path):
    page = tmp_path / "planted.html"
    page.write_text(finished[1].replace("</body>", '<img src="x.png"><script>wrong(</script></body>'), encoding="utf-8")
    assert browse(page, tmp_path)[0]
