"""`Columns`: what was learnt about the columns of a table. JSON-able, and all that raw rows need to become a net's."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from anyfw.core.errors import ConfigError, DataError, FileFormatError
from anyfw.data.base import HostArray

VERSION = 1
Written = Literal["point", "comma", "boolean"]
Task = Literal["classification", "regression"]

# Codes of what a category has no code for: a row of zeros in `nn.CategoryColumns`.
NO_CODE = -1


@dataclass(frozen=True)
class Number:
    """A column of numbers, standardised: (value - mean) / deviation, and 0 where it is missing.

    Attributes:
        name: of the column.
        mean, deviation: of the training rows; the deviation is 1 where they are all alike.
        written: in text with a decimal point, with a decimal comma, or as true and false.
        indicator: whether a column beside it tells where it is missing; so where training rows had missing values.
    """

    name: str
    mean: float
    deviation: float
    written: Written = "point"
    indicator: bool = False


@dataclass(frozen=True)
class Category:
    """A column of categories, each a code.

    Attributes:
        name: of the column.
        values: those with a code of their own, 0, 1, ..., the most frequent ones first.
        width: the length of their vectors; 0 for one-hot.
        pooled: whether all others share the next code, because training rows had some too rare for their own.
        missing: whether missing values have the code after that, because training rows had some.
    """

    name: str
    values: tuple[str, ...]
    width: int = 0
    pooled: bool = False
    missing: bool = False

    @property
    def count(self) -> int:
        """How many codes there are."""
        return len(self.values) + self.pooled + self.missing

    @property
    def other(self) -> int:
        """The code of a category without one of its own."""
        return len(self.values) if self.pooled else NO_CODE

    @property
    def absent(self) -> int:
        """The code of a missing value."""
        return self.count - 1 if self.missing else NO_CODE


@dataclass(frozen=True)
class Target:
    """The column to be predicted.

    Attributes:
        name: of the column.
        class_names: of a classification, in the order of the labels 0, 1, ...; None for a regression.
        written: as of a `Number`.
    """

    name: str
    class_names: tuple[str, ...] | None = None
    written: Written = "point"

    @property
    def task(self) -> Task:
        """What is to be learnt."""
        return "regression" if self.class_names is None else "classification"


@dataclass(frozen=True)
class Columns:
    """What was learnt about a table's columns: `fit` it on training rows, then `encode` any rows.

    Encoded rows hold the numbers, then an indicator for each number that has one, then the codes of the categories:
    what `nn.CategoryColumns(*columns.layout)` takes.

    Attributes:
        numbers, categories: in the order of the table.
        target: the column to be predicted.
        missing: the texts that stand for a missing value.
        left_out: columns that were there and are not used.
    """

    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    target: Target
    missing: tuple[str, ...]
    left_out: tuple[str, ...] = field(default=())

    @property
    def layout(self) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """(numbers, counts, widths), the arguments of `nn.CategoryColumns`."""
        numbers = len(self.numbers) + sum(number.indicator for number in self.numbers)
        counts = tuple(category.count for category in self.categories)
        return numbers, counts, tuple(category.width for category in self.categories)

    @property
    def features(self) -> int:
        """Columns of encoded rows."""
        return self.layout[0] + len(self.categories)

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that rows must have."""
        return (*(number.name for number in self.numbers), *(category.name for category in self.categories))

    @classmethod
    def fit(cls, rows: Any, target: str, **wishes: Any) -> Self:
        """Learn the columns of a table, from all its rows.

        Args:
            rows: a polars or pandas frame, a dict of columns, or the path of a .csv, .tsv or .parquet file.
            target: the column to be predicted.
            wishes: task, categories, numbers, drop and missing, as `data.read_table` has them.

        Raises:
            DataError: columns that cannot be learnt from; ConfigError: another wish; FileFormatError and
                MissingFileError: as `data.read_table`.
        """
        from anyfw.data.tables.frames import open_frames
        from anyfw.data.tables.learning import fit, survey
        from anyfw.data.tables.wishes import Wishes

        known = [field.name for field in fields(Wishes) if field.name != "target"]
        for name in wishes:
            if name not in known:
                raise ConfigError(f"Columns.fit: there is no wish '{name}'. There are: {', '.join(known)}.")
        frames = open_frames(rows)
        return cls(**vars(fit(frames, survey(frames, Wishes(target, **wishes)))))

    def encode(self, rows: Any, dtype: str = "float32") -> HostArray:
        """Raw rows as numbers and codes; extra columns and any order are fine, the target need not be there.

        What was missing, rare or never seen before is told in the log "anyfw".

        Args:
            rows: as `fit`.
            dtype: of the result: float32 or float64.

        Shapes:
            returns (rows, features).

        Raises:
            DataError: columns that are missing, numbers that are none, or no row; ConfigError: another dtype.
        """
        from anyfw.data.tables.encoding import encode_all

        return encode_all(self, rows, dtype)

    def decode(self, x: HostArray) -> dict[str, list[Any]]:
        """Encoded rows as what they stand for, by column, for people to read; None where a value was missing.

        Rounding shows in numbers, and a category without a code of its own is "other".

        Shapes:
            x: (rows, features).
        """
        found: dict[str, list[Any]] = {}
        indicators, numbers = len(self.numbers), self.layout[0]
        for i, number in enumerate(self.numbers):
            values: list[Any] = [number.mean + number.deviation * float(value) for value in x[:, i]]
            if number.indicator:
                absent = x[:, indicators] > 0.5
                values = [None if gone else value for value, gone in zip(values, absent, strict=True)]
                indicators += 1
            found[number.name] = values
        for i, category in enumerate(self.categories):
            names: dict[int, str | None] = dict(enumerate(category.values))
            names |= {category.absent: None} if category.missing else {}
            found[category.name] = [names.get(round(float(code)), "other") for code in x[:, numbers + i]]
        return found

    def check_names(self, names: Iterable[str], where: str) -> None:
        """Refuse a table that lacks columns.

        Raises:
            DataError: all of them are named, each with the nearest one that is there.
        """
        there = list(names)
        lacking = [name for name in self.used if name not in there]
        if lacking:
            spare = [name for name in there if name not in self.used]
            told = ", ".join(f"'{name}'{nearest(name, spare, ' (is it {}?)')}" for name in lacking)
            raise DataError(f"{where}: expected the columns that the net was trained on, and {told} is not among them.")

    def unknown(self, names: Iterable[str]) -> list[str]:
        """The columns of a table that were not there in training."""
        known = {*self.used, *self.left_out, self.target.name}
        return [name for name in names if name not in known]

    def to_config(self) -> dict[str, Any]:
        """JSON-able; `from_config` makes the same again."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """What `to_config` gave, also after JSON has made lists of its tuples.

        Raises:
            FileFormatError: it is none, or of a newer version.
        """
        version = config.get("version") if isinstance(config, Mapping) else None
        if isinstance(version, int) and version > VERSION:
            raise FileFormatError(f"columns: expected version {VERSION} or before, got {version}. Update anyfw.")
        try:
            made = cls(
                numbers=tuple(Number(**one) for one in config["numbers"]),
                categories=tuple(Category(**{**one, "values": tuple(one["values"])}) for one in config["categories"]),
                target=_target(config["target"]),
                missing=tuple(config["missing"]),
                left_out=tuple(config["left_out"]),
            )
            made._check()
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"columns: this describes no table's columns ({type(error).__name__}).") from error
        return made

    def _check(self) -> None:
        texts = (*self.used, self.target.name, *self.missing, *self.left_out, *(self.target.class_names or ()))
        texts += tuple(value for category in self.categories for value in category.values)
        numbers = [value for number in self.numbers for value in (number.mean, number.deviation)]
        sizes = [category.width for category in self.categories]
        if not (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(value, float | int) and abs(value) < float("inf") for value in numbers)
            and all(number.deviation > 0 for number in self.numbers)
            and all(isinstance(size, int) and size >= 0 for size in sizes)
        ):
            raise ValueError("values of other types")


def _target(config: Mapping[str, Any]) -> Target:
    names = config["class_names"]
    return Target(**{**config, "class_names": None if names is None else tuple(names)})


def nearest(name: str, names: Sequence[str], text: str) -> str:
    """The text with the name that is most like this one, or nothing where none is."""
    lower = {other.casefold(): other for other in names}
    near = difflib.get_close_matches(name.casefold(), lower, n=1, cutoff=0.6)
    return text.format(f"'{lower[near[0]]}'") if near else ""
