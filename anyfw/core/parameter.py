"""`Parameter` and `Buffer`: the arrays of a layer; and packing, which lays all of a net's in one vector."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core import init
from anyfw.core.arrays import Array, dtype_name, namespace
from anyfw.core.backend import Backend, backend_of
from anyfw.core.errors import ShapeError, UndrawnError
from anyfw.core.random import Stream, Word

# Parameters start at multiples of 16 elements: a cache line in float32, so that kernels read them aligned.
_ALIGNMENT = 16


class Stored:
    """An array with a declared shape and an initialiser, drawn when it is first needed."""

    def __init__(self, shape: Sequence[int], initializer: str | float | init.Initializer) -> None:
        self.shape = tuple(shape)
        self.initializer = init.resolve(initializer)
        self.assigned = False
        self._data: Array | None = None

    @property
    def data(self) -> Array:
        """The values, shape `shape`. Assigning copies the values in and keeps dtype and device.

        Raises:
            UndrawnError: read before the net was drawn.
            ShapeError: assigned values of another shape.
        """
        if self._data is None:
            raise UndrawnError("This parameter has no values yet. Call net.init(seed) or net.to(backend) first.")
        return self._data

    @data.setter
    def data(self, value: object) -> None:
        host = to_host(value)
        if host.shape != self.shape:
            raise ShapeError(f"Expected values of shape {self.shape}, got {host.shape}.")
        if self._data is None:
            self._data = host.copy()
        elif isinstance(self._data, np.ndarray):
            # Also where it waits to be placed, and no backend is open yet.
            self._data[...] = host
        else:
            backend = backend_of(self._data)
            assert backend is not None
            self._data[...] = backend.asarray(host, dtype_name(self._data))
        self.assigned = True

    @property
    def drawn(self) -> bool:
        """Whether there are values."""
        return self._data is not None

    def draw(self, seed: int, *stream: Word) -> None:
        """Draw the values on the host as a function of (seed, stream); they wait there to be placed."""
        values = self.initializer(self.shape, Stream(seed, stream))
        if np.shape(values) != self.shape:
            raise ShapeError(f"The initialiser was asked for shape {self.shape} and gave {np.shape(values)}.")
        if self._data is None:
            self._data = np.asarray(values)
        else:
            # Into the place that it has: packed vectors hold views of it.
            self.data = values
        self.assigned = False

    def __getstate__(self) -> dict[str, Any]:
        # A copy stands alone: views into a packed vector would point into the original's.
        state = vars(self).copy()
        # Not `data + 0`: NumPy would make a number of a 0-d array, which no `+=` changes.
        state["_data"] = None if self._data is None else namespace(self._data).asarray(self._data, copy=True)
        return state

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape})"


class Buffer(Stored):
    """State that is saved and moved with the net but not learnt, such as a running mean.

    Args:
        shape: its shape, fixed.
        initializer: a name, a number for all values, or an initialiser of `core/init.py`.
        dtype: one of its own, such as "int64" for a counter; None is the net's.
    """

    def __init__(
        self,
        shape: Sequence[int],
        initializer: str | float | init.Initializer = "zeros",
        *,
        dtype: str | None = None,
    ) -> None:
        super().__init__(shape, initializer)
        self.dtype = dtype

    def place(self, backend: Backend, dtype: str) -> None:
        """Move to the backend; a buffer without a dtype of its own takes the net's."""
        self._data = backend.asarray(to_host(self.data).copy(), self.dtype or dtype)


