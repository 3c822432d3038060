"""Encoded rows, in memory while they are few, else in a file that the system maps into memory and forgets again."""

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import numpy as np

from anyfw.core.errors import OutputError
from anyfw.data.base import HostArray


class RowStore:
    """Takes rows frame by frame and gives them back as one array.

    The file has no name and is gone when the array is, or the process, however it ends. It lies in the folder that
    TMPDIR names, which must be on a disk.

    Args:
        features, dtype: of the rows.
    """

    def __init__(self, features: int, dtype: str) -> None:
        self.features, self.dtype = features, np.dtype(dtype)
        self.rows = 0
        self._parts: list[HostArray] = []
        self._file: IO[bytes] | None = None

    @property
    def nbytes(self) -> int:
        """Of the rows so far."""
        return self.rows * self.features * self.dtype.itemsize

    def add(self, x: HostArray) -> None:
        """Take rows of shape (rows, features)."""
        self.rows += len(x)
        if self._file is None:
            self._parts.append(x)
        else:
            self._write(x)

    def spill(self) -> None:
        """From now on the rows are on disk."""
        if self._file is None:
            with self._room_told():
                self._file = tempfile.TemporaryFile(prefix="anyfw-rows-")  # noqa: SIM115 - it lives as long as the array
            parts, self._parts = self._parts, []
            for part in parts:
                self._write(part)

    def array(self) -> HostArray:
        """All rows, shape (rows, features)."""
        shape = (self.rows, self.features)
        if self._file is None or not self.rows:
            return np.concatenate(self._parts) if self._parts else np.empty(shape, dtype=self.dtype)
        with self._room_told():
            self._file.flush()
        # Copy-on-write: an array like any other, and the file stays as it is. The map keeps the file open.
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
        if hasattr(mapped, "madvise"):
            mapped.madvise(mmap.MADV_RANDOM)  # a batch is rows from everywhere: reading ahead would be for nothing
        self._file.close()
        return np.frombuffer(mapped, dtype=self.dtype).reshape(shape)

    def _write(self, x: HostArray) -> None:
        assert self._file is not None
        with self._room_told():
            self._file.write(np.ascontiguousarray(x).tobytes())

    @contextmanager
    def _room_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._file is not None:
                with suppress(OSError):  # what is not written yet cannot be written now
                    self._file.close()
            raise OutputError(
                f"The table's rows, {self.nbytes / 1e6:,.0f} MB so far, do not fit into {tempfile.gettempdir()}: "
                f"{error.strerror}. Name a folder with more room: TMPDIR=FOLDER"
            ) from error
