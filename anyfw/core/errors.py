"""The errors that a user can cause: each one is an `AnyfwError` and the built-in error one would expect."""

import difflib
from collections.abc import Iterable


class AnyfwError(Exception):
    """Anything that anyfw refuses; catch this one to catch them all."""


class ConfigError(AnyfwError, ValueError):
    """A setting outside its range: a negative learning rate, a width of 0, a dropout of 2."""


class UnknownNameError(ConfigError):
    """A name that is not known; the message names the nearest one that is."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        super().__init__(f"Unknown {kind} {name!r}. {hint}Known: {', '.join(known)}.")


class BackendError(AnyfwError, RuntimeError):
    """A backend or device that cannot work here."""


class RecordingError(BackendError):
    """A step that the device cannot record, to replay it later; nothing was done."""


class TransferError(AnyfwError, RuntimeError):
    """A copy between host and device, or a number read from it, where there shall be none."""


class PlacementError(AnyfwError, TypeError):
    """Arrays of different backends, devices or dtypes met in one operation."""


class ShapeError(AnyfwError, ValueError):
    """An array whose shape does not fit where it was given."""


class DataError(AnyfwError, ValueError):
    """Training data that cannot be learnt from: labels out of range, NaN, no rows, lengths that differ."""


class UndrawnError(AnyfwError, RuntimeError):
    """A parameter was read before it had values."""


class BackwardError(AnyfwError, RuntimeError):
    """A backward pass without the forward pass that it belongs to."""


class NonFiniteError(AnyfwError, RuntimeError):
    """The loss or the weights became NaN or infinite; the message names epoch and batch, and what was wrong first.

    Attributes:
        what: what became of what, without advice.
        batch: the place in its epoch, from 0, of the batch whose loss was the first; None where the weights were.
    """

    def __init__(self, what: str, batch: int | None = None, advice: str = "") -> None:
        super().__init__(f"{what} {advice}".strip())
        self.what, self.batch = what, batch


class OutOfMemoryError(AnyfwError, MemoryError):
    """A training step that does not fit into memory; the message names the largest consumers and the way out."""


class FileFormatError(AnyfwError, ValueError):
    """A file that is truncated, corrupt, of another kind, or of a newer format."""


class MissingFileError(AnyfwError, FileNotFoundError):
    """A file or data set that is not where it was looked for."""


class OutputError(AnyfwError, OSError):
    """A folder or file that cannot be written, or that would be overwritten."""


class MissingExtraError(AnyfwError, RuntimeError):
    """An optional package is needed; the message is the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}: pip install 'anyfw[{extra}]'")
