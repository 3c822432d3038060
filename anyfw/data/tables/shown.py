"""What was learnt about a table, as lines for people."""

from collections.abc import Iterator

from anyfw.data.tables.columns import Category, Columns, Number
from anyfw.data.tables.learning import Surveyed
from anyfw.data.tables.survey import MANY, Survey

_CODES = 12  # categories that are told one by one


def shown(table: Surveyed, columns: Columns) -> Iterator[str]:
    """A line for each column, under a header, and what else the user must be told."""
    learnt: dict[str, Number | Category] = {number.name: number for number in columns.numbers}
    learnt |= {category.name: category for category in columns.categories}
    cells = [("column", "kind", "encoded as", "missing", "values", "examples")]
    for name, survey in table.inputs.items():
        kind, one = table.kinds[name], learnt.get(name)
        how = _number(one) if isinstance(one, Number) else _category(one) if one is not None else kind.why
        cells.append((name, kind.kind, how, f"{survey.missing:,}", _different(survey), _examples(survey)))
    target, survey = columns.target, table.answers
    how = "as it is" if target.class_names is None else f"{len(target.class_names)} classes"
    cells.append((target.name, "target", how, f"{survey.missing:,}", _different(survey), _examples(survey)))
    widths = [min(44, max(len(row[i]) for row in cells)) for i in range(5)]
    for row in cells:
        left = [f"{text:{width}}" for text, width in zip(row[:3], widths[:3], strict=True)]
        right = [f"{text:>{width}}" for text, width in zip(row[3:5], widths[3:], strict=True)]
        yield "  ".join([*left, *right, row[5]]).rstrip()
    yield from (f"'{name}': {kind.doubt}" for name, kind in table.kinds.items() if kind.doubt)
    if table.wishes.drop:
        yield f"left out, as asked for: {', '.join(table.wishes.drop)}"
    if table.without_target:
        rows = "row has" if table.without_target == 1 else "rows have"
        yield f"{table.without_target:,} {rows} no value of '{target.name}' and will not be used"
    few_numbers = target.class_names is not None and survey.points == survey.values and table.wishes.task is None
    if few_numbers:
        yield f"'{target.name}' has few different whole numbers: taken as classes; for a quantity: --task regression"


def _number(number: Number) -> str:
    how = {"point": "", "comma": ", decimal comma", "boolean": ", true is 1"}[number.written]
    return f"standardised{how}{', missing beside it' if number.indicator else ''}"


def _category(category: Category) -> str:
    others = "".join([", rare ones pooled" * category.pooled, ", missing as one" * category.missing])
    return f"vectors of {category.width}{others}" if category.width else f"one-hot{others}"


def _different(survey: Survey) -> str:
    return f">{MANY:,}" if survey.many else f"{survey.different:,}"


def _examples(survey: Survey) -> str:
    return ", ".join(text if len(text) <= 20 else text[:17] + "..." for text in survey.examples)


def encoded_columns(columns: Columns) -> list[str]:
    """What stands in each column of encoded rows, in words, for whoever must encode rows without anyfw."""
    told = [
        f"{one.name}: (value - {one.mean:.7g}) / {one.deviation:.7g}, 0 where it is missing" for one in columns.numbers
    ]
    told += [f"1 where {one.name} is missing, else 0" for one in columns.numbers if one.indicator]
    for one in columns.categories:
        codes = [f"{code} {value}" for code, value in enumerate(one.values[:_CODES])]
        codes += ["..."] if len(one.values) > _CODES else []
        codes += [f"{one.absent} missing"] if one.missing else []
        told.append(f"{one.name}: {', '.join(codes)}, {one.other} any other")
    return told
