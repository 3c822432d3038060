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
from anyfw.core.parameter import Parameter, to_host
from anyfw.inspect.sample import sample

Values = NDArray[Any]

# How far the sums of some hundred products lie apart that were added up in other orders, by the largest number there.
_TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
# A gradient that should be zero, as a bias's before batch norm, is nothing but rounding of the terms that cancel: it is
# compared with this part of the layer's largest one.
_FLOOR = 0.1


@dataclass(frozen=True)
class VerifyRow:
    """One array on one backend, against the first backend's.

    Attributes:
        backend: where.
        layer: its path and class.
        what: "forward" (the layer's output), "dx" (the gradient by its input), or "d" and a parameter's name.
        max_abs: the largest difference.
        relative: that by the largest number.
        ulp: that in units in the last place of the largest number.
        ok: whether `relative` is within the tolerance, and NaN and infinities stand in the same places.
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
        lines = [f"{self.backends[0]} is the reference, in {self.dtype}; relative errors of at most {self.tolerance:g}"]
        for backend in self.backends[1:]:
            lines.append(f"\n{backend:{width}}  {'':12}  {'max abs':>9}  {'relative':>9}  {'ulp':>8}")
            for row in self.rows:
                if row.backend == backend:
                    figures = f"{row.max_abs:9.1e}  {row.relative:9.1e}  {row.ulp:8.1f}"
                    lines.append(f"{row.layer:{width}}  {row.what:12}  {figures}{'' if row.ok else '  DIVERGES'}")
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
    found: list[VerifyRow] = []
    for backend, run in zip(opened[1:], runs[1:], strict=True):
        found += _compare(backend.spec, runs[0], run, limit)
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
    runner = copy.deepcopy(net).to(backend, dtype)
    runner.shared.rewind(0)
    places: dict[int, str] = {}
    for path, layer in runner.named_layers():
        places.setdefault(id(layer), f"{path or 'net'} {type(layer).__name__}")
    parameters = {id(layer): _own(layer) for _, layer in runner.named_layers()}
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
            return y

        return call

    def backward(layer: Layer, method: Method) -> Method:
        def call(dy: Array, /) -> Array:
            dx = method(dy)
            for name, parameter in parameters[id(layer)].items():
                if parameter.trainable:
                    keep(layer, f"d{name}", parameter.grad)
            keep(layer, "dx", dx)
            return dx

        return call

    with watched([layer for _, layer in runner.named_layers()], {"forward": forward, "backward": backward}):
        given = backend.asarray(x, dtype if np.issubdtype(x.dtype, np.floating) else None)
        y = runner.forward(given, train=True)
        runner.backward(backend.asarray(random.normal(tuple(y.shape), seed, "verify", "dy"), dtype))
    return found


def _own(layer: Layer) -> dict[str, Any]:
    return {name: value for name, value in vars(layer).items() if isinstance(value, Parameter)}


def _compare(backend: str, reference: Run, run: Run, tolerance: float) -> list[VerifyRow]:
    floors: dict[str, float] = {}
    for (layer, what), gradient in reference.items():
        if not what.startswith("forward"):
            floors[layer] = max(floors.get(layer, 0.0), _FLOOR * _largest(gradient))
    rows = []
    for (layer, what), expected in reference.items():
        values = run.get((layer, what))
        if values is None or values.shape != expected.shape:
            rows.append(VerifyRow(backend, layer, what, np.inf, np.inf, np.inf, False))
            continue
        same_places = bool(np.array_equal(np.isfinite(values), np.isfinite(expected)))
        both = np.isfinite(values) & np.isfinite(expected)
        worst = float(np.abs(values[both].astype(np.float64) - expected[both]).max(initial=0.0))
        largest = max(_largest(expected), 0.0 if what.startswith("forward") else floors[layer])
        relative = worst / largest if largest else float(worst > 0.0)
        unit = float(np.spacing(np.asarray(largest or 1.0, dtype=expected.dtype)))
        ok = same_places and relative <= tolerance
        rows.append(VerifyRow(backend, layer, what, worst, relative, worst / unit, ok))
    return rows


def _largest(values: Values) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
