"""Which array library and which device: the `Backend` record and how one is chosen.

Order: explicit argument > `use_backend` > the environment variable ANYFW_BACKEND > "auto".
"""

import importlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from anyfw.core.arrays import Array, DType, Namespace
from anyfw.core.errors import AnyfwError, BackendError, UnknownNameError
from anyfw.core.uploads import Uploads

BUILT_IN = ("numpy", "cupy", "torch", "strict")
# How to get the library of a backend whose module imports it at once, and so cannot say it itself.
INSTALL = {
    "numpy": "pip install 'numpy>=2.1'",
    "cupy": "pip install 'anyfw[cuda12]'",
    "torch": "pip install 'anyfw[torch]'",
    "strict": "pip install 'array-api-strict>=2.4'",
}
ENTRY_POINTS = "anyfw.backends"

_log = logging.getLogger("anyfw")
_scoped: ContextVar["Backend | None"] = ContextVar("anyfw_backend", default=None)


@dataclass(frozen=True)
class Diagnosis:
    """What `anyfw doctor` tells of a backend."""

    name: str
    installed: bool
    version: str | None
    devices: tuple[str, ...]
    works: bool
    problem: str | None
    fix: str | None


class Backend(ABC):
    """One array library on one device.

    A backend of your own subclasses this, sets `name` and `package`, and is published under the entry-point group
    "anyfw.backends" by its name.

    Attributes:
        name: as in ANYFW_BACKEND.
        spec: name and device as a user writes them, "cupy:1".
        device: the device object of the library.
        xp: the namespace that follows the Array API standard.
        joins: whether there are kernels for a Linear and its activation together, so that containers ask for them.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    fix: ClassVar[str]

    spec: str
    device: object
    xp: Namespace
    joins = False
    _matmul = "float32"

    @abstractmethod
    def __init__(self, device: str | None = None) -> None:
        """Open the device of that name, or the library's default one."""

    @classmethod
    @abstractmethod
    def devices(cls) -> tuple[str, ...]:
        """The names of the devices that can be opened."""

    @abstractmethod
    def owns(self, x: object) -> bool:
        """Whether x is an array of this library on this device."""

    @abstractmethod
    def to_numpy(self, x: Array) -> NDArray[np.generic]:
        """Copy x to the host; on a CPU it may be a view of the same memory."""

    def asarray(self, host: object, dtype: str | DType | None = None) -> Array:
        """Move host data to the device; on a CPU the result may share the host array's memory.

        Args:
            host: anything that `numpy.asarray` takes.
            dtype: a name such as "float32"; None keeps the dtype of the host array.
        """
        values = np.asarray(host)
        if dtype is not None:
            # On the host: a device without float64 could not take a float64 array even to make it float32.
            values = values.astype(self.dtype_name(dtype), copy=False)
        return self.xp.asarray(values, device=self.device)

    def dtype(self, name: str) -> DType:
        """The library's dtype of that name.

        Raises:
            UnknownNameError: no such dtype.
            BackendError: the device does not have it.
        """
        known = ("float32", "float64", "int32", "int64", "uint8", "bool")
        if name not in known:
            raise UnknownNameError("dtype", name, known)
        if name == "float64" and not self.has_float64:
            raise BackendError(f"{self.spec} has no float64. Use dtype='float32'.")
        return getattr(self.xp, name)

    @staticmethod
    def dtype_name(dtype: str | DType) -> str:
        """The standard's name of a dtype object of any library."""
        return dtype if isinstance(dtype, str) else str(np.dtype(str(dtype).rpartition(".")[2]))

    @property
    def matmul(self) -> str:
        """In which precision matrix products of float32 multiply: "float32" or, where the device has it, another.

        "tf32" keeps 10 bits of each factor and "bfloat16" 7, on tensor cores that are many times faster. Sums, arrays,
        weights and their updates stay float32. The environment variable ANYFW_MATMUL sets it where a backend is opened.

        Raises:
            UnknownNameError: assigned what is none of `precisions`.
        """
        return self._matmul

    @matmul.setter
    def matmul(self, precision: str) -> None:
        if precision not in self.precisions:
            raise UnknownNameError(f"matmul precision of {self.spec}", precision, self.precisions)
        self._matmul = precision
        self._multiply_in(precision)

    @property
    def precisions(self) -> tuple[str, ...]:
        """What `matmul` may be."""
        return ("float32",)

    def _multiply_in(self, precision: str) -> None:  # noqa: B027 - most have nothing to be told
        """Tell the library."""

    @property
    def records(self) -> bool:
        """Whether `capture` makes recordings that cost less than what they repeat."""
        return False

    @property
    def has_float64(self) -> bool:
        """Whether the device computes in float64."""
        return True

    def synchronize(self) -> None:  # noqa: B027 - most backends have nothing to wait for
        """Wait until all work that was given to the device is done."""

    def memory(self) -> tuple[int, int] | None:
        """(free, total) bytes of the device, or None where the library does not tell."""
        return None

    def provenance(self) -> dict[str, str]:
        """What decides the last bits of a result here, by name: versions, kernels, threads; kept in checkpoints."""
        return {self.package: self.version(), **({} if self.matmul == "float32" else {"matmul": self.matmul})}

    def pinned(self, host: NDArray[np.generic]) -> NDArray[np.generic]:
        """A host array of the same values in memory that the device reads fastest."""
        return host

    def uploads(self) -> Uploads:
        """What moves batch after batch to the device."""
        return Uploads(self)

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """What does `step` at each call: `step` itself or, where the device `records`, soon a replay of it.

        A replay repeats the same work on the same arrays and runs no Python. A call raises RecordingError, with nothing
        done, where the step asks for what cannot be recorded, as a number on the host.
        """
        return step

    @classmethod
    def available(cls) -> bool:
        """Whether a kernel and a matrix product really run on the default device."""
        return cls.diagnose().works

    @classmethod
    def diagnose(cls) -> Diagnosis:
        """What is installed, what runs, and the one-line fix of what does not."""
        try:
            installed = find_spec(cls.name if cls.name != "strict" else "array_api_strict") is not None
        except (ImportError, ValueError):
            installed = False
        if not installed:
            return Diagnosis(cls.name, False, None, (), False, f"{cls.package} is not installed", cls.fix)
        version: str | None = None
        devices: tuple[str, ...] = ()
        try:
            version = cls.version()
            devices = cls.devices()
            cls().probe()
        except Exception as error:  # a broken driver raises anything; doctor must tell it, not die of it
            return Diagnosis(cls.name, True, version, devices, False, _first_line(error), cls.advice(error))
        return Diagnosis(cls.name, True, version, devices, True, None, None)

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """The version of the array library."""

    @classmethod
    def advice(cls, error: Exception) -> str:  # noqa: ARG003 - a backend with several causes looks at it
        """The one-line fix for this error."""
        return cls.fix

    def probe(self) -> None:
        """Run a kernel and a matrix product, and check what they give.

        Raises:
            BackendError: they ran and gave a wrong result.
        """
        x = self.asarray([[1.0, 2.0], [3.0, 4.0]], "float32")
        if self.to_numpy((x + 1.0) @ x).tolist() != [[11.0, 16.0], [19.0, 28.0]]:
            raise BackendError(f"{self.spec} computes a wrong matrix product.")

    def __repr__(self) -> str:
        return f"<Backend {self.spec}>"

    def __copy__(self) -> "Backend":
        return self

    def __deepcopy__(self, memo: object) -> "Backend":
        return self

    def __reduce__(self) -> tuple[Callable[[str], "Backend"], tuple[str]]:
        return get_backend, (self.spec,)


