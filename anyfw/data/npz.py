"""NumPy's `.npz` with `x_train y_train x_test y_test`, or `x y`, and `.npy`. Nothing in a file is executed."""

import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from anyfw.core.errors import DataError, FileFormatError, MissingFileError
from anyfw.data.base import HostArray
from anyfw.data.dataset import Dataset
from anyfw.data.expansion import check_expansion

_SPLIT_KEYS = ("x_train", "y_train", "x_test", "y_test")
_WHOLE_KEYS = ("x", "y")

# NumPy reads the header as a Python literal, which deep nesting makes fail in many ways; plain arrays need only this.
_PLAIN_HEADER = re.compile(
    r"\{'descr': '([<>|=][?biufcOUSVMm]\d{0,9}(?:\[\w+\])?)', 'fortran_order': (?:True|False), "
    r"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\),? ?\}\s*"
)
_MAX_HEADER_BYTES = 2**12


def load(path: str | os.PathLike[str]) -> Dataset:
    """The data set in an `.npz` file; of `x y`, 20 % of the rows are held out for testing; a note says so.

    Raises:
        MissingFileError: no such file, or not readable.
        FileFormatError: another format, truncated, corrupt, or without the keys above.
        DataError: object arrays, or rows that cannot be learnt from.
    """
    path = Path(path)
    arrays = read_npz(path, _SPLIT_KEYS, _WHOLE_KEYS)
    if len(arrays) == len(_WHOLE_KEYS):
        return Dataset.from_arrays(path.stem, (arrays["x"], arrays["y"]))
    train, test = (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    return Dataset.from_arrays(path.stem, train, test)


def read_npz(path: str | os.PathLike[str], *key_sets: tuple[str, ...]) -> dict[str, HostArray]:
    """The arrays of the first of `key_sets` that the file holds in full; other keys are not read.

    Raises:
        MissingFileError: no such file, or not readable.
        FileFormatError: another format, truncated, corrupt, or none of the key sets.
        DataError: object arrays.
    """
    path = Path(path)
    try:
        stored = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            keys = next((keys for keys in key_sets if members.keys() >= set(keys)), None)
            if keys is None:
                wanted = " or ".join(" ".join(keys) for keys in key_sets)
                raise FileFormatError(f"{path}: expected the keys {wanted}, got {' '.join(sorted(members)) or 'none'}.")
            chosen = {key: members[key] for key in keys}
            check_expansion(path, stored, sum(info.file_size for info in chosen.values()))
            return {key: _member(path, archive, key, info) for key, info in chosen.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FileFormatError(
            f"{path}: not an .npz file, or truncated or corrupt ({error or 'it ends early'})."
        ) from error
    except OSError as error:
        raise MissingFileError(f"{path}: cannot be read ({error.strerror or error}).") from error


def read_npy(path: str | os.PathLike[str]) -> HostArray:
    """The array in an `.npy` file.

    Raises:
        MissingFileError: no such file, or not readable.
        FileFormatError: another format, truncated or corrupt.
        DataError: an object array.
    """
    path = Path(path)
    try:
        return _array(f"{path}: the file", lambda: path.open("rb"), path.stat().st_size)
    except OSError as error:
        raise MissingFileError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _member(path: Path, archive: zipfile.ZipFile, key: str, info: zipfile.ZipInfo) -> HostArray:
    if info.flag_bits & 0x1:
        raise FileFormatError(f"{path}: '{key}' is encrypted or damaged.")
    return _array(f"{path}: '{key}'", lambda: archive.open(info), info.file_size)


def _array(what: str, opened: Callable[[], IO[bytes]], size: int) -> HostArray:
    # Opened twice, not sought back: zipfile compares no checksum after a seek.
    try:
        with opened() as stream:
            _check_header(what, stream, size)
        with opened() as stream:
            array: HostArray = npy.read_array(stream, allow_pickle=False)
    except (FileFormatError, DataError):
        raise
    except (ValueError, TypeError) as error:
        raise FileFormatError(f"{what} is not a NumPy array, or is truncated or corrupt ({error}).") from error
    return array


def _check_header(what: str, stream: IO[bytes], size: int) -> None:
    """Before NumPy parses the header and allocates what it announces, hold it against the plain form and the size."""
    version = npy.read_magic(stream)
    width = {(1, 0): 2, (2, 0): 4}.get(version, 0)
    length = int.from_bytes(stream.read(width), "little")
    text = stream.read(min(length, _MAX_HEADER_BYTES)).decode("latin-1")
    plain = _PLAIN_HEADER.fullmatch(text)
    if plain is None:
        raise FileFormatError(f"{what} is not a plain NumPy array, or is corrupt (header {text[:60]!r}).")
    descr, numbers = plain.groups()
    if "O" in descr:
        raise DataError(
            f"{what} is an object array, which would run code when read. Convert it to one number type before saving."
        )
    shape = tuple(int(number) for number in numbers.split(",") if number.strip())
    announced = stream.tell() + math.prod(shape) * np.dtype(descr).itemsize
    if announced != size:
        raise FileFormatError(
            f"{what} announces {announced} bytes (shape {shape}, {descr}) but holds {size}: truncated or corrupt."
        )
