"""Tables as polars frames of some ten thousand rows each, from wherever they come, as often as asked for."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from anyfw.core.atomic import open_to_read
from anyfw.core.errors import DataError, FileFormatError, MissingExtraError
from anyfw.data.tables.csv_text import CsvText
from anyfw.data.tables.wishes import listed

Frame: TypeAlias = Any  # a polars DataFrame: polars is imported on demand
Series: TypeAlias = Any

SUFFIXES = (".csv", ".tsv", ".parquet")
_ROWS = 2**16


class Frames(Protocol):
    """A table that can be gone through again and again, with little memory.

    Attributes:
        name: for messages.
        names: of the columns.
    """

    name: str
    names: list[str]

    def __iter__(self) -> Iterator[Frame]:
        """Frames with all columns, in the order of the rows; none is empty."""


def polars() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import polars
    except ImportError as error:
        raise MissingExtraError("polars", "tables", "Reading tables") from error
    return polars


def is_table(name: str | os.PathLike[str]) -> bool:
    """Whether the name ends as a table's file does."""
    return Path(name).suffix.lower() in SUFFIXES


def open_frames(source: Any) -> Frames:
    """The frames of a polars or pandas frame, a dict of columns, or a .csv, .tsv or .parquet file.

    Raises:
        MissingExtraError: polars is not installed.
        MissingFileError: no such file.
        FileFormatError: another kind of file, or one that is damaged.
        DataError: another kind of source, columns of different lengths, or a lazy frame that cannot be collected.
    """
    polars()
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.suffix.lower() not in SUFFIXES:
            raise FileFormatError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}.")
        return _Parquet(path) if path.suffix.lower() == ".parquet" else _Csv(path)
    return _Whole(source)


class _Csv:
    def __init__(self, path: Path) -> None:
        self.name, self.text = str(path), CsvText(path)
        self.names = self.text.names

    def __iter__(self) -> Iterator[Frame]:
        for block, rows in self.text.blocks():
            frame = self._read(block)
            if len(frame) != rows:
                raise self._stray_quote(f"{rows} rows are {len(frame)}")
            if frame.width != len(self.names):
                raise self._stray_quote(f"{len(self.names)} columns are {frame.width}")
            frame.columns = self.names
            yield frame

    def _read(self, block: bytes) -> Frame:
        pl = polars()
        try:
            # All as text: what a column holds is decided over all its rows.
            return pl.read_csv(
                block,
                has_header=False,
                infer_schema=False,
                separator=self.text.separator,
                quote_char='"' if b'"' in block else None,
            )
        except pl.exceptions.PolarsError as error:
            raise self._stray_quote(_first_line(error)) from error

    def _stray_quote(self, why: str) -> FileFormatError:
        return FileFormatError(
            f"{self.name}: cannot be read as CSV ({why}). Is there a quote in a field that is not in quotes itself, "
            "and doubled?"
        )


class _Parquet:
    def __init__(self, path: Path) -> None:
        self.name, self.path = str(path), path
        open_to_read(path).close()  # refuses folders, and says what is missing
        self.names = list(self._read(lambda lazy: lazy.collect_schema().names()))
        self.rows = int(self._read(lambda lazy: lazy.select(polars().len()).collect().item()))
        if not self.names:
            raise FileFormatError(f"{path}: expected a table, got a file without columns.")

    def __iter__(self) -> Iterator[Frame]:
        for start in range(0, self.rows, _ROWS):
            yield self._read(lambda lazy, start=start: lazy.slice(start, _ROWS).collect())

    def _read(self, read: Any) -> Any:
        pl = polars()
        try:
            return read(pl.scan_parquet(self.path, glob=False))
        # polars reports what is damaged by its own errors, by the system's, and by panics of its Rust code.
        except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
            raise FileFormatError(
                f"{self.name}: not a Parquet file, or truncated or corrupt ({_first_line(error)})."
            ) from error


class _Whole:
    def __init__(self, source: Any) -> None:
        pl = polars()
        self.name = "The table"
        if isinstance(source, pl.LazyFrame):
            source = _made(source.collect)
        elif isinstance(source, Mapping):
            source = _made(lambda: pl.DataFrame(dict(source), strict=False))
        elif not isinstance(source, pl.DataFrame):
            source = _from_pandas(source)
        self.frame, self.names = source, list(source.columns)

    def __iter__(self) -> Iterator[Frame]:
        yield from self.frame.iter_slices(_ROWS)


def _made(make: Callable[[], Frame]) -> Frame:
    # A lazy frame of a file that is gone, or a dict of columns of different lengths.
    try:
        return make()
    except (polars().exceptions.PolarsError, OSError, TypeError, ValueError) as error:
        raise DataError(
            f"Table: expected columns of one length, each of values of one kind, with a text as its name; polars says: "
            f"{_first_line(error)}."
        ) from error


def _from_pandas(source: Any) -> Frame:
    # Column by column: polars' own way needs pyarrow, a package of a hundred megabytes.
    pl = polars()
    if not (hasattr(source, "columns") and hasattr(source, "iloc")):
        raise DataError(
            f"Table: expected a polars or pandas frame, a dict of columns or a path, got {type(source).__name__}."
        )
    names = [str(name) for name in source.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"Table: expected a name of its own for each column, got twice: {listed(twice)}.")
    columns = {}
    for i, name in enumerate(names):
        column = source.iloc[:, i]
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
            columns[name] = pl.Series(name, column.to_numpy())
        else:
            plain = column.astype(object)
            columns[name] = pl.Series(name, plain.where(plain.notna(), None).tolist(), strict=False)
    return pl.DataFrame(columns)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
