"""NumPy on the CPU: the backend that is always there."""

from functools import cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from anyfw.core import backend
from anyfw.core.arrays import Array
from anyfw.core.errors import UnknownNameError
from anyfw.ops.variants import fused, register


class Backend(backend.Backend):
    """NumPy arrays; `xp` is `numpy` itself, which follows the standard since 2.1."""

    name = "numpy"
    package = "numpy"
    fix = "pip install 'numpy>=2.1'"

    def __init__(self, device: str | None = None) -> None:
        if device not in (None, "cpu"):
            raise UnknownNameError("device of numpy", device, self.devices())
        self.spec, self.device, self.xp = "numpy", "cpu", np
        load_kernels()

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        """The CPU."""
        return ("cpu",)

    @classmethod
    def version(cls) -> str:
        """NumPy's version."""
        return np.__version__

    def owns(self, x: object) -> bool:
        """Whether x is a NumPy array."""
        return isinstance(x, np.ndarray | np.generic)

    def to_numpy(self, x: Array) -> NDArray[np.generic]:
        """X itself."""
        return np.asarray(x)


@cache
def load_kernels() -> str:
    """Put the faster variants in place, once: "0" none, "plain" NumPy's own, "1" those compiled by numba, too.

    Raises:
        ConfigError: ANYFW_FUSED has another value.
    """
    choice = fused()
    if choice != "0":
        from anyfw.backends.numpy import kernels

        register(np.ndarray, kernels.VARIANTS)
    if choice != "1" or find_spec("numba") is None:
        return "0" if choice == "0" else "plain"
    from anyfw.backends.numpy import kernels_numba

    register(np.ndarray, kernels_numba.VARIANTS)
    return "1"
