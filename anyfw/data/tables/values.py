"""The values of a column, whatever it is stored as: as texts, and as numbers."""

import math
import re
from collections.abc import Sequence

from anyfw.data.tables.columns import Written
from anyfw.data.tables.frames import Series, polars

_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def is_text(column: Series) -> bool:
    """Whether it is stored as text."""
    pl = polars()
    return isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum)


def unusable(column: Series) -> str | None:
    """What a column holds that is neither text nor number, in words; None for others.

    "dates" is what `is_temporal` columns are called.
    """
    pl = polars()
    kind = column.dtype
    if kind.is_temporal():
        return "dates"
    if is_text(column) or kind.is_numeric() or kind in (pl.Boolean, pl.Null):
        return None
    return "nested values" if kind.is_nested() else f"values of the type {kind}"


def texts(column: Series, missing: Sequence[str]) -> Series:
    """The values as texts without spaces around them; null where they are missing."""
    pl = polars()
    if not is_text(column):
        return _without_numbers(column, missing).cast(pl.String)
    text = column.cast(pl.String).str.strip_chars()
    if not len(text):
        return text
    gone = text.is_in(list(missing))
    whole = [canonical(one) for one in missing if canonical(one).lstrip("+-").isdecimal()]
    if whole:  # -999.0 is -999 in text as in numbers
        gone |= text.str.replace(f"^{_WHOLE.pattern}$", "$1").is_in(whole)
    # Not filtered: every row keeps its place.
    return text.set(gone, None)


def numbers(column: Series, missing: Sequence[str], written: Written) -> Series:
    """The values as float64; null where they are missing, or no numbers written that way."""
    pl = polars()
    if not is_text(column):
        return _without_numbers(column, missing).cast(pl.Float64)
    text = texts(column, missing)
    if written == "boolean":
        lower = text.str.to_lowercase()
        return lower.replace_strict(["true", "false"], [1.0, 0.0], default=None, return_dtype=pl.Float64)
    if written == "comma":
        # A point beside it would be a thousands separator, or the comma one: neither is guessed at.
        text = text.set(text.str.contains(".", literal=True), None).str.replace(",", ".", literal=True)
    return text.cast(pl.Float64, strict=False).fill_nan(None)


def _without_numbers(column: Series, missing: Sequence[str]) -> Series:
    # Null where a value is NaN, or equals a number among the texts for missing ones.
    pl = polars()
    if not column.dtype.is_numeric():
        return column
    floats = column.fill_nan(None) if column.dtype.is_float() else column.cast(pl.Float64)
    gone = [number for number in map(_number, missing) if number is not None]
    if not gone:
        return floats if column.dtype.is_float() else column
    absent = floats.is_null() | floats.is_in(pl.Series(gone, dtype=floats.dtype).to_list()).fill_null(False)
    return pl.select(pl.when(absent).then(None).otherwise(column)).to_series()


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def canonical(text: str) -> str:
    """One text for what is one category: 3.0 is 3, as integers with gaps are written, and True is true.

    >>> canonical("3.0"), canonical("True"), canonical("03"), canonical("2.50")
    ('3', 'true', '03', '2.50')
    """
    whole = _WHOLE.fullmatch(text)
    if whole is not None:
        return whole[1]
    return text.lower() if text in ("True", "False", "TRUE", "FALSE") else text
