"""`bench`: how fast a net is on this machine, by batch size and backend, and where the time of a step goes."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw import losses, nn, optim
from anyfw.core.arrays import Array, arrays_in, nbytes
from anyfw.core.backend import Backend, backend_class, get_backend
from anyfw.core.errors import ConfigError
from anyfw.core.hooks import watched
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter
from anyfw.inspect.bench_report import BackendBench, BatchRow, Bench, LayerRow, Overhead
from anyfw.inspect.stopwatch import LayerClock, seconds_per_call
from anyfw.inspect.summary import summary
from anyfw.losses import Loss
from anyfw.optim import Optimizer

BATCHES = (1, 8, 32, 128, 512, 2048)
# Small, so that random targets move the weights nowhere in thousands of steps.
_RATE = 1e-6
# The two depths between which the overhead of a layer is measured.
_SHALLOW, _DEEP = 2, 12

MakeOptimizer = Callable[[Iterable[Parameter]], Optimizer]


def bench(
    net: Layer,
    input_shape: int | Sequence[int] | None = None,
    *,
    loss: Loss | None = None,
    optimizer: MakeOptimizer | None = None,
    data: tuple[NDArray[Any], NDArray[Any]] | None = None,
    batches: Sequence[int] = BATCHES,
    layers_at: int = 128,
    backends: Sequence[str | Backend] | None = None,
    seconds: float = 0.2,
) -> Bench:
    """Time copies of a net on random rows, or on yours; the net itself is left as it was.

    Args:
        net: any layer.
        input_shape: of one sample, without the batch axis; None = told by the first layer that names its features.
        loss: by default the cross-entropy; the squared error where the net has one output.
        optimizer: makes one of parameters; by default Adam.
        data: (x, y) to take rows from, for nets that random numbers do not suit, such as those that take integers.
        batches: the batch sizes.
        layers_at: the batch size at which layers are timed one by one.
        backends: by default NumPy, and CuPy where it works.
        seconds: about how long each figure is measured.

    Raises:
        ConfigError: a batch size below 1, no seconds, no backend, or an input shape that nothing tells.
        ShapeError: the input shape or the data do not fit the net.
        BackendError: a backend that was asked for does not work.
    """
    sizes = sorted(set(batches))
    if not sizes or min(*sizes, layers_at) < 1:
        raise ConfigError(f"bench: expected batch sizes of at least 1, got {[*sizes, layers_at]}.")
    if not 0 < seconds < math.inf:
        raise ConfigError(f"bench: expected seconds above 0, got {seconds}.")
    chosen = _choose(backends)
    rows = _Rows(net, input_shape, loss, data)
    make = optimizer or (lambda parameters: optim.Adam(parameters, lr=_RATE))
    measured = tuple(_measure(rows, make, backend, sizes, layers_at, seconds) for backend in chosen)
    return Bench(
        rows.name,
        type(rows.loss).__name__,
        type(make([Parameter((1,), 0.0)])).__name__,
        rows.dtype,
        sum(parameter.size for parameter in net.parameters()),
        measured,
        tuple(crossings(measured)),
    )


def crossings(measured: Sequence[BackendBench]) -> Iterator[tuple[str, str, float]]:
    """(slower at first, faster from there on, batch size) for each pair of backends whose times cross."""
    for a, b in combinations(measured, 2):
        common = {row.batch: row.step for row in b.batches}
        pairs = [(row.batch, row.step, common[row.batch]) for row in a.batches if row.batch in common]
        at = crossing(*zip(*pairs, strict=True)) if pairs else None
        if at is not None:
            _, last_a, last_b = pairs[-1]
            yield (a.spec, b.spec, at) if last_b < last_a else (b.spec, a.spec, at)


def crossing(batches: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float | None:
    """The batch size at which the times of two cross, so that the slower one is the faster from there on, or None.

    Times follow powers of the batch size over wide ranges, so that between two sizes both are straight lines in
    logarithms. Where they cross more than once, the last crossing counts.

    >>> crossing([1, 100], [1.0, 100.0], [10.0, 10.0])
    10.0
    """
    gaps = [math.log(x / y) for x, y in zip(a, b, strict=True)]
    for i in range(len(gaps) - 2, -1, -1):
        if (gaps[i] < 0) != (gaps[i + 1] < 0):
            part = gaps[i] / (gaps[i] - gaps[i + 1])
            return round(float(batches[i] * (batches[i + 1] / batches[i]) ** part), 6)
    return None


class _Rows:
    # What is trained, and on which rows.
    def __init__(
        self,
        net: Layer,
        input_shape: int | Sequence[int] | None,
        loss: Loss | None,
        data: tuple[NDArray[Any], NDArray[Any]] | None,
    ) -> None:
        self.net, self.data = net, data
        self.input: tuple[int, ...] = ()
        if data is None:
            found = summary(net, input_shape)
            if found.input_shape is None:
                raise ConfigError(f"bench: {found.note}, or data.")
            self.input = tuple(axis or 0 for axis in found.input_shape[1:])
        elif len(data) != 2 or not len(data[0]) or len(data[0]) != len(data[1]):
            raise ConfigError("bench: expected data as (x, y) with as many rows each, and at least one.")
        runner = copy.deepcopy(net)
        self.dtype = runner.dtype
        x = self._x(2, runner.backend, self.dtype)
        self.output = tuple(runner.forward(x).shape[1:])
        self.name = _name(net)
        self.leaves = sum(1 for _, layer in net.named_layers() if not any(True for _ in layer.children()))
        self.loss = loss or (losses.MSELoss() if self.output in ((), (1,)) else losses.CrossEntropyLoss())

    def batch(self, size: int, backend: Backend, dtype: str) -> tuple[Array, Array]:
        # Rows of the data in turn, or random ones: labels where the loss takes them.
        x = self._x(size, backend, dtype)
        if self.data is not None:
            y = np.resize(self.data[1], (size, *self.data[1].shape[1:]))
        else:
            generator = np.random.default_rng(0)
            y = generator.integers(self.output[-1] if self.output else 1, size=(size, *self.output[:-1]))
            if not self.loss.takes_labels(self.output, y):
                y = generator.random((size, *self.output))
        return x, backend.asarray(y, "int64" if self.loss.takes_labels(self.output, y) else dtype)

    def _x(self, size: int, backend: Backend, dtype: str) -> Array:
        if self.data is None:
            return backend.asarray(np.random.default_rng(1).standard_normal((size, *self.input)), dtype)
        x = np.resize(self.data[0], (size, *self.data[0].shape[1:]))
        return backend.asarray(x, "int64" if x.dtype.kind in "iu" else dtype)


def _choose(backends: Sequence[str | Backend] | None) -> list[Backend]:
    if backends is not None:
        if not backends:
            raise ConfigError("bench: expected at least one backend.")
        return [get_backend(spec) for spec in backends]
    return [get_backend(name) for name in ("numpy", "cupy") if backend_class(name).diagnose().works]


def _measure(
    rows: _Rows,
    make: MakeOptimizer,
    backend: Backend,
    sizes: Sequence[int],
    layers_at: int,
    seconds: float,
) -> BackendBench:
    dtype = rows.dtype if backend.has_float64 else "float32"
    net = copy.deepcopy(rows.net).to(backend, dtype)
    optimizer = make(net.parameters())
    overhead = _overhead(make, backend, dtype, seconds)
    found: list[BatchRow] = []
    notes: list[str] = []
    for size in sizes:
        try:
            x, y = rows.batch(size, backend, dtype)
            step = seconds_per_call(_Step(net, rows.loss, optimizer, x, y), backend.synchronize, seconds)
            forward = seconds_per_call(lambda x=x: net.forward(x), backend.synchronize, seconds)  # type: ignore[misc]
            share = min(1.0, overhead.of(rows.leaves) / step)
            found.append(BatchRow(size, step, forward, share, _memory(net, optimizer, x, y)))
        except MemoryError:
            net.zero_grad()
            notes.append(f"{backend.spec}: batches of {size} rows and more do not fit into memory.")
            break
    layers: tuple[LayerRow, ...] = ()
    at = layers_at
    while at and not layers:
        try:
            layers = _layers(net, rows.loss, optimizer, *rows.batch(at, backend, dtype), seconds)
        except MemoryError:
            net.zero_grad()
            notes.append(f"{backend.spec}: layers could not be timed at {at} rows, which do not fit into memory.")
            at //= 2
    return BackendBench(backend.spec, backend.provenance(), tuple(found), at, layers, overhead, tuple(notes))


class _Step:
    # A training step, as a call without arguments.
    def __init__(self, net: Layer, loss: Loss, optimizer: Optimizer, x: Array, y: Array) -> None:
        self.net, self.loss, self.optimizer, self.x, self.y = net, loss, optimizer, x, y

    def __call__(self) -> None:
        _, dy = self.loss(self.net.forward(self.x, train=True), self.y)
        self.net.accumulate(dy)
        self.optimizer.step()
        self.optimizer.zero_grad()


def _overhead(make: MakeOptimizer, backend: Backend, dtype: str, seconds: float) -> Overhead:
    x = backend.asarray(np.ones((1, 1)), dtype)
    taken = {}
    for depth in (_SHALLOW, _DEEP):
        net = nn.Sequential(*(nn.Linear(1, 1, weight_init=1.0) for _ in range(depth))).to(backend, dtype)
        step = _Step(net, losses.MSELoss(), make(net.parameters()), x, x)
        taken[depth] = seconds_per_call(step, backend.synchronize, seconds)
    layer = max(0.0, taken[_DEEP] - taken[_SHALLOW]) / (_DEEP - _SHALLOW)
    return Overhead(layer, max(0.0, taken[_SHALLOW] - _SHALLOW * layer))


def _layers(net: Layer, loss: Loss, optimizer: Optimizer, x: Array, y: Array, seconds: float) -> tuple[LayerRow, ...]:
    wait = net.backend.synchronize
    clock, deadline = LayerClock(wait), time.perf_counter() + seconds
    paths: dict[int, tuple[str, Layer]] = {}
    for path, layer in net.named_layers():
        paths.setdefault(id(layer), (path, layer))
    rest: dict[str, list[float]] = {"loss": [], "update": []}
    wraps = {"forward": clock.forward, "backward": clock.backward, "accumulate": clock.backward}
    with watched([layer for _, layer in paths.values()], wraps):
        for n in count():
            if n > 1 and time.perf_counter() > deadline:
                break
            output = net.forward(x, train=True)
            marks = [time.perf_counter()]
            _, dy = loss(output, y)
            wait()
            marks.append(time.perf_counter())
            net.accumulate(dy)
            marks.append(time.perf_counter())
            optimizer.step()
            optimizer.zero_grad()
            wait()
            marks.append(time.perf_counter())
            clock.end_pass(counts=n > 0)  # the first pass warms up
            if n:
                rest["loss"].append(marks[1] - marks[0])
                rest["update"].append(marks[3] - marks[2])
    rows = [
        LayerRow(path, type(layer).__name__, clock.median(layer, "forward"), clock.median(layer, "backward"))
        for path, layer in paths.values()
    ]
    return (*rows, *(LayerRow("", kind, 0.0, float(np.median(taken))) for kind, taken in rest.items()))


def _memory(net: Layer, optimizer: Optimizer, x: Array, y: Array) -> int:
    net.forward(x, train=True)
    kept: dict[int, int] = {id(array): nbytes(array) for array in (x, y)}
    for _, layer in net.named_layers():
        for array in arrays_in(layer._saved):
            kept[id(array)] = nbytes(array)
    net.zero_grad()
    state = sum(map(nbytes, optimizer.state_arrays()))
    return sum(kept.values()) + state + 2 * sum(nbytes(parameter.data) for parameter in net.parameters())


def _name(net: Layer) -> str:
    linear = [layer for _, layer in net.named_layers() if isinstance(layer, nn.Linear)]
    if not linear:
        return type(net).__name__
    return "-".join(map(str, [linear[0].in_features, *(layer.out_features for layer in linear)]))
