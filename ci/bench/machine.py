"""The machine that a measurement was made on, so that its figures can be read later."""

import os
import platform
import sys
from dataclasses import asdict
from datetime import date
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("anyfw", "numpy", "numba", "torch", "jax", "jaxlib", "keras", "thinc", "scikit-learn")


def describe() -> dict[str, object]:
    """Processor, its vector instructions, the BLAS with its kernels and threads, versions, the date and the command."""
    from anyfw.backends.numpy.blas import blas
    from anyfw.inspect.cpu import cpu

    processor, library = cpu(), blas()
    return {
        "processor": processor.model,
        "cores": processor.cores,
        "instructions": list(processor.simd or ()),
        "blas": {key: value for key, value in asdict(library).items() if key in ("version", "core", "threads")},
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: installed_version(name) for name in LIBRARIES},
        "environment": {name: value for name, value in os.environ.items() if name.startswith(("OPENBLAS_", "ANYFW_F"))},
        "date": date.today().isoformat(),
        "command": " ".join(["python", *sys.argv]),
    }


def headline(machine: dict) -> str:
    """The description in one line."""
    found = machine["blas"]
    return (
        f"{machine['processor']}, {machine['cores']} cores; {found['version']}, {found['core']} kernels, "
        f"{found['threads']} threads; {machine['date']}"
    )


def installed_version(name: str) -> str | None:
    """None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
