"""The order of events on a device that runs late: recordings, and batches on their way."""

import gc
import sys
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from anyfw.backends.cupy import uploads
from anyfw.backends.cupy.graph import Graph
from anyfw.backends.cupy.uploads import Uploads
from anyfw.core.errors import RecordingError
from anyfw.data import Arrays
from anyfw.train.feed import Streaming
from tests.played.late import Device, Stream, late_cupy


@pytest.fixture
def cupy(monkeypatch):
    module, module.default = late_cupy()
    # The host's page-locked memory is like any other here.
    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(empty_pinned=np.empty))
    return module


X, Y = np.arange(400.0).reshape(100, 4), np.arange(100)


class Slow:
    """A source that takes its time, so that the thread beside is late."""

    def __len__(self):
        return 100

    def __getitem__(self, rows):
        time.sleep(0.003)
        return X[rows], Y[rows]


def stream_epochs(cupy, epochs=3, source=None, quick=False):
    """What the steps read, and what they should: with `quick` each step is done at once, else all at the end."""
    source = source or Arrays(X, Y)
    feed = Streaming(source, SimpleNamespace(uploads=lambda: Uploads(cupy, Device())), "float32", True)
    seen, expected = [], []

    def step(x, y):
        # Ordered now, done when the device comes to it; nobody keeps the batch.
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
        cupy.default.order(partial(lambda *read: seen.append([a.copy() for a in read]), x.values(), y.values()))
        if quick:
            cupy.default.run()

    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(100)
        batches = [order[i : i + 16] for i in range(0, 100, 16)]
        moved = feed.batches(batches)
        for _ in batches:
            step(*next(moved))
        moved.close()
        expected += [(X[rows].astype(np.float32), rows) for rows in batches]
    cupy.default.synchronize()
    return seen, expected


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("source", [Arrays(X, Y), Slow()], ids=["arrays", "slow"])
def test_batches_arrive_whole_although_the_device_is_late(cupy, source, quick):
    seen, expected = stream_epochs(cupy, source=source, quick=quick)
    assert len(seen) == len(expected) == 21
    for found, wanted in zip(seen, expected, strict=True):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


class Hasty(uploads._Slot):
    def copy(self, columns, stream):
        self.copied = None
        return super().copy(columns, stream)


@pytest.mark.parametrize("planted", ["a buffer refilled too early", "memory written while read", "used too early"])
def test_a_missing_event_shows(cupy, planted, monkeypatch):
    if planted == "a buffer refilled too early":
        monkeypatch.setattr(uploads, "_Slot", Hasty)
    elif planted == "memory written while read":
        monkeypatch.setattr(Uploads, "mark", lambda _: Stream(non_blocking=True).record())
    else:
        monkeypatch.setattr(Uploads, "finish", lambda _, moved: tuple(moved[0]))
    seen, expected = stream_epochs(cupy, quick=planted == "used too early")
    pairs = [pair for found, wanted in zip(seen, expected, strict=True) for pair in zip(found, wanted, strict=True)]
    assert not all(np.array_equal(a, b) for a, b in pairs)


def test_a_step_warms_up_is_captured_and_replayed_in_its_order(cupy):
    log, calls = [], []

    def step():
        calls.append(cupy.allocators[-1].__self__ if cupy.allocators else None)
        cupy.cuda.get_current_stream().order(lambda: log.append("step"))

    graph = Graph(cupy, Device(), step)
    for i in range(5):
        cupy.default.order(lambda i=i: log.append(f"before {i}"))
        graph()
        cupy.default.order(lambda i=i: log.append(f"after {i}"))
    assert log == []
    cupy.default.synchronize()
    assert log == [f"{word} {i}" if word else "step" for i in range(5) for word in ("before", "", "after")]
    # Python ran it three times, each time with the pool that is the graph's own.
    assert calls == [graph._pool] * 3
    assert cupy.allocators == []
    assert cupy.cuda.get_current_stream() is cupy.default


@pytest.mark.parametrize("when", ["in the step", "at the end"])
def test_a_capture_that_fails_leaves_nothing_behind(cupy, when):
    log = []

    def step():
        stream = cupy.cuda.get_current_stream()
        stream.order(lambda: log.append("step"))
        if stream.capturing is not None and when == "in the step":
            raise RuntimeError("operation not permitted when stream is capturing\nand more")

    graph = Graph(cupy, Device(), step)
    graph()
    graph()
    if when == "at the end":
        graph._stream.refuse = "operation not permitted when stream is capturing"
    with pytest.raises(RecordingError, match=r"^RuntimeError: operation not permitted when stream is capturing$"):
        graph()
    cupy.default.synchronize()
    assert log == ["step", "step"]
    assert graph._stream.capturing is None
    assert cupy.cuda.get_current_stream() is cupy.default
    assert cupy.allocators == []


def test_what_does_not_fit_is_not_recorded_and_what_interrupts_goes_on(cupy):
    for error, shown in ((MemoryError("no room"), RecordingError), (KeyboardInterrupt(), KeyboardInterrupt)):

        def step(error=error):
            if cupy.cuda.get_current_stream().capturing is not None:
                raise error

        graph = Graph(cupy, Device(), step)
        graph()
        graph()
        with pytest.raises(shown):
            graph()
        assert graph._stream.capturing is None


def test_a_limit_of_cupys_pool_is_that_of_both(cupy):
    own = cupy.get_default_memory_pool()
    assert Graph(cupy, Device(), lambda: None)._pool.limit == 0
    own.set_limit(1000)
    graph = Graph(cupy, Device(), lambda: None)
    # 300 are used: half of the rest is the graph's, until it is gone.
    assert (graph._pool.limit, own.limit) == (350, 650)
    assert own.freed
    del graph
    gc.collect()
    assert own.limit == 1000
    own.set_limit(300)
    with pytest.raises(RecordingError, match="leaves no room"):
        Graph(cupy, Device(), lambda: None)
