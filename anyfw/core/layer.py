"""`Layer`: a function with parameters, its forward and its backward."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from anyfw.core import config, placement
from anyfw.core.arrays import Array, dtype_name, is_floating
from anyfw.core.backend import Backend, get_backend
from anyfw.core.errors import BackwardError, ConfigError, PlacementError, ShapeError
from anyfw.core.parameter import Parameter, Stored, to_host
from anyfw.core.shared import Shared


class Layer(ABC):
    """A differentiable function with explicit backward.

    A layer of your own keeps each constructor argument under its own name (so that it can be saved), declares
    `Parameter`s and layers as attributes, and writes `forward` and `backward`; `push` in `forward(train=True)`
    what `backward` will `pop`.

    Attributes:
        metadata: what a saved model says of itself besides its layers.
        recordable: whether forward and backward do the same work at each call, whatever else Python knows: then a step
            may be recorded once and replayed. A net with layers of your own is recorded where they all say so, or where
            `Trainer(graph=True)` asks for it.
    """

    metadata: Mapping[str, Any] = {}
    recordable = False

    _shared: Shared | None = None
    _path = "net"
    _inner = False
    # Whether nothing in it learns, so that a container skips its backward where nothing before it learns either.
    _learns_nothing = False
    # Whether it reads the tick in training, which is then on the device before the first step.
    _draws = False
    _saved: list[tuple[Any, ...]]

    def __new__(cls, *args: object, **kwargs: object) -> Self:  # noqa: ARG004 - the constructor's, unused here
        """Give every layer its stack, whether or not its class calls `super().__init__()`."""
        layer = super().__new__(cls)
        layer._saved = []
        return layer

    def __init__(self) -> None:
        # Without it a layer without arguments would swallow any, since `__new__` takes all.
        return

    def __init_subclass__(cls, **kwargs: object) -> None:
        # The first use of a net draws and places it, and each outermost pass in training counts: both must happen
        # however the net is entered, also through a layer of the user's, so `forward` itself is the door.
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls):
            cls.forward = _door(cls.forward)  # type: ignore[method-assign]

    @abstractmethod
    def forward(self, x: Array, /, *, train: bool = False) -> Array:
        """Compute the output for x. With `train` it saves what `backward` needs; without, it keeps nothing."""

    @abstractmethod
    def backward(self, dy: Array, /) -> Array:
        """Add to each `Parameter.grad`, given the gradient dy of the loss by the output; return that by the input."""

    def accumulate(self, dy: Array, /) -> None:
        """Do as `backward` without the gradient by the input, which the first layer of a net need not compute."""
        self.backward(dy)

    def __call__(self, x: Array, /, *, train: bool = False) -> Array:
        """Do as `forward`: net(x) is inference."""
        return self.forward(x, train=train)

    # What backward needs

    def push(self, *values: Any) -> None:
        """Keep values for `backward`; a layer used twice in one pass gets them back in reverse order."""
        self._saved.append(values)

    def pop(self) -> tuple[Any, ...]:
        """The values of the latest `push` that was not popped yet.

        Raises:
            BackwardError: there are none.
        """
        try:
            return self._saved.pop()
        except IndexError:
            raise BackwardError(f"{self.who}: backward without a forward(train=True) before it.") from None

    # The tree

    def children(self) -> Iterator[tuple[str, "Layer"]]:
        """(name, layer) of each layer directly in this one, in the order in which attributes were set."""
        for name, value in tuple(vars(self).items()):
            if not name.startswith("_"):
                yield from _layers_in(name, value)

    def named_layers(self, path: str = "") -> Iterator[tuple[str, "Layer"]]:
        """(path, layer) of this layer and all in it; a shared layer at each of its places."""
        yield path, self
        for name, child in self.children():
            yield from child.named_layers(placement.join(path, name))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) in the order of definition, a shared one once."""
        seen: set[int] = set()
        for path, stored in self.named_stored():
            if isinstance(stored, Parameter) and id(stored) not in seen:
                seen.add(id(stored))
                yield path, stored

    def parameters(self) -> Iterator[Parameter]:
        """The parameters in the order of definition, a shared one once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def named_stored(self) -> Iterator[tuple[str, Stored]]:
        """(path, parameter or buffer) in the order of definition; a shared one at each of its places."""
        for path, layer in self.named_layers():
            # A copy: the first use of a net names its layers, and may come while somebody goes through this.
            for name, value in tuple(vars(layer).items()):
                if isinstance(value, Stored):
                    yield placement.join(path, name), value

    def zero_grad(self) -> None:
        """Forget all gradients and whatever a forward without its backward left over."""
        for parameter in self.parameters():
            parameter.zero_grad()
        for _, layer in self.named_layers():
            layer._saved.clear()

    def no_decay(self, *kinds: str) -> Self:
        """Exempt parameters from weight decay: by their name ("bias") or by their layer's ("norm")."""
        for _, layer in self.named_layers():
            for name, value in vars(layer).items():
                if isinstance(value, Parameter) and any(
                    kind == name or kind.lower() in type(layer).__name__.lower() for kind in kinds
                ):
                    value.decay = False
        return self

    # Where it is

    def init(self, seed: int = 0) -> Self:
        """Draw every parameter that was not loaded or assigned, as a function of (seed, its path); rewind dropout.

        A net that has no place yet is placed: on the default backend, in float32.
        """
        with placement.lock:
            shared = placement.bind(self)
            shared.seed = seed
            shared.rewind(0)
            drawn: set[int] = set()
            for path, stored in self.named_stored():
                # A shared one is drawn at its first place, as by the first use.
                if not stored.assigned and id(stored) not in drawn:
                    drawn.add(id(stored))
                    stored.draw(seed, "init", path)
            placement.place(self, shared.backend, shared.dtype)
        return self

    def draw(self, seed: int) -> Self:
        """Set the seed of the random layers, and draw with it what has no values yet; nothing is placed."""
        with placement.lock:
            shared = placement.bind(self)
            shared.seed = seed
            for path, stored in self.named_stored():
                if not stored.drawn:
                    stored.draw(seed, "init", path)
        return self

    def to(self, spec: str | Backend | None = None, dtype: str | None = None) -> Self:
        """Move all parameters and buffers to a backend, and cast them.

        Args:
            spec: a backend or its spec; None leaves the net where it is.
            dtype: "float32" or "float64"; None leaves the dtype (float32 at first).

        Raises:
            BackendError: the backend cannot work or lacks the dtype.
        """
        if dtype not in (None, "float32", "float64"):
            raise ConfigError(f"Expected dtype 'float32' or 'float64', got {dtype!r}.")
        with placement.lock:
            placement.bind(self)
            placement.place(self, get_backend(spec) if spec is not None else None, dtype)
        return self

    @property
    def shared(self) -> Shared:
        """What the layers of this net share; the net is drawn with seed 0 and placed if it was not yet."""
        if self._shared is None or self._shared.backend is None:
            self.to()
        assert self._shared is not None
        return self._shared

    @property
    def backend(self) -> Backend:
        """Where the net is."""
        backend = self.shared.backend
        assert backend is not None
        return backend

    @property
    def dtype(self) -> str:
        """The dtype of the net's parameters, by name."""
        dtype = self.shared.dtype
        assert dtype is not None
        return dtype

    # What a layer says of its input

    @property
    def who(self) -> str:
        """The layer's class and its path in the net, for messages."""
        return f"{type(self).__name__} '{self._path}'"

    def expect_features(self, x: Array, features: int) -> None:
        """Check that the last axis of x has this many features and that x is of the parameters' dtype.

        Raises:
            ShapeError, PlacementError: it is not so.
        """
        shape = x.shape
        if not shape or shape[-1] != features:
            raise ShapeError(
                f"{self.who}: expected last axis {features}, got shape {tuple(x.shape)}. Is a layer missing before it?"
            )
        if not is_floating(x):
            raise PlacementError(f"{self.who}: expected {self.dtype}, got {dtype_name(x)}. Cast the input.")

    # Files

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, for `config`; layers among them stay layers."""
        return config.arguments(self)

    def config(self) -> dict[str, Any]:
        """The JSON-able description that `nn.from_config` rebuilds the layer from."""
        return config.to_config(self)

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        """Copies of all parameters and buffers on the host, by path, with PyTorch's names and shapes."""
        self.shared  # noqa: B018 - draws a net that nobody drew
        return {path: np.array(to_host(stored.data)) for path, stored in self.named_stored()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the values of all parameters and buffers; nothing is changed where one does not fit.

        Raises:
            ConfigError: names that are missing or not known here.
            ShapeError: values of another shape.
        """
        own = dict(self.named_stored())
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ConfigError(
                f"This state does not fit the net. Missing: {missing or 'none'}; unknown: {unknown or 'none'}."
            )
        values = {path: to_host(state[path]) for path in own}
        for path, stored in own.items():
            if values[path].shape != stored.shape:
                raise ShapeError(f"'{path}': expected shape {stored.shape}, got {values[path].shape}.")
        for path, stored in own.items():
            stored.data = values[path]

    def save(self, path: str | PathLike[str]) -> None:
        """Write one safetensors file: parameters by PyTorch's names, the layer tree and `metadata` as JSON."""
        from anyfw.core.files import save_model

        save_model(path, self.config(), self.state_dict(), self.metadata)

    def __repr__(self) -> str:
        try:
            arguments = self.arguments()
        except ConfigError:
            return f"{type(self).__name__}(...)"
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def _door(forward: Callable[..., Array]) -> Callable[..., Array]:
    @functools.wraps(forward)
    def enter(self: Layer, x: Array, /, *, train: bool = False) -> Array:
        # Only the class's own forward is the door, not one that it reaches through super().
        if not self._inner and type(self).forward is enter:
            placement.enter(self, x, train)
        return forward(self, x, train=train)

    return enter


def _layers_in(name: str, value: object) -> Iterator[tuple[str, Layer]]:
    if isinstance(value, Layer):
        yield name, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _layers_in(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _layers_in(f"{name}.{key}", item)
