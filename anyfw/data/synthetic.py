"""Small problems made on the spot: the same rows for the same seed; labels in turn, so any slice is mixed.

Cosines and sines come from the C library and may differ between platforms in the last bit.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import ConfigError
from anyfw.core.random import normal, uniform

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def moons(rows: int = 1000, noise: float = 0.1, seed: int = 0) -> tuple[Floats, Labels]:
    """Two interleaved half circles of radius 1, which no straight line separates.

    Shapes: x (rows, 2), y (rows,) with labels 0 and 1; `noise` is the standard deviation of each coordinate; the same
    `seed` gives the same rows.

    Raises:
        ConfigError: fewer than 2 rows, or negative noise.
    """
    y = _labels("moons", rows, classes=2)
    angle = math.pi * uniform((rows,), seed, "moons", "angle")
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x[y == 1] = np.array([1.0, 0.5]) - x[y == 1]
    return x + _noise("moons", x.shape, noise, seed), y


def circles(rows: int = 1000, noise: float = 0.05, factor: float = 0.5, seed: int = 0) -> tuple[Floats, Labels]:
    """A circle of radius 1 (label 0) around one of radius `factor` (label 1).

    Shapes: x (rows, 2), y (rows,); `noise` is the standard deviation of each coordinate; the same
    `seed` gives the same rows.

    Raises:
        ConfigError: fewer than 2 rows, negative noise, or a factor outside (0, 1).
    """
    if not 0 < factor < 1:
        raise ConfigError(f"circles: expected a factor between 0 and 1, got {factor!r}.")
    y = _labels("circles", rows, classes=2)
    angle = 2 * math.pi * uniform((rows,), seed, "circles", "angle")
    radius = np.where(y == 0, 1.0, factor)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x + _noise("circles", x.shape, noise, seed), y


def spirals(
    rows: int = 1000, classes: int = 3, noise: float = 0.02, turns: float = 0.75, seed: int = 0
) -> tuple[Floats, Labels]:
    """Arms that wind out of the origin to radius 1, one for each class, `turns` full turns long.

    Shapes: x (rows, 2), y (rows,); `noise` is the standard deviation of each coordinate; the same
    `seed` gives the same rows.

    Raises:
        ConfigError: fewer than 2 classes, fewer rows than classes, or negative noise.
    """
    y = _labels("spirals", rows, classes)
    radius = uniform((rows,), seed, "spirals", "radius")
    angle = 2 * math.pi * (turns * radius + y / classes)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x + _noise("spirals", x.shape, noise, seed), y


def blobs(
    rows: int = 1000, classes: int = 3, features: int = 2, spread: float = 1.0, seed: int = 0
) -> tuple[Floats, Labels]:
    """Round clouds about centres drawn uniformly from [-10, 10] in each feature, one for each class.

    Shapes: x (rows, features), y (rows,); `spread` is the standard deviation of each feature; the same
    `seed` gives the same rows.

    Raises:
        ConfigError: fewer than 2 classes, fewer rows than classes, no features, or a negative spread.
    """
    if features < 1:
        raise ConfigError(f"blobs: expected at least 1 feature, got {features}.")
    y = _labels("blobs", rows, classes)
    centres = 20.0 * uniform((classes, features), seed, "blobs", "centres") - 10.0
    return centres[y] + _noise("blobs", (rows, features), spread, seed), y


def noisy_curve(
    rows: int = 200,
    noise: float = 0.1,
    curve: Callable[[Floats], Floats] = np.sin,
    low: float = -3.0,
    high: float = 3.0,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """A regression in one variable: y = curve(x) + noise, with x uniform in [low, high).

    Shapes: x (rows, 1), y (rows, 1), the shape of a network's output; `noise` is a standard deviation; the same
    `seed` gives the same rows.

    Raises:
        ConfigError: no rows, negative noise, or a `low` that is not below `high`.
    """
    if rows < 1:
        raise ConfigError(f"noisy_curve: expected at least 1 row, got {rows}.")
    if not low < high:
        raise ConfigError(f"noisy_curve: expected low < high, got {low} and {high}.")
    x = low + (high - low) * uniform((rows, 1), seed, "curve", "x")
    return x, curve(x) + _noise("curve", x.shape, noise, seed)


def _labels(name: str, rows: int, classes: int) -> Labels:
    if classes < 2:
        raise ConfigError(f"{name}: expected at least 2 classes, got {classes}.")
    if rows < classes:
        raise ConfigError(f"{name}: expected at least one row for each of {classes} classes, got {rows} rows.")
    return np.arange(rows, dtype=np.int64) % classes


def _noise(name: str, shape: tuple[int, ...], deviation: float, seed: int) -> Floats:
    if not (deviation >= 0 and math.isfinite(deviation)):
        raise ConfigError(f"{name}: expected a standard deviation of at least 0, got {deviation!r}.")
    return deviation * normal(shape, seed, name, "noise")
