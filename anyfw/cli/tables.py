"""What commands do with tables: the options, reading for a training, and reading for a net that knows its columns."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from tyro.conf import arg

from anyfw import data
from anyfw.core.errors import ConfigError, DataError
from anyfw.data import Columns, Dataset
from anyfw.data.tables.frames import is_table, open_frames
from anyfw.data.tables.read import file_hash
from anyfw.data.tables.wishes import MISSING, listed

_NAMES = {"metavar": "NAME ...", "help_behavior_hint": ""}


@dataclass(frozen=True)
class TableOptions:
    """What is said of a table's columns.

    Args:
        target: of a table (.csv, .tsv, .parquet): the column to be predicted.
        task: classification or regression.
        categories: columns of a table that are categories although they look like numbers, or like names.
        numbers: columns of a table that are numbers although they count up by one.
        drop: columns of a table that are left out.
        missing: more texts in a table that stand for a missing value.
    """

    target: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    task: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: what the target tells)")] = None
    categories: Annotated[tuple[str, ...], arg(**_NAMES)] = ()
    numbers: Annotated[tuple[str, ...], arg(**_NAMES)] = ()
    drop: Annotated[tuple[str, ...], arg(**_NAMES)] = ()
    missing: Annotated[
        tuple[str, ...], arg(metavar="TEXT ...", help_behavior_hint="(usual ones: nothing, NA, N/A, NaN, null, ?)")
    ] = ()


def read_for_training(
    options: TableOptions, path: str, *, columns: Columns | None, valid: float, seed: int, dtype: str
) -> Dataset:
    """The rows of a table; what was learnt before is taken as it is.

    Raises:
        ConfigError: no target.
        AnyfwError: as `data.read_table`.
    """
    if options.target is None and columns is None:
        names = open_frames(path).names
        raise ConfigError(f"Which column of {path} is to be predicted? Add --target NAME. Columns: {listed(names)}.")
    return data.read_table(
        path,
        options.target,
        task=options.task,
        categories=options.categories,
        numbers=options.numbers,
        drop=options.drop,
        missing=(*MISSING, *options.missing),
        columns=columns,
        valid=valid,
        seed=seed,
        dtype=dtype,
    )


def refuse_options(options: TableOptions, path: str) -> None:
    """Refuse what is said of columns where there are none.

    Raises:
        ConfigError: something is said.
    """
    usual = TableOptions()
    given = [name for name in vars(usual) if getattr(options, name) != getattr(usual, name)]
    if given:
        flags = ", ".join(f"--{name}" for name in given)
        raise ConfigError(f"{flags}: for tables (.csv, .tsv, .parquet) alone, and {path} is none.")


def columns_in(metadata: Mapping[str, Any]) -> Columns | None:
    """What a model knows of the columns of the table that it was trained on; None where it was trained on none.

    Raises:
        FileFormatError: it cannot be understood.
    """
    return Columns.from_config(metadata["columns"]) if "columns" in metadata else None


def read_for_net(
    metadata: Mapping[str, Any], model: object, path: str, dtype: str, *, valid: float = 0.0, seed: int = 0
) -> Dataset:
    """The rows of a table for a net: the table that it was trained on as then, of another one all as test rows.

    Raises:
        ConfigError: the net was not trained on a table.
        DataError: the file that it was trained on is another one now.
        AnyfwError: as `data.read_table`.
    """
    columns = columns_in(metadata)
    if columns is None:
        raise ConfigError(f"{model} was not trained on a table, and {path} is one: name data of the same kind.")
    if metadata.get("data_sha256") == file_hash(path):
        return data.read_table(path, columns=columns, valid=valid, seed=seed, dtype=dtype)
    if _same_file(metadata.get("data"), path):
        raise DataError(
            f"{path} has changed since {model} was trained on it, and which of its rows were held out cannot be told. "
            "Restore the file, or give the new rows a file of their own."
        )
    dataset = data.read_table(path, columns=columns, test=1.0, dtype=dtype)
    told = f"{path} is not the file that {model} was trained on: its rows were not held out, some may be training rows"
    return replace(dataset, notes=(told, *dataset.notes))


def _same_file(one: object, other: str) -> bool:
    return isinstance(one, str) and os.path.realpath(one) == os.path.realpath(other)


def check_unchanged(metadata: Mapping[str, Any], path: str) -> None:
    """Refuse to go on with a run whose table is another one now.

    Raises:
        DataError: it is.
    """
    if is_table(path) and metadata.get("data_sha256") not in (None, file_hash(path)):
        raise DataError(
            f"{path} has changed since this run began: a resumed run goes on with the same rows. Restore the file, or "
            "start another run."
        )
