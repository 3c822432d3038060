"""Which kernels NumPy's OpenBLAS is to use: chosen before NumPy loads, since afterwards it is too late.

Some builds of OpenBLAS run AVX2 kernels on processors that have AVX-512 and are not Intel's, AMD's Zen 5 among them.
OPENBLAS_CORETYPE names better ones. `ANYFW_BLAS=keep` leaves all as it is. Nothing here imports NumPy.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from anyfw.core.errors import ConfigError

CPUINFO = Path("/proc/cpuinfo")
SETTING, CORE = "OPENBLAS_CORETYPE", "SKYLAKEX"
# What those kernels are compiled for; with one of these missing they would crash.
FLAGS = ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl")


class Choice(NamedTuple):
    """What OPENBLAS_CORETYPE should be.

    Attributes:
        core: the value; None where it is better left alone.
        why: the reason, in words.
    """

    core: str | None
    why: str


_made: Choice | None = None


def cpuinfo() -> dict[str, str]:
    """The fields of the first core in /proc/cpuinfo; none where there is no such file or it cannot be read."""
    fields: dict[str, str] = {}
    try:
        with CPUINFO.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.strip():
                    break  # one core speaks for all
                key, _, value = line.partition(":")
                fields[key.strip()] = value.strip()
    except OSError:
        return {}
    return fields


def wanted() -> Choice:
    """What would be right for this processor, these settings.

    Raises:
        ConfigError: ANYFW_BLAS is neither "auto" nor "keep".
    """
    value = os.environ.get("ANYFW_BLAS", "").strip() or "auto"
    if value not in ("auto", "keep"):
        raise ConfigError(f"ANYFW_BLAS: expected one of auto, keep, got {value!r}.")
    if value == "keep":
        return Choice(None, "ANYFW_BLAS=keep")
    if SETTING in os.environ:
        return Choice(None, f"{SETTING}={os.environ[SETTING]} was set before")
    fields = cpuinfo()
    flags = fields.get("flags", "").split()
    missing = [flag for flag in FLAGS if flag not in flags]
    if not flags or "vendor_id" not in fields:
        return Choice(None, "the system does not tell of an x86 CPU and its flags")
    if missing:
        return Choice(
            None, "this CPU has no AVX-512" if "avx512f" in missing else f"this CPU lacks {', '.join(missing)}"
        )
    if fields["vendor_id"] == "GenuineIntel":
        return Choice(None, "OpenBLAS knows Intel's CPUs")
    return Choice(CORE, "this CPU has AVX-512 and is not Intel's")


def choose_kernels() -> None:
    """Set OPENBLAS_CORETYPE to what is wanted, for the command line, before NumPy loads; then it does nothing more.

    Raises:
        ConfigError: ANYFW_BLAS is neither "auto" nor "keep".
    """
    global _made
    choice = wanted()
    if "numpy" in sys.modules:
        return
    _made = choice
    if choice.core is not None:
        os.environ[SETTING] = choice.core


def story() -> str:
    """What the command line did to OPENBLAS_CORETYPE in this process and why, or why it did nothing.

    Raises:
        ConfigError: ANYFW_BLAS is neither "auto" nor "keep".
    """
    choice = _made or wanted()
    if choice.core is None:
        return f"left as it is: {choice.why}"
    if _made is None:
        return "left as it is: NumPy was loaded before the command line could choose"
    return f"{SETTING}={choice.core} by anyfw's command line: {choice.why}"
