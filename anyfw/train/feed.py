"""From host rows to device batches: all rows moved once where they fit, else each batch moved ahead of its use."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anyfw.core.arrays import Array
from anyfw.core.backend import Backend
from anyfw.core.errors import ConfigError, DataError, OutOfMemoryError
from anyfw.core.uploads import Uploads
from anyfw.data import Arrays, Source
from anyfw.ops.gather import gather_columns

Indices = Sequence[NDArray[np.int64]]
Batch = tuple[Array, ...]

# Data may take this share of the device's free memory; the rest is for the net, its gradients and activations.
RESIDENT_SHARE = 0.5


class Feed(Protocol):
    """Hands out device batches by row numbers."""

    def batches(self, indices: Indices) -> Iterator[Batch]:
        """(x, y) or (x, y, sample_weight) for each array of row numbers, in turn."""

    def supply(self, position: Array, batches: int, size: int) -> "Supply":
        """The same for recorded steps.

        Args:
            position: the number of the epoch's next batch, on the device, shape (1,).
            batches: how many recorded batches an epoch has.
            size: rows of each.
        """


class Supply(Protocol):
    """Hands out batches to recorded steps, always in the same arrays."""

    def begin(self, place: int, indices: Indices) -> None:
        """Before the recorded steps of an epoch: their batches' rows, the first one's number being `place`."""

    def load(self, batches: int) -> None:
        """Before each step: bring its batches, if they do not come by themselves."""

    def take(self, i: int) -> Batch:
        """The step's i-th batch; this is recorded."""


def make_feed(
    source: Source,
    backend: Backend,
    dtype: str,
    *,
    labels: bool,
    check: Callable[..., object],
    on_device: bool | str = "auto",
) -> Feed:
    """The feed for a source.

    Args:
        source: rows on the host.
        backend: where they go.
        dtype: of all columns but labels.
        labels: whether y are class labels, which become int64.
        check: refuses targets and weights that cannot be learnt from, given as (y) or (y, sample_weight); called for
            each batch of a source that is not arrays in memory, whose rows nobody has seen before.
        on_device: True moves all rows once, False moves batch by batch, "auto" decides by free memory; a source
            that is not arrays in memory is always moved batch by batch.

    Raises:
        ConfigError: another `on_device`, or True for a source that is not in memory.
    """
    if not isinstance(on_device, bool) and not (isinstance(on_device, str) and on_device == "auto"):
        raise ConfigError(f"on_device: expected True, False or 'auto', got {on_device!r}.")
    if not isinstance(source, Arrays):
        if on_device is True:
            raise ConfigError(f"on_device=True: {type(source).__name__} is not in memory. Use 'auto', or arrays.")
        return Streaming(source, backend, dtype, labels, check)
    if on_device == "auto":
        memory = backend.memory()
        needed = sum(column.size * np.dtype(name).itemsize for column, name in _typed(source.arrays, dtype, labels))
        on_device = memory is None or needed <= RESIDENT_SHARE * memory[0]
    return (Resident if on_device else Streaming)(source, backend, dtype, labels)


class Resident:
    """All rows on the device; a batch is a gather there."""

    def __init__(self, source: Arrays, backend: Backend, dtype: str, labels: bool) -> None:
        self.backend = backend
        typed = list(_typed(source.arrays, dtype, labels))
        try:
            self.columns = tuple([backend.asarray(column, name) for column, name in typed])
        except MemoryError as error:
            size = sum(column.size * np.dtype(name).itemsize for column, name in typed)
            raise OutOfMemoryError(
                f"The data, {size / 1e6:,.0f} MB, do not fit into the memory of {backend.spec}. "
                "Leave them on the host: on_device=False."
            ) from error

    def batches(self, indices: Indices) -> Iterator[Batch]:
        """Gather each batch; the epoch's order crosses to the device in one copy."""
        if not indices:
            return
        order = self.backend.asarray(np.concatenate(list(indices)), "int64")
        start, columns = 0, self.columns
        for rows in indices:
            stop = start + len(rows)
            chosen = order[start:stop]
            start = stop
            yield gather_columns(chosen, columns, None)

    def supply(self, position: Array, batches: int, size: int) -> Supply:
        """A gather by a table of all batches' rows, which finds its place on the device."""
        return _Table(self, position, batches, size)


