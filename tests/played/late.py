"""A stand-in for CuPy whose streams run late: orders wait in a queue until someone waits for them.

On a GPU the host runs ahead. Here it always does, as far as it may: what is ordered runs only when an event or a stream
is waited for, so that a buffer refilled too early, or memory handed out while it is still read, gives wrong numbers.
"""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar

import numpy as np


class Event:
    def __init__(self, stream):
        self.stream, self.place = stream, len(stream.orders)

    def synchronize(self):
        self.stream.run(self.place)


class Stream:
    current: ClassVar[list["Stream"]] = []

    def __init__(self, non_blocking=False):
        assert non_blocking
        self.orders, self.done, self.capturing, self.refuse = [], 0, None, None

    def order(self, work):
        if self.capturing is not None:
            self.capturing.append(work)
        else:
            self.orders.append(work)

    def run(self, upto=None):
        upto = len(self.orders) if upto is None else upto
        while self.done < upto:
            work = self.orders[self.done]
            self.done += 1
            work()

    def record(self):
        assert self.capturing is None
        return Event(self)

    def wait_event(self, event):
        assert self.capturing is None
        self.order(event.synchronize)

    def synchronize(self):
        self.run()

    def begin_capture(self):
        self.capturing = []

    def end_capture(self):
        recorded, self.capturing = self.capturing, None
        if self.refuse:
            raise RuntimeError(self.refuse)
        return SimpleNamespace(launch=lambda: [Stream.current[-1].order(work) for work in recorded])

    def __enter__(self):
        Stream.current.append(self)

    def __exit__(self, *error):
        Stream.current.pop()


class Array:
    """Memory of the device: what is given back is handed out again at once."""

    free: ClassVar[dict[int, list[np.ndarray]]] = {}

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)
        size = int(np.prod(shape)) * self.dtype.itemsize
        waiting = Array.free.setdefault(size, [])
        self.memory = waiting.pop() if waiting else np.zeros(size, np.uint8)

    def values(self):
        return self.memory.view(self.dtype).reshape(self.shape)

    def set(self, host, stream):
        target = self.values()

        def copy():
            target[...] = host

        stream.order(copy)

    def __del__(self):
        Array.free[self.memory.size].append(self.memory)


def late_cupy():
    """The module, and its default stream."""
    default = Stream(non_blocking=True)
    Stream.current[:] = [default]
    Array.free.clear()
    allocators = []

    @contextmanager
    def using_allocator(allocator):
        allocators.append(allocator)
        try:
            yield
        finally:
            allocators.pop()

    class MemoryPool:
        def __init__(self):
            self.limit, self.freed = 0, False

        def malloc(self, size):
            pass

        def get_limit(self):
            return self.limit

        def set_limit(self, size):
            self.limit = size

        def used_bytes(self):
            return 300

        def free_all_blocks(self):
            self.freed = True

    own = MemoryPool()
    cuda = SimpleNamespace(
        Stream=Stream,
        MemoryPool=MemoryPool,
        using_allocator=using_allocator,
        get_current_stream=lambda: Stream.current[-1],
    )
    module = SimpleNamespace(cuda=cuda, empty=Array, get_default_memory_pool=lambda: own, allocators=allocators)
    return module, default


class Device:
    """The device, as a context."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass
