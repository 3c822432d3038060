"""PyTorch tensors through array-api-compat: Apple's and AMD's GPUs, and another opinion in the tests."""

import array_api_compat.torch as torch_namespace
import numpy as np
import torch
from numpy.typing import NDArray

from anyfw.core import backend
from anyfw.core.arrays import Array, DType
from anyfw.core.errors import UnknownNameError


class Backend(backend.Backend):
    """Tensors of PyTorch; autograd is never used."""

    name = "torch"
    package = "torch"
    fix = "pip install 'anyfw[torch]'"

    def __init__(self, device: str | None = None) -> None:
        device = device or "cpu"
        known = self.devices()
        wanted = {"cuda": "cuda:0", "xpu": "xpu:0"}.get(device, device)
        if wanted not in known:
            raise UnknownNameError("device of torch", device, known)
        self.spec, self.device, self.xp = f"torch:{wanted}", torch.device(wanted), torch_namespace

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        """The CPU, and CUDA or ROCm ("cuda:0"), Intel ("xpu:0") and Apple ("mps") devices that are there."""
        found = ["cpu"]
        found += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        found += [f"xpu:{i}" for i in range(torch.xpu.device_count())]
        found += ["mps"] if torch.backends.mps.is_available() else []
        return tuple(found)

    @classmethod
    def version(cls) -> str:
        """PyTorch's version."""
        return str(torch.__version__)

    @property
    def has_float64(self) -> bool:
        """Not on Apple's GPUs."""
        return str(self.device) != "mps"

    def owns(self, x: object) -> bool:
        """Whether x is a tensor on this device."""
        return isinstance(x, torch.Tensor) and x.device == self.device

    def asarray(self, host: object, dtype: str | DType | None = None) -> Array:
        """Move host data to the device; read-only arrays are copied, since tensors cannot be read-only."""
        values = np.asarray(host)
        if dtype is not None:
            values = values.astype(self.dtype_name(dtype), copy=False)
        if not values.flags.writeable or any(stride < 0 for stride in values.strides):
            values = values.copy()
        return torch.asarray(values, device=self.device)

    def to_numpy(self, x: Array) -> NDArray[np.generic]:
        """X on the host; on the CPU a view of its memory."""
        values: NDArray[np.generic] = x.detach().cpu().numpy()
        return values

    def pinned(self, host: NDArray[np.generic]) -> NDArray[np.generic]:
        """A page-locked copy where the device is CUDA's."""
        if self.device.type != "cuda":  # type: ignore[attr-defined]
            return host
        values: NDArray[np.generic] = torch.from_numpy(host).pin_memory().numpy()
        return values

    def synchronize(self) -> None:
        """Wait for the device."""
        kind = self.device.type  # type: ignore[attr-defined]
        if kind != "cpu":
            getattr(torch, kind).synchronize()

    def memory(self) -> tuple[int, int] | None:
        """(free, total) bytes of a CUDA device."""
        if self.device.type != "cuda":  # type: ignore[attr-defined]
            return None
        free, total = torch.cuda.mem_get_info(self.device)
        return int(free), int(total)
