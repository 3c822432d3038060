"""The names that a pickle may say, and what each of them stands for; no name is ever looked up or imported."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyfw.interop.torch.storages import DAMAGED, RefusedError, Storage, view

SAVE_STATE = "In PyTorch: torch.save(model.state_dict(), path)"
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
DTYPES = {
    *("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "bool"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
}


@dataclass(frozen=True, slots=True)
class Name:
    """What GLOBAL names; never more than the two texts."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def _ordered_dict(*arguments: object) -> Any:
    if arguments:
        raise RefusedError(f"an OrderedDict is made of something, and not filled. {DAMAGED}")
    return OrderedDict()


def _counter(*arguments: object) -> Any:
    # The dict itself: a copy could be asked for again and again.
    return _only("Counter", dict, arguments)


def _size(*arguments: object) -> Any:
    return _only("torch.Size", tuple, arguments)


def _device(*arguments: object) -> Any:
    if len(arguments) == 2 and type(arguments[1]) is int and 0 <= arguments[1] < 1000:
        return f"{_device(arguments[0])}:{arguments[1]}"
    name = _only("torch.device", str, arguments)
    return name[:40]


def _tensor(*arguments: Any) -> Any:
    if len(arguments) not in (6, 7) or type(arguments[0]) is not Storage or type(arguments[4]) is not bool:
        raise RefusedError(f"a tensor is made of other than a storage and how to look at it. {DAMAGED}")
    _no_hooks(arguments[5])
    if len(arguments) == 7 and arguments[6] is not None and (type(arguments[6]) is not dict or arguments[6]):
        raise RefusedError("a tensor has metadata, as one that is negated lazily. Save tensor.resolve_neg().")
    return view(*arguments[:4])


def _parameter(*arguments: Any) -> Any:
    if len(arguments) != 3 or type(arguments[0]) is not np.ndarray or type(arguments[1]) is not bool:
        raise RefusedError(f"a parameter is made of other than a tensor. {DAMAGED}")
    _no_hooks(arguments[2])
    return arguments[0]


CALLS: dict[Name, Callable[..., Any]] = {
    Name("collections", "OrderedDict"): _ordered_dict,
    Name("collections", "Counter"): _counter,
    Name("torch", "Size"): _size,
    Name("torch", "device"): _device,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Name("torch._utils", "_rebuild_parameter"): _parameter,
}
MOST_ARGUMENTS = 8  # one more than any of these takes


def _only(what: str, kind: type, arguments: tuple[object, ...]) -> Any:
    if len(arguments) != 1 or type(arguments[0]) is not kind:
        raise RefusedError(f"a {what} is made of other than one {kind.__name__}. {DAMAGED}")
    return arguments[0]


def _no_hooks(hooks: object) -> None:
    if type(hooks) is not OrderedDict or hooks:
        raise RefusedError("a tensor has backward hooks, which are code. Save tensor.detach().")


def advice(name: Name) -> str:
    """What to tell of a name that is not read, and what to do."""
    if name.module.startswith("torch.nn.") or name.module == "__main__":
        return f"it holds a whole module, '{name}', which is code, and not its values. {SAVE_STATE}."
    if name.name.startswith("Complex") and name.name.endswith("Storage"):
        return f"it holds complex numbers ('{name}'), which anyfw has not. Save torch.view_as_real(tensor)."
    if name.name == "_rebuild_qtensor" or (name.module == "torch" and name.name.startswith(("QInt", "QUInt"))):
        return f"it holds quantised numbers ('{name}'), which anyfw has not. Save tensor.dequantize()."
    if name.name == "_rebuild_tensor_v3" or str(name) == "torch.storage.UntypedStorage":
        return f"it holds numbers of a dtype that is not read, as uint16 or float8 ('{name}'). Save tensor.float()."
    if name.module.partition(".")[0] == "numpy":
        return f"it holds values of NumPy ('{name}'). Save Python's own, value.item(), or torch.from_numpy(array)."
    return f"it names '{name}', and only tensors, numbers, texts, lists, tuples and dicts are read. {SAVE_STATE}."
