"""State dicts both ways: the names, shapes and order of PyTorch are anyfw's own."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import ConfigError, PlacementError, ShapeError
from anyfw.core.layer import Layer
from anyfw.core.parameter import Buffer, Stored, to_host
from anyfw.interop.torch.arrays import import_torch

if TYPE_CHECKING:
    import torch

_MOST_NAMES = 10  # in one line of a message


def state_dict(net: Layer) -> "dict[str, torch.Tensor]":
    """Copies of all parameters and buffers of a net as tensors on the CPU, by PyTorch's names.

    `module.load_state_dict(state_dict(net))` takes them over. The dtype is the net's; the batches that a batch norm
    counted are int64. The net may be on any backend, and nothing written into the tensors is seen in it.

    Raises:
        MissingExtraError: PyTorch is not installed.
    """
    torch = import_torch()
    return {name: torch.from_numpy(values) for name, values in net.state_dict().items()}


def load_state_dict(net: Layer, source: "Mapping[str, Any] | torch.nn.Module") -> None:
    """Take over the values of a module of PyTorch, of its state dict, or of what `read` gave; all of them, or none.

    Values are copied, from any device. Floating-point numbers of any width (bfloat16, float16, float32, float64) are
    rounded to the dtype of the net, as PyTorch does; integers are no floating-point numbers, and the other way round.
    A net that has no values yet keeps those given until it is placed.

    Args:
        net: on any backend; where it is and its dtype stay.
        source: a `torch.nn.Module`, or tensors or arrays by name. Without PyTorch: arrays.

    Raises:
        ConfigError: names that are missing or unexpected; all of them are told, with shapes and dtypes that differ.
        ShapeError: values of another shape.
        PlacementError: numbers of another kind, integers that the net's dtype lacks, or tensors without values.
    """
    state = _state(source)
    own = dict(net.named_stored())
    missing, unexpected = [name for name in own if name not in state], [name for name in state if name not in own]
    values = {name: _host(name, state[name]) for name in own if name in state}
    pairs = [(name, own[name], value) for name, value in values.items()]
    shapes = [f"{name} {one.shape}, got {value.shape}" for name, one, value in pairs if value.shape != one.shape]
    kinds = _kinds(pairs)
    if missing or unexpected or shapes or kinds:
        problem = "".join(
            f" {what}: {_listed(found)}."
            for what, found in (
                ("Missing", missing),
                ("unexpected", unexpected),
                ("expected shapes", shapes),
                ("expected", kinds),
            )
            if found
        )
        error = ConfigError if missing or unexpected else ShapeError if shapes else PlacementError
        raise error(f"load_state_dict: this state does not fit the net.{problem}{_advice(state, own)}")
    net.load_state_dict(values)


def _state(source: Any) -> Mapping[str, Any]:
    if not isinstance(source, Mapping) and callable(getattr(source, "state_dict", None)):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        raise ConfigError(f"load_state_dict: expected a torch.nn.Module or a state dict, got {type(source).__name__}.")
    return source


def _host(name: str, value: Any) -> NDArray[Any]:
    if hasattr(value, "detach"):
        if getattr(value, "is_meta", False):
            raise PlacementError(
                f"load_state_dict: '{name}' is on the device meta, where tensors have no values. Load or draw it first."
            )
        try:
            value = value.detach().cpu()
            # Exact: NumPy has no bfloat16.
            return np.asarray((value.float() if str(value.dtype) == "torch.bfloat16" else value).resolve_neg().numpy())
        except (TypeError, ValueError, RuntimeError) as error:
            raise PlacementError(
                f"load_state_dict: '{name}' is no plain tensor of numbers ({error!s:.100}). Use value.to_dense() or "
                "value.dequantize()."
            ) from error
    if not hasattr(value, "dtype"):
        what = f"{type(value).__name__}{f' of {_listed(value)}' if isinstance(value, Mapping) else ''}"
        raise ConfigError(f"load_state_dict: '{name}' is a {what}, and no tensor or array.")
    return to_host(value)


def _kinds(pairs: Iterable[tuple[str, Stored, NDArray[Any]]]) -> list[str]:
    # What was expected of each value of another kind, and what it is.
    found = []
    for name, one, value in pairs:
        whole = _whole_dtype(one)
        if value.dtype.kind not in ("iu" if whole else "f"):
            found.append(f"{name} {'integers' if whole else 'floating-point numbers'}, got {value.dtype}")
        elif whole and value.size:
            held, extremes = np.iinfo(whole), (int(value.min()), int(value.max()))
            outside = [number for number in extremes if not held.min <= number <= held.max]
            found += [f"{name} {whole}, got {number}" for number in outside[:1]]
    return found


def _whole_dtype(stored: Stored) -> str | None:
    dtype = stored.dtype if isinstance(stored, Buffer) else None
    return dtype if dtype is not None and dtype.startswith("int") else None


def _listed(names: Iterable[Any]) -> str:
    found = [str(name) for name in names]
    rest = len(found) - _MOST_NAMES
    return ", ".join(found[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _advice(state: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    for name, value in state.items():
        if isinstance(value, Mapping):
            return f" '{name}' is itself a dict: is state[{name!r}] the one to load?"
    prefixes = {str(name).partition(".")[0] for name in state}
    if len(prefixes) == 1 and all(str(name).partition(".")[2] in own for name in state):
        prefix = f"{prefixes.pop()}."
        return (
            f" All names begin with '{prefix}': load {{name.removeprefix({prefix!r}): value for name, value in ...}}."
        )
    return ""
