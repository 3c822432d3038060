"""`doctor`: which backends really work here, what would be chosen and why, and how to mend what does not work."""

import os
import platform
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import anyfw
from anyfw.backends.numpy import load_kernels
from anyfw.backends.numpy.blas import Blas, blas
from anyfw.core import blas_choice
from anyfw.core.backend import BUILT_IN, INSTALL, Diagnosis, backend_class, backend_names, choose
from anyfw.data.mnist import cache_folder
from anyfw.inspect.cpu import Cpu, cpu

PACKAGES = ("array-api-compat", "safetensors", "rich", "tyro", "matplotlib", "numba", "threadpoolctl")
SETTINGS = (
    "ANYFW_BACKEND",
    "ANYFW_FUSED",
    "ANYFW_BLAS",
    "ANYFW_DATA_DIR",
    "ANYFW_MAX_EPOCHS",
    "ANYFW_MAX_STEPS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "GOTO_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "CUDA_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUPY_TF32",
    "CUPY_GPU_MEMORY_LIMIT",
    "ANYFW_MATMUL",
)
_KERNELS = {
    "numba": "compiled by numba, where there is one for an op (ANYFW_FUSED=1)",
    "plain": "NumPy's own; pip install 'anyfw[fast]' adds compiled ones",
    "reference": "the reference implementations (ANYFW_FUSED=0)",
}
_WIDTH = 96


@dataclass(frozen=True)
class Choice:
    """What `get_backend()` would give now.

    Attributes:
        spec: None where the setting that decides asks for what cannot work; then `problem` says why.
        why: the setting that decided.
    """

    spec: str | None
    why: str
    problem: str | None
    fix: str | None


@dataclass(frozen=True)
class Folder:
    """A folder that anyfw reads or writes."""

    path: str | None
    exists: bool
    writable: bool
    problem: str | None


@dataclass(frozen=True)
class Report:
    """What doctor found; `str()` is for people, `as_dict()` for JSON.

    Attributes:
        blas_choice: what the command line did to OPENBLAS_CORETYPE, and why.
        kernels: what NumPy's ops run: "reference", "plain" (NumPy's own, faster) or "numba" (compiled).
        versions: of anyfw, Python, NumPy and the packages that anyfw can use; None where one is missing.
        settings: the environment variables that matter, None where unset.
    """

    choice: Choice
    backends: tuple[Diagnosis, ...]
    platform: str
    versions: dict[str, str | None]
    cpu: Cpu
    blas: Blas
    blas_choice: str
    kernels: str
    settings: dict[str, str | None]
    data_folder: Folder
    cache_folder: Folder

    @property
    def ok(self) -> bool:
        """Whether anyfw can run here as it is set up."""
        return self.choice.problem is None

    def fixes(self) -> Iterator[tuple[str, str]]:
        """(what does not work, the one line that mends it): what was asked for first, then what is just not there."""
        if self.choice.problem is not None:
            yield self.choice.why, self.choice.fix or self.choice.problem
        for name, folder in (("ANYFW_DATA_DIR", self.data_folder), ("cache", self.cache_folder)):
            if folder.problem is not None:
                yield name, folder.problem
        threads = self.blas.threads
        if threads is not None and threads > self.cpu.cores:
            advice = f"{threads} threads share {self.cpu.cores} cores: OPENBLAS_NUM_THREADS={self.cpu.cores}"
            yield "BLAS threads", advice
        if self.blas.advice is not None:
            yield "BLAS kernels", self.blas.advice
        for diagnosis in self.backends:
            if not diagnosis.works and diagnosis.fix:
                yield diagnosis.name, diagnosis.fix

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        fixes = [{"what": what, "fix": fix} for what, fix in self.fixes()]
        return {"ok": self.ok, **asdict(self), "fixes": fixes}

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def doctor() -> Report:
    """Look at every backend, at NumPy's BLAS and at the settings; nothing that is broken makes it fail."""
    return Report(
        _choice(),
        tuple(_diagnose(name) for name in _names()),
        f"{platform.platform()} ({platform.machine()})",
        {
            "anyfw": anyfw.__version__,
            "python": f"{platform.python_version()} ({platform.python_implementation()})",
            "numpy": np.__version__,
            **{name: _version(name) for name in PACKAGES},
        },
        cpu(),
        blas(),
        _softly(blas_choice.story),
        _softly(load_kernels),
        {name: os.environ.get(name) for name in SETTINGS},
        _data_folder(),
        _cache_folder(),
    )


def _softly(find: Callable[[], str]) -> str:
    try:
        return find()
    except anyfw.AnyfwError as error:
        return str(error)


def _choice() -> Choice:
    setting = os.environ.get("ANYFW_BACKEND", "").strip()
    try:
        backend, why = choose()
    except (Exception, SystemExit) as error:  # a third party's backend may raise anything
        problem, _, fix = _words(error).partition(" Fix: ")
        why = f"ANYFW_BACKEND={setting}" if setting else "auto"
        return Choice(None, why, problem, fix or "ANYFW_BACKEND=numpy always works")
    return Choice(backend.spec, why, None, None)


