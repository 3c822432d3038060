"""What targets must be, checked once on the host: on a device each look at a value would wait for it."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

from anyfw.core.arrays import Array, dtype_name, is_floating, is_integer, namespace
from anyfw.core.errors import ConfigError, DataError, ShapeError

# Rows of probabilities may come from float32 or from rounded text.
_SUM_TOLERANCE = 1e-3


def mismatch(y: tuple[int, ...], target: tuple[int, ...]) -> str:
    """The message for target of another shape than y, with the fix."""
    text = f"expected a target of y's shape {y}, got {target}."
    if y == (*target, 1):
        return f"{text} Use target[:, None] (or y[:, 0]): they would broadcast to every pair of rows."
    if target == (*y, 1):
        return f"{text} Use target[:, 0]: they would broadcast to every pair of rows."
    if y[:1] != target[:1]:
        return f"{text} They have different numbers of rows."
    if y[:-1] == target:
        return f"{text} For class labels, one for each row, use CrossEntropyLoss."
    return f"{text} Nothing is broadcast: give the target the shape of the net's output."


def rows(who: str, target: Array, sample_weight: Array | None) -> None:
    """Targets and weights are real and finite, and there are as many of them; weights are not negative.

    Raises:
        DataError: it is not so.
    """
    finite(who, "target", target)
    if sample_weight is None:
        return
    finite(who, "sample_weight", sample_weight)
    xp = namespace(sample_weight)
    if sample_weight.ndim < 1 or sample_weight.shape[0] != target.shape[0]:
        raise DataError(
            f"{who}: expected one sample_weight for each of {target.shape[0]} rows, got {tuple(sample_weight.shape)}."
        )
    if bool(xp.any(sample_weight < 0)) or not bool(xp.any(sample_weight > 0)):
        raise DataError(f"{who}: expected sample weights of at least 0, and some above 0.")


def finite(who: str, name: str, x: Array) -> None:
    """X is an array of real, finite numbers with rows.

    Raises:
        DataError: it is not so.
    """
    xp = namespace(x)
    if not xp.isdtype(x.dtype, ("bool", "integral", "real floating")):
        raise DataError(f"{who}: expected {name} as real numbers, got dtype {dtype_name(x)}.")
    if x.ndim < 1 or not x.shape[0]:
        raise DataError(f"{who}: expected {name} with at least one row, got shape {tuple(x.shape)}.")
    if is_floating(x):
        good = xp.reshape(xp.isfinite(x), (x.shape[0], -1))
        if not bool(xp.all(good)):
            row = int(xp.argmin(xp.astype(xp.all(good, axis=1), xp.int64)))
            raise DataError(f"{who}: {name} is NaN or infinite at row {row}. Drop or fill such rows.")


def same_shape(who: str, shape: tuple[int, ...], target: Array) -> None:
    """Target has the outputs' shape.

    Raises:
        ShapeError: it has another one.
    """
    if tuple(target.shape) != shape:
        raise ShapeError(f"{who}: {mismatch(shape, tuple(target.shape))}")


def class_labels(who: str, shape: tuple[int, ...], target: Array, training: bool) -> None:
    """Integers 0 ... classes-1, one for each row of outputs; in training at least two different ones.

    Raises:
        ShapeError: not one for each row.
        DataError: values that are no labels of these classes.
    """
    classes = enough_classes(who, shape)
    if tuple(target.shape) != shape[:-1]:
        raise ShapeError(f"{who}: {label_mismatch(shape[:-1], tuple(target.shape), classes)}")
    if not is_integer(target):
        raise DataError(
            f"{who}: expected integer class labels, got {dtype_name(target)}. Convert with target.astype('int64')."
        )
    xp = namespace(target)
    low, high = int(xp.min(target)), int(xp.max(target))
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise DataError(
            f"{who}: expected labels 0 ... {classes - 1}, as the net has {classes} outputs, got {wrong}. "
            "Labels count from 0."
        )
    if training and low == high:
        raise DataError(f"{who}: expected at least two classes, got only label {low}. Are the rows sorted by class?")


def enough_classes(who: str, shape: tuple[int, ...]) -> int:
    """The number of classes of outputs (batch, ..., classes).

    Raises:
        ShapeError: less than two.
    """
    if len(shape) < 2 or shape[-1] < 2:
        raise ShapeError(
            f"{who}: expected outputs of shape (batch, ..., classes) with at least two classes, got {shape}. "
            "For one output use BCEWithLogitsLoss."
        )
    return shape[-1]


def label_mismatch(expected: tuple[int, ...], got: tuple[int, ...], classes: int) -> str:
    """The message for labels of another shape than one for each row, with the fix."""
    text = f"expected integer labels of shape {expected}, one for each row, got {got}."
    if got == (*expected, 1):
        return f"{text} Use target[..., 0]."
    if got == (*expected, classes):
        return f"{text} Turn one-hot rows into labels with target.argmax(-1), or cast them to the outputs' dtype."
    return text


def binary(who: str, target: Array, low: int, training: bool) -> None:
    """Targets between low (0) and 1, or, with low -1, exactly -1 or 1; in training not all of one class.

    Raises:
        DataError: it is not so.
    """
    xp = namespace(target)
    if xp.isdtype(target.dtype, "bool"):
        target = xp.astype(target, xp.int64)
    least, most = float(xp.min(target)), float(xp.max(target))
    if low == 0 and (least < 0 or most > 1):
        hint = " Turn -1, 1 into 0, 1 with (target + 1) / 2." if least == -1 and most <= 1 else ""
        raise DataError(f"{who}: expected targets between 0 and 1, got {least if least < 0 else most:g}.{hint}")
    if low == -1 and not bool(xp.all((target == -1) | (target == 1))):
        hint = " Turn 0, 1 into -1, 1 with 2 * target - 1." if least == 0 and most == 1 else ""
        raise DataError(f"{who}: expected targets -1 or 1, got values from {least:g} to {most:g}.{hint}")
    if training and least == most and least in (low, 1):
        raise DataError(f"{who}: expected at least two classes, got only {least:g}. Are the rows sorted by class?")


def distributions(who: str, probability: Array) -> None:
    """Rows (the last axis) of probabilities: none negative, their sum 1.

    Raises:
        DataError: it is not so.
    """
    xp = namespace(probability)
    if bool(xp.any(probability < 0)):
        raise DataError(f"{who}: expected probabilities as targets, got {float(xp.min(probability)):g}.")
    error = xp.reshape(xp.abs(xp.sum(xp.astype(probability, xp.float64), axis=-1) - 1.0), (-1,))
    row = int(xp.argmax(error))
    if float(error[row]) > _SUM_TOLERANCE:
        raise DataError(
            f"{who}: expected rows of probabilities that sum to 1, row {row} is off by {float(error[row]):.3g}. "
            "Divide each row by its sum."
        )


def weights(who: str, name: str, values: Any) -> tuple[float, ...]:
    """Host numbers as a tuple of floats, finite and not negative.

    Raises:
        ConfigError: they are something else.
    """
    try:
        found = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        found = (-1.0,)
    if not found or not all(0 <= v < float("inf") for v in found) or not any(found):
        raise ConfigError(f"{who}: expected {name} as finite numbers of at least 0, not all 0, got {values!r}.")
    return found


def number(who: str, name: str, value: Any, *, least: float = 0.0, open_end: bool = True) -> float:
    """A finite number above `least`, or from it on.

    Raises:
        ConfigError: it is something else.
    """
    good = not isinstance(value, bool) and isinstance(value, Real) and value < float("inf")
    if not good or not (value > least if open_end else value >= least):
        raise ConfigError(f"{who}: expected {name} {'above' if open_end else 'of at least'} {least:g}, got {value!r}.")
    return float(value)


def balanced(who: str, labels: Array, classes: int) -> Sequence[float]:
    """Class weights rows / (classes * count), so that every class weighs the same in all.

    Raises:
        DataError: a class without rows, or labels outside 0 ... classes-1.
    """
    xp = namespace(labels)
    if not is_integer(labels):
        raise DataError(f"{who}: balanced weights need integer class labels, got {dtype_name(labels)}.")
    found = xp.unique_counts(labels)
    counts = {int(found[0][i]): int(found[1][i]) for i in range(found[0].shape[0])}
    if sorted(counts) != list(range(classes)):
        raise DataError(
            f"{who}: balanced weights need rows of each of the {classes} classes and no others; missing: "
            f"{sorted(set(range(classes)) - set(counts))}, unknown: {sorted(set(counts) - set(range(classes)))}. "
            "Or give the weights as a list."
        )
    total = sum(counts.values())
    return tuple(total / (classes * counts[label]) for label in range(classes))
