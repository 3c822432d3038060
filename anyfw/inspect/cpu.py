"""The processor, as far as it matters to speed."""

import os
from dataclasses import dataclass

from anyfw.core.blas_choice import FLAGS, cpuinfo

_KNOWN = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve", "sve2")


@dataclass(frozen=True)
class Cpu:
    """The processor.

    Attributes:
        cores: logical ones that this process may use.
        simd: its vector instructions as far as they matter here; None where the system does not tell.
    """

    model: str | None
    cores: int
    simd: tuple[str, ...] | None
    avx512: bool | None


def cpu() -> Cpu:
    """The processor, from /proc/cpuinfo where there is one."""
    fields = cpuinfo()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    model = fields.get("model name") or fields.get("Processor")
    simd = tuple(name for name in _KNOWN if name in flags) if flags else None
    return Cpu(model, usable_cores(), simd, flags >= set(FLAGS) if flags else None)


def usable_cores() -> int:
    """How many this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
