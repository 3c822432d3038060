"""One row per public layer, loss and optimiser: each row is driven through every check in the suite.

A public class without a row fails the suite. A new layer is its family's file and one row here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anyfw import losses, nn

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerSpec:
    """How to make a layer, what goes in and comes out, and what PyTorch calls it."""

    name: str  # unique; the class's, and what sets this row apart from others of the class
    make: Callable[[], nn.Layer]
    x: Shape
    y: Shape
    torch: Callable[[Any], Any] | None = None  # given the module torch: the torch.nn module, whose state_dict fits ours
    errors: tuple[tuple[Callable[[], object], type[Exception], str], ...] = ()  # (call, error, words of its message)
    away_from: tuple[float, ...] = field(default=())  # kinks, where finite differences mean nothing

    def sample(self, seed: int = 0) -> np.ndarray:
        """Float64 inputs, none of them near a kink."""
        x = np.random.default_rng(seed).normal(size=self.x)
        for kink in self.away_from:
            x = np.where(np.abs(x - kink) < 0.05, kink + 0.1, x)
        return x

    def layer(self, seed: int = 0) -> nn.Layer:
        """The layer with parameters and buffers that are all different and none of them special, such as 0 or 1."""
        layer, rng = self.make(), np.random.default_rng(seed + 1)
        for path, stored in layer.named_stored():
            if path.endswith("num_batches_tracked"):
                stored.data = np.asarray(3)
            else:
                values = rng.normal(size=stored.shape)
                stored.data = np.abs(values) + 0.5 if path.endswith("running_var") else values
        return layer


def _torch_residual(torch: Any, layer: Any, shortcut: Any = None) -> Any:
    class Residual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.shortcut = layer, shortcut

        def forward(self, x):
            return self.layer(x) + (x if self.shortcut is None else self.shortcut(x))

    return Residual()


def _torch_parallel(torch: Any, *branches: Any, combine: Callable[[list[Any]], Any]) -> Any:
    class Parallel(torch.nn.ModuleList):
        def forward(self, x):
            return combine([branch(x) for branch in self])

    return Parallel(branches)


# Where rounding jumps from one code to the next.
_BETWEEN_CODES = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5)


def _torch_columns(torch: Any, numbers: int, counts: Shape, widths: Shape) -> Any:
    class Columns(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for i, (count, width) in enumerate(zip(counts, widths, strict=True)):
                if width:
                    self.register_parameter(f"weight_{i}", torch.nn.Parameter(torch.zeros(count, width)))

        def forward(self, x):
            parts = [x[:, :numbers]]
            for i, count in enumerate(counts):
                code = x[:, numbers + i].round().long()
                # The last vector, of zeros, is that of codes that are none.
                code = torch.where((code >= 0) & (code < count), code, count)
                table = getattr(self, f"weight_{i}") if widths[i] else torch.eye(count, dtype=x.dtype)
                parts.append(torch.nn.functional.embedding(code, torch.cat([table, torch.zeros_like(table[:1])])))
            return torch.cat(parts, dim=1)

    return Columns()


def _elementwise(
    name: str, make: Callable[[], nn.Layer], torch: Callable[[Any], Any], *, kinks: Shape = (), errors: Any = ()
) -> LayerSpec:
    return LayerSpec(name, make, (4, 5), (4, 5), torch, errors, kinks)


def _call(make: Callable[[], nn.Layer], *shape: int, train: bool = False) -> Callable[[], object]:
    return lambda: make()(np.ones(shape), train=train)


LAYERS = (
    LayerSpec(
        "Linear",
        lambda: nn.Linear(5, 3),
        (4, 5),
        (4, 3),
        torch=lambda torch: torch.nn.Linear(5, 3),
        errors=(
            (lambda: nn.Linear(0, 3), ValueError, "widths of at least 1, whole numbers, got"),
            (lambda: nn.Linear(2.5, 3), ValueError, "whole numbers"),
            (lambda: nn.Linear(3, -1), ValueError, "widths of at least 1"),
            (lambda: nn.Linear(3, 1, weight_init="he_nromal"), ValueError, "Did you mean 'he_normal'"),
            (
                _call(lambda: nn.Linear(5, 3), 4, 7),
                ValueError,
                r"Linear 'net': expected last axis 5, got shape \(4, 7\)",
            ),
            (lambda: nn.Linear(5, 3)(np.ones((4, 5), dtype=int)), TypeError, "expected float32, got int64. Cast"),
        ),
    ),
    LayerSpec(
        "Linear without bias, on sequences",
        lambda: nn.Linear(5, 3, bias=False),
        (2, 4, 5),
        (2, 4, 3),
        torch=lambda torch: torch.nn.Linear(5, 3, bias=False),
    ),
    _elementwise("ReLU", nn.ReLU, lambda torch: torch.nn.ReLU(), kinks=(0,)),
    _elementwise(
        "LeakyReLU",
        nn.LeakyReLU,
        lambda torch: torch.nn.LeakyReLU(),
        kinks=(0,),
        errors=((lambda: nn.LeakyReLU(float("nan")), ValueError, "finite negative_slope, got nan"),),
    ),
    _elementwise("LeakyReLU, steep", lambda: nn.LeakyReLU(1.5), lambda torch: torch.nn.LeakyReLU(1.5), kinks=(0,)),
    _elementwise("LeakyReLU, falling", lambda: nn.LeakyReLU(-0.5), lambda torch: torch.nn.LeakyReLU(-0.5), kinks=(0,)),
    _elementwise(
        "ELU",
        nn.ELU,
        lambda torch: torch.nn.ELU(),
        errors=((lambda: nn.ELU(-1.0), ValueError, "ELU: expected alpha of at least 0, got -1.0"),),
    ),
    _elementwise("ELU, alpha 0.3", lambda: nn.ELU(0.3), lambda torch: torch.nn.ELU(0.3), kinks=(0,)),
    _elementwise("SELU", nn.SELU, lambda torch: torch.nn.SELU(), kinks=(0,)),
    _elementwise(
        "GELU",
        nn.GELU,
        lambda torch: torch.nn.GELU(),
        errors=((lambda: nn.GELU("tanhh"), ValueError, "Did you mean 'tanh'"),),
    ),
    _elementwise("GELU, tanh", lambda: nn.GELU(approximate="tanh"), lambda torch: torch.nn.GELU(approximate="tanh")),
    _elementwise("SiLU", nn.SiLU, lambda torch: torch.nn.SiLU()),
    _elementwise(
        "Softplus",
        nn.Softplus,
        lambda torch: torch.nn.Softplus(),
        errors=(
            (lambda: nn.Softplus(beta=0), ValueError, "beta that is not 0"),
            (lambda: nn.Softplus(beta=float("inf")), ValueError, "finite beta"),
        ),
    ),
    _elementwise(
        "Softplus with a low threshold",
        lambda: nn.Softplus(2.0, 1.0),
        lambda torch: torch.nn.Softplus(2, 1),
        kinks=(0.5,),
    ),
    _elementwise("Sigmoid", nn.Sigmoid, lambda torch: torch.nn.Sigmoid()),
    _elementwise("Tanh", nn.Tanh, lambda torch: torch.nn.Tanh()),
    _elementwise(
        "Softmax",
        nn.Softmax,
        lambda torch: torch.nn.Softmax(dim=-1),
        errors=(
            (_call(lambda: nn.Softmax(2), 4, 5), ValueError, r"Softmax 'net': expected an array with axis 2.*\(4, 5\)"),
        ),
    ),
    LayerSpec("Softmax, axis 1", lambda: nn.Softmax(1), (2, 4, 3), (2, 4, 3), lambda torch: torch.nn.Softmax(dim=1)),
    _elementwise(
        "LogSoftmax",
        nn.LogSoftmax,
        lambda torch: torch.nn.LogSoftmax(dim=-1),
        errors=(
            (_call(lambda: nn.LogSoftmax(-3), 4, 5), ValueError, "LogSoftmax 'net': expected an array with axis -3"),
        ),
    ),
    _elementwise("LogSoftmax, axis 0", lambda: nn.LogSoftmax(0), lambda torch: torch.nn.LogSoftmax(dim=0)),
    _elementwise("Identity", nn.Identity, lambda torch: torch.nn.Identity()),
    LayerSpec(
        "Rescale",
        lambda: nn.Rescale(1 / 255, -0.5),
        (4, 5),
        (4, 5),
        errors=(
            (lambda: nn.Rescale("big"), ValueError, "expected scale to be a number or one for each feature, got 'big'"),
            (lambda: nn.Rescale([1.0, None]), ValueError, "expected scale to be a number"),
            (lambda: nn.Rescale(1.0, float("inf")), ValueError, "expected a finite shift, got inf"),
            (lambda: nn.Rescale([]), ValueError, "expected a finite scale"),
            (lambda: nn.Rescale([1.0, 2.0], [1.0]), ValueError, r"scale and shift of one length, got \[1, 2\]"),
            (
                _call(lambda: nn.Rescale([1.0, 2.0]), 4, 3),
                ValueError,
                r"Rescale 'net': expected last axis 2, got shape",
            ),
        ),
    ),
    LayerSpec("Rescale by feature", lambda: nn.Rescale([0.1, 2.0, -3.0], (1.0, 0.0, 0.5)), (4, 3), (4, 3)),
    LayerSpec(
        "Dropout",
        lambda: nn.Dropout(0.4),
        (8, 5),
        (8, 5),
        errors=(
            (lambda: nn.Dropout(2), ValueError, "Dropout: expected a probability p from 0 to 1, got 2"),
            (lambda: nn.Dropout(-0.1), ValueError, "from 0 to 1"),
            (lambda: nn.Dropout(float("nan")), ValueError, "from 0 to 1"),
        ),
    ),
    LayerSpec("Dropout of 0", lambda: nn.Dropout(0.0), (4, 5), (4, 5), lambda torch: torch.nn.Dropout(0.0)),
    LayerSpec("Dropout of 1", lambda: nn.Dropout(1.0), (4, 5), (4, 5), lambda torch: torch.nn.Dropout(1.0)),
    LayerSpec(
        "BatchNorm1d",
        lambda: nn.BatchNorm1d(5),
        (4, 5),
        (4, 5),
        torch=lambda torch: torch.nn.BatchNorm1d(5),
        errors=(
            (lambda: nn.BatchNorm1d(0), ValueError, "BatchNorm1d: expected widths of at least 1"),
            (lambda: nn.BatchNorm1d(5, eps=-1.0), ValueError, "eps of at least 0, got -1.0"),
            (lambda: nn.BatchNorm1d(5, momentum=1.5), ValueError, "momentum from 0 to 1 or None, got 1.5"),
            (_call(lambda: nn.BatchNorm1d(5), 4, 6), ValueError, r"BatchNorm1d 'net': expected \(batch, 5\).*\(4, 6\)"),
            (_call(lambda: nn.BatchNorm1d(5), 5), ValueError, r"got shape \(5,\)"),
            (_call(lambda: nn.BatchNorm1d(5), 1, 5, train=True), ValueError, "more than one value for each feature"),
            (lambda: nn.BatchNorm1d(5)(np.ones((4, 5), dtype=int)), TypeError, "expected float32, got int64"),
        ),
    ),
    LayerSpec(
        "BatchNorm1d over time, mean of all batches",
        lambda: nn.BatchNorm1d(3, eps=1e-3, momentum=None),
        (4, 3, 6),
        (4, 3, 6),
        torch=lambda torch: torch.nn.BatchNorm1d(3, eps=1e-3, momentum=None),
    ),
    LayerSpec(
        "BatchNorm1d, bare",
        lambda: nn.BatchNorm1d(5, affine=False, track_running_stats=False),
        (4, 5),
        (4, 5),
        torch=lambda torch: torch.nn.BatchNorm1d(5, affine=False, track_running_stats=False),
    ),
    LayerSpec(
        "LayerNorm",
        lambda: nn.LayerNorm(5),
        (4, 5),
        (4, 5),
        torch=lambda torch: torch.nn.LayerNorm(5),
        errors=(
            (lambda: nn.LayerNorm((3, 0)), ValueError, r"LayerNorm: expected widths of at least 1, got \(3, 0\)"),
            (lambda: nn.LayerNorm(()), ValueError, "widths of at least 1"),
            (_call(lambda: nn.LayerNorm(5), 4, 6), ValueError, r"LayerNorm 'net': expected last axes \(5,\).*\(4, 6\)"),
            (lambda: nn.LayerNorm(5)(np.ones((4, 5), dtype=int)), TypeError, "expected float32, got int64"),
        ),
    ),
    LayerSpec(
        "LayerNorm of two axes",
        lambda: nn.LayerNorm((3, 2), eps=1e-3),
        (4, 3, 2),
        (4, 3, 2),
        torch=lambda torch: torch.nn.LayerNorm((3, 2), eps=1e-3),
    ),
    LayerSpec(
        "LayerNorm without bias",
        lambda: nn.LayerNorm(5, bias=False),
        (2, 4, 5),
        (2, 4, 5),
        torch=lambda torch: torch.nn.LayerNorm(5, bias=False),
    ),
    LayerSpec(
        "LayerNorm, bare",
        lambda: nn.LayerNorm(5, elementwise_affine=False),
        (4, 5),
        (4, 5),
        torch=lambda torch: torch.nn.LayerNorm(5, elementwise_affine=False),
    ),
    LayerSpec(
        "RMSNorm",
        lambda: nn.RMSNorm(5),
        (4, 5),
        (4, 5),
        torch=lambda torch: torch.nn.RMSNorm(5),
        errors=(
            (lambda: nn.RMSNorm(0), ValueError, "RMSNorm: expected widths of at least 1"),
            (lambda: nn.RMSNorm(5, eps=-1), ValueError, "eps of at least 0"),
            (_call(lambda: nn.RMSNorm((3, 2)), 4, 2, 3), ValueError, r"RMSNorm 'net': expected last axes \(3, 2\)"),
        ),
    ),
    LayerSpec(
        "RMSNorm of two axes, bare",
        lambda: nn.RMSNorm([3, 2], eps=0.1, elementwise_affine=False),
        (4, 3, 2),
        (4, 3, 2),
        torch=lambda torch: torch.nn.RMSNorm([3, 2], eps=0.1, elementwise_affine=False),
    ),
    LayerSpec(
        "Flatten",
        nn.Flatten,
        (4, 3, 2),
        (4, 6),
        torch=lambda torch: torch.nn.Flatten(),
        errors=(
            (_call(nn.Flatten, 5), ValueError, r"Flatten 'net': expected axes 1 to -1, got shape \(5,\)"),
            (_call(lambda: nn.Flatten(2, 1), 2, 2, 2), ValueError, "expected axes 2 to 1"),
            (_call(lambda: nn.Flatten(0, 3), 2, 2, 2), ValueError, "expected axes 0 to 3"),
        ),
    ),
    LayerSpec(
        "Flatten, inner", lambda: nn.Flatten(-3, 2), (2, 3, 2, 2), (2, 6, 2), lambda torch: torch.nn.Flatten(-3, 2)
    ),
    LayerSpec(
        "CategoryColumns",
        lambda: nn.CategoryColumns(2, (3, 4)),
        (6, 4),
        (6, 9),
        torch=lambda torch: _torch_columns(torch, 2, (3, 4), (0, 0)),
        errors=(
            (lambda: nn.CategoryColumns(-1, (2,)), ValueError, r"numbers as whole numbers of at least 0, got \(-1,\)"),
            (lambda: nn.CategoryColumns(1, (2, 0)), ValueError, r"counts as whole numbers of at least 1, got \(2, 0\)"),
            (lambda: nn.CategoryColumns(1, (2, 2.5)), ValueError, "counts as whole numbers"),
            (lambda: nn.CategoryColumns(1, (2, 3), (4, -1)), ValueError, "widths as whole numbers of at least 0"),
            (lambda: nn.CategoryColumns(1, (2, 3), (4,)), ValueError, "one width for each of 2 counts, got 1"),
            (lambda: nn.CategoryColumns(0), ValueError, "at least one column"),
            (
                _call(lambda: nn.CategoryColumns(2, (3,)), 4, 2),
                ValueError,
                r"CategoryColumns 'net': expected last axis 3, got shape \(4, 2\)",
            ),
            (_call(lambda: nn.CategoryColumns(2, (3,)), 3), ValueError, r"expected \(batch, 3\), got shape \(3,\)"),
            (lambda: nn.CategoryColumns(2, (3,))(np.ones((4, 3), dtype=int)), TypeError, "expected float32, got int64"),
        ),
        away_from=_BETWEEN_CODES,
    ),
    LayerSpec(
        "CategoryColumns with vectors",
        lambda: nn.CategoryColumns(0, (3, 2), (4, 1)),
        (6, 2),
        (6, 5),
        torch=lambda torch: _torch_columns(torch, 0, (3, 2), (4, 1)),
        away_from=_BETWEEN_CODES,
    ),
    LayerSpec(
        "CategoryColumns of both",
        lambda: nn.CategoryColumns(1, (2, 3, 4), (2, 0, 3)),
        (6, 4),
        (6, 9),
        torch=lambda torch: _torch_columns(torch, 1, (2, 3, 4), (2, 0, 3)),
        away_from=_BETWEEN_CODES,
    ),
    LayerSpec(
        "Sequential",
        lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)),
        (4, 5),
        (4, 3),
        torch=lambda torch: torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)),
        errors=(
            (lambda: nn.Sequential(nn.Linear(5, 3), nn.ReLU), ValueError, "Is it a class that lacks its brackets?"),
            (
                _call(lambda: nn.Sequential(nn.Linear(5, 3), nn.Sequential(nn.Tanh(), nn.Linear(4, 2))), 4, 5),
                ValueError,
                r"Linear 'net\.1\.1': expected last axis 4, got shape \(4, 3\)",
            ),
        ),
    ),
    LayerSpec("Sequential, empty", nn.Sequential, (4, 5), (4, 5), lambda torch: torch.nn.Sequential()),
    LayerSpec(
        "Residual",
        lambda: nn.Residual(nn.Sequential(nn.Linear(5, 5), nn.Tanh())),
        (4, 5),
        (4, 5),
        torch=lambda torch: _torch_residual(torch, torch.nn.Sequential(torch.nn.Linear(5, 5), torch.nn.Tanh())),
        errors=(
            (
                _call(lambda: nn.Residual(nn.Linear(5, 3)), 4, 5),
                ValueError,
                r"Residual 'net': expected the branch to give.*\(4, 5\), got \(4, 3\). Give a shortcut",
            ),
            (_call(lambda: nn.Residual(nn.Linear(5, 1)), 4, 5), ValueError, r"got \(4, 1\)"),
            (lambda: nn.Residual(nn.ReLU), ValueError, "Residual: expected layers"),
        ),
    ),
    LayerSpec(
        "Residual with a shortcut",
        lambda: nn.Residual(nn.Linear(5, 3), nn.Linear(5, 3, bias=False)),
        (4, 5),
        (4, 3),
        torch=lambda torch: _torch_residual(torch, torch.nn.Linear(5, 3), torch.nn.Linear(5, 3, bias=False)),
    ),
    LayerSpec(
        "Parallel",
        lambda: nn.Parallel(nn.Linear(5, 3), nn.Sequential(nn.Linear(5, 2), nn.Tanh()), nn.Identity()),
        (4, 5),
        (4, 10),
        torch=lambda torch: _torch_parallel(
            torch,
            torch.nn.Linear(5, 3),
            torch.nn.Sequential(torch.nn.Linear(5, 2), torch.nn.Tanh()),
            torch.nn.Identity(),
            combine=lambda outputs: torch.cat(outputs, dim=-1),
        ),
        errors=(
            (nn.Parallel, ValueError, "at least one branch"),
            (lambda: nn.Parallel(nn.ReLU(), combine="sum"), ValueError, "Known: add, concatenate"),
            (lambda: nn.Parallel(nn.ReLU(), nn.ReLU), ValueError, "Parallel: expected layers"),
            (
                _call(lambda: nn.Parallel(nn.Linear(5, 3), nn.Linear(5, 2), combine="add"), 4, 5),
                ValueError,
                r"Parallel 'net': expected outputs of one shape, got shapes \(4, 3\), \(4, 2\)",
            ),
            (
                _call(lambda: nn.Parallel(nn.Linear(5, 3), nn.Linear(5, 2), axis=0), 4, 5),
                ValueError,
                "outputs that differ along axis 0 alone",
            ),
            (_call(lambda: nn.Parallel(nn.ReLU(), axis=2), 4, 5), ValueError, "along axis 2 alone"),
        ),
    ),
    LayerSpec(
        "Parallel, added",
        lambda: nn.Parallel(nn.Linear(5, 3), nn.Linear(5, 3), combine="add"),
        (4, 5),
        (4, 3),
        torch=lambda torch: _torch_parallel(torch, torch.nn.Linear(5, 3), torch.nn.Linear(5, 3), combine=sum),
    ),
    LayerSpec(
        "Parallel along the first axis",
        lambda: nn.Parallel(nn.Tanh(), nn.SiLU(), axis=0),
        (4, 5),
        (8, 5),
        torch=lambda torch: _torch_parallel(torch, torch.nn.Tanh(), torch.nn.SiLU(), combine=torch.cat),
    ),
)


# Losses


@dataclass(frozen=True)
class LossSpec:
    """How to make a loss with a reduction, its outputs and targets, and what PyTorch computes for them."""

    name: str
    make: Callable[[str], losses.Loss]
    y: Callable[[np.random.Generator], np.ndarray]
    target: Callable[[np.random.Generator], np.ndarray]
    torch: Callable[[Any, str], Callable[[Any, Any], Any]]  # given torch and the reduction: a function of (y, target)
    label: str = ""  # tells rows of one loss apart
    reductions: tuple[str, ...] = ("mean", "sum")

    def sample(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(y, target) in float64 or int64."""
        rng = np.random.default_rng(seed)
        return self.y(rng), self.target(rng)

    def __str__(self) -> str:
        return self.name + self.label


