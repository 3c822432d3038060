"""`Uploads`: how batches that stay on the host get to the device, each while the one before is used."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from anyfw.core.arrays import Array

if TYPE_CHECKING:
    from anyfw.core.backend import Backend


class Uploads:
    """Moves batches at once; a device that copies while it computes overrides all methods.

    The thread that trains calls `mark` when it asks for a batch and `finish` when it needs it; `begin` runs between, in
    a thread beside it. At most one batch is ahead. Whoever uses a batch keeps it until the next one has begun.
    """

    def __init__(self, backend: "Backend") -> None:
        self._backend = backend

    def mark(self) -> Any:
        """Where the device's orders stand."""
        return None

    def begin(self, columns: Sequence[NDArray[Any]], mark: Any) -> Any:  # noqa: ARG002 - for devices with an order
        """Start moving host arrays, contiguous and of their final dtype; they may change when this returns."""
        return tuple([self._backend.asarray(column) for column in columns])

    def finish(self, moved: Any) -> tuple[Array, ...]:
        """The arrays of what `begin` gave, on the device, for whatever is ordered from now on."""
        arrays: tuple[Array, ...] = moved
        return arrays

    def close(self) -> None:
        """Wait until nothing of the host is read any more."""
