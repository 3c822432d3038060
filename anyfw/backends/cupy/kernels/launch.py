"""Launches on a GPU: NVRTC compiles the kernels at their first use, once for each dtype, and CuPy keeps them on disk.
Products are cuBLASLt's.

This module has never run on a GPU yet.
"""

import threading
from importlib.resources import files
from typing import Any

from anyfw.backends.cupy.cublaslt import load
from anyfw.backends.cupy.kernels.run import Grid
from anyfw.backends.cupy.products import Epilogue, LtProducts
from anyfw.core.arrays import Array

OPTIONS = ("--std=c++17",)
# The first file has what the others share.
_FILES = ("common", "elementwise", "rows", "linear", "gather", "normalize", "dropout", "update")
_REAL = {"float32": "float", "float64": "double"}


def source(dtype: str) -> str:
    """The text of all kernels for "float32" or "float64"."""
    folder = files("anyfw.backends.cupy.kernels") / "source"
    texts = [(folder / f"{name}.cu").read_text(encoding="utf-8") for name in _FILES]
    return "\n".join([f"#define real {_REAL[dtype]}", *texts])


class CudaLaunch:
    """Runs kernels on CuPy's current device and stream."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._modules: dict[str, Any] = {}
        self._functions: dict[tuple[str, str], Any] = {}

    def __call__(self, dtype: str, name: str, grid: Grid, block: Grid, *arguments: Any) -> None:
        """As `Launch`."""
        function = self._functions.get((dtype, name)) or self._load(dtype, name)
        # CuPy passes Python's ints and floats in 8 bytes each; a null pointer is such a number.
        function(grid, block, tuple([0 if argument is None else argument for argument in arguments]))

    def _load(self, dtype: str, name: str) -> Any:
        if dtype not in self._modules:
            self._modules[dtype] = self._cupy.RawModule(code=source(dtype), options=OPTIONS)
        function = self._functions[dtype, name] = self._modules[dtype].get_function(name)
        return function


class CudaProducts:
    """Products by cuBLASLt on the device of their arrays, in CuPy's current stream.

    Raises:
        OSError: there is no cuBLASLt.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy, self._library = cupy, load()
        self._devices: dict[int, LtProducts] = {}
        self._lock = threading.Lock()

    def on(self, device: int) -> LtProducts:
        """The products of a device."""
        with self._lock:
            if device not in self._devices:
                stream = self._cupy.cuda.get_current_stream
                self._devices[device] = LtProducts(
                    self._library, self._cupy, lambda x: int(x.data.ptr), lambda: int(stream().ptr)
                )
            return self._devices[device]

    def has(self, epilogue: Epilogue, dtype: str) -> bool:
        """As `Products`, on the current device."""
        return self.on(self._cupy.cuda.runtime.getDevice()).has(epilogue, dtype)

    def __call__(self, out: Array, a: Array, b: Array, **options: Any) -> bool:
        """As `Products`."""
        return self.on(out.device.id)(out, a, b, **options)
