"""Named tensors with checksums, in a safetensors file that any other program can read.

The file's metadata, text by text, holds our JSON values, the format version, and a sha256 of every tensor and every
value, so that a flipped bit is found.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from anyfw.core.atomic import StrPath, open_to_read, write_atomic
from anyfw.core.beside import beside
from anyfw.core.errors import AnyfwError, ConfigError, FileFormatError
from anyfw.core.json_values import plain

Tensors = dict[str, NDArray[Any]]

FORMAT = 1
DTYPES = {"F64": "float64", "F32": "float32", "I64": "int64", "I32": "int32", "U8": "uint8", "BOOL": "bool"}
AGAIN = "Copy or save it again."

_SHORT = {name: short for short, name in DTYPES.items()}
_VERSION, _CHECKSUMS = "anyfw_format", "anyfw_sha256"
_MAX_HEADER = 100_000_000  # bytes; safetensors' own limit
_CHUNK = 1 << 22
_FIRST_BYTES = (
    (b"PK\x03\x04", "a zip archive, as .npz and PyTorch's .pt files are"),
    (b"\x93NUMPY", "a NumPy .npy file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "gzipped"),
    (b"\x80\x02", "a pickle, which anyfw never opens, since it can run code"),
    (b"\x80\x04", "a pickle, which anyfw never opens, since it can run code"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch it with 'git lfs pull'"),
)


def write_tensors(path: StrPath, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
    """Write named arrays and JSON-able values as one safetensors file, atomically.

    The same content gives the same bytes. Tuples come back as lists; NaN and infinities come back as they are.

    Args:
        path: the file to write; its folder must exist.
        tensors: NumPy arrays of any strides and byte order; dtype one of `DTYPES`.
        metadata: JSON-able values by name.

    Raises:
        ConfigError: a dtype that the file cannot hold, or a value that JSON cannot express.
        OutputError: as `write_atomic`.
    """
    parts = _contiguous(tensors)
    texts = {name: json.dumps(plain(value, name)) for name, value in metadata.items()}
    reserved = ({_VERSION, _CHECKSUMS} & set(texts)) | ({"__metadata__"} & set(parts))
    if reserved:
        raise ConfigError(f"The name '{reserved.pop()}' is reserved. Use another one.")
    # A checksum is as long as any other: the header's length is known before they are.
    room = len(_encoded_header(parts, texts, dict.fromkeys(parts, "0" * 64)))
    if room > _MAX_HEADER:
        raise ConfigError(f"metadata: expected at most {_MAX_HEADER} bytes as JSON, got {room}.")

    def write(file: BinaryIO) -> None:
        sums: dict[str, str] = {}
        wait = beside(lambda: sums.update({name: _tensor_sha256(values) for name, values in parts.items()}))
        file.write(bytes(8 + room))
        for values in parts.values():
            file.write(_memory(values))
        wait()
        file.seek(0)
        file.write(room.to_bytes(8, "little") + _encoded_header(parts, texts, sums))

    write_atomic(path, write)


def read_tensors(path: StrPath) -> tuple[Tensors, dict[str, Any]]:
    """The arrays and the metadata that `write_tensors` wrote; every checksum is verified, no code is ever run.

    The file is read before it is parsed: one that is cut short while mapped into memory would kill the process.

    Raises:
        MissingFileError: there is no such file, or it cannot be opened.
        FileFormatError: no safetensors file, one of another program, truncated, corrupt, or of a newer format.
    """
    with open_to_read(path) as file:
        texts = _header(path, file).get("__metadata__")
        file.seek(0)
        raw = file.read()
    if not isinstance(texts, dict) or _VERSION not in texts:
        raise FileFormatError(
            f"{path}: a safetensors file without anyfw's metadata, so its layers are not known. Build the net "
            "yourself, then net.load_state_dict(safetensors.numpy.load_file(path))."
        )
    _check_version(path, texts[_VERSION])
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = {name: np.array(values) for name, values in sorted(load(raw).items())}
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise _corrupt(path, str(error)) from error
    return tensors, _verified(path, tensors, texts)


def prove(path: StrPath) -> None:
    """Read a file that `write_tensors` wrote from its first byte to its last, and hold it to its checksums.

    Raises:
        MissingFileError, FileFormatError: as `read_tensors`.
    """
    with open_to_read(path) as file:
        header = _header(path, file)
        texts = header.pop("__metadata__", None)
        if not isinstance(texts, dict) or _CHECKSUMS not in texts:
            raise _corrupt(path, "it has no checksums")
        base, sums = 8 + int.from_bytes(_at(file, 0, 8), "little"), {}
        for name, entry in header.items():
            start, stop = entry["data_offsets"]
            digest = hashlib.sha256(f"{DTYPES[entry['dtype']]} {entry['shape']}\n".encode())
            for place in range(base + start, base + stop, _CHUNK):
                digest.update(_at(file, place, min(_CHUNK, base + stop - place)))
            sums[name] = digest.hexdigest()
    _compare(path, sums, texts)


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)


def _contiguous(tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    # In the order that safetensors itself has: the widest numbers first, so that all are aligned.
    found: Tensors = {}
    for name, values in tensors.items():
        if not isinstance(values, np.ndarray | np.generic) or values.dtype.name not in _SHORT:
            kind = getattr(values, "dtype", type(values).__name__)
            raise ConfigError(f"'{name}': expected a NumPy array of {', '.join(DTYPES.values())}, got {kind}. Cast it.")
        array = np.asarray(values)
        found[name] = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
    return dict(sorted(found.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))


def _encoded_header(tensors: Tensors, texts: Mapping[str, str], sums: Mapping[str, str]) -> bytes:
    checksums = {"tensors": dict(sums), "metadata": {name: _sha256(text.encode()) for name, text in texts.items()}}
    own = {_VERSION: str(FORMAT), _CHECKSUMS: json.dumps(checksums, sort_keys=True), **texts}
    header: dict[str, Any] = {"__metadata__": own}
    start = 0
    for name, values in tensors.items():
        stop = start + values.nbytes
        short = _SHORT[values.dtype.name]
        header[name] = {"dtype": short, "shape": list(values.shape), "data_offsets": [start, stop]}
        start = stop
    raw = json.dumps(header, separators=(",", ":")).encode()
    return raw + b" " * (-len(raw) % 8)


def _memory(values: NDArray[Any]) -> memoryview:
    return values.reshape(-1).view(np.uint8).data


def _header(path: StrPath, file: BinaryIO) -> dict[str, Any]:
    # Bounded by the size of the file before anything is read or allocated.
    size = os.fstat(file.fileno()).st_size
    first = file.read(32)
    length = int.from_bytes(first[:8], "little")
    # A header may well be as long as the first bytes of another format say.
    if first[8:9] != b"{" or length > size - 8:
        for magic, kind in _FIRST_BYTES:
            if first.startswith(magic):
                raise FileFormatError(f"{path}: no safetensors file, but {kind}.")
    if size < 10:
        raise FileFormatError(f"{path}: {size} bytes are too few for a safetensors file. Was it cut short?")
    if length > _MAX_HEADER or first[8:9] != b"{":
        raise FileFormatError(f"{path}: no safetensors file: it does not begin with a header.")
    if length > size - 8:
        raise FileFormatError(f"{path}: truncated: expected a header of {length} bytes, got {size - 8}. {AGAIN}")
    file.seek(8)
    try:
        header = json.loads(file.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        for name, entry in tensors.items():
            if entry["dtype"] not in DTYPES:
                raise _corrupt(path, f"tensor '{name:.80}' has dtype {entry['dtype']!r:.80}, not one of {[*DTYPES]}")
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except AnyfwError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise _corrupt(path, f"its header cannot be read: {error!s:.200}") from error
    if end != size:
        raise FileFormatError(
            f"{path}: {'truncated' if size < end else 'corrupt'}: expected {end} bytes, got {size}. {AGAIN}"
        )
    return dict(header)


def _corrupt(path: StrPath, what: str) -> FileFormatError:
    return FileFormatError(f"{path}: corrupt: {what}. {AGAIN}")


def _check_version(path: StrPath, text: object) -> None:
    version = int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 10 else 0
    if version > FORMAT:
        raise FileFormatError(
            f"{path}: expected format {FORMAT} or older, got {version}. A newer anyfw wrote it: pip install -U anyfw."
        )
    if version < 1:
        raise _corrupt(path, f"its format version is {text!r:.80}")


def _verified(path: StrPath, tensors: Tensors, texts: Mapping[str, str]) -> dict[str, Any]:
    return _compare(path, {name: _tensor_sha256(values) for name, values in tensors.items()}, texts)


def _compare(path: StrPath, sums: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, Any]:
    # The metadata's values, once everything has the checksum that it had when it was written.
    own = {name: text for name, text in texts.items() if name not in (_VERSION, _CHECKSUMS)}
    found = {
        "tensors": sums,
        "metadata": {name: _sha256(text.encode(errors="surrogatepass")) for name, text in own.items()},
    }
    try:
        expected = json.loads(texts[_CHECKSUMS])
        for kind, checksums in found.items():
            for name in sorted(checksums.keys() | expected[kind].keys()):
                if checksums.get(name) != expected[kind].get(name):
                    raise _corrupt(path, f"the checksum of {name!r:.80} ({kind}) does not match")
        return {name: json.loads(text) for name, text in own.items()}
    except AnyfwError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _corrupt(path, f"its metadata cannot be read: {error!s:.200}") from error


def _tensor_sha256(values: NDArray[Any]) -> str:
    # Dtype and shape count: a matrix with its axes swapped has the same bytes.
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{values.dtype.name} {list(values.shape)}\n".encode())
    digest.update(_memory(little))
    return digest.hexdigest()


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
