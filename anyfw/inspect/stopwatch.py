"""How long things take: calls as a whole, and each layer within them."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from anyfw.core.hooks import Method
from anyfw.core.layer import Layer

# Calls are timed in blocks of about this many seconds, beside which reading the clock costs nothing.
_BLOCK = 0.005


def seconds_per_call(run: Callable[[], object], wait: Callable[[], object], seconds: float) -> float:
    """The median over blocks of calls.

    Args:
        run: what is timed; called once before, to warm up, and at least once more.
        wait: returns when all work is done that `run` gave to a device.
        seconds: about how long to measure.
    """
    run()
    wait()
    blocks: list[float] = []
    calls, deadline = 1, time.perf_counter() + seconds
    while not blocks or time.perf_counter() < deadline:
        started = time.perf_counter()
        for _ in range(calls):
            run()
        wait()
        taken = time.perf_counter() - started
        if taken < _BLOCK / 2 and time.perf_counter() < deadline:
            calls *= 2
            continue
        blocks.append(taken / calls)
    return statistics.median(blocks)


class LayerClock:
    """Wraps the methods of layers (see `hooks.watched`) and adds up what each one takes itself, without those in it.

    Waiting for the device after each layer keeps the layers' times apart; together they take longer than a step that
    does not wait.

    Attributes:
        seconds: of each pass, by (id of the layer, "forward" or "backward").
    """

    def __init__(self, wait: Callable[[], object]) -> None:
        self.wait = wait
        self.seconds: dict[tuple[int, str], list[float]] = defaultdict(list)
        self._pass: dict[tuple[int, str], float] = defaultdict(float)
        self._within: list[float] = []

    def forward(self, layer: Layer, method: Method) -> Method:
        """The wrapper of a layer's `forward`."""
        return self._timed(layer, method, "forward")

    def backward(self, layer: Layer, method: Method) -> Method:
        """The wrapper of a layer's `backward` and `accumulate`."""
        return self._timed(layer, method, "backward")

    def end_pass(self, *, counts: bool) -> None:
        """Close the books of one forward and backward pass, and keep them if it counts."""
        for key, taken in self._pass.items():
            if counts:
                self.seconds[key].append(taken)
        self._pass.clear()

    def median(self, layer: Layer, phase: str) -> float:
        """Seconds in one pass; 0 for what was never called."""
        found = self.seconds.get((id(layer), phase))
        return statistics.median(found) if found else 0.0

    def _timed(self, layer: Layer, method: Method, phase: str) -> Method:
        key = id(layer), phase

        def call(*args: Any, **kwargs: Any) -> Any:
            self.wait()
            self._within.append(0.0)
            started = time.perf_counter()
            result = method(*args, **kwargs)
            self.wait()
            taken = time.perf_counter() - started
            self._pass[key] += taken - self._within.pop()
            if self._within:
                self._within[-1] += taken
            return result

        return call
