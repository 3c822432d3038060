"""Which BLAS NumPy's matrix products run on, the kernels that it chose for this CPU, and its threads.

NumPy tells what it was built with; the loaded library itself is asked for the rest, through ctypes.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from anyfw.core.blas_choice import CORE, SETTING, wanted

# Names that some builds of OpenBLAS put around its functions: SciPy's wheels, 64-bit integers, both, neither.
_AFFIXES = tuple((prefix, suffix) for prefix in ("scipy_", "") for suffix in ("64_", "_64", ""))
_THREADING = {0: "none", 1: "pthreads", 2: "OpenMP"}
_AVX512_CORES = ("skylakex", "cooperlake", "sapphirerapids")

MAPS = Path("/proc/self/maps")


@dataclass(frozen=True)
class Blas:
    """What was found out; None where it could not be, with the reason in `problems`.

    Attributes:
        name, build_version: of the library that NumPy was built with.
        library: the file that is loaded.
        version: of that file, as it says itself.
        core: the CPU type whose kernels it uses, such as "Haswell" or "SkylakeX".
        threads: how many it would use now.
        threading: "pthreads", "OpenMP" or "none".
        advice: a way to more speed, where one is known.
        problems: each probe that failed, and why.
    """

    name: str | None
    build_version: str | None
    library: str | None
    version: str | None
    core: str | None
    threads: int | None
    threading: str | None
    advice: str | None
    problems: tuple[str, ...]


def blas() -> Blas:
    """NumPy's BLAS; a probe that fails is told in `problems`, never raised."""
    problems: list[str] = []
    name, build_version = _probe(problems, "numpy.show_config", _build) or (None, None)
    found = _probe(problems, "the loaded library", lambda: _ask(name)) or {}
    core = found.get("core")
    return Blas(
        name,
        build_version,
        found.get("library"),
        found.get("version"),
        core,
        found.get("threads"),
        found.get("threading"),
        _probe(problems, "its kernels", lambda: _advice(core)),
        tuple(problems),
    )


def _advice(core: str | None) -> str | None:
    choice = wanted()
    if choice.core is None or core is None or core.lower() in _AVX512_CORES:
        return None
    return (
        f"{choice.why}, but OpenBLAS uses its {core} kernels without it: {SETTING}={CORE} before Python starts may be "
        "faster (ANYFW_BLAS=keep: not to be told)"
    )


def _probe(problems: list[str], what: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except Exception as error:  # each platform lacks something else; doctor tells it and goes on
        problems.append(f"{what}: {type(error).__name__}: {error}")
        return None


def _build() -> tuple[str, str]:
    config: Any = np.show_config(mode="dicts")
    built = config["Build Dependencies"]["blas"]
    return str(built["name"]), str(built.get("version", "unknown"))


def _ask(name: str | None) -> dict[str, Any]:
    # The library is looked for once; its threads may be others each time.
    found = _library()
    if found is None:
        raise LookupError(f"no loaded library of {name or 'a BLAS'} that could be asked was found")
    path, library, ask = found
    return {"library": str(path), **(ask(library) or {})}


@cache
def _library() -> tuple[Path, ctypes.CDLL, Callable[[ctypes.CDLL], dict[str, Any] | None]] | None:
    # A matrix product, so that a library that loads late is there to be asked.
    np.ones((2, 2)) @ np.ones((2, 2))
    for path in _libraries():
        library = _loaded(path)
        if library is not None:
            for ask in (_openblas, _mkl, _blis):
                if ask(library) is not None:
                    return path, library, ask
    return None


def _libraries() -> Iterator[Path]:
    """Files that may be NumPy's BLAS, those beside NumPy first: SciPy and others bring their own."""
    package = Path(np.__file__).parent
    beside = [package.parent / "numpy.libs", package / ".dylibs", package / ".libs"]
    seen: set[Path] = set()
    for folder in beside:
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if _named_blas(path):
                    seen.add(path)
                    yield path
    for path in _mapped():
        if path not in seen:
            seen.add(path)
            yield path
    for folder in (Path(sys.prefix, "lib"), Path(sys.prefix, "Library", "bin")):
        if folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if _named_blas(path) and path not in seen)


def _mapped() -> list[Path]:
    if not MAPS.exists():
        return []
    lines = MAPS.read_text(errors="replace").splitlines()
    paths = {line.split(maxsplit=5)[5]: None for line in lines if len(line.split(maxsplit=5)) == 6}
    return [Path(path) for path in paths if path.startswith("/") and _named_blas(Path(path))]


def _named_blas(path: Path) -> bool:
    name = path.name.lower()
    library = any(part in name for part in (".so", ".dylib", ".dll"))
    return library and any(part in name for part in ("openblas", "libblas", "mkl_rt", "blis", "flexiblas"))


def _loaded(path: Path) -> ctypes.CDLL | None:
    """The library where the process has loaded it; a second copy would tell of itself, not of NumPy's."""
    try:
        return ctypes.CDLL(str(path), mode=getattr(os, "RTLD_NOLOAD", 0) | getattr(os, "RTLD_LAZY", 0))
    except OSError:
        return None


def _openblas(library: ctypes.CDLL) -> dict[str, Any] | None:
    for prefix, suffix in _AFFIXES:
        found: dict[str, Any] = {}
        for key, function, kind in (
            ("core", "corename", ctypes.c_char_p),
            ("config", "config", ctypes.c_char_p),
            ("threads", "num_threads", ctypes.c_int),
            ("threading", "parallel", ctypes.c_int),
        ):
            value = _call(library, f"{prefix}openblas_get_{function}{suffix}", kind)
            found[key] = value.decode(errors="replace") if isinstance(value, bytes) else value
        if any(value is not None for value in found.values()):
            words = (found.pop("config") or "").split()
            found["version"] = " ".join(words[:2]) or None
            found["threading"] = _THREADING.get(found["threading"])
            return found
    return None


def _mkl(library: ctypes.CDLL) -> dict[str, Any] | None:
    threads = _call(library, "MKL_Get_Max_Threads", ctypes.c_int)
    return None if threads is None else {"version": "MKL", "threads": threads}


def _blis(library: ctypes.CDLL) -> dict[str, Any] | None:
    version = _call(library, "bli_info_get_version_str", ctypes.c_char_p)
    if version is None:
        return None
    threads = _call(library, "bli_thread_get_num_threads", ctypes.c_int)
    return {"version": f"BLIS {version.decode(errors='replace')}", "threads": threads}


def _call(library: ctypes.CDLL, name: str, kind: Any) -> Any:
    try:
        function = getattr(library, name)
    except AttributeError:
        return None
    function.restype, function.argtypes = kind, []
    return function()
