"""The command line, as a user meets it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from anyfw import __version__, losses, nn
from anyfw.cli import COMMANDS, main
from anyfw.cli import gradcheck as gradcheck_command
from anyfw.core.files import read_json, read_tensors

TINY = ("--hidden", "16", "--epochs", "3", "--batch-size", "64")
KEYS = {"test_loss", "epochs", "seconds", "backend"}


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def ask(cli):
    """Run a command with --json; gives the object on the last line of stdout."""

    def run(*arguments: object, code: int = 0):
        out, _ = cli(*arguments, "--json", code=code)
        found = json.loads(out.splitlines()[-1])
        assert isinstance(found, dict)
        return found

    return run


def start(*arguments: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-m", "anyfw", *arguments],
        env=environment,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options,
    )


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def save_regression(path: str, unit: float, offset: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, size=(300, 2))
    y = np.stack([x[:, 0] * x[:, 1], x[:, 0] - x[:, 1]], axis=1)
    np.savez(path, x=x, y=unit * y + offset)


# Help, version, wrong words


def test_version_and_help_load_no_numpy():
    code = (
        "import sys; from anyfw.cli import main; "
        "assert main(['--version']) == main(['--help']) == main([]) == 0; "
        "sys.exit(int(any(name in sys.modules for name in ('numpy', 'tyro', 'rich'))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"anyfw {__version__}\n")
    for command in COMMANDS:
        assert f"\n  {command} " in found.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_examples_and_json(cli, command):
    out, err = cli(command, "--help")
    assert re.search(rf"examples:\n.*\banyfw {command}", out)
    assert "--json" in out
    assert max(map(len, out.splitlines())) <= 100
    assert err == ""


WRONG = (
    (("trian", "mnist"), "error: unknown command 'trian'. Did you mean 'train'?"),
    (("--jsn",), "error: unknown option '--jsn'"),
    (("train", "digits", "--hiden", "3"), "--hidden"),
    (("train", "digits", "--lr", "fast"), "--lr"),
    (("eval",), "RUN_OR_MODEL"),
    (("train",), "error: DATA is missing"),
    (("train", "digitz"), "error: Unknown data set (nor is there a folder) 'digitz'. Did you mean 'digits'?"),
    (("train", "missing.npz"), "error: missing.npz"),
    (("train", "digits", "--activation", "rellu"), "Did you mean 'relu'?"),
    (("train", "digits", "--optimizer", "adm"), "Did you mean 'adam'?"),
    (("train", "digits", "--schedule", "cosin"), "Did you mean 'cosine'?"),
    (("train", "digits", "--norm", "bach"), "Did you mean 'batch'?"),
    (("train", "digits", "--progress", "line"), "Did you mean 'lines'?"),
    (("train", "digits", "--backend", "cuppy"), "Did you mean 'cupy'?"),
    (("train", "digits", "--backend", "strict:device9"), "device9"),
    (("train", "digits", "--hidden", "0"), "--hidden: expected widths of at least 1, got 0"),
    (("train", "digits", "--hidden", "1000000000000", "10"), "error: not enough memory"),
    (("train", "digits", "--hidden", "-3"), "--hidden: expected widths of at least 1, got -3"),
    (("train", "digits", "--dropout", "2"), "Dropout"),
    (("train", "digits", "--lr", "-1"), "lr"),
    (("train", "digits", "--epochs", "0"), "--epochs: expected at least 1, got 0"),
    (("train", "digits", "--batch-size", "0"), "batch_size of at least 1, got 0"),
    (("train", "digits", "--keep", "0"), "keep"),
    (("train", "digits", "--checkpoint-every", "3"), "checkpoint_every"),
    (("train", "digits", "--dtype", "float16"), "float16"),
    (("train", "digits", "--valid", "1.5"), "fraction"),
    (("train", "digits", "--early-stopping", "2"), "add --valid 0.1"),
    (("train", "digits", "--momentum", "0.9"), "--momentum: adam has none. Leave it out, or use sgd or rmsprop."),
    (("train", "digits", "--weight-decay", "-1"), "weight_decay"),
    (("train", "digits", "--clip-norm", "0"), "clip_norm"),
    (("train", "--resume", "runs/none"), "no run to go on with"),
    (("train", "--resume", "runs/none", "--overwrite"), "leave out --out and --overwrite"),
    (("eval", "runs/none"), "error: runs/none: no such run or model"),
    (("predict", "runs/none", "digits"), "error: runs/none"),
    (("export", "runs/none", "m.onnx"), "error: runs/none: no such run or model"),
    (("export", "runs/none", "m.pt"), "error: expected a file name that ends in .onnx"),
    (("summary",), "--features"),
    (("trace", "--rows", "0"), "--rows"),
    (("gradcheck", "--rows", "1"), "--rows"),
)


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=lambda value: " ".join(value)[:40])
def test_refused_in_words_and_nothing_is_left(cli, arguments, words):
    out, err = cli(*arguments, code=2)
    plain = re.sub(r"[│\s]+", " ", err)
    assert words in plain
    assert out == ""
    assert "Traceback" not in err
    assert not list(Path().iterdir())


@pytest.mark.parametrize("setting", [("optimizer", "adm"), ("momentum", "0.9"), ("schedule", "x"), ("dropout", "2")])
def test_what_needs_no_data_is_refused_before_they_are_read(cli, setting):
    assert setting[0] in cli("train", "missing.npz", f"--{setting[0]}", setting[1], code=2)[1].lower()


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("ANYFW_DEBUG", "1")
    with pytest.raises(ValueError, match="digitz"):
        main(["train", "digitz"])


def test_unknown_setting_in_the_environment(cli, monkeypatch):
    monkeypatch.setenv("ANYFW_BACKEND", "cuppy")
    assert "Did you mean 'cupy'?" in cli("train", "digits", code=2)[1]


# Training and measuring


def test_classification_from_training_to_labels(cli, ask):
    trained = ask("train", "digits", "--epochs", "15", "--hidden", "64")
    assert trained.keys() >= KEYS | {"test_accuracy"}
    assert trained["test_accuracy"] > 0.9
    assert (trained["epochs"], trained["backend"], trained["out"]) == (15, "numpy", "runs/digits")
    assert {"config.json", "history.json", "model.safetensors"} <= files("runs/digits").keys()
    assert len(read_json("runs/digits/history.json")["accuracy"]) == 15

    measured = ask("eval", "runs/digits")
    assert measured.keys() >= KEYS | {"test_accuracy"}
    assert [measured[name] for name in ("test_accuracy", "test_loss", "epochs")] == [
        trained[name] for name in ("test_accuracy", "test_loss", "epochs")
    ]
    assert ask("eval", "runs/digits/model.safetensors", "digits")["test_loss"] == trained["test_loss"]

    out, _ = cli("predict", "runs/digits", "digits")
    from anyfw import data

    y = data.load("digits").test[1]
    right = np.mean(np.array(out.split(), dtype=int) == y)
    assert right == pytest.approx(trained["test_accuracy"])


def test_the_result_block_tells_what_came_out_and_what_to_do_next(cli):
    out, err = cli("train", "moons", *TINY)
    assert re.match(r"moons: \d+\.\d\d % of 250 test rows right\n", out)
    for words in ("test loss", "3 epochs in", "runs/moons/model.safetensors", "next", "anyfw "):
        assert words in out
    assert "epoch 3/3" in err
    assert "backend numpy (auto" in err
    assert "20 %) held out" in err
    assert "float64 is cast to float32" in err


def test_a_name_may_follow_the_widths(cli):
    assert "2-5-3-2 (relu" in cli("train", "--hidden", "5", "3", "moons", "--epochs", "1")[1]


def test_no_hidden_layer_is_a_linear_model(cli):
    assert "\n2-2 (" in cli("train", "moons", "--hidden", "--epochs", "1")[1]


def test_each_named_part_is_what_is_built(ask):
    ask("train", "moons", "--out", "a", "--hidden", "8", "4", "--activation", "LeakyReLU", "--norm", "batch",
        "--dropout", "0.1", "--optimizer", "sgd", "--momentum", "0.9", "--weight-decay", "0.01", "--schedule", "step",
        "--epochs", "3", "--lr", "0.05", "--clip-norm", "1", "--dtype", "float64", "--seed", "7")  # fmt: skip
    config = read_json("a/config.json")
    kinds = [layer["layer"] for layer in config["net"]["layers"]]
    hidden = ["Linear", "LeakyReLU", "BatchNorm1d", "Dropout"]
    assert kinds == ["Rescale", *hidden, *hidden, "Linear"]
    assert (config["dtype"], config["seed"], config["clip_norm"]) == ("float64", 7, 1.0)
    assert "SGD" in str(config["optimizer"])
    assert "Step" in str(config["optimizer"])
    assert config["arguments"]["momentum"] == 0.9
    assert config["data"] == "moons"
    weight = read_tensors("a/model.safetensors")[0]["1.weight"]
    assert weight.dtype == np.float64


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "adagrad"])
@pytest.mark.parametrize("schedule", ["constant", "onecycle", "cosine", "step", "exponential", "plateau"])
def test_every_optimizer_under_every_schedule(ask, optimizer, schedule):
    found = ask("train", "moons", "--hidden", "4", "--epochs", "1", "--batch-size", "500", "--optimizer", optimizer,
                "--schedule", schedule)  # fmt: skip
    assert np.isfinite(found["test_loss"])


@pytest.mark.parametrize(("unit", "offset"), [(1.0, 0.0), (1e4, -3e4), (1e-5, 0.0)])
def test_regression_comes_out_in_the_units_of_its_targets(ask, cli, unit, offset):
    save_regression("area.npz", unit, offset)
    found = ask("train", "area.npz", "--epochs", "40", "--hidden", "32", "--optimizer", "sgd", "--momentum", "0.9",
                "--lr", "0.05", "--batch-size", "32", "--checkpoint-every", "none")  # fmt: skip
    # The targets' deviation is about 0.33 and 0.8 units.
    assert found["test_rmse"] < 0.1 * unit
    assert found["test_loss"] < (0.1 * unit) ** 2
    assert ask("eval", "runs/area")["test_rmse"] == found["test_rmse"]
    np.save("rows.npy", np.array([[0.5, 0.5], [1.0, 0.0]]))
    predicted = np.array(ask("predict", "runs/area", "rows.npy")["predictions"])
    np.testing.assert_allclose((predicted - offset) / unit, [[0.25, 0.0], [0.0, 1.0]], atol=0.3)
    assert "no probabilities" in cli("predict", "runs/area", "rows.npy", "--kind", "probability", code=2)[1]


def test_a_target_that_never_changes(ask):
    x = np.random.default_rng(0).normal(size=(50, 3))
    np.savez("flat.npz", x=x, y=np.full(50, 5.5))
    assert ask("train", "flat.npz", "--epochs", "15", "--hidden", "8", "--batch-size", "8")["test_rmse"] < 0.5


def test_the_best_epoch_is_kept_and_measured(ask):
    found = ask("train", "moons", "--hidden", "32", "--epochs", "12", "--valid", "0.2", "--early-stopping", "2",
                "--lr", "0.3", "--schedule", "constant")  # fmt: skip
    valid = read_json("runs/moons/history.json")["valid_loss"]
    assert found["best_epoch"] == int(np.argmin(valid)) + 1
    assert found["epochs"] == len(valid) == min(found["best_epoch"] + 2, 12)
    assert ask("eval", "runs/moons")["test_loss"] == found["test_loss"]


def test_the_best_state_also_without_early_stopping_and_before_the_end(cli, ask):
    settings = (
        "moons",
        "--hidden",
        "32",
        "--epochs",
        "8",
        "--valid",
        "0.2",
        "--lr",
        "0.3",
        "--schedule",
        "constant",
        "--seed",
        "1",
    )
    found = ask("train", *settings)
    assert found["best_epoch"] < found["epochs"] == 8
    assert ask("eval", "runs/moons")["test_loss"] == found["test_loss"]
    Path("runs/moons/model.safetensors").unlink()
    assert f"the best state, of epoch {found['best_epoch']}" in cli("eval", "runs/moons")[1]
    assert ask("eval", "runs/moons")["test_loss"] == found["test_loss"]


def test_caps_from_the_environment(ask, monkeypatch):
    monkeypatch.setenv("ANYFW_MAX_EPOCHS", "1")
    assert ask("train", "moons", *TINY)["epochs"] == 1


def test_strict_device(ask, monkeypatch):
    reference = ask("train", "moons", *TINY)
    monkeypatch.setenv("ANYFW_BACKEND", "strict:device1")
    found = ask("train", "moons", *TINY, "--norm", "none")
    assert found["backend"] == "strict:device1"
    assert found["test_loss"] == pytest.approx(reference["test_loss"], rel=1e-4)
    assert ask("eval", "runs/moons")["backend"] == "strict:device1"


def test_a_loss_that_is_not_finite_is_an_error(cli):
    _, err = cli("train", "digits", *TINY, "--lr", "1e20", code=2)
    assert "error: The loss became nan in epoch 1" in err
    assert "Warning" not in err
    assert not Path("runs/digits/model.safetensors").exists()


# Folders


def test_a_second_run_takes_the_next_free_folder(ask):
    assert [ask("train", "moons", *TINY)["out"] for _ in range(3)] == ["runs/moons", "runs/moons-2", "runs/moons-3"]


def test_a_folder_in_use_is_refused_then_replaced(cli, ask):
    first = ask("train", "moons", *TINY, "--out", "mine")
    before = files("mine")
    _, err = cli("train", "moons", *TINY, "--out", "mine", code=2)
    assert "--resume mine" in err
    assert "--overwrite" in err
    assert files("mine") == before
    # What is refused later than the folder must not cost the earlier run either.
    cli("train", "moons", *TINY, "--out", "mine", "--overwrite", "--batch-size", "0", code=2)
    assert files("mine") == before
    second = ask("train", "moons", "--hidden", "4", "--epochs", "1", "--out", "mine", "--overwrite")
    assert second["test_loss"] != first["test_loss"]
    assert len(read_json("mine/history.json")["loss"]) == 1
    assert sorted(files("mine")) == ["checkpoint-000000008.safetensors", "config.json", "history.json",
                                     "model.safetensors", "report.html"]  # fmt: skip


def test_overwrite_deletes_nothing_but_a_run(cli):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    assert "thesis.txt" in cli("train", "moons", *TINY, "--out", "mine", "--overwrite", code=2)[1]
    assert files("mine") == {"thesis.txt": b"years of work"}


def test_a_folder_that_cannot_be_made(cli):
    Path("file").write_text("")
    assert "error: 'file/run' cannot be written" in cli("train", "moons", *TINY, "--out", "file/run", code=2)[1]


# Going on


def test_killed_and_resumed_is_bit_equal_to_never_killed(ask):
    settings = ("digits", "--hidden", "64", "32", "--dropout", "0.1", "--norm", "batch", "--epochs", "12",
                "--batch-size", "32", "--valid", "0.1", "--checkpoint-every", "20steps")  # fmt: skip
    process = start("train", *settings, "--out", "killed", "--progress", "none")
    deadline = time.monotonic() + 60
    while not list(Path().glob("killed/checkpoint-*")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not Path("killed/model.safetensors").exists()

    resumed = ask("train", "--resume", "killed")
    whole = ask("train", *settings, "--out", "whole")
    assert resumed["test_loss"] == whole["test_loss"]
    assert resumed["epochs"] == whole["epochs"] == 12
    tensors = {name: read_tensors(f"{name}/model.safetensors")[0] for name in ("killed", "whole")}
    assert tensors["killed"].keys() == tensors["whole"].keys()
    for name, values in tensors["whole"].items():
        np.testing.assert_array_equal(tensors["killed"][name], values, err_msg=name)
    histories = [read_json(f"{name}/history.json") for name in ("killed", "whole")]
    for history in histories:
        del history["seconds"]
    assert histories[0] == histories[1]
    assert not list(Path("killed").glob(".anyfw-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to a process there")
def test_ctrl_c_keeps_the_state_and_says_how_to_go_on(cli):
    process = start("train", "digits", "--epochs", "100000", "--batch-size", "16", "--valid", "0.1", "--out", "mine")
    assert process.stderr is not None
    seen = ""
    while "epoch 1/" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "anyfw train --resume mine" in err
    assert "Traceback" not in err
    assert out == ""
    assert "best state" in cli("eval", "mine")[1]
    assert cli("predict", "mine", "digits", "--backend", "strict")[0].count("\n") == 360


def test_resume_of_a_finished_run_says_so(cli, ask):
    trained = ask("train", "moons", *TINY)
    before = files("runs/moons")
    out, err = cli("train", "--resume", "runs/moons")
    assert "this run is finished" in err
    assert err.count("backend numpy") == 1
    assert "% of 250 test rows right" in out
    again = ask("train", "--resume", "runs/moons")
    assert {name: again[name] for name in ("test_accuracy", "test_loss", "epochs")} == {
        name: trained[name] for name in ("test_accuracy", "test_loss", "epochs")
    }
    assert files("runs/moons") == before


def test_resume_without_a_checkpoint_starts_over(cli, ask):
    settings = ("moons", *TINY, "--checkpoint-every", "none")
    whole = ask("train", *settings, "--out", "whole")
    assert "this run is finished" in cli("train", "--resume", "whole")[1]
    Path("begun").mkdir()
    Path("begun/config.json").write_bytes(Path("whole/config.json").read_bytes())
    _, err = cli("train", "--resume", "begun")
    assert "starting over" in err
    assert files("begun")["model.safetensors"] == files("whole")["model.safetensors"]
    assert whole["epochs"] == 3


def test_resume_with_data_starts_what_is_not_there(cli):
    arguments = ("train", "moons", *TINY, "--resume", "job")
    assert "starting it" in cli(*arguments)[1]
    assert "this run is finished" in cli(*arguments)[1]
    assert "this run has 64" in cli(*arguments, "--batch-size", "32", code=2)[1]


def test_resume_of_what_is_no_run(cli):
    Path("other").mkdir()
    Path("other/config.json").write_text('{"model": "unknown"}')
    assert "not written by this version" in cli("train", "--resume", "other", code=2)[1]
    Path("other/config.json").write_text("{")
    assert "no JSON" in cli("train", "--resume", "other", code=2)[1]
    assert "expected the folder of a run" in cli("train", "--resume", "other/config.json", code=2)[1]


# Using a model


@pytest.fixture
def digits_run(ask):
    ask("train", "digits", "--hidden", "16", "--epochs", "2", "--out", "run")
    return "run"


def test_predictions_as_files(cli, ask, digits_run):
    probabilities = np.array(ask("predict", digits_run, "digits", "--kind", "probability")["predictions"])
    assert probabilities.shape == (360, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    labels = probabilities.argmax(axis=1)

    out, _ = cli("predict", digits_run, "digits", "--out", "a.csv")
    assert "360 rows written to a.csv" in out
    table = Path("a.csv").read_text().splitlines()
    assert table[0] == "row,label"
    assert [int(line.split(",")[1]) for line in table[1:]] == labels.tolist()
    cli("predict", digits_run, "digits", "--out", "a.npy")
    np.testing.assert_array_equal(np.load("a.npy"), labels)
    cli("predict", digits_run, "digits", "--out", "a.npz", "--kind", "probability")
    with np.load("a.npz") as found:
        np.testing.assert_allclose(found["probability"], probabilities, rtol=1e-6)
        assert found["class_names"].tolist() == list("0123456789")
    assert cli("predict", digits_run, "digits", "--kind", "probability")[0].startswith("0,1,2,3,4,5,6,7,8,9\n")


def test_rows_in_every_kind_of_file_and_shape(ask, digits_run):
    from anyfw import data

    x = data.load("digits").test[0][:3]
    expected = ask("predict", digits_run, "digits")["predictions"][:3]
    np.save("flat.npy", x)
    np.save("images.npy", x.reshape(3, 8, 8))
    np.savez("rows.npz", x=x)
    np.savez("test.npz", x_test=x, y_test=[0, 0, 0])
    Path("rows-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 8, 0, 0, 0, 8]) + x.tobytes())
    for name in ("flat.npy", "images.npy", "rows.npz", "test.npz", "rows-idx3-ubyte"):
        assert ask("predict", digits_run, name)["predictions"] == expected, name
    np.save("one.npy", x[0])
    np.save("one_image.npy", x[0].reshape(8, 8))
    for name in ("one.npy", "one_image.npy"):
        assert ask("predict", digits_run, name)["predictions"] == expected[:1], name


def test_rows_on_another_scale_are_pointed_out(cli, digits_run):
    np.save("rows.npy", np.zeros((2, 64)))
    assert "warning: rows.npy holds float64, the net was trained on uint8" in cli("predict", digits_run, "rows.npy")[1]


def test_refused_rows(cli, digits_run):
    np.save("wide.npy", np.zeros((2, 65)))
    np.save("nan.npy", np.full((2, 64), np.nan))
    np.save("objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    np.save("none.npy", np.zeros((0, 64)))
    Path("cut.npy").write_bytes(Path("wide.npy").read_bytes()[:-8])
    Path("text.npy").write_text("no array")
    for name, words in (
        ("wide.npy", "'net.1': expected last axis 64, got shape (2, 65)"),
        ("nan.npy", "got nan at row 0"),
        ("objects.npy", "would run code"),
        ("none.npy", "row"),
        ("cut.npy", "truncated or corrupt"),
        ("text.npy", "not a NumPy array"),
        ("missing.npy", "no such file"),
        ("missing", "no such file. Or a data set: digits"),
    ):
        _, err = cli("predict", digits_run, name, "--out", "answer.csv", code=2)
        assert words in err, name
    assert "expected a file name that ends in" in cli("predict", digits_run, "digits", "--out", "a.txt", code=2)[1]
    assert "Did you mean 'label'?" in cli("predict", digits_run, "digits", "--kind", "labels", code=2)[1]
    assert "cannot be written" in cli("predict", digits_run, "digits", "--out", "no/where.csv", code=2)[1]
    assert not list(Path().glob("answer*"))


def test_data_that_do_not_fit_the_model(cli, digits_run):
    assert "expected last axis 64" in cli("eval", digits_run, "moons", code=2)[1]
    assert "trained for classification" in cli("eval", digits_run, "curve", code=2)[1]


def test_a_model_of_the_library(cli, ask):
    nn.Sequential(nn.Linear(2, 2)).init(0).save("net.safetensors")
    assert "name the data set" in cli("eval", "net.safetensors", code=2)[1]
    assert ask("eval", "net.safetensors", "moons")["epochs"] is None
    assert len(ask("predict", "net.safetensors", "moons")["predictions"]) == 250


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_a_damaged_model_is_refused(cli, digits_run, damage):
    path = Path(digits_run, "model.safetensors")
    raw = path.read_bytes()
    flipped = raw[:-5] + bytes([raw[-5] ^ 1]) + raw[-4:]
    path.write_bytes({"truncated": raw[:-100], "flipped": flipped, "empty": b"", "other": b"PK\3\4" * 9}[damage])
    for command in (("eval", digits_run), ("predict", digits_run, "digits"), ("summary", digits_run)):
        assert "error: run/model.safetensors" in cli(*command, code=2)[1].replace("\\", "/")


# Looking into nets


def test_summary(cli, ask, digits_run):
    assert "(N, 10)" in cli("summary", digits_run)[0]
    assert ask("summary", digits_run)["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    planned = ask("summary", "--features", "784", "--hidden", "512", "--outputs", "3", "--norm", "layer")
    assert planned["parameters"] == 784 * 512 + 512 + 2 * 512 + 512 * 3 + 3


def test_trace(cli, ask, digits_run):
    out, _ = cli("trace")
    assert "FORWARD" in out
    assert "delta[0]" in out
    assert ask("trace")["loss"] == pytest.approx(ask("trace", "--backend", "strict")["loss"], rel=1e-12)
    found = ask("trace", digits_run, "--rows", "1")
    assert np.shape(found["deltas"]["1"]) == (1, 16)


def test_gradcheck(cli, ask, digits_run):
    found = ask("gradcheck")
    assert found["ok"]
    assert max(error for errors in found["errors"].values() for error in errors.values()) < 1e-6
    assert "every gradient is right" in cli("gradcheck", digits_run)[0]
    assert not ask("gradcheck", "--tolerance", "0", code=1)["ok"]


def test_gradcheck_covers_every_public_layer_and_loss():
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    layers = {name for name in layers if issubclass(getattr(nn, name), nn.Layer)} - {"Layer"}
    assert {name.split()[0] for name in gradcheck_command.LAYERS} == layers
    assert set(gradcheck_command.LOSSES) == {name for name in losses.__all__ if name[0].isupper()} - {"Loss"}


def test_doctor(cli, ask, monkeypatch):
    assert ask("doctor")["ok"]
    monkeypatch.setenv("ANYFW_BACKEND", "cuppy")
    assert "cuppy" in cli("doctor", code=1)[0]


def test_lab_hands_its_options_on_and_prints_the_answers(cli, ask, monkeypatch):
    from anyfw.core.backend import get_backend
    from anyfw.report import lab

    asked = []

    def run(out, **options):
        asked.append((out, options, get_backend().spec))
        return {"answers": {"layers": {"question": "Are two needed?", "answer": "Yes."}}, "seconds": 1.0}

    monkeypatch.setattr(lab, "run", run)
    out, _ = cli(
        "lab", "digits", "--quick", "--out", "there", "--seed", "3", "--progress", "none", "--backend", "strict"
    )
    assert "Are two needed?\n  Yes.\n" in out
    assert "index.html" in out
    options = {"seed": 3, "quick": True, "epochs": None, "data": "digits", "progress": False}
    assert asked == [("there", options, "strict")]
    assert ask("lab")["answers"]["layers"]["answer"] == "Yes."
    assert asked[1][:2] == ("runs/lab", {"seed": 0, "quick": False, "epochs": None, "data": None, "progress": True})


# Streams


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_a_reader_that_leaves_is_no_error():
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    found = subprocess.run(
        [sys.executable, "-m", "anyfw", "--help"], stdout=write, stderr=subprocess.PIPE, text=True, env=environment
    )
    os.close(write)
    assert (found.returncode, found.stderr) == (141, "")


def test_a_damaged_config_is_one_clear_error(cli):
    cli("train", "moons", "--epochs", "1", "--out", "run")
    Path("run", "config.json").write_text("[]")
    assert "config.json: expected an object" in cli("eval", "run", code=2)[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_result_that_cannot_be_written_is_one_clear_error():
    with open("/dev/full", "w") as full:
        process = start("trace", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.splitlines()[-1] == "error: No space left on device"