class Parameter(Stored):
    """Values that are learnt, and their gradient.

    Args:
        shape, decay, trainable: see below.
        initializer: a name, a number for all values, or an initialiser of `core/init.py`.

    Attributes:
        shape: its shape, fixed.
        decay: whether weight decay and the L1 and L2 penalties act on it.
        trainable: whether it is learnt at all.
    """

    def __init__(
        self,
        shape: Sequence[int],
        initializer: str | float | init.Initializer = "zeros",
        *,
        decay: bool = True,
        trainable: bool = True,
    ) -> None:
        super().__init__(shape, initializer)
        self._decay = decay
        self._trainable = trainable
        self.pack: Pack | None = None
        self.start = 0
        self._grad: Array | None = None
        self._written = False

    @property
    def decay(self) -> bool:
        """Whether weight decay and the L1 and L2 penalties act on it."""
        return self._decay

    @decay.setter
    def decay(self, value: bool) -> None:
        self._decay = value
        self._changed()

    @property
    def trainable(self) -> bool:
        """Whether it is learnt at all."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = value
        self._changed()

    def _changed(self) -> None:
        if self.pack is not None:
            self.pack.changes += 1

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def grad(self) -> Array:
        """The gradient, shape `shape`; zero where no backward has written since `zero_grad`."""
        grad, written = self.into()
        if not written:
            grad[...] = 0.0
        return grad

    def into(self) -> tuple[Array, bool]:
        """Where to write the gradient, and whether to add to it (True) or to overwrite it (False)."""
        if self._grad is None:
            if self.pack is None:
                pack([self])
            assert self.pack is not None
            self._grad = self.pack.view(self.pack.grad, self)
        written, self._written = self._written, True
        return self._grad, written

    def add_grad(self, grad: Array) -> None:
        """Add to the gradient; the first one after `zero_grad` overwrites. A frozen parameter takes none."""
        if not self.trainable:
            return
        target, written = self.into()
        if written:
            target += grad
        else:
            target[...] = grad

    def zero_grad(self) -> None:
        """Forget the gradient; nothing is written until the next backward."""
        self._written = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "pack": None, "start": 0, "_grad": None, "_written": False}


class Pack:
    """The packed parameters of a net: one contiguous vector of values and one of gradients.

    Attributes:
        members: the parameters, in runs: trainable with decay, trainable without, frozen.
        data: all values, shape (size,); every member's `data` is a view of it.
        changes: grows when a member moves elsewhere or its flags are set, so that an optimiser asks once per step.
    """

    def __init__(self, members: Sequence[Parameter], backend: Backend, dtype: str) -> None:
        self.members = tuple(sorted(members, key=lambda p: (not p.trainable, not p.decay)))
        self.backend = backend
        self.dtype = dtype
        self.changes = 0
        self.starts: dict[int, int] = {}
        size = 0
        for parameter in self.members:
            self.starts[id(parameter)] = size
            size += aligned(parameter.size)
        self.data = backend.xp.zeros((size,), dtype=backend.dtype(dtype), device=backend.device)
        self._grad: Array | None = None

    @property
    def grad(self) -> Array:
        """All gradients, shape (size,); made when first needed, so that inference never pays for it."""
        if self._grad is None:
            self._grad = self.backend.xp.zeros_like(self.data)
        return self._grad

    def view(self, vector: Array, parameter: Parameter) -> Array:
        """The part of a vector laid out as this pack that belongs to the parameter, in its shape."""
        start = self.starts[id(parameter)]
        return self.backend.xp.reshape(vector[start : start + parameter.size], parameter.shape)


def aligned(size: int) -> int:
    """The room that `size` elements take in a pack."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def pack(parameters: Iterable[Parameter], backend: Backend | None = None, dtype: str | None = None) -> None:
    """Lay parameters in one contiguous vector; their `data` and `grad` become views of it.

    Gradients that were written are kept where the place stays the same.

    Args:
        parameters: drawn ones, each once.
        backend: where to; by default where the first one is.
        dtype: the dtype of all; by default that of the first one.
    """
    members = list(parameters)
    if not members:
        return
    backend = backend or backend_of(members[0].data)
    assert backend is not None
    dtype = dtype or dtype_name(members[0].data)
    packed = Pack(members, backend, dtype)
    current = members[0].pack
    same = current is not None and (current.backend, current.dtype, current.members) == (backend, dtype, packed.members)
    # A member that was moved away, with another net that it stands in, is fetched back.
    if same and all(parameter.pack is current for parameter in members):
        return
    for parameter in packed.members:
        view = packed.view(packed.data, parameter)
        view[...] = moved(parameter.data, backend, dtype)
        if parameter._written and parameter._grad is not None:
            grad_view = packed.view(packed.grad, parameter)
            grad_view[...] = moved(parameter._grad, backend, dtype)
            parameter._grad = grad_view
        else:
            parameter._grad, parameter._written = None, False
        parameter._changed()
        parameter._data, parameter.pack, parameter.start = view, packed, packed.starts[id(parameter)]


def moved(x: Array, backend: Backend, dtype: str) -> Array:
    """X itself where it is there already in that dtype, else a copy by way of the host."""
    if backend.owns(x) and dtype_name(x) == dtype:
        return x
    return backend.asarray(to_host(x), dtype)


def to_host(value: Any) -> NDArray[np.generic]:
    """Any array as a NumPy array, by its backend's own way where it has one."""
    backend = None if isinstance(value, np.ndarray) else backend_of(value)
    return np.asarray(value) if backend is None else backend.to_numpy(value)
