"""Updates of flat vectors: one launch each, every number read once and written once; and the sum of squares."""

from collections.abc import Callable
from typing import Any

from anyfw.backends.cupy.kernels.run import BLOCK, Run, Uncovered, blocks, cover, cover_alike, empty
from anyfw.core.arrays import Array, dtype_name, namespace
from anyfw.ops import update as ops
from anyfw.ops.update import Rate

# Blocks of a sum over a flat vector: enough to keep the device busy, few enough for one block to add up.
PARTS = 1024


def sgd_(
    run: Run,
    data: Array,
    /,
    grad: Array,
    buffer: Array | None,
    *,
    lr: Rate,
    kept: Rate,
    taken: Rate,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """One launch."""
    _flat(data, grad, buffer)
    if buffer is None:
        run.each("sgd", data, data, grad, data.size, *_given(data, lr), float(weight_decay))
        return
    rates = *_given(data, lr), *_given(data, kept), *_given(data, taken)
    ahead = (1.0, float(momentum)) if nesterov else (0.0, 1.0)
    run.each("sgd_momentum", data, data, grad, buffer, data.size, *rates, *ahead, float(weight_decay))


def adam_(
    run: Run,
    data: Array,
    /,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    max_exp_avg_sq: Array | None,
    *,
    rate: Rate,
    unbias: Rate,
    shrink: Rate | None,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    """One launch."""
    _flat(data, grad, exp_avg, exp_avg_sq, max_exp_avg_sq)
    rates = *_given(data, rate), *_given(data, unbias), *_given(data, 1.0 if shrink is None else shrink)
    numbers = *map(float, betas), _positive(eps, data), float(weight_decay)
    run.each("adam", data, data, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, data.size, *rates, *numbers)


def rmsprop_(
    run: Run,
    data: Array,
    /,
    grad: Array,
    square_avg: Array,
    grad_avg: Array | None,
    buffer: Array | None,
    *,
    lr: Rate,
    alpha: float,
    eps: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """One launch."""
    _flat(data, grad, square_avg, grad_avg, buffer)
    numbers = float(alpha), _positive(eps, data), float(momentum), float(weight_decay)
    run.each("rmsprop", data, data, grad, square_avg, grad_avg, buffer, data.size, *_given(data, lr), *numbers)


def adagrad_(
    run: Run,
    data: Array,
    /,
    grad: Array,
    total: Array,
    *,
    rate: Rate,
    eps: float,
    weight_decay: float,
) -> None:
    """One launch."""
    _flat(data, grad, total)
    numbers = _positive(eps, data), float(weight_decay)
    run.each("adagrad", data, data, grad, total, data.size, *_given(data, rate), *numbers)


def average_(run: Run, average: Array, /, data: Array, *, decay: float) -> None:
    """One launch."""
    cover_alike(average, data)
    run.each("average", average, average, data, data.size, 1.0 - decay)


def penalised(run: Run, grad: Array, /, data: Array, l1: float, l2: float) -> Array:
    """One launch; none where both are 0."""
    if not l1 and not l2:
        return grad
    cover_alike(grad, data)
    total = empty(grad, grad.shape)
    run.each("penalised", grad, total, grad, data, grad.size, float(l1), float(l2))
    return total


def square_sum(run: Run, x: Array, /) -> Array:
    """Two launches: one number for each block, then one for all."""
    cover(x)
    grid = min(max(1, blocks(x.size, BLOCK)), PARTS)
    parts = empty(x, (grid,), dtype=namespace(x).float64)
    total = empty(x, ())
    run.launch(dtype_name(x), "square_sums", (grid,), (BLOCK,), parts, x, x.size)
    run.launch(dtype_name(x), "sum_of_parts", (1,), (BLOCK,), total, parts, grid)
    return total


def scale_to_norm_(run: Run, x: Array, /, norm: Array, limit: float) -> None:
    """One launch, which reads the norm on the device."""
    cover(x, norm)
    if norm.size != 1:
        raise Uncovered
    run.each("scale_to_norm", x, x, norm, x.size, float(limit))


def clip_(run: Run, x: Array, /, limit: float) -> None:
    """One launch."""
    cover(x)
    run.each("clip", x, x, x.size, float(limit))


def _given(data: Array, rate: Rate) -> tuple[float, Array | None]:
    # A number as the launch carries it, or the place where a recorded step finds it.
    if isinstance(rate, int | float):
        return float(rate), None
    if rate.dtype != data.dtype or rate.size != 1:
        raise Uncovered
    return 0.0, rate


def _flat(data: Array, *others: Array | None) -> None:
    cover_alike(data, *others)
    if data.ndim != 1:
        raise Uncovered


def _positive(eps: float, data: Array) -> float:
    # As in the references: the padding of a pack would divide zero by zero.
    return float(eps) or float(namespace(data).finfo(data.dtype).smallest_normal)


VARIANTS: dict[Any, Callable[..., Any]] = {
    ops.sgd_: sgd_,
    ops.adam_: adam_,
    ops.rmsprop_: rmsprop_,
    ops.adagrad_: adagrad_,
    ops.average_: average_,
    ops.penalised: penalised,
    ops.square_sum: square_sum,
    ops.scale_to_norm_: scale_to_norm_,
    ops.clip_: clip_,
}
