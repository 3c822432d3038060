"""Copies between host and device, and numbers that are read from it, counted with the lines that cause them.

On the CPU of NumPy there is nothing to count: host and device are one. The arrays of array-api-strict and of PyTorch
stand for a device's, so that a test on any machine finds what would make a GPU wait.
"""

import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np

from anyfw.core import backend as backends
from anyfw.core.backend import Backend
from anyfw.core.errors import ConfigError, TransferError

P = ParamSpec("P")
R = TypeVar("R")
Kind = Literal["to device", "to host", "read"]

_log = logging.getLogger("anyfw")

# What of an array brings numbers to the host: one at a time, or all.
_READS = ("__float__", "__int__", "__bool__", "__index__", "__complex__", "item")
_COPIES = ("tolist", "__array__", "get", "cpu", "numpy")
# Frames of these are no causes: they do what somebody asked for.
_HERE = Path(__file__).parents[1]
_OURS = (str(_HERE / "core"), str(_HERE / "backends"))
_LIBRARIES = ("array_api_compat", "array_api_strict", "cupy", "torch", "numpy")


@dataclass(frozen=True)
class Transfer:
    """One copy, or one number read.

    Attributes:
        kind: "to device", "to host" or "read", of one number.
        how: the function.
        where: "file:line in function" of the code that asked for it.
        bytes: how many.
        in_step: whether it happened within a step of a `Trainer`.
    """

    kind: Kind
    how: str
    where: str
    bytes: int
    in_step: bool


@dataclass
class Audit:
    """What `audit` has seen so far; print it.

    Attributes:
        transfers: in their order, of all threads.
    """

    transfers: list[Transfer] = field(default_factory=list)

    def count(self, kind: Kind | None = None, *, in_step: bool | None = None) -> int:
        """How many of a kind, or of all; within steps, outside of them, or both."""
        return sum(kind in (None, one.kind) and (in_step is None or one.in_step == in_step) for one in self.transfers)

    def __str__(self) -> str:
        kinds: tuple[Kind, ...] = ("to device", "to host", "read")
        lines = [", ".join(f"{self.count(kind)} {kind}" for kind in kinds) + f"; {self.count(in_step=True)} in steps"]
        sites = Counter((one.kind, one.how, one.where, one.in_step) for one in self.transfers)
        for (kind, how, where, in_step), n in sites.most_common():
            lines.append(f"{n:6}  {kind:9}  {how:12}  {where}{'  IN A STEP' if in_step else ''}")
        return "\n".join(lines)


class _Thread(threading.local):
    in_step = False
    # Within a transfer: what it does itself is no other one.
    busy = False


_thread = _Thread()
_listeners: list[Callable[[Transfer], None]] = []
# Held while arrays' classes are changed.
_lock = threading.RLock()
_undo: list[Callable[[], None]] = []


@contextmanager
def audit() -> Iterator[Audit]:
    """Count copies between host and device, and reads of numbers, within the block.

    >>> with audit() as report:
    ...     pass
    >>> print(report)
    0 to device, 0 to host, 0 read; 0 in steps
    """
    report = Audit()
    with _listening(report.transfers.append):
        yield report


def policy() -> AbstractContextManager[None]:
    """What ANYFW_TRANSFERS asks for: "warn" or "error" at a transfer within a step; nothing without it.

    Raises:
        ConfigError: another value.
    """
    wanted = os.environ.get("ANYFW_TRANSFERS", "").strip()
    if not wanted:
        return nullcontext()
    if wanted not in ("warn", "error"):
        raise ConfigError(f"ANYFW_TRANSFERS: expected 'warn' or 'error', got {wanted!r}.")
    told: set[str] = set()

    def listen(transfer: Transfer) -> None:
        if transfer.in_step and transfer.where not in told:
            told.add(transfer.where)
            message = f"A step waits for the device: {transfer.how} ({transfer.kind}) at {transfer.where}."
            if wanted == "error":
                raise TransferError(f"{message} Keep numbers on the device, or unset ANYFW_TRANSFERS.")
            _log.warning("%s", message)

    return _listening(listen)


def marked(work: Callable[P, R]) -> Callable[P, R]:
    """The same, known as part of a step to those who listen; as it is where nobody does, so that it costs nothing."""
    if not _listeners:
        return work

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        before, _thread.in_step = _thread.in_step, True
        try:
            return work(*args, **kwargs)
        finally:
            _thread.in_step = before

    return call


@contextmanager
def _listening(listener: Callable[[Transfer], None]) -> Iterator[None]:
    with _lock:
        if not _listeners:
            backends.on_open.append(_watch)
            for opened in tuple(dict.fromkeys(backends._opened.values())):
                _watch(opened)
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)
            if not _listeners:
                backends.on_open.remove(_watch)
                while _undo:
                    _undo.pop()()


def _watch(opened: Backend) -> None:
    if opened.xp is np:
        return
    probe = opened.asarray(np.zeros(1, np.float32))
    # On the instance: other backends of its class are watched when they are opened.
    _replace(opened, "asarray", "to device")
    _replace(opened, "to_numpy", "to host")
    for names, kind in ((_READS, "read"), (_COPIES, "to host")):
        for name in names:
            if callable(getattr(type(probe), name, None)):
                _replace(type(probe), name, kind)
    _replace(opened.xp, "asarray", "to device", unless=type(probe))


def _replace(owner: Any, name: str, kind: Any, unless: type | None = None) -> None:
    plain = getattr(owner, name)
    if getattr(plain, "_watched", False):
        return

    @wraps(plain)
    def watched(*args: Any, **kwargs: Any) -> Any:
        if _thread.busy or not _listeners or (unless is not None and args and isinstance(args[0], unless)):
            return plain(*args, **kwargs)
        _thread.busy = True
        try:
            result = plain(*args, **kwargs)
        finally:
            _thread.busy = False
        size = int(getattr(result, "nbytes", 0) or 8) if kind != "read" else 8
        transfer = Transfer(kind, name.strip("_"), _cause(), size, _thread.in_step)
        for listener in tuple(_listeners):
            listener(transfer)
        return result

    watched._watched = True  # type: ignore[attr-defined]
    own = name in vars(owner)
    setattr(owner, name, watched)
    _undo.append((lambda: setattr(owner, name, plain)) if own else (lambda: delattr(owner, name)))


def _cause() -> str:
    frame = sys._getframe(2)
    while frame.f_back is not None and _is_inner(frame.f_code.co_filename):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    with suppress(ValueError):
        path = path.relative_to(_HERE.parent)
    return f"{path}:{frame.f_lineno} in {frame.f_code.co_name}"


def _is_inner(filename: str) -> bool:
    # By where the libraries really are: a user's own folder may have the name of one.
    homes = (getattr(sys.modules.get(name), "__file__", None) for name in _LIBRARIES)
    return filename.startswith((*_OURS, *(f"{os.path.dirname(home)}{os.sep}" for home in homes if home)))
