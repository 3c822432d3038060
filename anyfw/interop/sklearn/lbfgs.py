"""Full-batch minimisation by SciPy's L-BFGS-B, on the net's own vectors of values and gradients."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from anyfw.core.errors import NonFiniteError
from anyfw.core.layer import Layer
from anyfw.core.parameter import to_host
from anyfw.interop.sklearn.rows import Rows
from anyfw.losses import Loss
from anyfw.ops.update import penalised, square_sum
from anyfw.optim.spans import find_spans, settle

# Rows at a time: the sum over all is exact, and sparse rows or activations of all need not be in memory at once.
_CHUNK = 4096


@dataclass(frozen=True)
class Found:
    """How it ended.

    Attributes:
        losses: the objective after each iteration; at the start where there was none.
        iterations: how many.
        converged: whether the tolerance was reached.
        message: SciPy's.
    """

    losses: list[float]
    iterations: int
    converged: bool
    message: str


def minimize(
    net: Layer, loss: Loss, rows: Rows, *, alpha: float, tol: float, iterations: int, evaluations: int
) -> Found:
    """Minimise the mean loss of all rows and alpha / 2 times the squared weights by the rows' sum of weights.

    Args:
        net: placed; it ends with the values that were found.
        loss: of its outputs, reduced by the mean.
        rows: all of them make each step.
        alpha: of parameters with `decay`.
        tol: the largest element of the gradient at which it ends.
        iterations, evaluations: limits.

    Raises:
        NonFiniteError: the objective or the weights became NaN or infinite; the net is as it was.
    """
    problem = _Problem(net, loss, rows, alpha)
    losses: list[float] = []

    def note(intermediate_result: Any) -> None:
        losses.append(float(intermediate_result.fun))

    start = problem.start()
    found = optimize.minimize(
        problem.value_and_gradient,
        start,
        method="L-BFGS-B",
        jac=True,
        callback=note,
        options={"maxfun": evaluations, "maxiter": iterations, "gtol": tol},
    )
    finite = math.isfinite(found.fun) and bool(np.isfinite(found.x).all())
    problem.put(found.x if finite else start)
    net.zero_grad()
    if not finite:
        raise NonFiniteError(
            f"solver='lbfgs': the objective became {float(found.fun)} in iteration {int(found.nit) + 1}.",
            advice="Scale the rows and the targets, or raise alpha.",
        )
    # A net that is best as it is, is never called back about.
    return Found(losses or [float(found.fun)], max(int(found.nit), 1), found.status == 0, str(found.message))


class _Problem:
    def __init__(self, net: Layer, loss: Loss, rows: Rows, alpha: float) -> None:
        self.net, self.loss, self.source, self.weight = net, loss, rows.source, rows.weight
        self.rows, self.total, self.penalty = len(rows), rows.total, alpha / rows.total
        self.spans = find_spans(net.parameters(), lambda p: p.decay if p.trainable else None)
        # Rows that lie in memory as they are used are moved once.
        dense = not hasattr(rows.x, "toarray")
        self.chunks = [self._moved(start) for start in range(0, self.rows, _CHUNK)] if dense else None

    def start(self) -> NDArray[np.float64]:
        return np.concatenate([to_host(span.data).astype(np.float64) for span in self.spans])

    def put(self, values: NDArray[np.float64]) -> None:
        place = 0
        for span in self.spans:
            size = span.data.shape[0]
            span.data[...] = self.net.backend.asarray(values[place : place + size], self.net.dtype)
            place += size

    def value_and_gradient(self, values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        self.put(values)
        self.net.zero_grad()
        value = 0.0
        for start in range(0, self.rows, _CHUNK):
            x, *rest = self.chunks[start // _CHUNK] if self.chunks is not None else self._moved(start)
            share = self._weight(start) / self.total
            mean, dy = self.loss(self.net.forward(x, train=True), *rest)
            value += float(to_host(mean)) * share
            dy *= share
            self.net.accumulate(dy)
        settle(self.net.parameters())
        gradients = []
        for span in self.spans:
            penalty = self.penalty if span.kind else 0.0
            value += 0.5 * penalty * float(to_host(square_sum(span.data))) if penalty else 0.0
            gradients.append(to_host(penalised(span.grad, span.data, 0.0, penalty)).astype(np.float64))
        return value, np.concatenate(gradients)

    def _moved(self, start: int) -> tuple[Any, ...]:
        backend = self.net.backend
        x, y, *weight = self.source[np.arange(start, min(start + _CHUNK, self.rows))]
        target = backend.asarray(y, "int64" if y.dtype.kind in "iu" else self.net.dtype)
        return (backend.asarray(x, self.net.dtype), target, *(backend.asarray(w, self.net.dtype) for w in weight))

    def _weight(self, start: int) -> float:
        stop = min(start + _CHUNK, self.rows)
        return float(stop - start) if self.weight is None else float(self.weight[start:stop].sum())
