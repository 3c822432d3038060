"""What a column is, by what it holds and what the user says of it: number, category, left out, or refused."""

import re
import shlex
from dataclasses import dataclass

from anyfw.core.errors import DataError
from anyfw.data.tables.columns import Target, Written
from anyfw.data.tables.survey import Survey
from anyfw.data.tables.wishes import Wishes

# Up to so many different whole numbers as a target are classes, beyond it a quantity.
FEW = 20
# More different texts than this, and than half of the values: names, identifiers, free text.
_NAMES = 10
# A target with more different values has no classes.
MOST_CLASSES = 1000


@dataclass(frozen=True)
class Kind:
    """What a column of inputs is.

    Attributes:
        kind: "number", "category" or "left out".
        written: of numbers.
        why: of one that is left out.
        doubt: what the user may want to know of it.
    """

    kind: str
    written: Written = "point"
    why: str = ""
    doubt: str = ""


def input_kind(survey: Survey, wishes: Wishes, where: str) -> Kind:
    """What a column of inputs is.

    Raises:
        DataError: dates, nested values, infinite numbers, numbers beyond float64, or numbers mixed with text.
    """
    who, name = f"{where}: column '{survey.name}'", survey.name
    if survey.unusable is not None:
        raise _unusable(survey, who)
    if survey.values == 0:
        return Kind("left out", why="no values")
    if survey.different == 1 and not survey.missing:
        return Kind("left out", why=f"always {_short(survey.examples[0])}")
    if name in wishes.categories:
        return Kind("category")
    written = _written(survey)
    if name in wishes.numbers and written is None:
        raise _mixed(survey, who)
    if written is not None:
        return _number(survey, wishes, who, written)
    if _mostly(survey, survey.dates):
        raise _unusable(survey, who)
    if _half(survey) and (survey.different > FEW or survey.share_different > 0.5):
        raise _mixed(survey, who)
    if survey.share_different > 0.5 and survey.different > _NAMES:
        wish = _option("categories", name)
        return Kind("left out", why="almost all different", doubt=f"if these are categories: {wish}")
    return Kind("category")


def target(survey: Survey, wishes: Wishes, where: str) -> Target:
    """What is to be predicted.

    Raises:
        DataError: no values, one value, dates, too many classes, or what `input_kind` refuses in numbers.
    """
    who = f"{where}: the target '{survey.name}'"
    if survey.unusable is not None:
        raise _unusable(survey, who)
    if survey.values == 0:
        raise DataError(f"{who}: expected values to learn, and all {survey.missing} are missing.")
    if survey.values < 2:
        raise DataError(f"{who}: expected at least two rows with a value, to learn from one and test on the other.")
    if survey.different == 1:
        raise DataError(
            f"{who}: expected different values, and all {survey.values} are {_short(survey.examples[0])}: "
            "one class, or one number, leaves nothing to learn."
        )
    written = _written(survey)
    if written is None and _mostly(survey, survey.dates):
        raise _unusable(survey, who)
    few_whole = survey.whole == survey.values and survey.different <= FEW
    task = wishes.task or ("classification" if written in (None, "boolean") or few_whole else "regression")
    if task == "regression":
        if written is None:
            raise _mixed(survey, who)
        _check_numbers(survey, who)
        return Target(survey.name, None, written)
    if written is None and _half(survey) and survey.different > FEW and wishes.task is None:
        raise _mixed(survey, who)
    return Target(survey.name, _class_names(survey, who), written or "point")


def _written(survey: Survey) -> Written | None:
    # How its values are written, if all are numbers or all are booleans.
    for count, written in ((survey.booleans, "boolean"), (survey.points, "point"), (survey.commas, "comma")):
        if count == survey.values:
            return written  # type: ignore[return-value]
    return None


def _number(survey: Survey, wishes: Wishes, who: str, written: Written) -> Kind:
    if written == "boolean":
        return Kind("number", written)
    whole = survey.whole == survey.values
    if whole and survey.running and survey.values > 2 and survey.name not in wishes.numbers:
        return Kind("left out", why="counts the rows", doubt=f"if it is a quantity: {_option('numbers', survey.name)}")
    _check_numbers(survey, who)
    if survey.zeros:
        codes = _option("categories", survey.name)
        return Kind("number", written, doubt=f"written with leading zeros; if these are codes: {codes}")
    if whole and survey.share_different == 1.0 and survey.values > 100:
        drop = _option("drop", survey.name)
        return Kind("number", written, doubt=f"every value is different; if it is an identifier: {drop}")
    return Kind("number", written)


def _check_numbers(survey: Survey, who: str) -> None:
    if survey.infinite is not None:
        row, text = survey.infinite
        raise DataError(
            f"{who}: expected finite numbers, got {text} in row {row}. Correct it, or, if it stands for a missing "
            f"value: {_option('missing', text)}"
        )
    if survey.huge is not None:
        raise DataError(
            f"{who}: expected whole numbers up to 2^53, which float64 tells apart, got {survey.huge}. An identifier? "
            f"{_option('drop', survey.name)}, or {_option('categories', survey.name)}"
        )


def _class_names(survey: Survey, who: str) -> tuple[str, ...]:
    many = survey.different > MOST_CLASSES
    if many or (survey.share_different > 0.5 and survey.different > _NAMES):
        count = f"more than {MOST_CLASSES}" if many else str(survey.different)
        raise DataError(
            f"{who}: expected classes that occur again and again, got too many: {count} different values in "
            f"{survey.values} rows ({', '.join(map(_short, survey.examples))}). Is it another column, or, if these are "
            "numbers, --task regression?"
        )
    try:
        return tuple(sorted(survey.counts, key=float))
    except ValueError:
        return tuple(sorted(survey.counts))


def _mostly(survey: Survey, count: int) -> bool:
    return 10 * count >= 9 * survey.values


def _half(survey: Survey) -> bool:
    return 2 * max(survey.points, survey.commas) >= survey.values


def _mixed(survey: Survey, who: str) -> DataError:
    count = max(survey.points, survey.commas)
    row, text = survey.odd or (0, "")
    return DataError(
        f"{who}: expected numbers, as {count} of {survey.values} values are, got {_short(text)} in row {row}. If it "
        f"stands for a missing value: {_option('missing', text)}; or, for the whole column: "
        f"{_option('categories', survey.name)}, or {_option('drop', survey.name)}"
    )


def _unusable(survey: Survey, who: str) -> DataError:
    what, drop = survey.unusable or "dates", _option("drop", survey.name)
    if what != "dates":
        return DataError(f"{who}: expected numbers or texts, got {what}. Make columns of them, or {drop}")
    shown = f" such as {_short(survey.examples[0])}" if survey.examples else ""
    return DataError(
        f"{who}: expected numbers or categories, got dates or times{shown}. Derive numbers that tell what matters, "
        f"such as year, month, weekday, hour or days since a day, or {drop}"
    )


def _option(name: str, value: str) -> str:
    # As it can be pasted into a command: in quotes for the shell, and not taken for an option itself.
    quoted = shlex.quote(value) if value.isprintable() else repr(value)
    return f"--{name}{'=' if re.match('-[^0-9.]', value) else ' '}{quoted}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else text[:27] + "...")
