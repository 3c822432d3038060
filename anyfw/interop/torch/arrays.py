"""The same memory as an array and as a tensor, by DLPack."""

from typing import TYPE_CHECKING, Any

import numpy as np

from anyfw.core.arrays import Array
from anyfw.core.backend import Backend, get_backend
from anyfw.core.errors import AnyfwError, MissingExtraError, PlacementError

if TYPE_CHECKING:
    import torch

_ON_CPU = 1  # DLPack's number of that device
# The backends whose arrays can be in the memory of a device of PyTorch.
_FITTING = {"cpu": ("numpy", "strict", "torch"), "cuda": ("cupy", "torch")}
_MOVE = "Use tensor.to(device), which copies, or another backend."


def as_tensor(x: Array) -> "torch.Tensor":
    """The tensor with the memory of x: what is written into the one is seen in the other.

    Shape and strides are kept, and a tensor is handed back as it is. PyTorch has neither read-only tensors nor negative
    strides nor another byte order than the machine's, so that such arrays are refused; copy them first.

    Args:
        x: an array of NumPy, CuPy or any other library with DLPack, on its device.

    Raises:
        MissingExtraError: PyTorch is not installed.
        PlacementError: an array whose memory no tensor can have, for its dtype or one of the reasons above.

    Source: the DLPack protocol of the Python Array API standard, 2024.12.
    """
    torch = import_torch()
    if isinstance(x, torch.Tensor):
        return x
    if not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")) or isinstance(x, np.generic):
        raise PlacementError(f"as_tensor: expected an array, got {type(x).__name__}. Use numpy.asarray(x) first.")
    try:
        # By NumPy, whatever library it is of: NumPy tells what PyTorch does not look at, or aborts the process for.
        shared = np.from_dlpack(x) if x.__dlpack_device__()[0] == _ON_CPU and not isinstance(x, np.ndarray) else x
        _expect_shareable(shared)
        return torch.from_dlpack(shared)
    except AnyfwError:
        raise
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise PlacementError(
            f"as_tensor: no tensor can have the memory of this {type(x).__name__} of {getattr(x, 'dtype', '?')}: "
            f"{error!s:.200}. Copy or convert it first."
        ) from error


def as_array(tensor: "torch.Tensor", backend: str | Backend | None = None) -> Array:
    """The array with the memory of a tensor: what is written into the one is seen in the other.

    Shape and strides are kept.

    Args:
        tensor: on the CPU or on a CUDA device.
        backend: whose array it is to be; by default NumPy's on the CPU and CuPy's on CUDA. On "torch" it is the tensor.

    Raises:
        MissingExtraError: PyTorch is not installed.
        PlacementError: a tensor on another device than the backend, one that requires gradients, or one whose memory
            the backend's arrays cannot have: bfloat16 for NumPy, sparse, quantised, lazily conjugated.

    Source: the DLPack protocol of the Python Array API standard, 2024.12.
    """
    torch = import_torch()
    if not isinstance(tensor, torch.Tensor):
        raise PlacementError(f"as_array: expected a tensor of PyTorch, got {type(tensor).__name__}.")
    if tensor.requires_grad:
        raise PlacementError("as_array: expected a tensor without gradients. Use tensor.detach(), which shares memory.")
    device = tensor.device
    if backend is None:
        own = {"cpu": "numpy", "cuda": f"cupy:{device.index}", "mps": "torch:mps"}
        backend = own.get(device.type, f"torch:{device}")
    chosen = get_backend(backend)
    if chosen.owns(tensor):
        return tensor
    if chosen.name not in _FITTING.get(device.type, ("torch",)):
        raise PlacementError(f"as_array: {chosen.spec} has no arrays on {device}, where the tensor is. {_MOVE}")
    try:
        array = chosen.xp.from_dlpack(tensor)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise PlacementError(
            f"as_array: no array of {chosen.spec} can have the memory of this tensor of {tensor.dtype}: "
            f"{error!s:.200}. Convert it first, as by tensor.float() or tensor.clone()."
        ) from error
    if not chosen.owns(array):
        raise PlacementError(f"as_array: the tensor is on {device}, which is not the device of {chosen.spec}. {_MOVE}")
    return array


def import_torch() -> Any:
    """The module torch.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "anyfw.interop.torch") from error
    return torch


def _expect_shareable(x: Array) -> None:
    if isinstance(x, np.ndarray) and not x.flags.writeable:
        raise PlacementError("as_tensor: expected an array that can be written, got a read-only one. Use x.copy().")
    if any(stride < 0 for stride in getattr(x, "strides", ())):
        raise PlacementError(f"as_tensor: expected strides from 0, got {x.strides}, as of x[::-1]. Use x.copy().")
