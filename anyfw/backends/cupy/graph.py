"""Recordings: CUDA graphs, captured by CuPy.

This module has never run on a GPU yet: its names and signatures are checked against CuPy without a driver, its order of
events on a stand-in.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from anyfw.core.errors import RecordingError

# The first step makes what stays, as the sums of metrics; the second does what the later ones do.
_WARM_UPS = 2


class Graph:
    """A step that warms up in its first two calls, is captured in its third, and from then on is replayed.

    It is captured on a stream and in a memory pool of its own. The pool lives as long as the graph, and nobody else
    takes memory from it: what a replay writes is nobody else's. Replays run in the current stream, as all else does.

    Args:
        cupy: the module.
        device: where.
        step: what to record; it allocates, launches, and asks the host for nothing.

    Raises:
        RecordingError: a limit of CuPy's memory pool leaves no room for another.
    """

    def __init__(self, cupy: Any, device: Any, step: Callable[[], None]) -> None:
        self._cupy, self._device, self._step = cupy, device, step
        with device:
            # One that does not wait for the default stream: what another thread does there would break a capture.
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._pool = self._private_pool()
        self._calls = 0
        self._graph: Any = None

    def __call__(self) -> None:
        """Do the step.

        Raises:
            RecordingError: it cannot be captured; nothing was done.
        """
        with self._device:
            if self._calls < _WARM_UPS:
                # Kernels are compiled, products planned, memory is taken: nothing of that could be captured.
                with self._alone():
                    self._step()
                self._calls += 1
                return
            if self._graph is None:
                with self._alone():
                    self._graph = self._captured()
            self._graph.launch()

    def _captured(self) -> Any:
        self._stream.begin_capture()
        try:
            self._step()
        except BaseException as error:
            # What was begun must be ended; that it is of no use is known.
            with suppress(Exception):
                self._stream.end_capture()
            if not isinstance(error, Exception):
                raise
            raise _refused(error) from error
        try:
            return self._stream.end_capture()
        except Exception as error:
            raise _refused(error) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # After all that was ordered before, and before all that is ordered later.
        outside = self._cupy.cuda.get_current_stream()
        self._stream.wait_event(outside.record())
        try:
            with self._cupy.cuda.using_allocator(self._pool.malloc), self._stream:
                yield
        finally:
            outside.wait_event(self._stream.record())

    def _private_pool(self) -> Any:
        own, pool = self._cupy.get_default_memory_pool(), self._cupy.cuda.MemoryPool()
        # What the other pool holds unused, this one could not have.
        own.free_all_blocks()
        limit = own.get_limit()
        if limit:
            # CUPY_GPU_MEMORY_LIMIT holds for both together: half of what is left goes over, until the graph is gone.
            half = (limit - own.used_bytes()) // 2
            if half <= 0:
                raise RecordingError(f"the limit of CuPy's memory pool, {limit / 1e6:,.0f} MB, leaves no room for it")
            pool.set_limit(size=half)
            own.set_limit(size=limit - half)
            weakref.finalize(self, _give_back, own, half)
        return pool


def _give_back(pool: Any, size: int) -> None:
    pool.set_limit(size=pool.get_limit() + size)


def _refused(error: Exception) -> RecordingError:
    return RecordingError(f"{type(error).__name__}: {error}".strip().partition("\n")[0])
