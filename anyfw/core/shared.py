"""`Shared`: what all layers of one net have in common."""

import numpy as np

from anyfw.core.arrays import Array
from anyfw.core.backend import Backend


class Shared:
    """What all layers of one net share: where it is, its seed, and how often it has run forward in training.

    Attributes:
        seed: of the initial weights and of every random layer's key.
        backend, dtype: where the net was placed, None before that.
        joins: the backend's: whether containers ask for layers to be run together.
        accepted: the place of the net and the kind of the latest input that was found to fit it.
        forwards: the number of outermost `forward(train=True)` calls so far; saved in checkpoints.
    """

    def __init__(self) -> None:
        self.seed = 0
        self.backend: Backend | None = None
        self.joins = False
        self.dtype: str | None = None
        self.accepted: tuple[object, ...] | None = None
        self.forwards = 0
        self._tick: Array | None = None
        self._uses: dict[int, int] = {}

    @property
    def tick(self) -> Array:
        """`forwards` as a 0-d int64 array on the device, where random layers read it without a copy."""
        if self._tick is None:
            assert self.backend is not None
            self._tick = self.backend.asarray(np.asarray(self.forwards), "int64")
        return self._tick

    def advance(self) -> None:
        """Count one outermost forward pass in training."""
        self.forwards += 1
        self._uses.clear()
        if self._tick is not None:
            self._tick += 1

    def rewind(self, forwards: int) -> None:
        """Set the count, as when a checkpoint is loaded."""
        self.forwards = forwards
        self._tick = None

    def use(self, user: object) -> int:
        """How often `user`, a layer, was used before within the present forward pass."""
        n = self._uses.get(id(user), 0)
        self._uses[id(user)] = n + 1
        return n
