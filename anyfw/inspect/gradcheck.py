"""Is a backward pass right? Its gradients against finite differences, for layers and losses, also of your own."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core import random
from anyfw.core.arrays import Array
from anyfw.core.backend import Backend, backend_of, get_backend
from anyfw.core.layer import Layer
from anyfw.core.parameter import to_host

Values = NDArray[np.float64]

# The best of three steps counts: a long one may cross a kink, a short one drowns in rounding; a wrong gradient
# agrees with none of them.
_STEPS = (1e-4, 1e-5, 1e-6)
_DIRECTIONS = 2
# A slope below this part of the output's size is told from 0 no better than rounding allows.
_FLOOR = 1e-4


@dataclass(frozen=True)
class GradcheckRow:
    """One gradient: the slope that backward gives along a random direction, and that of finite differences."""

    name: str
    error: float
    backward: float
    differences: float


@dataclass(frozen=True)
class GradcheckResult:
    """What `gradcheck` found; print it.

    Attributes:
        subject: the class that was checked.
        rows: "input" and every trainable parameter by its path, each with its largest relative error.
        tolerance: the largest error that is right.
    """

    subject: str
    rows: tuple[GradcheckRow, ...]
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether every gradient is right; False where any is NaN."""
        return all(row.error <= self.tolerance for row in self.rows)

    @property
    def errors(self) -> dict[str, float]:
        """The relative error of each gradient by its name."""
        return {row.name: row.error for row in self.rows}

    def __str__(self) -> str:
        width = max([len(row.name) for row in self.rows] + [len("gradient")])
        verdict = "every gradient is right" if self.ok else "WRONG gradients"
        lines = [
            f"{self.subject}: {verdict} (relative error at most {self.tolerance:g})",
            f"  {'gradient':{width}}  {'error':>9}  {'backward':>13}  {'differences':>13}",
        ]
        lines += [
            f"  {row.name:{width}}  {row.error:9.1e}  {row.backward:13.6e}  {row.differences:13.6e}"
            f"{'' if row.error <= self.tolerance else '  WRONG'}"
            for row in self.rows
        ]
        return "\n".join(lines)


def gradcheck(layer: Layer, x: Array, /, *, tolerance: float = 1e-6, seed: int = 0) -> GradcheckResult:
    """Check a layer's or a whole net's backward in training mode, in float64.

    With a random dy, L = sum(dy y) is a number whose gradients backward gives. Each is compared with the central
    difference (L(v + h d) - L(v - h d)) / 2h along random directions d. The layer itself stays as it is: a copy is
    checked, with every forward pass at the same dropout mask. Keep x away from kinks such as ReLU's at 0.

    Args:
        layer: forward must depend on nothing but x, the parameters and the net's tick.
        x: an input, on any backend. Integers are handed on as they are, and have no gradient.
        tolerance: the largest relative error that is right.
        seed: of dy and the directions.

    Raises:
        BackendError: the device has no float64. A wrong gradient raises nothing: ask `.ok`, or print the result.

    >>> import numpy as np
    >>> from anyfw import nn
    >>> gradcheck(nn.Linear(3, 2), np.ones((4, 3))).ok
    True
    """
    net = copy.deepcopy(layer)
    net.to(_backend_for(layer, x), "float64")
    host = to_host(x)
    floating = np.issubdtype(host.dtype, np.floating)
    point: NDArray[Any] = host.astype(np.float64) if floating else host

    def forward(values: NDArray[Any]) -> Array:
        net.zero_grad()
        net.shared.rewind(0)
        return net.forward(net.backend.asarray(values), train=True)

    y = forward(point)
    dy = random.normal(tuple(y.shape), seed, "gradcheck", "dy")
    # A copy of dx: some layers hand dy itself on, and reading parameters' gradients must not find it changed.
    dx = _values(net.backward(net.backend.asarray(dy)))
    parameters = {name: parameter for name, parameter in net.named_parameters() if parameter.trainable}
    gradients = {name: _values(parameter.grad) for name, parameter in parameters.items()}
    size = float(np.sqrt(np.sum((_values(y) * dy) ** 2)))

    def loss(values: NDArray[Any]) -> float:
        return float(np.sum(_values(forward(values)) * dy))

    rows = []
    if floating:
        rows.append(_compare("input", loss, point, dx, size, seed))
    for name, parameter in parameters.items():
        start = _values(parameter.data)

        def loss_of(values: Values, parameter: Any = parameter) -> float:
            parameter.data = values
            return loss(point)

        rows.append(_compare(name, loss_of, start, gradients[name], size, seed))
        parameter.data = start
    net.zero_grad()
    return GradcheckResult(type(layer).__name__, tuple(rows), tolerance)


def gradcheck_loss(
    loss: Callable[..., tuple[Array, Array]],
    y: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> GradcheckResult:
    """Check the dy of a loss against central differences of its value, in float64.

    Args:
        loss: called as `loss(y, target, sample_weight)`, gives (value, dy).
        y: outputs, on any backend, away from kinks.
        target, sample_weight: as the loss takes them; floating-point ones are cast to float64.
        tolerance: the largest relative error that is right.
        seed: of the directions.

    Raises:
        BackendError: the device has no float64. A wrong gradient raises nothing: ask `.ok`, or print the result.
    """
    backend = _backend_for(None, y)
    point = _values(y)
    fixed = [None if given is None else _cast(backend, given) for given in (target, sample_weight)]

    def run(values: Values) -> tuple[Array, Array]:
        return loss(backend.asarray(values, "float64"), *fixed)

    def value_of(values: Values) -> float:
        return float(to_host(run(values)[0]))

    value, dy = run(point)
    row = _compare("y", value_of, point, _values(dy), abs(float(to_host(value))), seed)
    subject = getattr(loss, "__name__", type(loss).__name__)
    return GradcheckResult(subject, (row,), tolerance)


def _backend_for(layer: Layer | None, x: Array) -> Backend:
    if layer is not None and layer._shared is not None and layer._shared.backend is not None:
        return layer._shared.backend
    # Host arrays say nothing of where to compute.
    return get_backend() if isinstance(x, np.ndarray) else backend_of(x) or get_backend()


def _values(x: Array) -> Values:
    return to_host(x).astype(np.float64)


def _cast(backend: Backend, given: Array) -> Array:
    host = to_host(given)
    return backend.asarray(host, "float64" if np.issubdtype(host.dtype, np.floating) else None)


def _compare(
    name: str, loss: Callable[[Values], float], point: Values, gradient: Values, size: float, seed: int
) -> GradcheckRow:
    if gradient.shape != point.shape:
        return GradcheckRow(f"{name}, shape {gradient.shape} in place of {point.shape}", np.inf, np.nan, np.nan)
    unit = max(1.0, float(np.sqrt(np.mean(point**2)))) if point.size else 1.0
    found = []
    for number in range(_DIRECTIONS):
        direction = random.normal(point.shape, seed, "gradcheck", name, number)
        slope = float(np.sum(gradient * direction))
        # Along an unlucky direction a large gradient has a slope near 0, which rounding alone would spoil.
        floor = max(0.1 * float(np.sqrt(np.sum(gradient**2))), _FLOOR * size, 1e-300)
        rows = []
        for step in _STEPS:
            h = step * unit
            difference = (loss(point + h * direction) - loss(point - h * direction)) / (2.0 * h)
            error = abs(slope - difference) / max(abs(slope), abs(difference), floor)
            rows.append(GradcheckRow(name, error if np.isfinite(error) else np.inf, slope, difference))
        found.append(min(rows, key=_error))
    return max(found, key=_error)


def _error(row: GradcheckRow) -> float:
    return row.error
