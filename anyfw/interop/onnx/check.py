"""`check`: does an ONNX file compute what the net computes?"""

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw import nn
from anyfw.core import random
from anyfw.core.atomic import open_to_read
from anyfw.core.errors import ConfigError, MissingExtraError
from anyfw.core.layer import Layer
from anyfw.core.parameter import to_host
from anyfw.interop.onnx.outputs import meaning
from anyfw.losses import Loss


def check(
    path: str | PathLike[str], net: Layer, x: Any = None, *, loss: Loss | None = None, rows: int = 16, seed: int = 0
) -> float:
    """Run an exported file in onnxruntime; the largest difference between it and the net.

    Of outputs it is relative to the largest of the same column in all rows, so that each counts in its own unit; of
    probabilities and labels it is absolute.

    Args:
        path: what `export(net, path)` wrote.
        net: the same net.
        x: host rows; None is `rows` random ones: bytes where the file takes these, else normal ones on the scale that a
            first `nn.Rescale` expects.
        loss: as it was given to `export`.
        rows, seed: how many, and which.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        MissingFileError: there is no such file, or it cannot be opened.
        FileFormatError: a folder.
        ConfigError: onnxruntime refuses the file.
        ShapeError: rows that do not fit the net.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx", "Running an ONNX file") from error
    open_to_read(path).close()
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes, one for each status, derive from nothing else
        raise ConfigError(f"{path}: onnxruntime {onnxruntime.__version__} cannot run it: {error}") from error
    taken, given = session.get_inputs()[0], session.get_outputs()[0]
    dtype = _dtype(taken.type)
    rows_given = _samples(net, tuple(taken.shape[1:]), dtype, rows, seed) if x is None else np.asarray(x)
    samples = rows_given.astype(dtype)
    computed, _ = meaning(net, given.name, loss)
    y = to_host(computed(net.forward(net.backend.asarray(samples, net.dtype))))
    found = session.run([given.name], {taken.name: samples})[0]
    if found.shape != y.shape:
        raise ConfigError(f"{path}: it gives shape {found.shape} where the net gives {y.shape}. Is it of another net?")
    return _largest(found, y.astype(np.float64), relative=given.name == "output")


def _largest(found: NDArray[Any], y: NDArray[Any], *, relative: bool) -> float:
    with np.errstate(invalid="ignore"):  # infinity less infinity, where both are equal
        difference = np.where((found == y) | (np.isnan(found) & np.isnan(y)), 0.0, np.abs(found - y))
    if relative:
        scale = np.abs(y).max(axis=tuple(range(y.ndim - 1)) or None, initial=0.0)
        difference = difference / np.where(scale == 0.0, 1.0, scale)
    return float(difference.max(initial=0.0))


def _dtype(type: str) -> str:
    name = type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def _samples(net: Layer, shape: tuple[Any, ...], dtype: str, rows: int, seed: int) -> NDArray[Any]:
    full = (rows, *(axis if isinstance(axis, int) else 3 for axis in shape))
    if not dtype.startswith("float"):
        top = 127 if dtype == "int8" else 255
        return np.floor(random.uniform(full, seed, "onnx", "x") * (top + 1))
    x = random.normal(full, seed, "onnx", "x")
    first = next((layer for _, layer in net.named_layers() if not any(layer.children())), net)
    if isinstance(first, nn.Rescale):
        scale = np.asarray(first.scale)
        x = (x - np.asarray(first.shift)) / np.where(scale == 0.0, 1.0, scale)
    return x
