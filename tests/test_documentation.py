"""The docstrings are the reference: those of public classes and functions name every argument, and more."""

import importlib
import inspect
import re
from importlib.util import find_spec

import pytest

# What each public object of a module tells besides its arguments.
MODULES: dict[str, tuple[str, ...]] = {
    "nn": ("Shapes",),
    "losses": ("Shapes",),
    "metrics": ("Shapes",),
    "optim": ("Raises",),
    "data": (),
    "interop.onnx": ("Raises",),
    "interop.sklearn": (),
    "interop.torch": ("Raises",),
    "interop.trackers": ("Args",),
    "report": (),
    "report.plots": (),
    "train": (),
}
PLAIN = {"from_config", "resolve", "Value"}  # they take configs, names and nodes: there is no such section to be told


def public(module: str) -> list[tuple[str, object]]:
    package = module.partition(".")[2]
    if package in ("onnx", "sklearn") and find_spec(package) is None:
        return []
    found = importlib.import_module(f"anyfw.{module}")
    names = getattr(found, "__all__", [name for name in vars(found) if not name.startswith("_")])
    return [
        (name, value)
        for name in names
        if (inspect.isclass(value := getattr(found, name)) or inspect.isfunction(value))
        and value.__module__.startswith(f"anyfw.{module.partition('.')[0]}")
    ]


def arguments(value: object) -> list[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, one in inspect.signature(value).parameters.items() if one.kind not in kinds]


CASES = [(module, name, value) for module in MODULES for name, value in public(module)]


@pytest.mark.parametrize(("module", "name", "value"), CASES, ids=[f"{module}.{name}" for module, name, _ in CASES])
def test_docstring_is_complete(module, name, value):
    told = inspect.getdoc(value) or ""
    missing = [one for one in arguments(value) if not re.search(rf"\b{one}\b", told)]
    assert missing == []
    if name not in PLAIN:
        assert [section for section in MODULES[module] if f"{section}:" not in told] == []


def test_the_test_sees_what_is_missing():
    def documented(x, unit):
        """X in metres."""

    told = inspect.getdoc(documented)
    assert [one for one in arguments(documented) if not re.search(rf"\b{one}\b", told)] == ["x", "unit"]
