"""`anyfw predict`: what a trained net says of rows that come without an answer."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from tyro.conf import Positional, arg

from anyfw import data
from anyfw.cli.console import BackendName, Json, Result, note
from anyfw.cli.open import Opened, check_dtype, open_net
from anyfw.cli.predict_table import TableAnswers, answer
from anyfw.cli.tables import columns_in
from anyfw.core.atomic import write_atomic
from anyfw.core.errors import ConfigError, DataError, MissingFileError, ShapeError, UnknownNameError
from anyfw.data.catalog import KNOWN
from anyfw.data.npz import read_npy, read_npz
from anyfw.data.tables.frames import is_table

_KINDS = ("label", "probability", "output")
_SUFFIXES = (".csv", ".npy", ".npz")
Rows = NDArray[Any]


@dataclass(frozen=True)
class Options:
    """Tell what a trained network says of new rows.

    INPUT is an .npy, an .npz with x (or x_test), an idx file, or what `anyfw train` takes as DATA,
    of which the test rows are used. Rows are in the units of the training data, since scaling is part of the model;
    for a network that was trained on a table they are encoded rows, as `columns.encode` makes them.

    Of a table (.csv, .tsv, .parquet) all rows are answered, for a network that was trained on one: columns in any
    order, more of them than in training, missing values and new categories are fine. Identifiers and class names are
    written as they are, as data for programs: a spreadsheet may take one that begins with = for a formula.

    examples:
      anyfw predict runs/mnist images.npy
      anyfw predict runs/houses new.csv --id address --out prices.csv
      anyfw predict runs/mnist t10k-images-idx3-ubyte.gz --kind probability --out answers.csv

    Args:
        model: the folder of a run, a checkpoint, or a model file.
        input: the rows.
        out: write a table (.csv), an array (.npy) or named arrays (.npz) instead of printing.
        id: of a table: the column that tells its rows apart in the output.
        kind: label, probability (of each class), or output (of the last layer).
    """

    model: Positional[Annotated[str, arg(metavar="RUN_OR_MODEL")]]
    input: Positional[Annotated[str, arg(metavar="INPUT")]]
    out: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    id: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the number of the row)")] = None
    kind: Annotated[str | None, arg(metavar="KIND", help_behavior_hint="(default: label; output for a regression)")] = (
        None
    )
    backend: BackendName = None
    json: Json = False


def run(options: Options) -> Result:
    """Read the rows, ask the net, print or write what it says."""
    if options.kind is not None and options.kind not in _KINDS:
        raise UnknownNameError("kind", options.kind, _KINDS)
    if options.out is not None and Path(options.out).suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"--out: expected a file name that ends in {', '.join(_SUFFIXES)}, got '{options.out}'.")
    opened = open_net(options.model, options.backend)
    if is_table(options.input):
        return _of_table(opened, options)
    if options.id is not None:
        raise ConfigError(f"--id: for tables (.csv, .tsv, .parquet) alone, and {options.input} is none.")
    if "columns" in opened.metadata:
        note(f"{options.input}: taken as encoded rows (columns.encode); raw ones come as a .csv, .tsv or .parquet")
    x = _as_rows(opened, read_rows(options.input), options.input)
    check_dtype(opened, str(x.dtype), options.input)
    task = opened.metadata.get("task") or ("regression" if "MSELoss" in str(opened.config) else "classification")
    kind: Any = options.kind or ("output" if task == "regression" else "label")
    found = opened.trainer(task).predict(x, kind)
    columns = [kind] if found.ndim == 1 else _column_names(opened, kind, found.shape[-1])
    shown = _shown(opened, kind, found)
    summary = {"rows": len(found), "kind": kind, "backend": opened.net.backend.spec}
    if opened.class_names is not None:
        summary["class_names"] = opened.class_names
    if options.out is None:
        return Result(_table(columns, shown), {**summary, "predictions": _plain(shown, found)})
    _write(Path(options.out), kind, columns, found, shown, opened.class_names)
    counts = f"\n{_counts(opened, found)}" if kind == "label" else ""
    return Result(f"{len(found):,} rows written to {options.out} ({kind}){counts}", {**summary, "out": options.out})


def _of_table(opened: Opened, options: Options) -> Result:
    columns = columns_in(opened.metadata)
    if columns is None:
        raise ConfigError(
            f"{opened.model} was not trained on a table, and {options.input} is one. Give an .npy with its rows."
        )
    answers = TableAnswers(opened, columns, options.input, options.kind, options.id)
    suffix = "" if options.out is None else Path(options.out).suffix.lower()
    if options.out is None or suffix == ".csv":
        return answer(answers, options.out)
    if options.id is not None:
        raise ConfigError(f"--id: an array has no place for it. Write a table: --out {Path(options.out).stem}.csv")
    found = np.concatenate([array for _, array in answers.arrays()])
    _write(Path(options.out), answers.kind, [], found, [], opened.class_names)
    summary = {"rows": len(found), "kind": answers.kind, "backend": opened.net.backend.spec, "out": options.out}
    return Result(f"{len(found):,} rows written to {options.out} ({answers.kind})", summary)


def read_rows(name: str) -> Rows:
    """The rows in a file, or the test rows of a data set.

    Raises:
        MissingFileError: there is no such file.
        FileFormatError: no file of a kind that is known, or truncated or corrupt.
        DataError: objects instead of numbers, or a data set without test rows.
    """
    path = Path(name)
    if name in KNOWN or path.is_dir():
        dataset = data.load(name)
        if dataset.test is None:
            raise DataError(f"{name}: expected test rows, got none.")
        note(f"{name}: its {len(dataset.test[0]):,} test rows")
        return dataset.test[0]
    if not path.exists():
        known = f" Or a data set: {', '.join(KNOWN)}." if path.name == name and not path.suffix else ""
        raise MissingFileError(f"{name}: no such file.{known}")
    if path.suffix.lower() == ".npz":
        (rows,) = read_npz(path, ("x",), ("x_test",)).values()
        return rows
    return read_npy(path) if path.suffix.lower() == ".npy" else data.read_idx(path)


def _as_rows(opened: Opened, x: Rows, name: str) -> Rows:
    """One row for each sample, flat as in training; a single sample is one row."""
    sample = tuple(opened.metadata.get("image_shape") or ())
    if sample and x.shape == sample:
        x = x[None]
    elif x.ndim == 0:
        raise ShapeError(f"{name}: expected rows, got a single number.")
    elif x.ndim == 1:
        # A vector is one sample of several features, or many samples of one.
        features = next((width for layer in _layers(opened) if (width := getattr(layer, "in_features", 0))), 0)
        x = x[None] if len(x) == features != 1 else x[:, None]
    return x.reshape(len(x), -1) if len(x) and (sample or "task" in opened.metadata) else x


def _layers(opened: Opened) -> Iterable[object]:
    return (layer for _, layer in opened.net.named_layers())


def _column_names(opened: Opened, kind: str, width: int) -> list[str]:
    names = opened.class_names
    if kind == "probability" and names is not None and len(names) == width:
        return list(names)
    return [kind] if width == 1 else [f"{kind}_{i}" for i in range(width)]


def _shown(opened: Opened, kind: str, found: Rows) -> list[list[str]]:
    if kind == "label":
        names = opened.class_names
        return [[str(int(i)) if names is None or i >= len(names) else names[int(i)]] for i in found.reshape(-1)]
    return [[f"{value:.7g}" for value in np.atleast_1d(row).reshape(-1).tolist()] for row in found]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if len(columns) > 1:
        writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _plain(shown: Sequence[Sequence[str]], found: Rows) -> Any:
    return [row[0] for row in shown] if found.dtype.kind in "iu" else found.tolist()


def _write(
    path: Path, kind: str, columns: Sequence[str], found: Rows, shown: Sequence[Sequence[str]], names: Any
) -> None:
    if path.suffix.lower() == ".csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["row", *columns])
        writer.writerows([i, *row] for i, row in enumerate(shown))
        write_atomic(path, text.getvalue().encode())
    elif path.suffix.lower() == ".npy":
        write_atomic(path, lambda file: np.save(file, found))
    else:
        arrays: dict[str, Any] = {kind: found}
        if names is not None:
            arrays["class_names"] = np.asarray(names)
        write_atomic(path, lambda file: np.savez(file, **arrays))


def _counts(opened: Opened, found: Rows) -> str:
    labels, counts = np.unique(found, return_counts=True)
    names = _shown(opened, "label", labels)
    return "\n".join(f"  {name[0]:<10} {count:,}" for name, count in zip(names, counts.tolist(), strict=True))
