"""Does a net compute the same everywhere? The same weights and rows on several backends, compared layer by layer."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core import random
from anyfw.core.arrays import Array
from anyfw.core.backend import BUILT_IN, Backend, backend_class, get_backend
from anyfw.core.errors import BackendError, ConfigError
from anyfw.core.hooks import Method, watched
from anyfw.core.layer import Layer
from anyfw.core.parameter import Buffer, Parameter, to_host
from anyfw.inspect.sample import sample

Values = NDArray[Any]

# How far the sums of some hundred products lie apart that were added up in other orders, by the largest number there.
_TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
# What rounding alone makes of an array is measured: float32 against float64 on the reference. Where terms cancel it is
# more than usual, in float64 2^29 times less; so many times that much is nobody's fault.
_USUAL, _PRECISION = 10.0, {"float32": 1.0, "float64": 2.0**-29}


@dataclass(frozen=True)
class VerifyRow:
    """One array on one backend, against the first backend's.

    Attributes:
        backend: where.
        layer: its path and class.
        what: "forward" (the layer's output), "dx" (the gradient by its input), "d" and a parameter's name, or the name
            of a buffer; of the "whole net", where no layer is looked at and kernels may run layers together, "forward",
            the parameters' gradients, and "inference".
        max_abs: the largest difference.
        relative: that by the largest number.
        ulp: that in units in the last place of the largest number.
        ok: whether `relative` is within the tolerance, or within what rounding makes of this array, and NaN and
            infinities stand in the same places.
    """

    backend: str
    layer: str
    what: str
    max_abs: float
    relative: float
    ulp: float
    ok: bool


@dataclass(frozen=True)
class Verification:
    """What `verify` found; print it.

    Attributes:
        backends: those compared, the reference first.
        dtype: "float32" or "float64".
        tolerance: the largest relative error that is right.
        rows: in the order of computation, by backend.
        left_out: backends that do not work here, and why.
    """

    backends: tuple[str, ...]
    dtype: str
    tolerance: float
    rows: tuple[VerifyRow, ...]
    left_out: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return all(row.ok for row in self.rows)

    @property
    def first(self) -> Mapping[str, VerifyRow]:
        """The first array that diverges, by backend; what comes after it only inherits."""
        found: dict[str, VerifyRow] = {}
        for row in self.rows:
            if not row.ok:
                found.setdefault(row.backend, row)
        return found

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "ok": self.ok,
            "backends": list(self.backends),
            "dtype": self.dtype,
            "tolerance": self.tolerance,
            "first": {backend: asdict(row) for backend, row in self.first.items()},
            "left_out": dict(self.left_out),
            "rows": [asdict(row) for row in self.rows],
        }

    def __str__(self) -> str:
        width = max([len(row.layer) for row in self.rows] + [5])
        second = max([len(row.what) for row in self.rows] + [12])
        lines = [f"{self.backends[0]} is the reference, in {self.dtype}; relative errors of at most {self.tolerance:g}"]
        for backend in self.backends[1:]:
            lines.append(f"\n{backend:{width}}  {'':{second}}  {'max abs':>9}  {'relative':>9}  {'ulp':>8}")
            for row in self.rows:
                if row.backend == backend:
                    figures = f"{row.max_abs:9.1e}  {row.relative:9.1e}  {row.ulp:8.1f}"
                    lines.append(f"{row.layer:{width}}  {row.what:{second}}  {figures}{'' if row.ok else '  DIVERGES'}")
            found = self.first.get(backend)
            told = f"diverges first at {found.layer}, {found.what}" if found else "agrees"
            lines.append(f"{backend} {told}")
        lines += [f"\n{name} left out: {why}" for name, why in self.left_out.items()]
        return "\n".join(lines)


def verify(
    net: Layer,
    x: Any = None,
    *,
    backends: Sequence[str | Backend] | None = None,
    rows: int = 16,
    tolerance: float | None = None,
    seed: int = 0,
) -> Verification:
    """Run copies of a net forward and backward in training mode on several backends, and compare every layer.

    Args:
        net: any layer; it stays as it is.
        x: rows on the host; by default normal ones of the shape that the net's first layers tell.
        backends: the first is the reference; by default numpy and every other that works here.
        rows: how many normal ones.
        tolerance: by default 2e-5 in float32 and 1e-12 in float64.
        seed: of these rows and of the gradient by the output.

    Raises:
        ConfigError: fewer than two backends, or rows that cannot be made up.
        BackendError, UnknownNameError: a backend that was asked for and cannot work.
    """
    values = sample("verify", net, x, rows, seed)
    opened, left_out = _opened(backends)
    dtype = copy.deepcopy(net).dtype
    for backend in opened[1:]:
        if dtype == "float64" and not backend.has_float64:
            raise BackendError(f"verify: {backend.spec} has no float64, and the net is in float64. Leave it out.")
    runs = [_run(net, backend, dtype, values, seed) for backend in opened]
    limit = _TOLERANCE[dtype] if tolerance is None else tolerance
    rounding: dict[tuple[str, str], float] = {}
    if opened[0].has_float64:
        other = _run(net, opened[0], "float64" if dtype == "float32" else "float32", values, seed)
        rounding = {key: _USUAL * _PRECISION[dtype] * _relative(other[key], found) for key, found in runs[0].items()}
    found: list[VerifyRow] = []
    for backend, run in zip(opened[1:], runs[1:], strict=True):
        found += _compare(backend.spec, runs[0], run, limit, rounding)
    return Verification(tuple(backend.spec for backend in opened), dtype, limit, tuple(found), left_out)


def _opened(backends: Sequence[str | Backend] | None) -> tuple[list[Backend], dict[str, str]]:
    if backends is not None:
        opened = list(dict.fromkeys(get_backend(one) for one in backends))
        if len(opened) < 2:
            raise ConfigError(f"verify: expected at least two backends to compare, got {len(opened)}.")
        return opened, {}
    opened, left_out = [], {}
    for name in BUILT_IN:
        try:
            diagnosis = backend_class(name).diagnose()
        except BackendError as error:
            left_out[name] = str(error)
            continue
        if diagnosis.works:
            opened.append(get_backend(name))
        else:
            left_out[name] = diagnosis.problem or "it does not work here"
    if len(opened) < 2:
        raise ConfigError("verify: only one backend works here: pip install array-api-strict adds one to compare with.")
    return opened, left_out


Run = dict[tuple[str, str], Values]


def _run(net: Layer, backend: Backend, dtype: str, x: Values, seed: int) -> Run:
    # Every array by (layer, what), in the order of computation.
    found = _watched_run(net, backend, dtype, x, seed)
    # A layer that is watched runs alone: what training runs is this, and inference has a way of its own.
    runner = _copy(net, backend, dtype)
    y = runner.forward(backend.asarray(x, dtype), train=True)
    found["whole net", "forward"] = np.array(to_host(y))
    runner.accumulate(_dy(y, backend, dtype, seed))
    for path, parameter in runner.named_parameters():
        if parameter.trainable:
            found["whole net", f"d{path}"] = np.array(to_host(parameter.grad))
    runner.zero_grad()
    found["whole net", "inference"] = np.array(to_host(runner.forward(backend.asarray(x, dtype))))
    return found


def _watched_run(net: Layer, backend: Backend, dtype: str, x: Values, seed: int) -> Run:
    runner = _copy(net, backend, dtype)
    places: dict[int, str] = {}
    for path, layer in runner.named_layers():
        places.setdefault(id(layer), f"{path or 'net'} {type(layer).__name__}")
    found: Run = {}

    def keep(layer: Layer, what: str, array: Array) -> None:
        # A layer that is used again has another name for each use.
        name, n = what, 1
        while (places[id(layer)], name) in found:
            name, n = f"{what} {n + 1}", n + 1
        found[places[id(layer)], name] = np.array(to_host(array))

    def forward(layer: Layer, method: Method) -> Method:
        def call(given: Array, /, *, train: bool = False) -> Array:
            y = method(given, train=train)
            keep(layer, "forward", y)
            for name, value in vars(layer).items():
                if isinstance(value, Buffer):
                    keep(layer, name, value.data)
            return y

        return call

    def backward(layer: Layer, method: Method) -> Method:
        def call(dy: Array, /) -> Array:
            dx = method(dy)
            for name, value in vars(layer).items():
                if isinstance(value, Parameter) and value.trainable:
                    keep(layer, f"d{name}", value.grad)
            keep(layer, "dx", dx)
            return dx

        return call

    with watched([layer for _, layer in runner.named_layers()], {"forward": forward, "backward": backward}):
        y = runner.forward(backend.asarray(x, dtype), train=True)
        runner.backward(_dy(y, backend, dtype, seed))
    return found


def _copy(net: Layer, backend: Backend, dtype: str) -> Layer:
    runner = copy.deepcopy(net).to(backend, dtype)
    runner.shared.rewind(0)
    return runner


def _dy(y: Array, backend: Backend, dtype: str, seed: int) -> Array:
    return backend.asarray(random.normal(tuple(y.shape), seed, "verify", "dy"), dtype)


def _compare(
    backend: str, reference: Run, run: Run, tolerance: float, rounding: Mapping[tuple[str, str], float]
) -> list[VerifyRow]:
    rows = []
    for key, expected in reference.items():
        values = run.get(key)
        if values is None or values.shape != expected.shape:
            rows.append(VerifyRow(backend, *key, np.inf, np.inf, np.inf, False))
            continue
        relative, largest = _relative(values, expected), _largest(expected)
        unit = float(np.spacing(np.asarray(largest or 1.0, dtype=expected.dtype)))
        worst = relative * (largest or 1.0)
        limit = max(tolerance, rounding.get(key, 0.0))
        ok = _same_places(values, expected) and relative <= limit
        rows.append(VerifyRow(backend, *key, worst, relative, worst / unit, ok))
    return rows


def _relative(values: Values, expected: Values) -> float:
    # By the largest number; absolute where all are zero. What is not finite in one of them is left out.
    both = np.isfinite(values) & np.isfinite(expected)
    worst = float(np.abs(values[both].astype(np.float64) - expected[both].astype(np.float64)).max(initial=0.0))
    return worst / (_largest(expected) or 1.0)


def _same_places(values: Values, expected: Values) -> bool:
    # NaN, and infinities with their signs.
    odd = ~np.isfinite(expected)
    return bool(
        np.array_equal(np.isfinite(values), ~odd) and np.array_equal(values[odd], expected[odd], equal_nan=True)
    )


def _largest(values: Values) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
