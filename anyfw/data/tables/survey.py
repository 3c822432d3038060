"""`Survey`: what one column of a table holds, counted frame by frame with bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from anyfw.data.tables.frames import Series, polars
from anyfw.data.tables.values import canonical, is_text, numbers, texts, unusable

# Different values that are counted one by one; a column with more has "many".
MANY = 10_000
# The largest whole numbers that float64 tells apart.
_EXACT = 2.0**53
_EXAMPLES = 3
_DATE = (
    r"^(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}[- ][A-Za-z]{3,9}\.?[- ,]+\d{2,4})"
    r"([T ]+\d{1,2}:\d{2}.*)?$|^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$"
)


@dataclass
class Survey:
    """What one column holds.

    Attributes:
        name: of the column.
        missing_texts: the texts that stand for a missing value.
        text: whether it is stored as text.
        unusable: what it holds that is neither text nor number, in words.
        values, missing: numbers of rows.
        points, commas, booleans, dates: how many values are numbers with a decimal point, with a comma, true or false,
            dates or times.
        whole: how many numbers are whole.
        zeros: how many of them are written with leading zeros.
        running: whether each number is the one before it plus 1.
        infinite: (row, text) of the first infinite number.
        huge: the first whole number that float64 cannot tell from its neighbours.
        odd: (row, text) of the first value that is no number.
        counts: how often each value occurs; empty where there are many.
        seen: values looked at until there were many.
        examples: the first different values.
    """

    name: str
    missing_texts: Sequence[str]
    text: bool = False
    unusable: str | None = None
    values: int = 0
    missing: int = 0
    points: int = 0
    commas: int = 0
    booleans: int = 0
    dates: int = 0
    whole: int = 0
    zeros: int = 0
    running: bool = True
    infinite: tuple[int, str] | None = None
    huge: str | None = None
    odd: tuple[int, str] | None = None
    counts: dict[str, int] = field(default_factory=dict)
    seen: int = 0
    many: bool = False
    examples: list[str] = field(default_factory=list)
    _last: float | None = None

    @property
    def different(self) -> int:
        """How many different values there are; `MANY` where there are more."""
        return MANY if self.many else len(self.counts)

    @property
    def share_different(self) -> float:
        """Different values by values, where there are many: of those before that was found."""
        return (MANY if self.many else len(self.counts)) / max(1, self.seen if self.many else self.values)

    def add(self, column: Series, rows: Series) -> None:
        """Count the values of some rows, whose numbers in the table are `rows`."""
        self.unusable = unusable(column)
        if self.unusable is not None:
            self.values += len(column) - column.null_count()
            return
        self.text = is_text(column)
        text = texts(column, self.missing_texts)
        values = len(text) - text.null_count()
        self.values, self.missing = self.values + values, self.missing + len(text) - values
        if not values:
            return
        number = self._add_numbers(column, text, rows)
        if self.text and len(number) - number.null_count() < values:
            self._add_texts(column, text, number, rows)
        elif self.text:
            self.zeros += int(text.str.contains(r"^0\d+$").sum())
            # Points alone are commas, too, where there is none.
            self.commas += values - int(text.str.contains(".", literal=True).sum())
        self._add_counts(text)

    def _add_numbers(self, column: Series, text: Series, rows: Series) -> Series:
        number = numbers(column, self.missing_texts, "point")
        found = number.drop_nulls()
        self.points += len(found)
        if column.dtype == polars().Boolean:
            self.booleans += len(found)
        if not len(found):
            self.running = False
            return number
        self.whole += int((found == found.floor()).sum())
        infinite = number.is_infinite().fill_null(False).arg_true()
        if len(infinite) and self.infinite is None:
            self.infinite = int(rows[infinite[0]]), str(text[infinite[0]])
        if self.huge is None and column.dtype.is_float() is False:
            large = (number.abs() > _EXACT).fill_null(False).arg_true()
            if len(large):
                exact = text.gather(large).drop_nulls()
                exact = exact.filter(exact.str.contains(r"^[+-]?\d+$"))
                self.huge = str(exact[0]) if len(exact) else None
        steps = found.diff().drop_nulls()
        follows = self._last is None or float(found[0]) == self._last + 1.0
        self.running = self.running and follows and bool((steps == 1.0).all())
        self._last = float(found[-1])
        return number

    def _add_texts(self, column: Series, text: Series, number: Series, rows: Series) -> None:
        odd = text.is_not_null() & number.is_null()
        if self.odd is None:
            first = odd.arg_true()[0]
            self.odd = int(rows[first]), str(text[first])
        comma = numbers(column, self.missing_texts, "comma")
        self.commas += len(comma) - comma.null_count()
        others = text.filter(odd)
        self.booleans += int(others.str.to_lowercase().is_in(["true", "false"]).sum())
        self.dates += int(others.str.contains(_DATE).sum())

    def _add_counts(self, text: Series) -> None:
        pl = polars()
        if len(self.examples) < _EXAMPLES:
            first = text.drop_nulls().head(1000).unique(maintain_order=True).head(2 * _EXAMPLES).to_list()
            new = [value for value in first if value not in self.examples]
            self.examples = (self.examples + new)[:_EXAMPLES]
        if self.many:
            return
        present = text.drop_nulls()
        self.seen += len(present)
        counted = pl.DataFrame({"value": present}).group_by("value").len()
        if len(counted) > MANY:
            self.many = True
        else:
            for value, count in counted.iter_rows():
                one = canonical(value)
                self.counts[one] = self.counts.get(one, 0) + count
            self.many = len(self.counts) > MANY
        if self.many:
            self.counts = {}
