"""Every script in examples/ runs as people run it, at tiny size, and says what it promises."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from anyfw.data import idx, mnist

ROOT = Path(__file__).parent.parent
DRAWS = find_spec("matplotlib") is not None

# script -> (arguments, what stdout must match, the picture that it leaves)
EXAMPLES: dict[str, tuple[list[str], str, str | None]] = {
    "capacity": ([], r"hidden .*gap\n(\S+ +\d+ +\d\.\d{3} +\d\.\d{3} +-?\d\.\d\d\n){5}", "capacity.png"),
    "custom_backend": ([], r"counting agrees\nloss (0\.\d{4})\d+, on NumPy \1(.|\n)*calls a step", None),
    "custom_layer": ([], r"every gradient is right(.|\n)*the same outputs, bit for bit", None),
    "from_pytorch": (
        [],
        r"largest difference .*: \d\.\de-0[78]\nepoch 3 (.|\n)* as here\n.*\[0\.0, 7\.0, 0\.0\]",
        None,
    ),
    "lab": ([], r"Does the activation matter\?\n    .*(.|\n)*best of the grid: .*\nthe page: \d+ KB in one file", None),
    "lesson": ([], r"backward (-?\d\.\d{6}), by moving the weight \1(.|\n)*16 hidden units: .* accuracy 99\.", None),
    "manual_loop": (["2"], r"epoch  1  loss \d\.\d{4}\nepoch  2  loss \d\.\d{4}\ntest accuracy \d\d\.\d%", None),
    "mnist": ([], r"test accuracy \d+\.\d\d% on 10000 images\n\d+ mistakes", None),
    "multiclass": ([], r"test accuracy \d+\.\d%; rows(.|\n)*(( +\d+){5}\n){5}", "multiclass.png"),
    "regression": ([], r"MSELoss: loss \S+ -> \S+, \S+ off the curve\nL1Loss: ", "regression.png"),
    "spirals": ([], r"one linear layer +test accuracy \d+\.\d%\ntwo hidden layers +test accuracy", "spirals.png"),
    "tabular": (
        [],
        r"area +number +standardised, missing(.|\n)*those with an area: off by(.|\n)*town Paris.*-> ",
        None,
    ),
    "xor": ([], r"loss \d\.\d+ -> \d\.\d+, accuracy \d+%\n(\d xor \d = \d .*\n){4}", None),
}


# What an example cannot do without.
NEEDS = {"from_pytorch": "torch", "lab": "matplotlib", "tabular": "polars"}


def run(name: str, folder: Path, arguments: list[str], **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ANYFW_MAX_EPOCHS": "2", "ANYFW_MAX_STEPS": "8", **changes}
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / f"{name}.py"), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def mnist_is_here() -> bool:
    given = os.environ.get("ANYFW_DATA_DIR", "")
    folders = [Path(given, "mnist"), Path(given)] if given else []
    return any(not idx.missing_files(folder) for folder in [*folders, mnist.cache_folder() / "mnist"])


def test_every_example_has_a_row():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name: str, tmp_path: Path):
    if name == "mnist" and not mnist_is_here():
        pytest.skip("MNIST is neither in ANYFW_DATA_DIR nor in the cache")
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f"it needs {NEEDS[name]}")
    arguments, expected, picture = EXAMPLES[name]
    result = run(name, tmp_path, arguments)
    assert result.returncode == 0, result.stderr
    assert re.search(expected, result.stdout), result.stdout
    left = {path.name for path in tmp_path.iterdir()}
    if picture is None or not DRAWS:
        assert left == set()
    else:
        assert left == {picture}
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_guides_are_notebooks_as_scripts():
    # Cells of text and of code in turn, as Jupyter (by Jupytext), VS Code and Spyder open them.
    guides = [path for path in (ROOT / "examples").glob("*.py") if "# %%" in path.read_text(encoding="utf-8")]
    assert {"custom_backend", "custom_layer", "from_pytorch", "lab", "lesson", "tabular"} == {
        path.stem for path in guides
    }
    for path in guides:
        first, *cells = re.split(r"^# %%(.*)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert first == "", path
        for kind, cell in zip(cells[::2], cells[1::2], strict=True):
            text = kind == " [markdown]"
            assert kind in ("", " [markdown]"), path
            lines = [line for line in cell.splitlines() if line]
            assert lines, path
            assert not text or all(line.startswith("#") for line in lines), path
        assert cells[1].startswith("# # "), path


def test_xor_is_learnt(tmp_path: Path):
    result = run("xor", tmp_path, [], ANYFW_MAX_EPOCHS="200", ANYFW_MAX_STEPS="200")
    assert "accuracy 100%" in result.stdout
    assert re.findall(r"xor . = (.)", result.stdout) == ["0", "1", "1", "0"]


def test_mnist_says_clearly_when_there_is_none(tmp_path: Path):
    # No mirror is asked: a data folder whose files are not MNIST's ends the search.
    for name in idx.FILE_NAMES:
        (tmp_path / name).write_bytes(b"")
    result = run("mnist", tmp_path, [], ANYFW_DATA_DIR=str(tmp_path))
    assert result.returncode == 1
    assert "No MNIST here, so nothing was trained." in result.stderr
    assert "Traceback" not in result.stderr


def test_pictures_are_left_out_without_matplotlib(tmp_path: Path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not here')\n")
    folder = tmp_path / "run"
    folder.mkdir()
    result = run("multiclass", folder, [], PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert result.returncode == 0, result.stderr
    assert "pip install 'anyfw[plots]'" in result.stdout
    assert list(folder.iterdir()) == []
