"""Metrics of scores and probabilities of classes."""

from collections.abc import Mapping

from anyfw.core.arrays import Array, is_integer, namespace
from anyfw.core.errors import DataError, ShapeError
from anyfw.core.parameter import to_host
from anyfw.metrics.base import Metric, expect_labels, is_binary, sum_dtype
from anyfw.ops import loss as ops
from anyfw.ops.softmax import softmax


class LogLoss(Metric):
    """The mean of -log p, p the probability given to the true class.

    Args:
        from_logits: whether y are logits; if not, y are probabilities, clipped to eps ... 1-eps of their dtype.

    Shapes:
        y: (batch, ..., classes), with target (batch, ...) of labels or probabilities as y; or one output, (batch,) or
        (batch, 1), with target alike, between 0 and 1.
    """

    name = "log_loss"
    higher_is_better = False
    sums = ("loss", "weight")

    def __init__(self, from_logits: bool = True) -> None:
        self.from_logits = from_logits

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Sum the rows' losses."""
        self.expect(y, target=target, sample_weight=sample_weight)
        xp = namespace(y)
        binary = is_binary(self, y, target)
        if not self.from_logits:
            eps = float(xp.finfo(y.dtype).eps)
            y = xp.minimum(xp.maximum(y, eps), 1.0 - eps)
        # In the sums' dtype from here on: float32's rounding of a log would show in the mean.
        y = xp.astype(y, sum_dtype(y), copy=False)
        if binary:
            truth = xp.astype(target, y.dtype)
            if self.from_logits:
                losses, _ = ops.binary_cross_entropy_with_logits(y, truth)
            else:
                losses, _ = ops.binary_cross_entropy(y, truth)
        elif is_integer(target):
            losses, _ = (
                ops.cross_entropy(y, target) if self.from_logits else ops.negative_log_likelihood(xp.log(y), target)
            )
        else:
            truth = xp.astype(target, y.dtype)
            losses = ops.soft_cross_entropy(y, truth)[0] if self.from_logits else -xp.sum(truth * xp.log(y), axis=-1)
        weight = self.weights(sample_weight, y, tuple(losses.shape))
        self.add(loss=xp.sum(weight * xp.reshape(losses, (-1,))), weight=xp.sum(weight))

    def compute(self) -> float:
        """The weighted mean."""
        return self.ratio(*self.read("loss", "weight"))


class RocAuc(Metric):
    """The area under the ROC curve: how likely a row of the class scores above a row that is not of it, ties half.

    With several classes, the mean over classes, each against the rest. All scores stay on the device until `reset`.

    Args:
        from_logits: whether y of several classes are logits, of which the softmax is ranked; with one output the
            order of logits and of probabilities is the same.

    Shapes:
        y: (batch, ..., classes), with target (batch, ...), integer labels; or one output, (batch,) or (batch, 1), with
        target alike, 0 and 1 or -1 and 1.

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 143(1), 1982.
    """

    name = "roc_auc"
    higher_is_better = True
    sums = ("scores", "truth", "weight")

    def __init__(self, from_logits: bool = True) -> None:
        self.from_logits = from_logits
        self._parts: list[tuple[Array, Array, Array]] = []

    def update(self, y: Array, target: Array, sample_weight: Array | None = None) -> None:
        """Keep scores, membership and weights."""
        self.expect(y, target=target, sample_weight=sample_weight)
        xp = namespace(y)
        if is_binary(self, y, target):
            scores, truth = xp.reshape(y, (-1, 1)), xp.reshape(xp.astype(target, y.dtype) > 0.5, (-1, 1))
        else:
            expect_labels(self, y, target)
            # In the sums' dtype: float32 would round confident rows to ties at 1.
            scores = softmax(xp.astype(y, sum_dtype(y)), -1) if self.from_logits else y
            scores = xp.reshape(scores, (-1, y.shape[-1]))
            truth = xp.reshape(ops.one_hot(ops.label_index(target), y), (-1, y.shape[-1]))
        weight = self.weights(sample_weight, y, tuple(target.shape))
        # Kept as pieces: to join them at every batch would copy all rows each time.
        part = xp.asarray(scores, copy=True), xp.astype(truth, xp.bool), xp.asarray(weight, copy=True)
        if self._parts and self._parts[0][0].shape[1] != scores.shape[1]:
            raise ShapeError(f"{self.who}: the outputs had another number of columns before. Call reset().")
        self._parts.append(part)

    def reset(self) -> None:
        """Forget all rows."""
        super().reset()
        self._parts = []

    def state(self) -> dict[str, Array]:
        """All rows, joined."""
        if not self._parts:
            return {}
        xp = namespace(self._parts[0][0])
        return {name: xp.concat([part[i] for part in self._parts], axis=0) for i, name in enumerate(self.sums)}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` gave."""
        super().load_state(state)
        rows, self._state = self._state, {}
        self._parts = [(rows["scores"], rows["truth"], rows["weight"])] if rows else []

    def compute(self) -> float:
        """The area, or the mean of the classes' areas.

        Raises:
            DataError: no rows, or a class without rows of weight, or with all of them.
        """
        rows = self.state()
        if not rows:
            raise DataError(f"{self.who}: no rows yet. Call update(y, target) before compute().")
        scores, truth, weight = rows["scores"], rows["truth"], rows["weight"]
        xp = namespace(scores)
        columns = range(scores.shape[1])
        found = [_area(scores[:, c], xp.astype(truth[:, c], weight.dtype), weight) for c in columns]
        areas: list[float] = to_host(xp.stack([area for area, _ in found])).tolist()
        pairs: list[float] = to_host(xp.stack([pair for _, pair in found])).tolist()
        for column, pair in enumerate(pairs):
            if pair == 0:
                which = "1" if len(pairs) == 1 else str(column)
                raise DataError(
                    f"{self.who}: expected rows that are of class {which} and rows that are not. There is no curve."
                )
        return sum(area / pair for area, pair in zip(areas, pairs, strict=True)) / len(areas)


def _area(score: Array, truth: Array, weight: Array) -> tuple[Array, Array]:
    # (weight of pairs in the right order, weight of all pairs) of a row in the class and one that is not.
    xp = namespace(score)
    order = xp.argsort(score)
    score, inside = xp.take(score, order, axis=0), xp.take(weight * truth, order, axis=0)
    outside = xp.take(weight, order, axis=0) - inside
    below = xp.cumulative_sum(outside, include_initial=True)
    # Rows of one score all see the outsiders below them, and half of those beside them.
    first, last = xp.searchsorted(score, score, side="left"), xp.searchsorted(score, score, side="right")
    midranks = 0.5 * (xp.take(below, first, axis=0) + xp.take(below, last, axis=0))
    return xp.sum(inside * midranks), xp.sum(inside) * xp.sum(outside)
