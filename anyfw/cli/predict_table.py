"""What a net says of the rows of a table: frame by frame, so that a file of any size takes little memory."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from anyfw.cli.console import Result, note
from anyfw.cli.open import Opened
from anyfw.core.atomic import write_atomic
from anyfw.core.errors import DataError
from anyfw.data import Columns
from anyfw.data.tables.columns import nearest
from anyfw.data.tables.encoding import Encoder
from anyfw.data.tables.frames import Frame, open_frames
from anyfw.data.tables.values import texts, unusable
from anyfw.data.tables.wishes import listed


class TableAnswers:
    """The answers to a table's rows.

    Args:
        opened: a net that was trained on a table.
        columns: what it knows of its columns.
        path: the table.
        kind: label, probability or output; None is what the task suggests.
        identifier: the column that tells rows apart; by default they are numbered from 0.

    Raises:
        DataError: columns are missing, the identifier among them.
    """

    def __init__(self, opened: Opened, columns: Columns, path: str, kind: str | None, identifier: str | None) -> None:
        self.opened, self.identifier = opened, identifier
        self.names = columns.target.class_names
        self.kind: Any = kind or ("output" if self.names is None else "label")
        self.frames = open_frames(path)
        if identifier is not None and identifier not in self.frames.names:
            hint = nearest(identifier, self.frames.names, " Did you mean {}?")
            raise DataError(f"{path}: there is no column '{identifier}'.{hint} Columns: {listed(self.frames.names)}.")
        self.encoder = Encoder(columns, self.frames.names, path, opened.net.dtype)
        if identifier in self.encoder.extra:
            self.encoder.extra.remove(identifier)
        self.trainer = opened.trainer(columns.target.task)
        self.counts: Counter[str] = Counter()

    @property
    def rows(self) -> int:
        """How many were answered so far."""
        return self.encoder.rows

    def header(self) -> list[str]:
        """The names of the columns of `lines`."""
        answers = ["prediction"]
        if self.names is not None and self.kind != "label":
            answers = list(self.names) if self.kind == "probability" else [f"output_{name}" for name in self.names]
        return [self.identifier or "row", *answers]

    def arrays(self) -> Iterator[tuple[Frame, NDArray[Any]]]:
        """Each frame with its answers; what was not as in training is told at the end.

        Raises:
            DataError: no rows, or values that are no numbers where they were in training.
        """
        for frame in self.frames:
            yield frame, self.trainer.predict(self.encoder.x(frame), self.kind)
        if not self.rows:
            raise DataError(f"{self.frames.name}: expected rows below the header, got none.")
        for line in self.encoder.notes():
            note(line)

    def lines(self) -> Iterator[list[str]]:
        """Identifier and answers of each row, as texts."""
        start = 0
        for frame, found in self.arrays():
            shown = self._shown(found)
            if self.identifier is None:
                who = [str(row) for row in range(start, start + len(frame))]
            else:
                who = self._identifiers(frame)
            start += len(frame)
            yield from ([name, *row] for name, row in zip(who, shown, strict=True))

    def write(self, path: Path) -> None:
        """All lines to a CSV file, which is there as a whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """

        def write(file: BinaryIO) -> None:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(self.header())
            writer.writerows(self.lines())
            text.detach()  # flushes, and leaves the file open

        write_atomic(path, write)

    def _identifiers(self, frame: Frame) -> list[str]:
        column = frame[self.identifier]
        what = unusable(column)
        if what not in (None, "dates"):
            raise DataError(
                f"{self.frames.name}: column '{self.identifier}': expected texts, numbers or dates, got "
                f"{what}. Take another one for --id, or none."
            )
        return [text or "" for text in texts(column, ()).to_list()]

    def _shown(self, found: NDArray[Any]) -> list[list[str]]:
        if self.kind == "label" and self.names is not None:
            labels, counts = np.unique(found, return_counts=True)
            self.counts.update({self.names[label]: n for label, n in zip(labels, counts.tolist(), strict=True)})
            return [[self.names[label]] for label in found.tolist()]
        return [[f"{value:.7g}" for value in row] for row in found.reshape(len(found), -1).tolist()]


def answer(answers: TableAnswers, out: str | None) -> Result:
    """Print the answers, or write them to a .csv file.

    Raises:
        AnyfwError: as `TableAnswers`.
    """
    summary: dict[str, Any] = {"kind": answers.kind, "backend": answers.opened.net.backend.spec}
    if answers.names is not None:
        summary["class_names"] = answers.names
    if out is None:
        lines = list(answers.lines())
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([answers.header(), *lines])
        values = [_plain(line[1:], answers.kind) for line in lines]
        return Result(text.getvalue().rstrip("\n"), {"rows": len(lines), **summary, "predictions": values})
    answers.write(Path(out))
    counts = "".join(f"\n  {name:<10} {count:,}" for name, count in sorted(answers.counts.items()))
    return Result(
        f"{answers.rows:,} rows written to {out} ({answers.kind}){counts}",
        {"rows": answers.rows, **summary, "out": out},
    )


def _plain(answer: list[str], kind: str) -> Any:
    numbers: list[Any] = [*answer] if kind == "label" else [float(text) for text in answer]
    return numbers[0] if len(numbers) == 1 else numbers