def _names() -> tuple[str, ...]:
    try:
        return backend_names()
    except Exception:  # another package's damaged metadata: our own backends are still there
        return BUILT_IN


def _diagnose(name: str) -> Diagnosis:
    try:
        diagnosis: object = backend_class(name).diagnose()
    except (Exception, SystemExit) as error:  # a third party's backend may raise anything
        cause = error.__cause__
        if name in BUILT_IN and isinstance(cause, ModuleNotFoundError):
            return Diagnosis(name, False, None, (), False, f"{cause.name} is not installed", INSTALL[name])
        fix = INSTALL.get(name) or f"update or uninstall the package that publishes the backend {name!r}"
        return Diagnosis(name, True, None, (), False, _words(error), fix)
    if not isinstance(diagnosis, Diagnosis):
        problem = f"its diagnose() gave {type(diagnosis).__name__}, not a Diagnosis"
        return Diagnosis(name, True, None, (), False, problem, f"update the package that publishes {name!r}")
    return diagnosis


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, anyfw.AnyfwError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _data_folder() -> Folder:
    given = os.environ.get("ANYFW_DATA_DIR", "")
    if not given:
        return Folder(None, False, False, None)
    path = Path(given)
    problem = None if path.is_dir() else f"{path} is no folder: create it, or unset ANYFW_DATA_DIR"
    return Folder(str(path), path.is_dir(), os.access(path, os.W_OK), problem)


def _cache_folder() -> Folder:
    try:
        path = cache_folder()
    except anyfw.AnyfwError as error:
        return Folder(None, False, False, str(error))
    # What does not exist yet can be made where the nearest folder above it can be written.
    nearest = next((folder for folder in (path, *path.parents) if folder.exists()), path)
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    problem = None if writable else f"{path} cannot be written: name another folder in XDG_CACHE_HOME"
    return Folder(str(path), path.is_dir(), writable, problem)


def _lines(report: Report) -> Iterator[str]:
    choice = report.choice
    yield from _entry("backend", f"{choice.spec}, by {choice.why}" if choice.spec else f"none: {choice.problem}")
    if choice.spec is None:
        yield from _entry("", f"asked for by {choice.why}")
    yield ""
    yield "Backends"
    for one in report.backends:
        state = "works" if one.works else "does not work" if one.installed else "not installed"
        devices = f", devices: {', '.join(one.devices)}" if one.devices else ""
        ran = "; a kernel and a matrix product ran" if one.works else ""
        yield from _entry(f"  {one.name}", f"{state}{f', {one.version}' if one.version else ''}{devices}{ran}")
        if one.problem and one.installed:
            yield from _entry("", one.problem)
    yield ""
    yield "Machine"
    versions = report.versions
    yield from _entry("  anyfw", f"{versions['anyfw']}, Python {versions['python']}, NumPy {versions['numpy']}")
    others = (f"{name} {found or '-'}" for name, found in versions.items() if name not in ("anyfw", "python", "numpy"))
    yield from _entry("  packages", ", ".join(others))
    yield from _entry("  platform", report.platform)
    simd = ", ".join(report.cpu.simd) if report.cpu.simd else "instruction sets unknown"
    yield from _entry("  CPU", f"{report.cpu.model or 'unknown'}, {report.cpu.cores} usable cores, {simd}")
    yield from _entry("  BLAS", _blas_line(report.blas))
    if report.blas.library:
        yield from _entry("", report.blas.library)
    for problem in report.blas.problems:
        yield from _entry("", problem)
    yield from _entry(
        "", f"OPENBLAS_CORETYPE {report.blas_choice}" if report.blas_choice.startswith("left") else report.blas_choice
    )
    yield from _entry("  kernels", _KERNELS.get(report.kernels, report.kernels))
    yield ""
    yield "Settings"
    given = {name: value for name, value in report.settings.items() if value is not None}
    for name, value in given.items():
        yield from _entry(f"  {name}", repr(value) if value != value.strip() or not value else value, 26)
    unset = [name for name in report.settings if name not in given]
    yield from _entry("  not set", ", ".join(unset))
    yield from _entry("  data", report.data_folder.path or "ANYFW_DATA_DIR is not set")
    cache = report.cache_folder
    state = "" if cache.exists else " (made when first needed)" if cache.writable else ""
    yield from _entry("  cache", f"{cache.path or 'none'}{state}")
    fixes = list(report.fixes())
    if fixes:
        yield ""
        yield "To mend"
        for what, fix in fixes:
            yield from _entry(f"  {what}", fix)


def _blas_line(found: Blas) -> str:
    parts = [found.version or f"{found.name or 'unknown'} {found.build_version or ''}".strip()]
    parts.append(f"{found.core} kernels" if found.core else "kernels unknown")
    threads = f"{found.threads} threads" if found.threads is not None else "threads unknown"
    parts.append(threads + (f" ({found.threading})" if found.threading else ""))
    return ", ".join(parts)


def _entry(label: str, text: str, column: int = 14) -> list[str]:
    first = label.ljust(column) if len(label) < column else f"{label}  "
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * column,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
