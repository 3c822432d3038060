"""A safetensors file: a header of JSON, which says where each tensor is, and their numbers without gaps."""

import json
import math
from typing import Any, BinaryIO

import numpy as np

from anyfw.interop.torch.storages import (
    DAMAGED,
    MAX_AXES,
    MAX_INDEX,
    Numbers,
    RefusedError,
    empty,
    read_into,
    stored_bytes,
)

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def read_safetensors(file: BinaryIO, size: int) -> dict[str, Numbers]:
    """The tensors by name, in the order of their names; metadata is dropped.

    The header is whole and checked before room is made for a number: the tensors follow each other without gaps or
    overlaps from its end to the end of the file, each as long as its dtype and shape say.

    Args:
        file: the file.
        size: of the file, in bytes.

    Raises:
        RefusedError: a header beyond `MAX_INDEX`, damaged, or of dtypes that are not read.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_INDEX:
        raise RefusedError(f"its header has {length} bytes, and {MAX_INDEX} are read. Save fewer tensors in one file.")
    entries = _entries(file.read(length))
    end = 0
    for name, (kind, shape, start, stop) in entries:
        if start != end or stop - start != stored_bytes(kind, math.prod(shape)):
            raise RefusedError(
                f"corrupt: {name!r:.80} is {kind} of {shape!s:.80} in bytes {start} to {stop}, after one that ends at "
                f"{end}. Copy or save it again."
            )
        end = stop
    if 8 + length + end != size:
        what = "truncated" if size < 8 + length + end else "corrupt"
        raise RefusedError(f"{what}: expected {8 + length + end} bytes, got {size}. Copy or save it again.")
    found = {}
    for name, (kind, shape, _, _) in entries:  # in the order in which they lie in the file
        numbers = empty(kind, math.prod(shape))
        read_into(file, kind, numbers)
        found[name] = np.reshape(numbers, shape)
    return dict(sorted(found.items()))


_Place = tuple[str, tuple[int, ...], int, int]  # dtype, shape, and the first byte and the one after the last


def _entries(raw: bytes) -> list[tuple[str, _Place]]:
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        if isinstance(error, RefusedError):
            raise
        raise RefusedError(f"corrupt: its header cannot be read: {error!s:.200}. Copy or save it again.") from error
    header.pop("__metadata__", None)
    return sorted(((name, _place(name, entry)) for name, entry in header.items()), key=lambda one: one[1][2:])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RefusedError(f"its header has one name twice. {DAMAGED}")
    return found


def _place(name: str, entry: object) -> _Place:
    match entry:
        case {"dtype": str(short), "shape": list(shape), "data_offsets": [start, stop]}:
            whole = all(type(number) is int and 0 <= number < 2**62 for number in (*shape, start, stop))
        case _:
            whole = False
    if not whole or len(shape) > MAX_AXES:
        raise RefusedError(f"corrupt: its header has no dtype, shape and place of {name!r:.80}. Copy or save it again.")
    if short not in _DTYPES:
        raise RefusedError(f"expected numbers of one of {', '.join(_DTYPES)}, got {short:.40}. Convert them first.")
    # An empty tensor takes no bytes, however long its other axes.
    if stored_bytes(_DTYPES[short], math.prod(n for n in shape if n)) >= 2**62:
        raise RefusedError(f"corrupt: {name!r:.80} has the shape {shape!s:.80}. Copy or save it again.")
    return _DTYPES[short], tuple(shape), start, stop
