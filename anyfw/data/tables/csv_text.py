"""CSV files in blocks of whole rows, so that a file of any size takes little memory; and what is wrong with a file.

Rows end where a line ends outside quotes. Every row must have as many fields as the header; blank lines are skipped.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from anyfw.core.atomic import open_to_read
from anyfw.core.errors import FileFormatError
from anyfw.data.tables.wishes import listed

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
BLOCK = 2**22  # bytes read at a time
MAX_ROW = 2**25  # bytes: a longer one is a quote that nobody closed
_QUOTE, _MARK = ord('"'), b"\xef\xbb\xbf"
_OTHER_KINDS = (
    (b"PAR1", "a Parquet file: give it the suffix .parquet"),
    (b"\x1f\x8b", "gzipped: unpack it first"),
    (b"PK\x03\x04", "a zip archive, as .xlsx and .npz files are: save the sheet as CSV"),
    (b"\xff\xfe", "UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16: save it as UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file: save the sheet as CSV"),
)


class CsvText:
    """The text of a CSV file.

    Attributes:
        names: of the columns.
        separator: between fields: the one of comma, semicolon, tab and bar that the header has most of.

    Raises:
        MissingFileError: no such file.
        FileFormatError: empty, another kind of file, another encoding than UTF-8, or a header that names no columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start, self._line = 0, 1  # of the header, below blank lines
        with open_to_read(path) as file:
            first = self._first_row(file)
        self.separator = max(SEPARATORS, key=lambda one: _outside_quotes(first, one))
        text = first.decode("utf-8").rstrip("\r\n")
        try:
            self.names = [name.strip() for name in next(csv.reader([text], delimiter=self.separator), [])]
        except csv.Error as error:
            raise FileFormatError(f"{path}: the header cannot be read as CSV: {error}.") from error
        self._check_names()

    def blocks(self) -> Iterator[tuple[bytes, int]]:
        """Whole rows without the header, as many as fit into a block, and how many; line ends are plain newlines.

        Raises:
            FileFormatError: a row that has too few or too many fields, is too long, or is no UTF-8.
        """
        rest, line, header = b"", self._line, True
        with open_to_read(self.path) as file:
            file.seek(self._start)
            while data := file.read(BLOCK):
                rest += data
                end = _end_of_rows(rest)
                if end == 0 and len(rest) > MAX_ROW:
                    raise self._unclosed(line)
                whole, rest = rest[:end], rest[end:]
                if whole:
                    yield from self._checked(whole, line, header=header)
                    line, header = line + whole.count(b"\n"), False
            if rest:
                if rest.count(b'"') % 2:
                    raise self._unclosed(line)
                yield from self._checked(rest + b"\n", line, header=header)

    def _checked(self, block: bytes, line: int, *, header: bool) -> Iterator[tuple[bytes, int]]:
        self._check_text(block, line)
        block = block.replace(b"\r\n", b"\n")
        if header:
            start = _ends(block)[0] + 1
            block, line = block[start:], line + block[:start].count(b"\n")
        block, rows = self._without_blanks(block, line)
        if rows:
            yield block, rows

    def _without_blanks(self, block: bytes, line: int) -> tuple[bytes, int]:
        ends = _ends(block)
        separators = _outside(block, self.separator)
        fields = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
        starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
        blank = starts == ends
        wrong = np.flatnonzero((fields != len(self.names)) & ~blank)
        if len(wrong):
            row = int(wrong[0])
            number = line + block[: starts[row]].count(b"\n")
            raise FileFormatError(
                f"{self.path}, line {number}: expected {len(self.names)} fields, as the header has, got {fields[row]} "
                f"(separated by a {SEPARATORS[self.separator]}). A field with a separator in it must be in quotes."
            )
        if not blank.any():
            return block, len(ends)
        kept = np.ones(len(block), dtype=np.bool_)
        kept[ends[blank]] = False
        return np.frombuffer(block, dtype=np.uint8)[kept].tobytes(), int(np.count_nonzero(~blank))

    def _first_row(self, file: BinaryIO) -> bytes:
        start = file.read(BLOCK)
        if not start.strip(_MARK + b" \t\r\n"):
            raise FileFormatError(f"{self.path}: expected a table with a header, got an empty file.")
        for magic, what in _OTHER_KINDS:
            if start.startswith(magic):
                raise FileFormatError(f"{self.path}: expected a CSV file, got {what}.")
        below = start.removeprefix(_MARK).lstrip(b"\r\n")
        self._start = len(start) - len(below)
        self._line += start[: self._start].count(b"\n")
        ends = _ends(below)
        first = below[: ends[0] + 1] if len(ends) else below
        self._check_text(first, self._line)
        if b"\r" in first.rstrip(b"\r\n"):
            raise FileFormatError(f"{self.path}: lines end in carriage returns alone. Save it with newlines.")
        return first

    def _check_text(self, block: bytes, line: int) -> None:
        if b"\0" in block:
            number = line + block[: block.index(b"\0")].count(b"\n")
            raise FileFormatError(f"{self.path}, line {number}: expected text, got null bytes: this is no CSV file.")
        try:
            block.decode("utf-8")
        except UnicodeDecodeError as error:
            number = line + block[: error.start].count(b"\n")
            raise FileFormatError(
                f"{self.path}, line {number}: expected UTF-8, got byte 0x{block[error.start]:02x}. Save it as UTF-8, "
                "for instance: iconv -f latin1 -t utf8 OLD > NEW"
            ) from error

    def _check_names(self) -> None:
        names, path = self.names, self.path
        empty = [i + 1 for i, name in enumerate(names) if not name]
        if empty:
            raise FileFormatError(
                f"{path}: column {empty[0]} of {len(names)} has no name in the header. Name it; pandas leaves its "
                "index away with to_csv(..., index=False)."
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise FileFormatError(f"{path}: expected a name of its own for each column, got twice: {listed(twice)}.")
        if all(_is_number(name) for name in names):
            raise FileFormatError(
                f"{path}: expected the names of the columns in the first line, got numbers: {listed(names)}. "
                "Put a header above them."
            )

    def _unclosed(self, line: int) -> FileFormatError:
        return FileFormatError(f"{self.path}: a quote opened in line {line} or after it is never closed.")


def _ends(block: bytes) -> NDArray[np.int64]:
    # Where rows end.
    return _outside(block, "\n")


def _outside(block: bytes, character: str) -> NDArray[np.int64]:
    # Where the character stands outside quotes: after an even number of them, doubled ones included.
    codes = np.frombuffer(block, dtype=np.uint8)
    found = np.flatnonzero(codes == ord(character))
    if b'"' not in block:
        return found
    quotes = np.cumsum(codes == _QUOTE, dtype=np.uint8)  # modulo 256, which keeps even and odd apart
    outside: NDArray[np.int64] = found[quotes[found] % 2 == 0]
    return outside


def _outside_quotes(row: bytes, character: str) -> int:
    return len(_outside(row, character))


def _end_of_rows(block: bytes) -> int:
    # After the last newline that ends a row; 0 where none does.
    ends = _ends(block) if b'"' in block else None
    if ends is None:
        return block.rfind(b"\n") + 1
    return int(ends[-1]) + 1 if len(ends) else 0


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
