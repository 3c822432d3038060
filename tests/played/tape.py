"""A stand-in for a device that records: NumPy arrays that write down what is done with them, and do it again.

As on a GPU, a recording has its own arrays: every result has one place, which each replay fills anew; what was computed
while recording is undone at its end; and what would need the host meanwhile (a number read, data brought) is refused.
"""

import threading
from types import SimpleNamespace

import numpy as np

from anyfw.backends import numpy as numpy_backend
from anyfw.core import arrays
from anyfw.core.errors import RecordingError


class HostError(Exception):
    """Something a GPU refuses while it records."""


class _Now(threading.local):
    """The recording of this thread: what others do meanwhile is no part of it."""

    tape = None


class _Recording(type):
    _now = _Now()

    @property
    def now(cls):
        return cls._now.tape

    @now.setter
    def now(cls, tape):
        cls._now.tape = tape


class Tape(metaclass=_Recording):
    """What one recording does, in its order."""

    def __init__(self):
        self.work, self.undo = [], []

    def add(self, work, *written):
        self.work.append(work)

    @classmethod
    def keep(cls, array):
        if cls.now is not None:
            cls.now.undo.append((array, array.copy()))


class Taped(np.ndarray):
    """An array of the stand-in."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        run = getattr(ufunc, method)
        return _run(run, inputs, options, None if out is None else out[0])

    def __array_function__(self, function, types, args, kwargs):
        return _run(function, args, kwargs, None)

    def __setitem__(self, key, value):
        target, key, value = raw(self), raw(key), raw(value)

        def work():
            target[key] = value

        Tape.keep(target)
        work()
        if Tape.now is not None:
            Tape.now.add(work)

    def __getitem__(self, key):
        keys = key if isinstance(key, tuple) else (key,)
        # With an ellipsis an element is a view without axes; without, NumPy makes a number of it.
        return _run(lambda x, key: x[key], (self, key if Ellipsis in keys else (*keys, ...)), {}, None)


def _refuse(name):
    plain = getattr(np.ndarray, name)

    def method(self, *args):
        if Tape.now is not None:
            raise HostError(f"{name} reads from the device")
        return plain(self, *args)

    return method


for _name in ("__float__", "__int__", "__bool__", "__index__", "item", "tolist"):
    setattr(Taped, _name, _refuse(_name))


def raw(value):
    if isinstance(value, Taped):
        return value.view(np.ndarray)
    if isinstance(value, tuple | list):
        return type(value)(raw(one) for one in value)
    return value


def _run(function, args, kwargs, out):
    args, kwargs = raw(tuple(args)), {name: raw(value) for name, value in kwargs.items()}
    if out is not None:
        kwargs["out"] = raw(out)
        Tape.keep(kwargs["out"])
    result = function(*args, **kwargs)
    if out is not None:
        if Tape.now is not None:
            Tape.now.add(lambda: function(*args, **kwargs))
        return out
    if not isinstance(result, np.ndarray | np.generic):
        return result
    result = np.asarray(result)
    given = [one for one in _flat((args, tuple(kwargs.values()))) if isinstance(one, np.ndarray)]
    if Tape.now is not None and not any(np.may_share_memory(result, one) for one in given):

        def work():
            result[...] = function(*args, **kwargs)

        Tape.now.add(work)
    return result.view(Taped)


def _flat(values):
    return [one for value in values for one in _flat(value)] if isinstance(values, tuple | list) else [values]


def _from_host(name):
    def function(*args, **kwargs):
        kwargs.pop("device", None)
        if name == "asarray" and Tape.now is not None and not isinstance(args[0], Taped):
            raise HostError("asarray brings data from the host")
        return _run(getattr(np, name), args, kwargs, None)

    return function


class _Namespace(SimpleNamespace):
    def __getattr__(self, name):
        found = getattr(np, name)
        return _from_host(name) if callable(found) and not isinstance(found, type) and name != "isdtype" else found


arrays._NAMESPACES[Taped] = _Namespace()


class TapeBackend(numpy_backend.Backend):
    """NumPy that records."""

    name = "tape"

    def __init__(self, refuse=""):
        super().__init__(None)
        self.spec, self.xp, self.refuse, self.replays, self.recordings = "tape", arrays._NAMESPACES[Taped], refuse, 0, 0

    @property
    def records(self):
        return True

    def owns(self, x):
        return isinstance(x, Taped)

    def asarray(self, host, dtype=None):
        values = np.array(host, dtype=None if dtype is None else self.dtype_name(dtype))
        if Tape.now is not None:
            raise HostError("asarray brings data from the host")
        return values.view(Taped)

    def to_numpy(self, x):
        if Tape.now is not None:
            raise HostError("to_numpy reads from the device")
        return np.asarray(x).view(np.ndarray).copy()

    def capture(self, step):
        calls, tape = [], Tape()

        def replay():
            calls.append(None)
            if len(calls) == 1:
                step()
                return
            if len(calls) == 2:
                self._record(tape, step)
            self.replays += 1
            for work in tape.work:
                work()

        return replay

    def _record(self, tape, step):
        Tape.now = tape
        self.recordings += 1
        try:
            step()
            if self.refuse:
                raise HostError(self.refuse)
        except HostError as error:
            raise RecordingError(str(error)) from error
        finally:
            Tape.now = None
            for array, before in reversed(tape.undo):
                array[...] = before