def get_backend(spec: "str | Backend | None" = None) -> Backend:
    """The backend for a spec such as "numpy", "cupy:1", "torch" (= "torch:cpu"), "strict:device1" or "auto".

    A `Backend` of your own is handed back, or the one of its class and spec that was in use before.
    Without a spec: `use_backend`, then ANYFW_BACKEND, then "auto" = cupy where a CUDA device really works, else numpy.

    Raises:
        UnknownNameError: no such backend or device; the nearest known one is named.
        BackendError: the backend was asked for by name and cannot work; the message has the one-line fix. Or an object
            was given whose `spec` is that of a backend of another class.
    """
    return choose(spec)[0]


def choose(spec: "str | Backend | None" = None) -> tuple[Backend, str]:
    """As `get_backend`, with the setting that decided."""
    if isinstance(spec, Backend):
        return _known(spec), "explicit argument"
    if spec is not None:
        return _open(spec), f"explicit argument {spec!r}"
    scoped = _scoped.get()
    if scoped is not None:
        return scoped, f"use_backend({scoped.spec!r})"
    environment = os.environ.get("ANYFW_BACKEND", "").strip()
    if environment:
        return _open(environment), f"ANYFW_BACKEND={environment}"
    backend, why = _auto()
    return backend, f"auto: {why}"


