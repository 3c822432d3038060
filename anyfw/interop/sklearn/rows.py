"""Rows between scikit-learn and a `Trainer`: arrays of other libraries, sparse ones, weights, rows held out."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.model_selection import train_test_split

from anyfw.core.backend import Backend, backend_class, get_backend
from anyfw.core.errors import BackendError, DataError
from anyfw.data import Arrays, Source

# The backend of a library of arrays, by the first part of its type's module.
_LIBRARIES = {"numpy": "numpy", "cupy": "cupy", "torch": "torch", "array_api_strict": "strict"}


@dataclass(frozen=True)
class Rows:
    """Checked rows on the host.

    Attributes:
        x: shape (rows, features), an array or in CSR format.
        y: encoded targets.
        weight: shape (rows,), all above 0, or None.
    """

    x: Any
    y: NDArray[Any]
    weight: NDArray[Any] | None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def source(self) -> Source:
        """What a trainer takes: sparse rows become dense by the batch."""
        return SparseRows(self) if hasattr(self.x, "toarray") else Arrays(self.x, self.y, self.weight)

    def taken(self, chosen: NDArray[Any]) -> "Rows":
        """Some of them, by a mask or by number."""
        weight = None if self.weight is None else self.weight[chosen]
        return replace(self, x=self.x[chosen], y=self.y[chosen], weight=weight)

    @property
    def total(self) -> float:
        """What all weigh together."""
        return float(len(self)) if self.weight is None else float(self.weight.sum())


class SparseRows:
    """A `Source` of sparse rows, of which only a batch at a time is dense."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: NDArray[np.int64], /) -> tuple[NDArray[Any], ...]:
        found = self.rows.taken(indices)
        columns = (found.x.toarray(), found.y)
        return columns if found.weight is None else (*columns, found.weight)


def without_zeros(x: Any, y: Any, weight: NDArray[Any] | None) -> tuple[Any, Any, NDArray[Any] | None]:
    """Leave out rows of weight 0, so that they are as if they had never been there.

    Raises:
        DataError: a negative weight, or none above zero.
    """
    if weight is None:
        return x, y, None
    if weight.min() < 0:
        raise DataError(f"sample_weight: expected no negative weight, got {weight.min()}.")
    kept = weight > 0
    if not kept.any():
        raise DataError("sample_weight: expected at least one weight above zero, got only zero weights.")
    return (x, y, weight) if kept.all() else (x[kept], y[kept], weight[kept])


def hold_out(
    rows: int, fraction: float, random: np.random.RandomState, labels: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of training rows and of validation rows, stratified by labels where there are any.

    Raises:
        DataError: less than two rows would be held out.
    """
    chosen, held = train_test_split(np.arange(rows), test_size=fraction, random_state=random, stratify=labels)
    if len(held) < 2:
        raise DataError(
            f"The validation set is too small: {len(held)} of {rows} rows. Increase validation_fraction, give "
            "more rows, or validation_data."
        )
    return chosen, held


class Orders:
    """The order of rows in each epoch, scikit-learn's own for a random state: each one shuffles the one before.

    Args:
        rows: how many.
        random: None keeps them as they are.
        first: the number of the first epoch that is asked for; the others follow in turn, and the latest two, which are
            remembered, as often as one likes.
        before: the order of the epoch before the first; of another number of rows it is none.
    """

    def __init__(
        self, rows: int, random: np.random.RandomState | None, first: int, before: NDArray[np.int64] | None = None
    ) -> None:
        self.random, self.first = random, first
        start = before if before is not None and len(before) == rows and random is not None else np.arange(rows)
        self.latest = {first - 1: start}

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """That of this epoch."""
        if self.random is None:
            return self.latest[self.first - 1]
        if epoch not in self.latest:
            before = self.latest[epoch - 1]
            chosen = np.arange(len(before))
            self.random.shuffle(chosen)
            self.latest = {epoch - 1: before, epoch: before[chosen]}
        return self.latest[epoch]


# Arrays of other libraries


def dispatched() -> bool:
    """Whether scikit-learn takes arrays of other libraries as they are (`set_config(array_api_dispatch=True)`)."""
    return bool(get_config()["array_api_dispatch"])


def library_of(x: Any) -> Backend | None:
    """The backend that array x is of, where it is another one than NumPy's and dispatch is on.

    Raises:
        BackendError: x is on a device that no backend knows.
    """
    name = _LIBRARIES.get(type(x).__module__.partition(".")[0])
    if not dispatched() or name in (None, "numpy") or not hasattr(x, "device"):
        return None
    for device in backend_class(name).devices():
        backend = get_backend(f"{name}:{device}")
        if backend.owns(x):
            return backend
    raise BackendError(f"X is on device {x.device} of {name}, which is none of anyfw's backends. Move it to another.")


def to_host(x: Any) -> Any:
    """An array of another library as a NumPy array, where dispatch is on; anything else as it is."""
    backend = library_of(x)
    return x if backend is None else backend.to_numpy(x)


def like(found: NDArray[Any], backend: Backend | None) -> Any:
    """A result beside the rows that it was asked for; text, which only NumPy has, stays where it is."""
    return found if backend is None or found.dtype.kind not in "biuf" else backend.asarray(found)
