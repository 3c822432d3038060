"""Where a training step's time, memory and arithmetic go, layer by layer."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from anyfw import nn
from anyfw.core import random
from anyfw.core.arrays import Array, arrays_in, memory, nbytes
from anyfw.core.backend import Backend, get_backend
from anyfw.core.errors import ConfigError
from anyfw.core.hooks import Method, watched
from anyfw.core.layer import Layer
from anyfw.core.parameter import Parameter
from anyfw.inspect.sample import sample
from anyfw.inspect.stopwatch import LayerClock

# Operations for each element, forward and backward: sums, products, comparisons, and functions as one each.
_EACH: Mapping[type[Layer], tuple[int, int]] = {
    nn.ReLU: (1, 2), nn.LeakyReLU: (2, 2), nn.ELU: (4, 4), nn.SELU: (4, 4), nn.GELU: (4, 8), nn.SiLU: (4, 7),
    nn.Softplus: (4, 3), nn.Sigmoid: (3, 3), nn.Tanh: (1, 3), nn.Softmax: (4, 4), nn.LogSoftmax: (5, 4),
    nn.Dropout: (9, 1), nn.BatchNorm1d: (8, 12), nn.LayerNorm: (8, 12), nn.RMSNorm: (5, 9), nn.Rescale: (2, 1),
}  # fmt: skip


@dataclass(frozen=True)
class ProfileRow:
    """One layer in one pass forward and one backward.

    Attributes:
        layer: its path and class.
        forward, backward: seconds in it, without the layers in it.
        flops_forward, flops_backward: operations; those of a matrix product count twice, for sums and products. None
            for a layer of the user's own.
        saved: bytes that it keeps for backward and no layer before it keeps already.
        parameters: bytes of its own, without gradients.
    """

    layer: str
    forward: float
    backward: float
    flops_forward: int | None
    flops_backward: int | None
    saved: int
    parameters: int


@dataclass(frozen=True)
class Profile:
    """What `profile` found; print it.

    Attributes:
        backend, dtype: where and in what.
        shape: of the rows that went in.
        rows: layer by layer.
    """

    backend: str
    dtype: str
    shape: tuple[int, ...]
    rows: tuple[ProfileRow, ...]

    @property
    def seconds(self) -> float:
        """In all layers, forward and backward."""
        return sum(row.forward + row.backward for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        rows = [asdict(row) for row in self.rows]
        return {"backend": self.backend, "dtype": self.dtype, "shape": list(self.shape), "rows": rows}

    def __str__(self) -> str:
        width = max([len(row.layer) for row in self.rows] + [5])
        lines = [
            f"input {'x'.join(map(str, self.shape))} on {self.backend}, {self.dtype}; medians, of each layer alone",
            f"{'layer':{width}}  {'forward':>18}  {'backward':>18}  {'share':>6}  {'saved':>9}  {'parameters':>10}",
            f"{'':{width}}  {'us':>9} {'GFLOP/s':>8}  {'us':>9} {'GFLOP/s':>8}  {'':6}  {'kB':>9}  {'kB':>10}",
        ]
        for row in self.rows:
            share = (row.forward + row.backward) / self.seconds if self.seconds else 0.0
            lines.append(
                f"{row.layer:{width}}  {1e6 * row.forward:9.1f} {_rate(row.flops_forward, row.forward):>8}  "
                f"{1e6 * row.backward:9.1f} {_rate(row.flops_backward, row.backward):>8}  {share:6.1%}  "
                f"{row.saved / 1e3:9.1f}  {row.parameters / 1e3:10.1f}"
            )
        known = sum((row.flops_forward or 0) + (row.flops_backward or 0) for row in self.rows)
        saved, weights = (sum(getattr(row, name) for row in self.rows) for name in ("saved", "parameters"))
        lines.append(
            f"in all {1e6 * self.seconds:,.1f} us, {known / 1e9:.3g} GFLOP, {saved / 1e6:,.1f} MB saved, "
            f"{weights / 1e6:,.1f} MB of parameters"
        )
        return "\n".join(lines)


def profile(
    net: Layer,
    x: Any = None,
    *,
    rows: int = 128,
    backend: str | Backend | None = None,
    seconds: float = 0.5,
    seed: int = 0,
) -> Profile:
    """Time a copy of a net layer by layer, in training mode, and count what each one computes and keeps.

    Each layer waits for the device before and after it; together they take longer than a step that does not wait.

    Args:
        net: any layer; it stays as it is.
        x: rows on the host; by default normal ones of the shape that the net's first layers tell.
        rows: how many normal ones.
        backend: where; by default where the net is.
        seconds: about how long to measure.
        seed: of normal rows.

    Raises:
        ConfigError: rows that cannot be made up.
    """
    if rows < 1 or not seconds > 0:
        raise ConfigError(f"profile: expected at least one row and a time above 0, got {rows} and {seconds}.")
    values = sample("profile", net, x, rows, seed)
    runner = copy.deepcopy(net).to(None if backend is None else get_backend(backend))
    given = runner.backend.asarray(values, runner.dtype)
    paths: dict[int, tuple[str, Layer]] = {}
    for path, layer in runner.named_layers():
        paths.setdefault(id(layer), (f"{path or 'net'} {type(layer).__name__}", layer))
    layers = [layer for _, layer in paths.values()]
    saved, flops = _counted(runner, layers, given, seed)
    clock = _timed(runner, layers, given, seconds, seed)
    found = [
        ProfileRow(
            name,
            clock.median(layer, "forward"),
            clock.median(layer, "backward"),
            *flops[id(layer)],
            saved[id(layer)],
            sum(nbytes(value.data) for value in vars(layer).values() if isinstance(value, Parameter)),
        )
        for name, layer in paths.values()
        if not isinstance(layer, nn.Sequential)
    ]
    return Profile(runner.backend.spec, runner.dtype, tuple(given.shape), tuple(found))


Counts = dict[int, tuple[int | None, int | None]]


def _counted(net: Layer, layers: list[Layer], x: Array, seed: int) -> tuple[dict[int, int], Counts]:
    # One pass: bytes saved by each layer, arrays of several counted once, and operations.
    flops: Counts = {id(layer): (0, 0) for layer in layers}

    def forward(layer: Layer, method: Method) -> Method:
        def call(given: Array, /, *, train: bool = False) -> Array:
            y = method(given, train=train)
            (ahead, back), (own, own_back) = flops[id(layer)], _flops(layer, tuple(given.shape), tuple(y.shape))
            # None, of a layer whose arithmetic is not known, stays None.
            flops[id(layer)] = _sum(ahead, own), _sum(back, own_back)
            return y

        return call

    with watched(layers, {"forward": forward}):
        y = net.forward(x, train=True)
    saved, counted = {}, set[int]()
    for layer in layers:
        new = {memory(array): nbytes(array) for array in arrays_in(layer._saved) if memory(array) not in counted}
        counted |= new.keys()
        saved[id(layer)] = sum(new.values())
    net.backward(_dy(net, y, seed))
    return saved, flops


def _timed(net: Layer, layers: list[Layer], x: Array, seconds: float, seed: int) -> LayerClock:
    clock, deadline = LayerClock(net.backend.synchronize), time.perf_counter() + seconds
    wraps: dict[str, Callable[[Layer, Method], Method]] = {"forward": clock.forward, "backward": clock.backward}
    with watched(layers, wraps):
        passes = 0
        # The first pass warms up.
        while passes < 2 or time.perf_counter() < deadline:
            y = net.forward(x, train=True)
            net.backward(_dy(net, y, seed))
            net.zero_grad()
            clock.end_pass(counts=passes > 0)
            passes += 1
    return clock


def _dy(net: Layer, y: Array, seed: int) -> Array:
    return net.backend.asarray(random.normal(tuple(y.shape), seed, "profile", "dy"), net.dtype)


def _flops(layer: Layer, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int | None, int | None]:
    if isinstance(layer, nn.Linear):
        rows, bias = prod(x[:-1]), layer.bias is not None
        product = 2 * rows * layer.in_features * layer.out_features
        summed = rows * layer.out_features if bias else 0
        return product + summed, 2 * product + summed
    if isinstance(layer, nn.Residual | nn.Parallel):
        return prod(y), prod(x)
    if isinstance(layer, nn.CategoryColumns):
        one_hots = x[0] * sum(layer.counts)
        products = 2 * x[0] * sum(map(prod, zip(layer.counts, layer.widths, strict=True)))
        return one_hots + products, products
    if isinstance(layer, nn.Sequential | nn.Identity | nn.Flatten):
        return 0, 0
    each = _EACH.get(type(layer))
    return (None, None) if each is None else (each[0] * prod(y), each[1] * prod(y))


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _rate(flops: int | None, seconds: float) -> str:
    return "" if not flops or not seconds else f"{flops / seconds / 1e9:.3g}"
