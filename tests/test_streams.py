"""The order of events on a device that runs late: recordings, and batches on their way."""

import sys
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


def stream_epochs(cupy, epochs=3):
    feed = Streaming(Arrays(X, Y), SimpleNamespace(uploads=lambda: Uploads(cupy, Device())), "float32", True)
    seen, expected = [], []
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(100)
        batches = [order[i : i + 16] for i in range(0, 100, 16)]
        for x, y in feed.batches(batches):
            assert (x.dtype, y.dtype) == (np.float32, np.int64)
            # The step: ordered now, done when the device comes to it.
            cupy.default.order(partial(lambda *read: seen.append([a.copy() for a in read]), x.values(), y.values()))
        expected += [(X[rows].astype(np.float32), rows) for rows in batches]
    cupy.default.synchronize()
    return seen, expected


def test_batches_arrive_whole_although_the_device_is_late(cupy):
    seen, expected = stream_epochs(cupy)
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
    seen, expected = stream_epochs(cupy)
    pairs = [pair for found, wanted in zip(seen, expected, strict=True) for pair in zip(found, wanted, strict=True)]
    assert not all(np.array_equal(a, b) for a, b in pairs)


def test_a_step_warms_up_is_captured_and_replayed_in_its_order(cupy):
    log, calls = [], []

    def step():
        calls.append(cupy.allocators[-1].__self__ if cupy.allocators else None)
        cupy.cuda.get_current_stream().order(lambda: log.append("step"))

    graph = Graph(cupy, Device(), step)
    for i in range(4):
        cupy.default.order(lambda i=i: log.append(f"before {i}"))
        graph()
        cupy.default.order(lambda i=i: log.append(f"after {i}"))
    assert log == []
    cupy.default.synchronize()
    assert log == [f"{word} {i}" if word else "step" for i in range(4) for word in ("before", "", "after")]
    # Python ran it twice, each time with the pool that is the graph's own.
    assert calls == [graph._pool] * 2
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
    if when == "at the end":
        graph._stream.refuse = "operation not permitted when stream is capturing"
    with pytest.raises(RecordingError, match=r"^RuntimeError: operation not permitted when stream is capturing$"):
        graph()
    cupy.default.synchronize()
    assert log == ["step"]
    assert graph._stream.capturing is None
    assert cupy.cuda.get_current_stream() is cupy.default
    assert cupy.allocators == []


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_what_is_no_refusal_goes_on_as_it_is(cupy, error):
    def step():
        if cupy.cuda.get_current_stream().capturing is not None:
            raise error

    graph = Graph(cupy, Device(), step)
    graph()
    with pytest.raises(error):
        graph()
    assert graph._stream.capturing is None


def test_a_limit_of_cupys_pool_is_that_of_both(cupy):
    assert Graph(cupy, Device(), lambda: None)._pool.limit == 0
    cupy.get_default_memory_pool().set_limit(1000)
    assert Graph(cupy, Device(), lambda: None)._pool.limit == 700
    cupy.get_default_memory_pool().set_limit(200)
    assert Graph(cupy, Device(), lambda: None)._pool.limit == 1
