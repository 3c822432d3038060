"""Layers as JSON and back: the class's name and the constructor's arguments, never a path to import."""

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from anyfw.core.errors import ConfigError, FileFormatError, UnknownNameError

if TYPE_CHECKING:
    from anyfw.core.layer import Layer

Config = dict[str, Any]


def arguments(thing: object) -> Config:
    """The constructor's arguments of an object that keeps each one under its own name.

    A function given as an initialiser is left out: what was loaded is never drawn again.

    Raises:
        ConfigError: an argument is not kept as an attribute.
    """
    found: Config = {}
    if type(thing).__init__ is object.__init__:
        return found
    for name, parameter in inspect.signature(type(thing).__init__).parameters.items():
        if name == "self" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        if not hasattr(thing, name):
            raise ConfigError(
                f"{type(thing).__name__} cannot be saved: its argument '{name}' is not kept as self.{name}. "
                "Keep it, or override arguments()."
            )
        value = getattr(thing, name)
        if callable(value) and not _is_layer(value):
            continue
        found[name] = value
    return found


def to_config(layer: "Layer") -> Config:
    """The JSON-able description of a layer and all layers in it; a shared layer is described once."""
    return _describe(layer, {})


def from_config(config: Mapping[str, Any], known: Mapping[str, type["Layer"]]) -> "Layer":
    """Rebuild a layer from its description.

    Args:
        config: what `to_config` gave.
        known: the classes that may be built, by name.

    Raises:
        UnknownNameError: a class that is not known.
        FileFormatError: no description of a layer, or arguments that its class refuses.
    """
    return _build(config, known, [])


def _is_layer(value: object) -> bool:
    from anyfw.core.layer import Layer

    return isinstance(value, Layer)


def _describe(layer: "Layer", seen: dict[int, int]) -> Config:
    if id(layer) in seen:
        return {"shared": seen[id(layer)]}
    config: Config = {"layer": type(layer).__name__}
    config.update({_escape(name): _plain(value, seen) for name, value in layer.arguments().items()})
    # Counted after its children, in the order in which `_build` finishes them.
    seen[id(layer)] = len(seen)
    return config


def _plain(value: Any, seen: dict[int, int]) -> Any:
    if _is_layer(value):
        return _describe(value, seen)
    if isinstance(value, list | tuple):
        return [_plain(item, seen) for item in value]
    if isinstance(value, Mapping):
        return {_escape(str(name)): _plain(item, seen) for name, item in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ConfigError(f"{value!r} cannot be written as JSON. Override arguments() to give something that can.")


def _build(config: object, known: Mapping[str, type["Layer"]], built: list["Layer"]) -> "Layer":
    if not isinstance(config, Mapping) or not ({"layer", "shared"} & set(config)):
        raise FileFormatError(f"This describes no layer: {str(config)[:80]}")
    if "shared" in config:
        index = config["shared"]
        if not isinstance(index, int) or not 0 <= index < len(built):
            raise FileFormatError(f"A shared layer points nowhere: {index!r}")
        return built[index]
    name = config["layer"]
    if not isinstance(name, str) or name not in known:
        raise UnknownNameError("layer", name, known)
    values = {_unescape(key): _unplain(value, known, built) for key, value in config.items() if key != "layer"}
    layer = _call(known[name], values)
    built.append(layer)
    return layer


def _unplain(value: Any, known: Mapping[str, type["Layer"]], built: list["Layer"]) -> Any:
    if isinstance(value, Mapping) and ({"layer", "shared"} & set(value)):
        return _build(value, known, built)
    if isinstance(value, list):
        return [_unplain(item, known, built) for item in value]
    if isinstance(value, Mapping):
        return {_unescape(key): _unplain(item, known, built) for key, item in value.items()}
    return value


def _escape(name: str) -> str:
    # An argument may be called "layer" or "shared", as Residual's is; it must not pass for a description's own keys.
    return f"{name}_" if name.rstrip("_") in ("layer", "shared") else name


def _unescape(name: str) -> str:
    return name[:-1] if name.endswith("_") and name.rstrip("_") in ("layer", "shared") else name


def _call(kind: type["Layer"], values: Config) -> "Layer":
    positional: Iterable[Any] = ()
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional = values.pop(name, ())
    try:
        return kind(*positional, **values)
    except TypeError as error:
        raise FileFormatError(f"{kind.__name__} does not take these arguments: {error}") from error
