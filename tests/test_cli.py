"""The command line, as a user meets it."""

import json

import pytest

from anyfw.cli import main


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments: str, code: int = 0) -> tuple[str, str]:
    found = main(arguments)
    out, err = capsys.readouterr()
    assert found == code, err
    return out, err


def test_train_then_eval(capsys):
    out, err = run(capsys, "train", "moons", "--hidden", "16", "--json")
    trained = json.loads(out.splitlines()[-1])
    assert {"test_accuracy", "test_loss", "epochs", "seconds", "backend"} <= trained.keys()
    measured = json.loads(run(capsys, "eval", "runs/moons", "--json")[0].splitlines()[-1])
    assert measured["test_accuracy"] == trained["test_accuracy"]
    assert "epoch 5/5" in err
