"""Idx, the format of MNIST: a big-endian header with the shape, then the values; gzipped or not.

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "The IDX file format".
"""

import gzip
import io
import math
import os
import zlib
from pathlib import Path

import numpy as np

from anyfw.core.errors import FileFormatError, MissingFileError
from anyfw.data.base import HostArray
from anyfw.data.dataset import Dataset
from anyfw.data.expansion import check_expansion

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
FILE_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

_MAX_AXES = 8
_GZIP_MAGIC = b"\x1f\x8b"
_READ_BYTES = 2**20


def load(folder: str | os.PathLike[str]) -> Dataset:
    """The data set in a folder that holds MNIST's four file names, each with or without `.gz`.

    Raises:
        MissingFileError: no such folder, or files missing from it.
        FileFormatError: a file that is truncated or corrupt, or images and labels of different numbers.
        DataError: rows that cannot be learnt from.
    """
    folder = Path(folder)
    x, y, x_test, y_test = read_folder(folder)
    return Dataset.from_arrays(folder.resolve().name, (x, y), (x_test, y_test))


def read_folder(folder: Path) -> tuple[HostArray, ...]:
    """The arrays of the four files, in the order of `FILE_NAMES`.

    Raises:
        MissingFileError: files missing from the folder.
        FileFormatError: a file that is truncated or corrupt, or images and labels of different numbers.
    """
    missing = missing_files(folder)
    if missing:
        raise MissingFileError(f"{folder}: expected MNIST's four idx files, missing {', '.join(missing)}.")
    arrays = tuple(read_idx(existing_file(folder, name)) for name in FILE_NAMES)
    for part in (0, 2):
        images, labels = arrays[part : part + 2]
        if len(images) != len(labels):
            raise FileFormatError(
                f"{folder}: expected one label for each image, got {len(images)} rows in {FILE_NAMES[part]} "
                f"and {len(labels)} in {FILE_NAMES[part + 1]}."
            )
    return arrays


def missing_files(folder: Path) -> list[str]:
    """Which of the four names the folder lacks in both forms."""
    return [name for name in FILE_NAMES if not existing_file(folder, name).is_file()]


def existing_file(folder: Path, name: str) -> Path:
    """The plain file if it is there, else the gzipped one (there or not)."""
    plain = folder / name
    return plain if plain.is_file() else folder / f"{name}.gz"


def read_idx(path: str | os.PathLike[str]) -> HostArray:
    """The array in the idx file at `path`, gzipped or not, in the machine's byte order.

    Memory is taken only once the header agrees with the size of the file.

    Raises:
        MissingFileError: no such file, or not readable.
        FileFormatError: another format, truncated, corrupt, or more content than the header announces.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            stored = os.fstat(file.fileno()).st_size
            if file.peek(2)[:2] == _GZIP_MAGIC:
                return _parsed(path, gzip.GzipFile(fileobj=file, mode="rb"), stored, compressed=True)
            return _parsed(path, file, stored, compressed=False)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileFormatError(f"{path}: the gzip file is truncated or corrupt ({error}).") from error
    except OSError as error:
        raise MissingFileError(f"{path}: cannot be read ({error.strerror or error}).") from error


def header(shape: tuple[int, ...]) -> bytes:
    """The idx header of a uint8 array."""
    return bytes([0, 0, 0x08, len(shape)]) + np.array(shape, dtype=">u4").tobytes()


def _parsed(path: Path, stream: io.BufferedIOBase, stored: int, *, compressed: bool) -> HostArray:
    shape, dtype = _read_header(path, stream)
    content = math.prod(shape) * dtype.itemsize
    announced = 4 + 4 * len(shape) + content
    if compressed:
        check_expansion(path, stored, announced)
    elif announced != stored:
        problem = "truncated" if stored < announced else "longer than its header says"
        raise FileFormatError(f"{path}: {problem}: expected {announced} bytes for shape {shape}, got {stored}.")
    buffer = np.empty(content, dtype=np.uint8)
    filled = 0
    while filled < content:
        count = stream.readinto(buffer.data[filled : filled + _READ_BYTES])
        if not count:
            raise FileFormatError(f"{path}: truncated: expected {content} bytes of values, got {filled}.")
        filled += count
    # Reading on to the end makes gzip compare its checksum.
    if stream.read(1):
        raise FileFormatError(f"{path}: longer than its header says: shape {shape}.")
    return buffer.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_header(path: Path, stream: io.BufferedIOBase) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not 1 <= magic[3] <= _MAX_AXES:
        raise FileFormatError(
            f"{path}: expected an idx file (two zero bytes, a type code, 1 to {_MAX_AXES} axes), "
            f"got the bytes {magic.hex(' ') or 'of an empty file'}."
        )
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise FileFormatError(f"{path}: truncated within its header.")
    shape = tuple(np.frombuffer(sizes, dtype=">u4").tolist())
    if 0 in shape:
        raise FileFormatError(f"{path}: expected at least one value, got shape {shape}.")
    return shape, np.dtype(DTYPES[magic[2]])