@contextmanager
def use_backend(spec: str | Backend) -> Iterator[Backend]:
    """Within the block, `spec` is the default backend: it wins over ANYFW_BACKEND."""
    backend = get_backend(spec)
    token = _scoped.set(backend)
    try:
        yield backend
    finally:
        _scoped.reset(token)


def backend_of(x: Array) -> Backend | None:
    """The opened backend that owns x, or None; numpy, where values wait to be placed, is opened for its arrays."""
    if isinstance(x, np.ndarray | np.generic):
        return _open("numpy")
    return next((backend for backend in tuple(_opened.values()) if backend.owns(x)), None)


def backend_class(name: str) -> type[Backend]:
    """The class of a backend, our own or a third party's.

    Raises:
        UnknownNameError: no such backend.
        BackendError: its array library cannot be imported.
    """
    if name in BUILT_IN:
        try:
            found = importlib.import_module(f"anyfw.backends.{name}").Backend
        except ImportError as error:
            raise BackendError(f"Backend '{name}' cannot work: {_first_line(error)}. Fix: {INSTALL[name]}") from error
    else:
        from importlib.metadata import entry_points

        others = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
        if name not in others:
            raise UnknownNameError("backend", name, ("auto", *BUILT_IN, *others))
        found = others[name].load()
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise BackendError(f"The entry point {name!r} of {ENTRY_POINTS} is no subclass of anyfw.Backend: {found!r}")
    return found


def backend_names() -> tuple[str, ...]:
    """All backends that can be named, third parties' included."""
    from importlib.metadata import entry_points

    return (*BUILT_IN, *sorted({point.name for point in entry_points(group=ENTRY_POINTS)} - set(BUILT_IN)))


_opened: dict[str, Backend] = {}
# Called with each backend that is opened.
on_open: list[Callable[[Backend], None]] = []


def _open(spec: str) -> Backend:
    if spec == "auto":
        return _auto()[0]
    if spec in _opened:
        return _opened[spec]
    name, _, device = spec.partition(":")
    kind = backend_class(name)
    try:
        backend = kind(device or None)
    except AnyfwError:
        raise
    except Exception as error:
        raise BackendError(f"Backend '{spec}' cannot work: {_first_line(error)}. Fix: {kind.advice(error)}") from error
    # "torch" and "torch:cpu" are one backend: one object.
    _opened[spec] = _known(backend)
    return _opened[spec]


def _known(backend: Backend) -> Backend:
    # An array is taken to the host by the backend that owns it, so each backend in use must be among the opened ones,
    # also one that a user made instead of naming it.
    found = _opened.get(backend.spec)
    if found is None:
        _set_precision(backend)
        _opened[backend.spec] = found = backend
        for listener in on_open:
            listener(backend)
    elif type(found) is not type(backend):
        raise BackendError(
            f"Backend '{backend.spec}': expected one backend of this spec, got a {type(backend).__qualname__} beside a "
            f"{type(found).__qualname__}. Give your own another `spec`."
        )
    return found


def _set_precision(backend: Backend) -> None:
    precision = os.environ.get("ANYFW_MATMUL", "").strip()
    if precision and len(backend.precisions) > 1:
        backend.matmul = precision
    elif precision not in ("", *backend.precisions):
        _log.warning("ANYFW_MATMUL=%s has no effect on %s, which multiplies in float32.", precision, backend.spec)


@cache
def _auto() -> tuple[Backend, str]:
    diagnosis = backend_class("cupy").diagnose()
    if diagnosis.works:
        backend, why = _open("cupy"), f"a CUDA device works ({', '.join(diagnosis.devices)})"
        _log.info("anyfw uses %s: %s", backend.spec, why)
    elif diagnosis.installed:
        backend, why = _open("numpy"), f"cupy is installed and does not work: {diagnosis.problem}"
        _log.warning("anyfw uses the CPU: %s. Fix: %s", why, diagnosis.fix)
    else:
        backend, why = _open("numpy"), "cupy is not installed"
        _log.info("anyfw uses %s: %s", backend.spec, why)
    return backend, why


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if any(map(str.isalnum, line))]
    # CuPy frames what it has to say with rules and advice, and names the cause at the end.
    if "Original error:" in lines[:-1]:
        return lines[lines.index("Original error:") + 1]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
