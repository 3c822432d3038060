"""Batches on their way to the device: copied from page-locked memory, on a stream of their own, while others are used.

This module has never run on a GPU yet: its names and signatures are checked against CuPy without a driver, its order of
events on a stand-in whose streams run late.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core import uploads
from anyfw.core.arrays import Array


class Uploads(uploads.Uploads):
    """Two page-locked buffers, of which one is filled while the other is copied."""

    def __init__(self, cupy: Any, device: Any) -> None:
        self._cupy, self._device = cupy, device
        with device:
            self._stream = cupy.cuda.Stream(non_blocking=True)
        self._slots = [_Slot(cupy), _Slot(cupy)]

    def mark(self) -> Any:
        """What has been ordered so far: memory that it uses, and that is free from now on, is written after it only."""
        return self._cupy.cuda.get_current_stream().record()

    def begin(self, columns: Sequence[NDArray[Any]], mark: Any) -> Any:
        """Start copying; runs in the thread that gathers."""
        slot = self._slots[0]
        self._slots.reverse()
        with self._device, self._stream:
            self._stream.wait_event(mark)
            arrays = slot.copy(columns, self._stream)
            return arrays, slot.copied

    def finish(self, moved: Any) -> tuple[Array, ...]:
        """What is ordered from now on comes after the copies."""
        arrays, copied = moved
        self._cupy.cuda.get_current_stream().wait_event(copied)
        return tuple(arrays)

    def close(self) -> None:
        """Wait for the last copies: the buffers they read from go back to CuPy's pool, which knows no streams."""
        for slot in self._slots:
            slot.wait()


class _Slot:
    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self.copied: Any = None
        self._places: list[NDArray[Any]] = []

    def copy(self, columns: Sequence[NDArray[Any]], stream: Any) -> list[Array]:
        # Never refilled before its last copies are done.
        self.wait()
        arrays = []
        for i, column in enumerate(columns):
            place = self._place(i, column)
            place[...] = column
            array = self._cupy.empty(column.shape, column.dtype)
            array.set(place, stream=stream)
            arrays.append(array)
        self.copied = stream.record()
        return arrays

    def wait(self) -> None:
        if self.copied is not None:
            self.copied.synchronize()

    def _place(self, i: int, column: NDArray[Any]) -> NDArray[Any]:
        if i == len(self._places):
            self._places.append(np.empty(0, np.uint8))
        if self._places[i].size < column.nbytes:
            import cupyx

            self._places[i] = cupyx.empty_pinned(column.nbytes, np.uint8)
        return self._places[i][: column.nbytes].view(column.dtype).reshape(column.shape)
