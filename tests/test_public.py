"""What is promised to those who import anyfw: its names, its light import, and a README that is true."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import anyfw

ROOT = Path(__file__).parent.parent
# Without those that import a library which may be absent.
PACKAGES = [
    name
    for _, name, _ in pkgutil.walk_packages(anyfw.__path__, "anyfw.")
    if not name.endswith(("__main__", "interop.torch.layers"))
    and ".backends." not in name
    and not name.startswith("anyfw.cli")
    # Its modules import scikit-learn at once, and its names are theirs.
    if find_spec("sklearn") is not None or ".interop.sklearn" not in name
]


@pytest.mark.parametrize("name", ["anyfw", *PACKAGES])
def test_all_is_reality(name):
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        assert getattr(module, public) is not None
    assert len(set(getattr(module, "__all__", ()))) == len(getattr(module, "__all__", ()))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Trainerr"):
        anyfw.Trainerr  # noqa: B018
    assert "Trainer" in dir(anyfw)


def modules_after(code):
    program = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_the_import_is_light():
    assert "numpy" not in modules_after("import anyfw")
    loaded = modules_after(
        "import anyfw; anyfw.nn, anyfw.optim, anyfw.losses, anyfw.Trainer, anyfw.get_backend('numpy')"
    )
    heavy = {"torch", "cupy", "rich", "tyro", "safetensors", "matplotlib", "array_api_strict", "array_api_compat.numpy"}
    assert not heavy & loaded


def readme_programs():
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)


# What tells that a program of the README needs an optional package.
NEEDED = {"sklearn": "sklearn", "read_table": "polars", "onnx": "onnxruntime"}


@pytest.mark.parametrize("number", range(len(readme_programs())))
def test_the_readme_runs(number, tmp_path):
    text, program = readme_programs()[number], tmp_path / "readme.py"
    for sign, package in NEEDED.items():
        if sign in text and find_spec(package) is None:
            pytest.skip(f"it needs {package}")
    program.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    if number == 0:
        assert float(re.search(r"'accuracy': ([0-9.]+)", done.stdout)[1]) > 0.9
        assert len(readme_programs()[0].strip().splitlines()) <= 24


def test_the_table_of_backends_is_current():
    sys.path.insert(0, str(ROOT / "ci"))
    try:
        import backends_table
    finally:
        sys.path.pop(0)
    pytest.importorskip("torch", reason="the table's torch column needs torch")
    assert backends_table.section() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_figures_of_speed_are_those_of_the_results(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "ci" / "bench"))
    table = importlib.import_module("table")
    assert table.section() in (ROOT / "README.md").read_text(encoding="utf-8")
