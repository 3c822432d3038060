"""`Metric`: a number about outputs and targets that people read; nothing is learnt from it."""

from abc import abstractmethod
from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar, Self

from anyfw.core.arrays import Array, DType, is_floating, is_integer, namespace
from anyfw.core.backend import backend_of
from anyfw.core.criterion import Criterion
from anyfw.core.errors import ConfigError, DataError, ShapeError
from anyfw.core.parameter import to_host
from anyfw.ops.linear import product


class Metric(Criterion):
    """A measure over all rows since `reset`.

    `update` adds to sums that stay on the device, in float64 where it has that, and never waits; `compute` reads them.
    A metric of your own keeps each constructor argument under its own name, names its sums in `sums`, and writes
    `update` (with `add`) and `compute` (with `read`).

    Attributes:
        name: its key in a history.
        higher_is_better: None where there is no better.
        sums: the names of what is accumulated.

    Shapes:
        y: (batch, ..., classes) or (batch, ...); target: (batch, ...); sample_weight: (batch,) or one for each row of
        scores.

    Raises:
        ShapeError: shapes that do not fit, although they might broadcast.
        PlacementError: arrays of different backends or devices; outputs that are not floating.
        DataError: no rows.
    """

    role = "metric"
    name: str
    higher_is_better: ClassVar[bool | None]
    sums: ClassVar[tuple[str, ...]]

    _state: dict[str, Array]

    def __new__(cls, *args: object, **kwargs: object) -> Self:  # noqa: ARG004, D102
        metric = super().__new__(cls)
        metric._state = {}
        return metric

    def __init__(self) -> None:
        # Without it, object's would let any argument pass in silence, because __new__ is overridden.
        super().__init__()

    @abstractmethod
    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Take in a batch of the net's outputs and their targets."""

    @abstractmethod
    def compute(self) -> Any:
        """The measure of all rows so far, as a float or lists of floats; waits for the device.

        Raises:
            DataError: there were no rows, or all their weights were zero, or it is not defined for them.
        """

    def reset(self) -> None:
        """Forget all rows."""
        self._state = {}

    def sums_in_place(self) -> dict[str, Array]:
        """The sums themselves, which `update` adds to in place."""
        return dict(self._state)

    def continue_in(self, sums: dict[str, Array]) -> None:
        """Go on in these arrays, which a recorded `update` adds to: they take over what is summed up so far."""
        for name, array in sums.items():
            array[...] = self._state[name] if self._state else 0.0
        self._state = dict(sums)

    def state(self) -> dict[str, Array]:
        """Copies of the sums, on the device; empty before the first row."""
        return {name: namespace(x).asarray(x, copy=True) for name, x in self._state.items()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` gave, so that the next `update` goes on from there.

        Raises:
            ConfigError: it is another metric's.
        """
        if state and sorted(state) != sorted(self.sums):
            raise ConfigError(f"{self.who}: expected a state of {', '.join(self.sums)}, got {', '.join(state)}.")
        self._state = {name: namespace(x).asarray(x, copy=True) for name, x in state.items()}

    # For subclasses

    def add(self, **sums: Array) -> None:
        """Add to the sums of these names, in place."""
        for name, value in sums.items():
            xp = namespace(value)
            if name in self._state:
                kept = self._state[name]
                if tuple(kept.shape) != tuple(value.shape):
                    raise ShapeError(f"{self.who}: the outputs had another number of columns before. Call reset().")
                kept += xp.astype(value, kept.dtype, copy=False)
            else:
                self._state[name] = xp.asarray(value, copy=True)

    def read(self, *names: str) -> tuple[Any, ...]:
        """These sums as floats or lists of floats; waits for the device.

        Raises:
            DataError: there were no rows.
        """
        if not self._state:
            raise DataError(f"{self.who}: no rows yet. Call update(y, target) before compute().")
        return tuple(to_host(self._state[name]).tolist() for name in names)

    def ratio(self, above: float, below: float) -> float:
        """A weighted mean from its sums.

        Raises:
            DataError: all weights were zero.
        """
        if below == 0:
            raise DataError(f"{self.who}: the weights of all rows are zero, so there is no mean.")
        return above / below

    def expect(self, y: Array, **others: Array | None) -> None:
        """Check that y is floating and has rows, and that the others are on its backend and device."""
        self.expect_output(y)
        for name, x in others.items():
            if x is not None:
                self.expect_place(y, name, x)

    def expect_same_shape(self, y: Array, target: Array) -> None:
        """Check that y and target are alike: nothing is broadcast."""
        if tuple(y.shape) != tuple(target.shape):
            raise ShapeError(
                f"{self.who}: expected a target of y's shape {tuple(y.shape)}, got {tuple(target.shape)}. "
                "Nothing is broadcast: use target[:, None] or target[:, 0], or integer labels for several classes."
            )

    def weights(self, sample_weight: Array | None, y: Array, shape: tuple[int, ...]) -> Array:
        """The weights of rows of this shape, ones by default; flat, in the sums' dtype."""
        xp, dtype = namespace(y), sum_dtype(y)
        if sample_weight is None:
            return xp.ones((prod(shape),), dtype=dtype, device=y.device)
        given = tuple(sample_weight.shape)
        if given != tuple(shape):
            if given != (shape[0],):
                raise ShapeError(
                    f"{self.who}: expected sample_weight of shape {(shape[0],)}, one weight for each row, got {given}."
                )
            sample_weight = xp.broadcast_to(
                xp.reshape(sample_weight, (-1,) + (1,) * (len(shape) - 1)), tuple(int(n) for n in shape)
            )
        return xp.reshape(xp.astype(sample_weight, dtype, copy=False), (-1,))


def weighted_sums(weight: Array, x: Array) -> Array:
    """The sum of x's rows, each times its weight.

    Shapes:
        weight: (rows,); x: (rows, n); returns (n,).
    """
    xp = namespace(x)
    return xp.reshape(product(xp.reshape(weight, (1, -1)), x), (-1,))


def sum_dtype(y: Array) -> DType:
    """The dtype of sums beside y: float64 where the device has it, else float32."""
    xp, backend = namespace(y), backend_of(y)
    if backend is not None:
        return xp.float64 if backend.has_float64 else xp.float32
    return xp.float64 if "float64" in xp.__array_namespace_info__().dtypes(device=y.device) else xp.float32


def expect_labels(metric: Metric, y: Array, target: Array) -> None:
    """Check that target has one integer label for each row of scores y, shape (batch, ..., classes)."""
    if not is_integer(target) or y.ndim < 2 or y.shape[-1] < 2 or tuple(target.shape) != tuple(y.shape[:-1]):
        raise ShapeError(
            f"{metric.who}: expected scores (batch, ..., classes) and integer labels (batch, ...), got y of shape "
            f"{tuple(y.shape)} and target of shape {tuple(target.shape)} and dtype {target.dtype}. "
            "Turn one-hot rows into labels with argmax, a column into a row with target[:, 0]."
        )


def is_binary(metric: Metric, y: Array, target: Array) -> bool:
    """Whether y is one score for each target, instead of one for each class; checks that target fits.

    Targets of two classes may be 0 and 1 or -1 and 1, in any dtype, in the shape of y: (batch,) or (batch, 1).
    """
    if y.ndim == 1 or y.shape[-1] == 1:
        metric.expect_same_shape(y, target)
        return True
    if is_floating(target):
        metric.expect_same_shape(y, target)
    else:
        expect_labels(metric, y, target)
    return False
