"""CuPy on CUDA devices.

This module has never run on a GPU yet: its names and signatures are checked against CuPy without a driver.
"""

import logging
from collections.abc import Callable
from importlib.metadata import distributions
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfw.core import backend
from anyfw.core.arrays import Array, DType
from anyfw.core.errors import BackendError, UnknownNameError
from anyfw.core.uploads import Uploads
from anyfw.ops.variants import fused, register

_log = logging.getLogger("anyfw")


def _wheels() -> list[str]:
    # All packages that bring a module `cupy`.
    names = {str(found.metadata["Name"]).lower() for found in distributions()}
    return sorted(name for name in names if name == "cupy" or name.startswith(("cupy-cuda", "cupy-rocm")))


# One for all devices: variants are registered by the type of array.
_serving: list[Any] = []


def _serve(cupy: Any) -> Any:
    # Registers the kernels, and gives the products, or None where CuPy's own must do.
    from anyfw.backends.cupy.kernels import variants
    from anyfw.backends.cupy.kernels.launch import CudaLaunch, CudaProducts

    if not _serving:
        try:
            products = CudaProducts(cupy)
        except OSError as error:
            _log.warning("Products are cuBLAS's, and no steps are recorded: %s.", error)
            products = None
        register(cupy.ndarray, variants(CudaLaunch(cupy), products))
        _serving.append(products)
    return _serving[0]


class Backend(backend.Backend):
    """CuPy arrays on one CUDA device."""

    name = "cupy"
    package = "cupy"
    fix = "pip install 'anyfw[cuda12]' (or 'anyfw[cuda13]', the CUDA version that nvidia-smi shows)"

    def __init__(self, device: str | None = None) -> None:
        # Imported here, not above: `diagnose` must be able to speak of a CuPy that is missing or broken.
        import array_api_compat.cupy as cupy_namespace
        import cupy

        known = self.devices()
        if not known:
            raise BackendError(f"CuPy found no CUDA device. Fix: {self.advice(RuntimeError('no CUDA device'))}.")
        if (device or "0") not in known:
            raise UnknownNameError("device of cupy", device, known)
        self._cupy = cupy
        self.spec, self.device, self.xp = f"cupy:{device or 0}", cupy.cuda.Device(int(device or 0)), cupy_namespace
        # CuPy's functions work on the current device: it is that of the backend which was opened last.
        self.device.use()  # type: ignore[attr-defined]
        self._products = None
        if fused() != "0":
            self._products = _serve(cupy)
            self.joins = self._products is not None

    @property
    def records(self) -> bool:
        """Where products are cuBLASLt's: CuPy's own cannot be captured."""
        return self._products is not None

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph."""
        from anyfw.backends.cupy.graph import Graph

        return Graph(self._cupy, self.device, step) if self.records else step

    def pinned(self, host: NDArray[np.generic]) -> NDArray[np.generic]:
        """A page-locked copy."""
        import cupyx

        place: NDArray[np.generic] = cupyx.empty_pinned(host.shape, host.dtype)
        place[...] = host
        return place

    def uploads(self) -> Uploads:
        """Copies that run while the device computes."""
        from anyfw.backends.cupy.uploads import Uploads

        return Uploads(self._cupy, self.device)

    @property
    def precisions(self) -> tuple[str, ...]:
        """All three with cuBLASLt; only float32 without."""
        return ("float32",) if self._products is None else ("float32", "tf32", "bfloat16")

    def _multiply_in(self, precision: str) -> None:
        if self._products is not None:
            self._products.on(self.device.id).precision = precision  # type: ignore[attr-defined]

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        """The numbers of the CUDA devices, "0", "1", ..."""
        import cupy

        return tuple(str(i) for i in range(cupy.cuda.runtime.getDeviceCount()))

    @classmethod
    def version(cls) -> str:
        """CuPy's version."""
        import cupy

        return str(cupy.__version__)

    @classmethod
    def advice(cls, error: Exception) -> str:
        """The one-line fix, by the CuPy that is installed and by what the error says.

        Told apart: two CuPys, no driver, a driver older than CuPy's CUDA, no headers, no cuBLAS or another library.
        """
        wheels = _wheels()
        if len(wheels) > 1:
            return f"{' and '.join(wheels)} overwrite each other: pip uninstall -y {' '.join(wheels)}; then {cls.fix}"
        # The major version that this CuPy was built for is the one whose libraries it looks for.
        extra = "cuda13" if wheels == ["cupy-cuda13x"] else "cuda12"
        text = str(error).lower()
        if "insufficient" in text:
            other = f", or take the other CuPy: pip uninstall -y {wheels[0]}; {cls.fix}" if wheels else ""
            return (
                "no NVIDIA driver, or one older than this CuPy's CUDA: nvidia-smi shows the driver's CUDA; update it"
                + other
            )
        if "no cuda-capable device" in text or "no cuda device" in text or "libcuda.so" in text:
            return "install the NVIDIA driver (nvidia-smi must work), or set ANYFW_BACKEND=numpy"
        if "header" in text or "cannot open source file" in text or ".h:" in text:
            return f"CUDA's headers are missing: pip install 'anyfw[{extra}]' brings them with CuPy"
        if "cublas" in text or "nvrtc" in text or "cannot open shared object" in text:
            return f"CUDA's libraries are missing: pip install 'anyfw[{extra}]' brings them with CuPy"
        return cls.fix

    def owns(self, x: object) -> bool:
        """Whether x is a CuPy array on this device."""
        return isinstance(x, self._cupy.ndarray) and x.device == self.device

    def asarray(self, host: object, dtype: str | DType | None = None) -> Array:
        """Copy host data to the device."""
        values = np.asarray(host)
        if dtype is not None:
            values = values.astype(self.dtype_name(dtype), copy=False)
        with self.device:  # type: ignore[attr-defined]
            return self._cupy.asarray(values)

    def to_numpy(self, x: Array) -> NDArray[np.generic]:
        """A copy on the host; waits for the device."""
        values: NDArray[np.generic] = self._cupy.asnumpy(x)
        return values

    def synchronize(self) -> None:
        """Wait for the device."""
        self.device.synchronize()  # type: ignore[attr-defined]

    def memory(self) -> tuple[int, int] | None:
        """(free, total) bytes; blocks that the pool holds unused count as free."""
        with self.device:  # type: ignore[attr-defined]
            free, total = self._cupy.cuda.runtime.memGetInfo()
            return int(free + self._cupy.get_default_memory_pool().free_bytes()), int(total)
