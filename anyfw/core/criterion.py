"""`Criterion`: what losses and metrics share, both of which hold outputs against targets."""

from abc import ABC
from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

from anyfw.core import config
from anyfw.core.arrays import Array, dtype_name, is_floating, namespace
from anyfw.core.backend import backend_of
from anyfw.core.errors import ConfigError, DataError, FileFormatError, PlacementError, ShapeError, UnknownNameError


class Criterion(ABC):
    """Something that takes outputs y and targets, describes itself as JSON, and refuses arrays from elsewhere.

    Attributes:
        role: "loss" or "metric": the key of the class's name in a description.
        recordable: of one of your own, as a layer's.
    """

    role: ClassVar[str]
    recordable: ClassVar[bool] = False

    def expect_output(self, y: Array) -> None:
        """Check that y is floating and has rows."""
        try:
            floating = is_floating(y)
        except TypeError:
            floating = False
        if not floating:
            raise PlacementError(f"{self.who}: expected outputs y in a floating dtype, got {_kind(y)}.")
        if y.ndim < 1:
            raise ShapeError(f"{self.who}: expected y of shape (batch, ...), got a single number.")
        if not prod(y.shape):
            raise DataError(f"{self.who}: expected at least one row, got y of shape {tuple(y.shape)}.")

    def expect_place(self, y: Array, name: str, x: Array) -> None:
        """Check that x is on y's backend and device."""
        if type(x) is type(y) and x.device == y.device:
            return
        try:
            same = namespace(x) is namespace(y) and x.device == y.device
        except TypeError:
            same = False
        if not same:
            raise PlacementError(
                f"{self.who}: expected {name} where y is, {_place(y)}, got {_place(x)}. "
                f"Move it there with backend.asarray({name}, ...)."
            )

    @property
    def who(self) -> str:
        """The class, for messages."""
        return type(self).__name__

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, for `config`."""
        return config.arguments(self)

    def config(self) -> dict[str, Any]:
        """The JSON-able description that `from_config` of losses or metrics rebuilds this from."""
        plain = {name: list(v) if isinstance(v, tuple) else v for name, v in self.arguments().items()}
        return {self.role: type(self).__name__, **plain}

    def __repr__(self) -> str:
        try:
            arguments = self.arguments()
        except ConfigError:
            return f"{type(self).__name__}(...)"
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def rebuild(role: str, config: Mapping[str, Any], known: Mapping[str, type[Any]]) -> Any:
    """The loss or metric that `Criterion.config` described.

    Raises:
        UnknownNameError: a class that is not known.
        FileFormatError: no description of this role, or arguments that its class refuses.
    """
    name = config.get(role) if isinstance(config, Mapping) else None
    if not isinstance(name, str):
        raise FileFormatError(f"This describes no {role}: {str(config)[:80]}")
    if name not in known:
        raise UnknownNameError(role, name, known)
    try:
        return known[name](**{key: value for key, value in config.items() if key != role})
    except TypeError as error:
        raise FileFormatError(f"{name} does not take these arguments: {error}") from error


def _place(x: Array) -> str:
    backend = backend_of(x)
    return backend.spec if backend is not None else _kind(x)


def _kind(x: Any) -> str:
    return f"{type(x).__module__}.{type(x).__name__}" + (f" of {dtype_name(x)}" if hasattr(x, "dtype") else "")
