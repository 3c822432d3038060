"""`Loss`: a number to make small, and its gradient."""

from abc import abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

from anyfw.core.arrays import Array, dtype_name, is_floating, namespace
from anyfw.core.criterion import Criterion
from anyfw.core.errors import ConfigError, PlacementError, ShapeError, UnknownNameError
from anyfw.losses import checks
from anyfw.ops import loss as ops


class Loss(Criterion):
    """A loss of outputs y against targets, reduced to one number over a batch.

    With w the weights (class weight times sample weight) and l the losses: "mean" is sum(w l) / sum(w), "sum" is
    sum(w l). A batch whose weights are all zero says nothing: its mean is 0 and so is its gradient, never NaN.

    A call checks shapes and places, never values, for which it would have to wait: labels out of range give errors of
    the array library, or wrong numbers. In a loop of your own, call `check` once before it; Trainer does.

    A loss of your own keeps each constructor argument under its own name and writes `each`.

    Args:
        reduction: "mean" or "sum".

    Shapes:
        y: (batch, ...), floating; target: as y, unless the loss says otherwise; never broadcast. sample_weight:
        (batch,), for all losses of a row, or one for each loss. value: (); dy: as y.

    Raises:
        ShapeError: shapes that do not fit, although they might broadcast.
        PlacementError: arrays of different backends, devices or dtypes.
        DataError: no rows.
    """

    role = "loss"
    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum")
    _accepted: tuple[object, ...] | None = None

    def __init__(self, *, reduction: str = "mean") -> None:
        if reduction not in self.reductions:
            raise UnknownNameError("reduction", reduction, self.reductions)
        self.reduction = reduction

    @abstractmethod
    def each(self, y: Array, target: Array) -> tuple[Array, Array, Array | None]:
        """The losses of a batch, before sample weights and reduction.

        Returns:
            (losses, dy, weight): losses, of shape y.shape or y.shape[:-1], class weights included; their gradient by
            y, an array that may be overwritten; and the class weights that count in the mean, shaped as losses.
        """

    def __call__(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Array]:
        """(value, dy): the reduced loss, a 0-d array on the device, and its gradient by y."""
        losses, total, dy = self._weighted(y, target, sample_weight)
        if type(total) is float and self.reduction != "sum":
            return ops.mean_(losses, dy, total), dy
        value = namespace(y).sum(losses)
        if self.reduction == "sum":
            return value, dy
        xp = namespace(y)
        # Only an exact zero is replaced: weights of NaN still show as NaN.
        empty = total == 0
        total = xp.where(empty, 1.0, total)
        dy *= xp.where(empty, 0.0, 1.0 / total)
        return xp.where(empty, 0.0, value / total), dy

    def totals(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Array]:
        """(sum of w l, sum of w) as 0-d arrays on the device, whatever the reduction.

        Added up over batches, the first by the second is the mean over all rows, exactly.
        """
        losses, total, _ = self._weighted(y, target, sample_weight)
        value = namespace(y).sum(losses)
        if type(total) is float:
            total = namespace(y).full((), total, dtype=y.dtype, device=y.device)
        return value, total

    def _weighted(self, y: Array, target: Array, sample_weight: Array | None) -> tuple[Array, Any, Array]:
        kind = _kind(y, target)
        # The batches of a fit are alike: what was checked once is recognised.
        if kind != self._accepted or not kind:
            self.expect(y, target)
            self._accepted = kind
        losses, dy, weight = self.each(y, target)
        # The losses and their gradient, weighted, and the sum of all weights: a float where there are none.
        units = float(prod(losses.shape))
        if weight is None and sample_weight is None:
            return losses, units / self.units_per_weight(y), dy
        xp = namespace(y)
        total: Any = units if weight is None else xp.sum(weight)
        if sample_weight is not None:
            rows = self._rows(sample_weight, y, losses)
            losses = losses * rows
            dy *= rows if dy.ndim == losses.ndim else xp.expand_dims(rows, axis=-1)
            total = xp.sum(rows) * (units / prod(rows.shape)) if weight is None else xp.sum(weight * rows)
        return losses, total / self.units_per_weight(y), dy

    def units_per_weight(self, y: Array) -> float:  # noqa: ARG002 - KLDivLoss counts rows instead of elements
        """How many losses share one unit of weight in the mean; 1 unless the reduction counts rows."""
        return 1.0

    def _rows(self, sample_weight: Array, y: Array, losses: Array) -> Array:
        self.expect_like(y, "sample_weight", sample_weight)
        shape = tuple(sample_weight.shape)
        if shape == tuple(losses.shape):
            return sample_weight
        if shape != (y.shape[0],):
            raise ShapeError(
                f"{self.who}: expected sample_weight of shape {(y.shape[0],)}, one weight for each row, got {shape}."
            )
        return namespace(y).reshape(sample_weight, (-1,) + (1,) * (losses.ndim - 1))

    def __getstate__(self) -> dict[str, Any]:
        # Devices of some libraries cannot be copied.
        return {**vars(self), "_accepted": None}

    # What goes in

    def expect(self, y: Array, target: Array) -> None:
        """Check that y and target fit each other, by shapes, dtypes and places; an elementwise loss takes them alike.

        It is asked once for arrays that are alike in these.
        """
        self.expect_output(y)
        self.expect_like(y, "target", target)
        if tuple(y.shape) != tuple(target.shape):
            raise ShapeError(f"{self.who}: {checks.mismatch(tuple(y.shape), tuple(target.shape))}")

    def expect_like(self, y: Array, name: str, x: Array) -> None:
        """Check that x is on y's backend and device and of its dtype."""
        self.expect_place(y, name, x)
        if x.dtype != y.dtype:
            hint = "" if is_floating(x) or name != "target" else " For class labels use CrossEntropyLoss."
            raise PlacementError(
                f"{self.who}: expected {name} in {dtype_name(y)} as y, got {dtype_name(x)}. "
                f"Cast it: backend.asarray({name}, '{dtype_name(y)}').{hint}"
            )

    def takes_labels(self, output_shape: Sequence[int], target: Array) -> bool:  # noqa: ARG002 - of classifiers
        """Whether this target holds class labels, which stay integers; all other targets are cast to the net's dtype.

        Args:
            output_shape: that of one row of the net's outputs.
            target: the targets on the host.
        """
        return False

    def check(
        self,
        output_shape: Sequence[int],
        target: Array,
        sample_weight: Array | None = None,
        *,
        training: bool = True,
    ) -> None:
        """Refuse targets that this loss cannot take; done once, on the host, before they move to the device.

        Args:
            output_shape: that of one row of the net's outputs: () or (classes,), for example.
            target: all targets, an array on the host, of any real dtype.
            sample_weight: the weights of its rows, if any.
            training: whether they are learnt from; then there must be at least two classes.

        Raises:
            DataError: values that cannot be targets or weights.
            ShapeError: rows of another shape than the outputs ask for.
        """
        checks.rows(self.who, target, sample_weight)
        self.check_targets((target.shape[0], *output_shape), target, training)

    def check_targets(self, shape: tuple[int, ...], target: Array, training: bool) -> None:  # noqa: ARG002
        """What `check` checks of targets beyond that they are finite numbers, given the outputs' shape with rows."""
        checks.same_shape(self.who, shape, target)

    @property
    def wants_balance(self) -> bool:
        """Whether `balance` must be called before the first use."""
        return False

    def balance(self, labels: Array, classes: int) -> None:
        """Find the class weights from training labels where they are "balanced"; other losses have none."""

    # What outputs mean

    def probabilities(self, y: Array) -> Array:  # noqa: ARG002 - of losses whose outputs mean something
        """The probabilities that outputs y stand for.

        Raises:
            ConfigError: under this loss they stand for none.
        """
        raise ConfigError(f"{self.who}: its outputs are no probabilities. Use kind='output'.")

    def labels(self, y: Array) -> Array:  # noqa: ARG002 - of losses whose outputs mean something
        """The class labels, int64, that outputs y stand for.

        Raises:
            ConfigError: under this loss they stand for none.
        """
        raise ConfigError(f"{self.who}: its outputs are no classes. Use kind='output'.")


def _kind(y: Array, target: Array) -> tuple[object, ...]:
    try:
        return type(y), y.shape, y.dtype, y.device, type(target), target.shape, target.dtype, target.device
    except AttributeError:
        return ()


class Constant:
    """Numbers of a loss as an array, made once for each backend, device and dtype that asks.

    Args:
        values: Python numbers; a sequence becomes one axis.
    """

    def __init__(self, values: float | Sequence[float]) -> None:
        self.values = values
        self._made: list[tuple[Any, Any, Any, Array]] = []

    def like(self, y: Array) -> Array:
        """The array, beside y and of its dtype."""
        xp = namespace(y)
        for made_xp, device, dtype, array in self._made:
            if made_xp is xp and dtype == y.dtype and device == y.device:
                return array
        array = xp.asarray(self.values, dtype=y.dtype, device=y.device)
        self._made.append((xp, y.device, y.dtype, array))
        return array

    def __getstate__(self) -> dict[str, Any]:
        return {"values": self.values, "_made": []}
