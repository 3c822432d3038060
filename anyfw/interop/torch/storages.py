"""What a tensor is in a file: numbers in a row, and a view of them by offset, shape and strides."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import FileFormatError

Numbers = NDArray[Any]

# Names of PyTorch's dtypes, and how their numbers are stored. bfloat16, which NumPy lacks, is the upper half of a
# float32; truth values are bytes, of which all but 0 are true.
_STORED = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<u2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "|i1",
    "uint8": "|u1",
    "bool": "|u1",
}
MAX_AXES = 32  # each takes memory, and PyTorch's own layers need 5
MAX_INDEX = 1 << 22  # bytes of what lists the tensors: each entry takes several times as much memory as in the file
_CHUNK = 1 << 22  # elements that are converted at a time


class RefusedError(FileFormatError):
    """What a file holds is not read; the message lacks the file's name, which `read` puts before it."""


@dataclass(frozen=True, eq=False)
class Storage:
    """Numbers that tensors are views of."""

    kind: str
    numbers: Numbers


def stored_bytes(kind: str, count: int) -> int:
    """How many bytes `count` numbers of this dtype take in a file."""
    return count * np.dtype(_STORED[kind]).itemsize


def empty(kind: str, count: int) -> Numbers:
    """Room for numbers of this dtype of PyTorch, in the dtype that they have here."""
    return np.empty(count, {"bfloat16": "float32"}.get(kind, kind))


def read_into(file: BinaryIO, kind: str, numbers: Numbers, check: Callable[[memoryview], object] = len) -> None:
    """Fill room with the numbers that come next in a file, and nothing but that room.

    Args:
        file: at the first of them.
        kind: their dtype.
        numbers: what `empty` made.
        check: given their bytes as they are in the file; by default nothing is checked.

    Raises:
        RefusedError: the file ends before them.
    """
    wanted = stored_bytes(kind, numbers.size)
    # Numbers that become longer lie at the end of their room first: none is written over before it was converted.
    raw = numbers.view(np.uint8)[numbers.nbytes - wanted :]
    read = file.readinto(raw)  # type: ignore[attr-defined]
    if read != wanted:
        raise RefusedError(f"truncated: expected {wanted} bytes of numbers, got {read}. Copy or save it again.")
    check(raw.data)
    if kind in ("bfloat16", "bool") or not np.dtype(_STORED[kind]).isnative:
        _convert(kind, raw.view(_STORED[kind]), numbers)


def _convert(kind: str, raw: Numbers, numbers: Numbers) -> None:
    for start in range(0, raw.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        if kind == "bfloat16":
            numbers.view(np.uint32)[part] = raw[part].astype(np.uint32) << np.uint32(16)
        elif kind == "bool":
            numbers[part] = raw[part] != 0
        else:
            numbers[part] = raw[part]


def view(storage: Storage, offset: object, shape: object, strides: object) -> Numbers:
    """The tensor that begins at `offset` of a storage; nothing is copied. All three count numbers, not bytes.

    A tensor has at most as many elements as its storage: one that repeats them, as after `expand`, would take more
    memory than the file as soon as it is copied.

    Raises:
        RefusedError: no such view, or one that reaches beyond the storage.
    """
    axes, steps = _whole("shape", shape), _whole("strides", strides)
    numbers, (start,) = storage.numbers, _whole("offset", (offset,))
    if len(axes) != len(steps) or len(axes) > MAX_AXES:
        raise RefusedError(f"a tensor has {len(axes)} axes and {len(steps)} strides, which cannot be. {DAMAGED}")
    count, size = math.prod(axes), numbers.size
    if count == 0:
        if start > size or math.prod(n for n in axes if n) * numbers.itemsize >= 2**63:
            raise RefusedError(f"an empty tensor is larger than can be. {DAMAGED}")
        return np.empty(axes, numbers.dtype)
    end = start + sum((n - 1) * step for n, step in zip(axes, steps, strict=True))
    if end >= size:
        raise RefusedError(f"a tensor reaches to element {end} of a storage that has {size}. {DAMAGED}")
    if count > size:
        raise RefusedError(
            f"a tensor repeats the {size} numbers of its storage, as expand() does. Save tensor.clone()."
        )
    # The stride of an axis of length 1 is never used, and may be any number.
    step_bytes = [step * numbers.itemsize if n > 1 else 0 for n, step in zip(axes, steps, strict=True)]
    return np.ndarray(axes, numbers.dtype, numbers, start * numbers.itemsize, step_bytes)


DAMAGED = "The file is damaged or hostile."


def _whole(what: str, values: object) -> tuple[int, ...]:
    if type(values) is not tuple or not all(type(value) is int and 0 <= value < 2**62 for value in values):
        raise RefusedError(f"the {what} of a tensor is made of other than whole numbers from 0 to 2^62. {DAMAGED}")
    return values
