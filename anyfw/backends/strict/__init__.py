"""array-api-strict: the standard and nothing else, for tests; its fake devices refuse to be mixed."""

import array_api_strict
import numpy as np
from numpy.typing import NDArray

from anyfw.core import backend
from anyfw.core.arrays import Array
from anyfw.core.errors import UnknownNameError


class Backend(backend.Backend):
    """Arrays of array-api-strict on one of its devices; "no_float64" acts like a device without float64."""

    name = "strict"
    package = "array-api-strict"
    fix = "pip install 'array-api-strict>=2.4'"

    def __init__(self, device: str | None = None) -> None:
        if device is not None and device not in self.devices():
            raise UnknownNameError("device of strict", device, self.devices())
        self.spec = f"strict:{device}" if device not in (None, "CPU_DEVICE") else "strict"
        self.device = array_api_strict.Device(device or "CPU_DEVICE")
        self.xp = array_api_strict

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        """The library's fake devices; those without int64 cannot hold labels and are left out."""
        info = array_api_strict.__array_namespace_info__()
        return tuple(str(d).split("'")[1] for d in info.devices() if "int64" in info.dtypes(device=d))

    @classmethod
    def version(cls) -> str:
        """The library's version."""
        return str(array_api_strict.__version__)

    @property
    def has_float64(self) -> bool:
        """Not on the device "no_float64"."""
        return "float64" in self.xp.__array_namespace_info__().dtypes(device=self.device)

    def owns(self, x: object) -> bool:
        """Whether x is an array of array-api-strict on this device."""
        return isinstance(x, type(self.xp.zeros(()))) and x.device == self.device

    def to_numpy(self, x: Array) -> NDArray[np.generic]:
        """A copy on the host: the library lets only its CPU device through."""
        return np.asarray(x.to_device(array_api_strict.Device("CPU_DEVICE")))