class _Table:
    def __init__(self, feed: Resident, position: Array, batches: int, size: int) -> None:
        self.feed, self.position = feed, position
        self.order = feed.backend.asarray(np.zeros((batches, size)), "int64")

    def begin(self, place: int, indices: Indices) -> None:
        self.order[place : place + len(indices), :] = self.feed.backend.asarray(np.stack(list(indices)), "int64")

    def load(self, batches: int) -> None:
        pass

    def take(self, i: int) -> Batch:  # noqa: ARG002 - the position is on the device
        return gather_columns(self.order, self.feed.columns, self.position)


class Streaming:
    """Rows stay on the host; a thread gathers, casts and moves the next batch while this one is used."""

    def __init__(
        self,
        source: Source,
        backend: Backend,
        dtype: str,
        labels: bool,
        check: Callable[..., object] | None = None,
    ) -> None:
        self.source, self.backend, self.dtype, self.labels, self.check = source, backend, dtype, labels, check

    def batches(self, indices: Indices) -> Iterator[Batch]:
        """Move each batch one ahead of its use."""
        uploads = self.backend.uploads()
        ahead: Future[Any] | None = None
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="anyfw-feed") as pool:
            try:
                for rows in indices:
                    coming = pool.submit(self._begin, uploads, rows, uploads.mark())
                    if ahead is not None:
                        # The future keeps this batch until the coming one has its memory, which must be other memory:
                        # what uses this batch is ordered only when it is out.
                        yield uploads.finish(ahead.result())
                        coming.result()
                    ahead = coming
                if ahead is not None:
                    yield uploads.finish(ahead.result())
            finally:
                uploads.close()

    def supply(self, position: Array, batches: int, size: int) -> Supply:  # noqa: ARG002 - as the protocol
        """Each batch is copied into the arrays of the recording."""
        return _Inbox(self)

    def _begin(self, uploads: Uploads, rows: NDArray[np.int64], mark: Any) -> Any:
        columns = self.source[rows]
        if isinstance(self.source, Arrays):
            return uploads.begin([np.ascontiguousarray(c, dtype=name) for c, name in self._typed(columns)], mark)
        found = [np.asarray(column) for column in columns]
        if any(column.shape[:1] != (len(rows),) for column in found):
            raise DataError(
                f"{type(self.source).__name__}: expected {len(rows)} rows in each column, as many as were asked for, "
                f"got columns of shapes {', '.join(str(column.shape) for column in found)}."
            )
        if self.check is not None:
            self.check(*found[1:])
        # Copies: a source may fill its own arrays anew for the next batch, and is asked for it while this one is used.
        return uploads.begin([np.array(column, dtype=name, order="C") for column, name in self._typed(found)], mark)

    def _typed(self, columns: Sequence[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], str]]:
        return _typed(columns, self.dtype, self.labels)


class _Inbox:
    def __init__(self, feed: Streaming) -> None:
        self.feed = feed
        self.coming: Iterator[Batch] = iter(())
        self.places: list[Batch] = []

    def begin(self, place: int, indices: Indices) -> None:  # noqa: ARG002 - as the protocol
        self.coming = self.feed.batches(indices)

    def load(self, batches: int) -> None:
        for i in range(batches):
            batch = next(self.coming)
            if i == len(self.places):
                self.places.append(batch)
                continue
            for place, column in zip(self.places[i], batch, strict=True):
                place[...] = column

    def take(self, i: int) -> Batch:
        return self.places[i]


def _typed(columns: Sequence[NDArray[Any]], dtype: str, labels: bool) -> Iterator[tuple[NDArray[Any], str]]:
    for i, column in enumerate(columns):
        yield column, "int64" if i == 1 and labels else dtype
