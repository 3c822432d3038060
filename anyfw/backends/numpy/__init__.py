"""NumPy on the CPU: the backend that is always there."""

import logging
from functools import cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from anyfw.core import backend, blas_choice
from anyfw.core.arrays import Array
from anyfw.core.errors import UnknownNameError
from anyfw.ops.variants import fused, register

_log = logging.getLogger("anyfw")


class Backend(backend.Backend):
    """NumPy arrays; `xp` is `numpy` itself, which follows the standard since 2.1."""

    name = "numpy"
    package = "numpy"
    fix = "pip install 'numpy>=2.1'"

    def __init__(self, device: str | None = None) -> None:
        if device not in (None, "cpu"):
            raise UnknownNameError("device of numpy", device, self.devices())
        self.spec, self.device, self.xp = "numpy", "cpu", np
        keep_freed_memory()
        load_kernels()
        hint_at_kernels()

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        """The CPU."""
        return ("cpu",)

    @classmethod
    def version(cls) -> str:
        """NumPy's version."""
        return np.__version__

    def provenance(self) -> dict[str, str]:
        """NumPy's version, the kernels that stand in for the ops, and the BLAS with its kernels and threads."""
        from anyfw.backends.numpy.blas import blas

        found = blas()
        told = {
            "numpy": self.version(),
            "kernels": load_kernels(),
            "BLAS": found.version or found.name,
            "BLAS kernels": found.core,
            "BLAS threads": found.threads,
        }
        return {name: str(value) for name, value in told.items() if value is not None}

    def owns(self, x: object) -> bool:
        """Whether x is a NumPy array."""
        return isinstance(x, np.ndarray | np.generic)

    def to_numpy(self, x: Array) -> NDArray[np.generic]:
        """X itself."""
        return np.asarray(x)


@cache
def keep_freed_memory() -> None:
    """Let the C library keep what one step frees for the next.

    glibc hands the end of its heap back to the system when more than a limit is free there, and then every step pays
    for fresh pages: 560 page faults and a quarter of the time of a step of 64-512-512-1 at batch 256. The limit follows
    the largest block that was freed, up to 32 MiB, so that one such block, never touched, is enough.
    """
    np.empty((1 << 25) - (1 << 16), dtype=np.uint8)


@cache
def hint_at_kernels() -> None:
    """Say once that better kernels of BLAS could have been chosen before NumPy loaded, where that is so."""
    if blas_choice.wanted().core is None:
        return
    from anyfw.backends.numpy.blas import blas

    advice = blas().advice
    if advice is not None:
        _log.warning("%s", advice)


@cache
def load_kernels() -> str:
    """Put the faster variants in place, once: "reference" none, "plain" NumPy's own, "numba" those compiled, too.

    Raises:
        ConfigError: ANYFW_FUSED has another value.
    """
    choice = fused()
    if choice != "0":
        from anyfw.backends.numpy import kernels

        register(np.ndarray, kernels.VARIANTS)
    if choice != "1" or find_spec("numba") is None:
        return "reference" if choice == "0" else "plain"
    from anyfw.backends.numpy import kernels_numba

    register(np.ndarray, kernels_numba.VARIANTS)
    return "numba"