def _normal(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.normal(size=shape) * 2


def _between(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.uniform(0.05, 0.95, size=shape)


def _labels(classes: int, *shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.integers(0, classes, size=shape)


def _rows(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def _log_rows(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: np.log(_rows(*shape)(rng))


def _signs(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.choice([-1.0, 1.0], size=shape)


_CLASS_WEIGHT = (0.5, 2.0, 0.0, 1.25)


def _torch_cross_entropy(weight=None, smoothing=0.0):
    def make(torch, reduction):
        found = None if weight is None else torch.tensor(weight, dtype=torch.float64)
        loss = torch.nn.CrossEntropyLoss(found, reduction=reduction, label_smoothing=smoothing)
        # PyTorch has the classes on axis 1.
        return lambda y, t: loss(y.movedim(-1, 1), t.movedim(-1, 1) if t.ndim == y.ndim else t)

    return make


def _torch_nll(weight=None):
    def make(torch, reduction):
        found = None if weight is None else torch.tensor(weight, dtype=torch.float64)
        return torch.nn.NLLLoss(found, reduction=reduction)

    return make


def _torch_crammer_singer(margin):
    def make(torch, reduction):
        def loss(y, t):
            own = y.gather(-1, t[:, None])
            rival = y.scatter(-1, t[:, None], -torch.inf).amax(-1)
            return getattr(torch.relu(margin + rival - own[:, 0]), reduction)()

        return loss

    return make


LOSSES = (
    LossSpec(
        "MSELoss",
        lambda r: losses.MSELoss(reduction=r),
        _normal(4, 3),
        _normal(4, 3),
        lambda torch, r: torch.nn.MSELoss(reduction=r),
    ),
    LossSpec(
        "StandardizedMSELoss",
        lambda r: losses.StandardizedMSELoss([0.5, 2.0, 3.0], reduction=r),
        _normal(4, 3),
        _normal(4, 3),
        lambda torch, r: (
            lambda y, t: torch.nn.MSELoss(reduction=r)(
                *(part / torch.tensor([0.5, 2.0, 3.0], dtype=part.dtype) for part in (y, t))
            )
        ),
    ),
    LossSpec(
        "L1Loss",
        lambda r: losses.L1Loss(reduction=r),
        _normal(5),
        _normal(5),
        lambda torch, r: torch.nn.L1Loss(reduction=r),
    ),
    LossSpec(
        "HuberLoss",
        lambda r: losses.HuberLoss(0.7, reduction=r),
        _normal(6, 3),
        _normal(6, 3),
        lambda torch, r: torch.nn.HuberLoss(delta=0.7, reduction=r),
    ),
    LossSpec(
        "BCELoss",
        lambda r: losses.BCELoss(reduction=r),
        _between(4, 3),
        _between(4, 3),
        lambda torch, r: torch.nn.BCELoss(reduction=r),
    ),
    LossSpec(
        "BCEWithLogitsLoss",
        lambda r: losses.BCEWithLogitsLoss(reduction=r),
        _normal(6),
        _between(6),
        lambda torch, r: torch.nn.BCEWithLogitsLoss(reduction=r),
    ),
    LossSpec(
        "BCEWithLogitsLoss",
        lambda r: losses.BCEWithLogitsLoss(pos_weight=(0.5, 3.0, 1.0), reduction=r),
        _normal(4, 3),
        _between(4, 3),
        lambda torch, r: torch.nn.BCEWithLogitsLoss(
            pos_weight=torch.tensor([0.5, 3.0, 1.0], dtype=torch.float64), reduction=r
        ),
        "-pos_weight",
    ),
    LossSpec(
        "CrossEntropyLoss",
        lambda r: losses.CrossEntropyLoss(reduction=r),
        _normal(6, 4),
        _labels(4, 6),
        _torch_cross_entropy(),
    ),
    LossSpec(
        "CrossEntropyLoss",
        lambda r: losses.CrossEntropyLoss(_CLASS_WEIGHT, reduction=r),
        _normal(5, 3, 4),
        _labels(4, 5, 3),
        _torch_cross_entropy(_CLASS_WEIGHT),
        "-weight-sequence",
    ),
    LossSpec(
        "CrossEntropyLoss",
        lambda r: losses.CrossEntropyLoss(_CLASS_WEIGHT, label_smoothing=0.2, reduction=r),
        _normal(6, 4),
        _labels(4, 6),
        _torch_cross_entropy(_CLASS_WEIGHT, 0.2),
        "-weight-smoothing",
    ),
    LossSpec(
        "CrossEntropyLoss",
        lambda r: losses.CrossEntropyLoss(reduction=r),
        _normal(5, 3, 4),
        _rows(5, 3, 4),
        _torch_cross_entropy(),
        "-probabilities",
    ),
    LossSpec(
        "CrossEntropyLoss",
        lambda r: losses.CrossEntropyLoss(_CLASS_WEIGHT, label_smoothing=0.2, reduction=r),
        _normal(6, 4),
        _rows(6, 4),
        _torch_cross_entropy(_CLASS_WEIGHT, 0.2),
        "-probabilities-weight-smoothing",
    ),
    LossSpec("NLLLoss", lambda r: losses.NLLLoss(reduction=r), _log_rows(6, 4), _labels(4, 6), _torch_nll()),
    LossSpec(
        "NLLLoss",
        lambda r: losses.NLLLoss(_CLASS_WEIGHT, reduction=r),
        _log_rows(6, 4),
        _labels(4, 6),
        _torch_nll(_CLASS_WEIGHT),
        "-weight",
    ),
    LossSpec(
        "HingeLoss",
        lambda r: losses.HingeLoss(reduction=r),
        _normal(7, 2),
        _signs(7, 2),
        lambda torch, r: lambda y, t: getattr(torch.relu(1.0 - t * y), r)(),
    ),
    LossSpec(
        "HingeLoss",
        lambda r: losses.HingeLoss(0.5, reduction=r),
        _normal(7, 4),
        _labels(4, 7),
        _torch_crammer_singer(0.5),
        "-multiclass",
    ),
    LossSpec(
        "KLDivLoss",
        lambda r: losses.KLDivLoss(reduction=r),
        _log_rows(5, 4),
        lambda rng: np.eye(4)[[0, 1, 2, 3, 0]] * 0.5 + _rows(5, 4)(rng) * 0.5 * (np.arange(4) > 0),
        lambda torch, r: torch.nn.KLDivLoss(reduction=r),
        reductions=("mean", "sum", "batchmean"),
    ),
    LossSpec(
        "KLDivLoss",
        lambda r: losses.KLDivLoss(True, reduction=r),
        _log_rows(5, 4),
        _log_rows(5, 4),
        lambda torch, r: torch.nn.KLDivLoss(log_target=True, reduction=r),
        "-log_target",
        reductions=("mean", "sum", "batchmean"),
    ),
)


# OPTIMISERS: names, defaults and results are PyTorch's, so a row is a name and the arguments that both take.


@dataclass(frozen=True)
class OptimiserSpec:
    """An optimiser, its arguments (PyTorch's too), and arguments that it refuses, with words of the message."""

    name: str
    arguments: dict[str, Any]
    errors: tuple[tuple[dict[str, Any], str], ...] = ()

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{name}={value}" for name, value in self.arguments.items())])


_BAD_LR: tuple[tuple[dict[str, Any], str], ...] = tuple(
    ({"lr": lr}, "expected lr to be a finite number") for lr in (-0.1, float("nan"), float("inf"), "fast", True, None)
)
_BAD_PENALTY: tuple[tuple[dict[str, Any], str], ...] = tuple(
    ({name: -1e-3}, f"expected {name} to be") for name in ("weight_decay", "l1", "l2")
)
_BAD_BETAS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"betas": (1.0, 0.9)}, "below 1"),
    ({"betas": (0.9, -0.1)}, "each of betas"),
    ({"betas": 0.9}, "two numbers"),
    ({"eps": -1e-8}, "expected eps"),
)

OPTIMISERS = (
    OptimiserSpec("SGD", {"lr": 0.1}, (*_BAD_LR, *_BAD_PENALTY)),
    OptimiserSpec("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}, (({"momentum": -0.5}, "momentum"),)),
    OptimiserSpec("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}, (({"dampening": -1}, "dampening"),)),
    OptimiserSpec(
        "SGD",
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        (({"momentum": 0.0}, "momentum above 0"), ({"dampening": 0.1}, "dampening 0")),
    ),
    OptimiserSpec("Adam", {}, (*_BAD_LR, *_BAD_PENALTY, *_BAD_BETAS)),
    OptimiserSpec("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.02}),
    OptimiserSpec("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.02}),
    OptimiserSpec("AdamW", {"lr": 0.01}, (*_BAD_LR, *_BAD_PENALTY, *_BAD_BETAS)),
    OptimiserSpec("AdamW", {"lr": 0.02, "weight_decay": 0.3, "amsgrad": True}),
    OptimiserSpec(
        "RMSprop",
        {},
        (*_BAD_LR, *_BAD_PENALTY, ({"alpha": 1.0}, "alpha"), ({"eps": -1.0}, "eps"), ({"momentum": -1.0}, "momentum")),
    ),
    OptimiserSpec("RMSprop", {"lr": 0.005, "alpha": 0.9, "momentum": 0.8, "weight_decay": 0.02}),
    OptimiserSpec("RMSprop", {"lr": 0.005, "momentum": 0.5, "centered": True, "weight_decay": 0.02}),
    OptimiserSpec(
        "Adagrad",
        {},
        (
            *_BAD_LR,
            *_BAD_PENALTY,
            ({"lr_decay": -1.0}, "lr_decay"),
            ({"initial_accumulator_value": -1.0}, "initial_accumulator_value"),
            ({"eps": -1.0}, "eps"),
        ),
    ),
    OptimiserSpec("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.02, "initial_accumulator_value": 0.1}),
)
