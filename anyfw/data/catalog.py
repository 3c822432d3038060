"""Data sets by name or path."""

import os
from collections.abc import Callable
from pathlib import Path

from anyfw.core.errors import ConfigError, DataError, FileFormatError, MissingFileError, UnknownNameError
from anyfw.data import digits, idx, mnist, npz, synthetic
from anyfw.data.base import HostArray
from anyfw.data.dataset import Dataset
from anyfw.data.tables.frames import is_table

MADE_ROWS = 1250


def load(name_or_path: str | os.PathLike[str]) -> Dataset:
    """The data set that `name_or_path` says: a known name, an `.npz` file, or a folder of idx files.

    Known names are the keys of `KNOWN`; they win over folders of the same name (write `./mnist` for those).
    Integer y make a classification, floating y a regression. No data set ever takes the place of another.

    Raises:
        UnknownNameError: neither a known name nor a path; the nearest known name is given.
        MissingFileError: no such file or folder, or files missing from the folder.
        FileFormatError: a file that is truncated, corrupt or of another kind.
        ConfigError: a table, which `read_table` reads.
        DataError: rows that cannot be learnt from.

    >>> load("moons").train[0].shape
    (1000, 2)
    """
    if isinstance(name_or_path, str) and name_or_path in KNOWN:
        return KNOWN[name_or_path]()
    if not isinstance(name_or_path, str | os.PathLike):
        raise DataError(f"Data set: expected a name or a path, got {type(name_or_path).__name__}.")
    path = Path(name_or_path)
    text = os.fspath(name_or_path)
    if text and path.is_dir():
        return idx.load(path)
    if path.suffix.lower() == ".npz":
        return npz.load(path)
    if is_table(path) and path.is_file():
        raise ConfigError(
            f"{path} is a table, of which the column to be predicted must be known: data.read_table(path, target), or "
            f"anyfw train {path} --target NAME"
        )
    if path.is_file():
        raise FileFormatError(f"{path}: expected an .npz file or a folder of idx files.")
    if isinstance(name_or_path, str) and path.name == text and not path.suffix:
        raise UnknownNameError("data set (nor is there a folder)", text, KNOWN)
    raise MissingFileError(f"{path}: no such file or folder.")


def _made(name: str, make: Callable[[int], tuple[HostArray, HostArray]]) -> Callable[[], Dataset]:
    note = f"'{name}' is made on the spot: {MADE_ROWS} rows, seed 0."
    return lambda: Dataset.from_arrays(name, make(MADE_ROWS), notes=(note,))


KNOWN: dict[str, Callable[[], Dataset]] = {
    "digits": digits.load,
    "mnist": mnist.load,
    "moons": _made("moons", synthetic.moons),
    "circles": _made("circles", synthetic.circles),
    "spirals": _made("spirals", synthetic.spirals),
    "blobs": _made("blobs", synthetic.blobs),
    "curve": _made("curve", synthetic.noisy_curve),
}
