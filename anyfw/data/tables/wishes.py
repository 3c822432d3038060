"""`Wishes`: what the user says of a table's columns, where inference would say otherwise or cannot know."""

from collections.abc import Sequence
from dataclasses import dataclass

from anyfw.core.errors import ConfigError, DataError, UnknownNameError
from anyfw.data.tables.columns import nearest

TASKS = ("classification", "regression")
# As spreadsheets, R, pandas, SQL and the UCI repository write them.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "?")
_SHOWN = 12


@dataclass(frozen=True)
class Wishes:
    """What the user says of a table's columns.

    Attributes:
        target: the column to be predicted.
        task: classification or regression; None: what its values tell.
        categories: columns that are categories although they look otherwise, such as post codes.
        numbers: columns that are numbers although they look otherwise, such as a running number.
        drop: columns that are left out.
        missing: the texts that stand for a missing value.

    Raises:
        UnknownNameError: another task.
        ConfigError: a column with two wishes, or one text, or values that are no texts, in place of several texts.
    """

    target: str
    task: str | None = None
    categories: Sequence[str] = ()
    numbers: Sequence[str] = ()
    drop: Sequence[str] = ()
    missing: Sequence[str] = MISSING

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in TASKS:
            raise UnknownNameError("task", self.task, TASKS)
        for name in ("categories", "numbers", "drop", "missing"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(f"{name}: expected several texts, got {getattr(self, name)!r} alone. Use a list.")
            for one in getattr(self, name):
                if not isinstance(one, str):
                    raise ConfigError(f"{name}: expected texts, got {one!r}. Write it as text: {str(one)!r}")
        wishes = {
            "the target": [self.target],
            "categories": self.categories,
            "numbers": self.numbers,
            "drop": self.drop,
        }
        found: dict[str, str] = {}
        for wish, names in wishes.items():
            for name in set(names):
                if name in found:
                    raise ConfigError(f"Column '{name}' is named twice: as {found[name]} and as {wish}.")
                found[name] = wish

    def check_names(self, names: Sequence[str], where: str) -> None:
        """Refuse wishes for columns that are not there.

        Raises:
            DataError: the nearest column and all there are, are named.
        """
        for name in (self.target, *self.categories, *self.numbers, *self.drop):
            if name not in names:
                hint = nearest(name, names, " Did you mean {}?")
                raise DataError(f"{where}: there is no column '{name}'.{hint} Columns: {listed(names)}.")


def listed(names: Sequence[str]) -> str:
    """Names for a message, not all of them where they are many."""
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
